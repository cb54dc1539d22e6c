"""Distillation: a small student learns what a large teacher, trained by reinforcement, has written
(DeepSeek-R1, arXiv 2501.12948, version 1, sections 2.4 and 4.1, and the supplement of version 2).

Published (AIME 2024 pass@1 / MATH-500): Qwen2.5-Math-7B on 800K samples of DeepSeek-R1 55.5 / 92.8; of the same
Qwen2.5-32B distilled 72.6 / 94.3, and trained by reinforcement itself 47.0 / 91.6.

| setting | paper | here |
|---|---|---|
| data | 600K selected outputs of R1, 200K others | 8 outputs of each question of GSM8K and MATH, the right ones |
| learning rate | 8e-5 for 7B, cosine to a tenth | the same |
| batch, context | 64, 32,768 | 64 rows, which examples share |
| epochs | 2 to 3 | steps: 400 |

Where it deviates, beside what the table says: the student is Qwen2.5-7B, because Qwen2.5-Math-7B has positions for
4,096 tokens only, which the paper has extended; the paper's questions are not public; the teacher is a server with
OpenAI's API (`--config.stages.samples.endpoint.url=URL`), DeepSeek-R1 at `http://127.0.0.1:8000/v1` by default; the
student that learns by reinforcement is the 7B one, by `configs/r1_zero_math.py`'s settings with as many samples.

The paper's learning rates of other sizes: 1e-4 (Qwen2.5-Math-1.5B), 7e-5 (Qwen2.5-14B), 6e-5 (Qwen2.5-32B), 5e-5
(Llama-3.1-8B), 2e-5 (Llama-3.3-70B): `--config.stages.student.algorithm.learning_rate=1e-4`, and a tenth of it at last.

On a pod (`docs/running.md`), on every worker, with the teacher behind a server; the same command goes on where it
stopped:

    python -m rl_reason.train --config=configs/distill_math.py --workdir=/mnt/runs/distill \\
        --config.stages.samples.endpoint.url=http://TEACHER:8000/v1 '--config.stages.*.data.dir=DATA'

Hardware: 32K tokens in `sequence=4`; not run. What the students take on a slice can be planned by the files that they
are made from, `configs/sft_math.py` and `configs/r1_zero_math.py`.

Variant `on_policy`: the student learns on what it writes itself, from a teacher's distribution over next tokens (GKD,
arXiv 2306.13649, λ = 1, reverse KL, the 64 most probable tokens). The teacher has to be here, with the student's
tokenizer: Qwen2.5-Math-7B-Instruct for Qwen2.5-Math-1.5B. GKD gives no numbers for these models.

Variant `tiny`: word problems in two languages; the teacher is `checkpoints/bilingual` after reinforcement, the student
has less than a quarter of its parameters. Three students in one table, each from 3,200 completions: fine-tuned on the
teacher's selected ones, trained by reinforcement on its own, and distilled on its own.
"""

from pathlib import Path

from rl_reason.runtime.config import check_variant, read
from rl_reason.settings import defaults, pipeline

HERE = Path(__file__).parent
STUDENT = "Qwen/Qwen2.5-7B"


def get_config(variant: str = ""):
    check_variant(variant, ("tiny", "on_policy"))
    return {"tiny": tiny, "on_policy": on_policy}.get(variant, full)()


def full():
    samples = defaults()
    samples.recipe = "generate"
    samples.endpoint.url = "http://127.0.0.1:8000/v1"
    samples.endpoint.model = "deepseek-ai/DeepSeek-R1"
    samples.endpoint.timeout = 3600.0
    samples.endpoint.concurrency = 64
    samples.data.name = "gsm8k+math"
    samples.data.template = "boxed"
    samples.data.unreadable = "drop"
    samples.reward.names = ("accuracy",)
    samples.sampling.max_length = 32_768
    samples.sampling.temperature = 0.6
    samples.sampling.top_p = 0.95
    samples.collect.samples = 8
    chosen = defaults()
    chosen.recipe = "select"
    chosen.selection.inputs = ("stage:samples",)
    chosen.selection.least = (("accuracy", 1.0), ("language", 0.9), ("repetition", 0.0))
    chosen.selection.keep = 4
    chosen.reward.names = ("accuracy", "language", "repetition")
    chosen.reward.weights = (1.0, 1.0, 1.0)
    return pipeline(samples=samples, chosen=chosen, student=_tuning(), by_reinforcement=_reinforcement())


