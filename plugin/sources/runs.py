"""`read_trajectories`, agent runs as wholes: their moves in order, their outcomes and costs."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from detailed_balance.analyzers import Trajectory
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.labels import ContextLike, Moment, matches_context, moment_of
from detailed_balance.callbacks import Ending, TransitionCallbackHandler, TransitionStore
from detailed_balance.callbacks.recorder.recent_runs import RecentRuns
from detailed_balance.callbacks.transition import Beginning
from detailed_balance.readers import Source, read_transitions
from detailed_balance.readers.databases import store_url
from detailed_balance.readers.records.runs import RunParts, split_runs
from detailed_balance.sources.source import is_runs

if TYPE_CHECKING:
    from detailed_balance.callbacks import Transition

__all__ = ["MAX_READ", "count_stored", "find_runs", "read_trajectories"]

MAX_READ = 500_000
"""Of a source with more transitions the runs are read only when asked for: they fill the memory."""


def read_trajectories(
    source: Source | TransitionStore | TransitionCallbackHandler,
    *,
    success_field: str | None = None,
    cost_field: str | None = None,
    since: Moment = None,
    until: Moment = None,
    **options: Any,
) -> list[Trajectory]:
    """Read agent runs as wholes, in memory.

    A run is what bears the same id of a run. Where there is none, it begins where its key is seen
    first, and at each START after that: a thread that was used several times is several runs.
    Transitions without a trajectory are passed over.

    Parameters
    ----------
    source : TransitionStore, handler, path, URL or networkx graph
        What holds the transitions; a handler without a store has the runs that stopped last. A
        store also has the outcome of each run, and what was judged of it
        (`TransitionStore.judge`).
    success_field : str, optional
        Of a file: the field with the success or the outcome of the run, as for `read_transitions`.
    cost_field : str, optional
        Of a file: the field that says what a move cost, in tokens or money; empty counts as 0.
    since, until : float, str or datetime, optional
        Only runs that began in ``since <= time < until``: seconds since 1970 (UTC), or a date and
        time, in UTC where it names no zone. A run without times is in no such window.
    **options
        As for `read_transitions`.

    Returns
    -------
    list of Trajectory
        In the order in which they began.

    Raises
    ------
    InvalidInputError
        Where `success_field` or `cost_field` is asked of a store, the source holds no
        transitions, or a moment is no date.
    ReadError
        As from `read_transitions`, or where a cost is no number.

    Examples
    --------
    >>> from detailed_balance import Transition
    >>> with TransitionStore("sqlite://") as store:
    ...     store.append([Transition("plan", "search", "thread-1")])
    ...     store.judge("thread-1", success=True)
    ...     read_trajectories(store)
    [Trajectory(moves=(('plan', 'search'),), name='thread-1', outcome=None, success=True, error=None, context=())]
    """  # noqa: E501 - a doctest's output stands in one line
    window = (moment_of(since), moment_of(until))
    store = source if isinstance(source, TransitionStore) else getattr(source, "store", None)
    url = store_url(source) if isinstance(source, str | os.PathLike) else None
    if isinstance(store, TransitionStore):
        _refuse_fields(success_field, cost_field)
        store.flush()
        runs = _from_store(store)
    elif url is not None:
        _refuse_fields(success_field, cost_field)
        with TransitionStore(url, create=False) as opened:
            runs = _from_store(opened)
    elif isinstance(recent := getattr(source, "recent", None), RecentRuns):
        _refuse_fields(success_field, cost_field)
        runs = _from_recent(recent)
    else:
        fields = [*options.pop("context_fields", ()), *([cost_field] if cost_field else [])]
        options = {"success_field": success_field, "context_fields": fields, **options}
        runs = split_runs(read_transitions(cast("Source", source), **options).records())
    return [run.end(cost_field) for run in runs if run.began_in(*window)]


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
    if isinstance(source, TransitionCallbackHandler) and source.store is None:
        recorded = read_trajectories(source, **fields)
        return [run for run in recorded if matches_context(run.context, context)], ()
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


def _refuse_fields(success_field: str | None, cost_field: str | None) -> None:
    if success_field is not None:
        raise InvalidInputError(
            f"success_field={success_field!r} is for files; the runs of a store are judged by "
            "store.judge(trajectory, success=...)"
        )
    if cost_field is not None:
        raise InvalidInputError(f"cost_field={cost_field!r} is for files; a store keeps no costs")


def _from_store(store: TransitionStore) -> list[RunParts]:
    endings: defaultdict[str | None, list[Ending]] = defaultdict(list)
    records: list[Ending] = []
    for ending in store.endings():
        if ending.run is None:
            endings[ending.trajectory].append(ending)
        else:
            records.append(ending)
    ordered: Iterable[Transition | Ending] = chain(store.read(), records)
    runs = split_runs(ordered, endings, store.runs())
    runs = [run for run in runs if run.moves or run.endings]
    if any(run.beginning for run in runs):
        runs.sort(key=lambda run: -inf if run.began is None else run.began)
    # From the last run to the first: each takes the endings that came after it began.
    for run in reversed(runs):
        run.pop_endings(endings[run.trajectory])
    return runs


def _from_recent(recent: RecentRuns) -> list[RunParts]:
    records = list(recent.records())
    beginnings = [record for record in records if isinstance(record, Beginning)]
    runs = split_runs((r for r in records if not isinstance(r, Beginning)), beginnings=beginnings)
    return sorted(runs, key=lambda run: -inf if run.began is None else run.began)
