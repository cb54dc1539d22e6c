"""Named benchmarks from files, their prompts, and what an evaluation does with them where no flag says it."""

from __future__ import annotations

import json
import re

import pytest

from rl_reason.data import few_shot, sources
from rl_reason.data.benchmarks import BENCHMARKS
from rl_reason.data.choices import statement
from rl_reason.data.templates import TEMPLATES, find_template, stops_of
from rl_reason.errors import UsageError
from rl_reason.recipes.protocols import kind_of, settle, settle_scores
from rl_reason.rewards.extraction import final_answer

ROWS = {
    "gsm8k": 1319, "svamp": 1000, "math": 500, "math500": 500, "aime24": 30, "aime25": 30, "amc23": 40,
    "mmlu_stem": 3018, "humaneval": 164, "mbpp": 500, "mbpp_sanitized": 257,
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_the_shared_files_are_benchmarks(shared_data, name):
    problems = list(sources.load(name, "test", str(shared_data), 0))
    assert len(problems) == ROWS[name] and len({problem["id"] for problem in problems}) == len(problems)
    kind, grader = kind_of(name, problems)
    assert kind == BENCHMARKS[name].kind and grader == BENCHMARKS[name].grader
    for problem in problems:
        assert problem["problem"].strip()
        if kind == "code":
            assert "answer" not in problem and problem["tests"] and problem["problem"] == problem["prompt"]
        else:
            assert problem["answer"].strip()


@pytest.mark.parametrize(("split", "rows"), [("train", 464), ("prompt", 10)])
def test_splits_of_a_file(shared_data, split, rows):
    assert len(sources.load("mbpp", split, str(shared_data), 0)) == rows


@pytest.mark.parametrize("name", ["gpqa_diamond", "livecodebench", "mmlu"])
def test_a_file_of_ones_own_in_place_of_the_download(write_jsonl, tmp_path, name):
    write_jsonl(f"{name}.jsonl", [{"id": "a", "problem": "p", "answer": "B", "choices": ["x", "y"]}])
    assert [row["id"] for row in sources.load(name, "test", str(tmp_path), 0)] == ["a"]


@pytest.mark.parametrize(("split", "ids"), [("2024-08..2025-01", ["b", "c"]), ("2024-07..2024-07", ["a"])])
def test_months_of_livecodebench(write_jsonl, tmp_path, split, ids):
    dates = {"a": "2024-07-31", "b": "2024-08-01", "c": "2025-01-31", "d": "2025-02-01"}
    write_jsonl("livecodebench.jsonl", [{"id": i, "prompt": "p", "cases": [1], "date": d} for i, d in dates.items()])
    assert [row["id"] for row in sources.load("livecodebench", split, str(tmp_path), 0)] == ids


@pytest.mark.parametrize(
    ("name", "split", "dir", "says"),
    [
        ("math500", "test", "", "math500 has no public download here; expected math500.jsonl"),
        ("aime24", "train", "{data}", "aime24 has 'test'"),
        ("mbpp", "validation", "{data}", "'prompt', 'test', 'train'"),
        ("mmlu", "train", "", "'test', 'validation', 'dev'"),
        ("gpqa_diamond", "test", "{data}", "holds no gpqa_diamond.jsonl"),
        ("svamp", "test", "{data}/missing", "no such folder"),
    ],
)
def test_what_is_not_there_is_named(shared_data, name, split, dir, says):
    with pytest.raises(UsageError) as error:
        sources.load(name, split, dir.replace("{data}", str(shared_data)), 0)
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"tests": "assert f()"}, "no `problem`|None as `problem`"),
        ({"tests": "", "prompt": "p"}, "no `problem`"),
        ({"tests": "assert f()", "prompt": "p", "answer": ""}, "`answer`"),
    ],
)
def test_programs_need_a_prompt_and_tests(write_jsonl, row, says):
    path = write_jsonl("p.jsonl", [row])
    with pytest.raises(UsageError, match=says):
        list(sources.load(str(path), "test", "", 0))


def prompt_of(template, problem):
    made = find_template(template)(problem)
    return made if isinstance(made, str) else made[0]["content"]


CHOICES = ["one", "two", "three"]


