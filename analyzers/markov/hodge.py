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
from detailed_balance.analyzers.kernel import KernelLike, read_chain
from detailed_balance.analyzers.markov.stationary import move_kernel
from detailed_balance.analyzers.results import Table, TableResult
from detailed_balance.analyzers.runs.clusters import (
    FEWEST_REDRAWN,
    bootstrap_tails,
    cluster_codes,
)
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.sparse import lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HodgeDecomposition", "hodge_decomposition"]

Weights: TypeAlias = Literal["auto", "uniform", "precision"]
"""What each pair counts; see `hodge_decomposition`."""

TOLERANCE = 1e-12
"""Both least squares problems are solved to this relative residual."""

ROUGH = 1e-7
"""Those of replicates to this one."""

PARTS = ("gradient", "curl", "harmonic")

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
        state of the largest component is at 0, and NaN is where no pairs lead to it.
    components : (n,) array of int
        States linked by pairs seen in both directions; potentials compare inside one only.
    first, second : (m,) arrays of int
        The pairs that were seen in both directions, first < second.
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
        Pairs seen in one direction only; their log ratio is not identifiable and they are left out.
    weights : {"uniform", "precision"}
        How the weights were chosen.
    gradient_interval, curl_interval, harmonic_interval : (float, float)
        Where the shares lie with probability `confidence`; NaN for counts and kernels, and for
        fewer than 20 runs or blocks.
    clusters : int
        The runs or blocks that were drawn for the intervals; 0 without runs.
    confidence, replicates, seed
        The settings of the intervals.
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
    gradient_interval: tuple[float, float]
    curl_interval: tuple[float, float]
    harmonic_interval: tuple[float, float]
    clusters: int
    confidence: float
    replicates: int
    seed: int

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
        shares = [f"{part}_share" for part in PARTS] + ["residual"]
        shares += [f"{part}_interval" for part in PARTS]
        return {
            "pairs": self.to_table(),
            **self._values("states", "potential", "components", *shares),
            "triangles": len(self.triangle_affinities),  # how many; they may be very many
            "one_way_pairs": self.one_way_pairs,
            "settings": self._values("weights", "clusters", "confidence", "replicates", "seed"),
        }

    def describe(self) -> str:
        """Say in one sentence what was found."""
        left_out = (
            f"; {self.one_way_pairs} pairs seen in one direction only were left out"
            if self.one_way_pairs
            else ""
        )
        low, high = self.gradient_interval
        between = f"({low:.0%} to {high:.0%}) " if low == low else ""
        return (
            f"one potential explains {self.gradient_share:.1%} {between}of the drift over "
            f"{len(self.first)} pairs, {self.curl_share:.1%} goes round triangles and "
            f"{self.harmonic_share:.1%} round longer loops{left_out}"
        )


