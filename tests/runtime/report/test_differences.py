"""Settings beside the defaults and the presets."""

import json

from rl_reason import presets, settings
from rl_reason.runtime.report.differences import compare_configs
from rl_reason.runtime.report.folders import read_runs


def compared(folder, config, **environment):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    (folder / "environment.json").write_text(json.dumps(environment))
    (one,) = compare_configs(read_runs([folder]))["runs"]
    return one


def test_what_a_preset_would_set_otherwise(tmp_path):
    config = settings.defaults()
    presets.apply(config, "dapo")
    config.algorithm.clip_high, config.algorithm.batch_size, config.steps = 0.3, 64, 7
    one = compared(tmp_path, config)
    assert one["presets"]["dapo"] == {"algorithm.clip_high": "0.28"}
    assert (one["preset"], one["given"]) == ("dapo", "")  # the nearest
    changed = {"algorithm.clip_high": "0.2", "algorithm.batch_size": "1024", "steps": "100", "reward.overlong": "0.0"}
    assert changed.items() <= one["defaults"].items() and one["values"]["algorithm.batch_size"] == "64"


def test_the_preset_of_the_command_goes_before_the_nearest(tmp_path):
    config = settings.defaults()
    presets.apply(config, "dapo")
    for words in (["--preset=tunix"], ["--preset", "tunix"]):
        one = compared(tmp_path, config, command=["python", "-m", "rl_reason.train", *words, "--config=x"])
        assert one["preset"] == one["given"] == "tunix" and one["presets"]["tunix"]["algorithm.ddof"] == "1"


def test_other_recipes_have_defaults_only(tmp_path):
    config = settings.defaults()
    config.recipe = "supervised"
    one = compared(tmp_path, config)
    assert one["presets"] == {} and one["preset"] == "" and one["defaults"] == {"recipe": "policy_gradient"}


def test_stages_of_a_pipeline_are_compared_with_the_defaults_too(tmp_path):
    stage = settings.defaults()
    stage.algorithm.learning_rate = 0.5
    config = settings.pipeline(first=stage)
    one = compared(tmp_path, config)
    assert one["defaults"]["stages.first.algorithm.learning_rate"] == "1e-06"
    assert not [key for key in one["defaults"] if key.startswith("stages.") and "learning_rate" not in key]
