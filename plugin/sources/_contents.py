"""What each kind of source holds, behind one interface."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from difflib import get_close_matches
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

import networkx as nx
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from detailed_balance.analyzers import END, START, Outcome, Trajectory, TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.analyzers.inputs import find_matrix, is_frame
from detailed_balance.analyzers.runs.joining import join_runs
from detailed_balance.analyzers.runs.labels import (
    Context,
    ContextLike,
    make_context,
    matches_context,
)
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.callbacks import TransitionGraph, TransitionStore
from detailed_balance.callbacks.recorder.recent_runs import RecentRuns
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.readers import Recording, read_recording, read_transitions
from detailed_balance.readers.databases import store_url
from detailed_balance.readers.records.base import spool_input
from detailed_balance.readers.records.columns import FACTS
from detailed_balance.render.formatting import safe_text
from detailed_balance.sources._paths import find_paths
from detailed_balance.sources._stored_runs import assemble_runs, read_stored, sort_runs
from detailed_balance.sources.selection import Selection

if TYPE_CHECKING:
    from detailed_balance.callbacks import Transition
    from detailed_balance.readers import TransitionReader
    from detailed_balance.sources.feeds import Feed

_ALLOWED = (
    "allowed are a TransitionCallbackHandler, a TransitionGraph, a TransitionStore or its URL; a "
    "path, a folder, a pattern such as 'runs/*.jsonl', a list of these, '-' for the standard "
    "input; a RunTable, TransitionCounts, a list of Trajectory; a directed networkx graph, a "
    "square numpy array, scipy sparse matrix or DataFrame of counts, a DataFrame of steps or "
    "moves, and an Ibis table"
)

_FACT_FIELDS = tuple(f"{role}_field" for role in FACTS)

_FILES_ONLY = {
    "success_field": "the runs of a store are judged by store.judge(trajectory, success=...)",
    "cost_field": "a store keeps no costs of its own, only the cost that the model reports",
} | dict.fromkeys(_FACT_FIELDS, "a store keeps the facts of steps as they were recorded")


_READING = sorted(
    {*signature(read_recording).parameters, *signature(read_transitions).parameters, "weight"}
    - {"source", "options", "progress"}
)
"""The options that say how a source is read."""

_RUNS_ONLY = ("cost_field", "block_field", "in_order", *_FACT_FIELDS)


class Content(ABC):
    """What a source holds.

    Attributes
    ----------
    description : str
        The source in words, safe to print.
    why_no_runs : str
        Why it may have no runs, and what does.
    labels_are_of_runs : bool
        Whether labels choose runs, and not single moves.
    is_whole : bool
        Whether its runs are all that it holds, and not the last ones.
    folder : object
        A temporary folder that it needs.
    """

    description: str
    folder: object = None
    why_no_runs = "counts do not say one run from another"
    labels_are_of_runs = True
    is_whole = True

    @abstractmethod
    def runs(self) -> RunTable | None:
        """Return the runs; None where none are known."""

    @abstractmethod
    def counts(self, context: ContextLike) -> TransitionCounts:
        """Return the counts of all moves that carry the labels."""

    def contexts(self) -> Iterable[Context]:
        """Return the labels that there are."""
        return ()

    def account(self) -> Mapping[str, Any]:
        """Return what `SourceInfo` says of how it was read or recorded."""
        return {}

    def outcomes(self, context: ContextLike) -> Mapping[Outcome, int]:
        """Return how runs stopped, where `runs` does not hold all of them."""
        return {}

    def readers(self) -> Iterator[TransitionReader]:
        """Yield what reads the records of each file one by one."""
        raise InvalidInputError(
            f"a {self.description} has no records of its own; allowed are files, databases, a "
            "networkx graph and a DataFrame of steps or moves"
        )

    def follow(self, context: ContextLike) -> Feed:
        """Return what is recorded from now on."""
        from detailed_balance.sources.feeds import UNWATCHED

        raise InvalidInputError(f"{self.description} cannot be watched; {UNWATCHED}")


class _Counts(Content):
    def __init__(self, counts: TransitionCounts, description: str) -> None:
        self._counts, self.description = counts, description
        self.labels_are_of_runs = False

    def runs(self) -> None:
        return None

    def counts(self, context: ContextLike) -> TransitionCounts:
        if context:
            raise InvalidInputError(
                f"{self.description} carry no labels that context= could choose by; choose when "
                "you count, as in graph.snapshot(context=...)"
            )
        return self._counts


class _Table(Content):
    def __init__(self, runs: RunTable, description: str) -> None:
        self._runs, self.description = runs, description

    def runs(self) -> RunTable:
        return self._runs

    def counts(self, context: ContextLike) -> TransitionCounts:
        return self._runs.where(context).counts()

    def contexts(self) -> Iterable[Context]:
        return self._runs.contexts


class _Graph(Content):
    """A live graph, with the runs that stopped last where something keeps them."""

    why_no_runs = "a graph counts moves; the handler that records into it, or a store, has runs"
    labels_are_of_runs = False
    is_whole = False

    def __init__(self, graph: TransitionGraph, recorder: object) -> None:
        self._graph, self._recorder = graph, recorder
        self.description = type(recorder).__name__

    def runs(self) -> RunTable | None:
        recent = getattr(self._recorder, "recent", None)
        if not isinstance(recent, RecentRuns):
            return None
        return assemble_runs(recent.records())

    def counts(self, context: ContextLike) -> TransitionCounts:
        return self._graph.snapshot(context)

    def contexts(self) -> Iterable[Context]:
        return self._graph.contexts()

    def account(self) -> Mapping[str, Any]:
        return {"faults": getattr(self._recorder, "faults", 0)}

    def outcomes(self, context: ContextLike) -> Mapping[Outcome, int]:
        return self._graph.outcomes(context)

    def follow(self, context: ContextLike) -> Feed:
        from detailed_balance.sources.feeds import GraphFeed

        return GraphFeed(self._graph, context, self._recorder)


class _Store(Content):
    """A store: open, or at a URL, where it is opened for as long as it is read."""

    def __init__(
        self,
        store: TransitionStore | str | URL,
        description: str,
        options: Mapping[str, Any],
        recorder: object = None,
    ) -> None:
        for name, instead in _FILES_ONLY.items():
            if options.get(name) is not None:
                raise InvalidInputError(f"{name}={options[name]!r} is for files; {instead}")
        self._store, self.description, self._recorder = store, description, recorder
        self._boundaries = options.get("boundaries")
        ends: tuple[str, ...] = self._boundaries or ()
        self._names: dict[str, str] = dict(zip(ends, (START, END), strict=False))
        self._read: tuple[RunTable | None, TransitionCounts] | None = None
        self._lost = 0

    def runs(self) -> RunTable | None:
        if self._read is None:
            with self._open() as store:
                runs, counts = read_stored(store)
            renamed = Selection(merge=self._names)
            runs = None if runs is None else runs.merge(self._names)
            self._read = runs, renamed.merge_counts(counts)
        return self._read[0]

    def counts(self, context: ContextLike) -> TransitionCounts:
        if self._read is not None and not context:
            return self._read[1]
        with self._open() as store:
            return Selection(merge=self._names).merge_counts(store.counts(context=context))

    def contexts(self) -> Iterable[Context]:
        with self._open() as store:
            return store.contexts()

    def readers(self) -> Iterator[TransitionReader]:
        if isinstance(self._store, TransitionStore):
            return super().readers()
        return iter([read_transitions(str(self._store), boundaries=self._boundaries)])

    def account(self) -> Mapping[str, Any]:
        return {"faults": getattr(self._recorder, "faults", 0) + self._lost}

    def outcomes(self, context: ContextLike) -> Mapping[Outcome, int]:
        with self._open() as store:
            return store.outcomes(context=context)

    def follow(self, context: ContextLike) -> Feed:
        from detailed_balance.sources.feeds import GraphFeed, OpenedFeed, StoreFeed

        graph = getattr(self._recorder, "graph", None)
        if isinstance(graph, TransitionGraph):
            return GraphFeed(graph, context, self._recorder)
        if isinstance(self._store, TransitionStore):
            return StoreFeed(self._store, context, self.description)
        return OpenedFeed(self._store, context)

    @contextmanager
    def _open(self) -> Iterator[TransitionStore]:
        try:
            if isinstance(self._store, TransitionStore):
                self._store.flush()
                yield self._store
                self._lost = self._store.lost
                return
            with TransitionStore(self._store, create=False) as store:
                yield store
        except ReadError as error:  # a damaged database may put anything into its messages
            raise ReadError(safe_text(str(error), 400)) from error
        except (SQLAlchemyError, ValueError, TypeError, AttributeError) as error:
            cause = safe_text(str(hide_secrets(getattr(error, "orig", error))), 200)
            raise ReadError(f"the store {self.description} cannot be read: {cause}") from error


class _Trace(Content):
    """Files, checkpoints, a networkx graph or rows: what `read_recording` reads."""

    why_no_runs = (
        "its moves do not say which run they are of; trajectory_field= (on the command line "
        "--trajectory-field) names the field"
    )

    def __init__(
        self,
        source: Any,
        description: str,
        options: Mapping[str, Any],
        progress: Callable[[str, int, int], None] | None,
    ) -> None:
        self.description = description
        self._source, self._options = source, dict(options)
        if progress is not None:
            self._options["progress"] = partial(progress, "Reading")
        self._recording: Recording | None = None

    def _read(self) -> Recording:
        if self._recording is None:
            try:
                self._recording = read_recording(self._source, **self._options)
            except ReadError as error:
                if self.folder is None:
                    raise
                # The file only stands for the standard input, which nobody knows by its path.
                named = str(error).replace(str(self._source), self.description)
                raise ReadError(named) from error
        return self._recording

    @property
    def labels_are_of_runs(self) -> bool:  # type: ignore[override] # known when it was read
        return self._read().runs is not None

    def runs(self) -> RunTable | None:
        return self._read().runs

    def counts(self, context: ContextLike) -> TransitionCounts:
        return self._read().counts if not context else self._count_labelled(context)

    def contexts(self) -> Iterable[Context]:
        runs = self._read().runs
        return ({move.context: None for move in self._stream()}) if runs is None else runs.contexts

    def account(self) -> Mapping[str, Any]:
        read = self._read()
        skipped = {"skipped": read.skipped, "skipped_count": read.skipped_count}
        return {**skipped, "scores": read.scores}

    def follow(self, context: ContextLike) -> Feed:
        from detailed_balance.sources.feeds import open_file

        return open_file(self._source, context, self._options)

    def _count_labelled(self, context: ContextLike) -> TransitionCounts:
        """Count the moves with these labels, where they are of no runs."""
        edges: Counter[tuple[str, str | None]] = Counter()
        for move in self._stream():
            if matches_context(move.context, context):
                edges[move.source, move.target] += move.count
        return TransitionCounts.from_edges((*edge, count) for edge, count in edges.items())

    def _stream(self) -> Iterator[Transition]:
        for reader in self.readers():
            yield from reader

    def readers(self) -> Iterator[TransitionReader]:
        options = {name: each for name, each in self._options.items() if name not in _RUNS_ONLY}
        return (read_transitions(source, **options) for source in self.sources)

    @property
    def sources(self) -> list[Any]:
        """What it is made of, each by itself."""
        several = isinstance(self._source, list) and not isinstance(self._source[0], dict)
        return self._source if several else [self._source]


class _Several(Content):
    """Stores beside stores, or beside files."""

    def __init__(self, parts: list[Content], description: str) -> None:
        self._parts, self.description = parts, description

    def runs(self) -> RunTable | None:
        found = [part.runs() for part in self._parts]
        tables = [runs for runs in found if runs is not None]
        return sort_runs(join_runs(tables)) if len(tables) == len(found) else None

    def counts(self, context: ContextLike) -> TransitionCounts:
        first, *others = (part.counts(context) for part in self._parts)
        return sum(others, first)

    def contexts(self) -> Iterable[Context]:
        return [labels for part in self._parts for labels in part.contexts()]

    def readers(self) -> Iterator[TransitionReader]:
        return (reader for part in self._parts for reader in part.readers())

    def account(self) -> Mapping[str, Any]:
        accounts = [part.account() for part in self._parts]
        return {
            "skipped": tuple(line for each in accounts for line in each.get("skipped", ())),
            "skipped_count": sum(each.get("skipped_count", 0) for each in accounts),
            "faults": sum(each.get("faults", 0) for each in accounts),
            "scores": tuple(sorted({n for each in accounts for n in each.get("scores", ())})),
        }


class _Ibis(Content):
    """A table that is counted where it is."""

    why_no_runs = "a table of another engine is counted there, and its runs are not fetched"
    labels_are_of_runs = False

    def __init__(self, table: Any, description: str, options: Mapping[str, Any]) -> None:
        self._table, self.description, self._options = table, description, options

    def runs(self) -> None:
        return None

    def counts(self, context: ContextLike) -> TransitionCounts:
        from detailed_balance.sources.tables import count_table  # loads Ibis

        given = self._options
        order = [given[name] for name in ("step_field", "time_field") if name in given]
        return count_table(
            self._table,
            trajectory=given.get("trajectory_field"),
            order=order[:1] or None,
            state=given.get("state_field"),
            source_column=given.get("source_field", "source"),
            target_column=given.get("target_field", "target"),
            count=given.get("count_field"),
            context=dict(make_context(context)) or None,
        )


def find_content(
    source: object,
    options: dict[str, Any],
    progress: Callable[[str, int, int], None] | None = None,
) -> Content:
    """Return what a source holds; nothing is read yet.

    Raises
    ------
    InvalidInputError
        Where the source is of no known kind, or an option has an unknown name.
    ReadError
        Where a file is missing.
    """
    if unknown := sorted(options.keys() - {*_READING}):
        close = get_close_matches(unknown[0], _READING)
        like = f"is it {' or '.join(close)}?" if close else f"allowed are {', '.join(_READING)}"
        raise InvalidInputError(f"unknown option {safe_text(unknown[0], 60)}=; {like}")
    if isinstance(source, TransitionCounts):
        return _Counts(source, "TransitionCounts")
    if isinstance(source, RunTable):
        return _Table(source, "RunTable")
    if isinstance(source, TransitionStore):
        return _Store(source, "TransitionStore", options)
    if isinstance(source, TransitionGraph):
        return _Graph(source, source)
    if isinstance(source, nx.Graph):
        return _Trace(source, "networkx graph", _name_weight(source, options), progress)
    if isinstance(store := getattr(source, "store", None), TransitionStore):
        return _Store(store, type(source).__name__, options, source)
    if isinstance(graph := getattr(source, "graph", None), TransitionGraph):
        return _Graph(graph, source)
    if type(source).__module__.partition(".")[0] == "ibis":
        return _Ibis(source, "Ibis table", options)
    if isinstance(source, str | os.PathLike):
        return _find_path(source, options, progress)
    if isinstance(source, list | tuple) and source:
        return _find_list(source, options, progress)
    if (matrix := find_matrix(source)) is not None:
        return _Counts(matrix.counts(), type(source).__name__)
    if (rows := _find_rows(source)) is not None:
        return _Trace(rows, type(source).__name__, options, progress)
    raise InvalidInputError(f"a {type(source).__name__} holds no transitions; {_ALLOWED}")


def _find_path(
    source: str | os.PathLike[str],
    options: dict[str, Any],
    progress: Callable[[str, int, int], None] | None,
) -> Content:
    text = os.fspath(source)
    if text == "-":
        spooled, folder = spool_input()
        content = _find_path(spooled, options, progress)
        content.description, content.folder = "standard input", folder  # which goes with it
        return content
    shown = safe_text(hide_secrets(text), 120)
    if text.startswith("duckdb://") or ("://" in text and "table=" in text):
        return _Ibis(text, shown, options)
    paths = find_paths(source)
    own = options.get("format") in (None, "store")
    urls = [store_url(path) if own else None for path in paths]
    files = [path for path, url in zip(paths, urls, strict=True) if url is None]
    parts: list[Content] = [_Store(url, shown, options) for url in urls if url is not None]
    if files:
        parts.append(_Trace(files[0] if len(files) == 1 else files, shown, options, progress))
    return parts[0] if len(parts) == 1 else _Several(parts, shown)


def _find_list(
    sources: list[Any] | tuple[Any, ...],
    options: dict[str, Any],
    progress: Callable[[str, int, int], None] | None,
) -> Content:
    if all(isinstance(run, Trajectory) for run in sources):
        return _Table(RunTable.from_trajectories(sources), "a list of Trajectory")
    if all(isinstance(path, str | os.PathLike) for path in sources):
        if len(sources) == 1:
            return _find_path(sources[0], options, progress)
        parts = [_find_path(path, options, progress) for path in sources]
        shown = f"{safe_text(hide_secrets(os.fspath(sources[0])), 100)} and {len(parts) - 1} more"
        traces = [part for part in parts if isinstance(part, _Trace)]
        if len(traces) == len(parts):  # several files are one trace
            files = [file for trace in traces for file in trace.sources]
            return _Trace(files, shown, options, progress)
        return _Several(parts, shown)
    kinds = sorted({type(each).__name__ for each in sources})
    raise InvalidInputError(f"a list of {', '.join(kinds[:4])} holds no transitions; {_ALLOWED}")


def _name_weight(graph: nx.Graph[Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return options that say which attribute of an edge is its count."""
    options = dict(options)
    named = options.pop("weight", None)
    if named is not None:
        options["count_field"] = named
    elif "count_field" not in options:
        there = {name for _, _, data in graph.edges(data=True) for name in data}
        if "count" not in there and "weight" in there:
            options["count_field"] = "weight"
    return options


def _find_rows(source: object) -> list[dict[str, Any]] | None:
    """Return a data frame of steps or moves as rows; None for anything else."""
    if is_frame(source, "pandas"):
        frame: Any = source
        names = [str(name) for name in frame.columns]
        columns = [list(map(_plain, frame.iloc[:, i].tolist())) for i in range(len(names))]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if is_frame(source, "polars"):
        return [{name: _plain(value) for name, value in row.items()} for row in source.to_dicts()]  # type: ignore[attr-defined] # a polars frame
    return None


def _plain(value: Any) -> Any:
    """Return a cell as a reader takes it: None where it is missing, a date as text."""
    if value is None or type(value).__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, float) and value != value:
        return None
    return value.isoformat() if isinstance(value, date) else value
