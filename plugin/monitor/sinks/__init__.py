"""Where a monitor reports what it finds: the log, a JSON Lines file, any callable."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol, TypeAlias

from detailed_balance.callbacks.isolation import warn
from detailed_balance.monitor.analysis.alerts import Event

__all__ = ["JsonLinesSink", "LoggingSink", "Sink", "Sinks"]

_LEVELS = {"watch": logging.WARNING, "problem": logging.ERROR}


class _Emitter(Protocol):
    def emit(self, event: Event) -> object: ...


Sink: TypeAlias = Callable[[Event], object] | _Emitter
"""A callable, or an object with `emit` and, if it has something to close, `close`."""


class LoggingSink:
    """Write each event to a log: a problem as an error, what to watch as a warning.

    That something is over is information.

    Parameters
    ----------
    logger : logging.Logger or str
        Which log.

    Examples
    --------
    >>> sink = LoggingSink("my.monitor")
    >>> sink.logger.name
    'my.monitor'
    """

    def __init__(self, logger: logging.Logger | str = "detailed_balance.monitor") -> None:
        self.logger = logging.getLogger(logger) if isinstance(logger, str) else logger

    def emit(self, event: Event) -> None:
        """Write one event."""
        finding = event.finding
        level = logging.INFO if event.what == "resolved" else _LEVELS[finding.severity]
        self.logger.log(level, "%s %s: %s", finding.kind, event.what, event.describe())


class JsonLinesSink:
    """Append each event as one line of JSON, which is ASCII, to a file or a stream.

    Parameters
    ----------
    target : path, ``"-"`` or file
        A file that is opened for appending, the standard output, or a stream of text.

    Examples
    --------
    >>> import io
    >>> from detailed_balance import Finding
    >>> from detailed_balance.monitor import Alert
    >>> stream, finding = io.StringIO(), Finding("trap", "watch", "stuck", ("a",))
    >>> alert = Alert(finding.id, finding, "open", 1.0, 1.0)
    >>> JsonLinesSink(stream).emit(Event("raised", alert, 1.0))
    >>> stream.getvalue()[:31]
    '{"what": "raised", "time": 1.0,'
    """

    def __init__(self, target: str | Path | IO[str]) -> None:
        self._owned = isinstance(target, str | Path) and str(target) != "-"
        self._file = _open(target)

    def emit(self, event: Event) -> None:
        """Write one event."""
        self._file.write(json.dumps(event.to_dict()) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file, where it was opened here."""
        if self._owned:
            self._file.close()


def _open(target: str | Path | IO[str]) -> IO[str]:
    if isinstance(target, str | Path):
        return sys.stdout if str(target) == "-" else Path(target).open("a", encoding="ascii")
    return target


class Sinks:
    """Several sinks, none of which can hurt the others or the monitor.

    Examples
    --------
    >>> events = []
    >>> from detailed_balance import Finding
    >>> from detailed_balance.monitor import Alert
    >>> finding = Finding("trap", "watch", "stuck", ("a",))
    >>> alert = Alert(finding.id, finding, "open", 1.0, 1.0)
    >>> Sinks([events.append]).emit([Event("raised", alert, 1.0)])
    >>> events[0].what
    'raised'
    """

    def __init__(self, sinks: tuple[Sink, ...] | list[Sink]) -> None:
        self._sinks = tuple(sinks)
        self._broken: set[int] = set()
        self._failed = 0

    @property
    def undelivered(self) -> int:
        """Events that a sink raised an error for, or counts as undelivered."""
        counted = sum(int(getattr(sink, "undelivered", 0)) for sink in self._sinks)
        return self._failed + counted

    def emit(self, events: list[Event]) -> None:
        """Give each event to every sink; the first error of a sink is logged."""
        for event in events:
            for place, sink in enumerate(self._sinks):
                try:
                    getattr(sink, "emit", sink)(event)  # type: ignore[operator]
                except Exception:
                    self._failed += 1
                    if place not in self._broken:
                        self._broken.add(place)
                        warn("a sink failed (further failures are silent): %r", sink)

    def close(self) -> None:
        """Close the sinks that can be closed."""
        for sink in self._sinks:
            close = getattr(sink, "close", None)
            if callable(close):
                try:
                    close()
                except Exception:
                    warn("a sink could not be closed: %r", sink)
