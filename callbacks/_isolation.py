"""The edge between an agent and what records it: no error of ours crosses it."""

from __future__ import annotations

import functools
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar, cast

from detailed_balance.callbacks._forks import renew_after_fork

__all__ = ["LOST", "Faults", "Faulty", "harmless", "warn"]

LOST = "recording failed: some transitions are lost, the agent goes on"
"""The kind of an error that nothing else is known of."""

_LOG = logging.getLogger("detailed_balance")
_Method = TypeVar("_Method", bound=Callable[..., None])


def warn(message: str, *values: object) -> None:
    """Log a warning, with the traceback of what is being handled; a broken log is no error."""
    with suppress(Exception):
        _LOG.warning(message, *values, exc_info=sys.exc_info()[0] is not None)


class Faults:
    """Count errors, and log the first of each kind with its traceback.

    Attributes
    ----------
    count : int
        The errors so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._noted: set[str] = set()
        self._after_fork()
        renew_after_fork(self)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()  # re-entrant: logging may run the garbage collector

    def note(self, message: str) -> None:
        """Count the exception that is being handled; `message` is its kind."""
        with self._lock:
            self.count += 1
            first = message not in self._noted
            self._noted.add(message)
        if first:
            warn(message)


class Faulty(Protocol):
    """An object that counts its own errors."""

    _faults: Faults


def harmless(method: _Method) -> _Method:
    """Let a method of an object with `_faults` note its errors there and raise none."""

    @functools.wraps(method)
    def guarded(self: Faulty, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception:
            self._faults.note(LOST)

    return cast("_Method", guarded)
