"""How a solution is written out as a completion: what supervised training shows of a problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rl_reason.errors import UsageError, nearest


def worked(problem: Mapping) -> str:
    """The solution worked out between R1-Zero's tags, then the answer."""
    return f"<think>{original(problem)}</think><answer>{problem['answer']}</answer>"


def bare(problem: Mapping) -> str:
    """The tags with no thought in them: an answer blurted out in the right form."""
    return f"<think></think><answer>{problem['answer']}</answer>"


def plain(problem: Mapping) -> str:
    """An answer blurted out without the tags."""
    return f"The answer is {problem['answer']}."


def original(problem: Mapping) -> str:
    """The data set's own solution."""
    solution = problem.get("solution")
    if not isinstance(solution, str) or not solution.strip():
        raise UsageError(
            f"problem {problem.get('id')!r}: no `solution`; expected one, or config.data.solutions without the styles "
            "'worked' and 'original'"
        )
    return solution


STYLES: dict[str, Callable[[Mapping], str]] = {"worked": worked, "bare": bare, "plain": plain, "original": original}


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
