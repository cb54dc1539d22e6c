"""Writes `trl_losses.json`: losses and gradients as TRL's `GRPOTrainer` computes them on small made-up numbers, and
from rewards on with the defaults of `GRPOConfig`.

Run where TRL is installed, which the tests' environment has not: `python tests/oracles/make_trl_losses.py`. The
trainer's own methods are called on objects with the few attributes that they read; no model is needed.
"""

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import trl
from trl import GRPOConfig, GRPOTrainer

LENGTHS = (7, 1, 4, 6, 3, 7, 5, 2)
WIDTH, LIMIT, GROUP = 9, 16, 4
REWARDS = (1.0, 0.0, 0.002, 0.001, 0.0, 0.001, 0.0, 0.0)
"""The second group's spread is so small that what is added to it shows."""
CASES = [
    {"loss_type": "dapo"},
    {"loss_type": "grpo"},
    {"loss_type": "dr_grpo"},
    {"loss_type": "grpo", "beta": 0.1, "use_bias_correction_kl": False},
    {"loss_type": "dapo", "beta": 0.1, "use_bias_correction_kl": True},
    {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon_low": 0.03, "epsilon_high": 0.04},
    {"loss_type": "dapo", "epsilon_high": 0.28, "delta": 1.4},
    {"loss_type": "cispo", "epsilon_high": 1.3},
    {"loss_type": "sapo"},
    {"loss_type": "dapo", "entropy_coef": 0.3},
    {"loss_type": "dapo", "use_vllm": True},
]


def inputs():
    rng = np.random.default_rng(0)
    shape = (len(LENGTHS), WIDTH)
    old = -rng.exponential(1.0, shape) - 0.05
    made = {
        "old": old,
        "new": old + rng.normal(0, 0.35, shape),
        "reference": old + rng.normal(0, 0.5, shape),
        "sampler": old + rng.normal(0, 0.5, shape),
        "advantages": rng.normal(size=shape[0]),
        "mask": np.arange(WIDTH)[None] < np.array(LENGTHS)[:, None],
    }
    return {name: x.astype(np.float32) for name, x in made.items()}


def trainer(new, case):
    """What `_compute_loss` reads of a trainer."""
    case = {"beta": 0.0, "epsilon_low": 0.2, "epsilon_high": 0.2, "importance_sampling_level": "token"} | case
    arguments = SimpleNamespace(
        use_bias_correction_kl=case.get("use_bias_correction_kl", True), delta=case.get("delta"),
        sapo_temperature_pos=1.0, sapo_temperature_neg=1.05,
    )  # fmt: skip
    return SimpleNamespace(
        args=arguments, top_entropy_quantile=1.0, off_policy_mask_threshold=None, aux_loss_enabled=False,
        importance_sampling_level=case["importance_sampling_level"], beta=case["beta"], loss_type=case["loss_type"],
        epsilon_low=case["epsilon_low"], epsilon_high=case["epsilon_high"], use_vllm=case.get("use_vllm", False),
        vllm_importance_sampling_correction=True, model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1, max_completion_length=LIMIT, use_adaptive_entropy=False,
        _entropy_bonus_enabled="entropy_coef" in case, entropy_coef=case.get("entropy_coef", 0.0),
        _metrics=defaultdict(lambda: defaultdict(list)),
        accelerator=SimpleNamespace(
            num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x, sync_gradients=True
        ),
        _get_per_token_logps_and_entropies=lambda *_, **__: (new, -new * new.exp(), None),
    )  # fmt: skip


def advantages(defaults):
    """What `_generate_and_score_completions` makes of the rewards."""
    count = len(LENGTHS)
    ids = [list(range(1, n + 1)) for n in LENGTHS]
    model = torch.nn.Module()
    model.is_gradient_checkpointing = False
    own = SimpleNamespace(
        accelerator=SimpleNamespace(device=torch.device("cpu"), process_index=0, gather=lambda x: x), model=model,
        environment_factories=None, environments=None, tools=[], _tokenizer=SimpleNamespace(pad_token_id=0),
        pad_to_multiple_of=None, mask_truncated_completions=False, num_iterations=1, use_vllm=False, ref_model=None,
        args=SimpleNamespace(
            per_device_train_batch_size=count, gradient_checkpointing_kwargs=None, steps_per_generation=1,
            gradient_accumulation_steps=1,
        ),
        beta=defaults.beta, scale_rewards=defaults.scale_rewards, num_generations=GROUP,
        multi_objective_aggregation=defaults.multi_objective_aggregation, reward_weights=torch.ones(1),
        reward_funcs=[None], reward_func_names=["made"], _metrics=defaultdict(lambda: defaultdict(list)),
        _logs={"prompt": [], "completion": [], "rewards": defaultdict(list), "advantages": [], "extra": {}},
        _pending_extra_logs={}, _pending_metrics={}, chat_template_kwargs={},
        _generate=lambda prompts: ([[1]] * count, ids, None, [""] * count, None, {}, None, None),
        _calculate_rewards=lambda *_: torch.tensor(REWARDS)[:, None],
    )  # fmt: skip
    return GRPOTrainer._generate_and_score_completions(own, [{"prompt": ""}] * count)["advantages"]


def by_default():
    """From rewards to the loss, as `GRPOConfig` sets it."""
    with tempfile.TemporaryDirectory() as folder:
        defaults = GRPOConfig(folder, use_cpu=True, bf16=False)
    case = {
        "loss_type": defaults.loss_type, "beta": defaults.beta, "delta": defaults.delta,
        "epsilon_low": defaults.epsilon, "epsilon_high": defaults.epsilon_high or defaults.epsilon,
        "importance_sampling_level": defaults.importance_sampling_level,
    }  # fmt: skip
    made = advantages(defaults)
    start = {"rewards": REWARDS, "group_size": GROUP, "temperature": defaults.temperature}
    return start | {"advantages": made.tolist()} | run(case, made)


def run(case, of_completions=None):
    x = {name: torch.tensor(array) for name, array in inputs().items()}
    if of_completions is not None:
        x["advantages"] = of_completions
    new = x["new"].requires_grad_()
    batch = {
        "prompt_ids": torch.zeros(len(LENGTHS), 1, dtype=torch.long),
        "prompt_mask": torch.ones(len(LENGTHS), 1, dtype=torch.long),
        "completion_ids": torch.zeros(len(LENGTHS), WIDTH, dtype=torch.long),
        "completion_mask": x["mask"].long(),
        "advantages": x["advantages"],
        "old_per_token_logps": x["old"],
        "ref_per_token_logps": x["reference"],
        "num_items_in_batch": x["mask"].sum(),
        # As the trainer makes it in its mode "token_truncate".
        "importance_sampling_ratio": ((x["old"] - x["sampler"]) * x["mask"]).exp().clamp(max=2.0),
    }
    own = trainer(new, case)
    own.steps_per_generation = own.args.steps_per_generation = 1
    loss = GRPOTrainer._compute_loss(own, None, batch)
    loss.backward()
    return {"case": case, "loss": loss.item(), "gradient": new.grad.numpy().round(8).tolist()}


if __name__ == "__main__":
    made = {"trl": trl.__version__, "torch": torch.__version__, "limit": LIMIT}
    made["inputs"] = {name: x.tolist() for name, x in inputs().items()}
    made["cases"] = [run(case) for case in CASES]
    made["by_default"] = by_default()
    Path(__file__).with_name("trl_losses.json").write_text(json.dumps(made) + "\n")
