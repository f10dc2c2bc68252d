"""What all runs repeat, as columns, is what each of them repeats by itself."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st

from detailed_balance.analyzers import END, START, Trajectory
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.repetition import _loop_erasure
from detailed_balance.analyzers.repetition.classify import (
    REPEATING,
    RepetitionRules,
    RunKinds,
)
from detailed_balance.analyzers.repetition.measure import MeasuredRuns
from detailed_balance.analyzers.runs.trajectory import StepFacts
from tests.support.repetition import measure_repetition, repeating_kind, repetition_of_each

TRAPS = [("b", "a"), ("c",), ("a", "b", "never"), ("d", "c", "b")]

states = st.sampled_from("abcde")
letters = st.sampled_from(["a", "b", "c", "d", "!"])
joined = st.lists(letters, max_size=40).map(lambda path: run_of("".join(path)))
moves = st.tuples(
    st.sampled_from([*"abc", START, END]), st.sampled_from([*"abc", START, END, None])
)
broken = st.lists(moves, max_size=15).map(lambda each: Trajectory(tuple(each)))


def resume(run: Trajectory, resumed: list[int]) -> Trajectory:
    """Return a run that was resumed with some of its moves."""
    return replace(run, facts=tuple(StepFacts(resumed=i in resumed) for i in range(len(run))))


resumed = st.builds(resume, joined | broken, st.lists(st.integers(0, 39), max_size=6))
runs_of_any_kind = st.lists(joined | broken | resumed, max_size=12)


def run_of(path: str, start: str = START) -> Trajectory:
    """One letter for each state; `!` is an attempt that reached no state, `.` the end."""
    moves: list[tuple[str, str | None]] = []
    here = start
    for letter in path:
        target = {"!": None, ".": END}.get(letter, letter)
        moves.append((here, target))
        here = target or here
    return Trajectory(tuple(moves))


@pytest.fixture(params=["at once", "one by one", "a few at a time", "many states"])
def way(request, monkeypatch):
    """All ways through the walk: the bound below which runs go on alone, the sizes of tables."""
    if request.param == "at once":
        monkeypatch.setattr(_loop_erasure, "FEWEST_AT_ONCE", 1)
    if request.param == "a few at a time":
        monkeypatch.setattr(_loop_erasure, "FEWEST_AT_ONCE", 3)
        monkeypatch.setattr(_loop_erasure, "CELLS", 12)
    if request.param == "many states":
        monkeypatch.setattr(_loop_erasure, "FEWEST_AT_ONCE", 2)
        monkeypatch.setattr(_loop_erasure, "FEW_STATES", 1)


@given(runs_of_any_kind)
def check_any_runs(runs):
    expected = [measure_repetition(run, TRAPS) for run in runs]
    assert repetition_of_each(runs, TRAPS) == expected


def test_columns_are_what_each_run_does_by_itself(way):
    check_any_runs()


@given(runs_of_any_kind)
def test_kinds_are_those_of_each_run_by_itself(runs):
    rules = RepetitionRules(visits=3, rounds=2)
    found = RunKinds.find(runs, traps=TRAPS, rules=rules)
    expected = [repeating_kind(measure_repetition(run, TRAPS), rules) for run in runs]
    assert [([*REPEATING, None, None, None])[kind] for kind in found.kind] == expected


def test_many_runs_that_end_at_different_times_are_measured_alike(way):
    rng = np.random.default_rng(0)
    runs = [
        run_of("".join(rng.choice(list("abcdefgh!"), size=n)), start=rng.choice([START, "a"]))
        for n in rng.geometric(0.05, size=150)
    ]
    assert repetition_of_each(runs, TRAPS) == [measure_repetition(run, TRAPS) for run in runs]


def test_a_long_run_beside_short_ones_is_measured_alike(way):
    rng = np.random.default_rng(1)
    long = Trajectory(tuple((f"s{i}", f"s{j}") for i, j in rng.integers(80, size=(3_000, 2))))
    runs = [run_of("abcab"), long, run_of("ba")]
    assert repetition_of_each(runs, []) == [measure_repetition(run) for run in runs]


def test_loops_are_known_by_name():
    runs = [run_of("abcabca"), run_of("acba"), run_of("dabcdeadbcdea"), run_of("abab")]
    loops = MeasuredRuns.of(runs).loops
    names = [loops.name(i) for i in range(len(loops))]
    assert names == sorted(names, key=lambda name: (len(name), name))
    assert loops.find(names).tolist() == list(range(len(loops)))
    assert loops.find([Loop("bca"), Loop("az"), Loop("abcde")]).tolist() == [
        names.index(tuple("abc")),
        -1,
        -1,
    ]


def test_loops_too_long_for_a_number_are_told_apart():
    names = [f"s{i:03d}" for i in range(300)]
    ring = [*names[:40], names[0]]
    other = [*names[:39], names[200], names[0]]
    walk = [*ring, *other[1:], *ring[1:]]
    run = Trajectory(tuple(pairwise(walk)))
    away = Trajectory(tuple((name, name) for name in names))
    (one, two) = MeasuredRuns.of([run, away]).loops.rounds.tolist()
    assert (one, two) == (2, 1)


def test_runs_without_moves_repeat_nothing():
    for runs in ([], [Trajectory(())], [Trajectory(((START, END),))]):
        measured = MeasuredRuns.of(runs)
        assert measured.stay.visits.tolist() == [0] * len(runs)
        assert len(measured.loops) == 0
        assert measured.cycles().times.tolist() == [0] * len(runs)
        assert measured.in_trap("ab").visits.tolist() == [0] * len(runs)


def test_the_cycle_of_a_run_is_the_loop_with_most_rounds_side_trips_cut_out():
    runs = [run_of("abcabcabca"), run_of("hahbhahbhchah"), run_of("abc")]
    found = MeasuredRuns.of(runs).cycles()
    assert found.times.tolist() == [3, 3, 0]
    assert found.visits.tolist() == [9, 6, 0]
    assert (found.onset.tolist(), found.end.tolist()) == ([1, 1, 0], [10, 13, 0])
    assert MeasuredRuns.of(runs).loops.name(found.place[1]) == Loop("ah")
