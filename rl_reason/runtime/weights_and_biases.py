"""The numbers of a run for Weights & Biases, where `config.log.wandb` names a project."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping

from rl_reason.errors import RunError, UsageError
from rl_reason.extras import find_version
from rl_reason.runtime.workdir import Workdir, write_atomic

KEY = "config.log.wandb"


def check(project: str) -> None:
    """Raises `UsageError` where the package is absent, or the name is no project's."""
    if not project:
        return
    if not all(project.split("/")) or project.count("/") > 1:
        raise UsageError(f"{KEY}={project!r}: expected PROJECT or ENTITY/PROJECT")
    find_version("wandb", "wandb", f"{KEY}={project!r}")


class WeightsAndBiases:
    """A run there, which a folder's run goes on with when it is resumed: its id stands in the folder.

    Steps are numbers like all others, and the axis of all others: those that run again after a kill are sent again,
    where W&B's own count of steps would refuse them. WANDB_MODE=offline writes into the run's folder alone.

    Args:
        workdir: the run's folder, which has its config.json.
        project: PROJECT or ENTITY/PROJECT.

    Raises:
        UsageError: no key to log in with.
        RunError: the server does not answer, or refuses.
    """

    def __init__(self, workdir: Workdir, project: str):
        # Here, because it is slow, and not there for all.
        import wandb

        if not workdir.wandb_id.exists():
            write_atomic(workdir.wandb_id, secrets.token_hex(8) + "\n")
        entity, _, name = project.rpartition("/")
        try:
            self._run = wandb.init(
                project=name, entity=entity or None, id=workdir.wandb_id.read_text().strip(), resume="allow",
                name=workdir.path.resolve().name, dir=str(workdir.path), config=json.loads(workdir.config.read_text()),
                # More steps, for one. And what is printed is a bar that is drawn again and again.
                allow_val_change=True, settings=wandb.Settings(console="off"),
            )  # fmt: skip
        except wandb.errors.UsageError as error:
            expected = "expected a key (wandb login, WANDB_API_KEY), or WANDB_MODE=offline"
            raise UsageError(f"{KEY}={project!r}: {_line(error)} {expected}") from error
        except wandb.errors.Error as error:
            raise RunError(f"{KEY}={project!r}: {_line(error)}; WANDB_MODE=offline needs no server") from error
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        self._run.log({"step": step, **scalars})

    def close(self, failed: bool) -> None:
        """Waits until all is sent, or written; `failed` is how the run is shown there."""
        self._run.finish(exit_code=int(failed))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
