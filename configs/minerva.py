"""Minerva: continued pretraining on mathematical documents, then few-shot answers and majorities (arXiv 2206.14858).

Published, MATH / GSM8K, greedy → maj1@k (k = 256 for the 8B and 62B models on MATH, 64 for 540B; 100 and 40 on GSM8K):

| model | MATH | GSM8K |
|---|---|---|
| PaLM 540B, before | 8.8 | 56.5 |
| Minerva 8B | 14.1 → 25.4 | 16.2 → 28.4 |
| Minerva 62B | 27.6 → 43.4 | 52.4 → 68.5 |
| Minerva 540B | 33.6 → 50.3 | 58.8 → 78.5 |

| setting | paper | here |
|---|---|---|
| mixture (table 2), of the tokens | web pages 47.5%, arXiv 47.5%, general text 5% | the same, files of yours |
| rows, batch (8B) | 2048 tokens, 128 rows | the same |
| steps (8B) | 624K, 164B tokens | 10K, 2.6B tokens; `--config.steps=N` |
| prompt | four worked examples, "Final Answer: The final answer is …" | the same form, examples of our own |
| answers | greedy; maj1@k at temperature 0.6 and top-p 0.95 | the same |

Where it deviates:

- The documents are not public. `MATH_PAGES`, `ARXIV` and `GENERAL` are names of folders of yours, with files `.jsonl`
  or `.array_record` (objects with `text`) or `.txt`; `HELD_OUT` are small ones of the same kinds, whose perplexity is
  measured. Formulas have to stand there as text (LaTeX), which is what the paper's cleaning is about.
- PaLM's weights are not public: the base is Qwen2.5-7B, which has read much mathematics already.
- The paper goes on with PaLM's optimizer and its inverse square-root schedule; here are a warm-up and a cosine from
  2e-5, a usual rate for continued pretraining, which the paper does not give.
- Whether attention crossed the borders of documents, the paper does not say: here it does not (`--config.documents.
  boundaries=False`).
- Evaluations in the run take 64 samples of 500 problems. The paper's k, behind the run:

      python -m rl_reason.evaluate --model=/mnt/runs/minerva/export --data=math500 --dir=DATA \\
          --protocol=minerva --samples=256 --output=/mnt/runs/minerva/maj256

On a pod (`docs/running.md`), on every worker:

    python -m rl_reason.train --config=configs/minerva.py --workdir=/mnt/runs/minerva --config.data.dir=DATA

Variant `tiny`: pages of worked exercises and remarks without a number, half of the tokens each, on the shipped model of
0.8M parameters, which has never seen an example before a problem; 21 to 30 minutes on a CPU core.
"""

from rl_reason.objectives import methods
from rl_reason.runtime.config import check_variant
from rl_reason.settings import defaults

MATH_PAGES, ARXIV, GENERAL = "math_pages", "arxiv", "general"
HELD_OUT = ("held_out_math_pages", "held_out_arxiv", "held_out_general")


def get_config(variant: str = ""):
    check_variant(variant, ("tiny",))
    config = defaults()
    methods.choose(config, "sft")
    config.recipe = "pretraining"
    config.steps = 10_000
    config.model.path = "Qwen/Qwen2.5-7B"
    config.model.remat = "layer"
    config.documents.sources = ((MATH_PAGES, 0.475), (ARXIV, 0.475), (GENERAL, 0.05))
    config.documents.held_out = HELD_OUT
    config.documents.unreadable = "drop"
    config.data.row_length = 2048
    config.data.template = "minerva_math"
    config.data.max_prompt_length = 2048
    config.data.long_prompts = "drop"
    config.data.unreadable = "drop"
    config.sampling.max_length = 512
    config.algorithm.reduction = "token_mean"
    config.algorithm.batch_size = 128
    config.algorithm.micro_batch = 32
    config.algorithm.learning_rate = 2e-5
    config.algorithm.schedule = "cosine"
    config.algorithm.final_learning_rate = 2e-6
    config.algorithm.warmup_steps = 200
    config.algorithm.b2 = 0.95
    config.algorithm.weight_decay = 0.1
    config.evaluation.name = "math500"
    config.evaluation.every = 2000
    config.evaluation.samples = 64
    config.evaluation.samples_during = 4
    config.evaluation.temperature = 0.6
    config.evaluation.top_p = 0.95
    config.evaluation.greedy = True
    config.checkpoint.every = 500
    config.mesh.data = 1
    config.mesh.fsdp = -1
    if variant == "tiny":
        tiny(config)
    return config


def tiny(config) -> None:
    config.steps = 800
    config.model.path = "checkpoints/tiny"
    config.model.remat = "none"
    config.documents.sources = (("exercises", 0.5), ("remarks", 0.5))
    config.documents.held_out = ("exercises", "remarks")
    config.documents.held_out_documents = 100
    config.documents.unreadable = "error"
    config.data.row_length = 768
    config.data.template = "minerva_exercises"
    config.data.max_prompt_length = 640
    config.data.long_prompts = "error"
    config.data.unreadable = "error"
    config.sampling.max_length = 96
    config.reward.names = ("number",)
    config.algorithm.batch_size = 6
    config.algorithm.micro_batch = 0
    config.algorithm.learning_rate = 2e-3
    config.algorithm.final_learning_rate = 2e-4
    config.algorithm.warmup_steps = 20
    config.algorithm.b2 = 0.98
    config.evaluation.name = "word_problems"
    config.evaluation.every = 400
    config.evaluation.problems = 300
    config.evaluation.samples = 16
    config.evaluation.samples_during = 2
    config.checkpoint.every = 100
    config.mesh.data = -1
    config.mesh.fsdp = 1
