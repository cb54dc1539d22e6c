"""Claims follow from the results: without an effect they do not hold, and the table is what the kept results make."""

import json
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from experiments import claims, results
from experiments.catalogue import EXPERIMENTS, HERE
from experiments.claims import LESS, MORE, SAME, Bounds
from experiments.test_time_scaling.claims import FLAT

KEPT = [name for name, one in EXPERIMENTS.items() if one.file.exists()]
SIZES = ("size", "sizes", "step", "steps", "seed", "seeds", "problems", "n", "samples", "round")
"""Keys of what says how much was measured, not what was seen."""
FAILURES = ("not correct", "not wrong", "odd", "disagreements")


def map_numbers(tree: Any, made: Callable[[], float]) -> Any:
    """The same results with another number in the place of each that was seen."""
    if isinstance(tree, dict):
        return {key: value if key in SIZES else map_numbers(value, made) for key, value in tree.items()}
    if isinstance(tree, list):
        return [map_numbers(value, made) for value in tree]
    return tree if isinstance(tree, bool | str) or tree is None else made()


def made_of(name: str, tree: Any, folder) -> list[claims.Claim]:
    file = folder / "results.json"
    file.write_text(json.dumps(tree))
    return EXPERIMENTS[name].read(file)


def flat(name: str) -> Any:
    """Results in which all arms are alike."""
    one = EXPERIMENTS[name]
    # Ratios are of something.
    constant = 1.0 if one.folder in ("sampling_ahead", "ppo_vs_grpo_memory", "r1_zero") else 0.0
    return map_numbers(json.loads(one.file.read_text()), lambda: constant)


def test_every_folder_with_results_has_claims():
    read = {one.file for one in EXPERIMENTS.values()}
    assert {*HERE.glob("*/results.json"), *HERE.glob("*/engine.json"), *HERE.glob("*/measured.json")} <= read
    assert {folder.parent.name for folder in HERE.glob("*/run.py")} == {one.folder for one in EXPERIMENTS.values()}


def test_the_table_is_that_of_the_kept_results():
    assert results.FILE.read_text() == results.build(), "python -m experiments.run --rebuild"


