"""From rewards to advantages where the KL penalty stands in the reward, by loops in float64."""

import math

import numpy as np
import pytest

from rl_reason.recipes.rollout import advantages, token_rewards
from rl_reason.settings import Algorithm

LENGTHS, GROUP, BETA, LIMIT = (5, 1, 3, 4, 2, 5), 3, 0.2, 0.5
WIDTH = max(LENGTHS)
MASK = (np.arange(WIDTH)[None] < np.array(LENGTHS)[:, None]).astype(np.float32)
REWARDS = np.array([1.0, 0.0, 0.25, 0.5, 0.0, 1.0], np.float32)
TOKENS = [(i, t) for i, n in enumerate(LENGTHS) for t in range(n)]


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(7)
    sampler, old, reference = -rng.exponential(1.0, (3, *MASK.shape)).astype(np.float32)
    return {"mask": MASK, "sampler_logprobs": sampler, "old_logprobs": old, "reference_logprobs": reference}


def penalty(estimator, limit, old, reference):
    apart = float(old) - float(reference)
    made = {"k1": apart, "k2": apart**2 / 2, "k3": math.exp(-apart) - 1 + apart}[estimator]
    return BETA * (min(max(made, -limit), limit) if limit else made)


def whitened(made):
    x = np.array(list(made.values()))
    return {at: (value - x.mean()) / (x.std() + 1e-6) for at, value in made.items()}


def expected_advantages(advantage, of_token):
    """{(i, t): Â}"""
    taken = [REWARDS[i] - sum(of_token[i, t] for t in range(n)) for i, n in enumerate(LENGTHS)]
    groups = np.array(taken).reshape(-1, GROUP)
    of_rewards = REWARDS.astype(np.float64).reshape(-1, GROUP)
    center = lambda x: x - x.mean(axis=1, keepdims=True)  # noqa: E731
    by_completion = {
        "reward": groups,
        "centered": center(groups),
        "group": center(groups) / (groups.std(axis=1, keepdims=True, ddof=1) + 1e-3),
        "leave_one_out": np.array([[r - np.delete(row, g).mean() for g, r in enumerate(row)] for row in groups]),
    }
    if advantage in by_completion:
        return {(i, t): by_completion[advantage].reshape(-1)[i] for i, t in TOKENS}
    base = (of_rewards if advantage == "batch" else center(of_rewards)).reshape(-1)
    return whitened({(i, t): base[i] - sum(of_token[i, s] for s in range(t, LENGTHS[i])) for i, t in TOKENS})


@pytest.mark.parametrize("advantage", ["reward", "centered", "group", "leave_one_out", "batch", "group_batch"])
@pytest.mark.parametrize("estimator, limit", [("k1", 0.0), ("k2", 0.0), ("k3", 0.0), ("k1", LIMIT), ("k3", LIMIT)])
def test_the_kl_in_the_reward(estimator, limit, advantage, batch):
    eps = {"group": 1e-3}.get(advantage, 1e-6)
    algorithm = Algorithm(
        group_size=GROUP, batch_size=len(LENGTHS), advantage=advantage, ddof=1, eps=eps, kl_in="reward", kl_coef=BETA,
        kl_estimator=estimator, kl_limit=limit,
    )  # fmt: skip
    of_token = {
        (i, t): penalty(estimator, limit, batch["old_logprobs"][i, t], batch["reference_logprobs"][i, t])
        for i, t in TOKENS
    }
    made = advantages(REWARDS, batch, algorithm)
    made = np.broadcast_to(made.reshape(len(made), -1), MASK.shape)
    for at, expected in expected_advantages(advantage, of_token).items():
        assert made[at] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    given = np.asarray(token_rewards(REWARDS, batch, algorithm))
    for i, t in TOKENS:
        is_last = t == LENGTHS[i] - 1
        assert given[i, t] == pytest.approx(REWARDS[i] * is_last - of_token[i, t], rel=1e-4, abs=1e-5)
    assert not given[MASK == 0].any()


def test_the_policy_that_sampled_is_penalized(batch):
    """By what decoding computed, where no pass over the completions has computed it again."""
    algorithm = Algorithm(group_size=GROUP, kl_in="reward", kl_estimator="k1", kl_coef=BETA)
    alone = {name: x for name, x in batch.items() if name != "old_logprobs"}
    expected = -BETA * (batch["sampler_logprobs"] - batch["reference_logprobs"]) * MASK
    np.testing.assert_allclose(token_rewards(np.zeros(len(LENGTHS)), alone, algorithm), expected, rtol=1e-5, atol=1e-6)
