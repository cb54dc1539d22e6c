"""The update of a student on a batch of completions: what the teacher says of each token, then the student's gradient.

The teacher's pass comes first, by itself: it can run while the host grades, and the two models' activations do not
exist at the same time. Of it remain the k most probable tokens of each position, or, where all of the vocabulary is
compared, the last hidden states, whose logits are made anew beside the student's, a chunk of positions at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

from rl_reason.models import decoder
from rl_reason.models.logprobs import LastLayer, map_logits
from rl_reason.models.weights import Params, cast
from rl_reason.objectives.distillation import Best, Divergence, best, entropy, log_softmax
from rl_reason.recipes.accumulation import LOADS, Piece, Step, Sums, make_step
from rl_reason.recipes.completions import Batch, Score, completion_states, lay, make_scoring, place
from rl_reason.recipes.layout import make_pieces
from rl_reason.recipes.optimizer import TrainState
from rl_reason.recipes.setup import Model
from rl_reason.settings import Distillation

BEST = tuple(f"teacher_{name}" for name in Best._fields)
"""Names of what a piece holds of the teacher's distributions: [R, W, k], [R, W, k] and [R, W]."""
STATES = "teacher_states"
"""Or, where all is compared, the teacher's hidden states before each token, [R, W, D]."""


@dataclass(frozen=True)
class Update:
    """`update.begin(teacher, batch, denominator)(state) -> (state, metrics)`: one optimizer step.

    `begin` dispatches the teacher's pass, and what it returns the student's, which takes the state's buffers. The batch
    holds what `rollout.make_batch` and `rollout.weigh` make; `teacher` are its weights.
    """

    ask: Score
    """Of the teacher; its `of_pieces` makes what is to be added to pieces."""
    step: Callable[[int], Step]
    """By the most tokens of a prompt and its completion."""
    student: Model
    micro_batch: int
    reads_head: bool
    """Whether the step reads the teacher's last layer."""

    def begin(
        self, teacher: Params, batch: Batch, denominator: float
    ) -> Callable[[TrainState], tuple[TrainState, Sums]]:
        layout = lay(batch, self.student, self.micro_batch)
        pieces = place(make_pieces(batch, layout), self.student.mesh)
        length = batch["tokens"].shape[1]
        pieces |= self.ask.of_pieces(teacher, pieces, jnp.int32(layout.pieces), length)
        others, tokens = self.others(teacher), float(batch["mask"].sum())
        return lambda state: self.step(length)(state, pieces, layout.pieces, denominator, tokens, *others)

    def others(self, teacher: Params) -> tuple[jax.Array, ...]:
        """What the step's functions take behind the pieces."""
        return (decoder.head_weights(teacher),) if self.reads_head else ()


def make_update(
    student: Model,
    teacher: Model,
    settings: Distillation,
    optimizer: optax.GradientTransformation,
    places: TrainState,
    micro_batch: int,
    tokens: int,
) -> Update:
    """The update of a student.

    Args:
        student: what is trained.
        teacher: of `setup.describe_teacher`.
        settings: what is compared.
        optimizer: the student's.
        places: where its state lies.
        micro_batch: as in `completions.make_scoring`.
        tokens: the first so many rows of both vocabularies are compared; what is behind them are no tokens.
    """
    divergence, k = Divergence(settings.divergence, settings.beta), settings.top_k
    softmax = functools.partial(log_softmax, temperature=settings.temperature, count=tokens)
    rows = min(student.config.vocab_size, teacher.config.vocab_size)

    def ask(params: Params, piece: Piece, teacher: Model, length: int) -> dict[str, jax.Array]:
        states = completion_states(params, piece, teacher, length).before
        if not k:
            return {STATES: states}
        layer = LastLayer(states, decoder.head_weights(params), teacher.config.final_softcap)
        of_logits = lambda logits: best(softmax(logits), k)  # noqa: E731
        made = map_logits(of_logits, [layer], [], teacher.logprob_chunk, teacher.constrain)
        axes = "batch", "time", None
        return {name: teacher.constrain(x, axes[: x.ndim]) for name, x in zip(BEST, made, strict=True)}

    def compare(student_logits: jax.Array, *of_teacher: jax.Array) -> tuple[jax.Array, ...]:
        ours = softmax(student_logits)
        if k:
            kept = Best(*of_teacher)
            apart, first = divergence.kept(ours, kept), kept.tokens[..., 0]
        else:
            theirs = softmax(of_teacher[0])
            apart, first = divergence.whole(ours, theirs), jnp.argmax(theirs, axis=-1)
        agrees = jnp.argmax(ours, axis=-1) == first
        return apart, entropy(ours), agrees.astype(jnp.float32)

    def loss_sum(length: int, params: Params, piece: Piece, *heads: jax.Array) -> tuple[jax.Array, Sums]:
        params = cast(params, student.dtype)
        states = completion_states(params, piece, student, length)
        cut = lambda head: head if len(head) == rows else head[:rows]  # noqa: E731
        layers = [LastLayer(states.before, cut(decoder.head_weights(params)), student.config.final_softcap)]
        layers += [LastLayer(piece[STATES], cut(head), teacher.config.final_softcap) for head in heads]
        given = [piece[name] for name in BEST if name in piece]
        apart, entropies, agrees = map_logits(compare, layers, given, student.logprob_chunk, student.constrain)
        mask = piece["mask"]
        sums = {
            "distillation/divergence": jnp.sum(apart * mask),
            "distillation/agreement": jnp.sum(agrees * mask),
            "entropy": jnp.sum(entropies * mask),
        }
        return jnp.sum(piece["weights"] * apart), sums if states.loads is None else sums | {LOADS: states.loads}

    @functools.cache
    def step(length: int) -> Step:
        return make_step(functools.partial(loss_sum, length), optimizer, places, student.mesh)

    return Update(make_scoring(teacher, ask, micro_batch), step, student, micro_batch, reads_head=not k)
