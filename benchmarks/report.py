"""`python -m benchmarks.report [--steps=200] [--samples=20000] [--repeats=3] [--json=FILE]`: how long the report page
of a long run takes to open in Chromium. Where the table of samples can be used later than after 3 s, or the page's main
thread computes for longer, it fails behind its own table.

The run is made here: metrics as a run has them, completions that are made of worked solutions, cut into tokens by the
shipped tokenizer, with a log-probability of each token under policy and reference. Seconds are those of the page, from
its opening until the table of samples can be used, and until everything in view is drawn. Beside them stands what the
page's main thread has computed until then, which other work on the machine does not make longer.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import machine
from benchmarks.browser import browser, missing, open_report
from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.runtime.flags import Spec, parse_flags
from rl_reason.runtime.progress import Progress, table
from rl_reason.runtime.workdir import write_atomic

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession, Page

LIMIT = 3.0
"""Seconds, of each of `LIMITED`."""
LIMITED = {"samples_s": "table of samples can be used", "thread_s": "processor time of its main thread"}
GROUP = 10
TOKENIZER = "checkpoints/tiny"
FLAGS: Spec = {
    "steps": (int, 200, "of the run"),
    "samples": (int, 20_000, "in its samples.jsonl"),
    "repeats": (int, 3, "times that the page is opened, each in a browser of its own"),
    "json": (str, "", "file for the same figures as JSON"),
}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    for name, least in (("steps", 1), ("samples", GROUP * flags["steps"]), ("repeats", 1)):
        if flags[name] < least:
            raise UsageError(f"--{name}={flags[name]}: expected at least {least}")
    if flags["json"] and not Path(flags["json"]).absolute().parent.is_dir():
        raise UsageError(f"--json={flags['json']}: expected a file in a folder that exists")
    if lack := missing():
        raise RunError(lack)

    from rl_reason.runtime.report import write_report

    with tempfile.TemporaryDirectory() as place:
        folder = make_run(Path(place) / "run", flags["steps"], flags["samples"])
        begun = time.perf_counter()
        page = write_report(folder)
        made = {
            "machine": machine.describe(gpu=False),
            "steps": flags["steps"],
            "samples": flags["samples"],
            "tokens": sum(json.loads(line)["tokens"] for line in (folder / "samples.jsonl").open()),
            "page_bytes": page.stat().st_size,
            "write_s": time.perf_counter() - begun,
            **_opened(page, flags["repeats"]),
            # What else the machine had to do.
            "load": os.getloadavg()[0],
        }
    if flags["json"]:
        write_atomic(Path(flags["json"]), json.dumps(made, indent=2) + "\n")
    _show(made)
    late = [f"{name}: {made[key]:.2f} s" for key, name in LIMITED.items() if made[key] > LIMIT]
    if late:
        raise RunError(f"{', '.join(late)}; expected at most {LIMIT:g} s")


def _opened(page: Path, repeats: int) -> dict[str, float]:
    """Medians of what the page measures itself, in seconds."""
    found = []
    for _ in range(repeats):
        with browser() as one:
            sessions: list = []
            opened, troubles = open_report(one, page, watch=lambda new, made=sessions: made.append(_measured(new)))
            if troubles:
                raise RunError(f"the page tells of an error: {troubles[0]}")
            marks = opened.evaluate("performance.getEntriesByType('mark').map(mark => [mark.name, mark.startTime])")
            search = opened.evaluate(_SEARCH)
            (session,) = sessions
            counted = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
            found.append({**dict(marks), "search": search, "thread": 1000 * counted["TaskDuration"] - search})
    names = ("samples", "ready", "search", "thread")
    return {f"{name}_s": median(one[name] for one in found) / 1000 for name in names}


def _measured(page: Page) -> CDPSession:
    """Has the processor's time counted."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    return session


_SEARCH = """() => {
  filters.text.value = "wait, let me check";
  const begun = performance.now();
  filter();
  return performance.now() - begun;
}"""


def _show(made: dict) -> None:
    seconds = {
        "samples_s": LIMITED["samples_s"],
        "ready_s": "everything in view is drawn",
        "thread_s": LIMITED["thread_s"],
        "search_s": "search of a text in all samples",
        "write_s": "the page is written",
    }
    rows = [[name, f"{made[key]:.2f} s", f"{LIMIT:g} s" * (key in LIMITED)] for key, name in seconds.items()]
    rows.append(["size of the page", f"{made['page_bytes'] / 2**20:.1f} MiB", ""])
    title = (
        f"{made['steps']} steps, {made['samples']} samples, {made['tokens']} tokens; {made['machine']['cores']} × "
        f"{made['machine']['cpu']}, load {made['load']:.1f}"
    )
    table(title, ["", "measured", "limit"], rows)


