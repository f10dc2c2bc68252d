"""The transitions that a `TransitionStore` holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.callbacks import TransitionStore
from detailed_balance.readers._checkpoints import has_checkpoints
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.render.formatting import safe_text

__all__ = ["looks_like", "read", "show_url", "store_url"]

_SQLITE_MAGIC = b"SQLite format 3\0"


def looks_like(head: bytes, path: Path) -> bool:
    """Say whether a file begins as a database of SQLite."""
    return head.startswith(_SQLITE_MAGIC)


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of an embedded store."""
    # Built, not pasted together: a file name may hold the signs that divide a URL.
    return read_url(URL.create("sqlite", database=str(path)), options, bad)


def read_url(url: str | URL, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield what a store holds; its fields are what they are, only the boundaries are renamed."""
    rename = options.fields.rename
    try:
        with TransitionStore(url, create=False) as store:
            for move in store.read():
                bad.taken += 1
                target = None if move.target is None else rename(move.target)
                yield replace(move, source=rename(move.source), target=target)
            yield from store.endings()
    except InvalidInputError:
        raise
    except ReadError as error:  # a damaged database may put anything into its messages
        raise ReadError(safe_text(str(error), 400)) from error
    except (SQLAlchemyError, ValueError, TypeError, AttributeError) as error:
        cause = safe_text(str(error), 200)
        raise ReadError(f"the store {bad.name} cannot be read: {cause}") from error


def store_url(source: str | os.PathLike[str]) -> str | URL | None:
    """Return the URL of the store that `source` is, None where it is something else.

    Examples
    --------
    >>> store_url("sqlite:///runs.db"), store_url("runs.jsonl")
    ('sqlite:///runs.db', None)
    """
    url: str | URL = str(source)
    if "://" not in str(source):
        try:
            with Path(source).open("rb") as file:
                if file.read(len(_SQLITE_MAGIC)) != _SQLITE_MAGIC:
                    return None
        except OSError:
            return None  # the reader will say what is wrong with it
        url = URL.create("sqlite", database=str(source))
    return None if has_checkpoints(url) else url


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
