"""The reward of a batch of completions: a weighted sum of named parts. Rules run in worker processes; a judge is asked.

A part that raises, hangs, dies or returns NaN scores 0 for that completion, is counted and reported, and the run
goes on.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rl_reason.errors import UsageError
from rl_reason.registry import resolve
from rl_reason.rewards import REWARDS, STEP_REWARDS, VERDICTS
from rl_reason.rewards.judge import Judge
from rl_reason.rewards.verdict import UnparseableGold
from rl_reason.runtime.workers import Outcome, Pool
from rl_reason.settings import Judge as JudgeOptions
from rl_reason.settings import Reward

MODEL = "model"
"""Among the names of rewards, or as that of steps: the reward model in `reward.model`, which the recipe asks."""
JUDGE = "judge"
"""Among the names of rewards: the model behind a server in `config.judge`."""
KINDS = ("timeout", "crash", "error", "nonfinite", "unparseable")
TIMEOUT = 5.0
"""Seconds for a completion, where neither the settings nor the reward itself name a limit."""
REASONING = "reasoning"
"""The kind of a problem that does not say its own."""
UNJUDGED = "unjudged"
"""The verdict on a completion of a problem that is given to no rule."""
GRACE = 30.0
"""Seconds that a reward with a limit of its own may take beyond it, before its worker is killed."""
KNOWN = 100_000
"""Outcomes of rewards with a limit of their own that are remembered."""
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Graded:
    """The rewards of B completions."""

    total: np.ndarray
    """[B] float32: Σ weight · part, multiplied with factors where there are some. Always finite."""
    parts: dict[str, np.ndarray]
    """Name of a part → its unweighted scores, [B] float32."""
    verdicts: list[str]
    """[B] of the first part that gives verdicts (else of the first part: "correct" for a score of at least 1); only
    parts count that the problem is given to, and where there are none it is `UNJUDGED`."""
    extracted: list[str | None]
    """[B], the final answers that this part judged."""
    counts: dict[str, int]
    """How often each of `KINDS` happened, over all parts. "error": it raised, or returned what is no reward."""
    failures: list[dict] = field(default_factory=list)
    """One for each timeout, crash, error and nonfinite: index, part, kind, message, completion."""
    steps: list[list[float]] = field(default_factory=list)
    """[B], the reward of each step of a completion; empty where steps have none."""

    @staticmethod
    def join(shares: Sequence[Graded]) -> Graded:
        """Shares of a batch, in its order, as one."""
        starts = np.cumsum([0, *(len(share.total) for share in shares)])
        return Graded(
            total=np.concatenate([share.total for share in shares]),
            parts={name: np.concatenate([share.parts[name] for share in shares]) for name in shares[0].parts},
            verdicts=[verdict for share in shares for verdict in share.verdicts],
            extracted=[answer for share in shares for answer in share.extracted],
            counts={kind: sum(share.counts[kind] for share in shares) for kind in KINDS},
            failures=[
                failure | {"index": failure["index"] + int(start)}
                for start, share in zip(starts, shares, strict=False)
                for failure in share.failures
            ],
            steps=[rewards for share in shares for rewards in share.steps],
        )

    def plus(self, name: str, scores_B: np.ndarray, weight: float = 1.0) -> Graded:
        """With one more part."""
        total = (self.total + weight * scores_B).astype(np.float32)
        return dataclasses.replace(self, total=total, parts={**self.parts, name: scores_B})

    def times(self, name: str, factors_B: np.ndarray) -> Graded:
        """The total multiplied with factors, which stand among the parts."""
        total = (self.total * factors_B).astype(np.float32)
        return dataclasses.replace(self, total=total, parts={**self.parts, name: factors_B})

    def take(self, rows: np.ndarray) -> Graded:
        """Some of the completions; the counts stay those of all."""
        where = {int(row): i for i, row in enumerate(rows)}
        return Graded(
            total=self.total[rows],
            parts={name: part[rows] for name, part in self.parts.items()},
            verdicts=[self.verdicts[row] for row in rows],
            extracted=[self.extracted[row] for row in rows],
            counts=self.counts,
            failures=[f | {"index": where[f["index"]]} for f in self.failures if f["index"] in where],
            steps=[self.steps[row] for row in rows] if self.steps else [],
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values, for the way between hosts."""
        parts = {name: part.tolist() for name, part in self.parts.items()}
        return vars(self) | {"total": self.total.tolist(), "parts": parts}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Graded:
        parts = {name: np.array(part, np.float32) for name, part in values["parts"].items()}
        return Graded(**{**values, "total": np.array(values["total"], np.float32), "parts": parts})


