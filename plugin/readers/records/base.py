"""What all readers share: the lines of a file, what was wrong with them, and the result."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks import Ending, Transition
from detailed_balance.callbacks.names import join_names
from detailed_balance.readers.records.run_names import RunNames
from detailed_balance.readers.records.values import BadRecordError, state_keys
from detailed_balance.render.formatting import safe_text

if TYPE_CHECKING:
    from detailed_balance.readers.records.columns import FieldNames

__all__ = [
    "LONGEST_LINE",
    "BadLines",
    "LineRecord",
    "Progress",
    "ReadOptions",
    "Record",
    "SkippedLine",
    "StateOf",
    "TransitionReader",
    "as_read_error",
    "open_trace",
    "peek_text",
    "read_lines",
    "read_text",
    "read_whole",
    "spool_input",
]

Progress: TypeAlias = Callable[[int, int], None]
"""Called from time to time with the bytes read and the bytes there are, as stored on disk."""

Record: TypeAlias = Transition | Ending
"""What readers yield: a move, or the outcome of a trajectory."""

LineRecord: TypeAlias = tuple[int | str, Mapping[str, Any]]
"""A record, and its line or whatever else names its place."""

StateOf: TypeAlias = Callable[[Any], str | Iterable[str] | None]
"""Names the state of one record of a trace, a dict; None for no state, several for a composite."""

LONGEST_LINE = 64 * 2**20
"""The bytes that a line may have; a longer one ends the reading."""

LARGEST_DOCUMENT = 2**30
"""The bytes, unpacked, of a file that is held in memory whole."""

_CHUNK = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_LINES_BETWEEN_PROGRESS = 1_000
_DETAILS_KEPT = 1_000
_SKIPPING = "skip_bad_lines=True (on the command line --skip-bad-lines) skips it"


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
        Called with how far the reading is.
    states : StateOf or None
        Names the state of a record; None leaves it to the fields, or to what the format says.
    every_ending : bool
        Whether a table of moves yields an `Ending` after each record that tells one, and not only
        where it is new to the run.
    texts : dict or None
        Where what the agent wrote in each move is put, by the name of the run; None keeps none.
    """

    fields: FieldNames
    delimiter: str | None = None
    progress: Progress | None = None
    states: StateOf | None = None
    every_ending: bool = False
    texts: dict[str, list[str | None]] | None = None

    @property
    def reads_steps(self) -> bool:
        """Whether the records of a table are steps, each with one state, instead of moves."""
        return self.states is not None or self.fields.state is not None

    def of_moves(self) -> ReadOptions:
        """Return the same options for a source whose records are moves, whatever names states."""
        return replace(self, states=None, fields=replace(self.fields, state=None))

    def name_state(self, record: Mapping[str, Any], default: StateOf | None = None) -> str | None:
        """Return the state of a record: by `states`, else by the fields, else by `default`.

        Raises
        ------
        BadRecordError
            Where a field of the state is missing, or the function fails or gives no text.
        """
        return join_names(self.name_states(record, default)) or None

    def name_states(
        self, record: Mapping[str, Any], default: StateOf | None = None
    ) -> tuple[str, ...]:
        """Return the keys that `name_state` joins; none where the record is not a state."""
        name = self.states or (default if self.fields.state is None else None)
        if name is None:
            return state_keys(self.fields.read_state(record))
        try:
            return state_keys(name(record))
        except BadRecordError:
            raise
        except Exception as error:
            if type(name).__module__.startswith("detailed_balance.callbacks."):
                raise BadRecordError(
                    f"{type(name).__name__} names the runs of nodes, in spans, and this is a "
                    "record of another kind; name its state with state_field= (--state-field), or "
                    "with a function of the record as states= (--states module:function)"
                ) from error
            what = safe_text(f"{type(error).__name__}: {error}", 120)
            raise BadRecordError(f"the state function failed ({what})") from error


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
    """What a reader accepted, and what it skipped; or an error at the first bad record.

    Attributes
    ----------
    name : str
        The source, for messages.
    count : int
        Records that were skipped. Every record of a trace is either accepted or counted here.
    accepted : int
        Records that were understood, duplicates among them.
    duplicates : int
        How many of those said again what another had said, and were left out.
    reordered : int
        Steps that were out of order, by their number or time.
    first : list of SkippedLine
        What was wrong with the first 1,000 that were skipped.
    several : bool
        Whether the trace is several files, so that each skipped line is listed with its file.
    file : str or None
        Where it is several files, what the one that is read is called among them.
    run_names : RunNames
        The names of the runs up to now.
    record_ids : set of str
        Ids of records of all files, where the format gives them: one that comes again is a copy.
    score_names : set of str
        The names of the scores of traces, where no field of success was named.
    """

    def __init__(self, name: str, *, skip: bool, several: bool = False) -> None:
        self.name = name
        self.skip = skip
        self.several = several
        self.count = self.accepted = self.duplicates = self.reordered = 0
        self.first: list[SkippedLine] = []
        self.file: str | None = None
        self.run_names = RunNames()
        self.record_ids: set[str] = set()
        self.score_names: set[str] = set()

    def report(self, line: int | str, reason: str) -> None:
        """Note that `line` is wrong.

        Raises
        ------
        ReadError
            Where bad lines are not to be skipped.
        """
        if not self.skip:
            place = f"line {line}" if isinstance(line, int) else safe_text(line, 120)
            raise ReadError(f"{self.name}, {place}: {reason}; {_SKIPPING}")
        self._keep(f"{self.name}, line {line}" if self.several else line, reason)

    def report_file(self, error: ReadError) -> None:
        """Note that the rest of a file is not read, because of `error`.

        Raises
        ------
        ReadError
            Where it is the only file, or bad lines are not to be skipped.
        """
        if not self.several:
            raise error
        if not self.skip:
            raise error if _SKIPPING in str(error) else ReadError(f"{error}; {_SKIPPING}")
        self._keep(self.name, str(error))

    def _keep(self, place: int | str, reason: str) -> None:
        self.count += 1
        if self.count <= _DETAILS_KEPT:
            self.first.append(SkippedLine(place, reason))


