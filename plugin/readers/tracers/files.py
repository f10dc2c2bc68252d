"""Shared by the adapters: the rows and JSON objects of a file, and the records inside of them."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from detailed_balance.readers.records.base import BadLines, LineRecord, ReadOptions, peek_text
from detailed_balance.readers.records.columns import FieldNames
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.spans.span import parse_json
from detailed_balance.readers.tables.delimited import read_rows
from detailed_balance.readers.tables.json_files import read_objects
from detailed_balance.readers.tables.parquet import (
    is_parquet,
    read_columns,
    read_table,
)

__all__ = [
    "Parts",
    "find_list",
    "peek_records",
    "read_file",
    "unfold",
]

Parts: TypeAlias = tuple[str, list[Any]] | None
"""What the parts of a record are called, and the parts; None of a record that has none."""

_MOST_PEEKED = 16
_DELIMITER = re.compile(r"[,;\t|]")


def read_file(
    path: Path, key: str, options: ReadOptions, bad: BadLines, *, column: str | None = None
) -> Iterator[LineRecord]:
    """Yield the objects of a JSON file, or the rows of CSV or Parquet.

    Parameters
    ----------
    path : Path
        The file, plain or gzip.
    key : str
        The column with the ids. Of JSON that pandas wrote by columns, which is its default, the
        rows are given; those of a table whose index this is too.
    options : ReadOptions
        How to read it.
    bad : BadLines
        Keeps account of what is not an object, or no row.
    column : str, optional
        A column of which there is one only, where the index of a CSV bears the name `key` too.
    """
    head = peek_text(path, 100).removeprefix(BOM_UTF8).lstrip()
    if is_parquet(head):
        rows = read_table(path, options, bad)
    elif head[:1] not in (b"{", b"["):
        rows = read_rows(
            path, replace(options, fields=FieldNames(state=column or key), states=None), bad
        )
    else:
        for place, found in read_objects(path, options, bad):
            yield from _read_columns(place, found, key)
        return
    for number, row in rows:  # a missing number is NaN in pandas
        yield number, {name: value for name, value in row.items() if value == value}


def _read_columns(place: int | str, found: dict[str, Any], key: str) -> Iterator[LineRecord]:
    """Yield the rows of a table that pandas wrote by columns; else what was found."""
    columns = list(found.values())
    index = columns[0] if columns else None
    same = isinstance(index, dict) and all(
        isinstance(column, dict) and column.keys() == index.keys() for column in columns
    )
    if not same or len(columns) == 1 or not index:
        yield place, found
        return
    for number, row in enumerate(index, 1):
        values = {name: column[row] for name, column in found.items()}
        yield f"{place}, row {number}", {key: row} | values


def peek_records(
    opening: Opening, find_parts: Callable[[Mapping[str, Any]], Parts] = lambda record: None
) -> Iterator[Mapping[str, Any]]:
    """Yield the first records of a file, as `unfold` does; of a table one that has its columns."""
    if is_parquet(opening.head):
        yield dict.fromkeys(read_columns(opening.path))
    elif opening.layout is None:
        header = opening.head.partition(b"\n")[0].decode("utf-8", "replace").strip()
        yield dict.fromkeys(name.strip('"') for name in _DELIMITER.split(header))
    else:
        rows = (row for found in opening.objects for row in _read_columns(0, found, ""))
        yield from (record for _, record in islice(unfold(rows, find_parts), _MOST_PEEKED))


def find_list(record: Mapping[str, Any], *names: str) -> list[Any] | None:
    """Return the first of these fields that holds a list, or the JSON text of one; else None.

    Examples
    --------
    >>> find_list({"runs": None, "spans": '[{"id": 1}]'}, "runs", "spans")
    [{'id': 1}]
    """
    values = (parse_json(record.get(name)) for name in names)
    return next((value for value in values if isinstance(value, list)), None)


def unfold(
    records: Iterable[LineRecord], find_parts: Callable[[Mapping[str, Any]], Parts]
) -> Iterator[LineRecord]:
    """Yield the innermost records, each with its place; what is not an object becomes an empty one.

    Examples
    --------
    >>> def spans_of(record):
    ...     return ("span", record["spans"]) if "spans" in record else None
    >>> list(unfold([(3, {"spans": [{"id": 1}, 7]})], spans_of))
    [('line 3, span 1', {'id': 1}), ('line 3, span 2', {})]
    """
    for record in records:
        waiting = [record]  # no recursion: a hostile file nests deep
        while waiting:
            place, found = waiting.pop()
            parts = find_parts(found)
            if parts is None:
                yield place, found
                continue
            where = f"line {place}" if isinstance(place, int) else place
            inner = [(f"{where}, {parts[0]} {n}", part) for n, part in enumerate(parts[1], 1)]
            waiting += ((at, p if isinstance(p, dict) else {}) for at, p in reversed(inner))
