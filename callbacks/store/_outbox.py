"""`Outbox`, which brings records to a database, by way of a file while it is away."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import DataError, IntegrityError

from detailed_balance.callbacks.isolation import warn
from detailed_balance.callbacks.store._spool import Batch, Spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import URL

    from detailed_balance.callbacks.store._rows import Row
    from detailed_balance.callbacks.store._spool import Place, Record
    from detailed_balance.callbacks.store._writer import BatchWriter

__all__ = ["Outbox"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0
"""How many seconds pass before the database is tried again; they double each time."""


_QUIET = 3600.0
"""How many seconds pass, at least, between two words in the log on a database that is away."""


class Outbox:
    """Hand batches to a database in order, each once; keep them in a spool while it is away.

    One thread at a time uses it.

    Parameters
    ----------
    write : callable
        Writes batches of one writer at once, but for those that are written already; raises where
        the database fails.
    line : BatchWriter
        Where the records come from: it counts what is lost, and knows whether more come than the
        database takes; then the spool takes them.
    url : sqlalchemy.URL
        The database, for the log.
    place : Place or None
        Where the spools of this database are; None for none.
    durable : bool
        Whether a batch in the spool must be on the disk.
    """

    def __init__(
        self,
        write: Callable[[list[Batch]], None],
        line: BatchWriter[Record],
        url: URL,
        *,
        place: Place | None,
        durable: bool,
    ) -> None:
        self._write = write
        self._line = line
        self._name = repr(url)
        self._place = place
        self._durable = durable
        self._quiet_until = 0.0
        self._spools: list[Spool] = []  # those to be replayed, the own one last
        self.renew()

    def renew(self) -> None:
        """Become another writer; a forked process leaves the spool to its parent."""
        self.close()
        self._writer = int.from_bytes(os.urandom(8), signed=True)
        self._sequence = 0
        self._own = self._place and self._place.of(self._writer, durable=self._durable)
        self._pause, self._next_try = 0.0, 0.0

    @property
    def spooled(self) -> int:
        """How many records wait in spools."""
        return sum(map(len, self._spools))

    def adopt(self) -> bool:
        """Take over what dead processes left; say whether there is any."""
        if self._place is not None:
            self._spools[:0] = self._place.adopt_all()
        return bool(self._spools)

    def send(self, records: list[Record], rows: list[Row]) -> None:
        """Write the records, or keep them in the spool.

        Parameters
        ----------
        records : list of Transition or Ending
            What is sent.
        rows : list of Row
            The same, as the database has them.

        Raises
        ------
        Exception
            Where neither can be done.
        """
        self._sequence += 1
        batch = Batch(self._writer, self._sequence, tuple(records), rows)
        if self._must_wait() and self._keep(batch):
            return
        try:
            self._write([batch])
        except (DataError, IntegrityError):
            raise  # another time would be no better
        except Exception as error:
            if not self._keep(batch):
                raise
            self._stay_away(repr(error))

    def replay(self, *, at_once: bool) -> float | None:
        """Write what the spools hold; return in how many seconds to do so again, None for never.

        Parameters
        ----------
        at_once : bool
            Whether to try though it failed a moment ago.
        """
        if at_once or time.monotonic() >= self._next_try:
            try:
                while self._spools and self._replay(self._spools[0]):
                    del self._spools[0]
                self._pause = 0.0
            except Exception as error:
                self._stay_away(repr(error))
        return max(0.0, self._next_try - time.monotonic()) if self._spools else None

    def close(self) -> None:
        """Leave what the spools hold to the next process."""
        for spool in self._spools:
            spool.release()
        self._spools = []

    def _must_wait(self) -> bool:
        """Say whether a batch must go to the spool: others are there, or there is no time."""
        if self._own is not None and self._line.is_pressed:
            return True
        return self.replay(at_once=False) is not None

    def _keep(self, batch: Batch) -> bool:
        """Put a batch in the spool; say whether it need not be written now.

        Raises
        ------
        OSError
            Where the spool cannot take it, and those before it are not written yet.
        """
        if self._own is None:
            return False
        try:
            self._own.append(batch)
        except OSError:
            if self._spools:
                raise
            return False
        if self._own not in self._spools:
            self._spools.append(self._own)
        return True

    def _replay(self, spool: Spool) -> bool:
        """Write what a spool holds; say whether that is all, not where new records press."""
        for batches in spool.batches():
            if self._own is not None and self._line.is_pressed:
                return False
            try:
                self._write(batches)
            except (DataError, IntegrityError) as error:
                self._line.lose(sum(len(batch.records) for batch in batches), repr(error))
        if spool.damaged:
            warn("%d lines of a spool of %s were damaged", spool.damaged, self._name)
        spool.clear()
        return True

    def _stay_away(self, reason: str) -> None:
        """Try again later, each time after a longer pause."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            warn("%s is away (%s); what is recorded waits in a file", self._name, reason)
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._next_try = now + self._pause
