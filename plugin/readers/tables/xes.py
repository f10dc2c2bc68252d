"""XES, the event logs of process mining, read as a stream."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.records.base import (
    LONGEST_LINE,
    BadLines,
    LineRecord,
    ReadOptions,
    Record,
    open_trace,
)
from detailed_balance.readers.records.event_log import ACTIVITY, CASE, TIMESTAMP, adapt_to_event_log
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.rows import read_records
from detailed_balance.render.formatting import safe_text

__all__ = ["looks_like", "read"]

_CHUNK = 65_536
_VALUES = frozenset({"string", "date", "int", "float", "boolean", "id"})


def looks_like(opening: Opening) -> bool:
    """Say whether a file begins as an event log in XML."""
    return b"<log" in opening.head and opening.head.lstrip().startswith(b"<")


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of an XES file, plain or gzip.

    The records are the events, with the attributes of their trace under names that begin with
    ``case:``, as pm4py has them.
    """
    options = adapt_to_event_log([CASE, ACTIVITY, TIMESTAMP], options)
    return read_records(_events(path, options, bad), options, bad)


def _events(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[LineRecord]:
    log = _Log()
    with open_trace(path) as (stream, raw):
        total = os.fstat(raw.fileno()).st_size
        try:
            fed = pending = 0
            # A parser begins what it has not seen to its end anew, so that is doubled each time.
            while chunk := stream.read(max(_CHUNK, pending)):
                log.parser.Parse(chunk, False)
                fed += len(chunk)
                pending = fed - max(log.parser.CurrentByteIndex, 0)
                if pending > LONGEST_LINE:
                    raise ReadError(
                        f"{bad.name}, line {log.line}: what begins here is longer than "
                        f"{LONGEST_LINE // 2**20} MiB; nothing more is read"
                    )
                yield from log.pop_events()
                if options.progress:
                    options.progress(raw.tell(), total)
            log.parser.Parse(b"", True)
        except (EOFError, OSError, zlib.error) as error:
            yield from log.pop_events()
            bad.report(log.line, f"the file is damaged, nothing after here is read ({error})")
        except (expat.ExpatError, ValueError, LookupError) as error:  # no known encoding
            yield from log.pop_events()
            if not log.seen_log:
                raise ReadError(f"{bad.name} is not XES: {safe_text(str(error), 120)}") from error
            bad.report(
                log.line, f"invalid XES, nothing after here is read ({safe_text(str(error), 120)})"
            )
    if not log.seen_log and not bad.count:
        raise ReadError(f"{bad.name} is not XES: it has no element 'log'")


class _Log:
    """Collects the events of a log while its XML is parsed.

    Documents that declare a type are refused, as entities in it can make a small file unpack to
    gigabytes, or name other files; XES has no need of one.
    """

    def __init__(self) -> None:
        self.parser = expat.ParserCreate(namespace_separator="}")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.seen_log = False
        self._path: list[str] = []
        self._traces = 0
        self._trace: dict[str, str] = {}
        self._event: dict[str, str] = {}
        self._line = 0
        self._done: list[LineRecord] = []

    @property
    def line(self) -> int:
        """The line that is being parsed."""
        return self.parser.CurrentLineNumber

    def pop_events(self) -> list[LineRecord]:
        """Return the events that ended since the last time."""
        done, self._done = self._done, []
        return done

    def _refuse(self, *_: object) -> None:
        raise ValueError("it declares a document type, which XES has no need of")

    def _start(self, tag: str, attributes: dict[str, Any]) -> None:
        name = tag.rpartition("}")[2]
        place = self._path[-1] if self._path else ""
        if name == "log":
            self.seen_log = True
        elif name == "trace":
            self._traces += 1
            self._trace = {CASE: str(self._traces)}
        elif name == "event":
            self._event, self._line = {}, self.line
        elif name in _VALUES and place in ("trace", "event") and "key" in attributes:
            # Only what stands directly in a trace or an event: deeper ones are remarks on these.
            self._set(place, attributes["key"], attributes.get("value", ""))
        self._path.append(name)

    def _set(self, place: str, key: str, value: str) -> None:
        if place == "trace":
            self._trace[f"case:{key}"] = value
        else:
            self._event[key] = value

    def _end(self, tag: str) -> None:
        name = self._path.pop()
        if name == "event":
            # Without a time, the order of the events is that of the file.
            self._done.append((self._line, {TIMESTAMP: None, **self._trace, **self._event}))
