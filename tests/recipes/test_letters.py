"""How surely a model that runs here answers with a letter, against `transformers`."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl_reason.data.feedback import LETTERS
from rl_reason.recipes.letters import TOO_LONG, LocalJudge
from rl_reason.settings import Data, Feedback, Model, Sampling, Settings

TINY = str(Path(__file__).parents[2] / "checkpoints" / "tiny")
TEXTS = ["How many apples?\n(A) 3\n(B) 14", "Which?", "Tom has 5 plums. He eats 2.", "word " * 60, "(B)"]
QUESTIONS = [{"id": str(i), "problem": text, "turns": [text]} for i, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def settings():
    return Settings(
        recipe="feedback",
        model=Model(path=TINY),
        data=Data(template="question", max_prompt_length=40, long_prompts="drop"),
        sampling=Sampling(batch_size=2),
    )


def shares(texts):
    """P((A)) among both letters, behind a line each."""
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32),
        AutoTokenizer.from_pretrained(TINY),
    )
    made = []
    for text in texts:
        prompt, sums = tokenizer(f"{text}\n")["input_ids"], []
        for letter in LETTERS:
            ids = tokenizer(letter)["input_ids"]
            with torch.no_grad():
                logprobs = model(torch.tensor([prompt + ids])).logits.log_softmax(-1)[0, len(prompt) - 1 : -1]
            sums.append(sum(logprobs[i, id].item() for i, id in enumerate(ids)))
        made.append(1 / (1 + np.exp(sums[1] - sums[0])))
    return made


def test_shares_are_those_of_transformers(settings):
    judge = LocalJudge(settings, QUESTIONS)
    said = [one for start in (0, 2, 4) for one in judge.answer(start, min(start + 2, 5))]
    assert said[3] == TOO_LONG
    kept = [0, 1, 2, 4]
    assert [said[i].share for i in kept] == pytest.approx(shares([TEXTS[i] for i in kept]), abs=1e-5)
    assert len({round(said[i].share, 4) for i in kept}) == 4


def test_thoughts_come_before_the_letters(settings):
    """They are sampled by the seed and the question, not by what is asked beside it; the letters follow behind them."""
    thinking = dataclasses.replace(
        settings, feedback=Feedback(reasoning=True), sampling=Sampling(batch_size=2, max_length=6)
    )
    questions = [question for i, question in enumerate(QUESTIONS) if i != 3]
    judge = LocalJudge(thinking, questions)
    together, alone = judge.answer(0, 2), judge.answer(1, 2)
    assert together[1].text == alone[0].text and together[1].share == pytest.approx(alone[0].share, abs=1e-6)
    assert all(one.text for one in together)
    text = f"{TEXTS[1]}\n{alone[0].text}\nSo which one is it? Answer with (A) or (B)."
    assert alone[0].share == pytest.approx(shares([text])[0], abs=1e-5)
