"""Solutions with labels, from which reward models learn: files with one JSON object a line, or made pairs (`MADE`).

Each row has `problem`, and by the kind of the reward model

- outcome: `completion`, and `correct` (true or false) or `reward` (0 to 1);
- preference: `chosen` and `rejected`, and `share` where it is not certain which one is better (`recipes.feedback`): how
  probably it is the chosen one;
- process: a whole solution, as `steps` (a list of texts) or as `completion`, with `labels`, a rating of each step (1,
  0, −1; null: not rated), or `shares`, 0 to 1 of each step (`recipes.labelling`); or one step as PRM800K has them,
  `prefix` (the steps before it), `step` and `rating`; with an `answer`, or where it is a solution (`is_solution`), that
  step is the last one of a solution.

A row with `completion` may have `tokens`, the ids that were sampled, which then are not made from the text again, and
a whole solution `correct`. A row with `failure` could not be judged and is left out. What else a row has is left alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from rl_reason.data.assistant import PAIR_SOURCES
from rl_reason.data.evolving import instruction_pairs
from rl_reason.data.jsonl import is_unicode, read_jsonl
from rl_reason.data.requests import request_pairs
from rl_reason.data.steps import StepEnds, join_steps, make_step_ends
from rl_reason.data.templates import Template
from rl_reason.data.tokenization import decode, encode_prompt
from rl_reason.errors import UsageError
from rl_reason.settings import RewardModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """A completion, and what is said about some of its tokens."""

    problem: str
    prompt_ids: list[int]
    completion_ids: list[int]
    ends: list[int]
    """Indices of its tokens, rising: the last one, all, or those that end a step."""
    targets: list[float | None]
    """Of each: 1 right, 0 wrong, or between; None: not known, or not to be trained on."""
    correct: bool | None = None
    """Whether it is right as a whole, where that is known."""


Item = tuple[Judged, ...]
"""One completion; of a pair the chosen one and the rejected one, whose targets add up to 1."""


@dataclass(frozen=True)
class Encoding:
    """How rows become tokens."""

    tokenizer: PreTrainedTokenizerBase
    template: Template
    separator: str
    """Ends a step."""
    rows: int
    """Of the model's embedding."""
    max_prompt: int
    max_completion: int
    drops: bool
    """Whether what is longer is left out; else it is an error."""

    def step_ends(self) -> StepEnds:
        return make_step_ends(self.tokenizer, self.separator)

    def prompt(self, row: Mapping, place: str) -> list[int]:
        ids = encode_prompt(row, self.template, self.tokenizer)
        return self._known(ids, place)

    def completion(self, text: str, place: str, ends: bool = True) -> list[int]:
        """The tokens of a text, with the one that ends a completion."""
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return self._known([*ids, self.tokenizer.eos_token_id] if ends else ids, place)

    def sampled(self, ids: Any, text: str, place: str) -> list[int]:
        """The row's own tokens; refused where they are another tokenizer's."""
        if not isinstance(ids, list) or not ids or not all(type(id) is int and 0 <= id < self.rows for id in ids):
            raise UsageError(f"{place}: `tokens`={_short(ids)}: expected ids from 0 to {self.rows - 1}")
        if decode(self.tokenizer, ids) != text:
            raise UsageError(f"{place}: `tokens` are not those of `completion`; expected ids of the model's tokenizer")
        return ids

    def _known(self, ids: list[int], place: str) -> list[int]:
        if not ids or max(ids) >= self.rows:
            raise UsageError(f"{place}: its text has no tokens that the model knows; expected ids below {self.rows}")
        return ids


def read_labelled(path: Path, learned: RewardModel, encoding: Encoding) -> list[Item]:
    """The rows of a file, encoded as by `encode_labelled`, whose errors name the line."""
    rows = [(f"{path}, line {line}", row) for line, row in read_jsonl(path)]
    return encode_labelled(rows, str(path), learned, encoding)


