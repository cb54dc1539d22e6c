"""Problems of reasoning-gym: which tasks are allowed; what verifiers do with right, wrong and hostile answers."""

import json
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

from rl_reason import gym_tasks
from rl_reason.data.gym import GymProblems
from rl_reason.errors import UsageError
from rl_reason.gym_tasks import ALLOWED, REFUSED, VERIFIED_BY_PACKAGE, VERIFIED_HERE
from rl_reason.rewards.combination import Rewarder
from rl_reason.rewards.gym import VERIFIERS, answer_of, check_gold, gym
from rl_reason.rewards.verdict import UnparseableGold
from rl_reason.settings import Reward

needs_package = pytest.mark.skipif(
    not gym_tasks.is_installed(), reason=f"no {gym_tasks.PACKAGE} {gym_tasks.VERSION} on this machine"
)
_made: dict[str, dict] = {}


def problem_of(name: str) -> dict:
    """One problem of a task, as it comes to a worker."""
    if name not in _made:
        _made[name] = json.loads(json.dumps(GymProblems(f"gym:{name}", "train", 0)[0]))
    return _made[name]


def score(name: str, answer: str) -> float:
    return gym(f"<answer>{answer}</answer>", problem_of(name)).score


@needs_package
def test_each_task_of_the_package_is_allowed_or_refused():
    from reasoning_gym.factory import DATASETS

    assert set(DATASETS) == ALLOWED | set(REFUSED)


def test_each_task_stands_in_one_place():
    assert not VERIFIED_BY_PACKAGE & VERIFIED_HERE.keys() and not ALLOWED & REFUSED.keys()
    assert VERIFIERS.keys() == VERIFIED_HERE.keys()


def test_the_documentation_lists_all_tasks():
    text = (Path(__file__).parents[2] / "docs" / "gym.md").read_text(encoding="utf-8")
    own, here, refused = (part.partition("\n\n")[0] for part in text.split("|---|---|\n")[1:])
    assert set(re.findall(r"`([a-z0-9_]+)`", own)) == VERIFIED_BY_PACKAGE
    for table, listed in ((here, VERIFIED_HERE), (refused, REFUSED)):
        assert table.strip().split("\n") == [f"| `{task}` | {why} |" for task, why in sorted(listed.items())]


