"""`Spool`, a file that keeps batches of records while their database is away."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.runs.labels import make_context
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.callbacks.store.engine import file_of, is_in_memory
from detailed_balance.callbacks.transition import (
    Beginning,
    Ending,
    Record,
    Resumption,
    Standing,
    Transition,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL

    from detailed_balance.callbacks.store._rows import TableRow

_LIMIT = 2**30
"""How many bytes a spool may have."""


class RecordBatch(NamedTuple):
    """Records that are written as a whole, once: the writer has no two of one number.

    Examples
    --------
    >>> RecordBatch(7, 1, (Transition("plan", "search"),)).sequence
    1
    """

    writer: int
    sequence: int
    records: tuple[Record, ...]
    rows: list[TableRow] | None = None
    """The records as a database has them, where that is known already."""


class Spool:
    """Batches in a file of JSON Lines, one a line, that only one process at a time may have.

    A batch is in it as a whole or not at all: a line that was cut, as by the death of the process,
    or damaged, is passed over.

    Parameters
    ----------
    path : pathlib.Path
        The file. It is made with the first batch, for its owner alone to read.
    limit : int
        How many bytes it may have.
    durable : bool
        Whether `append` waits until the disk has the batch, as against the death of the machine.
    make_folder : bool
        Whether to make the folder where there is none.

    Attributes
    ----------
    damaged : int
        How many lines were passed over.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     spool = Spool(Path(folder) / "runs.jsonl")
    ...     spool.append(RecordBatch(7, 1, (Transition("plan", "search"),)))
    ...     [batch.sequence for found in spool.batches() for batch in found], len(spool)
    ...     spool.clear()
    ...     len(spool)
    ([1], 0)
    0
    """

    def __init__(
        self, path: Path, *, limit: int = _LIMIT, durable: bool = False, make_folder: bool = False
    ) -> None:
        self._path = path
        self._limit = limit
        self._durable = durable
        self._make_folder = make_folder
        self.damaged = 0
        self._descriptor: int | None = None
        self._start = self._end = self._records = 0

    @classmethod
    def adopt(cls, path: Path) -> Spool | None:
        """Take over what another process left; None where it still lives, or left nothing."""
        spool = cls(path)
        try:
            if path.stat().st_size == 0:  # perhaps of a process that is about to lock it
                return None
            spool._end = spool._open(os.O_RDWR)
            with open(path, "rb") as file:
                spool._records = sum(int(found[1]) for found in map(_COUNT.match, file) if found)
        except OSError:
            spool.release()
            return None
        return spool

    def __len__(self) -> int:
        return self._records

    def append(self, batch: RecordBatch) -> None:
        """Keep a batch behind the others.

        Raises
        ------
        OSError
            Where it cannot be written, or is more than the limit allows; it is not kept then.
        """
        line = _encode(batch)
        if self._end + len(line) > self._limit:
            raise OSError(errno.EFBIG, f"the spool holds {self._end} bytes", str(self._path))
        if self._descriptor is None:
            self._open(os.O_RDWR | os.O_CREAT)
        self._write(line)
        self._end += len(line)
        self._records += len(batch.records)

    def batches(self, most: int = 10_000) -> Iterator[list[RecordBatch]]:
        """Yield the batches, first in first out, as many at once as one transaction should write.

        They count as done when the next are asked for.

        Parameters
        ----------
        most : int
            How many records are yielded at once, but for a batch that has more.
        """
        found: list[RecordBatch] = []
        behind = self._start
        for batch, end in self._read():
            if batch is None:
                self.damaged += 1
            elif found and sum(len(b.records) for b in (*found, batch)) > most:
                yield found
                self._finish(found, behind)
                found = [batch]
            else:
                found.append(batch)
            behind = end
        if found:
            yield found
        self._finish(found, behind)

    def clear(self) -> None:
        """Delete the file; all in it is done with."""
        self.release()
        self._path.unlink(missing_ok=True)

    def release(self) -> None:
        """Leave the file to the next process."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
        self._start = self._end = self._records = 0

    def _finish(self, batches: list[RecordBatch], behind: int) -> None:
        self._records -= sum(len(batch.records) for batch in batches)
        self._start = behind

    def _open(self, flags: int) -> int:
        """Open the file, lock it, and return its size."""
        if self._make_folder:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, flags | getattr(os, "O_BINARY", 0), 0o600)
        try:
            _lock(self._descriptor)
        except OSError:
            self.release()
            raise
        return os.fstat(self._descriptor).st_size

    def _write(self, line: bytes) -> None:
        descriptor = self._descriptor
        if descriptor is None:
            raise OSError(errno.EBADF, "the spool is not open", str(self._path))
        os.ftruncate(descriptor, self._end)  # the rest of one that found no room
        os.lseek(descriptor, self._end, os.SEEK_SET)
        left = memoryview(line)
        while left:
            left = left[os.write(descriptor, left) :]
        if self._durable:
            os.fsync(descriptor)

    def _read(self) -> Iterator[tuple[RecordBatch | None, int]]:
        """Yield what is not done with, None for a damaged line, and where the next line begins."""
        if self._start == self._end:
            return
        with open(self._path, "rb") as file:
            file.seek(self._start)
            while file.tell() < self._end and (line := file.readline()).endswith(b"\n"):
                yield _decode(line), file.tell()


