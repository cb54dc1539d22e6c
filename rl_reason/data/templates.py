"""Prompt templates: what the policy is shown for a problem.

A template is a function `(problem: Mapping) -> str | list[dict]`: text that is sent as it is, or chat messages that the
tokenizer's own chat template writes out. A new one is a function and a row of `TEMPLATES`. Choices are shown once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rl_reason.data import few_shot
from rl_reason.data.choices import statement
from rl_reason.data.evol_instruct import evolve_downward, evolve_upward
from rl_reason.errors import UsageError
from rl_reason.registry import resolve

Template = Callable[[Mapping], "str | list[dict]"]

BOXED_INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
CHOICE_INSTRUCTION = "Please reason step by step, and put the letter of the right choice within \\boxed{}."
CODE_INSTRUCTION = "Please reason step by step, and end with the whole program in one ```python block."
INPUT_INSTRUCTION = "The program reads standard input and writes its answer to standard output."
REWRITE_INSTRUCTION = (
    "Here are a question and somebody's notes on the way to its answer. Write the notes anew for a reader: whole "
    "sentences in the language of the question alone, in the order of the thought, with what was tried, noticed to be "
    "wrong and mended, and nothing said twice. Put this reasoning between <think> and </think>, then the answer, as it "
    "stands in the notes, between <answer> and </answer>."
)
INSTRUCTION_LINE = "A problem:"
CODE_STOPS = ("\nclass", "\n#", "\nif", "\nprint", "\nassert", '\n"""', "\n```")
"""At the start of a line: what follows on a function that a base model has completed (arXiv 2107.03374, section
3.2)."""


def r1_zero(problem: Mapping) -> str:
    """The conversation of DeepSeek-R1-Zero (arXiv 2501.12948, table 1), as plain text for a base model.

    The question stands on its own line where the paper sets a full stop behind it: questions end in their own marks.
    """
    return (
        "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The "
        "assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
        "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, "
        "respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>. "
        f"User: {statement(problem)}\nAssistant:"
    )


def r1_few_shot(problem: Mapping) -> str:
    """Two long chains before the question, in the form of `r1_zero`, for base models: how some of the first data of
    DeepSeek-R1 came about (arXiv 2501.12948, section 2.3.1)."""
    shown = [
        f"User: {question}\nAssistant: <think> {chain} </think> <answer> {answer} </answer>"
        for question, chain, answer in few_shot.LONG_CHAINS
    ]
    return "\n\n".join([*shown, f"User: {statement(problem)}\nAssistant:"])


r1_few_shot.stops = lambda problem: (few_shot.CONVERSATION_STOP,)  # type: ignore[attr-defined]


def boxed(problem: Mapping) -> list[dict]:
    """One user message that asks for a boxed answer: for models with a chat template."""
    return [{"role": "user", "content": f"{statement(problem)}\n{BOXED_INSTRUCTION}"}]


def boxed_plain(problem: Mapping) -> str:
    """The request of `boxed` as plain text, for base models (the prompt of DeepSeekMath's chain-of-thought tests)."""
    return f"User: {statement(problem)}\n{BOXED_INSTRUCTION}\n\nAssistant:"


def choice(problem: Mapping) -> list[dict]:
    """One user message that asks for the letter of a choice, in a box."""
    return [{"role": "user", "content": f"{statement(problem)}\n{CHOICE_INSTRUCTION}"}]


def choice_plain(problem: Mapping) -> str:
    """The request of `choice` as plain text, for base models."""
    return f"User: {statement(problem)}\n{CHOICE_INSTRUCTION}\n\nAssistant:"


def code(problem: Mapping) -> list[dict]:
    """One user message that asks for a program; of a problem that says nothing of names it shows the tests."""
    if problem.get("prompt_type") == "completion":
        asked = f"Complete this function:\n```python\n{problem['problem'].strip()}\n```"
    else:
        asked = "\n\n".join([problem["problem"], *_shown_tests(problem)])
    return [{"role": "user", "content": f"{asked}\n\n{CODE_INSTRUCTION}"}]


def code_plain(problem: Mapping) -> str:
    """For base models: the beginning of a function as it is, to be completed, or the task as the docstring of a program
    (arXiv 2108.07732 shows the tests too)."""
    if problem.get("prompt_type") == "completion":
        return problem["problem"]
    text = "\n\n".join([problem["problem"], *_shown_tests(problem)]).replace('"""', "'''")
    return f'"""\n{text}\n"""\n'


