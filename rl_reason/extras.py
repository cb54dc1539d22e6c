"""Packages of the extras, of some of which one version is known."""

from __future__ import annotations

from importlib import metadata

from rl_reason.errors import UsageError


def find_version(package: str, extra: str, key: str) -> str:
    """The version that is installed; raises `UsageError` where none is. Arguments as below."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise UsageError(f"{key}: needs the package {package}; expected pip install 'rl_reason[{extra}]'") from None


def check_version(package: str, version: str, extra: str, key: str) -> None:
    """Refuses where a package is not there in the one version that is known.

    Args:
        package: its name.
        version: the one.
        extra: of this project, that installs it.
        key: the setting that needs it.

    Raises:
        UsageError: names `key`.
    """
    found = find_version(package, extra, key)
    if found != version:
        raise UsageError(f"{key}: {package} {found} is installed; expected {version}, the one that is known here")
