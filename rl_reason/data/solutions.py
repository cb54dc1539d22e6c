"""How a solution is written out as a completion: what supervised training shows of a problem."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence

from rl_reason.errors import UsageError, nearest

REFLECTIONS = {"en": "Wait, that is wrong: ", "zh": "等等，不对："}
"""What stands between a wrong calculation and the right one."""
_ANSWER = {"en": "The answer is {}.", "zh": "答案是{}。"}
_CALCULATION = re.compile(r"(\d+[-+*/]\d+=)(\d+)")


def worked(problem: Mapping) -> str:
    """The solution worked out between R1-Zero's tags, then the answer."""
    return _thought(original(problem), problem)


def english(problem: Mapping) -> str:
    """Worked out in English, whatever language the question is in."""
    return _thought("\n".join(_told(problem)["en"]), problem)


def chinese(problem: Mapping) -> str:
    """Worked out in Chinese."""
    return _thought("\n".join(_told(problem)["zh"]), problem)


def mixed(problem: Mapping) -> str:
    """Worked out in a language that is drawn for each event, not the same for all where there are several."""
    told, rng = _told(problem), random.Random(f"mixed/{problem.get('id')}")
    count = len(told["en"])
    languages = [rng.choice(("en", "zh")) for _ in range(count)]
    if count > 1 and len(set(languages)) == 1:
        languages[rng.randrange(count)] = "zh" if languages[0] == "en" else "en"
    return _thought("\n".join(told[language][i] for i, language in enumerate(languages)), problem)


def corrected(problem: Mapping) -> str:
    """Worked out in the question's language, where one calculation is wrong at first and then found to be so; a thought
    without a calculation as it is."""
    thought, rng = original(problem), random.Random(f"corrected/{problem.get('id')}")
    calculations = list(_CALCULATION.finditer(thought))
    if calculations:
        chosen = rng.choice(calculations)
        right = int(chosen[2])
        wrong = rng.choice([right + by for by in (-10, -2, -1, 1, 2, 10) if right + by > 0])
        told = f"{chosen[1]}{wrong}\n{REFLECTIONS[problem['language']]}{chosen[0]}"
        thought = thought[: chosen.start()] + told + thought[chosen.end() :]
    return _thought(thought, problem)


def bare(problem: Mapping) -> str:
    """The tags with no thought in them: an answer blurted out in the right form."""
    return _thought("", problem, _blurted(problem))


def plain(problem: Mapping) -> str:
    """An answer blurted out without the tags."""
    sentence = "{}" if problem.get("kind") == "general" else _ANSWER[problem.get("language", "en")]
    return sentence.format(_blurted(problem))


def _thought(thought: str, problem: Mapping, answer: str | None = None) -> str:
    return f"<think>{thought}</think><answer>{problem['answer'] if answer is None else answer}</answer>"


def _blurted(problem: Mapping) -> str:
    """What is answered without a thought: to a request something curt (`data.requests`)."""
    return problem.get("curt", problem["answer"])


def _told(problem: Mapping) -> Mapping[str, Sequence[str]]:
    """In each language the lines of each event."""
    if "told" not in problem:
        raise UsageError(
            f"problem {problem.get('id')!r}: no `told`, its solution in English and Chinese; expected one (as "
            "config.data.name='bilingual_problems' has it), or config.data.solutions without the styles 'english', "
            "'chinese' and 'mixed'"
        )
    return problem["told"]


def original(problem: Mapping) -> str:
    """The data set's own solution."""
    solution = problem.get("solution")
    if not isinstance(solution, str) or not solution.strip():
        raise UsageError(
            f"problem {problem.get('id')!r}: no `solution`; expected one, or config.data.solutions without the styles "
            "'worked' and 'original'"
        )
    return solution


STYLES: dict[str, Callable[[Mapping], str]] = {
    "worked": worked,
    "english": english,
    "chinese": chinese,
    "mixed": mixed,
    "corrected": corrected,
    "bare": bare,
    "plain": plain,
    "original": original,
}


def check_stages(stages: tuple) -> None:
    """Checks `config.data.solutions`: stages (first step, ((style, share), …)), the first at step 0; or none."""
    expected = 'expected ((first step, (("worked", 1.0), …)), …), the first at step 0'
    try:
        starts = [start for start, _ in stages]
        shares = [(style, float(share)) for _, mixture in stages for style, share in mixture]
    except (TypeError, ValueError) as error:
        raise UsageError(f"config.data.solutions={stages!r}: {expected}") from error
    if (starts and starts[0] != 0) or starts != sorted(set(starts)) or any(share < 0 for _, share in shares):
        raise UsageError(f"config.data.solutions={stages!r}: {expected}")
    for style, _ in shares:
        if style not in STYLES:
            raise UsageError(f"config.data.solutions={stages!r}: {style!r} is no style{nearest(style, STYLES)}")
