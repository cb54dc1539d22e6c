"""`python -m rl_reason.evaluate --model=DIR_OR_NAME --data=NAME_OR_JSONL --samples=K --temperature=T --output=DIR`.

Samples K completions of each problem and writes DIR/results.json and DIR/samples.jsonl.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

from rl_reason import settings
from rl_reason.errors import RunError, UsageError, run_command
from rl_reason.runtime.flags import HOSTS, REQUIRED, Spec, parse_flags
from rl_reason.runtime.progress import Progress, table
from rl_reason.runtime.workdir import write_atomic

FLAGS: Spec = {
    "model": (str, REQUIRED, "a Hugging Face folder or name"),
    "data": (str, REQUIRED, "a data set's name, or a JSONL file with `problem` and `answer`"),
    "output": (str, REQUIRED, "folder for results.json and samples.jsonl"),
    "split": (str, "test", "split of a named data set"),
    "dir": (str, "", "folder with local files of a named data set; empty: the public download"),
    "problems": (int, 0, "the first so many problems; 0: all"),
    "template": (str, "r1_zero", "prompt template; none: the problem as it is"),
    "grader": (str, "accuracy", "reward function that says what is correct"),
    "samples": (int, 1, "completions of each problem"),
    "temperature": (float, 0.0, "0 is greedy"),
    "top_p": (float, 1.0, "nucleus sampling; 1 is off"),
    "max_tokens": (int, 1024, "limit of a completion"),
    "max_prompt_tokens": (int, 4096, "limit of a prompt"),
    "batch": (int, 256, "completions that are sampled at the same time"),
    "dtype": (str, "auto", "auto, float32 or bfloat16"),
    "seed": (int, 0, "of the sampling"),
    **HOSTS,
}


KEYS = {
    "config.model.path": "--model",
    "config.model.dtype": "--dtype",
    "config.data.name": "--data",
    "config.data.dir": "--dir",
    "config.data.split": "--split",
    "config.data.template": "--template",
    "config.data.max_prompt_length": "--max_prompt_tokens",
}
"""What the rooms below call by a config's key is a flag here."""


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    _check(flags)
    # jax is imported after the flags are read: --help and a misspelt flag answer at once.
    from rl_reason.parallel import hosts

    with hosts.joined(*(flags[name] for name in HOSTS)):
        try:
            summary, records = _sample(flags)
        except UsageError as error:
            message = str(error)
            for key, flag in KEYS.items():
                message = message.replace(key, flag)
            raise UsageError(message) from error
        if hosts.is_first():
            _write(flags, summary, records)


def _check(flags: dict) -> None:
    for name, least in (("samples", 1), ("max_tokens", 1), ("max_prompt_tokens", 1), ("batch", 1), ("problems", 0)):
        if flags[name] < least:
            raise UsageError(f"--{name}={flags[name]}: expected at least {least}")
    if flags["temperature"] == 0 and flags["samples"] > 1:
        raise UsageError(f"--samples={flags['samples']}: expected 1 at temperature 0, where all are the same")
    output = Path(flags["output"])
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output={flags['output']}: expected a folder, found a file")


def _sample(flags: dict) -> tuple[dict, list[dict]]:
    """Loads, samples and grades: the summary, and one record a sample."""
    from rl_reason.data import sources
    from rl_reason.data.templates import find_template
    from rl_reason.parallel import hosts
    from rl_reason.parallel.mesh import make_mesh
    from rl_reason.recipes.evaluation import HeldOut, make_evaluator
    from rl_reason.recipes.golds import readable
    from rl_reason.recipes.setup import check_length, describe_model, encode_prompts
    from rl_reason.rewards.combination import Rewarder
    from rl_reason.sampling import logits

    logits.check(flags["temperature"], 0, flags["top_p"], 0.0, "--")
    reward = settings.Reward(names=(flags["grader"],), weights=(1.0,))
    with Rewarder(reward, key="--grader") as rewarder:
        problems = sources.load(flags["data"], flags["split"], flags["dir"], flags["seed"])
        problems = problems[: flags["problems"] or len(problems)]
        description = settings.Model(path=flags["model"], dtype=flags["dtype"])
        model = describe_model(description, make_mesh(settings.Mesh(data=1, fsdp=-1)), lambda: ())
        model.check_files()
        template = find_template(flags["template"], "--template")
        prompts = encode_prompts(problems, template, model, flags["max_prompt_tokens"])
        held_out = readable(rewarder, HeldOut(flags["data"], problems, prompts))
        longest = max(len(prompt.prompt_ids) for prompt in prompts)
        check_length(model, longest, flags["max_tokens"], "--max_tokens")
        evaluate = make_evaluator(
            model,
            rewarder,
            samples=flags["samples"],
            temperature=flags["temperature"],
            top_p=flags["top_p"],
            max_length=flags["max_tokens"],
            rows=flags["batch"],
            seed=flags["seed"],
        )
        params = model.load_params(flags["seed"], model.dtype)
        with Progress(len(prompts), title="evaluate", enabled=hosts.is_first()) as progress:
            return evaluate(params, held_out, progress.advance)


def _write(flags: dict, summary: dict, records: list[dict]) -> None:
    if not all(math.isfinite(x) for record in records for x in record["logprobs"]):
        raise RunError(f"--model={flags['model']}: its log-probabilities are not finite numbers; nothing was written")
    asked = {name: flags[name] for name in ("model", "data", "split", "template", "temperature", "top_p", "seed")}
    results = {"grader": flags["grader"], **asked, "max_tokens": flags["max_tokens"], **summary}
    output = Path(flags["output"])
    output.mkdir(parents=True, exist_ok=True)
    write_atomic(output / "samples.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    write_atomic(output / "results.json", json.dumps(results, indent=2) + "\n")
    low, high = summary["pass@1_ci95"]
    rows = [["pass@1", f"{100 * summary['pass@1']:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"]]
    names = [name for name in summary if name.startswith(("pass@", "maj@")) and not name.startswith("pass@1_")]
    rows += [[name, f"{100 * summary[name]:.1f}%"] for name in names if name != "pass@1"]
    rows += [["tokens/completion", f"{summary['tokens/completion']:.1f}"]]
    table(f"{flags['data']}: {summary['n']} problems, grader {flags['grader']}", ["", flags["model"]], rows)
    print(f"Written to {output}: results.json, samples.jsonl")


if __name__ == "__main__":
    run_command(main)
