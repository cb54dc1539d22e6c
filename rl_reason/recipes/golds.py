"""Whether the rewards can judge by the problems of a data set: asked when it is loaded, before anything is written."""

from __future__ import annotations

import dataclasses
import logging

from rl_reason.data import sources
from rl_reason.errors import RunError, UsageError
from rl_reason.parallel import hosts
from rl_reason.recipes.evaluation import HeldOut
from rl_reason.rewards.combination import Rewarder
from rl_reason.runtime.progress import late_progress

log = logging.getLogger(__name__)


def readable(rewarder: Rewarder, data: HeldOut, unreadable: str | None = None) -> HeldOut:
    """The data set without the problems whose answers (of geometry: statements) the rewards cannot read. Each host asks
    its share.

    Args:
        rewarder: whose rewards they are.
        data: of its problems, those that have a prompt.
        unreadable: "error"; "drop": leave such problems out and log which; None: an error where nothing is dropped.

    Raises:
        UsageError: there are some, names the first one; or no other ("drop").
    """
    mine = hosts.share(len(data.prompts))
    problems = [data.problems[prompt.index] for prompt in data.prompts[mine]]
    try:
        with late_progress(f"check answers of {data.name}", len(problems), enabled=hosts.is_first()) as advance:
            found = rewarder.check_golds(problems, advance)
        told = hosts.gather([[mine.start + index, reason] for index, reason in found.items()])
    except RunError as error:  # All hosts end with the line of the first that has one.
        told = hosts.gather(str(error))
    if errors := [one for one in told if isinstance(one, str)]:
        raise RunError(errors[0])
    reasons = dict(pair for one in told for pair in one)
    if not reasons:
        return data
    first, *others = (data.problems[data.prompts[index].index] for index in sorted(reasons))
    place = f"config.data.name={data.name!r}{sources.place_of(data.name, first)}"
    line = f"{place}: problem {first['id']!r}: {reasons[min(reasons)]}"
    more = f"; {len(others)} more like it" if others else ""
    if unreadable != "drop":
        hint = ", or config.data.unreadable='drop'" if unreadable else ""
        raise UsageError(f"{line}{more}; expected problems that it can judge by{hint}")
    listed = more and f"{more}: {', '.join(repr(problem['id']) for problem in others)}"
    log.warning("dropped %d of %d problems: %s%s", len(reasons), len(data.prompts), line, listed)
    kept = [prompt for index, prompt in enumerate(data.prompts) if index not in reasons]
    if not kept:
        raise UsageError(f"{line}{more}; no problem is left")
    return dataclasses.replace(data, prompts=kept)
