from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from detailed_balance.analyzers import (
    END,
    START,
    Trajectory,
    TransitionCounts,
    check_balance,
)
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.table import RunTable
from tests.support.runs import push_round, random_weights, walk_runs

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
    return check_balance(counts_of(runs), runs=runs, **options)


def the_loop(report):
    (violation,) = [v for v in report.violations if set(v.loop) == set(LOOP)]
    return violation


def test_a_loop_that_failed_runs_walk_more_than_their_visits_explain_is_suspect():
    runs = runs_of((20, "abcabcax", False), (30, "abcaxxax", True), (50, "axaxaxax", True))
    violation = the_loop(check([*runs, *runs_of((10, "xbaxab", None))]))
    assert violation.kind == "suspect"
    assert violation.odds_ratio > 3
    assert violation.odds_interval[0] > 1
    assert violation.odds_pvalue <= 0.05
    assert "failed runs take it more than their visits" in violation.describe()


def test_a_loop_that_failed_and_successful_runs_walk_alike_is_a_work_flow():
    runs = runs_of((20, "abcax", False), (20, "axbax", False))
    runs += runs_of((60, "abcax", True), (60, "axbax", True))
    violation = the_loop(check([*runs, *runs_of((20, "xbaxab", None))]))
    assert violation.kind == "work-flow"
    assert violation.odds_ratio == pytest.approx(1.0)
    assert violation.detectable_odds < 6
    assert "would have been found" in violation.evidence


def test_too_few_failed_runs_leave_a_loop_unclassified_and_the_reason_is_said():
    runs = runs_of((1, "abc" * 40 + "ax", False), (3, "xbax", True), (30, "xba", None))
    violation = the_loop(check(runs))
    assert violation.kind == "unclassified"
    assert "not known" in violation.describe()


def test_failed_runs_that_are_all_longer_leave_a_loop_unclassified():
    runs = runs_of((20, "abc" * 9 + "ax", False), (60, "abcax", True), (30, "xba", None))
    violation = the_loop(check(runs))
    assert violation.kind == "unclassified"
    assert "length alone may explain" in violation.evidence


@pytest.mark.parametrize("success", [True, False, None])
def test_without_both_outcomes_there_are_examples_but_no_odds(success):
    runs = runs_of((40, "abcax", success), (20, "xba", success))
    violation = the_loop(check(runs))
    assert violation.kind == "unclassified"
    assert np.isnan(violation.odds_ratio)
    assert len(violation.trajectories) == 3


def test_one_push_is_one_cause_named_by_its_strongest_short_loop():
    rng = np.random.default_rng(11)
    for nats in (1.0, 3.0):
        runs = walk_runs(rng, push_round(random_weights(rng, 6), (0, 1, 2), nats), 200)
        (violation,) = check(runs).violations
        assert violation.loop == ("0", "1", "2")
        assert len(violation.explains) >= 5
        for i, loop in enumerate(violation.explains):
            others = [violation.loop, *violation.explains[:i], *violation.explains[i + 1 :]]
            assert any(set(loop.edges()) & set(other.edges()) for other in others)


def test_two_pushes_that_share_no_move_are_two_causes():
    rng = np.random.default_rng(12)
    weights = push_round(push_round(random_weights(rng, 7), (0, 1, 2), 2.0), (3, 4, 5), 2.0)
    found = check(walk_runs(rng, weights, 300)).violations
    assert {v.loop for v in found[:2]} == {("0", "1", "2"), ("3", "4", "5")}


def test_a_loop_of_failed_runs_does_not_make_a_stronger_work_flow_suspect():
    # All runs walk abc round; failed ones abde, too, which shares a move with it.
    rng = np.random.default_rng(17)
    weights = push_round(random_weights(rng, 6), (0, 1, 2), 3.0)
    runs = walk_runs(rng, weights, 140, success=1.0)
    pushed = push_round(weights, (0, 1, 3, 4), 2.0)
    runs += walk_runs(rng, pushed, 60, success=0.0, prefix="bad")
    kinds = {v.loop: v.kind for v in check(runs).violations}
    assert kinds[("0", "1", "2")] != "suspect"
    suspect = [loop for loop, kind in kinds.items() if kind == "suspect"]
    assert suspect
    assert all({"3", "4"} & set(loop) for loop in suspect)


