"""Completions of problems, drawn from a server with OpenAI's API in place of a model that runs here."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import jax

from rl_reason.data.templates import Template
from rl_reason.errors import RunError, UsageError
from rl_reason.parallel import hosts
from rl_reason.recipes.evaluation import Completed, HeldOut, grade_records
from rl_reason.rewards.combination import Rewarder
from rl_reason.runtime.endpoint import CHAT, TEXT, Answer, Endpoint, EndpointError
from rl_reason.settings import Settings

AHEAD = 8
"""Batches that are asked for before the first of them is needed: one slow answer does not keep the server waiting."""
MOST_STOPS = 4
"""Texts that OpenAI's API takes as ends of a completion; all of them are looked for here."""
TRIED_TOKENS = 16
REFUSED = "refused"
"""How a sample ends that the server does not want to draw: too long for it, or against its rules."""


class Server:
    """A server as the policy of a generation. Hosts ask their shares of each batch.

    Args:
        settings: of the run; `endpoint`, `sampling` and `collect.samples` are read.
        template: of prompts. Messages are sent as a chat; a text as a text to be continued.
        stops: texts at which the completions of a problem end.

    Raises:
        UsageError: wrong settings.
    """

    def __init__(self, settings: Settings, template: Template, stops: Callable[[Mapping], Sequence[str]]):
        self._settings, self._template, self._stops = settings, template, stops
        self._endpoint = Endpoint(settings.endpoint, seed=settings.seed)
        self.asked: Counter[str] = Counter()
        """What all hosts together have asked (`runtime.endpoint.COUNTS`)."""

    def try_out(self, problem: Mapping, wanted: int) -> None:
        """Draws the beginning of a completion, before the `wanted` ones.

        Raises:
            UsageError: nobody is there, or does what is asked; the same on all hosts.
        """
        route, request = self._request(problem, 0)
        told = ""
        try:
            self._endpoint.probe(route, request | {"max_tokens": min(TRIED_TOKENS, request["max_tokens"])})
        except EndpointError as error:
            told = (
                f"config.endpoint.url={self._settings.endpoint.url!r}: {error}; none of {wanted} samples was asked "
                "for, expected a server that answers"
            )
        if told := next(filter(None, hosts.gather(told)), ""):
            raise UsageError(told)

    def _request(self, problem: Mapping, sample: int) -> tuple[str, dict[str, Any]]:
        sampling, prompt = self._settings.sampling, self._template(problem)
        told = f"{self._settings.seed}/{problem['id']}/{sample}".encode()
        request = {
            **({"prompt": prompt} if isinstance(prompt, str) else {"messages": prompt}),
            "max_tokens": sampling.max_length,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": int.from_bytes(hashlib.sha256(told).digest()[:4]) >> 1,
        }
        if stops := list(self._stops(problem)):
            request["stop"] = stops[:MOST_STOPS]
        return (TEXT if isinstance(prompt, str) else CHAT), request

    def batches(self, questions: HeldOut, rewarder: Rewarder, done: int) -> Iterator[list[dict]]:
        """Samples and grades all questions but the first `done`: records of whole questions.

        Raises:
            RunError: the server is gone, or talks nonsense, after all tries. What was whole before came before.
        """
        samples, count = self._settings.collect.samples, len(questions.prompts)
        at_once = jax.process_count() * self._settings.endpoint.concurrency
        per_batch = max(at_once // samples, 1)
        waiting: deque[tuple[int, list[Future[Answer]]]] = deque()
        for start in range(done, count, per_batch):
            waiting.append((start, self._submit(questions, start, min(start + per_batch, count))))
            if len(waiting) == AHEAD:
                yield from self._finish(questions, rewarder, *waiting.popleft())
        while waiting:
            yield from self._finish(questions, rewarder, *waiting.popleft())

    def _submit(self, questions: HeldOut, start: int, end: int) -> list[Future[Answer]]:
        """This host's share of the samples of some questions."""
        samples = self._settings.collect.samples
        draws = [(q, sample) for q in range(start, end) for sample in range(samples)]
        problems = [questions.problems[questions.prompts[q].index] for q, _ in draws]
        mine = hosts.share(len(draws))
        requests = [self._request(problem, draw[1]) for problem, draw in zip(problems[mine], draws[mine], strict=True)]
        return [self._endpoint.submit(route, request) for route, request in requests]

    def _finish(
        self, questions: HeldOut, rewarder: Rewarder, start: int, mine: Sequence[Future[Answer]]
    ) -> Iterator[list[dict]]:
        """Waits for a batch, puts the hosts' shares together, grades them."""
        samples = self._settings.collect.samples
        drawn, broken = _wait(mine)
        told = hosts.gather([drawn, broken, self._endpoint.take_counts()])
        for _, _, counts in told:
            self.asked.update(counts)
        made: list[dict] = []
        for of_host, reason, _ in told:
            made += of_host
            if reason:
                break
        whole = len(made) // samples * samples
        if whole:
            yield self._grade(questions, rewarder, start, made[:whole])
        if broken := next((reason for _, reason, _ in told if reason), ""):
            kept, wanted = start * samples + whole, len(questions.prompts) * samples
            raise RunError(
                f"config.endpoint.url={self._settings.endpoint.url!r}: {broken}; {kept} of {wanted} samples are kept, "
                "expected a server that answers; the same command goes on"
            )

    def _grade(self, questions: HeldOut, rewarder: Rewarder, start: int, made: Sequence[dict]) -> list[dict]:
        samples, completed = self._settings.collect.samples, []
        for row, one in enumerate(made):
            index = questions.prompts[start + row // samples].index
            problem = questions.problems[index]
            text, finish = one["text"], one["finish"]
            if found := [place for place in map(text.find, self._stops(problem)) if place >= 0]:
                text, finish = text[: min(found)], "stop"
            completed.append(Completed(index, row % samples, self._template(problem), text, finish))
        records = grade_records(questions, rewarder, completed)
        for record, one in zip(records, made, strict=True):
            if one["finish"] == REFUSED:
                record["failure"] = {"part": "endpoint", "kind": REFUSED, "message": one["told"]}
        return records

    def close(self) -> None:
        self._endpoint.close()


def _wait(asked: Sequence[Future[Answer]]) -> tuple[list[dict], str]:
    """The answers, and where the server broke down those before it and why."""
    drawn: list[dict] = []
    for one in asked:
        try:
            answer = one.result()
        except EndpointError as error:
            if error.kind != REFUSED:
                return drawn, str(error)
            drawn.append({"text": "", "finish": REFUSED, "told": str(error)})
            continue
        drawn.append({"text": answer.text, "finish": answer.finish})
    return drawn, ""