class SpoolFolder(NamedTuple):
    """Where the spools of a database are, how their names begin, and whether to make the folder.

    The folder of an SQLite file is not made again: whoever deleted it wants it gone.
    """

    folder: Path
    start: str
    make_folder: bool

    def of(self, writer: int, *, durable: bool) -> Spool:
        """Return the spool of a writer."""
        path = self.folder / f"{self.start}{writer & (2**64 - 1):016x}.jsonl"
        return Spool(path, durable=durable, make_folder=self.make_folder)

    def adopt_all(self) -> list[Spool]:
        """Return the spools that dead processes left."""
        paths = sorted(self.folder.glob(f"{glob.escape(self.start)}*.jsonl"))
        return [spool for spool in map(Spool.adopt, paths) if spool is not None]


def find_spool_folder(
    url: URL, folder: str | os.PathLike[str] | Literal[False] | None
) -> SpoolFolder | None:
    """Return where the spools of a database are, and how their names begin; None for none.

    That is beside the file of an SQLite database, and a folder of the user for a server; the names
    reveal neither where the server is nor which user connects.

    Examples
    --------
    >>> from sqlalchemy import make_url
    >>> find_spool_folder(make_url("sqlite:///runs/agents.db"), None).start
    'agents.db.spool-'
    """
    if folder is False or is_in_memory(url):
        return None
    if url.get_backend_name() == "sqlite":
        file = file_of(url).absolute()
        return SpoolFolder(Path(folder or file.parent), f"{file.name}.spool-", bool(folder))
    options = sorted((name, value) for name, value in url.query.items() if name in _SERVER_OPTIONS)
    server = repr((url.host, url.port, url.database, options))
    name = hashlib.blake2b(server.encode(), digest_size=8).hexdigest()
    return SpoolFolder(Path(folder or _state_folder()), f"{name}.spool-", True)


_SERVER_OPTIONS = ("dbname", "host", "options", "port", "service")
"""What of the query of a URL distinguishes one database from another."""


def _state_folder() -> Path:
    """Return where programs of this user keep what should outlive them."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "detailed-balance"


def _lock(descriptor: int) -> None:
    """Lock an open file against other processes until it is closed; never waits."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 2**40, os.SEEK_SET)  # locked bytes cannot be read, these are none
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_COUNT = re.compile(rb'\{"count":(\d{1,9}),')
"""How a line begins, so that records can be counted without reading them."""


def _encode(batch: RecordBatch) -> bytes:
    body = _dump([batch.writer, batch.sequence, [_to_list(record) for record in batch.records]])
    crc = zlib.crc32(body.encode())
    return f'{{"count":{len(batch.records)},"crc":{crc},"batch":{body}}}\n'.encode()


def _decode(line: bytes) -> RecordBatch | None:
    """Return the batch of a line, None where it is damaged."""
    try:
        found = json.loads(line)
        writer, sequence, records = found["batch"]
        if zlib.crc32(_dump(found["batch"]).encode()) != found["crc"]:
            return None
        return RecordBatch(writer, sequence, tuple(_from_list(*fields) for fields in records))
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


# A line of an older version has no fields behind those that were known then.
def _to_list(record: Record) -> list[Any]:
    labels = list(record.context)
    if isinstance(record, Ending):
        outcome = None if record.outcome is None else str(record.outcome)
        stopped = [record.trajectory, outcome, record.error, record.success, labels, record.time]
        return ["ending", *stopped, record.run, record.standing, record.supersteps]
    if isinstance(record, Beginning):
        whose = [record.trajectory, record.run, record.thread, record.parent, record.origin]
        return ["beginning", *whose, record.past_unknown, record.resumes, labels, record.time]
    move = [record.source, record.target, record.trajectory, labels]
    facts = record.facts  # a tuple
    return ["move", *move, record.step, record.time, record.count, record.run, facts]


def _from_list(kind: str, *fields: Any) -> Record:
    return _READERS[kind](*fields)


def _read_move(
    source: str,
    target: str | None,
    trajectory: str | None,
    labels: Any,
    step: int | None,
    time: float | None,
    count: int,
    run: str | None = None,
    facts: Any = None,
) -> Transition:
    found = None if facts is None else StepFacts(*facts)
    context = make_context(dict(labels))
    return Transition(source, target, trajectory, context, step, time, count, run, found)


def _read_ending(
    trajectory: str | None,
    outcome: str | None,
    error: str | None,
    success: bool | None,
    labels: Any,
    time: float | None,
    run: str | None = None,
    standing: Any = None,
    supersteps: int | None = None,
) -> Ending:
    stop = None if outcome is None else Outcome(outcome)
    if standing is not None:
        state, superstep, tasks, names = standing
        standing = Standing(state, superstep, tuple(tasks), tuple(names))
    context = make_context(dict(labels))
    return Ending(trajectory, stop, error, success, context, time, run, standing, supersteps)


def _read_beginning(*fields: Any) -> Beginning:
    trajectory, run, thread, parent, origin, past_unknown, resumes, labels, time = fields
    found = None if resumes is None else Resumption(*resumes)
    context = make_context(dict(labels))
    whose = (trajectory, run, thread, parent, origin)
    return Beginning(*whose, past_unknown, found, context, time)


_READERS: dict[str, Callable[..., Record]] = {
    "move": _read_move,
    "ending": _read_ending,
    "beginning": _read_beginning,
}
