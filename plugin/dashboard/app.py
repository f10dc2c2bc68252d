"""`build_app`, the dashboard as an ASGI application."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from detailed_balance.analyzers.errors import (
    DetailedBalanceError,
    InvalidInputError,
    UnknownStateError,
)
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.dashboard._api import DashboardApi
from detailed_balance.dashboard._ids import visible
from detailed_balance.dashboard._monitors import MakeMonitor, MonitorPool
from detailed_balance.dashboard._records import Records
from detailed_balance.dashboard._security import Guard, check_token
from detailed_balance.render.links import check_run_url

__all__ = ["build_app"]

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_WATCHING = ("window", "alpha", "baseline", "block")
_WANTED = ("context", "since", "until", "last", "hide", "merge")
_PAGES = ("/", "/runs", "/run/{id}", "/finding/{id}", "/state/{id}", "/loop/{id}", "/compare")
_MISSING = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Not here</title>
<link rel="stylesheet" href="/static/style.css">
</head>
<body>
<main>
<h1>This is not here</h1>
<p class="problem">{text}</p>
<p><a href="/">To the overview</a></p>
</main>
</body>
</html>
"""


def build_app(
    source: object,
    *,
    token: str | None = None,
    hosts: Collection[str] = (),
    every: float = 1.0,
    run_url: str | None = None,
    make_monitor: MakeMonitor | None = None,
    **settings: Any,
) -> Starlette:
    """Return the dashboard over a source, an ASGI application.

    Parameters
    ----------
    source : object
        What is watched, and only read: a `TransitionStore`, a `TransitionGraph`, a handler, or a
        file as for `open_source`.
    token : str, optional
        What a client must know: as a bearer token, or once as ``?token=``, which sets a cookie.
    hosts : collection of str
        Host names, besides addresses and localhost, under which it is reached.
    every : float
        Seconds between two readings of the source.
    run_url : str, optional
        Where runs can be read in full, with ``{run}`` for the key; each run links there.
    make_monitor : callable, optional
        Makes the monitor of a source and a context; a `Monitor` by default.
    **settings
        For each `Monitor`: `window`, `alpha`, `baseline` and `block`. As for `open_source`, what
        is shown: `context`, `since`, `last`, `hide` and `merge`; `last` is counted from now. Any
        other is an option of `open_source` that says which field of a file holds what.

    Raises
    ------
    InvalidInputError
        Where the source is of no known kind, the token is too short, or `run_url` is not an
        address.
    ReadError
        Where the source cannot be opened.

    Examples
    --------
    >>> from detailed_balance import TransitionGraph
    >>> app = build_app(TransitionGraph())
    >>> [route.path for route in app.routes][:2]
    ['/', '/runs']
    """
    if token is not None:
        check_token(token)
    if run_url is not None:
        check_run_url(run_url)
    watching = {name: settings.pop(name) for name in _WATCHING if name in settings}
    wanted = {name: settings.pop(name) for name in _WANTED if name in settings}
    records = Records(source, wanted, **settings)
    watching |= records.wanted
    monitors = MonitorPool(records, make_monitor or _monitor_maker(every, watching))
    api = DashboardApi(records, monitors, every, run_url)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            await run_in_threadpool(
                monitors.get, records.context
            )  # so that the first page finds it read
            yield
        finally:
            await run_in_threadpool(api.close)

    app = Starlette(
        routes=[*_page_routes(api), *api.routes()],
        middleware=[
            Middleware(Guard, token=token, hosts=frozenset(hosts)),
            Middleware(GZipMiddleware, minimum_size=1_000, compresslevel=5),
        ],
        exception_handlers={
            DetailedBalanceError: _refuse,
            SQLAlchemyError: _refuse,
            HTTPException: _refuse,
        },
        lifespan=lifespan,
    )
    app.state.api = api
    return app


def _monitor_maker(every: float, settings: dict[str, Any]) -> MakeMonitor:
    from detailed_balance.monitor import Monitor

    def make(source: Any, context: Context) -> Any:
        return Monitor(source, every=every, context=context or None, **settings)

    return make


def _page_routes(api: DashboardApi) -> list[Route]:
    """Return the routes of all files; they are read now, and no path comes from a request."""
    page = _file(_STATIC / "index.html")

    async def send_page(request: Request) -> Any:
        await run_in_threadpool(api.check_labels, request)
        return await page(request)

    files = [path for path in sorted(_STATIC.rglob("*")) if path.suffix in _TYPES]
    return [Route(path, send_page) for path in _PAGES] + [
        Route(f"/static/{path.relative_to(_STATIC).as_posix()}", _file(path)) for path in files
    ]


def _file(path: Path) -> Callable[[Request], Any]:
    body, kind = path.read_bytes(), _TYPES[path.suffix]
    tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    headers = {"etag": tag, "cache-control": "no-cache"}

    async def send(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=kind, headers=headers)

    return send


def _refuse(request: Request, error: Exception) -> Response:
    """Say what is wrong with a request, or with the source, in one line; to a person on a page."""
    status, text = _explain(error)
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": text}, status)
    return HTMLResponse(_MISSING.format(text=escape(text)), status)


def _explain(error: Exception) -> tuple[int, str]:
    if isinstance(error, HTTPException):
        missing = "there is no page with this address"
        return error.status_code, missing if error.status_code == 404 else error.detail
    if isinstance(error, SQLAlchemyError):
        return 503, "the database does not answer"
    status = 400 if isinstance(error, InvalidInputError) else 503
    if isinstance(error, UnknownStateError):
        status = 404
    return status, visible(str(error))[:600]
