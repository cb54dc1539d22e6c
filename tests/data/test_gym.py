"""Problems of reasoning-gym by name: their splits, their settings, and names that are wrong."""

import pytest

from rl_reason import gym_tasks
from rl_reason.data import sources
from rl_reason.data.gym import GymProblems
from rl_reason.errors import UsageError

needs_package = pytest.mark.skipif(
    not gym_tasks.is_installed(), reason=f"no {gym_tasks.PACKAGE} {gym_tasks.VERSION} on this machine"
)
FEW = "gym:count_bits?min_n=1&max_n=400"


@needs_package
def test_splits_share_no_question_whatever_the_seed_and_the_settings():
    made = GymProblems(FEW, "train", 3)[:300] + GymProblems("gym:count_bits?min_n=1&max_n=300", "train", 3)[:300]
    train = [p["problem"] for p in made]
    test = [p["problem"] for p in GymProblems(FEW, "test", 0)[:300]]
    assert len(set(train)) > 150 and len(set(test)) > 50 and not set(train) & set(test)


@needs_package
def test_a_split_is_the_same_each_time():
    first, again = GymProblems("gym:gcd", "train", 1), GymProblems("gym:gcd", "train", 1)
    assert again[40] == first[:50][40] and first[7] == again[7]
    assert first[:20] != GymProblems("gym:gcd", "train", 2)[:20]
    assert GymProblems("gym:gcd", "test", 1)[:20] == GymProblems("gym:gcd", "test", 2)[:20]
    assert len({p["id"] for p in first[:50]}) == 50


@needs_package
def test_names_are_joined_and_take_settings():
    problems = sources.load("gym:countdown?min_numbers=3&max_numbers=3+word_problems+gym:lcm", "train", "", 0)
    assert len(problems) == 600_000
    for problem in problems[:3]:
        assert len(problem["entry"]["metadata"]["numbers"]) == 3 and problem["source"] == "gym:countdown"
    assert problems[200_000]["source"] == "word_problems" and problems[400_000]["source"] == "gym:lcm"


@needs_package
def test_settings_are_words_and_truth_values_too():
    assert "shuffle" in gym_tasks.settings_of("countdown") and "size" not in gym_tasks.settings_of("countdown")
    problem = GymProblems("gym:countdown?shuffle=false&min_numbers=2&max_numbers=2", "train", 0)[0]
    assert problem["entry"]["settings"] == {"shuffle": False, "min_numbers": 2, "max_numbers": 2}


@needs_package
def test_an_answer_that_nobody_can_say_is_no_problem():
    """Where nothing is left of the letters, the task's answer is an empty text."""
    assert all(p["answer"].strip() == p["answer"] != "" for p in GymProblems("gym:ab?length=2", "train", 0)[:40])


@needs_package
@pytest.mark.parametrize("name, told", [
    ("gym:countdwn", "unknown task.*did you mean 'countdown'"),
    ("gym:", "unknown task"),
    ("gym:codeio", "runs the programs"),
    ("gym:simple_integration", "parse_expr"),
    ("gym:countdown?min_number=3", "no setting 'min_number'; did you mean 'min_numbers'"),
    ("gym:countdown?seed=3", "no setting 'seed'"),
    ("gym:countdown?operators=1", "no setting 'operators'"),
    ("gym:countdown?", "no setting ''"),
    ("gym:countdown?min_numbers", "expected one value of min_numbers"),
    ("gym:countdown?min_numbers=3&min_numbers=4", "expected one value of min_numbers"),
    ("gym:countdown?min_numbers=three", "min_numbers='three': expected a whole number"),
    ("gym:countdown?shuffle=1", "shuffle='1': expected true or false"),
    ("gym:countdown?min_numbers=9", "max_numbers must be >= min_numbers"),
])
def test_a_wrong_name_is_one_line(name, told):
    with pytest.raises(UsageError, match=f"config.data.name='{name.replace('?', '.')}': .*{told}") as error:
        sources.load(name, "train", "", 0)
    assert "\n" not in str(error.value)


@needs_package
def test_a_wrong_split_is_told():
    with pytest.raises(UsageError, match="config.data.split='dev': gym:gcd has train, test"):
        GymProblems("gym:gcd", "dev", 0)


@needs_package
def test_a_task_that_makes_nothing_says_why():
    problems = GymProblems("gym:count_bits?min_n=7&max_n=7", "train", 0)
    other = GymProblems("gym:count_bits?min_n=7&max_n=7", "test", 0)
    told = "made 1000 entries in a row that are no problems of the split"
    with pytest.raises(UsageError, match=told):
        [problems[0], other[0]]
