"""Divergences of a student's distribution of the next token from a teacher's (GKD, arXiv 2306.13649).

They are those of a state, the tokens before: who wrote these does not matter, and no gradient flows through them. So it
is in GKD, whose divergence of a completion is the mean over its tokens (equation 2). MiniLLM (arXiv 2306.08543) takes
the reverse KL of whole completions: this is the single-step part of its gradient (section 2.2), without what a token
leads to.

All take log-probabilities whose last axis is the vocabulary, float32 [..., V].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

DIVERGENCES = ("reverse_kl", "forward_kl", "jsd")
LOWEST = -1e30
"""Stands for log 0: finite, so that 0 · log 0 is 0."""


class Best(NamedTuple):
    """What is kept of a distribution: its k most probable tokens, and how probable the others are together."""

    logprobs: jax.Array
    """float32 [..., k], the greatest first."""
    tokens: jax.Array
    """int32 [..., k]."""
    rest: jax.Array
    """log of the probability of all other tokens, float32 [...]; `LOWEST` where there are none."""


def log_softmax(logits: jax.Array, temperature: float, count: int) -> jax.Array:
    """Log-probabilities of the first `count` tokens, about `LOWEST` for the rows of a vocabulary behind them, which are
    no tokens."""
    is_token = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1) < count
    return jax.nn.log_softmax(jnp.where(is_token, logits / temperature, LOWEST), axis=-1)


def entropy(logprobs: jax.Array) -> jax.Array:
    """In nats, [...]."""
    return -jnp.sum(jnp.exp(logprobs) * logprobs, axis=-1)


def best(logprobs: jax.Array, k: int) -> Best:
    """The k most probable tokens."""
    values, tokens = jax.lax.top_k(logprobs, k)
    others = jnp.put_along_axis(logprobs, tokens, LOWEST, axis=-1, inplace=False)
    return Best(values, tokens.astype(jnp.int32), jax.nn.logsumexp(others, axis=-1))


@dataclass(frozen=True)
class Divergence:
    """D(teacher, student) in nats, 0 where both are the same.

    With p the teacher's probabilities, q the student's: "reverse_kl" KL(q ‖ p), which keeps the student off what the
    teacher does not do; "forward_kl" KL(p ‖ q), which makes it do all that the teacher does; "jsd", equation 1 with
    m = β p + (1 − β) q: β KL(p ‖ m) + (1 − β) KL(q ‖ m). Divided by β it becomes KL(p ‖ q) for β → 0, divided by
    1 − β KL(q ‖ p) for β → 1.
    """

    kind: str
    """One of `DIVERGENCES`."""
    beta: float = 0.5
    """β of "jsd", more than 0 and less than 1."""

    def whole(self, student: jax.Array, teacher: jax.Array) -> jax.Array:
        """Over all tokens, [...]."""
        return jnp.sum(self.terms(student, teacher), axis=-1)

    def kept(self, student: jax.Array, teacher: Best) -> jax.Array:
        """Over k + 1 outcomes: each token that is kept of the teacher, and any other token, [...].

        The probabilities are the true ones, nothing is normalized anew: so it is never more than the divergence over
        all tokens, and it is that one where k is all of them. What it does not see is how the student shares out among
        the others what the teacher gives to them together.
        """
        nothing = jnp.full(student.shape, 1.0)  # no log-probability
        spread = jnp.put_along_axis(nothing, teacher.tokens, teacher.logprobs, axis=-1, inplace=False)
        is_kept = spread < 0.5
        # Its gradient is a product with a mask. That of looked up log-probabilities would be scattered.
        of_kept = jnp.sum(jnp.where(is_kept, self.terms(student, spread), 0.0), axis=-1)
        others = jax.nn.logsumexp(jnp.where(is_kept, LOWEST, student), axis=-1)
        return of_kept + self.terms(others, teacher.rest)

    def terms(self, student: jax.Array, teacher: jax.Array) -> jax.Array:
        """What each outcome adds, from its two log-probabilities."""
        p, q = jnp.exp(teacher), jnp.exp(student)
        if self.kind == "reverse_kl":
            return q * (student - teacher)
        if self.kind == "forward_kl":
            return p * (teacher - student)
        middle = jnp.logaddexp(jnp.log(self.beta) + teacher, jnp.log1p(-self.beta) + student)
        return self.beta * p * (teacher - middle) + (1 - self.beta) * q * (student - middle)
