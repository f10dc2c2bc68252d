"""The transitions that a `TransitionStore` holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks.store import TransitionStore
from detailed_balance.callbacks.transition import Transition
from detailed_balance.readers.base import BadLines, ReadOptions

__all__ = ["read_file", "read_url", "show_url"]


def read_file(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Transition]:
    """Yield the transitions of an embedded store."""
    # Built, not pasted together: a file name may hold the signs that divide a URL.
    return read_url(URL.create("sqlite", database=str(path)), options, bad)


def read_url(url: str | URL, options: ReadOptions, bad: BadLines) -> Iterator[Transition]:
    """Yield the transitions of a store; its fields are what they are, so no option applies."""
    try:
        with TransitionStore(url, create=False) as store:
            yield from store.read()
    except SQLAlchemyError as error:
        raise ReadError(f"the store {bad.name} cannot be read: {error.args[0]}") from error


def show_url(url: str) -> str:
    """Return `url` without its password.

    Examples
    --------
    >>> show_url("postgresql://me:secret@host/runs")
    'postgresql://me:***@host/runs'
    """
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError as error:
        raise ReadError(
            "the URL of a store looks like sqlite:///runs.db or postgresql://user@host/name"
        ) from error
