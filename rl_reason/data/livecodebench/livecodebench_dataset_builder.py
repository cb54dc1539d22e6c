"""LiveCodeBench, release 6: problems of programming contests with their dates (Jain et al., arXiv 2403.07974).

The files of the release have four gigabytes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from rl_reason.data.competition_code import livecodebench_problem
from rl_reason.data.public import features, to_example

log = logging.getLogger(__name__)

# A commit, not a branch: what is downloaded cannot change.
_COMMIT = "0fe84c3912ea0c4d4a78037083943e8f0c4dd505"
_URL = f"https://huggingface.co/datasets/livecodebench/code_generation_lite/resolve/{_COMMIT}"
_FILES = ("test", "test2", "test3", "test4", "test5", "test6")
_FIELDS = ("id", "problem", "prompt", "prompt_type", "tests", "entry_point", "cases", "subject", "source", "date")
_NUMBERS = ("cases_left_out",)
_CITATION = """\
@article{jain2024livecodebench,
  title={{LiveCodeBench}: Holistic and Contamination Free Evaluation of Large Language Models for Code},
  author={Jain, Naman and Han, King and Gu, Alex and Li, Wen-Ding and Yan, Fanjia and Zhang, Tianjun and Wang, Sida and
    Solar-Lezama, Armando and Sen, Koushik and Stoica, Ion},
  journal={arXiv preprint arXiv:2403.07974},
  year={2024}
}"""


class Builder(tfds.core.GeneratorBasedBuilder):
    """Split `test`, in the order of the files."""

    name = "rl_reason_livecodebench"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=features(_FIELDS, _NUMBERS),
            homepage="https://livecodebench.github.io",
            citation=_CITATION,
            license="CC; problems belong to LeetCode, AtCoder and Codeforces",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        paths = dl_manager.download([f"{_URL}/{name}.jsonl" for name in _FILES])
        return {"test": self._generate_examples([Path(path) for path in paths])}

    def _generate_examples(self, paths: Sequence[Path]) -> Iterator[tuple[int, dict]]:
        key = left_out = 0
        for path in paths:
            with path.open(encoding="utf-8") as file:  # line by line: a file has a gigabyte
                for line in file:
                    problem = livecodebench_problem(json.loads(line))
                    left_out += problem["cases_left_out"] > 0
                    yield key, to_example(problem, _FIELDS, _NUMBERS)
                    key += 1
        log.warning("LiveCodeBench: %d problems, of %d of which the longest list of cases was cut short", key, left_out)
