"""`DashboardApi`, which answers what the page asks for."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from detailed_balance.analyzers.errors import InvalidInputError, UnknownStateError
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.dashboard._csv_tables import TABLES
from detailed_balance.dashboard._details import (
    compare_snapshots,
    list_states,
    parse_loop,
    show_loop,
    show_state_page,
    show_walks,
)
from detailed_balance.dashboard._ids import parse_context
from detailed_balance.dashboard._landscape import MOST_STATES, draw_landscape
from detailed_balance.dashboard._monitors import BusyError, ContextMonitor, MonitorPool, Snapshot
from detailed_balance.dashboard._overview import (
    Range,
    is_loop,
    label_choices,
    list_findings,
    show_finding,
    show_overview,
)
from detailed_balance.dashboard._records import Records
from detailed_balance.dashboard._runs import (
    KINDS,
    OUTCOMES_ASKED,
    SORTS,
    RunReader,
    check_choice,
    list_runs,
    show_one,
)
from detailed_balance.monitor import Alert
from detailed_balance.render.formatting import format_csv

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

STREAMS = 64
"""Pages that may stay open at the same time."""

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that no proxy closes the line."""

_LOOPS_DRAWN, _WANTED_DRAWN = 8, 50
_LONGEST_TEXT = 200
_REFRESH, _SHORTEST_WAIT = 10.0, 0.5


@dataclass(frozen=True, slots=True)
class _Selection:
    """What a request asks about: the moves with these labels, in this range of time."""

    context: Context
    within: Range
    watched: ContextMonitor

    @property
    def alerts(self) -> tuple[Alert, ...]:
        return self.watched.monitor.status().alerts


