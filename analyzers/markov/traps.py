"""Traps: sets of states that an agent goes round and round in before it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigs
from scipy.stats import beta

from detailed_balance.analyzers.counts import BOUNDARIES, END, TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.inputs import CountsLike, read_recorded
from detailed_balance.analyzers.results import Result, Table, TableResult, times
from detailed_balance.analyzers.runs.clusters import MoveClusters
from detailed_balance.analyzers.runs.table import RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Trap", "TrapReport", "find_traps"]

THRESHOLDS = 64
"""How many values of eps are tried, spread evenly over the ranks of the kernel's entries."""

DENSE_LIMIT = 500
"""Up to so many states the leading eigenvalue comes from a dense matrix."""


@dataclass(frozen=True, slots=True)
class Trap(Result):
    """A set of states that the agent passes through many times over before it leaves.

    Parameters
    ----------
    states : tuple of str
        The set; of two states it is an oscillation, which satisfies detailed balance perfectly.
    stay : float
        Mean number of transitions before the set is left, 1 / escape probability of the
        quasi-stationary distribution; inf where it was never left.
    interval : (float, float)
        95% interval of the stay: by runs, or by blocks of runs, where runs are given; from counts,
        by the exits among the moves (Clopper and Pearson), which is too narrow where runs differ.
    visits : float
        How often a stay passes through the least visited of its states, by the lower end of the
        interval.
    moves : int
        Transitions recorded from its states.
    exits : int
        How many of them left it.
    epsilon : float
        The set holds together when kernel entries below this are removed.
    clusters : int
        The runs or blocks behind the interval; 0 for counts.
    """

    states: tuple[str, ...]
    stay: float
    interval: tuple[float, float]
    visits: float
    moves: int
    exits: int
    epsilon: float
    clusters: int = 0

    def describe(self) -> str:
        """Say in one sentence what was found."""
        name = " <-> ".join(self.states)
        if not self.exits:
            return f"{name} was never left in {self.moves:,} moves"
        low, high = self.interval
        return (
            f"{name} keeps the agent for {self.stay:.0f} moves on average "
            f"({low:.0f} to {high:.0f}); left {times(self.exits)} in {self.moves:,}"
        )


@dataclass(frozen=True, slots=True)
class TrapReport(TableResult):
    """The traps, most visits to each state first, and the settings that found them.

    Parameters
    ----------
    traps : tuple of Trap
        What was found.
    min_visits : float
        The setting.
    too_few : int
        Sets that may be traps, but that fewer than 10 runs or blocks have left: nothing is said
        of them.
    """

    traps: tuple[Trap, ...]
    min_visits: float
    too_few: int = 0

    def __len__(self) -> int:
        return len(self.traps)

    def to_table(self) -> Table:
        """Return the columns states, stay, low, high, moves, exits and epsilon."""
        return {
            "states": [trap.states for trap in self.traps],
            "stay": [trap.stay for trap in self.traps],
            "low": [trap.interval[0] for trap in self.traps],
            "high": [trap.interval[1] for trap in self.traps],
            "moves": [trap.moves for trap in self.traps],
            "exits": [trap.exits for trap in self.traps],
            "epsilon": [trap.epsilon for trap in self.traps],
        }

    def _content(self) -> dict[str, Any]:
        settings = {"min_visits": self.min_visits}
        return {"traps": self.to_table(), "too_few": self.too_few, "settings": settings}


