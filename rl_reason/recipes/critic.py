"""PPO's critic: the values of an exploration, the advantages that they make, and the critic's own update."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rl_reason.models import decoder
from rl_reason.models.weights import Params, cast
from rl_reason.objectives.advantages import whiten
from rl_reason.objectives.gae import estimate_advantages
from rl_reason.objectives.value import explained_variance, value_loss
from rl_reason.recipes.accumulation import Piece, Step, Sums, make_step
from rl_reason.recipes.completions import completion_states, lay, place
from rl_reason.recipes.layout import make_pieces
from rl_reason.recipes.learned_rewards import kind_of
from rl_reason.recipes.optimizer import TrainState, make_optimizer
from rl_reason.recipes.rollout import Batch, Steps, token_rewards
from rl_reason.recipes.setup import Model, describe_scorer
from rl_reason.settings import Algorithm, Critic, Settings

Advantages = dict[str, np.ndarray]


def describe_critic(settings: Settings, policy: Model, by_config: bool = False) -> Model | None:
    """A critic of its own, without its weights; None where there is none. `by_config` as in `describe_scorer`.

    A model of outcomes or steps gives logits, and its rewards are their sigmoids: of such a one the critic takes all
    but the last layer. What a preference model gives is its reward, and so a value to begin with.
    """
    if settings.critic.kind != "separate":
        return None
    critic = describe_scorer(policy, settings.critic.path, "config.critic.path", by_config)
    return dataclasses.replace(critic, fresh_scores=kind_of(critic.config) != "preference")


def with_shared_critic(policy: Model, settings: Settings) -> Model:
    """The policy with a layer that gives values, where that is the critic."""
    if settings.critic.kind != "shared":
        return policy
    return dataclasses.replace(policy, config=dataclasses.replace(policy.config, heads=("vocabulary", "score")))


def advantages_by_critic(
    rewards_B: np.ndarray,
    batch: Batch,
    values_BT2: np.ndarray,
    finished_B: np.ndarray,
    settings: Settings,
    steps: Steps | None = None,
) -> tuple[Advantages, dict[str, float]]:
    """`advantages`, `returns` and `old_values` of each token, float32 [B, T], and what is worth watching of them.

    Args:
        rewards_B: of whole completions, which count at their last token.
        batch: as `rollout.make_batch` makes it, with `reference_logprobs` where `kl_in` is "reward".
        values_BT2: of `completions.completion_values`.
        finished_B: bool, whether a completion has ended by itself.
        settings: of the run.
        steps: rewards of steps, as `rollout.advantages` takes them.
    """
    critic, mask_BT = settings.critic, np.asarray(batch["mask"])
    rewards_BT = token_rewards(rewards_B, batch, settings.algorithm, steps)
    last_B = np.maximum(mask_BT.sum(axis=1).astype(int) - 1, 0)
    after_B = np.where(finished_B | (not critic.bootstrap), 0, values_BT2[np.arange(len(last_B)), last_B, 1])
    values_BT = values_BT2[..., 0] * mask_BT
    advantages_BT, returns_BT = estimate_advantages(
        rewards_BT, jnp.asarray(values_BT), jnp.asarray(after_B), jnp.asarray(mask_BT), critic.gamma, critic.gae_lambda
    )
    watched = {
        "critic/explained_variance": explained_variance(jnp.asarray(values_BT), returns_BT, jnp.asarray(mask_BT)),
        "critic/value": values_BT.sum() / mask_BT.sum(),
        "critic/return": returns_BT.sum() / mask_BT.sum(),
    }
    if critic.whiten:
        advantages_BT = whiten(advantages_BT, jnp.asarray(mask_BT), settings.algorithm.eps)
    made = {"advantages": np.asarray(advantages_BT), "returns": np.asarray(returns_BT), "old_values": values_BT}
    return made, {name: float(x) for name, x in watched.items()}


def value_sums(values: jax.Array, piece: Piece, critic: Critic) -> tuple[jax.Array, Sums]:
    """Σ weights · loss of a piece's tokens, and sums of what is worth watching."""
    loss, is_clipped = value_loss(values, piece["old_values"], piece["returns"], critic.value_clip)
    watched = {"critic/loss": jnp.sum(loss * piece["mask"]), "critic/clipped": jnp.sum(is_clipped * piece["mask"])}
    return jnp.sum(piece["weights"] * loss), watched


@dataclass(frozen=True)
class CriticUpdate:
    """`update(state, batch, denominator) -> (state, metrics)`: one optimizer step of a critic of its own, on the
    minibatch and with the weights of the policy's update. Takes the state's buffers; the metrics are not waited for."""

    step: Callable[[int], Step]
    """By the most tokens of a prompt and its completion."""
    model: Model
    micro_batch: int

    def __call__(self, state: TrainState, batch: Batch, denominator: float) -> tuple[TrainState, Sums]:
        read = {name: batch[name] for name in CRITIC_READS}
        layout = lay(read, self.model, self.micro_batch)
        pieces = place(make_pieces(read, layout), self.model.mesh)
        step = self.step(batch["tokens"].shape[1])
        state, made = step(state, pieces, layout.pieces, denominator, float(batch["mask"].sum()))
        norms = {f"critic/{name.removeprefix('optimizer/')}": x for name, x in made.items() if name.endswith("_norm")}
        kept = {name: x for name, x in made.items() if name.startswith("critic/") or name == "tokens/update"}
        return state, norms | kept


def make_critic_optimizer(algorithm: Algorithm, critic: Critic, updates: int) -> optax.GradientTransformation:
    """The policy's optimizer at the critic's learning rate, which a schedule brings down by the same factor."""
    factor = critic.learning_rate / algorithm.learning_rate
    final = algorithm.final_learning_rate * factor
    own = dataclasses.replace(algorithm, learning_rate=critic.learning_rate, final_learning_rate=final)
    return make_optimizer(own, updates)


CRITIC_ALONE = ("old_values", "returns")
CRITIC_READS = ("tokens", "segments", "mask", "questions", "weights", *CRITIC_ALONE)
"""What a critic's update reads of a batch, the first two of which a policy without a critic's layer does not."""


def make_critic_update(
    model: Model, critic: Critic, optimizer: optax.GradientTransformation, places: TrainState, micro_batch: int
) -> CriticUpdate:
    """The update of a critic of its own; `micro_batch` as in `completions.make_scoring`."""

    def loss_sum(length: int, params: Params, piece: Piece) -> tuple[jax.Array, Sums]:
        params = cast(params, model.dtype)
        return value_sums(decoder.scores(params, completion_states(params, piece, model, length).before), piece, critic)

    @functools.cache
    def step(length: int) -> Step:
        return make_step(functools.partial(loss_sum, length), optimizer, places, model.mesh)

    return CriticUpdate(step, model, micro_batch)
