"""Checkpoints of a training state, written by orbax while training goes on."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from rl_reason.errors import RunError, UsageError

log = logging.getLogger(__name__)
State = TypeVar("State")

CHECKSUMS = "checksums.json"
"""In a checkpoint's folder: file → [bytes, SHA-256] of all that the arrays and the data's position were written to."""

# Orbax tells every step of every save. What fails arrives as an exception, also where it abandons its writes of other
# arrays.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
logging.getLogger("asyncio").addFilter(lambda record: "orbax" not in record.getMessage())


def _quiet_abandoned() -> None:
    """Where one array cannot be read or written, orbax abandons the others, from threads of its own, and the
    interpreter would print a page of "Event loop is closed" for each of them over the line that says what is wrong."""
    unraisable, uncaught = sys.unraisablehook, sys.excepthook
    abandoned = ("Event loop is closed", "Encountered error while reading array")

    def on_unraisable(args: Any) -> None:
        if not str(args.exc_value).startswith(abandoned):
            unraisable(args)

    def on_uncaught(kind: Any, error: BaseException, trace: Any) -> None:
        if not str(error).startswith(abandoned):
            uncaught(kind, error, trace)

    sys.unraisablehook, sys.excepthook = on_unraisable, on_uncaught


_quiet_abandoned()


class _Manager(ocp.CheckpointManager):
    """Orbax's manager, which does not ask whether the run has to stop."""

    def reached_preemption(self, step: int) -> bool:
        """False. Jax's service agrees on the greatest number that a host has asked with last, plus 1. It is
        `parallel.preemption` that counts; were orbax to ask with the step in between, the hosts would wait for a number
        that they are past."""
        return False


class Checkpoints:
    """The checkpoints in one folder, a subfolder each, named by the step.

    A save runs in the background and appears by a rename when all of it is on disk, so a kill at any time leaves the
    checkpoints before it as they were; what an unfinished save left behind is removed when the folder is next opened.
    Checksums are written before that rename and compared before anything is restored: most of what can happen to a
    file, one flipped bit among them, would otherwise be restored as numbers.

    Args:
      directory: the folder; made if absent.
      keep: number of newest checkpoints that stay; 0: all.
      keep_best: number of checkpoints of the greatest score that stay beside them.
      start: the step that the run goes on behind. What is there of later ones could not be read, and is set aside:
        `N` becomes `N.damaged`.
      read_only: nothing is made, saved or removed, so that the folder may be that of a run that is going on.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        keep: int,
        keep_best: int = 0,
        *,
        start: int | None = None,
        read_only: bool = False,
    ):
        for key, value in (("keep", keep), ("keep_best", keep_best)):
            if value < 0:
                raise UsageError(f"config.checkpoint.{key}={value}: expected 0 or more")
        self._directory = Path(directory).absolute()
        if start is not None and not read_only:
            if jax.process_index() == 0:
                _set_aside(self._directory, start)
            if jax.process_count() > 1:
                multihost_utils.sync_global_devices("damaged checkpoints are set aside")
        best = checkpoint_managers.BestN(get_metric_fn=_score, n=keep_best, keep_checkpoints_without_metrics=False)
        newest = checkpoint_managers.LatestN(n=keep or None)
        options = ocp.CheckpointManagerOptions(
            best_fn=_score,
            preservation_policy=checkpoint_managers.AnyPreservationPolicy([newest, best]),
            create=not read_only,
            cleanup_tmp_directories=not read_only,
            read_only=read_only,
            # Called by one process, behind the last write of all and before the rename.
            async_options=ocp.AsyncOptions(post_finalization_callback=self._write_checksums),
        )
        # Named here and not inferred from the first save: a reader asks for the description before it restores.
        handlers = {
            "state": ocp.StandardCheckpointHandler(),
            "data": ocp.JsonCheckpointHandler(),
        }
        self._saving: int | None = None
        self._manager = _Manager(self._directory, options=options, item_handlers=handlers)

    def save(
        self,
        step: int,
        state: Any,
        data_state: Mapping[str, Any],
        score: float | None = None,
    ) -> None:
        """Starts to write a checkpoint and returns when the arrays may be donated. A step that exists is left alone.

        Args:
          step: the number of steps that `state` has behind it.
          state: pytree of jax arrays (on many hosts, each host passes its view of the same arrays).
          data_state: JSON values: where the data iterator stands.
          score: by which the best ones are found; None: this one is none of them.

        Raises:
          RunError: this save cannot begin, or the one before it failed.
        """
        self.wait()
        if step in self.steps():
            return
        self._saving = step
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(dict(data_state)))
        with self._failing():
            self._manager.save(step, args=args, metrics=None if score is None else {"score": score}, force=True)

    def restore_latest(self, abstract_state: State) -> tuple[int, State, dict[str, Any]] | None:
        """(step, state, data_state) of the newest checkpoint that can be read; None if there is none.

        One that is damaged is told of, and the one before it taken.

        Args:
          abstract_state: a tree like the saved one with `jax.ShapeDtypeStruct` leaves, whose shardings say where the
            arrays go; the mesh need not be the one they were saved from.

        Raises:
          UsageError: the checkpoint is of a state with other arrays or shapes.
          RunError: none can be read.
        """
        return self._restore_readable(abstract_state, whole=True)

    def restore_part(self, abstract_part: State, step: int | None = None) -> tuple[int, State] | None:
        """(step, part) of a checkpoint's state, of which nothing else is read; else as `restore_latest`.

        Args:
          abstract_part: as there.
          step: whose; None: the newest one's.
        """
        if step is not None:
            self._check(step)
            return self._restore(step, abstract_part, whole=False)[:2]
        made = self._restore_readable(abstract_part, whole=False)
        return made and made[:2]

    def _restore_readable(self, abstract: State, whole: bool) -> tuple[int, State, dict[str, Any]] | None:
        older = self.steps()
        while older:
            step, checked = older.pop(), False
            try:
                self._check(step)
                checked = True
                return self._restore(step, abstract, whole)
            except RunError as error:
                # A file that is as it was written may still be out of reach for one of several hosts alone.
                if not older or (checked and jax.process_count() > 1):
                    raise
                if jax.process_index() == 0:
                    log.warning("%s; that of step %d is used", error, older[-1])
        return None

    def _check(self, step: int) -> None:
        folder = self._directory / str(step)
        if damage := _find_damage(folder):
            raise self._damaged(folder, ValueError(damage))

    def _restore(self, step: int, abstract: State, whole: bool) -> tuple[int, State, dict[str, Any]]:
        folder = self._directory / str(step)
        # Orbax and tensorstore raise many kinds for a file that is not as they wrote it.
        try:
            saved = _shapes(self._manager.item_metadata(step)["state"])
        except Exception as error:
            raise self._damaged(folder, error) from error
        if not saved:
            raise self._damaged(folder, ValueError("no description of its arrays"))
        wanted = _shapes(abstract)
        _check_shapes(folder, saved if whole else {name: saved[name] for name in wanted if name in saved}, wanted)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), data=ocp.args.JsonRestore())
        try:
            if not whole:
                return step, jax.block_until_ready(_read_part(folder / "state", abstract)), {}
            restored = self._manager.restore(step, args=args)
            # Arrays arrive in the background: a failure shows here, not in the first step.
            return step, jax.block_until_ready(restored["state"]), restored["data"]
        except Exception as error:
            raise self._damaged(folder, error) from error

    def data_state(self, step: int) -> dict[str, Any]:
        """That of a checkpoint which was restored before."""
        with self._failing():
            return self._manager.restore(step, args=ocp.args.Composite(data=ocp.args.JsonRestore()))["data"]

    def steps(self) -> list[int]:
        """Those of the finished checkpoints, the newest one last."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """The step of the checkpoint of the greatest score; None where none has one."""
        infos = [self._manager.metrics(step) for step in self.steps()]
        scored = [(_score(info), step) for info, step in zip(infos, self.steps(), strict=True) if info]
        return max(scored)[1] if scored else None

    def wait(self) -> None:
        """Returns when no save is under way. Raises `RunError` if one failed."""
        with self._failing():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then ends the background threads."""
        self.wait()
        self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """A save's errors as one line. Tensorstore says the reason last, behind all that it was doing."""
        try:
            yield
        except (OSError, ValueError) as error:
            reason = re.sub(r"\[\w+='.*", "", _line(error, 10_000)).rsplit(": ", 1)[-1].strip()
            folder = self._directory / str(self._saving)
            raise RunError(f"{folder}: cannot save step {self._saving}: {reason}") from error

    def _write_checksums(self) -> None:
        # The name under which the folder is being written is orbax's own affair, but for its beginning.
        (folder,) = self._directory.glob(f"{self._saving}.*tmp*")
        names = [path.relative_to(folder).as_posix() for path in sorted(folder.glob("*/**/*")) if path.is_file()]
        (folder / CHECKSUMS).write_text(json.dumps(dict(zip(names, _checksums(folder, names), strict=True)), indent=0))

    def _damaged(self, folder: Path, error: Exception) -> RunError:
        return RunError(f"{folder}: damaged checkpoint ({_line(error)})")


