from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import fisher_exact

from detailed_balance.analyzers import (
    END,
    START,
    Trajectory,
    TransitionCounts,
    check_balance,
)
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.table import RunTable

LOOP = "abc"


def run_of(states, *, success=None, name=None):
    path = (START, *states, END)
    return Trajectory(tuple(pairwise(path)), name, success=success)


def counts_of(runs):
    edges = Counter(move for run in runs for move in run.moves)
    return TransitionCounts.from_edges((*move, n) for move, n in edges.items())


def runs_of(*groups):
    """(how many, states, success) each."""
    many = [(states, success) for n, states, success in groups for _ in range(n)]
    return [run_of(states, success=good, name=f"run-{i}") for i, (states, good) in enumerate(many)]


def check(runs, **options):
    return check_balance(counts_of(runs), trajectories=runs, **options)


def the_loop(report):
    (violation,) = [v for v in report.violations if set(v.loop) == set(LOOP)]
    return violation


def test_a_loop_of_failed_runs_is_suspect_with_the_odds_ratio_counted_by_hand():
    runs = runs_of((16, "abcax", False), (4, "abx", False), (10, "abcax", True), (90, "abx", True))
    violation = the_loop(check([*runs, *runs_of((40, "xbaxab", None))]))
    assert violation.kind == "suspect"
    assert violation.odds_ratio == pytest.approx((16 / 4) / (10 / 90))
    expected = fisher_exact([[16, 4], [10, 90]], alternative="greater").pvalue
    assert violation.odds_pvalue >= expected  # adjusted for the violations there are
    assert "walked in 16 of 20 failed runs and in 10 of 100 successful ones" in violation.describe()


def test_a_loop_that_failed_and_successful_runs_walk_alike_is_habitual():
    runs = runs_of((10, "abcax", False), (10, "abx", False), (50, "abcax", True), (50, "xb", True))
    violation = the_loop(check([*runs, *runs_of((40, "xbaxab", None))]))
    assert violation.kind == "habitual"
    assert violation.odds_ratio == pytest.approx(1.0)


def test_where_every_run_walks_the_loop_it_is_how_often_that_tells():
    runs = runs_of((20, "abc" * 9 + "ax", False), (60, "abcax", True), (30, "xba", None))
    violation = the_loop(check(runs))
    assert violation.kind == "suspect"
    assert "walked 9 times or more in 20 of 20 failed runs and in 0 of 60" in violation.describe()


def test_too_few_failed_runs_leave_a_loop_unclassified():
    runs = runs_of((1, "abc" * 40 + "ax", False), (3, "xbax", True), (30, "xba", None))
    violation = the_loop(check(runs))
    assert violation.kind == "unclassified"
    assert violation.odds_pvalue > 0.05
    assert "in 1 of 1 failed runs and in 0 of 3 successful ones" in violation.describe()


@pytest.mark.parametrize("success", [True, False, None])
def test_without_both_outcomes_there_are_examples_but_no_odds(success):
    runs = runs_of((40, "abcax", success), (20, "xba", success))
    violation = the_loop(check(runs))
    assert violation.kind == "unclassified"
    assert np.isnan(violation.odds_ratio)
    assert len(violation.trajectories) == 3


def test_examples_are_failed_runs_first_and_then_those_that_walked_most():
    runs = [
        run_of("abcax", success=True, name="good"),
        run_of("abcabcax", success=True, name="good-twice"),
        run_of("abcax", success=False, name="bad"),
        run_of("abcax", success=False, name="bad"),
        run_of("ax", success=False, name="elsewhere"),
        *[run_of("abcax", success=True) for _ in range(30)],
        *[run_of("xba") for _ in range(20)],
    ]
    assert the_loop(check(runs)).trajectories == ("bad", "good-twice", "good")


def test_outcomes_that_say_nothing_flag_no_more_often_than_alpha():
    # All runs come from one chain, and a coin says which of them failed.
    rng, flagged, tries = np.random.default_rng(7), 0, 150
    for _ in range(tries):
        rounds = rng.geometric(0.5, size=60) - 1
        coins = rng.random(60) < 0.3
        runs = [
            run_of("abc" * int(n) + "ax", success=not bad)
            for n, bad in zip(rounds, coins, strict=True)
        ]
        report = check([*runs, *runs_of((30, "xba", None))])
        flagged += any(v.kind == "suspect" for v in report.violations)
    assert flagged / tries <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / tries)


def test_a_baseline_and_outcomes_are_both_heard():
    runs = runs_of((20, "abcax", False), (60, "xax", True), (20, "xba", None))
    loop = [("a", "b", 90), ("b", "c", 90), ("c", "a", 90)]
    report = check(runs, baseline=TransitionCounts.from_edges(loop))
    assert the_loop(report).kind == "suspect"  # the failed runs walk it, whatever the baseline
    assert "failed runs" in the_loop(report).evidence


ONLY = [("plan", "act", 60), ("act", "check", 60), ("check", "plan", 50), ("check", END, 10)]


@pytest.mark.parametrize(
    ("graph", "kind"),
    [
        ({"plan": ["act"], "act": ["check"], "check": ["plan", END]}, "structural"),
        ([("plan", "act"), ("act", "check"), ("check", "plan"), ("check", END)], "structural"),
        ({"plan": ["act"], "act": ["act", "check"], "check": ["plan"]}, "structural"),
        ({"plan": ["act", "check"], "act": ["check"], "check": ["plan"]}, "unclassified"),
        ({"plan": ["act"], "act": ["check"]}, "unclassified"),
        ({}, "unclassified"),
    ],
)
def test_a_graph_decides_which_loops_leave_no_choice(graph, kind):
    report = check_balance(TransitionCounts.from_edges(ONLY), graph=graph)
    assert report.violations[0].kind == kind


def test_a_graph_makes_structural_what_retries_of_another_kind_had_hidden():
    seen = TransitionCounts.from_edges([*ONLY, ("act", "plan", 2)])
    allowed = {"plan": ["act"], "act": ["check"], "check": ["plan", END]}
    assert check_balance(seen).violations[0].kind == "unclassified"
    assert check_balance(seen, graph=allowed).violations[0].kind == "structural"


def test_runs_are_not_read_where_nothing_is_driven():
    def unread():
        raise AssertionError
        yield

    pairs = [(f, g, 50) for f in LOOP for g in LOOP if f != g]
    assert not check_balance(TransitionCounts.from_edges(pairs), trajectories=unread()).violations


def test_a_correction_of_another_name_is_refused():
    with pytest.raises(InvalidInputError, match="correction='holm'; allowed are bh, by"):
        check_balance(TransitionCounts.from_edges(ONLY), correction="holm")


def test_the_order_of_runs_changes_no_violation():
    rng = np.random.default_rng(0)
    runs = [
        run_of("abc" * int(n) + "ax", success=bool(rng.random() < 0.6), name=f"run-{i}")
        for i, n in enumerate(rng.geometric(0.4, size=80))
    ]
    runs += [run_of("xba", name=f"other-{i}") for i in range(30)]

    def violations(runs):
        table = RunTable.of(runs)
        return check_balance(table.counts(), trajectories=table).violations

    expected = violations(runs)
    assert any(v.trajectories for v in expected)
    for _ in range(5):
        shuffled = [runs[i] for i in rng.permutation(len(runs))]
        assert repr(violations(shuffled)) == repr(expected)
