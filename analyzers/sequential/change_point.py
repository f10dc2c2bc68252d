"""`find_change`: since when is a rate higher, or lower."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import xlogy

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.multiplicity import check_level
from detailed_balance.analyzers.results import Result
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.sequential.rates import check_values

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["ChangePoint", "find_change", "find_onset"]

_LATEST = 253_402_300_799
"""The end of the year 9999, in seconds since 1970."""

_CHUNK = 1_000_000
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class ChangePoint(Result):
    """When a rate changed, and whether chance makes such changes.

    Parameters
    ----------
    pvalue : float
        The share of random orders of the runs, or of whole blocks, that change as much somewhere.
    alpha : float
        As given.
    statistic : float
        The largest log likelihood ratio of two rates against one, in nats.
    runs_before, runs_after : int
        The runs on both sides of the change; all are after it where no change is possible.
    total_before, total_after : float
        The sums of their values.
    interval : (int, int)
        Between which runs the first one after the change is, both included, the first run is 1;
        with confidence 1 - alpha where `changed`, else all of them.
    time : float or None
        When the first run after the change began, in seconds since 1970; None without times.
    time_interval : (float, float) or None
        When the runs of `interval` began.
    binary : bool
        Whether all values are 0 or 1.
    unit : str
        What was permuted, ``"runs"`` or ``"blocks"``.
    units : int
        How many there are.
    replicates, seed : int
        As given.
    """

    pvalue: float
    alpha: float
    statistic: float
    runs_before: int
    runs_after: int
    total_before: float
    total_after: float
    interval: tuple[int, int]
    time: float | None
    time_interval: tuple[float, float] | None
    binary: bool
    unit: str
    units: int
    replicates: int
    seed: int

    @property
    def changed(self) -> bool:
        """Whether the p-value is at most alpha."""
        return self.pvalue <= self.alpha

    @property
    def rate_before(self) -> float:
        """The mean before the change; NaN where no run is."""
        return self.total_before / self.runs_before if self.runs_before else float("nan")

    @property
    def rate_after(self) -> float:
        """The mean after the change."""
        return self.total_after / self.runs_after

    def describe(self) -> str:
        """Say in one sentence since when, or until when, or that no change is shown.

        Examples
        --------
        >>> find_change([0] * 30 + [1] * 6, in_order=True).describe()
        'since run 31: 6 of the last 6 runs, none of the 30 before'
        >>> find_change([0, 1, 0, 0, 1, 0], in_order=True).describe()
        'throughout: 2 of 6 runs'
        """
        before, after = self.runs_before, self.runs_after
        if not self.changed:
            return "throughout: " + self._say(
                self.total_before + self.total_after, before + after, "{} runs"
            )
        place = self.describe_place()
        if self.rate_after > self.rate_before:
            late = self._say(self.total_after, after, "the last {} runs")
            return f"since {place}: {late}, {self._say(self.total_before, before, 'the {} before')}"
        early = self._say(self.total_before, before, "the first {} runs")
        return f"until {place}: {early}, {self._say(self.total_after, after, 'the {} after')}"

    def describe_place(self) -> str:
        """Say when it changed, and between which runs that was.

        Examples
        --------
        >>> find_change([0] * 30 + [1] * 6, in_order=True).describe_place()
        'run 31'
        """
        low, high = self.interval
        between = f"run {low:,}" if low == high else f"between runs {low:,} and {high:,}"
        if self.time is not None:
            return f"{_say_time(self.time)} ({between})"
        return between if low == high else f"run {self.runs_before + 1:,} ({between})"

    def _say(self, total: float, runs: int, words: str) -> str:
        runs_in_words = words.format(f"{runs:,}")
        if self.binary:
            return f"{total:,.0f} of {runs_in_words}" if total else f"none of {runs_in_words}"
        return f"a mean of {total / runs:.3g} in {runs_in_words}"


def find_change(
    values: ArrayLike,
    *,
    time: ArrayLike | None = None,
    block: ArrayLike | None = None,
    in_order: bool = False,
    alpha: float = 0.05,
    replicates: int = 999,
    seed: int = 0,
) -> ChangePoint:
    """Find the moment that divides runs best into those of a lower and those of a higher rate.

    The statistic is the largest log likelihood ratio, over all moments, of two rates against one.
    Its p-value is the share of random orders of the runs in which some moment has a ratio as large,
    so it holds although the moment was searched for. The interval holds each moment whose
    likelihood is close enough to the largest: as close as that of the moment found is in 1 - alpha
    of permutations of the runs before it, and of those after it, among themselves.

    *Null hypothesis:* every order of the runs is as probable as any other; with blocks, every order
    of the blocks. A block should be near in time, as a batch is. Where a task comes again and
    again, its runs are not a block here.

    One change is looked for. Of a rate that rose and fell again the larger change is found, or
    neither.

    Parameters
    ----------
    values : (r,) array of float
        A number in [0, 1] for each run: 1 where it failed, for example.
    time : (r,) array of float, optional
        When each run began, in seconds since 1970. No change is put between runs of the same time.
    block : (r,) array of int64, optional
        The block of each run, -1 where it is of none, as `RunTable.block_codes` gives them. A block
        is where its first run is.
    in_order : bool
        Whether the order of the values is that of time, in place of `time`.
    alpha : float
        Level of the test, and one minus the confidence of the interval.
    replicates, seed : int
        Permutations, and what they are drawn with. 100,000 runs take 20 ms for each.

    Returns
    -------
    ChangePoint

    Raises
    ------
    InvalidInputError
        Where there are no times and the order is not time, or another argument is not allowed.

    References
    ----------
    D. V. Hinkley and E. A. Hinkley, *Inference about the change-point in a sequence of binomial
    variables*, Biometrika 57 (1970) 477.

    Examples
    --------
    >>> began = [1_764_449_400 + 60 * run for run in range(100)]
    >>> failed = [0] * 60 + [1, 0, 0, 0] * 10
    >>> found = find_change(failed, time=began)
    >>> found.describe()
    'since 29 Nov 21:50 UTC (between runs 49 and 65): 10 of the last 40 runs, none of the 60 before'
    >>> found.pvalue
    0.001
    """
    numbers = check_values(values)
    moments = _check_times(time, in_order, len(numbers))
    _check_settings(alpha, replicates, seed)
    units = _Units.make(numbers, moments, _check_blocks(block, len(numbers)))
    rng = np.random.default_rng(seed)
    last = np.cumsum(units.size)[units.cuts]
    profile = units.profile()
    best = int(profile.argmax()) if len(profile) else None
    statistic, pvalue, low, before, early = 0.0, 1.0, 0, 0, 0.0
    high = len(numbers) - 1
    if best is not None:
        statistic, before = float(profile[best]), int(last[best])
        early = float(np.cumsum(units.total)[units.cuts[best]])
        reached = sum(
            int((each.max(axis=1) >= statistic * (1 - _ROUNDING)).sum())
            for each in units.shuffle(rng, replicates)
        )
        pvalue = (1 + reached) / (1 + replicates)
    if best is not None and pvalue <= alpha:
        spread = [each.max(axis=1) - each[:, best] for each in units.shuffle(rng, replicates, best)]
        allowed = np.quantile(np.concatenate(spread), 1 - alpha, method="higher")
        near = last[profile >= statistic * (1 - _ROUNDING) - allowed]
        low, high = int(near[0]), int(near[-1])
    began = np.repeat(units.time, units.size)
    timed = time is not None
    return ChangePoint(
        pvalue=pvalue,
        alpha=alpha,
        statistic=statistic,
        runs_before=before,
        runs_after=len(numbers) - before,
        total_before=early,
        total_after=float(units.total.sum()) - early,
        interval=(low + 1, high + 1),
        time=float(began[before]) if timed else None,
        time_interval=(float(began[low]), float(began[high])) if timed else None,
        binary=not bool((numbers % 1).any()),
        unit="runs" if block is None else "blocks",
        units=len(units.size),
        replicates=replicates,
        seed=seed,
    )


def find_onset(
    table: RunTable, values: ArrayLike, *, by: str | None = None, **settings: Any
) -> ChangePoint:
    """Find the change of a rate of the runs of a table, by when they began and by their blocks.

    Parameters
    ----------
    table : RunTable
        The runs.
    values : (r,) array of float
        A number in [0, 1] for each run; NaN where it is not known, which leaves the run out.
    by : str, optional
        What tells the block, as for `RunTable.block_codes`; by default the blocks of the table
        where it has any.
    **settings
        As for `find_change`; with ``in_order=True`` the order of the table is that of time.

    Raises
    ------
    InvalidInputError
        As for `find_change`, or where there is not a value for each run.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> runs = [Trajectory((("a", "b"),), started=60.0 * i, success=i < 20) for i in range(30)]
    >>> table = RunTable.of(runs)
    >>> find_onset(table, table.success == 0).describe()
    'since 1 Jan 00:20 UTC (run 21): 10 of the last 10 runs, none of the 20 before'
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (len(table),):
        raise InvalidInputError(
            f"values of shape {numbers.shape} for {len(table)} runs; one for each is needed"
        )
    known = ~np.isnan(numbers)
    codes = table.block_codes(by)[known]
    in_order = settings.get("in_order", False)
    return find_change(
        numbers[known],
        time=None if in_order else table.runs.started[known],
        block=codes if (codes >= 0).any() else None,
        **settings,
    )


