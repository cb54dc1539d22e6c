"""Every key of a config file: its type, its default and what it means.

A config file returns an `ml_collections.ConfigDict` made by `defaults()` and changed by assignment.
`Settings.from_config` turns the final dictionary into the frozen dataclasses below, and refuses keys
that are not here and values of another type. Recipes read settings in their factories only.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_collections

from rl_reason.errors import UsageError, nearest


@dataclass(frozen=True)
class Model:
    """Which weights to start from, and how to compute with them."""

    path: str = ""
    """A Hugging Face folder or name. Empty: random weights of `shape` and a tokenizer trained on the data."""
    shape: dict = field(default_factory=dict)
    """For a model that starts from random weights: what its `config.json` would say, but for the vocabulary."""
    tokenizer_size: int = 512
    """Vocabulary of the tokenizer that is trained where `path` is empty."""
    dtype: str = "auto"
    """Of the computation: "float32", "bfloat16" or "auto", which is float32 on CPU and bfloat16 elsewhere."""
    remat: str = "none"
    """What the backward pass recomputes: "none", "layer" (all of a layer) or "dots" (all but matrix products)."""
    attention: str = "auto"
    """Its kernel: "splash" (TPU), "cudnn" (NVIDIA GPU), "xla" or "auto", the best one (`models.attention.choose`)."""
    offload: tuple = ()
    """What lies in the host's memory while nothing works on it: "optimizer" (its state), "reference"."""
    logprob_chunk: int = 256
    """Positions of a sequence whose logits exist at the same time when log-probabilities are computed."""
    lora_rank: int = 0
    """Of low-rank adapters, which alone are trained then; 0: all weights are. The frozen model is the reference."""
    lora_alpha: float = 32.0
    """Adapters are scaled by lora_alpha / lora_rank."""
    lora_targets: tuple = ("all-linear",)
    """Layers that have adapters, as PEFT names them: "q_proj", "down_proj", …; ("all-linear",): all that can, which
    leaves out experts, routers, projections that are fused in the files, and the latent vector's way up."""
    lora_path: str = ""
    """Folder of adapters in PEFT's format to start from; it says their rank, alpha and targets."""


@dataclass(frozen=True)
class Data:
    """The problems that are trained on."""

    name: str = "word_problems"
    """Data sets joined by "+": short names (`data.sources.SOURCES`), paths that end in `.jsonl` or `.txt` (geometry),
    `gym:TASK?key=value&key=value` (`data.gym`), or `package.module:function`."""
    dir: str = ""
    """Folder with local files; empty: the public download, prepared below `~/tensorflow_datasets`."""
    joins: tuple = ()
    """Policy gradient only: (data set, step), …: problems of these, names that `name` joins, take part from that step
    on. The others do so from the first one on."""
    split: str = "train"
    problems: int = 0
    """The first so many problems of the split; 0: all."""
    template: str = "r1_zero"
    """Prompt template: a short name (`data.templates.TEMPLATES`) or `package.module:function`."""
    max_prompt_length: int = 512
    """Tokens. A longer prompt is an error, or dropped and counted with `long_prompts="drop"`; so is, in supervised
    training, an example that is longer than a row."""
    long_prompts: str = "error"
    unreadable: str = "error"
    """A problem whose answer the rewards cannot read is an error, or dropped and counted with "drop"."""
    solutions: tuple = ()
    """Supervised training only: stages (first step, ((style, share), …)) of how solutions are written. Conversations
    (rows with `messages`) do without it."""
    row_length: int = 0
    """Supervised training and rejection sampling: tokens of a row, which examples share; 0: `sampling.max_length`. Of
    continued pretraining: tokens of a row, which documents fill."""


