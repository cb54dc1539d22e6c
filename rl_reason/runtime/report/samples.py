"""The samples of runs as columns, and what is known of each of their tokens.

A page holds tens of thousands of completions: what is filtered and sorted by lies in columns, texts that many of them
share (prompts, answers, ids) are told once, and numbers of tokens are kept as bytes, some hundred samples a block,
which the page unpacks when it shows one of them.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from rl_reason.errors import UsageError
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.report.folders import Run

MOST_BYTES = 200 * 2**20
"""Of the files of a run's samples; of larger ones groups are left out, evenly."""
TOKEN_BLOCK = 512
"""Samples whose tokens are unpacked together."""
PLANES = ("logprobs", "reference_logprobs", "advantages")
"""What may be known of tokens, in this order within a block: float16, no number where it is not known."""
CODED = ("id", "prompt", "answer", "verdict", "finish", "stage")
"""Columns of texts that many samples share: numbers of a list of texts, −1 where there is none."""
NUMBERS = ("step", "sample", "reward", "advantage", "length")


@dataclass
class Columns:
    """Samples of all runs of a page, those of a run together, in the order of their files."""

    run: list[int] = field(default_factory=list)
    numbers: dict[str, list[float | None]] = field(default_factory=lambda: {name: [] for name in NUMBERS})
    codes: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in CODED})
    texts: dict[str, dict[str, int]] = field(default_factory=lambda: {name: {} for name in CODED})
    right: list[int] = field(default_factory=list)
    """1, 0, or −1 where it is not known."""
    parts: dict[str, list[float | None]] = field(default_factory=dict)
    """Part of a reward → its value in each sample."""
    weights: list[dict[str, float]] = field(default_factory=list)
    """Of each run."""
    completions: list[str] = field(default_factory=list)
    step_rewards: dict[int, list[float]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    left_out: list[float] = field(default_factory=list)
    """Of each run the share of its samples that is not here."""
    tokens: list[int] = field(default_factory=list)
    """How many tokens something is known of."""
    characters: list[bytes] = field(default_factory=list)
    planes: dict[str, list[bytes]] = field(default_factory=lambda: {name: [] for name in PLANES})
    _known: set[str] = field(default_factory=set)

    @property
    def known_planes(self) -> list[str]:
        """Those that are known of any sample's tokens."""
        return [name for name in PLANES if name in self._known]

    def add_tokens(self, characters: bytes, planes: Mapping[str, bytes | None]) -> None:
        """A sample's, as many numbers in each plane that is known as characters."""
        count = len(characters) // 2
        self.tokens.append(count)
        self.characters.append(characters)
        for name, values in planes.items():
            self._known |= {name} if values else set()
            self.planes[name].append(_UNKNOWN * count if values is None else values)

    def __len__(self) -> int:
        return len(self.run)

    def to_json(self) -> dict[str, Any]:
        """All but the tokens' numbers."""
        return {
            "count": len(self), "run": self.run, **self.numbers, **self.codes, "right": self.right,
            "texts": {name: list(known) for name, known in self.texts.items()}, "parts": self.parts,
            "weights": self.weights, "completions": self.completions, "stepRewards": self.step_rewards,
            "failures": self.failures, "leftOut": self.left_out, "tokens": self.tokens, "tokenBlock": TOKEN_BLOCK,
            "planes": self.known_planes,
        }  # fmt: skip

    def token_blocks(self) -> Iterator[bytes]:
        """Of each `TOKEN_BLOCK` samples: characters of all tokens, uint16, then each plane that is known of any."""
        for start in range(0, len(self), TOKEN_BLOCK):
            rows = slice(start, start + TOKEN_BLOCK)
            of_planes = (self.planes[name] for name in self.known_planes)
            yield b"".join(b"".join(column[rows]) for column in (self.characters, *of_planes))


_UNKNOWN = np.array(np.nan, "<f2").tobytes()


def read_samples(runs: Sequence[Run]) -> Columns:
    """The samples of the runs.

    Raises:
        UsageError: numbers of tokens that are none (`recipes.rollout_records.packed`).
    """
    columns = Columns()
    for number, run in enumerate(runs):
        setting = run.config.get("reward") or {}
        weights = dict(zip(setting.get("names", ()), setting.get("weights", ()), strict=False))
        columns.weights.append(weights)
        seen = kept = 0
        for record, is_kept in _thinned(run.samples):
            seen += 1
            if is_kept:
                kept += 1
                _add(columns, number, record, weights, run)
        columns.left_out.append(1 - kept / seen if seen else 0.0)
    return columns


def _thinned(files: Sequence[Path]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Records, and whether each is kept: all of them, or of files that are too large groups at even distances."""
    share = min(1.0, MOST_BYTES / max(sum(os.path.getsize(file) for file in files), 1))
    group, number = None, -1
    for file in files:
        for record in read_jsonl(file):
            of_record = record.get("step"), record.get("id", text_of(record.get("prompt", "")))
            if of_record != group:
                group, number = of_record, number + 1
            yield record, int((number + 1) * share) > int(number * share)


def _add(columns: Columns, number: int, record: Mapping[str, Any], weights: Mapping[str, float], run: Run) -> None:
    row = len(columns)
    completion = text_of(record.get("completion", ""))
    columns.run.append(number)
    columns.completions.append(completion)
    rewards = record.get("rewards")
    for name in CODED:
        value = record.get(name)
        known = columns.texts[name]
        columns.codes[name].append(-1 if value is None else known.setdefault(text_of(value), len(known)))
    tokens = record.get("tokens", record.get("length"))
    tokens = len(tokens) if isinstance(tokens, list) else tokens
    numbers = {
        "step": record.get("step"),
        "sample": record.get("sample"),
        "reward": total_reward(record, weights),
        "advantage": record.get("advantage"),
        "length": tokens if _is_number(tokens) else len(completion),
    }
    for name, value in numbers.items():
        columns.numbers[name].append(_short(value))
    right = is_right(record)
    columns.right.append(-1 if right is None else int(right))
    for name, value in rewards.items() if isinstance(rewards, Mapping) else ():
        columns.parts.setdefault(name, [None] * row).append(_short(value))
    for values in columns.parts.values():
        if len(values) == row:
            values.append(None)
    if isinstance(given := record.get("step_rewards"), list):
        columns.step_rewards[row] = [_short(value) for value in given]  # type: ignore[misc]
    if "failure" in record:
        columns.failures[row] = text_of(record["failure"])
    _add_tokens(columns, record, run)


def _add_tokens(columns: Columns, record: Mapping[str, Any], run: Run) -> None:
    where = f"{run.path}: samples.jsonl, step {record.get('step')}, {record.get('id')}"
    characters = _bytes(record, "token_characters", where) or b""
    planes = {name: _bytes(record, f"token_{name}", where) for name in PLANES}
    for name, values in planes.items():
        if values is not None and len(values) != len(characters):
            raise UsageError(f"{where}: token_{name}: expected {len(characters)} bytes, found {len(values)}")
    columns.add_tokens(characters, planes)


def _bytes(record: Mapping[str, Any], key: str, where: str) -> bytes | None:
    if key not in record:
        return None
    try:
        return base64.b64decode(record[key], validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise UsageError(f"{where}: {key}={str(record[key])[:40]!r}: expected base64") from None


def total_reward(record: Mapping[str, Any], weights: Mapping[str, float]) -> float | None:
    """A line's `reward`; else the sum of its parts by their weights."""
    rewards = record.get("rewards")
    if _is_number(record.get("reward")):
        return record["reward"]
    if _is_number(rewards):
        return rewards
    if not isinstance(rewards, Mapping):
        return None
    parts = [weights.get(name, 1.0) * value for name, value in rewards.items() if _is_number(value)]
    return float(sum(parts)) if parts else None


def is_right(record: Mapping[str, Any]) -> bool | None:
    """What a line says itself, else its verdict, else whether its accuracy is more than one half."""
    if isinstance(record.get("correct"), bool):
        return record["correct"]
    if isinstance(record.get("verdict"), str):
        return record["verdict"] == "correct"
    rewards = record.get("rewards")
    accuracy = rewards.get("accuracy") if isinstance(rewards, Mapping) else None
    return accuracy > 0.5 if _is_number(accuracy) else None


def text_of(value: Any) -> str:
    """A prompt may be chat messages."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> float | int | None:
    """A number with no more digits than are shown; None for all else."""
    if not _is_number(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.6g}")
