"""Which of two letters a model answers with, and how surely: a model that runs here, or one behind a server.

where it shall think first, it does              (`feedback.reasoning`, as `sampling` says), and is asked again
here: log π of both letters, behind the prompt   (the same for every answer that it could have given)
server: what it says, and the log-probabilities of that where it gives them
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

import jax
import numpy as np

from rl_reason.data.feedback import CONCLUDE, LETTERS, Said, read_letter
from rl_reason.data.iterators import EncodedPrompt, padded_length
from rl_reason.data.labelled import Judged
from rl_reason.data.templates import find_template
from rl_reason.data.tokenization import encode_prompt
from rl_reason.errors import RunError, UsageError
from rl_reason.models.weights import Params
from rl_reason.parallel import hosts
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes.accumulation import rows_at_once
from rl_reason.recipes.completions import make_score
from rl_reason.recipes.drawing import make_policy_sampler
from rl_reason.recipes.evaluation import start_sampling, to_host
from rl_reason.recipes.reward_model import make_labelled_batch
from rl_reason.recipes.setup import check_length, describe_model, encode_prompts
from rl_reason.runtime.endpoint import CHAT, TEXT, Answer, Endpoint, EndpointError
from rl_reason.settings import Settings

ROWS = 128
"""Questions that are answered at the same time where `sampling.batch_size` says nothing."""
CLOSING = 64
"""Tokens of what is asked behind a thought, at most."""
TOO_LONG = Said(None, reason="the prompt is longer than config.data.max_prompt_length")
REFUSED = "refused"
LOGPROBS: Mapping[str, dict[str, Any]] = {CHAT: {"logprobs": True, "top_logprobs": 20}, TEXT: {"logprobs": 5}}
"""Of each route what asks for log-probabilities: as many as OpenAI's API gives."""


class Judge(Protocol):
    """Questions are problems with `turns` (`data.templates.chat`); all hosts ask alike and get the same answers."""

    identity: dict[str, Any]
    """What it is, for a folder that is gone on with."""
    at_once: int
    """Questions of one call."""
    asked: Counter[str]
    """What a server was asked, on all hosts (`runtime.endpoint.COUNTS`)."""

    def answer(self, start: int, end: int) -> list[Said]:
        """To the questions from `start` to `end`."""

    def close(self) -> None: ...


class LocalJudge:
    """A model that runs here.

    Args:
        settings: of the run.
        questions: all of them, whose prompts are made now.

    Raises:
        UsageError: no such model, or prompts that are too long for it.
    """

    def __init__(self, settings: Settings, questions: Sequence[Mapping]):
        self._settings, self._questions, data = settings, questions, settings.data
        self._model = model = describe_model(settings.model, make_mesh(settings.mesh), lambda: ())
        model.check_files()
        self.identity = {"model": settings.model.path, "model_sha256": model.fingerprint()}
        self.at_once = settings.sampling.batch_size or ROWS
        self.asked: Counter[str] = Counter()
        self._template = find_template(data.template)
        prompts = encode_prompts(questions, self._template, model, data.max_prompt_length, data.long_prompts)
        self._prompts = {prompt.index: prompt for prompt in prompts}
        self._longest = max(len(prompt.prompt_ids) for prompt in prompts)
        if settings.feedback.reasoning:
            self._sampler = make_policy_sampler(settings, model, 1)
            self._longest += settings.sampling.max_length + CLOSING
        shown = self._template(questions[prompts[0].index])
        # Behind a text as somebody would write on.
        gap = " " if isinstance(shown, str) and not shown[-1:].isspace() else ""
        self._letters = [
            list(model.tokenizer(f"{gap}{letter}", add_special_tokens=False)["input_ids"]) for letter in LETTERS
        ]
        check_length(model, self._longest, max(map(len, self._letters)), "config.data.max_prompt_length")
        rows = rows_at_once(settings.algorithm.micro_batch, 2 * self.at_once)
        self._score = make_score(model, temperature=1.0, micro_batch=rows)

    @functools.cached_property
    def _params(self) -> Params:
        return self._model.load_params(self._settings.seed, self._model.dtype)

    def answer(self, start: int, end: int) -> list[Said]:
        prompts = [self._prompts[place] for place in range(start, end) if place in self._prompts]
        thoughts = [""] * len(prompts)
        if prompts and self._settings.feedback.reasoning:
            thoughts = self._think(prompts)
            prompts = [self._behind(prompt, thought) for prompt, thought in zip(prompts, thoughts, strict=True)]
        fitting = [prompt for prompt in prompts if len(prompt.prompt_ids) <= self._longest]
        shares = dict(zip((prompt.index for prompt in fitting), self._shares(fitting), strict=True))
        said = {
            prompt.index: Said(shares[prompt.index], thought) if prompt.index in shares else TOO_LONG
            for prompt, thought in zip(prompts, thoughts, strict=True)
        }
        return [said.get(place, TOO_LONG) for place in range(start, end)]

    def _think(self, prompts: Sequence[EncodedPrompt]) -> list[str]:
        filled, length = self._filled(prompts)
        key = jax.random.key(self._settings.seed)
        weights = self._sampler.move(self._params)
        made = to_host([start_sampling(self._sampler, self._model, weights, filled, length, key)])
        return made.texts(self._model)[: len(prompts)]

    def _behind(self, prompt: EncodedPrompt, thought: str) -> EncodedPrompt:
        question = self._questions[prompt.index]
        asked = {**question, "turns": [*question["turns"], thought, CONCLUDE]}
        return EncodedPrompt(prompt.index, encode_prompt(asked, self._template, self._model.tokenizer))

    def _shares(self, prompts: Sequence[EncodedPrompt]) -> list[float]:
        if not prompts:
            return []
        filled, length = self._filled(prompts)
        items = [tuple(Judged("", one.prompt_ids, ids, [], []) for ids in self._letters) for one in filled]
        shape = length, max(map(len, self._letters))
        logprobs_BT = self._score(self._params, make_labelled_batch(items, shape, self._model.pad_id))
        a_N, b_N = logprobs_BT.sum(axis=1, dtype=np.float64).reshape(-1, 2).T[:, : len(prompts)]
        if not np.isfinite([a_N, b_N]).all():
            raise RunError(
                f"config.model.path={self._settings.model.path!r}: its log-probabilities of the letters are not finite "
                "numbers"
            )
        return [0.5 + 0.5 * float(np.tanh((a - b) / 2)) for a, b in zip(a_N, b_N, strict=True)]

    def _filled(self, prompts: Sequence[EncodedPrompt]) -> tuple[list[EncodedPrompt], int]:
        """Filled up with the first one, and what they are padded to: so that there are few shapes."""
        filled = [*prompts, *[prompts[0]] * (self.at_once - len(prompts))]
        return filled, padded_length(filled, self._longest)

    def close(self) -> None:
        pass


