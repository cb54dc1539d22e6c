"""What each preset computes from rewards and log-probabilities, against its source's formula written out with the
source's constants: from a batch to advantages, loss and gradient, in float64 with loops.

A value that is changed in `presets.py` fails here; that the pieces agree with their formulas for other values is
`test_policy_loss.py`'s to say."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason import presets, settings
from rl_reason.objectives.reductions import token_weights
from rl_reason.recipes.checks.policy_gradient import check_policy_gradient
from rl_reason.recipes.critic import advantages_by_critic, value_sums
from rl_reason.recipes.policy_update import make_loss
from rl_reason.recipes.rollout import advantages
from rl_reason.runtime.config import read

Q, G, WIDTH, LIMIT = 3, 4, 7, 10
LENGTHS = (7, 1, 4, 6, 3, 7, 5, 2, 2, 6, 3, 4)
TOKENS = [(i, t) for i, n in enumerate(LENGTHS) for t in range(n)]
REWARDS = np.array([[1, 0, 0, 1], [0.5, 0.25, 1, 0], [0, 0, 0, 1]], np.float64)
B = Q * G
BETA_OF_THE_CONFIG = 0.04
FROM_THE_SAMPLER = np.random.default_rng(12).normal(0, 0.7, (B, WIDTH))
"""log π_old − log π_sampler."""


def batch(spread):
    """New, old and reference log-probabilities; some references are far off, where estimators are cut."""
    rng = np.random.default_rng(11)
    old = -rng.exponential(1.0, (B, WIDTH)) - 0.05
    reference = old + rng.normal(0, 0.5, old.shape)
    reference[:, 0] += np.linspace(-4, 4, B)
    return old + rng.normal(0, spread, old.shape), old, reference


def standardized(ddof, eps):
    return [(r - row.mean()) / (row.std(ddof=ddof) + eps) for row in REWARDS for r in row]


def centered():
    return [r - row.mean() for row in REWARDS for r in row]


def without(row, g):
    return np.delete(row, g)


def token_ratio(new, old, at, i, t):
    return math.exp(new[i, t] - old[i, t])


def product(new, old, at, i, t):
    return math.exp(sum(new[i, s] - old[i, s] for s in range(LENGTHS[i])))


def geometric_mean(new, old, at, i, t):
    return product(new, old, at, i, t) ** (1 / LENGTHS[i])


def clipped(r, A, low, high):
    return min(r * A, min(max(r, low), high) * A)


def k3(new, reference):
    return math.exp(reference - new) - (reference - new) - 1


def k1(new, reference):
    return new - reference


def over_tokens(terms):
    """Mean over all tokens of the batch."""
    return sum(terms.values()) / len(TOKENS)


def over_completions(terms):
    """1/B Σ 1/|o|."""
    return sum(x / LENGTHS[i] for (i, t), x in terms.items()) / B


def loss_of(term, reduce):
    """−reduce of term(i, t)."""
    return lambda *x: -reduce({(i, t): term(*x, i, t) for i, t in TOKENS})


def simple(A, low, high, reduce, ratio=token_ratio, beta=0.0, kl=k3, dual=None):
    """Clipped surrogate with an advantage by completion."""

    def term(new, old, reference, at, i, t):
        made = clipped(ratio(new, old, at, i, t), A[i], low, high)
        made = max(made, dual * A[i]) if dual and A[i] < 0 else made
        return made - beta * kl(new[i, t], reference[i, t])

    return loss_of(term, reduce)


def cispo(new, old, reference, at, i, t):
    return min(token_ratio(at, old, at, i, t), 5.0) * standardized(0, 1e-6)[i] * new[i, t]


def sapo(new, old, reference, at, i, t):
    A = standardized(0, 1e-6)[i]
    tau = 1.0 if A > 0 else 1.05
    return 4 / tau / (1 + math.exp(-tau * (token_ratio(new, old, at, i, t) - 1))) * A


def limited_k3(new, reference):
    """verl's low_var_kl, OpenRLHF's, whose ±20 nothing here reaches, and NeMo-RL's with its two clamps."""
    log_ratio = min(max(reference - new, -20), 20)
    return min(max(math.exp(log_ratio) - log_ratio - 1, -10), 10)


