"""The paper's figures draw the numbers that they are given, for every reader and any key."""

import io
import re
import warnings
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.text import Text
from scipy.stats import binom, kendalltau, norm, rankdata

from detailed_balance.analyzers import (
    Kernel,
    TransitionCounts,
    check_balance,
    check_one_way,
    estimate_potential,
    fit_explicit_potential,
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


def points(figure, label, panel=0):
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


# States


def test_finite_states_stand_at_the_published_potentials():
    figure = figures.plot_states(claude_4())
    place = {text.get_text().split()[0]: text.get_position()[1] for text in figure.axes[0].texts}
    assert place["ATTITUDE"] == pytest.approx(0, abs=1e-9)
    assert place["PERSONAL"] == pytest.approx(np.log(3879 / 66), abs=0.05)
    assert place["PROBLEMS"] == pytest.approx(np.log(3558 / 20), abs=0.05)


def test_infinite_states_stand_beyond_a_break_in_their_order():
    ax = figures.plot_states(claude_4()).axes[0]
    place = {text.get_text(): text.get_position()[1] for text in ax.texts}
    ticks = {label.get_text(): [] for label in ax.get_yticklabels()}
    for tick, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True):
        ticks[label.get_text()].append(tick)
    assert sorted(ticks["∞"]) == pytest.approx(sorted([place["TURKEY"], place["BUZZY"]]))
    assert place["BUZZY"] > place["TURKEY"] > np.log(3558 / 20) + 0.5
    numbers = [tick for label, at in ticks.items() if label != "∞" for tick in at]
    assert max(numbers) < np.log(3558 / 20) + 0.05  # no number is written beyond the break


def test_each_move_has_an_arrow_with_its_probability():
    figure = figures.plot_states(claude_4())
    assert len(figure.findobj(FancyArrowPatch)) == 7
    words = {text.get_text() for text in figure.axes[0].texts}
    assert {"0.96", "0.97", "0.89", "1.00", "0.017", "0.005", "0.059"} <= words  # n / 4,000


def test_states_below_beside_and_above_are_told_apart():
    edges = [("low", "mid", 2), ("mid", "low", 8), ("up", "mid", 5), ("low", "end", 3)]
    counts = TransitionCounts.from_edges([*edges, ("beside", "end", 5)])
    potential = estimate_potential(counts, attempts=10)
    levels = figures.place_states(potential)
    height = dict(zip(levels.states, levels.height, strict=True))
    assert height["end"] < 0 == height["low"] < height["mid"] < height["up"]
    labels = {
        label.get_text() for label in figures.plot_states(potential).axes[0].get_yticklabels()
    }
    assert {"∞", "-∞", "?"} <= labels


def test_no_two_states_of_the_word_task_overlap():
    figure = figures.plot_states(claude_4())
    figure.canvas.draw()
    pills = [p for p in figure.axes[0].patches if isinstance(p, FancyBboxPatch)]
    boxes = [pill.get_window_extent() for pill in pills]
    assert len(boxes) == 5
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_of_many_states_some_are_drawn_and_the_rest_counted():
    kernel, _ = reversible(40)
    figure = figures.plot_states(estimate_potential(kernel), max_states=10)
    assert len([p for p in figure.axes[0].patches if isinstance(p, FancyBboxPatch)]) == 10
    assert "the 80 most probable of 90 moves; 30 states not drawn" in shown(figure)
    with pytest.raises(InvalidInputError, match="max_states=1"):
        figures.plot_states(estimate_potential(kernel), max_states=1)


# Triplets


def test_triplets_of_a_balanced_kernel_lie_on_the_diagonal():
    kernel, _ = reversible(9)
    found = figures.multiply_triplets(kernel)
    assert len(found) == 9 * 8 * 7 / 6
    assert found.one_way == pytest.approx(found.other_way)
    x, y = points(figures.plot_triplet_balance(kernel), "triplets")
    assert y == pytest.approx(x)


def test_a_driven_triplet_is_off_by_its_affinity_with_multinomial_errors():
    figure = figures.plot_triplet_balance(check_balance(driven()))
    x, y = points(figure, "driven")
    assert sorted([x[0], y[0]]) == pytest.approx([3 * np.log(0.1), 3 * np.log(0.9)])
    # 1 / n - 1 / N for each of three moves, N = 100.
    rare, common = np.sqrt(3 * (1 / 10 - 1 / 100)), np.sqrt(3 * (1 / 90 - 1 / 100))
    assert bars(figure, "driven")[0] == pytest.approx(rare if y[0] < x[0] else common)


