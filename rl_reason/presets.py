"""Methods of papers and libraries as settings: `--preset=NAME` changes a config file before `--config.key=value` does.

A preset says what makes the method: advantages, surrogate, KL, reduction. How much is sampled, learning rates and
lengths stay those of the config file; where a source gives them, its docstring tells. What it does not name stays too.
Each sets the degrees of freedom and the eps of a standard deviation: where its source prints none, and where nothing is
divided by one, they are the defaults, 0 and 1e-6.
"""

from __future__ import annotations

from collections.abc import Callable

from ml_collections import ConfigDict

from rl_reason.errors import UsageError, nearest


def _set(config: ConfigDict, **values: object) -> None:
    config.algorithm.update(values)


def deepseekmath(config: ConfigDict) -> None:
    """GRPO as in DeepSeekMath (arXiv 2402.03300): advantages (r − mean)/std, section 4.1.2; ratio by token, 1/|o|, β k3
    in the loss, equations 3 and 4; β 0.04, one update per exploration, section 4.2.

    Not in the paper: ε (0.2 here) and the standard deviation's degrees of freedom (0 here). Its scale, section 4.2: 64
    outputs of 16 questions, at most 1024 tokens, learning rate 1e-6.
    """
    _set(
        config, advantage="group", ddof=0, eps=1e-6, surrogate="clip", ratio_level="token", clip_low=0.2, clip_high=0.2,
        reduction="sequence_mean", kl_in="loss", kl_estimator="k3", kl_coef=0.04, updates=1, minibatches=1,
    )  # fmt: skip


def r1_zero(config: ConfigDict) -> None:
    """DeepSeek-R1-Zero (arXiv 2501.12948): a ratio of whole outputs without 1/|o|, equation 1; advantages
    (r − mean)/std, equation 3; β 0.001 and temperature 1, where the appendix of version 2 gives the hyperparameters of
    its training.

    Not given: ε (0.2 here). The KL term is that of tokens, averaged over an output, where equation 2 has it of whole
    outputs. Its scale: 16 outputs of 32 questions an update, 8192 outputs cut at random into 16 minibatches (batch_size
    8192, minibatches 16), at most 32768 tokens, learning rate 3e-6, a new reference every 400 updates (reference_every
    25).
    """
    _set(
        config, advantage="group", ddof=0, eps=1e-6, surrogate="clip", ratio_level="sequence", clip_low=0.2,
        clip_high=0.2, reduction="sequence_mean", kl_in="loss", kl_estimator="k3", kl_coef=0.001, updates=1,
    )  # fmt: skip
    config.sampling.temperature = 1.0


def r1_stage1(config: ConfigDict) -> None:
    """The first stage of reinforcement learning of DeepSeek-R1 (arXiv 2501.12948): R1-Zero with a clip ratio ε of 10.

    Below 1 nothing is clipped then. Its language-consistency reward is not part of the preset.
    """
    r1_zero(config)
    _set(config, clip_low=10.0, clip_high=10.0)


def dr_grpo(config: ConfigDict) -> None:
    """Dr. GRPO (arXiv 2503.20783), section 3: advantages r − mean, and the sum over tokens divided by completions · the
    length limit; no KL term. Not located there: ε (0.2, as in `deepseekmath`)."""
    _set(
        config, advantage="centered", ddof=0, eps=1e-6, surrogate="clip", ratio_level="token", clip_low=0.2,
        clip_high=0.2, reduction="length_normalized", kl_coef=0.0,
    )  # fmt: skip


