"""`entropy_production`: how far a chain is from running as well backward as forward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers.convergence import StepsCallback
from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.kernel import KernelLike, read_chain
from detailed_balance.analyzers.markov.flux import PairMoves, dissipation, pair_moves, steady_flows
from detailed_balance.analyzers.markov.stationary import DENSE_LIMIT
from detailed_balance.analyzers.results import Result
from detailed_balance.analyzers.runs.clusters import (
    FEWEST_REDRAWN,
    bootstrap_tails,
    cluster_codes,
)
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.sparse import lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EntropyProduction", "entropy_production"]

AT_ONCE = 4_000_000
"""How many kernel entries, or weights of runs, of replicates are held in memory at a time."""

Batch: TypeAlias = "tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]"
"""Forward (b, m), backward (b, m) and staying (b, n) moves of b replicates."""


@dataclass(frozen=True, slots=True)
class EntropyProduction(Result):
    """The entropy production of a chain, in nats per step.

    Parameters
    ----------
    value : float
        The sum of net flux x log ratio of the flows; 0 under detailed balance, inf for a known
        kernel with a one-way pair.
    two_way : float
        The part of `value` from pairs seen in both directions.
    corrected : float
        `value` less its bias, not below 0.
    bias : float
        What chance alone adds, as found by the bootstrap.
    interval : (float, float)
        Where the true value lies with probability `confidence`; NaN where it was not to be had.
    confidence : float
        Of the interval.
    pairs, one_way_pairs : int
        The linked pairs, and how many were seen in one direction only: each of these entered with
        half a move added both ways; see `lower_bound`.
    untested_states : tuple of str
        States that lie on no directed loop.
    method : {"exact", "runs", "rows"}
        A known kernel; a bootstrap of whole runs; a bootstrap of each state's moves.
    runs : int
        The runs given; 0 for counts.
    clusters : int
        The runs, or the blocks of runs, that were drawn; 0 for counts.
    replicates, seed : int
        Of the bootstrap.
    """

    value: float
    two_way: float
    corrected: float
    bias: float
    interval: tuple[float, float]
    confidence: float
    pairs: int
    one_way_pairs: int
    untested_states: tuple[str, ...]
    method: str
    runs: int
    clusters: int
    replicates: int
    seed: int

    @property
    def lower_bound(self) -> bool:
        """Whether some pair was seen in one direction only, so that the truth may lie far above.

        A way back that was never seen enters as half a move; were it impossible, the entropy
        production would be infinite.
        """
        return self.one_way_pairs > 0 and self.method != "exact"

    def _content(self) -> dict[str, Any]:
        return {"name": "EntropyProduction", **self._fields(), "lower_bound": self.lower_bound}

    def describe(self) -> str:
        """Say in one sentence what was found."""
        if self.method == "exact":
            return f"entropy production {self.value:.4g} nats per step (known kernel)"
        low, high = self.interval
        text = (
            f"entropy production {self.corrected:.3g} nats per step ({low:.3g} to {high:.3g}, "
            f"{self.confidence:.0%}; {self.value:.3g} before the bias of {self.bias:.2g})"
        )
        if not self.lower_bound:
            return text
        return (
            f"{text}; a lower bound, since {self.one_way_pairs} of {self.pairs} pairs were taken "
            "one way only"
        )


def entropy_production(
    source: KernelLike,
    *,
    confidence: float = 0.95,
    replicates: int = 500,
    seed: int = 0,
    progress: StepsCallback | None = None,
) -> EntropyProduction:
    """Estimate the entropy production per step: sum of J log(flow there / flow back).

    It is the rate at which a record of the moves tells its own direction: after 1 / value steps
    the odds that it runs forward rather than backward have grown by a factor e.

    Parameters
    ----------
    source : KernelLike
        Of runs and counts, the strongly connected parts; of a kernel, which is taken as known,
        its only closed class. START and END never enter. A step is a move that was made:
        self-loops count, escapes do not.
    confidence : float
        Of the interval.
    replicates : int
        Of the bootstrap: of whole runs where runs are given (of their blocks where the table has
        any), which holds whatever the dependence inside them; else of each state's moves as
        independent draws, which takes the runs for a first-order chain.
    seed : int
        Equal seeds give equal intervals.
    progress : callable
        Called with the replicates done and the replicates in all.

    Returns
    -------
    EntropyProduction
        The value, its bias and its interval.

    Raises
    ------
    InsufficientDataError
        Where no state leads back to itself by way of another; or where fewer than 20 runs or
        blocks are given: then `partial` is the result without interval.
    InvalidInputError
        Where a setting has a value that is not allowed.

    Notes
    -----
    Chance makes flows unequal, so the plain value is too large: by about 2 (E - n + c) / N near
    detailed balance, for E pairs, n states, c components and N moves. The bootstrap finds the
    bias of the data as they are; it cannot find what hides in pairs never taken. Of runs, the
    interval is as wide as Student's t would have it for so many runs (`bootstrap_tails`); with 10
    to 15 runs that differ it was still seen to cover 86% to 91% only.

    References
    ----------
    Schnakenberg, Rev. Mod. Phys. 48, 571 (1976); Efron and Tibshirani, An Introduction to the
    Bootstrap (1993), chapters 10 and 13; Hesterberg, The American Statistician 69 (2015) 371.

    Examples
    --------
    >>> ring = [[0, 0.9, 0.1], [0.1, 0, 0.9], [0.9, 0.1, 0]]
    >>> round(entropy_production(ring).value, 4)  # (0.9 - 0.1) log(0.9 / 0.1)
    1.7578
    """
    _check_settings(confidence, replicates)
    counts, runs = read_chain(source)
    if isinstance(counts, TransitionCounts):
        counts = counts.sorted()
    moves = pair_moves(counts)
    exact = not isinstance(counts, TransitionCounts)
    value, two_way = _values(
        moves, moves.as_batch() if exact else _add_half_moves(*moves.as_batch())
    )
    nan = float("nan")
    result = EntropyProduction(
        float(value[0]),
        float(two_way[0]),
        float(value[0]) if exact else nan,
        0.0 if exact else nan,
        (float(value[0]), float(value[0])) if exact else (nan, nan),
        confidence,
        len(moves.pairs),
        int(np.count_nonzero(moves.one_way)),
        moves.left_out,
        "exact" if exact else "rows" if runs is None else "runs",
        0 if runs is None else len(runs),
        0 if runs is None else cluster_codes(runs)[1],
        0 if exact else replicates,
        seed,
    )
    if exact:
        return result
    if runs is not None and result.clusters < FEWEST_REDRAWN:
        unit = "runs" if result.clusters == len(runs) else "blocks of runs"
        raise InsufficientDataError(
            f"{result.clusters} {unit} are too few for an interval; {FEWEST_REDRAWN} are needed. "
            "Give their counts instead to take each state's moves as independent draws",
            replace(result, replicates=0),
        )
    rng = np.random.default_rng(seed)
    draw = _draw_rows(moves, rng) if runs is None else _draw_runs(moves, runs, rng)
    size = max(_size(moves), result.runs)
    return _with_interval(result, _replicate(moves, draw, replicates, size, progress))


def _check_settings(confidence: float, replicates: int) -> None:
    if not 0 < confidence < 1:
        raise InvalidInputError(f"confidence={confidence!r}; it lies between 0 and 1")
    if replicates < 20:
        raise InvalidInputError(f"replicates={replicates!r}; 20 are the fewest with an interval")


def _values(moves: PairMoves, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the (b,) entropy productions, and the parts of the pairs seen in both directions."""
    produced = dissipation(*steady_flows(moves, *batch))
    return produced.sum(axis=1), produced[:, ~moves.one_way].sum(axis=1)


