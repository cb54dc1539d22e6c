"""`rl_reason.train`, which writes into the file `PHASE` what begins: "step 3, reward"."""

import os
from pathlib import Path

from rl_reason import train
from rl_reason.errors import run_command
from rl_reason.runtime.watchdog import Watchdog

_feed = Watchdog.feed


def _told(self: Watchdog, what: str) -> None:
    _feed(self, what)
    Path(os.environ["PHASE"]).write_text(what)


if __name__ == "__main__":
    Watchdog.feed = _told  # type: ignore[method-assign]
    run_command(train.main)
