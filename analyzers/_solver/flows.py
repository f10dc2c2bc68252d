"""The flows of the action on pairs of states: what every solver iterates on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers._solver.edges import BLOCK
from detailed_balance.analyzers.action import Exponential, Softplus

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers._solver.edges import Pairs
    from detailed_balance.analyzers.action import ViolationFunction

__all__ = ["Flows", "StateFlows", "balanced_drops", "pair_action", "pair_flows", "state_flows"]

STEEPEST = 1_300.0
"""Drops are cut here, in units of 1 / beta: exp(-beta x / 2) overflows a little beyond."""

NARROW = 200.0
"""Up to so wide a potential, in units of 1 / beta, one exponential for each state serves all of
its pairs; beyond, rounding would show."""


@dataclass(slots=True, eq=False)
class Flows:
    """The first two derivatives of the action at given drops, one (m,) array each."""

    net: NDArray[np.float64]
    """The flow forward |K'(x)| - backward |K'(-x)| from first to second."""
    total: NDArray[np.float64]
    """The flow in both directions."""
    stiffness: NDArray[np.float64]
    """forward K''(x) + backward K''(-x), the weights of the Hessian, a graph Laplacian."""


@dataclass(slots=True, eq=False)
class StateFlows:
    """The derivatives of the action at V, added up for each state."""

    pull: NDArray[np.float64]
    """(n,) array: the flow out of each state, less the flow into it."""
    through: NDArray[np.float64]
    """(c,) array: the flow out of all states of each component, and into them."""
    degree: NDArray[np.float64] | None
    """(n,) array: the stiffness of the pairs of each state, where it comes with the rest."""
    action: float | None
    """sum of forward K(x) + backward K(-x), where it comes with the rest; see `pair_action`."""
    stiffness: Callable[[], NDArray[np.float64]]
    """Return the (m,) weights of the Hessian."""
    net: Callable[[], NDArray[np.float64]]
    """Return the (m,) net flow from first to second."""

    def imbalance(self, pairs: Pairs) -> NDArray[np.float64]:
        """(c,) array: sum |in - out| / sum (in + out) of each component."""
        sums = pairs.component_sums(np.abs(self.pull))
        return np.asarray(sums / np.maximum(self.through, np.finfo(float).tiny))


def balanced_drops(pairs: Pairs, beta: float) -> NDArray[np.float64]:
    """(m,) array: the drops that balance each pair by itself.

    A pair seen one way has none: it takes the drop of the V that balances each state by itself.
    """
    both = (pairs.forward > 0) & (pairs.backward > 0)
    if both.all():
        return np.asarray((np.log(pairs.forward) - np.log(pairs.backward)) / beta)
    one, there, back = np.ones(pairs.n_states), *map(pairs.upper, (pairs.forward, pairs.backward))
    tiny = np.finfo(float).tiny
    out = np.log(np.maximum(there @ one + back.T @ one, tiny))
    into = np.log(np.maximum(back @ one + there.T @ one, tiny))
    drops = pairs.drop((out - into) / beta)
    drops[both] = (np.log(pairs.forward[both]) - np.log(pairs.backward[both])) / beta
    return drops


def pair_flows(violation: ViolationFunction, pairs: Pairs, drop: NDArray[np.float64]) -> Flows:
    """Evaluate everything that a Newton step needs, at (m,) drops x."""
    flows, beta = _empty_flows(len(pairs)), violation.beta
    for start in range(0, len(pairs), BLOCK):
        part = slice(start, start + BLOCK)
        a, b, x = pairs.forward[part], pairs.backward[part], drop[part]
        if isinstance(violation, Exponential):
            fall = np.exp(np.clip(x * (-beta / 2), -STEEPEST / 2, STEEPEST / 2))
            _put_exponential(flows, part, a, b, fall, beta)
        elif isinstance(violation, Softplus):
            fall = np.exp(np.clip(x * -beta, -STEEPEST / 2, STEEPEST / 2))
            _put_softplus(flows, part, a, b, fall, beta)
        else:
            _put_any(flows, part, a, b, x, violation)
    return flows


def pair_action(violation: ViolationFunction, pairs: Pairs, drop: NDArray[np.float64]) -> float:
    """Return sum of forward K(x) + backward K(-x) at (m,) drops x."""
    action, beta = 0.0, violation.beta
    for start in range(0, len(pairs), BLOCK):
        part = slice(start, start + BLOCK)
        a, b, x = pairs.forward[part], pairs.backward[part], drop[part]
        if isinstance(violation, Softplus):
            # log(1 + exp(-|beta x|)) is common to both ways, which is all that costs.
            rise = -beta * x
            common = np.log1p(np.exp(-np.abs(rise)))
            action += float((a + b) @ common + a @ np.maximum(rise, 0) - b @ np.minimum(rise, 0))
        else:
            x = np.clip(x, -STEEPEST / beta, STEEPEST / beta)
            action += float(a @ violation.value(x) + b @ violation.value(-x))
    return action


def state_flows(
    violation: ViolationFunction,
    pairs: Pairs,
    values: NDArray[np.float64],
    *,
    exactly: bool = False,
) -> StateFlows:
    """Evaluate the same at (n,) values V, added up for each state.

    `exactly` takes to the last digit from one state of a pair what it brings to the other, so that
    of a whole cluster only what flows through its border is left, however little that is.
    """
    beta = violation.beta
    narrow = len(values) > 0 and np.ptp(values) * beta <= NARROW
    if narrow and isinstance(violation, Exponential) and not exactly:
        return _exponential_flows(pairs, values, beta)
    if narrow and isinstance(violation, Exponential | Softplus):
        flows = _narrow_flows(violation, pairs, values)
    else:
        flows = pair_flows(violation, pairs, pairs.drop(values))
    through = 2 * pairs.pair_sums(flows.total)
    pull = pairs.outflow(flows.net)
    return StateFlows(pull, through, None, None, lambda: flows.stiffness, lambda: flows.net)


def _exponential_flows(pairs: Pairs, values: NDArray[np.float64], beta: float) -> StateFlows:
    # The flow of i -> j is a down[i] up[j]: products with the weights add it up, pair by pair
    # nothing is put down, and a pair's own flows are there for those who ask.
    rate = beta / 2
    down = np.exp((values - values.mean()) * -rate)
    up = 1 / down
    there, back = pairs.upper(pairs.forward), pairs.upper(pairs.backward)
    out = down * (there @ up + back.T @ up)
    into = up * (there.T @ down + back @ down)
    action = float(out.sum())
    pull = np.subtract(out, into)
    out += into
    for each in (pull, out):
        each *= rate

    def weigh(add: np.ufunc, factor: float) -> NDArray[np.float64]:
        result = np.empty(len(pairs))
        for part, first, second in pairs.blocks():
            fall = down.take(first)
            fall *= up.take(second)
            fall *= factor
            there = np.multiply(pairs.forward[part], fall, out=result[part])
            add(there, np.divide(factor**2 * pairs.backward[part], fall, out=fall), out=there)
        return result

    through = pairs.component_sums(out)
    out *= rate
    return StateFlows(
        pull, through, out, action, lambda: weigh(np.add, rate**2), lambda: weigh(np.subtract, rate)
    )


def _narrow_flows(
    violation: Exponential | Softplus, pairs: Pairs, values: NDArray[np.float64]
) -> Flows:
    # One exponential for each state serves all of its pairs.
    exponential, beta = isinstance(violation, Exponential), violation.beta
    put, rate = (_put_exponential, beta / 2) if exponential else (_put_softplus, beta)
    flows = _empty_flows(len(pairs))
    down = np.exp((values - values.mean()) * -rate)
    up = 1 / down
    for part, first, second in pairs.blocks():
        fall = down.take(first)
        fall *= up.take(second)
        put(flows, part, pairs.forward[part], pairs.backward[part], fall, beta)
    return flows


def _empty_flows(m: int) -> Flows:
    return Flows(*np.empty((3, m)))


def _put_exponential(
    flows: Flows,
    part: slice,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    fall: NDArray[np.float64],
    beta: float,
) -> None:
    # One exponential for each pair gives all: K' and K'' differ by a constant.
    back = b / fall
    there = np.multiply(a, fall, out=fall)
    net, total = flows.net[part], flows.total[part]
    np.subtract(there, back, out=net)
    np.add(there, back, out=total)
    net *= beta / 2
    total *= beta / 2
    np.multiply(total, beta / 2, out=flows.stiffness[part])


def _put_softplus(
    flows: Flows,
    part: slice,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    fall: NDArray[np.float64],
    beta: float,
) -> None:
    # The odds exp(-beta x) give all; the results are also where it is put down on the way.
    net, total, stiffness = flows.net[part], flows.total[part], flows.stiffness[part]
    back = np.divide(1, np.add(1, fall, out=net), out=net)  # the share of the flow that goes back
    there = np.multiply(fall, back, out=fall)
    np.add(a, b, out=stiffness)
    stiffness *= there
    stiffness *= back
    there *= a
    back *= b
    if beta != 1:
        stiffness *= beta**2
        there *= beta
        back *= beta
    np.add(there, back, out=total)
    np.subtract(there, back, out=net)


def _put_any(
    flows: Flows,
    part: slice,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    x: NDArray[np.float64],
    violation: ViolationFunction,
) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        there, back = -a * violation.derivative(x), -b * violation.derivative(-x)
        bend = a * violation.second_derivative(x) + b * violation.second_derivative(-x)
    flows.net[part], flows.total[part], flows.stiffness[part] = there - back, there + back, bend
