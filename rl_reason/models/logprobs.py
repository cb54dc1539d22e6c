"""What is computed of a last layer's logits, without [batch, time, vocabulary] ever existing at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rl_reason.models.attention import cap
from rl_reason.models.decoder import Constrain, no_constraint
from rl_reason.parallel.mesh import ways


class LastLayer(NamedTuple):
    """A last layer, and what it is applied to."""

    hidden: jax.Array
    """Final hidden states [B, T, D]; what stands at position t predicts token t."""
    head: jax.Array
    """[V, D]."""
    softcap: float = 0.0
    """`ModelConfig.final_softcap`."""


@jax.named_scope("logprobs")
def token_logprobs(
    hidden_BTD: jax.Array,
    head_VD: jax.Array,
    targets_BT: jax.Array,
    temperature: float = 1.0,
    chunk: int = 256,
    constrain: Constrain = no_constraint,
    softcap: float = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """log π(target) and the entropy of π at every position, π = softmax(logits / temperature).

    Args:
        hidden_BTD: final hidden states; position t predicts `targets_BT[:, t]`.
        head_VD: the last layer.
        targets_BT: int32.
        temperature: of the sampler, so that both compute the same distribution.
        chunk: positions whose logits exist at the same time.
        constrain: see `decoder`.
        softcap: `ModelConfig.final_softcap`.

    Returns:
        Two float32 [B, T]: log-probabilities, entropies in nats.
    """

    def of_logits(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = logits / temperature
        total = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
        # A masked sum, not a gather: its transpose is a product, not a scatter, and the vocabulary may be sharded.
        is_target = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 3) == targets[..., None]
        chosen = jnp.sum(jnp.where(is_target, logits, 0.0), axis=-1, keepdims=True)
        # Not total − Σ p · logits, a small difference of large numbers.
        entropy = -jnp.sum(jnp.exp(logits - total) * (logits - total), axis=-1)
        return (chosen - total)[..., 0], entropy

    made: tuple[jax.Array, jax.Array] = map_logits(
        of_logits, [LastLayer(hidden_BTD, head_VD, softcap)], [targets_BT], chunk, constrain
    )
    return made


def map_logits(
    function: Callable[..., Any],
    layers: Sequence[LastLayer],
    given: Sequence[jax.Array],
    chunk: int,
    constrain: Constrain,
) -> Any:
    """A function of the logits at every position.

    The last layers are applied to `chunk` positions at a time, and again in the backward pass. On a mesh each is
    gathered once for all of them, and its gradient is summed over devices once.

    Args:
        function: (float32 logits [B, S, C, V] of each layer, what is given [B, S, C, …]) → a tree of arrays
            [B, S, C, …]. S are the parts of time that lie on different devices, C positions of each.
        layers: whose logits they are, all of the same B and T.
        given: what else is known of each position, [B, T, …].
        chunk: positions whose logits exist at the same time.
        constrain: see `decoder`.

    Returns:
        The function's tree, of arrays [B, T, …].
    """
    B, T, _ = layers[0].hidden.shape
    # Rows and their time may be split over devices: S parts of time, each cut into chunks of its own. The gradient of
    # one weight for all would be summed over devices for each chunk, so each part of rows and time has a copy of its
    # own, which lies where they do.
    parts, S = ways(constrain, "batch", B), ways(constrain, "time", T)
    chunk = min(chunk, T // S)
    pieces = -(-T // S // chunk)
    padding = pieces * chunk - T // S
    copies = (parts, S) if parts * S > 1 else ()

    def spread(head_VD: jax.Array) -> jax.Array:
        head = jnp.broadcast_to(constrain(head_VD, ("vocab", "embed")), (*copies, *head_VD.shape))
        return constrain(head, (*("batch", "time")[: len(copies)], "vocab", "width"))

    heads = [spread(layer.head) for layer in layers]

    def cut(x: jax.Array) -> jax.Array:
        """[B, T, …] → [pieces, B, S, chunk, …]."""
        x = x.reshape(B, S, T // S, *x.shape[2:])
        x = jnp.pad(x, ((0, 0), (0, 0), (0, padding)) + ((0, 0),) * (x.ndim - 3))
        return jnp.moveaxis(x.reshape(B, S, pieces, chunk, *x.shape[3:]), 2, 0)

    def join(x: jax.Array) -> jax.Array:
        rest = x.shape[4:]
        return jnp.moveaxis(x, 0, 2).reshape(B, S, -1, *rest)[:, :, : T // S].reshape(B, T, *rest)

    def logits_of(hidden_BSCD: jax.Array, head: jax.Array, softcap: float) -> jax.Array:
        if copies:
            hidden = hidden_BSCD.reshape(parts, -1, S, chunk, hidden_BSCD.shape[-1])
            logits = jnp.einsum("pbscd,psvd->pbscv", hidden, head, preferred_element_type=jnp.float32)
        else:
            logits = jnp.einsum("bscd,vd->bscv", hidden_BSCD, head, preferred_element_type=jnp.float32)
        logits = cap(logits.reshape(B, S, chunk, -1), softcap)
        return constrain(logits, ("batch", "time", None, "logits"))

    @jax.checkpoint
    def piece(hidden: list[jax.Array], given: list[jax.Array]) -> Any:
        logits = [logits_of(x, head, of.softcap) for x, head, of in zip(hidden, heads, layers, strict=True)]
        return function(*logits, *given)

    taken = [layer.hidden for layer in layers], list(given)
    if pieces == 1:
        made = piece(*jax.tree.map(lambda x: x.reshape(B, S, chunk, *x.shape[2:]), taken))
        return jax.tree.map(lambda x: x.reshape(B, T, *x.shape[3:]), made)
    return jax.tree.map(join, jax.lax.map(lambda xs: piece(*xs), jax.tree.map(cut, taken)))
