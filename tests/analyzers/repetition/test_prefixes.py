"""What runs have done after each move, all at once, is what a tracker counts move by move."""

from __future__ import annotations

from hypothesis import example, given, settings, strategies as st

from detailed_balance.analyzers import END, START, Trajectory
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.repetition.measure import MeasuredRuns
from detailed_balance.analyzers.repetition.prefixes import measure_prefixes
from detailed_balance.analyzers.repetition.walk import Repeated, RepetitionTracker
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.runs.trajectory import StepFacts
from tests.support.trajectories import RUNS

SOURCES, TARGETS = (
    st.sampled_from(["a", "b", "c", START]),
    st.sampled_from([*"abcabcabc", None, END]),
)
RESUMED = st.sampled_from([None, None, None, StepFacts(), StepFacts(resumed=True)])
LONG = st.lists(
    st.lists(st.tuples(SOURCES, TARGETS, RESUMED), max_size=30).map(
        lambda steps: Trajectory(
            tuple(step[:2] for step in steps), facts=tuple(step[2] for step in steps)
        )
    ),
    max_size=4,
)


@settings(deadline=None, max_examples=200)
@given(RUNS | LONG)
def test_columns_are_the_counts_of_a_tracker_after_each_move(runs: list[Trajectory]) -> None:
    table, names = RunTable.of(runs), ("steps", "escapes", "stay", "shuttle", "rounds")
    expected, visits = [], []
    for run in runs:
        tracker, seen = RepetitionTracker(), 0
        for move in run.moves:
            tracker.update(*move)
            new = list(tracker.visited)[seen:]
            visits += [(len(expected), state) for state in new]
            seen += len(new)
            longest = tracker.longest_stay.times, tracker.longest_shuttle.times
            expected.append([*(getattr(tracker, name) for name in names), *longest])
    found = measure_prefixes(table)
    columns = [
        getattr(found, name).tolist() for name in (*names, "longest_stay", "longest_shuttle")
    ]
    assert [list(row) for row in zip(*columns, strict=True)] == expected
    places = zip(found.new_move.tolist(), found.new_state.tolist(), strict=True)
    assert [(move, table.states[state]) for move, state in places] == visits


def test_many_runs_that_go_round_are_walked_in_lock_step() -> None:
    runs = [Trajectory((("a", "b"), ("b", "c"), ("c", "a")) * (1 + i % 5)) for i in range(200)]
    found = measure_prefixes(runs)
    last = RunTable.of(runs).offsets[1:] - 1
    assert found.rounds[last].tolist() == [1 + i % 5 for i in range(200)]


TIED = [*zip("aaaaaaaaaa", "bcabababca", strict=True)]
"""Twice round a, b, c, which was closed first, and twice round a, b, which had it twice before."""


@settings(deadline=None, max_examples=200)
@given(RUNS | LONG)
@example([Trajectory(tuple(TIED))])
def test_the_longest_of_each_run_is_what_a_tracker_tells(runs: list[Trajectory]) -> None:
    measured = MeasuredRuns.of(runs)
    columns = {"stay": measured.stays(), "shuttle": measured.shuttles(), "cycle": measured.cycles()}
    for i, run in enumerate(runs):
        tracker, told = RepetitionTracker(), 3 * [Repeated()]
        if run.moves and run.moves[0][0] not in BOUNDARIES:
            told[0] = Repeated((run.moves[0][0],), 1)  # before the first move
        now = told
        for move, facts in zip(run.moves, run.facts or [None] * len(run), strict=True):
            if facts is not None and facts.resumed:
                told = most(told, now)  # what comes now is counted anew
            tracker.update(*move, facts)
            now = [tracker.longest_stay, tracker.longest_shuttle, tracker.most_rounds]
        told = most(told, now)
        for (kind, found), one in zip(columns.items(), told, strict=True):
            assert found.times[i] == one.times
            if one.times:
                assert measured.where(kind, i, int(found.place[i])) == one.states
                assert found.onset[i] == one.onset


def most(*parts: list[Repeated]) -> list[Repeated]:
    """The most of each kind, of equal ones the first."""
    return [max(each, key=lambda one: one.times) for each in zip(*parts, strict=True)]


def test_counting_begins_anew_where_a_person_has_answered() -> None:
    tracker = RepetitionTracker()
    for move in [(START, "a"), ("a", "b"), ("b", "a"), ("a", "b")]:
        tracker.update(*move)
    assert (tracker.shuttle, tracker.rounds) == (3, 1)
    tracker.begin_anew()
    assert (tracker.shuttle, tracker.rounds, tracker.steps) == (0, 0, 4)
    tracker.update("b", "a")
    assert (tracker.shuttle, tracker.stay, tracker.longest_stay.onset) == (0, 1, 5)


def test_steps_that_bring_nothing_are_counted_in_a_row() -> None:
    tracker, seen = RepetitionTracker(), []
    stale, new = StepFacts(call=1, answer=1, stale=True), StepFacts(call=2, answer=2)
    for target, facts in [("a", new), ("a", stale), (None, None), ("a", stale), ("a", None)]:
        tracker.update("a", target, facts)
        seen.append(tracker.idle)
    assert seen == [0, 1, 2, 3, 0]