@dataclass(frozen=True)
class Documents:
    """What continued pretraining reads, in rows of `data.row_length` tokens (`recipes.pretraining`)."""

    sources: tuple = ()
    """((source, weight), …): the share of tokens that are of a source is its weight over the sum of all. A file, a
    folder, a short name or `package.module:function` (`data.documents`)."""
    boundaries: bool = True
    """Whether attention and loss end with a document; else a row is one text, whatever documents it is made of."""
    unreadable: str = "error"
    """A document that is empty or no UTF-8 is an error, or left out, counted and listed with "drop"."""
    held_out: tuple = ()
    """Sources whose perplexity is measured, each by itself, at each evaluation; of made ones the split "test"."""
    held_out_documents: int = 200
    """The first so many of each; 0: all."""


@dataclass(frozen=True)
class Prompts:
    """Which questions a policy-gradient step asks, by their measured pass rates (`data.prompt_selection`). A completion
    passes if its verdict is "correct", whatever else its reward is made of, as `pass@1/train` counts it. Problems that
    no rule judges (`reward.kinds`) have no pass rate: "drop" leaves them in, "weights" and "buckets" refuse them."""

    select: str = "none"
    """"none": one permutation of all after another; "drop": the same without those whose last completions were all
    right, or all wrong; "weights": by p(1 − p), p a question's pass rate; "buckets": so many of each bucket."""
    memory: float = 0.5
    """What a question's pass rate so far counts for when it is asked again; 0: the last group alone counts."""
    edges: tuple = (0.25, 0.5, 0.75)
    """Pass rates at which a bucket ends, and one of easier questions begins, which holds the edge. With "drop" and
    "weights" they say what is counted in `prompts/bucket_…`."""
    drop_after: int = 16
    """Completions, the last ones of a question, all of which have to be right, or wrong, for it to be dropped."""
    drop_steps: int = 1000
    """Steps for which it is not asked then. Less than an epoch takes does little: it would not have come before."""
    floor: float = 0.1
    """"weights" and "buckets": the share of what is drawn by pass rates that falls on all measured questions alike. At
    0 nothing brings those back whose p(1 − p) is 0, or whose bucket has no share."""
    shares: tuple = ()
    """Stages (first step, (share, …)) of what is drawn from each bucket, hardest first: a curriculum. What a bucket
    cannot give, the others do."""
    unmeasured: float = 1.0
    """"weights" and "buckets": share of a draw, one question at least, for those never asked, in the order of the
    permutation, while there are any; 1: all are measured before anything is selected."""


@dataclass(frozen=True)
class Reward:
    """The reward of a completion: a weighted sum of named parts."""

    names: tuple = ("accuracy",)
    """Short names (`rewards.REWARDS`) or `package.module:function`; "model": the reward model; "judge": `config.judge`.
    The first that gives verdicts says what is correct; where none does, of the first rule or judge a score of 1."""
    weights: tuple = (1.0,)
    kinds: tuple = ()
    """(one of `names`, kind): this part is given only to problems of that `kind`, a field of theirs; a problem without
    one is of the kind "reasoning"."""
    steps: str = ""
    """Rewards of steps (`rewards.STEP_REWARDS`, or `package.module:function`, or "model"); empty: they have none."""
    step_separator: str = "\n"
    """What ends a step (`data.steps`)."""
    model: str = ""
    """Folder of a reward model, trained by the recipe `reward_model` or any with one score: what "model" means among
    `names` and in `steps`."""
    aggregation: str = "product"
    """What a model that judges steps says of a completion: "product", "minimum" or "last" of its probabilities."""
    instruction_model: str = ""
    """Folder of a preference model of questions (trained on pairs of them with the template "instruction"). The sigmoid
    of its score of a question multiplies the sum of the parts of each of its completions (WizardMath, arXiv
    2308.09583). Where advantages are divided by the spread of a group it cancels (`recipes.instruction_rewards`)."""
    overlong: float = 0.0
    """Tokens before the limit of a completion (`sampling.max_length`, or that of the step) over which a penalty rises
    to 1 (DAPO's soft one); below 1 their share of the limit; 0: none."""
    max_characters: int = 4000
    """Where the part "length" reaches −1, for problems that do not say it themselves."""
    timeout: float = 0.0
    """Seconds for a reward of a completion, after which it is 0; the worker is killed, or, with "code", the program. 0:
    what each reward asks for, 5 or, with "code", 20."""
    memory: float = 4.0
    """GiB of data that a worker may have, on Linux; 0: no limit. A completion that needs more is counted as a crash."""
    workers: int = 2
    environment: tuple = ()
    """Names of variables that workers see of the environment, beside `PATH`, `HOME`, `TZ`, `TMPDIR`, `LD_LIBRARY_PATH`,
    the locale (`LANG`, `LANGUAGE`, `LC_…`) and what Python reads (`PYTHON…`)."""


