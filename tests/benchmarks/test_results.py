"""The table of results, from files of runs that are made up."""

import json

import pytest

from benchmarks.peers import results
from benchmarks.peers.recording import Recorder
from benchmarks.processes import reason

MACHINE = {"cpu": "Some CPU (R)", "cores": 2, "memory_bytes": 24 * 2**30, "gpu": None}


def step(total, tokens=100):
    parts = {"sample_s": total / 2, "score_s": total / 8, "update_s": total * 3 / 8}
    return {"total_s": total, **parts, "completion_tokens": tokens}


def run(system, totals, round=1, workload="tiny", lengths="fixed", machine=MACHINE, **more):
    return {
        "system": system,
        "workload": workload,
        "lengths": lengths,
        "round": round,
        "machine": machine,
        "date": "2026-01-01",
        "versions": {system: "1.0"},
        "steps": [step(total) for total in totals],
        "first_step_s": totals[0] if totals else None,
        "peak_rss_bytes": 2**30,
        "peak_device_bytes": None,
        **more,
    }


def failed(system, why, **more):
    return {"failed": why, **{key: value for key, value in run(system, [], **more).items() if key != "versions"}}


def test_first_steps_are_left_out_and_rounds_join():
    row = results.summary([run("trl", [50, 2, 4]), run("trl", [70, 6, 8], round=2)])
    assert row["total_s"] == 5 and (row["min_s"], row["max_s"]) == (2, 8)
    assert row["first_step_s"] == 60
    assert row["tokens_per_s"] == pytest.approx(400 / 20)


def test_ratios_are_to_ours():
    runs = [run("rl_reason", [9, 2]), run("trl", [9, 5], peak_rss_bytes=3 * 2**30), run("tunix", [9, 1])]
    rows = results.rows(runs)
    assert [row[2] for row in rows] == ["rl_reason", "trl", "tunix"]
    assert [row[-2:] for row in rows] == [["1.00", "1.00"], ["2.50", "3.00"], ["0.50", "1.00"]]


def test_without_ours_there_are_no_ratios():
    assert results.rows([run("trl", [9, 5])])[0][-2:] == ["–", "–"]


def test_a_run_of_one_step_has_its_first_step_only():
    row = dict(zip(results.COLUMNS, results.rows([run("trl", [9])])[0], strict=True))
    assert (row["s/step"], row["first step"], row["peak memory"]) == ("–", "9", "1.0 GiB")


def test_a_system_that_failed_is_a_row_with_its_reason():
    rows = results.rows([run("rl_reason", [9, 2]), failed("tunix", "out of memory: more than 22 GiB | x")])
    assert rows[1][3] == "failed: out of memory: more than 22 GiB / x"
    assert {len(row) for row in rows} == {len(results.COLUMNS)}
    rows = results.rows([run("trl", [9, 2]), failed("trl", "took too long", round=2)])
    assert rows[0][3] == "2 (some runs failed: took too long)"


def test_the_gpus_memory_stands_where_there_is_a_gpu():
    assert results.summary([run("trl", [9, 2], peak_device_bytes=7)])["peak_bytes"] == 7


def test_page_has_a_section_for_each_machine_and_workloads_in_their_order():
    other = {**MACHINE, "gpu": "Some GPU, 80 GiB"}
    runs = [run("trl", [9, 2], workload="small"), run("trl", [9, 2]), run("trl", [9, 3], machine=other)]
    page = results.page(runs)
    assert page.index("## Some CPU (R), 2 cores, 24 GiB") < page.index("## Some GPU, 80 GiB; Some CPU")
    assert page.index("| tiny |") < page.index("| small |")
    assert page.count("- trl: trl 1.0") == 2


def test_files_of_runs_have_names_of_their_own(tmp_path):
    runs = [run("trl", [9, 2], round=turn, lengths=kind) for turn in (1, 2) for kind in ("fixed", "longtail")]
    for one in runs:
        results.run_file(tmp_path, one).write_text(json.dumps(one))
    assert sorted(results.read_runs(tmp_path), key=str) == sorted(runs, key=str)


def test_reasons_name_the_error_or_the_signal():
    assert reason(-9, []) == "ended by signal 9 (out of memory?)"
    assert reason(1, ["  x", "ValueError: no  such thing", "bye"]) == "exit status 1: ValueError: no such thing"
    assert reason(1, ["torch.OutOfMemoryError: CUDA"]) == "exit status 1: torch.OutOfMemoryError: CUDA"
    assert reason(1, ["/some/where/python: No module named x"]) == "exit status 1: python: No module named x"
    assert reason(2, []) == "exit status 2: no output"


def test_recorder_cuts_steps_into_phases(tmp_path):
    class System:
        def generate(self):
            return [1, 2, 3]

    system, recorder = System(), Recorder({"system": "x"})
    recorder.wrap(system, "generate", "sample", lambda made: recorder.tokens(len(made)))
    recorder.begin()
    for _ in range(2):
        system.generate()
        recorder.end_step()
    recorder.write(tmp_path / "run.json", "cpu", ["pytest"])
    made = json.loads((tmp_path / "run.json").read_text())
    assert [one["completion_tokens"] for one in made["steps"]] == [3, 3]
    one = made["steps"][1]
    assert one["total_s"] == pytest.approx(one["sample_s"] + one["score_s"] + one["update_s"])
    assert made["peak_rss_bytes"] > 0 and made["first_step_s"] == made["steps"][0]["total_s"]
