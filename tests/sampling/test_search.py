"""Searches over steps, with a policy and scores that are made up: a step is one token."""

import itertools

import numpy as np
import pytest

from rl_reason.sampling.beam import Beam
from rl_reason.sampling.search import DIGITS, ROOT, Prefix, Step, run
from rl_reason.sampling.tree import Tree

END = 0


class World:
    """Problems are numbers, steps are the tokens 1 … `ways`, a solution has `depth` steps and then ends.

    A policy that draws its sample number i at a prefix from the path alone, as the real one does.
    """

    def __init__(self, ways=3, depth=3, values=None, limit=99):
        self.ways, self.depth, self.limit = ways, depth, limit
        self.values = values or {}
        self.expanded, self.read, self.calls = [], [], 0

    def steps(self, problem, prefix, count):
        if len(prefix.tokens) == self.depth:
            return [Step((END,), (-0.1,), "stop")] * count
        rng = np.random.default_rng([problem, *(i + 1 for i in prefix.path)])
        order = rng.permutation(self.ways) + 1
        finish = "length" if len(prefix.tokens) + 1 == self.limit else ""
        return [Step((int(order[i % self.ways]),), (-float(i + 1),), finish) for i in range(count)]

    def expand(self, parents, count, to_end):
        self.calls += 1
        made = []
        for problem, prefix in parents:
            assert not prefix.finish
            self.expanded.append((problem, prefix.tokens))
            made.append(self.steps(problem, prefix, count) if not to_end else [self.rollout(problem, prefix)] * count)
        return made

    def rollout(self, problem, prefix):
        tokens, logprobs = (), ()
        while True:
            (step,) = self.steps(problem, Prefix(prefix.path, (*prefix.tokens, *tokens)), 1)
            tokens, logprobs = tokens + step.tokens, logprobs + step.logprobs
            if step.finish:
                return Step(tokens, logprobs, step.finish)

    def value(self, problem, tokens):
        """Of a prefix; what is not in the table is worth as much as a hash of it."""
        steps = tuple(token for token in tokens if token != END)
        if (problem, steps) in self.values:
            return self.values[problem, steps]
        return round(float(np.random.default_rng([9, problem, *steps]).random()), DIGITS)

    def score(self, prefixes):
        self.read += [(problem, prefix.tokens) for problem, prefix in prefixes]
        return [self.value(problem, prefix.tokens) for problem, prefix in prefixes]

    def search(self, kind, problems=(0,)):
        return run({problem: kind() for problem in problems}, self.expand, self.score)


def leaves(world, problem=0):
    return {
        steps: world.value(problem, steps) for steps in itertools.product(range(1, world.ways + 1), repeat=world.depth)
    }


MISLEADING = {
    (0, (1,)): 0.9, (0, (2,)): 0.8, (0, (3,)): 0.1,
    (0, (1, 1)): 0.2, (0, (1, 2)): 0.2, (0, (1, 3)): 0.2,
    (0, (2, 1)): 0.7, (0, (2, 2)): 0.3, (0, (2, 3)): 0.3,
    (0, (3, 1)): 0.1, (0, (3, 2)): 0.1, (0, (3, 3)): 0.1,
}  # fmt: skip
"""What looks best at first ends badly."""


def test_a_beam_finds_what_the_greedy_way_misses():
    def best_of(kind):
        (found,) = World(depth=2, values=MISLEADING).search(kind).values()
        return found.solutions[0]

    greedy, beam = best_of(Beam(1, 3)), best_of(Beam(2, 3))
    assert greedy.score == 0.2 and greedy.tokens[0] == 1
    assert (beam.tokens, beam.score, beam.finish) == ((2, 1, END), 0.7, "stop")


def test_a_beam_draws_what_it_says():
    world = World(depth=2, values=MISLEADING)
    (found,) = world.search(Beam(2, 3)).values()
    # Six from the prompt, three behind each of two, twice: the second time each draws the same end thrice.
    assert [len(tokens) for _, tokens in world.expanded] == [0, 1, 1, 2, 2]
    assert found.spent == 6 + 2 * 3 + 2 * 3
    # Equal samples are read once: three of one token, six of two, two of three.
    assert found.scored == 3 * 1 + 6 * 2 + 2 * 3
    first = found.solutions[0]
    assert first.draws == 3 and len(first.path) == len(first.tokens) == len(first.logprobs) == 3


