"""`stationary_distribution`: where an agent is found in the long run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from detailed_balance.analyzers.counts import BOUNDARIES, TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.kernel import KernelLike, read_chain
from detailed_balance.analyzers.results import Table, TableResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DENSE_LIMIT",
    "StationaryDistribution",
    "irreducible_law",
    "move_kernel",
    "stationary_distribution",
    "stationary_vectors",
]

DENSE_LIMIT = 300
"""Up to so many states the elimination is dense, and keeps every digit of small entries."""

POWER_STEPS = 500
"""A chain that takes more steps to settle mixes slowly, as rings and grids do; the fill of a
factorisation is small there."""

SETTLED = 1e-13
"""The largest relative change of any entry by one more step."""


@dataclass(frozen=True, slots=True, eq=False)
class StationaryDistribution(TableResult):
    """The stationary distribution of a chain with one closed class.

    Parameters
    ----------
    states : tuple of str, length n
        All states of the chain, without START and END.
    probabilities : (n,) array of float
        The share of steps that start in each state; 0 for a state that is left for good.
    """

    states: tuple[str, ...]
    probabilities: NDArray[np.float64]

    @property
    def transient(self) -> tuple[str, ...]:
        """The states that are left for good."""
        return tuple(
            state for state, p in zip(self.states, self.probabilities, strict=True) if p == 0
        )

    def to_table(self) -> Table:
        """Return the columns state and probability, most visited first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return {
            "state": [self.states[i] for i in order],
            "probability": self.probabilities[order].tolist(),
        }

    def _content(self) -> dict[str, Any]:
        return {"states": self.to_table(), "transient": self.transient}


def stationary_distribution(source: KernelLike) -> StationaryDistribution:
    """Solve pi T = pi.

    Parameters
    ----------
    source : KernelLike
        Counts, or a known kernel. START and END are left out, and rows are scaled to sum to 1: a
        step is a move that was made (self-loops are moves; escapes, which leave the agent where it
        was, are none).

    Returns
    -------
    StationaryDistribution
        Of the only closed class: the set of states that all lead to each other and to no other.

    Raises
    ------
    InsufficientDataError
        Where there is more than one closed class, or it is a state from which no move is known;
        `partial` is a tuple with the distribution of each closed class.
    InvalidInputError
        Where the rows of an array of fractions are not probabilities.

    References
    ----------
    Grassmann, Taksar, Heyman, Oper. Res. 33, 1107 (1985): elimination without subtractions.

    Examples
    --------
    >>> law = stationary_distribution([[0.9, 0.1], [0.3, 0.7]])
    >>> law.states, law.probabilities.round(6).tolist()
    (('0', '1'), [0.75, 0.25])
    """
    states, kernel = move_kernel(source)
    classes = _closed_classes(kernel)
    laws = tuple(_law(states, kernel, members) for members in classes)
    stuck = len(classes) == 1 and not kernel[classes[0], :].sum()
    if len(classes) != 1 or stuck:
        raise InsufficientDataError(_not_unique(states, classes), laws)
    return laws[0]


def move_kernel(source: KernelLike) -> tuple[tuple[str, ...], csr_array[Any, tuple[int, int]]]:
    """Return the states and the kernel of moves; rows sum to 1, or to 0 where none is known."""
    known = read_chain(source)[0]
    if isinstance(known, TransitionCounts):
        counts = known.without_boundaries()
        states, weights = counts.states, csr_array(counts.counts.astype(np.float64))
    else:
        inner = [i for i, state in enumerate(known.states) if state not in BOUNDARIES]
        states = tuple(known.states[i] for i in inner)
        weights = csr_array(known.probabilities[inner, :][:, inner])
    sums = np.asarray(weights.sum(axis=1))
    kernel = csr_array(diags_array(1 / np.where(sums > 0, sums, 1.0)) @ weights)
    kernel.sum_duplicates()
    kernel.eliminate_zeros()
    return states, kernel


