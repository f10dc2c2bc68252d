"""What tells a work-flow from a fault: the outcomes of runs, and the graph of the agent."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, cast

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.trajectory import Trajectory
from detailed_balance.callbacks.store import TransitionStore
from detailed_balance.callbacks.transition import ContextLike, matches_context
from detailed_balance.readers import Source
from detailed_balance.sources import store_url
from detailed_balance.trajectories import read_trajectories

__all__ = ["MAX_READ", "count_stored", "list_allowed_moves", "read_runs"]

MAX_READ = 500_000
"""The runs of a store with more transitions are not read by themselves, for want of memory."""


def count_stored(source: object, **reader_options: Any) -> int | None:
    """Return how many transitions the store of a source holds, None where it has no store.

    Examples
    --------
    >>> with TransitionStore("sqlite://") as store:
    ...     count_stored(store), count_stored("runs.jsonl")
    (0, None)
    """
    if isinstance(source, str | os.PathLike):
        url = None if reader_options else store_url(source)
        if url is None:
            return None
        with TransitionStore(url, create=False) as opened:
            return opened.counts().total
    store = getattr(source, "store", source)
    if not isinstance(store, TransitionStore):
        return None
    store.flush()
    return store.counts().total


def read_runs(source: object, context: ContextLike) -> Iterator[Trajectory]:
    """Yield the runs of a store that carry the labels; nothing is read before the first is asked.

    Examples
    --------
    >>> with TransitionStore("sqlite://") as store:
    ...     list(read_runs(store, None))
    []
    """
    for run in read_trajectories(cast("Source", source)):
        if matches_context(run.context, context):
            yield run


def list_allowed_moves(agent: object) -> Iterable[tuple[str, str]] | None:
    """Return the edges that the graph of an agent allows, START and END included.

    Parameters
    ----------
    agent : object
        A compiled graph, or anything with ``get_graph()`` whose `edges` have a `source` and a
        `target`; or what `check_balance` takes as `graph`. None stays None.

    Raises
    ------
    InvalidInputError
        Where it is of another kind.

    Notes
    -----
    Only the nodes of the graph itself are named, which is what `ActionStates` makes of nodes that
    did not only ask for tools. The tools that a model chose are no nodes, so a loop through them
    is never found to be structural by the graph. A node that returns a ``Command`` must say in its
    annotation where it may go, or these exits are missing here.

    Examples
    --------
    >>> list_allowed_moves([("plan", "act"), ("act", "plan")])
    [('plan', 'act'), ('act', 'plan')]
    """
    if agent is None:
        return None
    draw = getattr(agent, "get_graph", None)
    if draw is not None:
        return [(edge.source, edge.target) for edge in draw().edges]
    if isinstance(agent, Iterable) and not isinstance(agent, str | bytes):
        return agent
    raise InvalidInputError(
        f"agent={type(agent).__name__} object has no get_graph(); allowed are a compiled graph, "
        "a mapping of states to the states they may lead to, and pairs of states"
    )