def rloo(new, old, reference, at, i, t):
    """Σ over tokens: the completion is one action; the KL of the sampling policy is in the reward."""
    apart = BETA_OF_THE_CONFIG * (old - reference)
    whole = [REWARDS.reshape(-1)[j] - apart[j, :n].sum() for j, n in enumerate(LENGTHS)]
    row = np.array(whole).reshape(Q, G)[i // G]
    A = row[i % G] - without(row, i % G).mean()
    return clipped(token_ratio(new, old, at, i, t), A, 0.8, 1.2)


def whitened(A):
    """{(i, t): A} with mean 0 and variance 1 over tokens."""
    x = np.array(list(A.values()))
    return {key: (value - x.mean()) / (x.std() + 1e-6) for key, value in A.items()}


def reinforce_pp(new, old, reference, at, i, t):
    apart = BETA_OF_THE_CONFIG * (old - reference)
    A = whitened({(j, s): REWARDS.reshape(-1)[j] - apart[j, s : LENGTHS[j]].sum() for j, s in TOKENS})
    return clipped(token_ratio(new, old, at, i, t), A[i, t], 0.8, 1.2)


def reinforce_pp_baseline(new, old, reference, at, i, t):
    A = whitened({(j, s): centered()[j] for j, s in TOKENS})
    kl = (new[i, t] - reference[i, t]) ** 2 / 2
    return clipped(token_ratio(new, old, at, i, t), A[i, t], 0.8, 1.2) - BETA_OF_THE_CONFIG * kl


def leave_one_out_std():
    return [
        (r - without(row, g).mean()) / (without(row, g).std(ddof=1) + 1e-6 if without(row, g).std() else 1)
        for row in REWARDS
        for g, r in enumerate(row)
    ]


def open_instruct(new, old, reference, at, i, t):
    weight = min(math.exp(FROM_THE_SAMPLER[i, t]), 2.0)
    made = clipped(token_ratio(new, old, at, i, t), centered()[i], 0.8, 1.272)
    return weight * made - 0.05 * k3(new[i, t], reference[i, t])


def gae(rewards, values):
    """λ 0.95, γ 1; nothing comes behind the last token."""
    made, after, value = [], 0.0, 0.0
    for r, v in zip(rewards[::-1], values[::-1], strict=True):
        after = r + value - v + 0.95 * after
        value = v
        made.append(after)
    return made[::-1]


def advantages_of_ppo(old, reference):
    """{(i, t): Â} before they are whitened: of k1 taken off each token, and the reward at the last one."""
    made = {}
    for i, n in enumerate(LENGTHS):
        given = -BETA_OF_THE_CONFIG * (old - reference)[i, :n]
        given[-1] += REWARDS.reshape(-1)[i]
        made |= {(i, t): a for t, a in enumerate(gae(given, VALUES[i, :n]))}
    return made


def ppo(new, old, reference, at, i, t):
    A = whitened(advantages_of_ppo(old, reference))
    return clipped(token_ratio(new, old, at, i, t), A[i, t], 0.8, 1.2)


def value_loss_of_ppo(values, old, reference):
    """Mean over tokens of ½ max((V − R)², (V_old + clip(V − V_old, ±0.2) − R)²), R = Â + V_old."""
    terms = {}
    for (i, t), a in advantages_of_ppo(old, reference).items():
        v, was = values[i, t], VALUES[i, t]
        near = was + min(max(v - was, -0.2), 0.2)
        terms[i, t] = max((v - a - was) ** 2, (near - a - was) ** 2) / 2
    return over_tokens(terms)


SOURCES = {
    "deepseekmath": simple(standardized(0, 1e-6), 0.8, 1.2, over_completions, beta=0.04),
    "r1_zero": simple(standardized(0, 1e-6), 0.8, 1.2, over_completions, product, beta=0.001),
    "r1_stage1": simple(standardized(0, 1e-6), -9, 11, over_completions, product, beta=0.001),
    "dr_grpo": simple(centered(), 0.8, 1.2, lambda terms: sum(terms.values()) / B / LIMIT),
    "dapo": simple(standardized(0, 1e-6), 0.8, 1.28, over_tokens),
    "gspo": simple(standardized(0, 1e-6), 1 - 3e-4, 1 + 4e-4, over_completions, geometric_mean),
    "cispo": loss_of(cispo, over_tokens),
    "sapo": loss_of(sapo, over_completions),
    "rloo": loss_of(rloo, lambda terms: sum(terms.values()) / B),
    "reinforce_pp": loss_of(reinforce_pp, over_tokens),
    "reinforce_pp_baseline": loss_of(reinforce_pp_baseline, over_tokens),
    "trl": simple(standardized(1, 1e-4), 0.8, 1.2, over_tokens),
    "verl": simple(standardized(1, 1e-6), 0.8, 1.2, over_tokens, beta=0.001, kl=limited_k3, dual=3.0),
    "openrlhf": simple(standardized(1, 1e-9), 0.8, 1.2, over_tokens, beta=BETA_OF_THE_CONFIG, kl=limited_k3),
    "nemo_rl": simple(leave_one_out_std(), 0.8, 1.2, over_tokens, beta=0.01, kl=limited_k3),
    "open_instruct": loss_of(open_instruct, over_tokens),
    "tunix": simple(standardized(1, 1e-6), 0.8, 1.2, over_completions, beta=0.04, kl=k1),
    "ppo": loss_of(ppo, over_tokens),
}


MASK = (np.arange(WIDTH)[None] < np.array(LENGTHS)[:, None]).astype(np.float32)
VALUES = np.random.default_rng(13).normal(0.3, 0.5, (B, WIDTH)).astype(np.float32)
"""Of a critic, at sampling."""
f32 = lambda x: jnp.asarray(x, jnp.float32)  # noqa: E731


def made_of(preset, old, reference):
    """The settings, and the arrays of the batch with its advantages, as the recipe makes them of the preset."""
    config = settings.defaults()
    config.algorithm.update({"group_size": G, "batch_size": B, "minibatches": 2, "ddof": 1, "eps": 0.1})
    presets.apply(config, preset)
    made = settings.Settings.from_config(config)
    of_batch = {"old": old, "reference": reference, "sampler": old - FROM_THE_SAMPLER}
    arrays = {f"{name}_logprobs": np.asarray(f32(x)) for name, x in of_batch.items()} | {"mask": MASK}
    rewards = REWARDS.reshape(-1).astype(np.float32)
    if made.critic.kind == "none":
        return made, arrays | {"advantages": advantages(rewards, arrays, made.algorithm).reshape(B, -1)}
    values = np.stack([VALUES, np.full_like(VALUES, 9.0)], axis=-1)  # behind a token, where completions are cut off
    return made, arrays | advantages_by_critic(rewards, arrays, values, np.zeros(B, bool), made)[0]


def ours(preset, new, old, reference):
    """Loss and gradient as the recipe makes them of the preset."""
    made, arrays = made_of(preset, old, reference)
    weights, denominator = token_weights(jnp.asarray(MASK), made.algorithm.reduction, LIMIT)
    policy_loss = make_loss(made.algorithm)

    def loss(x):
        total, _ = policy_loss(
            x, f32(old), f32(reference) if policy_loss.kl_coef else None, arrays["sampler_logprobs"], x,
            arrays["advantages"], MASK, jnp.asarray(MASK, jnp.int32), weights,
        )  # fmt: skip
        return total / denominator

    return jax.value_and_grad(loss)(f32(new))


def test_all_presets_are_here():
    assert set(SOURCES) == set(presets.PRESETS)


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_what_a_config_file_says_of_the_spread_does_not_stay(preset):
    """It would change the method, or be refused where the preset reads none."""
    config = read(str(Path(__file__).parents[2] / "configs" / "iterative_grpo_math.py"), "tiny")
    assert config.algorithm.eps == 0.1
    presets.apply(config, preset)
    check_policy_gradient(settings.Settings.from_config(config))
    assert config.algorithm.eps <= 1e-4


def test_the_critic_of_ppo():
    """Its loss; some values have moved further than 0.2, some returns lie between."""
    _, old, reference = batch(0.3)
    made, arrays = made_of("ppo", old, reference)
    assert (made.critic.kind, made.algorithm.updates) == ("separate", 4)
    values = VALUES + np.random.default_rng(14).normal(0, 0.3, VALUES.shape)
    weights, denominator = token_weights(jnp.asarray(MASK), made.algorithm.reduction, LIMIT)
    piece = {**arrays, "weights": weights}
    value, gradient = jax.value_and_grad(lambda v: value_sums(v, piece, made.critic)[0] / denominator)(f32(values))
    assert float(value) == pytest.approx(value_loss_of_ppo(values, old, reference), rel=2e-5)
    expected = slopes(lambda v: value_loss_of_ppo(v, old, reference), values)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)
    assert (np.abs(expected)[MASK > 0] < 1e-9).any() and np.abs(expected).max() > 1e-3


