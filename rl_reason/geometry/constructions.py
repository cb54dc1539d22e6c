"""The constructions and goals of AlphaGeometry's language, as its definitions have them.

A construction is written here with its arguments: new points in capitals, points that are there in small letters, and
`#` for an angle in whole degrees.
"""

from __future__ import annotations

from dataclasses import dataclass

_FREE = """
free A; segment A B; triangle A B C; iso_triangle A B C; r_triangle A B C; risos A B C; ieq_triangle A B C;
triangle12 A B C; quadrangle A B C D; eq_quadrangle A B C D; eqdia_quadrangle A B C D; trapezoid A B C D;
r_trapezoid A B C D; eq_trapezoid A B C D; rectangle A B C D; isquare A B C D; pentagon A B C D E
"""
_LOCI = """
on_line X a b; on_pline X a b c; on_tline X a b c; on_bline X a b; on_aline X a b c d e; on_circle X o a;
on_circum X a b c; on_dia X a b; angle_bisector X a b c; angle_mirror X a b c; eqangle3 X a b d e f;
eqdistance X a b c; lc_tangent X a o; s_angle a b X #
"""
_DETERMINED = """
midpoint X a b; mirror X a b; reflect X a b c; foot X a b c; shift X b c d; parallelogram a b c X; eq_triangle X b c;
psquare X a b; nsquare X a b; square a b X Y; circle X a b c; circumcenter X a b c; orthocenter X a b c;
incenter X a b c; excenter X a b c; incenter2 X Y Z I a b c; excenter2 X Y Z I a b c; centroid X Y Z I a b c;
intersection_ll X a b c d; intersection_lp X a b c m n; intersection_lt X a b c d e; intersection_pp X a b c d e f;
intersection_tt X a b c d e f; intersection_lc X a o b; intersection_cc X o w a; tangent X Y a o b;
cc_tangent X Y Z I o a w b; eqangle2 X a b c; trisect X Y a b c; trisegment X Y a b; 3peq X Y Z a b c
"""
_PRESUMING = """
2l1c X Y Z I a b c o; e5128 X Y a b c d
"""
GOALS = {
    "coll": 3,
    "cong": 4,
    "cyclic": 4,
    "para": 4,
    "perp": 4,
    "eqangle": 8,
    "eqratio": 8,
    "midp": 3,
    "circle": 4,
    "simtri": 6,
    "contri": 6,
}
"""What can be asked for → how many points it is said of. Similar and congruent triangles are so in either
orientation."""


@dataclass(frozen=True)
class Definition:
    """What one construction is given, and what it makes."""

    name: str
    arguments: tuple[str, ...]
    kind: str
    """"free": it needs no points; "locus": one point, on a line or circle, so that two of them meet in a point;
    "determined": nothing of its points is free; "presuming": nothing is, where older points are as it takes for
    granted."""

    @property
    def new(self) -> tuple[int, ...]:
        """Places of the new points among the arguments."""
        return tuple(place for place, word in enumerate(self.arguments) if word.isupper())

    def __str__(self) -> str:
        return " ".join((self.name, *self.arguments)).lower()


def _read(text: str, kind: str) -> list[Definition]:
    rows = [row.split() for row in text.split(";")]
    return [Definition(name, tuple(arguments), kind) for name, *arguments in rows]


DEFINITIONS: dict[str, Definition] = {
    definition.name: definition
    for text, kind in ((_FREE, "free"), (_LOCI, "locus"), (_DETERMINED, "determined"), (_PRESUMING, "presuming"))
    for definition in _read(text, kind)
}
"""Name → the construction: those of the language's definitions that the engine has."""
