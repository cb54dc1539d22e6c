"""The settings of runs beside each other, beside the defaults and beside what the presets would set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from rl_reason import presets, settings
from rl_reason.runtime.report.folders import Run

POLICY_GRADIENT = "policy_gradient"
"""The recipe that presets are settings of."""


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted key → value, texts as they are and all else as JSON."""
    rows: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            rows |= flat(value, f"{prefix}{key}.")
        else:
            rows[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return rows


def compare_configs(runs: Sequence[Run]) -> dict[str, Any]:
    """What the page's table of settings is made of.

    Returns:
        `keys`: of any run, in their order; `runs`: of each run `values` (key → text), `defaults` (key → default, where
        the run's value is another), `presets` (preset → key → what it would set, where that is another) and `preset`,
        the one that the run was given or, where it was given none, that it differs least from; "" where there is none;
        `given`; `hasDefaults`.
    """
    made = [_of_run(run) for run in runs]
    keys = list(dict.fromkeys(key for one in made for key in one["values"]))
    return {"keys": keys, "runs": made}


def _of_run(run: Run) -> dict[str, Any]:
    values = flat(run.config)
    if run.kind == "evaluation":
        return {"values": values, "hasDefaults": False, "defaults": {}, "presets": {}, "preset": "", "given": ""}
    of_presets: dict[str, dict[str, str]] = {}
    if run.config.get("recipe", POLICY_GRADIENT) == POLICY_GRADIENT:
        config = _as_config(run.config)
        of_presets = {name: _others(values, _with_preset(config, name)) for name in presets.PRESETS}
    given = _given_preset(run.environment)
    nearest = min(of_presets, key=lambda name: len(of_presets[name]), default="")
    return {
        "values": values,
        "hasDefaults": True,
        "defaults": _others(values, _defaults(run.config)),
        "presets": of_presets,
        "preset": given if given in of_presets else nearest,
        "given": given,
    }


def _others(values: Mapping[str, str], reference: Mapping[str, str]) -> dict[str, str]:
    """What the reference says of keys that both have and that differ."""
    return {key: reference[key] for key in values if key in reference and values[key] != reference[key]}


def _defaults(config: Mapping[str, Any]) -> dict[str, str]:
    """Of all keys, and of those of each stage of a pipeline."""
    made = flat(settings.defaults().to_dict())
    of_stage = {f"stages.{name}.{key}": value for name in config.get("stages") or () for key, value in made.items()}
    return made | of_stage


def _as_config(config: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """The run's settings as presets change them; keys that the run does not know stand at their defaults."""
    known = settings.defaults().to_dict()
    for group, values in config.items():
        if isinstance(values, Mapping) and isinstance(known.get(group), dict):
            known[group] |= {key: value for key, value in values.items() if key in known[group]}
        elif group in known:
            known[group] = values
    return ml_collections.ConfigDict(known)


def _with_preset(config: ml_collections.ConfigDict, name: str) -> dict[str, str]:
    changed = ml_collections.ConfigDict(config.to_dict())
    # What came from JSON may be an integer where a preset sets a float.
    with changed.ignore_type():
        presets.apply(changed, name)
    return flat(changed.to_dict())


def _given_preset(environment: Mapping[str, Any]) -> str:
    """Of the command that the run was started with (`runtime.environment`)."""
    words = [str(word) for word in environment.get("command") or []]
    found = [*zip(words, words[1:], strict=False), *(word.partition("=")[::2] for word in words)]
    return next((value for flag, value in found if flag == "--preset" and value), "")
