"""`python -m rl_reason.contamination --train=DATA --evaluation=DATA --output=JSONL`: what of a training set is asked in
evaluations.

DATA is a data set's short name, a JSONL file (of problems, programs, documents or conversations), or several joined by
"+". Two texts overlap where of the runs of words of each at least a share is in the other. The report has a row for
each pair, by id; a table counts the training rows. `recipe="clean"` trains on what is left.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rl_reason.data.contamination import Evaluated, Text, check_sizes, read_texts
from rl_reason.data.sources import split_name
from rl_reason.errors import UsageError, run_command
from rl_reason.runtime.flags import REQUIRED, Spec, parse_flags
from rl_reason.runtime.progress import late_progress, table
from rl_reason.runtime.workdir import write_atomic

FLAGS: Spec = {
    "train": (str, REQUIRED, "what is trained on: names or JSONL files, joined by +"),
    "evaluation": (str, REQUIRED, "what is reported: names or JSONL files, joined by +"),
    "output": (Path, REQUIRED, "the JSONL file that is written"),
    "dir": (str, "", "folder with local files, as config.data.dir"),
    "train_split": (str, "train", "of named training sets"),
    "evaluation_split": (str, "test", "of named evaluations"),
    "seed": (int, 0, "of training problems that are made"),
    "n": (int, 8, "words of a run"),
    "share": (float, 0.6, "of the runs of each text that are in the other, at least"),
    "within": (bool, False, "also evaluated problems that are a part of a longer text, whose own share may be small"),
}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, __doc__)
    check_sizes(flags["n"], flags["share"], ("--n", "--share"))
    if not flags["output"].parent.is_dir():
        raise UsageError(f"--output={flags['output']}: no such folder; expected a file in one that exists")
    trained = _read(flags, "train", flags["seed"])
    asked = _read(flags, "evaluation", 0)
    total = sum(map(len, trained.values())) * len(asked)
    report, rows = [], []
    with late_progress("compare", total) as advance:
        for evaluation, texts in asked.items():
            evaluated = Evaluated([text for _, text in texts], flags["n"], flags["share"], flags["within"])
            for train, others in trained.items():
                found = _overlaps(evaluated, texts, others, advance)
                report += [{"train": train, "evaluation": evaluation, **one} for one in found]
                rows.append([train, len(others), evaluation, len(texts), *_counts(found)])
    write_atomic(flags["output"], "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in report))
    columns = ["trained on", "rows", "evaluation", "problems", "rows with the same text", "rows near", "problems near"]
    table(f"runs of {flags['n']} words, share {flags['share']:g}", columns, rows)
    print(f"{len(report)} pairs in {flags['output']}")


def _read(flags: dict, key: str, seed: int) -> dict[str, list[Text]]:
    """Data set → its texts."""
    names = split_name(flags[key])
    if len(set(names)) < len(names) or not all(names):
        raise UsageError(f"--{key}={flags[key]!r}: expected names joined by +, each once")
    return {name: read_texts(name, flags[f"{key}_split"], flags["dir"], seed) for name in names}


def _overlaps(
    evaluated: Evaluated, texts: Sequence[Text], others: Sequence[Text], advance: Callable[[int], None]
) -> list[dict]:
    found = []
    for row, (id, text) in enumerate(others, 1):
        for one in evaluated.find(text):
            shares = {"share": round(one.share, 4), "share_of_training": round(one.share_back, 4)}
            found.append({"row": row, "id": id, "of": texts[one.of][0], "same": one.same, **shares})
        advance(1)
    return found


def _counts(found: Sequence[dict]) -> list[int]:
    """Training rows with the same text and near ones, these among them; and the problems that either repeats."""
    same = {one["row"] for one in found if one["same"]}
    return [len(same), len({one["row"] for one in found}), len({one["of"] for one in found})]


if __name__ == "__main__":
    run_command(main)
