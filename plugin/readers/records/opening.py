"""How a file begins: what tells its format."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.records.base import (
    LONGEST_LINE,
    BadLines,
    ReadOptions,
    peek_text,
    read_lines,
    read_text,
)
from detailed_balance.readers.records.columns import FieldNames
from detailed_balance.readers.records.json_values import iterate_values

__all__ = ["Layout", "Opening"]

Layout: TypeAlias = Literal["lines", "list", "objects"]
"""How JSON values stand in a file: one a line, the elements of a list, or one after another."""

_MOST_RECORDS = 16
_MOST_LINES = 1_000  # broken or empty ones among them
_OPTIONS = ReadOptions(FieldNames())
_MARK = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)
_CLOSING = {"[": "]", "{": "}"}


class Opening:
    r"""The beginning of a file, plain or gzip, as a format's ``looks_like`` is given it.

    JSON is parsed when it is asked for, as far as the first records go, and not only within the
    first bytes: a long text may stand before the field that tells the format.

    Parameters
    ----------
    path : Path
        The file.

    Attributes
    ----------
    path : Path
        The file.
    head : bytes
        Its first 64 KiB, unpacked, without a byte order mark.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "trace.json"
    ...     _ = path.write_text('{"messages": []}\n{"messages": [], "id": 2}')
    ...     opening = Opening(path)
    ...     opening.layout, opening.first, len(opening.objects)
    ('lines', {'messages': []}, 2)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head = peek_text(path).removeprefix(codecs.BOM_UTF8)

    @property
    def layout(self) -> Layout | None:
        """How its JSON values stand in it; None where it is not JSON."""
        return self._parsed[0]

    @property
    def records(self) -> tuple[Any, ...]:
        """Its first 16 JSON values: those of its lines, of its list, or one after another."""
        return self._parsed[1]

    @cached_property
    def objects(self) -> tuple[dict[str, Any], ...]:
        """Those of `records` that are objects."""
        return tuple(record for record in self.records if isinstance(record, dict))

    @property
    def first(self) -> dict[str, Any]:
        """The first object; an empty one where there is none."""
        return self.objects[0] if self.objects else {}

    @cached_property
    def _parsed(self) -> tuple[Layout | None, tuple[Any, ...]]:
        begin = self.head.lstrip()[:1]
        if begin not in (b"{", b"["):
            return None, ()
        lines = list(islice(self._lines(), _MOST_RECORDS + 1))
        values = tuple(value for number, value in lines[:_MOST_RECORDS])
        first = lines[0] if lines else (0, None)
        whole = self.head.lstrip().partition(b"\n")[0].rstrip().endswith(b"}")
        broken = begin == b"{" and whole and len(lines) > 1  # the first line is damaged
        if broken or (first[0] == 1 and (len(lines) > 1 or isinstance(first[1], dict))):
            return "lines", values
        layout: Layout = "list" if begin == b"[" else "objects"
        if found := self._values():
            return layout, found
        return ("lines", values) if lines else (None, ())

    def _lines(self) -> Iterator[tuple[int, Any]]:
        """Yield the values of lines that are JSON by themselves, with their numbers."""
        number = 0
        with suppress(ReadError):  # an endless line, or bytes that are not text
            for _, line in islice(read_lines(self.path, _OPTIONS, _unreported()), _MOST_LINES):
                line = line.strip()
                number += bool(line)
                if line[:1] + line[-1:] in (b"{}", b"[]"):
                    with suppress(ValueError, RecursionError):
                        yield number, json.loads(line)

    def _values(self) -> tuple[Any, ...]:
        """Return the first values; of a value that is too large, as much as was read."""
        parts: list[str] = []

        def read_parts() -> Iterator[str]:
            for part in read_text(self.path, _OPTIONS, _unreported()):
                parts.append(part)
                yield part

        found = []
        for _, value in iterate_values(read_parts(), _unreported()):
            found.append(value)
            if len(found) == _MOST_RECORDS or sum(map(len, parts)) > LONGEST_LINE:
                break
        if found or sum(map(len, parts)) <= LONGEST_LINE:
            return tuple(found)
        return _close("".join(parts))


def _unreported() -> BadLines:
    return BadLines("", skip=True)


def _close(text: str) -> tuple[Any, ...]:
    """Return the values of a text that was cut off, as far as they are whole."""
    open_marks: list[str] = []
    end, needed = 0, ""
    for found in _MARK.finditer(text):
        mark = found[0]
        if mark in _CLOSING:
            open_marks.append(mark)
        elif mark in "]}" and open_marks:
            open_marks.pop()
        if mark == ",":
            end, needed = found.start(), "".join(_CLOSING[m] for m in reversed(open_marks))
    try:
        value = json.loads(text[:end] + needed)
    except (ValueError, RecursionError):
        return ()
    return tuple(value[:_MOST_RECORDS]) if isinstance(value, list) else (value,)
