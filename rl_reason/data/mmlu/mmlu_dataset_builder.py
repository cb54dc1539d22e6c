"""MMLU: multiple-choice questions of 57 subjects (Hendrycks et al., arXiv 2009.03300)."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import tensorflow_datasets as tfds

from rl_reason.data.choices import mmlu_problem
from rl_reason.data.public import TEXTS, features, to_example

_URL = "https://people.eecs.berkeley.edu/~hendrycks/data.tar"
_SPLITS = {"test": "test", "validation": "val", "dev": "dev"}
"""Names here and in the archive. Its training questions come from other data sets, and are left out."""
_FIELDS = (*TEXTS, "choices")
_CITATION = """\
@article{hendrycks2021mmlu,
  title={Measuring Massive Multitask Language Understanding},
  author={Hendrycks, Dan and Burns, Collin and Basart, Steven and Zou, Andy and Mazeika, Mantas and Song, Dawn and
    Steinhardt, Jacob},
  journal={ICLR},
  year={2021}
}"""


class Builder(tfds.core.GeneratorBasedBuilder):
    """Splits `test`, `validation` and `dev`, sorted by subject, questions in the original order."""

    # TensorFlow Datasets has its own `mmlu` with other features.
    name = "rl_reason_mmlu"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=features(_FIELDS),
            homepage="https://github.com/hendrycks/test",
            citation=_CITATION,
            license="MIT",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        archive = Path(dl_manager.download(_URL))
        return {split: self._generate_examples(archive, split) for split in _SPLITS}

    def _generate_examples(self, archive: Path, split: str) -> Iterator[tuple[int, dict]]:
        key = 0
        for subject, content in _read(archive, _SPLITS[split]):
            for index, row in enumerate(csv.reader(io.StringIO(content.decode(), newline=""))):
                yield key, to_example(mmlu_problem(row, split, subject, index), _FIELDS)
                key += 1


def _read(archive: Path, folder: str) -> list[tuple[str, bytes]]:
    """(subject, content) of a split's files in order. Read here, because TensorFlow Datasets extracts archives with
    TensorFlow."""
    files = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            content = tar.extractfile(member) if name.match(f"{folder}/[!.]*_{folder}.csv") else None
            if content is not None:
                files[name.name.removesuffix(f"_{folder}.csv")] = content.read()
    if not files:
        raise FileNotFoundError(f"{archive}: no files {folder}/<subject>_{folder}.csv")
    return sorted(files.items())
