"""Flags, config files and overrides: what is accepted, and one line that names the culprit of what is not."""

import subprocess
import sys
from pathlib import Path

import pytest

from rl_reason.errors import UsageError
from rl_reason.runtime.config import default_workdir, load
from rl_reason.runtime.flags import REQUIRED, parse_flags

ROOT = Path(__file__).resolve().parents[2]

CONFIG = """
from rl_reason.runtime.config import check_variant
from rl_reason.settings import defaults

def get_config(variant=""):
    check_variant(variant, ["tiny", "large"])
    config = defaults()
    config.model.shape = {"layers": 2}
    config.steps = 3 if variant == "tiny" else 50
    return config
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "experiment.py"
    path.write_text(CONFIG)
    return str(path)


def error_of(*argv: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(argv)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_variant_and_workdir(file):
    assert load([f"--config={file}"]).settings.steps == 50
    settings, config, flags = load([f"--config={file}:tiny"])
    assert settings.steps == config.steps == 3
    assert flags["workdir"] == default_workdir(file, "tiny") == "runs/experiment-tiny"
    assert load(["--workdir=here", "--config", file]).flags["workdir"] == "here"


def test_overrides_by_type(file):
    settings = load([
        "--config.steps=7",  # An override may stand before the file.
        f"--config={file}",
        "--config.reward.names=('accuracy','format')",
        "--config.reward.weights=[0.5, 1]",
        "--config.algorithm.learning_rate", "1e-3",
        "--config.algorithm.kl_coef=0",
        "--config.sampling.temperature", "-1",
        "--config.data.solutions=(('plain', 0.5), ('steps', 0.5))",
        "--config.model.path=a=b c",
        "--config.model.shape={'layers': 4, 'width': 64}",
        "--config.model.shape.heads=8",
    ]).settings
    assert settings.steps == 7
    assert settings.reward.names == ("accuracy", "format") and settings.reward.weights == (0.5, 1)
    assert settings.algorithm.learning_rate == 1e-3
    assert settings.algorithm.kl_coef == 0.0 and isinstance(settings.algorithm.kl_coef, float)
    assert settings.sampling.temperature == -1
    assert settings.data.solutions == (("plain", 0.5), ("steps", 0.5))
    assert settings.model.path == "a=b c"
    assert settings.model.shape == {"layers": 4, "width": 64, "heads": 8}
    assert load([f"--config={file}", "--config.reward.names=format"]).settings.reward.names == ("format",)
    assert load([f"--config={file}", "--config.steps=1", "--config.steps=2"]).settings.steps == 2


@pytest.mark.parametrize("override, parts", [
    ("--config.steps=abc", ["config.steps", "'abc'", "int"]),
    ("--config.steps=1.5", ["config.steps", "'1.5'", "int"]),
    ("--config.steps", ["config.steps", "value"]),
    ("--config.algorithm.kl_coef=none", ["config.algorithm.kl_coef", "float"]),
    ("--config.reward.names=('a',", ["config.reward.names", "tuple"]),
    ("--config.model.shape=3", ["config.model.shape", "dict"]),
    ("--config.model={'path': 'x'}", ["config.model", "KEY=VALUE"]),
    ("--config.algorithm.lerning_rate=1", ["config.algorithm.lerning_rate", "unknown", "'learning_rate'"]),
    ("--config.algoritm.eps=1", ["config.algoritm", "'algorithm'"]),
    ("--config.steps.x=1", ["config.steps.x", "int"]),
    ("--config.=1", ["config.", "expected"]),
    ("--wokdir=x", ["--wokdir", "'workdir'"]),
    ("stray", ["'stray'"]),
])
def test_wrong_overrides_are_one_line(file, override, parts):
    message = error_of(override) if override == "stray" else error_of(f"--config={file}", override)
    assert all(part in message for part in parts), message


@pytest.mark.parametrize("body, parts", [
    ("def get_config(variant=''):\n    return 1 / 0", ["line 2", "ZeroDivisionError"]),
    ("import no_such_module_here", ["line 1", "no_such_module_here"]),
    ("def get_config(:", ["line 1"]),
    ("x = 1", ["get_config"]),
    ("def get_config(variant=''): return {}", ["ConfigDict"]),
    ("from rl_reason.settings import defaults\ndef get_config(variant=''):\n    c = defaults()\n    c.stps = 1\n"
     "    return c", ["line 4", "'stps'", "'steps'"]),
    ("from rl_reason.settings import defaults\ndef get_config(variant=''):\n    c = defaults()\n    c.steps = 'x'\n"
     "    return c", ["line 4", "int"]),
])
def test_wrong_files_are_one_line(tmp_path, body, parts):
    path = tmp_path / "broken.py"
    path.write_text(body)
    message = error_of(f"--config={path}")
    assert all(part in message for part in ["broken.py", *parts]), message


def test_missing_file_variant_and_flag(file, tmp_path):
    assert "nowhere.py" in error_of(f"--config={tmp_path}/nowhere.py")
    assert "did you mean 'tiny'" in error_of(f"--config={file}:tinny")
    assert "--config" in error_of("--workdir=x")


def test_edited_file_is_read_again(file):
    assert load([f"--config={file}"]).settings.steps == 50
    Path(file).write_text(CONFIG.replace("50", "60"))
    assert load([f"--config={file}"]).settings.steps == 60


def test_exit_status_and_one_line_on_stderr(file):
    code = "import sys; from rl_reason.errors import run_command; from rl_reason.runtime.config import load\n" \
           "run_command(lambda: load(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, f"--config={file}", "--config.steps=abc"], cwd=ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "config.steps" in done.stderr and done.stdout == ""


SPEC = {
    "input": (Path, REQUIRED, "a file"),
    "samples": (int, 4, ""),
    "temperature": (float, 1.0, "of the softmax"),
    "max_tokens": (int, 10, ""),
    "quiet": (bool, False, ""),
}


def test_parse_flags(capsys):
    argv = ["--input", "a.json", "--samples=2", "--temperature", "-0.5", "--max-tokens=3", "--quiet"]
    values = parse_flags(argv, SPEC)
    assert values == {"input": Path("a.json"), "samples": 2, "temperature": -0.5, "max_tokens": 3, "quiet": True}
    assert parse_flags(["--quiet", "--noquiet", "--input=a"], SPEC)["quiet"] is False
    with pytest.raises(SystemExit) as exit_:
        parse_flags(["--help"], SPEC, "Does it.")
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert "Does it." in shown and all(f"--{name}" in shown for name in SPEC)


@pytest.mark.parametrize("argv, parts", [
    (["--input=a", "--sample=2"], ["--sample", "'samples'"]),
    (["--input=a", "--samples=two"], ["--samples='two'", "int"]),
    (["--input=a", "--samples"], ["--samples", "value"]),
    (["--input=a", "--quiet=maybe"], ["--quiet", "true or false"]),
    (["--samples=2"], ["--input", "a file"]),
])
def test_parse_flags_errors(argv, parts):
    with pytest.raises(UsageError) as caught:
        parse_flags(argv, SPEC)
    assert all(part in str(caught.value) for part in parts), caught.value
