r"""Names of contexts: the last keys of a run in one text, ``respond<get_user_details``.

The newest key stands first. A ``<`` or a backslash inside a key has a backslash before it, so that
every name can be read back, whatever keys hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["find_context_names", "join_keys", "split_name"]

_MARK = "<"
_ESCAPED = re.compile(r"([\\<])")
_PART = re.compile(r"(?:[^\\<]|\\.)*", re.DOTALL)


def join_keys(keys: Sequence[str]) -> str:
    r"""Return the name of a context, by its keys, the newest first.

    Examples
    --------
    >>> join_keys(["respond", "get_user_details"]), join_keys(["a<b"])
    ('respond<get_user_details', 'a\\<b')
    """
    return _MARK.join(_ESCAPED.sub(r"\\\1", key) for key in keys)


def split_name(name: str) -> tuple[str, ...]:
    r"""Return the keys of a context, the newest first.

    Examples
    --------
    >>> split_name("respond<get_user_details"), split_name(r"a\<b<c"), split_name("")
    (('respond', 'get_user_details'), ('a<b', 'c'), ('',))
    """
    keys, place = [], 0
    while True:
        found = _PART.match(name, place)
        part = found[0] if found else ""
        keys.append(re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL))
        place += len(part) + 1
        if place > len(name):
            return tuple(keys)


def find_context_names(states: Iterable[str]) -> list[str]:
    """Return the states that are names of several keys, each of which is a state as well.

    Examples
    --------
    >>> find_context_names(["plan", "search", "search<plan", "a<b"])
    ['search<plan']
    """
    known = set(states)
    found = []
    for state in sorted(known):
        keys = split_name(state) if _MARK in state else ()
        if len(keys) > 1 and all(join_keys([key]) in known for key in keys):
            found.append(state)
    return found
