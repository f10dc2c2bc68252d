"""Osborne's sweeps: balance one state after the other, for the exponential K."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from pyamg.graph import vertex_coloring
from scipy.sparse import csr_array

from detailed_balance.analyzers.convergence import BALANCED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers._solver.edges import EdgeList

PATIENCE = 50
"""In so many sweeps the imbalance must fall tenfold, or Newton's method takes over."""

WIDEST = 300.0
"""Exponentials of half the potential must neither overflow nor vanish in a product."""


def balance_by_sweeps(
    edges: EdgeList, beta: float, values: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float64], float]]:
    """Yield V and its imbalance after each sweep, until balanced, stalled or too wide.

    States of one colour are not linked, so each colour is balanced at once, by two sparse
    products: with u = exp(beta V / 2), state f is balanced by
    u_f^2 = sum_g T(g<-f) u_g / sum_g T(f<-g) / u_g.
    """
    colours = _colours(edges)
    up = np.exp(np.clip(beta * values / 2, -WIDEST, WIDEST))
    history: list[float] = []
    while np.all(np.isfinite(up)) and not _is_over(history):
        history.append(_sweep(colours, up))
        values = 2 / beta * np.log(up)
        if np.abs(values).max(initial=0.0) * beta / 2 > WIDEST:
            return
        yield values, history[-1]


_Rates: TypeAlias = "csr_array[Any, tuple[int, int]]"
Colour: TypeAlias = "tuple[NDArray[Any], _Rates, _Rates]"


def _colours(edges: EdgeList) -> list[Colour]:
    """Return the states of each colour, with what leaves them and what enters them."""
    n, shape = edges.n_states, (edges.n_states, edges.n_states)
    forward = csr_array((edges.forward, edges.second, edges.starts), shape=shape)
    backward = csr_array((edges.backward, edges.second, edges.starts), shape=shape)
    leaving, entering = csr_array(forward + backward.T), csr_array(backward + forward.T)
    linked = np.bincount(edges.first, minlength=n) + np.bincount(edges.second, minlength=n) > 0
    colour = np.where(linked, vertex_coloring(csr_array(leaving + entering), "JP"), -1)
    order = np.argsort(colour, kind="stable")
    bounds = np.searchsorted(colour[order], np.arange(colour.max(initial=-1) + 2))
    groups = [order[i:j] for i, j in pairwise(bounds)]
    return [(states, leaving[states], entering[states]) for states in groups]


def _sweep(colours: list[Colour], up: NDArray[np.float64]) -> float:
    """Balance every state once, in place; return the imbalance that was met on the way."""
    down, unbalanced, whole = 1 / up, 0.0, 0.0
    for states, leaving, entering in colours:
        out, into = leaving @ up, entering @ down
        flow_out, flow_in = down[states] * out, up[states] * into
        unbalanced += float(np.abs(flow_out - flow_in).sum())
        whole += float((flow_out + flow_in).sum())
        up[states] = np.sqrt(out / into)
        down[states] = 1 / up[states]
    return unbalanced / max(whole, np.finfo(float).tiny)


def _is_over(history: list[float]) -> bool:
    if not history:
        return False
    stalled = len(history) > PATIENCE and history[-1] > 0.1 * history[-1 - PATIENCE]
    return stalled or history[-1] <= 0.1 * BALANCED
