"""What is wrong with settings, told before anything is compiled: a file for each recipe, and what they share."""

from rl_reason.recipes.checks.distillation import check_distillation
from rl_reason.recipes.checks.feedback import check_feedback
from rl_reason.recipes.checks.generation import check_generation
from rl_reason.recipes.checks.policy_gradient import check_policy_gradient
from rl_reason.recipes.checks.preference import check_preference
from rl_reason.recipes.checks.reward_model import check_reward_model
from rl_reason.recipes.checks.selecting import check_select
from rl_reason.recipes.checks.supervised import check_rejection, check_supervised

OF_RECIPES = {
    "distillation": check_distillation,
    "feedback": check_feedback,
    "generate": check_generation,
    "policy_gradient": check_policy_gradient,
    "preference": check_preference,
    "rejection": check_rejection,
    "reward_model": check_reward_model,
    "select": check_select,
    "supervised": check_supervised,
}
"""`config.recipe` → what is wrong with its settings, told without data and devices."""
