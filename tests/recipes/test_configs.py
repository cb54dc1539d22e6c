"""Every config file, in each of its variants, is right in itself: without data, weights or devices."""

import json
import re
from pathlib import Path

import pytest

from rl_reason.errors import UsageError
from rl_reason.geometry import engine
from rl_reason.recipes import RECIPES, pipeline
from rl_reason.recipes.checks import OF_RECIPES
from rl_reason.runtime.config import read
from rl_reason.settings import Settings, ask_server

OTHERS = [("distill_math", "on_policy"), ("sft_tiny", "bilingual"), ("sft_tiny", "student")]
CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = sorted(file.stem for file in CONFIGS.glob("*.py"))


@pytest.mark.parametrize("name, variant", [*((name, variant) for name in NAMES for variant in ("", "tiny")), *OTHERS])
def test_settings_are_right_in_themselves(name, variant):
    if name == "alphageometry" and not engine.is_installed():
        pytest.skip(f"not installed: {engine.PACKAGES}")
    settings = Settings.from_config(read(str(CONFIGS / f"{name}.py"), variant))
    assert settings.recipe in RECIPES
    if settings.recipe == "pipeline":
        pipeline.check(settings)
    else:
        OF_RECIPES[settings.recipe](settings)
        # As a run's config.json gives them back.
        assert Settings.from_dict(json.loads(json.dumps(settings.to_config().to_dict()))) == settings


def test_problems_that_a_server_evolves(monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    config = read("configs/wizardmath.py")
    evolving = [f"{way}_{number}" for way in ("downward", "upward") for number in (1, 2)]
    for name in evolving:
        ask_server(config.stages[name], "http://127.0.0.1:8000/v1", "NAME")
    settings = Settings.from_config(config)
    pipeline.check(settings)
    assert all(settings.stages[name]["endpoint"]["model"] == "NAME" for name in evolving)


def test_rounds_are_a_setting():
    """Of critique and revision, and of evolution each way."""

    def stages(name: str, variant: str, kind: str) -> list[str]:
        settings = Settings.from_config(read(str(CONFIGS / f"{name}.py"), variant))
        pipeline.check(settings)
        if name == "constitutional":
            revisions = tuple(f"stage:{one}" for one in settings.stages if one.startswith("revision_"))
            assert settings.stages["chosen"]["selection"]["inputs"] == revisions
        return [one for one in settings.stages if one.startswith(f"{kind}_") and one[-1].isdecimal()]

    assert stages("constitutional", "rounds=2", "revision") == ["revision_1", "revision_2"]
    assert len(stages("constitutional", "tiny,rounds=3", "critique")) == 3
    assert stages("wizardmath", "rounds=1", "upward") == ["upward_1"]


@pytest.mark.parametrize(
    "name, variant, told",
    [
        *(("constitutional", f"rounds={wrong}", "expected one rounds=N") for wrong in ("0", "", "two", "1,rounds=2")),
        ("constitutional", "tny,rounds=3", "unknown variant 'tny'"),
        ("wizardmath", "tiny,rounds=3", "has 2 rounds"),
    ],
)
def test_rounds_that_are_none(name, variant, told):
    with pytest.raises(UsageError, match=told):
        read(str(CONFIGS / f"{name}.py"), variant)


def test_a_pipeline_that_asks_a_server(tmp_path, monkeypatch):
    """The example of `docs/pipelines.md`."""
    page = (CONFIGS.parent / "docs" / "pipelines.md").read_text()
    (text,) = re.findall(r'^```python title="asking_a_server.py"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    (tmp_path / "asking.py").write_text(text)
    monkeypatch.chdir(CONFIGS.parent)
    settings = Settings.from_config(read(str(tmp_path / "asking.py")))
    pipeline.check(settings)
    asking = {name for name, stage in settings.stages.items() if stage["endpoint"]["url"]}
    rounds = {f"{kind}_{number}" for kind in ("critique", "revision") for number in range(1, 5)}
    assert asking == rounds | {"answers", "preferences"}
    assert not any(settings.stages[name]["model"]["path"] for name in asking)