def encode_labelled(
    rows: Sequence[tuple[str, Mapping]], name: str, learned: RewardModel, encoding: Encoding
) -> list[Item]:
    """Rows, each with its place, encoded; those without a rating, or too long ones where they are dropped, are counted
    and listed.

    Raises:
        UsageError: names the place of the row, or `name` for all of them.
    """
    make = _KINDS[learned.kind]
    step_ends = encoding.step_ends()
    items: list[Item] = []
    unrated, dropped = [], []
    for place, row in rows:
        item = None if "failure" in row else make(row, place, learned, encoding, step_ends)
        if item is None:
            unrated.append(place.removeprefix(f"{name}, "))
        elif _fits(item, place, encoding):
            items.append(item)
        else:
            dropped.append(place.removeprefix(f"{name}, "))
    if unrated:
        places = ", ".join(unrated)
        log.warning("%s: left out %d of %d rows, which have no rating: %s", name, len(unrated), len(rows), places)
    if dropped:
        told = len(dropped), len(rows), encoding.max_prompt, encoding.max_completion, ", ".join(dropped)
        log.warning("%s: left out %d of %d rows, longer than %d + %d tokens: %s", name, *told)
    if not items:
        raise UsageError(f"{name}: holds no labels to learn from in its {len(rows)} rows ({_EXPECTED[learned.kind]})")
    return items


MADE: dict[str, Callable[[str, str, int], Sequence[Mapping]]] = {
    "request_pairs": request_pairs,
    "instruction_pairs": instruction_pairs,
    **PAIR_SOURCES,
}
"""Rows of labels that are made: functions of (split, dir, seed), as the sources of problems are (`data.sources`)."""


def first_problems(items: Sequence[Item], count: int) -> list[Item]:
    """Those of the first so many problems; 0: all."""
    kept = set(list(dict.fromkeys(item[0].problem for item in items))[: count or None])
    return [item for item in items if item[0].problem in kept]


def _outcome(row: Mapping, place: str, learned: RewardModel, encoding: Encoding, _: StepEnds) -> Item:
    target = _outcome_label(row, place)
    problem, ids = _text(row, "problem", place), _completion_ids(row, place, encoding)
    last = len(ids) - 1
    ends = list(range(len(ids))) if learned.every_token else [last]
    prompt_ids = encoding.prompt(row, place)
    return (Judged(problem, prompt_ids, ids, ends, [target] * len(ends), correct=target >= 0.5),)


def _outcome_label(row: Mapping, place: str) -> float:
    if "correct" in row:
        if not isinstance(row["correct"], bool):
            raise UsageError(f"{place}: `correct`={_short(row['correct'])}: expected true or false")
        return float(row["correct"])
    if "reward" not in row:
        raise UsageError(f"{place}: no `correct` and no `reward`; expected one of them")
    return _share(row["reward"], "`reward`", place)


def _preference(row: Mapping, place: str, learned: RewardModel, encoding: Encoding, _: StepEnds) -> Item:
    problem = _text(row, "problem", place)
    texts = [_text(row, key, place) for key in ("chosen", "rejected")]
    prompt_ids = encoding.prompt(row, place)
    share = _share(row.get("share", 1.0), "`share`", place)
    sides = []
    for text, target in zip(texts, (share, 1.0 - share), strict=True):
        ids = encoding.completion(text, place)
        sides.append(Judged(problem, prompt_ids, ids, [len(ids) - 1], [target]))
    if sides[0].completion_ids == sides[1].completion_ids:
        raise UsageError(f"{place}: `chosen` and `rejected` are equal; expected two texts, the better one as `chosen`")
    return tuple(sides)


def _process(row: Mapping, place: str, learned: RewardModel, encoding: Encoding, step_ends: StepEnds) -> Item | None:
    if "rating" in row or "step" in row:
        return _process_step(row, place, learned, encoding)
    problem = _text(row, "problem", place)
    if "steps" in row:
        steps = _texts(row, "steps", place)
        ids, count = encoding.completion(join_steps(steps, encoding.separator), place), len(steps)
    else:
        ids, count = _completion_ids(row, place, encoding), 0
    ends = step_ends(ids)
    if count and len(ends) != count:
        raise UsageError(f"{place}: {count} `steps`, of which {len(ends)} are found again between their separators")
    targets = _step_labels(row, place, len(ends), learned)
    correct = row.get("correct")
    if "correct" in row and not isinstance(correct, bool):
        raise UsageError(f"{place}: `correct`={_short(correct)}: expected true or false")
    if correct is None and set(targets) <= {0.0, 1.0}:
        correct = all(targets)
    if all(target is None for target in targets):
        return None
    if learned.first_error and 0.0 in targets:
        behind = targets.index(0.0) + 1
        targets = [*targets[:behind], *[None] * (len(targets) - behind)]
    return (Judged(problem, encoding.prompt(row, place), ids, ends, targets, correct),)


