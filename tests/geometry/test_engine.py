"""The engine: what it proves, how it ends otherwise, and that the language's constructions are those that it has."""

import inspect
import time

import pytest

from rl_reason.geometry import engine
from rl_reason.geometry.constructions import DEFINITIONS, GOALS
from rl_reason.geometry.drawing import _Sketch, draw
from rl_reason.geometry.statements import Construction, parse_auxiliary, parse_statement
from rl_reason.runtime.workers import Outcome, Pool

pytestmark = pytest.mark.skipif(not engine.is_installed(), reason=f"not installed: {engine.PACKAGES}")

MIDLINE = parse_statement("a b c = triangle a b c; d = midpoint a b; e = midpoint a c ? para d e b c")
CHORDS = parse_statement(
    "o a = segment o a; b = on_circle b o a; m = midpoint m a b; c = on_circle c o a; n = midpoint n a c;"
    "p = on_line p o m, on_circle p o a ? eqangle c a c p c p c b"
)
MEDIANS = parse_statement(
    "a b c = triangle a b c; d = midpoint b c; e = midpoint a c; g = on_line a d, on_line b e;"
    "f = on_line c g, on_line a b ? midp f a b"
)


@pytest.fixture(scope="module", autouse=True)
def package():
    engine.load_package()


@pytest.mark.parametrize("statement", [MIDLINE, CHORDS], ids=["midline", "chords"])
def test_a_proof_from_the_statement(statement):
    made = engine.prove(statement, 60)
    assert (made.result, made.message) == ("solved", "")
    assert "# Proof" in made.proof and sorted(made.figure["points"]) == sorted(statement.points)


def test_an_auxiliary_point_makes_a_proof():
    """Euclid's way to the third median: the first one, as long again, is a diagonal of a parallelogram."""
    added = MEDIANS.plus(parse_auxiliary("x = mirror a g", MEDIANS))
    assert engine.prove(MEDIANS, 60).result == "no proof"
    assert engine.prove(added, 60).result == "solved"


def test_what_is_false_has_no_figure():
    wrong = parse_statement("a b c = triangle a b c; d = midpoint a b ? perp a d b c")
    made = engine.prove(wrong, 60)
    assert made.result == "cannot be constructed" and "no figure" in made.message


@pytest.mark.parametrize("text, drawings", [
    ("d = midpoint a b; e = midpoint a b ? para d e b c", engine._SAME),
    ("d = parallelogram a b c d; e = on_line a b, on_line c d ? coll a b e", engine._SAME),
    ("d = midpoint a b ? perp a d b c", engine._DRAWINGS),
    ("d = on_line a b, on_circle c b; e = on_tline c a b, on_line a b ? para a e b c", engine._DRAWINGS),
], ids=["one place", "parallel lines", "false", "false of three points on a line"])  # fmt: skip
def test_what_is_never_drawn_is_soon_given_up(monkeypatch, text, drawings):
    from newclid.jgex.problem_builder import JGEXProblemBuilder

    tried, build = [], JGEXProblemBuilder.build
    monkeypatch.setattr(JGEXProblemBuilder, "build", lambda self, most: tried.append(most) or build(self, most))
    made = engine.decide(parse_statement(f"a b c = triangle a b c; {text}"), 60)
    assert made.result == "cannot be constructed" and sum(tried) == drawings


def test_drawings_are_those_of_the_package():
    """Two triangles on one side fall together: such a drawing is no reason to give up."""
    from newclid.jgex.formulation import JGEXFormulation
    from newclid.jgex.problem_builder import JGEXProblemBuilder

    statement = parse_statement(
        "a b = segment a b; c = eq_triangle c a b; d = eq_triangle d a b; e = eq_triangle e c d ? perp a e c d"
    )
    for seed in range(5):
        theirs = JGEXProblemBuilder(rng=seed, problem=JGEXFormulation.from_text(str(statement))).build()
        assert engine._setup(statement, "perp", seed).points == theirs.points


def test_a_verdict_is_that_of_the_proof():
    added = MEDIANS.plus(parse_auxiliary("x = mirror a g", MEDIANS))
    wrong = parse_statement("a b c = triangle a b c; d = midpoint a b ? perp a d b c")
    for statement in (MIDLINE, CHORDS, MEDIANS, added, wrong):
        proved, decided = engine.prove(statement, 60), engine.decide(statement, 60)
        assert (decided.result, decided.message) == (proved.result, proved.message)
        assert not decided.proof and not decided.figure
    assert engine.decide(MIDLINE, 0.001).result == "time"


def test_time_is_up():
    began = time.monotonic()
    made = engine.prove(MIDLINE, 0.001)
    assert made.result == "time" and not made.proof and time.monotonic() - began < 2
    assert engine.prove(MIDLINE, 60).result == "solved"


def test_how_a_worker_can_end():
    assert engine.result_of(Outcome("timeout", message="killed after 3 s")).result == "time"
    for message in ("out of memory: MemoryError", "its process died of SIGABRT"):
        assert engine.result_of(Outcome("crash", message=message)).result == "memory"
    assert engine.result_of(Outcome("crash", message="its process died of SIGSEGV")).result == "failed"


