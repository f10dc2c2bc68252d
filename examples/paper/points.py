"""The points of the paper's figures of pairs and triplets, published or our own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from detailed_balance.analyzers import Potential, TransitionCounts, TripletTable
from detailed_balance.analyzers.balance.pairs import Errors, compare_pairs
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.sparse import lookup
from examples.paper import DATA

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Points", "Published"]

Published: TypeAlias = Literal[
    "gpt5_nano_triplets", "ideasearchfitter_triplets", "gpt5_nano_pairs", "ideasearchfitter_pairs"
]
"""The figures whose points are in the folder of data: Fig. 3, 8, 7 and 4."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """The m points of a figure in which detailed balance is the line y = x.

    Parameters
    ----------
    x, y : (m,) arrays of float
        Of triplets the sums of log T both ways; of pairs beta (V(f) - V(g)) and log
        T(g<-f) / T(f<-g). In nats.
    x_error, y_error : (m,) arrays of float
        The bars; 0 where there are none.
    error : (m,) array of float
        The standard error of y - x.

    Examples
    --------
    >>> points = Points.published("gpt5_nano_pairs")
    >>> len(points), round(points.mean_residual, 4), round(points.mean_square, 2)
    (52, 1.2427, 2.22)
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    x_error: NDArray[np.float64]
    y_error: NDArray[np.float64]
    error: NDArray[np.float64]

    @classmethod
    def published(cls, name: Published) -> Points:
        """Read the points of a published figure.

        Raises
        ------
        InvalidInputError
            Where there is no such figure.
        """
        if name not in get_args(Published):
            raise InvalidInputError(
                f"figure {name!r}; allowed are {', '.join(get_args(Published))}"
            )
        content = json.loads((DATA / "figure_points.json").read_text(encoding="utf-8"))
        x, y, x_error, y_error = np.array(content[name], dtype=np.float64).T
        x_error = np.nan_to_num(x_error)  # the pairs have none
        return cls(x, y, x_error, y_error, np.hypot(x_error, y_error))

    @classmethod
    def of_triplets(cls, triplets: TripletTable) -> Points:
        """Take the triplets of `measure_triplets`."""
        bars = triplets.forward_error, triplets.backward_error
        return cls(triplets.forward, triplets.backward, *bars, triplets.error)

    @classmethod
    def of_pairs(
        cls,
        counts: TransitionCounts,
        potential: Potential,
        *,
        min_count: int = 2,
        errors: Errors = "paper",
    ) -> Points:
        """Hold the pairs with both counts at least `min_count` against a potential.

        As in the paper, pairs whose predicted log ratio is beyond the log of the number of
        transitions are left out, and so are those between two components. Each pair stands once,
        from its higher to its lower state.

        Examples
        --------
        >>> from detailed_balance.analyzers import estimate_potential
        >>> edges = [("a", "b", 30), ("b", "a", 10), ("b", "c", 9), ("c", "b", 1)]
        >>> counts = TransitionCounts.from_edges(edges)
        >>> points = Points.of_pairs(counts, estimate_potential(counts))
        >>> points.y.round(3).tolist()  # log 30/30 / 10/19, as c and b have one count only
        [0.642]
        """
        counts = counts.without_boundaries().restrict(potential.states)
        pairs = compare_pairs(counts, potential, errors)
        f, g = (
            np.array([counts.index(state) for state in states], dtype=np.int64)
            for states in (pairs.source, pairs.target)
        )
        least = np.minimum(lookup(counts.counts, f, g), lookup(counts.counts, g, f))
        use = pairs.resolved & (least >= min_count)
        x, y, error = pairs.predicted[use], pairs.log_ratio[use], pairs.error[use]
        return cls(x, y, np.zeros(len(x)), error, error)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def mean_residual(self) -> float:
        """The mean of (y - x)^2: what the paper prints of pairs as chi-square / ndf."""
        return float(np.mean((self.y - self.x) ** 2)) if len(self) else float("nan")

    @property
    def mean_square(self) -> float:
        """The mean of ((y - x) / error)^2: chi-square / ndf with ndf = m."""
        return float(np.mean(((self.y - self.x) / self.error) ** 2)) if len(self) else float("nan")

    @property
    def correlation(self) -> float:
        """Pearson's r of the points as they are turned."""
        centred = self.x - self.x.mean(), self.y - self.y.mean()
        return _cosine(*centred)

    @property
    def correlation_both(self) -> float:
        """Pearson's r where each pair stands both ways round, (x, y) and (-x, -y)."""
        return _cosine(self.x, self.y)

    @property
    def slope(self) -> float:
        """The slope of y on x through the origin, which is that with both signs."""
        return float(self.x @ self.y / (self.x @ self.x)) if len(self) else float("nan")


def _cosine(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    norms = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norms if norms > 0 else float("nan")
