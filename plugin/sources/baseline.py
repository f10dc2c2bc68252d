"""`Baseline`, usual behaviour: its counts, and its runs where they are known and not too many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from detailed_balance.analyzers import Trajectory, TransitionCounts
from detailed_balance.analyzers.errors import DetailedBalanceError, InsufficientDataError
from detailed_balance.analyzers.runs.labels import ContextLike, matches_context
from detailed_balance.analyzers.runs.trajectory import count_transitions
from detailed_balance.sources.runs import MAX_READ, count_stored, read_trajectories
from detailed_balance.sources.source import load_counts

__all__ = ["Baseline", "read_baseline"]

MAX_RUNS = 2_000
"""So many runs, the last ones, are compared with."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What usual behaviour is.

    Parameters
    ----------
    counts : TransitionCounts or None
        Its moves, without START and END.
    runs : tuple of Trajectory
        Its finished runs, where they are known.
    """

    counts: TransitionCounts | None = None
    runs: tuple[Trajectory, ...] = ()


def read_baseline(source: Any, context: ContextLike) -> Baseline:
    """Return what usual behaviour is, from whatever holds it; None gives an empty one.

    Parameters
    ----------
    source : object
        A list of `Trajectory`, or what `load_counts` takes. A store is best: it knows whole runs.
    context : mapping, optional
        The labels to compare with; where the baseline has no such moves, all of it counts.

    Examples
    --------
    >>> read_baseline([Trajectory((("a", "b"), ("b", "a")))], None).counts.total
    2
    """
    if source is None:
        return Baseline()
    if isinstance(source, list | tuple) and all(isinstance(run, Trajectory) for run in source):
        return Baseline(count_transitions(source).without_boundaries(), tuple(source)[-MAX_RUNS:])
    return Baseline(_load(source, context).without_boundaries(), _read_runs(source, context))


def _load(source: Any, context: ContextLike) -> TransitionCounts:
    try:
        return load_counts(source, context=context)[0]
    except InsufficientDataError:  # other labels, as where the version is one of them
        return load_counts(source)[0]


def _read_runs(source: Any, context: ContextLike) -> tuple[Trajectory, ...]:
    """Return the runs of a baseline; none where they are not known, or hold too many moves."""
    if isinstance(source, TransitionCounts) or (count_stored(source) or 0) > MAX_READ:
        return ()
    try:
        runs = read_trajectories(source)
    except (DetailedBalanceError, TypeError):
        return ()
    labelled = [run for run in runs if matches_context(run.context, context)]
    return tuple((labelled or runs)[-MAX_RUNS:])
