"""GRPO's settings one at a time: which runs are started, and what is read of them. No run is made here."""

import dataclasses
import json
import sys

import pytest

from experiments import sweep
from experiments.ablations import run
from experiments.catalogue import EXPERIMENTS, ROOT
from rl_reason.errors import UsageError
from rl_reason.recipes.checks.policy_gradient import check_policy_gradient


@pytest.fixture
def ask(monkeypatch, tmp_path):
    """Starts the command; in place of each run stand records whose pass@1 the changes and the seed decide."""
    monkeypatch.chdir(ROOT)
    started = []

    def stand_in(asked):
        for point, seed, folder in asked.runs():
            started.append((sweep.describe(point), seed))
            folder.mkdir(parents=True)
            better = 0.02 * len(point) + 0.01 * seed if "algorithm.kl_coef" in point else 0.01 * seed
            evaluations = [{"step": s, "dataset": "made", "pass@1": 0.2 + better * bool(s)} for s in (0, 4, 8, 12)]
            metrics = [{"step": s, "kl/reference": s / 1000, "ratio/clipped": 0.0, "entropy": 1.0, "tokens/wrong": 9.0,
                        "tokens/completion": 9.0} for s in range(1, 13)]  # fmt: skip
            if point.get("algorithm.kl_coef") == "0.0":
                for record in metrics:
                    del record["kl/reference"]
            for name, rows in (("eval", evaluations), ("metrics", metrics)):
                (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def ask(*flags):
        monkeypatch.setattr(sys, "argv", ["run", *flags, f"--output={tmp_path}"])
        run.main()
        return started

    monkeypatch.setattr(sweep, "run", stand_in)
    return ask


def test_each_setting_is_changed_by_itself():
    """Beside what an arm is compared with, in the keys of one factor; and all are what a run takes."""
    asked = sweep.Sweep(
        str(ROOT / run.CONFIG), [arm.changes for arm in run.ARMS.values()], run.COMMON, 3, ROOT, 9, False
    )
    made = dict(zip(run.ARMS, (sweep.settings_of(asked, point, 0) for point in asked.points), strict=True))
    assert len(set(map(repr, made.values()))) == len(run.ARMS)
    for name, arm in run.ARMS.items():
        check_policy_gradient(made[name])
        one, other = (dataclasses.asdict(made[key]) for key in (name, arm.beside))
        changed = {key for key in one["algorithm"] if one["algorithm"][key] != other["algorithm"][key]}
        assert {**one, "algorithm": None} == {**other, "algorithm": None}
        assert len(changed) == (name != "base") or changed == {"clip_low", "clip_high"}
        assert one["algorithm"]["batch_size"] == 128


def test_what_is_kept(ask, tmp_path):
    started = ask("--seeds=3")
    assert len(started) == len(set(started)) == 3 * len(run.ARMS)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["beta0"][1]["kl/reference"] is None
    assert results["base"][1]["kl/reference"] == pytest.approx(0.011)
    said = {one.what: one for one in EXPERIMENTS["ablations"].read(tmp_path / "results.json")}
    (gain,) = [one for what, one in said.items() if what.startswith("β 0.2 − G 8") and "learning" in what]
    assert (gain.here, gain.interval, gain.n) == ("+2.0", "[+2.0, +2.0]", "3 seeds")
    assert (tmp_path / "ablations.png").stat().st_size > 10_000
    assert (tmp_path / "sweep.csv").read_text().startswith("algorithm.group_size,")


@pytest.mark.parametrize("flags, part", [
    (["--arms=base,k4"], "k4"), (["--arms=base,k1"], "with what each stands beside"), (["--seeds=0"], "--seeds=0"),
    (["--together=0"], "--together=0"),
])  # fmt: skip
def test_wrong_usage(ask, flags, part):
    with pytest.raises(UsageError, match=part) as error:
        ask(*flags)
    assert "\n" not in str(error.value)
