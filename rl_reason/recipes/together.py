"""Policy-gradient runs of small models that are computed in one program (`parallel.company`).

They may differ in their seed, in numbers that the compiled functions read, and in what the host alone reads; a number
is 0 in all of them or in none, as 0 leaves a term out. Each is the ordinary run with a folder of its own, which
`rl_reason.train` would go on with.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import operator
from collections.abc import Sequence
from pathlib import Path

import jax

from rl_reason.errors import RunError, UsageError
from rl_reason.parallel.company import Company
from rl_reason.recipes import policy_gradient
from rl_reason.recipes.checks.policy_gradient import check_policy_gradient
from rl_reason.rewards.combination import JUDGE, Rewarder
from rl_reason.runtime.checkpoints import Checkpoints
from rl_reason.runtime.workdir import Workdir
from rl_reason.settings import Settings

NUMBERS = (
    "algorithm.learning_rate",
    "algorithm.weight_decay",
    "algorithm.b1",
    "algorithm.b2",
    "algorithm.adam_eps",
    "algorithm.kl_coef",
    "algorithm.clip_low",
    "algorithm.clip_high",
    "algorithm.entropy_coef",
    "algorithm.sapo_positive",
    "algorithm.sapo_negative",
    "algorithm.correction_limit",
    "sampling.temperature",
)
"""What compiled functions may read as a traced number."""
ON_HOST = ("seed", "algorithm.advantage", "algorithm.ddof", "algorithm.eps", "algorithm.reduction")
"""What no compiled function reads."""
MAY_DIFFER = (*ON_HOST, *NUMBERS)
DEFAULTS_ONLY = (
    "critic.kind",
    "retraining.steps",
    "reward.model",
    "reward.instruction_model",
    "algorithm.resample",
    "sampling.ahead",
    "model.lora_rank",
    "model.lora_path",
    "model.offload",
    "profile",
)
"""What would let runs go out of step, or needs another model, or a place that there is once."""

Run = tuple[Settings, Path]
"""Settings, and the folder."""


def check(settings: Settings) -> None:
    """Tells what cannot be computed together with anything.

    Raises:
        UsageError: names the key.
    """
    recipe, names = settings.recipe, settings.reward.names
    if recipe != "policy_gradient":
        raise UsageError(f"config.recipe={recipe!r}: is not computed together; expected 'policy_gradient'")
    for key in DEFAULTS_ONLY:
        value, default = (operator.attrgetter(key)(one) for one in (settings, Settings()))
        if value != default:
            raise UsageError(f"config.{key}={value!r}: is not computed together; expected its default {default!r}")
    if JUDGE in names:
        raise UsageError(f"config.reward.names={names!r}: {JUDGE!r} is not asked together; expected rules alone")
    if not settings.model.path:
        raise UsageError("config.model.path='': each seed would make its own tokenizer; expected a folder")
    if settings.model.attention not in ("auto", "xla"):
        raise UsageError(f"config.model.attention={settings.model.attention!r}: expected 'xla' for runs together")


def groups(runs: Sequence[Run], most: int) -> list[list[int]]:
    """Which runs can be computed together, as places in `runs`: in order, `most` of them at most, about as many in each
    of the groups that this cuts one into. Those that stand behind different checkpoints do not go in step."""
    found: dict[str, list[int]] = {}
    for place, (settings, folder) in enumerate(runs):
        found.setdefault(f"{shared(settings)} {_newest_step(folder)}", []).append(place)
    made = []
    for members in found.values():
        parts = -(-len(members) // most)
        made += [members[len(members) * i // parts : len(members) * (i + 1) // parts] for i in range(parts)]
    return made


def shared(settings: Settings) -> str:
    """What runs have in common that can be computed together."""
    values = dataclasses.asdict(settings)
    for key in MAY_DIFFER:
        *path, name = key.split(".")
        group = functools.reduce(operator.getitem, path, values)
        group[name] = key in NUMBERS and group[name] != 0
    return json.dumps(values, sort_keys=True)


def _newest_step(folder: Path) -> int:
    checkpoints = Workdir(folder).checkpoints
    if not checkpoints.is_dir():
        return 0
    with Checkpoints(checkpoints, keep=0, read_only=True) as found:
        return max(found.steps(), default=0)


def run(runs: Sequence[Run]) -> None:
    """Trains a group of `groups`, each run as its settings say, in its folder; resumes what is there.

    Raises:
        UsageError: settings that cannot be computed together.
        RunError: a run failed; the others stand behind their newest checkpoints.
    """
    if jax.device_count() > 1:
        raise UsageError(f"runs together: expected one device, found {jax.device_count()}")
    for settings, _ in runs:
        check(settings)
        check_policy_gradient(settings)
    first = runs[0][0]
    values = {key: [operator.attrgetter(key)(settings) for settings, _ in runs] for key in NUMBERS}
    differing = [key for key, of_runs in values.items() if len(set(of_runs)) > 1]
    company = Company([{key: values[key][member] for key in differing} for member in range(len(runs))])
    with Rewarder(first.reward, first.judge) as rewarder:
        company.run([functools.partial(_train, settings, folder, rewarder) for settings, folder in runs])


def _train(settings: Settings, folder: Path, rewarder: Rewarder) -> None:
    try:
        policy_gradient.train(settings, folder, rewarder)
    except (UsageError, RunError) as error:
        raise type(error)(f"{folder}: {error}") from error
