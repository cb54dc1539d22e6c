"""Divergences from a teacher against a transcription of their equations in float64, values and gradients.

The gradient by the student's logits is written out by hand: with g(j) the derivative of the divergence by the
probability of outcome j, that by the logit of a token v in outcome j is q(v) (g(j) − Σ_i q(i) g(i)) / temperature.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason.objectives.distillation import LOWEST, Divergence, best, entropy, log_softmax

V, TOKENS, TEMPERATURE = 13, 11, 0.7
"""Rows of the vocabulary, of which the last ones are no tokens."""
KINDS = [("reverse_kl", 0.5), ("forward_kl", 0.5), ("jsd", 0.5), ("jsd", 0.1), ("jsd", 0.9)]


def softmax(logits):
    e = np.exp(logits - logits.max())
    return e / e.sum()


def divergence(q, p, kind, beta):
    """(D, dD/dq) of two lists of probabilities, q the student's; GKD's equation 1 with P = p, Q = q."""
    if kind == "forward_kl":
        return np.sum(p * np.log(p / q)), -p / q
    if kind == "reverse_kl":
        return np.sum(q * np.log(q / p)), np.log(q / p) + 1
    m = beta * p + (1 - beta) * q
    value = beta * np.sum(p * np.log(p / m)) + (1 - beta) * np.sum(q * np.log(q / m))
    return value, (1 - beta) * np.log(q / m) + (1 - beta) - (1 - beta) * (beta * p + (1 - beta) * q) / m


def transcription(student, teacher, kind, beta, k):
    """(D, dD/dlogits) of one state; k tokens of the teacher and one outcome for the others (0: each for itself)."""
    q, p = softmax(student[:TOKENS] / TEMPERATURE), softmax(teacher[:TOKENS] / TEMPERATURE)
    outcomes = [[v] for v in range(TOKENS)]
    if k:
        order = sorted(range(TOKENS), key=lambda v: -p[v])
        outcomes = [[v] for v in order[:k]] + ([order[k:]] if k < TOKENS else [])
    of_q, of_p = (np.array([sum(x[v] for v in outcome) for outcome in outcomes]) for x in (q, p))
    value, g = divergence(of_q, of_p, kind, beta)
    gradient = np.zeros(V)
    for j, outcome in enumerate(outcomes):
        for v in outcome:
            gradient[v] = q[v] * (g[j] - np.sum(of_q * g)) / TEMPERATURE
    return value, gradient


def make(kind, beta, k):
    """Our divergence of each state from logits [N, V]."""
    softmax_of = lambda logits: log_softmax(logits, TEMPERATURE, TOKENS)  # noqa: E731

    def of(student, teacher):
        ours, theirs, one = softmax_of(student), softmax_of(teacher), Divergence(kind, beta)
        return one.kept(ours, best(theirs, k)) if k else one.whole(ours, theirs)

    return of


def logits(seed, scale):
    return np.random.default_rng(seed).normal(0, scale, (2, 6, V)).astype(np.float32)


@pytest.mark.parametrize("k", [0, 1, 4, TOKENS])
@pytest.mark.parametrize("kind, beta", KINDS)
def test_transcription(kind, beta, k):
    student, teacher = logits(0, 2.0)
    of, weights = make(kind, beta, k), np.linspace(0.5, 2, len(student)).astype(np.float32)
    values = of(student, teacher)
    gradients = jax.grad(lambda z: jnp.sum(weights * of(z, teacher)))(student)
    expected = [transcription(*rows, kind, beta, k) for rows in zip(*np.float64([student, teacher]), strict=True)]
    expected_values, expected_gradients = (np.array(x) for x in zip(*expected, strict=True))
    np.testing.assert_allclose(values, expected_values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradients, weights[:, None] * expected_gradients, rtol=1e-4, atol=2e-6)
    assert expected_values.min() > 1e-3 and np.abs(expected_gradients).max() > 5e-3


@pytest.mark.parametrize("kind, beta", KINDS)
def test_what_is_kept_grows_to_the_whole(kind, beta):
    """Outcomes that are taken together can only hide a difference; with all tokens kept nothing is hidden."""
    student, teacher = logits(1, 2.0)
    by_k = np.array([make(kind, beta, k)(student, teacher) for k in range(1, TOKENS + 1)])
    assert (np.diff(by_k, axis=0) > -1e-5).all() and (by_k[0] < 0.9 * by_k[-1]).any()
    whole = make(kind, beta, 0)
    np.testing.assert_allclose(by_k[-1], whole(student, teacher), rtol=1e-6)
    gradients = [
        jax.grad(lambda z, of=of: jnp.sum(of(z, teacher)))(student) for of in (make(kind, beta, TOKENS), whole)
    ]
    np.testing.assert_allclose(*gradients, atol=1e-6)


@pytest.mark.parametrize("k", [0, 3])
def test_limits_of_beta(k):
    """Divided by β, or by 1 − β, the divergence between becomes the forward and the reverse KL."""
    student, teacher = logits(2, 1.0)
    near_0, near_1 = (make("jsd", beta, k)(student, teacher) for beta in (0.002, 0.998))
    np.testing.assert_allclose(near_0 / 0.002, make("forward_kl", 0.5, k)(student, teacher), rtol=0.1)
    np.testing.assert_allclose(near_1 / 0.002, make("reverse_kl", 0.5, k)(student, teacher), rtol=0.1)


@pytest.mark.parametrize("k", [0, 3])
@pytest.mark.parametrize("kind, beta", KINDS)
def test_sure_models(kind, beta, k):
    """Probabilities that round to 0 on either side: finite, and 0 where both models are the same."""
    student, teacher = logits(3, 400.0)
    of = make(kind, beta, k)
    values, gradients = of(student, teacher), jax.grad(lambda z: jnp.sum(of(z, teacher)))(student)
    assert np.isfinite(values).all() and np.isfinite(gradients).all()
    assert np.max(values) > (0.2 if kind == "jsd" else 50)
    np.testing.assert_allclose(of(student, student), 0, atol=1e-4)
    np.testing.assert_allclose(jax.grad(lambda z: jnp.sum(of(z, student)))(student), 0, atol=1e-4)


def test_rows_that_are_no_tokens():
    """They have no probability, whatever their logits are, and no gradient."""
    student, teacher = logits(4, 1.0)
    student[:, TOKENS:] = teacher[:, TOKENS:] = 50
    made = log_softmax(student, TEMPERATURE, TOKENS)
    expected = np.array([softmax(row[:TOKENS].astype(float) / TEMPERATURE) for row in student])
    np.testing.assert_allclose(np.exp(made[:, :TOKENS]), expected, rtol=1e-5)
    np.testing.assert_allclose(entropy(made), -np.sum(expected * np.log(expected), axis=1), rtol=1e-5)
    assert (np.exp(made[:, TOKENS:]) == 0).all()
    kept = best(made, TOKENS)
    assert set(kept.tokens[0].tolist()) == set(range(TOKENS)) and np.all(kept.rest <= LOWEST / 2)
    gradient = jax.grad(lambda z: jnp.sum(make("reverse_kl", 0.5, 0)(z, teacher)))(student)
    assert (np.asarray(gradient)[:, TOKENS:] == 0).all() and np.abs(gradient).max() > 1e-2
