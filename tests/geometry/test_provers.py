"""Statements proved in processes: the first proof of a family, and what is killed for it."""

import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from rl_reason.errors import RunError
from rl_reason.geometry import provers as module
from rl_reason.geometry.provers import Provers
from rl_reason.runtime.workers import Pool

HERE = str(Path(__file__).parent)


@pytest.fixture
def provers(monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    with Provers(2, function="made_up_engine:prove_text") as made:
        yield made


def ends(results):
    return [[one.result for one in family] for family in results]


def test_results_are_those_of_each_family_up_to_its_first_proof(provers):
    told = []
    made = provers.prove([["no", "no", "true", "no"], [], ["die", "no"], ["true", "true"]], 30, told.append)
    assert ends(made) == [["no proof", "no proof", "solved"], [], ["failed", "no proof"], ["solved"]]
    assert [one.message for one in made[0]] == ["no", "no", "true"]
    assert sum(told) == 8


def test_a_proof_that_comes_sooner_does_not_go_before_a_better_one(provers):
    (made,) = provers.prove([["wait 0.5 true", "true"]], 30)
    assert [one.message for one in made] == ["wait 0.5 true"]


def test_what_a_proof_makes_needless_is_killed(provers):
    """Also where it has begun; another one takes its place."""
    assert ends(provers.prove([["no"], ["wait 0.3"]], 30)) == [["no proof"], ["no proof"]]  # Both processes are there.
    began = time.monotonic()
    (made,) = provers.prove([["wait 0.5 true", "wait 100", "wait 100"]], 200)
    assert ends([made]) == [["solved"]] and time.monotonic() - began < 20
    assert ends(provers.prove([["no"], ["no"], ["no"]], 30)) == [["no proof"]] * 3


def test_what_is_dropped_on_its_way_to_a_process_gets_none(provers):
    future = Future()
    assert future.set_running_or_notify_cancel()
    provers.drop(future)
    with pytest.raises(RunError, match="nobody waits"), provers._taken(future):
        pass


def test_the_time_limit(provers, monkeypatch):
    monkeypatch.setattr(module, "GRACE", 0.0)
    assert ends(provers.prove([["wait 100", "true"]], 0.5)) == [["time", "solved"]]


def test_processes_are_started_when_they_are_needed(monkeypatch):
    started = []
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setattr(module, "Pool", lambda *arguments: started.append(Pool(*arguments)) or started[-1])
    with Provers(8, function="made_up_engine:prove_text") as provers:
        assert not started
        for _ in range(2):
            assert provers.submit("true", 30.0).result().result == "solved" and len(started) == 1
