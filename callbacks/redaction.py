"""What is secret in the URL of a database or a service, kept out of all that is shown."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

__all__ = ["hide_secrets"]

_HIDDEN = "***"

_SECRET = re.compile(
    r"pass|pwd|secret|token|key(?!word)|credential|signature|\bsig\b|jwt|bearer|^auth|dsn",
    re.IGNORECASE,
)
"""What is in the name of a parameter whose value nobody should see."""

_URL = re.compile(r"(?P<scheme>[a-z][a-z\d+.-]*):/{2,}(?P<rest>\S+)", re.IGNORECASE)
_WHOLE = re.compile(_URL.pattern.replace(r"\S+", ".+"), re.IGNORECASE | re.DOTALL)

_QUERY = re.compile(r"\?[\w.%-]+=")
_HOST_AND_PORT = re.compile(r"[^\s/?#:@]*(?::\d*)?(?=[/?#]|$)")

# name=value, also where its signs are written as %3D and the like; a value in quotes, as in a DSN,
# ends with its quote.
_PAIR = re.compile(
    r"(?P<name>(?:[\w.+-]|%(?!3d|26|3b|23)[\da-f]{2}){1,100})(?P<equals>\s*(?:=|%3d)\s*)"
    r"(?P<value>'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^&;#\s'\")]+)",
    re.DOTALL | re.IGNORECASE,
)


def hide_secrets(text: object) -> str:
    """Return a URL, or a text with URLs in it, without what is secret.

    Hidden are the password before the host, the whole of what stands there where the scheme is
    that of the web, and the value of each parameter whose name sounds like a secret: password,
    token, key, and so on. Where it is not clear what is a password, too much is hidden.

    Parameters
    ----------
    text : object
        A text, which may be a URL that nobody can parse; a URL of SQLAlchemy; or what else has a
        text.

    Examples
    --------
    >>> hide_secrets("postgresql://me:secret@host/runs?sslmode=require&sslpassword=x")
    'postgresql://me:***@host/runs?sslmode=require&sslpassword=***'
    >>> hide_secrets("https://key@host/hook?token=x does not answer")
    'https://***@host/hook?token=*** does not answer'
    """
    render = getattr(text, "render_as_string", None)
    text = str(text) if render is None else str(render(hide_password=False))
    if whole := _WHOLE.fullmatch(text.strip()):
        shown = _hide_user(whole)
    else:
        shown = _URL.sub(_hide_user, text)
    return _PAIR.sub(_hide_value, shown)


def _hide_user(url: re.Match[str]) -> str:
    """Hide what stands before the host: it ends at the last @ that is not part of a query."""
    start, rest = url[0][: -len(url["rest"])], url["rest"]
    query = _QUERY.search(rest)
    front = rest[: query.start()] if query else rest
    end = front.rfind("@")
    if end < 0 and not _HOST_AND_PORT.match(rest):
        end = rest.rfind("@")  # a password that has what begins a query
    if end < 0 or front.startswith("/"):
        return url[0]
    user, colon, _ = rest[:end].partition(":")
    if url["scheme"].lower().startswith("http"):
        return f"{start}{_HIDDEN}{rest[end:]}"
    return f"{start}{user}{colon}{_HIDDEN if colon else ''}{rest[end:]}"


def _hide_value(pair: re.Match[str]) -> str:
    name = unquote_plus(pair["name"])
    return f"{pair['name']}{pair['equals']}{_HIDDEN}" if _SECRET.search(name) else pair[0]
