"""JSON objects of a file: one a line, the elements of a list, or one after another."""

from __future__ import annotations

import codecs
import json
import os
import re
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
    open_trace,
    peek_text,
    read_lines,
    read_whole,
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

_CHUNK = 1 << 20
_LARGEST = 1 << 26  # characters of one object that is not one line; it is held in memory whole
_BETWEEN = re.compile(r"[\s,\[\]]*")
_LONGEST_WORD = 20  # a number or a word that a chunk may cut
_DECODER = json.JSONDecoder()


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
    values = _read_lines if _is_lines(peek_text(path, _CHUNK)) else _values
    for place, value in values(path, options, bad):
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


def _explain(error: ValueError | RecursionError) -> str:
    """Say what is wrong with a JSON text, and where."""
    if isinstance(error, json.JSONDecodeError):
        return f"no valid JSON: {error.msg} at character {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"invalid UTF-8 at byte {error.start + 1}"
    return f"no usable JSON: {error}"


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
            bad.report(number, _explain(error))
        else:
            yield number, value


def _values(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[tuple[int | str, Any]]:
    """Yield values that stand one after another, with or without brackets and commas."""
    chunks = _chunks(path, options, bad)
    text, place, number = "", 0, 0
    while True:
        between = _BETWEEN.match(text, place)
        place = between.end() if between else place
        if place == len(text):
            text, place = next(chunks, ""), 0
            if not text:
                return
            continue
        try:
            value, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            rest = len(text) - place
            more = _read_more(chunks, rest) if _may_go_on(error, text) and rest < _LARGEST else ""
            if not more:
                reason = f"{_explain(error)}; nothing after here is read"
                bad.report(f"object {number + 1}", reason)
                return
            text, place = text[place:] + more, 0
        else:
            number += 1
            yield f"object {number}", value


def _may_go_on(error: ValueError | RecursionError, text: str) -> bool:
    """Say whether what cannot be read may only be cut off."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.pos >= len(text) - _LONGEST_WORD or error.msg.startswith("Unterminated string")


def _read_more(chunks: Iterator[str], size: int) -> str:
    """Return about `size` characters more, so that no part is parsed more than a few times."""
    parts: list[str] = []
    while size > 0 and (chunk := next(chunks, "")):
        parts.append(chunk)
        size -= len(chunk)
    return "".join(parts)


def _chunks(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    with open_trace(path) as (stream, raw):
        total = os.fstat(raw.fileno()).st_size
        try:
            while data := stream.read1(_CHUNK):
                if text := decoder.decode(data):
                    yield text
                if options.progress:
                    options.progress(raw.tell(), total)
        except UnicodeDecodeError as error:
            bad.report("the text", f"{_explain(error)}; nothing after here is read")
        except (EOFError, OSError, zlib.error) as error:
            bad.report("the file", f"it is damaged, nothing after here is read ({error})")
