"""Every config file, in each of its variants, is right in itself: without data, weights or devices."""

from pathlib import Path

import pytest

from rl_reason.recipes import RECIPES, checks, pipeline
from rl_reason.runtime.config import read
from rl_reason.settings import Settings

FILES = sorted((Path(__file__).parents[2] / "configs").glob("*_*.py"))


@pytest.mark.parametrize("variant", ["", "tiny"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_settings_are_right_in_themselves(file, variant):
    settings = Settings.from_config(read(str(file), variant))
    assert settings.recipe in RECIPES
    if settings.recipe == "pipeline":
        pipeline.check(settings)
    else:
        checks.OF_RECIPES[settings.recipe](settings)
