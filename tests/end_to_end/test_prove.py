"""`rl_reason.prove`: a model of random weights, and one that is made up and helps."""

from __future__ import annotations

import functools
import json
import sys
from concurrent.futures import Future
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from rl_reason import prove, settings
from rl_reason.data.templates import find_template, stops_of
from rl_reason.geometry import engine
from rl_reason.geometry.auxiliary import ROOT, Node, Proposal
from rl_reason.geometry.engine import Result
from rl_reason.geometry.provers import Provers
from rl_reason.geometry.statements import parse_auxiliary, parse_statement
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes import proposing, proving, setup
from rl_reason.recipes.completions import make_score as make_logprobs
from rl_reason.recipes.evaluation import Samples
from rl_reason.recipes.rollout import make_batch
from rl_reason.recipes.setup import describe_model, encode_prompts
from rl_reason.sampling.search import LENGTH, STOP, Step
from tests.end_to_end.commands import contents, read

needs_package = pytest.mark.skipif(not engine.is_installed(), reason=f"not installed: {engine.PACKAGES}")
MEDIANS = (
    "a b c = triangle a b c; d = midpoint b c; e = midpoint a c; g = on_line a d, on_line b e;"
    "f = on_line c g, on_line a b ? midp f a b"
)
STATEMENTS = f"""
midline
a b c = triangle a b c; d = midpoint a b; e = midpoint a c ? para d e b c
medians
{MEDIANS}
false
a b c = triangle a b c; d = midpoint a b ? perp a d b c
"""
HELP = "x = mirror x a g"


@pytest.fixture
def data(tmp_path):
    (tmp_path / "three.txt").write_text(STATEMENTS)
    return tmp_path / "three.txt"


@pytest.fixture
def prove_here(monkeypatch, capfd, data, tiny_model):
    """Runs the command in this process, and gives what it printed."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    monkeypatch.setattr(setup, "make_mesh", functools.partial(make_mesh, devices=jax.devices()[:1]))

    def run(output, **changes):
        flags = {"model": tiny_model, "data": data, "output": output, "samples": 4, "max_tokens": 24, "workers": 2}
        monkeypatch.setattr(sys, "argv", ["prove", *(f"--{name}={value}" for name, value in (flags | changes).items())])
        capfd.readouterr()
        prove.main()
        return capfd.readouterr().out

    yield run
    jax.config.update("jax_disable_most_optimizations", before)


class MadeUp(Provers):
    """An engine that proves what it is told to, and remembers what it was asked."""

    proved: tuple[str, ...] = ("para d e b c", HELP)
    asked: list[str] = []
    stops_after = 10**9

    def submit(self, text, seconds):
        if len(self.asked) == self.stops_after:
            raise KeyboardInterrupt
        self.asked.append(text)
        made = Future()
        end = "cannot be constructed" if "perp a d b c" in text else "no proof"
        if any(part in text for part in self.proved):
            names = [point for clause in parse_statement(text).clauses for point in clause.points]
            figure = {
                "points": {name: [i, i * i] for i, name in enumerate(names)},
                "premises": [["coll", "a", "b", "d"]],
            }
            made.set_result(Result("solved", 1.0, proof=f"# Proof of {text}", figure=figure))
        else:
            made.set_result(Result(end, 1.0))
        return made


@pytest.fixture
def made_up(monkeypatch):
    """The command without the engine, and without a model's help until `proposed` is filled."""
    monkeypatch.setattr(proving, "check_package", lambda key: None)
    monkeypatch.setattr(MadeUp, "asked", [])
    monkeypatch.setattr(proving, "Provers", MadeUp)
    proposed = {"": [("x = midpoint x a b", -0.5), ("nonsense", -0.1), (HELP, -1.0), ("y = mirror y a g", -2.0)]}
    told = lambda parents: [[Proposal(*one) for one in proposed.get(str(node), [])] for _, node in parents]  # noqa: E731
    monkeypatch.setattr(proving, "make_propose", lambda *arguments, **options: told)
    return proposed


