"""Config files and their overrides on the command line: `--config=FILE[:VARIANT] --config.key=value --workdir=DIR`.

A config file is a Python file with `get_config(variant: str = "")` that returns an `ml_collections.ConfigDict`.
The overrides are parsed by `ml_collections.config_flags`, by the type of the value that they replace.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_collections
from absl import flags as absl_flags
from ml_collections import config_flags

from rl_reason import presets
from rl_reason.errors import UsageError, nearest
from rl_reason.runtime.flags import REQUIRED, Spec, parse_flags, split_flags
from rl_reason.settings import Settings

_MODULE = "rl_reason_config_file"
EACH_STAGE = "stages.*."
Override = tuple[str, str | None]
Reads = Callable[[Mapping[str, Any], str], bool]
"""(all settings of a stage, one of their keys) → whether its recipe reads what stands there."""

_FLAGS: Spec = {
    "config": (str, REQUIRED, "a config file, FILE or FILE:VARIANT; --config.KEY=VALUE changes one of its keys"),
    "preset": (str, "", f"a method's settings, before --config.KEY=VALUE: {', '.join(presets.PRESETS)}"),
    "workdir": (str, "", "folder of the run; empty: runs/<name of the config file>[-<variant>][-<preset>]"),
}


class Loaded(NamedTuple):
    settings: Settings
    config: ml_collections.ConfigDict
    flags: dict[str, Any]
    """`workdir` (never empty), `config` as written, and the flags of `spec`."""


def load(
    argv: Sequence[str], spec: Spec | None = None, description: str = "", reads: Reads = lambda stage, key: True
) -> Loaded:
    """The settings that a command line asks for.

    Args:
        argv: arguments, without the program's name.
        spec: further flags of the command (`runtime.flags.Spec`).
        description: printed by "--help".
        reads: see `apply`.

    Returns:
        The typed settings, the ConfigDict they come from (locked), and the other flags.

    Raises:
        UsageError: anything wrong with the flags, the file, a key or a value.
    """
    spec = {**_FLAGS, **(spec or {})}
    plain, overrides = _separate(argv, spec)
    flags = parse_flags(plain, spec, description)
    path, _, variant = flags["config"].partition(":")
    config = read(path, variant)
    if flags["preset"]:
        presets.apply(config, flags["preset"])
    apply(config, overrides, reads)
    settings = Settings.from_config(config)
    flags["workdir"] = flags["workdir"] or default_workdir(path, variant, flags["preset"])
    return Loaded(settings, config.lock(), flags)


def read(path: str, variant: str = "") -> ml_collections.ConfigDict:
    """Runs a config file's `get_config(variant)`.

    Raises:
        UsageError: no such file, the file raises, or it has no such variant.
    """
    flag = f"--config={path}" + (f":{variant}" if variant else "")
    try:
        # Compiled here rather than imported: no stale bytecode of an edited file, and no folder beside it.
        code = compile(Path(path).read_bytes(), path, "exec")
    except OSError as error:
        # Where the package is installed without its repository, the commands of the documents find none.
        missing = isinstance(error, FileNotFoundError) and Path(path).parts[:1] == ("configs",)
        where = "; configs/ is a folder of the project's repository: expected the way to it" if missing else ""
        raise UsageError(f"{flag}: cannot read the config file: {error.strerror or error}{where}") from error
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UsageError(f"{flag}: not a Python file{line}: {_one_line(error)}") from error
    module = types.ModuleType(_MODULE)
    module.__file__ = path
    sys.modules[_MODULE] = module  # Where dataclasses that the file defines look their annotations up.
    try:
        exec(code, module.__dict__)
        get_config = getattr(module, "get_config", None)
        if not callable(get_config):
            raise UsageError("expected a function get_config(variant) in the file")
        config = get_config(variant) if variant else get_config()
    except UsageError as error:
        raise UsageError(f"{flag}: {error}") from error
    except Exception as error:
        raise UsageError(f"{flag}: the file raises{_where(error, path)}: {_explain(error)}") from error
    if not isinstance(config, ml_collections.ConfigDict):
        raise UsageError(f"{flag}: get_config returned {type(config).__name__}, expected a ConfigDict")
    return config


def check_variant(variant: str, known: Iterable[str]) -> None:
    """For `get_config`: raises `UsageError` unless `variant` is empty or one of `known`."""
    known = list(known)
    if variant and variant not in known:
        raise UsageError(f"unknown variant {variant!r}{nearest(variant, known)}")


def split_number(variant: str, name: str, default: int) -> tuple[str, int]:
    """For `get_config`: a variant without its part `NAME=N`, parts being separated by commas, and N, at least 1.

    Raises:
        UsageError: N is no such number.
    """
    parts = variant.split(",")
    numbers = [part.partition("=")[2] for part in parts if part.startswith(f"{name}=")]
    if not numbers:
        return variant, default
    if len(numbers) > 1 or not numbers[0].isdecimal() or not int(numbers[0]):
        raise UsageError(f"variant {variant!r}: expected one {name}=N, a number of at least 1")
    return ",".join(part for part in parts if not part.startswith(f"{name}=")), int(numbers[0])


def apply(
    config: ml_collections.ConfigDict, overrides: Sequence[Override], reads: Reads = lambda stage, key: True
) -> None:
    """Changes `config` in place by overrides (key path without "config.", text), in order.

    "stages.*.KEY" is that key of each stage of a pipeline whose recipe reads it, as `reads` tells.

    Raises:
        UsageError: an unknown key, a text that does not fit the type of the key, or a key that no stage reads.
    """
    # One at a time: an error belongs to one key, and a key may lie inside a free-form group that was just assigned.
    for key, text in overrides:
        if key.startswith(EACH_STAGE):
            _apply_to_stages(config, key, text, reads)
        else:
            _apply_one(config, key, text)


def _apply_one(config: ml_collections.ConfigDict, key: str, text: str | None) -> None:
    _check_key(config, key)
    value = _get(config, key)
    if isinstance(value, ml_collections.ConfigDict) and _within_stage(key) not in _free_form():
        raise UsageError(f"--config.{key}={text!r}: a group of keys, expected --config.{key}.KEY=VALUE")
    if text is None and not isinstance(value, bool):
        raise UsageError(f"--config.{key}: expected a value, as in --config.{key}=VALUE")
    argv = ["", f"--config.{key}" + ("" if text is None else f"={text}")]
    flags = absl_flags.FlagValues()
    try:
        with config.unlocked():
            # New attributes are those of free-form groups: `_check_key` has refused all others.
            config_flags.DEFINE_config_dict(
                "config", config, flag_values=flags, sys_argv=argv, lock_config=False, accept_new_attributes=True
            )
            flags(argv)
    except (absl_flags.Error, TypeError, ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise UsageError(f"--config.{key}={text!r}: expected {_expected(value)}") from error


def _apply_to_stages(config: ml_collections.ConfigDict, key: str, text: str | None, reads: Reads) -> None:
    if not config.stages:
        raise UsageError(f"--config.{key}={text!r}: config.stages is empty; expected a pipeline")
    within = key.removeprefix(EACH_STAGE)
    unread = 0
    for name in config.pipeline.stages:
        before = config.stages[name].copy_and_resolve_references()
        _apply_one(config, f"stages.{name}.{within}", text)
        if not reads(config.stages[name].to_dict(), within):
            unread += 1
            with config.unlocked():
                config.stages[name] = before
    if unread == len(config.pipeline.stages):
        raise UsageError(f"--config.{key}={text!r}: no stage reads it; expected a key that one of them reads")


def default_workdir(path: str, *parts: str) -> str:
    """`runs/<stem>` for a config file, with its variant and preset behind: `runs/<stem>-<variant>-<preset>`."""
    return str(Path("runs") / "-".join([Path(path).stem, *filter(None, parts)]))


def _separate(argv: Sequence[str], spec: Spec) -> tuple[list[str], list[Override]]:
    """The plain flags as "--name=text", and the overrides as (key path, text)."""
    switches = {name for name, (kind, _, _) in spec.items() if kind is bool}
    plain, overrides = [], []
    for name, text in split_flags(argv, switches | {f"no{name}" for name in switches} | {"help", "h"}):
        head, dot, key = name.partition(".")
        if dot and head in ("config", "noconfig"):
            if not key:
                raise UsageError(f"--{name}: expected a key, as in --config.steps=10")
            overrides.append((key, "false" if head == "noconfig" and text is None else text))
        else:
            plain.append(f"--{name}" if text is None else f"--{name}={text}")
    return plain, overrides


def _free_form() -> set[str]:
    """Paths of the groups that take any key: the fields of `Settings` that are plain dictionaries."""
    paths = set()
    for group in dataclasses.fields(Settings):
        if dataclasses.is_dataclass(group.default):
            paths |= {f"{group.name}.{f.name}" for f in dataclasses.fields(group.default) if f.default_factory is dict}
    return paths


def _within_stage(key: str) -> str:
    """The key, of one of a stage what it is within the stage."""
    return re.sub(r"^stages\.\w+\.", "", key)


def _check_key(config: ml_collections.ConfigDict, key: str) -> None:
    group: Any = config
    parts = key.split(".")
    for depth, part in enumerate(parts):
        prefix = ".".join(parts[:depth])
        known = list(group) if isinstance(group, ml_collections.ConfigDict) else []
        if part not in known:
            last = depth == len(parts) - 1
            if last and _within_stage(prefix) in _free_form() and re.fullmatch(r"\w+", part):
                return
            where = f"config.{prefix}" if prefix else "config"
            if not isinstance(group, ml_collections.ConfigDict):
                raise UsageError(f"--config.{key}: unknown key, {where} is of type {type(group).__name__}")
            raise UsageError(f"--config.{key}: unknown key{nearest(part, known) if known else f', {where} is empty'}")
        group = group[part]


def _get(config: ml_collections.ConfigDict, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, ml_collections.ConfigDict) else None
    return value


def _expected(value: Any) -> str:
    return "dict" if isinstance(value, ml_collections.ConfigDict) else type(value).__name__


def _one_line(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) and error.msg else str(error)
    return " ".join(text.split())[:300] or type(error).__name__


def _explain(error: Exception) -> str:
    """One line; for an assignment to a key that does not exist, without the list of all that do."""
    text = str(error)
    unknown = re.search(r'Key \\?"(.+?)\\?" does not exist', text)
    if unknown:
        close = re.search(r'Did you mean \\?"(.+?)\\?"', text)
        return f"unknown key {unknown[1]!r}" + (f"; did you mean {close[1]!r}?" if close else "")
    return f"{type(error).__name__}: {_one_line(error)}"


def _where(error: Exception, path: str) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f" in line {lines[-1]}" if lines else ""
