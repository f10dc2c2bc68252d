"""The paper's figures draw the numbers that they are given, for every reader and any key."""

import io
import re
import warnings
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.text import Text
from scipy.stats import binom

from detailed_balance.analyzers import (
    Kernel,
    TransitionCounts,
    check_one_way,
    estimate_potential,
    fit_explicit_potential,
    measure_triplets,
)
from detailed_balance.analyzers.errors import (
    InsufficientDataError,
    InvalidInputError,
    UnknownStateError,
)
from detailed_balance.render.formatting import safe_text
from examples.paper import figures
from examples.paper.chains import claude_4, explore, heat_bath, search_formulas
from examples.paper.experiments import figures as gallery
from examples.paper.figures.canvas import STYLES
from examples.paper.points import Points
from examples.paper.words.tables import WordTable

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = ["$x^2_{$", "\\frac{1", "_hidden", "<b>", "\x1b[31m", "x" * 10_000, "\ud800"]
RING = [("a", "b"), ("b", "c"), ("c", "a")]


def reversible(n=12, seed=0, spread=1.0, names=None):
    """Return a kernel in detailed balance and its heights, every two states linked."""
    rng = np.random.default_rng(seed)
    heights = spread * rng.normal(size=n)
    links = np.triu(rng.uniform(0.5, 1.5, (n, n)), 1)
    rates = (links + links.T) * np.exp((heights[:, None] - heights) / 2)
    rates *= 0.9 / rates.sum(axis=1).max()
    return Kernel.from_matrix(rates, names), heights


def driven(forward=90, backward=10):
    edges = [(f, g, forward) for f, g in RING] + [(g, f, backward) for f, g in RING]
    return TransitionCounts.from_edges(edges)


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text()]


def shown(figure):
    return "\n".join(text.get_text() for text in texts(figure))


def points_of(figure, label, panel=0):
    """Return what is drawn under a label: of error bars, or of a line."""
    ax = figure.axes[panel]
    for container in ax.containers:
        if container.get_label() == label:
            return map(np.asarray, container[0].get_data())
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return map(np.asarray, line.get_data())


def bars(figure, label, panel=0):
    """Return the half lengths of the vertical error bars drawn under a label."""
    (found,) = [c for c in figure.axes[panel].containers if c.get_label() == label]
    return np.array([np.ptp(path[:, 1]) / 2 for path in found[2][-1].get_segments()])


def svg(figure):
    file = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "test"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


@pytest.fixture(scope="module")
def drawn():
    """Every figure of the gallery, drawn from its default data."""
    return {name: draw() for name, draw in gallery.FIGURES.items()}


# Levels


def levels(name, **options):
    return figures.plot_levels(WordTable.load(name).potential(), name, **options)


def arrows(figure):
    """Return the tip and the tail of each arrow."""
    texts = figure.axes[0].texts
    return [(text.xy, text.xyann) for text in texts if getattr(text, "arrow_patch", None)]


def test_the_words_of_claude_are_five_lines_with_seven_arrows_and_their_numbers():
    figure = levels("claude_4")
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert ticks == ["0.0", "4.1", "5.2", "∞", "∞"]
    assert len(arrows(figure)) == 7
    numbers = sorted(t.get_text() for t in texts(figure) if re.fullmatch(r"\d\.\d\d", t.get_text()))
    assert numbers == sorted(["0.97", "0.02", "0.89", "0.01", "1.00", "0.96", "0.06"])
    assert "3 of 5 states on one scale, 7 moves" in shown(figure)


def test_a_line_stands_at_its_potential_and_above_the_break_at_the_height_that_is_given():
    table, limits = WordTable.load("claude_4"), ((-0.5, 6.5), (17, 37))
    figure = levels("claude_4", heights=table.stopped, limits=limits)
    drawn = [line for line in figure.axes[0].lines if list(line.get_xdata()) == [0, 1]]
    lines = {line.get_ydata()[0] for line in drawn}
    lower = [0.58 * (v + 0.5) / 7 for v in (0, np.log(3879 / 66), np.log(3558 / 20))]
    upper = [0.63 + 0.37 * (v - 17) / 20 for v in (18.2, 34.0)]
    assert sorted(lines) == pytest.approx([*lower, *upper], abs=1e-3)


