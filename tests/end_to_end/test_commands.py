"""`rl_reason.evaluate` and `rl_reason.export`: what they write, and what they refuse."""

from __future__ import annotations

import json
import shutil

import jax
import numpy as np
import pytest

from rl_reason import evaluate, export, settings
from rl_reason.data.tokenization import load_tokenizer
from rl_reason.models import decoder
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes.optimizer import make_optimizer
from rl_reason.recipes.setup import describe_model
from rl_reason.recipes.state import abstract_state
from rl_reason.rewards.estimators import pass_at_k
from rl_reason.runtime.checkpoints import Checkpoints
from tests.end_to_end.commands import read

PROBLEMS = [{"id": f"q{i}", "problem": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(6)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "problems.jsonl"
    file.write_text("".join(json.dumps(problem) + "\n" for problem in PROBLEMS))
    return file


def flags_of(model, data, output, /, **changes):
    values = {"model": model, "data": data, "output": output, "samples": 4, "temperature": 1.0, "max_tokens": 12}
    values |= {"template": "none", "seed": 5, "batch": 8} | changes
    return [f"--{name}={value}" for name, value in values.items()]


def run_evaluate(commands, data, output, /, **changes):
    commands.succeed(["rl_reason.evaluate", *flags_of(commands.model, data, output, **changes)])
    assert {path.name for path in output.iterdir()} == {"results.json", "samples.jsonl"}
    return json.loads((output / "results.json").read_text()), read(output / "samples.jsonl")


def test_evaluate_on_a_file(commands, data, tmp_path):
    # A grader that calls about half of random text correct, so that the rates have something to count.
    results, samples = run_evaluate(commands, data, tmp_path / "a", grader="user_graders:no_capital")
    assert results["grader"] == "user_graders:no_capital"
    assert results["n"] == 6 and results["samples"] == 4
    assert results["temperature"] == 1.0 and results["seed"] == 5 and results["template"] == "none"

    assert [(row["id"], row["sample"]) for row in samples] == [(f"q{i}", g) for i in range(6) for g in range(4)]
    tokenizer = load_tokenizer(str(commands.model))
    for row in samples:
        problem = PROBLEMS[int(row["id"][1:])]
        assert row["prompt"] == problem["problem"]
        assert row["correct"] is not any(character.isupper() for character in row["completion"])
        assert tokenizer.decode(row["tokens"], skip_special_tokens=True) == row["completion"]
        assert len(row["tokens"]) == len(row["logprobs"]) <= 12
        assert all(value <= 0 for value in row["logprobs"])
        assert row["finish"] == ("stop" if 40 <= row["tokens"][-1] < 70 or row["tokens"][-1] == 1 else "length")
        assert row["finish"] == "stop" or len(row["tokens"]) == 12
    assert {row["finish"] for row in samples} == {"stop", "length"}
    assert len({row["completion"] for row in samples}) > 12

    correct = np.array([row["correct"] for row in samples]).reshape(6, 4)
    assert 0 < correct.mean() < 1
    assert results["pass@1"] == pytest.approx(correct.mean())
    low, high = results["pass@1_ci95"]
    assert 0 <= low < results["pass@1"] < high <= 1
    assert results["pass@4"] == pytest.approx(correct.any(axis=1).mean())
    assert results["pass@2"] == pytest.approx(pass_at_k(correct.sum(axis=1), 4, 2).mean())
    assert 0 <= results["maj@4"] <= results["pass@4"]
    assert results["tokens/completion"] == pytest.approx(np.mean([len(row["tokens"]) for row in samples]))
    assert results["truncated"] == pytest.approx(np.mean([row["finish"] == "length" for row in samples]))

    # Again, in batches of another size: the same samples, another process.
    _, again = run_evaluate(commands, data, tmp_path / "b", grader="user_graders:no_capital", batch=24)
    for one, other in zip(samples, again, strict=True):
        assert other["tokens"] == one["tokens"] and other["correct"] == one["correct"]
        np.testing.assert_allclose(other["logprobs"], one["logprobs"], atol=1e-5)


def test_evaluate_greedily_with_a_template(commands, data, tmp_path):
    results, samples = run_evaluate(commands, data, tmp_path / "a", samples=1, temperature=0, template="boxed_plain")
    assert results["grader"] == "accuracy" and results["n"] == len(samples) == 6
    assert "pass@1" in results and "pass@2" not in results and "maj@1" not in results
    for row in samples:
        assert row["prompt"].startswith("User: What is") and "\\boxed{}" in row["prompt"]

    # An independent greedy decoding: the whole text through the decoder for every token.
    model = describe_model(settings.Model(path=str(commands.model)), make_mesh(settings.Mesh()), lambda: ())
    params = model.load_params(0)
    row = samples[0]
    ids = model.tokenizer(row["prompt"])["input_ids"]
    tokens = np.array([[*ids, *row["tokens"]]], np.int32)
    hidden, _ = decoder.forward(params, tokens, np.ones_like(tokens), model.config)
    logits = np.asarray(decoder.logits(params, hidden, model.config))[0, len(ids) - 1 : -1]
    assert logits.argmax(axis=1).tolist() == row["tokens"]
    expected = np.asarray(jax.nn.log_softmax(logits))[np.arange(len(logits)), row["tokens"]]
    np.testing.assert_allclose(row["logprobs"], expected, atol=1e-4)


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"samples": 0}, ["--samples=0", "at least 1"]),
        ({"samples": 4, "temperature": 0}, ["--samples=4", "temperature 0"]),
        ({"temperature": -1}, ["--temperature=-1", "0 (greedy) or more"]),
        ({"temperature": "warm"}, ["--temperature='warm'", "float"]),
        ({"top_p": 0}, ["--top_p=0", "more than 0"]),
        ({"max_tokens": 0}, ["--max_tokens=0", "at least 1"]),
        ({"template": "boxes"}, ["--template='boxes'", "did you mean 'boxed'"]),
        ({"template": "boxed"}, ["chat template"]),
        ({"grader": "acuracy"}, ["--grader='acuracy'", "did you mean 'accuracy'"]),
        ({"model": "/no/such/folder"}, ["/no/such/folder", "no such folder"]),
        ({"data": "/no/such/file.jsonl"}, ["/no/such/file.jsonl", "No such file"]),
        ({"data": "gsm8"}, ["gsm8", "did you mean 'gsm8k'"]),
        ({"max_prompt_tokens": 3}, ["3", "tokens"]),
        ({"dtype": "float16"}, ["float16", "bfloat16"]),
        ({"temprature": 1}, ["--temprature", "did you mean 'temperature'"]),
    ],
)
def test_evaluate_refuses(refusal, tiny_model, data, tmp_path, changes, told):
    line = refusal(evaluate.main, flags_of(tiny_model, data, tmp_path / "out", **changes))
    for part in told:
        assert part in line


