"""How the completions of a batch lie in the rows that the trainer computes: packed, with few shapes.

Completions are as long as they are: put one a row they leave most of the rows empty. Here several share a row, and the
rows that continue the same prompt share one computation of it. What is computed is that of one completion a row, to
rounding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rl_reason.data.packing import first_fit
from rl_reason.parallel import company

QUARTERS = 4
"""A batch whose rows may all exist at once is cut in so many pieces, or in fewer as packing leaves them empty: how many
there are is not compiled, how many rows they have is."""


@dataclass(frozen=True)
class Layout:
    """Where each completion of a batch lies. Pieces have the same shape, so that one compiled function takes them."""

    piece_B: np.ndarray
    row_B: np.ndarray
    start_B: np.ndarray
    """Column of a completion's first token."""
    lengths_B: np.ndarray
    segment_B: np.ndarray
    pieces: int
    rows: int
    """Of a piece."""
    width: int
    """Tokens of a row."""
    lanes: int
    """Parts of a piece that hold the prompts of their own rows: one a device that rows are shared out to."""
    prompts_IS: np.ndarray | None = None
    """int: the prompts of each piece, as numbers of completions that continue them, −1 where there is none; S is
    lanes · prompts a lane. None: rows hold the prompts of their completions themselves."""
    owners_IR: np.ndarray | None = None
    """int: which of its lane's prompts each row continues."""

    def spread(self, x_BT: np.ndarray) -> np.ndarray:
        """[B, T], or [B] for what all tokens of a completion share, in the layout: [pieces, rows, width], else 0."""
        out = np.zeros((self.pieces, self.rows, self.width), x_BT.dtype)
        into, (rows, columns) = self._places()
        out.reshape(-1)[into] = x_BT[rows] if x_BT.ndim == 1 else x_BT[rows, columns]
        return out

    def collect(self, x_IRW: np.ndarray, length: int) -> np.ndarray:
        """Back from the layout: [B, length, …], 0 behind each completion."""
        of_token = x_IRW.shape[3:]
        out = np.zeros((len(self.lengths_B), length, *of_token), x_IRW.dtype)
        into, places = self._places()
        out[places] = x_IRW.reshape(-1, *of_token)[into]
        return out

    def _places(self) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Flat index in the layout of every token, and its row and column in [B, T]."""
        rows = np.repeat(np.arange(len(self.lengths_B)), self.lengths_B)
        columns = np.arange(len(rows)) - np.repeat(np.cumsum(self.lengths_B) - self.lengths_B, self.lengths_B)
        first_B = (self.piece_B * self.rows + self.row_B) * self.width + self.start_B
        return first_B[rows] + columns, (rows, columns)


def lay_out(batch: Mapping[str, np.ndarray], *, shared: bool, at_once: int, lanes: int = 1, parts: int = 1) -> Layout:
    """Packs completions, longest first; where they share prompts, those of a question beside each other.

    Args:
        batch: as `rollout.make_batch` makes it: `segments` [B, P + T], `mask` [B, T], `questions` [B]. Completions
            without tokens take no room.
        shared: whether rows that continue one prompt share its computation, or hold it themselves.
        at_once: rows of the greatest width, with their prompts, whose activations may exist at the same time, 0: all.
            Of narrower rows there are as many more.
        lanes: devices that rows are shared out to; a piece has a multiple of so many rows.
        parts: devices that the tokens of a row are shared out to; a row has a multiple of so many.
    """
    mask_BT = batch["mask"]
    B, T = mask_BT.shape
    P = batch["segments"].shape[1] - T
    lengths_B = mask_BT.sum(axis=1).astype(np.int64)
    prompts_B = np.zeros(B, np.int64) if shared else batch["segments"][:, :P].sum(axis=1).astype(np.int64)
    longest = company.most(int(lengths_B.max(initial=1)))
    width = _round_up(_width(longest, T) + (0 if shared else P), parts)
    sizes_B = lengths_B + prompts_B
    groups = batch["questions"] if shared else np.zeros(B)
    order = np.lexsort((-sizes_B, groups))
    order = order[lengths_B[order] > 0]
    row_B, start_B, segment_B = np.zeros((3, B), np.int64)
    opened = 0  # rows so far
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        row, start_B[members], segment_B[members] = first_fit(sizes_B[members], width)
        row_B[members] = row + opened
        opened += int(row.max(initial=-1)) + 1
    opened = company.most(opened)

    # Also where prompts are shared, each row has a copy of its prompt's keys and values.
    most = max((at_once or B) * (P + T) // (width + (P if shared else 0)), 1)
    rows = _round_up(most if 0 < at_once < B else -(-most // QUARTERS), lanes)
    half = _round_up(-(-rows // 2), lanes)
    if _round_up(opened, half) < 0.8 * _round_up(opened, rows):  # One more shape is worth less empty rows.
        rows = half
    pieces = -(-opened // rows)
    layout = Layout(
        piece_B=row_B // rows,
        row_B=row_B % rows,
        start_B=start_B + prompts_B,
        lengths_B=lengths_B,
        segment_B=segment_B,
        pieces=pieces,
        rows=rows,
        width=width,
        lanes=lanes,
    )
    return _with_prompts(layout, batch["questions"]) if shared else layout


def _with_prompts(layout: Layout, questions_B: np.ndarray) -> Layout:
    """Gives each lane of each piece the prompts that its rows continue."""
    per_lane = layout.rows // layout.lanes
    lane_B = layout.piece_B * layout.lanes + layout.row_B // per_lane
    found: list[dict[int, int]] = [{} for _ in range(layout.pieces * layout.lanes)]  # question → completion of it
    owners = np.zeros((layout.pieces, layout.rows), np.int32)
    present = np.flatnonzero(layout.lengths_B)
    for b in present:
        found[lane_B[b]].setdefault(int(questions_B[b]), int(b))
    for b in present:
        owners[layout.piece_B[b], layout.row_B[b]] = list(found[lane_B[b]]).index(int(questions_B[b]))
    needed, questions = (company.most(n) for n in (max(map(len, found), default=0), len(set(questions_B.tolist()))))
    slots = _slots(needed, min(per_lane, questions))
    prompts = np.full((len(found), slots), -1)
    for lane, members in enumerate(found):
        prompts[lane, : len(members)] = list(members.values())
    shape = (layout.pieces, layout.lanes * slots)
    return dataclasses.replace(layout, prompts_IS=prompts.reshape(shape), owners_IR=owners)


def make_pieces(batch: Mapping[str, np.ndarray], layout: Layout) -> dict[str, np.ndarray]:
    """The batch's arrays, one piece behind the other: I of them, of which the last ones may be empty.

    Returns:
        `tokens`, `segments` int32 and `mask` float32 [I, R, W], and all else that the batch has of each completion or
        of each of its tokens, [I, R, W]; with shared prompts `prompt_tokens`, `prompt_segments` int32 [I, S, P], padded
        on the left, and `owners` int32 [I, lanes, R / lanes].
    """
    T = batch["mask"].shape[1]
    P = batch["tokens"].shape[1] - T
    made = {
        name: layout.spread(x) for name, x in batch.items() if name not in ("tokens", "segments", "mask", "questions")
    }
    made["tokens"] = layout.spread(batch["tokens"][:, P:])
    made["mask"] = layout.spread(np.ones(len(layout.lengths_B), np.float32))
    made["segments"] = layout.spread(layout.segment_B.astype(np.int32))
    if layout.prompts_IS is not None and layout.owners_IR is not None:
        is_there = layout.prompts_IS[..., None] >= 0
        made["prompt_tokens"] = batch["tokens"][layout.prompts_IS, :P]
        made["prompt_segments"] = np.where(is_there, batch["segments"][layout.prompts_IS, :P], 0).astype(np.int32)
        made["owners"] = layout.owners_IR.reshape(layout.pieces, layout.lanes, layout.rows // layout.lanes)
    else:
        _put_prompts_before(made, batch, layout)
    # As many as if each completion stood alone: how many there are is not compiled.
    most = -(-len(layout.lengths_B) // layout.rows)
    return {name: np.pad(x, [(0, max(most - len(x), 0)), *[(0, 0)] * (x.ndim - 1)]) for name, x in made.items()}


def _put_prompts_before(made: dict[str, np.ndarray], batch: Mapping[str, np.ndarray], layout: Layout) -> None:
    """Writes each completion's prompt into the columns before it, in its segment."""
    P = batch["tokens"].shape[1] - batch["mask"].shape[1]
    for b in np.flatnonzero(layout.lengths_B):
        piece, row, start = layout.piece_B[b], layout.row_B[b], layout.start_B[b]
        tokens = batch["tokens"][b, :P][batch["segments"][b, :P] > 0]
        columns = slice(start - len(tokens), start)
        made["tokens"][piece, row, columns] = tokens
        made["segments"][piece, row, columns] = layout.segment_B[b]


def _slots(needed: int, limit: int) -> int:
    """A power of four, or the limit, so that there are few shapes."""
    slots = 1
    while slots < needed:
        slots *= 4
    return min(slots, limit)


def _width(longest: int, limit: int) -> int:
    """The limit, or its quarter where all completions fit into that: two widths, so that there are few shapes."""
    quarter = -(-limit // 4)
    return quarter if longest <= quarter else limit


def _round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
