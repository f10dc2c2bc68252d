"""From whatever holds transitions to counts: handlers, graphs, stores, files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import networkx as nx
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from detailed_balance.analyzers import START, Outcome, Trajectory, TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError, ReadError
from detailed_balance.analyzers.runs.labels import (
    Context,
    ContextLike,
    make_context,
    matches_context,
)
from detailed_balance.analyzers.runs.roots import root_runs
from detailed_balance.analyzers.runs.trajectory import count_transitions
from detailed_balance.callbacks import TransitionGraph, TransitionStore
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.readers import SkippedLine, TransitionReader, read_transitions
from detailed_balance.readers.databases import store_url
from detailed_balance.render.formatting import safe_text, show_context

__all__ = ["Progress", "SourceInfo", "count_roots", "is_runs", "list_allowed_moves", "load_counts"]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with the stage of the work, how much of it is done and how much there is (0: unknown)."""

_TRAJECTORIES_COUNTED = 1_000_000
_CONTEXTS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Where counts came from.

    Parameters
    ----------
    description : str
        The source in words, safe to print.
    context : Context
        The labels that a transition had to carry.
    trajectories : int or None
        Runs that were read, counted up to 1,000,000; None where the source does not say. Those of
        subgraphs count too, but not after `count_roots`.
    skipped : tuple of SkippedLine
        The first 1,000 broken lines that were passed over.
    skipped_count : int
        How many there were.
    faults : int
        Errors while it was recorded; so many transitions may be missing.
    outcomes : mapping of Outcome to int
        How often runs stopped in which way; those of subgraphs likewise.
    """

    description: str
    context: Context = ()
    trajectories: int | None = None
    skipped: tuple[SkippedLine, ...] = ()
    skipped_count: int = 0
    faults: int = 0
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)


def count_roots(info: SourceInfo, runs: Iterable[Trajectory]) -> SourceInfo:
    """Return what is known of a source, with the numbers of its root runs alone.

    Examples
    --------
    >>> outer = Trajectory((("__start__", "a"),), outcome=Outcome.ENDED, run="1")
    >>> inner = Trajectory((("__start__", "b"),), outcome=Outcome.FAILED, run="2", parent="1")
    >>> info = count_roots(SourceInfo("two runs"), [outer, inner])
    >>> info.trajectories, [str(outcome) for outcome in info.outcomes]
    (1, ['ended'])
    """
    roots = root_runs(runs)
    outcomes = Counter(run.outcome for run in roots if run.outcome is not None)
    return replace(info, trajectories=len(roots), outcomes=dict(sorted(outcomes.items())))


def load_counts(
    source: object,
    *,
    context: ContextLike = None,
    progress: Progress | None = None,
    **reader_options: Any,
) -> tuple[TransitionCounts, SourceInfo]:
    """Count the transitions of a source.

    Parameters
    ----------
    source : object
        A `TransitionCallbackHandler`, `TransitionGraph`, `TransitionCounts` or `TransitionStore`,
        a list of `Trajectory`, the URL of a store, a path, or a directed networkx graph. A file is
        read as a stream; a store counts by itself, and so does DuckDB in Parquet, where a folder
        or a pattern may name several files.
    context : mapping, optional
        Keep only the transitions that carry all these labels.
    progress : callable, optional
        See `Progress`.
    **reader_options
        As for `read_transitions`; of no effect on sources that are not read.

    Returns
    -------
    TransitionCounts, SourceInfo
        The counts, START and END included, and where they came from.

    Raises
    ------
    InvalidInputError
        Where the source is of no known kind, or is counts, which have no labels, with a context.
    InsufficientDataError
        Where no transition carries the labels asked for.
    ReadError
        As from `read_transitions`.

    Examples
    --------
    >>> graph = TransitionGraph()
    >>> graph.record("plan", "search", context={"model": "a"})
    >>> counts, info = load_counts(graph, context={"model": "a"})
    >>> counts.total, info.description
    (1, 'TransitionGraph')
    """
    if isinstance(source, TransitionCounts):
        return _from_counts(source, make_context(context))
    if is_runs(source):
        return _count_runs(source, context)
    if isinstance(source, TransitionStore):
        return _count_store(source, context, "TransitionStore")
    if isinstance(source, str | os.PathLike | nx.Graph):
        return _count_readable(source, context, progress, reader_options)
    graph = source if isinstance(source, TransitionGraph) else getattr(source, "graph", None)
    if isinstance(graph, TransitionGraph):
        counts = graph.snapshot(context)
        _check_labels(counts, context, graph.contexts())
        info = SourceInfo(type(source).__name__, make_context(context))
        faults, outcomes = getattr(source, "faults", 0), graph.outcomes(context)
        return counts, replace(info, faults=faults, outcomes=outcomes)
    raise InvalidInputError(
        f"a {type(source).__name__} holds no transitions; allowed are a TransitionCallbackHandler, "
        "a TransitionGraph, TransitionCounts, a TransitionStore or its URL, the path of a file, "
        "a list of Trajectory, and a directed networkx graph"
    )


def _from_counts(counts: TransitionCounts, labels: Context) -> tuple[TransitionCounts, SourceInfo]:
    if labels:
        raise InvalidInputError(
            "TransitionCounts carry no labels that context= could choose by; choose when you "
            "count, as in graph.snapshot(context=...)"
        )
    return counts, SourceInfo("TransitionCounts")


def is_runs(source: object) -> TypeGuard[Sequence[Trajectory]]:
    """Say whether `source` is a list or tuple of runs, one at least.

    Examples
    --------
    >>> is_runs([Trajectory((("a", "b"),))]), is_runs([]), is_runs("runs.db")
    (True, False, False)
    """
    return (
        isinstance(source, list | tuple)
        and bool(source)
        and all(isinstance(run, Trajectory) for run in source)
    )


def _count_runs(
    runs: Sequence[Trajectory], context: ContextLike
) -> tuple[TransitionCounts, SourceInfo]:
    chosen = [run for run in runs if matches_context(run.context, context)]
    counts = count_transitions(chosen)
    _check_labels(counts, context, dict.fromkeys(run.context for run in runs))
    outcomes = Counter(run.outcome for run in chosen if run.outcome is not None)
    info = SourceInfo("a list of Trajectory", make_context(context), len(chosen))
    return counts, replace(info, outcomes=dict(outcomes))


def _count_readable(
    source: str | os.PathLike[str] | nx.Graph[Any],
    context: ContextLike,
    progress: Progress | None,
    options: dict[str, Any],
) -> tuple[TransitionCounts, SourceInfo]:
    if isinstance(source, nx.Graph):
        return _count_stream(read_transitions(source, **options), context, "networkx graph")
    url = None if options else store_url(source)
    if url is not None:
        return _count_stored(url, context, _describe(source))
    if (counts := _count_tables(source, context, progress, options)) is not None:
        return _from_tables(counts, context, _describe(source))
    report = None if progress is None else partial(progress, "Reading")
    reader = read_transitions(source, progress=report, **options)
    return _count_stream(reader, context, _describe(source))


def _count_tables(
    source: str | os.PathLike[str],
    context: ContextLike,
    progress: Progress | None,
    options: dict[str, Any],
) -> TransitionCounts | None:
    """Count Parquet by a database engine, where there is one that gives what the reader would."""
    if not _is_parquet(source):
        return None
    from detailed_balance.sources.tables import count_parquet  # loads Ibis

    if progress is not None:
        progress("Counting", 0, 0)
    return count_parquet(source, dict(make_context(context)), options)


def _is_parquet(source: str | os.PathLike[str]) -> bool:
    """Say whether a source may be Parquet, in one file or in several."""
    path = Path(source)
    return path.suffix.lower() in (".parquet", ".pq") or path.is_dir()


def _from_tables(
    counts: TransitionCounts, context: ContextLike, description: str
) -> tuple[TransitionCounts, SourceInfo]:
    _check_labels(counts, context, ())
    runs = counts.attempts[counts.index(START)] if START in counts.states else 0
    return counts, SourceInfo(description, make_context(context), int(runs) or None)


def _describe(source: str | os.PathLike[str]) -> str:
    text = str(source)
    return safe_text(hide_secrets(text), 120)


def _count_stored(
    url: str | URL, context: ContextLike, description: str
) -> tuple[TransitionCounts, SourceInfo]:
    try:
        with TransitionStore(url, create=False) as store:
            return _count_store(store, context, description)
    except SQLAlchemyError as error:
        raise ReadError(f"the store {description} cannot be read: {hide_secrets(error)}") from error


def _count_store(
    store: TransitionStore, context: ContextLike, description: str
) -> tuple[TransitionCounts, SourceInfo]:
    store.flush()
    counts = store.counts(context=context)
    _check_labels(counts, context, store.contexts())
    labels, outcomes = make_context(context), store.outcomes(context=context)
    return counts, SourceInfo(description, labels, faults=store.lost, outcomes=outcomes)


def _count_stream(
    reader: TransitionReader, context: ContextLike, description: str
) -> tuple[TransitionCounts, SourceInfo]:
    edges: Counter[tuple[str, str | None]] = Counter()
    trajectories: set[str] = set()
    contexts: dict[Context, None] = {}
    for transition in reader:
        if len(contexts) < _CONTEXTS_SHOWN:
            contexts[transition.context] = None
        if not matches_context(transition.context, context):
            continue
        edges[transition.source, transition.target] += transition.count
        if transition.trajectory is not None and len(trajectories) < _TRAJECTORIES_COUNTED:
            trajectories.add(transition.trajectory)
    counts = TransitionCounts.from_edges((*edge, count) for edge, count in edges.items())
    _check_labels(counts, context, contexts)
    return counts, SourceInfo(
        description,
        make_context(context),
        len(trajectories) or None,
        reader.skipped,
        reader.skipped_count,
    )


def _check_labels(
    counts: TransitionCounts, context: ContextLike, contexts: Iterable[Context]
) -> None:
    """Refuse labels that no transition carries."""
    if not context or len(counts):
        return
    seen = [show_context(labels) for labels in contexts if labels][:_CONTEXTS_SHOWN]
    raise InsufficientDataError(
        f"no transition carries {show_context(make_context(context))}; the labels seen are "
        f"{'; '.join(seen) or 'none'}. Of a file, context_fields= (on the command line "
        "--context-field) names the fields that hold labels"
    )


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
