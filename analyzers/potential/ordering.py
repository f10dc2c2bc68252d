"""The order in which states are shown: from low to high, component by component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from detailed_balance.analyzers.potential.estimate import Potential

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["StateOrder", "order_states"]


@dataclass(frozen=True, slots=True, eq=False)
class StateOrder:
    """Where each of n states stands.

    Parameters
    ----------
    ranking : (n,) array of int
        The states, lowest first, those of a component side by side.
    levels : (n,) array of int
        How many components lie below that of the state, along the longest way down.
    relative : (n,) array of float
        V minus the lowest V of the largest component; infinite above and below that component,
        NaN beside it.
    """

    ranking: NDArray[np.int64]
    levels: NDArray[np.int64]
    relative: NDArray[np.float64]

    @property
    def main(self) -> int:
        """A state of the largest component, where V is plain numbers."""
        return int(np.argmax(np.isfinite(self.relative)))


def order_states(potential: Potential) -> StateOrder:
    """Order the states of a potential.

    Examples
    --------
    >>> from detailed_balance.analyzers import TransitionCounts, estimate_potential
    >>> counts = TransitionCounts.from_edges([("b", "a", 9), ("a", "b", 1), ("a", "c", 2)])
    >>> order = order_states(estimate_potential(counts, min_attempts=0, attempts=10))
    >>> order.ranking.tolist(), order.levels.tolist(), float(order.relative[2])
    ([2, 1, 0], [1, 1, 0], -inf)
    """
    relative = potential.relative_to()
    levels = _count_below(potential.order())[potential.components]
    ranking = np.lexsort((potential.heights, potential.components, ~np.isfinite(relative), levels))
    return StateOrder(ranking, levels, relative)


def _count_below(order: nx.DiGraph[int]) -> NDArray[Any]:
    levels = np.zeros(len(order), dtype=np.int64)
    for component in reversed(list(nx.topological_sort(order))):
        below = [levels[lower] + 1 for lower in order.successors(component)]
        levels[component] = max(below, default=0)
    return levels
