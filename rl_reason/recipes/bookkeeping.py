"""What surrounds every training loop: evaluations, the description of the run, the table and pictures at the end."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optax

from rl_reason.data import sources
from rl_reason.data.templates import find_template, stops_of
from rl_reason.errors import UsageError
from rl_reason.models import huggingface, lora
from rl_reason.models.tensor_files import TensorFiles
from rl_reason.models.weights import Params, count
from rl_reason.parallel import company, hosts
from rl_reason.recipes.evaluation import HeldOut, make_evaluator
from rl_reason.recipes.golds import readable
from rl_reason.recipes.grading import judge_metrics
from rl_reason.recipes.loop import Evaluate, Loop
from rl_reason.recipes.optimizer import TrainState, make_optimizer
from rl_reason.recipes.setup import Model, check_length, encode_prompts, take_problems
from rl_reason.recipes.state import State, abstract_state, needs_reference, restore_or_start, train_shardings
from rl_reason.rewards.combination import Rewarder
from rl_reason.runtime.curves import draw_curves
from rl_reason.runtime.environment import describe
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import Progress, table
from rl_reason.runtime.report import write_report
from rl_reason.runtime.workdir import Workdir, find_workdir, make_workdir, write_atomic
from rl_reason.settings import Settings

log = logging.getLogger(__name__)
READ_AGAIN = "read_again.json"
"""Beside the description of a run's model: of each model that stands in no checkpoint and is read from its own files
whenever the run goes on, what tells its weights from others."""


def load_held_out(settings: Settings, model: Model, rewarder: Rewarder) -> list[HeldOut]:
    """The data sets of the evaluations inside a run, each by itself; all of their prompts fit, and their answers can be
    read. None where there are no evaluations."""
    evaluation, data = settings.evaluation, settings.data
    if not evaluation.samples and not evaluation.every:
        return []
    name = evaluation.name or data.name
    template = find_template(data.template)
    loaded = []
    for one in [name] if sources.is_file(name) else name.split("+"):
        everything = sources.load(one, evaluation.split, data.dir, settings.seed)
        problems = take_problems(everything, evaluation.problems)
        prompts = encode_prompts(problems, template, model, data.max_prompt_length, data.long_prompts)
        longest = max(len(prompt.prompt_ids) for prompt in prompts)
        if settings.recipe != "supervised" or data.row_length:
            check_length(model, longest, settings.sampling.max_length, "config.sampling.max_length")
        # A file has no splits: without a name of its own, an evaluation sees the problems that are trained on.
        label = one if sources.is_file(one) else f"{one}/{evaluation.split}"
        if sources.is_file(one) and not evaluation.name:
            log.warning("%s is evaluated on the problems it trains on; config.evaluation.name names others", one)
        unjudged = next((problem["id"] for problem in problems if not rewarder.judges(problem)), None)
        if unjudged is not None:
            raise UsageError(
                f"config.evaluation.name={name!r}: config.reward.kinds gives problem {unjudged!r} of {one} to no rule; "
                "expected data sets that a rule judges"
            )
        loaded.append(readable(rewarder, HeldOut(label, problems, prompts), data.unreadable))
    return loaded


def make_evaluate(
    settings: Settings,
    model: Model,
    held_out: Sequence[HeldOut],
    rewarder: Rewarder,
    loop: Loop,
    max_length: int,
    rows: int,
) -> Evaluate:
    """`evaluate(params, step, full)` writes a record for each data set to eval.jsonl; pass@1 of the first one. Between
    batches several hosts can stop.

    Full evaluations, before and after training, take `evaluation.samples` of each problem, the others
    `evaluation.samples_during`.
    """
    evaluation, template = settings.evaluation, find_template(settings.data.template)
    evaluators = {
        full: make_evaluator(
            model,
            rewarder,
            samples=evaluation.samples if full else evaluation.samples_during,
            temperature=evaluation.temperature,
            top_p=evaluation.top_p,
            max_length=max_length,
            rows=rows,
            seed=settings.seed,
            greedy=evaluation.greedy,
            stops=lambda problem: stops_of(template, problem),
        )
        for full in (True, False)
        if (settings.evaluation.samples if full else settings.evaluation.samples_during)
    }

    def evaluate(params: Params, step: int, full: bool) -> float | None:
        scores = []
        for data in held_out if full in evaluators else ():
            title = f"evaluate {data.name}, step {step}"
            with Progress(len(data.prompts), title=title, enabled=company.shows()) as progress:

                def advance(problems: int, progress: Progress = progress) -> None:
                    progress.advance(problems)
                    loop.give_way()

                record, _ = evaluators[full](params, data, advance)
            loop.metrics.write_eval({"step": step, "dataset": data.name, **record, **judge_metrics(rewarder)})
            scores.append(record["pass@1"])
        return scores[0] if scores else None

    return evaluate


def find_run(path: str | Path, settings: Settings, model: Model, others: Mapping[str, Model] | None = None) -> Workdir:
    """Looks whether the folder may hold the run, and says what will run. Writes nothing.

    Args:
        others: models that the run reads and does not train, by the setting that names them.

    Raises:
        UsageError: the folder holds something else (`runtime.workdir`), or the run began with other weights.
    """
    workdir = find_workdir(path, settings.to_config().to_dict())
    check_read_again(workdir, model, others)
    if not hosts.is_first():
        return workdir
    source = "random weights" if model.folder is None else model.folder
    axes = " × ".join(f"{axis} {size}" for axis, size in model.mesh.shape.items())
    print(f"{source}: {count(model.config) / 1e6:.2f}M parameters, {model.dtype.name}, mesh {axes}", flush=True)
    if model.config.lora:
        print(lora.describe(model.config), flush=True)
    return workdir


def make_run(workdir: Workdir, settings: Settings, model: Model, others: Mapping[str, Model] | None = None) -> None:
    """The run's folder with its config, the versions and devices of this run, and its model without the weights.
    `others` as in `find_run`.

    On several hosts all see the same folder: each has looked at it before the first one writes.

    Raises:
        UsageError: another host does not see the folder.
    """
    hosts.wait("workdir: looked at")
    if hosts.is_first():
        make_workdir(workdir, settings.to_config().to_dict())
        write_atomic(workdir.environment, json.dumps(describe(), indent=2) + "\n")
        huggingface.save_config(workdir.model, model.config, huggingface.source_dtype(model.config))
        _write_description(workdir.model, model)
        if marks := _marks(model, others):
            write_atomic(workdir.model / READ_AGAIN, json.dumps(marks, indent=2) + "\n")
    hosts.wait("workdir: made")
    if not _appears(workdir.config):
        raise UsageError(
            f"--workdir={workdir.path}: the first host has made it, this one does not see it; expected a shared folder"
        )


def _appears(file: Path, seconds: float = 60.0) -> bool:
    """Whether a file that another host has written is seen here: network file systems tell of it late."""
    until = time.monotonic() + seconds
    while not (file.parent.is_dir() and file.name in os.listdir(file.parent)):
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


@dataclass(frozen=True)
class Begun:
    """A run whose folder is made, at its start or behind its newest checkpoint."""

    model: Model
    workdir: Workdir
    step: Any
    """What updates the state; the recipe's own."""
    start: int
    """Steps behind it."""
    state: State
    position: dict
    """In the data."""

    @property
    def start_policy(self) -> Params | None:
        """The weights of the policy as it started; None where they are trained by now."""
        return None if self.start else self.state["train"].policy


