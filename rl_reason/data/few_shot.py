"""Worked examples before a problem, for base models: four of them, as in Minerva (arXiv 2206.14858, appendix D).

Problems and wording are this project's own, and of no data set. Each solution ends in the line that Minerva's answers
are read from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rl_reason.data.choices import statement
from rl_reason.data.word_problems import make_problem

CONVERSATION_STOP = "\nUser:"
"""Where it goes on with a question of its own."""
LONG_CHAINS: tuple[tuple[str, str, str], ...] = (
    (
        "A number leaves the remainder 2 when it is divided by 5, and the remainder 3 when it is divided by 7. What is "
        "the smallest such number above 50?",
        "Numbers with remainder 2 after division by 5 end in 2 or in 7: 2, 7, 12, 17, 22, and so on. I look for one of "
        "them that has remainder 3 after division by 7. 2 has 2, 7 has 0, 12 has 5, 17 has 3. So 17 is one, and the "
        "next ones follow at distances of 5 · 7 = 35: 17, 52, 87. Above 50 the first is 52. Let me check it, since a "
        "slip happens easily here. 52 = 10 · 5 + 2, good. 52 = 7 · 7 + 3, good. Is there one between 50 and 52 that I "
        "have passed over? 51 has remainder 1 after division by 5, so no.",
        "52",
    ),
    (
        "Two trains leave towns that are 300 km apart at the same time and travel towards each other, one at 70 km/h "
        "and one at 80 km/h. How far from the slower train's town do they meet?",
        "Together they close 70 + 80 = 150 km in an hour, so they meet after 300 / 150 = 2 hours. Then the faster one "
        "has gone 2 · 80 = 160 km. Wait, the question is about the town of the slower train. That one has gone "
        "2 · 70 = 140 km from its town. Both together: 160 + 140 = 300, which is the whole way, as it should be.",
        "140 km",
    ),
)
"""Reasoning that tries, looks back and checks, of which the first long chains of DeepSeek-R1 were prompted."""

STOP = "\nProblem:"
"""Where a base model goes on with a problem of its own."""

MATH: tuple[tuple[str, str, str], ...] = (
    (
        "For which real number $x$ is $2^{x+3} = 32 \\cdot 4^{x}$?",
        "Write both sides as powers of $2$. The right side is $2^5 \\cdot 2^{2x} = 2^{5+2x}$. The exponents have to be "
        "equal, so $x + 3 = 5 + 2x$, which gives $x = -2$.",
        "$-2$",
    ),
    (
        "How many positive divisors of $360$ are multiples of $6$?",
        "A divisor of $360$ that is a multiple of $6$ is $6d$, where $d$ divides $360/6 = 60$. Since "
        "$60 = 2^2 \\cdot 3 \\cdot 5$, it has $3 \\cdot 2 \\cdot 2 = 12$ positive divisors.",
        "$12$",
    ),
    (
        "A jar holds $4$ green and $6$ yellow buttons. Two of them are taken out together at random. What is the "
        "probability that they have different colors?",
        "There are $\\binom{10}{2} = 45$ pairs of buttons, all equally likely. Of these, $4 \\cdot 6 = 24$ have one "
        "button of each color. The probability is $\\frac{24}{45} = \\frac{8}{15}$.",
        "$\\frac{8}{15}$",
    ),
    (
        "The legs of a right triangle measure $9$ and $12$. How long is the altitude to its hypotenuse?",
        "The hypotenuse is $\\sqrt{9^2 + 12^2} = \\sqrt{225} = 15$. Twice the area is $9 \\cdot 12 = 108$, and also "
        "$15h$ for the altitude $h$. Therefore $h = \\frac{108}{15} = \\frac{36}{5}$.",
        "$\\frac{36}{5}$",
    ),
)
WORDS: tuple[tuple[str, str, str], ...] = (
    (
        "A bakery fills 12 trays with 15 rolls each in the morning. By noon it has sold 130 rolls, and 20 more go to a "
        "school. How many rolls are left?",
        "The bakery makes 12 * 15 = 180 rolls. It sells 130, so 180 - 130 = 50 remain. The school gets 20 of them, and "
        "50 - 20 = 30 rolls are left.",
        "30",
    ),
    (
        "Lena reads 18 pages on each day from Monday to Friday, and twice as many on Saturday and on Sunday. How many "
        "pages does she read in a week?",
        "From Monday to Friday she reads 5 * 18 = 90 pages. On a day of the weekend she reads 2 * 18 = 36 pages, and "
        "2 * 36 = 72 on both. In the week that makes 90 + 72 = 162 pages.",
        "162",
    ),
    (
        "A ticket for the concert costs $24, and children pay half. How much do two adults and three children pay "
        "together?",
        "The adults pay 2 * 24 = 48 dollars. A child pays 24 / 2 = 12 dollars, three of them 3 * 12 = 36 dollars. "
        "Together that is 48 + 36 = 84 dollars.",
        "84",
    ),
    (
        "An empty tank for 240 liters is filled with 16 liters a minute, but 4 liters a minute leak out of it. After "
        "how many minutes is it full?",
        "Each minute 16 - 4 = 12 liters are gained. To gain 240 liters takes 240 / 12 = 20 minutes.",
        "20",
    ),
)


EXERCISES: tuple[tuple[str, str, str], ...] = tuple(
    (made["problem"], made["solution"], made["answer"]) for made in (make_problem("train", i, 0) for i in range(4))
)
"""Made word problems, for a model that reads `data.document_texts`."""


def example(made: tuple[str, str, str]) -> str:
    """A worked example: (problem, solution, answer)."""
    text, solution, answer = made
    return f"Problem:\n{text}\n\nSolution:\n{solution}\nFinal Answer: The final answer is {answer}.\n"


def write(examples: Sequence[tuple[str, str, str]], problem: Mapping) -> str:
    """The examples and the problem, up to where its solution begins."""
    return "\n".join([*map(example, examples), f"Problem:\n{statement(problem)}\n\nSolution:"])