@dataclass(frozen=True, slots=True)
class _Units:
    """Runs or blocks in time: how many runs each has, the sum of their values, when it began."""

    size: NDArray[np.int64]
    total: NDArray[np.float64]
    time: NDArray[np.float64]
    cuts: NDArray[np.int64]
    """(c,) array: the last unit before each possible moment."""

    @classmethod
    def make(
        cls, values: NDArray[np.float64], time: NDArray[np.float64], block: NDArray[np.int64] | None
    ) -> _Units:
        """Put runs in order, and those of a block together."""
        order = np.lexsort((values, time))
        values, time = values[order], time[order]
        codes = np.full(len(values), -1) if block is None else block[order]
        alone = codes < 0
        codes[alone] = codes.max() + 1 + np.arange(alone.sum())
        _, first, place, size = np.unique(
            codes, return_index=True, return_inverse=True, return_counts=True
        )
        total = np.asarray(np.bincount(place, weights=values), dtype=np.float64)
        began = time[first]
        order = np.lexsort((total, size, began))
        began = began[order]
        return cls(size[order], total[order], began, np.flatnonzero(np.diff(began) > 0))

    def profile(
        self, size: NDArray[np.int64] | None = None, total: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return the log likelihood ratio of each cut, for these or other (..., U) units."""
        runs = np.cumsum(self.size if size is None else size, axis=-1)
        sums = np.cumsum(self.total if total is None else total, axis=-1)
        n, s = runs[..., self.cuts], sums[..., self.cuts]
        all_n, all_s = runs[..., -1:], sums[..., -1:]
        apart = _log_likelihood(s, n) + _log_likelihood(all_s - s, all_n - n)
        return np.asarray(apart - _log_likelihood(all_s, all_n))

    def shuffle(
        self, rng: np.random.Generator, replicates: int, cut: int | None = None
    ) -> Iterator[NDArray[np.float64]]:
        """Yield profiles of units in random order, on each side of a cut where one is given."""
        units = len(self.size)
        ends = [0, units] if cut is None else [0, int(self.cuts[cut]) + 1, units]
        rows = max(1, _CHUNK // units)
        for start in range(0, replicates, rows):
            order = np.tile(np.arange(units), (min(rows, replicates - start), 1))
            for low, high in pairwise(ends):
                order[:, low:high] = rng.permuted(order[:, low:high], axis=1)
            yield self.profile(self.size[order], self.total[order])


def _log_likelihood(total: NDArray[Any], runs: NDArray[Any]) -> NDArray[np.float64]:
    """Return the log likelihood of runs with that sum at their own mean, in nats."""
    rest = np.maximum(runs - total, 0.0)
    total = np.maximum(total, 0.0)
    found = xlogy(total, total) + xlogy(rest, rest) - xlogy(runs, runs)
    return np.asarray(found, dtype=np.float64)


def _say_time(seconds: float) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return f"{moment.day} {moment:%b %H:%M} UTC"


def _check_times(time: ArrayLike | None, in_order: bool, runs: int) -> NDArray[np.float64]:
    if in_order and time is not None:
        raise InvalidInputError("time and in_order=True given; leave out one")
    if in_order:
        return np.arange(runs, dtype=np.float64)
    moments = np.full(runs, np.nan) if time is None else np.asarray(time, dtype=np.float64)
    if moments.shape != (runs,):
        raise InvalidInputError(
            f"{runs} values and times of shape {moments.shape}; one for each run is needed"
        )
    if missing := int(np.isnan(moments).sum()):
        raise InvalidInputError(
            f"{missing} of {runs} runs have no time; leave them out, or give in_order=True where "
            "the order of the runs is that of time"
        )
    if (np.abs(moments) > _LATEST).any():
        raise InvalidInputError(
            f"a time of {np.abs(moments).max():.4g}; allowed are seconds since 1970 up to the year "
            "9999. Divide milliseconds by 1000"
        )
    return moments


def _check_blocks(block: ArrayLike | None, runs: int) -> NDArray[np.int64] | None:
    if block is None:
        return None
    codes = np.asarray(block)
    if codes.shape != (runs,) or codes.dtype.kind not in "iu":
        raise InvalidInputError(
            f"blocks of shape {codes.shape} and type {codes.dtype} for {runs} values; a whole "
            "number for each run is needed, -1 for none, as RunTable.block_codes gives"
        )
    return codes.astype(np.int64)


def _check_settings(alpha: float, replicates: int, seed: int) -> None:
    check_level(alpha)
    if replicates < 1:
        raise InvalidInputError(f"replicates={replicates!r}; it is at least 1, better 999")
    if seed < 0:
        raise InvalidInputError(f"seed={seed!r}; it is 0 or more")