def describe_failure(failure: Mapping) -> dict[str, str]:
    """Of one of `Graded.failures` what stands on record beside the completion."""
    return {key: failure[key] for key in ("part", "kind", "message")}


def failure_line(failure: Mapping, id: str) -> str:
    """One line about a reward that did not work on a completion of the problem `id`."""
    return f"reward {failure['part']!r}: {failure['kind']} on a completion of {id}: {failure['message']}"


@dataclass(frozen=True)
class _Grade:
    """How one call of one part ended."""

    score: float
    kind: str = ""
    """One of `KINDS` but "unparseable"; empty if all went well."""
    message: str = ""
    verdict: str | None = None
    """None where the reward is a plain number."""
    extracted: str | None = None


def _resolve(settings: Reward, key: str) -> dict[str, tuple[str, Callable]]:
    """Of each rule, by its name, the function and how it is called as `package.module:function`."""
    _check(settings, key)
    names, _ = split_names(settings)
    if not names:
        raise UsageError(
            f"{key}={settings.names!r}: expected a rule beside the model, of weight 0 if it shall only tell right from "
            "wrong"
        )
    resolved = {name: resolve(name, REWARDS, key) for name in names if name != JUDGE}
    for function in resolved.values():
        if hasattr(function, "check"):
            function.check(key)
    return {
        name: (f"{function.__module__}:{function.__qualname__}" if name in REWARDS else name, function)
        for name, function in resolved.items()
    }