def stationary_vectors(kernels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (b, n) stationary distributions of (b, n, n) irreducible kernels.

    Only the entries off the diagonal are read, and rows may have any sum: states are eliminated
    one by one, with sums, products and quotients of positive numbers alone.
    """
    a = kernels.astype(np.float64)
    n = a.shape[-1]
    for k in range(n - 1, 0, -1):
        a[:, :k, k] /= a[:, k, :k].sum(axis=1)[:, None]
        a[:, :k, :k] += a[:, :k, k, None] * a[:, k, None, :k]
    law = np.ones(a.shape[:2])
    for k in range(1, n):
        law[:, k] = np.einsum("bi,bi->b", law[:, :k], a[:, :k, k])
    return np.asarray(law / law.sum(axis=1, keepdims=True))


def irreducible_law(kernel: csr_array[Any, tuple[int, int]]) -> NDArray[np.float64]:
    """Return the (n,) stationary distribution of an irreducible kernel whose rows sum to 1."""
    if kernel.shape[0] <= DENSE_LIMIT:
        return np.asarray(stationary_vectors(kernel.toarray()[None])[0])
    law = _power_iteration(kernel)
    return law if law is not None else _solve_directly(kernel)


def _power_iteration(kernel: csr_array[Any, tuple[int, int]]) -> NDArray[np.float64] | None:
    """Iterate the lazy chain, which cannot oscillate; None where that takes too long."""
    entering = csr_array(kernel.T)
    law = np.full(kernel.shape[0], 1 / kernel.shape[0])
    for _ in range(POWER_STEPS):
        after = (law + entering @ law) / 2
        if np.all(np.abs(after - law) <= SETTLED * after):
            return np.asarray(after / after.sum())
        law = after
    return None


def _solve_directly(kernel: csr_array[Any, tuple[int, int]]) -> NDArray[np.float64]:
    # One equation follows from the others: the weight of the most entered state is set to 1.
    n = kernel.shape[0]
    last = int(np.argmax(kernel.sum(axis=0)))
    rest = np.delete(np.arange(n), last)
    system = (eye_array(n) - kernel.T).tocsc()[rest, :][:, rest]
    entering = kernel[[last], :].toarray()[0, rest]
    law = np.ones(n)
    law[rest] = splu(system.tocsc(), diag_pivot_thresh=0.0).solve(entering)
    return np.asarray(law / law.sum())


def _closed_classes(kernel: csr_array[Any, tuple[int, int]]) -> list[NDArray[np.int64]]:
    count, labels = connected_components(kernel, connection="strong")
    edges = kernel.tocoo()
    leaving = labels[edges.row[labels[edges.row] != labels[edges.col]]]
    closed = np.setdiff1d(np.arange(count), leaving)
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(count + 1))
    return [order[starts[c] : starts[c + 1]] for c in closed]


def _law(
    states: tuple[str, ...], kernel: csr_array[Any, tuple[int, int]], members: NDArray[np.int64]
) -> StationaryDistribution:
    probabilities = np.zeros(len(states))
    probabilities[members] = irreducible_law(csr_array(kernel[members, :][:, members]))
    return StationaryDistribution(states, probabilities)


def _not_unique(states: tuple[str, ...], classes: list[NDArray[np.int64]]) -> str:
    if not classes:
        return "there is no stationary distribution: there are no states besides START and END"
    names = "; ".join(
        ", ".join(repr(states[i]) for i in members[:3]) + (", ..." if len(members) > 3 else "")
        for members in classes[:4]
    )
    if len(classes) == 1:
        return (
            f"all moves lead to {names}, from which none is known, so there is no long run: runs "
            "end there. Keep the states that lead back to each other, with counts.restrict(states)"
        )
    return (
        f"the stationary distribution is not unique: {len(classes)} sets of states are never left "
        f"({names}"
        f"{'; ...' if len(classes) > 4 else ''}). The distribution of each is in this error's "
        f"`partial`; "
        "to go on with one, use counts.restrict(states)"
    )