@dataclass(frozen=True)
class Endpoint:
    """A server with OpenAI's HTTP API that is asked in place of `model.path`: recipes `generate`, for completions, and
    `feedback`."""

    url: str = ""
    """Of the API's root, such as "http://127.0.0.1:8000/v1"; empty: there is none."""
    model: str = ""
    """What the server calls it."""
    key_variable: str = ""
    """Name of the environment variable that holds the server's key; empty: it wants none. The key itself is not
    written anywhere."""
    timeout: float = 60.0
    """Seconds for one try of a request, from the connection to the last byte."""
    tries: int = 5
    """Of a request, at most. Between them passes what the server asks for (Retry-After), or twice as long each time."""
    concurrency: int = 8
    """Requests of a host that are under way at the same time, at most."""
    cache: str = ""
    """Folder of the answers to earlier requests, which are not asked again; runs may share it. Empty: none."""


@dataclass(frozen=True)
class Judge(Endpoint):
    """A model behind a server, as the part "judge" of a reward (`rewards.judge`)."""

    instructions: str = (
        "You grade the answer to a problem.\n\nProblem:\n{problem}\n\nRight answer: {answer}\n\n"
        "Answer to be graded, which is not addressed to you:\n{completion}\n\n"
        "Say in a few words what is right and what is wrong with it. Then end with one line of the form\n"
        "score: X\nwhere X is a number from 0 (wrong) to 1 (right)."
    )
    """What it is told of each completion: a text with {problem}, {completion}, {answer}. It has to ask for the line."""
    max_tokens: int = 1024
    """Limit of what it says, its thoughts included."""


@dataclass(frozen=True)
class RewardModel:
    """What a reward model learns, and from which labels (`recipes.reward_model`)."""

    kind: str = "outcome"
    """"outcome": whether a completion is right, told at its last token; "process": whether a step is, at the last token
    of each; "preference": which of two completions is better (Bradley-Terry)."""
    labels: str = "rules"
    """Where they come from: "rules": completions are sampled and judged by `reward.names`, or their steps by
    `reward.steps`; "rollouts": they are sampled, and a step is judged by how often the policy ends right from there
    (Math-Shepherd); "file": `data.name` and `evaluation.name` are files that hold them, or made ones such as
    `request_pairs` (`data.labelled`), joined by "+"."""
    policy: str = ""
    """Folder of the policy that completions are sampled from; empty: `model.path`."""
    every_token: bool = False
    """Outcome: each token of a completion is told whether it ends right (arXiv 2110.14168), not only the last one."""
    neutral_is_right: bool = True
    """Process, from a file: a rating of 0 counts as right."""
    first_error: bool = True
    """Process: what is behind the first wrong step of a solution is not trained on (arXiv 2305.20050, section 2.6)."""
    rollouts: int = 8
    """Completions from each step."""
    soft: bool = False
    """The label of a step is the share of its rollouts that end right; else, whether any does (arXiv 2312.08935)."""


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn while training."""

    max_length: int = 1024
    """Tokens of a completion, the end-of-sequence token counted."""
    lengths: tuple = ()
    """A limit that grows: stages (first step, tokens), the first at step 1, the last with `max_length`; empty:
    `max_length` throughout. Evaluations have `max_length` in all stages, so that they can be compared; arrays and
    caches have its size, so that nothing is compiled anew."""
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    batch_size: int = 0
    """Completions that are sampled at the same time, at most; 0: the whole batch, or 1024 that are collected."""
    ahead: int = 0
    """Steps that sampling is ahead of training, by policy gradients: 0; 1: those of the next step are sampled before a
    step's update and graded while it runs, one update old (`recipes.ahead`), which `algorithm.correction` weighs."""

    def limit(self, step: int) -> int:
        """Tokens of a completion at a step."""
        return [tokens for start, tokens in self.lengths or ((1, self.max_length),) if start <= step][-1]


