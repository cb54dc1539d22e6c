"""What is compiled for policy-gradient training, here or ahead of time (`recipes.planning`)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import optax

from rl_reason.parallel import company
from rl_reason.recipes.accumulation import Step, rows_at_once
from rl_reason.recipes.completions import Score, completion_values, make_score, make_scoring
from rl_reason.recipes.critic import CriticUpdate, make_critic_optimizer, make_critic_update
from rl_reason.recipes.drawing import make_policy_sampler
from rl_reason.recipes.optimizer import make_optimizer
from rl_reason.recipes.policy_update import Update, make_update
from rl_reason.recipes.setup import Model
from rl_reason.recipes.state import Learner, State, abstract_state, needs_reference, train_shardings
from rl_reason.sampling.sampler import Sampler
from rl_reason.settings import Settings, replace


@dataclass(frozen=True)
class Steps:
    """The jitted functions of a step, and the state that they work on."""

    optimizer: optax.GradientTransformation
    abstract: State
    """Shapes and shardings of the state."""
    sampler: Sampler
    score: Score
    update: Update
    values: Score | None
    """Of a critic."""
    others: Mapping[str, Learner]
    """What else learns, by its name in the state: "critic", where it is one of its own, and "reward_model"."""
    update_critic: CriticUpdate | None
    micro_batch: int
    """Rows whose activations may exist at the same time."""


def make_steps(settings: Settings, model: Model, critic: Model | None, reward_model: Model | None) -> Steps:
    """The functions of a run. Nothing is compiled yet. In a company (`parallel.company`) those of the policy are
    computed for all members at once, each with its numbers."""
    own = _make_steps(settings, model, critic, reward_model)

    def of(numbers: company.Numbers) -> Steps:
        return _make_steps(replace(settings, numbers), model, critic, reward_model)

    def step(length: int) -> Step:
        mine = own.update.step(length)
        return Step(
            company.joined(mine.gradients, lambda numbers: of(numbers).update.step(length).gradients),
            company.joined(mine.finish, lambda numbers: of(numbers).update.step(length).finish),
        )

    return dataclasses.replace(
        own,
        sampler=own.sampler.joined(lambda numbers: of(numbers).sampler),
        score=dataclasses.replace(
            own.score, of_pieces=company.joined(own.score.of_pieces, lambda numbers: of(numbers).score.of_pieces)
        ),
        update=dataclasses.replace(own.update, step=functools.cache(step)),
    )


def _make_steps(settings: Settings, model: Model, critic: Model | None, reward_model: Model | None) -> Steps:
    algorithm, sampling = settings.algorithm, settings.sampling
    a_step = algorithm.updates * algorithm.minibatches
    optimizer = make_optimizer(algorithm, (settings.steps - settings.critic.pretrain_steps) * a_step)
    update_critic = values = None
    others: dict[str, Learner] = {}
    if critic:
        others["critic"] = critic, make_critic_optimizer(algorithm, settings.critic, settings.steps * a_step)
    if reward_model and settings.retraining.steps:
        own = dataclasses.replace(
            algorithm, learning_rate=settings.retraining.learning_rate, schedule="constant", warmup_steps=0
        )
        others["reward_model"] = reward_model, make_optimizer(own, settings.steps)
    abstract = abstract_state(model, optimizer, needs_reference(settings), others)
    places = train_shardings(abstract, model)
    micro_batch = rows_at_once(algorithm.micro_batch, algorithm.batch_size // algorithm.minibatches)
    if critic:
        places_of_critic = jax.tree.map(lambda x: x.sharding, abstract["critic"])
        update_critic = make_critic_update(critic, settings.critic, others["critic"][1], places_of_critic, micro_batch)
    if settings.critic.kind != "none":
        values = make_scoring(critic or model, completion_values, micro_batch)
    return Steps(
        optimizer=optimizer,
        abstract=abstract,
        sampler=make_policy_sampler(settings, model, algorithm.group_size),
        score=make_score(model, sampling.temperature, micro_batch),
        update=make_update(
            model,
            algorithm,
            optimizer,
            sampling.temperature,
            places,
            micro_batch,
            settings.critic if settings.critic.kind == "shared" else None,
        ),
        values=values,
        others=others,
        update_critic=update_critic,
        micro_batch=micro_batch,
    )


def scores_old_logprobs(settings: Settings) -> bool:
    """Whether the trainer computes log π_old before the first update of a step.

    Of a single update the loss has them as log π itself, and what is taken off the rewards is a KL of the policy that
    sampled: where that is an older one (`sampling.ahead`), the KL is to be the policy's own.
    """
    algorithm = settings.algorithm
    in_reward = settings.sampling.ahead > 0 and algorithm.kl_coef > 0 and algorithm.kl_in == "reward"
    several = algorithm.updates * algorithm.minibatches > 1
    return algorithm.old_logprobs == "trainer" and (several or in_reward)