def test_what_is_written(made_up, prove_here, tmp_path):
    shown = prove_here(tmp_path / "out")
    records = {record["id"]: record for record in read(tmp_path / "out" / "results.jsonl")}
    medians = records["medians"]
    assert {name: (one["result"], one["depth"]) for name, one in records.items()} == {
        "midline": ("solved", 0),
        "medians": ("solved", 1),
        "false": ("cannot be constructed", 0),
    }
    assert (medians["auxiliary"], medians["logprob"], medians["nodes"]) == ([HELP], -1.0, 3)
    assert medians["results"] == {"no proof": 1, "solved": 1} and medians["seconds"] == 3.0
    assert medians["proposals"] == {"drawn": 4, "unparseable": 1, "duplicate": 1}
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(row["depth"], row["solved"]) for row in results["solved"]] == [(0, 1), (1, 2), (2, 2)]
    assert results["n"] == 3 and results["unsolved"] == {"false": "cannot be constructed"}
    assert results["solved"][1]["share_ci95"] == pytest.approx([0.2077, 0.9385], abs=1e-4)
    for name in ("midline", "medians"):
        proof = tmp_path / "out" / "proofs" / f"{name}.txt"
        assert proof.read_text().startswith(f"{name}\na b c = triangle") and "# Proof of" in proof.read_text()
        assert proof.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    assert f"\nadded: {HELP}\n" in (tmp_path / "out" / "proofs" / "medians.txt").read_text()
    assert "the engine alone" in shown and "2/3" in shown and "cannot be constructed" in shown


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_a_command_that_was_killed_goes_on(stop, made_up, prove_here, tmp_path, monkeypatch):
    """Nothing that is written is proved again, and what comes out is what would have."""
    made_up |= {"x = midpoint x a b": [(HELP.replace("x", "z"), -1.0)], "y = foot y a b c": []}
    made_up[""] = [("x = midpoint x a b", -0.5), ("y = foot y a b c", -1.0)]
    monkeypatch.setattr(MadeUp, "proved", ("para d e b c", "z = mirror z a g"))
    prove_here(tmp_path / "whole")
    whole = len(MadeUp.asked)
    assert whole == 3 + 2 + 1
    monkeypatch.setattr(MadeUp, "asked", [])
    monkeypatch.setattr(MadeUp, "stops_after", stop)
    with pytest.raises(KeyboardInterrupt):
        prove_here(tmp_path / "out")
    for name in ("results.jsonl", "alone.jsonl"):
        file = tmp_path / "out" / name
        if file.exists():
            file.write_text(file.read_text() + '{"id": "medi')
    monkeypatch.setattr(MadeUp, "asked", [])
    monkeypatch.setattr(MadeUp, "stops_after", 10**9)
    prove_here(tmp_path / "out")
    # What the engine alone had said was kept, of all three or, before these were all begun, of none.
    assert len(MadeUp.asked) == (whole if stop < 3 else whole - 3)
    made, expected = (contents(tmp_path / name) for name in ("out", "whole"))
    # Records stand there as they came.
    records = [sorted(one.pop("results.jsonl").split(b"\n")) for one in (made, expected)]
    assert records[0] == records[1] and made == expected


@pytest.fixture(scope="module")
def world(tiny_model):
    model = describe_model(
        settings.Model(path=str(tiny_model)), make_mesh(settings.Mesh(data=1), jax.devices()[:1]), lambda: ()
    )
    problems = [{"id": str(i), "problem": text} for i, text in enumerate(STATEMENTS.strip().split("\n")[1::2])]
    prompts = encode_prompts(problems, find_template("geometry"), model, 400)
    jax.config.update("jax_disable_most_optimizations", True)
    yield SimpleNamespace(model=model, params=model.load_params(0), prompts=prompts)
    jax.config.update("jax_disable_most_optimizations", False)


OPTIONS = {"samples": 4, "temperature": 1.0, "top_p": 1.0, "max_length": 12, "rows": 8}
ADDED = Node(parse_auxiliary("x = free x", parse_statement(MEDIANS)))


def test_proposals_depend_on_seed_problem_and_clauses_only(world):
    asked = [(0, ROOT), (1, ROOT), (1, ADDED), (2, ROOT), (2, Node(ADDED.clauses * 9))]
    propose = proving.make_propose(world.model, world.params, world.prompts, lambda number: (), **OPTIONS, seed=0)
    together, again = propose(asked), propose([(1, ADDED), (0, ROOT)])
    for one, other in zip(again, (together[2], together[0]), strict=True):
        assert [proposal.text for proposal in one] == [proposal.text for proposal in other]
        np.testing.assert_allclose([p.logprob for p in one], [p.logprob for p in other], atol=1e-4)
    assert list(map(len, together)) == [4, 4, 4, 4, 0]  # The last has as many tokens as there may be.
    other = proving.make_propose(world.model, world.params, world.prompts, lambda number: (), **OPTIONS, seed=1)
    assert {proposal.logprob for proposal in other(asked[:1])[0]} != {p.logprob for p in together[0]}


