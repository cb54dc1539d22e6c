"""Adapters against PEFT: its files read and written, and what they compute; only they are trained."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
import transformers  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402

from rl_reason import settings  # noqa: E402
from rl_reason.errors import UsageError  # noqa: E402
from rl_reason.models import decoder, families, huggingface, lora, weights  # noqa: E402
from rl_reason.parallel.mesh import make_mesh, sharding  # noqa: E402

transformers.utils.logging.disable_progress_bar()
SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.25,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
LATENT = {
    "q_lora_rank": 12, "kv_lora_rank": 10, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5,
    "num_key_value_heads": 4, "first_k_dense_replace": 1, "moe_intermediate_size": 20, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "n_shared_experts": 1,
}  # fmt: skip
CASES = {
    "qwen2": ("Qwen2", {}, ["q_proj", "v_proj", "o_proj", "down_proj"]),
    "llama": ("Llama", {}, ["k_proj", "gate_proj", "up_proj"]),
    "deepseek": ("DeepseekV3", LATENT, ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "o_proj", "up_proj"]),
}
TOKENS = np.random.default_rng(0).integers(0, 64, (3, 11))


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """(base folder, PEFT folder, PEFT's model, names of the layers), the adapters not zero."""
    folder = tmp_path_factory.mktemp(request.param)
    family, changes, targets = CASES[request.param]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SIZES | changes)
    base = getattr(transformers, f"{family}ForCausalLM")(config).float().eval()
    base.save_pretrained(folder / "base")
    model = peft.get_peft_model(base, peft.LoraConfig(r=3, lora_alpha=5, target_modules=targets, task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.2)
    model.eval().save_pretrained(folder / "adapters")
    return folder / "base", folder / "adapters", model, targets


def places(table, mesh):
    return weights.tree({path: sharding(mesh, weight.axes, weight.shape) for path, weight in table.items()})


def load(base, adapters, mesh=None):
    mesh = mesh or make_mesh(settings.Mesh(), jax.devices()[:1])
    config = families.read_config(base)
    config = dataclasses.replace(config, lora=lora.read_lora(adapters, config))
    params = huggingface.load_params(base, config, places(weights.table(config), mesh))
    return config, params, lora.load_adapters(adapters, config, places(lora.table(config), mesh))


def logits(params, config):
    return jax.jit(
        lambda p: decoder.logits(p, decoder.forward(p, TOKENS, np.ones_like(TOKENS), config)[0], config)
    )(params)


def torch_logits(model):
    with torch.no_grad():
        return model(torch.tensor(TOKENS)).logits.numpy()


def test_the_same_logits_as_peft_with_merged_and_separate_adapters(case):
    base, folder, model, _ = case
    config, params, adapters = load(base, folder)
    assert config.lora.rank == 3 and config.lora.scale == pytest.approx(5 / 3)
    expected = torch_logits(model)
    with model.disable_adapter():
        plain = torch_logits(model)
    assert np.abs(expected - plain).max() > 0.5
    np.testing.assert_allclose(logits(lora.join(params, adapters), config), expected, atol=1e-4)
    np.testing.assert_allclose(logits(params, config), plain, atol=1e-4)
    merged = lora.merge(jax.tree.map(jnp.copy, params), adapters, config)
    np.testing.assert_allclose(logits(merged, dataclasses.replace(config, lora=None)), expected, atol=1e-4)


def test_peft_loads_what_is_saved(case, tmp_path):
    base, folder, model, targets = case
    config, _, adapters = load(base, folder)
    lora.save_adapters(tmp_path / "out", config, adapters, str(base))
    fresh = transformers.AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    loaded = peft.PeftModel.from_pretrained(fresh, tmp_path / "out").eval()
    assert set(loaded.peft_config["default"].target_modules) == set(targets)
    theirs = {name: w for name, w in model.named_parameters() if "lora_" in name}
    ours = {name: w for name, w in loaded.named_parameters() if "lora_" in name}
    assert theirs.keys() == ours.keys()
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight), name
    np.testing.assert_allclose(torch_logits(loaded), torch_logits(model), atol=1e-6)


def test_on_a_mesh(case):
    base, folder, _, _ = case
    config, params, adapters = load(base, folder)
    expected = logits(lora.join(params, adapters), config)
    mesh = make_mesh(settings.Mesh(data=2, fsdp=2, tensor=2), jax.devices()[:8])
    config, params, adapters = load(base, folder, mesh)
    np.testing.assert_allclose(logits(lora.join(params, adapters), config), expected, atol=1e-4)
    merged = lora.merge(params, adapters, config)
    np.testing.assert_allclose(logits(merged, dataclasses.replace(config, lora=None)), expected, atol=1e-4)


def test_all_linear_layers_are_those_that_peft_finds(case):
    base, _, model, _ = case
    config = families.read_config(base)
    fresh = transformers.AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    wrapped = peft.get_peft_model(fresh, peft.LoraConfig(r=1, target_modules="all-linear", task_type="CAUSAL_LM"))
    found = {name.split(".")[-4] for name, _ in wrapped.named_parameters() if "lora_A" in name}
    # The latent vector's way up is part of the absorbed product.
    assert set(lora.modules(config)) == found - {"kv_b_proj"}
    everything = lora.make_lora(config, 2, 4.0, ("all-linear",))
    assert set(everything.weights) == {weight for found in lora.modules(config).values() for weight in found}


def test_fresh_adapters_do_nothing_and_have_peft_s_spread():
    config = families.from_shape(
        {"model_type": "qwen2"} | {key: SIZES[key] for key in list(SIZES)[1:6]}, 64
    )
    config = dataclasses.replace(config, lora=lora.make_lora(config, 8, 16.0, ("q_proj", "down_proj")))
    made = jax.jit(lambda key: weights.initialize(config, key, lora.table(config)))(jax.random.key(0))["layers"]
    assert made.keys() == {"query_lora_a", "query_lora_b", "down_lora_a", "down_lora_b"}
    assert not np.any(made["query_lora_b"]) and not np.any(made["down_lora_b"])
    for name, inputs in (("query_lora_a", 32), ("down_lora_a", 48)):
        reference = torch.nn.init.kaiming_uniform_(torch.empty(8, inputs), a=5**0.5)
        bound = 1 / inputs**0.5
        assert reference.abs().max() <= bound < 1.2 * reference.abs().max()
        assert 0.9 * bound < np.abs(made[name]).max() <= bound


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"use_dora": True}, "use_dora=True"),
        ({"rank_pattern": {"q_proj": 9}}, "rank_pattern"),
        ({"target_modules": ["w_pack"]}, "'w_pack': no such layer"),
        ({"r": 4}, "shape"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa'"),
    ],
)
def test_folders_that_cannot_be_read(case, tmp_path, changes, words):
    base, folder, _, _ = case
    said = json.loads((folder / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(said | changes))
    (tmp_path / "adapter_model.safetensors").write_bytes((folder / "adapter_model.safetensors").read_bytes())
    with pytest.raises(UsageError, match=words) as error:
        load(base, tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_a_folder_with_more_than_its_adapters_is_refused(case, tmp_path):
    base, folder, _, _ = case
    (tmp_path / "adapter_config.json").write_bytes((folder / "adapter_config.json").read_bytes())
    tensors = load_file(folder / "adapter_model.safetensors")
    some = min(tensors)
    tensors[some.replace("lora_A.weight", "lora_A.bias")] = np.zeros(3, np.float32)
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(UsageError, match="lora_A.bias' belongs to no adapter"):
        load(base, tmp_path)