def begin(
    settings: Settings,
    model: Model,
    path: str | Path,
    make: Callable[[Model, optax.GradientTransformation, TrainState], Any],
    others: Mapping[str, Model] | None = None,
) -> Begun:
    """Finds or makes the folder and the state; `make(model, optimizer, where the state lies)` is the recipe's step.
    `others` as in `find_run`."""
    workdir = find_run(path, settings, model, others)
    optimizer = make_optimizer(settings.algorithm, settings.steps)
    abstract = abstract_state(model, optimizer, needs_reference(settings))
    step = make(model, optimizer, train_shardings(abstract, model))
    start, state, position = restore_or_start(abstract, model, optimizer, workdir.checkpoints, settings.seed)
    make_run(workdir, settings, model, others)
    return Begun(model, workdir, step, start, state, position)


def export_model(folder: Path, model: Model, params: Params, dtype: str) -> None:
    """A Hugging Face folder: config, safetensors, tokenizer with its chat template. Written by the first host.

    Of a policy with a critic's layer the policy alone is written.
    """
    heads = ("vocabulary",) if "vocabulary" in model.config.heads else model.config.heads
    huggingface.save_params(folder, dataclasses.replace(model.config, heads=heads), params, dtype)
    if hosts.is_first():
        _write_description(folder, model)