def test_a_solution_that_ends_early_stays_in_the_beam_while_it_is_good():
    """It goes on beside longer ones, and leaves when two of these are better."""

    def expand(parents, count, to_end):
        return [
            [
                Step((len(prefix.tokens) + 2,), (-1.0,), "length" if len(prefix.tokens) == 3 else ""),
                Step((END,), (-1.0,), "stop"),
            ]
            * (count // 2)
            for _, prefix in parents
        ]

    def searched(early):
        # An end behind the prompt is worth `early`; other steps 0.5, and their ends less and less.
        def score(prefixes):
            return [
                early if prefix.tokens == (END,) else 0.5 - 0.1 * (prefix.tokens[-1] == END) for _, prefix in prefixes
            ]

        (found,) = run({0: Beam(2, 2)()}, expand, score).values()
        return [one.tokens for one in found.solutions]

    assert searched(0.6)[0] == (END,)
    assert (END,) in searched(0.45) and (END,) not in searched(0.35)


def test_a_wide_beam_is_an_exhaustive_search():
    world = World()
    (found,) = world.search(Beam(27, 3)).values()
    expected = sorted(leaves(world).values(), reverse=True)
    assert [solution.score for solution in found.solutions] == expected


def test_a_beam_ends_where_its_solutions_do():
    """After however many steps: only the limit of tokens cuts a solution off."""
    (found,) = World(depth=60).search(Beam(2, 3)).values()
    assert [(len(one.tokens), one.finish) for one in found.solutions] == [(61, "stop")] * 2
    (found,) = World(depth=3, limit=2).search(Beam(2, 3)).values()
    assert [(len(one.tokens), one.finish) for one in found.solutions] == [(2, "length")] * 2


@pytest.mark.parametrize("rollouts", [False, True])
def test_a_small_tree_is_searched_through(rollouts):
    """All solutions are found, and then the search ends, however many simulations it may have."""
    world = World()
    kind = Tree(simulations=10_000, expansions=3, rollouts=rollouts)
    (found,) = world.search(kind).values()
    assert {one.tokens[:-1]: one.score for one in found.solutions} == leaves(world)
    if not rollouts:  # Three ways thrice, then one end.
        assert all(one.share == pytest.approx(1 / 27) for one in found.solutions)
    assert found.solutions[0].score == max(leaves(world).values())
    if not rollouts:  # Each inner node is expanded once.
        assert len(world.expanded) == len(set(world.expanded)) == 1 + 3 + 9 + 27


def consistent(problem, ways=3, depth=5):
    """The value of a prefix is the mean of the solutions behind it, as a perfect value function says."""
    rng = np.random.default_rng(problem)
    values = {(problem, steps): rng.random() ** 4 for steps in itertools.product(range(1, ways + 1), repeat=depth)}
    for length in range(depth - 1, 0, -1):
        for steps in itertools.product(range(1, ways + 1), repeat=length):
            values[problem, steps] = np.mean([values[problem, (*steps, way)] for way in range(1, ways + 1)])
    return values


@pytest.mark.parametrize("rollouts", [False, True])
def test_a_tree_search_comes_near_to_the_best_solution_at_a_fraction_of_all(rollouts):
    """Better than as many solutions that are drawn blindly."""
    ranks, blind = [], []
    for problem in range(30):
        world = World(depth=5, values=consistent(problem))
        kind = Tree(simulations=40, expansions=3, exploration=0.5, rollouts=rollouts)
        found = world.search(kind, (problem,))[problem]
        scores = np.sort([value for (_, steps), value in world.values.items() if len(steps) == 5])
        assert len(set(world.expanded)) < 1 + 3 + 9 + 27 + 81 + 243
        ranks.append(np.mean(scores < found.solutions[0].score))
        blind.append(np.mean(scores < np.random.default_rng(problem).choice(scores, found.spent // 6).max()))
    assert np.mean(ranks) > 0.95
    if not rollouts:
        assert np.mean(ranks) > np.mean(blind)


def test_a_tree_search_goes_where_scores_are_high():
    """Of two ways the better one is expanded more, and with more exploration the other one catches up."""

    def share(exploration):
        values = {(0, (1,)): 0.7, (0, (2,)): 0.3}
        values |= {(0, (1, *rest)): 0.7 for n in range(1, 6) for rest in itertools.product((1, 2), repeat=n)}
        values |= {(0, (2, *rest)): 0.3 for n in range(1, 6) for rest in itertools.product((1, 2), repeat=n)}
        world = World(ways=2, depth=6, values=values)
        world.search(Tree(simulations=24, expansions=2, exploration=exploration))
        return np.mean([tokens[0] == 1 for _, tokens in world.expanded if tokens])

    assert share(0.1) == 1
    assert 0.5 < share(2.0) < 0.8


def test_a_tree_that_found_no_solution_draws_one():
    world = World(depth=6)
    (found,) = world.search(Tree(simulations=2, expansions=3)).values()
    (solution,) = found.solutions
    assert solution.finish == "stop" and len(solution.tokens) == 7
    # Three and three, and from the best of two levels to the end.
    assert found.spent == 3 + 3 + 5


def test_a_tree_stops_at_its_budget():
    world = World(depth=6)
    (found,) = world.search(Tree(simulations=1000, expansions=3, tokens=30)).values()
    # No simulation of three tokens begins at 30; a solution may still be drawn.
    assert 30 <= found.spent <= 30 + 7


def test_equal_samples_count_in_the_budget():
    def expand(parents, count, to_end):
        return [[Step((7,), (-1.0,), "stop" if to_end else "")] * count for _ in parents]

    (found,) = run({0: Tree(100, 4, tokens=20)()}, expand, lambda prefixes: [0.5 for _ in prefixes]).values()
    assert found.spent == 5 * 4 + 1


def test_samples_that_are_the_same_are_one_child_with_their_share():
    def expand(parents, count, to_end):
        return [[Step((token,), (-1.0,), "stop") for token in (5, 4, 5, 5)] for _ in parents]

    kind = Tree(simulations=1, expansions=4)
    (found,) = run({0: kind()}, expand, lambda prefixes: [0.1 * prefix.tokens[0] for _, prefix in prefixes]).values()
    assert [(one.tokens, one.path, one.draws) for one in found.solutions] == [((5,), (0,), 3), ((4,), (1,), 1)]
    assert [one.share for one in found.solutions] == [0.75, 0.25]
    assert (found.spent, found.scored) == (4, 2)


KINDS = (Beam(2, 3), Beam(3, 2), Tree(12, 3), Tree(12, 3, rollouts=True), Tree(1000, 2, tokens=25))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_is_found_does_not_depend_on_the_other_problems(kind):
    together = World(depth=4).search(kind, range(6))
    for problem in range(6):
        assert World(depth=4).search(kind, (problem,))[problem] == together[problem]
    assert World(depth=4).search(kind, (4, 1)) == {p: together[p] for p in (4, 1)}
    assert len({outcome.solutions[0].score for outcome in together.values()}) == 6


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_all_problems_share_the_calls(kind):
    alone = [World(depth=4) for _ in range(6)]
    for problem, world in enumerate(alone):
        world.search(kind, (problem,))
    together = World(depth=4)
    together.search(kind, range(6))
    longest = max(world.calls for world in alone)
    # Rollouts are another call than steps, and problems need not ask for the same at the same time.
    assert longest <= together.calls <= 2 * longest


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_best_one_is_first(kind):
    for outcome in World(depth=4).search(kind, range(4)).values():
        scores = [one.score for one in outcome.solutions]
        assert scores == sorted(scores, reverse=True) and all(one.finish for one in outcome.solutions)
        assert ROOT not in outcome.solutions


@pytest.mark.parametrize("bit", [-1e-8, 1e-8])
def test_the_last_bits_of_a_score_say_nothing(bit):
    """As when it is computed in a batch of another shape."""
    ways = [[0.5, 0.5], [0.5, 0.5 + bit]]
    one, other = (
        World(ways=2, depth=1, values={(0, (1,)): first, (0, (2,)): second}).search(Beam(2, 2))[0]
        for first, second in ways
    )
    assert one.solutions == other.solutions and len(one.solutions) == 2