def dapo(config: ConfigDict) -> None:
    """DAPO (arXiv 2503.14476): advantages (r − mean)/std, equation 9; ε 0.2 and 0.28, sections 3.1 and 4.1; dynamic
    sampling, section 3.2; mean over all tokens, equation 8 and section 3.3; soft overlong penalty over the last fifth
    of the length (4096 of 20480), sections 3.4 and 4.1; no KL term, section 2.3.

    Groups are drawn again nine times at most, as in the authors' script. Rewards are ±1 there: with one reward of 0 or
    1, a weight of 2 puts the penalty in the same proportion. Its scale, section 4.1: 16 answers to 512 questions, 16
    updates of 512 a step, learning rate 1e-6 after 20 steps of warm-up.
    """
    _set(
        config, advantage="group", ddof=0, eps=1e-6, surrogate="clip", ratio_level="token", clip_low=0.2,
        clip_high=0.28, reduction="token_mean", kl_coef=0.0, resample=9,
    )  # fmt: skip
    config.reward.overlong = 0.2


def gspo(config: ConfigDict) -> None:
    """GSPO (arXiv 2507.18071): the geometric mean of a completion's ratios, equation 7, clipped at 3e-4 below and 4e-4
    above, section 5.1; advantages (r − mean)/std, equation 6; mean over completions, equation 5: 1/|o| of tokens, which
    have one ratio; no KL term.

    Its scale, section 5.1: a batch in four minibatches.
    """
    _set(
        config, advantage="group", ddof=0, eps=1e-6, surrogate="clip", ratio_level="sequence_mean", clip_low=3e-4,
        clip_high=4e-4, reduction="sequence_mean", kl_coef=0.0,
    )  # fmt: skip


def cispo(config: ConfigDict) -> None:
    """CISPO (MiniMax-M1, arXiv 2506.13585): log π weighed by the clipped ratio, without a lower limit, over all tokens,
    equations 4 and 5; advantages (r − mean)/std, as GRPO's; no KL term.

    The paper does not print the upper limit: 5, which is 1 + 4, is ScaleRL's (arXiv 2510.13786).
    """
    _set(
        config, advantage="group", ddof=0, eps=1e-6, surrogate="cispo", ratio_level="token", clip_low=1.0,
        clip_high=4.0, reduction="token_mean", kl_coef=0.0,
    )  # fmt: skip


def sapo(config: ConfigDict) -> None:
    """SAPO (arXiv 2511.20347): the gate of equation 6; advantages (r − mean)/std and 1/|o|, equation 5; no KL term. Its
    temperatures 1.0 and 1.05 are also the defaults of TRL's `GRPOConfig`, version 1.16 (`sapo_temperature_pos`,
    `sapo_temperature_neg`). It clips nothing: ε stands at its default, unread.
    """
    _set(
        config, advantage="group", ddof=0, eps=1e-6, surrogate="sapo", ratio_level="token", clip_low=0.2, clip_high=0.2,
        reduction="sequence_mean", kl_coef=0.0, sapo_positive=1.0, sapo_negative=1.05,
    )  # fmt: skip


def rloo(config: ConfigDict) -> None:
    """RLOO (arXiv 2402.14740): r − the mean of the others, its paragraphs on REINFORCE Leave-One-Out; a completion
    is one action ("Modeling Partial Completions is Not Necessary"), so its tokens are summed; the KL is taken off the
    reward, where the problem is stated (preliminaries). One update on each sample: its ratio is 1, and
    nothing is clipped. β stays the config file's."""
    _set(
        config, advantage="leave_one_out", ddof=0, eps=1e-6, surrogate="clip", ratio_level="token",
        reduction="sequence_sum", kl_in="reward", kl_estimator="k1", updates=1, minibatches=1,
    )  # fmt: skip


def reinforce_pp(config: ConfigDict) -> None:
    """REINFORCE++ (arXiv 2501.03262), the section on the method: r less the KL still to come, by token, with k1,
    whitened over the batch (global advantage normalization). Not located there: ε (the usual 0.2) and the mean over
    tokens. β stays the config file's."""
    _set(
        config, advantage="batch", ddof=0, eps=1e-6, surrogate="clip", ratio_level="token", clip_low=0.2, clip_high=0.2,
        reduction="token_mean", kl_in="reward", kl_estimator="k1",
    )  # fmt: skip


