"""The curves of a run: what is drawn, and that it is drawn."""

import json

import matplotlib.image
import numpy as np
import pytest

from rl_reason.runtime import curves
from rl_reason.runtime.curves import draw_curves, panels, read_evals, read_series, smooth
from rl_reason.runtime.workdir import Workdir


def titles(folder):
    workdir = Workdir(folder)
    return [panel.title for panel in panels(read_series(workdir), read_evals(workdir))]


def picture(folder):
    return matplotlib.image.imread(folder / "curves.png")


def test_only_panels_with_values_are_drawn(made_run):
    shown = titles(made_run())
    for title in ("Reward", "pass@1", "Completion length", "KL to the reference", "Entropy", "Time of a step"):
        assert title in shown
    # All gradient norms are null, and there is no supervised metric.
    for title in ("Gradient norm", "Loss", "Token accuracy", "Throughput"):
        assert title not in shown


def test_supervised_run_has_its_own_panels(tmp_path):
    rows = [{"step": s, "loss": 1 / s, "accuracy/token": 0.5, "tokens/s": 10.0} for s in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert titles(tmp_path) == ["Loss", "Token accuracy", "Throughput"]


def test_reward_panel_has_the_parts_and_no_spread_or_counts():
    (panel,) = panels({"reward/mean", "reward/std", "reward/timeout", "reward/format", "reward/accuracy"}, {})
    assert [label for _, label in panel.lines] == ["total", "accuracy", "format"]


def test_picture_is_made_and_made_anew(made_run):
    folder = made_run()
    assert draw_curves(folder) == folder / "curves.png"
    before = picture(folder)
    assert before.shape[0] > 500 and before.shape[1] > 1000 and before[..., :3].std() > 0.01
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 41, "reward/mean": 5.0}\n{"step": 42, "rew')
    draw_curves(folder)
    assert picture(folder).shape == before.shape and (picture(folder) != before).any()
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("rows", ["", '{"step": 0, "dataset": "d", "n": 5, "pass@1": 0.0}\n'])
def test_run_that_has_hardly_begun(tmp_path, rows):
    (tmp_path / "eval.jsonl").write_text(rows)
    drawn = draw_curves(tmp_path)
    assert (drawn is not None) == bool(rows) == (tmp_path / "curves.png").exists()


def test_what_is_left_of_a_steps_time_is_shown(made_run):
    steps, values = read_series(Workdir(made_run()))["time/other_s"]
    assert len(steps) == 40 and values == pytest.approx(0.5)


def test_smoothing_keeps_constants_and_lines_and_does_not_lag():
    assert smooth(np.full(200, 3.0)) == pytest.approx(3.0)
    line = np.arange(200.0)
    assert smooth(line)[20:-20] == pytest.approx(line[20:-20])
    noise = np.random.default_rng(0).normal(size=600)
    assert smooth(noise).std() < 0.4 * noise.std()
    few = np.arange(29.0)
    assert smooth(few) is few


def test_long_runs_are_averaged_to_a_number_of_points_that_can_be_drawn(tmp_path):
    with open(tmp_path / "metrics.jsonl", "w") as file:
        file.writelines(f'{{"step": {s}, "loss": {s % 2}}}\n' for s in range(1, 3 * curves.MAX_POINTS + 1))
    steps, values = read_series(Workdir(tmp_path))["loss"]
    assert len(steps) == curves.MAX_POINTS and (np.diff(steps) > 0).all()
    assert values.mean() == pytest.approx(0.5)


def test_evaluations_are_in_the_order_of_steps_for_each_data_set(tmp_path):
    rows = [("b", 5), ("a", 5), ("a", 0), ("a", 10)]
    (tmp_path / "eval.jsonl").write_text(
        "".join(json.dumps({"dataset": name, "step": step, "pass@1": 0.5}) + "\n" for name, step in rows)
    )
    evals = read_evals(Workdir(tmp_path))
    assert {name: [r["step"] for r in records] for name, records in evals.items()} == {"b": [5], "a": [0, 5, 10]}


def of_votes(metrics, *records):
    (panel,) = [panel for panel in panels(metrics, {"d": records}) if panel.title == "Right by majority"]
    return panel, curves.held_out(panel, {"d": records, "e": [{"step": 0, "pass@1": 0.5}]})


def test_votes_that_all_evaluations_have_make_a_line():
    few, many = {"step": 1, "maj@2": 0.5, "maj@4": 0.6}, {"step": 2, "maj@2": 0.5, "maj@4": 0.7, "maj@8": 0.8}
    panel, drawn = of_votes({"maj@16/train", "pass@1/train"}, few, many)
    assert panel.lines == (("maj@16/train", "maj@16, training"),) and panel.held_out == "maj@4"
    assert drawn == {"d": [few, many]}
    # Where some have none, those of the others.
    panel, drawn = of_votes(set(), {"step": 1}, many)
    assert panel.held_out == "maj@8" and drawn == {"d": [many]}
    assert not [panel for panel in panels({"reward/mean"}, {"d": [{"step": 1}]}) if "majority" in panel.title]


@pytest.mark.parametrize("name", ["math", "assistant_red_team", "a_data_set_with_a_name_that_is_somewhat_long"])
def test_a_legend_is_no_wider_than_its_panel(name, tmp_path, monkeypatch):
    rows = [{"step": s, "pass@1/train": 0.5, "reward/mean": 0.1 * s} for s in range(1, 6)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluated = [{"step": s, "dataset": f"{name}_{i}/test", "pass@1": 0.5} for s in (0, 5) for i in (1, 2)]
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in evaluated))
    figures = []
    canvas = curves.FigureCanvasAgg
    monkeypatch.setattr(curves, "FigureCanvasAgg", lambda figure: figures.append(figure) or canvas(figure))
    draw_curves(Workdir(tmp_path))
    legends = [axes.get_legend() for axes in figures[-1].axes if axes.get_legend()]
    assert len(legends) == 1
    for legend in legends:
        box, own = legend.get_window_extent(), legend.axes.get_window_extent()
        # To the left of the axes there is room for their numbers.
        assert box.width <= own.width + 60 and box.y0 >= own.y1 - 5
        title = legend.axes._left_title.get_window_extent()
        assert box.y1 <= title.y0 + 2 and title.y1 <= figures[-1].bbox.height
