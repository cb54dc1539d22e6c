"""A language model that proposes auxiliary clauses for statements of geometry. What it writes are steps that end at a
separator, as in other searches (`searching.make_expand`)."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence

from rl_reason.data.iterators import EncodedPrompt
from rl_reason.data.tokenization import decode
from rl_reason.errors import RunError
from rl_reason.geometry.auxiliary import SEPARATOR, Node, Proposal, Propose
from rl_reason.models.weights import Params
from rl_reason.recipes.searching import make_expand
from rl_reason.recipes.setup import Model
from rl_reason.sampling.search import STOP, Prefix, Step


def make_propose(
    model: Model,
    params: Params,
    prompts: Sequence[EncodedPrompt],
    stops: Callable[[int], Sequence[str]],
    *,
    samples: int,
    temperature: float,
    top_p: float,
    max_length: int,
    rows: int,
    seed: int,
) -> Propose:
    """What has a language model propose clauses; problems are places in `prompts`.

    The model goes on behind the prompt and the clauses that the node has. A clause ends at the separator, with the
    completion, or at one of the problem's stops; its log-probability is that of its tokens, at this temperature, with
    the one that ends it. What is drawn depends on the seed, the problem and the node's clauses, and on nothing else.

    Args:
        model: the policy.
        params: its weights.
        prompts: of the problems.
        stops: of a problem: texts at which a completion ends.
        samples: clauses that are drawn behind each node.
        temperature: more than 0.
        top_p: see `sampling.logits`.
        max_length: tokens of a node's clauses. Behind one that has as many nothing is proposed.
        rows: samples that are drawn at the same time, at most.
        seed: of the sampling.

    Raises:
        UsageError: no token of the model holds the separator.
        RunError: a log-probability is no number.
    """
    expand = make_expand(
        model,
        params,
        prompts,
        separator=SEPARATOR,
        temperature=temperature,
        top_p=top_p,
        max_length=max_length,
        rows=rows,
        seed=seed,
    )

    def prefix(node: Node) -> Prefix:
        if not node.clauses:
            return Prefix()
        ids = model.tokenizer(f"{node}{SEPARATOR}", add_special_tokens=False)["input_ids"]
        tokens = tuple(map(int, ids))  # type: ignore[arg-type]
        return Prefix(path=tokens, tokens=tokens)

    def propose(parents: Sequence[tuple[int, Node]]) -> list[list[Proposal]]:
        asked = [(number, prefix(node)) for number, node in parents]
        places = [place for place, (_, one) in enumerate(asked) if len(one.tokens) < max_length]
        families: list[list[Proposal]] = [[] for _ in parents]
        for place, steps in zip(places, expand([asked[place] for place in places], samples, False), strict=True):
            ends = (SEPARATOR, *stops(parents[place][0]))
            families[place] = [_proposal(model, step, ends) for step in steps]
        return families

    return propose


def _proposal(model: Model, step: Step, ends: Sequence[str]) -> Proposal:
    text = lambda count: decode(model.tokenizer, step.tokens[:count])  # noqa: E731
    holds = lambda count: any(end in text(count) for end in ends)  # noqa: E731
    # The fewest tokens that hold an end; all of them, where there is none.
    count = 1 + bisect.bisect_left(range(1, len(step.tokens)), True, key=holds)
    logprob = math.fsum(step.logprobs[:count])
    if not math.isfinite(logprob):
        raise RunError("config.model.path: its log-probabilities are not finite numbers")
    if holds(count):
        written = text(count)
        return Proposal(written[: min(place for place in map(written.find, ends) if place >= 0)], logprob)
    return Proposal(text(-1) if step.finish == STOP else None, logprob)