@pytest.mark.parametrize("template", ["choice", "choice_plain", "boxed", "boxed_plain", "r1_zero", "minerva_math"])
@pytest.mark.parametrize(
    "text", ["Which?", "Which?\n(A) one\n(B) two\n(C) three", "Which? A. one B. two C. three", "one, two or three?"]
)
def test_choices_are_shown_once(template, text):
    prompt = prompt_of(template, {"problem": text, "choices": CHOICES, "answer": "A"})
    asked = prompt.rpartition("Problem:")[2]
    for letter, choice in zip("ABC", CHOICES, strict=True):
        assert len(re.findall(rf"\(?{letter}[).] ?{choice}", asked)) == 1


def test_the_shared_choices_are_not_shown_again(shared_data):
    for problem in sources.load("mmlu_stem", "test", str(shared_data), 0):
        assert statement(problem) == problem["problem"]


FUNCTION = {"problem": "def f(x):\n", "prompt": "def f(x):\n", "prompt_type": "completion", "tests": "assert f(1)"}
TASK = {"problem": "Write f.", "prompt_type": "instruction", "test_list": ["assert f(1) == 2 "], "tests": "…"}
INPUT = {"problem": "Add two numbers.", "prompt_type": "instruction", "cases": [{"input": "1 2", "output": "3"}]}


def test_prompts_of_programs():
    assert prompt_of("code_plain", FUNCTION) == "def f(x):\n"
    assert "```python\ndef f(x):\n```" in prompt_of("code", FUNCTION)
    for template in ("code", "code_plain"):
        assert "assert f(1) == 2" in prompt_of(template, TASK) and "Write f." in prompt_of(template, TASK)
        assert "standard input" in prompt_of(template, INPUT) and "1 2" not in prompt_of(template, INPUT)
    compile(prompt_of("code_plain", {**TASK, "problem": 'Strip """ from it.'}), "prompt", "exec")


def test_where_a_base_model_would_go_on():
    assert stops_of(find_template("r1_zero"), {}) == ()
    assert "\ndef" in stops_of(find_template("code_plain"), FUNCTION)
    assert "\ndef" not in stops_of(find_template("code_plain"), TASK)
    for template in ("minerva_math", "minerva_words"):
        prompt = prompt_of(template, {"problem": "P?"})
        (stop,) = stops_of(find_template(template), {})
        # Between two worked problems the text is the one that ends a completion.
        assert prompt.count(stop) == 4 and prompt.endswith("Problem:\nP?\n\nSolution:")


@pytest.mark.parametrize("examples", [few_shot.MATH, few_shot.WORDS])
def test_the_answers_of_worked_examples_are_read_as_those_of_completions(examples):
    assert len(examples) == 4
    prompt = few_shot.write(examples, {"problem": "P?"})
    solutions = [part.partition("\n\nProblem:")[0] for part in prompt.split("Solution:")[1:5]]
    assert [final_answer(solution) for solution in solutions] == [answer for *_, answer in examples]
    # And are what their solutions end with.
    for _, solution, answer in examples:
        assert answer.strip("$") in re.split(r"(?<=\.) ", solution)[-1]


def test_worked_examples_are_of_no_data_set(shared_data):
    texts = [text for examples in (few_shot.MATH, few_shot.WORDS) for text, *_ in examples]
    plain = {re.sub(r"\W", "", text).lower() for text in texts}
    for file in (shared_data / "math").glob("*.jsonl"):
        found = {re.sub(r"\W", "", json.loads(line)["problem"]).lower() for line in file.open(encoding="utf-8")}
        assert not plain & found


