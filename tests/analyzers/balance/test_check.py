import contextlib
import itertools
import json

import numpy as np
import pytest
from hypothesis import assume, given
from scipy.stats import binom

from detailed_balance.analyzers import (
    END,
    START,
    Kernel,
    RunTable,
    Trajectory,
    TransitionCounts,
    check_balance,
    estimate_potential,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.repetition.measure import MeasuredRuns
from tests.support.chains import count_matrices, reversible_kernel, walk_counts

RING = [("a", "b", 90), ("b", "c", 90), ("c", "a", 90)]
BACK = [(target, source, 10) for source, target, _ in RING]


def report_of(*edges, **options):
    return check_balance(TransitionCounts.from_edges(edges), **options)


@given(count_matrices(min_states=3))
def test_symmetric_counts_have_no_violation(matrix):
    counts = TransitionCounts.from_dense(matrix + matrix.T)
    assume(np.count_nonzero(counts.attempts >= 2) >= 2)
    try:
        report = check_balance(counts)
    except InsufficientDataError as error:
        report = error.partial
    assert report is None or not report.violations


def test_a_driven_ring_is_found_with_its_direction_and_its_size():
    report = report_of(*RING, *BACK)
    (violation,) = report.violations
    assert violation.loop == ("a", "b", "c")
    assert violation.affinity == pytest.approx(3 * np.log(9))
    assert violation.counts == (90, 10)
    low, high = violation.interval()
    assert (high - low) / 2 == pytest.approx(1.959964 * np.sqrt(3 / 90 + 3 / 10))
    assert "a -> b -> c -> a is driven" in violation.describe()
    assert "90 times in this direction and 10 times in reverse" in violation.describe()


def driven_chain(rng, n, force):
    """A reversible chain with an extra push round the loop 0 -> 1 -> 2."""
    kernel, _ = reversible_kernel(rng, n, density=0.5)
    for f, g in [(0, 1), (1, 2), (2, 0)]:
        mean = max(np.sqrt(kernel[f, g] * kernel[g, f]), 0.02)
        kernel[f, g], kernel[g, f] = mean * np.exp(force / 2), mean * np.exp(-force / 2)
    return kernel / kernel.sum(axis=1).max() * 0.9


def test_the_one_driven_loop_of_a_chain_comes_out_on_top():
    rng = np.random.default_rng(21)
    for _ in range(20):
        counts = walk_counts(rng, driven_chain(rng, 8, force=2.5), 20_000)
        assert check_balance(counts).violations[0].loop == ("0", "1", "2")


@pytest.mark.parametrize(
    ("n", "density", "steps"), [(3, 1.0, 600), (5, 1.0, 2_000), (10, 0.5, 2_000), (20, 0.2, 1_500)]
)
def test_without_driving_violations_are_flagged_no_more_often_than_alpha(n, density, steps):
    rng, runs, flagged, loops = np.random.default_rng(n), 100, 0, []
    for _ in range(runs):
        kernel, _ = reversible_kernel(rng, n, density=density)
        with contextlib.suppress(InsufficientDataError):
            report = check_balance(walk_counts(rng, kernel, steps))
            flagged += bool(report.violations)
            assert bool(report.violations) == (report.loops.adjusted <= 0.05).any()
            if len(report.loops):
                loops.append(np.mean(report.loops.pvalue <= 0.05))
    assert flagged <= binom.isf(1e-3, runs, 0.05)
    # Loops by themselves tell more: with p-values of half the size 5 and 10 states fail here.
    assert np.mean(loops) <= 0.05 + 3 * np.std(loops) / np.sqrt(len(loops))


def test_pairs_of_a_reversible_chain_deviate_by_their_stated_errors():
    # Against the true potential each z has variance 1; with the paper's plus signs less.
    rng = np.random.default_rng(31)
    ours, papers = [], []
    for _ in range(60):
        kernel, _ = reversible_kernel(rng, 7, spread=0.5)
        truth = estimate_potential(Kernel.from_matrix(kernel))
        counts = walk_counts(rng, kernel, 20_000).restrict(truth.states)
        ours.append(check_balance(counts, truth).pairs.z)
        papers.append(check_balance(counts, truth, errors="paper").pairs.z)
    assert np.mean(np.square(ours)) == pytest.approx(1.0, abs=0.12)  # 3 sd of 1,260 squares
    assert np.mean(np.square(papers)) < 0.85


def test_the_mean_square_of_a_reversible_chain_is_that_of_the_pairs_left_to_err():
    # Of 21 pairs 15 are free, and the potential of least action is not that of least squares.
    rng = np.random.default_rng(32)
    ratios = []
    for _ in range(60):
        kernel, _ = reversible_kernel(rng, 7, spread=0.5)
        report = check_balance(walk_counts(rng, kernel, 20_000))
        assert report.independent_loops == len(report.pairs) - 6 == 15
        squares = report.pairs.z[report.pairs.resolved] ** 2
        assert report.mean_square == pytest.approx(squares.mean())
        ratios.append(squares.sum() / report.independent_loops)
    assert 0.95 < np.mean(ratios) < 1.3


def test_errors_of_pairs_are_those_of_the_two_formulas():
    edges = [*RING, *BACK]
    for errors, sign in [("multinomial", -1), ("paper", 1)]:
        pairs = report_of(*edges, errors=errors).pairs
        assert np.allclose(pairs.error**2, 1 / 90 + 1 / 10 + sign * (1 / 100 + 1 / 100))
        assert np.allclose(np.abs(pairs.log_ratio), np.log(9))


def test_pairs_beyond_what_the_data_can_show_enter_no_statistic():
    kernel = Kernel.from_matrix([[0, 1e-4, 0], [0.9, 0, 0.1], [0, 0.1, 0]], ("low", "mid", "up"))
    potential = estimate_potential(kernel)
    edges = [("mid", "low", 90), ("low", "mid", 1), ("mid", "up", 9), ("up", "mid", 9)]
    with pytest.raises(InsufficientDataError) as caught:
        check_balance(TransitionCounts.from_edges(edges).restrict(potential.states), potential)
    pairs = caught.value.partial.pairs
    table = pairs.to_table()
    beyond = dict(zip(table["target"], table["resolved"], strict=True))
    assert np.log(0.9 / 1e-4) > np.log(109)
    assert beyond["low"] is False
    assert sum(table["resolved"]) == 1


def test_a_deterministic_oscillation_has_a_finite_error():
    edges = [("a", "b", 50), ("b", "a", 50), ("c", "a", 5), ("a", "c", 0)]
    with pytest.raises(InsufficientDataError) as caught:
        report_of(*edges)
    pairs = caught.value.partial.pairs
    assert np.all(np.isfinite(pairs.z))
    assert pairs.error[0] > 0


def test_a_move_never_seen_back_is_weighed_by_how_often_it_was_to_be_expected():
    report = report_of(("a", "b", 50), ("b", "a", 50), ("b", "c", 50), ("c", "a", 50))
    one_way = report.one_way_pairs
    assert set(zip(one_way.source, one_way.target, strict=True)) == {("b", "c"), ("c", "a")}
    potential = report.potential
    for source, target, expected, pvalue in zip(
        one_way.source, one_way.target, one_way.expected, one_way.pvalue, strict=True
    ):
        rate = {"b": 0.5, "c": 1.0}[source]
        attempts = {"a": 50, "c": 50}[target]
        back = min(1.0, rate * np.exp(-potential.difference(source, target)))
        assert expected == pytest.approx(attempts * back)
        assert pvalue == pytest.approx(np.exp(-expected))


def test_a_pipeline_without_loops_cannot_be_tested_and_the_report_is_attached():
    edges = [(START, "a", 9), ("a", "b", 9), ("b", "c", 9), ("c", END, 9)]
    with pytest.raises(InsufficientDataError, match="no loop of three or more states") as caught:
        report_of(*edges)
    assert len(caught.value.partial.one_way_pairs) == 2
    assert caught.value.partial.detectable_affinity() == float("inf")
    assert caught.value.partial.to_dict()["pvalue"] is None


def test_loops_seen_too_rarely_say_that_more_runs_are_needed():
    with pytest.raises(InsufficientDataError, match="none of the 1 loops was taken often enough"):
        report_of(("a", "b", 3), ("b", "c", 3), ("c", "a", 3))


def test_a_loop_of_only_exits_is_driven_by_design():
    loop = [("plan", "act", 60), ("act", "check", 60), ("check", "plan", 50), ("check", END, 10)]
    assert report_of(*loop).violations[0].kind == "structural"
    free = report_of(*loop, ("check", "act", 5))
    assert free.violations[0].kind == "unclassified"


def test_starts_and_ends_of_a_baseline_make_no_work_flow_suspect():
    here = [("a", "b", 900), ("b", "c", 900), ("c", "a", 900), ("b", "a", 300), ("c", "b", 300)]
    ends = [(START, "a", 500), ("a", END, 500)]
    usual = TransitionCounts.from_edges([*here, *ends])
    assert report_of(*here, *ends, baseline=usual).violations[0].kind == "work-flow"


def test_a_baseline_distinguishes_work_flows_from_suspect_loops():
    here = [*RING, *BACK]
    usual = report_of(*here, baseline=TransitionCounts.from_edges(here))
    assert usual.violations[0].kind == "work-flow"
    assert usual.violations[0].odds_ratio == pytest.approx(1.0)
    calm = TransitionCounts.from_edges([("a", "b", 90), ("b", "a", 90), ("c", "d", 90)])
    suspect = report_of(*here, baseline=calm)
    assert suspect.violations[0].kind == "suspect"
    tiny = TransitionCounts.from_edges([("a", "b", 1), ("b", "a", 1)])
    assert report_of(*here, baseline=tiny).violations[0].kind == "unclassified"


def test_more_data_lets_smaller_affinities_be_seen():
    few, many = (report_of(*((f, g, n * k) for f, g, n in RING + BACK)) for k in (1, 4))
    assert many.detectable_affinity() == pytest.approx(few.detectable_affinity() / 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0}, "alpha=0; a level lies between 0 and 1"),
        ({"errors": "poisson"}, "errors='poisson'; allowed are multinomial, paper"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        report_of(*RING, **options)


def test_the_report_is_json_and_a_table_that_pandas_takes():
    pandas = pytest.importorskip("pandas")
    report = report_of(*RING, *BACK)
    result = json.loads(json.dumps(report.to_dict()))
    assert result["violations"][0]["loop"] == ["a", "b", "c"]
    assert result["settings"] == {"alpha": 0.05, "errors": "multinomial", "correction": "bh"}
    frame = report.to_frame()
    assert list(frame.columns) == list(pandas.DataFrame(report.to_table()).columns)
    assert frame.loc[0, "forward"] == 90


def test_runs_that_are_measured_already_give_the_same_report():
    paths = ["abcabcabd", "abcabd", "acbd", "abcabcd"] * 10
    runs = RunTable.of(
        [
            Trajectory(tuple(itertools.pairwise(p)), f"run-{i}", success=i % 4 != 0)
            for i, p in enumerate(paths)
        ]
    )
    reports = [check_balance(runs.counts(), runs=each) for each in (runs, MeasuredRuns.of(runs))]
    assert reports[0].violations
    assert reports[0].contrasts
    assert reports[0].to_dict() == reports[1].to_dict()
