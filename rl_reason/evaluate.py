"""`python -m rl_reason.evaluate --model=DIR_OR_NAME --data=NAME_OR_JSONL --samples=K --temperature=T --output=DIR`.

Samples K completions of each problem and writes DIR/results.json and DIR/samples.jsonl. The same command again goes on
where it was stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rl_reason.errors import UsageError, run_command
from rl_reason.runtime.flags import HOSTS, REQUIRED, Spec, as_flags, parse_flags
from rl_reason.runtime.progress import table

FLAGS: Spec = {
    "model": (str, REQUIRED, "a Hugging Face folder or name"),
    "data": (str, REQUIRED, "a data set's name, or a JSONL file with `problem` and `answer`"),
    "output": (str, REQUIRED, "folder for results.json and samples.jsonl"),
    "split": (str, "test", "split of a named data set"),
    "dir": (str, "", "folder with local files of a named data set; empty: the public download"),
    "problems": (int, 0, "the first so many problems; 0: all"),
    "protocol": (str, "", "defaults of a paper for the five flags below: r1 or minerva"),
    "template": (str, "", "prompt template (default: r1_zero; choice_plain, code_plain); none: the problem as it is"),
    "samples": (int, None, "completions of each problem (default: 1)"),
    "temperature": (float, None, "0 is greedy (default: 0)"),
    "top_p": (float, None, "nucleus sampling; 1 is off (default: 1)"),
    "max_tokens": (int, None, "limit of a completion (default: 1024)"),
    "stop": (str, "", "text at which a completion is cut off, instead of the template's own"),
    "grader": (str, "auto", "reward function that says what is correct; auto: the data set's own, of a file accuracy"),
    "reward_model": (str, "", "a Hugging Face folder of a reward model: adds bon@k and weighted_maj@k"),
    "aggregation": (str, "", "of a process reward model's steps: product (default), minimum or last"),
    "step_separator": (str, "", "what ends a step for a process reward model (default: the end of a line)"),
    "search": (str, "", "beam or tree: one solution a problem, by a search over steps that the reward model guides"),
    "expansions": (int, None, "of a search: steps that are drawn behind a prefix (default: 4)"),
    "choose": (str, "", "of a search's solutions: score (default), the best one; vote, of the answer with most of it"),
    "width": (int, None, "of a beam: prefixes that are kept (default: 4)"),
    "simulations": (int, None, "of a tree: most of them (default: 32)"),
    "max_prompt_tokens": (int, 4096, "limit of a prompt"),
    "batch": (int, 256, "completions that are sampled at the same time"),
    "dtype": (str, "auto", "auto, float32 or bfloat16"),
    "seed": (int, 0, "of the sampling"),
    **HOSTS,
}


SEARCH = ("expansions", "width", "simulations")
SEARCHES = {"beam": ("expansions", "width"), "tree": ("expansions", "simulations")}
"""Which flags a search reads."""
KEYS = {
    "config.model.path": "--model",
    "config.model.dtype": "--dtype",
    "config.data.name": "--data",
    "config.data.dir": "--dir",
    "config.data.split": "--split",
    "config.data.template": "--template",
    "config.data.max_prompt_length": "--max_prompt_tokens",
    "config.reward.model": "--reward_model",
    "config.reward.step_separator": "--step_separator",
}
"""What the rooms below call by a config's key is a flag here."""


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    _check(flags)
    # jax is imported after the flags are read: --help and a misspelt flag answer at once.
    from rl_reason.parallel import hosts

    with hosts.joined(*(flags[name] for name in HOSTS)):
        with as_flags(KEYS):
            from rl_reason.recipes.evaluation_run import evaluate

            results = evaluate(flags)
        if results is not None:
            _show(flags, results)


def _check(flags: dict) -> None:
    positive = ("samples", "max_tokens", "max_prompt_tokens", "batch", *SEARCH)
    for name, least in (*((name, 1) for name in positive), ("problems", 0)):
        if flags[name] is not None and flags[name] < least:
            raise UsageError(f"--{name}={flags[name]}: expected at least {least}")
    _check_search(flags)
    if not flags["model"]:
        raise UsageError("--model='': expected a Hugging Face folder or name")
    for name in ("aggregation", "step_separator"):
        if flags[name] and not flags["reward_model"]:
            raise UsageError(f"--{name}={flags[name]!r}: nothing reads it without --reward_model")
    output = Path(flags["output"])
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output={flags['output']}: expected a folder, found a file")


def _check_search(flags: dict) -> None:
    if flags["search"] not in ("", *SEARCHES):
        raise UsageError(f"--search={flags['search']!r}: expected one of {', '.join(SEARCHES)}")
    if flags["choose"] not in ("", "score", "vote"):
        raise UsageError(f"--choose={flags['choose']!r}: expected score or vote")
    if flags["choose"] and not flags["search"]:
        raise UsageError(f"--choose={flags['choose']}: nothing reads it without --search")
    for name in SEARCH:
        if flags[name] is not None and name not in SEARCHES.get(flags["search"], ()):
            readers = " or ".join(f"--search={kind}" for kind, read in SEARCHES.items() if name in read)
            raise UsageError(f"--{name}={flags[name]}: nothing reads it without {readers}")
    if flags["search"] and not flags["reward_model"]:
        raise UsageError(f"--search={flags['search']}: expected --reward_model=DIR, which guides it")


def _show(flags: dict, results: dict[str, Any]) -> None:
    from rl_reason.rewards.summary import figures

    title = f"{results['data']}: {results['n']} problems, {results['samples']} samples each"
    grader = ["grader", f"{results['grader']} ({results['grader_version']})"]
    table(title, ["", results["model"]], [grader, *figures(results)])
    if "elo_reason" in results:
        print(f"elo: {results['elo_reason']}")
    print(f"In {flags['output']}: results.json, samples.jsonl")


if __name__ == "__main__":
    run_command(main)
