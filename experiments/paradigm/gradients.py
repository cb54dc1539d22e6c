"""For each method the gradient that its recipe computes, and Σ w · GC · ∇log π over the same random completions.

The one side is the recipe's own: packed rows, shared prompts, pieces, jitted. The other side is one completion a row
and a plain softmax, with coefficients that whoever asks gives.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.paradigm.random_model import VOCABULARY
from rl_reason import settings
from rl_reason.data.iterators import EncodedPrompt
from rl_reason.data.preferences import Pair
from rl_reason.data.selection import select
from rl_reason.data.supervised import Example, Examples, make_batches
from rl_reason.models import decoder
from rl_reason.models.weights import Params
from rl_reason.objectives.methods import METHODS
from rl_reason.parallel.mesh import replicated
from rl_reason.recipes.completions import lay, make_score, place
from rl_reason.recipes.critic import advantages_by_critic
from rl_reason.recipes.evaluation import Samples
from rl_reason.recipes.layout import make_pieces
from rl_reason.recipes.optimizer import TrainState, init_state, state_shardings
from rl_reason.recipes.policy_update import make_update
from rl_reason.recipes.preference import make_pair_batch
from rl_reason.recipes.preference import make_update as make_preference_update
from rl_reason.recipes.rollout import Batch, advantages, make_batch, weigh
from rl_reason.recipes.setup import Model
from rl_reason.recipes.supervised import make_supervised_step

BETA = 0.3
CRITIC = settings.Critic("separate", gamma=0.9)
PLAIN = optax.sgd(1.0)


@dataclass(frozen=True)
class Sizes:
    """Of random data: B = questions · group completions."""

    questions: int = 3
    group: int = 4
    prompt: int = 5
    """Tokens at most."""
    completion: int = 8
    micro_batch: int = 3


@dataclass(frozen=True)
class Case:
    """What a recipe has made of random data."""

    gradient: Params
    """Of its loss, before the optimizer."""
    batch: Batch
    """The completions, one a row."""
    tokens: Mapping[str, np.ndarray]
    """What coefficients read of them beside mask and log-probabilities (`objectives.methods.Tokens`)."""
    algorithm: settings.Algorithm
    drawn: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What advantages are made of: rewards, those of steps and where these end, values."""
    watched: Mapping[str, Any] = field(default_factory=dict)
    """What the recipe has counted beside."""

    @property
    def beta(self) -> float:
        return self.algorithm.kl_coef


def make(name: str, model: Model, params: Params, sizes: Sizes = Sizes()) -> Callable[[int], Case]:
    """The gradient of a method's recipe on random data: `made(seed)`, whose functions are compiled once."""
    kinds = {"policy_gradient": _policy_gradient, "preference": _preference}
    compute = kinds.get(METHODS[name].recipe, _supervised)(name, model, params, sizes)
    return lambda seed: compute(np.random.default_rng(seed))


def difference(gradient: Params, expected: Params) -> float:
    """Of a loss, and of what is to be maximized: relative to each weight's gradient, the greatest."""
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True)
    return max(
        float(np.linalg.norm(np.asarray(mine) + np.asarray(theirs)) / np.linalg.norm(theirs)) for mine, theirs in pairs
    )


def summed(name: str, case: Case, model: Model, params: Params, coefficient) -> Params:
    """Σ w · GC · ∇log π; `coefficient(tokens, β)` gives GC [B, T], w is the method's reduction, written out."""
    method, mask = METHODS[name], case.batch["mask"]
    count = len(mask) / 2 if method.of_pairs else len(mask)
    weights = {
        "sequence_mean": mask / mask.sum(axis=1, keepdims=True) / count,
        "sequence_sum": mask / count,
        "token_mean": mask / mask.sum(),
    }[method.reduction]
    given = {**case.tokens, "mask": mask, "logprobs": plain_logprobs(params, model, case.batch)}
    cotangent = jnp.asarray(weights * coefficient(given, case.beta), jnp.float32)
    return _pull_back(params, *(case.batch[key] for key in READ), cotangent, config=model.config)


READ = ("tokens", "segments", "mask")


def plain_logprobs(params: Params, model: Model, batch: Batch) -> jax.Array:
    """One completion a row, and a softmax over the vocabulary."""
    return _logprobs(params, *(batch[key] for key in READ), config=model.config)


