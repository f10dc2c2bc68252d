"""`read_transitions`, which opens a trace of any format."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, TypeAlias

import networkx as nx

from detailed_balance.analyzers import END, START
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.callbacks import Transition
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.readers import store
from detailed_balance.readers.checkpoints import langgraph
from detailed_balance.readers.checkpoints.rows import has_checkpoints
from detailed_balance.readers.graphs import read_graph
from detailed_balance.readers.records.base import (
    BadLines,
    LineRecord,
    Progress,
    ReadOptions,
    Record,
    StateOf,
    TransitionReader,
    as_read_error,
)
from detailed_balance.readers.records.columns import FieldNames
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.rows import read_records
from detailed_balance.readers.registry import (
    FORMATS,
    describe_opening,
    detect_format,
    find_format,
)
from detailed_balance.render.formatting import safe_text

# What is recorded live may hold a run that has not moved yet.
_MAY_BE_EMPTY = {"networkx", "rows", "url", "store", "checkpoints", "langgraph"}

Source: TypeAlias = "str | os.PathLike[str] | nx.Graph[Any] | list[dict[str, Any]]"
"""What can be read: a path, the URL of a store, a directed networkx graph, or rows of a table."""


def read_transitions(
    source: Source,
    *,
    format: str | None = None,  # noqa: A002 - the word that users look for
    states: StateOf | None = None,
    state_field: str | None = None,
    source_field: str = "source",
    target_field: str = "target",
    trajectory_field: str = "trajectory",
    context_fields: Sequence[str] = (),
    step_field: str = "step",
    time_field: str = "time",
    count_field: str = "count",
    event_field: str | None = None,
    success_field: str | None = None,
    success_values: Collection[str] = (),
    delimiter: str | None = None,
    boundaries: tuple[str, str] | None = None,
    skip_bad_lines: bool = False,
    progress: Progress | None = None,
) -> TransitionReader:
    """Read the transitions of a trace, one by one, in bounded memory.

    Parameters
    ----------
    source : str, path or networkx graph
        A file of a format below, a database by its URL (a store, or the checkpoints of a LangGraph
        agent), or a directed networkx graph.
    format : str, optional
        One of `FORMATS`; by default it is found by the name of the file and by how it begins.
        Gzip is found by its first bytes.
    states : callable, optional
        Names the state of one record of the trace, a dict: a text, several texts for what
        happened side by side, or None for a record that is not a state. Of runs, observations and
        spans also a state function of the handler, such as `NodeStates`.
    state_field : str, optional
        Instead of it: the field that holds the state, or a text with fields in braces such as
        ``"{node}:{tool}"``. Given one of the two, the records of a table are steps of
        trajectories, each with one state, not moves; START and END are added. An empty field is
        an escape.
    source_field, target_field : str
        The fields with the states. Numbers become text. A target that is null, or an empty cell,
        is an escape.
    trajectory_field, step_field, time_field, count_field : str
        Fields that may be absent, unless they are named here. Times are seconds since 1970 or ISO
        8601 dates, in UTC where they name no zone.
    context_fields : sequence of str
        Fields that become context labels. In JSON Lines the texts and numbers of an object
        ``context`` do as well.
    event_field : str, optional
        A field with an id of the step; the same one again in a trajectory is a duplicate.
    success_field : str, optional
        A field with the success of the run (true, 1 or "success", or false, 0 or "failure") or its
        outcome ("ended", "failed" or another `Outcome`). The last one of a run counts.
    success_values : collection of str
        The values of that field that mean success; with it, any other value means failure.
    delimiter : str, optional
        Between the columns of CSV; by default one of ``, ; | tab``, as the header has it.
    boundaries : (str, str), optional
        The names that stand for START and END in this trace, such as ``("start", "end")``.
    skip_bad_lines : bool
        Pass over broken lines, and keep account of them in `TransitionReader.skipped`.
    progress : callable, optional
        Called with (bytes read, bytes there are) from time to time; only for files.

    Returns
    -------
    TransitionReader
        To be iterated over once; the fields of a store are what they are, so that the options
        about fields do not touch it.

    Raises
    ------
    InvalidInputError
        Where an option has a value that is not allowed.
    ReadError
        Where the source is missing, empty or of no known format, lacks a field, or has a broken
        line. What concerns its content is raised while it is read.

    Examples
    --------
    >>> import networkx as nx
    >>> walked = nx.DiGraph()
    >>> walked.add_edge("begin", "plan", count=3)
    >>> list(read_transitions(walked, boundaries=("begin", "done")))[0].source
    '__start__'
    """
    options = make_options(
        states=states,
        state_field=state_field,
        source_field=source_field,
        target_field=target_field,
        trajectory_field=trajectory_field,
        context_fields=context_fields,
        step_field=step_field,
        time_field=time_field,
        count_field=count_field,
        event_field=event_field,
        success_field=success_field,
        success_values=success_values,
        delimiter=delimiter,
        boundaries=boundaries,
        progress=progress,
    )
    reader = find_reader(source, format)
    bad = BadLines(name_source(source, reader), skip=skip_bad_lines)
    return TransitionReader(_read_some(source, reader, options, bad), bad)


def _read_some(source: Any, reader: str, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    moves = False
    with as_read_error(bad.name):
        for record in open_records(source, reader, options, bad):
            moves = moves or isinstance(record, Transition)
            yield record
    refuse_nothing(moves, source, reader, bad, options=options)


def make_options(
    *,
    states: StateOf | None = None,
    delimiter: str | None = None,
    boundaries: tuple[str, str] | None = None,
    progress: Progress | None = None,
    context_fields: Sequence[str] = (),
    success_values: Collection[str] = (),
    **fields: str | None,
) -> ReadOptions:
    """Return the options of `read_transitions` in one object.

    Raises
    ------
    InvalidInputError
        Where one has a value that is not allowed.
    """
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise InvalidInputError(f"delimiter must be one character, no quote; got {delimiter!r}")
    if boundaries is not None and (isinstance(boundaries, str) or len(set(boundaries)) != 2):
        raise InvalidInputError(
            f"boundaries must be two different names, of START and of END; got {boundaries!r}"
        )
    names: dict[str, Any] = {name.removesuffix("_field"): each for name, each in fields.items()}
    names["context"] = (
        (context_fields,) if isinstance(context_fields, str) else tuple(context_fields)
    )
    if success_values and names.get("success") is None:
        raise InvalidInputError(
            "success_values= (--success-value) says which values of a field mean success; name "
            "that field with success_field= (--success-field)"
        )
    values = (success_values,) if isinstance(success_values, str) else success_values
    names["success_values"] = tuple(map(str, values))
    for least in (text.strip()[2:] for text in map(str, values) if text.strip()[:2] == ">="):
        if not _is_number(least):
            raise InvalidInputError(
                f"success_values= (--success-value) has {'>=' + least!r}; what follows >= is a "
                "number, as in '>=0.5'"
            )
    names["boundaries"] = dict(zip(boundaries or (), (START, END), strict=False))
    return ReadOptions(FieldNames(**names), delimiter, progress, states)


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def find_reader(source: object, format_: str | None) -> str:
    """Return the format of a file; else ``networkx``, ``rows``, ``checkpoints`` or ``url``.

    Raises
    ------
    InvalidInputError
        Where the format is none of `FORMATS`, or the source is nothing that can be read.
    ReadError
        Where there is no such file, or it is of no known format.
    """
    if format_ is not None and format_ not in FORMATS:
        raise InvalidInputError(f"format must be one of {', '.join(FORMATS)}; got {format_!r}")
    if isinstance(source, nx.Graph):
        return "networkx"
    if isinstance(source, list):
        return "rows"
    if isinstance(source, str) and "://" in source:
        holds_checkpoints = format_ == "langgraph" or (format_ is None and has_checkpoints(source))
        return "checkpoints" if holds_checkpoints else "url"
    path = _existing_file(source)
    return format_ or detect_format(path).name


def open_records(source: Any, reader: str, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Return an iterator over what a source holds; `reader` is as `find_reader` says."""
    if reader == "networkx":
        return read_graph(source, options, bad)
    if reader == "rows":
        return read_records(number_rows(source), options, bad)
    if reader in ("checkpoints", "url"):
        if reader == "checkpoints":
            return langgraph.read_url(source, options, bad)
        return store.read_url(source, options, bad)
    return find_format(reader).read(Path(source), options, bad)


