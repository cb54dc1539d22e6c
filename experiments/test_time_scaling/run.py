"""Accuracy against tokens spent, for each way to spend them; and what RL does to maj@K and pass@K.

    python -m experiments.test_time_scaling.run --seeds=3 --output=runs/test_time_scaling

Of each seed: GRPO trains a policy, a process reward model learns to judge its steps, and both are put to use on
problems of their own. Each part is a file; the same command again goes on with the parts that are missing. Writes
OUTPUT/results.json, OUTPUT/scaling.png, OUTPUT/before_after.png and prints the tables.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax

from experiments.test_time_scaling import figures
from experiments.test_time_scaling.estimates import summarize
from rl_reason import settings
from rl_reason.data import sources
from rl_reason.data.templates import find_template
from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.models.weights import Params
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes.evaluation import HeldOut, questions_at_once, sample_records
from rl_reason.recipes.learned_rewards import describe_reward_model
from rl_reason.recipes.searching import make_expand, make_score, search_records
from rl_reason.recipes.setup import Model, describe_model, encode_prompts
from rl_reason.rewards.combination import Rewarder
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import Progress
from rl_reason.runtime.workdir import write_atomic
from rl_reason.sampling.beam import Beam
from rl_reason.sampling.sampler import make_sampler
from rl_reason.sampling.search import Prefix
from rl_reason.sampling.tree import Tree

FLAGS: Spec = {
    "seeds": (int, 3, "seeds 0, 1, … are run"),
    "problems": (int, 100, "of each seed, which are others for each"),
    "samples": (int, 64, "completions of each problem"),
    "output": (str, "runs/test_time_scaling", "a folder for each seed, results.json and the pictures"),
    "draw": (bool, False, "run nothing; read the parts that are there"),
}
BASE = "checkpoints/tiny"
LONGER, TRAINED = "experiments.test_time_scaling.problems:five_events", "word_problems"
MAX_LENGTH, MAX_PROMPT = 96, 128
TEMPERATURE = 1.0
ROWS = 512
"""Samples, or prefixes to be scored, at the same time."""
POLICY = {"evaluation.samples": "0", "evaluation.every": "0"}
"""GRPO as in `make demo`, not evaluated on the way."""
JUDGE = {
    "data.name": LONGER,
    "data.max_prompt_length": str(MAX_PROMPT),
    "sampling.max_length": str(MAX_LENGTH),
    "sampling.temperature": str(TEMPERATURE),
    "evaluation.every": "0",
    "evaluation.problems": "100",
}
"""What the reward model learns from is what the policy writes on training problems of five events."""
SEARCHES: dict[str, Callable] = {
    **{f"beam-{4 * width}": Beam(width, 4) for width in (1, 2, 4, 8, 16)},
    **{f"tree-{simulations}": Tree(simulations, 4) for simulations in (4, 8, 16, 32, 64)},
}


@dataclass(frozen=True)
class Policy:
    """A policy with the problems that it is asked."""

    model: Model
    params: Params
    asked: HeldOut


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    for name in ("seeds", "problems", "samples"):
        if flags[name] < 1:
            raise UsageError(f"--{name}={flags[name]}: expected at least 1")
    output = Path(flags["output"])
    output.mkdir(parents=True, exist_ok=True)
    names = ("longer-after", *SEARCHES, "longer-before", "trained-before", "trained-after")
    seeds = []
    with Progress((2 + len(names)) * flags["seeds"], title="parts") as progress:
        for seed in range(flags["seeds"]):
            folder = output / f"seed{seed}"
            if not flags["draw"]:
                folder.mkdir(exist_ok=True)
                for _ in run_seed(folder, seed, flags["problems"], flags["samples"]):
                    progress.advance(1)
            seeds.append({name: _read(folder / f"{name}.jsonl") for name in names})
    results = summarize(seeds)
    write_atomic(output / "results.json", json.dumps(results, indent=1) + "\n")
    figures.draw_scaling(results["scaling"], output / "scaling.png")
    figures.draw_before_after(results["before_after"], output / "before_after.png")
    figures.show(results)


def run_seed(folder: Path, seed: int, problems: int, samples: int) -> Iterator[None]:
    """Makes what the folder lacks; yields after each part."""
    policy, judge = folder / "policy", folder / "judge"
    if not policy.exists():
        run = folder / "grpo"
        _train("grpo", run, {**POLICY, "seed": str(seed)})
        _command("export", f"--workdir={run}", f"--output={policy}", log=folder / "export.log")
    yield
    # What is finished is not begun again: the last thing that it writes is its export.
    if not (judge / "export").exists():
        _train("prm", judge, {**JUDGE, "model.path": str(policy), "seed": str(seed)})
    yield
    reward = settings.Reward(names=("number",), weights=(1.0,), model=str(judge / "export"))
    first = seed * problems
    load = functools.cache(lambda path, data: _load(str(path), data, first, problems))
    with Rewarder(reward) as rewarder:
        for name, path, data in (
            ("longer-after", policy, LONGER),
            ("longer-before", BASE, LONGER),
            ("trained-before", BASE, TRAINED),
            ("trained-after", policy, TRAINED),
        ):
            file = folder / f"{name}.jsonl"
            if not file.exists():
                _write(file, _sample(load(path, data), reward, rewarder, samples, seed, name))
            yield
        for name, kind in SEARCHES.items():
            file = folder / f"{name}.jsonl"
            if not file.exists():
                _write(file, _search(load(policy, LONGER), reward, rewarder, kind, seed, name))
            yield


def _load(path: str, data: str, first: int, count: int) -> Policy:
    problems = sources.load(data, "test", "", 0)[first : first + count]
    model = describe_model(settings.Model(path=path), make_mesh(settings.Mesh()), lambda: ())
    prompts = encode_prompts(problems, find_template("question"), model, MAX_PROMPT)
    return Policy(model, model.load_params(0), HeldOut(data, problems, prompts))


def _sample(policy: Policy, reward: settings.Reward, rewarder: Rewarder, samples: int, seed: int, name: str) -> list:
    """Samples of each problem, each with the score of the reward model."""
    model, asked = policy.model, policy.asked
    sampler = make_sampler(
        model.config,
        group_size=samples,
        max_length=MAX_LENGTH,
        stop_ids=model.stop_ids,
        pad_id=model.pad_id,
        temperature=TEMPERATURE,
        dtype=model.dtype,
    )
    per_batch = questions_at_once(ROWS, samples, len(asked.prompts))
    score = _make_score(policy, reward)
    rows = []
    with Progress(len(asked.prompts), title=name) as progress:
        for batch in sample_records(
            sampler, model, policy.params, asked, rewarder, samples, per_batch, jax.random.key(seed)
        ):
            for start in range(0, len(batch), samples):
                records = batch[start : start + samples]
                scores = score([(len(rows), Prefix(tokens=tuple(record["tokens"]))) for record in records])
                rows.append(_row([{**record, "score": s} for record, s in zip(records, scores, strict=True)]))
                progress.advance(1)
    return rows


def _search(
    policy: Policy, reward: settings.Reward, rewarder: Rewarder, kind: Callable, seed: int, name: str
) -> list[dict]:
    asked = policy.asked
    expand = make_expand(
        policy.model,
        policy.params,
        asked.prompts,
        separator=reward.step_separator,
        temperature=TEMPERATURE,
        top_p=1.0,
        max_length=MAX_LENGTH,
        rows=ROWS,
        seed=seed,
    )
    score = _make_score(policy, reward)
    rows = []
    with Progress(len(asked.prompts), title=name) as progress:
        for batch in search_records(policy.model, asked, kind, expand, score, rewarder, len(asked.prompts)):
            rows += [
                _row(records) | {"spent": records[0]["spent"], "scored": records[0]["scored"]} for records in batch
            ]
            progress.advance(len(batch))
    return rows


def _make_score(policy: Policy, reward: settings.Reward):
    judge = describe_reward_model(reward, policy.model)
    return make_score(reward, judge, judge.load_params(0), policy.asked.prompts, max_length=MAX_LENGTH, rows=ROWS)


def _row(records: Sequence[dict]) -> dict:
    """What is kept of a problem's completions."""
    return {
        "id": records[0]["id"],
        "tokens": [len(record["tokens"]) for record in records],
        "correct": [record["correct"] for record in records],
        "extracted": [record["extracted"] for record in records],
        "scores": [record["score"] for record in records],
    }


def _train(config: str, folder: Path, changes: dict[str, str]) -> None:
    flags = [f"--config.{key}={value}" for key, value in changes.items()]
    name = f"configs/{config}_math.py:tiny"
    _command("train", f"--config={name}", f"--workdir={folder}", *flags, log=folder.with_suffix(".log"))


def _command(name: str, *flags: str, log: Path) -> None:
    with log.open("w") as file:
        if subprocess.run([sys.executable, "-m", f"rl_reason.{name}", *flags], stdout=file, stderr=file).returncode:
            raise RunError(f"{name} failed; {log} says why")


def _write(file: Path, rows: Sequence[dict]) -> None:
    write_atomic(file, "".join(json.dumps(row) + "\n" for row in rows))


def _read(file: Path) -> list[dict]:
    if not file.exists():
        raise RunError(f"{file}: is missing; run this command without --draw")
    return list(read_jsonl(file))


if __name__ == "__main__":
    run_command(main)
