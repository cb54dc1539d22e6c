"""`python -m benchmarks.move --config=FILE[:VARIANT] [--config.key=value …] [--devices=8] [--json=FILE]`: times the
function that moves a policy's weights from the layout of training to that of decoding.

Beside its seconds stand the bytes that a device sends or takes in, from the compiled program, and the seconds of a copy
of all weights in the training layout to the dtype of decoding, which is the least that there is to do.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from rl_reason.errors import UsageError, run_command
from rl_reason.parallel import topologies
from rl_reason.runtime.config import load
from rl_reason.runtime.flags import Spec, split_flags
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import write_atomic

REPEATS = 10
FLAGS: Spec = {
    "devices": (int, 0, "parts that the CPU is taken as; 0: the devices that are there"),
    "json": (str, "", "file for the same figures as JSON"),
}


def main() -> None:
    written = dict(split_flags(sys.argv[1:]))
    if written.get("devices", "0") != "0":
        topologies.prepare(topologies.parse(f"cpu:{written['devices']}"))
    settings, _, flags = load(sys.argv[1:], FLAGS, description=__doc__)
    if flags["json"] and not Path(flags["json"]).absolute().parent.is_dir():
        raise UsageError(f"--json={flags['json']}: expected a file in a folder that exists")

    import jax

    from rl_reason.models import weights
    from rl_reason.parallel import compiled
    from rl_reason.parallel.mesh import make_mesh
    from rl_reason.recipes.planning import device_bytes
    from rl_reason.recipes.setup import describe_by_config
    from rl_reason.sampling.sampler import make_sampler

    model = describe_by_config(settings.model, make_mesh(settings.mesh))
    places = model.shardings()
    params = jax.jit(lambda key: weights.initialize(model.config, key), out_shardings=places)(jax.random.key(0))
    sampler = make_sampler(
        model.config, group_size=1, max_length=1, stop_ids=(0,), pad_id=0, dtype=model.dtype,
        constrain=model.constrain, decoding=model.decoding,
    )  # fmt: skip
    copy = jax.jit(lambda p: jax.tree.map(lambda x: (x + 0).astype(model.dtype), p), out_shardings=places)
    program = sampler.to_decoding.lower(params).compile()
    sent = compiled.summarize(compiled.collectives(program.as_text()))
    made = {
        "config": flags["config"],
        "device": jax.devices()[0].device_kind,
        "devices": len(jax.devices()),
        "mesh": {axis: size for axis, size in model.mesh.shape.items() if size > 1},
        "parameters": weights.count(model.config),
        "dtype": model.dtype.name,
        "bytes_trained": device_bytes(params),
        "bytes_decoding": device_bytes(sampler.to_decoding(params)),
        "bytes_by_kind": {one["kind"]: one["bytes_of_all_runs"] for one in sent},
        "move_s": _seconds(lambda: sampler.to_decoding(params)),
        "copy_s": _seconds(lambda: copy(params)),
    }
    if flags["json"]:
        write_atomic(Path(flags["json"]), json.dumps(made, indent=2) + "\n")
    mib = lambda size: f"{size / 2**20:.1f} MiB"  # noqa: E731
    kinds = ", ".join(f"{kind} {mib(size)}" for kind, size in made["bytes_by_kind"].items()) or "nothing"
    columns = ["", "of a device"]
    rows = [
        ["weights in training", mib(made["bytes_trained"])],
        ["weights in decoding", mib(made["bytes_decoding"])],
        ["sent or taken in", kinds],
        ["seconds of the move", f"{made['move_s']:.4f}"],
        ["seconds of a copy", f"{made['copy_s']:.4f}"],
        ["move ÷ copy", f"{made['move_s'] / made['copy_s']:.2f}"],
    ]
    table(f"{made['parameters'] / 1e6:.1f}M, {made['dtype']}, {made['devices']} × {made['device']}", columns, rows)


def _seconds(call: Callable) -> float:
    """Median of `REPEATS` calls; the first one, which compiles, does not count."""
    import jax

    spent = []
    for _ in range(REPEATS + 1):
        begun = time.perf_counter()
        jax.block_until_ready(call())
        spent.append(time.perf_counter() - begun)
    return median(spent[1:])


if __name__ == "__main__":
    run_command(main)
