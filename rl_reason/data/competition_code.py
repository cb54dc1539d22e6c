"""Rows of LiveCodeBench as problems (arXiv 2403.07974).

Some of its test cases are published as a pickle of one string, compressed and in base64. Unpickling can run any code,
so the pickle is never loaded: its instructions are listed, and where they are others than those that make one string
the row is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import zlib
from collections.abc import Mapping
from typing import Any

LARGEST_CASES = 2_000_000
"""Characters of the cases of a problem that are kept; the whole data set has gigabytes of them."""
_LARGEST_TEXT = 512 * 2**20
"""Bytes that a row's cases may have when they are unpacked."""
_AROUND_A_STRING = {"PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "STOP"}
_AS_LIST = "def as_list(x):\n    return list(x) if isinstance(x, tuple) else x\n"
"""JSON has no tuples."""
_STRINGS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}


def livecodebench_problem(row: Mapping[str, Any]) -> dict:
    """A line of LiveCodeBench's `test*.jsonl`.

    Returns:
        A problem without an answer: `prompt` (with the starter code, if there is one), and `tests` and `entry_point`
        where it is about a method, else `cases`: {"input", "output"} of a program that reads standard input. Cases are
        kept in order up to `LARGEST_CASES`, at least one; `cases_left_out` says how many others there are.

    Raises:
        ValueError: what cannot be read of it.
    """
    for key in ("question_id", "question_content", "public_test_cases", "private_test_cases"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise ValueError(f"no text {key!r}")
    cases = _cases(row["public_test_cases"]) + _cases(row["private_test_cases"])
    if not cases:
        raise ValueError("no test cases")
    size, kept = 0, 0
    for kept, case in enumerate(cases, 1):  # noqa: B007 (how many is read behind the loop)
        size += len(case["input"]) + len(case["output"])
        if size >= LARGEST_CASES:
            break
    prompt, starter = row["question_content"], (row.get("starter_code") or "").rstrip()
    if starter:
        prompt += f"\n\nComplete this:\n```python\n{starter}\n```"
    made = {
        "id": f"livecodebench/{row['question_id']}",
        "problem": prompt,
        "prompt": prompt,
        "prompt_type": "instruction",
        "subject": str(row.get("difficulty") or ""),
        "source": "livecodebench",
        "date": str(row.get("contest_date") or "")[:10],
        "cases_left_out": len(cases) - kept,
    }
    method = json.loads(row.get("metadata") or "{}").get("func_name")
    if method is None:
        return made | {"cases": cases[:kept]}
    if not str(method).isidentifier():
        raise ValueError(f"func_name={method!r:.40}: expected a name")
    tests = "\n".join([_AS_LIST, *(_assertion(method, case) for case in cases[:kept])]) + "\n"
    return made | {"entry_point": "Solution", "tests": tests}


def _assertion(method: str, case: Mapping[str, str]) -> str:
    # Arguments stand one a line, and all are JSON; as Python they are literals.
    arguments = ", ".join(repr(json.loads(line)) for line in case["input"].split("\n") if line.strip())
    return f"assert as_list(Solution().{method}({arguments})) == {json.loads(case['output'])!r}"


def _cases(text: str) -> list[dict[str, str]]:
    try:
        found = json.loads(text)
    except ValueError:
        found = json.loads(string_of_pickle(_unpack(text)))
    if not isinstance(found, list):
        raise ValueError("expected a list of test cases")
    for case in found:
        if not (isinstance(case, dict) and all(isinstance(case.get(key), str) for key in ("input", "output"))):
            raise ValueError("a test case without the texts 'input' and 'output'")
    return [{"input": case["input"], "output": case["output"]} for case in found]


def _unpack(text: str) -> bytes:
    try:
        packed = base64.b64decode(text, validate=True)
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(packed, _LARGEST_TEXT)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"test cases that are neither JSON nor packed: {error}") from None
    if unpacking.unconsumed_tail or not unpacking.eof:
        raise ValueError(f"test cases of more than {_LARGEST_TEXT} bytes, or torn")
    return data


def string_of_pickle(data: bytes) -> str:
    """The one string that a pickle holds. Reads its instructions and carries none of them out.

    Raises:
        ValueError: it holds anything else, or would do anything else.
    """
    strings = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in _STRINGS:
                strings.append(argument)
            elif opcode.name not in _AROUND_A_STRING:
                raise ValueError(f"a pickle that does {opcode.name}; expected one that holds a string")
    except UnicodeDecodeError as error:
        raise ValueError(f"a pickle whose string is not UTF-8: {error.reason}") from None
    if len(strings) != 1 or not isinstance(strings[0], str):
        raise ValueError(f"a pickle with {len(strings)} strings; expected one")
    return strings[0]
