"""The search for auxiliary constructions (AlphaGeometry, Nature 2024, Methods, "Proof search"), level by level:

    nodes = [the statement]
    for each level
        propose clauses behind each node                   the language model
        keep the best `beam` of the statements they make   by log-probability
        prove these                                        the engine; one proof is enough

Many problems go through a level together, so that what proposes and what proves are asked for all of them at once; what
is found for one depends on no other. Neither is known here.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rl_reason.geometry.engine import Result
from rl_reason.geometry.statements import Clause, Statement, StatementError, parse_auxiliary
from rl_reason.geometry.writing import with_alike_sorted

SEPARATOR = ";"
"""Between clauses."""


@dataclass(frozen=True)
class Node:
    """What is added to a statement."""

    clauses: tuple[Clause, ...] = ()
    logprob: float = 0.0
    """The sum over its clauses, each behind those before it."""

    def __str__(self) -> str:
        return f"{SEPARATOR} ".join(map(str, self.clauses))


ROOT = Node()
"""The statement as it is."""


@dataclass(frozen=True)
class Proposal:
    """What a model has written behind a node."""

    text: str | None
    """One clause, or what should be one; None where a limit cut it off."""
    logprob: float


Propose = Callable[["Sequence[tuple[int, Node]]"], "list[list[Proposal]]"]
"""(problem and node) → what is proposed behind each of them."""
Prove = Callable[["Sequence[Sequence[Statement]]"], "list[list[Result]]"]
"""Statements of each problem, the most promising first → their results in this order, up to the first proof."""


@dataclass
class Search:
    """What was found for one problem, and what it took."""

    statement: Statement
    beam: list[Node] = field(default_factory=lambda: [ROOT])
    """The nodes that the next level goes on from."""
    depth: int = 0
    """Levels that were searched."""
    proof: tuple[Node, Result] | None = None
    """The first of the best level: that nodes with a lower log-probability were proved sooner does not count."""
    results: Counter[str] = field(default_factory=Counter)
    """How the engine ended (`engine.RESULTS`) → nodes."""
    proposals: Counter[str] = field(default_factory=Counter)
    """"drawn": all of them; of these "unparseable": no clause, or one that asserts something; "duplicate": constructs
    what another node of the level does, or the same once more."""
    seconds: float = 0.0
    """Of the engine, for these nodes."""

    def take(self, families: Sequence[Sequence[Proposal]], beam: int) -> None:
        """What was proposed behind each node of the beam becomes the next one."""
        made: dict[frozenset[str], Node] = {}
        for parent, family in zip(self.beam, families, strict=True):
            self.proposals["drawn"] += len(family)
            for proposal in family:
                self._take(parent, proposal, made)
        self.beam = sorted(made.values(), key=lambda node: (-node.logprob, str(node)))[:beam]

    def _take(self, parent: Node, proposal: Proposal, made: dict[frozenset[str], Node]) -> None:
        try:
            if proposal.text is None:
                raise StatementError("cut off")
            clauses = (*parent.clauses, *parse_auxiliary(proposal.text, self.statement.plus(parent.clauses)))
            if len(clauses) > len(parent.clauses) + 1:
                raise StatementError("several clauses")
        except StatementError:
            self.proposals["unparseable"] += 1
            return
        node = Node(clauses, parent.logprob + proposal.logprob)
        constructed = identity(clauses)
        other = made.get(constructed)
        if other or len(constructed) < len(clauses):
            self.proposals["duplicate"] += 1
        if len(constructed) == len(clauses) and (other is None or node.logprob > other.logprob):
            made[constructed] = node

    def judge(self, results: Sequence[Result]) -> None:
        """What the engine says of the nodes of the beam, up to the first proof."""
        self.depth += 1
        for node, result in zip(self.beam, results, strict=False):
            self.results[result.result] += 1
            self.seconds += result.seconds
            if result.result == "solved":
                self.proof = node, result
        # Where there is no such figure, there is none with more in it.
        ended = [result.result for result in results]
        self.beam = [node for node, end in zip(self.beam, ended, strict=False) if end != "cannot be constructed"]


def search(
    statements: Mapping[int, Statement], propose: Propose, prove: Prove, *, beam: int, depth: int
) -> Iterator[tuple[int, Search]]:
    """Searches for proofs of statements that have none without auxiliary clauses.

    Args:
        statements: by the number of their problem.
        propose: called once a level, for all nodes of all problems that are not done.
        prove: called as often.
        beam: nodes of a problem that a level keeps, at most.
        depth: levels, each of which adds a clause.

    Yields:
        Problems, each when its search is over: with a proof, at the last level, or where no node is left to go on from.
    """
    open = {number: Search(statement) for number, statement in statements.items()}
    for level in range(1, depth + 1):
        parents = [(number, node) for number, one in open.items() for node in one.beam]
        families = iter(propose(parents) if parents else [])
        for one in open.values():
            one.take([next(families) for _ in one.beam], beam)
        asked = [[one.statement.plus(node.clauses) for node in one.beam] for one in open.values()]
        for (number, one), results in zip(list(open.items()), prove(asked), strict=True):
            one.judge(results)
            if one.proof or not one.beam or level == depth:
                yield number, open.pop(number)
        if not open:
            return


def identity(clauses: Sequence[Clause]) -> frozenset[str]:
    """What clauses construct, whatever their points are called and in whichever order they stand: a name for each.

    Fewer names than clauses: one constructs again what another one does. A clause that leaves something open, as a
    point on a line, makes another point each time.
    """
    names: dict[str, str] = {}
    made: set[str] = set()
    for clause in clauses:
        name = _named(clause, names)
        is_open = len(clause.constructions) == 1 and clause.constructions[0].definition.kind in ("free", "locus")
        while is_open and name in made:
            name = _digest(name)
        made.add(name)
        names |= {point: f"{name}.{place}" for place, point in enumerate(clause.points)}
    return frozenset(made)


def _named(clause: Clause, names: Mapping[str, str]) -> str:
    own = {point: f".{place}" for place, point in enumerate(clause.points)}
    named = lambda one: [own.get(word) or names.get(word, word) for word in one.arguments]  # noqa: E731
    written = [" ".join((one.name, *with_alike_sorted(one.name, named(one)))) for one in clause.constructions]
    return _digest(", ".join(sorted(written)))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
