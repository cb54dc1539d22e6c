"""GPQA-diamond: 198 questions of graduates' physics, chemistry and biology (Rein et al., arXiv 2311.12022).

Its authors publish an archive with a password, which they name beside it, so that no program finds the questions as
plain text, and ask that they are not shown in such: mind where `samples.jsonl` goes.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from rl_reason.data.choices import gpqa_problem
from rl_reason.data.public import TEXTS, features, to_example

# A commit, not a branch: what is downloaded cannot change.
_COMMIT = "56686c06f5e19865c153de0fdb11be3890014df7"
_URL = f"https://raw.githubusercontent.com/idavidrein/gpqa/{_COMMIT}/dataset.zip"
_PASSWORD = b"deserted-untie-orchid"
"""Told in the authors' README."""
_FILE = "dataset/gpqa_diamond.csv"
_FIELDS = (*TEXTS, "choices")
_CITATION = """\
@article{rein2023gpqa,
  title={{GPQA}: A Graduate-Level Google-Proof Q\\&A Benchmark},
  author={Rein, David and Hou, Betty Li and Stickland, Asa Cooper and Petty, Jackson and Pang, Richard Yuanzhe and
    Dirani, Julien and Michael, Julian and Bowman, Samuel R.},
  journal={arXiv preprint arXiv:2311.12022},
  year={2023}
}"""


class Builder(tfds.core.GeneratorBasedBuilder):
    """Split `test`, in the original order; the order of choices depends on the question's id."""

    name = "rl_reason_gpqa_diamond"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=features(_FIELDS),
            homepage="https://github.com/idavidrein/gpqa",
            citation=_CITATION,
            license="CC BY 4.0",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        return {"test": self._generate_examples(Path(dl_manager.download(_URL)))}

    def _generate_examples(self, archive: Path) -> Iterator[tuple[int, dict]]:
        with zipfile.ZipFile(archive) as packed:
            text = packed.read(_FILE, _PASSWORD).decode("utf-8-sig")
        for key, row in enumerate(csv.DictReader(io.StringIO(text, newline=""))):
            yield key, to_example(gpqa_problem(row), _FIELDS)
