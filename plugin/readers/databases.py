"""Databases as sources: which file is one, which holds a store, and how its URL is shown."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import URL

from detailed_balance.readers.checkpoints.rows import has_checkpoints

__all__ = ["is_sqlite", "store_url"]

_SQLITE_MAGIC = b"SQLite format 3\0"


def is_sqlite(head: bytes) -> bool:
    """Say whether a file that begins so is a database of SQLite."""
    return head.startswith(_SQLITE_MAGIC)


def store_url(source: str | os.PathLike[str]) -> str | URL | None:
    """Return the URL of the store that `source` is, None where it is something else.

    Examples
    --------
    >>> store_url("sqlite:///runs.db"), store_url("runs.jsonl")
    ('sqlite:///runs.db', None)
    """
    url: str | URL = str(source)
    if "://" not in str(source):
        if not Path(source).is_file():
            return None  # a pipe would have to be waited for
        try:
            with Path(source).open("rb") as file:
                if not is_sqlite(file.read(len(_SQLITE_MAGIC))):
                    return None
        except OSError:
            return None  # the reader will say what is wrong with it
        url = URL.create("sqlite", database=str(source))
    return None if has_checkpoints(url) else url
