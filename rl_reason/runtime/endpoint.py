"""A client for servers with OpenAI's HTTP API: a vLLM or llama.cpp of one's own, or a service on the network.

A request is tried until it is answered, at most so often; what was answered is kept in a folder, so that it is not
asked (and paid for) again. The key comes from the environment, goes into one header, and stands nowhere else: not in
the cache, and not in an error, even where the server repeats it.
"""

from __future__ import annotations

import email.utils
import hashlib
import json
import os
import random
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rl_reason import settings
from rl_reason.errors import UsageError
from rl_reason.runtime.http_post import NoAnswer, Reply, Watch, post

CHAT, TEXT = "chat/completions", "completions"
"""Where messages go, and where a text goes that is to be continued."""
COUNTS = ("calls", "cache_hits", "retries", "failures", "prompt_tokens", "completion_tokens")
"""Tokens are those of calls that were answered, as the server counts them; an answer from the cache costs none."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds after the first try, and at most, where the server does not say how long."""
PATIENCE = 600.0
"""A server that asks for a longer pause is given up."""
_AGAIN = (408, 409, 425, 429)
"""Statuses, with those from 500 on, of which another try may see the end."""
_REFUSED = (400, 413, 422)
"""Statuses that are about this one request: one with another prompt may be answered."""


@dataclass(frozen=True)
class Answer:
    text: str
    """Of a model that thinks apart from what it says, the thoughts between <think> tags before it."""
    finish: str
    """"stop", "length", or what else the server says."""
    prompt_tokens: int
    completion_tokens: int
    likely: tuple = ()
    """Where the request asked for log-probabilities and the server gives them, of each token (its text, {text that
    could have stood there: log-probability})."""


class EndpointError(Exception):
    """No completion came. The message is one line that names the address and what came instead.

    Args:
        message: the line.
        kind: "unreachable", "timeout", "status", "nonsense" (what was answered is no completion), "refused" (this one
            request; others may do) or "closed".
        again: whether another try may help.
        pause: seconds that the server asks for.
    """

    def __init__(self, message: str, kind: str, again: bool = False, pause: float | None = None):
        super().__init__(message)
        self.kind, self.again, self.pause = kind, again, pause