def test_a_log_probability_is_that_of_the_text_behind_prompt_and_clauses(world, monkeypatch):
    """As the trainer computes it of the whole."""
    steps, model = [], world.model
    real = proposing.make_expand

    def spied(*arguments, **options):
        expand = real(*arguments, **options)
        return lambda *asked: steps.extend(expand(*asked)) or steps[-len(asked[0]) :]

    monkeypatch.setattr(proposing, "make_expand", spied)
    propose = proving.make_propose(model, world.params, world.prompts, lambda number: (), **OPTIONS, seed=0)
    (proposals,) = propose([(1, ADDED)])
    prefix = model.tokenizer("x = free x;", add_special_tokens=False)["input_ids"]
    width = len(prefix) + 12
    rows = [[*prefix, *step.tokens] for step in steps[0]]
    made = Samples(
        np.array([row + [0] * (width - len(row)) for row in rows], np.int32),
        np.zeros((4, width), np.float32),
        np.array(list(map(len, rows))),
        np.ones(4, bool),
    )
    prompts = [world.prompts[1]] * 4
    batch = make_batch(prompts, made, 1, len(prompts[0].prompt_ids), model.pad_id)
    whole = np.asarray(make_logprobs(model, 1.0, 0)(world.params, batch))
    for row, (tokens, proposal) in enumerate(zip(rows, proposals, strict=True)):
        assert proposal.logprob == pytest.approx(whole[row, len(prefix) : len(tokens)].sum(), abs=1e-3)


def test_where_a_clause_ends(world):
    tokenizer = world.model.tokenizer
    made = lambda text, finish, ends=(";",): proposing._proposal(  # noqa: E731
        world.model, Step(tuple(ids := tokenizer(text)["input_ids"]), (-1.0,) * len(ids), finish), ends
    )
    length = lambda text: len(tokenizer(text)["input_ids"])  # noqa: E731
    assert made("x = free x;", "") == Proposal("x = free x", -length("x = free x;"))
    assert made("x = free x", LENGTH) == Proposal(None, -length("x = free x"))
    ended = tokenizer.eos_token
    assert made(f"x = free x{ended}", STOP) == Proposal("x = free x", -length("x = free x") - 1)
    # What stands behind a stop was not drawn for the clause.
    assert made("x = free x\n3 + 4 = 7", LENGTH, (";", "\n")) == Proposal("x = free x", -length("x = free x\n"))
    assert stops_of(find_template("geometry"), {}) == ("\n",)


