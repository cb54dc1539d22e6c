"""A model behind a server as a reward: it is told of a problem and a completion, and says a score from 0 to 1.

It is asked from this process and not from the workers: nothing that comes back is run, a wait takes no processor, and
so the key stays where it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rl_reason import settings
from rl_reason.errors import UsageError
from rl_reason.runtime import endpoint
from rl_reason.runtime.endpoint import Endpoint, EndpointError
from rl_reason.runtime.workers import Outcome

GROUP = "config.judge"
_PLACE = re.compile(r"\{(problem|completion|answer)\}")
_LINE = re.compile(r"^[\W_]*score[\W_]*:(.*)$", re.IGNORECASE | re.MULTILINE)
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")


def check_options(options: settings.Judge) -> None:
    """What is wrong with the settings, without a word to the server.

    Raises:
        UsageError: names the key.
    """
    endpoint.check(options, GROUP)
    if "{completion}" not in options.instructions:
        raise UsageError(f"{GROUP}.instructions={options.instructions[:80]!r}: expected a text with {{completion}}")
    if options.max_tokens < 1:
        raise UsageError(f"{GROUP}.max_tokens={options.max_tokens!r}: expected at least 1")


def write(instructions: str, completion: str, problem: Mapping) -> str:
    """The instructions with the texts in their places. What stands in braces inside of these texts stays as it is."""
    texts = {"problem": problem.get("problem"), "answer": problem.get("answer"), "completion": completion}
    return _PLACE.sub(lambda place: "" if texts[place[1]] is None else str(texts[place[1]]), instructions)


def read_score(said: str) -> float:
    """The number of the last line `score: X`, whatever emphasis stands around it.

    Raises:
        ValueError: there is no such line, or what stands there is no number from 0 to 1.
    """
    lines = _LINE.findall(said)
    text = lines[-1].strip().strip("*_` ") if lines else ""
    if not _NUMBER.fullmatch(text) or not float(text) <= 1:
        found = f"score:{lines[-1]}" if lines else " ".join(said.split())[-100:]
        raise ValueError(f"said {found[:100]!r}, expected a line 'score: X' with a number from 0 to 1")
    return float(text)


class Judge:
    """Asks the server. A context manager.

    Args:
        options: the server, and what it is told.

    Raises:
        UsageError: wrong settings; or the server does not answer, or with what is no score.
    """

    def __init__(self, options: settings.Judge):
        check_options(options)
        self._options = options
        self._endpoint = Endpoint(options, GROUP)
        try:
            self._try_out()
        except BaseException:
            self.close()
            raise

    def _try_out(self) -> None:
        request = self._request("1 + 1 = 2", {"problem": "What is 1 + 1?", "answer": "2"})
        try:
            read_score(self._endpoint.probe(endpoint.CHAT, request).text)
        except EndpointError as error:
            raise UsageError(f"{GROUP}.url={self._options.url!r}: {error}") from None
        except ValueError as error:
            raise UsageError(
                f"{GROUP}.model={self._options.model!r}: {error}, as config.judge.instructions ask"
            ) from None

    def begin(
        self, completions: Sequence[str], problems: Sequence[Mapping]
    ) -> Callable[[Callable[[int], None] | None], list[Outcome]]:
        """Asks about each completion of the problem at the same index. What it returns waits: for a score each, or why
        there is none; it tells its argument of each that came."""
        requests = [self._request(*one) for one in zip(completions, problems, strict=True)]
        asked = [self._endpoint.submit(endpoint.CHAT, request) for request in requests]

        def wait(progress: Callable[[int], None] | None) -> list[Outcome]:
            made = []
            for answer in asked:
                try:
                    made.append(Outcome("ok", read_score(answer.result().text)))
                except EndpointError as error:
                    made.append(Outcome("timeout" if error.kind == "timeout" else "error", message=str(error)))
                except ValueError as error:
                    made.append(Outcome("error", message=f"the judge {error}"))
                if progress is not None:
                    progress(1)
            return made

        return wait

    def _request(self, completion: str, problem: Mapping) -> dict[str, Any]:
        told = write(self._options.instructions, completion, problem)
        return {
            "messages": [{"role": "user", "content": told}],
            "max_tokens": self._options.max_tokens,
            "temperature": 0.0,
        }

    def take_counts(self) -> dict[str, int]:
        """`Endpoint.take_counts`."""
        return self._endpoint.take_counts()

    def close(self) -> None:
        self._endpoint.close()