def reinforce_pp_baseline(config: ConfigDict) -> None:
    """REINFORCE++ with a baseline (arXiv 2501.03262), the same section: r − the group's mean, whitened over the batch;
    k2 in the loss. ε and the mean over tokens as in `reinforce_pp`. β stays the config file's."""
    _set(
        config, advantage="group_batch", ddof=0, eps=1e-6, surrogate="clip", ratio_level="token", clip_low=0.2,
        clip_high=0.2, reduction="token_mean", kl_in="loss", kl_estimator="k2",
    )  # fmt: skip


def ppo(config: ConfigDict) -> None:
    """PPO (arXiv 1707.06347) as it is usual for language models, with the defaults of TRL's `PPOConfig`, version 0.4.1:
    ratio and values clipped at 0.2, γ 1, λ 0.95, four passes over an exploration; advantages whitened, the KL taken off
    each token's reward, mean over all tokens. β stays the config file's.

    The critic is a model of its own, which starts from the policy's weights unless `critic.path` is set. DeepSeek-R1
    (arXiv 2501.12948, appendix A.3) finds λ 1 much better on MATH: `--config.critic.gae_lambda=1`.
    """
    _set(
        config, advantage="gae", ddof=0, eps=1e-6, surrogate="clip", ratio_level="token", clip_low=0.2, clip_high=0.2,
        dual_clip=0.0, reduction="token_mean", kl_in="reward", kl_estimator="k1", updates=4,
    )  # fmt: skip
    config.critic.update(
        {"kind": "separate", "gamma": 1.0, "gae_lambda": 0.95, "whiten": True, "bootstrap": False, "value_clip": 0.2}
    )


def trl(config: ConfigDict) -> None:
    """The defaults of TRL's `GRPOConfig`, version 1.16: `scale_rewards="group"` (one degree of freedom, 1e-4 added),
    `loss_type="dapo"`, `importance_sampling_level="token"`, `epsilon=0.2`, `beta=0`, `temperature=1`.

    Where β is set there, the KL term is k3 times the ratio (`use_bias_correction_kl`): with `kl_coef` set
    `kl_estimator="k3_weighted"` too.
    """
    _set(
        config, advantage="group", ddof=1, eps=1e-4, surrogate="clip", ratio_level="token", clip_low=0.2, clip_high=0.2,
        reduction="token_mean", kl_in="loss", kl_coef=0.0,
    )  # fmt: skip
    config.sampling.temperature = 1.0


def verl(config: ConfigDict) -> None:
    """verl's GRPO, `verl/trainer/ppo/core_algos.py` as of commit 018f23b: one degree of freedom and 1e-6 added
    (`compute_grpo_outcome_advantage`), ε 0.2 and dual clip 3 (`compute_policy_loss_vanilla`), mean over tokens
    (`agg_loss`), k3 cut off at 10 (`kl_penalty`); in the loss at 0.001 as in `examples/grpo_trainer` (`use_kl_loss`,
    `low_var_kl`, `kl_loss_coef`)."""
    _set(
        config, advantage="group", ddof=1, eps=1e-6, surrogate="clip", ratio_level="token", clip_low=0.2, clip_high=0.2,
        dual_clip=3.0, reduction="token_mean", kl_in="loss", kl_estimator="k3", kl_coef=0.001, kl_limit=10.0,
    )  # fmt: skip


def openrlhf(config: ConfigDict) -> None:
    """OpenRLHF's GRPO (`--advantage_estimator group_norm`), as of commit 09f5ace: one degree of freedom, 1e-9 added
    (`trainer/ppo_utils/experience_maker.py`); mean over tokens, ε 0.2 (`PolicyLoss` in `models/loss.py`); k3 in
    the loss (`--use_kl_loss`, `--kl_estimator k3`), cut off at 10 (`compute_approx_kl` in `models/utils.py`). β stays
    the config file's."""
    _set(
        config, advantage="group", ddof=1, eps=1e-9, surrogate="clip", ratio_level="token", clip_low=0.2, clip_high=0.2,
        reduction="token_mean", kl_in="loss", kl_estimator="k3", kl_limit=10.0,
    )  # fmt: skip


