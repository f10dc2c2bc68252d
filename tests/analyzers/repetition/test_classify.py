"""What single runs did, by stated rules; where loops are taken; how many steps to allow."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from detailed_balance.analyzers import (
    Outcome,
    RepetitionRules,
    Trajectory,
    TransitionCounts,
    classify_runs,
    estimate_potential,
    locate_loops,
    suggest_step_limit,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.forecast.step_limit import fewest_for_limit
from detailed_balance.analyzers.repetition.walk import RepetitionTracker
from tests.support.repetition import repetition_of_each


def run_of(states, name=None, **kwargs):
    """One letter for each state; `!` is an attempt that reached no state."""
    moves, here = [], "__start__"
    for state in states:
        moves.append((here, None if state == "!" else state))
        here = here if state == "!" else state
    return Trajectory(tuple(moves), name, **kwargs)


def the_row(states, **kwargs):
    report = classify_runs([run_of(states, success=False)], **kwargs)
    return report.rows[0]


# Patterns.


def test_a_stay_counts_visits_and_failed_attempts():
    stay = repetition_of_each([run_of("xaa!ab")])[0].stay
    assert (stay.states, stay.onset, stay.visits) == (("a",), 2, 4)


def test_the_last_block_of_one_stretch_may_begin_the_next():
    found = repetition_of_each([run_of("abacac")])[0]
    assert (found.shuttle.states, found.shuttle.onset, found.shuttle.switches) == (
        ("a", "c"),
        3,
        3,
    )


def test_a_stretch_in_a_trap_ends_where_it_is_left():
    (trapped,) = repetition_of_each([run_of("xabcxabcabcx")], [("a", "b", "c")])[0].trapped
    assert (trapped.onset, trapped.visits) == (6, 6)


def test_an_empty_run_shows_nothing():
    found = repetition_of_each([Trajectory(())])[0]
    assert (found.stay.visits, found.shuttle.switches, found.loops) == (0, 0, ())


@given(st.text("abcd", max_size=40))
def test_loops_are_those_that_a_guard_counts(states):
    run, repetition = run_of(states), RepetitionTracker()
    for move in run.moves:
        repetition.update(*move)
    found = repetition_of_each([run])[0]
    assert {loop.states: loop.rounds for loop in found.loops} == dict(repetition.loops)
    assert found.stay.visits == repetition.longest_stay.times


def test_the_onset_of_a_loop_is_where_its_first_round_began():
    (loop,) = repetition_of_each([run_of("xyabcabc")])[0].loops
    assert (loop.states, loop.onset, loop.rounds) == (("a", "b", "c"), 3, 1)


# Kinds.


@pytest.mark.parametrize(
    ("states", "kind", "where", "times", "onset"),
    [
        ("x" + "ab" * 6, "shuttle", ("a", "b"), 11, 2),
        ("xy" + "a" * 10, "stay", ("a",), 10, 3),
        ("x" + "abc" * 6, "cycle", ("a", "b", "c"), 5, 2),
        ("x" + "abc" * 5, "other", (), 0, None),
        ("x" + "ab" * 5, "other", (), 0, None),
    ],
)
def test_each_kind_has_its_rule(states, kind, where, times, onset):
    row = the_row(states)
    assert (row.kind, row.states, row.times, row.onset) == (kind, where, times, onset)
    assert row.after == (None if onset is None else len(states) - onset)


def test_a_hub_with_side_trips_is_a_cycle_of_two_states():
    row = the_row("xhahbhahchahdhahah")
    assert (row.kind, row.states, row.times, row.onset) == ("cycle", ("a", "h"), 5, 2)


def test_of_several_kinds_the_one_with_the_most_visits_is_told():
    assert the_row("ab" * 6 + "c" * 40).kind == "stay"
    assert the_row("ab" * 40 + "c" * 12).kind == "shuttle"


def test_a_trap_of_three_states_holds_a_run_that_goes_about_in_it():
    rng = np.random.default_rng(0)
    walk = "x" + "".join(rng.choice(list("abc"), 60)) + "y"
    row = the_row(walk, traps=[("a", "b", "c")])
    assert (row.kind, row.states, row.onset, row.times) == ("stay", ("a", "b", "c"), 2, 20)


def test_a_run_at_the_limit_that_repeats_nothing_is_of_its_own_kind():
    limit = run_of("abcd", outcome=Outcome.RECURSION_LIMIT, success=False)
    assert classify_runs([limit]).rows[0].kind == "limit"


def test_progress_is_to_end_no_higher_than_it_began():
    edges = [("a", "b", 80), ("a", None, 20), ("b", "a", 20), ("b", None, 80)]
    counts = TransitionCounts.from_edges(edges)
    potential = estimate_potential(counts)
    report = classify_runs([run_of("ab"), run_of("ba"), run_of("az")], potential=potential)
    assert {kind.kind: kind.runs for kind in report.kinds} == {"progressing": 1, "other": 2}
    assert report.rows == ()


def test_the_runs_that_matter_come_worst_first_and_are_bounded():
    runs = [
        run_of("abcd", "fine", success=True),
        run_of("abcd", "failed", success=False),
        run_of("a" * 50, "stuck but good", success=True),
        run_of("a" * 20, "stay", success=False),
        run_of("a" * 30, "stuck longer", success=False),
    ]
    report = classify_runs(runs)
    names = [row.name for row in report.rows]
    assert names == ["stuck longer", "stay", "stuck but good", "failed"]
    assert [row.similar_successes for row in report.rows] == [1, 1, 0, 0]
    assert report.typical is not None
    assert report.typical.name == "stuck but good"
    cut = classify_runs(runs, keep=1)
    assert (len(cut.rows), cut.left_out) == (1, 3)
    assert report.to_dict()["settings"]["visits"] == 10


def test_costs_after_the_onset_are_added_up():
    run = Trajectory((("x", "y"), *[("y", "y")] * 12), "r", success=False, costs=(5.0, *[2.0] * 12))
    report = classify_runs([run])
    assert (report.rows[0].cost, report.rows[0].cost_after) == (29.0, 24.0)
    assert report.kinds[0].cost_after == 24.0


def test_rules_that_make_no_sense_are_refused():
    with pytest.raises(InvalidInputError, match="visits=1"):
        RepetitionRules(visits=1)


# Loops.


def test_loops_are_found_in_runs_whichever_state_they_are_named_from():
    runs = [run_of("abcabca", "one", success=False), run_of("acba", "two"), run_of("xyz", "no")]
    (seen,) = locate_loops(runs, [("b", "c", "a")])
    assert (seen.runs, seen.failed, seen.rounds, seen.back) == (1, 1, 2, 1)
    assert (seen.onset, seen.examples) == (1, ("one",))


def test_a_loop_that_nobody_walked_has_no_onset():
    (seen,) = locate_loops([run_of("abc")], [("a", "b", "c")])
    assert seen.runs == 0
    assert np.isnan(seen.onset)


# Limits.


def test_the_limit_keeps_its_promise_as_often_as_it_says():
    # Of 100 values below 1, the 95% bound of the 90% quantile lies above 0.9 in 95% of samples.
    rng = np.random.default_rng(0)
    steps = (rng.random((4_000, 100)) * 1e6).astype(int)
    limits = [suggest_step_limit(row.tolist(), share=0.9).limit for row in steps]
    kept = np.mean(np.array(limits) >= 0.9e6)
    assert 0.95 <= kept <= 0.985  # an order statistic cannot hit 95% exactly: P = 0.9763


@pytest.mark.parametrize(("share", "n"), [(0.95, 59), (0.99, 299), (0.9, 29)])
def test_the_fewest_runs_are_those_of_the_tables(share, n):
    assert fewest_for_limit(share, 0.95) == n
    assert suggest_step_limit(range(n), share=share).enough
    short = suggest_step_limit(range(n - 1), share=share)
    assert not short.enough
    assert short.share == pytest.approx(0.05 ** (1 / (n - 1)))
    assert short.share < share


def test_without_a_success_there_is_no_limit():
    with pytest.raises(InsufficientDataError, match="no run is known to have succeeded"):
        suggest_step_limit([])
    with pytest.raises(InvalidInputError, match="share=1"):
        suggest_step_limit([3], share=1.0)


# Order.


def test_the_order_of_runs_changes_no_row_and_no_number():
    rng = np.random.default_rng(0)
    runs = [
        run_of(
            "".join(rng.choice(list("abcd"), p=[0.4, 0.4, 0.1, 0.1], size=rng.integers(3, 40))),
            f"run-{i}",
            success=bool(rng.random() < 0.5),
        )
        for i in range(80)
    ]
    rules = RepetitionRules(visits=4, rounds=2)

    def study(runs):
        report = classify_runs(runs, traps=[("a", "b")], rules=rules, keep=20)
        assert report.typical is not None
        rows = [replace(row, place=0) for row in (*report.rows, report.typical)]
        return rows, report.kinds, report.left_out, locate_loops(runs, ["abc", "ab", "acb"])

    expected = study(runs)
    assert len({row.kind for row in expected[0]}) > 2
    for _ in range(5):
        assert study([runs[i] for i in rng.permutation(len(runs))]) == expected
