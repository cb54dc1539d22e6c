"""The unified view of DeepSeekMath (arXiv 2402.03300, section 5.2 and appendix A): a method is where its data come
from, what rewards them, the coefficient of each token's gradient, and how tokens become one sum.

    ∇J(θ) = E_{(q, o) ~ data} [ Σ_t w_t · GC(q, o, t) · ∇ log π_θ(o_t | q, o_<t) ]

with w_t by the reduction, in the paper 1/|o|. Where the data are pairs, the expectation is over pairs, and the sum over
the tokens of both completions.

The losses of the recipes are written for their own reasons, with ratios that are clipped and log-probabilities that are
kept; for one update of the policy that sampled, their gradient is this sum. Tests compare the two for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

Tokens = Mapping[str, jax.Array]
"""What coefficients read of B completions, float32: `mask` [B, T]; `logprobs` and `reference_logprobs` [B, T];
`rewards` [B] of whole completions; `advantages` [B, T]; `partners` int32 [B], the row of a completion's other half
where they are pairs, and `is_chosen` [B]."""

Coefficient = Callable[[Tokens, float], jax.Array]
"""(completions, β) → GC of each token, float32 [B, T]."""


def one(tokens: Tokens, beta: float) -> jax.Array:
    """1: every token is to become more likely."""
    return tokens["mask"]


def reward(tokens: Tokens, beta: float) -> jax.Array:
    """I(o): 1 if the answer is right, else 0; or any reward of the completion."""
    return tokens["rewards"][:, None] * tokens["mask"]


def advantage(tokens: Tokens, beta: float) -> jax.Array:
    """A_t."""
    return tokens["advantages"] * tokens["mask"]


def advantage_and_kl(tokens: Tokens, beta: float) -> jax.Array:
    """Â_t + β (π_ref/π − 1), the second part from the KL estimate k3 in the loss."""
    ratio = jnp.exp(tokens["reference_logprobs"] - tokens["logprobs"])
    return (tokens["advantages"] + beta * (ratio - 1)) * tokens["mask"]


def preference(tokens: Tokens, beta: float) -> jax.Array:
    """± β σ(β (m⁻ − m⁺)), + for the chosen one; m = Σ log π/π_ref of a completion (arXiv 2305.18290, equation 7)."""
    return _of_pairs(tokens, beta, jnp.sum(_log_ratio(tokens), axis=1))


def mean_preference(tokens: Tokens, beta: float) -> jax.Array:
    """The same with m = 1/|o| Σ log π/π_ref, as DeepSeekMath writes DPO; its printed coefficient leaves out β."""
    length_B = jnp.sum(tokens["mask"], axis=1)
    return _of_pairs(tokens, beta, jnp.sum(_log_ratio(tokens), axis=1) / length_B)


def _log_ratio(tokens: Tokens) -> jax.Array:
    return (tokens["logprobs"] - tokens["reference_logprobs"]) * tokens["mask"]


def _of_pairs(tokens: Tokens, beta: float, margin_B: jax.Array) -> jax.Array:
    sign_B = 2 * tokens["is_chosen"] - 1
    ahead_B = sign_B * (margin_B - margin_B[tokens["partners"]])  # of the chosen one, seen from either
    return (beta * sign_B * jax.nn.sigmoid(-beta * ahead_B))[:, None] * tokens["mask"]


@dataclass(frozen=True)
class Method:
    data: str
    reward: str
    coefficient: Coefficient
    reduction: str
    """A key of `reductions.token_weights`."""
    recipe: str
    """The loop that runs it: `config.recipe`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of `config.algorithm`, what makes the method one."""
    of_pairs: bool = False
    """Whether the mean over completions of the reduction is one over pairs of them."""


ONE_UPDATE = {"surrogate": "clip", "ratio_level": "token", "updates": 1, "minibatches": 1}

METHODS: dict[str, Method] = {
    "sft": Method("human data", "none", one, "sequence_mean", "supervised"),
    "rft": Method("outputs of the start policy, the right ones", "rule", one, "sequence_mean", "rejection"),
    "online_rft": Method(
        "outputs of the policy", "rule", reward, "sequence_mean", "policy_gradient",
        ONE_UPDATE | {"advantage": "reward", "kl_coef": 0.0},
    ),
    "dpo": Method(
        "pairs of outputs of the start policy", "rule or people", preference, "sequence_sum", "preference",
        of_pairs=True,
    ),
    "dpo_mean": Method(
        "pairs of outputs of the start policy", "rule or people", mean_preference, "sequence_mean", "preference",
        of_pairs=True,
    ),
    "ppo": Method(
        "outputs of the policy", "model or rule, less the KL", advantage, "token_mean", "policy_gradient",
        ONE_UPDATE | {"advantage": "gae", "kl_in": "reward", "kl_estimator": "k1"},
    ),
    "grpo": Method(
        "groups of outputs of the policy", "model or rule", advantage_and_kl, "sequence_mean", "policy_gradient",
        ONE_UPDATE | {"advantage": "group", "kl_in": "loss", "kl_estimator": "k3"},
    ),
    "grpo_iterative": Method(
        "groups of outputs of the policy", "model, trained on between iterations", advantage_and_kl, "sequence_mean",
        "policy_gradient", ONE_UPDATE | {"advantage": "group", "kl_in": "loss", "kl_estimator": "k3"},
    ),
    "grpo_process": Method(
        "groups of outputs of the policy", "model or rule, of steps", advantage_and_kl, "sequence_mean",
        "policy_gradient", ONE_UPDATE | {"advantage": "process", "kl_in": "loss", "kl_estimator": "k3"},
    ),
}  # fmt: skip
"""Online methods are those whose data are the policy's own. PPO's settings are those of one update; with more, its
ratio leaves 1 and is clipped. Reward models are no rows: they are what some rows are rewarded by, and have losses of
their own (`objectives.reward_models`)."""


def choose(config: Any, name: str) -> None:
    """Makes a config run the method `name`: its recipe, and the settings of `config.algorithm` that make it one."""
    method = METHODS[name]
    config.recipe = method.recipe
    config.algorithm.update({"reduction": method.reduction, **method.settings})