@functools.partial(jax.jit, static_argnames="config")
def _logprobs(params: Params, tokens: jax.Array, segments: jax.Array, mask: jax.Array, *, config) -> jax.Array:
    hidden, _ = decoder.forward(params, tokens, segments > 0, config)
    logprobs = jax.nn.log_softmax(decoder.logits(params, hidden, config)[:, :-1], axis=-1)
    made = jnp.take_along_axis(logprobs, tokens[:, 1:, None], axis=-1)[..., 0]
    return made[:, -mask.shape[1] :] * mask


@functools.partial(jax.jit, static_argnames="config")
def _pull_back(params: Params, *arrays: jax.Array, config) -> Params:
    """Σ cotangent · ∇log π."""
    *read, cotangent = arrays
    return jax.vjp(lambda p: _logprobs(p, *read, config=config), params)[1](cotangent)[0]


def _algorithm(name: str, sizes: Sizes) -> settings.Algorithm:
    method = METHODS[name]
    base = settings.Algorithm(group_size=sizes.group, kl_coef=BETA, reduction=method.reduction)
    return dataclasses.replace(base, **method.settings)


def rollout(rng: np.random.Generator, sizes: Sizes) -> Batch:
    """Completions of different lengths."""
    draw = lambda *shape: rng.integers(2, VOCABULARY, shape)  # noqa: E731
    count = sizes.questions * sizes.group
    prompts = [EncodedPrompt(i, draw(rng.integers(1, sizes.prompt + 1)).tolist()) for i in range(sizes.questions)]
    lengths = rng.integers(1, sizes.completion + 1, count).astype(np.int32)
    tokens = draw(count, sizes.completion).astype(np.int32)
    samples = Samples(tokens, np.zeros(tokens.shape, np.float32), lengths, lengths < sizes.completion)
    return make_batch(prompts, samples, sizes.group, sizes.prompt, 0)


def _start(model: Model, params: Params) -> tuple[TrainState, TrainState]:
    places = state_shardings(model.trained(), PLAIN, replicated(model.mesh))
    return places, jax.jit(lambda p: init_state(p, PLAIN), out_shardings=places)(params)


def policy_gradient(
    model: Model, params: Params, algorithm: settings.Algorithm, sizes: Sizes
) -> Callable[[Batch], tuple[Params, Mapping[str, Any]]]:
    """What the recipe computes of a batch before the optimizer, and what it counts beside; compiled once."""
    places, state = _start(model, params)
    update = make_update(model, algorithm, PLAIN, 1.0, places, sizes.micro_batch)

    def compute(batch: Batch) -> tuple[Params, Mapping[str, Any]]:
        weighed, denominator = weigh(batch, algorithm.reduction, sizes.completion)
        layout = lay(weighed, model, sizes.micro_batch)
        pieces = place(make_pieces(weighed, layout), model.mesh)
        totals = update.step(batch["tokens"].shape[1]).gradients(state, pieces, jnp.int32(layout.pieces))
        return jax.tree.map(lambda g: np.asarray(g) / denominator, totals.gradients), totals.sums

    return compute


Compute = Callable[[np.random.Generator], Case]


def _policy_gradient(name: str, model: Model, params: Params, sizes: Sizes) -> Compute:
    algorithm, score = _algorithm(name, sizes), make_score(model, 1.0, 0)
    computed = policy_gradient(model, params, algorithm, sizes)

    def compute(rng: np.random.Generator) -> Case:
        batch = rollout(rng, sizes)
        logprobs, mask = score(params, batch), batch["mask"]
        batch["sampler_logprobs"], batch["old_logprobs"] = logprobs + 1e-3, logprobs
        batch["reference_logprobs"] = (logprobs + rng.normal(0, 0.4, logprobs.shape) * mask).astype(np.float32)
        drawn = _rewards(rng, mask) | {"reference_logprobs": batch["reference_logprobs"]}
        if algorithm.advantage == "gae":
            run = settings.Settings(algorithm=algorithm, critic=CRITIC)
            found, _ = advantages_by_critic(drawn["rewards"], batch, drawn["values"], drawn["rewards"] > 0, run)
            made = found["advantages"]
        else:
            made = advantages(drawn["rewards"], batch, algorithm, (drawn["steps"], drawn["ends"]))
        batch["advantages"] = made
        if not algorithm.kl_coef or algorithm.kl_in == "reward":
            del batch["reference_logprobs"]
        tokens = {
            "rewards": drawn["rewards"],
            "advantages": np.broadcast_to(made.reshape(len(made), -1), mask.shape),
            "reference_logprobs": batch.get("reference_logprobs", logprobs),
        }
        gradient, watched = computed(batch)
        return Case(gradient, batch, tokens, algorithm, drawn, watched)

    return compute


