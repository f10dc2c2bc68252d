"""The transitions that a `TransitionStore` holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.callbacks import TransitionStore
from detailed_balance.readers.databases import is_sqlite
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.render.formatting import safe_text

__all__ = ["looks_like", "read"]


def looks_like(opening: Opening) -> bool:
    """Say whether a file begins as a database of SQLite."""
    return is_sqlite(opening.head)


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
                is_count = type(move.count) is int and move.count >= 0
                if not move.source or move.target == "" or not is_count:
                    raise ReadError(f"{move!r} is not a move: the store {bad.name} is damaged")
                bad.accepted += 1
                target = None if move.target is None else rename(move.target)
                yield replace(move, source=rename(move.source), target=target)
            yield from store.endings()
    except InvalidInputError:
        raise
    except ReadError as error:  # a damaged database may put anything into its messages
        raise ReadError(safe_text(str(error), 400)) from error
    except (SQLAlchemyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        cause = safe_text(str(error), 200)
        raise ReadError(f"the store {bad.name} cannot be read: {cause}") from error
