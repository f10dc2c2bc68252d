"""How often runs walk round given loops without leaving them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st

from detailed_balance.analyzers import END, START, Trajectory
from detailed_balance.analyzers.repetition.rounds import count_rounds
from detailed_balance.analyzers.runs.table import RunTable

LOOPS = ["abc", "acb", "ab", "abcd", "adcb", "bdc", "abdc", "azb"]

moves = st.tuples(st.sampled_from([*"abcd", START]), st.sampled_from([*"abcd", END, None]))
joined = st.lists(st.sampled_from(["a", "b", "c", "d", "abcabcab", "dcb"]), max_size=20).map(
    lambda parts: run_of("".join(parts))
)
broken = st.lists(moves, max_size=20).map(lambda each: Trajectory(tuple(each)))


def run_of(states):
    return Trajectory(tuple(pairwise((START, *states, END))))


def rounds_of(run, loop):
    return int(count_rounds(RunTable.of([run]), [tuple(loop)]).rounds.sum())


def rounds_by_hand(run, loop):
    """Follow the loop move by move, and start again after each round and each step beside it."""
    follows = dict(zip(loop, [*loop[1:], loop[0]], strict=True))
    rounds = streak = 0
    at = None
    for source, target in run.moves:
        if target is None or source == target:
            continue
        if follows.get(source) != target:
            streak = 0
            continue
        streak = streak + 1 if source == at else 1
        at = target
        if streak == len(loop):
            rounds, streak = rounds + 1, 0
    return rounds


@pytest.mark.parametrize(
    ("states", "loop", "rounds"),
    [
        ("abca", "abc", 1),
        ("abca", "bca", 1),
        ("abcabca", "abc", 2),
        ("abcaxabc", "abc", 1),
        ("abxca", "abc", 0),
        ("aabbca", "abc", 1),
        ("abca", "cba", 0),
        ("babcabcxcab", "abc", 1),
    ],
)
def test_rounds_are_those_counted_by_hand(states, loop, rounds):
    assert rounds_of(run_of(states), loop) == rounds


def test_an_escape_does_not_break_a_round_but_a_jump_does():
    tried = Trajectory((("a", "b"), ("b", None), ("b", "c"), ("c", "a")))
    jumped = Trajectory((("a", "b"), ("b", "c"), ("a", "b"), ("c", "a")))
    assert rounds_of(tried, "abc") == 1
    assert rounds_of(jumped, "abc") == 0


@given(st.lists(joined | broken, max_size=8))
def test_rounds_of_all_loops_in_all_runs_are_those_counted_one_by_one(runs):
    found = count_rounds(RunTable.of(runs), LOOPS)
    rounds = np.zeros((len(LOOPS), len(runs)), dtype=int)
    rounds[found.loop, found.run] = found.rounds
    assert (found.rounds > 0).all()
    expected = [[rounds_by_hand(run, loop) for run in runs] for loop in LOOPS]
    assert rounds.tolist() == expected
    assert len(found.rounds) == np.count_nonzero(expected)


def test_no_loops_and_loops_of_unknown_states_are_walked_by_nobody():
    table = RunTable.of([run_of("abcabc")])
    for loops in ([], ["xyz"], ["abx"]):
        assert len(count_rounds(table, loops).rounds) == 0