def _add_half_moves(
    forward: NDArray[np.float64], backward: NDArray[np.float64], stays: NDArray[np.float64]
) -> Batch:
    """Add half a move each way to pairs seen in one direction only, to keep states linked."""
    half = np.where(np.minimum(forward, backward) == 0, 0.5, 0.0)
    return forward + half, backward + half, stays


def _size(moves: PairMoves) -> int:
    """Return how many kernel entries a replicate has."""
    n = len(moves.states)
    return n**2 if n <= DENSE_LIMIT else 2 * len(moves.pairs)


def _replicate(
    moves: PairMoves,
    draw: Callable[[int], Batch],
    replicates: int,
    size: int,
    progress: StepsCallback | None,
) -> NDArray[np.float64]:
    """(b,) array: the entropy production of each replicate, of so many numbers."""
    at_once = max(1, min(replicates, AT_ONCE // size))
    values: list[NDArray[np.float64]] = []
    for done in range(0, replicates, at_once):
        batch = draw(min(at_once, replicates - done))
        values.append(_values(moves, _add_half_moves(*batch))[0])
        if progress is not None:
            progress(min(done + at_once, replicates), replicates)
    return np.concatenate(values)


def _draw_runs(
    moves: PairMoves, runs: RunTable, rng: np.random.Generator
) -> Callable[[int], Batch]:
    """Draw whole runs with replacement: each replicate weighs the runs again."""
    pairs, n, m = moves.pairs, len(moves.states), len(moves.pairs)
    made, counts = runs.distinct_moves(), runs.by_run()
    place = {state: i for i, state in enumerate(moves.states)}
    places = np.array([*(place.get(state, -1) for state in runs.states), -1])
    source, target = places[made.source], places[made.target]
    inner = np.flatnonzero((source >= 0) & (target >= 0))
    source, target = source[inner], target[inner]
    # One column for each pair each way, and one for each state's self-loops.
    number = csr_array((np.arange(1, m + 1), (pairs.first, pairs.second)), shape=(n, n))
    up, down = lookup(number, source, target), lookup(number, target, source)
    column = np.where(up > 0, up - 1, np.where(down > 0, m + down - 1, 2 * m + source))
    kept = (up > 0) | (down > 0) | (source == target)
    shape = (counts.shape[1], 2 * m + n)
    into = csr_array((np.ones(kept.sum()), (inner[kept], column[kept])), shape=shape)
    table = csr_array(counts @ into)

    def draw(size: int) -> Batch:
        weights = runs.bootstrap_weights(rng, size)
        forward, backward, stays = np.split(weights @ table, [m, 2 * m], axis=1)
        return forward, backward, stays

    return draw


def _draw_rows(moves: PairMoves, rng: np.random.Generator) -> Callable[[int], Batch]:
    """Draw the moves of each state again, as many as it made."""
    pairs, m = moves.pairs, len(moves.pairs)
    forward, backward, stays = (part[0] for part in _add_half_moves(*moves.as_batch()))
    weights = np.concatenate([forward, backward, stays])
    owner = np.concatenate([pairs.first, pairs.second, np.arange(len(stays))])
    order = np.argsort(owner, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(owner[order])) + 1)
    made = np.bincount(owner, np.concatenate([moves.forward, moves.backward, moves.stays]))

    def draw(size: int) -> Batch:
        drawn = np.zeros((size, len(weights)))
        for state, row in enumerate(rows):
            chances = weights[row] / weights[row].sum()
            drawn[:, row] = rng.multinomial(int(made[state]), chances, size)
        parts = np.split(drawn, [m, 2 * m], axis=1)
        return parts[0], parts[1], parts[2]

    return draw


def _with_interval(result: EntropyProduction, drawn: NDArray[np.float64]) -> EntropyProduction:
    """Take out the bias: the data have it once, and the replicates twice."""
    bias = float(drawn.mean()) - result.value
    tails = ((1 - result.confidence) / 2, (1 + result.confidence) / 2)
    if result.clusters:
        tails = bootstrap_tails(result.confidence, result.clusters)
    low, high = np.maximum(0.0, np.quantile(drawn, tails) - 2 * bias)
    return replace(
        result,
        bias=bias,
        corrected=max(0.0, result.value - bias),
        interval=(float(low), float(high)),
    )
