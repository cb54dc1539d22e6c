"""Samples with scores, of a model that runs here or of one behind a server: data for distillation and selection.

    for each batch of questions:
        draw `collect.samples` completions of each     (collecting, or endpoint_sampling)
        score them                                     (rewards)
        append them to the folder                      (generation_folder)

A folder is read by `data.generated.read_shards`. With a model every host samples on the mesh as in training; of a
server each host asks its share. The first host writes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_reason.data.constitution import read_constitution
from rl_reason.data.generated import read_shards
from rl_reason.data.iterators import EncodedPrompt
from rl_reason.data.revising import ask
from rl_reason.data.templates import find_template, stops_of
from rl_reason.errors import Preempted, RunError, UsageError
from rl_reason.parallel import hosts
from rl_reason.parallel.mesh import make_mesh
from rl_reason.parallel.preemption import Preemption
from rl_reason.recipes.checks.generation import check_generation
from rl_reason.recipes.collecting import ROWS, encode_questions, load_questions, sample_rest, show
from rl_reason.recipes.endpoint_sampling import Server
from rl_reason.recipes.evaluation import HeldOut, questions_at_once
from rl_reason.recipes.generation_folder import GenerationFolder
from rl_reason.recipes.golds import readable
from rl_reason.recipes.grading import judge_counts
from rl_reason.recipes.setup import describe_model, take_problems
from rl_reason.rewards.combination import JUDGE, Rewarder
from rl_reason.rewards.versions import version_of
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import find_workdir
from rl_reason.settings import Settings

OF_TRAINING = ("solution", "messages")
"""What of a problem is learned from, and no grader reads."""
STOPPED = "SIGTERM: whole batches are kept; the same command goes on there"
Batches = Callable[[HeldOut, Rewarder, int], Iterator[list[dict]]]


@dataclass(frozen=True)
class _Policy:
    """What completions are drawn from."""

    identity: dict[str, Any]
    questions: HeldOut
    per_batch: int
    """Questions that are kept or lost together when a command is stopped."""
    batches: Batches
    """(questions, rewards, questions that are done) → records, batch by batch."""
    server: Server | None = None


def run(settings: Settings, workdir_path: str | Path) -> None:
    """Samples and scores as the settings say, into `workdir_path`; goes on with what is there.

    Raises:
        UsageError: wrong settings, a server that does not answer, or a folder of something else.
        RunError: the server broke down on the way; what came before is kept.
    """
    check_generation(settings)
    problems = _load(settings)
    with contextlib.ExitStack() as stack:
        policy = (_of_server if settings.endpoint.url else _of_model)(settings, problems)
        if policy.server:
            stack.callback(policy.server.close)
        folder, is_finished = _open(settings, policy, workdir_path)
        if not is_finished:
            if policy.server:
                prompts = policy.questions.prompts
                policy.server.try_out(problems[prompts[0].index], len(prompts) * settings.collect.samples)
            rewarder = stack.enter_context(Rewarder(settings.reward, settings.judge))
            questions = readable(rewarder, policy.questions, settings.data.unreadable)
            _generate(settings, policy, questions, rewarder, folder)
    if folder:
        _show(folder.description or {}, workdir_path)


def _load(settings: Settings) -> Sequence[dict]:
    """The problems of `config.data`; or what is asked about the completions in its folder."""
    asked, name = settings.constitution, settings.data.name
    if not asked.asks:
        return load_questions(settings)
    principles = read_constitution(Path(asked.file).expanduser()) if asked.file else []
    rows = ask(asked.asks, list(read_shards(name)), principles, settings.seed, name)
    return take_problems(rows, settings.data.problems)


def _of_model(settings: Settings, problems: Sequence[dict]) -> _Policy:
    model = describe_model(settings.model, make_mesh(settings.mesh), lambda: ())
    model.check_files()
    questions = encode_questions(settings, model, problems)
    identity = {"model": settings.model.path, "model_sha256": model.fingerprint()}
    template = find_template(settings.data.template)

    def batches(questions: HeldOut, rewarder: Rewarder, done: int) -> Iterator[list[dict]]:
        params = model.load_params(settings.seed, model.dtype)
        stops = lambda problem: stops_of(template, problem)  # noqa: E731
        return sample_rest(settings, model, params, questions, rewarder, done, stops)

    samples = settings.collect.samples
    per_batch = questions_at_once(settings.sampling.batch_size or ROWS, samples, len(questions.prompts))
    return _Policy(identity, questions, per_batch, batches)


def _of_server(settings: Settings, problems: Sequence[dict]) -> _Policy:
    template = find_template(settings.data.template)
    server = Server(settings, template, lambda problem: stops_of(template, problem))
    # Their prompts are texts, which the server makes tokens of.
    questions = HeldOut(settings.data.name, problems, [EncodedPrompt(index, []) for index in range(len(problems))])
    return _Policy({"model": settings.endpoint.model}, questions, 1, server.batches, server)


def _open(settings: Settings, policy: _Policy, path: str | Path) -> tuple[GenerationFolder | None, bool]:
    """The folder, on the first host, and whether all is in it; what is wrong with it is told by all of them."""
    folder, told = None, ""
    if hosts.is_first():
        try:
            config = settings.to_config().to_dict()
            asked = _describe(settings, policy)
            folder = GenerationFolder(find_workdir(path, config), config, asked, settings.generate.shard_size)
        except UsageError as error:
            told = str(error)
    told, is_finished = hosts.gather([told, folder is not None and folder.is_finished])[0]
    if told:
        raise UsageError(told)
    return folder, is_finished


def _describe(settings: Settings, policy: _Policy) -> dict[str, Any]:
    """What stands in generation.json, and what a folder that holds samples is compared by."""
    data, sampling, questions = settings.data, settings.sampling, policy.questions
    rows = json.dumps([questions.problems[p.index] for p in questions.prompts], sort_keys=True, default=str)
    return {
        **policy.identity,
        "data": data.name,
        "split": data.split,
        "template": data.template,
        "problems": len(questions.prompts),
        "samples": settings.collect.samples,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "max_tokens": sampling.max_length,
        "seed": settings.seed,
        "rewards": dict(zip(settings.reward.names, settings.reward.weights, strict=True)),
        "graders": {name: _version(name, settings) for name in settings.reward.names},
        "format": settings.generate.format,
        "data_sha256": hashlib.sha256(rows.encode()).hexdigest(),
    }


def _version(name: str, settings: Settings) -> str:
    if name != JUDGE:
        return version_of(name, "config.reward.names")
    told = f"{settings.judge.instructions}/{settings.judge.max_tokens}"
    return f"{settings.judge.model} {hashlib.sha256(told.encode()).hexdigest()[:12]}"


def _generate(
    settings: Settings, policy: _Policy, questions: HeldOut, rewarder: Rewarder, folder: GenerationFolder | None
) -> None:
    """Draws what the folder does not hold yet, and writes it there."""
    samples, count = settings.collect.samples, len(questions.prompts)
    owners = [questions.problems[prompt.index] for prompt in questions.prompts]
    kept = 0
    if folder:
        ids = [problem["id"] for problem in owners for _ in range(samples)]
        kept = folder.resume(ids, min(policy.per_batch, count) * samples)
    done = hosts.gather(kept)[0] // samples
    of_judge: Counter[str] = Counter()

    def used() -> dict[str, dict[str, int]]:
        servers = {"endpoint": policy.server.asked if policy.server else {}, JUDGE: of_judge}
        return {name: dict(counts) for name, counts in servers.items() if counts}

    if done < count:
        batches = show(policy.batches(questions, rewarder, done), count, done, samples, f"generate {questions.name}")
        try:
            with Preemption(lambda: STOPPED) as preemption:
                for batch in batches:
                    records = [_with_problem(record, owners[done + row // samples]) for row, record in enumerate(batch)]
                    done += len(batch) // samples
                    of_judge.update(judge_counts(rewarder))
                    if folder:
                        folder.add(records)
                        folder.describe(used())
                    if preemption.requested():
                        raise Preempted(STOPPED)
        except RunError:  # What was asked in vain was asked.
            if folder:
                folder.describe(used())
            raise
    if folder:
        folder.finish(used())


def _with_problem(record: dict, problem: Mapping) -> dict:
    """A record with what its problem says of itself, so that it can be graded again without the data."""
    made = {"id": record["id"], "sample": record["sample"], "problem": problem["problem"], **record}
    return made | {key: value for key, value in problem.items() if key not in (*made, *OF_TRAINING)}


def _show(description: Mapping[str, Any], path: str | Path) -> None:
    counts = description["counts"]
    count = counts["samples"]
    rows = [[name, f"{counts[name]} ({counts[name] / count:.1%})"] for name in ("right", "truncated", "failures")]
    for server, asked in description["asked"].items():
        tokens = f"{asked['prompt_tokens']} + {asked['completion_tokens']} tokens"
        rows.append([f"asked of {server}", f"{asked['calls']} calls, {asked['cache_hits']} from the cache, {tokens}"])
    title = f"{description['data']}: {description['problems']} problems, {description['samples']} samples each"
    table(title, ["", description["model"]], rows)
    print(f"In {path}: {description['shards']} shards ({description['format']}), generation.json")
