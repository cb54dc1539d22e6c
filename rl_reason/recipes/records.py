"""The records of a step, held back until its update has run, so that the host never waits in the middle of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from rl_reason.errors import RunError
from rl_reason.parallel import hosts
from rl_reason.runtime.clock import Clock
from rl_reason.runtime.metrics import MetricsWriter
from rl_reason.runtime.progress import Progress
from rl_reason.runtime.workdir import Workdir


class Records:
    """`pend` a step when its update was dispatched, `finish` it when there is nothing else to do.

    Args:
        workdir: where a batch that broke the run is left.
        metrics: where the records go.
        progress: what the numbers are shown beside.
        every: steps between records.
        shown: beside the bar: label → name of the metric.
    """

    def __init__(
        self, workdir: Workdir, metrics: MetricsWriter, progress: Progress, every: int, shown: Mapping[str, str]
    ):
        self._workdir, self._metrics, self._progress = workdir, metrics, progress
        self._every, self._shown = every, shown
        self._pending: tuple[int, Clock, Mapping, Sequence[dict], dict, Sequence[dict], float] | None = None

    def pend(
        self,
        step: int,
        clock: Clock,
        batch: Mapping[str, np.ndarray],
        updated: Sequence[dict[str, jax.Array]],
        values: dict[str, float],
        samples: Sequence[dict] = (),
        peak: float = 0.0,
    ) -> None:
        """Keeps a step: its clock, its batch, the metrics of its updates on the device, and those of the host. `peak`:
        FLOPs per second of all devices, for the share of it that "flops" among the values comes to; 0: not known."""
        self._pending = (step, clock, batch, updated, values, samples, peak)

    def finish(self) -> bool:
        """Waits for the pending update, stops the run if it made no numbers, else writes its records.

        Returns:
            Whether there was one.

        Raises:
            RunError: the loss or the gradient is no number. The batch that caused it stays in the folder. The state is
                given up on purpose: no checkpoint of it is written, so the last good one is what the command resumes.
        """
        if self._pending is None:
            return False
        step, clock, batch, updated, values, samples, peak = self._pending
        self._pending = None
        values = values | _combine(hosts.fetch(updated))
        clock.end()
        tokens = values.get("tokens/sampled", values["tokens/update"])
        values |= {f"time/{phase}_s": spent for phase, spent in clock.phases.items()}
        values |= {"time/step_s": clock.seconds, "tokens/s": tokens / clock.seconds}
        if peak and "flops" in values:
            values["mfu"] = values["flops"] / (clock.seconds * peak)
        for name in ("loss", "optimizer/grad_norm", "optimizer/update_norm", "critic/loss", "critic/grad_norm"):
            # A critic may learn alone.
            if not np.isfinite(values.get(name, 0)):
                file = self._workdir.path / f"nonfinite_batch_{step}.npz"
                if hosts.is_first():
                    np.savez_compressed(file, **dict(batch))
                raise RunError(
                    f"step {step}: {name} is {values[name]}; the last good checkpoint is kept, the batch is in {file}"
                )
        if step % self._every == 0:
            self._metrics.write(step, values)
            self._metrics.write_samples(samples)
        self._progress.update(step, {label: values.get(name, float("nan")) for label, name in self._shown.items()})
        return True


def _combine(updates: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """The mean over the updates of a step; the maximum where a name ends in "/max".

    An update without tokens, where no completion could teach anything, has means that are no numbers: the others count.
    """
    made = {}
    for name in updates[0]:
        column = np.array([update[name] for update in updates], np.float64)
        column = column[np.isfinite(column)] if any(update["tokens/update"] == 0 for update in updates) else column
        made[name] = float((np.max if name.endswith("/max") else np.mean)(column)) if len(column) else float("nan")
    return made
