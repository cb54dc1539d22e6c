"""Pictures can be drawn again from the results that are kept."""

import json
import sys

import numpy as np
import pytest
from matplotlib.axes import Axes
from scipy import stats

from experiments.catalogue import HERE
from experiments.constitutional.run import draw as draw_constitutional
from experiments.distillation.run import draw as draw_distillation
from experiments.graders.run import draw as draw_speed
from experiments.grpo_tiny import run as grpo_tiny
from experiments.methods.run import draw as draw_methods
from experiments.minerva.run import draw as draw_minerva
from experiments.o1 import figure
from experiments.r1_zero.run import draw as draw_r1_zero
from experiments.test_time_scaling.figures import draw_before_after, draw_scaling
from experiments.unsuccessful.figures import draw_hacking, draw_rounds
from rl_reason.errors import UsageError

PICTURES = {
    "constitutional/over_optimisation.png": lambda kept, file: draw_constitutional([one["long"] for one in kept], file),
    "distillation/distillation.png": draw_distillation,
    "graders/speed.png": lambda kept, file: draw_speed(kept["speed"], file),
    "grpo_tiny/grpo_tiny.png": grpo_tiny.draw,
    "methods/methods.png": draw_methods,
    "minerva/minerva.png": draw_minerva,
    "o1/o1.png": figure.draw,
    "r1_zero/r1_zero.png": draw_r1_zero,
    "test_time_scaling/before_after.png": lambda kept, file: draw_before_after(kept["before_after"], file),
    "test_time_scaling/scaling.png": lambda kept, file: draw_scaling(kept["scaling"], file),
    "unsuccessful/hacking.png": lambda kept, file: draw_hacking(kept["hacking"], file),
    "unsuccessful/rounds.png": lambda kept, file: draw_rounds(kept["search"], file),
}


def size(file):
    """Width and height of a PNG."""
    head = file.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    return head[16:24]


@pytest.mark.parametrize("picture", PICTURES)
def test_drawn_of_what_is_kept(picture, tmp_path):
    kept = HERE / picture
    PICTURES[picture](json.loads((kept.parent / "results.json").read_text()), tmp_path / kept.name)
    assert size(tmp_path / kept.name) == size(kept)


def test_whiskers_are_the_interval_of_the_table(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Axes, "errorbar", lambda self, x, y, yerr, **style: drawn.append((y, yerr)))
    kept = json.loads((HERE / "methods" / "results.json").read_text())
    draw_methods(kept, tmp_path / "methods.png")
    ends = 100 * np.array([run["after"]["pass@1"] for run in kept["rft"]])
    low, high = stats.ttest_1samp(ends, 0).confidence_interval(0.95)
    ((middle, width),) = drawn
    np.testing.assert_allclose([middle - width, middle + width], [low, high], atol=0.01)


def test_draws_without_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run", "--draw", f"--output={tmp_path}"])
    with pytest.raises(UsageError, match=r"results\.json is not there"):
        grpo_tiny.main()
    (tmp_path / "results.json").write_bytes((HERE / "grpo_tiny" / "results.json").read_bytes())
    grpo_tiny.main()
    assert size(tmp_path / "grpo_tiny.png") and "21.3% [20.1, 22.7] → 95.3%" in capsys.readouterr().out
