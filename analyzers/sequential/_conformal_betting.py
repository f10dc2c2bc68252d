"""Ranks that are exact p-values, and bets on them: evidence that is valid at every look."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from math import log, log1p
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import betaln

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BETS", "Bettor", "RankedScores"]

BETS = ((0.5, 1), (1, 2), (1, 4), (1, 0.5), (2, 1), (4, 1), (0.6, 0.6), (2, 2))
"""The densities that are bet on, as (a, b) of beta laws: low, high, extreme, middling p-values."""

_A, _B = np.array(BETS, dtype=np.float64).T
_NORMALISER = betaln(_A, _B)

_EDGE = 1e-12
"""P-values this close to 0 or 1 are moved in, where some of the densities are infinite."""


class RankedScores:
    """Scores in order; each new one gets the p-value of its rank among all before it.

    If the scores are exchangeable, the p-values are uniform and independent of each other,
    exactly, ties included: a tie is broken by chance.

    Parameters
    ----------
    values : iterable of float
        The scores to begin with.
    limit : int
        So many are kept. Beyond that, each time one of them is drawn by chance and forgotten, old
        and new alike: those that are left are a random sample, so the p-values stay exact.
        (Forgetting the oldest ones would make them dependent.)

    Examples
    --------
    >>> ranks = RankedScores([1.0, 2.0, 3.0])
    >>> rng = np.random.default_rng(1)
    >>> ranks.add(10.0, rng) < 1 / 4, ranks.add(0.0, rng) > 4 / 5
    (True, True)
    """

    def __init__(self, values: Iterable[float] = (), limit: int = 10_000) -> None:
        self.values = sorted(values)
        self.limit = limit

    def add(self, value: float, rng: np.random.Generator) -> float:
        """Add a score, and return the share of all scores above it; p is small if it is large."""
        low, high = bisect_left(self.values, value), bisect_right(self.values, value)
        total = len(self.values) + 1
        self.values.insert(high, value)
        equal = high - low + 1
        pvalue = (total - low - equal + rng.random() * equal) / total
        while len(self.values) > self.limit:
            del self.values[int(rng.integers(len(self.values)))]
        return pvalue


class Bettor:
    """A gambler whose capital E stays small, at all times, while p-values are uniform.

    The capital starts at 1 and is put, bit by bit, on a few densities of the p-value; what stays
    in reserve after n of them is 1 / (n + 1), so that a change after a long quiet time is still
    found. While the p-values are uniform and independent, the probability that E ever reaches
    1 / alpha is at most alpha (Ville).

    Parameters
    ----------
    count : int
        The p-values so far.
    log_shares : sequence of float, one for each of `BETS`, optional
        The log of the capital on each density.

    Examples
    --------
    >>> bettor = Bettor()
    >>> gains = [bettor.bet(0.05) for _ in range(10)]
    >>> round(bettor.log_e_value, 2)
    9.68
    """

    def __init__(self, count: int = 0, log_shares: Iterable[float] | None = None) -> None:
        self.count = count
        empty = [-np.inf] * len(BETS)
        self.log_shares: NDArray[np.float64] = np.array(
            empty if log_shares is None else [float(share) for share in log_shares]
        )
        self._log_e_value = self._log_sum()

    @property
    def log_e_value(self) -> float:
        """The log of the capital E, in nats."""
        return self._log_e_value

    def bet(self, pvalue: float) -> float:
        """Bet on a p-value, and return what this added to the log of the capital, in nats."""
        before, p = self._log_e_value, min(max(pvalue, _EDGE), 1 - _EDGE)
        self.count += 1
        fresh = -log(self.count * (self.count + 1) * len(BETS))  # out of the reserve
        densities = (_A - 1) * log(p) + (_B - 1) * log1p(-p) - _NORMALISER
        self.log_shares = np.logaddexp(self.log_shares, fresh) + densities
        self._log_e_value = self._log_sum()
        return self._log_e_value - before

    def _log_sum(self) -> float:
        reserve = -log(self.count + 1)
        return float(np.logaddexp(np.logaddexp.reduce(self.log_shares), reserve))

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments that make this bettor again."""
        return {"count": self.count, "log_shares": self.log_shares.tolist() if self.count else None}
