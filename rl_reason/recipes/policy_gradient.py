"""Iterative GRPO: DeepSeekMath (arXiv 2402.03300), algorithm 1; and, with a critic, PPO (arXiv 1707.06347).

    for each step:
        sample G completions for each question       (sampling)
        reward them                                  (rewards, on the host; a reward model, on the device), where a
                                                     model of questions says so times a factor (instruction_rewards)
        advantages within each group, or by a critic (objectives)
        μ passes of minibatch updates                (policy_update, critic)
        at the end of an iteration: π_ref ← π_θ, and the reward model is trained on (retraining)

Resuming: config of the folder → newest checkpoint → state, reference, position in the data → records after it dropped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from rl_reason.data import sources
from rl_reason.data.iterators import EncodedPrompt, padded_length
from rl_reason.data.prompt_selection import Questions, make_questions
from rl_reason.data.steps import cut, make_step_ends
from rl_reason.data.templates import find_template
from rl_reason.data.tokenization import decode
from rl_reason.errors import UsageError
from rl_reason.models.flops import BACKWARD
from rl_reason.models.huggingface import source_dtype
from rl_reason.parallel import company
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes import bookkeeping, instruction_rewards, retraining
from rl_reason.recipes.accumulation import rows_at_once
from rl_reason.recipes.ahead import Rollout, name_apart, position_of, take_position
from rl_reason.recipes.checks.common import check_rows
from rl_reason.recipes.checks.policy_gradient import check_policy_gradient, check_what_kind_reads
from rl_reason.recipes.critic import CRITIC_ALONE, advantages_by_critic, describe_critic, with_shared_critic
from rl_reason.recipes.drawing import make_sample
from rl_reason.recipes.evaluation import HeldOut, Samples, to_host
from rl_reason.recipes.exploration import OVERLONG, Exploration
from rl_reason.recipes.golds import readable
from rl_reason.recipes.grading import begin_grading, judge_metrics
from rl_reason.recipes.learned_rewards import check_finite, describe_reward_model, kind_of, make_reward_model
from rl_reason.recipes.loop import Loop, forward_flops
from rl_reason.recipes.optimizer import TrainState
from rl_reason.recipes.policy_steps import Steps, make_steps, scores_old_logprobs
from rl_reason.recipes.rollout import Batch, advantages, cut_minibatches, make_batch, weigh
from rl_reason.recipes.rollout_records import Corrections, rollout_metrics, sample_records
from rl_reason.recipes.setup import Model, check_length, describe_model, encode_prompts, take_problems
from rl_reason.recipes.state import State, final_weights, make_reference, reference_of, restore_or_start
from rl_reason.rewards.combination import MODEL, Rewarder, failure_line, is_given
from rl_reason.rewards.length import overlong_penalty
from rl_reason.runtime.clock import Clock
from rl_reason.runtime.progress import Progress
from rl_reason.settings import Settings

SHOWN = {
    "reward": "reward/mean",
    "pass@1": "pass@1/train",
    "length": "tokens/completion",
    "KL": "kl/reference",
    "entropy": "entropy",
}
"""Beside the progress bar: label → metric."""


def run(settings: Settings, workdir_path: str | Path) -> None:
    """Trains as the settings say, in `workdir_path`; resumes what is there."""
    check_policy_gradient(settings)
    with Rewarder(settings.reward, settings.judge) as rewarder:
        train(settings, workdir_path, rewarder)


def train(settings: Settings, workdir_path: str | Path, rewarder: Rewarder) -> None:
    """`run` with settings that are checked and a rewarder that may be shared (`recipes.together`)."""
    algorithm = settings.algorithm
    task = _prepare(settings, rewarder)
    model = task.model
    is_fixed = not settings.retraining.steps
    read_again = {"reward.model": task.reward_model} if task.reward_model and is_fixed else {}
    if task.questions:
        read_again["reward.instruction_model"] = task.questions.model
    workdir = bookkeeping.find_run(workdir_path, settings, model, read_again)

    steps = make_steps(settings, model, task.critic, task.reward_model)
    sample = make_sample(settings, model, steps.sampler, task.prompt_length)
    # Before the state is there: the model of questions makes room for it.
    factors = task.questions.factors(steps.micro_batch) if task.questions else {}
    start, state, position = restore_or_start(
        steps.abstract, model, steps.optimizer, workdir.checkpoints, settings.seed, steps.others
    )
    ahead = take_position(position, task.data, task.prompts, settings.sampling.max_length, model.pad_id)
    bookkeeping.make_run(workdir, settings, model, read_again)

    judged = workdir.path / retraining.FILE
    others = [workdir.corrections, *([judged] if settings.retraining.steps else [])]
    with Loop(settings, model, workdir, start, SHOWN, others) as loop:
        corrections = Corrections(workdir.corrections)
        explore = _make_explore(settings, task, rewarder, steps.micro_batch, factors)
        retrain = _make_retrain(settings, task, steps, judged) if settings.retraining.steps else None
        evaluate = bookkeeping.make_evaluate(
            settings, model, task.held_out, rewarder, loop, settings.sampling.max_length, task.rows
        )
        loop.begin(state, evaluate)

        def rollout(step: int, clock: Clock) -> Rollout:
            """The completions of a step. The update of the step before still runs: sampling waits in line behind it,
            and only then are its metrics read."""
            asked = task.data.draw(step)
            dispatched = sample(state, asked, step)
            loop.previous(clock)
            clock.begin("sample")
            samples = to_host(dispatched)
            loop.give_way()
            return Rollout(asked, samples)

        for step in loop:
            # Sample, if that was not done one step ahead.
            clock = loop.clock(step)
            staleness = int(ahead is not None)
            asked, samples = ahead or rollout(step, clock)

            # Reward. While the host grades, the device computes the log-probabilities that the loss compares with, if
            # it is known that these completions are trained on, and samples those of the next step with the policy
            # that this step has not yet updated, if that is asked for.
            clock.begin("reward")
            explored = explore(asked, samples, state, step, loop.progress)
            begun = None if algorithm.resample else _begin_scores(asked, samples, state, steps, settings, task)
            ahead = rollout(step + 1, clock) if settings.sampling.ahead and step < settings.steps else None
            loop.previous(clock)
            clock.begin("reward")
            trained = drawn = explored(clock)

            # Further questions in place of those whose completions all have the same reward.
            if algorithm.resample:
                clock.begin("resample")
                for draw in range(1, algorithm.resample + 1):
                    if len(drawn.differing()) >= len(asked):
                        break
                    more = task.data.draw(step, draw)
                    samples = to_host(sample(state, more, step, draw))
                    drawn = Exploration.join([drawn, explore(more, samples, state, step, loop.progress)()])
                    loop.give_way()
                trained = drawn.first_differing(len(asked))
            measured = task.data.tell(step, drawn.asked, drawn.passes(), drawn.group_size)

            # Advantage, update.
            clock.begin("score")
            batch, scores = begun or _begin_scores(trained.asked, trained.samples, state, steps, settings, task)
            batch |= {name: wait() for name, wait in scores.items()}
            steps_rewarded = trained.step_rewards() if settings.reward.steps else None
            watched: dict[str, float] = {}
            if "values" in batch:
                finished = trained.samples.finished
                made, watched = advantages_by_critic(
                    trained.graded.total, batch, batch.pop("values"), finished, settings, steps_rewarded
                )
                batch |= made
            else:
                batch["advantages"] = advantages(trained.graded.total, batch, algorithm, steps_rewarded)
            loop.update(clock)
            updated = _update(batch, state, steps, settings, step)

            values = rollout_metrics(drawn, batch, settings.reward) | watched | measured | judge_metrics(rewarder)
            values["sampling/limit"] = settings.sampling.limit(step)
            if settings.sampling.ahead:
                values["staleness/steps"] = staleness
                updated = name_apart(updated) if staleness else updated
            loop.metrics.write_others(workdir.corrections, corrections.records(step, drawn, model))
            is_end = algorithm.reference_every > 0 and step % algorithm.reference_every == 0
            if retrain:
                loop.metrics.write_others(judged, retraining.judged_records(step, drawn))
                if is_end:
                    clock.begin("reward_model")
                    state["reward_model"], of_retraining = retrain(state["reward_model"], step)
                    values |= of_retraining
                    clock.begin("update")
            shown = sample_records(step, settings.log.samples, trained, batch, model)
            needed = _flops(settings, batch, task, scores, step)
            loop.pend(step, clock, batch, updated, values, shown, flops=needed)

            if "reference" in state and is_end:
                state["reference"] = make_reference(state["train"].policy, model)
            loop.end(step, state, position_of(task.data, ahead), evaluate)
        weights = final_weights(model, state["train"].params, settings.seed)
        bookkeeping.export_model(workdir.path / "export", model, weights, source_dtype(model.config))
    bookkeeping.close_run(workdir)


@dataclass(frozen=True)
class _Task:
    """What is trained on: read, encoded and found right."""

    model: Model
    problems: Sequence[dict]
    prompts: Sequence[EncodedPrompt]
    data: Questions
    """What each step asks."""
    prompt_length: int
    """Tokens of the longest prompt."""
    held_out: list[HeldOut]
    rows: int
    """Completions that are sampled at the same time."""
    reward_model: Model | None
    """What gives learned rewards."""
    questions: instruction_rewards.Questions | None
    """As a model reads them that gives rewards to questions."""
    critic: Model | None
    """A critic of its own."""


def _prepare(settings: Settings, rewarder: Rewarder) -> _Task:
    """Everything that can be wrong, before anything is compiled or written."""
    algorithm, data = settings.algorithm, settings.data
    template = find_template(data.template)
    loaded = sources.load(data.name, data.split, data.dir, settings.seed)
    problems = take_problems(loaded, data.problems)
    texts = lambda: (problem["problem"] for problem in problems)  # noqa: E731
    model = with_shared_critic(describe_model(settings.model, make_mesh(settings.mesh), texts), settings)
    model.check_files()
    prompts = encode_prompts(problems, template, model, data.max_prompt_length, data.long_prompts)
    prompt_length = max(len(prompt.prompt_ids) for prompt in prompts)
    check_length(model, prompt_length, settings.sampling.max_length, "config.sampling.max_length")
    critic = describe_critic(settings, model)
    if critic:
        check_length(
            critic, prompt_length, settings.sampling.max_length, "config.critic.path: config.sampling.max_length"
        )
    judge = describe_reward_model(settings.reward, model) if settings.reward.model else None
    if judge:
        check_what_kind_reads(settings, kind_of(judge.config))
    if judge and settings.retraining.steps:
        retraining.check_kind(judge, settings)
    of_questions = None
    if settings.reward.instruction_model:
        of_questions = instruction_rewards.describe_instruction_model(settings.reward, model)
    check_rows(settings, model.mesh)
    prompts = list(readable(rewarder, HeldOut(data.name, problems, prompts), data.unreadable).prompts)
    _check_measurable(settings, rewarder, [problems[prompt.index] for prompt in prompts])
    starts = sources.first_steps(loaded, [prompt.index for prompt in prompts], data.joins)
    questions = algorithm.batch_size // algorithm.group_size
    return _Task(
        model=model,
        problems=problems,
        prompts=prompts,
        data=make_questions(prompts, starts, questions, settings.seed, settings.prompts),
        prompt_length=prompt_length,
        held_out=bookkeeping.load_held_out(settings, model, rewarder),
        rows=rows_at_once(settings.sampling.batch_size, algorithm.batch_size),
        reward_model=judge,
        questions=instruction_rewards.Questions(of_questions, problems, prompts) if of_questions else None,
        critic=critic,
    )


def _check_measurable(settings: Settings, rewarder: Rewarder, problems: Sequence[dict]) -> None:
    """Tells of a problem that would have no pass rate where all are drawn by theirs: it would be asked once."""
    if settings.prompts.select not in ("weights", "buckets"):
        return
    for problem in problems:
        if not rewarder.judges(problem):
            raise UsageError(
                f"config.prompts.select={settings.prompts.select!r}: config.reward.kinds gives problem "
                f"{problem['id']!r} to no rule, so it has no pass rate; expected 'drop' or 'none'"
            )


Explored = Callable[..., Exploration]
"""`explored(clock=None)` waits until all is graded; tells of the first that failed. A clock is told when this host has
graded its share and waits for the others'."""


