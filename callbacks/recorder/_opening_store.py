"""`OpeningStore`, a store that a thread of its own opens, where the agent's must not wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from detailed_balance.callbacks.isolation import renew_after_fork

if TYPE_CHECKING:
    from detailed_balance.callbacks.store.store import TransitionStore
    from detailed_balance.callbacks.transition import Record


class OpeningStore:
    """Keep records until the store is open, and hand them on from then on; never wait.

    An event loop must not wait for a file or a server, and servers for agents refuse whatever does.

    Parameters
    ----------
    make : callable
        Opens the store; it raises nothing, and gives None where there is none.

    Examples
    --------
    >>> from detailed_balance.callbacks import Transition, TransitionStore
    >>> store = OpeningStore(lambda: TransitionStore("sqlite://"))
    >>> store.record(Transition("plan", "search"))
    >>> store.flush()
    >>> len(store.opened)
    1
    """

    def __init__(self, make: Callable[[], TransitionStore | None]) -> None:
        self._make = make
        self.opened: TransitionStore | None = None
        self._after_fork()
        renew_after_fork(self)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        self._waiting: list[Record] = []
        if self.opened is None:
            # The interpreter waits for it at its end, so that what waits is not lost.
            self._thread = threading.Thread(target=self._open, name="detailed-balance-open")
            self._thread.start()

    def record(self, record: Record) -> None:
        """Hand a record to the store, or keep it until that is open."""
        with self._lock:
            if self._thread.is_alive() and self.opened is None:
                self._waiting.append(record)  # not for long: to connect takes 10 s at most
            elif self.opened is not None:
                self.opened.record(record)

    def flush(self) -> None:
        """Wait until the store is open, and has all that was recorded."""
        self._thread.join()
        if self.opened is not None:
            self.opened.flush()

    def close(self) -> None:
        """Wait likewise, and close the store."""
        self._thread.join()
        if self.opened is not None:
            self.opened.close()

    def _open(self) -> None:
        store = self._make()
        with self._lock:
            waiting, self._waiting = self._waiting, []
            if store is not None:
                for record in waiting:
                    store.record(record)
            self.opened = store
