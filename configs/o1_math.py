"""o1's two ways to spend compute, in training and at test time (OpenAI, Learning to Reason with LLMs, September 2024).

Published: accuracy on AIME 2024 rises with the logarithm of the compute of reinforcement learning, and with that of
the compute of an answer; 74% with one sample, 83% with the majority of 64, 93% when 1000 are re-ranked by a learned
score. How o1 is trained is not public beyond "large-scale reinforcement learning" of long chains of thought, nor are
its model, data, rewards or the learned score. So everything below is chosen, from what was published before it:

| stage | what it is | from |
|---|---|---|
| `judge` | a process reward model | Let's Verify Step by Step, Math-Shepherd: `configs/prm_math.py` |
| `policy` | PPO; rewards of steps by the judge, and of the exact answer at the end | `configs/ppo_math.py` |

Chosen beside what these two files say:

- A step is a line, and its reward the judge's probability that it is right. Their sum grows with the number of lines;
  the answer has weight 10, so that it pays more than a few lines do. `steps/completion` beside `pass@1` tells whether
  lines are written for their own sake; with `--config.stages.policy.reward.steps=''
  --config.stages.policy.reward.names="('accuracy', 'model')" --config.stages.policy.reward.weights="(1.0, 1.0)"` the
  judge gives one score a solution, the product over its steps, which no further line raises.
- The critic starts from the judge, with a layer of zeros on top. It has to predict sums of up to a hundred, so that
  values are not clipped.
- Prompts of 1024 and completions of 3072 tokens are the context of the base, Qwen2.5-Math-7B; o1's chains are longer.
- The policy is evaluated on AIME 2024 and MATH-500, 16 samples of a question, temperature 0.6 and top-p 0.95 as
  DeepSeek-R1 (arXiv 2501.12948); o1's settings are not public.

Hardware: not compiled at this length, and not run. What the stages take on a pod, by their own files, and then, on
every worker (`docs/running.md`); the same command goes on where it stopped:

    python -m rl_reason.plan --config=configs/prm_math.py --config.sampling.max_length=3072 --topology=v5p:2x2x4
    python -m rl_reason.plan --config=configs/ppo_math.py --config.sampling.max_length=3072 --topology=v5p:2x2x4
    python -m rl_reason.train --config=configs/o1_math.py --workdir=/mnt/runs/o1 '--config.stages.*.data.dir=DATA'

At test time, of 64 samples maj@k, bon@k and weighted_maj@k; then a beam and a tree of steps (`--samples=1024` for the
re-ranking of 1000):

    python -m rl_reason.evaluate --model=/mnt/runs/o1/policy/export --reward_model=/mnt/runs/o1/judge/export \\
        --data=aime24 --dir=DATA --template=boxed_plain --temperature=0.6 --top_p=0.95 --max_tokens=3072 \\
        --samples=64 --output=/mnt/runs/o1/samples
    … --search=beam --width=8 --expansions=8 --choose=vote --output=/mnt/runs/o1/beam
    … --search=tree --simulations=128 --expansions=8 --choose=vote --output=/mnt/runs/o1/tree

Variant `tiny`: generated word problems and the shipped model, on two CPU cores: a third of `configs/prm_math.py:tiny`,
then 25 steps of `configs/ppo_math.py:tiny`, evaluated every second step. The answer has weight 4, for solutions of up
to seven lines. `experiments/o1` draws its accuracy against the compute of training and the tokens of an answer.
"""

from pathlib import Path

from rl_reason.runtime.config import check_variant, read
from rl_reason.settings import pipeline

HERE = Path(__file__).parent


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    judge = read(str(HERE / "prm_math.py"), variant)
    policy = read(str(HERE / "ppo_math.py"), variant)
    policy.reward.steps = "model"
    policy.reward.model = "stage:judge/export"
    policy.critic.path = "stage:judge/export"
    policy.critic.value_clip = 0.0
    if variant == "tiny":
        judge.steps = 80
        judge.data.problems = 500
        judge.evaluation.every = 0
        judge.log.every = 1
        policy.reward.weights = (4.0, 0.4)
        policy.evaluation.every = 2
        policy.evaluation.problems = 250
        policy.evaluation.samples_during = 8
    else:
        judge.sampling.max_length = 3072
        policy.sampling.max_length = 3072
        policy.reward.weights = (10.0,)
        policy.evaluation.name = "aime24+math500"
        policy.evaluation.samples = 16
        policy.evaluation.samples_during = 16
        policy.evaluation.temperature = 0.6
        policy.evaluation.top_p = 0.95
    return pipeline(judge=judge, policy=policy)
