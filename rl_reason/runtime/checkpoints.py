"""Checkpoints of a training state, written by orbax while training goes on."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp

from rl_reason.errors import RunError, UsageError

State = TypeVar("State")

# Orbax tells every step of every save. What fails arrives as an exception.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)


class Checkpoints:
    """The checkpoints in one folder, a subfolder each, named by the step.

    A save runs in the background and appears by a rename when all of it is on disk, so a kill at any time leaves the
    checkpoints before it as they were; what an unfinished save left behind is removed when the folder is next opened.

    Args:
      directory: the folder; made if absent.
      keep: number of newest checkpoints that stay; 0: all.
      read_only: nothing is made, saved or removed, so that the folder may be that of a run that is going on.
    """

    def __init__(self, directory: str | os.PathLike, keep: int, *, read_only: bool = False):
        if keep < 0:
            raise UsageError(f"config.checkpoint.keep={keep}: expected 0 (all) or more")
        self._directory = Path(directory).absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep or None,
            create=not read_only,
            cleanup_tmp_directories=not read_only,
            read_only=read_only,
        )
        # Named here and not inferred from the first save: a reader asks for the description before it restores.
        handlers = {
            "state": ocp.StandardCheckpointHandler(),
            "data": ocp.JsonCheckpointHandler(),
            "metadata": ocp.JsonCheckpointHandler(),
        }
        self._manager = ocp.CheckpointManager(self._directory, options=options, item_handlers=handlers)

    def save(
        self,
        step: int,
        state: Any,
        data_state: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Starts to write a checkpoint and returns when the arrays may be donated. A step that exists is left alone.

        Args:
          step: the number of steps that `state` has behind it.
          state: pytree of jax arrays (on many hosts, each host passes its view of the same arrays).
          data_state: JSON values: where the data iterator stands.
          metadata: JSON values for readers of the folder.

        Raises:
          RunError: the save before this one failed.
        """
        if step in self._manager.all_steps():
            return
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    data=ocp.args.JsonSave(dict(data_state)),
                    metadata=ocp.args.JsonSave(dict(metadata or {})),
                ),
                force=True,
            )
        except (OSError, ValueError) as error:
            raise RunError(f"{self._directory}: cannot save step {step}: {_line(error)}") from error

    def restore_latest(self, abstract_state: State) -> tuple[int, State, dict[str, Any]] | None:
        """(step, state, data_state) of the newest checkpoint; None if there is none.

        Args:
          abstract_state: a tree like the saved one with `jax.ShapeDtypeStruct` leaves, whose shardings say where the
            arrays go; the mesh need not be the one they were saved from.

        Raises:
          UsageError: the checkpoint is of a state with other arrays or shapes.
          RunError: the checkpoint is damaged.
        """
        return self._restore_latest(abstract_state, whole=True)

    def restore_part(self, abstract_part: State) -> tuple[int, State] | None:
        """(step, part) of the newest checkpoint's state, of which nothing else is read; else as `restore_latest`."""
        made = self._restore_latest(abstract_part, whole=False)
        return made and made[:2]

    def _restore_latest(self, abstract: State, whole: bool) -> tuple[int, State, dict[str, Any]] | None:
        step = self.latest_step()
        if step is None:
            return None
        folder = self._directory / str(step)
        # Orbax and tensorstore raise many kinds for a file that is not as they wrote it.
        try:
            with _quiet_abandoned_reads():
                saved = _shapes(self._manager.item_metadata(step)["state"])
        except Exception as error:
            raise self._damaged(folder, error) from error
        if not saved:
            raise self._damaged(folder, ValueError("no description of its arrays"))
        wanted = _shapes(abstract)
        _check_shapes(folder, saved if whole else {name: saved[name] for name in wanted if name in saved}, wanted)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), data=ocp.args.JsonRestore())
        try:
            with _quiet_abandoned_reads():
                if not whole:
                    return step, jax.block_until_ready(_read_part(folder / "state", abstract)), {}
                restored = self._manager.restore(step, args=args)
                # Arrays arrive in the background: a failure shows here, not in the first step.
                return step, jax.block_until_ready(restored["state"]), restored["data"]
        except Exception as error:
            raise self._damaged(folder, error) from error

    def latest_step(self) -> int | None:
        """The step of the newest finished checkpoint."""
        return self._manager.latest_step()

    def wait(self) -> None:
        """Returns when no save is under way. Raises `RunError` if one failed."""
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise RunError(f"{self._directory}: a save failed: {_line(error)}") from error

    def close(self) -> None:
        """Waits, then ends the background threads."""
        self.wait()
        self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _damaged(self, folder: Path, error: Exception) -> RunError:
        older = [s for s in self._manager.all_steps() if s < int(folder.name)]
        advice = f"resume from step {max(older)}" if older else "start anew"
        return RunError(f"{folder}: damaged checkpoint ({_line(error)}); remove this folder to {advice}")


def _read_part(folder: Path, abstract: State) -> State:
    places = ocp.checkpoint_utils.construct_restore_args(abstract)
    with ocp.PyTreeCheckpointer() as reader:
        args = ocp.args.PyTreeRestore(abstract, restore_args=places, partial_restore=True)
        return reader.restore(folder, args=args)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Path like a/b/0 → shape. Orbax describes a saved dataclass as a dictionary, a list as a list or a dictionary."""
    return {
        "/".join(_name(entry) for entry in path): tuple(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if hasattr(leaf, "shape")
    }


def _name(entry: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)


def _check_shapes(folder: Path, saved: Mapping[str, tuple], wanted: Mapping[str, tuple]) -> None:
    for name in [*wanted, *saved]:
        there, here = saved.get(name), wanted.get(name)
        if there != here:
            texts = ["no such array" if shape is None else json.dumps(shape) for shape in (there, here)]
            raise UsageError(
                f"{folder}: checkpoint of another state: {name} is {texts[0]} there and {texts[1]} here; "
                "expected the configuration it was saved with"
            )


@contextlib.contextmanager
def _quiet_abandoned_reads() -> Iterator[None]:
    """Where one array cannot be read, orbax abandons its reads of the others, and the interpreter would print a page of
    "Event loop is closed" for each of them over the line that says what is wrong. They end after the failure, so the
    hooks stay in that case."""
    unraisable, uncaught = sys.unraisablehook, sys.excepthook
    abandoned = ("Event loop is closed", "Encountered error while reading array")

    def on_unraisable(args: Any) -> None:
        if not str(args.exc_value).startswith(abandoned):
            unraisable(args)

    def on_uncaught(kind: Any, error: BaseException, trace: Any) -> None:
        if not str(error).startswith(abandoned):
            uncaught(kind, error, trace)

    sys.unraisablehook, sys.excepthook = on_unraisable, on_uncaught
    yield
    sys.unraisablehook, sys.excepthook = unraisable, uncaught


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 200 else text[:197] + "…"
