"""`python -m benchmarks.step --workload=NAME [--lengths=longtail] --json=FILE`: times the GRPO steps of rl_reason.

NAME may change a workload's numbers: `--workload=tiny:completion=512:group=4`.

It runs `rl_reason.recipes.policy_gradient` as `rl_reason.train` does, on a model of random weights, and reads the run's
own metrics. Beside the seconds it prints what share of the machine's measured limits was reached.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks import ceilings, workloads
from benchmarks.peers import environments
from benchmarks.peers.recording import peak_rss_bytes, versions
from rl_reason.errors import UsageError, run_command
from rl_reason.runtime.flags import REQUIRED, Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import table
from rl_reason.settings import Settings, defaults

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
MICRO_BATCH = {"tiny": 8, "small": 8, "0.5b": 4, "1.5b": 32}
"""Rows whose activations exist at the same time: fastest in a trial."""
FLAGS: Spec = {
    "workload": (str, REQUIRED, f'one of {", ".join(workloads.WORKLOADS)}; ":group=4" behind it changes a number'),
    "lengths": (str, "fixed", f"one of {', '.join(workloads.LENGTHS)}"),
    "steps": (int, 4, "the first one counted, which compiles"),
    "micro": (int, 0, "rows of a micro-batch; 0: the best that is known"),
    "json": (str, "", "file that is written"),
}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    workload, lengths = workloads.find(flags["workload"]), flags["lengths"]
    if lengths not in workloads.LENGTHS:
        raise UsageError(f"--lengths={lengths}: expected one of {', '.join(workloads.LENGTHS)}")
    if flags["steps"] < 2:
        raise UsageError(f"--steps={flags['steps']}: expected at least 2, the first one compiles")
    folder = environments.cache() / "models" / f"{workload.name}-{lengths}"
    workloads.make_folder(workload, lengths, folder)

    import jax

    from rl_reason.recipes import policy_gradient

    compiled: list[float] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **_: compiled.append(seconds) if name.endswith("backend_compile_duration") else None
    )
    with tempfile.TemporaryDirectory() as workdir:
        micro_batch = flags["micro"] or MICRO_BATCH[workload.name.partition(":")[0]]
        settings = make_settings(workload, folder, flags["steps"], micro_batch)
        policy_gradient.run(settings, workdir)
        steps = [step_of(record) for record in read_jsonl(Path(workdir) / "metrics.jsonl")]
    device = jax.devices()[0]
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use")
    memory = peak_rss_bytes()  # before the ceilings are measured
    limits = ceilings.measure("bfloat16" if device.platform == "gpu" else "float32")
    shares = shares_of_limits(workload, steps, limits, 2 if device.platform == "gpu" else 4)
    made = {
        "system": "rl_reason",
        "workload": workload.name,
        "lengths": lengths,
        "versions": versions(PACKAGES),
        "device": device.device_kind,
        "micro": settings.algorithm.micro_batch,
        "remat": settings.model.remat,
        "steps": steps,
        "first_step_s": steps[0]["total_s"],
        "compile_s": sum(compiled),
        "peak_rss_bytes": memory,
        "peak_device_bytes": peak,
        "ceilings": limits,
        **shares,
    }
    if flags["json"]:
        Path(flags["json"]).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    show(made)


def make_settings(workload: workloads.Workload, folder: Path, steps: int, micro_batch: int) -> Settings:
    """The run: DeepSeekMath's β, one update a step, no evaluation."""
    config = defaults()
    config.steps = steps
    config.model.path = str(folder)
    config.data.name = "benchmarks.workloads:problems"
    config.data.dir = workload.name
    config.data.template = "question"
    config.data.max_prompt_length = workload.prompt
    config.reward.names = ("benchmarks.workloads:reward",)
    config.sampling.max_length = workload.completion
    config.model.remat = "dots"
    config.algorithm.group_size = workload.group
    config.algorithm.batch_size = workload.batch
    config.algorithm.micro_batch = min(micro_batch, workload.batch)
    config.evaluation.problems = 1
    config.evaluation.samples = 0
    config.checkpoint.every = steps
    config.log.samples = 0
    return Settings.from_config(config)


def step_of(record: dict) -> dict:
    """A step as the peers' scripts write it."""
    seconds = {name: record[f"time/{name}_s"] for name in ("sample", "score")}
    total = record["time/step_s"]
    return {
        "total_s": total,
        **{f"{name}_s": value for name, value in seconds.items()},
        "update_s": total - sum(seconds.values()),
        "completion_tokens": int(record["tokens/sampled"]),
        "longest": int(record["tokens/completion_max"]),
        "reward_mean": record["reward/mean"],
    }


def shares_of_limits(workload: workloads.Workload, steps: list[dict], limits: dict, weight_bytes: int) -> dict:
    """FLOPs and bytes that the median step needs at least, per second, beside the machine's limits.

    What is needed: each prompt once, each token of a completion once a pass, three passes' products in an update.
    Sampling reads all weights for each position.
    """
    steady = steps[1:]
    tokens = median(step["completion_tokens"] for step in steady)
    layers, head = ceilings.products(workload)
    prompts = workload.prompts * workload.prompt
    context = workload.prompt + tokens / workload.batch / 2
    attention = 4 * workload.layers * workload.hidden * context
    once = 2 * layers * (prompts + tokens) + 2 * head * tokens + attention * (prompts + tokens)
    flops = {"sample": once, "score": once, "update": 3 * once}
    seconds = {name: median(step[f"{name}_s"] for step in steady) for name in flops}
    read = weight_bytes * (layers + head) * median(step["longest"] for step in steady)
    return {
        "flops": flops,
        "flops_per_s": {name: flops[name] / seconds[name] for name in flops},
        "share_of_flops_limit": {name: flops[name] / seconds[name] / limits["flops_per_s"] for name in flops},
        "sampling_weight_bytes_per_s": read / seconds["sample"],
        "share_of_copy_limit": read / seconds["sample"] / limits["bytes_per_s"],
    }


def show(made: dict) -> None:
    steady = made["steps"][1:]
    middle = {key: median(step[key] for step in steady) for key in steady[0]}
    rows = [
        [name, f"{middle[f'{name}_s']:.3f}", f"{made['flops_per_s'][name] / 1e9:.1f}", f"{100 * share:.0f}%"]
        for name, share in made["share_of_flops_limit"].items()
    ]
    rows.append(["step", f"{middle['total_s']:.3f}", "", ""])
    title = f"{made['workload']}, {made['lengths']} lengths, {made['device']}"
    table(title, ["", "s", "GFLOP/s", "of a large product's"], rows)
    for number, step in enumerate(made["steps"], start=1):
        print(f"step {number}: " + " ".join(f"{k}={v:.3f}" for k, v in step.items() if k.endswith("_s")))
    limits = made["ceilings"]
    memory = made["peak_device_bytes"] or made["peak_rss_bytes"]
    print(
        f"{middle['completion_tokens'] / middle['total_s']:.0f} completion tokens/s; first step "
        f"{made['first_step_s']:.1f} s, {made['compile_s']:.1f} s of compiling; peak {memory / 2**30:.2f} GiB; limits "
        f"{limits['flops_per_s'] / 1e9:.0f} GFLOP/s, {limits['bytes_per_s'] / 1e9:.1f} GB/s; sampling reads weights at "
        f"{made['sampling_weight_bytes_per_s'] / 1e9:.1f} GB/s"
    )


if __name__ == "__main__":
    run_command(main)
