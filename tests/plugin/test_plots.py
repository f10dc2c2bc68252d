"""Pictures show what was found, and draw any key as the text that it is."""

import io
import warnings
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch
from matplotlib.text import Text

from detailed_balance import Report, RunTable, TransitionCounts, analyze
from detailed_balance.analyzers import Kernel, Trajectory, check_balance, estimate_potential
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.plots import (
    plot_distances,
    plot_landscape,
    plot_loops,
    plot_pairs,
    plot_runs,
)
from detailed_balance.plots.layout import place_sideways, stack_bands
from detailed_balance.plots.style import DRIVEN, LOOP_COLOURS, TRAPPED
from detailed_balance.render.formatting import safe_text

PLOTS = [plot_landscape, plot_pairs, plot_loops]


def triangle(forward: int = 90, backward: int = 10) -> TransitionCounts:
    steps = [("a", "b"), ("b", "c"), ("c", "a")]
    edges = [(f, g, forward) for f, g in steps] + [(g, f, backward) for f, g in steps]
    return TransitionCounts.from_edges(edges)


def many_states(n: int = 60) -> Report:
    rng = np.random.default_rng(5)
    counts = rng.integers(0, 40, size=(n, n)) * (rng.random((n, n)) < 0.3)
    names = [f"state number {i}" for i in range(n)]
    return analyze(TransitionCounts.from_dense(counts, names))


def texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text()]


def shown(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in texts(figure))


def arrows(figure: Figure) -> list[FancyArrowPatch]:
    return list(figure.findobj(FancyArrowPatch))


def colour(patch: Patch) -> str:
    return to_hex(patch.get_edgecolor()).upper()


def png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=50)
    return file.getvalue()


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize(
    "counts",
    [
        triangle(),
        triangle(500, 500),
        TransitionCounts.from_edges([("a", "b", 5), ("b", "c", 5), ("c", "d", 5)]),
        TransitionCounts.from_edges([("a", "b", 5), ("b", "a", 5)]),
        TransitionCounts.from_edges([("a", "a", 5), ("b", "b", 5), ("a", "a", 1)]),
        TransitionCounts.from_edges([("__start__", "a", 9), ("a", "b", 9), ("b", "__end__", 9)]),
    ],
)
def test_every_shape_of_data_gives_a_picture(plot, counts: TransitionCounts) -> None:
    assert png(plot(analyze(counts))).startswith(b"\x89PNG")


def test_no_global_state_is_touched() -> None:
    before = dict(matplotlib.rcParams)
    for plot in PLOTS:
        png(plot(analyze(triangle())))
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in vars(matplotlib)


def test_a_style_of_the_user_changes_nothing() -> None:
    plain = png(plot_landscape(analyze(triangle())))
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30, "axes.facecolor": "red"}):
        styled = plot_landscape(analyze(triangle()))
    assert png(styled) == plain


# The landscape


def test_each_state_stands_at_its_potential() -> None:
    counts = TransitionCounts.from_edges([("a", "b", 900), ("b", "a", 100), ("b", "c", 300)])
    counts += TransitionCounts.from_edges([("c", "b", 900), ("a", None, 99), ("b", None, 600)])
    report = analyze(counts)
    figure = plot_landscape(report)
    ax = figure.axes[0]
    height = {text.get_text(): text.get_position()[1] for text in ax.texts}
    labels = [float(label.get_text()) for label in ax.get_yticklabels()]
    values = report.potential.values - report.potential.values.min()
    expected = np.interp(values, labels, ax.get_yticks(), left=np.nan, right=np.nan)
    inside = ~np.isnan(expected)
    assert inside.sum() >= 2
    for i in np.flatnonzero(inside):
        assert height[report.potential.states[i]] == pytest.approx(expected[i])


def test_a_state_without_a_way_back_stands_in_a_band_of_its_own() -> None:
    edges = [("a", "b", 9), ("b", "c", 9), ("c", "b", 9)]
    figure = plot_landscape(analyze(TransitionCounts.from_edges(edges)))
    ax = figure.axes[0]
    height = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert height["a"] > max(height["b"], height["c"])
    assert [label.get_text() for label in ax.get_yticklabels()].count("∞") == 1
    assert "no way up across a dotted line" in shown(figure)