def _tuning():
    config = read(str(HERE / "sft_math.py"))
    config.steps = 400
    config.model.path = STUDENT
    config.data.name = "stage:chosen/selected.jsonl"
    config.data.row_length = 32_768
    config.sampling.max_length = 32_768
    config.algorithm.batch_size = 64
    config.algorithm.learning_rate = 8e-5
    config.algorithm.schedule = "cosine"
    config.algorithm.final_learning_rate = 8e-6
    config.algorithm.reduction = "token_mean"
    config.evaluation.name = "aime24+math500"
    config.evaluation.every = 0
    config.evaluation.samples = 16
    config.evaluation.temperature = 0.6
    config.evaluation.top_p = 0.95
    config.mesh.sequence = 4
    return config


def _reinforcement():
    """As many samples as the teacher gave: 8 of each of 15K questions in rollouts of 8,192."""
    config = read(str(HERE / "r1_zero_math.py"))
    config.steps = 15
    config.model.path = STUDENT
    config.sampling.lengths = ()
    config.sampling.max_length = 32_768
    config.evaluation.name = "aime24+math500"
    config.evaluation.every = 0
    return config


def on_policy():
    config = defaults()
    config.recipe = "distillation"
    config.steps = 1000
    config.model.path = "Qwen/Qwen2.5-Math-1.5B"
    config.model.remat = "layer"
    config.distillation.teacher = "Qwen/Qwen2.5-Math-7B-Instruct"
    config.distillation.top_k = 64
    config.data.name = "gsm8k+math"
    config.data.template = "boxed_plain"
    config.data.max_prompt_length = 1024
    config.data.long_prompts = "drop"
    config.data.unreadable = "drop"
    config.sampling.max_length = 2048
    config.sampling.batch_size = 256
    config.algorithm.group_size = 1
    config.algorithm.batch_size = 256
    config.algorithm.learning_rate = 1e-5
    config.algorithm.micro_batch = 32
    config.evaluation.every = 100
    config.evaluation.samples = 1
    config.evaluation.temperature = 0.0
    config.mesh.data = 1
    config.mesh.fsdp = -1
    return config


def tiny():
    teacher = _tiny_reinforcement("checkpoints/bilingual")

    samples = defaults()
    samples.recipe = "generate"
    samples.model.path = "stage:teacher/export"
    samples.data.name = "bilingual_problems"
    samples.data.problems = 800
    samples.data.template = "question"
    samples.data.max_prompt_length = 96
    samples.reward.names = ("marked_number",)
    samples.sampling.max_length = 120
    samples.collect.samples = 4

    chosen = defaults()
    chosen.recipe = "select"
    chosen.selection.inputs = ("stage:samples",)
    chosen.selection.least = (("marked_number", 1.0), ("format", 1.0))
    chosen.selection.keep = 4
    chosen.reward.names = ("marked_number", "format")
    chosen.reward.weights = (1.0, 1.0)

    student = read(str(HERE / "sft_math.py"), "tiny")
    student.steps = 100
    student.model.path = "checkpoints/bilingual_student"
    student.data.name = "stage:chosen/selected.jsonl"
    student.data.problems = 0
    student.data.max_prompt_length = 96
    student.data.row_length = 240
    student.data.solutions = ((0, (("original", 1.0),)),)
    student.sampling.max_length = 120
    student.algorithm.batch_size = 16
    student.algorithm.reduction = "token_mean"
    student.algorithm.schedule = "cosine"
    student.algorithm.final_learning_rate = 1e-4
    _evaluate(student)

    own = read(str(HERE / "grpo_math.py"), "tiny")
    own.recipe = "distillation"
    own.steps = 25
    own.model.path = "checkpoints/bilingual_student"
    own.distillation.teacher = "stage:teacher/export"
    own.data.name = "bilingual_problems"
    own.data.max_prompt_length = 96
    own.sampling.max_length = 120
    own.algorithm.learning_rate = 1e-3
    own.algorithm.kl_coef = defaults().algorithm.kl_coef
    _evaluate(own)

    return pipeline(
        teacher=teacher,
        samples=samples,
        chosen=chosen,
        student=student,
        by_reinforcement=_tiny_reinforcement("checkpoints/bilingual_student"),
        on_policy=own,
    )


def _tiny_reinforcement(model: str):
    config = read(str(HERE / "grpo_math.py"), "tiny")
    config.model.path = model
    config.data.name = "bilingual_problems"
    config.data.max_prompt_length = 96
    config.sampling.max_length = 120
    _evaluate(config)
    return config


def _evaluate(config) -> None:
    config.evaluation.name = "bilingual_problems"
    config.evaluation.every = 0
    config.evaluation.problems = 250
    config.evaluation.samples = 4