@pytest.mark.parametrize("heights", [None, WordTable.load("gemini_2_5_flash").stopped])
def test_no_two_of_thirteen_names_overlap(heights):
    figure = levels("gemini_2_5_flash", heights=heights)
    figure.canvas.draw()
    names = set(WordTable.load("gemini_2_5_flash").published)
    boxes = [t.get_window_extent() for t in texts(figure) if t.get_text() in names]
    assert len(boxes) == 13
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    edge = figure.bbox
    assert all(edge.x0 <= box.x0 and box.x1 <= edge.x1 and box.y1 <= edge.y1 for box in boxes)
    assert len(arrows(figure)) == 26


def test_a_move_down_and_the_move_back_point_at_each_other():
    down, up = sorted(arrows(levels("claude_4")))[:2]
    assert down[0][1] < down[1][1]
    assert up[0][1] > up[1][1]
    assert down[0][1] == pytest.approx(up[1][1], abs=0.02)


def test_of_many_states_some_are_drawn_and_the_rest_counted():
    kernel, _ = reversible(40)
    figure = figures.plot_levels(estimate_potential(kernel), "forty")
    assert "20 of 20 states on one scale, 380 moves; 20 states not drawn" in shown(figure)


# Triplets


def test_the_published_triplets_give_the_printed_number():
    points = Points.published("gpt5_nano_triplets")
    figure = figures.plot_triplets(points, "GPT-5 Nano", printed="N 140, χ²/ndf 0.76")
    assert "N = 140\nχ²/ndf = 0.76\nprinted: N 140" in shown(figure)
    assert round(points.mean_square, 3) == 0.759
    x, y = points_of(figure, "triplets")
    assert sorted(zip(x, y, strict=True)) == sorted(zip(points.x, points.y, strict=True))


def test_a_driven_triplet_is_off_by_its_affinity_with_its_errors():
    points = Points.of_triplets(measure_triplets(driven()))
    figure = figures.plot_triplets(points, "driven")
    x, y = points_of(figure, "triplets")
    assert sorted([x[0], y[0]]) == pytest.approx([3 * np.log(0.1), 3 * np.log(0.9)])
    # 1 / n - 1 / N for each of three moves, N = 100.
    rare, common = np.sqrt(3 * (1 / 10 - 1 / 100)), np.sqrt(3 * (1 / 90 - 1 / 100))
    assert bars(figure, "triplets")[0] == pytest.approx(rare if y[0] < x[0] else common)


# Pairs


def pair_counts():
    return TransitionCounts.from_edges(
        [
            *[("a", "b", 30), ("b", "a", 10), ("b", "c", 50), ("c", "b", 20), ("a", "c", 8)],
            *[("c", "a", 1), ("a", None, 12), ("b", None, 40), ("c", None, 29)],
        ]
    )


def test_the_published_pairs_give_the_numbers_that_are_printed_and_those_that_are_not():
    points = Points.published("gpt5_nano_pairs")
    assert (len(points), round(points.mean_residual, 4)) == (52, 1.2427)
    assert round(points.mean_square, 2) == 2.22
    assert round(points.correlation_both, 3) == 0.847
    other = Points.published("ideasearchfitter_pairs")
    assert (len(other), round(other.mean_residual, 2)) == (110, 2.61)
    assert (round(other.mean_square, 2), round(other.slope, 2)) == (5.53, 0.72)
    corner = shown(figures.plot_pairs({"52": points}, "GPT-5 Nano", printed="r 0.7438"))
    assert "χ²/ndf = 1.24 (no errors), 2.22 (errors)\nprinted: r 0.7438" in corner
    with pytest.raises(InvalidInputError, match=r"gpt5_nano_pair'.*allowed are"):
        Points.published("gpt5_nano_pair")


