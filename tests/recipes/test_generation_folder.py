"""The folder of a generation, killed at every moment at which it changes a file."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from rl_reason.data.generated import read_shards
from rl_reason.errors import RunError, UsageError
from rl_reason.recipes import generation_folder, record_files
from rl_reason.recipes.generation_folder import GenerationFolder
from rl_reason.runtime.workdir import find_workdir

SAMPLES = 2
IDS = [f"q{i}" for i in range(7) for _ in range(SAMPLES)]
RECORDS = [
    {"id": id, "sample": i % 2, "correct": i % 3 == 0, "finish": "length" if i == 5 else "stop", "tokens": [i] * i}
    for i, id in enumerate(IDS)
]
AT_ONCE = 3 * SAMPLES
CONFIG = {"seed": 0}


class Killed(BaseException):
    pass


def asked(**changes):
    return {"model": "m", "problems": 7, "samples": SAMPLES, "format": "jsonl", "data_sha256": "0"} | changes


def generate(path, format="jsonl", shard_size=5):
    """What is still missing, batch by batch. A shard takes four records: two whole questions."""
    folder = GenerationFolder(find_workdir(path, CONFIG), CONFIG, asked(format=format), shard_size)
    if folder.is_finished:
        return folder
    for start in range(folder.resume(IDS, AT_ONCE), len(IDS), AT_ONCE):
        folder.add(RECORDS[start : start + AT_ONCE])
        folder.describe({"endpoint": {"calls": 1}})
    folder.finish({"endpoint": {"calls": 1}})
    return folder


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.mark.parametrize("format", ["jsonl", "array_record"])
def test_a_folder(format, tmp_path):
    folder = generate(tmp_path / "made", format)
    names = [f"samples-0000{i}.{format}" for i in range(4)]
    assert sorted(contents(tmp_path / "made")) == ["config.json", "generation.json", *names]
    assert list(read_shards(tmp_path / "made")) == RECORDS
    made = folder.description
    assert made["counts"] == {"samples": 14, "right": 5, "truncated": 1, "failures": 0, "tokens": sum(range(14))}
    assert made["shards"] == 4 and made["finished"] and made["asked"] == {"endpoint": {"calls": 1}}
    before = contents(tmp_path / "made")
    assert generate(tmp_path / "made", format).is_finished and contents(tmp_path / "made") == before


@pytest.mark.parametrize("format", ["jsonl", "array_record"])
def test_killed_at_every_change(format, tmp_path, monkeypatch):
    """Before each change of a file, and in the middle of each append: the same samples in the end."""
    countdown = itertools.count()

    def dying(change):
        def done(*given, **named):
            if next(countdown) == moment:
                if change is append:
                    with open(given[0], "a") as file:
                        file.write(record_files.lines(given[1])[: -len(record_files.lines(given[1][-1:])) // 2])
                raise Killed
            return change(*given, **named)

        return done

    append = record_files.append
    whole = tmp_path / "whole"
    generate(whole, format)
    for moment in itertools.count():
        countdown, path = itertools.count(), tmp_path / str(moment)
        with monkeypatch.context() as patched:
            patched.setattr(record_files, "append", dying(append))
            for name in ("write_atomic", "write_shard", "make_workdir"):
                patched.setattr(generation_folder, name, dying(getattr(generation_folder, name)))
            patched.setattr(Path, "unlink", dying(Path.unlink))
            try:
                generate(path, format)
                break
            except Killed:
                pass
        generate(path, format)
        assert list(read_shards(path)) == RECORDS, moment
        names = {name for name in contents(path) if not name.startswith(".")}
        assert names == set(contents(whole)), moment
    assert moment > 15


def test_another_batch_size_may_go_on(tmp_path):
    folder = GenerationFolder(find_workdir(tmp_path, CONFIG), CONFIG, asked(), 5)
    folder.resume(IDS, AT_ONCE)
    folder.add(RECORDS[:AT_ONCE])
    again = GenerationFolder(find_workdir(tmp_path, CONFIG), CONFIG, asked(), 5)
    # Of six records four stand in a shard, which stays; a batch of four questions is not whole.
    assert again.resume(IDS, 4 * SAMPLES) == 4


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"data_sha256": "1"}, "other problems"),
        ({"model": "n"}, '`model`, "m" there and "n" here'),
        ({"problems": 8}, "7"),
    ],
)
def test_samples_of_something_else(changes, told, tmp_path):
    generate(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(UsageError) as caught:
        GenerationFolder(find_workdir(tmp_path, CONFIG), CONFIG, asked(**changes), 5)
    assert told in str(caught.value) and contents(tmp_path) == before


def test_numbers_that_are_none_are_not_written(tmp_path):
    folder = GenerationFolder(find_workdir(tmp_path, CONFIG), CONFIG, asked(), 5)
    folder.resume(IDS, AT_ONCE)
    with pytest.raises(RunError, match="not finite"):
        folder.add([record | {"logprobs": [float("nan")]} for record in RECORDS[:AT_ONCE]])
    assert (tmp_path / "unfinished-00000.jsonl").read_bytes() == b""
