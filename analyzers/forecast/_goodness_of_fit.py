"""Whether a forecast is reliable: the order of the chain, and when its runs end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.forecast._absorbing_chain import AbsorbingChain, fit_chain
from detailed_balance.analyzers.forecast.result import FitCheck
from detailed_balance.analyzers.markov.order import order_test
from detailed_balance.analyzers.runs.arrays import Paths, Steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_LENGTH = 20
"""A simulated run that does not end is given up at so many times the longest recorded one."""


def check_fit(
    paths: Paths,
    chain: AbsorbingChain,
    held_out: Paths | None,
    *,
    replicates: int,
    alpha: float,
    seed: int,
) -> FitCheck:
    """Hold the chain against the runs; `paths` are judged ones, as `held_out` are."""
    try:
        order = order_test(paths, replicates=replicates, seed=seed, alpha=alpha)
    except InsufficientDataError:
        order = None
    first, length, end = paths.whole_runs()
    target = (length, end) if held_out is None else held_out.whole_runs()[1:]
    observed = _distance(chain, first, *target)
    rng = np.random.default_rng(seed + 1)
    simulated = _simulate_distances(paths, rng, None if held_out is None else target, replicates)
    beyond = int((simulated >= observed - 1e-12).sum())
    pvalue = (1 + beyond) / (replicates + 1)
    return FitCheck(order, observed, pvalue, len(target[0]), held_out is not None, alpha)


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
    chain: AbsorbingChain, first: NDArray[Any], length: NDArray[Any], end: NDArray[Any]
) -> float:
    ended = length[end >= 0]
    if not len(ended):
        return 0.0
    horizon, n = int(ended.max()), len(chain.stuck)
    expected = chain.cumulative_incidence(np.bincount(first, minlength=n) / len(first), horizon)
    return float(np.abs(cumulative_incidence(length, end, horizon) - expected).max())


def _simulate_distances(
    paths: Paths,
    rng: np.random.Generator,
    held_out: tuple[NDArray[Any], NDArray[Any]] | None,
    copies: int,
) -> NDArray[np.float64]:
    """Return the (copies,) distances in runs simulated from the chain, which is fitted anew."""
    first, length, end = paths.whole_runs()
    counts, width = paths.counts(), len(paths.states) + 2
    firsts, limits = np.tile(first, copies), np.tile(_longest(length, end), copies)
    steps, *runs = _simulate(counts, firsts, limits, rng)
    keys = steps.here * width + steps.after
    shape = (copies, len(paths.states) * width)
    drawn = csr_array((np.ones(len(keys)), (steps.run // len(first), keys)), shape=shape)
    if held_out is not None:
        firsts = rng.choice(first, size=copies * len(held_out[0]))
        _, *runs = _simulate(counts, firsts, np.tile(_longest(*held_out), copies), rng)
    lengths, ends = (values.reshape(copies, -1) for values in runs)
    found = np.empty(copies)
    for i in range(copies):
        chain = fit_chain(_unflatten(drawn, i, width), np.zeros(1))
        found[i] = _distance(chain, first, lengths[i], ends[i])
    return found


def _unflatten(drawn: Any, row: int, width: int) -> csr_array[Any, tuple[int, int]]:
    here, there = drawn.indptr[row], drawn.indptr[row + 1]
    where = np.divmod(drawn.indices[here:there], width)
    return csr_array((drawn.data[here:there], where), shape=(width - 2, width))


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