def test_evaluate_refuses_what_is_missing_or_in_the_way(refusal, tiny_model, data, tmp_path):
    arguments = flags_of(tiny_model, data, tmp_path / "out")
    assert "--model: missing" in refusal(evaluate.main, arguments[1:])
    (tmp_path / "out").write_text("a file")
    assert "expected a folder" in refusal(evaluate.main, arguments)


def test_evaluate_refuses_a_row_without_an_answer(refusal, tiny_model, tmp_path):
    file = tmp_path / "data.jsonl"
    file.write_text('{"problem": "1+1?"}\n')
    line = refusal(evaluate.main, flags_of(tiny_model, file, tmp_path / "out"))
    assert f"{file}, line 1" in line and "`answer`" in line


def test_evaluate_refuses_pickled_weights(refusal, tiny_model, data, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    line = refusal(evaluate.main, flags_of(folder, data, tmp_path / "out"))
    assert "pytorch_model.bin" in line


def test_export_is_what_transformers_loads(commands, finished_run, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    output = tmp_path / "exported"
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()}
    flags = [f"--workdir={finished_run}", f"--output={output}", "--dtype=float32"]
    done = commands.succeed(["rl_reason.export", *flags])
    assert "step 6" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()} == before

    theirs = transformers.AutoModelForCausalLM.from_pretrained(output)
    tokenizer = transformers.AutoTokenizer.from_pretrained(output)
    assert theirs.dtype == torch.float32
    ids = np.array([tokenizer("Olga has 43 apples and gives 2 to Ben.\n")["input_ids"]], np.int32)
    assert ids.shape[1] > 5
    with torch.no_grad():
        expected = theirs(torch.tensor(ids, dtype=torch.long)).logits.numpy()

    # The newest checkpoint, read without the exported folder.
    model = describe_model(settings.Model(path=str(finished_run / "model")), make_mesh(settings.Mesh()), lambda: ())
    abstract = abstract_state(model, make_optimizer(settings.Algorithm(), 1), True)
    copy = shutil.copytree(finished_run / "checkpoints", tmp_path / "checkpoints")
    with Checkpoints(copy, keep=0) as checkpoints:
        restored = checkpoints.restore_latest(abstract)
    assert restored is not None and restored[0] == 6
    params = restored[1]["train"].params
    hidden, _ = decoder.forward(params, ids, np.ones_like(ids), model.config)
    np.testing.assert_allclose(np.asarray(decoder.logits(params, hidden, model.config)), expected, atol=2e-4)
    # And it has learned: the folder is not the model that the run began with.
    start = transformers.AutoModelForCausalLM.from_pretrained(commands.model)
    with torch.no_grad():
        assert np.abs(start(torch.tensor(ids, dtype=torch.long)).logits.numpy() - expected).max() > 1e-2


