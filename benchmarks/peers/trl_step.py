"""Steps of TRL's GRPOTrainer on a workload, timed.

    python -m benchmarks.peers.trl_step --model=FOLDER --workload=tiny --lengths=fixed --steps=3 --json=FILE

Runs in an environment of its own (trl.txt). Generation is transformers', as TRL does it unless told to use vLLM.
"""

from __future__ import annotations

import os
import tempfile

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks import workloads
from benchmarks.peers.recording import Recorder, flags
from benchmarks.workloads import Workload

PACKAGES = ("trl", "transformers", "torch", "accelerate")


class _EndOfStep(TrainerCallback):
    """Tells the recorder where training begins and each step ends."""

    def __init__(self, recorder: Recorder):
        self._recorder = recorder

    def on_train_begin(self, args, state, control, **kwargs):
        self._recorder.begin()

    def on_step_end(self, args, state, control, **kwargs):
        _wait()
        self._recorder.end_step()


def _wait(value: object = None) -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def config(workload: Workload, steps: int, micro: int, remat: bool, folder: str) -> GRPOConfig:
    """One update a rollout, which is cut into micro-batches of `micro` completions."""
    gpu = torch.cuda.is_available()
    return GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=workload.batch // micro,
        num_generations=workload.group,
        max_completion_length=workload.completion,
        temperature=1.0,
        beta=0.04,
        loss_type="grpo",
        learning_rate=1e-6,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        max_steps=steps,
        gradient_checkpointing=remat,
        bf16=gpu,
        use_cpu=not gpu,
        save_strategy="no",
        report_to="none",
        logging_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=gpu,
        seed=0,
    )


def main() -> None:
    args = flags(__doc__)
    workload = workloads.WORKLOADS[args.workload]
    micro = args.micro or workload.batch
    about = {"system": "trl", "workload": args.workload, "lengths": args.lengths, "micro_batch": micro}
    recorder = Recorder(about, _wait)

    def rewards(completions: list[str], **columns) -> list[float]:
        values = [workloads.reward(text) for text in completions]
        recorder.rewards(values)
        return values

    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32),
            reward_funcs=rewards,
            args=config(workload, args.steps, micro, args.remat, folder),
            train_dataset=Dataset.from_dict({"prompt": workloads.prompts(workload)}),
            processing_class=PreTrainedTokenizerFast.from_pretrained(args.model, padding_side="left"),
            callbacks=[_EndOfStep(recorder)],
        )
        record(trainer, recorder)
        trainer.train()
    gpu = torch.cuda.is_available()
    recorder.write(
        args.json,
        device=torch.cuda.get_device_name() if gpu else "cpu",
        packages=PACKAGES,
        device_peak_bytes=torch.cuda.max_memory_allocated() if gpu else None,
    )


def record(trainer: GRPOTrainer, recorder: Recorder) -> None:
    """Times generation and scoring by the reference; the policy is scored inside the update."""
    recorder.wrap(trainer, "_generate", "sample", lambda made: recorder.tokens(sum(map(len, made[1]))))
    scored = trainer._get_per_token_logps_and_entropies

    def score(model, *args, **kwargs):
        if model is not trainer.ref_model:
            return scored(model, *args, **kwargs)
        with recorder.phase("score"):
            value = scored(model, *args, **kwargs)
            _wait()
        return value

    trainer._get_per_token_logps_and_entropies = score


if __name__ == "__main__":
    main()
