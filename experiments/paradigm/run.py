"""DeepSeekMath's unified view, method by method: is the gradient of the loss Σ w · GC · ∇log π?

    python -m experiments.paradigm.run --output=runs/paradigm

Random completions of several sizes: the gradient that a method's recipe computes beside the sum with the paper's
coefficient, written in numpy (`coefficients.py`). Writes OUTPUT/results.json and OUTPUT/paradigm.png and prints the
table; a method whose gradient is another one is named, with exit status 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.paradigm import coefficients, gradients
from experiments.paradigm.gradients import BETA, Sizes
from experiments.paradigm.random_model import describe, make_params
from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.objectives.advantages import group_relative
from rl_reason.objectives.methods import METHODS
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.progress import Progress, table
from rl_reason.runtime.workdir import write_atomic

FLAGS: Spec = {
    "seeds": (int, 3, "seeds of the random data, of each size"),
    "output": (Path, Path("runs/paradigm"), "a folder for results.json and paradigm.png"),
}
SIZES = (Sizes(), Sizes(questions=2, group=8, prompt=3, completion=12, micro_batch=4))
KEYS = {"data": "data source", "reward": "reward", "coefficient": "GC"}
"""Of the table: name in the results → head."""
TOLERANCE = 1e-5
"""Of float32: relative, of the gradient of each weight."""
ON_POLICY = "outputs of the policy"
PAPER: dict[str, tuple[str, str, str]] = {
    "sft": ("human data", "none", "1"),
    "rft": ("outputs of the SFT model", "rule", "I(o)"),
    "online_rft": (ON_POLICY, "rule", "I(o)"),
    "dpo_mean": ("pairs of outputs of the SFT model", "rule or people", "σ(β m⁻ − β m⁺), − on o⁻; m: mean log π/π_ref"),
    "ppo": (ON_POLICY, "model", "A_t"),
    "grpo": (f"G {ON_POLICY} of a question", "model or rule", "Â_t + β (π_ref/π − 1)"),
}
"""Data source, reward and GC of the paper's table (section 5.2, appendix A.1); the other rows of `METHODS` are its
variants of GRPO and the usual DPO, which it has not as rows."""


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__ or "")
    if flags["seeds"] < 1:
        raise UsageError(f"--seeds={flags['seeds']}: expected at least 1")
    # Such models run for milliseconds and compile for seconds.
    jax.config.update("jax_disable_most_optimizations", True)
    flags["output"].mkdir(parents=True, exist_ok=True)
    results = {}
    with Progress(len(METHODS), title="methods") as progress:
        for name in METHODS:
            results[name] = compare(name, flags["seeds"])
            progress.advance(1)
    write_atomic(flags["output"] / "results.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    draw(flags["output"] / "paradigm.png")
    show(results)
    wrong = [name for name, one in results.items() if not one["difference"] < TOLERANCE]
    if wrong:
        raise RunError(f"{', '.join(wrong)}: the loss has another gradient than Σ w · GC · ∇log π")


def compare(name: str, seeds: int) -> dict:
    """What a method is in the code and in the paper, and by how much its gradient differs from that of its row."""
    method, model, params = METHODS[name], describe(), make_params()
    found = []
    for sizes in SIZES:
        made = gradients.make(name, model, params, sizes)
        for seed in range(seeds):
            case = made(seed)
            logprobs = np.asarray(gradients.plain_logprobs(params, model, case.batch), np.float64)
            expected = coefficients.OF[name](case, logprobs)
            sum_of = gradients.summed(name, case, model, params, lambda *_, gc=expected: gc)
            found.append(gradients.difference(case.gradient, sum_of))
    in_code = {"data": method.data, "reward": method.reward, "coefficient": (method.coefficient.__doc__ or "").strip()}
    in_paper = dict(zip(in_code, PAPER[name], strict=True)) if name in PAPER else None
    code = in_code | {"reduction": method.reduction, "recipe": method.recipe}
    return {"paper": in_paper, "code": code, "difference": max(found), "cases": len(found)}


def show(results: Mapping[str, Mapping]) -> None:
    rows = []
    for name, one in results.items():
        paper, code = one["paper"] or {}, one["code"]
        cells = [told for key in KEYS for told in (paper.get(key, "–"), code[key].splitlines()[0])]
        rows.append([name, *cells, code["reduction"], f"{1e6 * one['difference']:.1f}"])
    columns = [head for key in KEYS.values() for head in (f"paper: {key}", key)]
    columns = ["method", *columns, "w by", "difference · 10⁶"]
    title = "DeepSeekMath's table and the code's; gradient of the loss beside Σ w · GC · ∇log π, relative"
    table(title, columns, rows)


def draw(file: Path) -> None:
    """The code's coefficients: of a group of eight by how many are right, of the KL term, and of a pair."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    groups, divergence, pairs = figure.subplots(1, 3)
    counts = np.arange(9)
    rewards = (np.arange(8)[None] < counts[:, None]).astype(np.float32)
    relative = np.asarray(group_relative(jnp.asarray(rewards)))
    for values, label, color in ((rewards, "RFT, Online RFT", COLORS[0]), (relative, "GRPO, β 0", COLORS[1])):
        groups.plot(counts[1:], values[1:, 0], "o-", color=color, label=f"{label}: right")
        groups.plot(counts[:-1], values[:-1, -1], "o:", color=color, markerfacecolor="white", label=f"{label}: wrong")
    groups.set(title="By the reward", xlabel="right outputs of eight", ylabel="GC of a token")
    x = np.linspace(-3, 3, 61, dtype=np.float32)[:, None]
    flat = {"mask": jnp.ones_like(x), "advantages": jnp.zeros_like(x), "logprobs": jnp.zeros_like(x)}
    for beta, color in ((0.04, COLORS[0]), (0.3, COLORS[1])):
        made = METHODS["grpo"].coefficient({**flat, "reference_logprobs": jnp.asarray(x)}, beta)
        divergence.plot(x, made, color=color, label=f"GRPO, Â 0, β {beta:g}")
    divergence.set(title="By the reference", xlabel="log π_ref/π of the token", ylabel="GC of a token")
    for beta, color in ((0.1, COLORS[0]), (BETA, COLORS[1])):
        lead = np.linspace(-20, 20, 81, dtype=np.float32)
        both = np.stack([lead, np.zeros_like(lead)], axis=1).reshape(-1, 1)
        places = np.arange(len(both))
        tokens = {
            "mask": jnp.ones(both.shape), "logprobs": jnp.asarray(both), "reference_logprobs": jnp.zeros(both.shape),
            "partners": jnp.asarray(places ^ 1), "is_chosen": jnp.asarray((places + 1) % 2),
        }  # fmt: skip
        made = np.asarray(METHODS["dpo"].coefficient(tokens, beta))[:, 0] / beta
        pairs.plot(lead, made[0::2], color=color, label=f"DPO, β {beta:g}: chosen")
        pairs.plot(lead, made[1::2], ":", color=color, label=f"DPO, β {beta:g}: rejected")
    pairs.set(title="By the other output of a pair", xlabel="lead of the chosen one, m⁺ − m⁻")
    pairs.set(ylabel="GC of a token / β")
    for axes in (groups, divergence, pairs):
        axes.axhline(0, color="black", linewidth=0.8)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(file, dpi=130)


if __name__ == "__main__":
    run_command(main)
