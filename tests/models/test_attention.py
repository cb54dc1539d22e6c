"""Attention by its formula, and the kernels against the plain function: splash attention interpreted, cuDNN's call."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason import settings
from rl_reason.errors import UsageError
from rl_reason.models import attention, decoder, weights
from rl_reason.models.families import from_shape
from rl_reason.parallel.mesh import make_constrain, make_mesh, sharding
from rl_reason.recipes.setup import describe_model

# Two rows: padding on the left, and two packed segments before padding.
SEGMENTS = np.array([[0] * 3 + [1] * 9, [1] * 4 + [2] * 6 + [0] * 2], np.int32)

CASES = {
    "grouped": {"heads": 4, "kv_heads": 2},
    "window": {"window": 3},
    "softcap": {"softcap": 1.5},
    "value-width": {"heads": 3, "kv_heads": 1, "width": 24, "value_width": 16},
    "all": {"heads": 4, "kv_heads": 2, "window": 2, "softcap": 0.7, "value_width": 6},
    "two-blocks": {"segments": np.repeat([[0] + [1] * 2 + [2] * 4], 90, axis=1), "window": 100, "block": 128},
}


def make(case, seed=0):
    """q, k, v, segments, window and the options of a case; numbers are large enough for a sharp softmax."""
    case = {"heads": 2, "kv_heads": 2, "width": 8, "softcap": 0.0, "segments": SEGMENTS} | CASES[case]
    rng = np.random.default_rng(seed)
    B, T = case["segments"].shape
    heads = (("heads", "width"), ("kv_heads", "width"), ("kv_heads", "value_width"))
    q, k, v = (2 * rng.normal(size=(B, T, case[n], case.get(w, case["width"]))) for n, w in heads)
    window = case.get("window", T)
    return (q, k, v, case["segments"].astype(np.int32), window), {"scale": 0.6, "softcap": case["softcap"]}


def plain(q, k, v, segments, window, scale, softcap):
    T = segments.shape[1]
    distance = jnp.arange(T)[:, None] - jnp.arange(T)[None, :]
    mask = ((distance >= 0) & (distance < window))[None] & (segments[:, :, None] == segments[:, None, :])
    return attention.attend(q, k, v, mask, scale, softcap)


def formula(q, k, v, segments, window, scale, softcap):
    """One query at a time, in float64."""
    (B, T, H, _), K = q.shape, k.shape[2]
    out = np.zeros((B, T, H, v.shape[-1]))
    for b, t, h in np.ndindex(B, T, H):
        seen = [s for s in range(max(0, t - window + 1), t + 1) if segments[b, s] == segments[b, t]]
        scores = np.array([q[b, t, h] @ k[b, s, h * K // H] * scale for s in seen])
        if softcap:
            scores = softcap * np.tanh(scores / softcap)
        weights = np.exp(scores - scores.max())
        out[b, t, h] = sum(w * v[b, s, h * K // H] for w, s in zip(weights / weights.sum(), seen, strict=True))
    return out


def value_and_gradients(see, arrays, options):
    """What attention gives, and the gradients by q, k and v of a sum in which only tokens count."""
    q, k, v, segments, window = arrays
    q, k, v = (jnp.asarray(x, jnp.float32) for x in (q, k, v))
    upstream = np.random.default_rng(9).normal(size=(*q.shape[:3], v.shape[-1])) * (segments > 0)[:, :, None, None]

    @jax.jit
    def run(q, k, v):
        made, back = jax.vjp(lambda q, k, v: see(q, k, v, jnp.asarray(segments), window, **options), q, k, v)
        return made, back(jnp.asarray(upstream, made.dtype))

    made, gradients = run(q, k, v)
    return {"value": made, **dict(zip("qkv", gradients, strict=True))}


def assert_equal(made, expected, atol=2e-5):
    for name, value in expected.items():
        assert np.isfinite(made[name]).all() and np.abs(value).max() > 0.1, name
        np.testing.assert_allclose(made[name], value, atol=atol, rtol=2e-4, err_msg=name)


@pytest.mark.parametrize("case", [name for name in CASES if name != "two-blocks"])
def test_plain_attention_is_the_formula(case):
    arrays, options = make(case)
    *qkv, segments, window = arrays
    made = plain(*(jnp.asarray(x, jnp.float32) for x in qkv), segments, window, **options)
    np.testing.assert_allclose(made, formula(*arrays, **options), atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_splash_attention_is_the_plain_one(case, monkeypatch):
    if block := CASES[case].get("block"):  # so that blocks follow each other without taking minutes
        monkeypatch.setattr(attention, "SPLASH_BLOCK", block)
    splash = functools.partial(attention.attend_splash, interpret=True)
    arrays, options = make(case)
    assert_equal(value_and_gradients(splash, arrays, options), value_and_gradients(plain, arrays, options))


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if not {"softcap", "value_width"} & set(case)])
def test_what_cudnn_is_asked_for_is_the_plain_one(case):
    cudnn = functools.partial(attention.attend_cudnn, implementation="xla")
    arrays, options = make(case)
    assert_equal(value_and_gradients(cudnn, arrays, options), value_and_gradients(plain, arrays, options))


def test_cudnn_is_lowered(monkeypatch):
    """jax accepts the shapes and types for a GPU that is not here; whether cuDNN does, only a GPU can say."""
    fused = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(fused, "check_compute_capability", lambda capability: True)
    shapes = {"q": (2, 70, 4, 16), "k": (2, 70, 2, 16), "v": (2, 70, 2, 16)}
    qkv = [jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes.values()]
    segments = jax.ShapeDtypeStruct((2, 70), jnp.int32)

    def loss(q, k, v, segments):
        return jnp.sum(attention.attend_cudnn(q, k, v, segments, 5, 0.25).astype(jnp.float32))

    traced = jax.jit(jax.grad(loss, (0, 1, 2))).trace(*qkv, segments)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "__cudnn$fmhaScaleBiasSoftmax(" in text and "__cudnn$fmhaScaleBiasSoftmaxBackward(" in text


@pytest.mark.parametrize(("kernel", "platform"), [("splash", "tpu"), ("cudnn", "gpu")])
@pytest.mark.parametrize("window", [48, 1000])
def test_kernels_on_their_hardware(kernel, platform, window):
    """In bfloat16, values and gradients; run with JAX_PLATFORMS=tpu or cuda."""
    if jax.default_backend() != platform:
        pytest.skip(f"{kernel} runs on a {platform}, this is a {jax.default_backend()}")
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(2, 200, heads, 64)), jnp.bfloat16) for heads in (4, 2, 2))
    segments = jnp.asarray(np.repeat([[1, 2, 0], [3, 3, 3]], [80, 100, 20], axis=1), jnp.int32)
    upstream = jnp.asarray(rng.normal(size=q.shape), jnp.bfloat16) * (segments > 0)[:, :, None, None]

    def run(see):
        made, back = jax.vjp(lambda q, k, v: see(q, k, v, segments, window, 0.125, 0.0), q, k, v)
        return [np.asarray(x * (segments > 0)[:, :, None, None], np.float32) for x in (made, *back(upstream))]

    for mine, theirs in zip(run(attention.KERNELS[kernel]), run(plain), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=0.03 * np.abs(theirs).max())


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """As in tests/properties: what runs for milliseconds need not be optimized for seconds."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def kernels(monkeypatch):
    """Kernels that run here."""
    monkeypatch.setitem(attention.KERNELS, "splash", functools.partial(attention.attend_splash, interpret=True))
    monkeypatch.setitem(attention.KERNELS, "cudnn", functools.partial(attention.attend_cudnn, implementation="xla"))


SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "initializer_range": 0.4}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
SHAPES = {
    "qwen2": SIZES | HEADS,
    "gemma2": SIZES | HEADS | {"sliding_window": 3, "query_pre_attn_scalar": 8, "attn_logit_softcapping": 2.0},
    "mistral": SIZES | HEADS | {"sliding_window": 3},
    "deepseek_v3": SIZES
    | {"num_attention_heads": 4, "num_key_value_heads": 4, "n_routed_experts": 4, "n_group": 1, "topk_group": 1}
    | {"n_shared_experts": 1, "first_k_dense_replace": 1, "moe_intermediate_size": 12, "num_experts_per_tok": 2}
    | {"q_lora_rank": 6, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 4},
}


def config_of(family):
    return from_shape({"model_type": family, **SHAPES[family]}, vocab_size=32)


def gradients_of_the_model(family, kernel, sizes=None, remat="none"):
    """Final hidden states and the gradient by the weights, on one device or on a mesh."""
    config = config_of(family)
    params = jax.jit(lambda key: weights.initialize(config, key))(jax.random.key(0))
    constrain = decoder.no_constraint
    if sizes:
        mesh = make_mesh(settings.Mesh(**{"data": 1, **sizes}), jax.devices()[: np.prod(list(sizes.values()))])
        table = weights.table(config)
        places = {path: sharding(mesh, weight.axes, weight.shape) for path, weight in table.items()}
        params, constrain = jax.device_put(params, weights.tree(places)), make_constrain(mesh)
    tokens = np.random.default_rng(0).integers(0, 32, (4, 12))
    segments = np.concatenate([SEGMENTS, SEGMENTS])

    @jax.jit
    def run(params):
        def loss(params):
            hidden, _ = decoder.forward(params, tokens, segments, config, remat, constrain, kernel)
            return jnp.sum(jnp.sin(hidden) * (segments > 0)[:, :, None]), hidden

        return jax.grad(loss, has_aux=True)(params)

    gradient, hidden = run(params)
    leaves = jax.tree_util.tree_leaves_with_path(gradient)
    return {"hidden": np.asarray(hidden)} | {str(path): np.asarray(leaf) for path, leaf in leaves}


@functools.cache
def plain_model(family):
    return gradients_of_the_model(family, "xla")


