"""Functions by name: a short name from a table, or `package.module:function` of the user's own."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from rl_reason.errors import UsageError, nearest


def resolve(name: str, table: Mapping[str, Callable], key: str) -> Callable:
    """The function that `name` stands for.

    Args:
        name: a key of `table`, or `package.module:function`.
        table: the short names.
        key: the config key or flag that held the name, for the error line.

    Raises:
        UsageError: the name is neither in the table nor importable.
    """
    if name in table:
        return table[name]
    module_name, colon, attribute = name.partition(":")
    if not colon:
        raise UsageError(f"{key}={name!r}: unknown name{nearest(name, table)} (or package.module:function)")
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{key}={name!r}: cannot import it: {error}") from error
    if not callable(function):
        raise UsageError(f"{key}={name!r}: expected a function, got {type(function).__name__}")
    return function