def _score(metrics: Mapping[str, float]) -> float:
    return metrics["score"]


def _checksums(folder: Path, names: Sequence[str]) -> list[list[int | str] | None]:
    """Bytes and SHA-256 of files; None for one that cannot be read."""

    def one(name: str) -> list[int | str] | None:
        try:
            with (folder / name).open("rb") as file:
                return [os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()]
        except OSError:
            return None

    with concurrent.futures.ThreadPoolExecutor() as threads:  # Hashing holds no lock of the interpreter.
        return list(threads.map(one, names))


def _find_damage(folder: Path) -> str:
    """What is not as it was written, in words; empty if all is. Several hosts read a share each, and hear the same."""
    try:
        expected = json.loads((folder / CHECKSUMS).read_bytes())
        names, sums = list(expected), list(expected.values())
    except (OSError, ValueError, AttributeError):
        names, sums = [], []
    share = slice(jax.process_index(), None, jax.process_count())
    pairs = zip(_checksums(folder, names[share]), sums[share], strict=True)
    wrong = [i for i, (found, written) in enumerate(pairs) if found != written]
    # Of this host: how many files it was told of, and the first one that is wrong.
    mine = np.array([len(names), wrong[0] * share.step + share.start if wrong else len(names)], np.int32)
    told = multihost_utils.process_allgather(mine) if jax.process_count() > 1 else mine[None]
    if not told[:, 0].all() or len({*told[:, 0].tolist()}) > 1:
        return f"no {CHECKSUMS} that can be read"
    first = int(told[:, 1].min())
    return f"{names[first]} is not as it was written" if first < len(names) else ""


def _set_aside(directory: Path, start: int) -> None:
    """Renames the checkpoints behind a step; nothing is lost."""
    for folder in directory.glob("*") if directory.is_dir() else ():
        if folder.name.isdigit() and int(folder.name) > start:
            names = (f"{folder.name}.damaged" + (f".{i}" if i else "") for i in itertools.count())
            folder.rename(next(folder.with_name(name) for name in names if not folder.with_name(name).exists()))


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


def _line(error: Exception, longest: int = 200) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= longest else text[: longest - 3] + "…"