def _process_step(row: Mapping, place: str, learned: RewardModel, encoding: Encoding) -> Item | None:
    problem, step = _text(row, "problem", place), _text(row, "step", place)
    prefix = _texts(row, "prefix", place, empty=True)
    if "rating" not in row:
        raise UsageError(f"{place}: no `rating`; expected 1, 0, -1 or null")
    target = _rating(row["rating"], "`rating`", place, learned)
    if target is None:
        return None
    is_last = row.get("answer") is not None or row.get("is_solution") is True
    text = join_steps([*prefix, step], encoding.separator)
    ids = encoding.completion(text if is_last else text + encoding.separator, place, ends=is_last)
    return (Judged(problem, encoding.prompt(row, place), ids, [len(ids) - 1], [target]),)


def _step_labels(row: Mapping, place: str, count: int, learned: RewardModel) -> list[float | None]:
    keys = [key for key in ("labels", "shares") if key in row]
    if len(keys) != 1:
        got = "both `labels` and `shares`" if keys else "no `labels`, `shares` or `rating`"
        raise UsageError(f"{place}: {got}; expected one of them")
    key = keys[0]
    values = row[key]
    if not isinstance(values, list) or len(values) != count:
        got = f"{len(values)} of them" if isinstance(values, list) else _short(values)
        raise UsageError(f"{place}: `{key}`: got {got}; expected a list with one for each of {count} steps")
    names = [f"`{key}`[{i}]" for i in range(count)]
    if key == "labels":
        return [_rating(value, name, place, learned) for value, name in zip(values, names, strict=True)]
    shares = [_share(value, name, place) for value, name in zip(values, names, strict=True)]
    return [share if learned.soft else float(share > 0) for share in shares]


def _rating(value: Any, name: str, place: str, learned: RewardModel) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value not in (1, 0, -1):
        raise UsageError(f"{place}: {name}={_short(value)}: expected 1, 0, -1 or null")
    return float(value > 0 or (value == 0 and learned.neutral_is_right))


def _share(value: Any, name: str, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise UsageError(f"{place}: {name}={_short(value)}: expected a number from 0 to 1")
    return float(value)


def _completion_ids(row: Mapping, place: str, encoding: Encoding) -> list[int]:
    text = _text(row, "completion", place, blank=True)
    return encoding.sampled(row["tokens"], text, place) if "tokens" in row else encoding.completion(text, place)


def _text(row: Mapping, key: str, place: str, blank: bool = False) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not (blank or value.strip()):
        got = f"`{key}`={_short(value)}" if key in row else f"no `{key}`"
        raise UsageError(f"{place}: {got}; expected a {'' if blank else 'non-empty '}string")
    if not is_unicode(value):
        raise UsageError(f"{place}: `{key}` holds half a character (a lone surrogate); expected Unicode text")
    return value


def _texts(row: Mapping, key: str, place: str, empty: bool = False) -> list[str]:
    values = row.get(key)
    if not isinstance(values, list) or not (values or empty):
        got = f"`{key}`={_short(values)}" if key in row else f"no `{key}`"
        raise UsageError(f"{place}: {got}; expected a list of texts")
    return [_text({f"{key}[{i}]": value}, f"{key}[{i}]", place) for i, value in enumerate(values)]


def _fits(item: Item, place: str, encoding: Encoding) -> bool:
    for one in item:
        parts = (
            ("prompt", one.prompt_ids, encoding.max_prompt, "config.data.max_prompt_length"),
            ("completion", one.completion_ids, encoding.max_completion, "config.sampling.max_length"),
        )
        for name, ids, limit, key in parts:
            if len(ids) > limit:
                if encoding.drops:
                    return False
                raise UsageError(
                    f"{key}={limit}: the {name} in {place} has {len(ids)} tokens; expected a larger limit, or "
                    "config.data.long_prompts='drop'"
                )
    return True


def _short(value: Any) -> str:
    text = "NaN" if isinstance(value, float) and math.isnan(value) else repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


_KINDS: dict[str, Callable[..., Item | None]] = {
    "outcome": _outcome,
    "preference": _preference,
    "process": _process,
}
_EXPECTED = {
    "outcome": "`problem`, `completion`, `correct`",
    "preference": "`problem`, `chosen`, `rejected`",
    "process": "`problem`, `steps`, `labels`, or `problem`, `prefix`, `step`, `rating`",
}
KINDS = tuple(_KINDS)
