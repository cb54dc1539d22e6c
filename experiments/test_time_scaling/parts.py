"""What a policy's samples and searches of problems are, as the rows that `estimates` reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax

from rl_reason import settings
from rl_reason.data import sources
from rl_reason.data.templates import find_template
from rl_reason.models.weights import Params
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes.evaluation import HeldOut, questions_at_once, sample_records
from rl_reason.recipes.learned_rewards import describe_reward_model
from rl_reason.recipes.searching import make_expand, make_score, search_records
from rl_reason.recipes.setup import Model, describe_model, encode_prompts
from rl_reason.rewards.combination import Rewarder
from rl_reason.sampling.sampler import make_sampler
from rl_reason.sampling.search import Expand, Prefix, Score, Search

MAX_PROMPT, MAX_LENGTH = 128, 96
TEMPERATURE = 1.0
ROWS = 512
"""Samples, or prefixes to be scored, at the same time."""


@dataclass(frozen=True)
class Policy:
    """A policy with the problems that it is asked."""

    model: Model
    params: Params
    asked: HeldOut


def load(data: str, path: str, first: int, count: int) -> Policy:
    """The policy in a folder, with so many held-out problems of a data set."""
    problems = sources.load(data, "test", "", 0)[first : first + count]
    model = describe_model(settings.Model(path=path), make_mesh(settings.Mesh()), lambda: ())
    prompts = encode_prompts(problems, find_template("question"), model, MAX_PROMPT)
    return Policy(model, model.load_params(0), HeldOut(data, problems, prompts))


def sample(policy: Policy, reward: settings.Reward | None, rewarder: Rewarder, samples: int, seed: int) -> list[dict]:
    """Samples of each problem; with the score of each where a reward model is given."""
    model, asked = policy.model, policy.asked
    sampler = make_sampler(
        model.config,
        group_size=samples,
        max_length=MAX_LENGTH,
        stop_ids=model.stop_ids,
        pad_id=model.pad_id,
        temperature=TEMPERATURE,
        dtype=model.dtype,
    )
    per_batch = questions_at_once(ROWS, samples, len(asked.prompts))
    score = _make_score(policy, reward) if reward else None
    rows: list[dict] = []
    for batch in sample_records(
        sampler, model, policy.params, asked, rewarder, samples, per_batch, jax.random.key(seed)
    ):
        made = [_row(batch[start : start + samples]) for start in range(0, len(batch), samples)]
        if score:
            told = [(len(rows) + i // samples, Prefix(tokens=tuple(r["tokens"]))) for i, r in enumerate(batch)]
            scores = score(told)
            for i, row in enumerate(made):
                row["scores"] = scores[i * samples : (i + 1) * samples]
        rows += made
    return rows


def search(policy: Policy, kind: Callable[[], Search], expand: Expand, score: Score, rewarder: Rewarder) -> list[dict]:
    asked = policy.asked
    rows: list[dict] = []
    for batch in search_records(policy.model, asked, kind, expand, score, rewarder, len(asked.prompts)):
        for records in batch:
            row = _row(records) | {name: records[0][name] for name in ("spent", "scored")}
            rows.append(row | {f"{name}s": [record[name] for record in records] for name in ("score", "share")})
    return rows


def make_search(policy: Policy, reward: settings.Reward, seed: int) -> tuple[Expand, Score]:
    expand = make_expand(
        policy.model,
        policy.params,
        policy.asked.prompts,
        separator=reward.step_separator,
        temperature=TEMPERATURE,
        top_p=1.0,
        max_length=MAX_LENGTH,
        rows=ROWS,
        seed=seed,
    )
    return expand, _make_score(policy, reward)


def _make_score(policy: Policy, reward: settings.Reward) -> Score:
    judge = describe_reward_model(reward, policy.model)
    return make_score(reward, judge, judge.load_params(0), policy.asked.prompts, max_length=MAX_LENGTH, rows=ROWS)


def _row(records: Sequence[dict]) -> dict:
    """What is kept of a problem's completions."""
    return {
        "id": records[0]["id"],
        "tokens": [len(record["tokens"]) for record in records],
        "correct": [record["correct"] for record in records],
        "extracted": [record["extracted"] for record in records],
    }
