"""Online leader clustering of texts by the direction of their vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_FIRST_ROWS = 64


def unit_vectors(vectors: ArrayLike) -> NDArray[np.float32]:
    """Return vectors scaled to length 1.

    Parameters
    ----------
    vectors : (n, d) array-like of float
        One vector in each row.

    Returns
    -------
    (n, d) array of float32

    Raises
    ------
    InvalidInputError
        Where they are no such array, or a vector has no direction: it is 0, or not finite.

    Examples
    --------
    >>> unit_vectors([[3, 4], [0, 2]]).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 1.0]]
    """
    array = np.asarray(vectors, dtype=np.float64)
    if array.ndim != 2:
        raise InvalidInputError(
            "embeddings must be one vector of the same length for each text; "
            f"got shape {array.shape}"
        )
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise InvalidInputError(
            "an embedding must be finite and not 0 (0 has no direction); "
            f"got lengths {lengths.ravel().tolist()[:10]}"
        )
    units: NDArray[np.float32] = (array / lengths).astype(np.float32)
    return units


class LeaderClustering:
    """Assign each vector to the nearest leader within a radius, or make it a new leader.

    Leaders stay where they are, in the order in which they came, so an index never changes its
    meaning. Beside its leader a cluster keeps its most central text by a rule that needs no memory
    of the others: it keeps the sum of its unit vectors, and a newcomer takes the place of the
    central text where it is nearer to that sum.

    Parameters
    ----------
    radius : float
        The greatest cosine distance (1 - cosine) from a leader, more than 0 and less than 2.
    max_clusters : int
        The greatest number of leaders, 1 or more.

    Attributes
    ----------
    leaders : list of str
        The text of each leader.
    centers : list of str
        The most central text of each cluster.

    Raises
    ------
    InvalidInputError
        Where `radius` or `max_clusters` is out of range.

    Notes
    -----
    J. A. Hartigan, Clustering Algorithms, 1975, chapter 3 (the leader algorithm). One text costs
    one product of the (n, d) leaders with a vector; memory is three float32 rows a cluster.

    Examples
    --------
    >>> clusters = LeaderClustering(radius=0.1, max_clusters=2)
    >>> texts, vectors = ["north", "east", "north-ish"], unit_vectors([[0, 1], [1, 0], [0.1, 1]])
    >>> [clusters.assign(text, vector) for text, vector in zip(texts, vectors)]
    [0, 1, 0]
    >>> clusters.assign("south", unit_vectors([[0, -1]])[0]) is None
    True
    """

    def __init__(self, radius: float, max_clusters: int) -> None:
        if not 0 < radius < 2:
            raise InvalidInputError(
                "radius must be a cosine distance (1 - cosine) of more than 0 and less than 2; "
                f"got {radius!r}; try 0.4"
            )
        if max_clusters < 1:
            raise InvalidInputError(f"max_clusters must be 1 or more; got {max_clusters!r}")
        self.radius = radius
        self.max_clusters = max_clusters
        self.leaders: list[str] = []
        self.centers: list[str] = []
        # Leaders, sums and central vectors of the clusters; rows beyond their number are free.
        self._rows: NDArray[np.float32] = np.empty((3, 0, 0), np.float32)

    def __len__(self) -> int:
        return len(self.leaders)

    def assign(self, text: str, vector: NDArray[np.float32]) -> int | None:
        """Return the index of the cluster of a text; None where it needs one too many.

        Parameters
        ----------
        text : str
            The text, new to the clusters.
        vector : (d,) array of float32
            Its embedding, of length 1.

        Raises
        ------
        InvalidInputError
            Where the vector is longer or shorter than those before.
        """
        if not len(self):
            return self._add(text, vector)
        self._check_length(vector)
        cosines = self._rows[0, : len(self)] @ vector
        nearest = int(cosines.argmax())  # the first of equals
        if 1 - cosines[nearest] <= self.radius:
            self._join(nearest, text, vector)
            return nearest
        return self._add(text, vector) if len(self) < self.max_clusters else None

    def _check_length(self, vector: NDArray[np.float32]) -> None:
        length = self._rows.shape[2]
        if len(vector) != length:
            raise InvalidInputError(
                f"an embedding has {len(vector)} numbers, those before had {length}; "
                "use one model, or start again"
            )

    def _join(self, index: int, text: str, vector: NDArray[np.float32]) -> None:
        _, total, center = self._rows[:, index]
        total += vector
        if vector @ total > center @ total:
            center[:] = vector
            self.centers[index] = text

    def _add(self, text: str, vector: NDArray[np.float32]) -> int:
        index = len(self)
        if index == self._rows.shape[1]:
            rows = np.empty((3, max(_FIRST_ROWS, 2 * index), len(vector)), np.float32)
            rows[:, :index] = self._rows[:, :index] if index else 0
            self._rows = rows
        self._rows[:, index] = vector
        self.leaders.append(text)
        self.centers.append(text)
        return index

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": self._rows[:, : len(self)].copy()}
