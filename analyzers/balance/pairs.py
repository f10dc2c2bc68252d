"""Pairs of states: the log ratio of the two ways, held against the potential."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.kernel import Kernel, resolve_attempts
from detailed_balance.analyzers.potential.estimate import Potential
from detailed_balance.analyzers.results import Table, TableResult
from detailed_balance.analyzers.sparse import lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Errors",
    "OneWayTable",
    "PairTable",
    "attempts_like",
    "compare_pairs",
    "list_moves",
    "list_one_way_pairs",
    "one_way_moves",
    "pair_statistics",
]

Errors: TypeAlias = Literal["multinomial", "paper"]
"""How the error of a pair's log ratio is computed; see `check_balance`."""


class PairStatistics(TypedDict):
    """What the pairs say together; see the fields of `BalanceReport`."""

    mean_square: float
    independent_loops: int
    correlation: float
    explained: float


@dataclass(frozen=True, slots=True, eq=False)
class PairTable(TableResult):
    """The m pairs of states that were seen in both directions (paper eq. 5 and Fig. 4).

    Parameters
    ----------
    source, target : tuple of str, length m
        The pair; V(source) >= V(target).
    log_ratio : (m,) array of float
        log T(target <- source) / T(source <- target), in nats.
    predicted : (m,) array of float
        beta (V(source) - V(target)): the log ratio under detailed balance.
    error : (m,) array of float
        Standard error of the log ratio.
    resolved : (m,) array of bool
        False where `predicted` is beyond log(number of transitions), which no data of that size
        could show; such pairs enter no statistic.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    log_ratio: NDArray[np.float64]
    predicted: NDArray[np.float64]
    error: NDArray[np.float64]
    resolved: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.source)

    @property
    def z(self) -> NDArray[np.float64]:
        """(m,) array: the deviation from detailed balance in standard errors."""
        return (self.log_ratio - self.predicted) / self.error

    def to_table(self) -> Table:
        """Return the columns source, target, log_ratio, predicted, error, z and resolved."""
        return {
            "source": list(self.source),
            "target": list(self.target),
            "log_ratio": self.log_ratio.tolist(),
            "predicted": self.predicted.tolist(),
            "error": self.error.tolist(),
            "z": self.z.tolist(),
            "resolved": self.resolved.tolist(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class OneWayTable(TableResult):
    """The m pairs seen in one direction only, and how surprising that is (paper eq. 25).

    Parameters
    ----------
    source, target : tuple of str, length m
        The direction seen.
    count : (m,) array of int
        How often.
    expected : (m,) array of float
        How many moves back detailed balance would lead one to expect from the attempts made;
        0 where the potential falls without bound, since nothing would come back.
    pvalue : (m,) array of float
        The probability of seeing none of them, exp(-expected).
    attempts : (m,) array of float
        The attempts made from `target`, none of which led back.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    count: NDArray[np.int64]
    expected: NDArray[np.float64]
    pvalue: NDArray[np.float64]
    attempts: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.source)

    def needed_attempts(self, alpha: float = 0.05) -> NDArray[np.float64]:
        """Return how many attempts from `target`, none of them back, would be significant.

        (m,) array, at level alpha over all m pairs; inf where nothing is expected back, because
        the pair joins two components: balance says nothing about it, and no data will.
        """
        back = np.clip(self.expected / self.attempts, 0, 1)
        with np.errstate(divide="ignore"):
            needed = np.log(alpha / max(1, len(self))) / np.log1p(-back)
        return np.maximum(np.ceil(np.where(back > 0, needed, np.inf)), 1)

    def to_table(self) -> Table:
        """Return the columns source, target, count, expected, pvalue, attempts and needed."""
        return {
            "source": list(self.source),
            "target": list(self.target),
            "count": self.count.tolist(),
            "expected": self.expected.tolist(),
            "pvalue": self.pvalue.tolist(),
            "attempts": self.attempts.tolist(),
            "needed": self.needed_attempts().tolist(),
        }


