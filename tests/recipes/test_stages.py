"""The stages of a pipeline: their order, their inputs by name, and when one that is done runs again."""

import shutil

import pytest

from rl_reason.errors import UsageError
from rl_reason.recipes.checks import reads
from rl_reason.recipes.stages import Finished, check_files, read_stages
from rl_reason.runtime.config import apply, read
from rl_reason.settings import Settings, defaults, pipeline


def stage(recipe="supervised", **changes):
    config = defaults()
    config.recipe = recipe
    for key, value in changes.items():
        group, _, name = key.partition("__")
        config[group][name] = value
    return config


def two():
    return pipeline(zeta=stage(), alpha=stage("policy_gradient", model__path="stage:zeta/export"))


def test_stages_keep_the_order_in_which_they_are_written_and_take_what_earlier_ones_made(tmp_path):
    config = two()
    config.seed = 7
    config.stages.alpha.seed = 10
    first, second = read_stages(Settings.from_config(config))
    assert [first.name, second.name] == ["zeta", "alpha"]
    assert (first.settings.seed, second.settings.seed) == (7, 17)
    assert (first.inputs, second.inputs) == ((), ("zeta",))
    resolved = second.resolved(tmp_path)
    assert resolved.model.path == str(tmp_path / "zeta" / "export")
    assert resolved.seed == 17 and resolved.recipe == "policy_gradient"


def test_inputs_may_stand_anywhere_in_texts_and_lists(tmp_path):
    config = pipeline(
        samples=stage("generate"),
        chosen=stage("select", selection__inputs=("stage:samples", "other")),
        tuned=stage(data__name="stage:chosen/selected.jsonl+word_problems"),
    )
    _, chosen, tuned = (one.resolved(tmp_path) for one in read_stages(Settings.from_config(config)))
    assert chosen.selection.inputs == (str(tmp_path / "samples"), "other")
    assert tuned.data.name == f"{tmp_path}/chosen/selected.jsonl+word_problems"


@pytest.mark.parametrize(
    "config, told",
    [
        (lambda: pipeline(a=stage(model__path="stage:b/export"), b=stage()), "stage 'a' needs an output of 'b'.*none"),
        (lambda: pipeline(a=stage(), b=stage(model__path="stage:a/weights")), "'a' does not make.*'stage:a/export'"),
        (lambda: pipeline(a=stage("generate"), b=stage(data__name="stage:a/x.jsonl")), "expected 'stage:a'"),
        (lambda: pipeline(a=stage("pipeline")), "config.stages.a.recipe='pipeline': is no recipe of a stage"),
        (lambda: pipeline(a=stage("supervise")), "did you mean 'supervised'"),
        (lambda: pipeline(), r"config.pipeline.stages=\(\)"),
        (lambda: pipeline(A=stage()), "small letters"),
    ],
)
def test_wrong_stages_are_told_by_name(config, told):
    with pytest.raises(UsageError, match=told):
        read_stages(Settings.from_config(config()))


def test_a_name_without_a_stage_is_told():
    config = two()
    config.pipeline.stages = ("zeta", "alpha", "beta")
    with pytest.raises(UsageError, match="expected each of config.stages once: alpha, zeta"):
        read_stages(Settings.from_config(config))


def test_a_wrong_value_in_a_stage_is_told_with_its_whole_key():
    config = two()
    with config.stages.alpha.unlocked():
        config.stages.alpha.stepps = 3
    with pytest.raises(UsageError, match="config.stages.alpha.stepps: unknown key; did you mean 'steps'"):
        read_stages(Settings.from_config(config))


def test_overrides_reach_one_stage_or_all_of_them():
    config = two()
    apply(config, [("stages.zeta.steps", "3"), ("stages.*.data.problems", "5"), ("stages.zeta.model.shape.x", "1")])
    assert [config.stages[name].steps for name in ("zeta", "alpha")] == [3, 100]
    assert [config.stages[name].data.problems for name in ("zeta", "alpha")] == [5, 5]
    assert config.stages.zeta.model.shape.x == 1
    with pytest.raises(UsageError, match="did you mean 'problems'"):
        apply(config, [("stages.*.data.problms", "5")])
    with pytest.raises(UsageError, match="expected a pipeline"):
        apply(defaults(), [("stages.*.steps", "5")])


