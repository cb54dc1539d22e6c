"""`python -m rl_reason.export --workdir=DIR --output=DIR2`: the policy of a run as a Hugging Face folder."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import ml_collections

from rl_reason import settings as settings_module
from rl_reason.errors import UsageError, run_command
from rl_reason.runtime.flags import HOSTS, REQUIRED, Spec, parse_flags
from rl_reason.runtime.workdir import Workdir

if TYPE_CHECKING:
    from rl_reason.runtime.checkpoints import Checkpoints

DTYPES = ("bfloat16", "float32", "float16")
FLAGS: Spec = {
    "workdir": (str, REQUIRED, "folder of a run that has a checkpoint"),
    "output": (str, REQUIRED, "folder that is written: config.json, safetensors, tokenizer"),
    "step": (str, "latest", "whose checkpoint: latest, best (config.checkpoint.keep_best) or a number"),
    "dtype": (str, "", "bfloat16, float32 or float16; empty: that of the files the run started from"),
    "adapters": (bool, False, "of a run with adapters, these alone in PEFT's format, not merged"),
    **HOSTS,
}


def main() -> None:
    flags = parse_flags(sys.argv[1:], FLAGS, description=__doc__)
    workdir, output = Workdir(Path(flags["workdir"])), Path(flags["output"])
    if flags["dtype"] not in ("", *DTYPES):
        raise UsageError(f"--dtype={flags['dtype']!r}: expected one of {', '.join(DTYPES)}")
    if not workdir.config.is_file():
        raise UsageError(f"--workdir={flags['workdir']}: expected the folder of a run, found no config.json")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"--output={flags['output']}: expected a new or an empty folder")
    try:
        config = ml_collections.ConfigDict(json.loads(workdir.config.read_text()))
    except ValueError as error:
        raise UsageError(f"{workdir.config}: expected JSON: {error}") from None
    settings = settings_module.Settings.from_config(config)
    if settings.recipe == "pipeline":
        stages = ", ".join(str(workdir.path / name) for name in settings.pipeline.stages)
        raise UsageError(f"--workdir={flags['workdir']}: holds a pipeline; expected the folder of a stage: {stages}")
    if flags["adapters"] and not (settings.model.lora_rank or settings.model.lora_path):
        raise UsageError(f"--adapters: the run in {flags['workdir']} has none, its weights themselves are trained")
    if flags["adapters"] and not settings.model.path:
        raise UsageError(
            f"--adapters: the run in {flags['workdir']} started from random weights; expected a model's folder"
        )

    from rl_reason.models import huggingface, lora
    from rl_reason.parallel import hosts
    from rl_reason.parallel.mesh import make_mesh
    from rl_reason.recipes.bookkeeping import check_read_again, export_model
    from rl_reason.recipes.setup import describe_model, describe_scorer
    from rl_reason.recipes.state import final_weights
    from rl_reason.runtime.checkpoints import Checkpoints

    with hosts.joined(*(flags[name] for name in HOSTS)):
        # The run's folder holds config and tokenizer; adapters stand on weights that are where they were.
        description = dataclasses.replace(settings.model, path=str(workdir.model))
        model = describe_model(description, make_mesh(settings_module.Mesh(fsdp=-1, data=1)), lambda: ())
        if settings.recipe == "reward_model":
            model = describe_scorer(model)
        with Checkpoints(workdir.checkpoints, keep=0, read_only=True) as checkpoints:
            step = _step(flags["step"], checkpoints)
            restored = checkpoints.restore_part({"train": {"params": model.trained()}}, step)
        if restored is None:
            raise UsageError(f"--workdir={flags['workdir']}: the run has no finished checkpoint yet")
        step, state = restored
        trained = state["train"]["params"]
        if flags["adapters"]:
            lora.save_adapters(output, model.config, trained, settings.model.path)
        else:
            # Where the weights themselves were trained, those that they started from are not needed.
            needs_base = model.config.lora and settings.model.path
            base = huggingface.local_folder(settings.model.path) if needs_base else None
            start = dataclasses.replace(model, folder=base)
            check_read_again(workdir, start)
            weights = final_weights(start, trained, settings.seed)
            export_model(output, model, weights, flags["dtype"] or huggingface.source_dtype(model.config))
        if hosts.is_first():
            print(f"The policy after step {step} is in {output}")


def _step(asked: str, checkpoints: Checkpoints) -> int | None:
    """The step that `--step` names; None: the newest one."""
    if asked == "latest":
        return None
    step = checkpoints.best_step() if asked == "best" else int(asked) if asked.isdecimal() else None
    if step not in checkpoints.steps():
        there = ", ".join(map(str, checkpoints.steps())) or "none"
        scored = "" if checkpoints.best_step() is None else ", best"
        raise UsageError(f"--step={asked}: expected latest{scored} or a step that has a checkpoint: {there}")
    return step


if __name__ == "__main__":
    run_command(main)
