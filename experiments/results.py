"""`experiments/RESULTS.md`: what of each experiment stands beside its paper, made of the results that are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path

from experiments.catalogue import EXPERIMENTS, HERE, Experiment
from experiments.claims import NEAR, NONE, Claim
from rl_reason.errors import UsageError
from rl_reason.runtime.workdir import write_atomic

FILE = HERE / "RESULTS.md"
HEADS = ("what is claimed", "paper", "here", "95% interval", "over", "holds")
INTRODUCTION = f"""\
# What holds of the papers, at laptop size

Made of the results beside each experiment by `python -m experiments.run --rebuild`; no number here is typed in.

Each line is a number and the bounds between which it would lie if what the paper shows held here. It holds (yes) if the
95% interval lies between them as a whole, does not (no) if it lies outside as a whole, and is undecided otherwise. An
ordering is the difference of two arms, paired by seed, and lies above or below 0. Intervals are Student's over seeds,
Wilson's of counts, bootstrapped over problems where the line says so. What was compiled, weighed, or counted on all of
a fixed set has none; one seed decides nothing. Of so many lines at 95% a few are decided by chance.

The papers' numbers are of models thousands of times as large, on other problems: what is compared is the direction.
Where a paper says "as good" or "flat" without a number, {NEAR:g} points either way are taken; these and all other
bounds but 0 are ours, and were set when the results were known. Models, problems, samples and what cannot be seen at
this size stand in the README of each experiment. `python -m
experiments.run NAME` runs as many of three seeds as take half an hour, with `--seeds=3` all, and with `--scale=full`
prints the trainings, evaluations and searches of the papers' size.
"""


def build() -> str:
    """The text of `FILE`.

    Raises:
        UsageError: kept results that are not what the experiment's claims read.
    """
    measured = {name: read(name) for name, one in EXPERIMENTS.items() if one.file.exists()}
    claims = [claim for claims in measured.values() for claim in claims]
    published, own = ([one for one in claims if (one.paper == NONE) == ours] for ours in (False, True))
    told = f"Of {len(published)} lines that a paper stands behind: {count(published)}.\n"
    parts = [INTRODUCTION, f"{told}Of {len(own)} of our own, without one: {count(own)}.\n"]
    parts += [f"## {_link(one := EXPERIMENTS[name])}\n\n{_time(one)}{table(found)}" for name, found in measured.items()]
    waiting = [f"- {_link(one)}: `python -m experiments.run {name}`\n" for name, one in EXPERIMENTS.items()
               if name not in measured]  # fmt: skip
    parts += [f"## Not measured yet\n\n{''.join(waiting)}"] if waiting else []
    return "\n".join(parts)


def read(name: str, file: Path | None = None) -> list[Claim]:
    """The claims of an experiment, of the results in `file` or of those that are kept.

    Raises:
        UsageError: they are not what the claims read.
    """
    file = file or EXPERIMENTS[name].file
    try:
        return EXPERIMENTS[name].read(file)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, StopIteration) as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UsageError(f"{file}: expected the results of {name}, found others ({what})") from error


def rebuild(file: Path = FILE) -> None:
    write_atomic(file, build())


def count(claims: Iterable[Claim]) -> str:
    counts = Counter(one.holds for one in claims)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("yes", "no", "undecided"))


def table(claims: list[Claim]) -> str:
    rows = [HEADS, ("---",) * len(HEADS), *map(astuple, claims)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def publish(name: str, output: Path) -> list[Path]:
    """Copies an experiment's results, and its pictures, from its folder of runs to where they are kept.

    Raises:
        UsageError: there are no results, or results that its claims cannot read; nothing is copied then.
    """
    experiment = EXPERIMENTS[name]
    folder = output / (experiment.output or name)
    made, kept = folder / experiment.makes, experiment.file
    if not made.is_file():
        raise UsageError(f"{made}: is not there; expected the results of {name}")
    read(name, made)
    write_atomic(kept, made.read_bytes())
    pictures = sorted(folder.glob("*.png"))
    for picture in pictures:
        write_atomic(kept.parent / picture.name, picture.read_bytes())
    return [kept, *(kept.parent / picture.name for picture in pictures)]


def _time(experiment: Experiment) -> str:
    known = experiment.minutes_of_seed() is not None
    return f"Takes {experiment.duration()}, on two CPU cores that other runs may have shared.\n\n" if known else ""


def _link(experiment: Experiment) -> str:
    return f"[{experiment.title}]({experiment.folder}/README.md)"