def _write_description(folder: Path, model: Model) -> None:
    """What stands beside `config.json` and the weights."""
    generation = {"eos_token_id": list(model.stop_ids), "pad_token_id": model.pad_id}
    write_atomic(folder / "generation_config.json", json.dumps(generation, indent=2) + "\n")
    model.tokenizer.save_pretrained(folder)


def check_read_again(workdir: Workdir, model: Model, others: Mapping[str, Model] | None = None) -> None:
    """Raises `UsageError` where a model that stands in no checkpoint has other weights than when the run began: what
    lies beneath adapters, a teacher, a reward model. What has been written over could not be told otherwise."""
    file = workdir.model / READ_AGAIN
    began = json.loads(file.read_text()) if file.is_file() else {}
    for key, mark in _marks(model, others).items():
        if began.get(key, mark)["fingerprint"] != mark["fingerprint"]:
            raise UsageError(
                f"config.{key}: {mark['folder']} holds other weights than the run in --workdir={workdir.path} began "
                "with"
            )


def _marks(model: Model, others: Mapping[str, Model] | None) -> dict[str, dict[str, str]]:
    """Of each model that is read again, by its setting: where it was, and what its weights are known by."""
    read = {"model.path": model} if model.config.lora else {}
    read.update(others or {})
    return {
        key: {"folder": str(one.folder), "fingerprint": TensorFiles(one.folder).fingerprint()}
        for key, one in read.items()
        if one.folder
    }


def close_run(workdir: Workdir) -> None:
    """Draws curves and report, prints the table of the first and the last evaluation and where to look."""
    if not hosts.is_first():
        return
    draw_curves(workdir)
    write_report(workdir)
    by_name: dict[str, list[dict]] = {}
    for record in read_jsonl(workdir.eval):
        by_name.setdefault(record["dataset"], []).append(record)
    for records in by_name.values():
        first, last = records[0], records[-1]
        if "perplexity" in last:
            names = ("perplexity", "bits/byte")
            rows = [[name, *(f"{record[name]:.4g}" for record in (first, last))] for name in names]
            title = f"{last['dataset']}: {last['n']} documents, {last['tokens']} tokens"
        else:
            rows = [[name, _percent(first, name), _percent(last, name)] for name in _shared_rates(first, last)]
            rows.append(["tokens/completion", *(f"{record['tokens/completion']:.1f}" for record in (first, last))])
            title = f"{last['dataset']}: {last['n']} problems, {last['samples']:g} samples each"
        table(title, ["", f"before (step {first['step']})", f"after (step {last['step']})"], rows)
    print(f"The run is in {workdir.path}: open curves.png and report.html")


def _shared_rates(first: dict, last: dict) -> list[str]:
    parts = ("greedy", "pass@", "maj@", "best@", "accuracy", "auc")
    names = [name for name in last if name.split("/")[-1].startswith(parts) and not name.endswith("_ci95")]
    is_known = lambda name: first.get(name) is not None and last.get(name) is not None  # noqa: E731
    return [name for name in [*names, "format", "truncated"] if is_known(name)]


def _percent(record: dict, name: str) -> str:
    text = f"{100 * record[name]:.1f}%"
    interval = record.get(f"{name}_ci95")
    return text if interval is None else f"{text} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
