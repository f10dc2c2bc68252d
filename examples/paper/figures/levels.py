"""Where states stand on an axis of their potential that holds infinite ones too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers import Potential
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.potential.ordering import order_states

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["StateLevels", "place_states"]


@dataclass(frozen=True, slots=True, eq=False)
class StateLevels:
    """Where n states stand on the axis of the potential.

    Parameters
    ----------
    states : tuple of str, length n
        Those that are drawn.
    potential : (n,) array of float
        V from the lowest state of the largest component, in units of 1 / beta; infinite above
        and below that component, NaN where there is no order.
    height : (n,) array of float
        Where they are drawn: at V where it is finite, else in rows beyond a break of the axis.
    rates : (n, n) array of float
        T(states[j] <- states[i]) between different states.
    """

    states: tuple[str, ...]
    potential: NDArray[np.float64]
    height: NDArray[np.float64]
    rates: NDArray[np.float64]


def place_states(potential: Potential, *, max_states: int = 16) -> StateLevels:
    """Place the states of a potential: finite ones at their V, the others in rows beyond.

    The rows are in the order of the components: nothing leads from a lower one up. Of more than
    `max_states` those are taken whose moves in and out are the most probable.

    Raises
    ------
    InvalidInputError
        Where `max_states` is under 2.

    Examples
    --------
    >>> from detailed_balance.analyzers import TransitionCounts, estimate_potential
    >>> counts = TransitionCounts.from_edges([("a", "b", 9), ("b", "a", 1), ("c", "a", 2)])
    >>> levels = place_states(estimate_potential(counts, attempts=10))
    >>> levels.potential.round(2).tolist()
    [2.2, 0.0, inf]
    """
    if max_states < 2:
        raise InvalidInputError(f"max_states={max_states!r}; an axis needs 2 states or more")
    rates = potential.kernel.probabilities.tocsr().copy()
    rates.setdiag(0)
    busy = np.asarray(rates.sum(axis=0) + rates.sum(axis=1)).ravel()
    chosen = np.sort(np.argsort(-busy, kind="stable")[:max_states])
    order = order_states(potential)
    values, levels = order.relative[chosen], order.levels[chosen]
    height = _heights(values, levels)
    states = tuple(potential.states[i] for i in chosen)
    return StateLevels(states, values, height, rates[chosen, :][:, chosen].toarray())


def _heights(values: NDArray[np.float64], levels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return V, and rows above and below it for what is not finite."""
    finite = np.isfinite(values)
    top = float(values[finite].max(initial=0.0))
    step = 0.22 * max(top, 1.0)
    height = np.where(finite, values, 0.0)
    above, below = ~finite & ~(values == -np.inf), values == -np.inf
    for part, sign, edge in ((above, 1, top), (below, -1, 0.0)):
        _, row = np.unique(sign * levels[part], return_inverse=True)
        height[part] = edge + sign * step * (1.6 + row)
    return height
