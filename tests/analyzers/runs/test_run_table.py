"""A table of runs is the same runs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, strategies as st

from detailed_balance.analyzers import END, START, Trajectory, TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.arrays import Paths
from detailed_balance.analyzers.runs.roots import root_places
from detailed_balance.analyzers.runs.table import RunTable
from tests.support.trajectories import RUNS


@given(RUNS)
def test_every_run_comes_back_as_it_was(runs: list[Trajectory]) -> None:
    assert list(RunTable.from_trajectories(runs)) == runs


@given(RUNS)
def test_counts_are_those_of_the_moves_in_whatever_order_runs_are(runs: list[Trajectory]) -> None:
    table, reverse = RunTable.of(runs), RunTable.of(runs[::-1])
    counts, expected = table.counts(), count_one_by_one(runs)
    assert counts.states == tuple(sorted(expected.states)) == reverse.counts().states
    for state in expected.states:
        i, j = counts.index(state), expected.index(state)
        assert counts.attempts[i] == expected.attempts[j]
        for target in expected.states:
            k, m = counts.index(target), expected.index(target)
            assert counts.counts[i, k] == expected.counts[j, m] == reverse.counts().counts[i, k]


@given(RUNS)
def test_moves_by_run_add_up_to_each_run(runs: list[Trajectory]) -> None:
    table = RunTable.of(runs)
    moves, counts = table.distinct_moves(), table.by_run()
    names = (*table.states, None)
    for run, row in zip(runs, counts.toarray(), strict=True):
        for f, g, count in zip(moves.source, moves.target, row, strict=True):
            assert count == run.moves.count((table.states[f], names[g]))
        assert row.sum() == len(run)


def count_one_by_one(runs):
    return TransitionCounts.from_edges((*move, 1) for run in runs for move in run.moves)


def _walk(run: Trajectory, judged: bool) -> Iterator[tuple[str, str | None, int]]:
    """Yield source, target and end of each move: the definition, move by move."""
    success = run.success
    if success is None and run.outcome is not None:
        success = run.outcome.success
    here = None
    for source, target in run.moves:
        if target == END:
            if not judged or success is not None:
                yield source, None, 0 if not judged or success else 1
            return
        here = source if target is None else target
        yield source, here, -1
    if judged and success is not None and here is not None:
        yield here, None, 0 if success else 1


@given(RUNS, st.booleans())
def test_paths_are_the_moves_up_to_the_end(runs: list[Trajectory], judged: bool) -> None:
    rows = [(i, *move) for i, run in enumerate(runs) for move in _walk(run, judged)]
    if not rows:
        return
    paths = Paths.from_runs(RunTable.of(runs), judged=judged)
    n, steps = len(paths.states), paths.steps
    found = [
        (run, paths.states[f], None if g >= n else paths.states[g], g - n if g >= n else -1)
        for run, f, g in zip(steps.run, steps.here, steps.after, strict=True)
    ]
    assert found == rows
    assert END not in paths.states
    assert paths.n_runs == len(runs)


def hide_by_hand(run: Trajectory, hidden: set[str]) -> list[tuple[str, str | None]]:
    """Return the moves left: the definition, move by move."""
    left: list[tuple[str, str | None]] = []
    stands, reached = None, None
    for source, target in run.moves:
        if source != reached:
            stands = None  # another stretch
        stands = stands if source in hidden else source
        if stands is not None and (target is None or target not in hidden):
            left.append((stands, target))
        reached = source if target is None else target
    return left


@given(RUNS)
def test_hidden_states_are_spliced_out_of_each_run(runs: list[Trajectory]) -> None:
    table = RunTable.of(runs)
    if "hub" not in table.states:
        with pytest.raises(InvalidInputError, match="no state 'hub'"):
            table.hide(["hub"])
        return
    hidden = table.hide(["hub"])
    assert [list(run.moves) for run in hidden] == [hide_by_hand(run, {"hub"}) for run in runs]
    assert "hub" not in hidden.states
    for before, after in zip(runs, hidden, strict=True):
        if after.moves and before.costs:
            assert sum(after.costs) == pytest.approx(sum(before.costs))
        tokens = [sum(f.tokens or 0 for f in run.facts if f) for run in (before, after)]
        assert not after.moves or tokens[0] == tokens[1] or not after.facts


def test_hiding_a_hub_keeps_order_stays_and_escapes() -> None:
    moves = ((START, "hub"), ("hub", "a"), ("a", "hub"), ("hub", None), ("hub", "a"), ("a", "hub"))
    run = Trajectory((*moves, ("hub", END)), costs=(1, 2, 4, 8, 16, 32, 64))
    hidden = RunTable.of([run]).hide("hub")[0]
    assert hidden.moves == ((START, "a"), ("a", None), ("a", "a"), ("a", END))
    assert hidden.costs == (3, 12, 16, 96)


@given(RUNS)
def test_selected_runs_are_those_runs(runs: list[Trajectory]) -> None:
    table = RunTable.of(runs)
    places = [i for i in range(len(runs)) if i % 2 == 0] * 2
    assert list(table.select(np.array(places, dtype=int))) == [runs[i] for i in places]
    assert list(table[::2]) == runs[::2]


def test_a_window_of_time_and_labels_choose_runs() -> None:
    runs = [
        Trajectory((("a", "b"),), str(i), context=(("model", "xy"[i % 2]),), started=float(i))
        for i in range(6)
    ]
    table = RunTable.of([*runs, Trajectory((("a", "b"),), "no time")])
    assert [
        run.name for run in table.where({"model": "x"}, since=1, until="1970-01-01T00:00:04")
    ] == ["2"]
    assert [run.name for run in table.where(until=1.0)] == ["0"]


def test_merged_states_are_one_and_renaming_makes_none_one() -> None:
    table = RunTable.of([Trajectory((("web", "docs"), ("docs", None), ("docs", "end")))])
    merged = table.merge({"web": "search", "docs": "search"})
    assert merged[0].moves == (("search", "search"), ("search", None), ("search", "end"))
    assert table.rename({"web": "zzz"})[0].moves[0] == ("zzz", "docs")
    with pytest.raises(InvalidInputError, match=r"'docs' would be the name of more than one state"):
        table.rename({"web": "docs"})


def test_blocks_are_drawn_whole() -> None:
    runs = [Trajectory((("a", "b"),), context=(("task", str(i // 3)),)) for i in range(12)]
    table = RunTable.of(runs)
    weights = table.bootstrap_weights(np.random.default_rng(0), 50, block="task")
    assert (weights.reshape(50, 4, 3) == weights[:, ::3, None]).all()
    assert (weights.sum(axis=1) == 12).all()
    counts = table.bootstrap_counts(np.random.default_rng(0), 50, block="task")
    assert (counts[:, 0] == 12).all()
    with pytest.raises(InvalidInputError, match="'tsk' to tell its block; the labels are 'task'"):
        table.resample(np.random.default_rng(0), block="tsk")


def test_drawn_runs_have_the_mean_and_the_spread_of_the_runs() -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 9, size=200)
    table = RunTable.of([Trajectory((("a", "b"),) * int(n)) for n in lengths])
    totals = table.bootstrap_counts(rng, 2_000)[:, 0]
    spread = lengths.std() * np.sqrt(200)
    assert totals.mean() == pytest.approx(lengths.sum(), abs=5 * spread / np.sqrt(2_000))
    assert totals.std() == pytest.approx(spread, rel=0.1)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 9)), max_size=8))
def test_root_runs_are_found_through_any_depth(pairs: list[tuple[int, int]]) -> None:
    ids = list(dict.fromkeys(i for i, _ in pairs))
    parents = {i: None if p == i or p > 7 else str(p) for i, p in pairs}
    runs = [Trajectory((("a", "b"),), run=str(i), parent=parents[i]) for i in ids]
    root = root_places(RunTable.of(runs))
    place = {run.run: i for i, run in enumerate(runs)}

    def climb(i: int, seen: tuple[int, ...]) -> int | None:
        above = place.get(runs[i].parent)
        if above is None:
            return i
        return None if above in seen else climb(above, (*seen, above))

    found = [climb(i, (i,)) for i in range(len(runs))]
    assert root.tolist() == [i if top is None else top for i, top in enumerate(found)]
