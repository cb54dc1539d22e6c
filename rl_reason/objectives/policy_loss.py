"""The loss of policy-gradient methods: a surrogate of the ratio, a KL term, an entropy bonus.

GRPO (DeepSeekMath, arXiv 2402.03300, equation 3) is the default; what other methods change are its settings.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from rl_reason.objectives.kl import estimate
from rl_reason.objectives.surrogates import SURROGATES, correct, log_ratio


@dataclass(frozen=True)
class PolicyLoss:
    """Σ weights · −{w · surrogate(r, Â) − β KL + c H}, to be divided by the weights' denominator."""

    surrogate: str = "clip"
    """A key of `surrogates.SURROGATES`."""
    ratio_level: str = "token"
    """See `surrogates.log_ratio`."""
    clip_low: float = 0.2
    """ε_low."""
    clip_high: float = 0.2
    """ε_high."""
    dual_clip: float = 0.0
    """See `surrogates.clipped`."""
    sapo_positive: float = 1.0
    """Temperature of SAPO's gate where the advantage is positive."""
    sapo_negative: float = 1.05
    """And elsewhere."""
    kl_coef: float = 0.0
    """β."""
    kl_estimator: str = "k3"
    """One of `kl.KL_NAMES`."""
    kl_limit: float = 0.0
    """See `kl.estimate`."""
    entropy_coef: float = 0.0
    """c."""
    correction: str = "none"
    """Of what the sampler computes otherwise than the trainer, or an older policy than it: see `surrogates.correct`,
    which makes w."""
    correction_limit: float = 2.0

    def __call__(
        self,
        logprobs_BT: jax.Array,
        old_logprobs_BT: jax.Array,
        reference_logprobs_BT: jax.Array | None,
        sampler_logprobs_BT: jax.Array,
        entropies_BT: jax.Array,
        advantages_BT: jax.Array,
        mask_BT: jax.Array,
        segments_BT: jax.Array,
        weights_BT: jax.Array,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The sum, and sums over tokens of what is worth watching (their maxima where a name ends in "/max").

        Args:
            logprobs_BT: log π of the sampled tokens; the gradient flows through these and the entropies.
            old_logprobs_BT: log π_old.
            reference_logprobs_BT: log π_ref; None where β is 0.
            sampler_logprobs_BT: as the sampler computed them.
            entropies_BT: of π at each token.
            advantages_BT: Â of each token.
            mask_BT: float32, 1 on the tokens of completions, their end-of-sequence tokens counted.
            segments_BT: int32, equal for the tokens of one completion: a row may hold several.
            weights_BT: from `reductions.token_weights`, 0 outside the mask.
        """
        ratio_BT = jnp.exp(log_ratio(logprobs_BT, old_logprobs_BT, mask_BT, segments_BT, self.ratio_level))
        objective_BT, is_cut_BT = SURROGATES[self.surrogate](ratio_BT, logprobs_BT, advantages_BT, self)
        sums = {
            "ratio/clipped": jnp.sum(is_cut_BT * mask_BT),
            "ratio/mean": jnp.sum(ratio_BT * mask_BT),
            "entropy": jnp.sum(entropies_BT * mask_BT),
        }
        sums |= differences(old_logprobs_BT, sampler_logprobs_BT, mask_BT)
        if self.correction != "none":
            apart_BT = (old_logprobs_BT - sampler_logprobs_BT) * mask_BT
            correction_BT, is_beyond_BT = correct(apart_BT, segments_BT, self.correction, self.correction_limit)
            objective_BT = objective_BT * correction_BT
            sums["ratio/correction"] = jnp.sum(correction_BT * mask_BT)
            sums["ratio/correction_limited"] = jnp.sum(is_beyond_BT * mask_BT)
        if reference_logprobs_BT is not None:
            kl_BT = estimate(self.kl_estimator, logprobs_BT, reference_logprobs_BT, ratio_BT, self.kl_limit)
            objective_BT = objective_BT - self.kl_coef * kl_BT
            sums["kl/reference"] = jnp.sum(kl_BT * mask_BT)
        if is_on(self.entropy_coef):
            objective_BT = objective_BT + self.entropy_coef * entropies_BT
        return -jnp.sum(weights_BT * objective_BT), sums


def is_on(coefficient: float | jax.Array) -> bool:
    """Whether a term has a weight. One that is traced has one: it is not known, and not 0 (`recipes.together`)."""
    return isinstance(coefficient, jax.Array) or coefficient != 0


def differences(logprobs_BT: jax.Array, sampler_logprobs_BT: jax.Array, mask_BT: jax.Array) -> dict[str, jax.Array]:
    """How far what the trainer computes is from what the sampler did: sums over tokens, and the maximum."""
    apart_BT = (logprobs_BT - sampler_logprobs_BT) * mask_BT
    return {
        "logprob_difference/mean": jnp.sum(jnp.abs(apart_BT)),
        "logprob_difference/ratio": jnp.sum(jnp.exp(apart_BT) * mask_BT),
        "logprob_difference/max": jnp.max(jnp.abs(apart_BT)),
    }
