"""Batched sampling of G completions for each of Q prompts.

The tokens of all samples are drawn together, in a loop on the device. It stops where the host has something to gain:
when half of the samples have ended, the others go on by themselves; when the cache is full, it grows. So time goes with
the tokens that are drawn, not with the samples times the greatest length.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import DTypeLike

from rl_reason.models import cache, decoder
from rl_reason.models.config import ModelConfig
from rl_reason.models.decoder import Constrain, no_constraint
from rl_reason.models.weights import Params, cast
from rl_reason.parallel import company, hosts
from rl_reason.parallel.mesh import OnMesh, lanes
from rl_reason.sampling import logits

FIRST_ROOM = 128
"""Tokens that the cache of completions has room for at first; it doubles when it is full."""
LEAST_SHARE, LEAST_ROWS = 8, 8
"""Samples that go on are put together until an eighth of all is left, or eight: each number of them is compiled."""


@struct.dataclass
class Completions:
    """What was sampled; row q · G + g is sample g of question q. Arrays of numpy, or on the device."""

    tokens: Any
    """int32 [B, T]: the completion with its end-of-sequence token, then padding."""
    logprobs: Any
    """float32 [B, T]: log-probability of each token after temperature, before truncation; 0 on padding."""
    lengths: Any
    """int32 [B]: tokens of the completion, the end-of-sequence token counted."""
    finished: Any
    """bool [B]: True where an end-of-sequence token was drawn, False where the limit cut the completion off."""


@struct.dataclass
class Decoding:
    """Samples between two tokens."""

    t: jax.Array
    """int32 []: tokens that each of them has, if it has not ended."""
    last_B: jax.Array
    """int32: the last token."""
    keys_B: jax.Array
    """Random keys, a row each."""
    own: cache.CompletionCache
    out: Completions

    @property
    def done_B(self) -> jax.Array:
        return self.out.finished


class Moved(NamedTuple):
    """Weights, twice."""

    trained: Params
    """As training holds them: prompts are computed with these."""
    decoding: Params
    """As decoding reads them."""


@dataclass(frozen=True)
class Sampler:
    """`sampler(params, tokens_QP, mask_QP, question_ids_Q, key) -> Completions`, on the host.

    The prompt is computed once for the G samples of a question. Sample g of a question draws its token t with the
    key fold_in(fold_in(fold_in(key, question id), g), t): it does not depend on what else is in the batch.
    `key` itself is folded from the run's seed and the step. Temperature 0 takes the most probable token; its
    log-probability is then that at temperature 1.

    The function's arguments: float32 master weights; int32 prompts padded on the left; bool mask of their tokens;
    int32 number of each question in its data set; a key; `limit`, where completions shall end sooner than at
    `max_length` tokens. It is not compiled: arrays and caches are those of `max_length`.
    """

    to_decoding: Callable[[Params], Params]
    """Jitted: weights in the dtype and the layout of decoding."""
    start: Callable[..., tuple[cache.PromptCache, Decoding]]
    """Jitted, of the arguments above, weights for decoding behind the first: the prompts' cache, the first tokens."""
    decode: Callable[[Params, cache.PromptCache, Decoding, jax.Array, jax.Array], Decoding]
    """Jitted: goes on until so many samples go on, int32 [] (0: none), until the limit, int32 [], or a full cache.
    Takes the buffers of `Decoding`."""
    grow: Callable[[cache.CompletionCache, int], cache.CompletionCache]
    take: Callable[[cache.PromptCache, Decoding, jax.Array], tuple[cache.PromptCache, Decoding]]
    """Jitted: some rows of the samples, int32 [B']."""
    max_length: int
    least_multiple: int
    """The number of samples that go on is a multiple of it: the devices that they are shared out to."""

    def joined(self, of: Callable[[company.Numbers], Sampler] | None = None) -> Sampler:
        """Its functions computed for all members of a company at once, as `parallel.company.joined` has it."""

        def join(name: str) -> Callable:
            return company.joined(getattr(self, name), of and (lambda numbers: getattr(of(numbers), name)))

        return dataclasses.replace(
            self,
            to_decoding=join("to_decoding"),
            start=join("start"),
            decode=join("decode"),
            grow=join("grow"),
            take=join("take"),
        )

    def __call__(
        self, params: Params, tokens_QP: Any, mask_QP: Any, question_ids_Q: Any, key: Any, limit: int | None = None
    ) -> Completions:
        return self.begin(self.move(params), tokens_QP, mask_QP, question_ids_Q, key, limit)()

    def move(self, params: Params) -> Moved:
        """What `begin` takes: once for weights that several batches are sampled with."""
        return Moved(params, self.to_decoding(params))

    def begin(
        self, weights: Moved, tokens_QP: Any, mask_QP: Any, question_ids_Q: Any, key: Any, limit: int | None = None
    ) -> Callable[[], Completions]:
        """Dispatches what does not need the host; what it returns does the rest."""
        limit = self.max_length if limit is None else limit
        prompts, state = self.start(*weights, tokens_QP, mask_QP, question_ids_Q, key)
        rows = len(state.last_B)
        state = self.decode(weights.decoding, prompts, state, self._wanted(prompts, state, rows), jnp.int32(limit))
        return functools.partial(self._finish, weights.decoding, prompts, state, limit)

    def _finish(self, weights: Params, prompts: cache.PromptCache, state: Decoding, limit: int) -> Completions:
        rows = len(state.last_B)
        where_B = np.arange(rows)  # row of each sample that goes on
        made = _empty(rows, self.max_length)
        while True:
            t, out = hosts.fetch((state.t, state.out))
            for to, from_ in zip(jax.tree.leaves(made), jax.tree.leaves(out), strict=True):
                to[where_B] = from_
            live_B = np.flatnonzero(~out.finished)
            live = company.most(len(live_B))
            if not live or t >= limit:
                return made
            fewer = self._fewer(prompts, state, rows, live)
            if fewer < len(where_B):
                kept_B = np.concatenate([live_B, np.flatnonzero(out.finished)])[:fewer]
                prompts, state = self.take(prompts, state, jnp.asarray(kept_B, jnp.int32))
                where_B = where_B[kept_B]
            room = state.own.keys[0].shape[3]
            if t > room:
                grown = self.grow(state.own, min(2 * room, self.max_length))
                state = dataclasses.replace(state, own=grown)
            state = self.decode(weights, prompts, state, self._wanted(prompts, state, rows), jnp.int32(limit))

    def _fewer(self, prompts: cache.PromptCache, state: Decoding, rows: int, live: int) -> int:
        """The rows that `live` of them can go on in: halved as often as it helps, if that needs no more memory."""
        now = fewer = len(state.last_B)
        while fewer % (2 * self.least_multiple) == 0 and fewer // 2 >= max(live, rows // LEAST_SHARE, LEAST_ROWS):
            fewer //= 2
        # Each has a copy of its prompt then, which in the end may take more than the others' room has given back.
        (questions, P), T = prompts.mask_QP.shape, self.max_length
        return fewer if fewer * (P + T) <= now * T + questions * P else now

    def _wanted(self, prompts: cache.PromptCache, state: Decoding, rows: int) -> jax.Array:
        """So few must go on for the host to gain from it."""
        half = len(state.last_B) // 2
        return jnp.int32(half if self._fewer(prompts, state, rows, half) <= half else 0)


