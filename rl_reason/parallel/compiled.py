"""What a compiled program takes: memory, operations, and what its devices send each other."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend import core

KINDS = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")
_OPERATION = re.compile(rf"^(ragged-)?({'|'.join(KINDS)}|collective-broadcast)(-done)?$")
_BITS = {"pred": 8, "s4": 4, "u4": 4, "s2": 2, "u2": 2, "token": 0}
_HEADER = re.compile(r"^(ENTRY )?%?([^\s(]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?(\S+) = (.*)$")
_CALLED = re.compile(r"(body|condition|calls|to_apply|true_computation|false_computation)=%?([^\s,{}]+)")
_BRANCHES = re.compile(r"(?:branch_computations|called_computations|calls)=\{([^}]*)\}")


@dataclass(frozen=True)
class Collective:
    """A collective operation of a program, once for each place where it is called."""

    kind: str
    in_loop: bool
    bytes: int
    """On a device, each time: of what is made; of what is taken in for a reduce-scatter."""
    runs: int
    """How often in one run of the program, at most."""
    shape: str
    source: str
    """The operation of the traced function that it comes from."""
    channel: str = ""
    """Its number within a fused computation: on TPU one that runs beside others is written into each of them."""


@dataclass
class _Instruction:
    name: str
    shape: str
    operation: str
    rest: str
    """What follows the name of the operation: operands and attributes."""

    def called(self) -> list[str]:
        """Names of the computations that it runs."""
        attributes = self.rest.partition(", metadata=")[0]
        branches = [name.strip().lstrip("%") for group in _BRANCHES.findall(attributes) for name in group.split(",")]
        return [name for _, name in _CALLED.findall(attributes)] + branches


_Computations = dict[str, list[_Instruction]]


def collectives(text: str) -> list[Collective]:
    """All of them in a program, from its HLO text (`compiled.as_text()`), those of an asynchronous pair once."""
    computations, entry = _parse(text)
    shapes = {one.name: one.shape for instructions in computations.values() for one in instructions}
    made: dict[object, Collective] = {}
    for one in _walk(computations, shapes, entry, 1, False):
        made.setdefault((one.channel, one.runs) if one.channel else len(made), one)
    return list(made.values())


def _walk(
    computations: _Computations, shapes: dict[str, str], name: str, runs: int, in_loop: bool, is_fused: bool = False
) -> Iterator[Collective]:
    """The collectives of a computation that runs so often, and of what it calls."""
    for one in computations[name]:
        found = _OPERATION.match(one.operation)
        if found:
            operands = [shapes.get(x, "") for x in re.findall(r"%([^\s,()]+)", one.rest.partition(")")[0])]
            shape = " ".join(operands) if found[2] == "reduce-scatter" and not found[3] else one.shape
            source = re.search(r'op_name="([^"]*)"', one.rest)
            channel = re.search(r"channel_id=(\d+)", one.rest) if is_fused else None
            told = (source[1] if source else "", channel[1] if channel else "")
            kind = "reduce-scatter" if is_fused and _is_scattered(one, computations[name]) else found[2]
            yield Collective(kind, in_loop, shape_bytes(shape), runs, one.shape, *told)
        if one.operation in ("async-update", "async-done"):
            continue  # `async-start` has called the same
        is_loop, is_fusion = one.operation == "while", is_fused or one.operation == "fusion"
        times = _trips(computations, one) if is_loop else 1
        for other in one.called():
            if other in computations:
                yield from _walk(computations, shapes, other, runs * times, in_loop or is_loop, is_fusion)


def _is_scattered(one: _Instruction, fused: list[_Instruction]) -> bool:
    """Whether it is how a TPU's program writes a reduce-scatter: an all-reduce, fused with taking a part of it."""
    slices = [other.rest for other in fused if other.operation == "dynamic-slice"]
    return one.operation == "all-reduce" and any(f"(%{one.name}," in rest for rest in slices)


def _trips(computations: _Computations, loop: _Instruction) -> int:
    """Of a loop, at most: what XLA knows, or else the largest number in its condition; its counter starts from 0."""
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest)
    if known:
        return int(known[1])
    condition = computations[dict(_CALLED.findall(loop.rest))["condition"]]
    inside = [computations[other] for one in condition for other in one.called() if other in computations]
    constants = [one for part in (condition, *inside) for one in part if one.operation == "constant"]
    return max([int(n) for one in constants for n in re.findall(r"^\((\d+)\)", one.rest)], default=1)