def _make_explore(
    settings: Settings, task: _Task, rewarder: Rewarder, micro_batch: int, factors: Mapping[int, np.float32]
) -> Callable[..., Explored]:
    """`explore(prompts, samples, state, step, progress)` begins to grade the samples. `factors`: of rewards, by the
    index of a problem (`instruction_rewards`)."""
    reward = settings.reward
    group = settings.algorithm.group_size
    step_ends = make_step_ends(task.model.tokenizer, reward.step_separator)
    judge = frozen = None
    if task.reward_model:
        judge = make_reward_model(reward, task.reward_model, micro_batch)
        if not settings.retraining.steps:
            frozen = task.reward_model.load_params(settings.seed, task.reward_model.dtype)
    needs_ends = bool(reward.steps) or (judge is not None and judge.kind == "process")

    def explore(
        asked: Sequence[EncodedPrompt],
        samples: Samples,
        state: State,
        step: int,
        progress: Progress,
    ) -> Explored:
        texts = samples.texts(task.model)
        problems = [task.problems[prompt.index] for prompt in asked for _ in range(group)]
        ends = [step_ends(row) for row in samples.rows()] if needs_ends else []
        if judge:  # The device works while the rules do.
            length = padded_length(asked, task.prompt_length)
            params = frozen or state["reward_model"].params
            scored = judge.begin(params, make_batch(asked, samples, group, length, task.model.pad_id))
        steps = [
            [decode(task.model.tokenizer, step) for step in cut(row, of_row)]
            for row, of_row in zip(samples.rows(), ends, strict=False)
        ]
        graded_by_rules = begin_grading(rewarder, texts, problems, steps or None)

        def explored(clock: Clock | None = None) -> Exploration:
            graded = graded_by_rules(clock)
            if clock:
                clock.begin("reward")
            if judge:
                scores_BT = scored()
                if MODEL in reward.names:
                    weight = reward.weights[reward.names.index(MODEL)]
                    given_B = [is_given(reward, MODEL, problem) for problem in problems]
                    learned = np.where(given_B, judge.of_completions(scores_BT, samples.lengths, ends), np.float32(0))
                    check_finite(learned[:, None], problems, step)
                    graded = graded.plus(MODEL, learned, weight)
                if reward.steps == MODEL:
                    graded = dataclasses.replace(graded, steps=judge.of_steps(scores_BT, ends))
                    check_finite(graded.steps, problems, step)
            if factors:
                factors_B = np.array([factors[prompt.index] for prompt in asked for _ in range(group)], np.float32)
                graded = graded.times(instruction_rewards.INSTRUCTION, factors_B)
            if reward.overlong:
                limit = settings.sampling.limit(step)
                graded = graded.plus(OVERLONG, overlong_penalty(samples.lengths, limit, reward.overlong))
            for failure in graded.failures[:3]:
                progress.note(f"step {step}: {failure_line(failure, problems[failure['index']]['id'])}")
            return Exploration(list(asked), problems, texts, samples, graded, ends)

        return explored

    return explore