def _rewards(rng: np.random.Generator, mask: np.ndarray) -> dict[str, np.ndarray]:
    """Of completions, of their steps, one of which ends at a completion's last token, and a critic's values."""
    is_last = np.arange(mask.shape[1])[None] == mask.sum(axis=1)[:, None] - 1
    ends = ((rng.random(mask.shape) < 0.3) | is_last) * mask
    return {
        "rewards": rng.permutation(np.arange(len(mask)) % 2).astype(np.float32),  # never all alike
        "ends": ends,
        "steps": (rng.random(mask.shape) * ends).astype(np.float32),
        "values": rng.normal(size=(*mask.shape, 2)).astype(np.float32),
    }


def _supervised(name: str, model: Model, params: Params, sizes: Sizes) -> Compute:
    """Of all completions, or of the right ones, in an epoch that fills one batch of packed rows."""
    places, state = _start(model, params)
    step = make_supervised_step(model, PLAIN, places)

    def compute(rng: np.random.Generator) -> Case:
        batch = rollout(rng, sizes)
        lengths, prompt = batch["mask"].sum(axis=1).astype(int), sizes.prompt
        rewards = np.ones(len(lengths))
        if name == "rft":
            rewards = rng.permutation(np.arange(len(lengths)) % 2)
        # Of the same question none is like another.
        records = [
            {"row": i, "completion": str(batch["tokens"][i]), "reward": reward, "finish": "stop"}
            for i, reward in enumerate(rewards)
        ]
        rows = [record["row"] for record in select(records, 1.0, 0)]
        examples = [
            Example.of(
                batch["tokens"][i, :prompt][batch["segments"][i, :prompt] > 0].tolist(),
                batch["tokens"][i, prompt : prompt + lengths[i]].tolist(),
            )
            for i in rows
        ]
        of_examples = Examples(len(examples), lambda index, place, step: examples[index])
        # A batch takes what fits, also of the next epoch: as many rows as one epoch fills.
        count = sum(len(example.ids) for example in examples)
        packed, taken = make_batches(of_examples, 1, count, 0, METHODS[name].reduction, 0)(1, 0)
        assert taken == len(examples)
        packed = {key: np.pad(x, ((0, 1), (0, 0))) for key, x in packed.items()}
        pieces = {key: x.reshape(-1, 1 + sizes.micro_batch % 2, count) for key, x in packed.items()}
        totals = step.gradients(state, place(pieces, model.mesh), jnp.int32(len(pieces["tokens"])))
        gradient = jax.tree.map(lambda g: np.asarray(g) / packed["weights"].sum(), totals.gradients)
        kept = {key: x[rows] for key, x in batch.items()}
        watched = {"of": len(rewards), "selected": len(rows)}
        return Case(gradient, kept, {}, _algorithm(name, sizes), {"rewards": rewards[rows]}, watched)

    return compute


def _preference(name: str, model: Model, params: Params, sizes: Sizes) -> Compute:
    """However the two completions of a pair are put into pieces."""
    count = sizes.questions + 2
    base = settings.Algorithm(reduction=METHODS[name].reduction, batch_size=count, micro_batch=sizes.micro_batch)
    asked = settings.Settings(algorithm=base, preference=settings.Preference(beta=BETA))
    places, state = _start(model, params)
    update = make_preference_update(asked, model, PLAIN, places)

    def compute(rng: np.random.Generator) -> Case:
        draw = lambda n: rng.integers(2, VOCABULARY, rng.integers(1, n + 1)).tolist()  # noqa: E731
        pairs = [
            Pair(EncodedPrompt(i, draw(sizes.prompt)), draw(sizes.completion), draw(sizes.completion))
            for i in range(count)
        ]
        batch = make_pair_batch(pairs, sizes.prompt, sizes.completion, 0)
        reference = jax.tree.map(lambda x: (x * (1 + 0.2 * rng.normal(size=x.shape))).astype(np.float32), params)
        coefficients, metrics = update.coefficients(params, reference, batch)
        layout = lay(batch, model, update.micro_batch)
        pieces = place(make_pieces({**batch, "coefficients": coefficients}, layout), model.mesh)
        totals = update.step(batch["tokens"].shape[1]).gradients(state, pieces, jnp.int32(layout.pieces))
        theirs = np.asarray(plain_logprobs(reference, model, batch))
        rows = np.arange(len(theirs))
        tokens = {"reference_logprobs": theirs, "partners": rows ^ 1, "is_chosen": (rows + 1) % 2}
        gradient = jax.tree.map(np.asarray, totals.gradients)
        return Case(gradient, batch, tokens, dataclasses.replace(base, kl_coef=BETA), {}, metrics)

    return compute
