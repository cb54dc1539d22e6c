"""Log-probabilities and entropies of given tokens, without [batch, time, vocabulary] ever existing at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rl_reason.models.attention import cap
from rl_reason.models.decoder import Constrain, no_constraint
from rl_reason.parallel.mesh import ways


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

    The last layer is applied to `chunk` positions at a time, and again in the backward pass. On a mesh it is gathered
    once for all of them, and its gradient is summed over devices once.

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
    B, T, D = hidden_BTD.shape
    # Rows and their time may be split over devices: S parts of time, each cut into chunks of its own. The gradient of
    # one weight for all would be summed over devices for each chunk, so each part of rows and time has a copy of its
    # own, which lies where they do.
    parts, S = ways(constrain, "batch", B), ways(constrain, "time", T)
    chunk = min(chunk, T // S)
    pieces = -(-T // S // chunk)
    padding = pieces * chunk - T // S
    copies = (parts, S) if parts * S > 1 else ()
    head = jnp.broadcast_to(constrain(head_VD, ("vocab", "embed")), (*copies, *head_VD.shape))
    head = constrain(head, (*("batch", "time")[: len(copies)], "vocab", "width"))

    def cut(x: jax.Array) -> jax.Array:
        """[B, T, …] → [pieces, B, S, chunk, …]."""
        x = x.reshape(B, S, T // S, *x.shape[2:])
        x = jnp.pad(x, ((0, 0), (0, 0), (0, padding)) + ((0, 0),) * (x.ndim - 3))
        return jnp.moveaxis(x.reshape(B, S, pieces, chunk, *x.shape[3:]), 2, 0)

    @jax.checkpoint
    def piece(hidden_BSCD: jax.Array, targets_BSC: jax.Array) -> tuple[jax.Array, jax.Array]:
        if copies:
            hidden = hidden_BSCD.reshape(parts, -1, S, chunk, D)
            logits = jnp.einsum("pbscd,psvd->pbscv", hidden, head, preferred_element_type=jnp.float32)
        else:
            logits = jnp.einsum("bscd,vd->bscv", hidden_BSCD, head, preferred_element_type=jnp.float32)
        logits = cap(logits.reshape(B, S, chunk, -1), softcap) / temperature
        logits = constrain(logits, ("batch", "time", None, "logits"))
        total = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
        # A masked sum, not a gather: its transpose is a product, not a scatter, and the vocabulary may be sharded.
        is_target = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 3) == targets_BSC[..., None]
        chosen = jnp.sum(jnp.where(is_target, logits, 0.0), axis=-1, keepdims=True)
        # Not total − Σ p · logits, a small difference of large numbers.
        entropy = -jnp.sum(jnp.exp(logits - total) * (logits - total), axis=-1)
        return (chosen - total)[..., 0], entropy

    if pieces == 1:
        made = piece(*(x.reshape(B, S, chunk, *x.shape[2:]) for x in (hidden_BTD, targets_BT)))
        return made[0].reshape(B, T), made[1].reshape(B, T)
    logprobs, entropies = jax.lax.map(lambda xs: piece(*xs), (cut(hidden_BTD), cut(targets_BT)))
    join = lambda x: jnp.moveaxis(x, 0, 2).reshape(B, S, -1)[:, :, : T // S].reshape(B, T)  # noqa: E731
    return join(logprobs), join(entropies)
