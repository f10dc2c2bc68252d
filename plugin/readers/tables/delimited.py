"""CSV and its kin: a header with the names of the columns, then one transition a row."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.records.base import (
    LONGEST_LINE,
    BadLines,
    LineRecord,
    ReadOptions,
    Record,
    peek_text,
    read_lines,
)
from detailed_balance.readers.records.columns import unknown_field_message
from detailed_balance.readers.records.event_log import adapt_to_event_log
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.rows import read_records

__all__ = ["adapt", "looks_like", "open_rows", "read", "read_header", "read_rows"]

_DELIMITERS = ",;\t|"
_LONGEST_ROW = 10_000  # lines; bounds the memory that a quote which is never closed can take


def looks_like(opening: Opening) -> bool:
    """Say whether a file begins with several names in one line."""
    header = opening.head.partition(b"\n")[0]
    is_text = all(byte >= 32 or byte in b"\t\r" for byte in header)
    plain = is_text and not header.lstrip().startswith((b"{", b"[", b"<"))
    return plain and any(delimiter in header for delimiter in _DELIMITERS.encode())


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of a delimited file, plain or gzip."""
    rows, options = open_rows(path, options, bad)
    return read_records(rows, options, bad)


def open_rows(
    path: Path, options: ReadOptions, bad: BadLines
) -> tuple[Iterator[LineRecord], ReadOptions]:
    """Return the rows of a file with their lines, and the options for its columns."""
    options = adapt(path, options)
    return read_rows(path, options, bad), options


def adapt(path: Path, options: ReadOptions) -> ReadOptions:
    """Return options for the columns of a file, which may be an event log."""
    header = peek_text(path).partition(b"\n")[0].decode("utf-8", "replace")
    names = [name.strip('"') for name in re.split(f"[{_DELIMITERS}]", header.strip())]
    return adapt_to_event_log(names, options)


def read_header(
    path: Path, options: ReadOptions, bad: BadLines
) -> tuple[str, list[str], ReadOptions]:
    """Return the delimiter, the header, which is the first line, and the options for its columns.

    Raises
    ------
    ReadError
        Where the first line is not a header, or lacks a column that was asked for.
    """
    options = adapt(path, options)
    lines = _Lines(read_lines(path, replace(options, progress=None), bad))
    delimiter = options.delimiter or _sniff_delimiter(lines.peek(), options)
    number, header = next(_rows(lines, delimiter, bad), (0, []))
    if number != 1 or any("\n" in name for name in header):
        raise ReadError(f"{bad.name} does not begin with a header of one line")
    _check_header(header, options, bad.name)
    return delimiter, header, options


def read_rows(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[LineRecord]:
    """Yield the rows of a delimited file with their lines; an empty cell is None."""
    lines = _Lines(read_lines(path, options, bad))
    delimiter = options.delimiter or _sniff_delimiter(lines.peek(), options)
    rows = _rows(lines, delimiter, bad)
    _, header = next(rows, (0, []))
    if header:
        _check_header(header, options, bad.name)
    for number, row in rows:
        if len(row) == len(header):
            yield number, {name: value or None for name, value in zip(header, row, strict=True)}
        else:
            bad.report(number, f"{len(row)} fields, where the header has {len(header)}")


class _Lines:
    """The lines for `csv.reader`, which asks for as many as the next row has.

    The lines of the row under way are kept: where a quote is never closed, the row swallows good
    lines after it, and these have to be given back. Each line is given back at most once, however
    the quotes stand: what was given back is a row line by line, except the last, at which the
    swallowing ended and where a new row of several lines may begin.
    """

    def __init__(self, lines: Iterator[tuple[int, bytes]]) -> None:
        self._lines = lines
        self._ahead: deque[tuple[int, bytes]] = deque()
        self._row: list[tuple[int, bytes]] = []
        self._size = 0  # of these in bytes
        self._lonely = 0  # how many of the lines ahead are a row each
        self._longest = _LONGEST_ROW
        self.damage = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._row) == self._longest or self._size > LONGEST_LINE:
            raise csv.Error("a quote is not closed")
        number, line = self._ahead.popleft() if self._ahead else next(self._lines)
        self._row.append((number, line))
        self._size += len(line)
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            self.damage = f"invalid UTF-8 at byte {error.start + 1} of line {number}"
            return line.decode("utf-8", "replace")

    @property
    def number(self) -> int:
        """The line on which the row under way began."""
        return self._row[0][0]

    def begin_row(self) -> None:
        self._row.clear()
        self._size = 0
        self.damage = ""
        self._longest = 1 if self._lonely else _LONGEST_ROW
        self._lonely = max(0, self._lonely - 1)

    def give_back(self, kept: int) -> None:
        """Take back the lines of the row, except the first `kept`."""
        given = self._row[kept:]
        self._ahead.extendleft(reversed(given))
        self._lonely += max(0, len(given) - 1)

    def peek(self) -> str:
        """Return the first line without using it up."""
        first = next(self, "")
        self.give_back(kept=0)
        return first


def _rows(lines: _Lines, delimiter: str, bad: BadLines) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, with the number of its first line."""
    # Strict, because otherwise a quote that is never closed swallows the rest of the file in
    # silence.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin_row()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            bad.report(lines.number, f"invalid row: {error}")
            lines.give_back(kept=1)
            continue
        if lines.damage:
            bad.report(lines.number, lines.damage)
        elif row:
            yield lines.number, row


def _sniff_delimiter(header: str, options: ReadOptions) -> str:
    """Return the delimiter that makes the header hold most names asked for, or most names."""
    wanted = set(options.fields.expected(steps=options.reads_steps))

    def fit(delimiter: str) -> tuple[int, int]:
        names = header.rstrip("\r\n").split(delimiter)
        bare = {name.strip('"') for name in names}
        return len(bare & wanted), len(names)

    return max(_DELIMITERS, key=fit)


def _check_header(header: list[str], options: ReadOptions, name: str) -> None:
    """Refuse a header without a column that was asked for, or with two of one name."""
    fields, expected = options.fields, options.fields.expected(steps=options.reads_steps)
    for column, option in expected.items():
        if column not in header:
            raise ReadError(f"{name}: {unknown_field_message(column, option, header)}")
    for column in (*expected, fields.trajectory, fields.step, fields.time, fields.count):
        if header.count(column) > 1:
            raise ReadError(f"{name}: two columns are called {column!r}; rename one")
