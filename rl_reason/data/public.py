"""The public downloads, prepared once by TensorFlow Datasets as array_record files and read without TensorFlow."""

from __future__ import annotations

import importlib

import numpy as np

from rl_reason.errors import RunError


def features():
    """What a prepared problem holds. What a row lacks is stored as "" and level 0."""
    import tensorflow_datasets as tfds

    text = {name: tfds.features.Text() for name in ("id", "problem", "answer", "solution", "subject", "source")}
    return tfds.features.FeaturesDict({**text, "level": tfds.features.Scalar(np.int64)})


def to_example(problem: dict) -> dict:
    """The problem with every feature filled."""
    return {"level": 0, "subject": "", **problem}


def from_example(example: dict) -> dict:
    """The problem that `to_example` filled up."""
    problem = {key: value.decode() if isinstance(value, bytes) else value for key, value in example.items()}
    problem["level"] = int(problem["level"])
    return {key: value for key, value in problem.items() if value not in ("", 0)}


def load_public(name: str, split: str) -> list[dict]:
    """All problems of a split of `gsm8k` or `math`; downloads and prepares the data set where that was not done yet.

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
