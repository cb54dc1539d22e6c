"""Which tasks of the package `reasoning-gym` may be trained on, and by which verifiers.

Every `score_answer` of the version below was read, with all that it calls. A task stands in one of three places; one
that stands in none, such as one of another version, is refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
from collections.abc import Callable, Mapping
from typing import Any

from rl_reason.errors import UsageError, nearest
from rl_reason.extras import check_version

PACKAGE = "reasoning-gym"
VERSION = "0.1.25"
"""The version whose verifiers were read. Another one may do other things with an answer."""

VERIFIED_BY_PACKAGE = frozenset(
    """
    ab acre advanced_geometry aiw arc_1d base_conversion basic_arithmetic bf binary_alternation caesar_cipher
    calendar_arithmetic chain_sum circuit_logic color_cube_rotation count_bits count_primes course_schedule cryptarithm
    decimal_arithmetic decimal_chain_sum dice emoji_mystery family_relationships figlet_font fraction_simplification
    futoshiki game_of_life gcd graph_color group_anagrams gsm_symbolic jugs kakurasu knights_knaves largest_island lcm
    leg_counting letter_counting letter_jumble mahjong_puzzle manipulate_matrix maze mini_sudoku modulo_grid
    needle_haystack number_filtering number_format number_sequence palindrome_generation palindrome_partitioning
    path_star polynomial_equations pool_matrix power_function prime_factorization products quantum_lock rectangle_count
    rotate_matrix rotten_oranges rubiks_cube self_reference sentence_reordering shortest_path simple_equations
    simple_geometry sokoban spell_backward string_manipulation string_splitting string_synthesis sudoku survo syllogism
    tower_of_hanoi tsumego word_sequence_reversal word_sorting zebra_puzzles
    """.split()
)
"""Their own verifiers compare texts and numbers, read JSON, or play moves."""

VERIFIED_HERE = {
    "arc_agi": "compares tuples, which JSON does not keep",
    "binary_matrix": "evaluates an answer that is not right",
    "bitwise_arithmetic": "evaluates the problem's text",
    "coin_flip": 'takes the answer "0" for any probability',
    "complex_arithmetic": 'takes the answer "nan" for any number',
    "countdown": "evaluates the answer (sympy's parse_expr)",
    "game_of_life_halting": "takes any answer",
    "n_queens": "evaluates an answer that is not right",
    "number_sorting": "evaluates the problem's answer, and takes a list of NaN for any list",
    "puzzle24": "evaluates the answer (sympy's parse_expr), and takes four other numbers",
    "rearc": "compares tuples, which JSON does not keep",
    "spiral_matrix": "evaluates an answer that is not right",
    "string_insertion": "evaluates an answer that is not right",
}
"""Task → what its own verifier does; `rewards.gym` has another one for it."""

_PARSED = "its verifier evaluates the answer (sympy's parse_expr)"
_WITHOUT_ANSWER = "it gives no answer of its own that its verifier could be tried on"
_UNORDERED = "its problems are others in each process (they depend on the order of a set)"
REFUSED = {
    "boxnet": _WITHOUT_ANSWER,
    "codeio": "it runs the programs of a data file in this process to make its problems",
    "composite": "it mixes other tasks; expected their names joined by '+'",
    "intermediate_integration": _PARSED,
    "isomorphic_strings": _UNORDERED,
    "knight_swap": _UNORDERED,
    "list_functions": _UNORDERED,
    "polynomial_multiplication": _PARSED,
    "propositional_logic": "its verifier gives answers of its own less than the full score",
    "ransom_note": _UNORDERED,
    "rush_hour": _WITHOUT_ANSWER,
    "simple_integration": _PARSED,
    "time_intervals": "its problems depend on the day on which they are made",
    "word_ladder": _UNORDERED,
}
"""Task → why it cannot be trained on."""

ALLOWED = frozenset({*VERIFIED_BY_PACKAGE, *VERIFIED_HERE})

Scorer = Callable[[str, Mapping], float]
"""Of an answer and an entry, with `question`, `answer` and `metadata`: a score of at most 1, which is a right one's."""


def check_package(key: str) -> None:
    """Refuses where the package is not there in the version that was read.

    Raises:
        UsageError: names `key`.
    """
    check_version(PACKAGE, VERSION, "gym", key)


def is_installed() -> bool:
    try:
        check_package("")
    except UsageError:
        return False
    return True


def check_task(task: str, key: str) -> None:
    """Refuses a task that is unknown, or known not to do.

    Raises:
        UsageError: names `key`.
    """
    if task in REFUSED:
        raise UsageError(f"{key}: {REFUSED[task]}")
    if task not in ALLOWED:
        raise UsageError(f"{key}: unknown task of {PACKAGE} {VERSION}{nearest(task, ALLOWED)}")


def settings_of(task: str) -> dict[str, Any]:
    """The task's settings that are a number, a word or a truth value, with their defaults."""
    fields = dataclasses.fields(_tasks()[task][1])
    return {
        field.name: field.default
        for field in fields
        if field.name not in ("seed", "size") and isinstance(field.default, (bool, int, float, str))
    }


def make_task(task: str, settings: Mapping[str, Any], seed: int = 0, size: int = 1) -> Any:
    """The package's own object: a sequence of `size` entries, which follow from `seed`.

    Raises:
        ValueError, AssertionError: settings that the task refuses.
    """
    make, config = _tasks()[task]
    with quiet():
        return make(config(seed=seed, size=size, **settings))


@functools.lru_cache(maxsize=64)
def package_scorer(task: str, settings: tuple[tuple[str, Any], ...]) -> Scorer:
    """The task's own verifier; only for those in `VERIFIED_BY_PACKAGE`."""
    if task not in VERIFIED_BY_PACKAGE:
        raise ValueError(f"{task}: its verifier is not used")
    return make_task(task, dict(settings)).score_answer


@functools.cache
def _tasks() -> dict[str, tuple[Callable, type]]:
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    assert reasoning_gym
    return DATASETS


def load_package() -> None:
    """Imports it, which takes seconds."""
    _tasks()


@contextlib.contextmanager
def quiet():
    """Some tasks print while they make a problem."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
