"""`NotifySink`, which sends events to chats, pagers, mail and webhooks, by Apprise."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from detailed_balance.analyzers.errors import DetailedBalanceError, InvalidInputError
from detailed_balance.callbacks.isolation import warn
from detailed_balance.monitor.analysis.alerts import Event
from detailed_balance.render import safe_text

__all__ = ["NotifySink"]

_TYPES = {"watch": "warning", "problem": "failure"}
_JSON = ("json", "jsons")


class NotifySink:
    """Send each event to one service, from a thread of its own, so that nobody waits for it.

    Events keep their order. One that the service does not take is counted and logged, and not sent
    again unless the URL asks for that (``?retry=3``, in current releases of Apprise).

    Parameters
    ----------
    url : str
        An Apprise URL: ``slack://...``, ``workflows://...`` (Teams), ``pagerduty://...``,
        ``mailto://...``; a webhook that takes JSON is ``jsons://host/path`` and gets the whole
        event, as JSON, in the field ``message``.
    capacity : int
        How many events may wait; beyond it the oldest are given up.

    Attributes
    ----------
    service : str
        Where events go, without what may be secret.
    sent, undelivered : int
        Events that the service has taken, and that it has not.

    Raises
    ------
    DetailedBalanceError
        Where apprise is not installed.
    InvalidInputError
        Where it knows no service of this URL.
    """

    def __init__(self, url: str, *, capacity: int = 1_000) -> None:
        self._apprise = _import_apprise().Apprise()
        self.service = _add_service(self._apprise, url)
        self._takes_json = urlsplit(self.service).scheme in _JSON
        self._capacity = capacity
        self.sent = self.undelivered = 0
        self._waiting: deque[Event] = deque()
        self._changed = threading.Condition()
        self._sending = self._closing = self._closed = False
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"NotifySink({self.service!r})"

    def emit(self, event: Event) -> None:
        """Put one event in line."""
        with self._changed:
            if len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self._lose("too many events wait")
            self._waiting.append(event)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self, timeout: float = 5.0) -> None:
        """Send what waits, as far as `timeout` seconds suffice; the rest is undelivered."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is None:
            return
        self._thread.join(timeout)
        with self._changed:
            for _ in range(len(self._waiting) + self._sending):
                self._lose("there was no time left")
            self._waiting.clear()
            self._sending, self._closed = False, True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                event, self._sending = self._waiting.popleft(), True
            problem = self._deliver(event)
            with self._changed:
                if self._closed:
                    return
                self._sending = False
                if problem:
                    self._lose(problem)
                else:
                    self.sent += 1

    def _deliver(self, event: Event) -> str:
        """Return why the service did not take an event; empty if it did."""
        finding = event.finding
        resolved = event.what == "resolved"
        try:
            taken = self._apprise.notify(
                title=f"detailed-balance: {finding.kind} {event.what}",
                body=json.dumps(event.to_dict())
                if self._takes_json
                else _without_mentions(event.describe_whole()),
                notify_type="success" if resolved else _TYPES[finding.severity],
                body_format="text",
            )
        except Exception as error:  # whatever a service may raise
            return type(error).__name__
        return "" if taken else "the log of apprise says why"

    def _lose(self, reason: str) -> None:
        """Count and log what was not delivered; the caller holds the lock."""
        self.undelivered += 1
        warn("an event was not delivered to %s: %s", self.service, reason)


def _without_mentions(text: str) -> str:
    """Return a sentence in which no name of a state calls people, as ``<!channel>`` or ``@all``."""
    return re.sub(r"<(?=[!@#&])", "\u2039", text).replace("@", "\uff20")


def _add_service(apprise: Any, url: str) -> str:
    """Add the service of a URL, and return its scheme and host."""
    try:
        service = apprise.instantiate(url)
    except ValueError:  # as earlier releases do
        service = None
    if service is None:
        scheme, colon, _ = url.partition("://")  # what follows is secret
        begins = safe_text(scheme + colon, 40) if colon else "no scheme"
        raise InvalidInputError(
            f"apprise has no service for this URL, which begins with {begins!r}; allowed are such "
            "as slack://..., workflows://... (Teams), pagerduty://..., mailto://..., and "
            "jsons://host/path for a webhook (see https://github.com/caronc/apprise)"
        )
    apprise.add(service)
    shown = urlsplit(service.url(privacy=True))
    return safe_text(f"{shown.scheme}://{shown.netloc.rpartition('@')[2]}", 80)


def _import_apprise() -> Any:
    try:
        return import_module("apprise")
    except ImportError:
        raise DetailedBalanceError(
            "apprise is not installed: pip install 'detailed-balance[notify]'"
        ) from None