def test_pearsons_r_depends_on_the_turn_of_each_pair_and_with_both_signs_it_does_not():
    points = Points.published("gpt5_nano_pairs")
    turn = np.where(np.arange(52) % 2, 1.0, -1.0)
    turned = replace(points, x=turn * points.x, y=turn * points.y)
    assert turned.correlation_both == pytest.approx(points.correlation_both)
    assert turned.correlation != pytest.approx(points.correlation, abs=1e-4)
    away = replace(points, x=np.abs(points.x), y=np.sign(points.x) * points.y)
    assert away.correlation < 0.76 < points.correlation


def test_pairs_are_those_with_both_counts_of_two_with_the_errors_of_their_formula():
    counts = pair_counts()
    potential = estimate_potential(counts)
    for errors, sign in (("paper", 1), ("multinomial", -1)):
        points = Points.of_pairs(counts, potential, errors=errors)
        wanted = {}
        for n, there, m, back in ((50, 30, 100, 10), (100, 50, 50, 20)):  # a and b, b and c
            error = np.sqrt(1 / there + 1 / back + sign * (1 / n + 1 / m))
            wanted[round(abs(np.log(there / n) - np.log(back / m)), 9)] = error
        found = dict(zip(np.abs(points.y).round(9), points.error, strict=True))
        assert found == pytest.approx(wanted)  # a and c have a count of 1
    assert len(Points.of_pairs(counts, potential, min_count=1)) == 3


def test_very_many_pairs_are_a_density_and_the_figure_says_so():
    rng = np.random.default_rng(1)
    m = 100_000
    x = rng.normal(size=m)
    zeros = np.zeros(m)
    points = Points(x, x + rng.normal(size=m), zeros, zeros + 1, zeros + 1)
    figure = figures.plot_pairs({"many": points}, "many")
    cells = [c for c in figure.axes[0].collections if isinstance(c, PolyCollection)]
    assert sum(c.get_array().sum() for c in cells) == m  # nothing is lost
    assert f"{m:,} pairs, as a density" in shown(figure)
    assert len(svg(figure)) < 3_000_000


# One-way pairs


def one_way_check():
    counts = TransitionCounts.from_edges([(f, g, 40) for f, g in RING] + [("x", "a", 5)])
    return check_one_way(counts)


def test_the_bound_of_the_paper_is_drawn_and_both_bounds_are_counted():
    figure = figures.plot_one_way({"a ring": one_way_check()}, "ring")
    x, y = points_of(figure, "pairs, 1 / N")
    assert x == pytest.approx(np.zeros(3), abs=1e-6)
    assert y == pytest.approx(np.full(3, np.log(40)))  # T is 1, the bound 1 / 40
    unseen = 1 - 0.05 ** (1 / 40)
    assert binom.pmf(0, 40, unseen) == pytest.approx(0.05)
    assert f"1 / N: 0% hold, 90% below y = x{np.log(40):+.2f}" in shown(figure)
    assert f"95%: 0% hold, 90% below y = x{-np.log(unseen):+.2f}" in shown(figure)
    assert "a ring: 3 pairs" in shown(figure)  # the fourth joins two components
    offsets = [line.get_xy1()[1] for line in figure.axes[0].lines if hasattr(line, "get_xy1")]
    assert sorted(offsets)[1:] == pytest.approx([-np.log(unseen), np.log(40)])


def test_of_many_one_way_pairs_some_are_drawn_and_all_are_counted():
    rng = np.random.default_rng(0)
    counts = TransitionCounts.from_dense(rng.poisson(0.4, size=(40, 40)))
    check = check_one_way(counts)
    inside = np.isfinite(check.difference).sum()
    figure = figures.plot_one_way({"sparse": check}, "sparse", most=100)
    x, _ = points_of(figure, "pairs, 1 / N")
    assert len(x) == 100 < inside
    assert f"sparse: {inside:,} pairs, 100 drawn" in shown(figure)


# Exploration


