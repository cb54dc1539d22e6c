"""Searches by a policy and a reward model of random weights."""

from __future__ import annotations

import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from rl_reason import evaluate, settings
from rl_reason.data.steps import make_step_ends, separator_tokens
from rl_reason.data.templates import find_template
from rl_reason.data.word_problems import make_problem
from rl_reason.errors import UsageError
from rl_reason.parallel.mesh import make_mesh
from rl_reason.recipes.completions import make_score as make_logprobs
from rl_reason.recipes.evaluation import HeldOut, Samples
from rl_reason.recipes.learned_rewards import describe_reward_model, make_reward_model
from rl_reason.recipes.rollout import make_batch
from rl_reason.recipes.searching import choose_by_vote, make_expand, make_score, search_records
from rl_reason.recipes.setup import describe_model, encode_prompts
from rl_reason.rewards.combination import Rewarder
from rl_reason.rewards.estimators import majority
from rl_reason.sampling.beam import Beam
from rl_reason.sampling.search import ROOT, Prefix
from rl_reason.sampling.tree import Tree
from tests.end_to_end.commands import contents, read
from tests.end_to_end.test_learned_rewards import make_scorer

LENGTH, SEPARATOR = 10, "a"
"""Random tokens hold few line ends."""
ROWS = 16
"""So few that what is asked for takes several calls."""


@pytest.fixture(scope="module")
def world(tiny_model, tmp_path_factory):
    """The policy, its weights, five problems, a reward model of steps, a grader, and what draws and scores."""
    folder = tmp_path_factory.mktemp("search") / "scorer"
    make_scorer(tiny_model, folder, "process", spread=0.3)
    reward = settings.Reward(("number",), (1.0,), model=str(folder), step_separator=SEPARATOR, aggregation="minimum")
    mesh = make_mesh(settings.Mesh(data=1), jax.devices()[:1])
    policy = describe_model(settings.Model(path=str(tiny_model)), mesh, lambda: ())
    problems = [make_problem("test", i, 0) for i in range(5)]
    prompts = encode_prompts(problems, find_template("question"), policy, 200)
    params, scorer = policy.load_params(0), describe_reward_model(reward, policy)
    score = make_score(reward, scorer, scorer.load_params(0), prompts, max_length=LENGTH, rows=ROWS)
    # Models that are as small as these run for milliseconds and compile for seconds.
    jax.config.update("jax_disable_most_optimizations", True)
    with Rewarder(reward) as rewarder:
        yield SimpleNamespace(
            policy=policy,
            params=params,
            asked=HeldOut("five", problems, prompts),
            reward=reward,
            rewarder=rewarder,
            scorer=scorer,
            expand=make_expand(policy, params, prompts, **OPTIONS, seed=0),
            score=score,
        )
    jax.config.update("jax_disable_most_optimizations", False)


OPTIONS = {"separator": SEPARATOR, "temperature": 1.0, "top_p": 1.0, "max_length": LENGTH, "rows": ROWS}
KINDS = {"beam": Beam(3, 2), "tree": Tree(6, 3, rollouts=True)}


def searched(world, kind, per_batch):
    batches = search_records(
        world.policy, world.asked, KINDS[kind], world.expand, world.score, world.rewarder, per_batch
    )
    return [of_problem for batch in batches for of_problem in batch]


@pytest.fixture(scope="module")
def found(world):
    return {kind: searched(world, kind, 5) for kind in KINDS}


def as_batch(records, asked, pad_id):
    """Whole solutions, one a row, as a sampler would have drawn them."""
    made = Samples(
        np.array([record["tokens"] + [0] * (LENGTH - len(record["tokens"])) for record in records], np.int32),
        np.array([record["logprobs"] + [0] * (LENGTH - len(record["tokens"])) for record in records], np.float32),
        np.array([len(record["tokens"]) for record in records]),
        np.array([record["finish"] == "stop" for record in records]),
    )
    places = {problem["id"]: i for i, problem in enumerate(asked.problems)}
    prompts = [asked.prompts[places[record["id"]]] for record in records]
    return make_batch(prompts, made, 1, max(len(prompt.prompt_ids) for prompt in prompts), pad_id), made