def find_traps(source: CountsLike, *, min_visits: float = 10.0) -> TrapReport:
    """Find sets of states that the agent does not leave for long.

    Candidates are the strongly connected components that nothing leaves once the kernel entries
    below eps are removed, for up to 64 values of eps. One is a trap where the lower end of the
    interval of its stay comes to `min_visits` visits to each of its states. Of overlapping
    candidates the one with most visits stands for all. All states together are never a trap: there
    must be somewhere else to be.

    Parameters
    ----------
    source : CountsLike
        With START and END where runs have them: a move to END is an exit. Escapes are neither
        moves nor exits, since the agent stays where it was. Give runs where you can: stays of one
        run depend on each other, and the interval is then by runs, or by the blocks that the table
        has.
    min_visits : float
        How often a stay must pass through each state. More than half of the states can be a trap
        only where runs are known to begin or end; elsewhere they are simply where the agent
        lives.

    Returns
    -------
    TrapReport
        The traps.

    Raises
    ------
    InvalidInputError
        Where `min_visits` is not above 1.

    Notes
    -----
    By runs, the log of the stay has the error of `cluster_errors`. Where G runs or blocks were in
    the set and none ever left it, the stay is at least 0.025^(1/G) times the mean of their moves
    there: with that share of runs, at least, staying so long, none of G has left.

    Examples
    --------
    >>> edges = [("__start__", "plan", 9), ("plan", "search", 9), ("search", "critic", 500)]
    >>> edges += [("critic", "search", 499), ("critic", "plan", 1)]
    >>> find_traps(TransitionCounts.from_edges(edges)).traps[0].describe()
    'critic <-> search keeps the agent for 999 moves on average (180 to 39498); left once in 1,000'
    """
    if not min_visits > 1:
        raise InvalidInputError(f"min_visits={min_visits!r}; a trap is visited more than once")
    counts, table = read_recorded(source)
    counts = counts.sorted()
    inner = [state for state in counts.states if state not in BOUNDARIES]
    runs_known = not BOUNDARIES.isdisjoint(counts.states)
    block = counts.restrict(inner)
    ends = _moves_to_end(counts, inner)
    moves = np.asarray(block.counts.sum(axis=1)) + ends
    there = int(np.count_nonzero(moves + block.counts.sum(axis=0)))
    most = there - 1 if runs_known else len(inner) // 2
    found = [each for each in _candidates(block, moves, ends, min_visits) if len(each[0]) <= most]
    clusters = _Clusters.from_runs(table, inner) if found and table is not None else None
    traps = [_measure(block, moves, *each, clusters) for each in found]
    too_few = sum(isnan(trap.visits) for trap in traps)
    kept = _disjoint([trap for trap in traps if trap.visits >= min_visits])
    return TrapReport(kept, min_visits, too_few)


class _Stay(NamedTuple):
    """The mean stay in a set: 1 / (1 - leading eigenvalue) of the kernel inside, in transitions.

    The derivative of its log by the kernel's entry from f to g is left[f] right[g].
    """

    length: float
    left: NDArray[np.float64] = np.empty(0)
    right: NDArray[np.float64] = np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class _Clusters:
    """The moves of runs or blocks, escapes left out; places among the inner states, -1 for END."""

    moves: MoveClusters
    source: NDArray[np.int64]
    target: NDArray[np.int64]

    @classmethod
    def from_runs(cls, table: RunTable, inner: list[str]) -> _Clusters:
        place = {state: i for i, state in enumerate(inner)}
        places = np.array([*(place.get(state, -1) for state in table.states), -1])
        made = table.distinct_moves()
        kept = (places[made.source] >= 0) & (made.target >= 0)
        source, target = places[made.source[kept]], places[made.target[kept]]
        return cls(MoveClusters.from_runs(table, kept), source, target)

    def stay_interval(
        self, members: NDArray[np.int64], stay: _Stay
    ) -> tuple[tuple[float, float], int]:
        """Return the interval of the stay, and by how many clusters it is."""
        n = int(max(self.source.max(), self.target.max(), members.max())) + 2
        row = np.full(n, -1)  # the last is what -1 reads
        row[members] = np.arange(len(members))
        f, g = row[self.source], row[self.target]
        if not np.isfinite(stay.length):
            made = np.asarray(self.moves.counts[:, np.flatnonzero(f >= 0)].sum(axis=1))
            made = made[made > 0]
            return (float(0.025 ** (1 / len(made)) * made.mean()), float("inf")), len(made)
        slopes = np.where((f >= 0) & (g >= 0), stay.left[f] * stay.right[g], 0.0)
        found = self.moves.errors(slopes[:, None])
        reach = float(np.exp(found.half_widths()[0]))
        return (float(np.maximum(1.0, stay.length / reach)), stay.length * reach), int(
            found.clusters[0]
        )


def _moves_to_end(counts: TransitionCounts, inner: list[str]) -> NDArray[np.int64]:
    if END not in counts.states:
        return np.zeros(len(inner), dtype=np.int64)
    to_end = counts.counts[:, [counts.index(END)]].toarray()[:, 0]
    return to_end[[counts.index(state) for state in inner]]