def hodge_decomposition(
    source: KernelLike,
    *,
    weights: Weights = "auto",
    confidence: float = 0.95,
    replicates: int = 200,
    seed: int = 0,
) -> HodgeDecomposition:
    """Split the log ratios of the pairs into gradient, curl and harmonic flow.

    Parameters
    ----------
    source : KernelLike
        START and END are left out, and rows are scaled to sum to 1. Only pairs taken both
        ways have a log ratio. Of runs the shares have intervals.
    weights : {"auto", "uniform", "precision"}
        "uniform": every pair counts the same. "precision": 1 / (1/n_fg + 1/n_gf), for counts
        only. "auto": precision for counts and runs, uniform for a kernel.
    confidence, replicates, seed
        Of the intervals: how sure, how often runs (or their blocks, where the table has any) are
        drawn again, and by which seed. 0 replicates give no intervals.

    Returns
    -------
    HodgeDecomposition
        The three flows, their shares, and the potential.

    Raises
    ------
    InsufficientDataError
        Where no pair was seen in both directions.
    InvalidInputError
        Where `weights` is none of the above, or "precision" for a kernel.
    ConvergenceError
        Where the curl was not found to a relative 1e-12; its `estimate` is the last one.

    Notes
    -----
    Noise in the log ratios has a curl of its own: over counts, a gradient share below 1 is no
    evidence against detailed balance by itself. `reversibility_test` is. The intervals are those of
    the shares without that noise: the replicates have it twice and the record once, so that they
    are moved by twice the difference of the two, and a share may lie outside its interval. They
    are of all pairs, those seen in one direction only with half a move back, since in other runs
    some of these are seen in both directions. The weights are held as they are.

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
    if not 0 < confidence < 1 or replicates < 0:
        raise InvalidInputError(
            f"confidence={confidence!r}, replicates={replicates!r}; the first lies between 0 and "
            "1, the second is 0 or more"
        )
    chain, runs = read_chain(source)
    counted = isinstance(chain, TransitionCounts)
    if weights == "precision" and not counted:
        raise InvalidInputError("weights='precision' needs counts; a kernel has no errors")
    states, kernel = move_kernel(chain)
    pairs, ratio, one_way = _two_way_pairs(kernel)
    if not len(pairs):
        raise InsufficientDataError(
            f"no pair of states was seen in both directions ({one_way} one way only), so that no "
            "log ratio is known: record more runs"
        )
    named = "precision" if counted and weights != "uniform" else "uniform"
    weight = _precision(chain, pairs) if counted and named == "precision" else np.ones(len(pairs))
    split = _Split(pairs, weight)
    potential = split.find_potential(ratio)
    gradient = pairs.drop(potential)
    curl = split.find_curl(ratio - gradient)
    clusters = 0 if runs is None else cluster_codes(runs)[1]
    gradient_in = curl_in = harmonic_in = (float("nan"), float("nan"))
    if runs is not None and clusters >= FEWEST_REDRAWN and replicates:
        every = _link(*move_kernel(chain)[1].nonzero(), len(states))
        ratios, walked = _draw_ratios(runs, states, every, replicates, seed)
        weigh = _weigh(*walked) if named == "precision" else np.ones(len(every))
        tails = bootstrap_tails(confidence, clusters)
        gradient_in, curl_in, harmonic_in = _Split(every, weigh).find_intervals(ratios, tails)
    return HodgeDecomposition(
        states,
        np.where(pairs.components == np.bincount(pairs.components).argmax(), potential, np.nan),
        pairs.components.astype(np.int64),
        pairs.first.astype(np.int64),
        pairs.second.astype(np.int64),
        ratio,
        gradient,
        curl,
        ratio - gradient - curl,
        weight,
        np.abs(split.triangles @ ratio),
        one_way,
        named,
        gradient_in,
        curl_in,
        harmonic_in,
        clusters,
        confidence,
        0 if np.isnan(gradient_in[0]) else replicates,
        seed,
    )


def _two_way_pairs(kernel: Any) -> tuple[EdgeList, NDArray[np.float64], int]:
    """Return the pairs seen both ways, their log ratios (m,), and how many were one-way."""
    n = kernel.shape[0]
    all_pairs = EdgeList.from_matrix(kernel, np.zeros(n, dtype=np.int64))
    there, back = np.append(kernel.data, 0.0)[all_pairs.places]
    kept = (there > 0) & (back > 0)
    places = (all_pairs.first[kept], all_pairs.second[kept])
    pairs = _link(*places, n)
    return pairs, np.log(there[kept]) - np.log(back[kept]), int(np.count_nonzero(~kept))


def _link(first: NDArray[Any], second: NDArray[Any], n: int) -> EdgeList:
    """Return pairs of different states, each once, with the components that they link."""
    apart = first != second
    ends = first[apart], second[apart]
    linked = csr_array((np.ones(len(ends[0])), ends), shape=(n, n))
    _, components = connected_components(linked, directed=False)
    both = csr_array(linked + linked.T)
    return EdgeList.from_matrix(both, components.astype(np.int64))


def _precision(source: Any, pairs: EdgeList) -> NDArray[np.float64]:
    """(m,) array: 1 / (1/n_fg + 1/n_gf); the rest of the variance shifts whole states."""
    counts = source.without_boundaries().counts.astype(np.float64)
    there, back = ((pairs.first, pairs.second), (pairs.second, pairs.first))
    return _weigh(np.asarray(counts[there]), np.asarray(counts[back]))


def _weigh(there: NDArray[np.float64], back: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(there * back / (there + back))


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


def _draw_ratios(
    runs: RunTable, states: tuple[str, ...], pairs: EdgeList, replicates: int, seed: int
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return the (1 + replicates, m) log ratios of the record and of runs drawn again.

    And the (m,) moves of the record, there and back. Half a move stands for none.
    """
    made, n, counts = runs.distinct_moves(), len(states), runs.by_run()
    again = runs.bootstrap_counts(np.random.default_rng(seed), replicates)
    drawn = np.vstack([np.asarray(counts.sum(axis=0)), again]).astype(np.float64)
    place = {state: i for i, state in enumerate(states)}
    places = np.array([*(place.get(state, -1) for state in runs.states), -1])
    source, target = places[made.source], places[made.target]
    inner = np.flatnonzero((source >= 0) & (target >= 0))
    source, target, drawn = source[inner], target[inner], drawn[:, inner]
    column = csr_array((np.arange(len(inner)) + 1, (source, target)), shape=(n, n))
    into = csr_array((np.ones(len(inner)), (np.arange(len(inner)), source)), shape=(len(inner), n))
    moves = np.maximum(np.asarray(drawn @ into), 0.5)
    drawn = np.column_stack([drawn, np.zeros(len(drawn))])  # a move never made is at -1
    ends = (pairs.first, pairs.second), (pairs.second, pairs.first)
    walked = [np.maximum(drawn[:, lookup(column, f, g) - 1], 0.5) for f, g in ends]
    logs = [np.log(n_fg) - np.log(moves[:, f]) for n_fg, (f, _) in zip(walked, ends, strict=True)]
    return logs[0] - logs[1], [each[0] for each in walked]


