"""JSON objects of a file: one a line, the elements of a list, or one after another."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.records.base import (
    BadLines,
    LineRecord,
    ReadOptions,
    Record,
    read_lines,
    read_text,
    read_whole,
)
from detailed_balance.readers.records.json_values import (
    explain_json_error,
    iterate_values,
)
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.rows import read_records
from detailed_balance.render.formatting import safe_text

__all__ = [
    "load_document",
    "looks_like",
    "open_rows",
    "read",
    "read_json_lines",
    "read_objects",
]


def looks_like(opening: Opening) -> bool:
    """Say whether a file begins with rows of a table: several objects, or one that is plain."""
    rows = opening.objects
    named = not {".jsonl", ".ndjson"}.isdisjoint(suffix.lower() for suffix in opening.path.suffixes)
    nested = (name for name, value in opening.first.items() if isinstance(value, dict | list))
    return bool(opening.first) and (len(rows) > 1 or named or set(nested) <= {"context"})


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of a file of JSON rows, plain or gzip."""
    return read_records(read_objects(path, options, bad), options, bad)


def open_rows(
    path: Path, options: ReadOptions, bad: BadLines
) -> tuple[Iterator[LineRecord], ReadOptions]:
    """Return the records of a file with their places, and the options for them."""
    return read_objects(path, options, bad), options


def read_json_lines(
    path: Path, options: ReadOptions, bad: BadLines
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the object of each line, with its number."""
    for number, value in _read_lines(path, options, bad):
        if isinstance(value, dict):
            yield number, value
        else:
            bad.report(number, "one JSON object a line is needed; this is another value")


def read_objects(
    path: Path, options: ReadOptions, bad: BadLines
) -> Iterator[tuple[int | str, dict[str, Any]]]:
    """Yield the JSON objects of a file, plain or gzip, each with its place.

    Where the file has one a line, a broken line costs only itself; in a list, or where objects
    span lines, nothing after it can be read.
    """
    if Opening(path).layout in ("lines", None):
        yield from read_json_lines(path, options, bad)
        return
    for place, value in iterate_values(read_text(path, options, bad), bad):
        if isinstance(value, dict):
            yield place, value
        else:
            bad.report(place, "a JSON object is needed; this is another value")


def load_document(path: Path) -> Any:
    """Return the JSON document of a file, plain or gzip; it is held in memory whole.

    Raises
    ------
    ReadError
        Where it is damaged.
    """
    try:
        return json.loads(read_whole(path).decode("utf-8-sig"))
    except (EOFError, OSError, zlib.error) as error:
        raise ReadError(f"{path} is damaged ({error})") from error
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{path} is not valid JSON: {safe_text(str(error), 120)}") from error


def _read_lines(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[tuple[int, Any]]:
    for number, line in read_lines(path, options, bad):
        if line.isspace():
            continue
        try:
            value = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            bad.report(number, explain_json_error(error))
        else:
            yield number, value
