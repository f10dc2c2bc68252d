"""Damage to files: of bytes, of the values of JSON, of packed files and of databases."""

from __future__ import annotations

import copy
import gzip
import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

__all__ = ["mutate"]

PIECES = [
    *(b"", b"\x00", b"\xff", b"\xfe\xff", b'"', b"'", b"<", b"]", b"}", b"&#0;", b",", b"\n"),
    *(b"1e999", b"-1", b"9" * 400, b"NaN", b"null", b"[" * 2_000, b'{"a":' * 2_000, b"\\ud83d"),
    *(b"<event>" * 50, b"<!DOCTYPE x>", b"\xef\xbb\xbf", b"__start__", b"true", b"\x1b[2J", b"|"),
]
VALUES: list[Any] = [
    *(None, True, False, "", "\0", "__start__", "__end__", "\x1b[2J<script>", "\ud83d", "a|b/c:d"),
    *("x" * 20_000, -1, 0, 10**30, 1e308, float("nan"), float("inf"), [], {}, [[[[]]]], [None]),
    *({"a": {"b": [None]}}, json.loads("[" * 400 + "]" * 400), "[" * 5_000, "0" * 32),
    *('{"langgraph_step": 1}', "1970-01-01T00:00:00", "9999-12-31T23:59:59Z", "0001-01-01"),
]
_DEEPEST = 12
_OF_SQLITE = (str, bytes, int, float, type(None))


def mutate(data: bytes, noise: random.Random) -> bytes:
    """Return a file with one to five faults.

    Examples
    --------
    >>> mutate(b'{"a": 1}', random.Random(1)) != b'{"a": 1}'
    True
    """
    found = None
    if noise.random() < 0.8 and data.startswith(b"SQLite format 3"):
        found = mutate_rows(data, noise)
    elif noise.random() < 0.5:
        found = mutate_values(data, noise)
    found = mutate_bytes(data, noise) if found is None else found
    if noise.random() < 0.05:
        found = found[: noise.randrange(len(found) + 1)]
    if noise.random() < 0.05:
        packed = gzip.compress(found)
        found = packed[: noise.choice((len(packed), noise.randrange(1, len(packed) + 1)))]
    return found


def mutate_bytes(data: bytes, noise: random.Random) -> bytes:
    """Return a file with a few pieces cut out, put in, doubled or moved."""
    text = bytearray(data)
    for _ in range(noise.choice((1, 1, 2, 5))):
        start = noise.randrange(len(text) + 1)
        end = min(len(text), start + noise.choice((0, 1, 2, 8, 64)))
        piece = noise.choice((noise.choice(PIECES), noise.randbytes(4), bytes(text[start:end]) * 2))
        text[start:end] = piece
    return bytes(text)


def mutate_rows(data: bytes, noise: random.Random) -> bytes:
    """Return a database of SQLite with other values in a few of its rows, or without them."""
    database = sqlite3.connect(":memory:")
    database.deserialize(data[:18] + b"\x01\x01" + data[20:])  # without its write-ahead log
    tables = [
        name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
    ]
    for _ in range(noise.choice((1, 1, 2, 5))):
        table = noise.choice(tables)
        rows = database.execute(f'SELECT rowid, * FROM "{table}"').fetchall()  # noqa: S608
        if not rows:
            continue
        row, *values = noise.choice(rows)
        names = [each[1] for each in database.execute(f'PRAGMA table_info("{table}")')]
        place = noise.randrange(len(names))
        value = values[place]
        if isinstance(value, bytes) and noise.random() < 0.7:
            value = mutate_bytes(value, noise)
        else:
            value = noise.choice([each for each in VALUES if isinstance(each, _OF_SQLITE)])
        change = f'UPDATE OR REPLACE "{table}" SET "{names[place]}" = ? WHERE rowid = ?'  # noqa: S608
        if noise.random() < 0.1:
            change = f'DELETE FROM "{table}" WHERE ? IS NOT 1 AND rowid = ?'  # noqa: S608
        with suppress(sqlite3.Error, OverflowError, UnicodeEncodeError):
            database.execute(change, (value, row))
    database.commit()
    return database.serialize()


def mutate_values(data: bytes, noise: random.Random) -> bytes | None:
    """Return a document, or lines, of JSON with other values in a few places; else None."""
    try:
        lines = [json.loads(line) for line in data.splitlines() if line.strip()]
        whole = False
    except ValueError:
        try:
            lines, whole = [json.loads(data)], True
        except ValueError:
            return None
    holder = {"lines": copy.deepcopy(lines)}
    for _ in range(noise.choice((1, 1, 2, 4))):
        places = list(_find_places(holder["lines"], ()))
        if not places:
            break
        _change(holder["lines"], noise.choice(places), places, noise)
    text = "\n".join(json.dumps(line) for line in holder["lines"])
    if whole and noise.random() < 0.5:
        text = json.dumps(holder["lines"][0] if holder["lines"] else None, indent=2)
    return text.encode("utf-8", "surrogatepass")


def _find_places(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield where the values of a JSON value stand."""
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        if isinstance(part, dict | list) and len(path) < _DEEPEST:
            yield from _find_places(part, (*path, key))


def _change(
    root: Any, place: tuple[Any, ...], places: list[tuple[Any, ...]], noise: random.Random
) -> None:
    """Drop, double, move, swap or replace one value."""
    holder, key = _get(root, place[:-1]), place[-1]
    kind = noise.choice(("drop", "double", "swap", "value", "value", "type", "deeper"))
    if kind == "drop":
        del holder[key]
    elif kind == "double" and isinstance(holder, list):
        holder.insert(noise.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
    elif kind == "swap":
        holder[key] = copy.deepcopy(_get(root, noise.choice(places)))
    elif kind == "type":
        value = holder[key]
        holder[key] = json.dumps(value) if isinstance(value, dict | list) else [value]
    elif kind == "deeper":
        holder[key] = {"value": holder[key]}
    else:
        holder[key] = copy.deepcopy(noise.choice(VALUES))


def _get(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value
