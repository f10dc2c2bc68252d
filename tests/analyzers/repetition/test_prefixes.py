"""What runs have done after each move, all at once, is what a tracker counts move by move."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from detailed_balance.analyzers import END, START, Trajectory
from detailed_balance.analyzers.repetition.prefixes import measure_prefixes
from detailed_balance.analyzers.repetition.walk import RepetitionTracker
from detailed_balance.analyzers.runs.table import RunTable
from tests.support.trajectories import RUNS

SOURCES, TARGETS = (
    st.sampled_from(["a", "b", "c", START]),
    st.sampled_from([*"abcabcabc", None, END]),
)
LONG = st.lists(
    st.lists(st.tuples(SOURCES, TARGETS), max_size=30).map(lambda moves: Trajectory(tuple(moves))),
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
