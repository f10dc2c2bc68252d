"""Counts of runs drawn again are those of the runs drawn."""

from __future__ import annotations

import numpy as np
import pytest

from detailed_balance.analyzers import Trajectory
from detailed_balance.analyzers.runs import _bootstrap
from detailed_balance.analyzers.runs.table import RunTable


def draw_runs(rng: np.random.Generator, tasks: int | None) -> list[Trajectory]:
    runs = []
    for i in range(30):
        steps = [(str(f), None if g == 3 else str(g)) for f, g in rng.integers(4, size=(i % 5, 2))]
        labels = () if tasks is None or i % 7 == 0 else (("task", str(i % tasks)),)
        runs.append(Trajectory(tuple(steps), context=labels))
    return runs


@pytest.mark.parametrize("tasks", [None, 4])
@pytest.mark.parametrize(
    ("name", "value"), [("AT_ONCE", 1), ("AT_ONCE", 100), ("exact_type", lambda _: np.float64)]
)
def test_drawn_counts_are_those_of_the_runs_drawn_by_as_many_at_once_as_may_be(
    tasks: int | None, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = RunTable.of(draw_runs(np.random.default_rng(2), tasks))
    block = None if tasks is None else "task"
    weights = table.bootstrap_weights(np.random.default_rng(3), 20, block=block)
    moves = table.distinct_moves()
    monkeypatch.setattr(_bootstrap, name, value)
    counts = table.bootstrap_counts(np.random.default_rng(3), 20, block=block)
    for drawn, row in zip(weights, counts, strict=True):
        chosen = [run for run, often in zip(table, drawn, strict=True) for _ in range(often)]
        made = [move for run in chosen for move in run.moves]
        names = (*table.states, None)
        kinds = [(names[f], names[g]) for f, g in zip(moves.source, moves.target, strict=True)]
        assert [made.count(kind) for kind in kinds] == row.tolist()


def test_nothing_is_drawn_of_no_runs_and_of_runs_without_moves() -> None:
    rng = np.random.default_rng(0)
    assert RunTable.of([]).bootstrap_counts(rng, 3).shape == (3, 0)
    assert RunTable.of([Trajectory(())] * 2).bootstrap_counts(rng, 3).shape == (3, 0)
