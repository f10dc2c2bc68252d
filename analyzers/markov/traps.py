"""Traps: sets of states that an agent goes round and round in before it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigs
from scipy.stats import beta

from detailed_balance.analyzers.counts import BOUNDARIES, END, TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.results import Table, TableResult, times

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Trap", "TrapReport", "find_traps"]

THRESHOLDS = 64
"""How many values of eps are tried, spread evenly over the ranks of the kernel's entries."""

DENSE_LIMIT = 500
"""Up to so many states the leading eigenvalue comes from a dense matrix."""


@dataclass(frozen=True, slots=True)
class Trap:
    """A set of states that the agent passes through many times over before it leaves.

    Parameters
    ----------
    states : tuple of str
        The set; of two states it is an oscillation, which satisfies detailed balance perfectly.
    dwell : float
        Mean number of transitions before the set is left, 1 / escape probability of the
        quasi-stationary law; inf where it was never left.
    interval : (float, float)
        95% interval of the dwell, from the exits among the moves (Clopper and Pearson).
    visits : float
        How often a stay passes through the least visited of its states, by the lower end of the
        interval.
    moves : int
        Transitions recorded from its states.
    exits : int
        How many of them left it.
    epsilon : float
        The set holds together when kernel entries below this are removed.
    """

    states: tuple[str, ...]
    dwell: float
    interval: tuple[float, float]
    visits: float
    moves: int
    exits: int
    epsilon: float

    def describe(self) -> str:
        """Say in one sentence what was found."""
        name = " <-> ".join(self.states)
        if not self.exits:
            return f"{name} was never left in {self.moves:,} moves"
        low, high = self.interval
        return (
            f"{name} keeps the agent for {self.dwell:.0f} moves on average "
            f"({low:.0f} to {high:.0f}); left {times(self.exits)} in {self.moves:,}"
        )


@dataclass(frozen=True, slots=True)
class TrapReport(TableResult):
    """The traps, most visits to each state first, and the settings that found them."""

    traps: tuple[Trap, ...]
    min_visits: float

    def __len__(self) -> int:
        return len(self.traps)

    def to_table(self) -> Table:
        """Return the columns states, dwell, low, high, moves, exits and epsilon."""
        return {
            "states": [trap.states for trap in self.traps],
            "dwell": [trap.dwell for trap in self.traps],
            "low": [trap.interval[0] for trap in self.traps],
            "high": [trap.interval[1] for trap in self.traps],
            "moves": [trap.moves for trap in self.traps],
            "exits": [trap.exits for trap in self.traps],
            "epsilon": [trap.epsilon for trap in self.traps],
        }

    def _content(self) -> dict[str, Any]:
        settings = {"min_visits": self.min_visits}
        return {"traps": self.to_table(), "settings": settings}


def find_traps(counts: TransitionCounts, *, min_visits: float = 10.0) -> TrapReport:
    """Find sets of states that the agent does not leave for long.

    Candidates are the strongly connected components that nothing leaves once the kernel entries
    below eps are removed, for up to 64 values of eps. One is a trap where the lower end of its
    dwell interval comes to `min_visits` visits to each of its states. Of overlapping candidates
    the one with most visits stands for all.

    Parameters
    ----------
    counts : TransitionCounts
        With START and END where runs have them: a move to END is an exit. Escapes are neither
        moves nor exits, since the agent stays where it was.
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

    Examples
    --------
    >>> edges = [("__start__", "plan", 9), ("plan", "search", 9), ("search", "critic", 500)]
    >>> edges += [("critic", "search", 499), ("critic", "plan", 1)]
    >>> find_traps(TransitionCounts.from_edges(edges)).traps[0].describe()
    'critic <-> search keeps the agent for 999 moves on average (180 to 39498); left once in 1,000'
    """
    if not min_visits > 1:
        raise InvalidInputError(f"min_visits={min_visits!r}; a trap is visited more than once")
    counts = counts.sorted()
    inner = [state for state in counts.states if state not in BOUNDARIES]
    runs_known = not BOUNDARIES.isdisjoint(counts.states)
    block = counts.restrict(inner)
    ends = _moves_to_end(counts, inner)
    moves = np.asarray(block.counts.sum(axis=1)) + ends
    most = len(inner) if runs_known else len(inner) // 2
    traps = [
        _measure(block, moves, members, epsilon)
        for members, epsilon in _candidates(block, moves, ends, min_visits)
        if len(members) <= most
    ]
    return TrapReport(_disjoint([t for t in traps if t.visits >= min_visits]), min_visits)


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
    block: TransitionCounts, moves: NDArray[np.int64], members: NDArray[np.int64], epsilon: float
) -> Trap:
    inside = block.counts[members, :][:, members].tocsr()
    total = int(moves[members].sum())
    exits = total - int(inside.sum())
    # Clopper and Pearson's interval of the chance that a move is an exit.
    low = float(beta.ppf(0.025, exits, total - exits + 1)) if exits else 0.0
    high = float(beta.ppf(0.975, exits + 1, total - exits)) if exits < total else 1.0
    return Trap(
        tuple(sorted(block.states[i] for i in members)),
        _dwell(inside, moves[members]) if exits else float("inf"),
        (1 / high, 1 / low if low else float("inf")),
        float(moves[members].min() / total / high),
        total,
        exits,
        epsilon,
    )


def _dwell(inside: Any, moves: NDArray[np.int64]) -> float:
    """Return 1 / (1 - leading eigenvalue) of the kernel inside a set, in transitions."""
    kernel = inside / moves[:, None]
    if len(moves) <= DENSE_LIMIT:
        leading = float(np.linalg.eigvals(kernel.toarray()).real.max())
    else:
        leading = float(eigs(kernel.tocsc(), k=1, which="LR", return_eigenvectors=False)[0].real)
    return float("inf") if leading >= 1 else 1 / (1 - leading)


def _disjoint(traps: list[Trap]) -> tuple[Trap, ...]:
    """Keep, of traps that share a state, the one whose states are visited most."""
    kept: list[Trap] = []
    taken: set[str] = set()
    for trap in sorted(traps, key=lambda trap: (-trap.visits, len(trap.states), trap.states)):
        if taken.isdisjoint(trap.states):
            kept.append(trap)
            taken.update(trap.states)
    return tuple(kept)
