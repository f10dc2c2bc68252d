r"""Names of contexts: the last keys of a run in one text, ``respond<get_user_details``.

The newest key stands first. A ``<`` or a backslash inside a key has a backslash before it, so that
every name can be read back, whatever keys hold.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence

from detailed_balance.analyzers.counts import START

__all__ = ["find_context_names", "join_keys", "split_name", "warn_of_contexts"]

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
    """Return the states that are names of several keys, each of which is the newest of some state.

    Examples
    --------
    >>> find_context_names(["plan", "search<plan", "read<search", "a<b"])
    ['read<search', 'search<plan']
    """
    keys = {s: split_name(s) if _MARK in s or "\\" in s else (s,) for s in states}
    newest = {START, *(each[0] for each in keys.values())}
    return sorted(
        state for state, each in keys.items() if len(each) > 1 and newest.issuperset(each)
    )


def warn_of_contexts(states: Iterable[str]) -> None:
    """Warn where states are contexts, which a question of balance is not to be asked of."""
    found = find_context_names(states)
    if found:
        warnings.warn(
            f"{len(found):,} states, such as {found[0][:60]!r}, hold what came before: moves "
            "between them have no way back, so that balance and potentials say nothing. Use "
            "Contexts.restore(runs), whose states are keys, or compare_reversals(runs), which "
            "counts words of keys against the same words backwards",
            UserWarning,
            stacklevel=3,
        )
