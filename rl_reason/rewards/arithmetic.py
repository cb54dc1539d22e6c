"""Arithmetic that a model has written: read as a tree, and worked out exactly; nothing of it is evaluated by Python."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from fractions import Fraction

LONGEST = 300
"""Characters: whole numbers of so many digits in all are multiplied in no time."""
_SIGNS = re.compile(r"[-+*/()0-9 \t\n]*")
_BINARY: dict[type[ast.operator], Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_UNARY: dict[type[ast.unaryop], Callable] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


def work_out(text: str) -> tuple[Fraction, list[int]]:
    """The value of an expression of whole numbers, + - * / and parentheses, and its numbers in their order.

    Raises:
        ValueError: it is anything else, is longer than `LONGEST`, or divides by zero.
    """
    if len(text) > LONGEST or not _SIGNS.fullmatch(text):
        raise ValueError("no arithmetic")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        numbers: list[int] = []
        return _value(tree.body, numbers), numbers
    except (SyntaxError, RecursionError, MemoryError, ZeroDivisionError) as error:
        raise ValueError(f"no arithmetic: {type(error).__name__}") from None


def _value(node: ast.expr, numbers: list[int]) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        numbers.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_value(node.operand, numbers))
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _value(node.left, numbers), _value(node.right, numbers)
        return _BINARY[type(node.op)](left, right)
    raise ValueError(f"no arithmetic: {type(node).__name__}")
