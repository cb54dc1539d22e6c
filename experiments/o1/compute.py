"""What training has computed, in FLOPs of matrix products (`rl_reason.models.flops`)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rl_reason import settings
from rl_reason.data.templates import find_template
from rl_reason.models import flops
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes.reward_model import LABELLED
from rl_reason.recipes.setup import describe_model, encode_prompts
from rl_reason.runtime.metrics import read_jsonl
from rl_reason.runtime.workdir import Workdir


def of_judge(stage: Path) -> float:
    """Of a reward model: its updates, and the completions that it learns from, which metrics.jsonl does not count."""
    return of_sampling(stage) + sum(of_steps(stage).values())


def of_sampling(stage: Path) -> float:
    """Of the completions of a reward model's labels: one pass over them, and over each prompt once."""
    run = settings.Settings.from_dict(json.loads(Workdir(stage).config.read_text()))
    model = describe_model(run.model, make_mesh(run.mesh), lambda: ())
    rows = list(read_jsonl(stage / LABELLED))
    prompts = encode_prompts(rows, find_template(run.data.template), model, run.data.max_prompt_length)
    prompts_B = np.array([len(prompt.prompt_ids) for prompt in prompts])
    completions_B = np.array([len(row["tokens"]) for row in rows])
    of_question = {row["id"]: length for row, length in zip(rows, prompts_B, strict=True)}
    return flops.forward(model.config, np.array(list(of_question.values())), prompts_B, completions_B)


def of_steps(stage: Path) -> dict[int, float]:
    """Of each step; every one has to be logged (`config.log.every=1`)."""
    return {record["step"]: record["flops"] for record in read_jsonl(Workdir(stage).metrics) if "flops" in record}
