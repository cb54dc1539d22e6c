"""Models that give scores against `transformers`: from a language model's folder, and written and read again."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
import transformers  # noqa: E402
from transformers import AutoModelForSequenceClassification  # noqa: E402

from rl_reason import settings  # noqa: E402
from rl_reason.models import decoder, families, huggingface, weights  # noqa: E402
from rl_reason.parallel.mesh import make_mesh, sharding  # noqa: E402

transformers.utils.logging.disable_progress_bar()
SIZES = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "initializer_range": 0.25, "pad_token_id": 0,
}  # fmt: skip


def shardings(config):
    mesh = make_mesh(settings.Mesh())
    return weights.tree({path: sharding(mesh, w.axes, w.shape) for path, w in weights.table(config).items()})


@pytest.mark.parametrize("family", ["Qwen2", "Llama", "Qwen3", "Phi3"])
def test_scores_of_a_classifier(family, tmp_path):
    torch.manual_seed(0)
    made = getattr(transformers, f"{family}Config")(**SIZES, num_labels=1)
    theirs = getattr(transformers, f"{family}ForSequenceClassification")(made).eval()
    theirs.save_pretrained(tmp_path / "given")
    config = dataclasses.replace(families.read_config(tmp_path / "given"), heads=("score",))
    huggingface.check_files(tmp_path / "given", config)
    params = huggingface.load_params(tmp_path / "given", config, shardings(config))
    assert ("head",) not in weights.table(config)

    tokens = np.random.default_rng(0).integers(1, 96, (3, 11))
    # Which token is judged is the library's choice: each prefix by itself shows every token's score.
    hidden = decoder.states(params, jnp.array(tokens), jnp.ones((3, 11), jnp.int32), None, config).own
    ours = decoder.scores(params, hidden)
    for length in (1, 4, 11):
        with torch.no_grad():
            expected = theirs(torch.tensor(tokens[:, :length])).logits[:, 0].numpy()
        np.testing.assert_allclose(np.asarray(ours)[:, length - 1], expected, atol=1e-4)

    huggingface.save_params(tmp_path / "written", config, params, "float32")
    assert json.loads((tmp_path / "written" / "config.json").read_text())["architectures"] == [type(theirs).__name__]
    again, told = AutoModelForSequenceClassification.from_pretrained(tmp_path / "written", output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"] and again.config.num_labels == 1
    with torch.no_grad():
        logits = again(torch.tensor(tokens)).logits[:, 0].numpy()
    np.testing.assert_allclose(np.asarray(ours)[:, -1], logits, atol=1e-4)


def test_a_language_model_begins_with_scores_of_zero(tmp_path):
    torch.manual_seed(0)
    theirs = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SIZES, tie_word_embeddings=False))
    theirs.save_pretrained(tmp_path)
    config = dataclasses.replace(families.read_config(tmp_path), heads=("score",))
    huggingface.check_files(tmp_path, config)
    params = huggingface.load_params(tmp_path, config, shardings(config))
    assert set(jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)) == {
        "".join(f"[{name!r}]" for name in path) for path in weights.table(config)
    }
    assert params["score"].shape == (1, 32) and not params["score"].any()
    np.testing.assert_array_equal(params["embed"], theirs.model.embed_tokens.weight.detach().numpy())

    both = dataclasses.replace(config, heads=("vocabulary", "score"))
    params = huggingface.load_params(tmp_path, both, shardings(both))
    np.testing.assert_array_equal(params["head"], theirs.lm_head.weight.detach().numpy())
