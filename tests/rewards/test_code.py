"""The grader `code` on honest programs: what it takes for a program, and what it says of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rl_reason.rewards.code import code, code_unisolated, program_of
from rl_reason.rewards.verdict import UnparseableGold

ROOT = Path(__file__).resolve().parents[2]
F = "def f(x):\n    return x"


@pytest.mark.parametrize("completion, program", [
    (F, F),
    (f"```python\n{F}\n```", F),
    (f"So:\n```py\n{F}\n```\nIt returns:\n```\n3\n```\n", F),  # A marked block before a bare one.
    (f"```python\nwrong\n```\nNo:\n```Python3\n{F}\n```", F),  # The last of several.
    (f"```\nwrong\n```\n~~~\n{F}\n~~~", F),
    (f"```python\n{F}\n", F + "\n"),  # It was cut off, or the end of the block ended it.
    (f"{F}\n```", F),  # The prompt opened it.
    (f"1. So:\n   ```python\n   {F.replace(chr(10), chr(10) + '   ')}\n   ```", F),
    (f"````python\n{F}\n```\n````", F + "\n```"),
    (f"<think>```python\nwrong\n```</think>\n```python\n{F}\n```", F),
    (f"<think>x</think><answer>{F}</answer>", F),
    (f"<answer>wrong</answer><answer>\n```python\n{F}\n```\n</answer>", F),
    ("    return x\n", "    return x\n"),  # The indentation of a body stays.
    ("```python\n    return x\n```", "    return x"),
    ("", None), (" \n ", None), ("```python\n```", None), ("<answer></answer>", None),
    ("```cpp\nint main() {}\n```", None),
    (f"<think>```python\n{F}\n```", None),  # The thought does not end.
    ("x" * 1_000_001, None),
])  # fmt: skip
def test_the_program_in_a_completion(completion, program):
    assert program_of(completion) == program


PAIR = "class Pair:\n    def __init__(self, a): self.a = a\n    def twice(self): return Pair(2 * self.a)\n"
PROMPT = 'from typing import List\n\ndef helper(x):\n    return x + 1\n\ndef f(x: List[int]):\n    """Doubles."""\n'
DOUBLE = {"prompt": PROMPT, "prompt_type": "completion", "entry_point": "f", "tests": "assert f([1]) == [2]"}


@pytest.mark.parametrize("program, tests, verdict", [
    (F, "assert f(3) == 3", "correct"),
    (F, "assert f(3) == 4", "wrong"),
    (F, "def check(candidate):\n    assert candidate(x=3) == 3\n\ncheck(f)", "correct"),
    ("f = lambda *a, **k: (a, k)", "assert f(1, b=[2]) == ((1,), {'b': [2]})", "correct"),
    ("def f(x): x.append(1); x[0].clear(); return x", "a = [{2}]\nassert f(a) is a and a == [set(), 1]", "correct"),
    ("def f(x): x['a'] = 1; del x['b']", "a = {'b': 2}\nf(a)\nassert a == {'a': 1}", "correct"),
    ("def f(x): return (i * i for i in x)", "assert list(f([1, 2])) == [1, 4]", "correct"),
    ("def f(x): yield x", "assert next(iter(f(3))) == 3 and 3 in f(3)", "correct"),
    (PAIR + "def f(x): return sum(one.a for one in x)", "assert f([Pair(1), Pair(2).twice()]) == 5", "correct"),
    (PAIR + "f = Pair", "p = f(1)\np.a = 4\nassert p.twice().a == 8 and p is not f(1)", "correct"),
    (PAIR + "f = Pair", "assert f(1) == f(1)", "wrong"),  # Equal by identity only: its own equality is not asked.
    ("def f(x): raise ValueError('no')", "try: f(1)\nexcept ValueError as e: assert str(e) == 'no'", "correct"),
    ("class Own(Exception): pass\ndef f(x): raise Own", "try: f(1)\nexcept Exception: pass", "correct"),
    ("def f(x): return float('nan')", "assert f(1) != f(1)", "correct"),
    # A module that the tests use and do not import is that of the library, whatever the program calls so.
    ("import math\ndef f(x): return x", "assert f(math.pi) == math.pi", "correct"),
    ("def f(x): return 2 * x", "assert f(3) == math.prod([2, 3])", "correct"),
    ("class sys: getsizeof = lambda x: 7\ndef f(x): return 7", "assert f((1,)) == sys.getsizeof((1,))", "wrong"),
    ("import math\nmath.floor = lambda x: 7\ndef f(x): return 7", "assert f(3) == math.floor(3.5)", "wrong"),
    ("import math as m\ndef f(x): return x", "assert f(m.pi) == 3.141592653589793", "correct"),
    ("def winreg(x): return x\ndef f(x): return x", "assert f(3) == winreg(3)", "correct"),  # Not on this system.
    ("def f(x): return 10 ** x", "assert f(5000) == 10 ** 5000", "correct"),
    ("import collections\ndef f(x): return collections.Counter(x)", "assert f('aab') == {'a': 2, 'b': 1}", "correct"),
    ("def sum(x, y): return x - y\ndef f(x): return x", "assert f(3) == 3 and sum([1, 2]) == 3", "correct"),
    ("import asyncio\nasync def g(x): return x\ndef f(x): return asyncio.run(g(x))", "assert f(1) == 1", "correct"),
    ("import threading\ndef f(x):\n    t = threading.Thread(target=x.append, args=(1,)); t.start(); t.join(); return x",
     "assert f([]) == [1]", "correct"),
    ("from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\ndef f(x): return A(x).x", "assert f(1) == 1",
     "correct"),
    ("def f(x): return open('/tmp/x', 'w').write(str(x))", "assert f(12) == 2", "correct"),
    ("print('hello')\ndef f(x): print(x); return x", "assert f(3) == 3", "correct"),
    ("if __name__ == '__main__': 1 / 0\n" + F, "assert f(3) == 3", "correct"),
    ("1 / 0\n" + F, "assert f(3) == 3", "wrong"),
    ("def f(x): return x\nx = input()", "assert f(3) == 3", "wrong"),
    ("def g(x): return x", "assert f(3) == 3", "wrong"),
    ("def f(x) return x", "assert f(3) == 3", "unparseable"),
    ("I do not know.", "assert f(3) == 3", "unparseable"),
    ("def f(x):\n    while True: pass", "assert f(3) == 3", "timeout"),
    ("import os\ndef f(x): os.abort()", "assert f(3) == 3", "crash"),
])  # fmt: skip
def test_verdicts(program, tests, verdict, isolation):
    graded = code(program, {"tests": tests, "entry_point": "f"}, 1.0 if verdict == "timeout" else 20.0)
    assert (graded.verdict, graded.score) == (verdict, float(verdict == "correct")) and graded.extracted == program


def test_a_function_may_be_called_like_a_module(isolation):
    problem = {"tests": "assert copy([1]) == [1] and heapq.nlargest(1, copy([1])) == [1]", "entry_point": "copy"}
    assert code("def copy(x): return x[:]", problem).verdict == "correct"


@pytest.mark.parametrize("completion, tests, verdict", [
    ("    return [2 * i for i in x]\n", DOUBLE["tests"], "correct"),
    ("\n    return [2 * i for i in x]", DOUBLE["tests"], "correct"),
    ("def f(x: List[int]):\n    return [helper(i) * 1 for i in x]", DOUBLE["tests"], "correct"),
    ("from __future__ import annotations\ndef f(x: L):\n    return [2 * i for i in x]", DOUBLE["tests"], "correct"),
    ("    return x\n", DOUBLE["tests"], "wrong"),
    ("", DOUBLE["tests"], "unparseable"),
    ("return x", DOUBLE["tests"], "unparseable"),
    # What the tests use comes from the prompt where it stands there, whatever the program makes of it.
    ("    return x\n\ndef helper(x):\n    return x\n", "assert f([1]) == [helper(0)] and helper(1) == 2", "correct"),
    ("    return 0\n\ndef helper(x):\n    return 0\n", "assert f([1]) == helper(0)", "wrong"),
])  # fmt: skip
def test_completions_of_a_prompt(completion, tests, verdict, isolation):
    assert code(completion, DOUBLE | {"tests": tests}).verdict == verdict


RUN = ("ask nothing", "cannot be sent")
"""What only running the tests tells."""


@pytest.mark.parametrize("problem, part", [
    ({"tests": "assert f(", "entry_point": "f"}, "do not compile"),
    ({"tests": "x = 1", "entry_point": "f"}, "ask nothing"),
    ({"tests": "f(lambda: 1)", "entry_point": "f"}, "cannot be sent"),
    ({"tests": "try: f(object())\nexcept BaseException: pass", "entry_point": "f"}, "cannot be sent"),
    ({"tests": "", "entry_point": "f"}, "tests"),
    ({"tests": "f(1)"}, "entry_point"),
    ({"tests": ["assert f(1)"], "entry_point": "f"}, "tests"),
    ({"tests": "f(1)", "entry_point": "f", "prompt_type": "completion"}, "prompt"),
    ({"cases": []}, "cases"),
    ({"cases": "x"}, "cases"),
    ({"cases": ["x"]}, "cases"),
    ({"cases": [{"input": 3, "output": "3"}]}, "cases"),
    ({"cases": [{"input": "3"}]}, "cases"),
])  # fmt: skip
def test_tests_that_judge_nothing_reward_nothing(problem, part, isolation):
    with pytest.raises(UnparseableGold, match=part):
        code(F, problem)
    if part not in RUN:
        for check_gold in (code.check_gold, code_unisolated.check_gold):
            with pytest.raises(UnparseableGold, match=part):
                check_gold(problem)


@pytest.mark.parametrize("tests", [
    "assert f(\0)", "\ud800", "x = " + "(" * 100_000, "return f(1)", "assert f(1)\n  assert f(2)",
])  # fmt: skip
def test_what_does_not_compile_cannot_judge(tests):
    with pytest.raises(UnparseableGold, match="do not compile"):
        code.check_gold({"tests": tests, "entry_point": "f"})


@pytest.mark.parametrize("problem", [
    DOUBLE,
    {"tests": "raise SystemExit(f('\\d'))", "entry_point": "f"},  # Compiled, not run, and warned of to nobody.
    {"tests": "import os; os._exit(1)", "entry_point": "f"},
    {"cases": [{"input": "", "output": ""}]},
])  # fmt: skip
def test_what_can_judge_is_not_run(problem, recwarn):
    code.check_gold(problem)
    assert not recwarn.list


@pytest.mark.parametrize("program, cases, verdict", [
    ("print(int(input()) + 1)", [("1\n", "2\n"), ("5\n", "6")], "correct"),
    ("print(int(input()) + 1, '  ')\nprint()", [("1\n", "2\n")], "correct"),
    ("print(int(input()) + 1)", [("1\n", "2\n"), ("5\n", "7")], "wrong"),
    ("print('1 2')", [("", "1\n2")], "wrong"),
    ("import sys\nfor line in sys.stdin: print(line.strip()[::-1])", [("ab\ncd\n", "ba\ndc")], "correct"),
    ("import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())", [("ä" * 300_000, "ä" * 300_000)], "correct"),
    ("if __name__ == '__main__': print(1); exit()", [("", "1")], "correct"),
    ("import threading\nthreading.Thread(target=lambda: print(1)).start()", [("", "1")], "correct"),
    ("print(1); 1 / 0", [("", "1")], "wrong"),
    ("print(1); exit(3)", [("", "1")], "wrong"),
    ("while True: print('1' * 1000)", [("", "1")], "wrong"),
    ("import os\nprint(1, flush=True); os._exit(0)", [("", "1")], "crash"),
    ("print(", [("", "1")], "unparseable"),
    ("import time; time.sleep(1000)", [("", "1")], "timeout"),
])  # fmt: skip
def test_scripts(program, cases, verdict, isolation):
    problem = {"cases": [{"input": given, "output": expected} for given, expected in cases]}
    assert code(program, problem, 1.0 if verdict == "timeout" else 20.0).verdict == verdict


def grade(tmp_path, grader, rows, path=None):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "rl_reason.grade", f"--grader={grader}", f"--input={source}", f"--output={target}"]
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, env=environment)
    return done, [json.loads(line) for line in target.read_text().splitlines()] if target.exists() else []


ROWS = [
    {"completion": f"Here:\n```python\n{F}\n```", "tests": "assert f(3) == 3", "entry_point": "f"},
    {"completion": F, "tests": "assert f(3) == 4", "entry_point": "f"},
    {"completion": "?", "tests": "assert f(3) == 4", "entry_point": "f"},
    {"completion": "import os; os._exit(0)", "tests": "assert f(3) == 4", "entry_point": "f"},
    {"completion": "print(1)", "cases": [{"input": "", "output": "1"}]},
]
VERDICTS = ["correct", "wrong", "unparseable", "crash", "correct"]


def test_the_command(tmp_path, isolation):
    done, graded = grade(tmp_path, "code", ROWS)
    assert done.returncode == 0, done.stderr
    assert [row["verdict"] for row in graded] == VERDICTS
    assert graded[0]["extracted"] == F and [row["reward"] for row in graded] == [1.0, 0.0, 0.0, 0.0, 1.0]
    done, graded = grade(tmp_path, "code", [{"completion": "x", "tests": "assert f(3) == 4"}])
    assert done.returncode == 2 and "'entry_point'" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("problem, part", [
    ({"tests": "assert (", "entry_point": "f"}, "do not compile"),
    ({"cases": []}, "cases=[]"),
    ({"cases": "x"}, "cases='x'"),
])  # fmt: skip
def test_the_command_refuses_what_cannot_judge(problem, part, tmp_path):
    done, graded = grade(tmp_path, "code_unisolated", [ROWS[0], {"completion": F, **problem}])
    assert done.returncode == 2 and not graded
    assert "line 2" in done.stderr and part in done.stderr.splitlines()[-1]


def test_without_isolation_it_refuses_unless_told_otherwise(tmp_path):
    (tmp_path / "bin").mkdir()
    done, graded = grade(tmp_path, "code", ROWS, path=str(tmp_path / "bin"))
    assert done.returncode == 2 and not graded and done.stderr.count("\n") == 1
    assert "bubblewrap is not installed" in done.stderr and "--grader: 'code'" in done.stderr
    # One that is there and may not do what it should.
    text = "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n"
    (tmp_path / "bin" / "bwrap").write_text(text)
    (tmp_path / "bin" / "bwrap").chmod(0o755)
    done, graded = grade(tmp_path, "code", ROWS, path=str(tmp_path / "bin"))
    assert done.returncode == 2 and not graded and "No permissions to create new namespace" in done.stderr
    done, graded = grade(tmp_path, "code_unisolated", ROWS, path=str(tmp_path / "bin"))
    assert [row["verdict"] for row in graded] == VERDICTS and "code_unisolated" in done.stderr


def test_without_walls():
    assert code_unisolated(F, {"tests": "assert f(3) == 3", "entry_point": "f"}).verdict == "correct"
    assert code_unisolated(F, {"tests": "assert f(3) == 4", "entry_point": "f"}).verdict == "wrong"


@pytest.mark.parametrize("name, every", [("humaneval", 8), ("mbpp", 40), ("mbpp_sanitized", 40)])
def test_reference_solutions(name, every, shared_code, isolation):
    """All of them: `python -m experiments.graders_code.run`."""
    rows = [json.loads(line) for line in (shared_code / f"{name}.jsonl").read_text().splitlines()]
    for row, other in zip(rows[::every], rows[1::every], strict=False):
        assert code(row["solution"], row).verdict == "correct", row["id"]
        assert code(f"def {row['entry_point']}(*a, **k): return None", row).verdict == "wrong", row["id"]
        assert code(other["solution"], row).verdict != "correct", row["id"]
        if name == "humaneval":
            assert code(row["solution"].removeprefix(row["prompt"]), row).verdict == "correct", row["id"]