def _parse(text: str) -> tuple[_Computations, str]:
    """The computations of a program by name, and the name of the one that it starts with."""
    computations: _Computations = {}
    entry, current = "", list[_Instruction]()
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            current = computations[header[2]] = []
            entry = header[2] if header[1] else entry
            continue
        found = _INSTRUCTION.match(line)
        if found:
            shape, rest = _split_shape(found[2])
            operation = re.match(r"[\w-]+", rest)
            if operation:
                current.append(_Instruction(found[1], shape, operation[0], rest[operation.end() :]))
    return computations, entry


def _split_shape(text: str) -> tuple[str, str]:
    """The shape that an instruction begins with, a tuple in parentheses or a word, and what follows."""
    if not text.startswith("("):
        shape, _, rest = text.partition(" ")
        return shape, rest
    depth = 0
    for index, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[: index + 1], text[index + 2 :]
    return text, ""


def shape_bytes(shape: str) -> int:
    """Bytes of `bf16[8,128]{1,0}`, of a tuple all its parts together; padding by the layout does not count."""
    return sum(
        math.prod(int(n) for n in dims.split(",") if n) * _bits(dtype) // 8
        for dtype, dims in re.findall(r"([a-z]+\d*[a-z0-9]*)\[([\d,]*)\]", shape)
    )


def _bits(dtype: str) -> int:
    if dtype in _BITS:
        return _BITS[dtype]
    width = re.search(r"\d+", dtype)  # of f32, bf16, f8e4m3fn, c64
    return int(width[0]) if width else 8


def summarize(found: list[Collective]) -> list[dict[str, Any]]:
    """For each kind, inside and outside loops: instructions, bytes of each once, and of all runs, on a device."""
    groups: dict[tuple[str, bool], list[Collective]] = defaultdict(list)
    for one in found:
        groups[one.kind, one.in_loop].append(one)
    return [
        {
            "kind": kind,
            "where": "inside a loop" if in_loop else "outside",
            "instructions": len(group),
            "bytes": sum(one.bytes for one in group),
            "bytes_of_all_runs": sum(one.bytes * one.runs for one in group),
            "largest": max(group, key=lambda one: one.bytes).shape,
        }
        for (kind, in_loop), group in sorted(groups.items())
    ]


def memory(compiled: jax.stages.Compiled) -> dict[str, int]:
    """Bytes on a device: what goes in, comes out, shares the place of what went in, and exists in between."""
    told = compiled.memory_analysis()
    names = ("argument", "output", "alias", "temp", "generated_code")
    return {name: int(getattr(told, f"{name}_size_in_bytes")) for name in names}


def cost(compiled: jax.stages.Compiled) -> dict[str, float | None]:
    """XLA's own count on a device, in which what a loop does counts once; None where the backend does not count."""
    told: Any = compiled.cost_analysis()
    told = (told[0] if told else {}) if isinstance(told, list) else told or {}
    return {"flops": told.get("flops"), "bytes": told.get("bytes accessed")}


def flops(jaxpr: Any, trips: int = 1) -> int:
    """Floating-point operations of a traced function's matrix products on all devices, loops multiplied out.

    Args:
        jaxpr: of a function (`traced.jaxpr`). Recomputed activations count, as they are computed.
        trips: of a loop whose length is not known before it runs.
    """
    return sum(_flops_of(equation, trips) for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns)


def _flops_of(equation: Any, trips: int) -> int:
    name, params = equation.primitive.name, equation.params
    inner = [flops(x, trips) for x in _jaxprs(params)]
    if name in _PRODUCTS:
        return _PRODUCTS[name](equation)
    if name == "cond":
        return max(inner, default=0)
    if name == "scan":
        return sum(inner) * params["length"]
    if name == "while":
        return sum(inner) * trips
    if name == "pallas_call":
        return sum(inner) * math.prod(n for n in params["grid_mapping"].grid if isinstance(n, int))
    if name == "shard_map":
        return sum(inner) * params["mesh"].size
    return sum(inner)


def _dot_flops(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)


def _ragged_dot_flops(equation: Any) -> int:
    """Of rows that each go through one of several matrices; of its gradient, where rows of a group are contracted."""
    left, right = (x.aval.shape for x in equation.invars[:2])
    out = equation.outvars[0].aval.shape
    width = left[-1] if len(left) == 2 and len(right) == 3 else left[0] / out[0]
    return round(2 * math.prod(out) * width)


_PRODUCTS: dict[str, Callable[[Any], int]] = {
    "dot_general": _dot_flops,
    "ragged_dot": _ragged_dot_flops,
    "ragged_dot_general": _ragged_dot_flops,
}


def _jaxprs(params: dict[str, Any]) -> Iterator[Any]:
    """The functions among an equation's parameters."""
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, core.Jaxpr | core.ClosedJaxpr):
                yield one