class TransitionReader:
    """The transitions of one source, read while they are asked for, and only once.

    Where all is read, ``read_count + skipped_count + duplicate_count`` is the number of records
    in the source.

    Examples
    --------
    >>> bad = BadLines("trace.jsonl", skip=True)
    >>> reader = TransitionReader(iter([Transition("plan", "search")]), bad)
    >>> [transition.target for transition in reader], reader.skipped_count
    (['search'], 0)
    """

    def __init__(self, records: Iterator[Record], bad: BadLines) -> None:
        self._records = records
        self._bad = bad

    def __iter__(self) -> Iterator[Transition]:
        return (record for record in self._records if isinstance(record, Transition))

    def records(self) -> Iterator[Record]:
        """Yield the transitions, and after those of a run its outcome, where that is known."""
        return self._records

    @property
    def read_count(self) -> int:
        """How many records were read up to now: lines, rows, messages, edges, as the format is."""
        return self._bad.accepted - self._bad.duplicates

    @property
    def skipped(self) -> tuple[SkippedLine, ...]:
        """The first 1,000 records that were skipped up to now."""
        return tuple(self._bad.first)

    @property
    def skipped_count(self) -> int:
        """How many records were skipped up to now."""
        return self._bad.count

    @property
    def duplicate_count(self) -> int:
        """How many records were left out because another said the same."""
        return self._bad.duplicates

    @property
    def reordered_count(self) -> int:
        """How many steps were out of order, by their number or time."""
        return self._bad.reordered


