"""Packed rows hold every token once, beside its own prompt, in as few shapes as may be."""

import numpy as np
import pytest

from rl_reason.parallel.company import Company
from rl_reason.recipes.layout import lay_out, make_pieces

P, T = 5, 16


def make_batch(lengths, questions, seed=0):
    """Tokens tell where they come from: 1000 · completion + position; those of prompts are 10 · question + position."""
    B = len(lengths)
    mask = np.arange(T)[None] < np.array(lengths)[:, None]
    prompt_lengths = 1 + np.array(questions) % P
    prompt_mask = np.arange(P)[None] >= P - prompt_lengths[:, None]
    prompts = np.where(prompt_mask, 10 * np.array(questions)[:, None] + np.arange(P), 0)
    completions = np.where(mask, 1000 * (1 + np.arange(B))[:, None] + np.arange(T), 0)
    return {
        "tokens": np.concatenate([prompts, completions], axis=1).astype(np.int32),
        "segments": np.concatenate([prompt_mask, mask], axis=1).astype(np.int32),
        "questions": np.array(questions, np.int32),
        "mask": mask.astype(np.float32),
        "weights": np.where(mask, np.random.default_rng(seed).normal(size=mask.shape), 7.0).astype(np.float32),
        "advantages": np.arange(1, B + 1, dtype=np.float32),
    }


def random_batch(seed, groups=6, size=5):
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.geometric(0.3, groups * size), 1, T)
    order = rng.permutation(groups * size)
    return make_batch(lengths, np.repeat(np.arange(groups), size)[order], seed)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("at_once", [0, 2, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_every_token_once_behind_its_prompt(shared, at_once, lanes):
    for seed in range(5):
        batch = random_batch(seed)
        layout = lay_out(batch, shared=shared, at_once=at_once, lanes=lanes)
        pieces = make_pieces(batch, layout)
        assert {len(x) for x in pieces.values()} == {max(-(-len(batch["mask"]) // layout.rows), layout.pieces)}
        assert not pieces["mask"][layout.pieces :].any()
        seen = []
        for i in range(layout.pieces):
            piece = {name: x[i] for name, x in pieces.items()}
            rows = len(piece["tokens"])
            assert rows % lanes == 0
            for row in range(rows):
                segments = piece["segments"][row]
                for segment in set(segments[segments > 0].tolist()):
                    (columns,) = np.nonzero(segments == segment)
                    assert (np.diff(columns) == 1).all()
                    tokens, mask = piece["tokens"][row, columns], piece["mask"][row, columns]
                    completion = tokens[mask > 0]
                    assert (np.diff(mask) >= 0).all()  # a prompt comes first
                    b = int(completion[0] // 1000) - 1
                    np.testing.assert_array_equal(completion, batch["tokens"][b, P:][batch["mask"][b] > 0])
                    own = columns[mask > 0]
                    np.testing.assert_array_equal(piece["weights"][row, own], batch["weights"][b, : len(own)])
                    assert (piece["advantages"][row, own] == b + 1).all()
                    prompt = tokens[mask == 0]
                    if shared:
                        lane = row // (rows // lanes)
                        slots = len(piece["prompt_tokens"]) // lanes
                        slot = lane * slots + piece["owners"].reshape(-1)[row]
                        prompt = piece["prompt_tokens"][slot][piece["prompt_segments"][slot] > 0]
                    np.testing.assert_array_equal(prompt, batch["tokens"][b, :P][batch["segments"][b, :P] > 0])
                    seen.append(b)
            assert (piece["weights"][piece["mask"] == 0] == 0).all()
        assert sorted(seen) == list(range(len(batch["advantages"])))


def test_collecting_undoes_spreading():
    batch = random_batch(7)
    for shared in (True, False):
        layout = lay_out(batch, shared=shared, at_once=3)
        made = layout.collect(layout.spread(batch["weights"]), T)
        np.testing.assert_array_equal(made, np.where(batch["mask"] > 0, batch["weights"], 0))


def test_short_completions_share_rows_and_prompts():
    """30 completions of a quarter of the limit need 8 rows of it, or as many more narrower ones; prompts only once."""
    batch = make_batch([4] * 30 + [T, T - 1], np.repeat(np.arange(4), 8))
    layout = lay_out(batch, shared=True, at_once=16)
    assert layout.width == T and (layout.pieces, layout.rows) == (1, 16)
    assert sum((row >= 0).sum() for row in layout.prompts_IS) == 4
    whole = lay_out(batch, shared=True, at_once=0)  # cut into quarters, and these in halves: 10 rows are filled
    assert (whole.pieces, whole.rows) == (3, 4)
    short = lay_out(make_batch([4] * 32, np.repeat(np.arange(4), 8)), shared=True, at_once=2)
    assert short.width == 4 and short.rows == 4 and short.pieces == 8


def test_long_completions_stand_alone():
    batch = make_batch([T] * 8, np.repeat(np.arange(2), 4))
    layout = lay_out(batch, shared=True, at_once=4)
    assert (layout.pieces, layout.rows, layout.width) == (2, 4, T)
    assert layout.prompts_IS.shape == (2, 1)


def test_few_shapes():
    """What varies from step to step is rounded: a compiled function serves most of them."""
    shapes = set()
    for seed in range(60):
        batch = random_batch(seed, groups=16, size=8)
        pieces = make_pieces(batch, lay_out(batch, shared=True, at_once=16))
        shapes.add(tuple((k, x.shape) for k, x in pieces.items()))
    assert len(shapes) <= 4


@pytest.mark.parametrize("at_once", [0, 16])
def test_members_of_a_company_have_the_same_shapes(at_once):
    """Whatever each has sampled: few long completions, many short ones, of few questions or of many."""
    batches = [
        make_batch([3] * 32, np.repeat(np.arange(4), 8)),
        make_batch([T] * 32, np.repeat(np.arange(16), 2)),
        make_batch([4] * 30 + [T, 0], np.repeat(np.arange(4), 8)),
    ]
    alone = {tuple(x.shape for x in make_pieces(b, lay_out(b, shared=True, at_once=at_once)).values()) for b in batches}
    made = {}

    def work(member):
        layout = lay_out(batches[member], shared=True, at_once=at_once)
        made[member] = layout, make_pieces(batches[member], layout)

    Company([{}] * 3).run([lambda member=member: work(member) for member in range(3)])
    assert len(alone) > 1
    assert len({tuple(x.shape for x in pieces.values()) for _, pieces in made.values()}) == 1
    assert len({layout.pieces for layout, _ in made.values()}) == 1
    for batch, (layout, pieces) in zip(batches, made.values(), strict=True):
        np.testing.assert_array_equal(
            layout.collect(pieces["weights"], T), np.where(batch["mask"] > 0, batch["weights"], 0)
        )