def test_which_way_round_is_which_does_not_depend_on_the_drive():
    one, other = (figures.multiply_triplets(check_balance(c)) for c in (driven(), driven(10, 90)))
    assert one.one_way == pytest.approx(other.other_way)
    assert one.one_way != pytest.approx(other.one_way)


def test_a_triplet_that_lacks_a_rate_is_left_out():
    counts = driven() + TransitionCounts.from_edges([("a", "d", 50), ("d", "b", 50), ("d", "a", 9)])
    assert len(figures.multiply_triplets(check_balance(counts))) == 1
    assert len(figures.multiply_triplets(Kernel.from_matrix(np.eye(3, k=1)))) == 0


# Pairs


def pair_counts():
    return TransitionCounts.from_edges(
        [
            *[("a", "b", 30), ("b", "a", 10), ("b", "c", 50), ("c", "b", 20), ("a", "c", 8)],
            *[("c", "a", 6), ("a", None, 12), ("b", None, 40), ("c", None, 24)],
        ]
    )


def test_pairs_are_drawn_with_both_errors_of_their_formulas():
    figure = figures.plot_pair_balance(pair_counts())
    _, y = points(figure, "multinomial error")
    moves = {("a", "b"): (30, 10), ("b", "c"): (50, 20), ("a", "c"): (8, 6)}
    total = {"a": 50, "b": 100, "c": 50}
    for label, sign in (("multinomial error", -1), ("paper's error", 1)):
        found = dict(zip(np.abs(y).round(9), bars(figure, label), strict=True))
        for (f, g), (there, back) in moves.items():
            ratio = abs(np.log(there / total[f]) - np.log(back / total[g]))
            rest = 1 / total[f] + 1 / total[g]
            wanted = np.sqrt(1 / there + 1 / back + sign * rest)
            assert found[ratio.round(9)] == pytest.approx(wanted)


def test_the_corner_holds_the_statistics_of_both_error_models():
    counts = pair_counts()
    potential = estimate_potential(counts)
    reports = {e: check_balance(counts, potential, errors=e) for e in ("multinomial", "paper")}
    corner = shown(figures.plot_pair_balance(counts, potential))
    for errors, report in reports.items():
        chi2 = np.sum(((report.pairs.log_ratio - report.pairs.predicted) / report.pairs.error) ** 2)
        assert (
            f"χ²/ndf = {chi2:.2f} ({errors} errors)" in corner
        )  # three pairs less two differences
    assert "ndf = 1" in corner


def test_pairs_beyond_resolution_have_a_mark_of_their_own():
    edges = [("a", "b", 3), ("b", "a", 3), ("b", "c", 3), ("c", "b", 3), ("a", None, 10**6)]
    figure = figures.plot_pair_balance(TransitionCounts.from_edges(edges))
    assert len(next(points(figure, "beyond resolution"))) >= 1
    assert "beyond resolution" in shown(figure)


def test_very_many_pairs_are_a_density_and_the_figure_says_so():
    rng = np.random.default_rng(1)
    counts = TransitionCounts.from_dense(rng.poisson(40, size=(450, 450)))
    figure = figures.plot_pair_balance(counts)
    cells = [c for c in figure.axes[0].collections if isinstance(c, PolyCollection)]
    n = len(figures.hold_pairs(counts)["paper"])
    assert n == 450 * 449 / 2 > 100_000
    assert sum(c.get_array().sum() for c in cells) == n  # nothing is lost
    assert f"{n:,} pairs, as a density" in shown(figure)
    assert len(svg(figure)) < 3_000_000


# One-way pairs


def one_way_check():
    counts = TransitionCounts.from_edges([(f, g, 40) for f, g in RING] + [("x", "a", 5)])
    return check_one_way(counts)


def test_the_bound_of_a_pair_seen_one_way_is_what_is_drawn():
    figure = figures.plot_one_way(one_way_check())
    x, y = points(figure, "significant, adjusted")
    assert x == pytest.approx(np.zeros(3), abs=1e-6)
    unseen = 1 - 0.05 ** (1 / 40)
    assert binom.pmf(0, 40, unseen) == pytest.approx(0.05)
    assert y == pytest.approx(np.full(3, np.log(1.0 / unseen)))
    assert "0 of 3 pairs keep the inequality" in shown(figure)
    assert "1 more between components" in shown(figure)


