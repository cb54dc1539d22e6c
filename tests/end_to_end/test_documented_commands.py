"""The tutorial's commands behind training, on a run that is there, with fewer problems and shorter answers."""

import importlib
import json
import re
import shutil
import sys

from tests.documents.commands import ROOT, commands

SMALLER = {"problems": 4, "samples": 2, "max_tokens": 12}


def test_the_tutorial_from_the_run_to_what_is_kept(
    finished_run, tiny_model, evaluate_here, tmp_path, monkeypatch, capsys
):
    shutil.copytree(finished_run, tmp_path / "runs" / "demo")
    places = {"runs/": f"{tmp_path}/runs/", "checkpoints/tiny": str(tiny_model)}

    def adapted(word: str) -> str:
        for written, here in places.items():
            word = re.sub(rf"(^|=){written}", rf"\1{here}", word)
        name, equals, _ = word.removeprefix("--").partition("=")
        return f"--{name}={SMALLER[name]}" if equals and name in SMALLER else word

    told = {}
    for words in commands(ROOT / "docs" / "tutorial.md"):
        if words[0] != "python" or words[2] in ("rl_reason.train", "rl_reason.plan") or len(words) == 3:
            continue
        module, arguments = words[2], [adapted(word) for word in words[3:]]
        if module.startswith("experiments."):
            continue
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        capsys.readouterr()
        importlib.import_module(module).main()
        told.setdefault(module.removeprefix("rl_reason."), []).append(capsys.readouterr().out)

    assert {name: len(texts) for name, texts in told.items()} == {"report": 1, "evaluate": 2, "compare": 1, "export": 1}
    runs = tmp_path / "runs"
    assert (runs / "demo" / "report.html").stat().st_mtime > (finished_run / "report.html").stat().st_mtime
    for name in ("before", "after"):
        results = json.loads((runs / name / "results.json").read_text())
        assert results["n"] == 4 and results["samples"] == 2 and results["grader"] == "marked_number"
    assert "4 problems" in told["compare"][0]
    assert (runs / "demo_hf" / "model.safetensors").is_file() and "demo_hf" in told["export"][0]