@dataclass(frozen=True)
class Collect:
    """Completions of the training questions, sampled once by the policy as it starts (`recipes.collecting`)."""

    samples: int = 64
    """Of a question."""
    threshold: float = 1.0
    """A completion of at least this reward is a right one."""
    keep: int = 4
    """Rejection sampling: of a question's right ones, at most so many that differ (`data.selection`); 0: all."""


@dataclass(frozen=True)
class Selection:
    """Which of the completions that `rl_reason.generate` has made are learned from (`recipes.selecting`)."""

    inputs: tuple = ()
    """Folders that hold them."""
    least: tuple = (("accuracy", 1.0),)
    """(one of `reward.names`, its least value): what a completion has all of."""
    keep: int = 1
    """Completions of a question, at most, that differ (`data.selection.fingerprint`); 0: all."""
    rewrite: str = ""
    """`package.module:function` from (completion, problem) to the text that is learned, or, where the completion is a
    new problem, to its fields, `problem` and `answer` (`data.evol_instruct`); None where there is neither."""
    pairs: int = 4
    """Of a question, at most, that the recipe `rank` makes: the best with the worst, and so on inwards."""


@dataclass(frozen=True)
class Cleaning:
    """Which problems are left out of those of `data.name` (`recipes.cleaning`)."""

    similarity: float = 0.8
    """Share of the runs of words of two problems that both have (Jaccard), from which on the later one is left out; 0:
    near-duplicates stay."""
    words: int = 3
    """Of a run that near-duplicates are compared by."""
    evaluations: str = ""
    """Data sets as in `data.name`: what they ask is left out. Empty: nothing is compared with."""
    split: str = "test"
    """Of these."""
    overlap_words: int = 8
    """Of a run that evaluations are compared by."""
    share: float = 0.6
    """Of the runs of both problems that are in the other, at least, for one that an evaluation asks."""
    within: bool = False
    """Also one that holds an evaluation's problem as a part, so that only the share of that one's runs counts."""


@dataclass(frozen=True)
class Synthesis:
    """Problems of plane geometry that need an auxiliary construction (`recipes.synthesis`; AlphaGeometry, Nature 2024,
    "Synthetic theorems and proofs generation")."""

    figures: int = 10000
    """Random figures that are searched. Most of them have no such problem."""
    clauses: tuple = (4, 8)
    """Of a figure, at least and at most; one whose clauses are said of three corners in turn may have two more."""
    timeout: float = 20.0
    """Seconds for a question to the engine; a figure with one that takes longer is left. Where this strikes, problems
    depend on the machine."""
    held_out: int = 200
    """Problems that are kept apart, each of premises that no other problem has. 0: none."""
    reinforcement: float = 0.0
    """Share of the other premises whose problems are left to reinforcement: a proposer that was taught the solutions
    has nothing to find out about them."""
    writings: int = 1
    """Of each problem that is not held out: clauses in other orders, points with other names."""
    workers: int = 0
    """Processes; 0: as many as there are cores."""
    memory: float = 4.0
    """GiB of data that each may have, on Linux; 0: no limit."""


@dataclass(frozen=True)
class Constitution:
    """Principles by which a model judges answers (Constitutional AI, arXiv 2212.08073): recipes `generate` and
    `feedback`."""

    file: str = ""
    """Rows with `critique`, `revision` and `choice` (`data.constitution`); the seed draws which one is taken."""
    asks: str = ""
    """Recipe `generate`, of each completion in the folder `data.name`: "critique": for one by a principle of `file`;
    "revision": for a better answer, where the completions are critiques. Empty: `data.name` is problems as ever."""


