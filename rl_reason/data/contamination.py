"""What of a training set an evaluation asks: texts that share many runs of words (as n-gram overlap is looked for since
GPT-3, arXiv 2005.14165, appendix C)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_reason.data import sources
from rl_reason.data.jsonl import read_jsonl
from rl_reason.data.word_runs import letters, word_runs
from rl_reason.errors import UsageError
from rl_reason.runtime.progress import late_progress

Text = tuple[str, str]
"""(id, text)."""
TEXTS = ("problem", "prompt", "text", "messages")
"""What a row is compared by, the first of these that it has."""


@dataclass(frozen=True)
class Overlap:
    """A text of an evaluation that another text repeats."""

    of: int
    """Its number."""
    share: float
    """Of its runs, those that the other text has."""
    share_back: float
    """Of the other text's runs, those that it has."""
    same: bool
    """Whether both have the same letters and digits, however these are cut into words."""


class Evaluated:
    """The texts that are asked in evaluations, to find others in.

    Args:
        texts: of the evaluations.
        n: words of a run.
        share: of the runs of a text that another one has, at least.
        within: whether a text is also found as a part of a longer one, whose own share does not count then.
    """

    def __init__(self, texts: Iterable[str], n: int, share: float, within: bool = False):
        self._n, self._least, self._within = n, share, within
        self._sizes: list[int] = []
        self._with_run: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._with_letters: dict[str, list[int]] = defaultdict(list)
        for number, text in enumerate(texts):
            runs = word_runs(text, n)
            self._sizes.append(len(runs))
            self._with_letters[letters(text)].append(number)
            for run in runs:
                self._with_run[run].append(number)

    def find(self, text: str) -> list[Overlap]:
        """The texts of evaluations that a text repeats: the same ones, then the most similar first."""
        runs = word_runs(text, self._n)
        same = set(self._with_letters.get(letters(text), ()))
        shared = Counter(number for run in runs for number in self._with_run.get(run, ()))
        found = [
            Overlap(number, shared[number] / self._sizes[number], shared[number] / len(runs), number in same)
            for number in {*shared, *same}
        ]
        return sorted(filter(self._counts, found), key=lambda one: (not one.same, -one.share, -one.share_back, one.of))

    def _counts(self, one: Overlap) -> bool:
        return one.same or (one.share >= self._least and (self._within or one.share_back >= self._least))


def check_sizes(n: int, share: float, keys: tuple[str, str]) -> None:
    """Raises `UsageError` that names one of the two keys."""
    if n < 1:
        raise UsageError(f"{keys[0]}={n}: expected at least 1 word")
    if not 0 < share <= 1:
        raise UsageError(f"{keys[1]}={share!r}: expected more than 0, at most 1")


def read_texts(name: str, split: str, dir: str, seed: int, shown: bool = True) -> list[Text]:
    """The texts of one data set, of any kind: a short name (`data.sources`), or a JSONL file of problems, programs,
    documents or conversations (`TEXTS`). A row without `id` has its line. `shown`: whether progress
    is.

    Raises:
        UsageError: as `data.sources.load`; a row without a text.
    """
    if not name.endswith(".jsonl"):
        problems, texts = sources.load(name, split, dir, seed), []
        with late_progress(f"read {name}", len(problems), enabled=shown) as advance:
            for row in problems:
                texts.append((row["id"], row["problem"]))
                advance(1)
        return texts
    path = Path(name).expanduser()
    rows = [(str(row.get("id", line)), _text(row, f"{path}, line {line}")) for line, row in read_jsonl(path)]
    if not rows:
        raise UsageError(f"{path}: holds no rows; expected one JSON object a line")
    return rows


def _text(row: dict[str, Any], place: str) -> str:
    key = next((key for key in TEXTS if row.get(key)), None)
    value = row[key] if key else None
    if key == "messages" and isinstance(value, Sequence):
        parts = [one.get("content") for one in value if isinstance(one, dict)]
        said = [part for part in parts if isinstance(part, str)]
        value = "\n".join(said) if len(said) == len(parts) else None
    if not isinstance(value, str) or not value.strip():
        got = f"{value!r:.40} as `{key}`" if key else "none of " + ", ".join(f"`{key}`" for key in TEXTS)
        raise UsageError(f"{place}: {got}; expected a text")
    return value
