"""GSM8K: 7,473 and 1,319 grade school word problems with worked solutions (Cobbe et al., arXiv 2110.14168)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from rl_reason.data.jsonl import read_jsonl
from rl_reason.data.public import features, to_example
from rl_reason.data.upstream import gsm8k_problem

# A commit, not a branch: what is downloaded cannot change.
_COMMIT = "3101c7d5072418e28b9008a6636bde82a006892c"
_URL = f"https://raw.githubusercontent.com/openai/grade-school-math/{_COMMIT}/grade_school_math/data"
_CITATION = """\
@article{cobbe2021training,
  title={Training Verifiers to Solve Math Word Problems},
  author={Cobbe, Karl and Kosaraju, Vineet and Bavarian, Mohammad and Chen, Mark and Jun, Heewoo and Kaiser, Lukasz and
    Plappert, Matthias and Tworek, Jerry and Hilton, Jacob and Nakano, Reiichiro and Hesse, Christopher and
    Schulman, John},
  journal={arXiv preprint arXiv:2110.14168},
  year={2021}
}"""


class Builder(tfds.core.GeneratorBasedBuilder):
    """Splits `train` and `test`, rows in the original order."""

    # TensorFlow Datasets has its own `gsm8k` with other features.
    name = "rl_reason_gsm8k"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=features(),
            homepage="https://github.com/openai/grade-school-math",
            citation=_CITATION,
            license="MIT",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        paths = dl_manager.download({split: f"{_URL}/{split}.jsonl" for split in ("train", "test")})
        return {split: self._generate_examples(path, split) for split, path in paths.items()}

    def _generate_examples(self, path: Path, split: str) -> Iterator[tuple[int, dict]]:
        for index, (_, row) in enumerate(read_jsonl(Path(path))):
            yield index, to_example(gsm8k_problem(row, split, index))