def assert_same_model(made, expected):
    for name, value in expected.items():
        assert np.isfinite(made[name]).all(), name
        np.testing.assert_allclose(made[name], value, atol=2e-4 * np.abs(value).max() + 1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("family", "kernel", "sizes", "remat"),
    [
        ("qwen2", "splash", None, "none"),
        ("gemma2", "splash", None, "layer"),
        ("gemma2", "splash", {"data": 2, "tensor": 4}, "none"),
        ("mistral", "cudnn", None, "none"),
    ],
)
def test_a_model_with_a_kernel(family, kernel, sizes, remat, kernels):
    made, expected = gradients_of_the_model(family, kernel, sizes, remat), plain_model(family)
    for name, value in expected.items():
        assert np.isfinite(made[name]).all(), name
        np.testing.assert_allclose(made[name], value, atol=2e-4 * np.abs(value).max() + 1e-6, err_msg=name)


@pytest.mark.parametrize("kernel", ["splash", "cudnn"])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "sizes"),
    [
        (4, 2, {"data": 2, "fsdp": 2, "tensor": 2}),  # four parts of two rows: each device has both of them
        (24, 3, {"data": 2, "tensor": 4}),  # three key/value heads for four parts of the query heads
        (4, 1, {"data": 2, "tensor": 4}),
        (4, 2, {"data": 2, "sequence": 2, "tensor": 2}),
        (24, 3, {"data": 1, "sequence": 2, "tensor": 4}),
    ],
)
def test_a_kernel_on_a_mesh(kernel, heads, kv_heads, sizes, kernels, monkeypatch):
    monkeypatch.setitem(CASES, "mesh", {"heads": heads, "kv_heads": kv_heads, "window": 3})
    constrain = make_constrain(make_mesh(settings.Mesh(**sizes)))

    def see(q, k, v, segments, window, scale, softcap):
        return attention.attend_by_kernel(kernel, q, k, v, segments, [window], 0, scale, softcap, constrain)

    arrays, options = make("mesh")
    assert_equal(value_and_gradients(see, arrays, options), value_and_gradients(plain, arrays, options))


def device(platform, capability=None):
    return SimpleNamespace(platform=platform, device_kind=f"a {platform}", compute_capability=capability)


HALF = jnp.dtype("bfloat16")


@pytest.mark.parametrize(
    ("where", "family", "dtype", "chosen"),
    [
        (device("tpu"), "qwen2", HALF, "splash"),
        (device("tpu"), "deepseek_v3", jnp.dtype("float32"), "splash"),
        (device("gpu", "8.0"), "qwen2", HALF, "cudnn"),
        (device("gpu", "12.0"), "mistral", HALF, "cudnn"),
        (device("gpu", "9.0"), "qwen2", jnp.dtype("float32"), "xla"),
        (device("gpu", "9.0"), "gemma2", HALF, "xla"),
        (device("gpu", "9.0"), "deepseek_v3", HALF, "xla"),
        (device("gpu", "7.5"), "qwen2", HALF, "xla"),
        (device("gpu", "gfx942"), "qwen2", HALF, "xla"),
        (device("cpu"), "qwen2", HALF, "xla"),
        (jax.devices()[0], "qwen2", HALF, "xla"),
    ],
)
def test_the_best_kernel_there_is(where, family, dtype, chosen):
    config = config_of(family)
    assert attention.choose("auto", where, config, dtype) == chosen
    assert attention.choose(chosen, where, config, dtype) == chosen
    assert attention.choose("xla", where, config, dtype) == "xla"


@pytest.mark.parametrize(
    ("setting", "where", "family", "words"),
    [
        ("splsh", device("tpu"), "qwen2", "unknown kernel; did you mean 'splash'"),
        ("splash", device("cpu"), "qwen2", "runs on TPU, not on cpu; expected 'auto' or 'xla'"),
        ("cudnn", device("tpu"), "qwen2", "NVIDIA GPUs from Ampere on, not on a tpu"),
        ("cudnn", device("gpu", "7.0"), "qwen2", "NVIDIA GPUs from Ampere on, not on a gpu"),
        ("cudnn", device("gpu", "9.0"), "gemma2", "cannot cap scores"),
        ("cudnn", device("gpu", "9.0"), "deepseek_v3", "latent attention"),
    ],
)
def test_kernels_that_cannot(setting, where, family, words):
    with pytest.raises(UsageError, match=f"config.model.attention='{setting}': .*{words}"):
        attention.choose(setting, where, config_of(family), HALF)


def test_the_setting():
    shape = {"model_type": "qwen2", **SHAPES["qwen2"]}
    mesh, texts = make_mesh(settings.Mesh(data=1), jax.devices()[:1]), lambda: ["1 + 1 = 2"]
    assert describe_model(settings.Model(shape=shape), mesh, texts).attention == "xla"
    with pytest.raises(UsageError, match="config.model.attention='splash': .* not on cpu"):
        describe_model(settings.Model(shape=shape, attention="splash"), mesh, texts)