def slopes(loss, at):
    """Its gradient by differences, at each token."""
    made, h = np.zeros_like(at), 1e-6
    for i, t in TOKENS:
        up, down = at.copy(), at.copy()
        up[i, t] += h
        down[i, t] -= h
        made[i, t] = (loss(up) - loss(down)) / (2 * h)
    return made


@pytest.mark.parametrize("preset", SOURCES)
def test_loss_and_gradient(preset):
    new, old, reference = batch(spread={"gspo": 0.002, "verl": 1.2}.get(preset, 0.3))
    value, gradient = ours(preset, new, old, reference)
    loss = SOURCES[preset]
    assert float(value) == pytest.approx(loss(new, old, reference, new), rel=2e-5, abs=1e-6)
    expected = slopes(lambda x: loss(x, old, reference, new), new)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=2e-6 * max(1.0, np.abs(expected).max()))
    assert np.abs(expected).max() > 1e-3


def test_the_cases_meet_the_limits():
    """Else they could not tell one constant from another."""
    new, old, reference = batch(0.3)
    inside = tuple(zip(*TOKENS, strict=True))
    assert (np.exp(new - old)[inside] > 1.28).any() and (np.exp(new - old)[inside] < 0.8).any()
    assert max(k3(new[i, t], reference[i, t]) for i, t in TOKENS) > 10
    far, _, _ = batch(1.2)
    A = standardized(1, 1e-6)
    assert any(token_ratio(far, old, far, i, t) > 3 and A[i] < 0 for i, t in TOKENS)
