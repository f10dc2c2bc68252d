"""Who may ask: loopback or a token, the right host and origin, and headers on every answer."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from detailed_balance.analyzers.errors import InvalidInputError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Headers of every answer, errors included."""

SHORTEST_TOKEN = 16

_HOST = re.compile(r"([\w.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.ASCII | re.IGNORECASE)
_METHODS = ("GET", "HEAD")
_LOG = logging.getLogger("detailed_balance")


def is_loopback(host: str) -> bool:
    """Say whether `host` is this machine alone.

    Examples
    --------
    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_token(token: str) -> None:
    """Refuse a token that could be guessed, or that no header can carry.

    Raises
    ------
    InvalidInputError
        Where it is shorter than 16 characters, or holds others than printable ASCII.
    """
    if len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable()):
        raise InvalidInputError(
            f"a token has {SHORTEST_TOKEN} printable ASCII characters or more; got "
            f"{len(token)} characters. Make one with: "
            "python -c 'import secrets; print(secrets.token_urlsafe())'"
        )


def check_address(host: str, token: str | None) -> None:
    """Refuse to be open to other machines without a token.

    Raises
    ------
    InvalidInputError
        Where `host` is not this machine alone and there is no token, or a bad one.

    Examples
    --------
    >>> check_address("127.0.0.1", None)
    """
    if token is not None:
        check_token(token)
    elif not is_loopback(host):
        raise InvalidInputError(
            f"under {host!r} other machines can reach it; give a token (--token, or the "
            "variable DETAILED_BALANCE_TOKEN), or stay on 127.0.0.1"
        )


@dataclass(frozen=True, slots=True)
class Guard:
    """Refuse what may not ask, and put the headers on every answer; an ASGI application.

    A page of another site that has its own name led to this address (DNS rebinding) still sends
    that name as Host. So Host must be an address, `localhost`, or one of `hosts`.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    token : str or None
        What a client must know; None lets all of this machine in.
    hosts : collection of str
        Names, besides addresses and localhost, that may stand in Host.
    """

    app: ASGIApp
    token: str | None = None
    hosts: Collection[str] = ()
    _session: str = field(init=False, repr=False, default="")

    def __post_init__(self) -> None:
        if self.token is not None:
            check_token(self.token)
            # The cookie is not the token itself: what reads the one does not know the other.
            session = hmac.new(self.token.encode(), b"detailed-balance session", sha256)
            object.__setattr__(self, "_session", session.hexdigest())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message))
            await send(message)

        try:
            await (self._refuse(scope) or self.app)(scope, receive, send_guarded)
        except Exception:
            # Here, and not further out, so that this answer has the headers as well.
            _LOG.exception("the dashboard failed to answer")
            if begun:
                raise
            await _say(500, "This failed; the server's log says why.")(scope, receive, send_guarded)

    def _refuse(self, scope: Scope) -> Response | None:
        """Return the refusal of a request, None where it is allowed."""
        headers = Headers(scope=scope)
        if scope["method"] not in _METHODS:
            return _say(405, "This page is only read.", {"allow": ", ".join(_METHODS)})
        host = _read_host(headers.getlist("host"))
        if host is None:
            return _say(400, "The host of this request is not a host name.")
        if not (host == "localhost" or host in self.hosts or _is_address(host)):
            return _say(421, "Unknown host name; ask by address, or allow it by --allow-host.")
        if not _is_same_origin(headers):
            return _say(403, "Other sites may not ask here.")
        return None if self.token is None else self._sign_in(scope, headers)

    def _sign_in(self, scope: Scope, headers: Headers) -> Response | None:
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _equal(bearer.strip(), self.token or ""):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tokens = [value for name, value in query if name == "token"]
        if tokens:
            rest = [(name, value) for name, value in query if name != "token"]
            return self._start_session(scope, tokens, rest)
        if _equal(_read_cookie(headers, _cookie_name(scope)), self._session):
            return None
        return _say(
            401, "Open the address that the server printed, with its token.",
            {"www-authenticate": "Bearer"},
        )  # fmt: skip

    def _start_session(
        self, scope: Scope, tokens: list[str], rest: list[tuple[str, str]]
    ) -> Response:
        """Trade the token in a URL for a cookie, and take it out of the URL."""
        if len(tokens) != 1 or not _equal(tokens[0], self.token or ""):
            return _say(401, "This token is not the server's.")
        # Two slashes at the beginning would lead to another host.
        place = "/" + scope["path"].lstrip("/\\")
        answer = RedirectResponse(f"{place}?{urlencode(rest)}" if rest else place, 303)
        answer.set_cookie(
            _cookie_name(scope),
            self._session,
            httponly=True,
            samesite="strict",
            secure=scope.get("scheme") == "https",
        )
        answer.headers["cache-control"] = "no-store"
        return answer


def _add_headers(headers: MutableHeaders) -> None:
    for name, value in HEADERS.items():
        headers[name] = value
    headers.setdefault("cache-control", "no-store")


def _read_host(given: list[str]) -> str | None:
    """Return the name in ``name:port``, in small letters; None where it is none, or not one."""
    found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    return None if found is None else found[1].strip("[]").lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_same_origin(headers: Headers) -> bool:
    """Say whether a request comes from this page, from a person, or from no browser at all."""
    for origin in headers.getlist("origin"):
        try:
            netloc = urlsplit(origin).netloc
        except ValueError:
            return False
        if netloc.lower() != headers["host"].lower():
            return False
    site = headers.get("sec-fetch-site", "none")
    # A link on another site may lead here; nothing else may.
    return site in ("none", "same-origin") or headers.get("sec-fetch-mode") == "navigate"


def _cookie_name(scope: Scope) -> str:
    """Return a name for each port: cookies are shared by all ports of a host."""
    server = scope.get("server")
    return f"detailed_balance_{server[1] if server else 0}"


def _read_cookie(headers: Headers, name: str) -> str:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[name].value if name in cookies else ""


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def _say(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(text + "\n", status, headers)