def test_what_is_shaded_lies_above_the_diagonal():
    figure = figures.plot_one_way(one_way_check())
    (shade,) = [c for c in figure.axes[0].collections if isinstance(c, FillBetweenPolyCollection)]
    corners = shade.get_paths()[0].vertices
    assert np.all(corners[:, 1] >= corners[:, 0] - 1e-9)
    assert shade.get_paths()[0].contains_point((0.0, 2.0))
    assert not shade.get_paths()[0].contains_point((0.2, -0.5))


# Exploration


def test_a_small_space_is_exhausted_and_an_open_one_grows():
    runs = {
        "small": explore(claude_4().kernel, "BUZZY", 3_000),
        "open": explore(None, "word 0", 3_000),
    }
    figure = figures.plot_exploration(runs)
    for name, run in runs.items():
        x, y = points(figure, name)
        known = [len({s for pair in run[:m] for s in pair if s is not None}) for m in x[::97]]
        assert y[::97].tolist() == known
        middle, share = points(figure, name, panel=1)
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
    x, share = points(figure, "visits")  # a: 4, b: 3, c: 1
    assert (x.tolist(), share.tolist()) == ([1, 3, 4], pytest.approx([1, 2 / 3, 1 / 3]))
    x, share = points(figure, "exits")  # a: 2, b: 1, c: 0
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
    x, y = points(figure, "action over states")
    assert x.tolist() == list(range(len(trace)))
    assert y == pytest.approx(trace.normalized_action)
    for label, values in (("flow", trace.flow), ("decrement", trace.decrement)):
        _, y = points(figure, label, panel=1)
        assert y[values > 0] == pytest.approx(values[values > 0])


# Scores and explicit potentials


def test_the_rank_correlation_is_that_of_the_ranks():
    kernel, heights = reversible(40)
    scores = {s: float(np.exp(h)) for s, h in zip(kernel.states, heights, strict=True)}
    figure = figures.plot_score(estimate_potential(kernel), scores, name="error")
    assert "Rank correlation 1.00" in shown(figure)
    assert figure.axes[0].get_xlabel() == "error"
    noise = {
        s: float(x) for s, x in zip(kernel.states, np.random.default_rng(2).random(40), strict=True)
    }
    x, v = figures.pair_scores(estimate_potential(kernel), noise)
    by_hand = np.corrcoef(rankdata(x), rankdata(v))[0, 1]
    corner = shown(figures.plot_score(estimate_potential(kernel), noise))
    assert f"rank r = {by_hand:.3f}" in corner
    assert abs(kendalltau(x, v).statistic) < 0.4


def test_states_without_a_finite_potential_or_score_are_left_out():
    potential = claude_4()
    x, v = figures.pair_scores(
        potential, dict.fromkeys(potential.states, 1.0) | {"PERSONAL": np.nan}
    )
    assert len(x) == len(v) == 2
    with pytest.raises(UnknownStateError, match="no score"):
        figures.pair_scores(potential, {"ATTITUDE": 1.0})


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
    x, y = points(figure, "held out")
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
    x, y = points(figure, "mean ± error")
    assert x == pytest.approx(fit.penalties)
    assert y == pytest.approx(fit.held_out_actions.mean(axis=0))
    spread = fit.held_out_actions.std(axis=0, ddof=1) / np.sqrt(5)
    assert bars(figure, "mean ± error") == pytest.approx(spread)
    _, features = points(figure, "features", panel=1)
    assert features[0] == 0
    assert features[-1] == np.count_nonzero(
        fit_explicit_potential(
            kernel, lambda s: {"height": place[s], "noise": noise[s]}, penalty=fit.penalties[-1]
        ).theta
    )


# Spread, voting, temperature


def test_the_histogram_holds_every_state_and_the_bell_has_its_area():
    kernel, heights = reversible(300, spread=1.5)
    figure = figures.plot_spread(estimate_potential(kernel))
    boxes = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    assert sum(p.get_height() for p in boxes) == 300
    x, y = points(figure, "Gaussian")
    assert x[np.argmax(y)] - x[0] == pytest.approx(
        heights.mean() - heights.min() + 0.05 * np.ptp(heights), abs=0.05
    )
    top = 300 * boxes[0].get_width() * norm(scale=heights.std(ddof=1)).pdf(0)
    assert y.max() == pytest.approx(top, rel=1e-3)
    assert f"s = {heights.std(ddof=1):.2f}" in shown(figure)
    expected, found = points(figure, "states", panel=1)
    assert expected == pytest.approx(norm.ppf((np.arange(300) + 0.5) / 300))
    assert found == pytest.approx(
        np.sort((heights - heights.mean()) / heights.std(ddof=1)), abs=1e-5
    )