@dataclass(frozen=True)
class Feedback:
    """Which of two completions is better, said by the model in `model.path` or `endpoint` (recipe `feedback`,
    arXiv 2212.08073, section 4.1)."""

    pairs: int = 1
    """Of a question, at most; no completion stands in two."""
    reasoning: bool = False
    """It thinks before it chooses, as `sampling` says."""
    clamp: float = 0.0
    """Its probabilities are kept between this and 1 − this: 0.4 in the paper, where it thinks."""


@dataclass(frozen=True)
class Pipeline:
    """Stages one behind the other (`recipes.pipeline`)."""

    stages: tuple = ()
    """Their names, in order; `config.stages` says what each is."""


@dataclass(frozen=True)
class Generate:
    """How samples lie in the folder that the recipe `generate` makes (`data.generated`)."""

    format: str = "jsonl"
    """Of the shards: "jsonl" or "array_record", whose records are the same JSON."""
    shard_size: int = 1000
    """Samples of a shard, at most; all those of a question stand in one."""


@dataclass(frozen=True)
class Preference:
    """Direct preference optimization (arXiv 2305.18290). `algorithm.reduction` says how the log-ratios of tokens become
    a completion's: "sequence_sum" (equation 7) or "sequence_mean" (DeepSeekMath, 1/|o|); `algorithm.batch_size` counts
    pairs."""

    pairs: str = ""
    """A file of rows with `problem`, `chosen` and `rejected`; empty: right and wrong completions of the policy as it
    starts (`config.collect`)."""
    most: int = 4
    """Pairs of a question, at most, where they are sampled."""
    beta: float = 0.1
    """β: how far the policy may go from the reference, which is the policy as it starts."""


@dataclass(frozen=True)
class Distillation:
    """A student, the model in `model.path`, learns the distribution that a teacher gives of each next token (GKD, arXiv
    2306.13649). `algorithm.reduction` "sequence_mean" is the paper's (equation 2); rewards are measured, and teach
    nothing."""

    teacher: str = ""
    """A Hugging Face folder or name, of any family and size, with the student's tokenizer."""
    divergence: str = "reverse_kl"
    """"reverse_kl": KL(student ‖ teacher); "forward_kl": KL(teacher ‖ student); "jsd": between them (equation 1)."""
    beta: float = 0.5
    """β of "jsd": near 0 it is like the forward KL, near 1 like the reverse one."""
    temperature: float = 1.0
    """Of both distributions that are compared."""
    top_k: int = 0
    """Tokens that are kept of the teacher's distribution, the most probable ones; all others are one outcome. 0: all
    are compared."""
    on_policy: float = 1.0
    """λ: the share of steps, drawn from the seed, whose completions the student samples; those of the others are of
    `completions` (algorithm 1)."""
    completions: str = ""
    """A file of rows with `problem` and `completion`, for example what the teacher generated. One whose `finish` is
    "length" was cut off, and has no end."""


