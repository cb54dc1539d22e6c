"""How well a model predicts documents: perplexity, and bits of a byte, which do not depend on the tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from rl_reason.models.weights import Params
from rl_reason.parallel.mesh import replicated
from rl_reason.recipes.accumulation import Piece, take_piece
from rl_reason.recipes.completions import place
from rl_reason.recipes.setup import Model
from rl_reason.recipes.supervised import row_logprobs
from rl_reason.rewards.estimators import between, resample


@dataclass(frozen=True)
class HeldOutDocuments:
    """Documents in rows, as `data.mixing.held_out_rows` makes them."""

    name: str
    count: int
    """Of documents."""
    size: int
    """Of their texts, in bytes of UTF-8."""
    rows: Mapping[str, np.ndarray]


Measure = Callable[[Params, HeldOutDocuments, Callable[[int], None]], dict]
"""(weights, documents, progress in rows) → a record of eval.jsonl without `step` and `dataset`."""


def make_measure(model: Model, rows: int) -> Measure:
    """`measure(params, documents, progress)`, `rows` rows at a time.

    Its record has `n` documents, `tokens` that were predicted, `perplexity` exp(−Σ log π / tokens) with its interval
    over rows, and `bits/byte`, −Σ log₂ π over the size of the texts. The first token of a document, or of a row that
    goes on with one, is not predicted: bits of a byte are that much too few.
    """

    def row_sums(params: Params, pieces: Piece) -> jax.Array:
        piece = take_piece(pieces, 0)
        return -jnp.sum(piece["weights"] * row_logprobs(model, params, piece)[0], axis=1)

    of_rows = jax.jit(row_sums, out_shardings=replicated(model.mesh))

    def measure(params: Params, documents: HeldOutDocuments, progress: Callable[[int], None]) -> dict:
        made = documents.rows
        count, sums = len(made["tokens"]), []
        for start in range(0, count, rows):
            # The last part is filled up with its own first row, so that there is one shape.
            chosen = np.minimum(np.arange(start, start + rows), count - 1)
            pieces = {name: x[None, chosen] for name, x in made.items()}
            sums.append(np.asarray(of_rows(params, place(pieces, model.mesh)), np.float64)[: count - start])
            progress(min(rows, count - start))
        nats_R, tokens_R = np.concatenate(sums), made["weights"].sum(axis=1, dtype=np.float64)
        nats, tokens = float(nats_R.sum()), float(tokens_R.sum())
        drawn = resample(np.stack([nats_R, tokens_R]))
        return {
            "n": documents.count,
            "tokens": int(tokens),
            "perplexity": float(np.exp(nats / tokens)),
            "perplexity_ci95": list(between(np.exp(drawn[:, 0] / drawn[:, 1]))),
            "bits/byte": nats / np.log(2) / documents.size,
        }

    return measure
