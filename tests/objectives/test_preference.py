"""DPO against a transcription of its equation, pair by pair, in float64."""

import math

import numpy as np
import pytest

from rl_reason.objectives.preference import completion_margins, preference_losses

BETA = 0.7


def dpo(chosen, chosen_reference, rejected, rejected_reference, beta, by_length):
    """−log σ(β log π(y⁺)/π_ref(y⁺) − β log π(y⁻)/π_ref(y⁻)); arguments are lists of log π of tokens."""
    ahead = 0.0
    for ours, theirs, sign in ((chosen, chosen_reference, 1), (rejected, rejected_reference, -1)):
        ratio = sum(ours) - sum(theirs)
        ahead += sign * ratio / (len(ours) if by_length else 1)
    return -math.log(1 / (1 + math.exp(-beta * ahead)))


@pytest.mark.parametrize("reduction, by_length", [("sequence_sum", False), ("sequence_mean", True)])
def test_transcription(reduction, by_length):
    rng = np.random.default_rng(0)
    lengths = [3, 7, 1, 2, 7, 5]
    mask = (np.arange(7)[None] < np.array(lengths)[:, None]).astype(np.float32)
    ours, theirs = (rng.normal(-1, 1, mask.shape).astype(np.float32) * mask for _ in range(2))
    margins, _ = completion_margins(ours, theirs, mask, reduction)
    cut = lambda x, i: x[i, : lengths[i]].astype(float).tolist()  # noqa: E731
    expected = [
        dpo(cut(ours, i), cut(theirs, i), cut(ours, i + 1), cut(theirs, i + 1), BETA, by_length) for i in (0, 2, 4)
    ]
    np.testing.assert_allclose(preference_losses(margins, BETA), expected, rtol=1e-5)


def test_far_from_zero():
    """The loss of a pair is log 2 at the start, goes to 0, or rises without a bound and without an overflow."""
    margins = np.array([5, 5, 1e4, -1e4, -1e4, 1e4], np.float32)
    np.testing.assert_allclose(preference_losses(margins, 1.0), [math.log(2), 0, 2e4], rtol=1e-6)
