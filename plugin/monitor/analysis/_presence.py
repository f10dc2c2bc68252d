"""When something that was found has gone: by how often it should be seen if it were still there."""

from __future__ import annotations

__all__ = ["EXPECTED", "FADED", "has_faded"]

EXPECTED = 10
"""The window must be long enough to hold so many occurrences at the rate seen before."""

FADED = 0.25
"""It has faded where it is seen less than this share of what is expected."""


def has_faded(rate: float, seen: int, moves: int) -> bool:
    """Say whether what was found `rate` times per move is seen far less in a window of `moves`.

    Under a Poisson law of mean 10, 2 or fewer have probability 0.3%: so seldom does something
    that goes on as before count as faded.

    Examples
    --------
    >>> has_faded(0.1, seen=1, moves=200), has_faded(0.1, seen=18, moves=200)
    (True, False)
    >>> has_faded(0.01, seen=0, moves=200)  # too few moves to tell
    False
    """
    expected = rate * moves
    return expected >= EXPECTED and seen < FADED * expected
