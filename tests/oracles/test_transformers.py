"""The decoder, the sampler and the files against `transformers`, on small random models of every family."""

import copy
import functools
import json
import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

torch = pytest.importorskip("torch")
import transformers  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from rl_reason import settings  # noqa: E402
from rl_reason.errors import UsageError  # noqa: E402
from rl_reason.models import decoder, families, huggingface, weights  # noqa: E402
from rl_reason.models.logprobs import token_logprobs  # noqa: E402
from rl_reason.parallel.mesh import make_constrain, make_mesh  # noqa: E402
from rl_reason.recipes.setup import Model  # noqa: E402
from rl_reason.sampling.sampler import make_sampler  # noqa: E402

transformers.utils.logging.disable_progress_bar()
VOCAB = 96
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.25,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
    "attn_implementation": "eager",
}
YARN = {
    "rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0, "original_max_position_embeddings": 16,
    "beta_fast": 4, "beta_slow": 1, "mscale": 0.7, "mscale_all_dim": 0.9,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "original_max_position_embeddings": 32,
    "low_freq_factor": 1.0, "high_freq_factor": 4.0,
}  # fmt: skip
LONGROPE = {
    "rope_type": "longrope", "rope_theta": 500.0, "partial_rotary_factor": 0.5,
    "short_factor": [1.0, 1.3], "long_factor": [1.5, 4.0],
}  # fmt: skip
LATENT = {
    "q_lora_rank": 12, "kv_lora_rank": 10, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5,
    "num_key_value_heads": 4, "num_hidden_layers": 3, "first_k_dense_replace": 1, "moe_intermediate_size": 20,
    "n_routed_experts": 8, "num_experts_per_tok": 3, "n_group": 4, "topk_group": 2, "routed_scaling_factor": 1.7,
    "rope_parameters": YARN, "tie_word_embeddings": False, "initializer_range": 0.2,
}  # fmt: skip
GEMMA = {"num_hidden_layers": 4, "sliding_window": 4, "head_dim": 12, "query_pre_attn_scalar": 20}
MODELS = {
    "qwen2-tied": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2-untied": ("Qwen2", {"tie_word_embeddings": False}),
    "qwen2-windows": ("Qwen2", {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}),
    "llama-tied": ("Llama", {"tie_word_embeddings": True}),
    "llama-untied": ("Llama", {"tie_word_embeddings": False, "num_key_value_heads": 1}),
    "llama-3.1": ("Llama", {"rope_parameters": LLAMA3}),
    "llama-linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 4.0}}),
    "qwen3": ("Qwen3", {"tie_word_embeddings": False, "head_dim": 12}),
    "qwen3-yarn": ("Qwen3", {"head_dim": 12, "rope_parameters": YARN | {"mscale": None, "mscale_all_dim": None}}),
    "mistral": ("Mistral", {"sliding_window": 5, "head_dim": 12}),
    "gemma2": ("Gemma2", GEMMA | {"attn_logit_softcapping": 3.0, "final_logit_softcapping": 4.0}),
    "gemma3": (
        "Gemma3",
        GEMMA
        | {
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                "full_attention": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 8.0},
            },
        },
    ),
    "phi3": ("Phi3", {"sliding_window": 6, "tie_word_embeddings": False}),
    # As long as no text is longer than it; the switch has a test of its own.
    "phi4-longrope": (
        "Phi3",
        {"rope_parameters": LONGROPE, "original_max_position_embeddings": 100, "tie_word_embeddings": False},
    ),
    "olmo2": ("Olmo2", {"tie_word_embeddings": False}),
    "smollm3": ("SmolLM3", {"num_hidden_layers": 4, "no_rope_layers": [1, 0, 1, 0]}),
    "mixtral": ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen3-moe": (
        "Qwen3Moe",
        {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "norm_topk_prob": True},
    ),
    "qwen3-moe-unnormalized": (
        "Qwen3Moe",
        {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 20, "norm_topk_prob": False},
    ),
    "deepseek-v2": ("DeepseekV2", LATENT | {"topk_method": "group_limited_greedy", "n_shared_experts": 2}),
    "deepseek-v2-lite": ("DeepseekV2", LATENT | {"topk_method": "greedy", "q_lora_rank": None, "n_shared_experts": 1}),
    "deepseek-v3": ("DeepseekV3", LATENT | {"n_shared_experts": 1, "norm_topk_prob": True}),
}
LENGTHS = (1, 5, 12, 16)


