"""A config with several values of its keys, on several seeds.

    python -m experiments.sweep --config=configs/grpo_math.py:tiny --seeds=3 \\
        --grid config.algorithm.group_size=4,8,16 --grid config.algorithm.kl_coef=0,0.04

runs all pairs of these values; `--point "config.algorithm.group_size=4 config.algorithm.kl_coef=0"`, as often as one
likes, instead of grids the named ones only. `config.KEY=VALUE` behind the flags holds for all. Each run is a command of
its own, in OUTPUT/POINT/seedN, and the same command again goes on where it stopped. Writes OUTPUT/sweep.csv, a row for
each measure of each evaluation of each run, and OUTPUT/commands.txt, each run as a command by itself.

Of small models `--together=8` computes up to so many runs in one program: those that differ only in their seed and in
numbers such as `learning_rate`, `kl_coef` or `clip_high` (`rl_reason.recipes.together`). Folders and table are as ever.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import multiprocessing
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.commands import note
from experiments.pipelines import over_seeds, train, train_command
from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.recipes import together
from rl_reason.recipes.checks import reads
from rl_reason.runtime.config import load
from rl_reason.runtime.flags import REQUIRED, Spec, parse_flags, split_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import Workdir, write_atomic
from rl_reason.settings import Settings

FLAGS: Spec = {
    "config": (str, REQUIRED, "a config file, FILE or FILE:VARIANT; --config.KEY=VALUE holds for all runs"),
    "grid": (str, "", "config.KEY=A,B,C: values of a key; given again, those of another one, and all pairs are run"),
    "point": (str, "", '"config.KEY=VALUE config.KEY=VALUE": a run of these values; given again, another one'),
    "seeds": (int, 3, "seeds 0, 1, … are run"),
    "output": (str, "runs/sweep", "a folder for each run, and sweep.csv"),
    "together": (int, 1, "runs that are computed in one program, at most; 1: each by itself"),
    "draw": (bool, False, "run nothing; read the runs that are there"),
}
SHOWN = ("pass@1", "maj@8", "perplexity", "tokens/completion")
"""Of the last evaluation, those that there are."""

Point = dict[str, str]
"""Key, without "config." → value, as written."""


@dataclass(frozen=True)
class Sweep:
    config: str
    points: Sequence[Point]
    common: Sequence[str]
    """Flags of all runs."""
    seeds: int
    output: Path
    together: int
    draws: bool

    def runs(self) -> Iterator[tuple[Point, int, Path]]:
        for point in self.points:
            for seed in range(self.seeds):
                yield point, seed, self.output / folder_name(point) / f"seed{seed}"


def main() -> None:
    sweep = parse(sys.argv[1:])
    if not sweep.draws:
        run(sweep)
    rows = [row for run in sweep.runs() for row in read(*run)]
    write_atomic(sweep.output / "sweep.csv", to_csv(rows))
    show(rows, sweep)


def run(sweep: Sweep) -> None:
    """All runs, or what is left of them: one after another, or group by group.

    Raises:
        RunError: one failed.
    """
    runs, done = [*sweep.runs()], 0
    settings = [settings_of(sweep, point, seed) for point, seed, _ in runs]
    folders = [folder for _, _, folder in runs]
    # Also those that are computed together.
    note(sweep.output, [train_command(sweep.config, seed, to, [*sweep.common, *flags_of(at)]) for at, seed, to in runs])
    alone = [[place] for place in range(len(runs))]
    found = together.groups([*zip(settings, folders, strict=True)], sweep.together) if sweep.together > 1 else alone
    for group in found:
        for place in group:
            done += 1
            point, seed, folder = runs[place]
            print(f"run {done} of {len(runs)}: {describe(point)}, seed {seed}", flush=True)
        if len(group) == 1:
            train(sweep.config, seed, folder, [*sweep.common, *flags_of(point)])
        else:
            print(f"{len(group)} runs together", flush=True)
            train_together([(settings[place], folders[place]) for place in group])


def train_together(group: Sequence[together.Run]) -> None:
    """A group of runs in a process of its own, as each of the others has one."""
    process = multiprocessing.get_context("spawn").Process(target=_train_together, args=(group,))
    process.start()
    process.join()
    if process.exitcode == 2:
        sys.exit(2)  # It has said why.
    if process.exitcode:
        raise RunError(f"runs together failed; their folders are {', '.join(str(folder) for _, folder in group)}")


def _train_together(group: Sequence[together.Run]) -> None:
    run_command(lambda: together.run(group))


def settings_of(sweep: Sweep, point: Point, seed: int) -> Settings:
    flags = [f"--config={sweep.config}", *sweep.common, *flags_of(point), f"--config.seed={seed}"]
    return load(flags, reads=reads).settings


def parse(argv: Sequence[str]) -> Sweep:
    """What a command line asks for; every run's settings are read once, so that what is wrong is told before the first.

    Raises:
        UsageError: a flag, a key or a value that is wrong, or two points that are the same.
    """
    pairs = split_flags(argv, ("draw", "nodraw", "help", "h"))
    written = [f"--{name}" if text is None else f"--{name}={text}" for name, text in pairs]
    common = [flag for flag in written if flag.startswith("--config.")]
    flags = parse_flags([flag for flag in written if flag not in common], FLAGS, description=__doc__ or "")
    grids = [_values(text or "") for name, text in pairs if name == "grid"]
    points = [_point(text or "") for name, text in pairs if name == "point"]
    if bool(grids) == bool(points):
        raise UsageError("--grid, --point: expected one of the two, as in --grid config.algorithm.group_size=4,8,16")
    for name in ("seeds", "together"):
        if flags[name] < 1:
            raise UsageError(f"--{name}={flags[name]}: expected at least 1")
    keys = [key for key, _ in grids]
    made = points or [dict(zip(keys, values, strict=True)) for values in itertools.product(*(v for _, v in grids))]
    for key in [*keys, *(key for point in points for key in point)]:
        if key == "seed" or keys.count(key) > 1:
            raise UsageError(f"config.{key}: expected once, and seeds as --seeds={flags['seeds']}")
    for place, point in enumerate(made):
        if point in made[:place]:
            raise UsageError(f"{describe(point)}: stands there twice; expected different runs")
    sweep = Sweep(
        flags["config"], made, common, flags["seeds"], Path(flags["output"]), flags["together"], flags["draw"]
    )
    settings = [settings_of(sweep, point, 0) for point in made]
    if sweep.together > 1:
        _check_together(sweep, settings)
    return sweep


def _check_together(sweep: Sweep, settings: Sequence[Settings]) -> None:
    for one in settings:
        together.check(one)
    if sweep.seeds == 1 and len({together.shared(one) for one in settings}) == len(settings):
        raise UsageError(
            f"--together={sweep.together}: expected runs that differ only in some of {', '.join(together.MAY_DIFFER)}; "
            "found no two such, and --seeds=1"
        )


def _values(text: str) -> tuple[str, list[str]]:
    """Key and values of "config.KEY=A,B"; commas within brackets and quotes belong to a value."""
    key, equals, values = text.partition("=")
    found = re.findall(r"""((?:\([^()]*(?:\([^()]*\)[^()]*)*\)|\[[^\]]*\]|"[^"]*"|'[^']*'|[^,])+)""", values)
    if not key.startswith("config.") or not equals or not found:
        raise UsageError(f"--grid={text!r}: expected config.KEY=A,B,C")
    return key.removeprefix("config."), found


