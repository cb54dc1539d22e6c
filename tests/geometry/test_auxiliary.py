"""The search for auxiliary constructions, with clauses and proofs that are made up."""

import pytest

from rl_reason.geometry.auxiliary import Node, Proposal, identity, search
from rl_reason.geometry.engine import Result
from rl_reason.geometry.statements import parse_auxiliary, parse_statement

TRIANGLE = parse_statement("a b c = triangle a b c; x y z g = centroid x y z g a b c ? coll a g x")
MID, FOOT, MIRROR = "p = midpoint p a b", "p = foot p a b c", "p = mirror p a g"
THEN_MID, THEN_FOOT = "q = midpoint q p c", "q = foot q p b c"


class World:
    """What is proposed behind a node is a table of (clause, log-probability); a statement is proved that has all of the
    clauses that it needs."""

    def __init__(self, proposed, needed=(), fails=None, statement=TRIANGLE):
        self.proposed, self.needed, self.fails, self.statement = proposed, needed, fails or {}, statement
        self.expanded, self.asked, self.calls = [], [], 0

    def propose(self, parents):
        self.expanded += [(number, str(node)) for number, node in parents]
        return [[Proposal(*one) for one in self.behind(number, str(node))] for number, node in parents]

    def behind(self, number, node):
        return self.proposed.get((number, node), self.proposed.get(node, []))

    def prove(self, families):
        self.calls += 1
        made = []
        for statements in families:
            results = []
            for statement in statements:
                added = [str(clause) for clause in statement.clauses[len(self.statement.clauses) :]]
                self.asked.append("; ".join(added))
                solved = bool(self.needed) and set(self.needed) <= set(added)
                end = next((end for clause, end in self.fails.items() if clause in added), "no proof")
                results.append(Result("solved" if solved else end, 2.0, proof="…" if solved else ""))
                if solved:
                    break
            made.append(results)
        return made

    def search(self, beam, depth, problems=(0,)):
        return dict(search({n: self.statement for n in problems}, self.propose, self.prove, beam=beam, depth=depth))


TREE = {
    "": [(MID, -1.0), (FOOT, -2.0), (MIRROR, -3.0)],
    MID: [(THEN_MID, -4.0), (THEN_FOOT, -5.0)],
    FOOT: [(THEN_MID, -0.5), (THEN_FOOT, -6.0)],
    MIRROR: [(THEN_MID, -0.1)],
}


def test_the_most_probable_nodes_are_kept_and_asked_in_that_order():
    """By the sum over their clauses: what begins less well may go on better."""
    world = World(TREE)
    (found,) = world.search(2, 2).values()
    assert world.asked == [MID, FOOT, f"{FOOT}; {THEN_MID}", f"{MID}; {THEN_MID}"]
    assert [(str(node), node.logprob) for node in found.beam] == [
        (f"{FOOT}; {THEN_MID}", -2.5),
        (f"{MID}; {THEN_MID}", -5.0),
    ]
    assert found.proof is None and found.depth == 2 and found.seconds == 8.0
    assert found.results == {"no proof": 4} and found.proposals == {"drawn": 3 + 4}


@pytest.mark.parametrize(
    ("beam", "depth", "solved"), [(1, 2, False), (2, 1, False), (2, 2, True), (3, 2, True), (9, 9, True)]
)
def test_width_and_depth_find_what_less_of_them_misses(beam, depth, solved):
    world = World(TREE, needed=[FOOT, THEN_MID])
    (found,) = world.search(beam, depth).values()
    assert bool(found.proof) == solved
    if solved:
        node, result = found.proof
        assert str(node) == f"{FOOT}; {THEN_MID}" and node.logprob == -2.5 and result.result == "solved"
        assert found.depth == 2


def test_a_proof_ends_the_search_of_its_problem():
    world = World(TREE, needed=[FOOT])
    found = world.search(3, 5, (0,))[0]
    # The third is not needed any more, and no level follows.
    assert world.asked == [MID, FOOT] and found.results == {"no proof": 1, "solved": 1}
    assert world.expanded == [(0, "")] and found.depth == 1 and world.calls == 1


def test_a_search_ends_where_nothing_is_left():
    world = World({"": [(MID, -1.0)]})
    found = world.search(3, 9)[0]
    assert found.depth == 2 and found.results == {"no proof": 1} and world.expanded == [(0, ""), (0, MID)]