def test_a_driven_loop_is_coloured_in_the_direction_in_which_it_is_driven() -> None:
    figure = plot_landscape(analyze(triangle()))
    place = {text.get_text(): np.array(text.get_position()) for text in figure.axes[0].texts}
    coloured = [arrow for arrow in arrows(figure) if colour(arrow) == DRIVEN]
    assert len(coloured) == 3

    def nearest(point: np.ndarray) -> str:
        return min(place, key=lambda name: float(np.hypot(*(place[name] - point))))

    paths = [arrow.get_path().vertices for arrow in coloured]
    steps = {(nearest(path[0]), nearest(path[2])) for path in paths}  # a curve, then its head
    assert steps == {("a", "b"), ("b", "c"), ("c", "a")}
    assert "a → b → c → a: 6.6 ± 0.6 nats, unclassified" in shown(figure)
    assert "Balance broken by 1 cause" in shown(figure)


def triangles(*loops: str) -> TransitionCounts:
    """Driven triangles, and a way between those that have no state in common."""
    edges = [
        (f, g, n)
        for loop in loops
        for pair in zip(loop, loop[1:] + loop[0], strict=True)
        for f, g, n in [(*pair, 90), (*pair[::-1], 4)]
    ]
    for one, other in pairwise(loops):
        edges += [(one[2], other[0], 5), (other[0], one[2], 5)] if one[0] != other[0] else []
    return TransitionCounts.from_edges(edges)


def test_loops_with_a_common_step_are_one_cause_and_drawn_once() -> None:
    report = analyze(triangles("abc", "abd", "efg"))
    assert sorted(len(cause.explains) for cause in report.balance.violations) == [0, 1]
    figure = plot_landscape(report)
    drawn = {colour(arrow) for arrow in arrows(figure)} & set(LOOP_COLOURS)
    assert len(drawn) == 2


def test_of_many_causes_the_strongest_are_coloured_and_all_are_counted() -> None:
    figure = plot_landscape(analyze(triangles("abc", "def", "ghi", "jkl")))
    drawn = [colour(arrow) for arrow in arrows(figure) if colour(arrow) in LOOP_COLOURS]
    assert sorted(drawn) == sorted(3 * LOOP_COLOURS)
    assert "Balance broken by 4 causes" in shown(figure)


def test_a_trap_is_marked() -> None:
    edges = [("__start__", "plan", 9), ("critic", "search", 900), ("search", "critic", 890)]
    edges += [("search", "plan", 9), ("plan", "search", 9)]
    figure = plot_landscape(analyze(TransitionCounts.from_edges(edges)))
    marked = [pill for pill in figure.findobj(FancyBboxPatch) if colour(pill) == TRAPPED]
    assert len(marked) == 2
    assert "trap: critic ↔ search" in shown(figure)


def test_of_many_states_the_most_visited_are_drawn_and_the_rest_counted() -> None:
    figure = plot_landscape(many_states(), max_states=25)
    names = [text.get_text() for text in figure.axes[0].texts if "number" in text.get_text()]
    assert len(names) == 25
    assert "25 of 60 states" in shown(figure)
    assert len(arrows(figure)) <= 80 + 3 * 60


def test_labels_do_not_overlap_where_there_is_room() -> None:
    figure = plot_landscape(many_states(), max_states=30)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    labels = [text for text in figure.axes[0].texts if "number" in text.get_text()]
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in labels]
    overlaps = [(i, j) for i, one in enumerate(boxes) for j in range(i) if one.overlaps(boxes[j])]
    assert overlaps == []
    frame = figure.bbox
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


# What is drawn, and where


def drawn(figure: Figure) -> tuple[object, ...]:
    """Return what a picture says: its texts, and where its arrows, lines and points are."""
    ax = figure.axes[0]
    lines = [np.asarray(line.get_xydata()).round(6).tolist() for line in ax.lines]
    arrows_at = sorted(np.round(each.get_path().vertices, 6).tolist() for each in arrows(figure))
    return shown(figure), lines, arrows_at