def split_names(settings: Reward) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Names and weights of the rules and the judge, without the part that a reward model scores."""
    pairs = [(n, w) for n, w in zip(settings.names, settings.weights, strict=True) if n != MODEL]
    return tuple(n for n, _ in pairs), tuple(w for _, w in pairs)


def step_function(settings: Reward) -> str:
    """The rule that rewards steps, as `package.module:function`; empty where there is none, or a model does it.

    Raises:
        UsageError: an unknown name, or an empty separator.
    """
    if not settings.step_separator:
        raise UsageError("config.reward.step_separator='': expected the text that ends a step")
    if settings.steps in ("", MODEL):
        return ""
    function = resolve(settings.steps, STEP_REWARDS, "config.reward.steps")
    return f"{function.__module__}:{function.__qualname__}" if settings.steps in STEP_REWARDS else settings.steps


def is_given(settings: Reward, name: str, problem: Mapping) -> bool:
    """Whether a part of the reward is given to a problem (`reward.kinds`)."""
    return problem.get("kind", REASONING) == dict(settings.kinds).get(name, problem.get("kind", REASONING))


class Rewarder:
    """The rewards that `settings` name, and the worker processes that compute them. A context manager.

    Args:
        settings: names, weights, limits and number of workers.
        judge: what "judge" means among the names; None where there is none.
        key: what held the names, for the error line.

    Raises:
        UsageError: an unknown name, names and weights that do not fit together, a reward that cannot work here, or a
            judge that does not answer.
    """

    def __init__(self, settings: Reward, judge: JudgeOptions | None = None, key: str = "config.reward.names"):
        self._functions = _resolve(settings, key)
        self._step_function = step_function(settings)
        self._settings = settings
        self._judge = None
        if JUDGE in settings.names:
            if judge is None:
                raise UsageError(
                    f"{key}={JUDGE!r}: needs config.judge, which commands with a config have; expected a rule"
                )
            self._judge = Judge(judge)
        preload = [*(path for path, _ in self._functions.values()), *filter(None, [self._step_function])]
        self._pool = Pool(settings.workers, preload, settings.memory, settings.environment)
        self._thread = ThreadPoolExecutor(1, "grade")
        self._known: dict[tuple[str, str, str], Outcome] = {}

    def begin(
        self,
        completions: Sequence[str],
        problems: Sequence[Mapping],
        steps: Sequence[Sequence[str]] | None = None,
    ) -> Callable[[], Graded]:
        """`grade` in a thread of its own, which is what hears from the workers; what this returns waits for it."""
        return self._thread.submit(self.grade, completions, problems, steps=steps).result

    def grade(
        self,
        completions: Sequence[str],
        problems: Sequence[Mapping],
        progress: Callable[[int], None] | None = None,
        steps: Sequence[Sequence[str]] | None = None,
    ) -> Graded:
        """The rewards of B completions, each to the problem at the same index.

        Args:
            completions: B texts.
            problems: B problems of plain values.
            progress: called with the number of calls that ended since the last time; there are B for each part.
            steps: B times the texts of a completion's steps, where a rule rewards them.

        Raises:
            RunError: a reward cannot be imported in a worker.
        """
        if len(completions) != len(problems):
            raise ValueError(f"{len(completions)} completions of {len(problems)} problems")
        items = list(zip(completions, self._with_limit(problems), strict=True))
        names, weights = split_names(self._settings)
        given = {name: [is_given(self._settings, name, problem) for problem in problems] for name in names}
        chosen = {name: [i for i, is_asked in enumerate(given[name]) if is_asked] for name in names}
        # The judge thinks while the workers compute.
        wait = None
        if self._judge:
            rows = chosen[JUDGE]
            wait = self._judge.begin([completions[i] for i in rows], [problems[i] for i in rows])
        outcomes = {
            name: self._call(*rule, [items[i] for i in chosen[name]], progress)
            for name, rule in self._functions.items()
        }
        if wait:
            outcomes[JUDGE] = wait(progress)
        grades = []
        for name in names:
            row = [_Grade(0.0)] * len(items)  # What a part is not given to has nothing of it.
            for i, outcome in zip(chosen[name], outcomes[name], strict=True):
                row[i] = _grade(outcome)
            grades.append(row)
        parts = {
            name: np.array([grade.score for grade in row], np.float32) for name, row in zip(names, grades, strict=True)
        }
        total = sum(weight * part.astype(np.float64) for weight, part in zip(weights, parts.values(), strict=True))
        # Where one that gives verdicts fails, none of the others takes its place.
        order = sorted(range(len(grades)), key=lambda n: all(grade.verdict is None for grade in grades[n]))
        firsts = [next((n for n in order if given[names[n]][i]), None) for i in range(len(items))]
        deciding = [None if n is None else grades[n][i] for i, n in enumerate(firsts)]
        counts = dict.fromkeys(KINDS, 0)
        failures = []
        for name, row in zip(names, grades, strict=True):
            for index, grade in enumerate(row):
                if grade.kind:
                    counts[grade.kind] += 1
                    failures.append(
                        {
                            "index": index,
                            "part": name,
                            "kind": grade.kind,
                            "message": grade.message,
                            "completion": completions[index],
                        }
                    )
                elif grade.verdict in counts:
                    counts[grade.verdict] += 1
        of_steps: list[list[float]] = []
        if steps is not None and self._step_function:
            pairs = list(zip(steps, problems, strict=True))
            of_rule = self._pool.map(self._step_function, pairs, self._settings.timeout or TIMEOUT)
            for index, (outcome, (texts, _)) in enumerate(zip(of_rule, pairs, strict=True)):
                rewards, kind, message = _grade_steps(outcome, len(texts))
                of_steps.append(rewards)
                if kind:
                    counts[kind] += 1
                    failure = {"index": index, "part": self._settings.steps, "kind": kind, "message": message}
                    failures.append(failure | {"completion": completions[index]})
        return Graded(
            total=np.clip(total, -_LARGEST, _LARGEST).astype(np.float32),
            parts=parts,
            verdicts=[UNJUDGED if grade is None else _verdict(grade) for grade in deciding],
            extracted=[None if grade is None else grade.extracted for grade in deciding],
            counts=counts,
            failures=failures,
            steps=of_steps,
        )

    def _call(
        self, name: str, function: Callable, items: Sequence[tuple], progress: Callable[[int], None] | None
    ) -> list[Outcome]:
        seconds = self._seconds(function)
        if not hasattr(function, "own_limit"):
            return self._pool.map(name, items, seconds, progress)
        # It takes long: what completions of a problem that are the same come to is asked once, also over the steps. It
        # keeps the limit itself, and has something to end when the time is up.
        places: dict[tuple[str, str, str], list[int]] = {}
        for place, (completion, problem) in enumerate(items):
            places.setdefault((name, completion, repr(problem)), []).append(place)
        known = self._known
        made = {key: known[key] for key in places if key in known}
        if progress and made:
            progress(sum(len(places[key]) for key in made))
        asked = [key for key in places if key not in made]
        more = iter(len(places[key]) - 1 for key in asked)
        told = progress and (lambda count: progress(count + sum(itertools.islice(more, count))))
        calls = [(*items[places[key][0]], seconds) for key in asked]
        made |= zip(asked, self._pool.map(name, calls, seconds + GRACE, told), strict=True)
        final = {key: made[key] for key in asked if _is_final(made[key])}
        # Replaced and not emptied: batches are graded in several threads.
        self._known = final if len(known) > KNOWN else known | final
        rows = {place: made[key] for key, found in places.items() for place in found}
        return [rows[place] for place in range(len(items))]

    def _seconds(self, function: Callable) -> float:
        return self._settings.timeout or getattr(function, "own_limit", TIMEOUT)

    def judges(self, problem: Mapping) -> bool:
        """Whether any rule is given to the problem."""
        return any(is_given(self._settings, name, problem) for name in split_names(self._settings)[0])

    def check_golds(self, problems: Sequence[Mapping], progress: Callable[[int], None] | None = None) -> dict[int, str]:
        """Which problems the rewards cannot judge by, and why: index → one line, in order.

        Asked are the rewards that have a function `check_gold` (see `rewards`), in the workers.
        """
        found: dict[int, str] = {}
        problems = self._with_limit(problems)
        for name, (path, function) in self._functions.items():
            if not hasattr(function, "check_gold"):
                continue
            asked = [i for i, problem in enumerate(problems) if is_given(self._settings, name, problem)]
            items = [(problems[i],) for i in asked]
            outcomes = self._pool.map(f"{path}.check_gold", items, self._seconds(function), progress)
            for index, outcome in zip(asked, outcomes, strict=True):
                if outcome.status != "ok":
                    found.setdefault(index, f"reward {name!r}: {outcome.message.partition(': ')[2] or outcome.message}")
        return dict(sorted(found.items()))

    def _with_limit(self, problems: Sequence[Mapping]) -> Sequence[Mapping]:
        """The problems with the limit of the reward `length`, where that is asked."""
        if "length" not in self._settings.names:
            return problems
        return [{"max_characters": self._settings.max_characters, **problem} for problem in problems]

    def take_judge_counts(self) -> dict[str, int]:
        """What the judge was asked since the last time (`runtime.endpoint.COUNTS`); nothing without one."""
        return self._judge.take_counts() if self._judge else {}

    def close(self) -> None:
        """Ends the workers, and with them what they are grading: who waits for that gets an error."""
        if self._judge:
            self._judge.close()
        self._pool.close()
        self._thread.shutdown()

    def __enter__(self) -> Rewarder:
        return self

    def __exit__(self, *error) -> None:
        self.close()


def _is_final(outcome: Outcome) -> bool:
    """Whether asking again would say the same: limits of time and of memory depend on what else the machine does."""
    verdict = outcome.value.get("verdict") if isinstance(outcome.value, dict) else ""
    return outcome.status == "ok" and verdict != "timeout"


def _grade(outcome: Outcome) -> _Grade:
    if outcome.status == "error" and outcome.message.startswith(f"{UnparseableGold.__name__}:"):
        return _Grade(0.0, "error", outcome.message, verdict="unparseable")
    if outcome.status != "ok":
        return _Grade(0.0, outcome.status, outcome.message)
    value, verdict, extracted = outcome.value, None, None
    if isinstance(value, dict):  # A `Verdict`, as it comes through the pipe.
        value, verdict, extracted = (value.get(key) for key in ("score", "verdict", "extracted"))
        if verdict not in VERDICTS:
            return _Grade(0.0, "error", f"returned the verdict {verdict!r}, expected one of {', '.join(VERDICTS)}")
    if not isinstance(value, (int, float)):
        return _Grade(0.0, "error", f"returned {type(value).__name__}, expected a number or a Verdict")
    if not abs(value) <= _LARGEST:  # Also where it is NaN.
        return _Grade(0.0, "nonfinite", f"returned {_short(value)}, expected a finite number", extracted=extracted)
    return _Grade(float(value), verdict=verdict, extracted=extracted)


def _grade_steps(outcome: Outcome, count: int) -> tuple[list[float], str, str]:
    """Rewards of `count` steps, and one of `KINDS` with a message where there are none: then they are 0."""
    nothing = [0.0] * count
    if outcome.status != "ok":
        return nothing, outcome.status, outcome.message
    value = outcome.value
    if not isinstance(value, list) or not all(isinstance(one, (int, float)) for one in value):
        return nothing, "error", f"returned {type(value).__name__}, expected a list of numbers"
    if len(value) != count:
        return nothing, "error", f"returned {len(value)} numbers, expected one for each of {count} steps"
    if not all(abs(one) <= _LARGEST for one in value):
        return nothing, "nonfinite", "returned a number that is not finite"
    return [float(one) for one in value], "", ""


def _verdict(grade: _Grade) -> str:
    if grade.verdict is not None:
        return grade.verdict
    if grade.kind:
        return "timeout" if grade.kind == "timeout" else "crash"
    return "correct" if grade.score >= 1 else "wrong"


def _short(value: float) -> str:
    return str(value) if isinstance(value, float) else f"an integer of {value.bit_length()} bits"


def _check(settings: Reward, key: str) -> None:
    names, weights = settings.names, settings.weights
    if not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{key}={names!r}: expected at least one name")
    if len(set(names)) != len(names):
        raise UsageError(f"{key}={names!r}: a name stands there twice")
    if len(names) != len(weights):
        raise UsageError(f"config.reward.weights={weights!r}: expected {len(names)} weights, one for each of {names!r}")
    if not all(_is_finite_number(weight) for weight in weights):
        raise UsageError(f"config.reward.weights={weights!r}: expected finite numbers")
    if not settings.timeout >= 0:
        raise UsageError(f"config.reward.timeout={settings.timeout!r}: expected seconds, or 0 for each reward's own")
    if not 0 <= settings.memory < math.inf:
        raise UsageError(f"config.reward.memory={settings.memory!r}: expected GiB, or 0 for no limit")
    if settings.max_characters < 1:
        raise UsageError(f"config.reward.max_characters={settings.max_characters!r}: expected at least 1")
    if "length" not in names and settings.max_characters != Reward.max_characters:
        raise UsageError(
            f"config.reward.max_characters={settings.max_characters!r}: is not read where 'length' is not one of {key}"
        )
    if not all(isinstance(name, str) and name for name in settings.environment):
        raise UsageError(f"config.reward.environment={settings.environment!r}: expected names of variables")
    kinds = settings.kinds
    is_pair = lambda pair: isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(x, str) for x in pair)  # noqa: E731
    if not all(map(is_pair, kinds)) or not {name for name, _ in kinds} <= set(names) or len(dict(kinds)) < len(kinds):
        raise UsageError(
            f"config.reward.kinds={kinds!r}: expected pairs (one of {key}={names!r}, kind of problems), a name once"
        )
    if settings.workers < 1:
        raise UsageError(f"config.reward.workers={settings.workers!r}: expected at least 1")


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
