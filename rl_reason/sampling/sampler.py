"""Jitted, batched sampling of G completions for each of Q prompts."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jax.typing import DTypeLike

from rl_reason.models import cache, decoder
from rl_reason.models.config import ModelConfig
from rl_reason.models.decoder import Constrain, no_constraint
from rl_reason.models.weights import Params, cast
from rl_reason.sampling.logits import truncate


@struct.dataclass
class Completions:
    """What was sampled; row q · G + g is sample g of question q."""

    tokens: jax.Array
    """int32 [B, T]: the completion with its end-of-sequence token, then padding."""
    logprobs: jax.Array
    """float32 [B, T]: log-probability of each token after temperature, before truncation; 0 on padding."""
    lengths: jax.Array
    """int32 [B]: tokens of the completion, the end-of-sequence token counted."""
    finished: jax.Array
    """bool [B]: True where an end-of-sequence token was drawn, False where the limit cut the completion off."""


Sampler = Callable[[Params, jax.Array, jax.Array, jax.Array, jax.Array], Completions]


def make_sampler(
    config: ModelConfig,
    *,
    group_size: int,
    max_length: int,
    stop_ids: tuple[int, ...],
    pad_id: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    dtype: DTypeLike = "float32",
    constrain: Constrain = no_constraint,
) -> Sampler:
    """A jitted function `sample(params, tokens_QP, mask_QP, question_ids_Q, key) -> Completions`.

    The prompt is computed once for the G samples of a question. Sample g of a question draws its token t with the
    key fold_in(fold_in(fold_in(key, question id), g), t): it does not depend on what else is in the batch.
    `key` itself is folded from the run's seed and the step. Temperature 0 takes the most probable token; its
    log-probability is then that at temperature 1.

    The function's arguments: float32 master weights; int32 prompts padded on the left; bool mask of their tokens;
    int32 number of each question in its data set; a key.
    """
    dtype = jnp.dtype(dtype)
    stops = jnp.asarray(stop_ids, jnp.int32)

    def draw(params: Params, hidden_BD: jax.Array, keys_B: jax.Array, step: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits_BV = decoder.logits(params, hidden_BD[:, None], config)[:, 0] / (temperature or 1.0)
        logits_BV = constrain(logits_BV, ("batch", "vocab"))
        if temperature == 0:
            tokens_B = jnp.argmax(logits_BV, axis=-1)
        else:
            kept_BV = truncate(logits_BV, top_k, top_p, min_p)
            noise_BV = jax.vmap(lambda key: jax.random.gumbel(jax.random.fold_in(key, step), kept_BV.shape[1:]))(keys_B)
            tokens_B = jnp.argmax(kept_BV + noise_BV, axis=-1)
        chosen_B = jnp.take_along_axis(logits_BV, tokens_B[:, None], axis=-1)[:, 0]
        return tokens_B.astype(jnp.int32), chosen_B - jax.nn.logsumexp(logits_BV, axis=-1)

    @jax.jit
    def sample(params, tokens_QP, mask_QP, question_ids_Q, key) -> Completions:
        questions = tokens_QP.shape[0]
        rows = questions * group_size
        params = cache.unstack(cast(params, dtype), config)
        hidden_QD, prompts = cache.prefill(params, tokens_QP, mask_QP, max_length, config, constrain)

        question_keys = jax.vmap(lambda q: jax.random.fold_in(key, q))(question_ids_Q)
        fold_samples = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
        keys_B = jax.vmap(lambda k: fold_samples(k, jnp.arange(group_size)))(question_keys).reshape(rows)

        def write(t, tokens_B, logprobs_B, done_B, out: Completions) -> tuple[jax.Array, Completions]:
            """Puts down token t of the samples that go on; returns who is done, and the completions."""
            is_stop = jnp.any(tokens_B[:, None] == stops[None, :], axis=1) & ~done_B
            put = lambda to, x: jax.lax.dynamic_update_slice_in_dim(to, x[:, None], t, axis=1)  # noqa: E731
            out = Completions(
                tokens=put(out.tokens, jnp.where(done_B, pad_id, tokens_B)),
                logprobs=put(out.logprobs, jnp.where(done_B, 0.0, logprobs_B)),
                lengths=out.lengths + ~done_B,
                finished=out.finished | is_stop,
            )
            return done_B | is_stop, out

        start = Completions(
            tokens=constrain(jnp.full((rows, max_length), pad_id, jnp.int32), ("batch", "time")),
            logprobs=constrain(jnp.zeros((rows, max_length), jnp.float32), ("batch", "time")),
            lengths=jnp.zeros(rows, jnp.int32),
            finished=jnp.zeros(rows, bool),
        )
        zero = jnp.zeros((), jnp.int32)
        tokens_B, logprobs_B = draw(params, jnp.repeat(hidden_QD, group_size, axis=0), keys_B, zero)
        done_B, out = write(zero, tokens_B, logprobs_B, jnp.zeros(rows, bool), start)
        own = cache.empty_completions(rows, max_length, config, dtype, constrain)

        def go_on(carry) -> jax.Array:
            t, _, done_B, *_ = carry
            return (t < max_length) & ~jnp.all(done_B)

        def step(carry):
            t, tokens_B, done_B, own, out = carry
            hidden_BD, own = cache.decode_step(params, tokens_B, t - 1, prompts, own, config, constrain)
            tokens_B, logprobs_B = draw(params, hidden_BD, keys_B, t)
            done_B, out = write(t, tokens_B, logprobs_B, done_B, out)
            return t + 1, tokens_B, done_B, own, out

        *_, out = jax.lax.while_loop(go_on, step, (zero + 1, tokens_B, done_B, own, out))
        return out

    return sample
