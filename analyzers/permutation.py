"""Permutations of labels inside strata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["permute_inside"]


def permute_inside(
    labels: NDArray[Any], strata: NDArray[np.int64], copies: int, rng: np.random.Generator
) -> NDArray[Any]:
    """Return labels permuted so many times, (copies, n), each among those of its stratum.

    Parameters
    ----------
    labels : (n,) array
        What is permuted.
    strata : (n,) array of int64
        The stratum of each.
    copies : int
        How many permutations.
    rng : Generator
        What to draw them with. How labels are arranged inside strata changes nothing.

    Examples
    --------
    >>> labels, strata = np.array([1, 0, 2, 3]), np.array([0, 0, 1, 1])
    >>> drawn = permute_inside(labels, strata, 100, np.random.default_rng(0))
    >>> sorted({tuple(row) for row in drawn.tolist()})
    [(0, 1, 2, 3), (0, 1, 3, 2), (1, 0, 2, 3), (1, 0, 3, 2)]
    """
    keys = rng.random((copies, len(labels)))
    if labels.dtype == bool:
        return _mark_inside(labels, strata, keys)
    ordered = labels[np.lexsort((labels, strata))]
    places = np.argsort(strata + keys, axis=1)
    drawn = np.empty(places.shape, dtype=labels.dtype)
    np.put_along_axis(drawn, places, np.broadcast_to(ordered, places.shape), axis=1)
    return drawn


def _mark_inside(
    labels: NDArray[np.bool_], strata: NDArray[np.int64], keys: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Mark as many of each stratum as `labels` does: those with the largest of (copies, n) keys."""
    drawn = np.zeros(keys.shape, dtype=bool)
    order = np.argsort(strata, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(strata[order])) + 1):
        if place := np.count_nonzero(~labels[members]):
            if place < len(members):
                inside = keys[:, members]
                drawn[:, members] = inside >= np.partition(inside, place, axis=1)[:, [place]]
        else:
            drawn[:, members] = True
    return drawn