def _make_retrain(settings: Settings, task: _Task, steps: Steps, judged: Path) -> retraining.Retrain:
    places = jax.tree.map(lambda x: x.sharding, steps.abstract["reward_model"])
    learner = steps.others["reward_model"]
    return retraining.make_retrain(
        settings, learner, places, task.prompts, task.prompt_length, judged, steps.micro_batch
    )


def _begin_scores(
    asked: Sequence[EncodedPrompt], samples: Samples, state: State, steps: Steps, settings: Settings, task: _Task
) -> tuple[Batch, dict[str, Callable]]:
    """The batch of these completions, and what is to be waited for: log π_ref where there is a KL term, log π_old where
    it is needed, a critic's values. All are of the models as the step begins with them, whatever policy sampled."""
    algorithm, score = settings.algorithm, steps.score
    length = company.most(padded_length(asked, task.prompt_length))
    batch = make_batch(asked, samples, algorithm.group_size, length, task.model.pad_id)
    made: dict[str, Callable] = {}
    if algorithm.kl_coef:
        made["reference_logprobs"] = score.begin(reference_of(state), batch)
    if algorithm.old_logprobs == "sampler":
        made["old_logprobs"] = lambda: batch["sampler_logprobs"]
    elif scores_old_logprobs(settings):
        made["old_logprobs"] = score.begin(state["train"].policy, batch)
    if steps.values:
        learner: TrainState = state.get("critic", state["train"])
        made["values"] = steps.values.begin(learner.policy, batch)
    return batch, made


