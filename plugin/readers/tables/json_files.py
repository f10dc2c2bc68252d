"""JSON objects of a file: one a line, the elements of a list, or one after another."""

from __future__ import annotations

import codecs
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.records.base import (
    BadLines,
    LineRecord,
    ReadOptions,
    Record,
    peek_text,
    read_lines,
    read_text,
    read_whole,
)
from detailed_balance.readers.records.json_values import (
    explain_json_error,
    iterate_values,
)
from detailed_balance.readers.records.rows import read_records
from detailed_balance.render.formatting import safe_text

__all__ = [
    "first_keys",
    "load_document",
    "looks_like",
    "open_rows",
    "read",
    "read_json_lines",
    "read_objects",
]

_PEEK = 1 << 20


def looks_like(head: bytes, path: Path) -> bool:
    """Say whether a file begins with an object."""
    return head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of a JSON Lines file, plain or gzip."""
    return read_records(read_json_lines(path, options, bad), options, bad)


def open_rows(
    path: Path, options: ReadOptions, bad: BadLines
) -> tuple[Iterator[LineRecord], ReadOptions]:
    """Return the records of a file with their lines, and the options for them."""
    return read_json_lines(path, options, bad), options


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

    The first object decides whether the file has one a line. Then a broken line costs only itself;
    in a list, or where objects span lines, nothing after it can be read.
    """
    values: Iterable[tuple[int | str, Any]]
    if _is_lines(peek_text(path, _PEEK)):
        values = _read_lines(path, options, bad)
    else:
        values = iterate_values(read_text(path, options, bad), bad)
    for place, value in values:
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
        raise ReadError(f"{path} is no valid JSON: {safe_text(str(error), 120)}") from error


def first_keys(head: bytes) -> frozenset[str]:
    r"""Return the keys of the object in the first line of a file; none where there is none.

    Examples
    --------
    >>> sorted(first_keys(b'{"messages": [], "id": 1}\n{"mess'))
    ['id', 'messages']
    """
    try:
        found = json.loads(head.partition(b"\n")[0].decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return frozenset()
    return frozenset(found) if isinstance(found, dict) else frozenset()


def _is_lines(head: bytes) -> bool:
    first, line_end, _ = head.removeprefix(codecs.BOM_UTF8).lstrip().partition(b"\n")
    return bool(line_end) and first[:1] != b"[" and first.rstrip()[-1:] not in b"{[,"


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