def test_exported_folder_goes_on(commands, finished_run, data, tmp_path):
    """The default dtype, and the folder as `--model` of an evaluation, with the stop tokens of the first model."""
    output = tmp_path / "exported"
    run = shutil.copytree(finished_run, tmp_path / "run")
    # What a run that is still going on is writing must not be taken for a rest and removed.
    unfinished = run / "checkpoints" / "7.orbax-checkpoint-tmp"
    unfinished.mkdir()
    commands.succeed(["rl_reason.export", f"--workdir={run}", f"--output={output}"])
    assert unfinished.is_dir()
    generation = [json.loads((folder / "generation_config.json").read_text()) for folder in (commands.model, output)]
    assert generation[0]["eos_token_id"] == generation[1]["eos_token_id"]
    flags = flags_of(output, data, tmp_path / "out", samples=1, temperature=0)
    commands.succeed(["rl_reason.evaluate", *flags])
    assert json.loads((tmp_path / "out" / "results.json").read_text())["n"] == 6


def test_export_refuses(refusal, finished_run, tmp_path):
    output = tmp_path / "out"
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "no config.json" in refusal(export.main, [f"--workdir={folder}", f"--output={output}"])
    missing = [f"--workdir={tmp_path}/nowhere", f"--output={output}"]
    assert f"{tmp_path}/nowhere" in refusal(export.main, missing)
    (folder / "thesis.tex").write_text("years of work")
    line = refusal(export.main, [f"--workdir={finished_run}", f"--output={folder}"])
    assert str(folder) in line and "empty folder" in line
    line = refusal(export.main, [f"--workdir={finished_run}", f"--output={output}", "--dtype=int8"])
    assert "--dtype='int8'" in line


def test_export_refuses_a_run_without_a_checkpoint(refusal, finished_run, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(finished_run / "config.json", run)
    shutil.copytree(finished_run / "model", run / "model")
    # Describing the state makes one scalar.
    line = refusal(export.main, [f"--workdir={run}", f"--output={tmp_path}/out"], compilations=1)
    assert str(run) in line and "no finished checkpoint" in line
    assert not (tmp_path / "out").exists() and not (run / "checkpoints").exists()