@pytest.mark.parametrize("kind", KINDS)
def test_solutions_are_samples_of_the_policy_and_scored_as_a_whole(kind, world, found):
    """Put together from steps, each drawn behind the text of those before: their log-probabilities and their scores are
    those that the trainer computes of the whole."""
    policy, asked, scorer = world.policy, world.asked, world.scorer
    records = [record for of_problem in found[kind] for record in of_problem]
    assert [of_problem[0]["id"] for of_problem in found[kind]] == [problem["id"] for problem in asked.problems]
    batch, made = as_batch(records, asked, policy.pad_id)
    difference = np.abs(make_logprobs(policy, 1.0, 0)(world.params, batch) - made.logprobs) * batch["mask"]
    assert difference.max() < 1e-4

    model = make_reward_model(world.reward, scorer, 0)
    step_ends = make_step_ends(policy.tokenizer, SEPARATOR)
    ends = [step_ends(record["tokens"]) for record in records]
    whole = model.of_completions(model.begin(scorer.load_params(0), batch)(), made.lengths, ends)
    np.testing.assert_allclose([record["score"] for record in records], whole, atol=1e-5)
    assert max(map(len, ends)) > 2 and np.std(whole) > 0.01

    for of_problem in found[kind]:
        scores = [record["score"] for record in of_problem]
        assert scores == sorted(scores, reverse=True)
        assert [record["sample"] for record in of_problem] == list(range(len(of_problem)))
        assert len({record["spent"] for record in of_problem}) == 1
        assert of_problem[0]["spent"] >= max(len(record["tokens"]) for record in of_problem)
    for record in records:
        is_ended = record["tokens"][-1] in policy.stop_ids
        assert record["finish"] == ("stop" if is_ended else "length")
        assert is_ended or len(record["tokens"]) == LENGTH
        assert not set(record["tokens"][:-1]) & set(policy.stop_ids)
        assert record["verdict"] in ("correct", "wrong", "unparseable")
    assert {record["finish"] for record in records} == {"stop", "length"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_does_not_depend_on_its_batch(kind, world, found):
    for one, other in zip(searched(world, kind, 2), found[kind], strict=True):
        assert [r["tokens"] for r in one] == [r["tokens"] for r in other]
        assert (one[0]["spent"], one[0]["scored"]) == (other[0]["spent"], other[0]["scored"])
        np.testing.assert_allclose([r["score"] for r in one], [r["score"] for r in other], atol=1e-5)


def test_what_is_drawn_depends_on_seed_and_path(world):
    """Two prefixes of the same text are two places in a search."""
    again = make_expand(world.policy, world.params, world.asked.prompts, **OPTIONS, seed=1)
    asked = [(0, ROOT), (0, Prefix(path=(1,))), (3, ROOT)]
    drawn = [step.tokens for expand in (world.expand, again) for steps in expand(asked, 3, False) for step in steps]
    assert len(set(drawn)) > 15
    assert world.expand(asked[1:], 3, False) == world.expand(asked, 3, False)[1:]


def test_tokens_that_end_a_step(world):
    policy = world.policy
    ids = separator_tokens(policy.tokenizer, SEPARATOR)
    assert all(SEPARATOR in policy.tokenizer.decode([i]) for i in ids) and len(ids) > 3
    assert separator_tokens(policy.tokenizer, "\n") == tuple(policy.tokenizer.convert_tokens_to_ids(["Ċ"]))


def test_refusals(world, tiny_model, tmp_path):
    prompts = world.asked.prompts
    with pytest.raises(UsageError, match="step_separator='no such words': no token of the model holds it"):
        make_expand(world.policy, world.params, prompts, **OPTIONS | {"separator": "no such words"}, seed=0)
    make_scorer(tiny_model, tmp_path / "preference", "preference")
    other = settings.Reward(("number",), (1.0,), model=str(tmp_path / "preference"))
    with pytest.raises(UsageError, match="was trained for preference; expected process or outcome"):
        make_score(other, describe_reward_model(other, world.policy), {}, prompts, max_length=LENGTH, rows=8)


def flags_of(model, scorer, output, **changes):
    values = {"model": model, "data": "word_problems", "problems": 6, "output": output, "template": "question"}
    values |= {"temperature": 1.0, "max_tokens": LENGTH, "batch": 4, "grader": "number", "reward_model": scorer}
    return [f"--{name}={value}" for name, value in (values | changes).items()]


@pytest.mark.parametrize(
    ("solutions", "chosen"),
    [
        ([("12", 0.9, 0.2), ("7", 0.5, 0.2), ("7.0", 0.5, 0.2)], 1),  # equal numbers vote together
        ([("12", 0.9, 0.2), ("7", 0.4, 0.2), ("7", 0.4, 0.2)], 0),
        ([("12", 0.9, 0.1), ("7", 0.4, 0.9)], 1),
        ([("A", 0.5, 0.2), (" B", 0.3, 0.2), ("B ", 0.3, 0.2)], 1),
        ([(None, 0.9, 0.9), ("7", 0.1, 0.1)], 1),
        # Equally many votes, also where their sum is rounded: the answer of the better solution.
        ([("7", 0.6, 0.25), *[("12", 0.2, 0.25)] * 3], 0),
        ([("7", 0.6, 0.25), ("12", 0.4, 0.25), ("12", 0.2, 0.25)], 0),
        ([("7", 0.0, 0.5), ("12", 0.0, 0.5)], 0),
        ([(None, 0.9, 0.5), (None, 0.1, 0.5)], 0),
    ],
)
def test_a_vote_chooses(solutions, chosen):
    records = [{"extracted": answer, "score": score, "share": share} for answer, score, share in solutions]
    assert choose_by_vote(records) is records[chosen]


@pytest.mark.parametrize("seed", range(20))
def test_a_vote_chooses_as_estimates_of_votes_say(seed):
    """Where no right answer is written in two ways and no two answers have equally many votes."""
    rng = np.random.default_rng(seed)
    answers = [("1", "2", "2.0", "x", None)[i] for i in rng.integers(0, 5, 8)]
    scores = sorted(rng.random(8), reverse=True)
    records = [{"extracted": a, "score": s, "share": w} for a, s, w in zip(answers, scores, rng.random(8), strict=True)]
    chosen, correct = choose_by_vote(records), [answer == "1" for answer in answers]
    expected = majority(answers, correct, weights=[record["score"] * record["share"] for record in records])
    assert (chosen["extracted"] == "1") == expected


@pytest.mark.parametrize(
    ("search", "settled"),
    [
        ({"search": "beam", "width": 2}, {"width": 2, "simulations": None, "choose": "score", "expansions": 4}),
        (
            {"search": "tree", "simulations": 3, "choose": "vote", "aggregation": "last", "expansions": 2},
            {"width": None, "simulations": 3, "choose": "vote", "expansions": 2},
        ),
    ],
)
def test_evaluate_by_a_search(search, settled, world, evaluate_here, tiny_model, tmp_path):
    """`results.json` says all that the search did, and so the same command is one that says it as well."""
    file, output = tmp_path / "rated.jsonl", tmp_path / "out"
    rated = [problem | {"rating": 1000 + 100 * i} for i, problem in enumerate(world.asked.problems)]
    file.write_text("".join(json.dumps(problem) + "\n" for problem in rated))
    asked = {"data": file, "problems": 0, **search, "step_separator": SEPARATOR}
    evaluate_here(flags_of(tiny_model, world.reward.model, output, **asked))
    results, samples = json.loads((output / "results.json").read_text()), read(output / "samples.jsonl")
    settled |= {"aggregation": search.get("aggregation", "product"), "step_separator": SEPARATOR}
    assert {name: results[name] for name in settled} == settled
    assert [row["id"] for row in samples] == [problem["id"] for problem in rated]
    assert results["n"] == 5 and results["search"] == search["search"]
    for name in ("spent", "scored"):
        assert results[f"tokens/{name}"] == pytest.approx(np.mean([row[name] for row in samples]))
    # Two steps at least behind the prompt, of which one may be the end.
    assert all(row["spent"] > len(row["tokens"]) and 0 < row["score"] < 1 for row in samples)
    assert results["pass@1"] == np.mean([row["correct"] for row in samples])
    assert [row["rating"] for row in samples] == [1000, 1100, 1200, 1300, 1400] and results["elo_n"] == 5

    before = contents(output)
    told = {name: value for name, value in settled.items() if value is not None}
    evaluate_here(flags_of(tiny_model, world.reward.model, output, **asked | told))
    assert contents(output) == before


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"search": "dfs"}, ["--search='dfs'", "beam, tree"]),
        ({"search": "beam", "reward_model": ""}, ["--search=beam", "--reward_model=DIR"]),
        ({"search": "beam", "temperature": 0}, ["--search=beam", "temperature 0", "--temperature=T"]),
        ({"search": "beam", "samples": 4}, ["--samples=4", "expected 1"]),
        ({"search": "beam", "stop": "a"}, ["--stop='a'", "with --search"]),
        ({"search": "beam", "simulations": 4}, ["--simulations=4", "without --search=tree"]),
        ({"search": "tree", "width": 4}, ["--width=4", "without --search=beam"]),
        ({"choose": "vote"}, ["--choose=vote", "without --search"]),
        ({"search": "beam", "choose": "luck"}, ["--choose='luck'", "score or vote"]),
        ({"expansions": 4}, ["--expansions=4", "without --search=beam or --search=tree"]),
        ({"search": "tree", "expansions": 0}, ["--expansions=0", "at least 1"]),
    ],
)
def test_searches_that_cannot_be(changes, told, world, refusal, tiny_model, tmp_path):
    line = refusal(evaluate.main, flags_of(tiny_model, world.reward.model, tmp_path / "out", **changes))
    for part in told:
        assert part in line
