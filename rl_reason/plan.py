"""`python -m rl_reason.plan --config=FILE[:VARIANT] [--config.key=value …] --topology=v5p:2x2x4 [--json=FILE]`.

Compiles the steps of a run for devices that need not be there, and tells what they take: memory of each device,
operations, and what the devices send each other. Of the model it reads `config.json` alone, and no data: prompts are
as long as config.data.max_prompt_length allows.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl_reason.errors import UsageError, run_command
from rl_reason.parallel import topologies
from rl_reason.runtime.config import load
from rl_reason.runtime.flags import REQUIRED, Spec, split_flags
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import write_atomic

FLAGS: Spec = {
    "topology": (str, REQUIRED, f"devices to compile for, {topologies.EXPECTED}"),
    "json": (str, "", "file for the same figures as JSON"),
    "memory": (float, 0.0, "GiB of a device; 0: what such a chip lets a program use"),
    "find_batch": (bool, False, "find the greatest config.algorithm.micro_batch that fits, and plan with it"),
}


def main() -> None:
    written = dict(split_flags(sys.argv[1:]))
    named = written.get("topology")
    if named:
        # jax reads the environment when it starts, and a config file may import it.
        topologies.prepare(topologies.parse(named))
    settings, _, flags = load(sys.argv[1:], FLAGS, description=__doc__)
    if "workdir" in written:
        raise UsageError("--workdir: a plan is no run; expected no such flag, --json names a file to write")
    topology = topologies.parse(flags["topology"])
    output = Path(flags["json"]) if flags["json"] else None
    if output and (output.is_dir() or not output.parent.is_dir()):
        raise UsageError(f"--json={flags['json']}: expected a file in a folder that exists")
    if flags["memory"] < 0:
        raise UsageError(f"--memory={flags['memory']}: expected GiB of a device, or 0")
    memory = round(flags["memory"] * topologies.GIB) or topology.memory
    if memory is None and flags["find_batch"]:
        raise UsageError(f"--find_batch: {topology.name} has no memory of its own; expected --memory=GIB too")
    from rl_reason.recipes.planning import find_micro_batch, plan

    report: dict[str, Any] = {"config": flags["config"], "topology": topology.name}
    devices = topologies.devices(topology)
    if flags["find_batch"] and memory is not None:
        found, tried = find_micro_batch(settings, devices, memory)
        report["find_batch"] = {"micro_batch": found or None, "peaks": tried}
        # With the smallest one, the table shows what is too large.
        size = found or min(tried)
        settings = dataclasses.replace(settings, algorithm=dataclasses.replace(settings.algorithm, micro_batch=size))
    report |= plan(settings, devices, memory)
    if output:
        write_atomic(output, json.dumps(report, indent=2) + "\n")
    _show(report)


def _show(report: dict[str, Any]) -> None:
    mesh = " × ".join(f"{axis} {size}" for axis, size in report["mesh"].items())
    print(
        f"{report['parameters'] / 1e6:.2f}M parameters, {report['dtype']}, attention {report['attention']}, "
        f"remat {report['remat']}; {report['devices']} × {report['device_kind']}, mesh {mesh}"
    )
    if "find_batch" in report:
        found, peaks = report["find_batch"]["micro_batch"], report["find_batch"]["peaks"]
        tried = ", ".join(f"{size}: {_bytes(peak)}" for size, peak in sorted(peaks.items()))
        verdict = f"{found} is the greatest that fits" if found else "none fits"
        print(f"config.algorithm.micro_batch: {verdict} into {_bytes(report['memory'])} (tried {tried})")
    functions = report["functions"]
    # What lies there throughout the run comes first, then what each function takes.
    rows = [[name, *(_bytes(size) for _ in functions)] for name, size in report["state"].items() if size]
    if report["offloaded"]:
        rows.append(["waits in the host's memory", *(_bytes(report["offloaded"]) for _ in functions)])
    for label, read in FIGURES.items():
        rows.append([label, *(read(report, made) for made in functions.values())])
    table("On one device", ["", *functions], rows)
    sent = [
        [name, one["kind"], one["where"], one["instructions"], _bytes(one["bytes"]), _bytes(one["bytes_of_all_runs"])]
        for name, made in functions.items()
        for one in made.get("collectives", [])
    ]
    columns = ["", "kind", "where", "instructions", "bytes, each once", "bytes of a call, at most"]
    table("Collectives on one device", columns, sent)
    for name, made in functions.items():
        if "error" in made:
            print(f"{name}: {made['error']}")
    print(f"FLOPs of a step, matrix products of all devices: {report['flops_step']:.3g}")


FIGURES: dict[str, Callable[[dict, dict], str | None]] = {
    "calls in a step": lambda report, made: str(made["calls"]),
    "rows at a time": lambda report, made: str(made["rows"]),
    "arguments": lambda report, made: _bytes(made["arguments"]),
    "outputs beside them": lambda report, made: _bytes(made.get("outputs_beside")),
    "temporaries": lambda report, made: _bytes(made.get("temporaries")),
    "… gradients among these": lambda report, made: _bytes(made["within"].get("gradients")),
    "… keys and values among these": lambda report, made: _bytes(made["within"].get("cache")),
    "… activations, and buffers of products": lambda report, made: _bytes(made.get("activations")),
    "program": lambda report, made: _bytes(made.get("code")),
    "what else lies there": lambda report, made: _bytes(made["resident"]),
    "peak": lambda report, made: _bytes(made.get("peak")),
    "memory of a device": lambda report, made: _bytes(report["memory"]),
    "fits": lambda report, made: None if made["fits"] is None else "yes" if made["fits"] else "NO",
    "FLOPs of a call, loops multiplied out": lambda report, made: _number(made["flops"] / report["devices"]),
    "XLA: FLOPs, loops once": lambda report, made: _number(made.get("xla", {}).get("flops")),
    "XLA: bytes accessed, loops once": lambda report, made: _bytes(made.get("xla", {}).get("bytes")),
    "seconds to compile": lambda report, made: _number(made.get("compile_s")),
}
"""Row of the table → what stands in it: a function of the report, and of its part about one function."""


def _bytes(count: float | None) -> str | None:
    if count is None:
        return None
    size = float(count)
    power = 0
    while size >= 1024 and power < 4:
        size, power = size / 1024, power + 1
    return f"{size:.2f} {'KMGT'[power - 1]}iB" if power else f"{size:.0f} B"


def _number(x: float | None) -> str | None:
    return None if x is None else f"{x:.3g}"


if __name__ == "__main__":
    run_command(main)
