"""Steps of Tunix's GRPOLearner on a workload, timed.

    python -m benchmarks.peers.tunix_step --model=FOLDER --workload=tiny --lengths=fixed --steps=3 --json=FILE

Runs in an environment of its own (tunix.txt). Generation is Tunix's own ("vanilla") sampler, and shares the trainer's
weights.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import jax
import jax.numpy as jnp
import numpy as np
import optax
from transformers import PreTrainedTokenizerFast
from tunix.models.qwen2 import model as qwen2
from tunix.models.qwen2 import params
from tunix.rl.grpo.grpo_learner import GRPOConfig, GRPOLearner
from tunix.rl.rl_cluster import ClusterConfig, RLCluster, RLTrainingConfig, Role
from tunix.rl.rollout.base_rollout import RolloutConfig

from benchmarks import workloads
from benchmarks.peers.recording import Recorder, flags
from benchmarks.workloads import Workload

PACKAGES = ("google-tunix", "jax", "jaxlib", "flax", "optax")


def load(workload: Workload, folder: Path, mesh: jax.sharding.Mesh, remat: bool) -> qwen2.Qwen2:
    """Float32 weights; on an accelerator what is computed with them is bfloat16."""
    about = workloads.model_config(workload)
    config = qwen2.ModelConfig(
        num_layers=workload.layers,
        vocab_size=workload.vocab,
        embed_dim=workload.hidden,
        hidden_dim=workload.intermediate,
        num_heads=workload.heads,
        head_dim=workload.head_dim,
        num_kv_heads=workload.kv_heads,
        rope_theta=int(about["rope_theta"]),
        norm_eps=about["rms_norm_eps"],
        use_tied_embedding=True,
        remat_config=qwen2.RematConfig.DECODER if remat else qwen2.RematConfig.NONE,
        dtype=jnp.float32 if _on_cpu() else jnp.bfloat16,
        param_dtype=jnp.float32,
    )
    return params.create_model_from_safe_tensors(str(folder), config, mesh, dtype=jnp.float32)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def cluster_config(workload: Workload, steps: int, micro: int, mesh: jax.sharding.Mesh) -> ClusterConfig:
    """One update a rollout, which is cut into micro-batches of `micro` completions. Tunix counts prompts."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-6, b2=0.999, weight_decay=0.0))
    training = RLTrainingConfig(
        actor_optimizer=optimizer,
        eval_every_n_steps=steps + 1,
        max_steps=steps,
        mini_batch_size=workload.prompts,
        train_micro_batch_size=micro // workload.group,
        rollout_micro_batch_size=workload.prompts,
        compute_logps_micro_batch_size=micro // workload.group,
    )
    rollout = RolloutConfig(
        max_tokens_to_generate=workload.completion,
        max_prompt_length=workload.prompt,
        kv_cache_size=workload.prompt + workload.completion,
        temperature=1.0,
        top_p=1.0,
        top_k=None,
        seed=0,
        eos_tokens=[workloads.END_ID],
    )
    roles = (Role.ACTOR, Role.REFERENCE, Role.ROLLOUT)
    return ClusterConfig(role_to_mesh=dict.fromkeys(roles, mesh), training_config=training, rollout_config=rollout)


def batches(workload: Workload) -> Iterator[dict[str, np.ndarray]]:
    """The prompts of one step after the other, without end."""
    texts = itertools.cycle(workloads.prompts(workload))
    while True:
        yield {"prompts": np.array(list(itertools.islice(texts, workload.prompts)))}


def main() -> None:
    args = flags(__doc__)
    workload = workloads.WORKLOADS[args.workload]
    micro = args.micro or workload.batch
    about = {"system": "tunix", "workload": args.workload, "lengths": args.lengths, "micro_batch": micro}
    recorder = Recorder(about, jax.block_until_ready)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("fsdp", "tp"))

    def rewards(prompts: list[str], completions: list[str], **columns) -> list[float]:
        values = [workloads.reward(text) for text in completions]
        recorder.rewards(values)
        return values

    cluster = RLCluster(
        actor=load(workload, args.model, mesh, args.remat),
        reference=load(workload, args.model, mesh, args.remat),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(args.model, padding_side="left"),
        cluster_config=cluster_config(workload, args.steps, micro, mesh),
    )
    learner = GRPOLearner(
        rl_cluster=cluster,
        algo_config=GRPOConfig(num_generations=workload.group, num_iterations=1, beta=0.04, epsilon=0.2),
        reward_fns=rewards,
    )
    record(learner, cluster, workload, recorder)
    recorder.begin()
    learner.train(batches(workload))
    memory = None if _on_cpu() else (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    device = "cpu" if _on_cpu() else jax.devices()[0].device_kind
    recorder.write(args.json, device=device, packages=PACKAGES, device_peak_bytes=memory)


def record(learner: GRPOLearner, cluster: RLCluster, workload: Workload, recorder: Recorder) -> None:
    """Times generation and scoring by the reference, and each step; and gives each step a seed of its own."""

    def sampled(output) -> None:
        # Its completions come without their end token, which was sampled all the same.
        recorder.tokens(sum(min(len(ids) + 1, workload.completion) for ids in output.tokens))
        # With one seed, all steps would draw the same noise, and so have the same lengths.
        cluster.cluster_config.rollout_config.seed += 1

    recorder.wrap(cluster, "generate", "sample", sampled)
    recorder.wrap(cluster, "get_ref_per_token_logps", "score")
    run = learner._run_global_step

    def step(*args, **kwargs) -> None:
        run(*args, **kwargs)
        recorder.end_step()

    learner._run_global_step = step


if __name__ == "__main__":
    main()