def _candidates(
    block: TransitionCounts,
    moves: NDArray[np.int64],
    ends: NDArray[np.int64],
    min_visits: float,
) -> Iterator[tuple[NDArray[np.int64], float]]:
    """Yield the terminal components for each eps, each set once, with its largest eps."""
    edges = block.counts.tocoo()
    chance = edges.data / moves[edges.row]
    ending = ends / np.maximum(moves, 1)
    seen: set[bytes] = set()
    leaving = chance[edges.row != edges.col]
    for epsilon in _thresholds(np.concatenate([leaving, ending[ending > 0]])):
        kept = (chance >= epsilon) & (edges.row != edges.col)
        parts, label = _components(edges.row[kept], edges.col[kept], len(moves))
        inside = label[edges.row] == label[edges.col]
        exits = np.bincount(label, moves, parts)
        exits -= np.bincount(label[edges.row[inside]], edges.data[inside], parts)
        least = np.full(parts, np.iinfo(np.int64).max)
        np.minimum.at(least, label, moves)
        # Visits lie below least / exits, so most components need no closer look.
        chosen = least >= min_visits * np.maximum(exits, 1)
        chosen[label[edges.row[kept & ~inside]]] = False
        chosen[label[ending >= epsilon]] = False
        for component in np.flatnonzero(chosen):
            members = np.flatnonzero(label == component)
            if members.tobytes() not in seen:
                seen.add(members.tobytes())
                yield members, float(epsilon)


def _thresholds(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return up to 64 of the distinct values, largest first, and one above them all."""
    distinct = np.unique(chances)
    places = np.unique(np.linspace(0, len(distinct) - 1, THRESHOLDS).astype(int))
    return np.concatenate([[2.0], distinct[places][::-1]]) if len(distinct) else np.array([2.0])


def _components(
    source: NDArray[Any], target: NDArray[Any], n: int
) -> tuple[int, NDArray[np.int64]]:
    """Return the number of strongly connected components and the one of each state."""
    graph = csr_array((np.ones(len(source)), (source, target)), shape=(n, n))
    parts, label = connected_components(graph, connection="strong")
    return int(parts), label.astype(np.int64)


def _measure(
    block: TransitionCounts,
    moves: NDArray[np.int64],
    members: NDArray[np.int64],
    epsilon: float,
    clusters: _Clusters | None,
) -> Trap:
    inside = block.counts[members, :][:, members].tocsr()
    total = int(moves[members].sum())
    exits = total - int(inside.sum())
    stay = _find_stay(inside, moves[members]) if exits else _Stay(float("inf"))
    if clusters is None:
        interval, number = _exit_interval(exits, total), 0
    else:
        interval, number = clusters.stay_interval(members, stay)
    return Trap(
        tuple(sorted(block.states[i] for i in members)),
        stay.length,
        interval,
        float(moves[members].min() / total * interval[0]),
        total,
        exits,
        epsilon,
        number,
    )


def _exit_interval(exits: int, total: int) -> tuple[float, float]:
    """Return Clopper and Pearson's interval of the moves for each exit."""
    low = float(beta.ppf(0.025, exits, total - exits + 1)) if exits else 0.0
    high = float(beta.ppf(0.975, exits + 1, total - exits)) if exits < total else 1.0
    return 1 / high, 1 / low if low else float("inf")


def _find_stay(inside: Any, moves: NDArray[np.int64]) -> _Stay:
    """Return what the kernel inside a set says of a stay in it."""
    kernel = inside / moves[:, None]
    (leading, right), (_, left) = _leading(kernel), _leading(kernel.T)
    if leading >= 1:
        return _Stay(float("inf"))
    return _Stay(1 / (1 - leading), left / (left @ right), right / (1 - leading))


def _leading(kernel: Any) -> tuple[float, NDArray[np.float64]]:
    """Return the leading eigenvalue of an irreducible kernel, and its right eigenvector."""
    values: Any
    vectors: Any
    if kernel.shape[0] <= DENSE_LIMIT:
        values, vectors = np.linalg.eig(kernel.toarray())
    else:
        values, vectors = eigs(kernel.tocsc(), k=1, which="LR")
    first = int(np.argmax(values.real))
    return float(values[first].real), np.abs(vectors[:, first].real)


def _disjoint(traps: list[Trap]) -> tuple[Trap, ...]:
    """Keep, of traps that share a state, the one whose states are visited most."""
    kept: list[Trap] = []
    taken: set[str] = set()
    for trap in sorted(traps, key=lambda trap: (-trap.visits, len(trap.states), trap.states)):
        if taken.isdisjoint(trap.states):
            kept.append(trap)
            taken.update(trap.states)
    return tuple(kept)
