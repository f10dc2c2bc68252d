"""The derivatives of the action: flows along edges, and what they add up to for each state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers._solver.edges import BLOCK
from detailed_balance.analyzers.action import Exponential, Softplus

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers._solver.edges import EdgeList
    from detailed_balance.analyzers.action import ViolationFunction

STEEPEST = 1_300.0
"""Drops are cut here, in units of 1 / beta: exp(-beta x / 2) overflows a little beyond."""

NARROW = 200.0
"""Up to so wide a potential, in units of 1 / beta, one exponential for each state serves all of
its edges; beyond, rounding would show."""


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

    net_outflow: NDArray[np.float64]
    """(n,) array: the flow out of each state, less the flow into it."""
    total: NDArray[np.float64]
    """(c,) array: the flow out of all states of each component, and into them."""
    degree: NDArray[np.float64] | None
    """(n,) array: the stiffness of the edges of each state, where it comes with the rest."""
    action: float | None
    """sum of forward K(x) + backward K(-x), where it comes with the rest; see `edge_action`."""
    stiffness: Callable[[], NDArray[np.float64]]
    """Return the (m,) weights of the Hessian."""
    net: Callable[[], NDArray[np.float64]]
    """Return the (m,) net flow from first to second."""

    def imbalance(self, edges: EdgeList) -> NDArray[np.float64]:
        """(c,) array: sum |in - out| / sum (in + out) of each component."""
        sums = edges.component_sums(np.abs(self.net_outflow))
        return np.asarray(sums / np.maximum(self.total, np.finfo(float).tiny))


def balanced_drops(edges: EdgeList, beta: float) -> NDArray[np.float64]:
    """(m,) array: the drops that balance each edge by itself.

    An edge seen one way has none: it takes the drop of the V that balances each state by itself.
    """
    both = (edges.forward > 0) & (edges.backward > 0)
    if both.all():
        return np.asarray((np.log(edges.forward) - np.log(edges.backward)) / beta)
    one, there, back = np.ones(edges.n_states), *map(edges.upper, (edges.forward, edges.backward))
    tiny = np.finfo(float).tiny
    out = np.log(np.maximum(there @ one + back.T @ one, tiny))
    into = np.log(np.maximum(back @ one + there.T @ one, tiny))
    drops = edges.drop((out - into) / beta)
    drops[both] = (np.log(edges.forward[both]) - np.log(edges.backward[both])) / beta
    return drops


def edge_flows(violation: ViolationFunction, edges: EdgeList, drop: NDArray[np.float64]) -> Flows:
    """Evaluate everything that a Newton step needs, at (m,) drops x."""
    flows, beta = _empty_flows(len(edges)), violation.beta
    for start in range(0, len(edges), BLOCK):
        part = slice(start, start + BLOCK)
        a, b, x = edges.forward[part], edges.backward[part], drop[part]
        if isinstance(violation, Exponential):
            fall = np.exp(np.clip(x * (-beta / 2), -STEEPEST / 2, STEEPEST / 2))
            _fill_exponential(flows, part, a, b, fall, beta)
        elif isinstance(violation, Softplus):
            fall = np.exp(np.clip(x * -beta, -STEEPEST / 2, STEEPEST / 2))
            _fill_softplus(flows, part, a, b, fall, beta)
        else:
            _fill_any(flows, part, a, b, x, violation)
    return flows


def edge_action(violation: ViolationFunction, edges: EdgeList, drop: NDArray[np.float64]) -> float:
    """Return sum of forward K(x) + backward K(-x) at (m,) drops x."""
    action, beta = 0.0, violation.beta
    for start in range(0, len(edges), BLOCK):
        part = slice(start, start + BLOCK)
        a, b, x = edges.forward[part], edges.backward[part], drop[part]
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
    edges: EdgeList,
    values: NDArray[np.float64],
    *,
    exactly: bool = False,
) -> StateFlows:
    """Evaluate the same at (n,) values V, added up for each state.

    `exactly` takes to the last digit from one state of an edge what it brings to the other, so that
    of a whole cluster only what flows through its border is left, however little that is.
    """
    beta = violation.beta
    narrow = len(values) > 0 and np.ptp(values) * beta <= NARROW
    if narrow and isinstance(violation, Exponential) and not exactly:
        return _exponential_flows(edges, values, beta)
    if narrow and isinstance(violation, Exponential | Softplus):
        flows = _narrow_flows(violation, edges, values)
    else:
        flows = edge_flows(violation, edges, edges.drop(values))
    total = 2 * edges.edge_sums(flows.total)
    net_outflow = edges.outflow(flows.net)
    return StateFlows(net_outflow, total, None, None, lambda: flows.stiffness, lambda: flows.net)


def _exponential_flows(edges: EdgeList, values: NDArray[np.float64], beta: float) -> StateFlows:
    # The flow of i -> j is a down[i] up[j]: products with the weights add it up, without storing
    # anything for each edge; the flows of single edges are computed when they are asked for.
    rate = beta / 2
    down = np.exp((values - values.mean()) * -rate)
    up = 1 / down
    there, back = edges.upper(edges.forward), edges.upper(edges.backward)
    out = down * (there @ up + back.T @ up)
    into = up * (there.T @ down + back @ down)
    action = float(out.sum())
    net_outflow = np.subtract(out, into)
    out += into
    for each in (net_outflow, out):
        each *= rate

    def weigh(add: np.ufunc, factor: float) -> NDArray[np.float64]:
        result = np.empty(len(edges))
        for part, first, second in edges.blocks():
            fall = down.take(first)
            fall *= up.take(second)
            fall *= factor
            there = np.multiply(edges.forward[part], fall, out=result[part])
            add(there, np.divide(factor**2 * edges.backward[part], fall, out=fall), out=there)
        return result

    total = edges.component_sums(out)
    out *= rate
    return StateFlows(
        net_outflow,
        total,
        out,
        action,
        lambda: weigh(np.add, rate**2),
        lambda: weigh(np.subtract, rate),
    )


def _narrow_flows(
    violation: Exponential | Softplus, edges: EdgeList, values: NDArray[np.float64]
) -> Flows:
    # One exponential for each state serves all of its edges.
    exponential, beta = isinstance(violation, Exponential), violation.beta
    put, rate = (_fill_exponential, beta / 2) if exponential else (_fill_softplus, beta)
    flows = _empty_flows(len(edges))
    down = np.exp((values - values.mean()) * -rate)
    up = 1 / down
    for part, first, second in edges.blocks():
        fall = down.take(first)
        fall *= up.take(second)
        put(flows, part, edges.forward[part], edges.backward[part], fall, beta)
    return flows


def _empty_flows(m: int) -> Flows:
    return Flows(*np.empty((3, m)))


def _fill_exponential(
    flows: Flows,
    part: slice,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    fall: NDArray[np.float64],
    beta: float,
) -> None:
    # One exponential for each edge gives all: K' and K'' differ by a constant.
    back = b / fall
    there = np.multiply(a, fall, out=fall)
    net, total = flows.net[part], flows.total[part]
    np.subtract(there, back, out=net)
    np.add(there, back, out=total)
    net *= beta / 2
    total *= beta / 2
    np.multiply(total, beta / 2, out=flows.stiffness[part])


def _fill_softplus(
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


def _fill_any(
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