# A function that is completed is over where the next one begins; a program may have several.
code_plain.stops = lambda problem: (  # type: ignore[attr-defined]
    (*CODE_STOPS, "\ndef") if problem.get("prompt_type") == "completion" else CODE_STOPS
)


def _shown_tests(problem: Mapping) -> list[str]:
    if problem.get("cases"):
        return [INPUT_INSTRUCTION]
    tests = problem.get("test_list")
    return ["These tests have to pass:\n" + "\n".join(map(str.strip, tests))] if tests else []


def minerva_math(problem: Mapping) -> str:
    """Four worked competition problems before this one, for base models (Minerva, arXiv 2206.14858)."""
    return few_shot.write(few_shot.MATH, problem)


def minerva_words(problem: Mapping) -> str:
    """Four worked word problems before this one, for base models."""
    return few_shot.write(few_shot.WORDS, problem)


def minerva_exercises(problem: Mapping) -> str:
    """Four worked made problems (`data.word_problems`) before this one, for tiny models."""
    return few_shot.write(few_shot.EXERCISES, problem)


for _few_shot in (minerva_math, minerva_words, minerva_exercises):
    _few_shot.stops = lambda problem: (few_shot.STOP,)  # type: ignore[attr-defined]


def rewrite(problem: Mapping) -> list[dict]:
    """One user message that asks for a `solution` to be written anew, so that it can be read: how the first long chains
    of DeepSeek-R1 came about (arXiv 2501.12948, section 2.3.1)."""
    if not problem.get("solution"):
        raise UsageError(f"problem {problem.get('id')!r}: no `solution`; expected one for the template 'rewrite'")
    content = f"{REWRITE_INSTRUCTION}\n\nQuestion:\n{statement(problem)}\n\nNotes:\n{problem['solution']}"
    return [{"role": "user", "content": content}]


def instruction(problem: Mapping) -> str:
    """One line, whatever the problem: for a reward model of questions, whose completions are the questions."""
    return f"{INSTRUCTION_LINE}\n"


def chat(problem: Mapping) -> list[dict]:
    """The problem as a message of the user; or a conversation, of the problem's `turns` (`data.revising`)."""
    turns = problem.get("turns") or [statement(problem)]
    return [{"role": ("user", "assistant")[place % 2], "content": turn} for place, turn in enumerate(turns)]


def question(problem: Mapping) -> str:
    """The problem, or each of its `turns`, and one newline: the form that a tiny model is trained on."""
    return "".join(f"{turn}\n" for turn in problem.get("turns") or [problem["problem"]])


def geometry(problem: Mapping) -> str:
    """A statement, behind which auxiliary clauses are written, `x = mirror x a g; y = midpoint y b x`, on one line
    (AlphaGeometry, Nature 2024, writes them behind the statement too)."""
    return f"{problem['problem']}\nauxiliary:\n"


geometry.stops = lambda problem: ("\n",)  # type: ignore[attr-defined]


def none(problem: Mapping) -> str:
    """The problem as it is."""
    return problem["problem"]


TEMPLATES: dict[str, Template] = {
    "r1_zero": r1_zero,
    "r1_few_shot": r1_few_shot,
    "boxed": boxed,
    "boxed_plain": boxed_plain,
    "choice": choice,
    "choice_plain": choice_plain,
    "code": code,
    "code_plain": code_plain,
    "rewrite": rewrite,
    "instruction": instruction,
    "evolve_upward": evolve_upward,
    "evolve_downward": evolve_downward,
    "chat": chat,
    "minerva_math": minerva_math,
    "minerva_words": minerva_words,
    "minerva_exercises": minerva_exercises,
    "question": question,
    "geometry": geometry,
    "none": none,
}


def find_template(name: str, key: str = "config.data.template") -> Template:
    """The template of a short name or `package.module:function`; raises `UsageError` that names `key`."""
    return resolve(name, TEMPLATES, key)


def stops_of(template: Template, problem: Mapping) -> tuple[str, ...]:
    """Texts at which a completion for a problem ends, where a base model would go on: the template's function
    `stops`, if it has one. `rl_reason.evaluate` reads it; in training what is sampled counts as it is."""
    return tuple(template.stops(problem)) if hasattr(template, "stops") else ()
