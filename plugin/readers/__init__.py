"""Readers: from a trace that is already there to transitions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import networkx as nx

from detailed_balance.analyzers.counts import END, START
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.callbacks.transition import Transition
from detailed_balance.readers import delimited, jsonl, networkx_graph, store
from detailed_balance.readers.base import (
    BadLines,
    Progress,
    ReadOptions,
    SkippedLine,
    TransitionReader,
)
from detailed_balance.readers.fields import FieldNames

__all__ = ["FORMATS", "SkippedLine", "Source", "TransitionReader", "read_transitions"]

Source: TypeAlias = "str | os.PathLike[str] | nx.Graph[Any]"
"""What can be read: a path, the URL of a store, or a directed networkx graph."""

_FILE_READERS: dict[str, Callable[[Path, ReadOptions, BadLines], Iterator[Transition]]] = {
    "jsonl": jsonl.read,
    "csv": delimited.read,
    "graphml": networkx_graph.read_graphml,
    "store": store.read_file,
}

FORMATS = tuple(_FILE_READERS)
"""The formats that ``format=`` takes."""

_FORMAT_OF_SUFFIX = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".graphml": "graphml",
    ".db": "store",
    ".sqlite": "store",
    ".sqlite3": "store",
}


def read_transitions(
    source: Source,
    *,
    format: str | None = None,  # noqa: A002 - the word that users look for
    source_field: str = "source",
    target_field: str = "target",
    trajectory_field: str = "trajectory",
    context_fields: Sequence[str] = (),
    step_field: str = "step",
    time_field: str = "time",
    count_field: str = "count",
    delimiter: str | None = None,
    boundaries: tuple[str, str] | None = None,
    skip_bad_lines: bool = False,
    progress: Progress | None = None,
) -> TransitionReader:
    """Read the transitions of a trace, one by one, in bounded memory.

    Parameters
    ----------
    source : str, path or networkx graph
        A file of JSON Lines, CSV or GraphML (each plain or gzip), a store (a ``.db`` or
        ``.sqlite`` file, or a URL such as ``sqlite:///runs.db``), or a directed networkx graph.
        GraphML and graphs are held in memory whole. Their edges have the attribute `count_field`
        (1 where it is missing), their nodes may have ``escapes``.
    format : {"jsonl", "csv", "graphml", "store"}, optional
        By default the file name tells. Whether a file is gzip is told by its first bytes.
    source_field, target_field : str
        The fields with the states. Numbers become text. A target that is null, or an empty cell,
        is an escape.
    trajectory_field, step_field, time_field, count_field : str
        Fields that may be absent, unless they are named here. Times are seconds since 1970 or ISO
        8601 dates, taken for UTC where they name no zone.
    context_fields : sequence of str
        Fields that become context labels. In JSON Lines the texts and numbers of an object
        ``context`` do as well.
    delimiter : str, optional
        Between the columns of CSV; by default the header tells which of ``, ; | tab`` it is.
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
    fields = FieldNames(
        source=source_field,
        target=target_field,
        trajectory=trajectory_field,
        step=step_field,
        time=time_field,
        count=count_field,
        context=(context_fields,) if isinstance(context_fields, str) else tuple(context_fields),
    )
    _check_options(format, delimiter, boundaries)
    options = ReadOptions(fields, delimiter, progress)
    transitions, bad = _open(source, format, options, skip_bad_lines)
    if boundaries is not None:
        transitions = _rename(transitions, {boundaries[0]: START, boundaries[1]: END})
    return TransitionReader(transitions, bad)


def _open(
    source: Source, format_: str | None, options: ReadOptions, skip: bool
) -> tuple[Iterator[Transition], BadLines]:
    if isinstance(source, nx.Graph):
        bad = BadLines("the graph", skip=skip)
        return networkx_graph.read(source, options, bad), bad
    if isinstance(source, str) and "://" in source:
        bad = BadLines(store.show_url(source), skip=skip)
        return store.read_url(source, options, bad), bad
    path = _existing_file(source)
    bad = BadLines(str(path), skip=skip)
    return _FILE_READERS[format_ or _detect_format(path)](path, options, bad), bad


def _check_options(
    format_: str | None, delimiter: str | None, boundaries: tuple[str, str] | None
) -> None:
    if format_ is not None and format_ not in FORMATS:
        raise InvalidInputError(f"format must be one of {', '.join(FORMATS)}; got {format_!r}")
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise InvalidInputError(f"delimiter must be one character, no quote; got {delimiter!r}")
    if boundaries is not None and (isinstance(boundaries, str) or len(set(boundaries)) != 2):
        raise InvalidInputError(
            f"boundaries must be two different names, of START and of END; got {boundaries!r}"
        )


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
    return path


def _detect_format(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    last = next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), "")
    try:
        return _FORMAT_OF_SUFFIX[last]
    except KeyError:
        known = ", ".join(_FORMAT_OF_SUFFIX)
        raise ReadError(
            f"{path} has a name that tells no format (known are {known}, each with .gz); set "
            f"format= (on the command line --format) to one of {', '.join(FORMATS)}"
        ) from None


def _rename(transitions: Iterator[Transition], names: dict[str, str]) -> Iterator[Transition]:
    for transition in transitions:
        source, target = transition.source, transition.target
        if source in names or target in names:
            target = None if target is None else names.get(target, target)
            transition = replace(transition, source=names.get(source, source), target=target)
        yield transition
