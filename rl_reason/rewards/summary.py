"""What the samples of an evaluation come to: one figure a name, with its 95% interval by bootstrap over problems.

What is right is said by the grader's verdict alone, and what has the form of R1-Zero's answers by `format` alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rl_reason.rewards.estimators import best_of, between, majority, pass_at_k, resample, roc_auc
from rl_reason.rewards.format import format_reward
from rl_reason.rewards.rating import elo
from rl_reason.rewards.reflection import reflect

SHARES = (
    "pass@", "maj@", "bon@", "weighted_maj@", "format", "language/", "truncated", "unparseable", "timeout", "crash",
    "reflection/rate", "correction/",
)  # fmt: skip
"""How the names of figures begin that are shares of 1."""


def summarize(records: Sequence[dict], samples: int, without_scale: bool = False) -> dict[str, Any]:
    """The figures of records that are ordered by problem.

    Args:
        records: of samples: `correct`, `verdict`, `extracted`, `answer`, `completion`, `tokens`, `finish`; where a
            reward model judged them `score`, where problems are rated `rating`, where they have a language
            `language` and `mixes`.
        samples: of each problem.
        without_scale: whether scores are those of a preference model: a vote weighs their sigmoid. Else they are
            probabilities, and weigh as they are.

    Returns:
        `n` problems, `samples` of each, and means over problems, each with `NAME_ci95`:

        - `pass@1`: the share of right samples; `pass@k`: that one of k is right (`estimators.pass_at_k`).
        - `maj@k`: that the most frequent answer of k is right (`estimators.majority`; R1's cons@k). Not where there is
          nothing to vote on: problems without an answer, such as programs, and graders that name none.
        - `bon@k`, `weighted_maj@k`: that of k the sample with the highest score is right (`estimators.best_of`), and
          the answer with the most votes, weighed by the scores. `auc`: of the scores.
        - `format`, `truncated` (cut off by the limit), `unparseable`, `timeout`, `crash`: shares of samples.
        - `language/mixed`: of the samples that have words the share that leaves the language of its problem
          (`language.mixes`), where problems have one. Where they have several, also of those in each: `pass@1/zh`,
          `language/mixed/zh`.
        - `tokens/completion`, the greatest of which is `tokens/completion_max`; `tokens/correct`: tokens of all samples
          for each right one, None where none is right; `tokens/right`, `tokens/wrong`: of a right one, of a wrong one,
          None where there is none.
        - `reflection/words`, `reflection/rate`, `correction/rate`, `correction/undone`: words of reflection, and the
          samples that correct a calculation, as in `reflection.rates`; `correction/right`: the share of the latter
          that are right, None where there is none.
        - `tokens/spent`, `tokens/scored`: where a search found the samples, the tokens of a problem that it drew, and
          that its reward model read.
        - `elo` (`rating.elo`) of the problems that have a rating.

        k are the powers of two up to `samples`, and `samples`.
    """
    groups = [records[i : i + samples] for i in range(0, len(records), samples)]
    correct_NK = np.array([record["correct"] for record in records]).reshape(-1, samples)
    lengths_NK = np.array([len(record["tokens"]) for record in records]).reshape(-1, samples)

    def share(what: Sequence[float]) -> np.ndarray:
        return np.array(what, np.float64).reshape(-1, samples).mean(axis=1)

    figures_N = {"pass@1": correct_NK.mean(axis=1)}
    ks = sorted({2**i for i in range(1, int(math.log2(samples)) + 1)} | {samples} - {1})
    for k in ks:
        figures_N[f"pass@{k}"] = pass_at_k(correct_NK.sum(axis=1), samples, k)
    has_answers = all(record["answer"] is not None for record in records)
    has_answers &= not any(record["correct"] and record["extracted"] is None for record in records)
    for k in ks if has_answers else ():
        figures_N[f"maj@{k}"] = _votes(groups, correct_NK, k)
    scores_NK = None
    if "score" in records[0]:
        scores_NK = np.array([record["score"] for record in records], np.float64).reshape(-1, samples)
        weights_NK = 0.5 * (1 + np.tanh(scores_NK / 2)) if without_scale else scores_NK
        for k in ks:
            pairs = zip(scores_NK, correct_NK, strict=True)
            figures_N[f"bon@{k}"] = np.array([best_of(scores, correct, k) for scores, correct in pairs])
            if has_answers:
                figures_N[f"weighted_maj@{k}"] = _votes(groups, correct_NK, k, weights_NK)
    figures_N |= {
        "format": share([format_reward(record["completion"], {}) for record in records]),
        "truncated": share([record["finish"] == "length" for record in records]),
        **{kind: share([r["verdict"] == kind for r in records]) for kind in ("unparseable", "timeout", "crash")},
        "tokens/completion": lengths_NK.mean(axis=1),
    }
    reflected = [reflect(record["completion"]) for record in records]
    corrects_NK = np.array([one.corrects for one in reflected]).reshape(-1, samples)
    figures_N |= {
        "reflection/words": share([one.words for one in reflected]),
        "reflection/rate": share([one.words > 0 for one in reflected]),
        "correction/rate": corrects_NK.mean(axis=1),
        "correction/undone": share([one.undoes for one in reflected]),
    }
    for name in ("spent", "scored"):
        if name in records[0]:
            figures_N[f"tokens/{name}"] = share([record[name] for record in records])
    drawn = dict(zip(figures_N, resample(np.stack(list(figures_N.values()))).T, strict=True))
    summary: dict[str, Any] = {"n": len(groups), "samples": samples}
    for name, values_N in figures_N.items():
        summary |= {name: float(values_N.mean()), f"{name}_ci95": list(between(drawn[name]))}
    summary["tokens/completion_max"] = int(lengths_NK.max())
    right = float(figures_N["pass@1"].mean())
    with np.errstate(divide="ignore"):
        each = drawn["tokens/completion"] / drawn["pass@1"]
    summary["tokens/correct"] = summary["tokens/completion"] / right if right else None
    summary["tokens/correct_ci95"] = list(between(each)) if right else [None, None]
    among = {"tokens/right": (lengths_NK, correct_NK), "tokens/wrong": (lengths_NK, ~correct_NK)}
    among["correction/right"] = correct_NK, corrects_NK
    summary |= {name: float(x[chosen].mean()) if chosen.any() else None for name, (x, chosen) in among.items()}
    summary |= _of_languages(groups, figures_N["pass@1"])
    if scores_NK is not None:
        summary["auc"] = roc_auc(scores_NK.reshape(-1), correct_NK.reshape(-1))
    rated = [i for i, group in enumerate(groups) if group[0].get("rating") is not None]
    if rated:
        ratings_N = np.array([groups[i][0]["rating"] for i in rated], np.float64)
        summary |= elo(ratings_N, figures_N["pass@1"][rated])
    return summary


def _of_languages(groups: Sequence[Sequence[dict]], right_N: np.ndarray) -> dict[str, Any]:
    """`language/mixed`; and of each language, where problems have several, that and `pass@1`."""
    languages = [group[0].get("language") for group in groups]
    codes = sorted({code for code in languages if isinstance(code, str)})
    parts = {"": np.array([code is not None for code in languages])}
    if len(codes) > 1:
        parts |= {f"/{code}": np.array([one == code for one in languages]) for code in codes}
    made: dict[str, Any] = {}
    for end, chosen_N in parts.items():
        told = [[record["mixes"] for record in group] for group, on in zip(groups, chosen_N, strict=True) if on]
        mixed_N = np.array([sum(one is True for one in group) for group in told], np.float64)
        in_words_N = np.array([sum(one is not None for one in group) for group in told], np.float64)
        if in_words_N.any():
            drawn = resample(np.stack([mixed_N, in_words_N]))
            with np.errstate(divide="ignore", invalid="ignore"):
                shares = np.where(drawn[:, 1] > 0, drawn[:, 0] / drawn[:, 1], np.nan)
            made[f"language/mixed{end}"] = float(mixed_N.sum() / in_words_N.sum())
            made[f"language/mixed{end}_ci95"] = list(between(shares[np.isfinite(shares)]))
        if end:
            made[f"pass@1{end}"] = float(right_N[chosen_N].mean())
            made[f"pass@1{end}_ci95"] = list(between(resample(right_N[chosen_N][None])[:, 0]))
    return made


def figures(summary: dict[str, Any]) -> list[list[str]]:
    """Rows (name, figure with its interval) of a summary, for people."""
    rows = []
    for name, value in summary.items():
        interval = summary.get(f"{name}_ci95")
        if interval is None or value is None:
            continue
        scale, digits, unit = (100, 1, "%") if name.startswith(SHARES) else (1, 1, "")
        low, high = ("–" if bound is None else f"{scale * bound:.{digits}f}" for bound in interval)
        rows.append([name, f"{scale * value:.{digits}f}{unit} [{low}, {high}]"])
    return rows


def _votes(
    groups: Sequence[Sequence[dict]], correct_NK: np.ndarray, k: int, weights_NK: np.ndarray | None = None
) -> np.ndarray:
    weights = [None] * len(groups) if weights_NK is None else weights_NK
    return np.array(
        [
            majority([record["extracted"] for record in group], correct_K, k, weights_K)
            for group, correct_K, weights_K in zip(groups, correct_NK, weights, strict=True)
        ]
    )