def test_a_statement_is_proved_in_the_same_way_in_each_worker():
    prove = "rl_reason.geometry.engine:prove_text"
    with Pool(2, [prove], 4) as pool:
        made = [engine.result_of(outcome) for outcome in pool.map(prove, [(str(CHORDS), 60.0)] * 2, 90)]
    assert made[0].proof == made[1].proof != ""


@pytest.mark.parametrize("name", DEFINITIONS)
def test_constructions_are_those_of_the_package(name):
    """The same points are made of the same ones; a locus is one line or circle; and nothing but a locus that is met, or
    one that presumes it, says anything of the points that it is given that numbers do not say."""
    from newclid.jgex import sketch
    from newclid.jgex.constructions import ALL_JGEX_CONSTRUCTIONS_BY_NAME
    from newclid.predicates import NUMERICAL_PREDICATES

    definition = DEFINITIONS[name]
    arguments = tuple("60" if word == "#" else f"p{place}" for place, word in enumerate(definition.arguments))
    word, *written = engine._form(Construction(name, arguments)).split()
    theirs = ALL_JGEX_CONSTRUCTIONS_BY_NAME[word]
    named = dict(zip(theirs.args, written, strict=True))
    made = tuple(arguments[place] for place in definition.new)
    told = tuple(named[point] for point in theirs.output_points)  # Of the centroid's points the package tells one.
    assert told == made[: len(told)] != ()
    assert {named[point] for point in theirs.input_points} == {a for a in arguments if a[0] == "p"} - set(made)
    numerical = {kind.value for kind in NUMERICAL_PREDICATES}
    required = [requirement.name for requirement in theirs.requirements.constructions if requirement.args]
    assert (definition.kind == "presuming") == bool(set(required) - numerical)
    assert (definition.kind == "free") == (not theirs.input_points)
    drawn = [inspect.signature(getattr(sketch, f"sketch_{one.name}")).return_annotation for one in theirs.sketches]
    assert (definition.kind == "locus") == (len(drawn) == 1 and drawn[0] in ("JGEXLine", "JGEXCircle"))


def test_goals_are_those_of_the_package():
    from newclid.problem import PredicateConstruction

    for name, count in GOALS.items():
        PredicateConstruction.from_str(" ".join([name, *"abcdefgh"[:count]]))
        with pytest.raises((ValueError, TypeError)):
            PredicateConstruction.from_str(" ".join([name, *"abcdefgh"[: count - 1]]))


@pytest.mark.parametrize("goal", [
    "coll a b c", "cong a b c d", "cong a b a d", "cyclic a b c d", "para a b c d", "eqangle a b c d b c d a",
    "midp a b c", "circle d a b c", "simtri a b c b c d",
])  # fmt: skip
def test_a_drawing(tmp_path, goal):
    statement = parse_statement(f"a b c d = quadrangle a b c d ? {goal}")
    points = {"a": [0, 0], "b": [1, 0], "c": [1.2, 1], "d": [0, 2]}
    draw(statement, {"points": points, "premises": [goal.split()]}, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes()[:4] == b"\x89PNG"


def test_names_stand_off_the_lines_and_circles_in_the_frame():
    """But one that is larger than all points together, of which the frame shows a part."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    points = {"a": [0, 0], "b": [4, 0], "c": [1, 3], "d": [2, 0], "o": [2, 1], "p": [0, 1.5], "q": [4, 0.55]}
    premises = [["coll", "a", "d", "b"], ["cyclic", "a", "b", "c"], ["perp", "o", "d", "a", "b"], ["coll", "o", "p"]]
    premises += [["circle", "o", "d"], ["cyclic", "p", "o", "q"]]
    canvas = Figure(figsize=(6, 6), layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.add_subplot()
    _Sketch(axes, points).draw(parse_statement("a b c = triangle a b c; d = midpoint a b ? coll a d b"), premises, ())
    canvas.canvas.draw()
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert set(boxes) == set(points)
    for line in axes.lines:
        path = line.get_path().transformed(axes.transData)
        assert not [name for name, box in boxes.items() if path.intersects_bbox(box, filled=False)]
    circles = [patch for patch in axes.patches if isinstance(patch, Circle)]
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    is_whole = [
        left < x - one.radius and x + one.radius < right and low < y - one.radius and y + one.radius < high
        for one in circles for x, y in [one.center]
    ]  # fmt: skip
    assert is_whole == [one.radius <= 4 for one in circles] and set(is_whole) == {True, False}


def test_what_was_added_is_blue(tmp_path):
    from matplotlib.image import imread

    def blue(added):
        points = {"a": [0, 0], "b": [1, 0], "c": [1.2, 1], "d": [0, 2]}
        statement = parse_statement("a b c = triangle a b c; d = free d ? coll a b c")
        draw(statement, {"points": points, "premises": [["para", "a", "b", "c", "d"]]}, tmp_path / "figure.png", added)
        image = imread(tmp_path / "figure.png")
        return int(((image[..., 2] > 0.6) & (image[..., 0] < 0.3)).sum())

    assert blue(()) == 0 and blue("d") > 100