def make_run(folder: Path, steps: int, samples: int) -> Path:
    """A run's folder as `rl_reason.train` leaves it, as far as the page reads it; the same for the same numbers."""
    from rl_reason.settings import defaults

    config = defaults()
    config.steps = steps
    config.reward.names, config.reward.weights = ("marked_number", "format"), (1.0, 0.1)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    rng = np.random.default_rng(0)
    lines = (json.dumps({"step": step} | _metrics(step / steps, rng)) for step in range(1, steps + 1))
    (folder / "metrics.jsonl").write_text("".join(line + "\n" for line in lines))
    with open(folder / "eval.jsonl", "w") as file:
        for step in range(0, steps + 1, max(steps // 10, 1)):
            share = 0.2 + 0.6 * step / steps
            bounds = [share - 0.05, share + 0.05]
            record = {"step": step, "dataset": "word_problems/test", "n": 250, "pass@1": share, "pass@1_ci95": bounds}
            file.write(json.dumps(record) + "\n")
    with open(folder / "samples.jsonl", "w") as file:
        for record in _samples(steps, samples, rng):
            file.write(json.dumps(record) + "\n")
    return folder


def _metrics(done: float, rng: np.random.Generator) -> dict[str, float]:
    """Of a step, the share `done` of all behind it: what a run of GRPO writes, with noise."""
    noise = lambda scale: float(rng.normal(0, scale))  # noqa: E731
    right = 0.2 + 0.6 * done + noise(0.05)
    made = {
        "reward/mean": right + 0.08, "reward/std": 0.4 + noise(0.03), "reward/marked_number": right,
        "reward/format": 0.8 + noise(0.02), "pass@1/train": right, f"pass@{GROUP}/train": right + 0.1,
        f"maj@{GROUP}/train": right + 0.05, "tokens/completion": 120 + 80 * done + noise(10), "tokens/sampled": 20_000,
        "tokens/right": 110 + 70 * done + noise(8), "tokens/wrong": 140 + 90 * done + noise(12), "loss": noise(0.01),
        "kl/reference": 0.02 * done + abs(noise(0.002)), "entropy": 0.8 - 0.5 * done + noise(0.02),
        "optimizer/grad_norm": 0.5 + abs(noise(0.2)), "logprob_difference/mean": 1e-6, "ratio/mean": 1 + noise(1e-3),
        "logprob_difference/max": 1e-5 + abs(noise(1e-6)), "reflection/words": 2 * done + noise(0.1),
        "time/sample_s": 8 + noise(0.5), "time/reward_s": 1 + noise(0.1), "time/score_s": 2 + noise(0.1),
        "time/update_s": 9 + noise(0.4), "time/step_s": 20.5 + noise(0.7), "tokens/s": 950 + noise(30),
    }  # fmt: skip
    return made | {f"verdict/{name}": float(rng.integers(0, 60)) for name in ("correct", "wrong", "unparseable")}


def _samples(steps: int, samples: int, rng: np.random.Generator) -> Iterator[dict]:
    from rl_reason.data import sources
    from rl_reason.data.token_texts import token_characters
    from rl_reason.data.tokenization import load_tokenizer
    from rl_reason.recipes.rollout_records import packed

    tokenizer = load_tokenizer(TOKENIZER)
    problems = sources.load("word_problems", "train", "", 0)
    drawn = random.Random(0)
    groups = samples // GROUP
    with Progress(groups, title="make samples") as progress:
        for number in range(groups):
            step = 1 + number * steps // groups
            problem = problems[number % len(problems)]
            texts = [_completion(drawn, problems, problem) for _ in range(GROUP)]
            rows = [[*ids, tokenizer.eos_token_id] for ids in tokenizer(texts)["input_ids"]]
            right = [drawn.random() < 0.2 + 0.6 * step / steps for _ in texts]
            spread = max(float(np.std(right)), 1e-6)
            of_all = zip(texts, rows, right, token_characters(tokenizer, rows, texts), strict=True)
            for place, (text, row, ok, characters) in enumerate(of_all):
                logprobs = -rng.exponential(0.3, len(row)) * (rng.random(len(row)) < 0.4)
                yield {
                    "step": step, "id": problem["id"], "sample": place, "prompt": problem["problem"] + "\n",
                    "completion": text, "answer": problem["answer"],
                    "rewards": {"marked_number": float(ok), "format": 1.0}, "reward": ok + 0.1,
                    "verdict": "correct" if ok else "wrong", "advantage": (ok - float(np.mean(right))) / spread,
                    "tokens": len(row), "finish": "stop", "token_characters": packed(characters, "<u2"),
                    "token_logprobs": packed(logprobs, "<f2"),
                    "token_reference_logprobs": packed(logprobs + rng.normal(0, 0.1, len(row)), "<f2"),
                }  # fmt: skip
            progress.advance(1)


_ASIDES = ("Wait, let me check that again. ", "So far so good. ", "Now the next part: ", "Hmm, is that right? ")


def _completion(drawn: random.Random, problems, problem: dict) -> str:
    """A text of 40 to 300 words: its problem, what others add to it, calculations."""
    parts = [problem["problem"]]
    for _ in range(drawn.randint(1, 6)):
        a, b = drawn.randint(2, 99), drawn.randint(2, 99)
        parts.append(f"{drawn.choice(_ASIDES)}{a}+{b}={a + b}\n{problems[drawn.randrange(5000)]['problem']}\n")
    return f"<think>{''.join(parts)}</think><answer>{problem['answer']}</answer>"


if __name__ == "__main__":
    run_command(main)
