"""The reversible kernel of greatest likelihood, on the strongly connected parts of a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit, xlogy

from detailed_balance.analyzers._solver.edges import EdgeList, add_at
from detailed_balance.analyzers._solver.newton import minimize_action
from detailed_balance.analyzers.action import Softplus
from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import ConvergenceError
from detailed_balance.analyzers.kernel import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ReversibleFit", "fit_reversible", "strong_components"]

TOLERANCE = 1e-8
"""The largest change of a log odds that one more Newton step may make."""


@dataclass(frozen=True, slots=True, eq=False)
class ReversibleFit:
    """The reversible kernel that makes the counts most likely.

    Parameters
    ----------
    counts : TransitionCounts
        What was fitted: states of strongly connected components of two or more, n of them.
    pairs : EdgeList
        The m linked pairs inside components.
    forward, backward : (m,) arrays of int
        How often each pair was taken, first -> second and back.
    values : (n,) array of float
        log q: a pair is taken forward with log odds ``values[first] - values[second]``.
    """

    counts: TransitionCounts
    pairs: EdgeList
    forward: NDArray[np.int64]
    backward: NDArray[np.int64]
    values: NDArray[np.float64]

    @property
    def totals(self) -> NDArray[np.int64]:
        """(m,) array: how often each pair was taken, both ways together."""
        return self.forward + self.backward

    @property
    def degrees_of_freedom(self) -> int:
        """E - n + c: the number of independent loops."""
        return len(self.pairs) - self.pairs.n_states + self.pairs.n_components

    def expected(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the expected counts forward and backward, two (m,) arrays."""
        log_odds = self.pairs.drop(self.values)
        return self.totals * expit(log_odds), self.totals * expit(-log_odds)

    def deviance(self) -> NDArray[np.float64]:
        """(m,) array: what each pair adds to twice the log likelihood ratio, 0 or more."""
        there, back = self.expected()
        excess = xlogy(self.forward, self.forward) - xlogy(self.forward, there)
        excess += xlogy(self.backward, self.backward) - xlogy(self.backward, back)
        return np.asarray(2 * excess, dtype=np.float64)

    def exits(self) -> NDArray[np.float64]:
        """(n,) array: the moves from each state to another of its component."""
        pairs, n = self.pairs, self.pairs.n_states
        return add_at(pairs.first, self.forward, n) + add_at(pairs.second, self.backward, n)

    def kernel(self) -> Kernel:
        """Return the reversible kernel; rows sum to 1, self-loops as observed."""
        pairs, (there, back) = self.pairs, self.expected()
        stays = self.counts.counts.diagonal()
        moves = stays + self.exits()
        places = (
            np.concatenate([pairs.first, pairs.second]),
            np.concatenate([pairs.second, pairs.first]),
        )
        shape = (len(moves), len(moves))
        expected = csr_array((np.concatenate([there, back]), places), shape=shape)
        rows = (expected + diags_array(stays.astype(float))).multiply(1 / moves[:, None])
        return Kernel(self.counts.states, csr_array(rows), moves, "reversible")

    def stationary(self) -> NDArray[np.float64]:
        """(n,) array: the stationary distribution of the kernel; sums to 1 in each component."""
        pairs = self.pairs
        logs = np.log(self.counts.counts.diagonal() + self.exits()) - self.values
        weight = np.exp(logs + pairs.lowest(-logs)[pairs.components])
        return np.asarray(weight / pairs.component_sums(weight)[pairs.components])


def fit_reversible(counts: TransitionCounts) -> ReversibleFit:
    """Find the reversible kernel of greatest likelihood.

    With x_f = N_f / q_f for the stationary weight, the flow between f and g comes out as
    (N_fg + N_gf) / (q_f + q_g): each of the moves between f and g went from f to g with chance
    q_f / (q_f + q_g). So the fit is the Bradley-Terry fit of the counts, that is the minimum of
    their action with the softplus K, and the Newton method of `estimate_potential` finds it.
    Self-loops, escapes and moves out of the component only thin a row; they cancel.

    Parameters
    ----------
    counts : TransitionCounts
        Without START and END.

    Raises
    ------
    ConvergenceError
        Where the solver stopped before the flow was balanced to 1e-10; see `solution.Residuals`.

    References
    ----------
    Bowman, Beauchamp, Boxer, Pande, J. Chem. Phys. 131, 124101 (2009), for the fixed point;
    Bradley and Terry, Biometrika 39, 324 (1952).

    Examples
    --------
    >>> fit = fit_reversible(TransitionCounts.from_dense([[0, 6, 2], [2, 0, 6], [6, 2, 0]]))
    >>> fit.kernel().probabilities.toarray()[0].tolist()  # driven round: half of it each way
    [0.0, 0.5, 0.5]
    """
    kept, components = strong_components(counts)
    part = counts.restrict([counts.states[i] for i in kept])
    matrix = part.counts.astype(np.float64)
    matrix.sum_duplicates()
    pairs = EdgeList.from_matrix(matrix, components[kept])
    solution = minimize_action(pairs, Softplus(1.0), tolerance=TOLERANCE)
    if not solution.converged:
        raise ConvergenceError(
            f"the reversible fit stopped after {solution.iterations} steps with a flow residual "
            f"of {solution.residuals.flow:.2g}; the last point is this error's `estimate`",
            solution,
        )
    counted = np.append(matrix.data, 0.0).astype(np.int64)[pairs.places]
    return ReversibleFit(part, pairs, counted[0], counted[1], solution.values)


def strong_components(counts: TransitionCounts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the states in components of two or more, and the component of every state.

    Components of the returned states are numbered from 0; those of other states mean nothing.
    """
    # A zero that is stored would count as a link.
    linked = csr_array(counts.counts > 0)
    _, labels = connected_components(linked, connection="strong")
    kept = np.flatnonzero(np.bincount(labels, minlength=1)[labels] > 1)
    number = np.zeros(len(counts) + 1, dtype=np.int64)
    chosen = np.unique(labels[kept])
    number[chosen] = np.arange(len(chosen))
    return kept, number[labels]