def nemo_rl(config: ConfigDict) -> None:
    """NeMo-RL's GRPO, `examples/configs/grpo_math_1B.yaml` as of commit 00294d9: mean and standard deviation of the
    others of a group, one degree of freedom and 1e-6 added (`use_leave_one_out_baseline`, `normalize_rewards`); mean
    over tokens (`token_level_loss`); ε 0.2 (`ratio_clip_min`, `ratio_clip_max`); k3 in the loss at 0.01
    (`reference_policy_kl_penalty`), cut off at 10 (`calculate_kl_penalty_joschu2020`)."""
    _set(
        config, advantage="leave_one_out_std", ddof=0, eps=1e-6, surrogate="clip", ratio_level="token", clip_low=0.2,
        clip_high=0.2, reduction="token_mean", kl_in="loss", kl_estimator="k3", kl_coef=0.01, kl_limit=10.0,
    )  # fmt: skip


def open_instruct(config: ConfigDict) -> None:
    """open-instruct's GRPO, as of commit 0063d12: r − mean (`advantage_normalization_type` "centered"); of
    `GRPOExperimentConfig` in `open_instruct/grpo_utils.py` ε 0.2 and 0.272 (`clip_lower`, `clip_higher`), mean over
    tokens (`loss_denominator`), weights π_old/π_sampler of at most 2 by token
    (`truncated_importance_sampling_ratio_cap`), k3 in the loss at 0.05 (`beta`; `kl_estimator` 2, which counts from 0).

    Its log ratio to the reference is limited to ±40, here to ±20. With r divided by its standard deviation there:
    advantage "group", ddof 0, eps 1e-8.
    """
    _set(
        config, advantage="centered", ddof=0, eps=1e-6, surrogate="clip", ratio_level="token", clip_low=0.2,
        clip_high=0.272, reduction="token_mean", correction="token_truncate", correction_limit=2.0, kl_in="loss",
        kl_estimator="k3", kl_coef=0.05,
    )  # fmt: skip


def tunix(config: ConfigDict) -> None:
    """Tunix' GRPO, version 0.1.7: one degree of freedom and 1e-6 added (`compute_advantages` in `rl/algo_core.py`); of
    `GRPOConfig` in `rl/grpo/grpo_learner.py` ε 0.2, 1/|o| (`loss_agg_mode` "sequence-mean-token-mean"), k1 in the loss
    at 0.04 (`kl_loss_mode` "kl", `beta`).

    The gradient of k1 in the loss has mean zero on the policy's own samples: it regularizes nothing (`objectives.kl`).
    """
    _set(
        config, advantage="group", ddof=1, eps=1e-6, surrogate="clip", ratio_level="token", clip_low=0.2, clip_high=0.2,
        reduction="sequence_mean", kl_in="loss", kl_estimator="k1", kl_coef=0.04,
    )  # fmt: skip


PRESETS: dict[str, Callable[[ConfigDict], None]] = {
    preset.__name__: preset
    for preset in (
        deepseekmath, r1_zero, r1_stage1, dr_grpo, dapo, gspo, cispo, sapo, rloo, reinforce_pp, reinforce_pp_baseline,
        ppo, trl, verl, openrlhf, nemo_rl, open_instruct, tunix,
    )
}  # fmt: skip


def apply(config: ConfigDict, name: str) -> None:
    """Changes a config by the preset of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in PRESETS:
        raise UsageError(f"--preset={name}: unknown preset{nearest(name, PRESETS)}")
    PRESETS[name](config)
