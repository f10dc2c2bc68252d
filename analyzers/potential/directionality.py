"""Which way the transitions of a kernel go on a given potential."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.errors import InsufficientDataError, UnknownStateError
from detailed_balance.analyzers.kernel import KernelLike, read_kernel
from detailed_balance.analyzers.potential.estimate import Potential
from detailed_balance.analyzers.results import Result

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Directionality", "score_directionality"]


@dataclass(frozen=True, slots=True)
class Directionality(Result):
    """The shares of transitions that go down, up, and neither.

    Parameters
    ----------
    down, up, flat : int
        How many transitions f -> g have V(f) - V(g) above, below and within `tolerance`.
    threshold : float
        T(g<-f) had to be above this.
    tolerance : float
        In units of V.
    """

    down: int
    up: int
    flat: int
    threshold: float
    tolerance: float

    @property
    def shares(self) -> tuple[float, float, float]:
        """The shares that go down, up and stay; they sum to 1."""
        total = self.down + self.up + self.flat
        return self.down / total, self.up / total, self.flat / total

    def _content(self) -> dict[str, Any]:
        return {"name": "Directionality", **self._fields(), "shares": self.shares}


def score_directionality(
    kernel: KernelLike,
    values: Potential | Mapping[str, float] | ArrayLike,
    *,
    threshold: float = 0.05,
    tolerance: float = 1e-9,
) -> Directionality:
    """Count which way the transitions of some probability go.

    Parameters
    ----------
    kernel : KernelLike
        T, the n states; of counts as `estimate_kernel` makes it.
    values : Potential, mapping of state to float, or (n,) array_like
        V. Between two components of a `Potential` all transitions go down.
    threshold, tolerance : float
        See `Directionality`.

    Raises
    ------
    UnknownStateError
        Where a state has no value.
    InsufficientDataError
        Where no transition between two states is as probable.

    References
    ----------
    Song et al., arXiv:2512.10047, supplement E: of the transitions above 0.05, 69.56% went down,
    25.83% up, and 4.62% stayed.

    Examples
    --------
    >>> kernel = [[0.0, 0.4, 0.3], [0.1, 0.0, 0.0], [0.0, 0.04, 0.9]]
    >>> score_directionality(kernel, [2.0, 1.0, 2.0]).shares
    (0.3333333333333333, 0.3333333333333333, 0.3333333333333333)
    """
    kernel = read_kernel(kernel)
    if isinstance(values, Mapping):
        if missing := [state for state in kernel.states if state not in values]:
            raise UnknownStateError(f"state {missing[0]!r} has no value of V")
        values = [values[state] for state in kernel.states]
    edges = kernel.probabilities.tocoo()
    likely = (edges.row != edges.col) & (edges.data > threshold)
    f, g = edges.row[likely], edges.col[likely]
    if isinstance(values, Potential):
        place = np.array([values.index(state) for state in kernel.states])
        parts, heights = values.components[place], values.heights[place]
        drops = np.where(parts[f] == parts[g], heights[f] - heights[g], np.inf)
    else:
        heights = np.asarray(values, dtype=np.float64)
        drops = heights[f] - heights[g]
    if not len(drops):
        raise InsufficientDataError(
            f"no transition between two states is above {threshold!r}; lower the threshold"
        )
    down, up = int(np.sum(drops > tolerance)), int(np.sum(drops < -tolerance))
    return Directionality(down, up, len(drops) - down - up, threshold, tolerance)
