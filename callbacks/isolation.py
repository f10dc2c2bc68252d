"""The edge between an agent and what records it: no error of ours crosses it, and no lock.

Starts and ends of runs have one signature each, written out, and pass on by position: `*args,
**kwargs` would be packed and unpacked at every event, which takes as long as an empty hook. Every
argument has a default, since a call that does not fit would raise before it is guarded.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeAlias, TypeVar, cast
from uuid import UUID

__all__ = [
    "Faults",
    "Metadata",
    "More",
    "Tags",
    "ends",
    "harmless",
    "harmless_unary",
    "renew_after_fork",
    "starts",
    "warn",
]

_LOST = "recording failed: some transitions are lost; the agent continues"
"""The kind of an error of which nothing else is known."""

Metadata: TypeAlias = Mapping[str, Any]
"""The metadata of a run; empty where there is none."""

Tags: TypeAlias = Sequence[str]
"""The tags of a run."""

More: TypeAlias = Mapping[str, Any]
"""What else an event says, by name."""

_NOTHING: Metadata = {}
_NO_RUN = UUID(int=0)
"""Of an event that names none: it is about nothing that was seen to start."""

_LOG = logging.getLogger("detailed_balance")
_Method = TypeVar("_Method", bound=Callable[..., None])


def warn(message: str, *values: object) -> None:
    """Log a warning, with the traceback of what is being handled; a broken log is not an error."""
    with suppress(Exception):
        _LOG.warning(message, *values, exc_info=sys.exc_info()[0] is not None)


class Forkable(Protocol):
    """An object that is used on both sides of a fork."""

    def _after_fork(self) -> None: ...


_OWNERS: weakref.WeakSet[Forkable] = weakref.WeakSet()


def renew_after_fork(owner: Forkable) -> None:
    """Let `owner` make new locks in every process that is forked from here, as long as it lives."""
    _OWNERS.add(owner)


def _renew() -> None:
    for owner in list(_OWNERS):
        owner._after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_renew)


class Faults:
    """Count errors, and log the first of each kind with its traceback.

    Attributes
    ----------
    count : int
        The errors so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._logged: set[str] = set()
        self._after_fork()
        renew_after_fork(self)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()  # re-entrant: logging may run the garbage collector

    def record(self, message: str) -> None:
        """Count the exception that is being handled; `message` is its kind."""
        with self._lock:
            self.count += 1
            first = message not in self._logged
            self._logged.add(message)
        if first:
            warn(message)

    def catch(self, message: str) -> None:
        """Count the exception that is being handled, and raise it where it is none of ours.

        That is one by which somebody ends the program, or this thread of it. Any other may come
        from code of a user that we call, also a `BaseException`: a cancellation, a generator that
        is closed, a panic of an extension.
        """
        if _ends_program(sys.exc_info()[0]):
            raise
        self.record(message)


def _ends_program(kind: type[BaseException] | None) -> bool:
    if kind is None or issubclass(kind, (KeyboardInterrupt, SystemExit)):
        return True
    # gevent ends a thread by an exception of its own.
    return any(base.__module__.partition(".")[0] in ("gevent", "greenlet") for base in kind.mro())


class Faulty(Protocol):
    """An object that counts its own errors."""

    _faults: Faults


def harmless(method: _Method) -> _Method:
    """Let a method of an object with `_faults` record its errors there and raise none."""

    @functools.wraps(method)
    def guarded(self: Faulty, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except BaseException:
            self._faults.catch(_LOST)

    return cast("_Method", guarded)


def starts(
    method: Callable[[Any, Any, Any, int, int | None, Metadata, Tags, More], None],
) -> Callable[..., None]:
    """Make a hook for starts of a method: it is given the run, the parent and the rest by position.

    Errors are recorded in `_faults`, and none is raised.
    """

    @functools.wraps(method)
    def hook(
        self: Faulty,
        serialized: Any = None,
        given: Any = None,
        /,
        *,
        run_id: UUID = _NO_RUN,
        parent_run_id: UUID | None = None,
        metadata: Metadata | None = None,
        tags: Tags | None = None,
        **more: Any,
    ) -> None:
        try:
            parent_id = parent_run_id.int if parent_run_id else None
            metadata, tags = metadata or _NOTHING, tags or ()
            method(self, serialized, given, run_id.int, parent_id, metadata, tags, more)
        except BaseException:
            self._faults.catch(_LOST)

    return hook


def ends(method: Callable[[Any, Any, int], None]) -> Callable[..., None]:
    """Make a hook for ends of a method that is given what the run returned, and which run it was.

    Errors are recorded in `_faults`, and none is raised.
    """

    @functools.wraps(method)
    def hook(
        self: Faulty,
        given: Any = None,
        /,
        *,
        run_id: UUID = _NO_RUN,
        parent_run_id: UUID | None = None,
        tags: Tags | None = None,
        **more: Any,
    ) -> None:
        try:
            method(self, given, run_id.int)
        except BaseException:
            self._faults.catch(_LOST)

    return hook


def harmless_unary(method: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Let a method of one argument record its errors in `_faults`, and raise none."""

    @functools.wraps(method)
    def guarded(self: Faulty, given: Any) -> None:
        try:
            method(self, given)
        except BaseException:
            self._faults.catch(_LOST)

    return guarded