class ServerJudge:
    """A server with OpenAI's API, of which each host asks its share.

    Args:
        settings: of the run.
        questions: all of them.

    Raises:
        UsageError: wrong settings.
    """

    def __init__(self, settings: Settings, questions: Sequence[Mapping]):
        self._settings, self._questions = settings, questions
        self._template = find_template(settings.data.template)
        self._endpoint = Endpoint(settings.endpoint, seed=settings.seed)
        self.identity = {"model": settings.endpoint.model}
        self.at_once = 4 * settings.endpoint.concurrency * jax.process_count()
        self.asked: Counter[str] = Counter()
        self._gives_logprobs = True

    def try_out(self) -> None:
        """Asks the first question; whoever does not know what log-probabilities are is asked for letters alone.

        Raises:
            UsageError: nobody is there; the same on all hosts.
        """
        told = self._probe()
        if told.startswith(REFUSED):
            self._gives_logprobs = False
            told = self._probe()
        if told := next(filter(None, hosts.gather(told)), ""):
            raise UsageError(f"config.endpoint.url={self._settings.endpoint.url!r}: {told}")

    def _probe(self) -> str:
        try:
            self._endpoint.probe(*self._request(self._questions[0], concludes=True))
        except EndpointError as error:
            return f"{error.kind}: {error}" if error.kind == REFUSED else str(error)
        return ""

    def answer(self, start: int, end: int) -> list[Said]:
        mine = self._questions[start:end][hosts.share(end - start)]
        said, broken = [], ""
        try:
            said = self._answer(mine)
        except EndpointError as error:
            broken = str(error)
        told = hosts.gather([[vars(one) for one in said], broken, self._endpoint.take_counts()])
        for _, _, counts in told:
            self.asked.update(counts)
        if broken := next((reason for _, reason, _ in told if reason), ""):
            raise RunError(f"config.endpoint.url={self._settings.endpoint.url!r}: {broken}; the same command goes on")
        return [Said(**one) for of_host, _, _ in told for one in of_host]

    def _answer(self, questions: Sequence[Mapping]) -> list[Said]:
        thoughts: list[Answer | Said] = [Answer("", "stop", 0, 0)] * len(questions)
        asked = list(questions)
        if self._settings.feedback.reasoning:
            thoughts = _wait([self._endpoint.submit(*self._request(one, concludes=False)) for one in asked])
            asked = [
                {**one, "turns": [*one["turns"], thought.text, CONCLUDE]}
                for one, thought in zip(asked, thoughts, strict=True)
            ]
        answers = _wait([self._endpoint.submit(*self._request(one, concludes=True)) for one in asked])
        return [
            next((one for one in (thought, answer) if isinstance(one, Said)), None) or _read(thought, answer)
            for thought, answer in zip(thoughts, answers, strict=True)
        ]

    def _request(self, question: Mapping, concludes: bool) -> tuple[str, dict[str, Any]]:
        sampling, prompt = self._settings.sampling, self._template(question)
        route = TEXT if isinstance(prompt, str) else CHAT
        told = f"{self._settings.seed}/{question['id']}/{concludes}".encode()
        request = {
            **({"prompt": prompt} if isinstance(prompt, str) else {"messages": prompt}),
            "max_tokens": sampling.max_length,
            "temperature": 0.0 if concludes else sampling.temperature,
            "top_p": 1.0 if concludes else sampling.top_p,
            "seed": int.from_bytes(hashlib.sha256(told).digest()[:4]) >> 1,
        }
        return route, request | (LOGPROBS[route] if concludes and self._gives_logprobs else {})

    def close(self) -> None:
        self._endpoint.close()


def _read(thought: Any, answer: Any) -> Said:
    """The letter of an answer, with the thought before it."""
    said = read_letter(answer.text, answer.likely)
    return Said(said.share, "\n".join(filter(None, (thought.text, answer.text))), said.reason)


def _wait(asked: Iterable[Future[Answer]]) -> list[Answer | Said]:
    """The answers; what the server refuses has none.

    Raises:
        EndpointError: the server broke down.
    """
    made: list[Answer | Said] = []
    for one in asked:
        try:
            made.append(one.result())
        except EndpointError as error:
            if error.kind != REFUSED:
                raise
            made.append(Said(None, reason=str(error)))
    return made