def _point(text: str) -> Point:
    point: Point = {}
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--point={text!r}: {error}; expected config.KEY=VALUE config.KEY=VALUE") from None
    for word in words:
        key, equals, value = word.partition("=")
        if not key.startswith("config.") or not equals or key.removeprefix("config.") in point:
            raise UsageError(f"--point={text!r}: expected config.KEY=VALUE config.KEY=VALUE, each key once")
        point[key.removeprefix("config.")] = value
    if not point:
        raise UsageError(f"--point={text!r}: expected config.KEY=VALUE config.KEY=VALUE")
    return point


def flags_of(point: Point) -> list[str]:
    return [f"--config.{key}={value}" for key, value in point.items()]


def written(point: Point) -> str:
    """A point as the value of --point."""
    return shlex.join(f"config.{key}={value}" for key, value in point.items())


def describe(point: Point) -> str:
    return ", ".join(f"{key}={value}" for key, value in point.items())


def folder_name(point: Point) -> str:
    """Readable, and another one for another point: where that takes more than a name may hold, a hash stands for it."""
    name = ",".join(f"{key.rpartition('.')[2]}={value}" for key, value in point.items())
    if re.fullmatch(r"[\w.=,+-]{1,100}", name):
        return name
    start, digest = re.sub(r"[^\w.=,+-]+", "_", name)[:80], hashlib.sha256(describe(point).encode()).hexdigest()[:8]
    return f"{start}-{digest}"


def read(point: Point, seed: int, folder: Path) -> list[dict[str, object]]:
    """A row for each number of each evaluation of a run.

    Raises:
        UsageError: there is no run, or one without evaluations.
    """
    rows, file = [], Workdir(folder).eval
    if not file.exists():
        raise UsageError(f"{file}: not there; expected the evaluations of {describe(point)}, seed {seed}")
    for record in read_jsonl(file):
        head = {**point, "seed": seed, "step": record["step"], "dataset": record.get("dataset", "")}
        for measure, value in record.items():
            if measure in head or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            low, high = record.get(f"{measure}_ci95") or ("", "")
            rows.append({**head, "measure": measure, "value": value, "low": low, "high": high})
    return rows


def to_csv(rows: Sequence[dict[str, object]]) -> str:
    """The rows, their columns in the order in which they come up; what a row has not is empty."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    ends = ["seed", "step", "dataset", "measure", "value", "low", "high"]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*(c for c in columns if c not in ends), *ends], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def show(rows: Sequence[dict], sweep: Sweep) -> None:
    """The last evaluation of each point and data set, the mean of the seeds."""
    names = [name for name in SHOWN if any(row["measure"] == name for row in rows)]
    lines = []
    for point in sweep.points:
        mine = [row for row in rows if all(row.get(key) == value for key, value in point.items())]
        for dataset in dict.fromkeys(row["dataset"] for row in mine):
            cells = []
            for name in names:
                which = [row for row in mine if (row["dataset"], row["measure"]) == (dataset, name)]
                last = {row["seed"]: row["value"] for row in which}
                cells.append(over_seeds([*last.values()], 100 if "@" in name else 1))
            lines.append([describe(point), dataset, *cells])
    title = f"{sweep.config}, last evaluation, mean of {sweep.seeds} seeds ± 95% interval (shares in %)"
    table(title, ["run", "data", *names], lines)


if __name__ == "__main__":
    run_command(main)