def _empty(rows: int, length: int) -> Completions:
    return Completions(
        np.zeros((rows, length), np.int32),
        np.zeros((rows, length), np.float32),
        np.zeros(rows, np.int32),
        np.zeros(rows, bool),
    )


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
    decoding: Constrain = no_constraint,
) -> Sampler:
    """A sampler of `group_size` completions of a prompt, of at most `max_length` tokens.

    `constrain` places what computes prompts on the mesh, `decoding` what computes tokens one by one.
    """
    dtype = jnp.dtype(dtype)
    is_greedy = not isinstance(temperature, jax.Array) and temperature == 0
    stops = jnp.asarray(stop_ids, jnp.int32)

    def choose(params: Params, hidden_BD: jax.Array, keys_B: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits_BV = decoder.logits(params, hidden_BD[:, None], config, decoding)[:, 0]
        logits_BV = logits_BV / (1.0 if is_greedy else temperature)
        if is_greedy:
            tokens_B = jnp.argmax(logits_BV, axis=-1)
        else:
            kept_BV = logits.truncate(logits_BV, top_k, top_p, min_p)
            tokens_B = logits.draw(kept_BV, jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys_B, t))
        chosen_B = jnp.take_along_axis(logits_BV, tokens_B[:, None], axis=-1)[:, 0]
        return tokens_B.astype(jnp.int32), chosen_B - jax.nn.logsumexp(logits_BV, axis=-1)

    def write(t: jax.Array, tokens_B: jax.Array, logprobs_B: jax.Array, out: Completions) -> Completions:
        """Puts down token t of the samples that go on."""
        done_B = out.finished
        is_stop = jnp.any(tokens_B[:, None] == stops[None, :], axis=1)
        put = lambda to, x: jax.lax.dynamic_update_slice_in_dim(to, x[:, None], t, axis=1)  # noqa: E731
        return Completions(
            tokens=put(out.tokens, jnp.where(done_B, pad_id, tokens_B)),
            logprobs=put(out.logprobs, jnp.where(done_B, 0.0, logprobs_B)),
            lengths=out.lengths + ~done_B,
            finished=done_B | is_stop,
        )

    def place(state: Decoding) -> Decoding:
        out = state.out
        return Decoding(
            t=state.t,
            last_B=decoding(state.last_B, ("batch",)),
            keys_B=state.keys_B,
            own=cache.place(state.own, decoding),
            out=Completions(
                decoding(out.tokens, ("batch", "time")),
                decoding(out.logprobs, ("batch", "time")),
                decoding(out.lengths, ("batch",)),
                decoding(out.finished, ("batch",)),
            ),
        )

    @jax.jit
    def to_decoding(params: Params) -> Params:
        return cache.to_decoding(cast(params, dtype), config, decoding)

    @jax.jit
    def start(params, weights, tokens_QP, mask_QP, question_ids_Q, key) -> tuple[cache.PromptCache, Decoding]:
        rows = tokens_QP.shape[0] * group_size
        hidden_QD, prompts = cache.prefill(cast(params, dtype), tokens_QP, mask_QP, max_length, config, constrain)
        prompts = cache.place(prompts, decoding)
        question_keys = jax.vmap(lambda q: jax.random.fold_in(key, q))(question_ids_Q)
        fold_samples = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
        keys_B = jax.vmap(lambda k: fold_samples(k, jnp.arange(group_size)))(question_keys).reshape(rows)
        zero = jnp.zeros((), jnp.int32)
        tokens_B, logprobs_B = choose(weights, jnp.repeat(hidden_QD, group_size, axis=0), keys_B, zero)
        empty = Completions(
            tokens=jnp.full((rows, max_length), pad_id, jnp.int32),
            logprobs=jnp.zeros((rows, max_length), jnp.float32),
            lengths=jnp.zeros(rows, jnp.int32),
            finished=jnp.zeros(rows, bool),
        )
        own = cache.empty_completions(rows, min(FIRST_ROOM, max_length), config, dtype, decoding)
        return prompts, place(Decoding(zero + 1, tokens_B, keys_B, own, write(zero, tokens_B, logprobs_B, empty)))

    @functools.partial(jax.jit, donate_argnums=2)
    def decode(
        params: Params, prompts: cache.PromptCache, state: Decoding, wanted: jax.Array, limit: jax.Array
    ) -> Decoding:
        until = jnp.minimum(limit, state.own.keys[0].shape[3] + 1)

        def go_on(state: Decoding) -> jax.Array:
            return (state.t < until) & (company.most(jnp.sum(~state.done_B)) > wanted)

        def step(state: Decoding) -> Decoding:
            t = state.t
            hidden_BD, own = cache.decode_step(
                params, state.last_B, t - 1, prompts, state.own, max_length, config, decoding
            )
            tokens_B, logprobs_B = choose(params, hidden_BD, state.keys_B, t)
            return Decoding(t + 1, tokens_B, state.keys_B, own, write(t, tokens_B, logprobs_B, state.out))

        return place(jax.lax.while_loop(go_on, step, place(state)))

    @jax.jit
    def take(prompts: cache.PromptCache, state: Decoding, rows: jax.Array) -> tuple[cache.PromptCache, Decoding]:
        prompts, own = cache.take(prompts, state.own, rows)
        out = jax.tree.map(lambda x: x[rows], state.out)
        return prompts, place(Decoding(state.t, state.last_B[rows], state.keys_B[rows], own, out))

    @functools.partial(jax.jit, static_argnums=1)
    def grow(own: cache.CompletionCache, length: int) -> cache.CompletionCache:
        return cache.place(cache.grow(own, length), decoding)

    ways = lanes(decoding.mesh, decoding.rules) if isinstance(decoding, OnMesh) else 1
    return Sampler(to_decoding, start, decode, grow, take, max_length, ways)
