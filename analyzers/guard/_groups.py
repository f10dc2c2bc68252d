"""What tells the tasks of runs, for a promise about new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.table import RunTable

Groups: TypeAlias = str | Sequence[Any] | Literal[False] | None
"""What tells the task of a run: a label, a value for each run, False for none, None for blocks."""


def group_runs(table: RunTable, groups: Groups) -> RunTable:
    """Return runs with the blocks that `groups` tells; see `RunGuard.fit`.

    Raises
    ------
    InvalidInputError
        Where no run has such a label, or there is not one value for each run.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> runs = RunTable.of([Trajectory((("a", "b"),))] * 3)
    >>> group_runs(runs, ["x", "y", "x"]).blocks
    ('x', 'y')
    """
    if groups is None:
        return table
    if isinstance(groups, str):
        return table.with_blocks(groups)
    if groups is False:
        codes, names = np.full(len(table), -1), ()
    else:
        values = ["" if value is None else str(value) for value in groups]
        if len(values) != len(table):
            raise InvalidInputError(
                f"{len(values)} groups for {len(table)} runs: give one value for each run, or the "
                f"name of a label"
            )
        found, codes = np.unique(np.array(values, dtype=object), return_inverse=True)
        codes[[not value for value in values]] = -1
        names = tuple(found.tolist())
    return replace(table, runs=table.runs._replace(block=codes), blocks=names)


def find_task_label(table: RunTable) -> str | None:
    """Return a label of runs without blocks that looks like a task."""
    from detailed_balance.analyzers.comparison.block_labels import find_block_label

    found = find_block_label(table)
    return None if found is None else found.name