def test_a_push_shows_inside_runs_and_a_mixture_does_not():
    rng = np.random.default_rng(13)
    pushed = check(walk_runs(rng, push_round(random_weights(rng, 5), (0, 1, 2), 1.0), 150))
    assert [v.loop for v in pushed.driven] == [("0", "1", "2")]
    assert pushed.violations[0].closed[0] > pushed.violations[0].closed[1]
    found = 0
    while not found:  # a mixture that the pooled test takes for a push
        runs = walk_runs(rng, random_weights(rng, 5, spread=2.0), 200)
        runs += walk_runs(rng, random_weights(rng, 5, spread=2.0), 200, prefix="b", start=3)
        mixed = check(runs)
        found = len(mixed.violations)
    assert mixed.driven == ()
    assert mixed.mixture.rejected


def test_failed_runs_that_are_pushed_are_found_where_all_runs_together_show_no_push():
    rng, found = np.random.default_rng(14), 0
    for _ in range(10):
        weights = random_weights(rng, 6)
        runs = walk_runs(rng, weights, 80, success=1.0)
        pushed = push_round(weights, (0, 1, 2), 2.0)
        runs += walk_runs(rng, pushed, 20, success=0.0, prefix="bad")
        found += any(v.kind == "suspect" for v in check(runs).violations)
    assert found >= 7


def test_errors_are_by_runs_where_runs_repeat_their_moves():
    # Each run goes round many times in one direction: its moves are one observation.
    rng = np.random.default_rng(15)
    runs = [
        run_of("abc" * int(n) if rng.random() < 0.6 else "acb" * int(n), name=f"{i}")
        for i, n in enumerate(rng.integers(5, 15, 200))
    ]
    by_runs = the_loop(check(runs))
    by_moves = check_balance(counts_of(runs)).violations[0]
    assert by_runs.affinity == by_moves.affinity
    assert by_runs.error > 2 * by_moves.error


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
    rng, flagged, tries = np.random.default_rng(7), 0, 100
    for _ in range(tries):
        rounds = rng.geometric(0.5, size=60) - 1
        coins = rng.random(60) < 0.3
        runs = [
            run_of("abc" * int(n) + "ax", success=not bad)
            for n, bad in zip(rounds, coins, strict=True)
        ]
        report = check([*runs, *runs_of((30, "xba", None))], replicates=99)
        flagged += any(v.kind == "suspect" for v in report.violations)
    assert flagged / tries <= 0.05 + 3.7 * np.sqrt(0.05 * 0.95 / tries)


def test_a_baseline_and_outcomes_are_both_heard():
    runs = runs_of((20, "abcabcax", False), (30, "abcaxxax", True), (50, "axaxaxax", True))
    runs += runs_of((10, "xbaxab", None))
    loop = [("a", "b", 90), ("b", "c", 90), ("c", "a", 90)]
    report = check(runs, baseline=TransitionCounts.from_edges(loop))
    assert the_loop(report).kind == "suspect"  # the failed runs walk it, whatever the baseline
    assert "failed runs" in the_loop(report).evidence


def test_a_baseline_of_runs_is_compared_by_runs():
    rng = np.random.default_rng(16)
    weights = push_round(random_weights(rng, 5), (0, 1, 2), 1.5)
    runs = walk_runs(rng, weights, 100)
    as_usual = check(runs, baseline=walk_runs(rng, weights, 100, prefix="usual")).violations[0]
    assert as_usual.kind == "work-flow"
    usual = walk_runs(rng, random_weights(rng, 5), 100, prefix="usual")
    changed = check(runs, baseline=usual).violations[0]
    assert changed.kind == "suspect"
    assert "those of the baseline" in changed.evidence


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


def test_the_only_exits_ever_seen_are_no_evidence_of_a_design_where_nothing_was_left():
    left = TransitionCounts.from_edges(ONLY)
    never = TransitionCounts.from_edges([move for move in ONLY if END not in move])
    assert check_balance(left).violations[0].kind == "structural"
    assert check_balance(never).violations[0].kind == "unclassified"


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
        return check_balance(table.counts(), runs=table).violations

    expected = violations(runs)
    assert any(v.trajectories for v in expected)
    for _ in range(5):
        shuffled = [runs[i] for i in rng.permutation(len(runs))]
        assert repr(violations(shuffled)) == repr(expected)
