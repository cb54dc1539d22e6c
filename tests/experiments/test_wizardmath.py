"""The lines of evolution by themselves: the pipeline's own stages, but for how long and from what texts they learn."""

import pytest

from experiments.catalogue import ROOT
from experiments.wizardmath.run import CONFIG, LINES, TUNED
from rl_reason.errors import UsageError
from rl_reason.recipes import pipeline
from rl_reason.runtime.config import read
from rl_reason.settings import Settings


def of(file, variant=""):
    return Settings.from_config(read(str(ROOT / file), variant))


def test_lines_differ_from_the_pipeline_in_steps_and_texts_only():
    lines, whole = of(LINES), of(*CONFIG.split(":"))
    pipeline.check(lines)
    assert lines.stages.keys() == {name for name in whole.stages if name.startswith(("pool_", "tuned_"))}
    for name, stage in lines.stages.items():
        other = whole.stages[name]
        if name in TUNED:
            assert stage["steps"] > other["steps"] and "bare" not in str(stage["data"]["solutions"])
            other = other | {"steps": stage["steps"], "data": other["data"] | {"solutions": stage["data"]["solutions"]}}
        assert stage == other


def test_lines_have_no_variants():
    with pytest.raises(UsageError, match="unknown variant 'tiny'"):
        of(LINES, "tiny")