def test_what_has_no_figure_is_not_gone_on_from():
    world = World(TREE, fails={MID: "cannot be constructed", FOOT: "time"})
    found = world.search(2, 2)[0]
    assert world.expanded == [(0, ""), (0, FOOT)]
    assert found.results == {"cannot be constructed": 1, "time": 3}


@pytest.mark.parametrize("text", [
    None, "", "nonsense", "p = midpoint p a q", "a = midpoint a b c", "g = foot g a b c", "p = 2l1c p q r s a b c x",
    "p = free p; q = free q",
])  # fmt: skip
def test_what_is_no_clause_is_dropped_and_counted(text):
    world = World({"": [(text, -0.1), (MID, -9.0)]})
    found = world.search(1, 1)[0]
    assert world.asked == [MID] and found.proposals == {"drawn": 2, "unparseable": 1}


def test_equal_constructions_are_one_with_the_greatest_log_probability():
    """Under other names, in another order, and written otherwise."""
    world = World({
        "": [(MID, -3.0), ("u = midpoint u a b", -1.0), ("p = midpoint a b", -2.0), (FOOT, -4.0)],
        "u = midpoint u a b": [("v = foot v a b c", -1.0), ("v = midpoint v a b", -0.1)],
        FOOT: [("u = midpoint u a b", -9.0)],
    })  # fmt: skip
    found = world.search(9, 2)[0]
    assert world.asked == ["u = midpoint u a b", FOOT, "u = midpoint u a b; v = foot v a b c"]
    assert found.proposals == {"drawn": 4 + 3, "duplicate": 2 + 2}


@pytest.mark.parametrize("text, other, are_one", [
    ("p = midpoint a b; q = foot p b c", "q = midpoint a b; p = foot q b c", True),
    ("p = midpoint a b; q = foot a b c", "q = foot a b c; p = midpoint a b", True),
    ("p = on_line a b, on_line c g", "p = on_line c g, on_line a b", True),
    ("p = midpoint a b; q = foot a b c", "p = midpoint b a; q = foot a c b", True),
    ("p = foot a b c", "p = foot b a c", False),
    ("p = midpoint a b; q = foot p b c", "p = midpoint a c; q = foot p b c", False),
    ("p = midpoint a b; q = mirror p a", "p = midpoint a b; q = mirror a p", False),
    ("p q = square a b p q; r = midpoint p a", "q p = square a b q p; r = midpoint q a", True),
    ("p q = square a b p q; r = midpoint p a", "p q = square a b p q; r = midpoint q a", False),
    ("p = on_line a b; q = on_line a b; r = midpoint p q", "p = on_line a b; q = on_line a b; r = midpoint p p", False),
    ("p = s_angle a b p 30", "p = s_angle a b p 60", False),
])  # fmt: skip
def test_what_is_constructed(text, other, are_one):
    names = [identity(parse_auxiliary(one, TRIANGLE)) for one in (text, other)]
    assert (names[0] == names[1]) == are_one


def test_a_point_that_is_there_is_not_made_again_but_another_one_on_a_line_is():
    assert len(identity(parse_auxiliary("p = midpoint a b; q = midpoint a b", TRIANGLE))) == 1
    assert len(identity(parse_auxiliary("p = on_line a b; q = on_line a b; r = on_line a b", TRIANGLE))) == 3


def test_what_is_found_does_not_depend_on_the_other_problems():
    """Of which some end sooner, and all of which share the calls."""
    proposed = {
        **TREE,
        (1, ""): [(MIRROR, -1.0)],
        (2, ""): [],
        (3, ""): [(FOOT, -1.0), (MID, -1.0)],
    }
    made = lambda: World(proposed, needed=[MIRROR])  # noqa: E731
    together, world = made(), made()
    found = together.search(2, 2, (0, 1, 2, 3))
    assert together.calls == 2
    for number in range(4):
        assert made().search(2, 2, (number,)) == {number: found[number]}
    assert world.search(2, 2, (3, 0)) == {n: found[n] for n in (3, 0)}
    assert [bool(found[n].proof) for n in range(4)] == [False, True, False, False]
    assert [found[n].depth for n in range(4)] == [2, 1, 1, 2]


def test_a_node_is_written_as_clauses():
    assert (
        str(Node(parse_auxiliary("p = midpoint a b; q = foot a b c", TRIANGLE)))
        == "p = midpoint p a b; q = foot q a b c"
    )
