"""The training command, with a fault put into its sampler: what it draws is not from the model that is trained.

    python -m experiments.diagnostics.faulty FAULT --config=configs/grpo_math.py:tiny --workdir=runs/faulty

FAULT is one of `FAULTS`; all other flags are those of `rl_reason.train`. The trainer, and with it what is written to
checkpoints, is as it should be. A run that was stopped does not go on with `late`: the old weights are gone by then.
"""

from __future__ import annotations

import sys
from collections import deque
from types import SimpleNamespace

import jax
import jax.numpy as jnp

from rl_reason import train
from rl_reason.errors import UsageError, run_command
from rl_reason.models import cache, decoder
from rl_reason.sampling.sampler import Moved, Sampler

UPDATES = 8
"""How many `late` is behind."""


def positions() -> None:
    """Decoding counts each token of a completion one position too far; prompts are counted as they should be."""

    def shifted(positions_BT, length, config):
        return decoder.all_angles(positions_BT + 1, length, config)

    # What `cache` decodes with; prompts and the trainer call the function itself.
    cache.decoder = SimpleNamespace(**(vars(decoder) | {"all_angles": shifted}))


def late() -> None:
    """The sampler has the weights of `UPDATES` updates ago, of the first steps those that the run began with."""
    waiting: deque = deque(maxlen=UPDATES + 1)
    move = Sampler.move

    def of_old(self: Sampler, params) -> Moved:
        # A copy: an update takes the buffers of the weights that it changes.
        waiting.append(jax.tree.map(jnp.copy, params))
        return move(self, waiting[0])

    Sampler.move = of_old


def float8() -> None:
    """The sampler has the weights rounded to two bits behind the point (float8_e5m2)."""
    move = Sampler.move

    def rounded(self: Sampler, params) -> Moved:
        return move(self, jax.tree.map(lambda x: x.astype(jnp.float8_e5m2).astype(x.dtype), params))

    Sampler.move = rounded


FAULTS = {"positions": positions, "late": late, "float8": float8}


def main() -> None:
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in FAULTS:
        raise UsageError(f"FAULT={name!r}: expected one of {', '.join(FAULTS)}, in front of all flags")
    FAULTS[name]()
    train.main()


if __name__ == "__main__":
    run_command(main)
