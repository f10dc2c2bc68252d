"""`FileFeed`, the moves of a JSON Lines file that grows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks._subscription import Move
from detailed_balance.callbacks.transition import ContextLike, matches_context
from detailed_balance.monitor.feeds import Batch
from detailed_balance.readers.records.columns import FieldNames
from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.render.formatting import safe_text

__all__ = ["FileFeed"]

MOST_BYTES = 16_000_000
"""So much is read at a time; a longer line is not taken in."""


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

    Raises
    ------
    ReadError
        Where it cannot be opened.
    """

    def __init__(self, path: str, context: ContextLike) -> None:
        self.name = safe_text(path, 120)
        self._path, self._context = Path(path), context
        self._fields = FieldNames()
        self._offset = self._bad = 0
        self._file_id = self._find()

    def start(self, cursor: str | None, recent: int) -> TransitionCounts | None:
        """Return the counts up to the cursor; without one all lines are moves to come."""
        if cursor is None:
            self._offset = 0
            return TransitionCounts.from_edges([])
        end, file_id = _decode(cursor)
        if file_id != self._find() or self._path.stat().st_size < end:
            return None
        with self._path.open("rb") as file:
            moves = list(self._parse(file.read(end)))
        self._offset = end
        return TransitionCounts.from_edges((f, g, n) for f, g, _, _, n in moves)

    def read(self) -> Batch:
        """Return the moves of the lines that are new."""
        found = self._find()
        if found != self._file_id or self._path.stat().st_size < self._offset:
            self._file_id, self._offset = found, 0
        with self._path.open("rb") as file:
            file.seek(self._offset)
            block = file.read(MOST_BYTES)
        whole = block.rfind(b"\n") + 1
        if not whole and len(block) == MOST_BYTES:
            whole = len(block)  # a line without end
        self._offset += whole
        more = len(block) == MOST_BYTES
        return Batch(list(self._parse(block[:whole])), (), self._encode(), more)

    def losses(self) -> Mapping[str, int]:
        """Return how many lines were no transitions."""
        return {"lines that are no transition": self._bad}

    def close(self) -> None:
        """Nothing is kept open."""

    def _parse(self, block: bytes) -> Iterator[Move]:
        for line in block.splitlines():
            if not line.strip():
                continue
            try:
                move = self._fields.to_transition(_to_object(line))
            except (BadRecordError, ValueError, RecursionError):
                self._bad += 1
                continue
            if move.count and matches_context(move.context, self._context):
                yield move.source, move.target, move.trajectory, move.context, move.count

    def _find(self) -> str:
        try:
            found = os.stat(self._path)
        except OSError as error:
            raise ReadError(f"{self.name} cannot be read: {error.strerror}") from None
        return f"{found.st_dev}:{found.st_ino}"

    def _encode(self) -> str:
        return json.dumps([self._offset, self._file_id])


def _decode(cursor: str) -> tuple[int, str]:
    try:
        end, file_id = json.loads(cursor)
        return int(end), str(file_id)
    except (TypeError, ValueError):
        raise ReadError(f"{cursor!r} is no place in a file") from None


def _to_object(line: bytes) -> dict[str, object]:
    record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError("no object")
    return record
