"""Monte Carlo tree search over steps, guided by a model that scores them.

Selection follows AlphaZero's rule (PUCT: Silver et al., arXiv 1712.01815; over sampled actions, Hubert et al., arXiv
2104.06303), expansion draws steps from the policy, evaluation asks the model that scores, or a solution that is drawn
to its end and then scored.

A leaf is a text that has ended: its score is known, so it is seen once. What has nothing left to be seen is closed and
no longer selected, so that every simulation draws something, and a tree that is small enough is searched through. (The
share of visits, by which AlphaZero chooses a move, then says little: solutions are chosen by their scores, or vote with
them.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rl_reason.sampling.search import ROOT, Ask, Prefix, Search, best


@dataclass(frozen=True)
class Tree:
    simulations: int = 32
    """Most of them."""
    expansions: int = 4
    """Steps that are drawn behind a prefix."""
    tokens: int = 0
    """No simulation begins when so many tokens are drawn; 0: no such limit."""
    exploration: float = 1.0
    """c of PUCT."""
    rollouts: bool = False
    """Whether a new prefix is worth what a solution is that is drawn from there; else what its own score says."""

    def __call__(self) -> Search:
        root, spent = _Node(ROOT, prior=1.0), 0
        solutions: dict[tuple[int, ...], Prefix] = {}
        for _ in range(self.simulations):
            if not root.is_open or (self.tokens and spent >= self.tokens):
                break
            way = _select(root, self.exploration)
            (drawn,) = yield Ask([way[-1].prefix], self.expansions)
            way[-1].expand(drawn)
            spent += _drawn(way[-1].prefix, drawn)
            solutions |= {prefix.tokens: prefix for prefix in drawn if prefix.finish}
            way.append(way[-1].choose(self.exploration, among_all=True))
            value = way[-1].prefix.score
            if self.rollouts and not way[-1].prefix.finish:
                ((ended,),) = yield Ask([way[-1].prefix], 1, to_end=True)
                spent += _drawn(way[-1].prefix, [ended])
                solutions.setdefault(ended.tokens, ended)
                value = ended.score
            _back_up(way, value)
        if not solutions:
            ((ended,),) = yield Ask([_most_promising(root).prefix], 1, to_end=True)
            solutions[ended.tokens] = ended
        return best(list(solutions.values()), len(solutions))


@dataclass(eq=False)
class _Node:
    prefix: Prefix
    prior: float
    """The share that its step had of those drawn behind the same prefix."""
    children: list[_Node] = field(default_factory=list)
    visits: int = 0
    total: float = 0.0
    """Sum of the values that were backed up through it."""
    is_open: bool = True
    """Whether something below it is still to be drawn."""

    @property
    def value(self) -> float:
        """The mean of what was found below; its own score where nothing was looked for yet."""
        return self.total / self.visits if self.visits else self.prefix.score

    def expand(self, drawn: list[Prefix]) -> None:
        samples = sum(prefix.draws for prefix in drawn)
        self.children = [_Node(prefix, prefix.draws / samples, is_open=not prefix.finish) for prefix in drawn]

    def choose(self, exploration: float, among_all: bool = False) -> _Node:
        """The child with the highest Q + c P √N / (1 + n), of the open ones or of all; the first of equal ones."""
        bonus = exploration * math.sqrt(max(self.visits, 1))
        children = [child for child in self.children if among_all or child.is_open]
        return max(children, key=lambda child: child.value + bonus * child.prior / (1 + child.visits))


def _select(root: _Node, exploration: float) -> list[_Node]:
    """From the root down to a node that was not expanded yet."""
    way = [root]
    while way[-1].children:
        way.append(way[-1].choose(exploration))
    return way


def _back_up(way: list[_Node], value: float) -> None:
    for node in reversed(way):
        node.visits += 1
        node.total += value
        if node.children:
            node.is_open = any(child.is_open for child in node.children)


def _most_promising(root: _Node) -> _Node:
    node = root
    while node.children:
        node = max(node.children, key=lambda child: child.value)
    return node


def _drawn(prefix: Prefix, drawn: list[Prefix]) -> int:
    """Tokens that were drawn behind it."""
    return sum(made.draws * (len(made.tokens) - len(prefix.tokens)) for made in drawn)
