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
    if labels.dtype == bool and labels.any() and (strata == strata[0]).all():
        place = len(labels) - np.count_nonzero(labels)  # the labels go to the largest keys
        return keys >= np.partition(keys, place, axis=1)[:, [place]]
    ordered = labels[np.lexsort((labels, strata))]
    places = np.argsort(strata + keys, axis=1)
    drawn = np.empty(places.shape, dtype=labels.dtype)
    np.put_along_axis(drawn, places, np.broadcast_to(ordered, places.shape), axis=1)
    return drawn
