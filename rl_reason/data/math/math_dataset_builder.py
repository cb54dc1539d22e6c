"""MATH: 7,500 and 5,000 competition problems with worked solutions (Hendrycks et al., arXiv 2103.03874)."""

from __future__ import annotations

import json
import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import tensorflow_datasets as tfds

from rl_reason.data.public import features, to_example
from rl_reason.data.upstream import math_order, math_problem

log = logging.getLogger(__name__)

_URL = "https://people.eecs.berkeley.edu/~hendrycks/MATH.tar"
_CITATION = """\
@article{hendrycks2021measuring,
  title={Measuring Mathematical Problem Solving With the MATH Dataset},
  author={Hendrycks, Dan and Burns, Collin and Kadavath, Saurav and Arora, Akul and Basart, Steven and Tang, Eric and
    Song, Dawn and Steinhardt, Jacob},
  journal={NeurIPS},
  year={2021}
}"""


class Builder(tfds.core.GeneratorBasedBuilder):
    """Splits `train` and `test`, sorted by subject and number, without the rows whose box is empty."""

    name = "rl_reason_math"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=features(),
            homepage="https://github.com/hendrycks/math",
            citation=_CITATION,
            license="MIT",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        archive = Path(dl_manager.download(_URL))
        return {split: self._generate_examples(archive, split) for split in ("train", "test")}

    def _generate_examples(self, archive: Path, split: str) -> Iterator[tuple[int, dict]]:
        kept = left_out = 0
        for file, content in _read(archive, split):
            problem = math_problem(json.loads(content), split, file.parent.name, file.stem)
            if problem is None:
                left_out += 1
                continue
            yield kept, to_example(problem)
            kept += 1
        log.warning("MATH %s: %d problems, %d without an answer left out", split, kept, left_out)


def _read(archive: Path, split: str) -> list[tuple[PurePosixPath, bytes]]:
    """The files of a split in order. Read here, because TensorFlow Datasets extracts archives with TensorFlow."""
    files = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if _is_in(member, split) else None
            if content is not None:
                files[PurePosixPath(member.name)] = content.read()
    if not files:
        raise FileNotFoundError(f"{archive}: no files {split}/<subject>/<number>.json")
    return [(file, files[file]) for file in sorted(files, key=math_order)]


def _is_in(member: tarfile.TarInfo, split: str) -> bool:
    return member.isfile() and PurePosixPath(member.name).match(f"{split}/*/[!.]*.json")
