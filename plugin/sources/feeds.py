"""What grows, as increments: a store, a live graph or a file."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from detailed_balance.analyzers import END, START, TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.analyzers.runs.labels import Context, ContextLike, matches_context
from detailed_balance.callbacks import Transition, TransitionGraph
from detailed_balance.callbacks.graph import Move
from detailed_balance.callbacks.recorder.recent_runs import RecentRuns
from detailed_balance.readers.records.base import as_read_error
from detailed_balance.readers.records.columns import FieldNames
from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.render import safe_text
from detailed_balance.sources._stored_runs import assemble_runs, leave_out_cut, read_stored

if TYPE_CHECKING:
    from sqlalchemy import URL

    from detailed_balance.analyzers.runs.table import RunTable
    from detailed_balance.callbacks import TransitionStore

__all__ = [
    "MOST_BYTES",
    "RECENT",
    "UNWATCHED",
    "Feed",
    "FileFeed",
    "GraphFeed",
    "MoveBatch",
    "OpenedFeed",
    "StoreFeed",
    "open_file",
]

UNWATCHED = (
    "what can be watched is a TransitionCallbackHandler, a TransitionGraph, a TransitionStore, its "
    "path or URL, and a JSON Lines file"
)
"""What is said of anything else."""

_FOLLOWED = ("source", "target", "trajectory", "step", "time", "count")

RECENT = 50_000
"""The runs of so many moves, about, are looked at as runs; of the moves before, counts are kept."""

MOST_BYTES = 16_000_000
"""So much of a file is read at a time; a longer line is not taken in."""


@dataclass(frozen=True, slots=True)
class MoveBatch:
    """What came since the last time.

    Parameters
    ----------
    moves : sequence of Move
        What was counted, in the order recorded for each trajectory.
    cursor : str or None
        How far this is in the record, for the next process; None where that means nothing there.
    more : bool
        Whether there is more to read right now.
    times : sequence of float or None
        When each move was made, where the source knows.
    endings : int
        How often a run stopped, or was judged.
    """

    moves: Sequence[Move]
    cursor: str | None = None
    more: bool = False
    times: Sequence[float | None] = ()
    endings: int = 0


class Feed(Protocol):
    """What a monitor reads from.

    Attributes
    ----------
    name : str
        What it is, safe to print.
    """

    name: str

    def start(self, cursor: str | None, recent: int) -> TransitionCounts | None:
        """Return the counts of what lies before the moves to come.

        These begin at the cursor, or without one with the last `recent` moves. None says that
        there is nothing before the cursor: it is of another record.
        """
        ...

    def read(self) -> MoveBatch:
        """Return what came since."""
        ...

    def runs(self) -> RunTable | None:
        """Return the last runs, those still open too; None where none are known."""
        ...

    def losses(self) -> Mapping[str, int]:
        """Return how many moves were lost, by the reason."""
        ...

    def close(self) -> None:
        """Let go of the source."""
        ...


class _LastMoves:
    """The last moves that were read, for the runs that they are of."""

    def __init__(self) -> None:
        self._moves: deque[Transition] = deque(maxlen=RECENT)

    def append(self, moves: Iterable[Transition]) -> None:
        """Keep moves; those that were counted in bulk have no order."""
        self._moves.extend(move for move in moves if move.count == 1)

    def runs(self) -> RunTable | None:
        """Return the runs of moves that say whose they are."""
        found = assemble_runs(self._moves)
        return (leave_out_cut(found) if len(self._moves) == RECENT else found) or None


class GraphFeed:
    """The moves of a live graph, from this process.

    Parameters
    ----------
    graph : TransitionGraph
        What to follow.
    context : mapping, optional
        The labels that a move must carry.
    recorder : object
        What records into it, a `TransitionCallbackHandler` or the graph itself; asked for losses.
    """

    def __init__(self, graph: TransitionGraph, context: ContextLike, recorder: object) -> None:
        self.name = type(recorder).__name__
        self._graph, self._recorder, self._context = graph, recorder, context
        self._wanted: dict[Context, bool] = {}
        self._last, self._endings = _LastMoves(), 0
        self._subscription = graph.subscribe(context=context)

    def start(self, cursor: str | None, recent: int) -> TransitionCounts | None:
        """Return the counts up to now."""
        return self._subscription.before

    def read(self) -> MoveBatch:
        """Return the moves since."""
        moves = self._subscription.pop()
        if self._context is not None:
            moves = [move for move in moves if self._is_wanted(move[3])]
        if not self._knows_runs:
            now = time.time()
            self._last.append(Transition(*m[:4], time=now, count=m[4], run=m[5]) for m in moves)
        before, self._endings = self._endings, sum(self._graph.outcomes().values())
        return MoveBatch(moves, endings=self._endings - before)

    @property
    def _knows_runs(self) -> bool:
        return isinstance(getattr(self._recorder, "recent", None), RecentRuns)

    def runs(self) -> RunTable | None:
        """Return the runs that the recorder keeps, or those of the last moves."""
        store, recent = (getattr(self._recorder, name, None) for name in ("store", "recent"))
        if store is not None:
            store.flush()
            return _choose(read_stored(store, RECENT)[0], self._context)
        if isinstance(recent, RecentRuns):
            records = list(recent.records())
            found = assemble_runs(records[-RECENT:])
            whole = found if len(records) <= RECENT else leave_out_cut(found)
            return _choose(whole, self._context)
        return self._last.runs()

    def losses(self) -> Mapping[str, int]:
        """Return what was not recorded, and what came too fast to be read."""
        store = getattr(self._recorder, "store", None)
        return {
            "errors in the recorder": getattr(self._recorder, "faults", 0),
            "not written to the store": getattr(store, "lost", 0),
            "recorded faster than they were read": self._subscription.lost,
        }

    def close(self) -> None:
        """Get no more moves."""
        self._subscription.close()

    def _is_wanted(self, labels: Context) -> bool:
        if labels not in self._wanted:
            self._wanted[labels] = matches_context(labels, self._context)
        return self._wanted[labels]


class StoreFeed:
    """The moves of a store, which is only read.

    Parameters
    ----------
    store : TransitionStore
        What to follow.
    context : mapping, optional
        The labels that a move must carry.
    name : str
        What to call it, safe to print.
    """

    def __init__(self, store: TransitionStore, context: ContextLike, name: str) -> None:
        self.name = name
        self._store, self._context = store, context
        self._cursor: str | None = None

    def start(self, cursor: str | None, recent: int) -> TransitionCounts | None:
        """Count, in the database, what lies before the moves to come."""
        if cursor is None:
            cursor = self._store.mark(behind=recent)
        elif not self._knows(cursor):
            return None
        self._cursor = cursor
        return self._store.counts(context=self._context, before=cursor)

    def read(self) -> MoveBatch:
        """Return the moves since."""
        found = self._store.read_new(self._cursor, context=self._context)
        self._cursor = found.cursor
        moves = [_to_move(move) for move in found.transitions]
        times = [move.time for move in found.transitions]
        return MoveBatch(moves, found.cursor, found.more, times, len(found.endings))

    def runs(self, last: int = RECENT) -> RunTable | None:
        """Return the runs of the last moves that are recorded, as the store knows them."""
        return _choose(read_stored(self._store, last)[0], self._context)

    def _knows(self, cursor: str) -> bool:
        """Say whether the cursor is of this store, and not of one that was there before."""
        try:
            self._store.read_new(cursor, limit=1)
        except InvalidInputError:
            return False
        return True

    def losses(self) -> Mapping[str, int]:
        """Return what this process could not write."""
        return {"not written to the store": self._store.lost}

    def close(self) -> None:
        """Leave the store to whoever opened it."""


class OpenedFeed(StoreFeed):
    """The moves of the store at a URL; a file that was made again there is read from its beginning.

    Raises
    ------
    ReadError
        Where there is no store.
    """

    def __init__(self, url: str | URL, context: ContextLike) -> None:
        from detailed_balance.callbacks.redaction import hide_secrets
        from detailed_balance.callbacks.store.engine import find_file, parse_url  # loads SQLAlchemy

        shown = hide_secrets(url) if isinstance(url, str) else str(url.database)
        self._url, self._away = parse_url(url), False
        self._find = partial(find_file, self._url)
        super().__init__(self._open(), context, safe_text(shown, 120))

    def read(self) -> MoveBatch:
        """Return the moves since."""
        found = self._find()
        if self._away or found != self._file:
            self._away, same = True, found == self._file
            self._store.close()
            self._store = self._open()
            self._away, self._cursor = False, self._cursor if same else None
        return super().read()

    def close(self) -> None:
        """Disconnect."""
        self._store.close()

    def _open(self) -> TransitionStore:
        from detailed_balance.callbacks import TransitionStore  # loads SQLAlchemy

        store = TransitionStore(self._url, create=False)
        self._file = self._find()
        return store


class FileFeed:
    """Read the lines that are complete; one without its end is left for the next time.

    A file that was replaced or has become shorter is read from its beginning. Lines that are no
    transition are passed over and counted as lost.

    Parameters
    ----------
    path : str
        The file, plain JSON Lines with the fields that `read_transitions` takes by default.
    context : mapping, optional
        The labels that a move must carry.
    fields : FieldNames, optional
        Which field of a line holds what.

    Raises
    ------
    ReadError
        Where it cannot be opened.
    """

    def __init__(self, path: str, context: ContextLike, fields: FieldNames | None = None) -> None:
        self.name = safe_text(path, 120)
        self._path, self._context = Path(path), context
        self._fields = fields or FieldNames()
        self._offset = self._bad = 0
        self._last = _LastMoves()
        self._file_id = self._find()

    def start(self, cursor: str | None, recent: int) -> TransitionCounts | None:
        """Return the counts up to the cursor; without one all lines are moves to come."""
        if cursor is None:
            self._offset = 0
            return TransitionCounts.from_edges([])
        end, file_id = _decode(cursor)
        with as_read_error(self.name):
            if file_id != self._find() or self._path.stat().st_size < end:
                return None
            with self._path.open("rb") as file:
                moves = list(self._parse(file.read(end)))
        self._offset = end
        self._last.append(moves)
        return TransitionCounts.from_edges((m.source, m.target, m.count) for m in moves)

    def read(self) -> MoveBatch:
        """Return the moves of the lines that are new."""
        with as_read_error(self.name):
            found = self._find()
            if found != self._file_id or self._path.stat().st_size < self._offset:
                self._file_id, self._offset, self._last = found, 0, _LastMoves()
            with self._path.open("rb") as file:
                file.seek(self._offset)
                block = file.read(MOST_BYTES)
        whole = block.rfind(b"\n") + 1
        if not whole and len(block) == MOST_BYTES:
            whole = len(block)  # a line without end
        self._offset += whole
        more = len(block) == MOST_BYTES
        moves = list(self._parse(block[:whole]))
        self._last.append(moves)
        times = [move.time for move in moves]
        return MoveBatch([_to_move(move) for move in moves], self._encode(), more, times)

    def runs(self) -> RunTable | None:
        """Return the runs of the last moves."""
        return self._last.runs()

    def losses(self) -> Mapping[str, int]:
        """Return how many lines were not transitions."""
        return {"lines that are not a transition": self._bad}

    def close(self) -> None:
        """Nothing is kept open."""

    def _parse(self, block: bytes) -> Iterator[Transition]:
        for line in block.splitlines():
            if not line.strip():
                continue
            try:
                move = self._fields.to_transition(_to_object(line))
            except (BadRecordError, ValueError, RecursionError):
                self._bad += 1
                continue
            if move.count and matches_context(move.context, self._context):
                yield move

    def _find(self) -> str:
        with as_read_error(self.name):
            found = os.stat(self._path)
        return f"{found.st_dev}:{found.st_ino}"

    def _encode(self) -> str:
        return json.dumps([self._offset, self._file_id])


def _choose(runs: RunTable | None, context: ContextLike) -> RunTable | None:
    """Return the runs that carry the labels; None where there are none."""
    return None if runs is None else runs.where(context) or None


def _to_move(move: Transition) -> Move:
    return move.source, move.target, move.trajectory, move.context, move.count, move.run


def _decode(cursor: str) -> tuple[int, str]:
    try:
        end, file_id = json.loads(cursor)
        return int(end), str(file_id)
    except (TypeError, ValueError):
        raise ReadError(f"{cursor!r} is not a place in a file") from None


def _to_object(line: bytes) -> dict[str, object]:
    record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError("no object")
    return record


def open_file(source: object, context: ContextLike, options: Mapping[str, Any]) -> Feed:
    """Return the feed of a file that grows.

    Raises
    ------
    InvalidInputError
        Where an option is of no use for it.
    ReadError
        Where it cannot be read.
    """
    if not isinstance(source, str | os.PathLike):
        raise InvalidInputError(f"a {type(source).__name__} cannot be watched; {UNWATCHED}")
    path = os.fspath(source)
    if not path.endswith((".jsonl", ".ndjson")):
        there = "" if os.path.exists(path) else "there is no file "
        raise ReadError(
            f"{there}{safe_text(path)}: what can be watched is a store (a file or a URL) and a "
            "JSON Lines file (.jsonl) that grows"
        )
    return FileFeed(path, context, _name_fields(options))


def _name_fields(options: Mapping[str, Any]) -> FieldNames:
    """Return which field of a line holds what; each line is a move by itself."""
    fields = {name: options[f"{name}_field"] for name in _FOLLOWED if f"{name}_field" in options}
    labels, ends = options.get("context_fields", ()), options.get("boundaries", ())
    known = {f"{name}_field" for name in _FOLLOWED} | {"context_fields", "boundaries", "progress"}
    if unknown := sorted(options.keys() - known - {"format", "skip_bad_lines"}):
        raise InvalidInputError(
            f"{', '.join(unknown)} cannot be used with a file that is followed, each line of which "
            "is a move; import it into a store, which can be followed too"
        )
    return FieldNames(
        **fields,
        context=(labels,) if isinstance(labels, str) else tuple(labels),
        boundaries=dict(zip(ends, (START, END), strict=False)),
    )