class Endpoint:
    """A server and what it has been asked. A context manager, used by any number of threads.

    Args:
        options: address, name of the model, and limits.
        group: what holds the options, for error lines.
        seed: of the length of pauses, so that the hosts of a run do not all come back at the same moment.

    Raises:
        UsageError: an option that is wrong, or a key that the environment does not have.
    """

    def __init__(self, options: settings.Endpoint, group: str = "config.endpoint", seed: int = 0):
        check(options, group)
        self._options, self._seed = options, seed
        self._url = options.url.rstrip("/")
        self._key = _read_key(options, group)
        self._cache = Path(options.cache).expanduser() if options.cache else None
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(COUNTS, 0)
        self._is_down = False
        self._closed = threading.Event()
        self._watches: set[Watch] = set()
        self._pool = ThreadPoolExecutor(options.concurrency, thread_name_prefix="endpoint")

    def submit(self, route: str, request: Mapping[str, Any]) -> Future[Answer]:
        """Asks as soon as fewer than `concurrency` requests are under way.

        Args:
            route: `CHAT` or `TEXT`.
            request: JSON values beside `model`: `messages` or `prompt`, `max_tokens`, `temperature`, …

        Returns:
            The answer to come, or an `EndpointError`.
        """
        return self._pool.submit(self._ask, route, {"model": self._options.model, **request})

    def probe(self, route: str, request: Mapping[str, Any]) -> Answer:
        """Asks now, two times at most and past the cache, to see whether there is anybody.

        Raises:
            EndpointError: there is not.
        """
        return self._try(route, {"model": self._options.model, **request}, "", min(self._options.tries, 2))

    def take_counts(self) -> dict[str, int]:
        """How often each of `COUNTS` happened since the last time."""
        with self._lock:
            counts, self._counts = self._counts, dict.fromkeys(COUNTS, 0)
        return counts

    def close(self) -> None:
        """Gives up what is under way."""
        self._closed.set()
        with self._lock:
            for watch in self._watches:
                watch.end()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, route: str, body: dict) -> Answer:
        # Ordered, so that the same request is the same text however it was put together.
        text = json.dumps([f"{self._url}/{route}", self._options.model, body], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if (kept := self._read(digest)) is not None:
            self._count(cache_hits=1)
            return kept
        # While nobody answers, each of what may be thousands of requests is tried once only.
        tries = 1 if self._is_down else self._options.tries
        try:
            answer = self._try(route, body, digest, tries)
        except EndpointError as error:
            self._is_down = error.kind not in ("refused", "closed")
            self._count(failures=1)
            raise
        self._is_down = False
        self._keep(digest, answer)
        return answer

    def _try(self, route: str, body: dict, digest: str, tries: int) -> Answer:
        for number in range(1, tries + 1):
            try:
                return self._once(route, body)
            except EndpointError as error:
                if not error.again or number == tries:
                    raise
                pause = self._pause(number, digest, error)
            self._count(retries=1)
            if self._closed.wait(pause):
                break
        raise EndpointError(f"{self._url}: given up", "closed")

    def _pause(self, number: int, digest: str, error: EndpointError) -> float:
        """Seconds between a try and the next: as the server says, else exponential with up to half taken off."""
        if error.pause is not None:
            if error.pause > PATIENCE:
                raise EndpointError(f"{error}; it asks for a pause of {error.pause:g} s", error.kind)
            return error.pause
        longest = min(FIRST_PAUSE * 2 ** (number - 1), LONGEST_PAUSE)
        return longest * random.Random(f"{self._seed}/{digest}/{number}").uniform(0.5, 1)

    def _once(self, route: str, body: dict) -> Answer:
        url = f"{self._url}/{route}"
        watch = Watch(self._options.timeout)
        with self._lock:
            if self._closed.is_set():
                raise EndpointError(f"{self._url}: given up", "closed")
            self._watches.add(watch)
            self._counts["calls"] += 1
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            with watch:
                reply = post(url, json.dumps(body).encode(), headers, watch)
        except NoAnswer as error:
            raise EndpointError(self._told(f"{url}: {error}"), error.kind, again=True) from None
        finally:
            with self._lock:
                self._watches.discard(watch)
        # What repeats the key is neither shown nor kept.
        content = reply.content.decode("utf-8", "replace")
        content = content.replace(self._key, "[key]") if self._key else content
        if reply.status != 200:
            raise self._bad_status(url, reply, content)
        try:
            answer = _read_answer(content)
        except (ValueError, RecursionError):
            found = f"answered {_short(content)!r}; expected a completion in JSON, `choices` with a text"
            raise EndpointError(f"{url}: {found}", "nonsense", again=True) from None
        self._count(prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens)
        return answer

    def _bad_status(self, url: str, reply: Reply, content: str) -> EndpointError:
        again = reply.status in _AGAIN or reply.status >= 500
        kind = "refused" if reply.status in _REFUSED else "status"
        told = f"{url}: answered with status {reply.status}: {_short(_error_in(content))!r}"
        return EndpointError(self._told(told), kind, again, _retry_after(reply.headers) if again else None)

    def _told(self, line: str) -> str:
        return line.replace(self._key, "[key]") if self._key else line

    def _count(self, **counts: int) -> None:
        with self._lock:
            for name, count in counts.items():
                self._counts[name] += count

    def _file(self, digest: str) -> Path:
        assert self._cache is not None
        return self._cache / digest[:2] / f"{digest}.json"

    def _read(self, digest: str) -> Answer | None:
        """What the cache holds; a file that is not as it was written is none, and is written again."""
        if self._cache is None:
            return None
        try:
            answer = Answer(**json.loads(self._file(digest).read_bytes()))
            # JSON has no tuples.
            answer = replace(answer, likely=tuple((token, dict(others)) for token, others in answer.likely))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        is_whole = isinstance(answer.text, str) and isinstance(answer.finish, str)
        return answer if is_whole else None

    def _keep(self, digest: str, answer: Answer) -> None:
        if self._cache is None:
            return
        file = self._file(digest)
        file.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own: threads, processes and hosts may write the same answer at the same time.
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".", suffix=".tmp", delete=False) as made:
            made.write(json.dumps(asdict(answer)))
        os.replace(made.name, file)


