"""Iterative GRPO: DeepSeekMath (arXiv 2402.03300), algorithm 1.

    for each step:
        sample G completions for each question       (sampling)
        reward them                                  (rewards, on the host)
        advantages within each group                 (objectives)
        μ passes of minibatch updates                (policy_update)
        now and then: π_ref ← π_θ

Resuming: config of the folder → newest checkpoint → state, reference, position in the data → records after it dropped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rl_reason.data import sources
from rl_reason.data.iterators import encode_all, prompt_iterator
from rl_reason.data.templates import find_template
from rl_reason.models.weights import cast
from rl_reason.parallel.mesh import make_mesh, replicated, sharding
from rl_reason.recipes import bookkeeping, checks
from rl_reason.recipes.evaluation import Samples, start_sampling, to_host
from rl_reason.recipes.optimizer import init_state, make_optimizer, state_shardings
from rl_reason.recipes.policy_update import make_score, make_update
from rl_reason.recipes.rollout import cut_minibatches, make_batch, weigh
from rl_reason.recipes.rollout_records import failure_line, rollout_metrics, sample_records
from rl_reason.recipes.setup import describe_model
from rl_reason.rewards.combination import Rewarder
from rl_reason.runtime.checkpoints import Checkpoints
from rl_reason.runtime.metrics import MetricsWriter
from rl_reason.runtime.progress import Progress
from rl_reason.runtime.workdir import open_workdir
from rl_reason.sampling.sampler import make_sampler
from rl_reason.settings import Settings


def run(settings: Settings, workdir_path: str | Path) -> None:
    """Trains as the settings say, in `workdir_path`; resumes what is there."""
    # --- everything that can be wrong, before anything is compiled or written ------------------------------------
    checks.check_policy_gradient(settings)
    algorithm, sampling = settings.algorithm, settings.sampling
    mesh = make_mesh(settings.mesh)
    template = find_template(settings.data.template)
    problems = sources.load(settings.data.name, settings.data.split, settings.data.dir, settings.seed)
    problems = problems[: settings.data.problems or len(problems)]
    model = describe_model(settings.model, mesh, lambda: (problem["problem"] for problem in problems))
    prompts = encode_all(
        problems, template, model.tokenizer, settings.data.max_prompt_length, settings.data.long_prompts
    )
    prompt_length = max(len(prompt.prompt_ids) for prompt in prompts)
    data = prompt_iterator(prompts, algorithm.batch_size // algorithm.group_size, settings.seed)
    held_out = bookkeeping.load_held_out(settings, model)
    rewarder = Rewarder(settings.reward)
    workdir = open_workdir(workdir_path, settings.to_config().to_dict())
    bookkeeping.describe_run(workdir)

    # --- state: weights, optimizer, reference ---------------------------------------------------------------------
    updates = settings.steps * algorithm.updates * algorithm.minibatches
    optimizer = make_optimizer(algorithm, updates)
    places = state_shardings(model.abstract_params(), optimizer, replicated(mesh))
    make_state = jax.jit(lambda params: init_state(params, optimizer), out_shardings=places)
    checkpoints = Checkpoints(workdir.checkpoints, settings.checkpoint.keep)

    def with_places(abstract, shardings):
        return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, shardings)

    abstract_params = model.abstract_params()
    abstract = {"train": with_places(jax.eval_shape(make_state, abstract_params), places)}
    if algorithm.kl_coef:
        abstract["reference"] = with_places(
            jax.eval_shape(lambda p: cast(p, model.dtype), abstract_params), places.params
        )
    restored = checkpoints.restore_latest(abstract)
    if restored is None:
        start = 0
        params = model.load_params(settings.seed)
        state = {"train": make_state(params)}
        if algorithm.kl_coef:
            state["reference"] = bookkeeping.copy_tree(params, model.dtype)
    else:
        start, state, data_state = restored
        data.set_state(data_state)

    # --- the jitted functions -----------------------------------------------------------------------------------
    rows = sampling.batch_size or algorithm.batch_size
    sampler = make_sampler(
        model.config,
        group_size=algorithm.group_size,
        max_length=sampling.max_length,
        stop_ids=model.stop_ids,
        pad_id=model.pad_id,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
        dtype=model.dtype,
        constrain=model.constrain,
    )
    score = make_score(model, sampling.temperature, algorithm.micro_batch)
    update = make_update(model, algorithm, optimizer, sampling.temperature, places, algorithm.micro_batch)
    seed_key = jax.random.key(settings.seed)
    one_update = algorithm.updates * algorithm.minibatches == 1

    def to_mesh(batch: dict) -> dict:
        axes = {1: ("batch",), 2: ("batch", "time")}
        return {k: jax.device_put(x, sharding(mesh, axes[x.ndim], x.shape)) for k, x in batch.items()}

    with (
        rewarder,
        checkpoints,
        MetricsWriter(workdir, start if restored else -1) as metrics,
        Progress(settings.steps, start, "train") as progress,
    ):
        evaluate = bookkeeping.make_evaluate(settings, model, held_out, rewarder, metrics, sampling.max_length, rows)
        evaluate(state["train"].params, start, True) if start == 0 else None
        pending: _Pending | None = None

        def finish(pending: _Pending) -> None:
            """Reads the metrics of a dispatched update: the only place where the host waits for one."""
            values = {name: float(x) for name, x in jax.device_get(pending.update_metrics).items()}
            values = pending.host_metrics | values
            now = time.monotonic()
            values |= {"time/update_s": now - pending.dispatched, "time/step_s": now - pending.started}
            bookkeeping.refuse_nonfinite(values, pending.step, pending.batch, workdir)
            if pending.step % settings.log.every == 0:
                metrics.write(pending.step, values)
                metrics.write_samples(pending.samples)
            fields = {"reward": "reward/mean", "pass@1": "pass@1/train", "length": "tokens/completion"}
            fields |= {"KL": "kl/reference", "entropy": "entropy"}
            progress.update(pending.step, {name: values.get(key, float("nan")) for name, key in fields.items()})

        for step in range(start + 1, settings.steps + 1):
            # --- sample ---------------------------------------------------------------------------------------
            asked = next(data)
            questions = rows // algorithm.group_size
            key = jax.random.fold_in(seed_key, step)
            dispatched = [
                start_sampling(sampler, model, state["train"].params, asked[i : i + questions], prompt_length, key)
                for i in range(0, len(asked), questions)
            ]
            # The update of the step before runs while its successor's sampling waits in line behind it.
            if pending is not None:
                finish(pending)
                pending = None
            started = time.monotonic()
            samples = _join([to_host(part) for part in dispatched])
            sampled = time.monotonic()

            # --- reward ---------------------------------------------------------------------------------------
            texts = samples.texts(model)
            owners = [problems[prompt.index] for prompt in asked for _ in range(algorithm.group_size)]
            graded = rewarder.grade(texts, owners)
            for failure in graded.failures[:3]:
                progress.note(failure_line(step, failure, owners))
            rewarded = time.monotonic()

            # --- advantage ------------------------------------------------------------------------------------
            batch = make_batch(asked, samples, graded.total, algorithm, prompt_length, model.pad_id)
            on_mesh = to_mesh(batch)
            if algorithm.kl_coef:
                on_mesh["reference_logprobs"] = score(state["reference"], on_mesh)
            if not one_update:
                on_mesh["old_logprobs"] = score(state["train"].params, on_mesh)
            jax.block_until_ready(on_mesh)
            scored = time.monotonic()

            # --- update ---------------------------------------------------------------------------------------
            batch |= {k: np.asarray(v) for k, v in on_mesh.items() if k not in batch}
            for inner in range(algorithm.updates):
                for part in cut_minibatches(batch, algorithm.minibatches, (settings.seed, step, inner)):
                    part, denominator = weigh(part, algorithm.reduction, sampling.max_length)
                    state["train"], update_metrics = update(state["train"], to_mesh(part), jnp.float32(denominator))
            pending = _Pending(
                step=step,
                started=started,
                dispatched=scored,
                batch=batch,
                update_metrics=update_metrics,
                host_metrics=rollout_metrics(samples, graded, batch, algorithm.group_size)
                | {
                    "time/sample_s": sampled - started,
                    "time/reward_s": rewarded - sampled,
                    "time/score_s": scored - rewarded,
                    "tokens/s": float(samples.lengths.sum()) / (sampled - started),
                },
                samples=sample_records(
                    step, settings.log.samples, asked, texts, owners, samples, graded, batch, model
                ),
            )

            # --- reference, evaluation, checkpoint ---------------------------------------------------------------
            last = step == settings.steps
            if algorithm.kl_coef and algorithm.reference_every and step % algorithm.reference_every == 0:
                state["reference"] = bookkeeping.copy_tree(state["train"].params, model.dtype)
            evaluation_due = last or (settings.evaluation.every and step % settings.evaluation.every == 0)
            checkpoint_due = last or step % settings.checkpoint.every == 0
            if evaluation_due or checkpoint_due:
                finish(pending)
                pending = None
            if evaluation_due:
                evaluate(state["train"].params, step, last)
            if checkpoint_due:
                checkpoints.save(step, state, data.get_state())
    bookkeeping.close_run(workdir)


@dataclass(frozen=True)
class _Pending:
    """A step whose update was dispatched and not yet waited for."""

    step: int
    started: float
    dispatched: float
    batch: dict
    update_metrics: dict[str, jax.Array]
    host_metrics: dict[str, float]
    samples: list[dict]


def _join(parts: Sequence[Samples]) -> Samples:
    """The samples of several calls, one behind the other."""
    return Samples(*(np.concatenate(arrays) for arrays in zip(*(
        (part.tokens, part.logprobs, part.lengths, part.finished) for part in parts
    ), strict=True)))
