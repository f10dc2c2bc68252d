"""What all readers share: the lines of a file, what was wrong with them, and the result."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks.transition import Transition
from detailed_balance.readers.fields import BadRecordError, FieldNames, unknown_field_message
from detailed_balance.text import safe_text

__all__ = [
    "BadLines",
    "Progress",
    "ReadOptions",
    "SkippedLine",
    "TransitionReader",
    "open_trace",
    "read_lines",
    "read_records",
]

Progress: TypeAlias = Callable[[int, int], None]
"""Called from time to time with the bytes read and the bytes there are, as stored on disk."""

_GZIP_MAGIC = b"\x1f\x8b"
_LINES_BETWEEN_PROGRESS = 1_000
_DETAILS_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read a trace.

    Parameters
    ----------
    fields : FieldNames
        Which field holds what.
    delimiter : str or None
        Between the fields of a CSV file; None finds out.
    progress : Progress or None
        Told how far the reading is.
    """

    fields: FieldNames
    delimiter: str | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class SkippedLine:
    """A line that was left out.

    Parameters
    ----------
    line : int or str
        The line of the file, from 1; of a graph, its edge or node.
    reason : str
        What is wrong with it.
    """

    line: int | str
    reason: str


class BadLines:
    """Where readers report what is wrong: an error at once, or noted and passed over."""

    def __init__(self, name: str, *, skip: bool) -> None:
        self.name = name
        self.skip = skip
        self.count = 0
        self.first: list[SkippedLine] = []

    def report(self, line: int | str, reason: str) -> None:
        """Note that `line` is wrong.

        Raises
        ------
        ReadError
            Where bad lines are not to be skipped.
        """
        if not self.skip:
            place = f"line {line}" if isinstance(line, int) else safe_text(line, 120)
            raise ReadError(
                f"{self.name}, {place}: {reason}; skip_bad_lines=True (on the command line "
                "--skip-bad-lines) goes on without it"
            )
        self.count += 1
        if self.count <= _DETAILS_KEPT:
            self.first.append(SkippedLine(line, reason))


class TransitionReader:
    """The transitions of one source, read while they are asked for, and only once.

    Examples
    --------
    >>> bad = BadLines("trace.jsonl", skip=True)
    >>> reader = TransitionReader(iter([Transition("plan", "search")]), bad)
    >>> [transition.target for transition in reader], reader.skipped_count
    (['search'], 0)
    """

    def __init__(self, transitions: Iterator[Transition], bad: BadLines) -> None:
        self._transitions = transitions
        self._bad = bad

    def __iter__(self) -> Iterator[Transition]:
        return self._transitions

    @property
    def skipped(self) -> tuple[SkippedLine, ...]:
        """The first 1,000 lines that were skipped up to now."""
        return tuple(self._bad.first)

    @property
    def skipped_count(self) -> int:
        """How many lines were skipped up to now."""
        return self._bad.count


@contextmanager
def open_trace(path: Path) -> Iterator[tuple[io.BufferedIOBase, io.BufferedReader]]:
    """Open a file, plain or gzip: what it says, and the file as it is on disk."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise ReadError(f"{path} cannot be opened: {error.strerror}") from error
    with raw:
        packed = raw.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
        yield (gzip.GzipFile(fileobj=raw) if packed else raw), raw


def read_lines(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file with their numbers, as bytes with their line ends."""
    number = 0
    with open_trace(path) as (stream, raw):
        total = os.fstat(raw.fileno()).st_size
        try:
            for number, line in enumerate(stream, 1):
                yield number, _without_mark(line, path) if number == 1 else line
                if options.progress and number % _LINES_BETWEEN_PROGRESS == 0:
                    options.progress(raw.tell(), total)
        except (EOFError, OSError, zlib.error) as error:
            bad.report(number + 1, f"the file is damaged, nothing after here is read ({error})")
        if options.progress:
            options.progress(raw.tell(), total)


def read_records(
    records: Iterable[tuple[int | str, Mapping[str, Any]]], options: ReadOptions, bad: BadLines
) -> Iterator[Transition]:
    """Turn records, each with its line, into transitions; a count of 0 gives none.

    Raises
    ------
    ReadError
        Where there is no record at all, or none has a field that was asked for.
    """
    missing = options.fields.expected()
    there: tuple[str, ...] | None = None
    for line, record in records:
        there = there or tuple(record)
        if missing:
            missing = {name: option for name, option in missing.items() if name not in record}
        try:
            transition = options.fields.to_transition(record)
        except BadRecordError as error:
            bad.report(line, str(error))
            continue
        if transition.count:
            yield transition
    if there is None and not bad.count:
        raise ReadError(f"{bad.name} is empty: it holds no transitions")
    for name, option in missing.items() if there is not None else ():
        raise ReadError(f"{bad.name}: {unknown_field_message(name, option, there or ())}")


def _without_mark(line: bytes, path: Path) -> bytes:
    """Take off the byte order mark that some programs write first."""
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ReadError(f"{path} is written in UTF-16; save it as UTF-8")
    return line.removeprefix(codecs.BOM_UTF8)
