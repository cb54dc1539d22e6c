"""The same checkpoint, prompts and questions through this project's evaluation and through lm-evaluation-harness.

    python -m experiments.harness_agreement.run --harness=OTHER/bin/python --dir=DIR --output=runs/harness_agreement

OTHER is a virtual environment with the harness (`pip install 'lm_eval[hf]'`), DIR has gsm8k_test.jsonl. Greedy,
float32, on CPU. Writes OUTPUT/results.json: what each says, and of each question on which they differ, why.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rl_reason.data import sources
from rl_reason.data.jsonl import read_jsonl
from rl_reason.errors import RunError, run_command
from rl_reason.runtime.flags import REQUIRED, Spec, parse_flags
from rl_reason.runtime.progress import table
from rl_reason.runtime.workdir import write_atomic

FLAGS: Spec = {
    "harness": (str, REQUIRED, "a Python that has lm_eval"),
    "dir": (str, REQUIRED, "folder with gsm8k_test.jsonl"),
    "model": (str, "checkpoints/tiny", "a Hugging Face folder"),
    "problems": (int, 200, "the first so many of each data set"),
    "max_tokens": (int, 80, "limit of a completion"),
    "output": (str, "runs/harness_agreement", "what both write, and results.json"),
}
DATA = ("gsm8k", "word_problems", "word_problems_begun")
"""The last one begins the answer with a thought and the left side of its first calculation: the shipped model works the
problem out then, and is mostly right; left to itself it blurts an answer out."""
TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: generate_until
doc_to_text: problem
doc_to_target: answer
generation_kwargs:
  until: ["<|endoftext|>"]
  do_sample: false
  max_gen_toks: {max_tokens}
filter_list:
  - name: last-number
    filter:
      - function: regex
        regex_pattern: "(-?[$0-9.,]{{2,}})|(-?[0-9]+)"
        group_select: -1
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
    ignore_punctuation: false
    regexes_to_ignore: [",", "\\\\$", "\\\\.$"]
"""
"""The harness's own GSM8K task with its flexible filter (the last number), without examples before the question."""


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    output = Path(flags["output"]).resolve()
    output.mkdir(parents=True, exist_ok=True)
    results: dict = {"max_tokens": flags["max_tokens"], "harness": _version(flags["harness"])}
    for name in DATA:
        source, folder = ("gsm8k", flags["dir"]) if name == "gsm8k" else ("word_problems", "")
        problems = sources.load(source, "test", folder, 0)[: flags["problems"]]
        # Both sides send `problem` as it is.
        rows = [{**problem, "problem": _prompt(problem, name.endswith("begun"))} for problem in problems]
        file = output / f"{name}.jsonl"
        write_atomic(file, "".join(json.dumps(row) + "\n" for row in rows))
        results[name] = compare(_ours(flags, file, output / f"{name}_ours"), _theirs(flags, name, file, output))
    write_atomic(output / "results.json", json.dumps(results, indent=2) + "\n")
    show(results)


def show(results: Mapping) -> None:
    rows = [
        [name, made["n"], made["ours"], made["theirs"], made["same_completion"], made["same_verdict"]]
        for name, made in results.items()
        if name in DATA
    ]
    columns = ["", "problems", "right here", "right there", "same completion", "same verdict"]
    table("rl_reason (here) and lm-evaluation-harness (there)", columns, rows)


def _prompt(problem: dict, begun: bool) -> str:
    first = f"<think>{problem['solution'].partition('=')[0]}=" if begun else ""
    return f"{problem['problem']}\n{first}"


def compare(ours: Sequence[dict], theirs: Sequence[dict]) -> dict:
    """Both sides' samples of the same questions, in order.

    A difference is of the "completion", where the two sampled other texts, or of the "answer", where they read another
    answer out of the same text.
    """
    differences = []
    same_completion = 0
    for mine, other in zip(ours, theirs, strict=True):
        is_same = mine["completion"].strip() == other["completion"].strip()
        same_completion += is_same
        if mine["correct"] != other["correct"]:
            told = {"id": mine["id"], "because": "answer" if is_same else "completion", "answer": mine["answer"]}
            told |= {"ours": mine["extracted"], "theirs": other["extracted"], "right": _who(mine, other)}
            differences.append(told | {"completion": mine["completion"], "finish": mine["finish"]})
    return {
        "n": len(ours),
        "ours": sum(row["correct"] for row in ours),
        "theirs": sum(row["correct"] for row in theirs),
        "same_completion": same_completion,
        "same_verdict": len(ours) - len(differences),
        "because": dict(Counter(row["because"] for row in differences)),
        "differences": differences,
    }


def _who(mine: dict, other: dict) -> str:
    return "ours" if mine["correct"] else "theirs" if other["correct"] else "neither"


def _ours(flags: dict, file: Path, folder: Path) -> list[dict]:
    asked = {"model": flags["model"], "data": file, "template": "none", "grader": "number", "dtype": "float32"}
    asked |= {"max_tokens": flags["max_tokens"], "output": folder}
    _run([sys.executable, "-m", "rl_reason.evaluate", *(f"--{name}={value}" for name, value in asked.items())])
    return [row for _, row in read_jsonl(folder / "samples.jsonl")]


def _theirs(flags: dict, name: str, file: Path, output: Path) -> list[dict]:
    task, folder = f"plain_{name}", output / f"{name}_theirs"
    tasks = output / f"{name}_task"
    tasks.mkdir(exist_ok=True)
    write_atomic(tasks / f"{task}.yaml", TASK.format(name=task, file=file, max_tokens=flags["max_tokens"]))
    if not list(folder.rglob("samples_*.jsonl")):
        _run(
            [flags["harness"], "-m", "lm_eval", "--model", "hf", "--model_args"]
            + [f"pretrained={flags['model']},dtype=float32", "--tasks", task, "--include_path", str(tasks)]
            + ["--output_path", str(folder), "--log_samples", "--batch_size", "16", "--device", "cpu"]
        )
    rows = [row for _, row in read_jsonl(max(folder.rglob("samples_*.jsonl")))]
    rows.sort(key=lambda row: row["doc_id"])
    return [
        {"completion": row["resps"][0][0], "extracted": row["filtered_resps"][0], "correct": row["exact_match"] == 1}
        for row in rows
    ]


def _version(python: str) -> str:
    program = "from importlib.metadata import version; print('lm_eval', version('lm_eval'))"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True)
    if done.returncode:
        raise RunError(f"--harness={python}: has no lm_eval")
    return done.stdout.strip()


def _run(command: list[str]) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if subprocess.run(command, env={**os.environ, **offline}).returncode:
        raise RunError(f"failed: {' '.join(command)}")


if __name__ == "__main__":
    run_command(main)
