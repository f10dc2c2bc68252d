"""What tells a work-flow from a fault: the outcomes of runs, and the graph of the agent."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from detailed_balance.analyzers import Trajectory
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks import TransitionStore
from detailed_balance.callbacks.transition import ContextLike, matches_context
from detailed_balance.readers import Source
from detailed_balance.readers.databases import store_url
from detailed_balance.sources.runs import read_trajectories
from detailed_balance.sources.source import is_runs

__all__ = ["MAX_READ", "count_stored", "find_runs", "list_allowed_moves"]

MAX_READ = 500_000
"""The runs of a source with more transitions are not read by themselves, for want of memory."""


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


def find_runs(
    source: object,
    transitions: int | None,
    context: ContextLike,
    *,
    fields: Mapping[str, Any] | None = None,
    **reader_options: Any,
) -> tuple[list[Trajectory] | None, tuple[str, ...]]:
    """Return the runs of a source that carry the labels, and what to say where they are too many.

    Parameters
    ----------
    source : object
        As for `load_counts`; stores and files know runs, counts and graphs do not.
    transitions : int or None
        How many a file holds; None where they belong to no run.
    context : mapping or Context
        The labels.
    fields : mapping, optional
        What else `read_trajectories` is to be asked for, such as ``success_field``.
    **reader_options
        As for `read_transitions`.

    Examples
    --------
    >>> with TransitionStore("sqlite://") as store:
    ...     find_runs(store, None, None)
    ([], ())
    """
    fields = {name: value for name, value in (fields or {}).items() if value is not None}
    if is_runs(source):
        return [run for run in source if matches_context(run.context, context)], ()
    stored = count_stored(source, **reader_options)
    where, held = ("file", transitions) if stored is None else ("store", stored)
    if held is None or (stored is None and not _is_readable(source)):
        return None, ()
    if held > MAX_READ:
        return None, (
            f"The outcomes of runs were not looked at: the {where} holds {held:,} transitions, and "
            f"up to {MAX_READ:,} its runs are read by themselves. Give some of them as "
            "trajectories=.",
        )
    runs = read_trajectories(cast("Source", source), **fields, **reader_options)
    return [run for run in runs if matches_context(run.context, context)], ()


def _is_readable(source: object) -> bool:
    """Say whether a source is a file or a URL; a folder of tables has no reader."""
    if not isinstance(source, str | os.PathLike):
        return False
    return "://" in str(source) or Path(source).is_file()


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