def settled(data="gsm8k", problems=1319, rows=({"problem": "p", "answer": "1"},), **given):
    flags = dict.fromkeys(("samples", "temperature", "top_p", "max_tokens"))
    flags |= {"data": data, "protocol": "", "template": "", "grader": "auto"} | given
    return settle(flags, [*rows] * (problems // len(rows)))


@pytest.mark.parametrize(
    ("data", "grader", "template"),
    [
        ("gsm8k", "number", "r1_zero"), ("svamp", "number", "r1_zero"), ("math500", "accuracy", "r1_zero"),
        ("aime24", "accuracy", "r1_zero"), ("amc23", "accuracy", "r1_zero"), ("mmlu", "choice", "choice_plain"),
        ("gpqa_diamond", "choice", "choice_plain"), ("humaneval", "code", "code_plain"),
        ("livecodebench", "code", "code_plain"), ("gsm8k+svamp", "number", "r1_zero"),
        ("gsm8k+math", "accuracy", "r1_zero"), ("word_problems", "accuracy", "r1_zero"),
        ("a.jsonl", "accuracy", "r1_zero"),
    ],
)  # fmt: skip
def test_what_a_data_set_brings_with_it(data, grader, template):
    made = settled(data)
    assert (made["grader"], made["template"]) == (grader, template)
    assert (made["samples"], made["temperature"], made["top_p"], made["max_tokens"]) == (1, 0.0, 1.0, 1024)


@pytest.mark.parametrize(
    ("row", "grader", "template"),
    [({"tests": "t"}, "code", "code"), ({"cases": []}, "code", "code"), ({"choices": ["a"]}, "choice", "choice")],
)
def test_what_the_rows_of_a_file_bring_with_them(row, grader, template):
    made = settled("a.jsonl", rows=[{"problem": "p", **row}], protocol="r1")
    assert (made["grader"], made["template"]) == (grader, template)


@pytest.mark.parametrize(
    ("problems", "samples"), [(30, 64), (40, 64), (64, 64), (65, 32), (198, 16), (500, 8), (1319, 4), (14042, 4)]
)
def test_the_protocol_of_r1(problems, samples):
    made = settled("math500", problems, protocol="r1")
    assert (made["temperature"], made["top_p"], made["max_tokens"], made["template"]) == (0.6, 0.95, 32768, "boxed")
    assert made["samples"] == samples


def test_the_protocol_of_minerva():
    greedy, voted = settled(protocol="minerva"), settled("math", protocol="minerva", samples=64)
    assert (greedy["samples"], greedy["temperature"], greedy["top_p"]) == (1, 0.0, 1.0)
    assert (voted["samples"], voted["temperature"], voted["top_p"]) == (64, 0.6, 0.95)
    assert (greedy["template"], voted["template"]) == ("minerva_words", "minerva_math")


@pytest.mark.parametrize("protocol", ["", "r1", "minerva"])
def test_what_is_given_wins(protocol):
    given = {"samples": 3, "temperature": 0.0, "top_p": 0.5, "max_tokens": 7, "template": "none", "grader": "math"}
    made = settled("humaneval", protocol=protocol, **given)
    assert {name: made[name] for name in given} == given


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"data": "humaneval", "protocol": "minerva"}, "no prompt for problems of code"),
        ({"data": "gsm8k+mmlu"}, "different graders; expected --grader"),
        ({"data": "gsm8k+mmlu", "grader": "choice"}, "expected --template"),
        ({"protocol": "r11"}, "did you mean 'r1'"),
    ],
)
def test_what_cannot_be_settled(given, says):
    with pytest.raises(UsageError, match=re.escape(says)):
        settled(**given)


SCORES = {"reward_model": "R", "choose": "", "aggregation": "", "step_separator": ""}
SCORES |= dict.fromkeys(("expansions", "width", "simulations"))
BEAM = {"choose": "score", "expansions": 4, "width": 4, "simulations": None}
TREE = {"choose": "score", "expansions": 4, "width": None, "simulations": 32}
PROCESS = {"aggregation": "product", "step_separator": "\n"}
UNREAD = dict.fromkeys(("choose", "aggregation", "step_separator", "expansions", "width", "simulations"))


@pytest.mark.parametrize(
    ("search", "kind", "given", "expected"),
    [
        ("", "", {}, {}),
        ("", "preference", {}, {}),
        ("", "outcome", {}, {}),
        ("", "process", {}, PROCESS),
        ("", "process", {"aggregation": "last"}, {**PROCESS, "aggregation": "last"}),
        ("beam", "process", {}, {**BEAM, **PROCESS}),
        (
            "tree",
            "process",
            {"choose": "vote", "simulations": 3},
            {**TREE, **PROCESS, "choose": "vote", "simulations": 3},
        ),
        # Steps are drawn one by one, whoever scores them.
        ("beam", "outcome", {"step_separator": "a"}, {**BEAM, "step_separator": "a"}),
        ("tree", "outcome", {}, {**TREE, "step_separator": "\n"}),
    ],
)
def test_what_a_search_and_a_reward_model_do(search, kind, given, expected):
    made = settle_scores({"search": search, **SCORES, **given}, kind)
    assert made == {"search": search, "reward_model": "R", **UNREAD, **expected}


@pytest.mark.parametrize("given", [{"aggregation": "last"}, {"step_separator": "a"}])
def test_what_a_reward_model_does_not_read_is_refused(given):
    with pytest.raises(UsageError, match="was trained for outcome; expected a process reward model"):
        settle_scores({"search": "", **SCORES, **given}, "outcome")


def test_every_template_writes_something():
    for name in TEMPLATES:
        assert prompt_of(name, {"id": "a", "problem": "P?", "answer": "1", "solution": "one"}).strip()