def spool_input() -> tuple[Path, tempfile.TemporaryDirectory[str]]:
    """Return the standard input as a file, and its folder, which goes when that is let go."""
    folder = tempfile.TemporaryDirectory(prefix="detailed-balance-")
    path = Path(folder.name) / "standard input"
    if sys.stdin is None:
        raise ReadError("the standard input is closed; give a file")
    with as_read_error("standard input"), path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path, folder


@contextmanager
def as_read_error(name: object = "the file") -> Iterator[None]:
    """Raise what the system refuses, such as a file that has vanished, as a `ReadError`.

    Parameters
    ----------
    name : object
        The file, where the system does not name one.

    Raises
    ------
    ReadError
        In place of an OSError inside.

    Examples
    --------
    >>> with as_read_error("trace.csv"):
    ...     raise OSError(5, "Input/output error")
    Traceback (most recent call last):
    detailed_balance.analyzers.errors.ReadError: trace.csv cannot be read: Input/output error
    """
    try:
        yield
    except OSError as error:
        found = safe_text(str(error.filename or name), 400)
        raise ReadError(f"{found} cannot be read: {error.strerror or error}") from error


@contextmanager
def open_trace(path: Path) -> Iterator[tuple[io.BufferedIOBase, io.BufferedReader]]:
    """Open a file, plain or gzip: what it says, and the file as it is on disk."""
    with as_read_error(path), path.open("rb") as raw:
        packed = raw.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
        yield (gzip.GzipFile(fileobj=raw) if packed else raw), raw


def peek_text(path: Path, size: int = 65_536) -> bytes:
    """Return the first bytes of a file, unpacked where it is gzip; or what is whole of it."""
    parts: list[bytes] = []
    with open_trace(path) as (stream, _), suppress(EOFError, OSError, zlib.error):
        while size > 0 and (part := stream.read1(size)):
            parts.append(part)
            size -= len(part)
    return b"".join(parts)


def read_lines(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file with their numbers, as bytes with their line ends."""
    number = 0
    with open_trace(path) as (stream, raw):
        total = os.fstat(raw.fileno()).st_size
        try:
            while line := stream.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise ReadError(_too_long(path, f"line {number}"))
                yield number, _without_mark(line, path) if number == 1 else line
                if options.progress and number % _LINES_BETWEEN_PROGRESS == 0:
                    options.progress(raw.tell(), total)
        except (EOFError, OSError, zlib.error) as error:
            bad.report(number + 1, f"the file is damaged, nothing after here is read ({error})")
        if options.progress:
            options.progress(raw.tell(), total)


def read_whole(path: Path) -> bytes:
    """Return all that a file says, plain or gzip, for formats that are held in memory whole.

    Raises
    ------
    ReadError
        Where that is more than `LARGEST_DOCUMENT`.
    """
    with open_trace(path) as (stream, _):
        text = stream.read(LARGEST_DOCUMENT + 1)
    if len(text) > LARGEST_DOCUMENT:
        size = LARGEST_DOCUMENT // 2**20
        raise ReadError(
            f"{path} says more than {size:,} MiB; this format is read as a whole, so write it in "
            "several files, or as JSON Lines"
        )
    return text


def read_text(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[str]:
    """Yield the text of a file, plain or gzip, in parts, without a byte order mark."""
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
            place = error.start + 1
            bad.report("the text", f"invalid UTF-8 at byte {place}; nothing after here is read")
        except (EOFError, OSError, zlib.error) as error:
            bad.report("the file", f"it is damaged, nothing after here is read ({error})")


def _too_long(path: Path, place: str) -> str:
    return (
        f"{path}, {place}: it is longer than {LONGEST_LINE // 2**20} MiB, so this is not a trace "
        "with a record a line; nothing more is read"
    )


def _without_mark(line: bytes, path: Path) -> bytes:
    """Take off the byte order mark that some programs write first."""
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ReadError(f"{path} is written in UTF-16; save it as UTF-8")
    return line.removeprefix(codecs.BOM_UTF8)