def _flops(settings: Settings, batch: Batch, task: _Task, scores: Mapping[str, Callable], step: int) -> float:
    """What the models' products of a step need: sampling, scores, and the updates of a critic and, behind the steps
    that are the critic's alone, of the policy."""
    once = forward_flops(task.model.config, batch)
    updates = (1 + BACKWARD) * settings.algorithm.updates
    scored = set(scores)
    if settings.algorithm.old_logprobs == "sampler":
        scored.discard("old_logprobs")
    if task.critic:
        scored.discard("values")
    others = 0.0
    if task.critic:
        others += (1 + updates) * forward_flops(task.critic.config, batch)
    if task.reward_model:
        others += forward_flops(task.reward_model.config, batch)
    of_policy = updates if step > settings.critic.pretrain_steps else 0
    return (1 + len(scored) + of_policy) * once + others


def _update(batch: Batch, state: State, steps: Steps, settings: Settings, step: int) -> list[dict[str, jax.Array]]:
    """μ passes over the batch, in minibatches; changes `state`, returns the metrics of each update, not waited for.

    A critic of its own learns from the same minibatches, in the first steps alone.
    """
    algorithm = settings.algorithm
    metrics: list[dict[str, jax.Array]] = []
    for inner in range(algorithm.updates):
        for part in cut_minibatches(batch, algorithm.minibatches, (settings.seed, step, inner)):
            part, denominator = weigh(part, algorithm.reduction, settings.sampling.limit(step))
            made: dict[str, jax.Array] = {}
            if steps.update_critic:
                state["critic"], made = steps.update_critic(state["critic"], part, denominator)
                part = {name: x for name, x in part.items() if name not in CRITIC_ALONE}
            if step > settings.critic.pretrain_steps:
                state["train"], of_policy = steps.update(state["train"], part, denominator)
                made = made | of_policy
            metrics.append(made)
    return metrics
