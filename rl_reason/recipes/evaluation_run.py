"""The evaluation of a folder's model by itself, as `rl_reason.evaluate` asks for it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from rl_reason import settings
from rl_reason.data import sources
from rl_reason.data.templates import stops_of
from rl_reason.errors import UsageError
from rl_reason.models.weights import Params
from rl_reason.parallel import hosts
from rl_reason.recipes import learned_rewards
from rl_reason.recipes.choosing import make_judge
from rl_reason.recipes.evaluation import HeldOut, make_evaluation_sampler, questions_at_once, sample_records
from rl_reason.recipes.evaluation_folder import EvaluationFolder
from rl_reason.recipes.golds import readable
from rl_reason.recipes.protocols import settle, settle_scores
from rl_reason.recipes.searching import choose_by_vote, make_expand, make_score, search_records
from rl_reason.recipes.setup import Model, check_length, describe_asked, longest, take_problems
from rl_reason.rewards.combination import Rewarder, failure_line
from rl_reason.rewards.summary import summarize
from rl_reason.rewards.versions import version_of
from rl_reason.runtime.flags import HOSTS
from rl_reason.runtime.progress import Progress
from rl_reason.sampling import logits
from rl_reason.sampling.beam import Beam
from rl_reason.sampling.search import Search
from rl_reason.sampling.tree import Tree


@dataclass(frozen=True)
class _Task:
    """What is evaluated: read, encoded and found right."""

    model: Model
    asked: HeldOut
    stops: Callable[[Mapping], tuple[str, ...]]
    reward: settings.Reward
    """The grader, and the reward model."""
    reward_model: Model | None
    flags: Mapping[str, Any]
    """A value for each."""
    identity: dict[str, Any]
    """What a folder that holds samples is compared by."""


def evaluate(flags: Mapping[str, Any]) -> dict[str, Any] | None:
    """Samples and grades what the folder does not hold yet, and writes the results there.

    Args:
        flags: of `rl_reason.evaluate`.

    Returns:
        What stands in results.json, on the first host.

    Raises:
        UsageError: wrong flags, or a folder that holds something else.
        RunError: the model gives what is no number.
    """
    task = _prepare(flags)
    samples, prompts = task.flags["samples"], task.asked.prompts
    per_batch = questions_at_once(task.flags["batch"], samples, len(prompts))
    folder = _open_folder(task, per_batch * samples)
    done, is_finished = hosts.gather([len(folder.records) // samples, folder.results is not None] if folder else None)[
        0
    ]
    if done < len(prompts) and not is_finished:
        with Rewarder(task.reward, key="--grader") as rewarder:
            readable(rewarder, task.asked)
            _sample(task, rewarder, folder, done, per_batch)
    if folder is None:
        return None
    if folder.results is None:
        is_preference = task.identity.get("reward_model_kind") == "preference"
        folder.finish(summarize(folder.records, samples, is_preference))
    return folder.results


def _prepare(asked: Mapping[str, Any]) -> _Task:
    everything = sources.load(asked["data"], asked["split"], asked["dir"], asked["seed"])
    problems = take_problems(everything, asked["problems"])
    _check_ratings(problems)
    flags = settle(asked, problems)
    logits.check(flags["temperature"], 0, flags["top_p"], 0.0, "--")
    if flags["temperature"] == 0 and flags["samples"] > 1:
        raise UsageError(f"--samples={flags['samples']}: expected 1 at temperature 0, where all are the same")
    version = version_of(flags["grader"])
    model, template, prompts = describe_asked(flags, problems)
    flags, reward, reward_model = _scoring(flags, model)
    identity = {"grader": flags["grader"], "grader_version": version}
    identity |= {name: value for name, value in flags.items() if name not in ("output", *HOSTS)}
    rows = json.dumps([problems[prompt.index] for prompt in prompts], sort_keys=True, default=str)
    identity |= {"data_sha256": hashlib.sha256(rows.encode()).hexdigest(), "model_sha256": model.fingerprint()}
    if reward_model:
        check_length(reward_model, longest(prompts), flags["max_tokens"], "--reward_model: --max_tokens")
        identity["reward_model_kind"] = learned_rewards.kind_of(reward_model.config)
        identity["reward_model_sha256"] = reward_model.fingerprint()
    given = (flags["stop"],) if flags["stop"] else None
    stops = lambda problem: given or stops_of(template, problem)  # noqa: E731
    if flags["search"]:
        _check_search(flags, problems, stops)
    return _Task(model, HeldOut(flags["data"], problems, prompts), stops, reward, reward_model, flags, identity)


def _check_search(flags: Mapping[str, Any], problems: Sequence[Mapping], stops: Callable[[Mapping], Any]) -> None:
    if flags["temperature"] == 0:
        raise UsageError(
            f"--search={flags['search']}: at temperature 0 all steps are the same; expected --temperature=T"
        )
    if flags["samples"] != 1:
        raise UsageError(f"--samples={flags['samples']}: a search finds one solution of a problem; expected 1")
    if any(stops(problem) for problem in problems):
        name = "stop" if flags["stop"] else "template"
        told = "cuts completions off at a text; with --search expected none that does"
        raise UsageError(f"--{name}={flags[name]!r}: {told}")


def _check_ratings(problems: Sequence[Mapping]) -> None:
    for problem in problems:
        rating = problem.get("rating")
        if rating is not None and (isinstance(rating, bool) or not isinstance(rating, (int, float))):
            raise UsageError(f"--data: rating={rating!r:.40} of problem {problem['id']!r}: expected a number")


def _scoring(flags: Mapping[str, Any], model: Model) -> tuple[dict[str, Any], settings.Reward, Model | None]:
    """The flags, all of them settled; the grader and what the reward model reads of them; the reward model."""
    if flags["aggregation"] not in ("", *learned_rewards.AGGREGATIONS):
        known = ", ".join(learned_rewards.AGGREGATIONS)
        raise UsageError(f"--aggregation={flags['aggregation']!r}: expected one of {known}")
    reward = settings.Reward(names=(flags["grader"],), weights=(1.0,), model=flags["reward_model"])
    reward_model = learned_rewards.describe_reward_model(reward, model) if reward.model else None
    settled = settle_scores(flags, learned_rewards.kind_of(reward_model.config) if reward_model else "")
    read = {name: settled[name] for name in ("aggregation", "step_separator") if settled[name] is not None}
    return settled, dataclasses.replace(reward, **read), reward_model


def _open_folder(task: _Task, at_once: int) -> EvaluationFolder | None:
    """The folder, on the first host; what is wrong with it is told by all of them."""
    folder, told = None, ""
    ids = [task.asked.problems[prompt.index]["id"] for prompt in task.asked.prompts]
    if hosts.is_first():
        try:
            all_ids = [id for id in ids for _ in range(task.flags["samples"])]
            folder = EvaluationFolder(Path(task.flags["output"]), task.identity, all_ids, at_once)
        except UsageError as error:
            told = str(error)
    if told := hosts.gather(told)[0]:
        raise UsageError(told)
    return folder


def _sample(task: _Task, rewarder: Rewarder, folder: EvaluationFolder | None, done: int, per_batch: int) -> None:
    """All problems but the first `done`."""
    flags, model, count = task.flags, task.model, len(task.asked.prompts)
    samples, seed = flags["samples"], flags["seed"]
    params = model.load_params(seed, model.dtype)
    if flags["search"]:
        batches = _search(task, params, rewarder, done, per_batch)
    else:
        sampler = make_evaluation_sampler(model, samples, flags["temperature"], flags["top_p"], flags["max_tokens"])
        judge = make_judge(task.reward, task.reward_model, samples, flags["batch"]) if task.reward_model else None
        key = jax.random.key(seed)
        batches = sample_records(
            sampler, model, params, task.asked, rewarder, samples, per_batch, key, done, task.stops, judge
        )
    tokens, begun = 0, time.monotonic()
    with Progress(count, done, "evaluate", enabled=folder is not None) as progress:
        for batch in batches:
            if folder is None:
                continue
            folder.add(batch)
            for record in [record for record in batch if "failure" in record][:3]:
                progress.note(failure_line(record["failure"], record["id"]))
            tokens += sum(len(record["tokens"]) for record in batch)
            right = sum(record["correct"] for record in folder.records) / len(folder.records)
            shown = {"pass@1": right, "tokens/s": tokens / (time.monotonic() - begun)}
            progress.update(len(folder.records) // samples, shown)


def _search(task: _Task, params: Params, rewarder: Rewarder, done: int, per_batch: int) -> Iterator[list[dict]]:
    """Of each problem the solution that is chosen."""
    flags, prompts, scorer = task.flags, task.asked.prompts, task.reward_model
    assert scorer is not None
    limits = {"max_length": flags["max_tokens"], "rows": flags["batch"]}
    expand = make_expand(
        task.model,
        params,
        prompts,
        separator=task.reward.step_separator,
        temperature=flags["temperature"],
        top_p=flags["top_p"],
        seed=flags["seed"],
        **limits,
    )
    score = make_score(task.reward, scorer, scorer.load_params(0, scorer.dtype), prompts, **limits)
    kind: Callable[[], Search] = (
        Beam(flags["width"], flags["expansions"])
        if flags["search"] == "beam"
        else Tree(flags["simulations"], flags["expansions"])
    )
    for batch in search_records(task.model, task.asked, kind, expand, score, rewarder, per_batch, done):
        yield [choose_by_vote(found) if flags["choose"] == "vote" else found[0] for found in batch]