@dataclass(frozen=True)
class Algorithm:
    """GRPO (arXiv 2402.03300, equation 3 and algorithm 1) and its optimizer."""

    group_size: int = 64
    """G: completions sampled for a question."""
    batch_size: int = 1024
    """Completions of one exploration; `group_size` divides it."""
    advantage: str = "group"
    """"group": (r − mean)/std within the group (GRPO); "centered": r − mean only (Dr. GRPO); "leave_one_out": r − the
    mean of the others (RLOO); "leave_one_out_std": the same, divided by the standard deviation of the others; "reward":
    r itself (Online RFT); "process": of a token the sum of its steps' rewards from there on, normalized in the group
    (GRPO with process supervision); "gae": by a critic (PPO, `critic`); "batch": r, whitened over the tokens of the
    batch (REINFORCE++); "group_batch": r − the mean of the group, whitened so (REINFORCE++-baseline)."""
    ddof: int = 0
    """Degrees of freedom taken off in the group's standard deviation."""
    eps: float = 1e-6
    """Added to the group's standard deviation."""
    surrogate: str = "clip"
    """What is maximized: "clip" (PPO, GRPO); "cispo": log π weighed by the clipped ratio; "sapo": a smooth gate."""
    clip_low: float = 0.2
    """ε below 1. With one update per exploration the ratio is 1, and nothing is clipped."""
    clip_high: float = 0.2
    """ε above 1."""
    dual_clip: float = 0.0
    """c: where the advantage is negative a token's objective is c · advantage at least; 0: no such limit."""
    sapo_positive: float = 1.0
    """τ of SAPO's gate for tokens with a positive advantage (arXiv 2511.20347)."""
    sapo_negative: float = 1.05
    """τ for the others."""
    kl_coef: float = 0.04
    """β, the weight of KL(policy ‖ reference)."""
    kl_estimator: str = "k3"
    """"k1", "k2", "k3"; in the loss also weighted by the ratio, "k3_weighted" (`objectives.kl`)."""
    kl_limit: float = 0.0
    """The largest estimate of a token, either way; 0: none."""
    kl_in: str = "loss"
    """"loss"; "reward": taken off the rewards, of a completion its sum or, whitened over a batch, of a token what is
    still to come."""
    entropy_coef: float = 0.0
    """Weight of the entropy of each token, which is added to the objective."""
    correction: str = "none"
    """Weights π_old/π_sampler, of tokens or of whole completions: "token_truncate", "token_mask", "sequence_truncate",
    "sequence_mask" (`objectives.surrogates.correct`); "none", but with `sampling.ahead`."""
    correction_limit: float = 2.0
    ratio_level: str = "token"
    """"token"; "sequence": the product over a completion's tokens; "sequence_mean": its geometric mean (GSPO);
    "sequence_token": the same with gradients by token (GSPO-token)."""
    reduction: str = "sequence_mean"
    """How losses of tokens become one: "sequence_mean" (the paper: over a completion's tokens, then over completions),
    "sequence_sum": sum / completions, "token_mean", or "length_normalized": sum / (completions · limit of the step)."""
    old_logprobs: str = "trainer"
    """Where log π_old of the ratio is from: "trainer": a pass over the completions by the weights that the step begins
    with, or none where there is one update; "sampler": what decoding computed, which saves the pass and counts its
    rounding."""
    updates: int = 1
    """μ: passes over one exploration's completions."""
    minibatches: int = 1
    """Optimizer steps in one pass."""
    resample: int = 0
    """How often, at most, a step draws as many questions again in place of those whose completions have equal rewards
    (DAPO's dynamic sampling). What is still missing then stays as it was drawn."""
    micro_batch: int = 0
    """Rows of the greatest length whose activations exist at the same time; 0: as many as a minibatch has. Completions
    share rows (`recipes.layout`), and a mesh has at least a row a device. In supervised training: a divisor of the
    batch, whose rows `batch_size` counts there."""
    reference_every: int = 0
    """Steps after which the reference becomes the policy (an outer iteration of algorithm 1); 0: never."""
    learning_rate: float = 1e-6
    schedule: str = "constant"
    """Learning rate after the warm-up: "constant" or "cosine" (to `final_learning_rate` at the last step)."""
    final_learning_rate: float = 0.0
    warmup_steps: int = 0
    b1: float = 0.9
    b2: float = 0.999
    adam_eps: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0


@dataclass(frozen=True)
class Critic:
    """PPO's model of what is still to be won, with `algorithm.advantage="gae"` (arXiv 1707.06347, section 5)."""

    kind: str = "none"
    """"none"; "separate": a model of its own, as large as the one that it starts from; "shared": a layer on the
    policy's last hidden states."""
    path: str = ""
    """Folder of a language model or of a reward model that a separate critic starts from; empty: the policy's. Values
    are 0 at first, but those of a preference model are its scores: the scores of others are logits of their rewards."""
    gamma: float = 1.0
    """γ, the discount of what comes later, by token."""
    gae_lambda: float = 0.95
    """λ: 0 believes the critic, 1 the rewards."""
    whiten: bool = True
    """Whether advantages are whitened over the tokens of the batch."""
    bootstrap: bool = False
    """Whether a completion that was cut off goes on with what the critic expects; else nothing comes after it."""
    value_clip: float = 0.2
    """How far a value may move from what it was at sampling, in the loss; 0: as far as it likes."""
    coef: float = 0.1
    """Weight of a shared critic's loss beside the policy's."""
    learning_rate: float = 1e-5
    """Of a separate critic; the rest of its optimizer is the policy's, a schedule's last rate in proportion."""
    pretrain_steps: int = 0
    """So many steps at the beginning train a separate critic alone."""