def test_counts_of_every_form_and_their_results_give_the_same_picture() -> None:
    counts = triangle()
    matrix = [[0, 90, 10], [10, 0, 90], [90, 10, 0]]
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(matrix, index=list("abc"), columns=list("abc"))
    balance = check_balance(counts)
    for plot in (plot_pairs, plot_loops):
        expected = drawn(plot(analyze(counts)))
        assert drawn(plot(counts)) == expected
        assert drawn(plot(frame)) == expected
    assert drawn(plot_pairs(balance)) == drawn(plot_pairs(counts))
    assert drawn(plot_loops(balance, counts)) == drawn(plot_loops(counts))
    with pytest.raises(InvalidInputError, match="knows no counts: give them"):
        plot_loops(balance)

    potential = estimate_potential(counts)
    expected = drawn(plot_landscape(potential, counts))
    for source in (counts, frame, potential):
        assert drawn(plot_landscape(source)) == expected


def test_a_known_kernel_has_a_landscape_and_no_errors_to_draw() -> None:
    kernel = Kernel.from_matrix([[0, 0.9, 0.1], [0.1, 0, 0.9], [0.9, 0.1, 0]], ("a", "b", "c"))
    figure = plot_landscape(kernel)
    assert len(arrows(figure)) == 6
    assert drawn(plot_landscape(kernel.probabilities.toarray()))[1:] == drawn(figure)[1:]
    for plot in (plot_pairs, plot_loops):
        with pytest.raises(InvalidInputError, match=r"a kernel has no counts.*plot_landscape"):
            plot(kernel)


def test_runs_are_drawn_and_what_holds_nothing_is_refused() -> None:
    runs = [Trajectory(tuple(pairwise("abcabca"))) for _ in range(20)]
    assert shown(plot_pairs(iter(runs))) == shown(plot_pairs(RunTable.of(runs)))
    for plot in PLOTS:
        with pytest.raises(InvalidInputError, match="a object holds no counts; allowed are"):
            plot(object())


def test_pictures_are_drawn_into_given_axes() -> None:
    counts = triangle()
    runs = [Trajectory(tuple(pairwise("abababac")), f"r{i}", success=i > 3) for i in range(9)]
    report = analyze(runs)
    chosen = report.runs.chosen[:1]
    contexts = {"old": counts, "new": triangle(60, 40)}
    for plot, source in [
        *((plot, counts) for plot in PLOTS),
        (plot_distances, contexts),
        (plot_runs, chosen),
    ]:
        figure = Figure(figsize=(9, 4))
        left, right = figure.subplots(1, 2)
        assert plot(source, ax=left) is figure
        assert left.has_data() or left.images
        assert not right.has_data()
        own = plot(source)
        assert [text.get_text() for text in left.texts] == [
            text.get_text() for text in own.axes[0].texts
        ]
    part = Figure().subfigures(1, 2)[1]
    assert plot_pairs(counts, ax=part.subplots()) is part.figure


def test_a_landscape_in_small_axes_is_drawn_to_scale() -> None:
    whole = plot_landscape(triangle())
    figure = Figure(figsize=(4, 3))
    plot_landscape(triangle(), ax=figure.subplots())
    ax = figure.axes[0]
    label, large = ax.texts[0], whole.axes[0].texts[0]
    assert 0 < label.get_fontsize() < 0.5 * large.get_fontsize()
    assert ax.get_xlim() == whole.axes[0].get_xlim()
    assert float(ax.get_aspect()) == 1


def test_runs_need_as_many_axes() -> None:
    runs = [Trajectory(tuple(pairwise("abababac")), f"r{i}", success=i > 3) for i in range(9)]
    report = analyze(runs)
    panels = Figure().subplots(1, len(report.runs.chosen), squeeze=False)[0]
    assert drawn(plot_runs(report))[0] == drawn(plot_runs(report.runs.chosen))[0]
    assert plot_runs(report, ax=panels) is panels[0].figure
    with pytest.raises(InvalidInputError, match=r"\d axes for \d runs; give one for each"):
        plot_runs(report, ax=[*panels, panels[0]])
    with pytest.raises(InvalidInputError, match="a Report has no runs to draw"):
        plot_runs(analyze(triangle()))


