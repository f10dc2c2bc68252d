"""`BatchWriter`, a thread that writes what others queue, so that they never wait."""

from __future__ import annotations

import atexit
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from detailed_balance.callbacks.isolation import warn

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_LAST_WAIT = 30.0
"""How many seconds a process waits at its end, at most, for what is queued."""

_LAST_OF_ALL = -100
"""When a child of `multiprocessing` writes what is queued: behind all else that it has to end."""


def _nothing(_: bool) -> None:
    """Have nothing to do between batches."""


class BatchWriter(Generic[T]):
    """Hand items to a thread that writes them in batches.

    The thread starts with the first item. What is queued at the end of the process is written, as
    far as half a minute suffices: when the interpreter exits, and when a child of
    `multiprocessing` ends, which is another way. What comes still later, as from an agent that
    runs in an ``atexit`` handler, is written by the thread that brings it.

    Parameters
    ----------
    write : callable
        Writes one list of items; where it raises, they are lost.
    name : str
        What is written to, for the log.
    maintain : callable
        What the thread does after each batch, whenever a caller waits (then its argument is
        True), and when as many seconds have passed as it returned.
    capacity : int
        How many items may wait; further ones are lost.
    batch : int
        How many items to write at once, at most.
    delay : float
        How many seconds to let a batch gather.

    Examples
    --------
    >>> written = []
    >>> writer = BatchWriter(written.extend, name="a list")
    >>> writer.put("a")
    >>> writer.put("b")
    >>> writer.close()
    >>> written
    ['a', 'b']
    """

    def __init__(
        self,
        write: Callable[[list[T]], object],
        *,
        name: str,
        maintain: Callable[[bool], float | None] = _nothing,
        capacity: int = 100_000,
        batch: int = 10_000,
        delay: float = 0.1,
    ) -> None:
        self._write = write
        self._name = name
        self._maintain = maintain
        self._capacity = capacity
        self._batch = batch
        self._delay = delay
        self.reset()

    def reset(self) -> None:
        """Start again with an empty queue: a forked process leaves what is queued to its parent."""
        # Re-entrant: the garbage collector may run, in the midst of put(), a finaliser that puts.
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._items: list[T] = []
        self._accepted = self._done = self._urgent = self._lost = 0
        self._asked = self._answered = 0  # how often a caller began to wait, and was answered
        self._closed = self._ending = self._writes_here = False
        self._left = _LAST_WAIT  # how many seconds callers may spend writing at the end
        self._finalizer: Any = None

    @property
    def lost(self) -> int:
        """How many items were not written: the queue was full or closed, or the write failed."""
        return self._lost

    @property
    def waiting(self) -> int:
        """How many items are queued, or being written."""
        return self._accepted - self._done

    @property
    def is_half_full(self) -> bool:
        """Whether the queue is half full."""
        return 2 * len(self._items) > self._capacity

    def put(self, item: T) -> None:
        """Put `item` in the queue; never waits for a write, never raises."""
        try:
            with self._changed:
                refusal = self._refusal()
                if not refusal:
                    self._items.append(item)
                    self._accepted += 1
                    if self._thread is None:
                        self._write_here()
                    elif len(self._items) == 1:
                        self._changed.notify_all()
        except Exception:
            refusal = "the thread that writes could not start"
        if refusal:
            self.record_loss(1, refusal)

    def record_loss(self, count: int, reason: str) -> None:
        """Count `count` items as lost, and log the first loss."""
        with self._changed:
            first = not self._lost
            self._lost += count
        if first:
            message = "%d not written to %s: %s (further losses are only counted)"
            warn(message, count, self._name, reason)

    def start(self) -> None:
        """Start the thread, though there is no item yet; never raises."""
        with self._changed, suppress(RuntimeError):  # the next item tries again
            self._refusal()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that is queued now is written, or lost; say whether it is.

        Parameters
        ----------
        timeout : float, optional
            How many seconds to wait, at most.
        """
        if self._thread is threading.current_thread():
            return False  # a finaliser that the garbage collector ran there
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._asked = ticket = self._asked + 1
            self._urgent = last = self._accepted
            self._changed.notify_all()
            while (self._done < last or self._answered < ticket) and self._is_running():
                left = 1.0 if end is None else min(1.0, end - time.monotonic())
                if left <= 0:
                    return False
                self._changed.wait(left)
            if self._done < last:
                self._give_up("the thread that writes has died")
        return True

    def close(self, timeout: float | None = None) -> None:
        """Write what is queued and stop; what comes later is lost, or is left after `timeout`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)
        self._give_up("no writer was running" if timeout is None else "the process ends")
        atexit.unregister(self._end)
        if self._finalizer is not None:
            self._finalizer.cancel()

    def _refusal(self) -> str:
        """Say why no item can be queued now, if so; start the thread with the first."""
        if self._closed:
            return "it is closed"
        if len(self._items) >= self._capacity:
            return f"{self._capacity} are waiting already"
        if self._thread is None and not self._must_write_here():
            self._start_thread()
        return ""

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, name="detailed-balance", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if "shutdown" not in str(error):
                raise  # the next item tries again
            self._ending = True  # nobody is told earlier where Python is embedded
            return
        self._thread = thread
        atexit.register(self._end)
        self._finalizer = _finalize_child(self._end)

    def _must_write_here(self) -> bool:
        """Say whether no thread would be waited for any more, or even started: the process ends."""
        return self._ending or not threading.main_thread().is_alive()

    def _end(self) -> None:
        """Write what is queued; what comes later is written by the thread that brings it."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(_LAST_WAIT)
            if thread.is_alive():
                self.close(0.0)
                return
        with self._changed:
            self._thread = None
            self._write_here()

    def _write_here(self) -> None:
        """Write what is queued in this thread, which holds the lock: others wait for their turn."""
        if self._writes_here:
            return  # in a finaliser that the garbage collector runs: what it put is taken along
        self._writes_here = True
        try:
            while self._items:
                if self._left <= 0:
                    self._give_up("the process ends")
                    return
                start = time.monotonic()
                self._write_batch(self._take())
                self._left -= time.monotonic() - start
        finally:
            self._writes_here = False

    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _give_up(self, reason: str) -> None:
        """Count what will not be written as lost; the next item starts another thread."""
        with self._changed:
            left, self._done = self._accepted - self._done, self._accepted
            self._items.clear()
            self._thread = None
            self._answered = self._asked
            self._changed.notify_all()
        if left > 0:
            self.record_loss(left, reason)

    def _run(self) -> None:
        try:
            pause, ended = self._maintain(False), False
            while not ended:
                batch, asked, closed = self._next_batch(pause)
                if batch:
                    self._write_batch(batch)
                ended = closed and not batch
                pause = self._maintain(closed or asked > self._answered)
                with self._changed:
                    self._answered = asked
                    self._changed.notify_all()
        except Exception as error:  # as where memory has run out
            self._give_up(repr(error))

    def _write_batch(self, batch: list[T]) -> None:
        try:
            self._write(batch)
        except Exception as error:
            self.record_loss(len(batch), repr(error))
        with self._changed:
            self._done += len(batch)

    def _next_batch(self, pause: float | None) -> tuple[list[T], int, bool]:
        """Wait for a batch, at most so many seconds; with who waits, and whether all is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._is_urgent(), timeout=pause)
            if self._items:
                self._changed.wait_for(self._is_urgent, timeout=self._delay)
            return self._take(), self._asked, self._closed or self._ending

    def _take(self) -> list[T]:
        batch = self._items[: self._batch]
        del self._items[: self._batch]
        return batch

    def _is_urgent(self) -> bool:
        awaited = self._done < self._urgent or self._answered < self._asked
        return self._closed or self._ending or awaited or len(self._items) >= self._batch


def is_ended_without_notice() -> bool:
    """Say whether this process is daemonic, as workers of a `multiprocessing.Pool` are.

    It is killed when its work is done.
    """
    process = sys.modules.get("multiprocessing.process")
    return bool(process and process.parent_process() and process.current_process().daemon)


def _finalize_child(end: Callable[[], None]) -> Any:
    """Have `end` called when this process ends, if it is a child of `multiprocessing`.

    Such a child runs no ``atexit`` handlers before Python 3.14, and is one only where the module
    is loaded.
    """
    process, util = map(sys.modules.get, ("multiprocessing.process", "multiprocessing.util"))
    if process is None or util is None or process.parent_process() is None:
        return None
    return util.Finalize(None, end, exitpriority=_LAST_OF_ALL)
