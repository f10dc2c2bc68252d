"""`RateMartingale`: has a rate gone up, at any time."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum, log, nan
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.multiplicity import check_level
from detailed_balance.analyzers.sequential._rate_bets import (
    BETS,
    BetCapital,
    divide_baseline,
    log_gains,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Block", "RateMartingale", "block_means"]

Block: TypeAlias = str | int | None
"""The task or batch of a run; None: the run is a unit by itself."""

_HALVINGS = 60
_OVER = 100
"""The names of so many blocks that are over are kept."""

_VERSION = 1

_SETTINGS = ("alpha", "limit", "warm_up")
_COUNTS = ("units", "runs", "late", "alarmed_at")


class RateMartingale:
    """Say, after each run, whether a rate has gone up: of failures, of runs at the limit.

    E is the capital of bets that the mean of the next unit is larger than allowed. A unit is a run,
    or a block of runs where blocks are given: the value of a block is the mean of its runs, and it
    is bet on when the block is over.

    The null hypothesis
        Given everything before it, the mean of each unit is at most `limit`. With a baseline: there
        is a number p such that the units of the baseline have at least the mean p, given those
        before them, and all later units at most p. Units may differ from each other and need not be
        independent.

    The promise
        Under the null hypothesis there is ever an alarm with probability at most alpha, however
        often one looks and however long it goes on.

    What breaks it
        Runs that resemble each other and are given without `block`; a baseline or a
        limit that was chosen after a look at the runs; runs taken in the order in
        which they end, where failed runs end first.

    What it cannot see
        A rate that falls: watch 1 minus the value. When the rate went up: see `find_change`.

    Parameters
    ----------
    limit : float, optional
        The rate that is allowed, between 0 and 1.
    baseline : (n,) array of float, optional
        Values of earlier units in [0, 1], in place of `limit`. Where runs come in blocks: the means
        of the blocks (`block_means`).
    warm_up : int, optional
        In place of both: the first so many units are the baseline.
    alpha : float
        Probability of a false alarm, over all time.

    Raises
    ------
    InvalidInputError
        Where an argument is not allowed, or not exactly one of `limit`, `baseline` and `warm_up` is
        given.

    Notes
    -----
    After n units a share 1 / sqrt(n + 1) of the capital has not been bet, so that a change after a
    long quiet time is still found. Each of nine bets gets the same part of the rest. With a
    baseline there is also a capital of bets that the rate of the baseline is less than p. A value
    of p is refuted when the product of both capitals reaches 2 / alpha, and the alarm comes when
    all values are. The other half of alpha is for the exact upper bound (Clopper and Pearson) of a
    baseline of zeros and ones, above which all values are refuted.

    References
    ----------
    I. Waudby-Smith and A. Ramdas, *Estimating means of bounded random variables by betting*,
    J. R. Stat. Soc. B 86 (2024) 1.
    C. J. Clopper and E. S. Pearson, *The use of confidence or fiducial limits illustrated in the
    case of the binomial*, Biometrika 26 (1934) 404.

    Examples
    --------
    >>> rate = RateMartingale(limit=0.1)
    >>> for failed in [0] * 50 + [1, 0, 1, 1] * 5:
    ...     rate.update(failed)
    >>> rate.alarm, rate.alarmed_at
    (True, 59)
    """

    def __init__(
        self,
        limit: float | None = None,
        *,
        baseline: ArrayLike | None = None,
        warm_up: int | None = None,
        alpha: float = 0.05,
    ) -> None:
        _check_settings(limit, baseline, warm_up, alpha)
        self.alpha, self.limit, self.warm_up = alpha, limit, warm_up
        self.units = self.runs = self.late = 0
        self.alarmed_at: int | None = None
        self._total = 0.0
        self._above, self._below = np.zeros(len(BETS)), np.zeros(len(BETS))
        self._block: Block = None
        self._open: list[float] = []
        self._over: dict[Block, None] = {}
        self._first: list[float] = []
        self._capital: BetCapital | None = None
        if limit is not None:
            self._capital = BetCapital(np.array([float(limit)]), np.zeros(1))
        if baseline is not None:
            values = check_values(baseline)
            self._capital = BetCapital(*divide_baseline(values, alpha))

    def update(self, value: float, block: Block = None) -> None:
        """Add the value of the next run.

        Parameters
        ----------
        value : float
            In [0, 1]: 1 where the run failed, for example.
        block : str or int, optional
            The block of the run, which is bet on when the next block begins or at `flush`. A run of
            a block that is over is left out, and counted in `late`. A run of no block is a unit.

        Raises
        ------
        InvalidInputError
            Where the value is not in [0, 1].
        """
        number = float(value)
        if not 0 <= number <= 1:
            raise InvalidInputError(
                f"value={value!r}; allowed are numbers from 0 to 1, such as 1 for a failed run. "
                "Divide by the largest possible value, or leave out runs without one"
            )
        if block is None:
            self.runs += 1
            self._bet(number)
            return
        if block in self._over:
            self.late += 1
            return
        if block != self._block:
            self.flush()
            self._block = block
        self.runs += 1
        self._open.append(number)

    def flush(self) -> None:
        """Bet on the block that is open: no more runs of it will come."""
        if not self._open:
            return
        self._over[self._block] = None
        if len(self._over) > _OVER:
            del self._over[next(iter(self._over))]
        value = min(fsum(self._open) / len(self._open), 1.0)
        self._block, self._open = None, []
        self._bet(value)

    def _bet(self, value: float) -> None:
        self.units += 1
        self._total += value
        self._above += log_gains(value)
        self._below += log_gains(1 - value)
        if self._capital is not None:
            self._capital.update(value)
            if self.alarmed_at is None and self._capital.reaches(self.threshold):
                self.alarmed_at = self.units
            return
        self._first.append(value)
        if self.units == self.warm_up:
            self._capital = BetCapital(*divide_baseline(np.array(self._first), self.alpha))
            self._first = []

    @property
    def log_e_value(self) -> float:
        """The log of E, in nats; there is an alarm when it reaches `threshold`."""
        return 0.0 if self._capital is None else self._capital.log_e_value

    @property
    def threshold(self) -> float:
        """log(1 / alpha), in nats."""
        return -log(self.alpha)

    @property
    def alarm(self) -> bool:
        """Whether E has reached 1 / alpha, now or before."""
        return self.alarmed_at is not None

    @property
    def rate(self) -> float:
        """The mean of the units so far; NaN without any."""
        return self._total / self.units if self.units else nan

    @property
    def interval(self) -> tuple[float, float]:
        """Where the mean of the units lies, with confidence 1 - alpha at all looks together.

        For a rate that does not change; `rate` is always inside.

        Examples
        --------
        >>> rate = RateMartingale(limit=0.5)
        >>> for failed in [0, 0, 0, 1] * 50:
        ...     rate.update(failed)
        >>> [round(end, 2) for end in rate.interval]
        [0.16, 0.36]
        """
        if not self.units:
            return 0.0, 1.0
        level = log(2 / self.alpha)
        return (
            _exclude(self._above, self.units, self.rate, level),
            1 - _exclude(self._below, self.units, 1 - self.rate, level),
        )

    def describe(self) -> str:
        """Say in one sentence what was found."""
        if not self.units:
            return "no runs yet"
        low, high = self.interval
        unit = "runs" if self.units == self.runs else "blocks"
        seen = f"{self.rate:.1%} of {self.units:,} {unit}, interval {low:.1%} to {high:.1%}"
        if self._capital is None:
            return f"the first {self.warm_up:,} {unit} are the baseline; so far {seen}"
        known = "in the baseline" if self.limit is None else f"{self.limit:.3g}"
        if self.alarm:
            return f"higher than {known}, detected after {self.alarmed_at:,} {unit}: {seen}"
        return f"no evidence of more than {known}: {seen}"

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state in types that JSON has."""
        return {
            "version": _VERSION,
            **{name: getattr(self, name) for name in (*_SETTINGS, *_COUNTS)},
            "total": self._total,
            "above": self._above.tolist(),
            "below": self._below.tolist(),
            "block": self._block,
            "open": list(self._open),
            "over": list(self._over),
            "first": list(self._first),
            "capital": None if self._capital is None else self._capital.to_dict(),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> RateMartingale:
        """Go on from what `to_dict` returned; the numbers to come are the same.

        Raises
        ------
        InvalidInputError
            Where it is something else.
        """
        rate = cls.__new__(cls)
        try:
            if state["version"] != _VERSION:
                raise ValueError(f"version {state['version']!r}; this release reads {_VERSION}")
            for name in (*_SETTINGS, *_COUNTS):
                setattr(rate, name, state[name])
            rate._total = float(state["total"])
            rate._above, rate._below = np.array(state["above"]), np.array(state["below"])
            rate._block, rate._open = state["block"], [float(value) for value in state["open"]]
            rate._over = dict.fromkeys(state["over"])
            rate._first = [float(value) for value in state["first"]]
            capital = state["capital"]
            rate._capital = None if capital is None else BetCapital.from_dict(capital)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"this is not a state of a RateMartingale: {error!r}") from None
        return rate