def test_a_landscape_of_one_state_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="max_states=1"):
        plot_landscape(analyze(triangle()), max_states=1)


# Pairs and loops


def points(figure: Figure, label: str) -> tuple[np.ndarray, np.ndarray]:
    container = next(c for c in figure.axes[0].containers if c.get_label() == label)
    x, y = container[0].get_data()
    return np.asarray(x), np.asarray(y)


def test_pairs_of_a_reversible_chain_lie_on_the_diagonal() -> None:
    conductance = np.random.default_rng(3).integers(40, 4_000, size=(6, 6))
    figure = plot_pairs(analyze(TransitionCounts.from_dense(conductance + conductance.T)))
    x, y = points(figure, "pairs")
    assert len(x) == 15
    assert y == pytest.approx(x, abs=1e-5)
    assert "One potential explains 100% of the drift" in shown(figure)


def test_pairs_beyond_resolution_are_grey() -> None:
    edges = [("a", "b", 3), ("b", "a", 3), ("b", "c", 3), ("c", "b", 3), ("a", None, 10**6)]
    figure = plot_pairs(analyze(TransitionCounts.from_edges(edges)))
    assert len(points(figure, "beyond resolution")[0]) >= 1


def test_loops_are_off_the_diagonal_by_their_affinity() -> None:
    report = analyze(triangle())
    figure = plot_loops(report)
    x, y = points(figure, "driven")
    # The rates are 0.9 one way round and 0.1 the other.
    assert x == pytest.approx([3 * np.log(0.9)])
    assert y == pytest.approx([3 * np.log(0.1)])
    assert "1 of 1 loop is driven" in shown(figure)


def test_balanced_loops_lie_about_the_diagonal_on_both_sides() -> None:
    rng = np.random.default_rng(1)
    counts = rng.poisson(60, size=(7, 7))
    figure = plot_loops(analyze(TransitionCounts.from_dense(counts)))
    x, y = points(figure, "not significant")
    assert 0.25 < np.mean(y > x) < 0.75


def test_of_many_points_the_strongest_are_drawn() -> None:
    report = many_states()
    assert len(report.balance.loops) > 400
    figure = plot_loops(report)
    drawn = sum(len(c[0].get_data()[0]) for c in figure.axes[0].containers)
    assert drawn == 400
    assert "the 400 strongest are drawn" in shown(figure)


# Hostile keys


@pytest.mark.parametrize(
    "key", ["$x^2_{$", "\\frac{1", "_hidden", "<b>", "\x1b[31m", "x" * 10_000, "\ud800"]
)
@pytest.mark.parametrize("plot", PLOTS)
def test_a_hostile_key_is_drawn_as_text(plot, key: str) -> None:
    steps = [("b", key), (key, "c"), ("c", "b")]
    edges = [(f, g, 90) for f, g in steps] + [(g, f, 4) for f, g in steps]
    edges += [("b", "d", 400), ("d", "b", 4), ("d", key, 400), (key, "d", 4)]
    figure = plot(analyze(TransitionCounts.from_edges(edges)))
    for text in texts(figure):
        assert not text.get_parse_math()
        assert not text.get_usetex()
        assert len(text.get_text()) < 300
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png(figure)
    if plot is plot_landscape:
        assert safe_text(key, 32) in shown(figure)


# The layout


def test_bands_are_stacked_from_the_lowest_on_without_overlap() -> None:
    bands = stack_bands(np.array([0.0, 2.0, 0.0, 0.0]), np.array([0, 0, 1, 2]), 5.0)
    assert bands[0].height(2.0) < bands[1].bottom < bands[2].bottom <= 5.0
    assert bands[0].bottom == 0.0


def test_linked_states_stand_near_each_other() -> None:
    inside = np.isin(np.arange(10), [0, 3, 4, 7, 8])
    weights = np.where(inside[:, None] == inside[None, :], 1.0, 0.01)
    x = place_sideways(weights, np.arange(10.0), np.full((10, 2), 0.1), range(10), 9.0)
    assert x[inside].max() < x[~inside].min() or x[~inside].max() < x[inside].min()
