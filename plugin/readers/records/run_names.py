"""The names of the runs of one source."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

__all__ = ["RunNames"]


class RunNames:
    """Gives each run a name of its own, and finds runs that are there twice.

    Examples
    --------
    >>> names = RunNames()
    >>> names.claim("x", ["a"]), names.claim("x", ["b"]), names.claim("x", ["a"])
    ('x', 'x#2', None)
    """

    def __init__(self) -> None:
        self._times: dict[str, int] = {}
        self._contents: set[tuple[str, bytes]] = set()

    def claim(self, name: str, content: Any = None) -> str | None:
        """Return the name for a run that its source calls `name`.

        Parameters
        ----------
        name : str
            What the source calls it; equal names become ``x``, ``x#2``, ``x#3``.
        content : value of JSON, optional
            What the run holds. None is never the same again.

        Returns
        -------
        str or None
            None where a run of that name with that content was there before.
        """
        if content is not None and (found := _digest(content)) is not None:
            if (name, found) in self._contents:
                return None
            self._contents.add((name, found))
        own = name
        while own in self._times:
            self._times[name] += 1
            own = f"{name}#{self._times[name]}"
        self._times[own] = 1
        return own


def _digest(content: Any) -> bytes | None:
    try:
        text = json.dumps(content, sort_keys=True, default=str)
    except (ValueError, TypeError, RecursionError):
        return None
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
