"""`hodge_decomposition`: how much of an agent's drift one potential explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import lsmr

from detailed_balance.analyzers._solver.edges import EdgeList
from detailed_balance.analyzers._solver.laplacian import LaplacianSolver
from detailed_balance.analyzers.balance.cycle_search import find_triangles
from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import (
    ConvergenceError,
    InsufficientDataError,
    InvalidInputError,
)
from detailed_balance.analyzers.markov.stationary import Source, move_kernel
from detailed_balance.analyzers.results import Table, TableResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HodgeDecomposition", "hodge_decomposition"]

Weights: TypeAlias = Literal["auto", "uniform", "precision"]
"""What each pair counts; see `hodge_decomposition`."""

TOLERANCE = 1e-12
"""Both least squares problems are solved to this relative residual."""

MAX_STEPS = 20_000
"""Give up the search for the curl after so many steps."""


@dataclass(frozen=True, slots=True, eq=False)
class HodgeDecomposition(TableResult):
    """The log ratios of the pairs, as gradient + curl + harmonic flow.

    The three are orthogonal in the weighted product sum w a b, so that their shares sum to 1.

    Parameters
    ----------
    states : tuple of str, length n
        The states of the chain.
    potential : (n,) array of float
        V, in nats, whose gradient V(first) - V(second) is nearest to the log ratios; the lowest
        state of each component is at 0.
    components : (n,) array of int
        States linked by pairs walked both ways; potentials compare inside one only.
    first, second : (m,) arrays of int
        The pairs that were walked both ways, first < second.
    log_ratio : (m,) array of float
        log T(second <- first) / T(first <- second), in nats.
    gradient, curl, harmonic : (m,) arrays of float
        What a potential explains; what goes round triangles; what goes round longer loops
        that no triangles fill.
    weight : (m,) array of float
        What each pair counts.
    triangle_affinities : (t,) array of float
        The sum of log ratios round each triangle, in nats and without sign.
    one_way_pairs : int
        Pairs walked one way only; their log ratio is not identifiable and they are left out.
    weights : {"uniform", "precision"}
        How the weights were chosen.
    """

    states: tuple[str, ...]
    potential: NDArray[np.float64]
    components: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    log_ratio: NDArray[np.float64]
    gradient: NDArray[np.float64]
    curl: NDArray[np.float64]
    harmonic: NDArray[np.float64]
    weight: NDArray[np.float64]
    triangle_affinities: NDArray[np.float64]
    one_way_pairs: int
    weights: str

    @property
    def gradient_share(self) -> float:
        """The share of the squared log ratios that one potential explains; 1 where all are 0."""
        return 1.0 - self.curl_share - self.harmonic_share

    @property
    def curl_share(self) -> float:
        """The share that goes round triangles."""
        return self._share(self.curl)

    @property
    def harmonic_share(self) -> float:
        """The share that goes round longer loops."""
        return self._share(self.harmonic)

    @property
    def residual(self) -> float:
        """The weighted root mean square of what the potential leaves, in nats."""
        left = self.log_ratio - self.gradient
        return float(np.sqrt(np.average(left**2, weights=self.weight)))

    def _share(self, flow: NDArray[np.float64]) -> float:
        total = float(self.weight @ self.log_ratio**2)
        return float(self.weight @ flow**2) / total if total else 0.0

    def to_table(self) -> Table:
        """Return the pairs, with the columns source, target and the parts of the log ratio."""
        return {
            "source": [self.states[i] for i in self.first],
            "target": [self.states[i] for i in self.second],
            "log_ratio": self.log_ratio.tolist(),
            "gradient": self.gradient.tolist(),
            "curl": self.curl.tolist(),
            "harmonic": self.harmonic.tolist(),
            "weight": self.weight.tolist(),
        }

    def _content(self) -> dict[str, Any]:
        shares = ("gradient_share", "curl_share", "harmonic_share", "residual")
        return {
            "pairs": self.to_table(),
            **self._values("states", "potential", "components", *shares),
            "triangles": len(self.triangle_affinities),  # how many; they may be very many
            "one_way_pairs": self.one_way_pairs,
            "settings": {"weights": self.weights},
        }

    def describe(self) -> str:
        """Say in one sentence what was found."""
        left_out = (
            f"; {self.one_way_pairs} pairs walked one way only were left out"
            if self.one_way_pairs
            else ""
        )
        return (
            f"one potential explains {self.gradient_share:.1%} of the drift over "
            f"{len(self.first)} pairs, {self.curl_share:.1%} goes round triangles and "
            f"{self.harmonic_share:.1%} round longer loops{left_out}"
        )


def hodge_decomposition(source: Source, *, weights: Weights = "auto") -> HodgeDecomposition:
    """Split the log ratios of the pairs into gradient, curl and harmonic flow.

    Parameters
    ----------
    source : TransitionCounts, Kernel or (n, n) array of float
        START and END are left out, and rows are scaled to sum to 1. Only pairs walked both
        ways have a log ratio.
    weights : {"auto", "uniform", "precision"}
        "uniform": every pair counts the same. "precision": 1 / (1/n_fg + 1/n_gf), for counts
        only. "auto": precision for counts, uniform for a kernel.

    Returns
    -------
    HodgeDecomposition
        The three flows, their shares, and the potential.

    Raises
    ------
    InsufficientDataError
        Where no pair was walked both ways.
    InvalidInputError
        Where `weights` is none of the above, or "precision" for a kernel.
    ConvergenceError
        Where the curl was not found to a relative 1e-12; its `estimate` is the last one.

    Notes
    -----
    Noise in the log ratios has a curl of its own: over counts, a gradient share below 1 is no
    evidence against detailed balance by itself. `reversibility_test` is.

    References
    ----------
    Jiang, Lim, Yao, Ye, Math. Program. 127, 203 (2011).

    Examples
    --------
    >>> ring = [[0, 0.9, 0.1], [0.1, 0, 0.9], [0.9, 0.1, 0]]
    >>> parts = hodge_decomposition(ring)
    >>> round(parts.curl_share, 6)
    1.0
    """
    if weights not in get_args(Weights):
        raise InvalidInputError(f"weights={weights!r}; allowed are {', '.join(get_args(Weights))}")
    counted = isinstance(source, TransitionCounts)
    if weights == "precision" and not counted:
        raise InvalidInputError("weights='precision' needs counts; a kernel has no errors")
    states, kernel = move_kernel(source)
    pairs, ratio, one_way = _two_way_pairs(kernel)
    if not len(pairs):
        raise InsufficientDataError(
            f"no pair of states was walked both ways ({one_way} one way only), so that no log "
            "ratio is known: record more runs"
        )
    named = "precision" if counted and weights != "uniform" else "uniform"
    weight = _precision(source, pairs) if counted and named == "precision" else np.ones(len(pairs))
    potential = _potential(pairs, ratio, weight)
    gradient = pairs.drop(potential)
    triangles = _triangle_sums(pairs)
    curl = _curl(triangles, ratio - gradient, weight)
    return HodgeDecomposition(
        states,
        potential,
        pairs.components.astype(np.int64),
        pairs.first.astype(np.int64),
        pairs.second.astype(np.int64),
        ratio,
        gradient,
        curl,
        ratio - gradient - curl,
        weight,
        np.abs(triangles @ ratio),
        one_way,
        named,
    )


def _two_way_pairs(kernel: Any) -> tuple[EdgeList, NDArray[np.float64], int]:
    """Return the pairs walked both ways, their (m,) log ratios, and how many were one-way."""
    n = kernel.shape[0]
    all_pairs = EdgeList.from_matrix(kernel, np.zeros(n, dtype=np.int64))
    there, back = np.append(kernel.data, 0.0)[all_pairs.places]
    kept = (there > 0) & (back > 0)
    places = (all_pairs.first[kept], all_pairs.second[kept])
    linked = csr_array((np.ones(kept.sum()), places), shape=(n, n))
    _, components = connected_components(linked, directed=False)
    both = csr_array(linked + linked.T)
    pairs = EdgeList.from_matrix(both, components.astype(np.int64))
    return pairs, np.log(there[kept]) - np.log(back[kept]), int(np.count_nonzero(~kept))


def _precision(source: Any, pairs: EdgeList) -> NDArray[np.float64]:
    """(m,) array: 1 / (1/n_fg + 1/n_gf); the rest of the variance shifts whole states."""
    counts = source.without_boundaries().counts.astype(np.float64)
    there = np.asarray(counts[pairs.first, pairs.second])
    back = np.asarray(counts[pairs.second, pairs.first])
    return np.asarray(there * back / (there + back))


def _potential(
    pairs: EdgeList, ratio: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n,) array: the V that minimises sum w (ratio - V(first) + V(second))^2."""
    solver = LaplacianSolver(pairs)
    solver.refresh(weight)
    values = solver.solve(pairs.outflow(weight * ratio), TOLERANCE)
    return np.asarray(values - pairs.lowest(values)[pairs.components])


