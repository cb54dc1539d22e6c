"""The examples of `docs/extending.md`, used as the page says."""

import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_reason.data import sources
from rl_reason.data.templates import find_template
from rl_reason.models import decoder, families, huggingface, weights
from rl_reason.objectives import surrogates
from rl_reason.objectives.policy_loss import PolicyLoss
from rl_reason.recipes.checks import OF_RECIPES
from rl_reason.rewards.combination import Rewarder
from rl_reason.runtime.config import load
from rl_reason.settings import Reward

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r'^```python title="(\w+)\.py"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The folder with the page's files, from which commands run."""
    for name, text in BLOCKS:
        with (tmp_path / f"{name}.py").open("a") as file:
            file.write(text + "\n\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield tmp_path
    for name, _ in BLOCKS:
        sys.modules.pop(name, None)


def test_rewards(written):
    problem = {"id": "a", "problem": "?", "answer": "200"}
    texts = ["it is 201", "it is 203", "no idea", "word " * 60 + "200"]
    with Rewarder(Reward(names=("mine:nearly", "mine:brief"), weights=(1.0, 0.2))) as rewarder:
        graded = rewarder.grade(texts, [problem] * len(texts))
    assert graded.verdicts == ["correct", "wrong", "unparseable", "correct"] and not graded.failures
    np.testing.assert_allclose(graded.total, [1.2, 0.2, 0.2, 1 + 0.2 * (2 - 61 / 40)], rtol=1e-6)


def test_a_gold_answer_that_is_no_number(written):
    import mine

    mine.nearly.check_gold({"answer": "12"})
    with pytest.raises(ValueError):
        mine.nearly.check_gold({"answer": "twelve"})


def test_data_and_template(written):
    train, test = (list(sources.load("mine:sums", split, "", 0)) for split in ("train", "test"))
    assert len(train) + len(test) == 900 and not {row["id"] for row in train} & {row["id"] for row in test}
    assert all(int(row["answer"]) == sum(map(int, row["id"].split("+"))) for row in test)
    assert find_template("mine:polite")(test[0])[0]["content"].endswith(test[0]["problem"])


def test_a_model_family(written, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    import transformers

    monkeypatch.setitem(families.FAMILIES, "gemma", None)  # which the module replaces, and the test's end takes out
    import gemma  # noqa: F401

    torch.manual_seed(0)
    config = transformers.GemmaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, head_dim=12, initializer_range=0.25, max_position_embeddings=64, bos_token_id=None,
        eos_token_id=None, pad_token_id=None, attn_implementation="eager",
    )  # fmt: skip
    theirs = transformers.GemmaForCausalLM(config).float().eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            if weight.ndim == 1:
                weight.copy_(0.5 * torch.randn(weight.shape))
    theirs.save_pretrained(tmp_path / "model")

    ours = families.read_config(tmp_path / "model")
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    placed = weights.tree({path: place for path in weights.table(ours)})
    params = huggingface.load_params(tmp_path / "model", ours, placed)
    tokens = np.random.default_rng(0).integers(0, 64, (2, 9)).astype(np.int32)

    @jax.jit
    def logits(params):
        hidden, _ = decoder.forward(params, tokens, jnp.ones(tokens.shape, jnp.int32), ours)
        return decoder.logits(params, hidden, ours)

    with torch.no_grad():
        expected = theirs(torch.tensor(tokens.astype(np.int64))).logits.numpy()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(logits(params), expected, atol=1e-4, rtol=1e-4)


def test_a_surrogate(written, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(surrogates.SURROGATES, "tapered", None)  # which the file replaces, and the test's end takes out
    settings = load([f"--config={written}/tapered.py:tiny"]).settings
    assert settings.algorithm.surrogate == "tapered" and settings.steps == 25
    OF_RECIPES[settings.recipe](settings)

    ratios, advantages = np.array([[0.5, 2.0, 0.5, 2.0]]), np.array([[1.0, 1.0, -2.0, -2.0]])
    old = np.full((1, 4), -1.0)
    ones = jnp.ones((1, 4))

    def loss(logprobs):
        made = PolicyLoss(surrogate="tapered")(
            logprobs, jnp.asarray(old), None, jnp.asarray(old), ones, jnp.asarray(advantages), ones,
            jnp.ones((1, 4), jnp.int32), ones,
        )  # fmt: skip
        return made[0], made[1]["ratio/clipped"]

    gradient, limited = jax.grad(loss, has_aux=True)(jnp.asarray(old + np.log(ratios)))
    np.testing.assert_allclose(-gradient, [[1.0, 1.0, -2.0 * 0.5, -2.0 * 1.0]], rtol=1e-5)
    assert limited == 1