def refuse_nothing(
    moves: bool, source: Any, reader: str, bad: BadLines, *, options: ReadOptions
) -> None:
    """Refuse a source that was read and has no move: it is not what it was read as.

    Parameters
    ----------
    moves : bool
        Whether there was one.
    source, reader
        As for `open_records`.
    bad : BadLines
        What was read.
    options : ReadOptions
        How it was read.

    Raises
    ------
    ReadError
        Where there was none; it says what the file seems to hold.
    """
    if moves or bad.accepted == bad.duplicates or reader in _MAY_BE_EMPTY:
        return
    read = f"{bad.accepted:,} read, {bad.count:,} skipped" if not bad.several else "records read"
    if bad.first and not bad.several:
        first = bad.first[0]
        read += f"; the first ({safe_text(str(first.line), 60)}): {safe_text(first.reason, 200)}"
    opening = Opening(Path(source))
    holds = f" It holds {describe_opening(opening)}." if opening.objects else ""
    named = options.states is not None or options.fields.state is not None
    remedy = (
        "check what states= (--state-field) names"
        if named
        else "name what is a state with state_field= (--state-field) or states="
    )
    raise ReadError(
        f"no move was found in {bad.name}, read as {reader} ({read}).{holds} If that is another "
        f"format, set format= (--format) to one of {', '.join(FORMATS)}; else {remedy}"
    )


def number_rows(rows: Sequence[dict[str, Any]]) -> Iterator[LineRecord]:
    """Yield the rows of a table in memory with their places."""
    return ((f"row {number}", row) for number, row in enumerate(rows))


def name_source(source: Any, reader: str) -> str:
    """Return what messages call a source."""
    if reader in ("networkx", "rows"):
        return "the graph" if reader == "networkx" else "the table"
    return hide_secrets(source) if reader in ("checkpoints", "url") else str(source)


@as_read_error()
def _existing_file(source: object) -> Path:
    if not isinstance(source, str | os.PathLike):
        raise InvalidInputError(
            f"source must be a path, a URL or a networkx graph; got {type(source).__name__}"
        )
    path = Path(source)
    if path.is_dir():
        raise ReadError(f"{path} is a directory; name one file in it")
    if not path.exists():
        raise ReadError(f"there is no file {path}")
    if not path.is_file():
        raise ReadError(
            f"{path} is not a regular file but a pipe, a socket or a device, which may never end; "
            "write it into a file, or give - for standard input"
        )
    return path
