"""A grader that waits for something else, as for programs under test or a judge on another machine."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rl_reason.rewards.numeric import marked_number
from rl_reason.rewards.verdict import Verdict

SECONDS = 0.025
"""Of each completion. It takes no processor: on two cores that are also the device, grading that does has to take its
turn whatever the order."""


def waiting(completion: str, problem: Mapping) -> Verdict:
    """`marked_number`, later."""
    time.sleep(SECONDS)
    return marked_number(completion, problem)
