"""Which runs count, and what the others are called."""

from dataclasses import replace

import pytest

from detailed_balance.analyzers import Trajectory, compare_runs, root_runs
from detailed_balance.analyzers.comparison.result import REPEAT
from detailed_balance.analyzers.runs.roots import name_graphs, root_places
from detailed_balance.analyzers.runs.table import RunTable

MOVES = (("__start__", "a"), ("a", "__end__"))


def run(number: str, parent: str | None = None, name: str | None = None, **labels: str):
    context = tuple(labels.items())
    return Trajectory(MOVES, name, run=number, parent=parent, context=context)


def graphs(runs):
    table = RunTable.of(runs)
    return {name: found.tolist() for name, found in name_graphs(table, root_places(table)).items()}


def test_all_runs_are_roots_where_nothing_is_known_of_parents():
    runs = [Trajectory(MOVES, "T"), Trajectory(MOVES, "T/research:1"), run("3"), run("4", "gone")]
    assert root_runs(runs) == runs
    assert graphs(runs) == {}


def test_a_run_comes_with_all_that_ran_inside_it_in_whatever_order():
    runs = [run("inmost", "inner"), run("other"), run("inner", "outer"), run("outer")]
    assert [runs[place].run for place in root_places(RunTable.of(runs))] == [
        *("outer", "other", "outer", "outer")
    ]


def test_runs_that_name_each_other_are_roots_and_none_is_lost():
    runs = [run("1", "2"), run("2", "1"), run("3", "3"), run("4")]
    assert sorted(part.run or "" for part in root_runs(runs)) == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("key", "labels", "name"),
    [
        ("T/research:0b9f", {}, "research"),
        ("a/thread/research:0b9f|deep:11", {}, "deep"),
        ("T/research:0b9f|1", {}, "research"),
        ("T/research:0b9f/3c1a", {}, "research"),
        ("T/tools:0b9f", {"graph": "critic"}, "critic"),
        ("T/tools:0b9f", {"graph": "agent"}, "tools"),
        ("T/3c1a", {}, "subgraph"),
        (None, {}, "subgraph"),
    ],
)
def test_a_subgraph_is_called_by_its_label_or_else_by_its_node(key, labels, name):
    runs = [run("1", graph="agent"), run("2", "1", key, **labels)]
    assert graphs(runs) == {name: [1]}


def whole(number: int, rounds: int) -> list[Trajectory]:
    inside = (("__start__", "x"), *(("x", "y"), ("y", "x")) * rounds, ("x", "__end__"))
    outer = Trajectory(MOVES, f"T{number}", success=True, run=f"{number}", costs=(1.0, 1.0))
    inner = Trajectory(inside, success=False, parent=f"{number}", costs=(2.0,) * len(inside))
    return [outer, inner, inner]


def test_a_comparison_counts_root_runs_and_sees_what_goes_on_inside_them():
    before = [part for number in range(20) for part in whole(number, 1)]
    after = [part for number in range(20) for part in whole(100 + number, 15)]
    found = compare_runs(before, after, replicates=999)
    assert found.runs == (20, 20)
    moved = next(change for change in found.test("moves").changes if change.what == ("x", "y"))
    assert (moved.before, moved.after, moved.runs) == (0.5, 15 / 16, (20, 20))
    assert moved.changed
    loops = {change.what: change for change in found.test("loops").changes}
    assert (loops["x", "y"].before, loops["x", "y"].after) == (2 * 1, 2 * 15)
    changes = {change.what: change for test in found.tests for change in test.changes}
    assert (changes[REPEAT,].before, changes[REPEAT,].after) == (0, 1)
    assert (changes["cost",].before, changes["cost",].after) == (2 + 2 * 8, 2 + 2 * 64)
    # All outer runs succeeded in two moves, so that neither is asked.
    assert found.test("success") is None
    assert ("steps",) not in changes


def test_what_a_run_adds_is_the_sum_over_its_parts():
    sides = [[part for number in range(20) for part in open_whole(number, n)] for n in (1, 3)]
    joined = [
        [
            Trajectory(tuple(move for part in side[i : i + 3] for move in part.moves))
            for i in range(0, 60, 3)
        ]
        for side in sides
    ]
    for question in ("moves", "potential"):
        found, expected = (
            compare_runs(*runs, replicates=99, questions=[question]).test(question)
            for runs in (sides, joined)
        )
        assert found.pvalue == expected.pvalue
        pvalues = {change.what: change.pvalue for change in expected.changes}
        assert {change.what: change.pvalue for change in found.changes} == pvalues


def open_whole(number: int, rounds: int) -> list[Trajectory]:
    parts = whole(number, rounds + number % 2)
    return [replace(part, moves=(*part.moves[:-1], (part.states[-1], "z"))) for part in parts]