@needs_package
@pytest.mark.parametrize("task", sorted(ALLOWED))
def test_only_the_own_answer_is_right(task):
    problem = problem_of(task)
    check_gold(problem)
    assert gym(f"<think>\n</think><answer>{problem['answer']}</answer>", problem).verdict == "correct"
    for wrong in ("nan", "-nan", "[NaN, NaN, NaN]", "xyzzy", "{}", "inf", "1e999999999999"):
        assert wrong != problem["answer"] and gym(f"<answer>{wrong}</answer>", problem).verdict != "correct", wrong
    assert gym(problem["answer"] * (30_000 // len(problem["answer"])), problem).verdict == "unparseable"


def hostile(file) -> list[str]:
    call = f"__import__('os').system('touch {file}')"
    return [
        call,
        f"[{call}]",
        f"1+{call}",
        f"(lambda: {call})()",
        f"open('{file}', 'w')",
        f"[[open('{file}', 'w')], [1]]",
        f'{{"a": {call}}}',
        f"exec({call!r})",
        f"{{x for x in [{call}]}}",
        f"f\"{{{call}}}\"",
        f"!!python/object/apply:os.system ['touch {file}']",
        f"$(touch {file})",
        f"\\boxed{{{call}}}",
        f"x + {call}, 1",
        f"().__class__.__base__.__subclasses__() or {call}",
    ]


class Executed:
    """Counts what Python executes, by its own audit events, while it is watched."""

    def __init__(self):
        self.events: list[str] | None = None
        sys.addaudithook(self._hear)

    def _hear(self, event, arguments):
        if self.events is not None and event in ("exec", "os.system", "subprocess.Popen", "os.posix_spawn"):
            self.events.append(event)

    def during(self, call, *arguments) -> list[str]:
        self.events = []
        try:
            call(*arguments)
        finally:
            heard, self.events = self.events, None
        return heard


@pytest.fixture(scope="module")
def executed():
    return Executed()


@needs_package
@pytest.mark.parametrize("task", sorted(ALLOWED))
def test_hostile_answers_are_not_executed(task, tmp_path, executed):
    problem, file = problem_of(task), tmp_path / "touched"
    gym(f"<answer>{problem['answer']}</answer>", problem)  # Imports what is imported late.
    for answer in hostile(file):
        for completion in (f"<answer>{answer}</answer>", f"The answer is: {answer}", f"\\boxed{{{answer}}}"):
            assert executed.during(gym, completion, problem) == [], completion
    assert not file.exists()


@needs_package
@pytest.mark.parametrize("task", ["countdown", "n_queens", "polynomial_multiplication"])
def test_the_package_would_execute_them(task, tmp_path, executed):
    """So the test above would see it."""
    file = tmp_path / "touched"
    own = gym_tasks.make_task(task, {}, seed=1)
    heard = [executed.during(own.score_answer, answer, own[0]) for answer in hostile(file)]
    assert any(heard) and file.exists()


@needs_package
def test_verifiers_of_other_tasks_of_the_package_are_not_to_be_had():
    with pytest.raises(ValueError):
        gym_tasks.package_scorer("countdown", ())


@needs_package
@pytest.mark.parametrize("task", ["countdown", "complex_arithmetic", "number_sorting", "bitwise_arithmetic"])
def test_honest_answers_score_as_in_the_package(task):
    own = gym_tasks.make_task(task, {}, seed=3, size=4)
    for index in range(4):
        entry = own[index]
        problem = {"problem": entry["question"], "answer": entry["answer"]}
        problem["entry"] = {"task": task, "settings": {}, "metadata": json.loads(json.dumps(entry["metadata"]))}
        for answer in (entry["answer"], own[(index + 1) % 4]["answer"], "17", "1 + 2", "many words"):
            graded = gym(f"<answer>{answer}</answer>", problem)
            assert graded.score == pytest.approx(own.score_answer(answer, entry)), answer


def test_countdown_takes_each_number_once():
    entry = {"task": "countdown", "settings": {}, "metadata": {"numbers": [3, 5, 5], "target": 20}}
    problem = {"problem": "?", "answer": "3*5+5", "entry": entry}
    graded = lambda answer: gym(f"<answer> {answer} </answer>", problem)  # noqa: E731
    assert graded("5 + (3*5)").verdict == "correct"
    assert [graded(a).score for a in ("3*5+3+2", "5+5+3", "20", "5*5-5")] == [0.05] * 4
    assert [graded(a).score for a in ("3*5+5=20", "five", "3**5")] == [0.01] * 3
    assert graded("").verdict == "unparseable"


def test_puzzle24_takes_the_given_numbers_only():
    entry = {"task": "puzzle24", "settings": {}, "metadata": {"numbers": [1, 2, 3, 4]}}
    problem = {"problem": "?", "answer": "1*2*3*4", "entry": entry}
    assert gym("<answer>4*3*2/1</answer>", problem).score == 1.0
    assert gym("<answer>6*4*1*1</answer>", problem).score == 0.01


def test_tags_hold_the_answer_as_it_is():
    assert answer_of("<think>**1**</think><answer>\n* 1\n# 2 *\n</answer>") == "* 1\n# 2 *"
    assert answer_of(r"<answer>\boxed{5}</answer>") == "5"
    assert answer_of("So the answer is **5**.") == "5"
    assert answer_of("<think>5") is None


@pytest.mark.parametrize("entry, told", [
    (None, "expected `entry`"), ({}, "expected `entry`"),
    ({"task": "codeio", "settings": {}, "metadata": {}}, "runs the programs"),
    ({"task": "os.system", "settings": {}, "metadata": {}}, "unknown task"),
    ({"task": ["countdown"], "settings": {}, "metadata": {}}, "expected a name"),
])
def test_other_problems_are_refused(entry, told):
    problem = {"problem": "?", "answer": "1", **({} if entry is None else {"entry": entry})}
    for call in (lambda: check_gold(problem), lambda: gym("<answer>1</answer>", problem)):
        with pytest.raises(UnparseableGold, match=told):
            call()


@needs_package
def test_a_task_whose_own_answer_is_wrong_is_refused():
    with pytest.raises(UnparseableGold, match="its verifier gives it 0"):
        check_gold(problem_of("gcd") | {"answer": "no number", "entry": problem_of("n_queens")["entry"]})


@needs_package
def test_workers_grade():
    problems = [problem_of("countdown"), problem_of("sudoku"), problem_of("sudoku")]
    completions = [f"<answer>{problem['answer']}</answer>" for problem in problems[:2]] + ["I do not know."]
    with Rewarder(Reward(names=("gym",), workers=1)) as rewarder:
        assert rewarder.check_golds(problems) == {}
        graded = rewarder.grade(completions, problems)
    assert graded.verdicts == ["correct", "correct", "unparseable"] and not graded.failures


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(UsageError, match=r"config.data.name='gym:gcd'.*pip install 'rl_reason\[gym\]'"):
        GymProblems("gym:gcd", "train", 0)
    with pytest.raises(UsageError, match="config.reward.names: needs the package reasoning-gym"):
        Rewarder(Reward(names=("gym",)))


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: "9.9")
    with pytest.raises(UsageError, match=rf"reasoning-gym 9.9 is installed; expected {gym_tasks.VERSION}"):
        GymProblems("gym:gcd", "train", 0)
