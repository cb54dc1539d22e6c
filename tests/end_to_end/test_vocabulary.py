"""An embedding with more rows than the tokenizer has tokens, as most folders have it, and one with fewer."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rl_reason import settings, train
from rl_reason.data.tokenization import decode, load_tokenizer
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes.bookkeeping import export_model
from rl_reason.recipes.setup import describe_model
from tests.end_to_end.commands import SMALL, read

EMBED = "model.embed_tokens.weight"
TOKENS, ROWS = 400, 440


def resize(model, folder, rows):
    """A copy of the tiny model with so many rows in its embedding, which is also its head."""
    shutil.copytree(model, folder)
    tensors = load_file(folder / "model.safetensors")
    noise = np.random.default_rng(0).normal(0, 0.05, (max(0, rows - TOKENS), 32)).astype(np.float32)
    tensors[EMBED] = np.concatenate([tensors[EMBED][:rows], noise])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text()) | {"vocab_size": rows}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def padded(tiny_model, tmp_path_factory):
    """The tiny model with rows behind those of the tokenizer's tokens."""
    assert len(load_tokenizer(str(tiny_model))) == TOKENS
    return resize(tiny_model, tmp_path_factory.mktemp("padded") / "model", ROWS)


def test_ids_without_a_token_are_drawn_as_transformers_does(commands, padded, tmp_path):
    """They have their logit's share of the probability, and no text."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"problem": f"What is {i}+1?", "answer": str(i)}) + "\n" for i in range(6)))
    flags = [f"--model={padded}", f"--data={data}", "--samples=4", "--max_tokens=12", "--template=none"]
    commands.succeed(["rl_reason.evaluate", *flags, "--temperature=1.0", f"--output={tmp_path / 'out'}"])
    tokenizer, reference = load_tokenizer(str(padded)), AutoModelForCausalLM.from_pretrained(padded, dtype="float32")
    assert reference.get_input_embeddings().weight.shape[0] == ROWS
    drawn = set()
    for row in read(tmp_path / "out" / "samples.jsonl"):
        drawn |= set(row["tokens"])
        assert row["completion"] == decode(tokenizer, [token for token in row["tokens"] if token < TOKENS])
        ids = tokenizer(row["prompt"])["input_ids"]
        with torch.no_grad():
            logits = reference(torch.tensor([ids + row["tokens"]])).logits[0, len(ids) - 1 : -1]
        expected = torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(row["tokens"])[:, None])[:, 0]
        np.testing.assert_allclose(row["logprobs"], expected.numpy(), atol=1e-4)
    assert max(drawn) < ROWS and len([token for token in drawn if token >= TOKENS]) > 5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_without_a_token_go_out_as_they_came_in(padded, tmp_path, dtype):
    model = describe_model(settings.Model(path=str(padded)), make_mesh(settings.Mesh(data=1, fsdp=-1)), lambda: ())
    model.check_files()
    export_model(tmp_path / "out", model, model.load_params(0), dtype)
    made, expected = load_file(tmp_path / "out" / "model.safetensors"), load_file(padded / "model.safetensors")
    assert made.keys() == expected.keys() and made[EMBED].shape == (ROWS, 32)
    for name, array in made.items():
        assert array.dtype == dtype and array.tobytes() == expected[name].astype(array.dtype).tobytes(), name
    assert json.loads((tmp_path / "out" / "config.json").read_text())["vocab_size"] == ROWS
    assert len(load_tokenizer(str(tmp_path / "out"))) == TOKENS


def test_training(commands, padded, tmp_path):
    """Rewards read completions in which ids without a token stand; what is exported has all rows."""
    run, output = tmp_path / "run", tmp_path / "out"
    flags = [f"--config.model.path={padded}", "--config.steps=2", "--config.evaluation.every=0"]
    commands.succeed(commands.grpo(run, *flags))
    assert max(row["logprob_difference/max"] for row in read(run / "metrics.jsonl")) < 1e-4
    commands.succeed(["rl_reason.export", f"--workdir={run}", f"--output={output}"])
    trained, start = load_file(output / "model.safetensors")[EMBED], load_file(padded / "model.safetensors")[EMBED]
    assert trained.shape == start.shape and not np.array_equal(trained, start)


def test_an_embedding_smaller_than_the_tokenizer(tiny_model, refusal, tmp_path):
    folder = resize(tiny_model, tmp_path / "model", TOKENS - 1)
    flags = [f"--workdir={tmp_path}/run", f"--config.model.path={folder}", *SMALL]
    line = refusal(train.main, ["--config=configs/grpo_math.py:tiny", *flags])
    for part in (str(folder), EMBED, f"{TOKENS - 1} rows", f"{TOKENS} tokens"):
        assert part in line


def test_special_tokens_may_lie_behind_the_embedding(commands, tiny_model, tmp_path):
    """As in Gemma 3's text models. A prompt that holds one is refused."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    tokenizer = load_tokenizer(str(folder))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.save_pretrained(folder)
    assert len(load_tokenizer(str(folder))) == TOKENS + 1
    data = tmp_path / "data.jsonl"
    flags = [f"--model={folder}", f"--data={data}", "--max_tokens=4", "--template=none", f"--output={tmp_path / 'out'}"]
    data.write_text(json.dumps({"problem": "1+1?", "answer": "2"}) + "\n")
    commands.succeed(["rl_reason.evaluate", *flags])
    data.write_text(json.dumps({"id": "b", "problem": "1+1? <image>", "answer": "2"}) + "\n")
    done = commands.run(["rl_reason.evaluate", *flags])
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "'b'" in done.stderr and "<image>" in done.stderr and "400" in done.stderr
