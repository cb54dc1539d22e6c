"""`python -m rl_reason.contamination --train=DATA --evaluation=DATA --output=JSONL`: what of a training set is asked in
evaluations.

DATA is whatever can be trained on: problems, conversations, pairs or labels, documents (short names, JSONL files,
folders of samples or of documents, array_record and text files), or several joined by "+". Two texts overlap where of
the runs of words of each at least a share is in the other; with `--within` also a problem and a longer text that holds
it, such as a document. The report has a row for each pair, by id; a table counts the training rows. `recipe="clean"`
trains on problems that are left.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rl_reason.data.contamination import Evaluated, Keys, Overlap, Text, check_sizes, open_texts, read_texts
from rl_reason.data.sources import split_name
from rl_reason.errors import UsageError, run_command
from rl_reason.runtime.flags import REQUIRED, Spec, parse_flags
from rl_reason.runtime.progress import late_progress, table
from rl_reason.runtime.workdir import write_atomic

FLAGS: Spec = {
    "train": (str, REQUIRED, "what is trained on: names, files or folders, joined by +"),
    "evaluation": (str, REQUIRED, "what is reported: names, files or folders, joined by +"),
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
    trained = {name: _of(flags, "train", name, flags["seed"], open_texts) for name in _names(flags, "train")}
    asked = {name: _of(flags, "evaluation", name, 0, read_texts) for name in _names(flags, "evaluation")}
    found, parts = _compare(flags, trained, asked)
    report = [{"train": train, "evaluation": name, **one} for (name, train), ones in found.items() for one in ones]
    rows = [
        [train, len(trained[train]), name, len(asked[name]), *_counts(ones)] for (name, train), ones in found.items()
    ]
    write_atomic(flags["output"], "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in report))
    columns = ["trained on", "rows", "evaluation", "problems", "rows with the same text", "rows near", "problems near"]
    table(f"runs of {flags['n']} words, share {flags['share']:g}", columns, rows)
    print(f"{len(report)} pairs in {flags['output']}")
    if parts:
        print(f"{parts} pairs more of a problem and a longer text that holds it: --within reports these too")


def _compare(
    flags: dict, trained: Mapping[str, Sequence[Text]], asked: Mapping[str, Sequence[Text]]
) -> tuple[dict[tuple[str, str], list[dict]], int]:
    """(evaluation, training set) → records of the overlaps; and how many more there would be with `--within`."""
    evaluated = {
        name: Evaluated([text for _, text in texts], flags["n"], flags["share"], within=True)
        for name, texts in asked.items()
    }
    found: dict[tuple[str, str], list[dict]] = {(name, train): [] for name in asked for train in trained}
    parts = 0
    with late_progress("compare", sum(map(len, trained.values()))) as advance:
        for train, texts in trained.items():
            for row, (id, text) in enumerate(texts, 1):
                for name, in_evaluation in evaluated.items():
                    for one in in_evaluation.find(text):
                        if one.same or flags["within"] or one.share_back >= flags["share"]:
                            found[name, train].append(_record(one, row, id, asked[name]))
                        else:
                            parts += 1
                advance(1)
    return found, parts


def _names(flags: dict, key: str) -> list[str]:
    names = split_name(flags[key])
    if len(set(names)) < len(names) or not all(names):
        raise UsageError(f"--{key}={flags[key]!r}: expected names joined by +, each once")
    return names


def _of(flags: dict, key: str, name: str, seed: int, read: Callable[..., Sequence[Text]]) -> Sequence[Text]:
    return read(name, flags[f"{key}_split"], flags["dir"], seed, Keys(f"--{key}", f"--{key}_split", "--dir"))


def _record(one: Overlap, row: int, id: str, texts: Sequence[Text]) -> dict:
    shares = {"share": round(one.share, 4), "share_of_training": round(one.share_back, 4)}
    return {"row": row, "id": id, "of": texts[one.of][0], "same": one.same, **shares}


def _counts(found: Sequence[dict]) -> list[int]:
    """Training rows with the same text and near ones, these among them; and the problems that either repeats."""
    same = {one["row"] for one in found if one["same"]}
    return [len(same), len({one["row"] for one in found}), len({one["of"] for one in found})]


if __name__ == "__main__":
    run_command(main)
