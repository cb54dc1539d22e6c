"""Values between two processes that do not trust each other: plain data as bytes, and rebuilt as exact built-in types.

What is no plain data crosses as a number, which stands for an object that stays where it is. Lists, dictionaries, sets
and byte arrays are numbered in the order in which they are met, so that both sides know one that comes again, also when
it comes back in the answer.
"""

from __future__ import annotations

import builtins
import operator
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

LARGEST = 1 << 24
"""Bytes of a message."""
DEEPEST = 100
"""How deep containers may be nested."""

_TEXTS = {"Decimal": "decimal", "Fraction": "fractions"}
"""Types that are written as text, and their modules."""
_MUTABLE = (list, dict, set, bytearray)


class Malformed(Exception):
    """Bytes that are no message."""


def encode(value: Any, shared: list, refer: Callable[[Any], int]) -> bytes:
    """A value as bytes.

    Args:
        value: subclasses of built-in types are written as these.
        shared: the mutable containers that both sides know, by number; those of `value` are added.
        refer: gives the number of an object that is no plain data, or raises.

    Raises:
        ValueError: larger than `LARGEST`, or nested deeper than `DEEPEST`.
    """
    out: list[bytes] = []
    numbers = {id(container): number for number, container in enumerate(shared)}
    size = 0

    def put(value: Any, depth: int) -> None:
        nonlocal size
        if depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST}")
        kind = type(value)
        items: Iterable
        base = kind if kind in _WRITERS else next((base for base in _WRITERS if issubclass(kind, base)), None)
        if base in _MUTABLE:
            if id(value) in numbers:
                out.append(b"r%x\n" % numbers[id(value)])
                return
            numbers[id(value)] = len(shared)
            shared.append(value)
        if base is not None:
            head, items = _WRITERS[base](value)
        elif kind.__name__ in _TEXTS and kind is getattr(sys.modules.get(_TEXTS[kind.__name__]), kind.__name__, None):
            head, items = b"x", (kind.__name__, str(value))
        elif isinstance(value, type) and _BUILT_IN.get(value.__name__) is value:
            head, items = b"y", (value.__name__,)
        else:
            head, items = b"h%x\n" % refer(value), ()
        out.append(head)
        size += len(head)
        # An item takes a byte at least, so what has too many is refused before they are gone through.
        if size + operator.length_hint(items) > LARGEST:
            raise ValueError(f"larger than {LARGEST} bytes")
        for item in items:
            put(item, depth + 1)

    put(value, 0)
    return b"".join(out)


def decode(data: bytes, shared: list, referred: Callable[[int], Any]) -> Any:
    """The value that `encode` wrote.

    Args:
        data: bytes of anybody.
        shared: as for `encode`.
        referred: gives the object with that number.

    Raises:
        Malformed: they are something else.
    """
    at = 0

    def number() -> int:
        nonlocal at
        start, at = at, data.index(b"\n", at) + 1
        return int(data[start : at - 1], 16)

    def size() -> int:
        count = number()
        # Each item takes a byte at least, so a lie about their number is found before room is made for them.
        if not 0 <= count <= len(data) - at:
            raise ValueError(count)
        return count

    def raw() -> bytes:
        nonlocal at
        count = size()
        at += count
        return data[at - count : at]

    def get(depth: int) -> Any:
        nonlocal at
        if depth > DEEPEST:
            raise ValueError(depth)
        kind = data[at : at + 1]
        at += 1
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if kind == b"i":
            return number()
        if kind == b"f":
            return float.fromhex(raw().decode())
        if kind == b"c":
            return complex(get(depth + 1), get(depth + 1))
        if kind == b"s":
            return raw().decode("utf-8", "surrogatepass")
        if kind == b"b":
            return raw()
        if kind == b"t":
            return tuple([get(depth + 1) for _ in range(size())])
        if kind == b"z":
            return frozenset([get(depth + 1) for _ in range(size())])
        if kind == b"g":
            return range(get(depth + 1), get(depth + 1), get(depth + 1))
        if kind == b"r":
            place = number()
            if place < 0:
                raise ValueError(place)
            return shared[place]
        if kind == b"h":
            return referred(number())
        if kind == b"x":
            name, text = get(depth + 1), get(depth + 1)
            return getattr(__import__(_TEXTS[name]), name)(text)
        if kind == b"y":
            return _BUILT_IN[get(depth + 1)]
        made = _EMPTY[kind]()
        shared.append(made)  # Before its items, which may contain it.
        if kind == b"a":
            made.extend(raw())
        elif kind == b"l":
            made.extend(get(depth + 1) for _ in range(size()))
        elif kind == b"u":
            made.update([get(depth + 1) for _ in range(size())])
        else:
            for _ in range(size()):
                key = get(depth + 1)
                made[key] = get(depth + 1)
        return made

    try:
        value = get(0)
    except Exception as error:
        raise Malformed(str(error)) from error
    if at != len(data):
        raise Malformed("more than one value")
    return value


