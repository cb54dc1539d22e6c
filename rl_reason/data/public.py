"""The public downloads, prepared once by TensorFlow Datasets as array_record files and read without TensorFlow."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from rl_reason.errors import RunError

TEXTS = ("id", "problem", "answer", "solution", "subject", "source")
AS_JSON = ("choices", "cases")
"""Fields that are stored as JSON."""


def features(texts: Sequence[str] = TEXTS, numbers: Sequence[str] = ("level",)):
    """What a prepared problem holds. What a row lacks is stored as "" and 0."""
    import tensorflow_datasets as tfds

    made = {name: tfds.features.Text() for name in texts}
    return tfds.features.FeaturesDict({**made, **{name: tfds.features.Scalar(np.int64) for name in numbers}})


def to_example(problem: dict, texts: Sequence[str] = TEXTS, numbers: Sequence[str] = ("level",)) -> dict:
    """The problem with every feature filled."""
    stored = {name: json.dumps(value) if name in AS_JSON else value for name, value in problem.items()}
    return {**dict.fromkeys(texts, ""), **dict.fromkeys(numbers, 0), **stored}


def from_example(example: dict) -> dict:
    """The problem that `to_example` filled up."""
    problem: dict[str, Any] = {
        key: value.decode() if isinstance(value, bytes) else int(value) for key, value in example.items()
    }
    kept = {key: value for key, value in problem.items() if value not in ("", 0)}
    return {key: json.loads(value) if key in AS_JSON else value for key, value in kept.items()}


def load_public(name: str, split: str) -> list[dict]:
    """All problems of a split of a data set that has a builder; downloads and prepares it where that was not done yet.

    Raises:
        RunError: the download or its preparation failed.
    """
    import tensorflow_datasets as tfds  # takes seconds to import; runs on local files do without it

    # Importing the module registers the builder.
    builder = importlib.import_module(f"rl_reason.data.{name}.{name}_dataset_builder").Builder
    try:
        source = tfds.data_source(builder.name, split=split, builder_kwargs={"file_format": "array_record"})
    except Exception as error:  # whatever goes wrong between a server and a disk
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"config.data.name={name!r}: cannot download or prepare it: {reason}; config.data.dir names local files"
        ) from error
    return [from_example(source[i]) for i in range(len(source))]
