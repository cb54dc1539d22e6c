"""Runs experiments one after another, and writes `experiments/RESULTS.md` again.

    python -m experiments.run                         # which there are, and how long each takes
    python -m experiments.run methods r1_zero         # these, at laptop size: as many seeds as take half an hour each
    python -m experiments.run minerva --seeds=3       # as many as are kept, whatever they take
    python -m experiments.run --all                   # all that need neither data nor another program
    python -m experiments.run --rebuild               # the table alone, from the results that are kept
    python -m experiments.run r1 --scale=full         # prints the commands for a pod; --start starts them

Each is a command of its own with a folder of its own in OUTPUT; the same command again goes on where it stopped. What
is kept in `experiments/NAME` and stands in the table changes with --publish only.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments import full, results
from experiments.catalogue import EXPERIMENTS
from experiments.commands import text
from rl_reason.errors import PREEMPTED, Preempted, RunError, UsageError, nearest, run_command
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.progress import table

FLAGS: Spec = {
    "scale": (str, "tiny", "tiny: runs them here; full: the commands of paper size, for a pod"),
    "seeds": (int, 0, "0: at laptop size as many of 3 as take 30 minutes, with --publish all; at paper size 1"),
    "all": (bool, False, "all experiments; those that need more than is there are named"),
    "output": (Path, Path("runs"), "a folder for each experiment"),
    "data": (str, "", "folder with math/, prm/, code/ and geometry/; with --scale=full what DATA stands for"),
    "harness": (str, "", "a Python that has lm_eval, for harness_agreement"),
    "publish": (bool, False, "then keep the results and pictures in experiments/NAME"),
    "rebuild": (bool, False, "run nothing; write RESULTS.md from what is kept"),
    "start": (bool, False, "with --scale=full: start the commands, one after another"),
    "teacher": (str, "", "with --scale=full: what TEACHER stands for, a host"),
}
SCALES = ("tiny", "full")
KEPT_SEEDS = 3
HALF_HOUR = 30
"""Minutes that an experiment takes at laptop size where no seeds are asked for."""


def main() -> None:
    names, flags = parse(sys.argv[1:])
    if not names and not flags["rebuild"]:
        show()
    elif flags["rebuild"]:
        results.rebuild()
        print(f"Written to {results.FILE}")
    elif flags["scale"] == "full":
        run_full(names, flags)
    else:
        run_tiny(names, flags)


def parse(argv: Sequence[str]) -> tuple[list[str], dict]:
    """Which experiments, none where only --rebuild or nothing is asked for, and the flags; names stand in front.

    Raises:
        UsageError: names, flags or values that are wrong, or that say nothing together.
    """
    count = next((i for i, word in enumerate(argv) if word.startswith("-")), len(argv))
    flags = parse_flags(argv[count:], FLAGS, description=__doc__ or "")
    names = list(dict.fromkeys(argv[:count]))
    for name in names:
        if name not in EXPERIMENTS:
            raise UsageError(f"{name!r}: is no experiment{nearest(name, EXPERIMENTS)}")
    if flags["scale"] not in SCALES:
        raise UsageError(f"--scale={flags['scale']}: expected {' or '.join(SCALES)}")
    if argv and (bool(names) + flags["all"] + flags["rebuild"]) != 1:
        raise UsageError("names, --all, --rebuild: expected one of the three, or nothing, which lists the names")
    if flags["seeds"] < 0:
        raise UsageError(f"--seeds={flags['seeds']}: expected at least 1")
    if flags["publish"] and 0 < flags["seeds"] < KEPT_SEEDS:
        raise UsageError(f"--seeds={flags['seeds']}: expected at least {KEPT_SEEDS} with --publish, as what is kept")
    asked = {name for name, (_, default, _) in FLAGS.items() if flags[name] != default}
    unread = {"publish": "tiny", "harness": "tiny", "start": "full", "teacher": "full"}
    for name in asked:
        if flags["rebuild"] and name != "rebuild" or unread.get(name, flags["scale"]) != flags["scale"]:
            where = "--rebuild" if flags["rebuild"] else f"--scale={flags['scale']}"
            raise UsageError(f"--{name}={flags[name]}: is not read with {where}; expected it without")
    return list(EXPERIMENTS) if flags["all"] else names, flags


def show() -> None:
    """Which experiments there are."""
    rows = [
        [
            name,
            one.title,
            one.duration(),
            str(one.seeds_within(HALF_HOUR) or ""),
            ", ".join([*(one.data and ["--data"] or ()), *(one.programs or ())]),
        ]
        for name, one in EXPERIMENTS.items()
    ]
    heads = ["name", "what", "takes, on two CPU cores", "seeds run", "needs"]
    table("python -m experiments.run NAME [--seeds=3]", heads, rows)


def run_tiny(names: Sequence[str], flags: Mapping) -> None:
    """Those that may be run, each by its own command; then the table.

    Raises:
        UsageError: an experiment that was named needs what was not given.
        RunError: some failed; the others have been run.
    """
    programs = {"harness": flags["harness"]}
    lacking = {name: EXPERIMENTS[name].missing(flags["data"], programs) for name in names}
    for name, lacks in lacking.items():
        if lacks and not flags["all"]:
            raise UsageError(f"{name}: expected {', '.join(lacks)}")
    todo = [name for name in names if not lacking[name]]
    failed = []
    for number, name in enumerate(todo, 1):
        one = EXPERIMENTS[name]
        seeds = flags["seeds"] or (one.seeds if flags["publish"] else one.seeds_within(HALF_HOUR))
        command = one.command(name, flags["output"], flags["data"], programs, seeds)
        print(f"{number} of {len(todo)}, {one.duration(seeds)}: python {' '.join(command)}", flush=True)
        if not flags["seeds"] and seeds < one.seeds:
            print(f"{one.seeds - seeds} of its {one.seeds} seeds are left out, to stay within {HALF_HOUR} minutes; "
                  f"--seeds={one.seeds} runs them too", flush=True)
        if not _call([sys.executable, *command]):
            failed.append(name)
        elif flags["publish"]:
            for file in results.publish(name, flags["output"]):
                print(f"Kept as {file}")
    results.rebuild()
    print(f"Written to {results.FILE}")
    for name in names:
        if lacking[name]:
            print(f"Not run: {name}; it needs {', '.join(lacking[name])}")
    if failed:
        raise RunError(f"failed: {', '.join(failed)}; the same command goes on with them")


def run_full(names: Sequence[str], flags: Mapping) -> None:
    """Prints what is run on a pod, each command once, under the experiment that needs it first; starts all of it where
    that is asked for."""
    given = {name: flags[name] for name in ("data", "teacher") if flags[name]}
    pod = full.Pod(str(flags["output"]), flags["seeds"] or 1, **given)
    commands: dict[full.Command, None] = {}
    lines = []
    for name in names:
        asked = EXPERIMENTS[name].at_paper_size(pod)
        new = [command for command in dict.fromkeys(asked) if command not in commands]
        commands |= dict.fromkeys(new)
        also = f" and {len(asked) - len(new)} of those above" if len(new) < len(asked) else ""
        many = f"{len(new)} command{'s' * (len(new) != 1)}{also}"
        told = many if asked else "its command is the same at either scale"
        lines += [f"# {name}: {told}", *map(text, new)]
    started = [full.arguments(command) for command in commands] if flags["start"] else []
    print("\n".join(lines))
    for words in started:
        line = text(["python", *words[1:]])
        print(f"Starting {line}", flush=True)
        if not _call(words):
            raise RunError(f"failed: {line}; the same command goes on with it")


def _call(command: Sequence[str]) -> bool:
    """Whether a command succeeded."""
    code = subprocess.run(command).returncode
    if code == PREEMPTED:
        raise Preempted("stopped by SIGTERM; the same command goes on where it stopped")
    return not code


if __name__ == "__main__":
    run_command(main)