def send(descriptor: int, data: bytes) -> None:
    """Writes one message."""
    data = len(data).to_bytes(8, "big") + data
    while data:
        data = data[os.write(descriptor, data) :]


def receive(descriptor: int) -> bytes | None:
    """Reads one message; None where the other side has closed.

    Raises:
        Malformed: it would be larger than `LARGEST`.
    """
    head = _read(descriptor, 8)
    if head is None:
        return None
    size = int.from_bytes(head, "big")
    if size > LARGEST:
        raise Malformed(f"{size} bytes")
    return _read(descriptor, size)


def read_all(descriptor: int) -> bytes:
    """What is written there until all writers have closed."""
    parts = []
    while part := os.read(descriptor, 1 << 16):
        parts.append(part)
    return b"".join(parts)


def nothing_else(value: Any) -> int:
    """For `refer` and `referred`: there is nothing but plain data.

    Raises:
        TypeError: always.
    """
    raise TypeError(f"{type(value).__name__} is no plain data")


def _read(descriptor: int, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = os.read(descriptor, min(size - len(data), 1 << 20))
        if not part:
            return None
        data += part
    return bytes(data)


def _head(code: bytes, count: int) -> bytes:
    return code + b"%x\n" % count


def _bytes(code: bytes, data: bytes) -> tuple[bytes, tuple]:
    return _head(code, len(data)) + data, ()


_BUILT_IN = {name: value for name, value in vars(builtins).items() if isinstance(value, type)}
_CONSTANTS = {b"N": None, b"T": True, b"F": False}
_EMPTY: dict[bytes, Callable[[], Any]] = {b"l": list, b"d": dict, b"u": set, b"a": bytearray}
_WRITERS: dict[type, Callable[[Any], tuple[bytes, Any]]] = {
    # Type → (bytes, the items that follow). By the built-in type's own methods: a subclass may have changed them.
    type(None): lambda value: (b"N", ()),
    bool: lambda value: (b"T" if value else b"F", ()),
    int: lambda value: (b"i%x\n" % int.__pos__(value), ()),
    float: lambda value: _bytes(b"f", float.hex(value).encode()),
    str: lambda value: _bytes(b"s", str.encode(value, "utf-8", "surrogatepass")),
    tuple: lambda value: (_head(b"t", tuple.__len__(value)), tuple.__iter__(value)),
    list: lambda value: (_head(b"l", list.__len__(value)), list.__iter__(value)),
    dict: lambda value: (
        _head(b"d", dict.__len__(value)),
        [one for pair in dict.items(value) for one in pair],
    ),
    set: lambda value: (_head(b"u", set.__len__(value)), set.__iter__(value)),
    frozenset: lambda value: (_head(b"z", frozenset.__len__(value)), frozenset.__iter__(value)),
    bytes: lambda value: _bytes(b"b", bytes.__getitem__(value, slice(None))),
    bytearray: lambda value: _bytes(b"a", bytes(value)),
    complex: lambda value: (b"c", (value.real, value.imag)),
    range: lambda value: (b"g", (value.start, value.stop, value.step)),
}