@functools.cache
def torch_model(name: str):
    """A random model whose norms and biases are not what they are initialised to."""
    torch.set_num_threads(1)
    family, changes = MODELS[name]
    torch.manual_seed(sum(map(ord, name)))
    config = getattr(transformers, "Gemma3TextConfig" if family == "Gemma3" else f"{family}Config")(**SIZES | changes)
    model = getattr(transformers, f"{family}ForCausalLM")(config).float().eval()
    with torch.no_grad():
        for path, weight in model.named_parameters():
            if weight.ndim == 1:
                weight.copy_((1.0 if "norm" in path else 0.0) + 0.5 * torch.randn(weight.shape))
        for path, buffer in model.named_buffers():
            if path.endswith("e_score_correction_bias"):
                buffer.copy_(0.5 * torch.randn(buffer.shape))
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """saved(name, **options): the folder that `save_pretrained` writes, made once."""

    @functools.cache
    def save(name: str, dtype: str = "float32", max_shard_size: str = "1GB"):
        folder = tmp_path_factory.mktemp(name)
        model = torch_model(name)
        if dtype == "bfloat16":
            family, _ = MODELS[name]
            copy = getattr(transformers, f"{family}ForCausalLM")(model.config)
            copy.load_state_dict(model.state_dict())
            model = copy.to(torch.bfloat16)
        model.save_pretrained(folder, max_shard_size=max_shard_size)
        return folder

    return save


@pytest.fixture
def copied(saved, tmp_path):
    """copied(name): a folder of one's own to break, with its tensors."""

    def copy_of(name: str):
        folder = tmp_path / "model"
        shutil.copytree(saved(name), folder)
        return folder, load_file(folder / "model.safetensors")

    return copy_of


def one_device(config):
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return weights.tree({path: place for path in weights.table(config)})


def load(folder):
    config = families.read_config(folder)
    return config, huggingface.load_params(folder, config, one_device(config))


def describe(config, mesh_sizes: settings.Mesh, devices) -> Model:
    mesh = make_mesh(mesh_sizes, devices)
    return Model(
        config, SimpleNamespace(pad_token_id=0), (1,), jnp.dtype("float32"), "none", 8, mesh, make_constrain(mesh), None
    )


def padded(rows, width):
    tokens = np.zeros((len(rows), width), np.int32)
    for to, row in zip(tokens, rows, strict=True):
        to[width - len(row) :] = row
    return tokens, np.arange(width)[None] >= width - np.array([len(row) for row in rows])[:, None]


@functools.cache
def prompts():
    rng = np.random.default_rng(0)
    return tuple(tuple(rng.integers(0, VOCAB, n).tolist()) for n in LENGTHS)


def our_logits(params, config, tokens, mask):
    @jax.jit
    def run(params):
        hidden, _ = decoder.forward(params, tokens, jnp.asarray(mask, jnp.int32), config)
        return decoder.logits(params, hidden, config)

    return np.asarray(run(params))


