"""The laptop run of GRPO on several seeds, and the table of what it gained.

    python -m experiments.grpo_tiny.run --seeds=3 --output=runs/grpo_tiny

Each seed is the command of `make demo` with another `config.seed`, in a folder of its own; the same command again goes
on where it stopped. Writes OUTPUT/results.json and prints the table.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from rl_reason.errors import RunError, run_command
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import Workdir, write_atomic

FLAGS: Spec = {
    "seeds": (int, 3, "seeds 0, 1, … are run"),
    "output": (str, "runs/grpo_tiny", "a folder for each seed, and results.json"),
    "config": (str, "configs/grpo_math.py:tiny", "the experiment"),
}
MEASURES = ("pass@1", "pass@8", "maj@8", "format", "tokens/completion")


def run_seed(config: str, seed: int, folder: Path) -> dict:
    """Trains one seed; its first and last evaluation, and the seconds that this call took."""
    command = [sys.executable, "-m", "rl_reason.train", f"--config={config}", f"--config.seed={seed}"]
    began = time.monotonic()
    if subprocess.run([*command, f"--workdir={folder}"]).returncode:
        raise RunError(f"seed {seed} failed; its folder is {folder}")
    records = list(read_jsonl(Workdir(folder).eval))
    return {"seed": seed, "seconds": time.monotonic() - began, "before": records[0], "after": records[-1]}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    output = Path(flags["output"])
    results = [run_seed(flags["config"], seed, output / f"seed{seed}") for seed in range(flags["seeds"])]
    write_atomic(output / "results.json", json.dumps(results, indent=2) + "\n")
    rows = []
    for result in results:
        before, after = result["before"], result["after"]
        shares = [f"{before[name]:.3f} → {after[name]:.3f}" for name in MEASURES[:-1]]
        rows.append([result["seed"], *shares, f"{before[MEASURES[-1]]:.1f} → {after[MEASURES[-1]]:.1f}"])
    table(f"{flags['config']}, before → after", ["seed", *MEASURES], rows)


if __name__ == "__main__":
    run_command(main)