def block_means(values: ArrayLike, block: ArrayLike) -> NDArray[np.float64]:
    """Return the mean of each block of runs, and the values of the runs of no block.

    Parameters
    ----------
    values : (r,) array of float
        A number in [0, 1] for each run.
    block : (r,) array of int64
        The block of each run, -1 where it is of none, as `RunTable.block_codes` gives them.

    Returns
    -------
    (u,) array of float64
        Sorted.

    Raises
    ------
    InvalidInputError
        Where a value is not in [0, 1], or there are not as many blocks as values.

    Examples
    --------
    >>> block_means([0, 1, 1, 1], [0, 0, 1, -1]).tolist()
    [0.5, 1.0, 1.0]
    """
    numbers, codes = check_values(values), np.asarray(block)
    if codes.shape != numbers.shape:
        raise InvalidInputError(
            f"{len(numbers)} values and blocks of shape {codes.shape}; one for each run is needed"
        )
    order = np.lexsort((numbers, codes))
    numbers, codes = numbers[order], codes[order]
    alone = codes < 0
    _, place, size = np.unique(codes[~alone], return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=numbers[~alone]) / size
    return np.sort(np.concatenate([numbers[alone], np.minimum(means, 1.0)]))


def check_values(values: ArrayLike) -> NDArray[np.float64]:
    """Return a number in [0, 1] for each of at least one run.

    Raises
    ------
    InvalidInputError
        Where they are something else.

    Examples
    --------
    >>> check_values([True, False]).tolist()
    [1.0, 0.0]
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise InvalidInputError(
            f"values of shape {numbers.shape}; one number for each of at least one run is needed"
        )
    wrong = ~((numbers >= 0) & (numbers <= 1))
    if wrong.any():
        raise InvalidInputError(
            f"{int(wrong.sum())} of {len(numbers)} values are not between 0 and 1, the first is "
            f"{numbers[wrong][0]}. Use 1 for runs that failed and 0 for others, divide by the "
            "largest possible value, or leave out runs without one"
        )
    return numbers


def _exclude(sums: NDArray[np.float64], units: int, mean: float, level: float) -> float:
    """Return up to which p the bets that the mean is larger have reached `level`, in nats."""
    low, high = 0.0, mean
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        bets = sums - units * np.log1p(BETS * middle)
        reached = float(np.logaddexp.reduce(bets)) - log(len(BETS)) >= level
        low, high = (middle, high) if reached else (low, middle)
    return low


def _check_settings(limit: Any, baseline: Any, warm_up: Any, alpha: float) -> None:
    given = [name for name, value in _named(limit, baseline, warm_up) if value is not None]
    if len(given) != 1:
        raise InvalidInputError(
            f"{' and '.join(given) or 'nothing'} given; exactly one of limit, baseline and warm_up "
            "says what is allowed. Try warm_up=100 where nothing is known yet"
        )
    if limit is not None and not 0 < limit < 1:
        raise InvalidInputError(f"limit={limit!r}; it is a rate between 0 and 1, such as 0.05")
    if warm_up is not None and warm_up < 1:
        raise InvalidInputError(f"warm_up={warm_up!r}; it is a number of units, such as 100")
    check_level(alpha)


def _named(limit: Any, baseline: Any, warm_up: Any) -> list[tuple[str, Any]]:
    return [("limit", limit), ("baseline", baseline), ("warm_up", warm_up)]
