"""`measure_action`: the action of new transitions, with a potential that did not see them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize_scalar

from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.inputs import CountsLike, read_counts
from detailed_balance.analyzers.potential.estimate import Potential
from detailed_balance.analyzers.results import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MeasuredAction", "measure_action", "potential_shape"]

_DEEPEST = 20.0
"""The largest scale that is tried; no temperature makes so much of a difference."""


@dataclass(frozen=True, slots=True)
class MeasuredAction(Result):
    """The normalised action of some transitions.

    Parameters
    ----------
    action : float
        S / n, in units of K(0): the mean over source states of the sum of T(g<-f) K.
    error : float
        Its standard error; NaN where no state was left twice.
    scale : float
        How many times as deep as given the potential had to be for the least action.
    transitions : int
        The attempts, escapes and self-loops included, from states of the potential.
    states : int
        n, the source states: those of the potential that were left at all.
    coverage : float
        n as a share of the states of the potential. The action says nothing of the others.
    """

    action: float
    error: float
    scale: float
    transitions: int
    states: int
    coverage: float

    def _content(self) -> dict[str, Any]:
        return {"name": "MeasuredAction", **self._fields()}


def potential_shape(potential: Potential | Mapping[str, float]) -> dict[str, float]:
    """Return beta V by state: of the largest component, or as a mapping gives it.

    Raises
    ------
    InvalidInputError
        Where a value is not finite, or all are the same.
    """
    if isinstance(potential, Potential):
        inside = potential.components == np.bincount(potential.components).argmax()
        values = (potential.violation.beta * potential.heights[inside]).tolist()
        names = [state for state, kept in zip(potential.states, inside, strict=True) if kept]
        potential = dict(zip(names, values, strict=True))
    for state, value in potential.items():
        if not math.isfinite(value):
            raise InvalidInputError(f"V({state!r}) = {value!r}; leave out states without a value")
    if len(set(potential.values())) < 2:
        raise InvalidInputError(
            f"the potential has {len(potential)} states and one value at most; an action is "
            "measured along differences. Record more, or give a mapping of state to beta V"
        )
    return {state: float(value) for state, value in potential.items()}


def measure_action(
    counts: CountsLike, potential: Potential | Mapping[str, float]
) -> MeasuredAction:
    """Measure the action of transitions with a potential of known shape.

    The least action of few counts is too low: V follows their noise, each difference on its own.
    The action of a V that did not see them is too high where V is off. So V comes from elsewhere
    (a record made before) and has one number left to fit, its depth: temperatures and majority
    votes make a potential deeper or shallower, and hardly change its shape. Where they do, or
    where that record was short, the result is above the least action and bounds it.

    Parameters
    ----------
    counts : CountsLike
        What was recorded. An attempt that reached no state of the potential costs nothing, like
        any escape; an attempt from none is left out.
    potential : Potential or mapping of str to float
        beta V by state; of a `Potential` its largest component counts.

    Returns
    -------
    MeasuredAction
        With K(x) = exp(-x / 2).

    Raises
    ------
    InsufficientDataError
        Where no attempt was made from a state of the potential.
    InvalidInputError
        Where the potential has no two values, or one that is not finite.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 8.

    Examples
    --------
    >>> from detailed_balance.analyzers import TransitionCounts
    >>> counts = TransitionCounts.from_edges([("a", "b", 90), ("a", None, 10), ("b", "a", 10),
    ...                                       ("b", None, 90)])
    >>> measured = measure_action(counts, {"a": 1.0, "b": 0.0})
    >>> round(measured.action, 4), round(measured.scale, 2)  # sqrt(90.25 * 10.25) / 100
    (0.3041, 2.18)
    """
    shape = potential_shape(potential)
    counts = read_counts(counts)
    known = [state for state in counts.states if state in shape]
    counts = counts.restrict(known)
    sources = np.flatnonzero(counts.attempts > 0)
    if not len(sources):
        raise InsufficientDataError(
            f"none of the {len(shape)} states of the potential was left; the potential must come "
            "from records with the same states"
        )
    edges = counts.counts.tocoo()
    moves = edges.row != edges.col
    f, n = edges.row[moves], edges.data[moves]
    values = np.array([shape[state] for state in known])
    drop = values[f] - values[edges.col[moves]]
    rate = n / counts.attempts[f]
    scale, action = _least(rate, drop, counts.attempts[sources])
    cost = np.exp(-0.5 * scale * drop)
    return MeasuredAction(
        action / len(sources),
        _error(f, rate, cost, counts.attempts),
        scale,
        int(counts.attempts.sum()),
        len(sources),
        len(sources) / len(shape),
    )


def _least(
    rate: NDArray[np.float64], drop: NDArray[np.float64], attempts: NDArray[Any]
) -> tuple[float, float]:
    """Return the depth c of least action sum rate * exp(-c drop / 2), and that action.

    A quarter of a move up and one down the mean drop are added. They take out the bias of one
    fitted number: for two states the action is a root of counts, and sqrt(n + 1/4) has the mean
    sqrt(mean of n) up to 1 / n^(3/2). Without a move up they keep the depth finite.
    """
    typical = float(rate @ np.abs(drop)) / max(float(rate.sum()), 1e-300)
    rate = np.append(rate, np.full(2, 0.25 / attempts.mean()))
    drop = np.append(drop, [typical, -typical])

    def action(depth: float) -> float:
        with np.errstate(over="ignore"):
            return float(rate @ np.exp(-0.5 * depth * drop))

    found = minimize_scalar(action, bounds=(0.0, _DEEPEST), method="bounded")
    return float(found.x), float(found.fun)


def _error(
    f: NDArray[Any], rate: NDArray[Any], cost: NDArray[Any], attempts: NDArray[Any]
) -> float:
    """Return the standard error, each row multinomial in its attempts.

    At the minimum over the depth its own error does not enter, to first order. A state left once
    shows no variance, and is given the mean of the others'.
    """
    mean = np.bincount(f, rate * cost, len(attempts))
    square = np.bincount(f, rate * cost**2, len(attempts))
    left, several = attempts[attempts > 0], attempts[attempts > 0] > 1
    if not several.any():
        return math.nan
    variance = np.maximum(square - mean**2, 0.0)[attempts > 0] * left / np.maximum(left - 1, 1)
    variance[~several] = variance[several].mean()
    return float(np.sqrt((variance / left).sum()) / len(left))