def assert_logits_equal(params, config, name, reference=None, width=20):
    tokens, mask = padded(prompts(), width)
    made = our_logits(params, config, tokens, mask)
    for row, prompt in zip(made, prompts(), strict=True):
        with torch.no_grad():  # alone and without padding: transformers' own masks play no part
            expected = (reference or torch_model(name))(torch.tensor([prompt])).logits[0].numpy()
        assert np.abs(expected).max() > 1
        np.testing.assert_allclose(row[width - len(prompt) :], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_logits_with_left_padding(name, saved):
    config, params = load(saved(name))
    assert_logits_equal(params, config, name)


def test_files_in_several_parts_and_in_bfloat16(saved):
    folder = saved("llama-untied", max_shard_size="12KB")
    assert len(list(folder.glob("*.safetensors"))) > 2 and (folder / "model.safetensors.index.json").is_file()
    config, params = load(folder)
    assert_logits_equal(params, config, "llama-untied")

    config, params = load(saved("qwen2-untied", dtype="bfloat16"))
    family, _ = MODELS["qwen2-untied"]
    rounded = getattr(transformers, f"{family}ForCausalLM")(torch_model("qwen2-untied").config).eval()
    rounded.load_state_dict({k: v.bfloat16().float() for k, v in torch_model("qwen2-untied").state_dict().items()})
    assert params["layers"]["query"].dtype == jnp.float32
    assert_logits_equal(params, config, "qwen2-untied", reference=rounded)


@pytest.mark.parametrize("name", MODELS)
def test_greedy_decoding(name, saved):
    config, params = load(saved(name))
    tokens, mask = padded(prompts(), 18)
    sampler = make_sampler(config, group_size=1, max_length=64, stop_ids=(-1,), pad_id=0, temperature=0.0)
    made = sampler(params, tokens, mask, np.arange(len(tokens)), jax.random.key(0))
    seen = set()
    for prompt, row in zip(prompts(), np.asarray(made.tokens), strict=True):
        ids = torch.tensor([prompt])
        options = {"do_sample": False, "max_new_tokens": 64, "pad_token_id": 0}
        generated = torch_model(name).generate(ids, attention_mask=torch.ones_like(ids), **options)
        generated = generated[0, len(prompt) :].tolist()
        assert len(generated) == 64
        assert row.tolist() == generated
        seen |= set(generated)
    assert len(seen) > 4  # not one token over and over
    assert not np.asarray(made.finished).any() and (np.asarray(made.lengths) == 64).all()


@pytest.mark.parametrize("name", MODELS)
def test_gradient_of_the_mean_log_probability(name, saved, tmp_path):
    config, params = load(saved(name))
    width = 14
    tokens, mask = padded([p for p in prompts() if 1 < len(p) <= width], width)
    counted = mask[:, :-1] & mask[:, 1:]

    def mean_logprob(params):
        hidden, _ = decoder.forward(params, tokens, jnp.asarray(mask, jnp.int32), config)
        head, targets = decoder.head_weights(params), tokens[:, 1:]
        logprobs, _ = token_logprobs(hidden[:, :-1], head, targets, chunk=4, softcap=config.final_softcap)
        return jnp.sum(logprobs * counted) / counted.sum()

    value, ours = jax.jit(jax.value_and_grad(mean_logprob))(params)

    model = torch_model(name)
    model.zero_grad()
    total = 0.0
    for row, keep in zip(tokens, mask, strict=True):
        ids = torch.tensor(row[keep], dtype=torch.long)
        logprobs = torch.log_softmax(model(ids[None]).logits[0, :-1], dim=-1)
        total = total + logprobs.gather(1, ids[1:, None]).sum()
    mean = total / int(counted.sum())
    mean.backward()
    assert abs(mean.item() - float(value)) < 1e-4

    # torch's gradients, written like weights, come back in our layout: what loads weights is tested above.
    carrier = copy.deepcopy(model)
    with torch.no_grad():
        for (_, to), (path, weight) in zip(carrier.named_parameters(), model.named_parameters(), strict=True):
            assert weight.grad is not None, path
            to.copy_(weight.grad)
        for path, buffer in carrier.named_buffers():
            if path.endswith("e_score_correction_bias"):
                buffer.zero_()  # chooses experts and has no gradient
    carrier.save_pretrained(tmp_path)
    model.zero_grad()
    expected = huggingface.load_params(tmp_path, config, one_device(config))
    for (path, mine), theirs in zip(jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(expected), strict=True):
        scale = float(jnp.max(jnp.abs(theirs)))
        # A key's bias changes all of a query's scores alike, but for the rotation: its gradient is small, not 0.
        assert scale > 1e-6 or path[-1].key == "router_bias", path
        np.testing.assert_allclose(mine, theirs, atol=1e-3 * scale, rtol=1e-3, err_msg=str(path))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MODELS)
def test_transformers_loads_what_is_saved(name, dtype, saved, tmp_path, monkeypatch):
    config, params = load(saved(name))
    if name == "llama-untied":
        monkeypatch.setattr(huggingface, "MAX_FILE_BYTES", 20_000)
    huggingface.save_params(tmp_path / "out", config, params, dtype)
    assert (tmp_path / "out" / "model.safetensors.index.json").exists() == (name == "llama-untied")
    assert all(file.stat().st_size < 24_000 or name != "llama-untied" for file in (tmp_path / "out").iterdir())
    assert len({file.stat().st_mode for file in (tmp_path / "out").iterdir()}) == 1
    model, info = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True, dtype="auto")
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    expected = torch_model(name).state_dict()
    loaded = model.state_dict()
    assert loaded.keys() == expected.keys() and type(model) is type(torch_model(name))
    for path, tensor in expected.items():
        wanted = torch.float32 if path.endswith("e_score_correction_bias") else getattr(torch, dtype)
        assert loaded[path].dtype == wanted
        assert torch.equal(loaded[path], tensor.to(wanted)), path
    if dtype == "float32":  # not only the weights: what config.json says of the computation, too
        ids = torch.tensor([prompts()[2]])
        with torch.no_grad():
            # Weights that lie elsewhere in memory are multiplied in another order.
            torch.testing.assert_close(model(ids).logits, torch_model(name)(ids).logits, atol=1e-4, rtol=1e-5)
    assert families.read_config(tmp_path / "out") == config


