"""What GRPO saves of PPO's memory: the bytes of a device, planned for slices of TPU that need not be there.

    python -m experiments.ppo_vs_grpo_memory.run --output=runs/memory
    python -m experiments.ppo_vs_grpo_memory.run --output=runs/memory --measure

The first command compiles the functions of `configs/grpo_math.py` and `configs/ppo_math.py` for each shape and kind of
critic (`rl_reason.plan`; needs libtpu). The second one runs two steps of each method on this machine's CPU, taken as a
mesh of four devices, at a size that fits, beside the plan for it. The same command again goes on where it stopped.
Writes a JSON file for each plan, OUTPUT/results.json and OUTPUT/memory.png, or OUTPUT/measured.json, and prints the
table.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.commands import call
from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.parallel import topologies
from rl_reason.runtime.curves import COLORS
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.progress import Progress, table
from rl_reason.runtime.workdir import write_atomic

GIB = 2**30

QWEN = {"model_type": "qwen2", "tie_word_embeddings": False, "rope_theta": 10000.0, "max_position_embeddings": 4096}
LLAMA = {"model_type": "llama", "tie_word_embeddings": False, "rope_theta": 5e5, "max_position_embeddings": 4096}


def layers(width: int, mlp: int, depth: int, heads: int, kv_heads: int, vocabulary: int) -> dict:
    """The keys of a `config.json` that give a shape."""
    return {
        "hidden_size": width, "intermediate_size": mlp, "num_hidden_layers": depth, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "vocab_size": vocabulary,
    }  # fmt: skip


@dataclass(frozen=True)
class Size:
    """A shape that has been published, and a slice on which both methods fit."""

    shape: dict
    topology: str
    changes: tuple[str, ...] = ()


SIZES = {
    "1.5B": Size(QWEN | layers(1536, 8960, 28, 12, 2, 151936) | {"tie_word_embeddings": True}, "v5e:4x4"),
    "7B": Size(QWEN | layers(3584, 18944, 28, 28, 4, 152064), "v5p:2x2x4"),
    "32B": Size(QWEN | layers(5120, 27648, 64, 40, 8, 152064), "v5p:4x4x4", ("--config.algorithm.micro_batch=64",)),
    "70B": Size(LLAMA | layers(8192, 28672, 80, 64, 8, 128256), "v5p:4x4x8", ("--config.algorithm.micro_batch=128",)),
}
"""Qwen2.5-Math 1.5B and 7B, Qwen2.5 32B, Llama 3.1 70B."""

JUDGED = "--config.reward.names=('model','accuracy')"
# A part of the policy has the policy's learning rate, and refuses another one, as the `tiny` variant has it.
SHARED = ("--config.critic.kind=shared", "--config.critic.learning_rate=1e-5")
METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "GRPO": ("configs/grpo_math.py", ()),
    "PPO, shared trunk": ("configs/ppo_math.py", SHARED),
    "PPO, critic of its own": ("configs/ppo_math.py", ()),
    "GRPO, reward model": ("configs/grpo_math.py", (JUDGED, "--config.reward.weights=(1.0,0.0)")),
    "PPO, critic and reward model": ("configs/ppo_math.py", (JUDGED, "--config.reward.weights=(1.0,0.0)")),
}
"""Name → config, and what is changed in it. All have a reference, and a reward model is as large as the policy."""

MEASURED = Size(
    QWEN | layers(1536, 6144, 2, 12, 4, 512) | {"tie_word_embeddings": True},
    "cpu:4",
    (
        "--config.mesh.fsdp=4", "--config.steps=2", "--config.data.problems=64", "--config.algorithm.batch_size=8",
        "--config.algorithm.group_size=8", "--config.algorithm.minibatches=1", "--config.algorithm.micro_batch=4",
        "--config.evaluation.every=0", "--config.evaluation.samples=0", "--config.checkpoint.every=100",
        "--config.critic.pretrain_steps=0",
    ),
)  # fmt: skip
"""What runs on this machine, from the `tiny` variants of the same configs."""
NARROW = dataclasses.replace(MEASURED, shape=MEASURED.shape | layers(48, 48, 2, 4, 4, 512))
"""The same programs, whose arrays are next to nothing."""
WATCHED = {"MALLOC_MMAP_THRESHOLD_": str(2**20), "JAX_ENABLE_COMPILATION_CACHE": "false"}
"""How runs are watched. glibc's allocator returns an array's pages when it is freed: left to itself it keeps those of
less than 32 MiB for the next one that fits, and more is resident than is in use. And all runs compile alike."""

AT_ONCE = 2
"""Plans: 2 to 3 GiB of memory each."""

FLAGS: Spec = {
    "sizes": (str, ",".join(SIZES), "which ones"),
    "output": (str, "runs/memory", "a JSON file for each plan, results.json and memory.png, measured.json"),
    "measure": (bool, False, "run both methods on this machine, instead of planning for a TPU"),
    "draw": (bool, False, "compile nothing; read the plans that are there"),
}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    sizes, output = flags["sizes"].split(","), Path(flags["output"])
    for size in sizes:
        if size not in SIZES:
            raise UsageError(f"--sizes={size}: expected some of {','.join(SIZES)}")
    output.mkdir(parents=True, exist_ok=True)
    if flags["measure"]:
        measure(output)
        return
    reports = _plans(sizes, output, not flags["draw"])
    results = {
        size: {"topology": SIZES[size].topology, **{method: parts(made) for method, made in of_size.items()}}
        for size, of_size in reports.items()
    }
    write_atomic(output / "results.json", json.dumps(results, indent=2) + "\n")
    draw(results, output / "memory.png")
    show(results)


def _plans(sizes: Sequence[str], output: Path, may_run: bool) -> dict[str, dict[str, dict]]:
    """Of each size and method what is planned, `AT_ONCE` of them at a time."""
    pairs = [(size, method) for size in sizes for method in METHODS]
    with Progress(len(pairs), title="plans") as progress, ThreadPoolExecutor(AT_ONCE) as pool:
        made = {pair: pool.submit(_plan, SIZES[pair[0]], *pair, output, may_run) for pair in pairs}
        try:
            for one in as_completed(made.values()):
                one.result()
                progress.advance(1)
        finally:
            pool.shutdown(cancel_futures=True)
    return {size: {method: made[size, method].result() for method in METHODS} for size in sizes}


def _flags(size: Size, name: str, method: str, output: Path, variant: str = "") -> list[str]:
    config, changes = METHODS[method]
    shape = {key: value for key, value in size.shape.items() if key != "vocab_size"}
    flags = [f"--config={config}{variant}", "--config.model.path=", f"--config.model.shape={shape}"]
    if JUDGED in changes:
        folder = output / f"reward_model_{name}"
        folder.mkdir(exist_ok=True)
        made = size.shape | {"architectures": [f"{size.shape['model_type'].title()}ForSequenceClassification"]}
        write_atomic(folder / "config.json", json.dumps(made | {"id2label": {"0": "outcome"}}))
        flags += [f"--config.reward.model={folder}"]
    return [*flags, f"--config.model.tokenizer_size={size.shape['vocab_size']}", *changes, *size.changes]


def _plan(size: Size, name: str, method: str, output: Path, may_run: bool, variant: str = "") -> dict:
    """What `rl_reason.plan` says, compiled now or, with the same flags, before."""
    file = output / f"{name}_{method.replace(', ', '_').replace(' ', '_')}.json"
    flags = [*_flags(size, name, method, output, variant), f"--topology={size.topology}", f"--json={file}"]
    asked, made_with = "\n".join(flags), file.with_suffix(".flags")
    if not file.exists() or not made_with.exists() or made_with.read_text() != asked:
        if not may_run:
            raise RunError(f"{file}: no such plan, or one of other flags; run this command without --draw")
        call(["rl_reason.plan", *flags], file, file.with_suffix(".log"))
        write_atomic(made_with, asked)
    return json.loads(file.read_text())


def parts(report: dict) -> dict[str, float]:
    """GiB of a device: what lies there throughout a run, the gradients of an update, and the peaks."""
    made = {name: size / GIB for name, size in report["state"].items()}
    made["gradients"] = report["functions"]["update"]["within"]["gradients"] / GIB
    # With a critic, both gradients are never there at the same time.
    peak = max(one["peak"] for one in report["functions"].values()) / GIB
    return made | {"peak": peak, "update": report["peak"]["update"] / GIB, "sampling": report["peak"]["sampling"] / GIB}


PARTS = ("parameters", "optimizer", "reference", "critic", "reward model", "gradients")


def show(results: dict[str, dict]) -> None:
    """A row for each shape and method."""
    rows = [
        [f"{size}, {made['topology']}", *_compared(made["GRPO"], made["PPO, critic of its own"])]
        for size, made in results.items()
    ]
    columns = ["", "state", "peak", "state, GiB", "peak of the update, GiB", "peak of sampling, GiB"]
    table("GRPO against PPO with a critic of its own", columns, rows)
    rows = []
    for size, made in results.items():
        most = made["PPO, critic of its own"]
        for method in METHODS:
            one = made[method]
            shares = [f"{100 * _state(one) / _state(most):.0f}%", f"{100 * one['peak'] / most['peak']:.0f}%"]
            figures = [f"{x:.1f}" for x in (*(one[k] for k in PARTS), _state(one), one["update"], one["sampling"])]
            rows.append([f"{size}, {made['topology']}", method, *figures, *shares])
    columns = ["", "method", *PARTS, "state", "update, peak", "sampling, peak", "state of PPO's", "peak of PPO's"]
    table("GiB of a device", columns, rows)


def _state(one: Mapping[str, float]) -> float:
    """GiB of what lies there throughout a run."""
    return sum(one[name] for name in PARTS[:-1])


def _compared(one: Mapping[str, float], other: Mapping[str, float]) -> list[str]:
    shares = [_state(one) / _state(other), one["peak"] / other["peak"]]
    pairs = [(_state(one), _state(other)), *((one[name], other[name]) for name in ("update", "sampling"))]
    return [*(f"{100 * share:.0f}%" for share in shares), *(f"{a:.1f} against {b:.1f}" for a, b in pairs)]


def draw(results: dict[str, dict], file: Path) -> None:
    """A group of bars for each shape, stacked up to the greatest peak: what lies there throughout, and what the update
    or sampling, whichever has that peak, adds to it."""
    figure = Figure(figsize=(3.2 * len(results), 5), layout="constrained")
    FigureCanvasAgg(figure)
    for i, (size, made) in enumerate(results.items()):
        axes = figure.add_subplot(1, len(results), i + 1)
        for x, method in enumerate(METHODS):
            bottom, heights = 0.0, _heights(made[method])
            for color, (part, height) in zip((*COLORS, "#F0E442"), heights.items(), strict=True):
                axes.bar(x, height, bottom=bottom, color=color, label=part if x == 0 else None)
                bottom += height
        axes.set_ylim(0, 1.05 * max(made[method]["peak"] for method in METHODS))
        axes.set_title(f"{size} on {made['topology']}")
        axes.set_xticks(range(len(METHODS)), METHODS, rotation=60, ha="right")
        if i == 0:
            axes.set_ylabel("GiB of a chip")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper")
    figure.savefig(file, dpi=150)


def _heights(one: dict[str, float]) -> dict[str, float]:
    """GiB of each part of a bar. While there is more of sampling, there are no gradients."""
    made = {part: one[part] for part in PARTS[:-1]}
    of_update = one["update"] >= one["sampling"]
    left = one["peak"] - sum(made.values())
    made["gradients"] = one["gradients"] if of_update else 0.0
    made["rest of the update"] = left - one["gradients"] if of_update else 0.0
    made["sampling"] = 0.0 if of_update else left
    return made


def measure(output: Path) -> None:
    """Two steps of each method on this machine: the peak that was planned, and the one that was seen, of all devices.

    What was seen is the process's peak resident memory until the last update less that of the same run at width 48:
    interpreter, libraries and compiled programs. What the checkpoint at the end takes is in neither.
    """
    topologies.prepare(topologies.parse(MEASURED.topology))  # for the processes that are started
    made = {}
    for method in ("GRPO", "PPO, shared trunk", "PPO, critic of its own"):
        planned = _plan(MEASURED, "measured", method, output, True, ":tiny")
        seen = _peak(MEASURED, method, output) - _peak(NARROW, method, output)
        peak = planned["devices"] * max(one["peak"] for one in planned["functions"].values())
        made[method] = {"planned": peak, "measured": seen}
    write_atomic(output / "measured.json", json.dumps(made, indent=2) + "\n")
    show_measured(made)


def show_measured(results: Mapping[str, Mapping[str, float]]) -> None:
    rows = []
    for method, one in results.items():
        planned, seen = one["planned"], one["measured"]
        rows.append([method, f"{planned / GIB:.2f}", f"{seen / GIB:.2f}", f"{100 * (planned / seen - 1):+.1f}%"])
    table("GiB, four CPU devices", ["method", "planned peak", "measured peak", "planned is"], rows)


def _peak(size: Size, method: str, output: Path) -> int:
    """Peak resident bytes of a run of two steps, as its last record has them."""
    name = f"run_{size.shape['hidden_size']}_{method.replace(', ', '_').replace(' ', '_')}"
    workdir = output / name
    shutil.rmtree(workdir, ignore_errors=True)  # a run that is finished would do nothing
    flags = [*_flags(size, name, method, output, ":tiny"), f"--workdir={workdir}"]
    call(["rl_reason.train", *flags], workdir, output / f"{name}.log", WATCHED)
    records = (workdir / "metrics.jsonl").read_text().splitlines()
    return round(json.loads(records[-1])["memory/host_GiB"] * GIB)


if __name__ == "__main__":
    run_command(main)
