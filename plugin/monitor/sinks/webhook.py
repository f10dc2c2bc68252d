"""`WebhookSink`, which posts events to a URL, signed, and tries again where that fails."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import threading
import time
import uuid
from collections import deque
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.isolation import warn
from detailed_balance.monitor.analysis.findings import Event
from detailed_balance.render.formatting import safe_text

__all__ = ["WebhookSink", "sign_body", "verify_signature"]

LONGEST_WAIT = 60.0
"""Seconds between two attempts, at most."""

_RETRIED = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


def sign_body(body: bytes, secret: str, moment: int) -> str:
    """Return the header that says who wrote a body, and when.

    Examples
    --------
    >>> sign_body(b"{}", "secret", 1)[:20]
    't=1,v1=1122767b19311'
    """
    signed = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256)
    return f"t={moment},v1={signed.hexdigest()}"


def verify_signature(
    body: bytes, header: str, secret: str, *, tolerance: float = 300.0, now: float | None = None
) -> bool:
    """Say, where events are received, whether a body is genuine and no replay of an old one.

    Parameters
    ----------
    body : bytes
        As received, before anything parsed it.
    header : str
        ``X-Detailed-Balance-Signature``.
    secret : str
        That of the sink.
    tolerance : float
        How many seconds old it may be.
    now : float, optional
        Seconds since 1970, by default now.

    Examples
    --------
    >>> header = sign_body(b"{}", "secret", 1_000)
    >>> verify_signature(b"{}", header, "secret", now=1_010)
    True
    >>> verify_signature(b"{}", header, "secret", now=9_999)
    False
    """
    moment = header.partition(",")[0].removeprefix("t=")
    if not (moment.isascii() and moment.isdigit()):
        return False
    if abs((time.time() if now is None else now) - int(moment)) > tolerance:
        return False
    return hmac.compare_digest(sign_body(body, secret, int(moment)).encode(), header.encode())


class WebhookSink:
    """Post each event as JSON, from a thread of its own, so that nobody waits for the receiver.

    An event is tried again, at waits that double, where the receiver cannot be reached or says
    5xx, 408, 425 or 429; any other answer but 2xx is final, redirects included, which are never
    followed. Events keep their order. Each carries ``X-Detailed-Balance-Event``, the same for each
    attempt, by which a receiver knows it again.

    Parameters
    ----------
    url : str
        ``https://...`` or ``http://...``.
    secret : str, optional
        Signs each attempt (`sign_body`); without it nothing tells the receiver who wrote.
    attempts : int
        How often to try.
    timeout : float
        Seconds to wait for an answer.
    backoff : float
        Seconds before the second attempt.
    capacity : int
        How many events may wait; beyond it the oldest are lost, and counted.

    Attributes
    ----------
    sent, lost : int
        Events that arrived, and that did not.

    Raises
    ------
    InvalidInputError
        Where the URL is not of that kind.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str | None = None,
        attempts: int = 6,
        timeout: float = 5.0,
        backoff: float = 1.0,
        capacity: int = 1_000,
    ) -> None:
        self.host = _check_url(url)
        self._url, self._secret = url, secret
        self._attempts, self._timeout, self._backoff = attempts, timeout, backoff
        self._capacity = capacity
        self.sent = self.lost = 0
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._opener = _make_opener()

    def __repr__(self) -> str:
        return f"WebhookSink({self.host!r})"  # the path may be a secret

    def emit(self, event: Event) -> None:
        """Put one event in line."""
        item = (uuid.uuid4().hex, json.dumps(event.to_dict()).encode("ascii"))
        with self._changed:
            if len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self._lose("too many events wait")
            self._waiting.append(item)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self, timeout: float = 5.0) -> None:
        """Send what waits, each event by one attempt, as far as `timeout` seconds suffice."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
                if not self._waiting:
                    return
                key, body = self._waiting.popleft()
            problem = self._deliver(key, body)
            with self._changed:
                if problem:
                    self._lose(problem)
                else:
                    self.sent += 1

    def _deliver(self, key: str, body: bytes) -> str:
        """Return why an event could not be delivered; empty if it was."""
        problem = ""
        for attempt in range(self._attempts):
            problem, final = self._post(key, body)
            if final or self._closing.is_set():
                break
            if attempt + 1 < self._attempts:
                wait = min(LONGEST_WAIT, self._backoff * 2**attempt)
                self._closing.wait(wait * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries
        return problem

    def _post(self, key: str, body: bytes) -> tuple[str, bool]:
        """Try once: what went wrong, and whether there is no use in trying again."""
        try:
            with self._opener.open(self._request(key, body), timeout=self._timeout) as answer:
                answer.read(1)
            return "", True
        except HTTPError as error:
            error.close()
            return (
                f"the receiver says {error.code}",
                error.code < 500 and error.code not in _RETRIED,
            )
        except Exception as error:  # whatever a network may raise
            return type(error).__name__, False

    def _request(self, key: str, body: bytes) -> Request:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "detailed-balance",
            "X-Detailed-Balance-Event": key,
        }
        if self._secret is not None:
            headers["X-Detailed-Balance-Signature"] = sign_body(
                body, self._secret, int(time.time())
            )
        return Request(self._url, body, headers, method="POST")  # noqa: S310 - checked before

    def _lose(self, reason: str) -> None:
        """Count a loss, and log the first; the caller holds the lock."""
        self.lost += 1
        if self.lost == 1:
            warn(
                "an event was not posted to %s: %s (further losses are counted)", self.host, reason
            )


def _check_url(url: str) -> str:
    """Return scheme and host of a URL that may be posted to."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        shown = safe_text(url.partition("//")[0], 40)
        raise InvalidInputError(
            "a webhook has a URL like https://example.com/hook, without user and password; got one "
            f"that begins with {shown!r}"
        )
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def _make_opener() -> OpenerDirector:
    """Return an opener that speaks HTTP and HTTPS, and follows no redirect."""
    opener = OpenerDirector()
    handlers: list[Any] = [ProxyHandler(), HTTPHandler(), HTTPSHandler()]
    for handler in (*handlers, HTTPDefaultErrorHandler(), HTTPErrorProcessor()):
        opener.add_handler(handler)
    return opener