def test_what_is_not_measured_is_named():
    waiting = results.build().partition("## Not measured yet")[2]
    assert all((f"python -m experiments.run {name}`" in waiting) == (name not in KEPT) for name in EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_without_an_effect_no_ordering_holds(name, tmp_path):
    orderings = [one for one in made_of(name, flat(name), tmp_path) if one.what.endswith((" > 0", " < 0", "% < 60"))]
    counted = ("paradigm", "graders", "graders_code", "harness_agreement", "ppo_vs_grpo_memory_measured")
    assert bool(orderings) != (name in counted)
    one_run = [one for one in orderings if one.n == "1 seed"]
    assert {one.holds for one in orderings if one not in one_run} <= {"no"}
    assert {one.holds for one in one_run} <= {"undecided"}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_scattered_is_not_equal(name, tmp_path):
    drawn = random.Random(0)
    tree = map_numbers(json.loads(EXPERIMENTS[name].file.read_text()), drawn.random)
    said = [one for one in made_of(name, tree, tmp_path) if " between " in one.what or one.what.endswith(" < 5")]
    assert "yes" not in {one.holds for one in said}


@pytest.mark.parametrize("name", ["graders", "graders_code", "harness_agreement"])
def test_failures_count(name, tmp_path):
    def fail(tree: Any) -> Any:
        if isinstance(tree, list):
            return [fail(value) for value in tree]
        if not isinstance(tree, dict):
            return tree
        failed = {key: ["x"] * tree["n"] for key in FAILURES if key in tree}
        failed |= {"same_verdict": 0} if "same_verdict" in tree else {}
        return {key: fail(value) for key, value in tree.items()} | failed

    said = made_of(name, fail(json.loads(EXPERIMENTS[name].file.read_text())), tmp_path)
    assert said and {one.holds for one in said} == {"no"}


def test_words_that_come_with_length_alone_are_not_more_frequent(tmp_path):
    tree = json.loads(EXPERIMENTS["r1_zero"].file.read_text())
    for run in tree:
        for one in run["evaluations"]:
            one["reflection/words"] = 0.002 * one["tokens/completion"]
    a_completion, per_thousand = (
        one for one in made_of("r1_zero", tree, tmp_path) if one.what.startswith("words of reflection")
    )
    assert (a_completion.holds, per_thousand.here) == ("yes", "0.00") and per_thousand.holds != "yes"


def test_a_fall_from_the_first_step_on_counts_as_a_whole(tmp_path):
    tree = json.loads(EXPERIMENTS["unsuccessful"].file.read_text())
    starts = [run["evaluations"][0]["pass@1"] for run in tree["hacking"]["product"]]
    for run in tree["hacking"]["product"]:
        for one in run["evaluations"][1:]:
            one["pass@1"] = 0.0
    (said,) = [one for one in made_of("unsuccessful", tree, tmp_path) if "product of steps" in one.what]
    assert (said.here, said.holds) == (f"−{100 * np.mean(starts):.1f}", "yes")


def test_what_cannot_rise_is_not_called_flat():
    """Where pass@K is compared, there is room above what the policy solves before RL, in every seed."""
    kept = json.loads(EXPERIMENTS["test_time_scaling"].file.read_text())
    for data, size in FLAT.items():
        (before,) = [point for point in kept["before_after"][data]["before"]["pass"] if point["size"] == size]
        assert max(before["by_seed"]) < 0.95, data


def test_an_engine_that_solves_as_many_is_not_ahead(tmp_path):
    tree = json.loads(EXPERIMENTS["alphageometry_engine"].file.read_text())
    for one in tree.values():
        one["solved"] = one["published"]
    assert {one.holds for one in made_of("alphageometry_engine", tree, tmp_path)} == {"no"}


def test_a_wrong_plan_is_told(tmp_path):
    tree = {"GRPO": {"planned": 2e9, "measured": 1e9}}
    (one,) = made_of("ppo_vs_grpo_memory_measured", tree, tmp_path)
    assert (one.holds, one.here) == ("no", "100.0")


def test_differences_are_those_of_a_paired_t_test():
    kept = json.loads(EXPERIMENTS["methods"].file.read_text())
    ends = {name: np.array([run["after"]["pass@1"] for run in runs]) for name, runs in kept.items()}
    low, high = stats.ttest_rel(ends["online_rft"], ends["rft"]).confidence_interval(0.95)
    (said,) = [one for one in EXPERIMENTS["methods"].read() if one.what.startswith("Online RFT − RFT")]
    assert said.interval == f"[+{100 * low:.1f}, +{100 * high:.1f}]"
    assert said.here == f"+{100 * (ends['online_rft'] - ends['rft']).mean():.1f}"


@pytest.mark.parametrize(
    "bounds, low, high, holds",
    [
        (MORE, 0.1, 2, "yes"), (MORE, 0, 2, "undecided"), (MORE, -2, 0, "no"), (LESS, -2, -0.1, "yes"),
        (LESS, -2, 1, "undecided"), (LESS, 0, 0, "no"), (SAME, -4.9, 4.9, "yes"), (SAME, -4.9, 5.1, "undecided"),
        (SAME, 5, 9, "no"), (Bounds(above=97), 97.7, 100, "yes"), (MORE, math.nan, math.nan, "undecided"),
    ],
)  # fmt: skip
def test_verdicts(bounds, low, high, holds):
    assert bounds.judge(low, high) == holds


def test_one_seed_decides_nothing():
    said = claims.over_seeds("a", "b", [0.5])
    assert (said.here, said.interval, said.n, said.holds) == ("+50.0", "–", "1 seed", "undecided")


def test_other_results_are_told_in_one_line(tmp_path):
    file = tmp_path / "results.json"
    for content in ("{}", "[]", "{"):
        file.write_text(content)
        with pytest.raises(results.UsageError, match="results.json: expected the results of methods") as caught:
            results.read("methods", file)
        assert "\n" not in str(caught.value)
