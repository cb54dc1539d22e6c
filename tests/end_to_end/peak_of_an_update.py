"""Prints the peak that was planned for a GRPO update on four devices of this CPU, and the one that was measured.

    python -m tests.end_to_end.peak_of_an_update REMAT

What is measured is the process's greatest resident memory while the update runs, less what it was before its arguments
were there; the interpreter, the libraries and the compiled program are none of it.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes import planning
from rl_reason.recipes.setup import describe_by_config
from rl_reason.runtime.config import load
from tests.end_to_end.commands import ROOT

SHAPE = {
    "model_type": "qwen2", "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 4, "tie_word_embeddings": True,
}  # fmt: skip
FLAGS = (
    f"--config={ROOT}/configs/grpo_math.py:tiny",
    "--config.model.path=",
    f"--config.model.shape={SHAPE}",
    "--config.model.tokenizer_size=4096",
    "--config.mesh.data=2",
    "--config.mesh.fsdp=2",
    "--config.algorithm.batch_size=16",
    "--config.algorithm.group_size=8",
    "--config.algorithm.micro_batch=8",
    "--config.algorithm.minibatches=1",
    "--config.algorithm.updates=1",
    "--config.sampling.max_length=128",
    "--config.data.max_prompt_length=128",
)


def resident(key: str) -> int:
    """Bytes, of Linux's `VmRSS` (now) or `VmHWM` (the greatest since it was reset)."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)]
    return int(line.split()[1]) * 1024


def fill(x):
    return x if isinstance(x, int) else jax.jit(lambda: jnp.ones(x.shape, x.dtype), out_shardings=x.sharding)()


def main(remat: str) -> None:
    settings = load([*FLAGS, f"--config.model.remat={remat}"]).settings
    devices = jax.devices()
    planned = planning.plan(settings, devices, None)["functions"]["gradients"]["peak"] * len(devices)
    model = describe_by_config(settings.model, make_mesh(settings.mesh))
    state, calls = planning.PLANS["policy_gradient"](settings, model)
    (call,) = [call for call in calls if call.name == "gradients"]
    program = call.function.trace(*call.arguments).lower().compile()
    shapes = {**state, "train": call.arguments[0]}, call.arguments[1:]
    # Once for what filling them takes; then these are gone.
    jax.block_until_ready(jax.tree.map(fill, shapes))
    gc.collect()
    before = resident("VmRSS")
    made, arguments = jax.block_until_ready(jax.tree.map(fill, shapes))
    Path("/proc/self/clear_refs").write_text("5")
    jax.block_until_ready(program(made["train"], *arguments))
    print(json.dumps({"planned": planned, "measured": resident("VmHWM") - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
