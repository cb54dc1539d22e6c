"""What the devices of a mesh send each other in a step: no more of the weights at once than one layer's."""

import functools

import jax
import numpy as np
import pytest

from rl_reason.models import decoder, weights
from rl_reason.parallel import compiled
from rl_reason.parallel.mesh import make_mesh, replicated
from rl_reason.recipes import planning
from rl_reason.recipes.setup import describe_by_config
from rl_reason.runtime.config import load

SHAPE = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 8, "num_attention_heads": 8}
SHAPES = {
    "qwen2": SHAPE | {"num_key_value_heads": 8, "tie_word_embeddings": False},
    "qwen3_moe": SHAPE
    | {"num_key_value_heads": 8, "head_dim": 8, "num_experts": 8, "num_experts_per_tok": 2}
    | {"moe_intermediate_size": 64, "norm_topk_prob": True},
}
"""Eight layers, so that a matrix of all of them is larger than all matrices of one."""
SMALL = (
    "--config.model.path=", "--config.model.tokenizer_size=300", "--config.data.problems=32",
    "--config.data.max_prompt_length=16", "--config.sampling.max_length=8", "--config.algorithm.group_size=4",
    "--config.algorithm.batch_size=16", "--config.model.dtype=float32", "--config.data.template=question",
    "--config.algorithm.kl_coef=0.04", "--config.algorithm.updates=2",
)  # fmt: skip
"""Few tokens, so that activations are smaller than weights."""
MESHES = [
    ("qwen2", {"fsdp": 8}),
    ("qwen2", {"sequence": 2, "fsdp": 4}),
    ("qwen2", {"fsdp": 2, "tensor": 4}),
    ("qwen3_moe", {"fsdp": 2, "expert": 4}),
    ("qwen3_moe", {"expert": 8}),
]


def settings_of(family, sizes):
    shape = SHAPES[family] | {"model_type": family}
    mesh = [f"--config.mesh.{axis}={size}" for axis, size in ({"data": 1, "fsdp": 1} | sizes).items()]
    return load(["--config=configs/grpo_math.py:tiny", f"--config.model.shape={shape}", *SMALL, *mesh]).settings


def bytes_of(config):
    """Of one layer's weights in float32, of the largest weight that is no layer's, and of the smallest matrix of all
    layers of an MLP or its experts."""
    table = weights.table(config)
    layers = [weight for path, weight in table.items() if path[0] == "layers"]
    others = [weight.size for path, weight in table.items() if path[0] != "layers"]
    matrices = [weight.size for weight in layers if weight.size > 8 * 64 * 64]
    return 4 * sum(weight.size for weight in layers) // 8, 4 * max(others), 4 * min(matrices)


def gathered(rows):
    """Bytes of the all-gathers of a program that `rl_reason.plan` lists."""
    return [compiled.shape_bytes(row["largest"]) for row in rows if row["kind"] == "all-gather"]


@pytest.mark.parametrize(("family", "sizes"), MESHES, ids=str)
def test_no_program_gathers_the_weights_at_once(family, sizes):
    """All programs of a run, as `rl_reason.plan` compiles them."""
    made = settings_of(family, sizes)
    model = describe_by_config(made.model, make_mesh(made.mesh))
    layer, other, stacked = bytes_of(model.config)
    assert max(layer, other) < stacked
    functions = planning.plan(made, jax.devices()[:8], None)["functions"]
    assert functions.keys() == {
        "move", "prefill", "decode", "score_reference", "score_old", "gradients", "update"
    }  # fmt: skip
    for name, one in functions.items():
        assert max(gathered(one["collectives"]), default=0) <= max(layer, other), (name, one["collectives"])
    for name in ("prefill", "score_reference", "score_old", "gradients"):
        assert gathered(one := functions[name]["collectives"]) or sizes == {"expert": 8}, (name, one)
    # Gradients are summed over the devices that share out the rows; what experts make of a token, over theirs.
    kinds = {row["kind"] for row in functions["gradients"]["collectives"]}
    assert "all-reduce" in kinds and ("reduce-scatter" in kinds or "expert" not in sizes), kinds


def test_weights_that_are_gathered_at_once_are_seen():
    made = settings_of("qwen2", {"fsdp": 8})
    model = describe_by_config(made.model, make_mesh(made.mesh))
    tokens = np.ones((8, 8), np.int32)

    def forward(params, whole):
        params = jax.lax.with_sharding_constraint(params, replicated(model.mesh)) if whole else params
        return decoder.forward(params, tokens, tokens, model.config, constrain=model.constrain)[0]

    layer, other, stacked = bytes_of(model.config)
    def most(whole):
        program = jax.jit(functools.partial(forward, whole=whole)).lower(model.trained()).compile()
        return max(one.bytes for one in compiled.collectives(program.as_text()) if one.kind == "all-gather")

    assert most(False) <= max(layer, other) < stacked <= most(True)
