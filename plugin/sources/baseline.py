"""`Baseline`, usual behaviour: its counts, and its last runs where they are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from detailed_balance.analyzers import Trajectory, TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.runs.labels import ContextLike
from detailed_balance.sources.source import open_source

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


def read_baseline(source: Any, context: ContextLike, **states: Any) -> Baseline:
    """Return what usual behaviour is, from whatever holds it; None gives an empty one.

    Parameters
    ----------
    source : object
        As for `open_source`. A store is best: it knows whole runs.
    context : mapping, optional
        The labels to compare with; where the baseline has no such moves, all of it counts.
    **states
        `hide` and `merge`, as for `open_source`.

    Examples
    --------
    >>> read_baseline([Trajectory((("a", "b"), ("b", "a")))], None).counts.total
    2
    """
    if source is None:
        return Baseline()
    opened = open_source(source, context=context, **states)
    try:
        runs, counts = opened.runs(), opened.counts()
    except InsufficientDataError:  # other labels, as where the version is one of them
        opened = open_source(source, **states)
        runs, counts = opened.runs(), opened.counts()
    last = () if runs is None else tuple(runs[-MAX_RUNS:])
    return Baseline(counts.without_boundaries(), last)