def test_hosts_prove_their_shares(made_up, monkeypatch):
    """And all of them know what one would have found."""
    statement = parse_statement(MEDIANS)
    plus = lambda text: statement.plus(parse_auxiliary(text, statement))  # noqa: E731
    families = [[plus("x = free x"), plus(HELP), plus("x = foot x a b c")], [], [plus(HELP)], [plus("x = free x")] * 4]
    prove = proving.make_prove(MadeUp(1), 1.0, lambda count: None)
    expected = prove(families)
    assert [[one.result for one in family] for family in expected] == [
        ["no proof", "solved"], [], ["solved"], ["no proof"] * 4
    ]  # fmt: skip
    for count in (2, 3, 12):
        parts = []
        for host in range(count):
            share = lambda n, host=host: slice(n * host // count, n * (host + 1) // count)  # noqa: B023, E731
            monkeypatch.setattr(proving.hosts, "share", share)
            monkeypatch.setattr(proving.hosts, "gather", lambda mine, parts=parts: parts.append(mine) or [mine])
            prove(families)
        monkeypatch.setattr(proving.hosts, "gather", lambda mine, parts=parts: json.loads(json.dumps(parts)))
        assert prove(families) == expected


@pytest.mark.slow
@needs_package
def test_the_engine_takes_what_helps_among_what_does_not(prove_here, tmp_path, monkeypatch):
    """A model of random weights writes no clauses; with somebody who says two, one of them makes a proof."""
    real = proving.make_propose
    said = [Proposal("x = midpoint d e", -1.0), Proposal("x = mirror a g", -2.0)]

    def helped(*arguments, **options):
        propose = real(*arguments, **options)
        return lambda parents: [family + said for family in propose(parents)]

    monkeypatch.setattr(proving, "make_propose", helped)
    shown = prove_here(tmp_path / "out")
    records = {record["id"]: record for record in read(tmp_path / "out" / "results.jsonl")}
    medians = records["medians"]
    assert [records[name]["result"] for name in ("midline", "false")] == ["solved", "cannot be constructed"]
    assert medians["proposals"] == {"drawn": 4 + 2, "unparseable": 4} and "2/3" in shown
    assert (medians["result"], medians["auxiliary"]) == ("solved", [HELP])
    assert medians["results"] == {"no proof": 1, "solved": 1}
    proof = (tmp_path / "out" / "proofs" / "medians.txt").read_text()
    assert f"added: {HELP}" in proof and "# Proof" in proof


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"beam": 0}, ["--beam=0", "at least 1"]),
        ({"depth": 17}, ["--depth=17", "at most 16"]),
        ({"samples": 0}, ["--samples=0", "at least 1"]),
        ({"temperature": 0}, ["--temperature=0", "more than 0"]),
        ({"top_p": 2}, ["--top_p=2"]),
        ({"time_limit": 0}, ["--time_limit=0", "more than 0"]),
        ({"memory": -1}, ["--memory=-1", "at least 0"]),
        ({"model": "no/such/folder"}, ["--model='no/such/folder'"]),
        ({"data": "imo_ag_31"}, ["--data='imo_ag_31'", "imo_ag_30"]),
        ({"data": "nothing.txt"}, ["nothing.txt: cannot read it"]),
        ({"template": "geometri"}, ["--template='geometri'", "'geometry'"]),
        ({"template": "rewrite"}, ["problem 'midline': no `solution`", "'rewrite'"]),
        ({"max_tokens": 4000}, ["--max_tokens=4000", "expected at most 2048"]),
    ],
)
def test_commands_that_are_refused(changes, told, refusal, data, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(proving, "check_package", lambda key: None)
    flags = {"model": tiny_model, "data": data, "output": tmp_path / "out"} | changes
    line = refusal(prove.main, [f"--{name}={value}" for name, value in flags.items()])
    for part in told:
        assert part in line


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["a b = segment a b"], "line 1: problem 'r0': no goal in 'a b = segment a b'; expected CLAUSES ? GOAL"),
        (
            ["a b = segment a b ? cong a b b a", "a b = segmnt a b ? cong a b b a", "What is 3 + 4?"],
            "line 2: problem 'r1': clause 'a b = segmnt a b': unknown construction 'segmnt'; did you mean 'segment'?"
            "; 1 more like it",
        ),
    ],
)
def test_rows_that_are_no_statements(rows, told, refusal, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(proving, "check_package", lambda key: None)
    file = tmp_path / "rows.jsonl"
    file.write_text(
        "".join(json.dumps({"id": f"r{i}", "problem": t, "answer": "-"}) + "\n" for i, t in enumerate(rows))
    )
    line = refusal(prove.main, [f"--model={tiny_model}", f"--data={file}", f"--output={tmp_path}/out"])
    assert line == f"error: --data={file}, {told}\n"


def test_other_things_are_not_taken_for_the_same(made_up, prove_here, refusal, data, tiny_model, tmp_path, monkeypatch):
    prove_here(tmp_path / "out")
    flags = {"model": tiny_model, "data": data, "output": tmp_path / "out", "samples": 4, "max_tokens": 24}
    line = refusal(prove.main, [f"--{name}={value}" for name, value in (flags | {"beam": 8}).items()])
    assert "holds results that differ by --beam=8, which was 32" in line
    data.write_text(STATEMENTS + "\nmore\na b = segment a b ? cong a b b a\n")
    line = refusal(prove.main, [f"--{name}={value}" for name, value in flags.items()])
    assert "differ by other problems in --data" in line


def test_without_the_engine(refusal, data, tiny_model, tmp_path, monkeypatch):
    from importlib import metadata

    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    line = refusal(prove.main, [f"--model={tiny_model}", f"--data={data}", f"--output={tmp_path}/out"])
    assert line == "error: rl_reason.prove: needs the package newclid; expected pip install 'rl_reason[geometry]'\n"
