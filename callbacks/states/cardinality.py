"""`StateLimit`, which keeps a mistake in a state function from filling the memory."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from itertools import islice
from typing import TypeGuard

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.isolation import warn
from detailed_balance.callbacks.states._tool_arguments import shorten

__all__ = ["OTHER", "StateLimit", "find_mistake"]

OTHER = "__other__"
"""The state that stands for all states beyond a limit."""

_SAMPLE = 200  # keys that are looked at, and characters of each
_SHOWN = 80
# What makes every key a new one, the most telling first.
_SUSPECTS = (
    ("a UUID (a run id)", r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}"),
    ("a date or a time", r"\d{4}-\d\d-\d\d|\b\d\d:\d\d:\d\d"),
    ("a timestamp or a long number", r"\d{6}"),
    ("a hash or a random id", r"(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8}"),
    ("a counter", r"\d"),
)


class StateLimit:
    """Let the first `max_states` state keys pass; every other becomes `OTHER`.

    The first key beyond the limit is logged, with what seems to be wrong. Thread-safe.

    Parameters
    ----------
    max_states : int or None
        The number of keys, 1 or more; None lets every key pass.

    Raises
    ------
    InvalidInputError
        Where `max_states` is neither.

    Examples
    --------
    >>> limit = StateLimit(None)
    >>> limit(("search", "read"))
    ('search', 'read')
    """

    def __init__(self, max_states: int | None) -> None:
        if max_states is not None and not _is_positive_int(max_states):
            raise InvalidInputError(
                "max_states must be a whole number of 1 or more, or None for no limit; "
                f"got {max_states!r}"
            )
        self.max_states = max_states
        self._keys: set[str] = set()
        self._warned = False
        self._lock = threading.RLock()  # re-entrant: logging may run the garbage collector

    def __call__(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return `names`, with `OTHER` for each that is beyond the limit."""
        if self.max_states is None or self.knows(names):
            return names
        return tuple(map(self._admit, names))

    def knows(self, names: tuple[str, ...]) -> bool:
        """Say whether all `names` have passed before."""
        return self._keys.issuperset(names)

    def _admit(self, name: str) -> str:
        with self._lock:
            if name in self._keys or name == OTHER:
                return name
            if self.max_states is None or len(self._keys) < self.max_states:
                self._keys.add(name)
                return name
            first, self._warned = not self._warned, True
        if first:
            warn(self._explain(name))
        return OTHER

    def _explain(self, name: str) -> str:
        sample = [name, *islice(self._keys, _SAMPLE)]
        return (
            f"more than {self.max_states} different states: from here on every new one is counted "
            f"as {OTHER!r}; {find_mistake(sample)}, or raise max_states where so many are meant"
        )


def _is_positive_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def find_mistake(keys: Iterable[str]) -> str:
    """Say what seems to make the keys so many: what at least half of them hold, an id or a date."""
    heads = [key[:_SAMPLE] for key in keys]
    for kind, pattern in _SUSPECTS:
        found = [head for head in heads if re.search(pattern, head, re.ASCII | re.IGNORECASE)]
        if 2 * len(found) >= len(heads):
            return (
                f"{kind} seems to be in the keys, e.g. {_show(found[0])}: take it out in the "
                "state function"
            )
    return (
        f"free text seems to be in the keys, e.g. {_show(heads[0])}: name fewer things in the "
        "state function, or group texts with EmbeddingStates"
    )


def _show(key: str) -> str:
    return ascii(shorten(key, _SHOWN))