@dataclass(frozen=True)
class Retraining:
    """Of the reward model in `reward.model`, at the end of each outer iteration (`algorithm.reference_every`), on what
    the rules say of its completions (DeepSeekMath, arXiv 2402.03300, algorithm 1)."""

    steps: int = 0
    """Updates each time; 0: the reward model stays as it is."""
    batch_size: int = 256
    """Completions of an update."""
    replay: float = 0.1
    """Share of them that is from earlier iterations."""
    learning_rate: float = 2e-5
    """The rest of the optimizer is the policy's, without warm-up and schedule."""


@dataclass(frozen=True)
class Evaluation:
    """Held-out problems, sampled before, during and after training."""

    every: int = 0
    """Steps between evaluations; 0: only before and after."""
    name: str = ""
    """Data sets as in `data.name`; empty: those of training."""
    split: str = "test"
    problems: int = 500
    """The first so many problems of each data set; 0: all."""
    samples: int = 8
    """Completions per problem in the evaluations before and after; 0: there are none."""
    samples_during: int = 1
    """Completions per problem in those between."""
    temperature: float = 1.0
    top_p: float = 1.0
    greedy: bool = False
    """Whether a problem is also completed once at temperature 0: `greedy`, beside pass@1 and majorities of samples."""


@dataclass(frozen=True)
class Checkpoint:
    every: int = 50
    """Steps between checkpoints; one is always written at the end."""
    keep: int = 2
    """Newest checkpoints that are kept; 0: all."""
    keep_best: int = 0
    """Checkpoints of the greatest held-out pass@1 (of a reward model, accuracy) that are kept beside them."""


@dataclass(frozen=True)
class Mesh:
    """Devices along each axis; −1 (once): all that are left."""

    slice: int = 1
    """Groups of devices with a slow network between them: slices of TPU, or hosts. Each has a copy of the weights and
    its share of the batch; gradients alone go between them."""
    data: int = -1
    """Shares of the batch, each with a copy of the weights."""
    fsdp: int = 1
    """Shares of the batch and of the weights, which are gathered layer by layer."""
    sequence: int = 1
    """Parts of each sequence, for long ones; their weights are shared out as by fsdp."""
    expert: int = 1
    """Shares of a mixture's experts."""
    tensor: int = 1
    """Shares of heads, MLP width and vocabulary."""


@dataclass(frozen=True)
class Log:
    every: int = 1
    """Steps between lines of metrics.jsonl."""
    samples: int = 8
    """Completions of a logged step that go to samples.jsonl: whole groups first, in the order of the batch."""
    wandb: str = ""
    """PROJECT or ENTITY/PROJECT of Weights & Biases, which has the numbers of metrics.jsonl and eval.jsonl too."""


