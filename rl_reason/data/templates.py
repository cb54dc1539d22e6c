"""Prompt templates: what the policy is shown for a problem.

A template is a function `(problem: Mapping) -> str | list[dict]`: text that is sent as it is, or chat messages that the
tokenizer's own chat template writes out. A new one is a function and a row of `TEMPLATES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rl_reason.registry import resolve

Template = Callable[[Mapping], "str | list[dict]"]

BOXED_INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."


def r1_zero(problem: Mapping) -> str:
    """The conversation of DeepSeek-R1-Zero (arXiv 2501.12948, table 1), as plain text for a base model.

    The question stands on its own line where the paper sets a full stop behind it: questions end in their own marks.
    """
    return (
        "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The "
        "assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
        "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, "
        "respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>. "
        f"User: {problem['problem']}\nAssistant:"
    )


def boxed(problem: Mapping) -> list[dict]:
    """One user message that asks for a boxed answer: for models with a chat template."""
    return [{"role": "user", "content": f"{problem['problem']}\n{BOXED_INSTRUCTION}"}]


def boxed_plain(problem: Mapping) -> str:
    """The request of `boxed` as plain text, for base models (the prompt of DeepSeekMath's chain-of-thought tests)."""
    return f"User: {problem['problem']}\n{BOXED_INSTRUCTION}\n\nAssistant:"


def question(problem: Mapping) -> str:
    """The problem and one newline: the form that a tiny model is trained on."""
    return f"{problem['problem']}\n"


def none(problem: Mapping) -> str:
    """The problem as it is."""
    return problem["problem"]


TEMPLATES: dict[str, Template] = {
    "r1_zero": r1_zero,
    "boxed": boxed,
    "boxed_plain": boxed_plain,
    "question": question,
    "none": none,
}


def find_template(name: str, key: str = "config.data.template") -> Template:
    """The template of a short name or `package.module:function`; raises `UsageError` that names `key`."""
    return resolve(name, TEMPLATES, key)


def stops_of(template: Template) -> tuple[str, ...]:
    """Texts at which a completion of the template's prompts ends, where it goes on: its attribute `stops`."""
    return tuple(getattr(template, "stops", ()))
