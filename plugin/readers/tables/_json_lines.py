"""JSON Lines: one object a line."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detailed_balance.readers.records.base import BadLines, ReadOptions, Record, read_lines
from detailed_balance.readers.records.rows import read_records

__all__ = ["looks_like", "read", "read_objects"]


def looks_like(head: bytes, path: Path) -> bool:
    """Say whether a file begins with an object."""
    return head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of a JSON Lines file, plain or gzip."""
    return read_records(read_objects(path, options, bad), options, bad)


def read_objects(
    path: Path, options: ReadOptions, bad: BadLines
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the object of each line, with its number."""
    for number, line in read_lines(path, options, bad):
        if line.isspace():
            continue
        try:
            record = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            bad.report(number, _what_is_wrong(error))
            continue
        if isinstance(record, dict):
            yield number, record
        else:
            bad.report(number, "one JSON object a line is needed; this is another value")


def _what_is_wrong(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"no valid JSON: {error.msg} at character {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"invalid UTF-8 at byte {error.start + 1}"
    return f"no usable JSON: {error}"
