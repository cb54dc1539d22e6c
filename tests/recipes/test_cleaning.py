"""Problems that are left out, and told of."""

import json

import pytest

from rl_reason.errors import RunError, UsageError
from rl_reason.recipes import cleaning
from rl_reason.settings import Settings, defaults

SENTENCE = "Anna has {} apples and buys {} more of them at the market on a sunny day so how many has she now"
ROWS = [
    {"id": "a", "problem": SENTENCE.format(1, 2), "answer": "3", "level": 1},
    {"id": "b", "problem": SENTENCE.format(1, 2) + " then", "answer": "3"},
    {"id": "c", "problem": "How far is it from the tower to the bridge and back by boat?", "answer": "7"},
    {"id": "d", "problem": "What is half of a dozen?", "answer": "6"},
]


@pytest.fixture
def config(tmp_path):
    for name, rows in (("train", ROWS), ("asked", ROWS[2:3])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = defaults()
    made.recipe = "clean"
    made.data.name = str(tmp_path / "train.jsonl")
    made.cleaning.evaluations = str(tmp_path / "asked.jsonl")
    return made


def ran(config, folder):
    cleaning.run(Settings.from_config(config), folder)
    return {name: (folder / name).read_text() for name in ("kept.jsonl", "removed.jsonl", "cleaning.json")}


def test_what_is_left_out_is_listed(config, tmp_path):
    made = ran(config, tmp_path / "run")
    assert [json.loads(line) for line in made["kept.jsonl"].splitlines()] == [ROWS[0], ROWS[3]]
    repeated, asked = (json.loads(line) for line in made["removed.jsonl"].splitlines())
    assert (repeated["id"], repeated["of"], repeated["reason"]) == ("b", "a", "near-duplicates")
    assert repeated["similarity"] == pytest.approx(21 / 22, abs=1e-4)
    assert (asked["id"], asked["of"], asked["evaluation"]) == ("c", "c", config.cleaning.evaluations)
    counts = json.loads(made["cleaning.json"])
    assert counts == {"problems": 4, "asked in an evaluation": 1, "near-duplicates": 1, "kept": 2}
    assert ran(config, tmp_path / "run") == made  # the same command again


def test_nothing_left_is_told_with_the_counts(config, tmp_path):
    config.cleaning.evaluations = config.data.name
    with pytest.raises(RunError, match="no problem is left: 4 problems, 4 asked in an evaluation"):
        ran(config, tmp_path / "run")


@pytest.mark.parametrize(
    "key, value, told",
    [
        ("cleaning.similarity", 1.5, "config.cleaning.similarity=1.5: expected 0"),
        ("cleaning.words", 0, "config.cleaning.words=0: expected at least 1"),
        ("cleaning.overlap_words", 0, "config.cleaning.overlap_words=0"),
        ("cleaning.share", 0.0, "config.cleaning.share=0.0: expected more than 0"),
        ("cleaning.evaluations", "nonsense", "^config.cleaning.evaluations='nonsense': unknown name"),
        ("cleaning.evaluations", "none.jsonl", "^config.cleaning.evaluations: none.jsonl: cannot read it"),
        ("data.template", "none", "config.data.template='none': is not read where problems are cleaned"),
        ("steps", 3, "config.steps=3: is not read"),
    ],
)
def test_wrong_settings(config, tmp_path, key, value, told):
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UsageError, match=told):
        ran(config, tmp_path / "run")


def test_what_is_off_reads_nothing(config, tmp_path):
    config.cleaning.evaluations = ""
    config.cleaning.within = True
    with pytest.raises(UsageError, match="config.cleaning.within=True: is not read"):
        ran(config, tmp_path / "run")
    config.cleaning.within = False
    config.cleaning.similarity = 0.0
    with pytest.raises(UsageError, match="nothing is left out"):
        ran(config, tmp_path / "run")