def compare_pairs(counts: TransitionCounts, potential: Potential, errors: Errors) -> PairTable:
    """Hold each pairs seen in both directions against the potential (paper eq. 5).

    `counts` has the states of `potential`, in the same order.
    """
    f, g, _ = list_moves(counts)
    downhill = potential.heights[f] - potential.heights[g]
    both = (lookup(counts.counts, g, f) > 0) & ((downhill > 0) | ((downhill == 0) & (f < g)))
    f, g = f[both], g[both]
    beta, attempts = potential.violation.beta, attempts_like(counts, potential.kernel)
    there, back = lookup(counts.counts, f, g), lookup(counts.counts, g, f)
    ratio = np.minimum(1, there / attempts[f]) / np.minimum(1, back / attempts[g])
    sign = 1.0 if errors == "paper" else -1.0
    variance = 1 / there + 1 / back + sign * (1 / attempts[f] + 1 / attempts[g])
    # Where every attempt from both states made this move, the formula gives 0, which no sample
    # can mean; the add-one form is the closest one that is positive.
    floor = 1 / there - 1 / (there + 1) + 1 / back - 1 / (back + 1)
    predicted = beta * (potential.heights[f] - potential.heights[g])
    return PairTable(
        tuple(potential.states[i] for i in f),
        tuple(potential.states[i] for i in g),
        np.log(ratio),
        predicted,
        np.sqrt(np.where(variance > 1e-12, variance, floor)),
        np.abs(predicted) <= np.log(max(counts.total, 2)),
    )


def list_one_way_pairs(counts: TransitionCounts, potential: Potential) -> OneWayTable:
    """List the pairs seen in one direction only, and what was expected of the other (eq. 25)."""
    f, g, n, drop = one_way_moves(counts, potential)
    attempts = attempts_like(counts, potential.kernel)
    back = np.minimum(1, n / attempts[f]) * np.exp(-drop)
    expected = attempts[g] * np.minimum(1, back)
    return OneWayTable(
        tuple(potential.states[i] for i in f),
        tuple(potential.states[i] for i in g),
        n.astype(np.int64),
        expected,
        np.exp(-expected),
        attempts[g],
    )


def one_way_moves(
    counts: TransitionCounts, potential: Potential
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.float64]]:
    """Return the moves never seen the other way: source, target, count, and beta times the drop.

    `counts` has the states of `potential`, in the same order. The drop is inf between components.
    """
    f, g, n = list_moves(counts)
    single = lookup(counts.counts, g, f) == 0
    f, g, n = f[single], g[single], n[single]
    drop = potential.violation.beta * (potential.heights[f] - potential.heights[g])
    inner = potential.components[f] == potential.components[g]
    return f, g, n, np.where(inner, drop, np.inf)


def pair_statistics(pairs: PairTable) -> PairStatistics:
    """Sum up the resolved pairs."""
    use = pairs.resolved
    squares = float((pairs.z[use] ** 2).sum())
    total = float(((pairs.log_ratio[use] / pairs.error[use]) ** 2).sum())
    return {
        "mean_square": squares / int(use.sum()) if use.any() else float("nan"),
        "independent_loops": _count_loops(pairs),
        "correlation": _correlation(pairs),
        "explained": 1.0 - squares / total if total > 0 else float("nan"),
    }


def attempts_like(counts: TransitionCounts, kernel: Kernel) -> NDArray[np.float64]:
    """Return N0 for these counts, chosen in the way that the potential's kernel was."""
    if kernel.attempts is not None and kernel.mode in ("number", "array"):
        return kernel.attempts
    attempts, _ = resolve_attempts(
        counts, "transitions" if kernel.mode == "transitions" else "observed"
    )
    return attempts


def list_moves(counts: TransitionCounts) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return source, target and count of the transitions that are not self-loops."""
    edges = counts.counts.tocoo()
    moves = edges.row != edges.col
    return edges.row[moves], edges.col[moves], edges.data[moves]


def _count_loops(pairs: PairTable) -> int:
    """Count the resolved pairs less the differences of V that they can fix: E - n + c."""
    place: dict[str, int] = {}
    f, g = (
        [place.setdefault(state, len(place)) for state in compress(states, pairs.resolved)]
        for states in (pairs.source, pairs.target)
    )
    n = len(place)
    parts, _ = connected_components(
        csr_array((np.ones(len(f)), (f, g)), shape=(n, n)), directed=False
    )
    return len(f) - n + int(parts)


def _correlation(pairs: PairTable) -> float:
    # Each pair counts both ways round, since which of its states comes first is a convention.
    x = np.concatenate([pairs.predicted[pairs.resolved], -pairs.predicted[pairs.resolved]])
    y = np.concatenate([pairs.log_ratio[pairs.resolved], -pairs.log_ratio[pairs.resolved]])
    norms = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norms if len(x) >= 6 and norms > 0 else float("nan")
