"""How well a reward model judges held-out labels: accuracy, area under the ROC curve, what choosing by it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rl_reason.data.labelled import Item
from rl_reason.models.weights import Params
from rl_reason.recipes.completions import Batch, completion_scores, make_scoring
from rl_reason.recipes.learned_rewards import AGGREGATIONS, RewardModel
from rl_reason.recipes.setup import Model
from rl_reason.rewards.estimators import mean_interval, roc_auc

Judge = Callable[[Params, Sequence[Item], Callable[[int], None]], dict]
"""(weights, items, progress) → a record of eval.jsonl without `step` and `dataset`."""
BY_STEPS = ("product", "minimum")
"""How the probabilities of steps are made one of the solution (Let's Verify Step by Step, appendix F)."""


def make_judge(
    model: Model, kind: str, make_batch: Callable[[Sequence[Item]], Batch], rows: int, micro_batch: int
) -> Judge:
    """`judge(params, items, progress)`, `rows` items at a time; `micro_batch` as in `completions.make_scoring`."""
    reward_model = RewardModel(kind, make_scoring(model, completion_scores, micro_batch), "product")

    def judge(params: Params, items: Sequence[Item], progress: Callable[[int], None]) -> dict:
        scores: list[np.ndarray] = []  # of each completion, at its ends
        for start in range(0, len(items), rows):
            part = list(items[start : start + rows])
            # The last part is filled up, so that there are few shapes.
            filled = part + part[:1] * (rows - len(part) if start else 0)
            made_BT = reward_model.begin(params, make_batch(filled))()
            flat = [one for item in part for one in item]
            scores += [row[one.ends] for row, one in zip(made_BT, flat, strict=False)]
            progress(len(part))
        return summarize(items, scores, kind)

    return judge


def hits(margins_N: np.ndarray, shares_N: np.ndarray) -> np.ndarray:
    """1 for each pair whose margin has the sign that its share says, 0 for another, 1/2 where either is in the middle;
    float [N]."""
    return np.heaviside(margins_N * np.sign(shares_N - 0.5), 0.5)


def summarize(items: Sequence[Item], scores: Sequence[np.ndarray], kind: str) -> dict:
    """What the scores of held-out items are worth.

    Args:
        items: completions or pairs.
        scores: of each completion, in order, float32 at its `ends`: probabilities, or what a preference model gives.
        kind: of the reward model.

    Returns:
        `n` problems and `samples` of each, `accuracy` with its interval over problems, and `auc`: of steps in a process
        model, of pairs (and of chosen and rejected ones) in a preference model, else of completions. `several/auc`: of
        the steps of solutions that have more than one, where a solution's form does not tell. Where it is known what is
        right as a whole: `pass@1` with its interval, which is that of the policy that was sampled, and, where all
        problems have k completions, `best@k`: how often the one with the highest score is right. A process model's
        stand by their aggregation, as `product/best@k`, beside `product/auc`.
    """
    flat = [one for item in items for one in item]
    groups: dict[str, list[int]] = {}
    for i, one in enumerate(flat):
        groups.setdefault(one.problem, []).append(i)
    record: dict = {"n": len(groups), "samples": len(flat) / len(groups)}
    if kind == "preference":
        lasts = np.array([row[-1] for row in scores]).reshape(-1, 2)
        margins = lasts[:, 0] - lasts[:, 1]
        shares = np.array([item[0].targets[-1] for item in items], np.float32)
        of_pairs = zip(items, hits(margins, shares).tolist(), strict=True)
        record |= _accuracy([(item[0].problem, hit) for item, hit in of_pairs])
        record |= {"auc": roc_auc(lasts.reshape(-1), np.tile([True, False], len(items)))}
        record |= {"margin": float(margins.mean()), "tokens/completion": _mean_length(items)}
        return record

    # An outcome model that was told every token is judged at the last one.
    last_only = kind == "outcome"
    told = [
        (one, float(p), target)
        for one, row in zip(flat, scores, strict=True)
        for p, target in list(zip(row, one.targets, strict=True))[-1 if last_only else 0 :]
        if target is not None
    ]
    values, right = np.array([p for _, p, _ in told]), np.array([target >= 0.5 for *_, target in told])
    record |= _accuracy([(one.problem, float((p >= 0.5) == (target >= 0.5))) for one, p, target in told])
    record |= {"auc": roc_auc(values, right), "share_right": float(right.mean())}
    if not last_only:
        several = np.array([len(one.ends) > 1 for one, *_ in told])
        record["several/auc"] = roc_auc(values[several], right[several])
    record |= {"score/right": _mean(values[right]), "score/wrong": _mean(values[~right])}
    record["tokens/completion"] = _mean_length(items)
    if any(one.correct is None for one in flat):
        return record
    correct = np.array([bool(one.correct) for one in flat])
    rates = [correct[members].mean() for members in groups.values()]
    record |= {"pass@1": float(np.mean(rates)), "pass@1_ci95": list(mean_interval(np.array(rates)))}
    if last_only:
        return record | _chosen("", np.array([row[-1] for row in scores]), correct, groups)
    for name in BY_STEPS:
        whole = np.array([AGGREGATIONS[name](row) for row in scores])
        record |= {f"{name}/auc": roc_auc(whole, correct)} | _chosen(f"{name}/", whole, correct, groups)
    return record


def _accuracy(hits: Sequence[tuple[str, float]]) -> dict:
    """The mean of (problem, hit), and its interval over problems, which have different numbers of labels."""
    by_problem: dict[str, list[float]] = {}
    for problem, hit in hits:
        by_problem.setdefault(problem, []).append(hit)
    mean = float(np.mean([hit for _, hit in hits]))
    # To first order, what a problem adds to the ratio Σ hits / Σ labels.
    share = len(hits) / len(by_problem)
    low, high = mean_interval(np.array([mean + sum(h - mean for h in row) / share for row in by_problem.values()]))
    return {"accuracy": mean, "accuracy_ci95": [max(low, 0.0), min(high, 1.0)]}


def _chosen(prefix: str, scores: np.ndarray, correct: np.ndarray, groups: dict[str, list[int]]) -> dict:
    """`best@k` where every problem has k completions, more than one. Equal scores share the choice."""
    sizes = {len(members) for members in groups.values()}
    if len(sizes) > 1 or sizes == {1}:
        return {}
    made = [correct[members][scores[members] == scores[members].max()].mean() for members in groups.values()]
    return {f"{prefix}best@{sizes.pop()}": float(np.mean(made))}


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _mean_length(items: Sequence[Item]) -> float:
    return float(np.mean([len(one.completion_ids) for item in items for one in item]))
