"""What is true of a figure in numbers: the conclusions that a proof may be asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

TOLERANCE = 1e-9
"""Of sines, cosines and relative differences of lengths."""
Goal = tuple[str, ...]
"""A predicate's name and its points."""
ALL_ALIKE = ("coll", "cyclic")
"""Predicates whose points may stand in any order."""
SIDES_ALIKE = ("para", "perp", "cong")
"""Those of two sides."""


def conclusions(drawings: Sequence[Mapping[str, Sequence[float]]]) -> list[Goal]:
    """Each coll, para, perp, cong and cyclic that holds in all drawings, in its normal form. Of one that holds in one
    drawing only, a chance is seen.

    Args:
        drawings: point → [x, y]; of the same points.
    """
    names = sorted(drawings[0])
    found = [set(_true(np.array([drawing[name] for name in names]))) for drawing in drawings]
    common = set.intersection(*found)
    return sorted((kind, *(names[place] for place in places)) for kind, *places in common)


def normal(goal: Goal) -> Goal:
    """The same goal with its points in the first of the orders that mean the same."""
    kind, *points = goal
    if kind in ALL_ALIKE:
        return (kind, *sorted(points))
    if kind in SIDES_ALIKE:
        return (kind, *itertools.chain(*sorted(map(sorted, zip(points[::2], points[1::2], strict=True)))))
    return goal


def _true(places_ND: np.ndarray) -> Iterator[tuple]:
    """(kind, places of its points, in the normal form's order)."""
    count = len(places_ND)
    triples_TP = np.array(list(itertools.combinations(range(count), 3)))
    collinear_T = _collinear(places_ND[triples_TP])
    on_line = set(map(tuple, triples_TP[collinear_T].tolist()))
    yield from (("coll", *triple) for triple in on_line)
    pairs_SE = np.array(list(itertools.combinations(range(count), 2)))
    across_SD = places_ND[pairs_SE[:, 1]] - places_ND[pairs_SE[:, 0]]
    length_S = np.hypot(*across_SD.T)
    unit_SD = across_SD / length_S[:, None]
    sine_SS = unit_SD[:, None, 0] * unit_SD[None, :, 1] - unit_SD[:, None, 1] * unit_SD[None, :, 0]
    cosine_SS = unit_SD @ unit_SD.T
    differ_SS = length_S[:, None] / length_S[None, :] - 1
    for kind, off_SS in (("para", sine_SS), ("perp", cosine_SS), ("cong", differ_SS)):
        for one, other in np.argwhere(np.triu(np.abs(off_SS) < TOLERANCE, 1)):
            a, b, c, d = pairs_SE[[one, other]].ravel().tolist()
            # Two parallel lines with a point that is on both are one line.
            if kind != "para" or (len({a, b, c, d}) == 4 and tuple(sorted((a, b, c))) not in on_line):
                yield kind, a, b, c, d
    for triple, on_N in _concyclic(places_ND, triples_TP[~collinear_T]):
        yield from (("cyclic", *triple, other) for other in np.flatnonzero(on_N).tolist() if other > triple[-1])


def _collinear(corners_TPD: np.ndarray) -> np.ndarray:
    """[T]; of triples of points, whether they stand on a line: twice their area beside the greatest side's square."""
    u_TD, v_TD = corners_TPD[:, 1] - corners_TPD[:, 0], corners_TPD[:, 2] - corners_TPD[:, 0]
    square_T = np.max([(side_TD**2).sum(1) for side_TD in (u_TD, v_TD, v_TD - u_TD)], axis=0)
    return np.abs(u_TD[:, 0] * v_TD[:, 1] - u_TD[:, 1] * v_TD[:, 0]) < TOLERANCE * square_T


def _concyclic(places_ND: np.ndarray, triples_TP: np.ndarray) -> Iterator[tuple[list[int], np.ndarray]]:
    """(triple, [N] whether a point is on its circle)."""
    corners_TPD = places_ND[triples_TP]
    square_TP = (corners_TPD**2).sum(2)
    # The center is as far from one of the points as from two others.
    equations_TED = 2 * (corners_TPD[:, 1:] - corners_TPD[:, :1])
    center_TD = np.linalg.solve(equations_TED, (square_TP[:, 1:] - square_TP[:, :1])[..., None])[..., 0]
    away_TN = np.linalg.norm(places_ND[None] - center_TD[:, None], axis=2)
    radius_T1 = np.take_along_axis(away_TN, triples_TP[:, :1], 1)
    yield from zip(triples_TP.tolist(), np.abs(away_TN / radius_T1 - 1) < TOLERANCE, strict=True)