def test_a_small_space_is_exhausted_and_an_open_one_grows():
    runs = {
        "small": explore(claude_4().kernel, "BUZZY", 3_000),
        "open": explore(None, "word 0", 3_000),
    }
    figure = figures.plot_exploration(runs)
    for name, run in runs.items():
        x, y = points_of(figure, name)
        known = [len({s for pair in run[:m] for s in pair if s is not None}) for m in x[::97]]
        assert y[::97].tolist() == known
        middle, share = points_of(figure, name, panel=1)
        assert len(middle) == 20
        firsts = np.diff(figures.count_states_found(run), prepend=0)[150:] > 0
        assert np.mean(share[1:]) == pytest.approx(np.mean(firsts))
    assert "1 of 2 runs still found new states at the end" in shown(figure)


def test_more_runs_than_can_be_told_apart_are_an_error():
    with pytest.raises(InvalidInputError, match="at most 4"):
        figures.plot_exploration({str(i): [("a", "b")] for i in range(5)})


def test_visits_exits_and_probabilities_are_those_of_the_counts():
    edges = [("a", "b", 3), ("a", "c", 1), ("b", "a", 4), ("b", "b", 4), ("c", None, 5)]
    figure = figures.plot_distributions(TransitionCounts.from_edges(edges))
    x, share = points_of(figure, "visits")  # a: 4, b: 3, c: 1
    assert (x.tolist(), share.tolist()) == ([1, 3, 4], pytest.approx([1, 2 / 3, 1 / 3]))
    x, share = points_of(figure, "exits")  # a: 2, b: 1, c: 0
    assert (x.tolist(), share.tolist()) == ([1, 2], pytest.approx([2 / 3, 1 / 3]))
    bins = [p for p in figure.axes[1].patches if isinstance(p, Rectangle) and p.get_height()]
    assert sum(p.get_height() for p in bins) == 3
    for rate in (3 / 4, 1 / 4, 4 / 8):
        assert any(p.get_x() <= rate <= p.get_x() + p.get_width() for p in bins)


# Convergence


def test_the_trace_ends_at_the_minimum_and_falls_on_the_way():
    rates = np.random.default_rng(6).uniform(0, 1, (30, 30)) ** 8 / 30
    kernel = Kernel.from_matrix(rates)
    trace = figures.trace_solver(kernel)
    assert len(trace) > 3
    assert trace.normalized_action[-1] == pytest.approx(
        estimate_potential(kernel).normalized_action
    )
    assert np.all(np.diff(trace.normalized_action) <= 1e-12)
    assert trace.step[-1] <= trace.tolerance < trace.step[0]
    figure = figures.plot_convergence(trace)
    x, y = points_of(figure, "action over states")
    assert x.tolist() == list(range(len(trace)))
    assert y == pytest.approx(trace.normalized_action)
    for label, values in (("flow", trace.flow), ("decrement", trace.decrement)):
        _, y = points_of(figure, label, panel=1)
        assert y[values > 0] == pytest.approx(values[values > 0])


# Scores and explicit potentials


def test_moves_down_and_up_are_those_of_the_potential():
    rates = [[0.1, 0.5, 0.04], [0.05, 0.0, 0.3], [0.2, 0.0, 0.0]]
    kernel = Kernel.from_matrix(rates, ("a", "b", "c"))
    scores = {"a": -1.0, "b": -2.0, "c": -0.5}
    figure = figures.plot_moves(kernel, [2.0, 1.0, 1.0], scores, "three", printed="63 down")
    # a > b down; b > a and c > a up, b > c level; a > c is too rare, a > a no move.
    assert "1 down, 3 up or level\nprinted: 63 down" in shown(figure)
    assert len(figure.findobj(FancyArrowPatch)) == 4
    (dots,) = [c for c in figure.axes[0].collections if len(c.get_offsets()) == 3]
    assert sorted(map(tuple, dots.get_offsets())) == [(-2, 1), (-1, 2), (-0.5, 1)]
    assert dots.get_array().tolist() == dots.get_offsets()[:, 0].tolist()