@dataclass
class DashboardApi:
    """Answer the requests for data.

    Parameters
    ----------
    records : Records
        What is read.
    monitors : MonitorPool
        The monitors of it.
    every : float
        Seconds between two readings.
    run_url : str or None
        Where runs can be read in full, as for `link_run`.

    Attributes
    ----------
    ending : bool
        Whether the server is to end: then pages that stay open are hung up.
    """

    records: Records
    monitors: MonitorPool
    every: float
    run_url: str | None = None
    ending: bool = field(default=False, init=False)
    _streams: int = field(default=0, init=False)
    _reader: RunReader = field(init=False)

    def __post_init__(self) -> None:
        self._reader = RunReader(self.records)

    def routes(self) -> list[Route]:
        """Return the routes of all views; each answers in a thread."""
        views = {
            "contexts": self._contexts,
            "overview": self._overview,
            "landscape": self._landscape,
            "states": self._states,
            "runs": self._runs,
            "run/{id}": self._run,
            "finding/{id}": self._finding,
            "state/{id}": self._state,
            "loop/{id}": self._loop,
            "compare": self._compare,
        }
        return [
            *(Route(f"/api/{path}", _in_thread(view)) for path, view in views.items()),
            Route("/api/events", self._events),
            Route("/api/export/{table}.csv", self._export),
        ]

    def close(self) -> None:
        """Stop the monitors, and let go of the source."""
        self.monitors.close()
        self.records.close()

    def _contexts(self, request: Request) -> Any:
        return {
            "labels": label_choices(self.records.contexts()),
            "times": self.records.has_times,
            "source": self.records.description,
        }

    def _overview(self, request: Request) -> Any:
        return self._show_overview(self._read(request))

    def _landscape(self, request: Request) -> Any:
        asked = self._read(request)
        ranged = asked.within != (None, None)
        found = [a for a in list_findings(asked.alerts, asked.within) if ranged or a.is_open]
        loops = ((alert.id, alert.finding.place) for alert in found if is_loop(alert))
        drawn = dict(islice(loops, _LOOPS_DRAWN))
        wanted = [state for alert in found for state in alert.finding.place]
        return draw_landscape(
            self._snapshot(asked),
            drawn,
            wanted=wanted[:_WANTED_DRAWN],
            top=_number(request, "top", 200, 2, MOST_STATES),
            places=None if ranged else asked.watched.places,
        )

    def _states(self, request: Request) -> Any:
        snapshot = self._snapshot(self._read(request))
        limit = _number(request, "top", 200, 1, 1_000)
        return {"states": list_states(snapshot, limit), "all": len(snapshot.ids)}

    def _runs(self, request: Request) -> Any:
        """List the runs that are asked for, those of a finding too."""
        context, given = self._context(request), request.query_params
        keys = None
        if number := given.get("finding"):
            keys = frozenset(self._find(self._read(request), number).finding.runs)
        return list_runs(
            self._reader.get(),
            context,
            _range(request),
            outcome=check_choice("outcome", given.get("outcome", ""), OUTCOMES_ASKED),
            kind=check_choice("kind", given.get("kind", ""), KINDS),
            text=given.get("text", "")[:_LONGEST_TEXT],
            keys=keys,
            sort=check_choice("sort", given.get("sort", ""), SORTS) or SORTS[0],
            page=_number(request, "page", 1, 1, 999_999_999),
        )

    def _run(self, request: Request) -> Any:
        return show_one(self._reader.get(), request.path_params["id"], self.run_url)

    def _find(self, asked: _Selection, number: str) -> Alert:
        for alert in asked.alerts:
            if alert.id == number:
                return alert
        raise UnknownStateError("no such finding is known here, or it was over long ago")

    def _finding(self, request: Request) -> Any:
        asked = self._read(request)
        found = self._find(asked, request.path_params["id"])
        shown = show_finding(found)
        if is_loop(found):
            shown["counted"] = show_loop(self._snapshot(asked), found.finding.place)
            moves = list(Loop(found.finding.place).edges())
        else:
            moves = list(pairwise(found.finding.place[:8]))
        return {**shown, "walks": self._walks(asked, moves)}

    def _state(self, request: Request) -> Any:
        asked = self._read(request)
        snapshot = self._snapshot(asked)
        state = snapshot.state(request.path_params["id"])
        named = [a for a in asked.alerts if state in a.finding.place]
        shown = show_state_page(snapshot, state)
        # Of the moves that leave it, the most frequent one that leads to a state.
        ids = [move["id"] for move in shown["leaves"]["moves"] if move["id"] is not None]
        walks = self._walks(asked, [(state, snapshot.state(number)) for number in ids[:1]])
        return {**shown, "findings": [show_finding(alert) for alert in named[:20]], "walks": walks}

    def _loop(self, request: Request) -> Any:
        asked = self._read(request)
        snapshot = self._snapshot(asked)
        loop = parse_loop(snapshot, request.path_params["id"])
        same = [a for a in asked.alerts if set(a.finding.place) == set(loop)]
        return {
            **show_loop(snapshot, loop),
            "findings": [show_finding(alert) for alert in same[:20]],
            "walks": self._walks(asked, list(Loop(loop).edges())),
        }

    def _compare(self, request: Request) -> Any:
        known, within = self.records.contexts(), _range(request)
        asked = (parse_context(request.query_params.getlist(name), known) for name in ("a", "b"))
        sides = (self.monitors.count(self.records.labels(labels), *within) for labels in asked)
        return compare_snapshots(*sides)

    async def _events(self, request: Request) -> Response:
        """Send every change, for as long as the page is open."""
        if self._streams >= STREAMS:
            raise BusyError(f"{STREAMS} pages are open already; close one")
        self._streams += 1  # before anything is waited for
        try:
            asked = await run_in_threadpool(self._read, request)
        except BaseException:
            self._release()
            raise

        def read() -> tuple[Any, Any]:
            # Asked for again each time: a monitor that nobody asks for is stopped.
            now = _Selection(asked.context, asked.within, self.monitors.get(asked.context))
            shown = self._show_overview(now)
            return (_fingerprint(now), shown["tiles"]), shown

        parts = follow(read, lambda: self.ending, every=max(self.every, _SHORTEST_WAIT))
        return _EventStream(parts, self._release)

    def _release(self) -> None:
        self._streams -= 1

    async def _export(self, request: Request) -> Response:
        name = request.path_params["table"]
        if name not in TABLES:
            allowed = ", ".join(TABLES)
            raise InvalidInputError(f"there is no table of this name; there are {allowed}")
        asked = await run_in_threadpool(self._read, request)
        snapshot = await run_in_threadpool(self._snapshot, asked)
        columns, rows = TABLES[name]
        parts = format_csv(columns, rows(snapshot, asked.watched.monitor.status()))
        headers = {"content-disposition": f'attachment; filename="{name}.csv"'}
        return StreamingResponse(parts, media_type="text/csv; charset=utf-8", headers=headers)

    def check_labels(self, request: Request) -> None:
        """Raise `UnknownStateError` where a label that is asked for was never recorded."""
        self._context(request)

    def _context(self, request: Request) -> Context:
        given = request.query_params.getlist("context")
        asked = parse_context(given, self.records.contexts() if given else ())
        return self.records.labels(asked)

    def _read(self, request: Request) -> _Selection:
        context = self._context(request)
        return _Selection(context, _range(request), self.monitors.get(context))

    def _snapshot(self, asked: _Selection) -> Snapshot:
        return self.monitors.snapshot(asked.context, *asked.within)

    def _show_overview(self, asked: _Selection) -> Any:
        known, within, ranged = self._reader.get(), asked.within, asked.within != (None, None)
        counts = self._snapshot(asked).counts if ranged else None
        places = None if known is None else known.choose(asked.context, within)
        status = asked.watched.monitor.status()
        if counts is not None and not counts.total:  # nothing was recorded then
            status = replace(status, alerts=())
        return {
            **show_overview(status, self.records.description, within, counts),
            "tiles": None if known is None or places is None else known.tiles(places),
        }

    def _walks(self, asked: _Selection, moves: list[tuple[str, str]]) -> Any:
        return show_walks(self.records.walks(moves, asked.context, *asked.within))