def test_the_votes_are_drawn_as_binomial_tails():
    kernel, heights = reversible(12)
    figure = figures.plot_voting(kernel)
    for n in (5, 7, 9):
        x, y = points(figure, f"n = {n}")
        assert y == pytest.approx(binom.sf(n - 1, 10, x), abs=1e-12)
        x, y = points(figure, f"n = {n}", panel=1)
        assert x == pytest.approx(np.sort(n * (heights - heights.mean())), abs=1e-5)
        assert f"n = {n}: {x @ y / (x @ x):.3f}" in shown(figure)
    with pytest.raises(InvalidInputError, match="at least half"):
        figures.plot_voting(kernel, needed=[2])
    with pytest.raises(InvalidInputError, match="one to 4"):
        figures.plot_voting(kernel, needed=[])


def test_of_rates_that_are_small_the_voted_potential_is_n_times_as_deep():
    heights = np.random.default_rng(4).normal(size=10)
    rates = 1e-4 * np.exp((heights[:, None] - heights) / 2)
    for vote in figures.hold_votes(Kernel.from_matrix(rates)):
        assert vote.slope == pytest.approx(1, abs=0.01)


def test_a_balanced_pair_costs_more_than_the_expectation_counts():
    potentials = heat_bath((0.5, 1.0, 2.0), states=60)
    figure = figures.plot_temperature(potentials)
    x, action = points(figure, "least action S[V] / S[0]")
    _, exact = points(figure, "exp(s²) erfc(s)")
    _, asymptotic = points(figure, "1 / (√π s)")
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
    fit = fit_explicit_potential(*length_fit())
    trace = figures.SolverTrace(*[np.zeros(0)] * 4, 1e-6, "pcg", 0)
    empty = {
        "triplet": figures.plot_triplet_balance(nothing),
        "both ways": figures.plot_pair_balance(pipeline),
        "one way only": figures.plot_one_way(check_one_way(pipeline)),
        "No attempt": figures.plot_exploration({"none": []}),
        "No move": figures.plot_distributions(TransitionCounts.from_edges([("a", "a", 5)])),
        "no iteration": figures.plot_convergence(trace),
        "Fewer than three": figures.plot_score(potential, dict.fromkeys("abcd", 1.0)),
        "held out": figures.plot_prediction(fit, potential, []),
        "probable enough": figures.plot_directionality({"none": None}),
        "No feature": figures.plot_penalty(fit, Kernel.from_matrix(np.full((2, 2), 0.4))),
        "a V": figures.plot_spread(potential),
        "no move": figures.plot_voting(nothing),
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
        figures.plot_states(potential),
        figures.plot_one_way(
            check_one_way(
                TransitionCounts.from_edges([("b", key, 40), (key, "c", 40), ("c", "b", 40)])
            )
        ),
        figures.plot_exploration({key: [("a", "b")] * 5}),
        figures.plot_directionality(
            {key: figures.shuffle_directionality(potential.kernel, potential.values)}
        ),
        figures.plot_score(potential, {s: float(len(s)) for s in potential.states}, name=key),
    ]
    for figure in pictures:
        for text in texts(figure):
            assert not text.get_parse_math()
            assert not text.get_usetex()
            assert len(text.get_text()) < 300
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure.savefig(io.BytesIO(), dpi=40)
    assert safe_text(key, 24) in shown(pictures[0])
    assert all(safe_text(key, 40) in shown(picture) for picture in pictures[2:])


def test_no_global_state_is_touched_and_a_users_style_changes_nothing():
    before = dict(mpl.rcParams)
    plain = svg(figures.plot_states(claude_4()))
    assert dict(mpl.rcParams) == before
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        styled = figures.plot_states(claude_4())
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
    assert [name for name in FUNCTIONS if f"`{name}`" not in PAGE] == []
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
        gallery.main(["states", "spread", "--output", str(tmp_path / folder)])
    for name in ("states.svg", "states.png", "spread.svg", "spread.png"):
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