@pytest.mark.parametrize("name", ["qwen2-untied", "qwen3", "llama-untied"])
def test_loading_onto_a_mesh(name, saved):
    config, expected = load(saved(name))
    model = describe(config, settings.Mesh(data=2, fsdp=2, tensor=2), jax.devices()[:8])
    loaded = huggingface.load_params(saved(name), config, model.shardings())
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)), loaded, expected)
    query, head = loaded["layers"]["query"], loaded["head"]
    assert query.addressable_shards[0].data.shape == (2, 16, 2, config.head_dim)
    assert head.addressable_shards[0].data.shape == (VOCAB // 2, 16)
    # Every shard of every leaf holds its part of the whole.
    for leaf, whole in zip(jax.tree.leaves(loaded), jax.tree.leaves(expected), strict=True):
        for shard in leaf.addressable_shards:
            np.testing.assert_array_equal(np.asarray(shard.data), np.asarray(whole)[shard.index])


def test_loading_in_other_cuts(saved):
    """Also along the head's width and the layers, which the usual rules never split."""
    config, expected = load(saved("qwen2-tied"))
    mesh = make_mesh(settings.Mesh(data=2, fsdp=2, tensor=2), jax.devices()[:8])

    def place(weight):
        wanted = ("fsdp", "data", None, "tensor") if len(weight.shape) == 4 else ("fsdp", None, "tensor")
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*wanted[: len(weight.shape)]))

    places = weights.tree({path: place(weight) for path, weight in weights.table(config).items()})
    loaded = huggingface.load_params(saved("qwen2-tied"), config, places)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)), loaded, expected)
    assert loaded["layers"]["query"].addressable_shards[0].data.shape == (1, 16, 4, 4)


def expect_refusal(folder, *words):
    with pytest.raises(UsageError) as error:
        load(folder)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def change_config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_pickle_files_are_not_opened(copied):
    folder, _ = copied("llama-tied")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    expect_refusal(folder, str(folder), "pytorch_model.bin", "safetensors")


def test_a_missing_tensor_is_named(copied):
    folder, tensors = copied("llama-untied")
    del tensors["model.layers.1.self_attn.k_proj.weight"]
    save_file(tensors, folder / "model.safetensors")
    expect_refusal(folder, str(folder), "model.layers.1.self_attn.k_proj.weight", "missing")


def test_a_tensor_of_another_shape_is_named(copied):
    folder, tensors = copied("qwen2-tied")
    tensors["model.layers.0.mlp.down_proj.weight"] = torch.zeros(32, 49)
    save_file(tensors, folder / "model.safetensors")
    expect_refusal(folder, "model.layers.0.mlp.down_proj.weight", "(32, 49)", "(32, 48)")


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("llama-tied", {"model_type": "gpt_bigcode"}, ("config.json", "gpt_bigcode", "llama")),
        ("llama-tied", {"rope_parameters": {"rope_type": "ntk", "rope_theta": 9.0}}, ("config.json", "ntk")),
        ("llama-tied", {"rope_parameters": {"rope_type": "linear", "rope_theta": 9.0}}, ("linear", "factor")),
        (
            "llama-tied",
            {"rope_parameters": None, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
            ("config.json", "dynamic"),
        ),
        ("llama-tied", {"hidden_act": "gelu"}, ("config.json", "gelu")),
        ("llama-tied", {"attention_bias": True}, ("config.json", "attention_bias")),
        ("llama-tied", {"mlp_bias": True}, ("config.json", "mlp_bias")),
        ("qwen3-moe", {"mlp_only_layers": [0]}, ("config.json", "mlp_only_layers")),
        ("gemma3", {"use_bidirectional_attention": True}, ("config.json", "use_bidirectional_attention")),
    ],
)
def test_what_is_not_supported_is_refused(name, changes, words, copied):
    folder, _ = copied(name)
    change_config(folder, **changes)
    expect_refusal(folder, *words)


def test_a_folder_without_config(tmp_path):
    expect_refusal(tmp_path, str(tmp_path), "config.json")


def test_a_torn_file_is_refused(copied):
    folder, _ = copied("llama-tied")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    expect_refusal(folder, str(folder))


def test_configs_of_older_releases(copied):
    """`rope_theta` beside the other keys and `rope_scaling: null`, as most folders on the hub have it."""
    folder, _ = copied("llama-untied")
    expected = families.read_config(folder)
    values = json.loads((folder / "config.json").read_text())
    del values["rope_parameters"]
    (folder / "config.json").write_text(json.dumps(values | {"rope_theta": 500.0, "rope_scaling": None}))
    assert families.read_config(folder) == expected
    assert expected.ropes[0].frequencies[1] == pytest.approx(500.0**-0.25) and expected.rms_norm_eps == 1e-5
