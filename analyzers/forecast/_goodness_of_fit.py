"""Whether a forecast is reliable: the order of the chain, and when its runs end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.forecast._absorbing_chain import AbsorbingChain, fit_chain
from detailed_balance.analyzers.forecast.result import FitCheck
from detailed_balance.analyzers.markov.order import Strata, order_test
from detailed_balance.analyzers.runs.arrays import Paths, Steps
from detailed_balance.analyzers.sparse import count_distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOVES_AT_ONCE = 4_000_000
"""About so many simulated moves are held in memory at a time."""

MAX_LENGTH = 20
"""A simulated run that does not end is given up at so many times the longest recorded one."""


def check_fit(
    paths: Paths,
    strata: Strata,
    parts: Sequence[Paths],
    held_out: Paths | None,
    *,
    replicates: int,
    alpha: float,
    seed: int,
) -> FitCheck:
    """Hold chains against the runs; `parts` are those of each stratum, which has its own chain."""
    try:
        order = order_test(paths, strata, replicates=replicates, seed=seed, alpha=alpha)
    except InsufficientDataError:
        order = None
    firsts, *ended = zip(*(part.whole_runs() for part in parts), strict=True)
    length, end = (np.concatenate(each) for each in ended)
    target = (length, end) if held_out is None else held_out.whole_runs()[1:]
    observed = _distance([_fit(part.counts()) for part in parts], firsts, *target)
    rng = np.random.default_rng(seed + 1)
    simulated = _simulate_distances(parts, rng, None if held_out is None else target, replicates)
    beyond = int((simulated >= observed - 1e-12).sum())
    pvalue = (1 + beyond) / (replicates + 1)
    return FitCheck(order, observed, pvalue, len(target[0]), held_out is not None, alpha)


def _fit(counts: csr_array[Any, tuple[int, int]]) -> AbsorbingChain:
    return fit_chain(counts, np.zeros(1))


def cumulative_incidence(
    length: NDArray[Any], end: NDArray[Any], horizon: int
) -> NDArray[np.float64]:
    """(horizon + 1, 2) array: share of runs with each end by each step, open runs being censored.

    The estimate of Aalen and Johansen; without open runs it is the plain share.

    Examples
    --------
    >>> shares = cumulative_incidence(np.array([1, 2, 2]), np.array([0, 1, 0]), 2)
    >>> shares[1:].round(2).tolist()
    [[0.33, 0.0], [0.67, 0.33]]
    """
    hits = [np.bincount(length[end == k], minlength=horizon + 1)[: horizon + 1] for k in (0, 1)]
    stopped = np.bincount(length, minlength=horizon + 1)
    at_risk = stopped[::-1].cumsum()[::-1][: horizon + 1]
    hazard = np.stack(hits, axis=1) / np.maximum(at_risk, 1)[:, None]
    going = np.cumprod(1 - hazard.sum(axis=1))
    before = np.concatenate([[1.0], going[:-1]])
    return np.cumsum(before[:, None] * hazard, axis=0)


def _distance(
    chains: Sequence[AbsorbingChain],
    firsts: Sequence[NDArray[Any]],
    length: NDArray[Any],
    end: NDArray[Any],
) -> float:
    """Return how far the ends lie from those of runs that begin at `firsts` of each chain."""
    ended = length[end >= 0]
    if not len(ended):
        return 0.0
    horizon, runs = int(ended.max()), sum(map(len, firsts))
    expected = np.zeros((horizon + 1, 2))
    for chain, first in zip(chains, firsts, strict=True):
        start = np.bincount(first, minlength=len(chain.stuck)) / runs
        expected += chain.cumulative_incidence(start, horizon)
    return float(np.abs(cumulative_incidence(length, end, horizon) - expected).max())


def _simulate_distances(
    parts: Sequence[Paths],
    rng: np.random.Generator,
    held_out: tuple[NDArray[Any], NDArray[Any]] | None,
    copies: int,
) -> NDArray[np.float64]:
    """Return the (copies,) distances in runs simulated from the chains, which are fitted again."""
    moves = sum(len(part.steps.here) for part in parts)
    expected = moves + (0 if held_out is None else int(held_out[0].sum()))
    at_once = max(1, MOVES_AT_ONCE // expected)
    batches = [
        _simulate_batch(parts, rng, held_out, min(at_once, copies - begin))
        for begin in range(0, copies, at_once)
    ]
    return np.concatenate([np.empty(0), *batches])


def _simulate_batch(
    parts: Sequence[Paths],
    rng: np.random.Generator,
    held_out: tuple[NDArray[Any], NDArray[Any]] | None,
    copies: int,
) -> NDArray[np.float64]:
    firsts, chains, lengths, ends = [], [], [], []
    for part in parts:
        first, length, end = part.whole_runs()
        counts = part.counts()
        begun, limits = np.tile(first, copies), np.tile(_longest(length, end), copies)
        steps, *runs = _simulate(counts, begun, limits, rng)
        drawn = _counts_of(steps, steps.run // len(first), copies, counts.shape)
        if held_out is not None:
            begun = rng.choice(first, size=copies * len(held_out[0]))
            _, *runs = _simulate(counts, begun, np.tile(_longest(*held_out), copies), rng)
        firsts.append(first)
        chains.append([_fit(each) for each in drawn])
        lengths.append(runs[0].reshape(copies, -1))
        ends.append(runs[1].reshape(copies, -1))
    length, end = np.concatenate(lengths, axis=1), np.concatenate(ends, axis=1)
    each = zip(zip(*chains, strict=True), length, end, strict=True)
    return np.array([_distance(fitted, firsts, *runs) for fitted, *runs in each])


def _counts_of(
    steps: Steps, copy: NDArray[Any], copies: int, shape: tuple[int, int]
) -> list[csr_array[Any, tuple[int, int]]]:
    """Return the counts of the moves of each copy."""
    size = shape[0] * shape[1]
    keys = copy * size + steps.here * shape[1] + steps.after
    distinct, number = count_distinct(keys, copies * size)
    cuts = np.searchsorted(distinct, size * np.arange(1, copies))
    moves = np.split(distinct % size, cuts)
    return [
        csr_array((count.astype(np.float64), np.divmod(move, shape[1])), shape=shape)
        for move, count in zip(moves, np.split(number, cuts), strict=True)
    ]


def _simulate(
    counts: Any, first: NDArray[Any], limits: NDArray[Any], rng: np.random.Generator
) -> tuple[Steps, NDArray[np.int64], NDArray[np.int64]]:
    """Return the steps, and the moves and the end of each simulated run."""
    n = counts.shape[0]
    steps = _concatenate(list(_walk(counts, first, limits, rng)))
    end = np.full(len(first), -1)
    final = steps.after >= n
    end[steps.run[final]] = steps.after[final] - n
    return steps, np.bincount(steps.run, minlength=len(first)), end


def _longest(length: NDArray[Any], end: NDArray[Any]) -> NDArray[np.int64]:
    """(s,) array: how long copies may be; an open run goes on for as many moves as it had."""
    return np.where(end >= 0, MAX_LENGTH * int(length.max()), length)


def _walk(
    counts: csr_array[Any, tuple[int, int]],
    first: NDArray[Any],
    limits: NDArray[Any],
    rng: np.random.Generator,
) -> Iterator[Steps]:
    """Walk the chain of (n, n + e) counts: from `first` to an end or for `limits` moves.

    Yields one step of all walkers that are still going; a state that was never left holds them.
    """
    n = counts.shape[0]
    total = np.concatenate([[0.0], np.cumsum(counts.data)])
    low, high = total[counts.indptr[:-1]], total[counts.indptr[1:]]
    walker, here = np.arange(len(first)), np.asarray(first)
    before, step = np.full(len(first), -1), 0
    while True:
        going = (here < n) & (limits[walker] > step)
        going[going] = high[here[going]] > low[here[going]]
        walker, before, here = walker[going], before[going], here[going]
        if not len(walker):
            return
        drawn = low[here] + rng.random(len(here)) * (high[here] - low[here])
        # Rounding may reach the next row.
        entry = np.minimum(np.searchsorted(total, drawn, "right"), counts.indptr[here + 1]) - 1
        after = counts.indices[entry].astype(np.int64)
        yield Steps(walker, before, here, after)
        before, here, step = here, after, step + 1


def _concatenate(steps: Sequence[Steps]) -> Steps:
    """Lay the steps of a walk end to end."""
    fields = ("run", "before", "here", "after")
    return Steps(*(np.concatenate([getattr(step, name) for step in steps]) for name in fields))