def test_an_override_of_all_reaches_the_stages_that_read_it():
    config = two()
    with config.unlocked():
        config.stages.alpha = read("configs/r1_math.py", "").stages.chosen
    apply(config, [("stages.*.data.dir", "DATA")], reads)
    assert [config.stages[name].data.dir for name in ("zeta", "alpha")] == ["DATA", ""]
    apply(config, [("stages.*.seed", "3")], reads)
    assert [config.stages[name].seed for name in ("zeta", "alpha")] == [3, 3]
    with pytest.raises(UsageError, match=r"stages.\*.critic.coef='0.5': no stage reads it"):
        apply(config, [("stages.*.critic.coef", "0.5")], reads)


def test_a_stage_is_behind_until_its_settings_or_its_inputs_change(tmp_path):
    first, second = read_stages(Settings.from_config(two()))
    finished = Finished.read(tmp_path)
    values = {"steps": 3, "names": ("a",)}
    for one in (first, second):
        assert not finished.has(one, values)
        (tmp_path / one.name).mkdir()
        (tmp_path / one.name / "config.json").write_text('{"steps": 3, "names": ["a"]}')
        finished.begin(one)
        finished.add(one, "noon", 1.0)
        finished = Finished.read(tmp_path)
        assert finished.has(one, values)
    assert not finished.has(second, values | {"steps": 4})  # More steps: its recipe says what becomes of that.
    finished.add(first, "later", 1.0)
    with pytest.raises(UsageError, match="'alpha'.*was made from another 'zeta'"):
        finished.has(second, values)
    shutil.rmtree(tmp_path / second.name)  # What the line asks for.
    assert not finished.has(second, values)


def test_seconds_are_those_of_all_commands(tmp_path):
    first, second = read_stages(Settings.from_config(two()))
    Finished.read(tmp_path).begin(first)
    (tmp_path / first.name).mkdir()
    (tmp_path / first.name / "config.json").write_text('{"steps": 3}')
    Finished.read(tmp_path).stop(first, 2.0)
    assert not Finished.read(tmp_path).has(first, {"steps": 3})
    finished = Finished.read(tmp_path)
    finished.begin(first)
    finished.add(first, "noon", 3.0)
    assert finished.stages[first.name]["seconds"] == 5.0 and Finished.read(tmp_path).has(first, {"steps": 3})
    # A command that goes on with other settings, and is killed: the stage is not behind, whatever its config says.
    Finished.read(tmp_path).begin(first)
    (tmp_path / first.name / "config.json").write_text('{"steps": 4}')
    assert not Finished.read(tmp_path).has(first, {"steps": 4})
    shutil.rmtree(tmp_path / first.name)  # What was made is gone, and so are its seconds.
    finished = Finished.read(tmp_path)
    finished.begin(first)
    finished.add(first, "later", 1.0)
    assert finished.stages[first.name]["seconds"] == 1.0


def test_files_that_nobody_makes_have_to_be_there(tmp_path):
    there = tmp_path / "a.jsonl"
    config = pipeline(
        chosen=stage("select", selection__inputs=("x",)),
        tuned=stage(data__name=f"stage:chosen/selected.jsonl+{there}"),
    )
    with pytest.raises(UsageError, match="stage 'tuned': config.stages.tuned.data.name=.*no such file"):
        check_files(read_stages(Settings.from_config(config)))
    there.write_text("")
    check_files(read_stages(Settings.from_config(config)))
    config.stages.tuned.data.name = str(tmp_path / "a+b.jsonl")
    (tmp_path / "a+b.jsonl").write_text("")
    check_files(read_stages(Settings.from_config(config)))
