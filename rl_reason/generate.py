"""`python -m rl_reason.generate --model=DIR_OR_NAME --data=NAME_OR_JSONL --samples=K --output=DIR`, or with
`--endpoint=URL --endpoint_model=NAME` in place of `--model`.

Samples K completions of each problem, scores them, and writes them in shards into DIR, generation.json beside them.
The same command again goes on where it was stopped. `--config.data.name=DIR` trains on the right ones.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl_reason import settings
from rl_reason.errors import UsageError, run_command
from rl_reason.runtime.flags import HOSTS, REQUIRED, Spec, as_flags, parse_flags

FLAGS: Spec = {
    "model": (str, "", "a Hugging Face folder or name"),
    "endpoint": (str, "", "root of a server's OpenAI API, such as http://127.0.0.1:8000/v1"),
    "endpoint_model": (str, "", "what that server calls its model"),
    "data": (str, REQUIRED, "a data set's name, or a JSONL file with `problem` and `answer`"),
    "output": (str, REQUIRED, "folder for the shards and generation.json"),
    "split": (str, "train", "split of a named data set"),
    "dir": (str, "", "folder with local files of a named data set; empty: the public download"),
    "problems": (int, 0, "the first so many problems; 0: all"),
    "template": (
        str,
        "",
        "prompt template (default: r1_zero, choice_plain, code_plain; with --endpoint boxed, …)",
    ),
    "samples": (int, 4, "completions of each problem"),
    "temperature": (float, 1.0, "0 is greedy"),
    "top_p": (float, 1.0, "nucleus sampling; 1 is off"),
    "max_tokens": (int, 1024, "limit of a completion"),
    "seed": (int, 0, "of the sampling"),
    "grader": (str, "auto", "reward functions, joined by commas; the first that gives verdicts says what is right"),
    "format": (str, "jsonl", "of the shards: jsonl or array_record"),
    "shard_size": (int, 1000, "samples of a shard, at most"),
    "max_prompt_tokens": (int, 4096, "limit of a prompt; with --model only"),
    "batch": (int, 0, "completions that are sampled at the same time (default: 1024); with --model only"),
    "dtype": (str, "auto", "auto, float32 or bfloat16; with --model only"),
    "key_variable": (str, "", "environment variable that holds the server's key"),
    "timeout": (float, 60.0, "seconds for one try of a request"),
    "tries": (int, 5, "of a request, at most"),
    "concurrency": (int, 8, "requests that are under way at the same time"),
    "cache": (str, "", "folder of answers to earlier requests"),
    **HOSTS,
}
KEYS = {
    "config.model.path": "--model",
    "config.model.dtype": "--dtype",
    "config.endpoint.url": "--endpoint",
    "config.endpoint.model": "--endpoint_model",
    "config.endpoint.": "--",
    "config.data.name": "--data",
    "config.data.max_prompt_length": "--max_prompt_tokens",
    "config.data.": "--",
    "config.collect.samples": "--samples",
    "config.sampling.max_length": "--max_tokens",
    "config.sampling.batch_size": "--batch",
    "config.sampling.": "--",
    "config.reward.names": "--grader",
    "config.generate.": "--",
    "config.seed": "--seed",
    "--workdir": "--output",
}
"""What the rooms below call by a config's key is a flag here."""


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    if bool(flags["model"]) == bool(flags["endpoint"]):
        raise UsageError(f"--model={flags['model']!r} --endpoint={flags['endpoint']!r}: expected one of the two")
    # jax is imported after the flags are read: --help and a misspelt flag answer at once.
    from rl_reason.parallel import hosts

    with hosts.joined(*(flags[name] for name in HOSTS), preemptible=True):
        with as_flags(KEYS):
            from rl_reason.recipes.generation import run

            run(_settings(flags), Path(flags["output"]))


def _settings(flags: Mapping[str, Any]) -> settings.Settings:
    """What the flags mean as a config, prompts and graders as in an evaluation where they are not given."""
    from rl_reason.data import sources
    from rl_reason.recipes.protocols import settle
    from rl_reason.rewards.combination import JUDGE

    problems = sources.load(flags["data"], flags["split"], flags["dir"], flags["seed"])
    # DeepSeek-R1's prompts are those for models that chat.
    settled = settle({**flags, "protocol": "r1" if flags["endpoint"] else ""}, problems[: flags["problems"] or None])
    names = tuple(settled["grader"].split(","))
    if JUDGE in names:
        raise UsageError(
            f"--grader={settled['grader']!r}: a judge is set up in a config; expected rules, or rl_reason.train with "
            "config.recipe='generate' and config.judge"
        )
    remote = {"url": flags["endpoint"], "model": flags["endpoint_model"]}
    remote |= {name: flags[name] for name in ("key_variable", "timeout", "tries", "concurrency", "cache")}
    return settings.Settings(
        recipe="generate",
        seed=flags["seed"],
        model=settings.Model(path=flags["model"], dtype=flags["dtype"]),
        data=settings.Data(
            name=flags["data"],
            dir=flags["dir"],
            split=flags["split"],
            problems=flags["problems"],
            template=settled["template"],
            # A server says by itself what is too long.
            max_prompt_length=settings.Data.max_prompt_length if flags["endpoint"] else flags["max_prompt_tokens"],
        ),
        reward=settings.Reward(names=names, weights=(1.0,) * len(names)),
        sampling=settings.Sampling(
            max_length=flags["max_tokens"],
            temperature=flags["temperature"],
            top_p=flags["top_p"],
            batch_size=flags["batch"],
        ),
        endpoint=settings.Endpoint(**remote),
        collect=settings.Collect(samples=flags["samples"]),
        generate=settings.Generate(format=flags["format"], shard_size=flags["shard_size"]),
        # As in an evaluation: all devices share the weights.
        mesh=settings.Mesh() if flags["endpoint"] else settings.Mesh(data=1, fsdp=-1),
    )


if __name__ == "__main__":
    run_command(main)
