"""Labels of runs, and moments: what runs are chosen by."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeGuard

from detailed_balance.analyzers.errors import InvalidInputError

__all__ = [
    "Context",
    "ContextLike",
    "Moment",
    "find_since",
    "is_context",
    "make_context",
    "matches_context",
    "moment_of",
    "parse_duration",
]

Context: TypeAlias = tuple[tuple[str, str], ...]
"""The labels of a run, sorted by name: ``(("model", "gpt-4o"), ("version", "2"))``."""

ContextLike: TypeAlias = Mapping[str, str] | Context | None
"""What users may give for a context: a mapping of labels, a `Context`, or nothing."""

Moment: TypeAlias = "float | str | datetime | None"
"""Seconds since 1970 (UTC), or a date and time."""

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


def make_context(labels: ContextLike) -> Context:
    """Return `labels` as a `Context`; a tuple, such as a `Context`, comes back as it is.

    Raises
    ------
    InvalidInputError
        Where `labels` is not a mapping.

    Examples
    --------
    >>> make_context({"version": "2", "model": "gpt-4o"})
    (('model', 'gpt-4o'), ('version', '2'))
    """
    if type(labels) is tuple:
        return labels
    if not labels:
        return ()
    if not isinstance(labels, Mapping):
        raise InvalidInputError(
            f"a context maps labels to values, like {{'model': 'gpt-4o'}}; got {labels!r}"
        )
    return tuple(sorted((str(name), str(value)) for name, value in labels.items()))


def is_context(key: Any) -> TypeGuard[Context]:
    """Say whether `key` is a tuple of (name, value) pairs of str, sorted by name.

    Examples
    --------
    >>> is_context((("model", "gpt-4o"),)), is_context("model"), is_context(())
    (True, False, True)
    """
    try:
        return type(key) is tuple and key == make_context(dict(key))
    except (TypeError, ValueError):
        return False


def matches_context(context: Context, wanted: ContextLike) -> bool:
    """Say whether `context` carries every label of `wanted`; None is matched by all."""
    return wanted is None or set(make_context(wanted)) <= set(context)


def moment_of(moment: Moment) -> float | None:
    """Return seconds since 1970 (UTC).

    Raises
    ------
    InvalidInputError
        Where a text is not a date.

    Examples
    --------
    >>> moment_of("1970-01-02"), moment_of(None)
    (86400.0, None)
    """
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            raise InvalidInputError(
                f"{moment!r} is not a time; allowed are seconds since 1970 and dates such as "
                "2025-06-30 or 2025-06-30T12:00"
            ) from None
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return moment


def parse_duration(text: str) -> float:
    """Return the seconds of a text such as 90s, 30m, 12h, 7d or 2w.

    Raises
    ------
    InvalidInputError
        Where it is something else.

    Examples
    --------
    >>> parse_duration("7d"), parse_duration("1.5h")
    (604800.0, 5400.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", str(text).strip())
    if not found:
        raise InvalidInputError(
            f"{str(text)[:40]!r} is not a length of time; write 90s, 30m, 12h, 7d or 2w"
        )
    return float(found[1]) * _SECONDS[found[2]]


def find_since(since: Moment, last: str | None) -> Moment:
    """Return from when on runs are wanted: `since`, or the beginning of `last`, up to now.

    Raises
    ------
    InvalidInputError
        Where both are given, or `last` is not a length of time.

    Examples
    --------
    >>> find_since("2025-06-30", None)
    '2025-06-30'
    """
    if last is None:
        return since
    if since is not None:
        raise InvalidInputError("give either last= or since=, not both")
    return time.time() - parse_duration(last)
