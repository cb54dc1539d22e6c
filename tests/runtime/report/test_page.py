"""The page as a file: everything in it, and nothing in it that a model wrote is run."""

import base64
import gzip
import hashlib
import json
import subprocess
import sys
from html.parser import HTMLParser

import plotly.offline
import pytest

from rl_reason.errors import UsageError
from rl_reason.runtime.report import make_page, write_report
from rl_reason.runtime.report.folders import read_runs
from rl_reason.runtime.report.page import embed


class Page(HTMLParser):
    """Elements and script texts as a browser's parser finds them."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.title = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "title":
            self.title += data

    @property
    def data(self):
        return json.loads(self.scripts[0])

    def block(self, name) -> bytes:
        ids = [attrs.get("id") for tag, attrs in self.tags if tag == "script"]
        return gzip.decompress(base64.b64decode(self.scripts[ids.index(f"block-{name}")]))

    @property
    def samples(self):
        return json.loads(self.block("samples"))


def page_of(folder) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_hostile_samples_stay_data(made_run, hostile):
    page = page_of(made_run())
    # Runs, samples, tokens, plotly and the page's own script: a completion has opened no further one, nor an element.
    assert len(page.scripts) == 5
    assert not {"b", "i"} & {tag for tag, _ in page.tags}
    assert page.title == "run"
    assert page.samples["completions"][3] == f"{hostile} 3"


def test_embedded_json_cannot_end_its_element():
    hostile = {"</script>": ["<!--", "<script", "]]>", "&lt;"]}
    text = embed(hostile)
    assert not set("<>&") & set(text) and json.loads(text) == hostile


def test_page_needs_no_network_and_inserts_text_only_as_text(made_run):
    page = page_of(made_run())
    assert not [attrs for _, attrs in page.tags if "src" in attrs or attrs.get("href", "data:").find("data:")]
    for dangerous in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert dangerous not in page.scripts[-1]


def test_the_pages_own_script_may_run_and_what_it_unpacks(made_run):
    page = page_of(made_run())
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert page.block("plotly").decode() == plotly.offline.get_plotlyjs()
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}' blob:"
    assert rules["default-src"] == "'none'" and "http" not in policy


def test_evaluations_before_and_after(made_run):
    (run,) = page_of(made_run()).data["runs"]
    rows = run["evaluations"]
    assert ["held <i>out</i>", "pass@1", "10.0% [5.0%, 15.0%]", "60.0% [50.0%, 70.0%]", "+50.0 points"] in rows
    assert ["held <i>out</i>", "step", "0", "40", ""] in rows
    assert run["evals"]["held <i>out</i>"]["pass@1"] == [[0, 0.1, 0.05, 0.15], [40, 0.6, 0.5, 0.7]]


def test_curves_and_versions_are_on_the_page(made_run):
    folder = made_run()
    words = ["python", "-m", "rl_reason.train", "--config=a b.py"]
    (folder / "environment.json").write_text(json.dumps({"command": words, "packages": {"jax": "0.10.2"}}))
    data = page_of(folder).data
    assert {"Reward", "pass@1", "Entropy"} <= {panel["title"] for panel in data["panels"]}
    (run,) = data["runs"]
    assert run["metrics"]["kl/reference"][0][:2] == [1, 2] and len(run["metrics"]["entropy"][1]) == 40
    assert run["environment"] == [["packages.jax", "0.10.2"]]
    assert run["command"] == "python -m rl_reason.train '--config=a b.py'"


def test_run_without_records_and_with_a_torn_line(made_run):
    folder = made_run()
    for name in ("metrics", "eval", "samples"):
        (folder / f"{name}.jsonl").write_text('{"step": 1, "co')
    page = page_of(folder)
    assert page.data["panels"] == page.data["runs"][0]["evaluations"] == page.samples["completions"] == []


def test_corrections_are_cut_into_what_is_marked(made_run, hostile):
    folder = made_run()
    shown = lambda: page_of(folder).data["runs"][0]["corrections"]  # noqa: E731
    assert shown() is None  # of a run that does not look for them
    (folder / "corrections.jsonl").write_text("")
    assert shown() == []
    text = f"{hostile} 1+1=3 wait 1+1=2 so"
    spans = {name: [text.index(what), text.index(what) + 5] for name, what in (("wrong", "1+1=3"), ("right", "1+1=2"))}
    record = {"step": 7, "id": "a", "sample": 0, "prompt": "p", "completion": text, "answer": "2", "verdict": "correct"}
    (folder / "corrections.jsonl").write_text(json.dumps(record | spans) + "\n")
    (one,) = shown()
    assert one["pieces"] == [["", f"{hostile} "], ["wrong", "1+1=3"], ["", " wait "], ["right", "1+1=2"], ["", " so"]]
    assert (one["step"], one["prompt"], one["verdict"]) == (7, "p", "correct")


def run_command(*arguments, **more):
    command = [sys.executable, "-m", "rl_reason.report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **more)


def test_command_writes_the_page_of_one_run_and_of_several(made_run, tmp_path):
    folder, other = made_run(), made_run(name="other")
    done = run_command(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{folder}/report.html\n" and Page((folder / "report.html").read_text()).title == "run"
    both = tmp_path / "both.html"
    assert run_command(folder, other, f"--output={both}").returncode == 0
    page = Page(both.read_text())
    assert [run["name"] for run in page.data["runs"]] == ["run", "other"] and page.title == "run · other"
    assert sorted(set(page.samples["run"])) == [0, 1]


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([], "expected the folder of a run"),
        (["EMPTY"], "EMPTY: not the folder of a run: expected a config.json"),
        (["EMPTY/absent"], "EMPTY/absent: no such folder"),
        (["--nope"], "--nope: unknown flag"),
        (["BEGUN"], "BEGUN: no metrics, evaluations or samples yet"),
        (["RUN", "RUN"], "RUN: given twice"),
        (["BROKEN"], "BROKEN/config.json: expected a JSON object"),
        (["PARENT"], "its folders begun, broken, run are of runs"),
        (["RUN", "--output=EMPTY"], "--output=EMPTY: expected a file"),
        (["RUN", "--serve", "--port=99999"], "--port=99999"),
        (["RUN", "--serve", "--output=x.html"], "--output=x.html: --serve writes nothing"),
    ],
)
def test_wrong_use_is_exit_2_and_one_line(made_run, tmp_path, arguments, told, monkeypatch, capsys):
    from rl_reason import report
    from rl_reason.errors import tell

    places = {"RUN": made_run(), "PARENT": tmp_path}
    for name, config in (("empty", None), ("begun", '{"steps": 3}'), ("broken", "{")):
        places[name.upper()] = tmp_path / name
        places[name.upper()].mkdir()
        if config:
            (tmp_path / name / "config.json").write_text(config)
    for name, place in places.items():
        arguments = [argument.replace(name, str(place)) for argument in arguments]
        told = told.replace(name, str(place))
    monkeypatch.setattr(sys, "argv", ["report", *arguments])
    with pytest.raises(UsageError) as raised:
        report.main()
    assert tell(raised.value) == 2
    line = capsys.readouterr().err
    assert told in line and line.count("\n") == 1 and line.startswith("error: ")
    assert not list(tmp_path.rglob("*.html"))


def test_names_of_runs_differ(made_run, tmp_path):
    for place in ("a/seed0", "b/seed0"):
        made_run(name=place)
    runs = read_runs([tmp_path / "a" / "seed0", tmp_path / "b" / "seed0"])
    assert [run.name for run in runs] == ["a/seed0", "b/seed0"]


def test_folder_of_an_evaluation(tmp_path):
    asked = {"grader": "number", "model": "m", "data": "word_problems", "template": "none"}
    measured = {"n": 2, "pass@1": 0.5, "pass@1_ci95": [0.1, 0.9]}
    (tmp_path / "results.json").write_text(json.dumps(asked | measured))
    rows = [
        {"id": f"q{i}", "sample": 0, "prompt": "p", "completion": "c", "tokens": [1, 2, 3], "logprobs": [-1, -2, -3],
         "correct": i == 1, "verdict": "correct" if i else "wrong"}
        for i in range(2)
    ]  # fmt: skip
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = Page(make_page(read_runs([tmp_path])))
    (run,) = page.data["runs"]
    assert (
        run["kind"] == "evaluation"
        and ["word_problems", "pass@1", "50.0% [10.0%, 90.0%]", "–", ""] in run["evaluations"]
    )
    assert page.data["settings"]["keys"] == list(asked)
    assert page.samples["right"] == [0, 1] and page.samples["length"] == [3, 3] and page.samples["step"] == [None] * 2