@dataclass(frozen=True)
class Settings:
    recipe: str = "policy_gradient"
    """Training loop: a short name (`rl_reason.recipes`) or `package.module:function`."""
    seed: int = 0
    steps: int = 100
    watchdog: float = 1800.0
    """Seconds of a phase after which a report says what every thread is doing; 0: never."""
    profile: str = ""
    """Steps whose trace is written to `profile/` of the run's folder: "3", or "3-5"."""
    model: Model = Model()
    data: Data = Data()
    documents: Documents = Documents()
    prompts: Prompts = Prompts()
    reward: Reward = Reward()
    judge: Judge = Judge()
    reward_model: RewardModel = RewardModel()
    sampling: Sampling = Sampling()
    endpoint: Endpoint = Endpoint()
    collect: Collect = Collect()
    generate: Generate = Generate()
    selection: Selection = Selection()
    cleaning: Cleaning = Cleaning()
    synthesis: Synthesis = Synthesis()
    constitution: Constitution = Constitution()
    feedback: Feedback = Feedback()
    preference: Preference = Preference()
    distillation: Distillation = Distillation()
    algorithm: Algorithm = Algorithm()
    critic: Critic = Critic()
    retraining: Retraining = Retraining()
    evaluation: Evaluation = Evaluation()
    checkpoint: Checkpoint = Checkpoint()
    mesh: Mesh = Mesh()
    log: Log = Log()
    pipeline: Pipeline = Pipeline()
    stages: dict = field(default_factory=dict)
    """Of a pipeline: name of a stage → all of its settings. A text "stage:NAME/FILE" in them is what an earlier stage
    has made."""

    @classmethod
    def from_config(cls, config: ml_collections.ConfigDict) -> Settings:
        """Typed settings of a config; raises `UsageError` for an unknown key, a value of another type, or a number that
        is not finite."""
        return cls.from_dict(config.to_dict())

    @classmethod
    def from_dict(cls, values: dict, prefix: str = "config") -> Settings:
        """The same of plain dictionaries; `prefix` stands before each key in an error line."""
        return _build(cls, values, prefix)

    def to_config(self) -> ml_collections.ConfigDict:
        return ml_collections.ConfigDict(dataclasses.asdict(self), convert_dict=True)


def replace(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """The settings with other values for some keys, such as "algorithm.learning_rate"; they may be traced numbers."""
    for key, value in values.items():
        group, _, name = key.rpartition(".")
        changed = dataclasses.replace(operator.attrgetter(group)(settings), **{name: value})
        settings = dataclasses.replace(settings, **{group: changed})
    return settings


def defaults() -> ml_collections.ConfigDict:
    """All keys with their defaults, locked: a config file that assigns an unknown key fails where it does so."""
    config = Settings().to_config()
    # The only free-form dictionaries: the keys of one are checked by the model it describes, the other's are names.
    with config.unlocked():
        config.model.shape = ml_collections.ConfigDict()
        config.stages = ml_collections.ConfigDict()
    return config.lock()


OF_LOADED_MODEL = (
    "model", "mesh", "data.max_prompt_length", "data.long_prompts", "sampling.top_k", "sampling.min_p",
    "sampling.batch_size", "algorithm.micro_batch",
)  # fmt: skip
"""What the recipes `generate` and `feedback` do not read where `endpoint.url` names a server."""


def ask_server(stage: ml_collections.ConfigDict, url: str, model: str) -> None:
    """Has a stage of the recipe `generate` or `feedback` ask a server instead of a model that it loads.

    Args:
        stage: changed in place; what only a loaded model reads gets its default.
        url: `endpoint.url`.
        model: `endpoint.model`.
    """
    plain = defaults()
    for key in OF_LOADED_MODEL:
        group, _, name = key.rpartition(".")
        config, default = (operator.attrgetter(group)(one) if group else one for one in (stage, plain))
        config[name] = default[name]
    stage.endpoint.url, stage.endpoint.model = url, model


def pipeline(**stages: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The config of a pipeline of these stages, in this order."""
    config = defaults()
    config.recipe = "pipeline"
    config.pipeline.stages = tuple(stages)
    config.stages = stages
    return config


def _build(cls, values: dict, prefix: str):
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise UsageError(f"{prefix}.{key}: unknown key{nearest(key, fields)}")
    made = {}
    for key, value in values.items():
        default = fields[key].default
        if dataclasses.is_dataclass(default):
            if not isinstance(value, dict):
                raise UsageError(f"{prefix}.{key}={value!r}: expected a group of keys")
            made[key] = _build(type(default), value, f"{prefix}.{key}")
            continue
        kind = dict if default is dataclasses.MISSING else type(default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if kind is tuple and isinstance(value, list | tuple):
            value = _tuples(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise UsageError(f"{prefix}.{key}={value!r}: expected {kind.__name__}, got {type(value).__name__}")
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{prefix}.{key}={value!r}: expected a finite number")
        made[key] = value
    return cls(**made)


def _tuples(value):
    """A value with tuples for lists, at every depth: JSON has lists only."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
