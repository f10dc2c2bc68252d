"""Since when runs do something: the change of a rate in the time of the record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers.sequential.change_point import ChangePoint, find_change
from detailed_balance.diagnosis.finding import Onset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.diagnosis.case import Case

FEWEST = 8
"""With fewer runs nothing is said of time."""

MOST_UNITS = 2_000
"""Of more runs, as many in a row are taken together as leave so many."""

_LEVEL = 0.05
"""When something began is said at this level, however strict the tests of findings are."""

_LATE = 1 / 3
"""What begins after such a share of the runs was not there throughout."""

_PERMUTED = 1_000_000
"""So many values are permuted at most, 99 times at least."""


def change_of(
    case: Case, values: NDArray[np.float64], places: NDArray[np.int64] | None = None
) -> ChangePoint | None:
    """Find the change of a number in [0, 1] of each run, over some root runs; None without time.

    Of many runs some in a row are taken together, which moves a change by less than 0.1% of them.
    """
    roots = case.roots
    places = roots.places if places is None else places
    if len(places) < FEWEST or not (roots.in_time or case.in_order):
        return None
    places = _in_time(case, places)
    own, began = values[places], roots.table.runs.started[places]
    block = roots.table.block_codes()[places]
    has_blocks = bool((block >= 0).any())
    size = 1 if has_blocks else -(-len(places) // MOST_UNITS)
    first = np.arange(0, len(places), size)
    means = np.add.reduceat(own, first) / np.diff(np.append(first, len(places)))
    change = find_change(
        means,
        time=None if case.in_order else began[first],
        in_order=case.in_order,
        block=block if has_blocks else None,
        alpha=max(case.alpha, _LEVEL),
        replicates=max(99, min(999, _PERMUTED // len(means))),
    )
    return change if size == 1 else _in_runs(change, own, size)


def _in_runs(change: ChangePoint, values: NDArray[np.float64], size: int) -> ChangePoint:
    """Return a change of the means of `size` runs in a row as one of the runs."""
    before, (low, high) = change.runs_before * size, change.interval
    return replace(
        change,
        runs_before=before,
        runs_after=len(values) - before,
        total_before=float(values[:before].sum()),
        total_after=float(values[before:].sum()),
        interval=((low - 1) * size + 1, (high - 1) * size + 1),
        binary=not bool((values % 1).any()),
    )


def _in_time(case: Case, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return root runs in the order in which they began."""
    if case.in_order:
        return places
    return places[np.argsort(case.roots.table.runs.started[places], kind="stable")]


def find_onset(case: Case, affected: NDArray[np.bool_]) -> tuple[Onset | None, str]:
    """Return since when root runs do something, and the same in words, empty without time."""
    roots = case.roots
    change = change_of(case, affected.astype(np.float64))
    if change is None:
        return None, ""
    number = len(roots)
    if not change.changed or change.rate_after < change.rate_before:
        first = int(affected[_in_time(case, roots.places)].argmax()) + 1
        if first > _LATE * number:
            return None, f"first in run {first:,} of {number:,}; no change of the rate was found"
        return None, f"throughout the {number:,} recorded runs"
    said = change.describe().removeprefix("since ")
    if change.time is None:
        return None, said
    before = (int(change.total_before), change.runs_before)
    after = (int(change.total_after), change.runs_after)
    return Onset(change.time, change.interval, before, after), said