def _triangle_sums(pairs: EdgeList) -> csr_array[Any, tuple[int, int]]:
    """Return the (t, m) matrix that adds a flow up round each triangle."""
    n = pairs.n_states
    graph = csr_array((np.ones(len(pairs)), pairs.second, pairs.starts), shape=(n, n))
    corners = np.sort(np.array(find_triangles(csr_array(graph + graph.T))).reshape(-1, 3), axis=1)
    keys = pairs.first.astype(np.int64) * n + pairs.second
    a, b, c = corners.T
    edges = np.searchsorted(keys, np.column_stack([a * n + b, b * n + c, a * n + c]))
    signs = np.tile([1.0, 1.0, -1.0], len(corners))
    starts = np.arange(0, 3 * len(corners) + 1, 3)
    return csr_array((signs, edges.ravel(), starts), shape=(len(corners), len(pairs)))


def _curl(
    triangles: csr_array[Any, tuple[int, int]],
    rest: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(m,) array: the part of `rest` of the form (sum of triangle strengths) / w, nearest to it.

    Such a flow is orthogonal to every gradient, since a gradient sums to 0 round a triangle.
    """
    if not triangles.shape[0]:
        return np.zeros_like(rest)
    root = np.sqrt(weight)
    system = csr_array(diags_array(1 / root) @ triangles.T)
    found = lsmr(system, root * rest, atol=TOLERANCE, btol=TOLERANCE, conlim=0, maxiter=MAX_STEPS)
    curl = np.asarray((system @ found[0]) / root)
    if found[1] == 7:
        raise ConvergenceError(
            f"the curl was not found in {MAX_STEPS:,} steps; the last one is this error's "
            "`estimate`",
            curl,
        )
    return curl