def test_states_without_a_score_are_left_out_and_a_missing_one_is_an_error():
    kernel, heights = reversible(90, names=tuple(f"s{i}" for i in range(90)))
    scores = dict.fromkeys(kernel.states, 1.0) | {"s0": np.nan, "s1": np.inf}
    assert "70 states" in shown(figures.plot_moves(kernel, heights, scores, "many"))
    assert "88 states" in shown(figures.plot_moves(kernel, heights, scores, "all", most=100))
    with pytest.raises(UnknownStateError, match="no score"):
        figures.plot_moves(kernel, heights, {"s0": 1.0}, "few")
    with pytest.raises(InvalidInputError, match="90 states need one each"):
        figures.plot_moves(kernel, heights[:5], scores, "short")


@pytest.fixture(scope="module")
def explicit():
    """Words whose potential is their length, a kernel on them, and a fit without every third."""
    names = tuple("a" * (1 + i // 3) + "xyz"[i % 3] for i in range(30))
    heights = np.array([0.3 * len(name) for name in names])
    rates = np.exp((heights[:, None] - heights) / 2)
    np.fill_diagonal(rates, 0)
    kernel = Kernel.from_matrix(rates * 0.9 / rates.sum(axis=1).max(), names)
    held_out = names[::3]
    kept = [i for i in range(30) if i % 3]
    part = Kernel(tuple(names[i] for i in kept), kernel.probabilities[kept, :][:, kept].tocsr())
    features = lambda s: {"length": len(s), "y": s.count("y")}  # noqa: E731
    return kernel, held_out, fit_explicit_potential(part, features, penalty=1e-6)


def test_a_potential_made_of_features_is_predicted_where_it_was_not_fitted(explicit):
    kernel, held_out, fit = explicit
    figure = figures.plot_prediction(fit, estimate_potential(kernel), held_out)
    x, y = points_of(figure, "held out")
    lengths = np.array([len(name) for name in held_out])
    assert len(x) == 10
    assert np.diff(x) == pytest.approx(0.3 * np.diff(lengths), abs=1e-6)
    assert y == pytest.approx(x, abs=1e-3)
    assert "r = 1.000 (held out)" in shown(figure)
    with pytest.raises(UnknownStateError, match="held_out"):
        figures.plot_prediction(fit, estimate_potential(kernel), ["nowhere"])


def test_the_bars_are_the_shares_beside_the_published_ones():
    kernel, heights = reversible(20)
    down = figures.shuffle_directionality(kernel, heights, draws=400)
    assert down.shares[0] == pytest.approx(0.5, abs=0.03)
    figure = figures.plot_directionality({"dealt": down})
    widths = [[bar.get_width() for bar in c] for c in figure.axes[0].containers]
    assert [w[0] for w in widths] == pytest.approx(down.shares)
    assert [w[1] for w in widths] == pytest.approx([0.6956, 0.2583, 0.0462])
    assert "69.56 / 25.83 / 4.62 %" in shown(figure)
    assert "paper" not in shown(figures.plot_directionality({"dealt": down}, published=False))


def test_the_path_shows_the_action_of_each_penalty_and_the_features_left():
    kernel, heights = reversible(30, names=tuple(f"{i:02d}" for i in range(30)))
    place = dict(zip(kernel.states, heights, strict=True))
    noise = dict(zip(kernel.states, np.random.default_rng(3).normal(size=30), strict=True))
    fit = fit_explicit_potential(
        kernel, lambda s: {"height": place[s], "noise": noise[s]}, penalties=6
    )
    figure = figures.plot_penalty(fit, kernel)
    x, y = points_of(figure, "mean ± error")
    assert x == pytest.approx(fit.penalties)
    assert y == pytest.approx(fit.held_out_actions.mean(axis=0))
    spread = fit.held_out_actions.std(axis=0, ddof=1) / np.sqrt(5)
    assert bars(figure, "mean ± error") == pytest.approx(spread)
    _, features = points_of(figure, "features", panel=1)
    assert features[0] == 0
    assert features[-1] == np.count_nonzero(
        fit_explicit_potential(
            kernel, lambda s: {"height": place[s], "noise": noise[s]}, penalty=fit.penalties[-1]
        ).theta
    )


# Spread, voting, temperature


def test_the_published_bins_hold_every_state():
    for name, states in (("ideasearchfitter", 2551), ("gpt5_nano", 620)):
        histogram = figures.Histogram.published(name)
        assert (len(histogram.counts), histogram.counts.sum()) == (50, states)
        figure = figures.plot_spread({name: histogram}, name, printed=["mean -0.93"])
        boxes = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
        assert [p.get_height() for p in boxes] == histogram.counts.tolist()
        assert "printed: mean -0.93" in shown(figure)


def test_the_gaussian_of_a_gaussian_potential_is_found():
    kernel, heights = reversible(400, spread=1.5)
    histogram = figures.Histogram.of(estimate_potential(kernel), 40)
    assert histogram.counts.sum() == 400
    mean, deviation = histogram.moments()
    assert (mean, deviation) == pytest.approx((0, heights.std(ddof=1)), abs=0.02)
    fitted, s, height = histogram.fit()
    assert s == pytest.approx(1.5, rel=0.1)
    width = np.diff(histogram.edges)[0]
    assert height == pytest.approx(400 * width / (np.sqrt(2 * np.pi) * s), rel=0.1)
    figure = figures.plot_spread({"V": histogram}, "V")
    assert f"fit: mean {fitted:.2f}, s {s:.2f}" in shown(figure)


def test_the_votes_are_binomial_tails_on_both_sides_of_each_pair():
    kernel, _ = reversible(12)
    rates = kernel.probabilities.toarray()
    for vote in figures.hold_votes(kernel):
        f, g = np.nonzero((rates > rates.T) & (rates.T > 0))
        there, back = rates[f, g], rates[g, f]
        won, lost = (binom.sf(vote.needed - 1, 10, rate) for rate in (there, back))
        before = sorted(vote.needed * np.log(there / back))
        assert sorted(vote.before) == pytest.approx(before)
        assert sorted(vote.after) == pytest.approx(sorted(np.log(won / lost)))
        assert (np.diff(vote.rates) <= 0).all()
    figure = figures.plot_voting(kernel, "twelve")
    assert len(figure.axes) == 4  # three panels and the colours
    for vote in figures.hold_votes(kernel):
        assert f"slope {vote.slope:.3f}" in shown(figure)
    with pytest.raises(InvalidInputError, match="at least half"):
        figures.plot_voting(kernel, "two", needed=[2])
    with pytest.raises(InvalidInputError, match="one to 4"):
        figures.plot_voting(kernel, "none", needed=[])


def test_of_rates_that_are_small_the_voted_log_ratio_is_n_times_as_large():
    heights = np.random.default_rng(4).normal(size=10)
    rates = 1e-4 * np.exp((heights[:, None] - heights) / 2)
    for vote in figures.hold_votes(Kernel.from_matrix(rates)):
        assert vote.slope == pytest.approx(1, abs=0.01)


def test_a_balanced_pair_costs_more_than_the_expectation_counts():
    potentials = heat_bath((0.5, 1.0, 2.0), states=60)
    figure = figures.plot_temperature(potentials)
    x, action = points_of(figure, "least action S[V] / S[0]")
    _, exact = points_of(figure, "exp(s²) erfc(s)")
    _, asymptotic = points_of(figure, "1 / (√π s)")
    heights = 3.0 * np.random.default_rng(0).normal(size=60)
    drop = (heights[:, None] - heights)[np.triu_indices(60, 1)]
    # Each pair has T there and back in sum 1 / n, whatever its drop.
    by_hand = [np.mean(1 / np.cosh(drop / t / 2)) for t in x]
    assert action == pytest.approx(by_hand, rel=1e-6)
    s = heights.std(ddof=1) / x
    assert asymptotic == pytest.approx(1 / (np.sqrt(np.pi) * s), rel=1e-5)
    assert np.all((exact < asymptotic) & (exact < action))
    with pytest.raises(InvalidInputError, match="finite and positive"):
        figures.plot_temperature({-1.0: potentials[1.0]})


# Empty and hostile data


def test_what_has_nothing_to_show_says_why():
    pipeline = TransitionCounts.from_edges([("a", "b", 5), ("b", "c", 5), ("c", "d", 5)])
    potential = estimate_potential(pipeline)
    nothing = Kernel.from_matrix(np.eye(3))
    no_scores = dict.fromkeys(nothing.states, np.nan)
    apart = Kernel.from_matrix([[0.0, 0, 0], [0, 0, 0], [0, 0, 0]])
    fit = fit_explicit_potential(*length_fit())
    trace = figures.SolverTrace(*[np.zeros(0)] * 4, 1e-6, "pcg", 0)
    empty = {
        "No two states": figures.plot_levels(estimate_potential(apart), "none"),
        "triplet": figures.plot_triplets(Points.of_triplets(measure_triplets(pipeline)), "none"),
        "both ways": figures.plot_pairs({"none": Points.of_pairs(pipeline, potential)}, "none"),
        "one direction only": figures.plot_one_way({"none": check_one_way(pipeline)}, "none"),
        "No attempt": figures.plot_exploration({"none": []}),
        "No move": figures.plot_distributions(TransitionCounts.from_edges([("a", "a", 5)])),
        "no iteration": figures.plot_convergence(trace),
        "Fewer than two": figures.plot_moves(nothing, np.zeros(3), no_scores, "none"),
        "held out": figures.plot_prediction(fit, potential, []),
        "probable enough": figures.plot_directionality({"none": None}),
        "No feature": figures.plot_penalty(fit, Kernel.from_matrix(np.full((2, 2), 0.4))),
        "no pair of states": figures.plot_voting(nothing, "none"),
        "No temperature": figures.plot_temperature({}),
    }
    for why, figure in empty.items():
        assert why in shown(figure)
        figure.savefig(io.BytesIO(), dpi=40)
        assert not [container for ax in figure.axes for container in ax.containers]
    with pytest.raises(InsufficientDataError, match="spread"):
        figures.follow_action({1.0: potential})


def length_fit():
    kernel, _ = reversible(8, names=tuple("a" * (i + 1) for i in range(8)))
    return kernel, lambda s: {"length": len(s)}


@pytest.mark.parametrize("key", HOSTILE)
def test_a_hostile_key_is_drawn_as_text(key):
    edges = [(f, g, n) for f, g in [*RING, ("c", key)] for n in (40,)]
    counts = TransitionCounts.from_edges([*edges, (key, "c", 30), ("b", "a", 9)])
    potential = estimate_potential(counts)
    pictures = [
        figures.plot_levels(potential, safe_text(key, 24)),
        figures.plot_exploration({key: [("a", "b")] * 5}),
        figures.plot_directionality(
            {key: figures.shuffle_directionality(potential.kernel, potential.values)}
        ),
    ]
    for figure in pictures:
        for text in texts(figure):
            assert not text.get_parse_math()
            assert not text.get_usetex()
            assert len(text.get_text()) < 300
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure.savefig(io.BytesIO(), dpi=40)
    assert safe_text(key, 16) in shown(pictures[0])
    assert all(safe_text(key, 40) in shown(picture) for picture in pictures[1:])


def test_no_global_state_is_touched_and_a_users_style_changes_nothing():
    before = dict(mpl.rcParams)
    plain = svg(figures.plot_levels(claude_4(), "words"))
    assert dict(mpl.rcParams) == before
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        styled = figures.plot_levels(claude_4(), "words")
    assert svg(styled) == plain


# Colours

# G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, A physiologically-based model for simulation of
# color vision deficiency, IEEE TVCG 15 (2009) 1291: severity 1.0, on linear RGB.
SIGHT = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
SRGB = np.array(  # IEC 61966-2-1: linear RGB to XYZ, white D65
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
APART = 15.0
"""CIE 1976 colour difference; about 2 is just to be seen."""


def lab(colour, sight):
    """Return CIE L*a*b* of a colour as it is seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(SIGHT[sight]) @ linear, 0, 1)
    t = SRGB @ seen / SRGB.sum(axis=1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_the_measure_of_colours_is_right_where_it_is_known():
    assert lab("white", "usual") == pytest.approx([100, 0, 0], abs=0.02)
    assert lab("red", "usual") == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    near = [
        np.linalg.norm(lab("#00A000", s) - lab("#C06000", s)) for s in ("usual", "deuteranopia")
    ]
    assert near[0] > 80 > 40 > near[1]  # the pair that red-green blindness confuses


@pytest.mark.parametrize("sight", SIGHT)
def test_the_colours_of_series_stay_apart_for_every_eye(sight):
    colours = {style.colour for style in STYLES} | {"#FFFFFF"}
    for one, other in combinations(sorted(colours), 2):
        distance = np.linalg.norm(lab(one, sight) - lab(other, sight))
        assert distance > APART, (one, other, distance)


def test_series_are_told_apart_without_any_colour():
    for trait in ("marker", "line", "hatch"):
        assert len({getattr(style, trait) for style in STYLES}) == len(STYLES)


def series(ax):
    """Yield (colour, what it looks like without colour) of each entry of the panel's legend."""
    for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
        if hasattr(handle, "patches"):  # bars
            bar = handle.patches[0]
            yield label, bar.get_facecolor(), ("bar", bar.get_hatch() or "")
        elif isinstance(handle, FillBetweenPolyCollection):
            yield label, handle.get_facecolor()[0], ("area", "")
        else:
            line = handle[0] if hasattr(handle, "has_yerr") else handle
            if line is None:
                yield label, handle[2][0].get_color()[0], ("bar of error", "")
                continue
            shape = (line.get_marker(), line.get_linestyle(), line.get_fillstyle())
            yield label, line.get_color(), shape


def test_in_every_figure_of_the_gallery_no_legend_needs_colour(drawn):
    seen = 0
    for name, figure in drawn.items():
        for ax in figure.axes:
            entries = list(series(ax))
            for (one, _, shape), (other, _, shape_too) in combinations(entries, 2):
                seen += 1
                assert shape != shape_too, (name, one, other)
    assert seen > 20


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_used_together_in_the_gallery_stay_apart(drawn, sight):
    for name, figure in drawn.items():
        for ax in figure.axes:
            colours = {to_rgb(colour) for _, colour, _ in series(ax)}
            for one, other in combinations(sorted(colours), 2):
                distance = np.linalg.norm(lab(one, sight) - lab(other, sight))
                assert distance > APART, (name, one, other, distance)


# The gallery

PAGE = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
FUNCTIONS = [name for name in figures.__all__ if name.startswith("plot_")]


def test_the_page_shows_every_figure_function_and_its_picture():
    calls = re.findall(r"figures\.(plot_\w+)\(", PAGE)
    assert set(calls) == set(FUNCTIONS)


def test_every_file_that_the_page_names_exists_and_none_is_left_over():
    named = re.findall(r"\]\((?!http)([^)#]+)\)", PAGE)
    assert [name for name in named if not (ROOT / "docs" / name).is_file()] == []
    pictures = {path.name for path in (ROOT / "docs" / "gallery").iterdir()}
    assert pictures == {f"{name}.png" for name in gallery.FIGURES}
    assert {f"gallery/{name}" for name in pictures} <= set(named)


def test_the_pictures_are_small():
    sizes = [path.stat().st_size for path in (ROOT / "docs" / "gallery").iterdir()]
    assert max(sizes) < 60_000
    assert sum(sizes) < 700_000


def test_a_figure_is_written_the_same_each_time(tmp_path, capsys):
    for folder in ("one", "two"):
        gallery.main(["figure-2", "spread", "--output", str(tmp_path / folder)])
    for name in ("figure-2.svg", "figure-2.png", "spread.svg", "spread.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert "spread.png" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        gallery.main(["nothing", "--output", str(tmp_path)])


def test_the_simulated_search_has_about_the_size_of_the_papers():
    counts = search_formulas()
    assert len(counts) == 7_484
    assert counts.attempts.sum() == 50_228
    assert counts.counts.nnz == pytest.approx(21_697, rel=0.01)


def test_every_figure_is_made_without_pyplot(drawn):
    assert all(isinstance(figure, Figure) for figure in drawn.values())
    assert all(figure.canvas.manager is None for figure in drawn.values())