def check(options: settings.Endpoint, group: str) -> None:
    """What is wrong with the options, without a word to the server.

    Raises:
        UsageError: names the key, below `group`.
    """
    if "@" in options.url:
        raise UsageError(f"{group}.url: holds a user's name (not shown); expected {group}.key_variable")
    try:
        parts = urllib.parse.urlsplit(options.url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port that is none
        is_address = False
    if not is_address or not options.url.isascii() or set(options.url) & set("?# \r\n\t"):
        raise UsageError(f"{group}.url={options.url!r}: expected the API's root, such as 'http://127.0.0.1:8000/v1'")
    if not options.model:
        raise UsageError(f"{group}.model='': expected the name by which {options.url} knows the model")
    name = options.key_variable
    if name and not (name.isascii() and name.isidentifier() and name.isupper()):
        # Somebody may have written the key itself.
        raise UsageError(
            f"{group}.key_variable: expected the name of an environment variable, in capitals; found something else "
            "(not shown)"
        )
    if not 0 < options.timeout < float("inf"):
        raise UsageError(f"{group}.timeout={options.timeout!r}: expected seconds, more than 0")
    for key in ("tries", "concurrency"):
        if getattr(options, key) < 1:
            raise UsageError(f"{group}.{key}={getattr(options, key)!r}: expected at least 1")
    if options.cache:
        place = Path(options.cache).expanduser()
        there = next(one for one in (place, *place.absolute().parents) if one.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise UsageError(f"{group}.cache={options.cache!r}: expected a folder that can be written to")


def _read_key(options: settings.Endpoint, group: str) -> str:
    if not options.key_variable:
        return ""
    key = os.environ.get(options.key_variable, "")
    if not key:
        raise UsageError(f"{group}.key_variable={options.key_variable!r}: the environment has no such variable")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(
            f"{group}.key_variable={options.key_variable!r}: the variable holds what cannot stand in a header (not "
            "shown); expected a key without spaces and line ends"
        )
    return key


def _read_answer(content: str) -> Answer:
    """Raises `ValueError` for what is no completion."""
    made = json.loads(content)
    choices = made.get("choices") if isinstance(made, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise ValueError
    message = choice.get("message")
    said = message if isinstance(message, dict) else choice
    text = said.get("content") if said is message else said.get("text")
    thought = said.get("reasoning_content") or said.get("reasoning")
    finish = choice.get("finish_reason")
    if text is None and finish == "length":  # All of its tokens went into thoughts.
        text = ""
    if not isinstance(text, str):
        raise ValueError
    if isinstance(thought, str) and thought.strip():
        text = f"<think>\n{thought.strip()}\n</think>\n\n{text}"
    usage = made.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    tokens = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    counted = [count if isinstance(count, int) and count >= 0 else 0 for count in tokens]
    ended = finish if isinstance(finish, str) else "stop"
    return Answer(text, ended, counted[0], counted[1], _read_likely(choice.get("logprobs")))


def _read_likely(made: Any) -> tuple:
    """The log-probabilities of a choice, as chats have them or as texts do; nothing where they are of no such form."""
    try:
        if made.get("content") is not None:
            return tuple(
                (one["token"], {x["token"]: float(x["logprob"]) for x in one["top_logprobs"]})
                for one in made["content"]
            )
        return tuple(
            (token, {text: float(x) for text, x in (others or {}).items()})
            for token, others in zip(made["tokens"], made["top_logprobs"], strict=True)
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return ()


def _error_in(content: str) -> str:
    """What a server says of an error: its message where there is one, else all of it."""
    try:
        error = json.loads(content)["error"]
        told = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError, RecursionError):
        return content
    return told if isinstance(told, str) else content


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, which the header says as a number or as a moment."""
    text = headers.get("Retry-After")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(seconds, 0.0) if seconds == seconds else None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]}…"
