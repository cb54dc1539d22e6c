"""The report page: everything in one file, and nothing in it that a model wrote is run."""

import json
import re
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest

from rl_reason.errors import UsageError
from rl_reason.runtime.report import embed, write_report


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


def page_of(folder) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_command_writes_the_page(made_run):
    folder = made_run()
    done = subprocess.run([sys.executable, "-m", "rl_reason.report", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "report.html").exists() and str(folder / "report.html") in done.stdout


@pytest.mark.parametrize("arguments", [["EMPTY"], ["EMPTY/absent"], [], ["a", "b"], ["--nope"]])
def test_wrong_use_is_exit_2_and_one_line(tmp_path, arguments):
    arguments = [argument.replace("EMPTY", str(tmp_path)) for argument in arguments]
    done = subprocess.run([sys.executable, "-m", "rl_reason.report", *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: ")
    assert not list(tmp_path.iterdir())


def test_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(UsageError, match=re.escape(str(tmp_path))):
        write_report(tmp_path)


def test_hostile_samples_stay_data(made_run, hostile):
    page = page_of(made_run())
    # The data, plotly and the page's own script: a completion has opened no further one, nor another element.
    assert len(page.scripts) == 3
    assert not {"b", "i"} & {tag for tag, _ in page.tags}
    assert page.title == "run"
    assert page.data["samples"][3]["completion"] == f"{hostile} 3"


def test_embedded_json_cannot_end_its_element():
    hostile = {"</script>": ["<!--", "<script", "]]>", "&lt;"]}
    text = embed(hostile)
    assert not set("<>&") & set(text) and json.loads(text) == hostile


def test_page_needs_no_network_and_inserts_text_only_as_text(made_run):
    page = page_of(made_run())
    assert not [attrs for _, attrs in page.tags if "src" in attrs or "href" in attrs]
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "http" not in policy
    for dangerous in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert dangerous not in page.scripts[2]
    assert "textContent" in page.scripts[2] and "Plotly" in page.scripts[1] and len(page.scripts[1]) > 10**6


def test_samples_have_reward_length_and_verdict(made_run):
    samples = page_of(made_run()).data["samples"]
    assert [s["reward"] for s in samples[:2]] == pytest.approx([0.1, 1.1])
    assert [s["right"] for s in samples[:2]] == [False, True]
    assert samples[2]["length"] == 12 and samples[2]["step"] == 3


@pytest.mark.parametrize(
    "record, reward, right, length",
    [
        ({"completion": "abcd"}, None, None, 4),
        ({"completion": "", "reward": 2.0, "correct": True, "tokens": [1, 2]}, 2.0, True, 2),
        ({"completion": [], "rewards": 0.5, "verdict": "timeout", "length": 7}, 0.5, False, 7),
        ({"completion": "x", "rewards": {"accuracy": None}}, None, None, 1),
    ],
)
def test_samples_with_other_keys_are_shown_too(made_run, record, reward, right, length):
    folder = made_run()
    (folder / "samples.jsonl").write_text(json.dumps({"step": 1, "prompt": [{"role": "user"}]} | record) + "\n")
    (sample,) = page_of(folder).data["samples"]
    assert (sample["reward"], sample["right"], sample["length"]) == (reward, right, length)
    assert "user" in sample["prompt"]


def test_evaluations_before_and_after(made_run):
    rows = page_of(made_run()).data["evaluations"]
    assert ["held <i>out</i>", "pass@1", "10.0% [5.0%, 15.0%]", "60.0% [50.0%, 70.0%]", "+50.0 points"] in rows
    assert ["held <i>out</i>", "step", "0", "40", ""] in rows


def test_curves_config_and_versions_are_on_the_page(made_run):
    folder = made_run()
    (folder / "environment.json").write_text(json.dumps({"python": "3.11.7", "packages": {"jax": "0.10.2"}}))
    data = page_of(folder).data
    assert {"Reward", "pass@1", "Entropy"} <= {chart["layout"]["title"]["text"] for chart in data["charts"]}
    band = next(t for c in data["charts"] for t in c["data"] if "error_y" in t)
    assert band["error_y"]["array"] == pytest.approx([0.05, 0.1]) and "<i>" not in band["name"]
    assert ["reward.weights", "[1.0, 0.1]"] in data["config"] and ["packages.jax", "0.10.2"] in data["environment"]


def test_run_without_records_and_with_a_torn_line(made_run):
    folder = made_run()
    for name in ("metrics", "eval", "samples"):
        (folder / f"{name}.jsonl").write_text('{"step": 1, "co')
    data = page_of(folder).data
    assert data["charts"] == data["evaluations"] == data["samples"] == []


def test_many_samples(made_run):
    folder = made_run(samples=20_000)
    started = time.perf_counter()
    page = write_report(folder)
    assert time.perf_counter() - started < 20
    assert page.stat().st_size < 40e6
    # What keeps the page quick: it draws so many rows and no more.
    assert re.search(r"const PAGE = \d\d;", page.read_text())


def test_corrections_are_cut_into_what_is_marked(made_run, hostile):
    folder = made_run()
    assert page_of(folder).data["corrections"] is None  # of a run that does not look for them
    (folder / "corrections.jsonl").write_text("")
    assert page_of(folder).data["corrections"] == []
    text = f"{hostile} 1+1=3 wait 1+1=2 so"
    spans = {name: [text.index(what), text.index(what) + 5] for name, what in (("wrong", "1+1=3"), ("right", "1+1=2"))}
    record = {"step": 7, "id": "a", "sample": 0, "prompt": "p", "completion": text, "answer": "2", "verdict": "correct"}
    (folder / "corrections.jsonl").write_text(json.dumps(record | spans) + "\n")
    page = page_of(folder)
    (shown,) = page.data["corrections"]
    assert shown["pieces"] == [
        ["", f"{hostile} "], ["wrong", "1+1=3"], ["", " wait "], ["right", "1+1=2"], ["", " so"]
    ]  # fmt: skip
    assert (shown["step"], shown["prompt"], shown["verdict"]) == (7, "p", "correct")
    assert len(page.scripts) == 3 and not {"b", "i", "mark"} & {tag for tag, _ in page.tags}
