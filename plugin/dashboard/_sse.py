"""Server-sent events: what a page that stays open is told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that no proxy closes the line."""


def format_event(name: str, data: Any) -> str:
    r"""Return one event in the format of the HTML standard, section 9.2.

    Examples
    --------
    >>> format_event("status", {"lost": 0})
    'event: status\ndata: {"lost": 0}\n\n'
    """
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"  # JSON without a line end


async def follow(
    look: Callable[[], tuple[Any, Any]], is_over: Callable[[], bool], *, every: float = 1.0
) -> AsyncIterator[str]:
    """Yield an event whenever what `look` sees has changed.

    Parameters
    ----------
    look : callable
        Returns a mark that changes with what is seen, and what is to be sent; it may block.
    is_over : callable
        Whether to end.
    every : float
        Seconds between two looks.
    """
    mark, told = object(), time.monotonic()
    yield "retry: 2000\n\n"
    while not is_over():
        now, data = await run_in_threadpool(look)
        if now != mark:
            mark, told = now, time.monotonic()
            yield format_event("status", data)
        elif time.monotonic() - told > HEARTBEAT:
            told = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(every)