class _EventStream(StreamingResponse):
    """A page that stays open; its place is free again when it is closed, however that comes."""

    def __init__(self, parts: AsyncIterator[str], release: Callable[[], None]) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(parts, media_type="text/event-stream", headers=headers)
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._release()


def format_event(name: str, data: Any) -> str:
    r"""Return one event in the format of the HTML standard, section 9.2.

    Examples
    --------
    >>> format_event("status", {"lost": 0})
    'event: status\ndata: {"lost": 0}\n\n'
    """
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"  # JSON without a line end


async def follow(
    read: Callable[[], tuple[Any, Any]], is_over: Callable[[], bool], *, every: float = 1.0
) -> AsyncIterator[str]:
    """Yield a server-sent event whenever what `read` returns has changed.

    Parameters
    ----------
    read : callable
        Returns a fingerprint that changes with the data, and the data to send; it may block.
    is_over : callable
        Whether to end.
    every : float
        Seconds between two readings.
    """
    last, sent = object(), time.monotonic()
    yield "retry: 2000\n\n"
    while not is_over():
        fingerprint, data = await run_in_threadpool(read)
        if fingerprint != last:
            last, sent = fingerprint, time.monotonic()
            yield format_event("status", data)
        elif time.monotonic() - sent > HEARTBEAT:
            sent = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(every)


def _fingerprint(asked: _Selection) -> Any:
    """Return what changes where a page would want to know; the rest is sent every 10 s."""
    status = asked.watched.monitor.status()
    findings = [(a.id, a.status, a.finding.severity, a.finding.title) for a in status.alerts]
    numbers = status.transitions, status.escapes, status.lost, len(status.traps)
    return numbers, findings, int(status.updated / _REFRESH)


def _in_thread(view: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(view, request))

    return answer


def _range(request: Request) -> Range:
    return _moment(request, "since"), _moment(request, "until")


def _moment(request: Request, name: str) -> float | None:
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        moment = float(text)
    except ValueError:
        moment = math.nan
    if not math.isfinite(moment):
        raise InvalidInputError(f"{name} is a number of seconds since 1970; got {text[:40]!r}")
    return moment


def _number(request: Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and least <= int(text[:9]) <= most):
        raise InvalidInputError(f"{name} is a number from {least} to {most}; got {text[:40]!r}")
    return int(text)