class _Split:
    """Splits log ratios of the same pairs, with the same weights, into the three parts."""

    def __init__(self, pairs: EdgeList, weight: NDArray[np.float64]) -> None:
        self.pairs, self.weight, self.triangles = pairs, weight, _triangle_sums(pairs)
        self._solver = LaplacianSolver(pairs)
        self._solver.refresh(weight)
        self._root = np.sqrt(weight)
        self._system = csr_array(diags_array(1 / self._root) @ self.triangles.T)

    def find_potential(
        self, ratio: NDArray[np.float64], tolerance: float = TOLERANCE
    ) -> NDArray[np.float64]:
        """(n,) array: the V that minimises sum w (ratio - V(first) + V(second))^2."""
        pairs = self.pairs
        values = self._solver.solve(pairs.outflow(self.weight * ratio), tolerance)
        return np.asarray(values - pairs.lowest(values)[pairs.components])

    def find_curl(
        self, rest: NDArray[np.float64], tolerance: float = TOLERANCE
    ) -> NDArray[np.float64]:
        """(m,) array: the nearest to `rest` of the form (sum of triangle strengths) / w.

        Such a flow is orthogonal to every gradient, since a gradient sums to 0 round a triangle.
        """
        if not self.triangles.shape[0]:
            return np.zeros_like(rest)
        found = lsmr(
            self._system,
            self._root * rest,
            atol=tolerance,
            btol=tolerance,
            conlim=0,
            maxiter=MAX_STEPS,
        )
        curl = np.asarray((self._system @ found[0]) / self._root)
        if found[1] == 7:
            raise ConvergenceError(
                f"the curl was not found in {MAX_STEPS:,} steps; the last one is this error's "
                "`estimate`",
                curl,
            )
        return curl

    def find_intervals(
        self, ratios: NDArray[np.float64], tails: tuple[float, float]
    ) -> list[tuple[float, float]]:
        """Return the intervals of the shares; of (1 + b, m) log ratios the first is the record."""
        if len(self.pairs) < len(ratios):  # the split is linear, so that unit vectors tell all
            flows = [ratios @ part for part in self._find_flows(np.eye(len(self.pairs)))]
        else:
            flows = self._find_flows(ratios)
        squares = np.array([flow**2 @ self.weight for flow in flows])
        total = np.maximum(squares.sum(axis=0), 1e-300)
        shares = np.where(total > 1e-300, squares / total, [[1.0], [0.0], [0.0]])
        value, replicates = shares[:, 0], shares[:, 1:]
        bias = replicates.mean(axis=1) - value
        low, high = np.clip(np.quantile(replicates, tails, axis=1) - 2 * bias, 0.0, 1.0)
        return list(zip(low.tolist(), high.tolist(), strict=True))

    def _find_flows(self, ratios: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """(b, m) arrays: gradient, curl and the rest of (b, m) log ratios, to six digits."""
        gradient = np.array([self.pairs.drop(self.find_potential(r, ROUGH)) for r in ratios])
        curl = np.array([self.find_curl(rest, ROUGH) for rest in ratios - gradient])
        return [gradient, curl, ratios - gradient - curl]
