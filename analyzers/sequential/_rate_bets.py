"""Bets that a rate is larger than allowed, and what a baseline says about its own rate."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum, log, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import betaincinv, xlogy

if TYPE_CHECKING:
    from numpy.typing import NDArray

BETS = np.expm1(0.025 * 2.0 ** np.arange(9))
"""The bets k: each multiplies its capital by (1 + k x) / (1 + k p), which is fair at the mean p.

On zeros and ones it is the likelihood ratio of a rate with k + 1 times the odds of p.
"""

_GAINS = {0.0: np.zeros(len(BETS)), 1.0: np.log1p(BETS)}

_GRID, _CELLS = 1_000, 32
"""What a baseline says is looked up at so many rates, and kept for so many parts of [0, 1]."""

_STEPS, _STAKES = np.array([0.0, 1.0, 3.0, 9.0]), np.array([0.125, 0.5, 0.25, 0.125])
"""The bets on a baseline, as multiples of log odds, and what each begins with; 0 is not a bet."""

_HALVINGS = 60


class BetCapital:
    """The capital of bets that a mean is larger than p, for several p at once.

    Parameters
    ----------
    upper : (G,) array of float64
        The values of p; each stands for all values between the one before and itself.
    base : (G,) array of float64
        The log of the capital that each begins with, in nats.

    Notes
    -----
    Before unit n = 1, 2, ... the part 1 / sqrt(n) - 1 / sqrt(n + 1) of what each began with is
    divided over the bets; the rest waits.

    Examples
    --------
    >>> capital = BetCapital(np.array([0.1]), np.zeros(1))
    >>> for _ in range(3):
    ...     capital.update(1.0)
    >>> round(capital.log_e_value, 2)
    3.89
    """

    def __init__(self, upper: NDArray[np.float64], base: NDArray[np.float64]) -> None:
        self.upper, self.base = upper, base
        self.bets = 0
        self.log_shares = np.full((len(upper), len(BETS)), -np.inf)
        self._against = _log_factors(upper)

    def update(self, value: float) -> None:
        """Add a unit, with a value in [0, 1]."""
        self.bets += 1
        fresh = log((1 / sqrt(self.bets) - 1 / sqrt(self.bets + 1)) / len(BETS))
        self.log_shares = np.logaddexp(self.log_shares, fresh)
        self.log_shares += log_gains(value) - self._against

    @property
    def log_e_value(self) -> float:
        """The log of the least capital, in nats."""
        waits = -log(self.bets + 1) / 2
        return float((self.base + np.logaddexp.reduce(self.log_shares, 1, initial=waits)).min())

    def reaches(self, level: float) -> bool:
        """Return whether the log of the least capital is at least `level`, in nats."""
        most = max(float(self.log_shares[0].max()), 0.0) + log(len(BETS) + 1)
        return float(self.base[0]) + most >= level and self.log_e_value >= level

    def to_dict(self) -> dict[str, Any]:
        """Return the state in types that JSON has."""
        arrays = {name: getattr(self, name).tolist() for name in ("upper", "base")}
        shares = self.log_shares.tolist() if self.bets else []
        return {**arrays, "bets": self.bets, "log_shares": shares}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> BetCapital:
        """Go on from what `to_dict` gave."""
        upper, base = (np.array(state[name], dtype=np.float64) for name in ("upper", "base"))
        capital = cls(upper, base)
        if state["bets"]:
            capital.bets = int(state["bets"])
            capital.log_shares = np.array(state["log_shares"], dtype=np.float64)
        return capital


def log_gains(value: float) -> NDArray[np.float64]:
    """(B,) array: log(1 + k x) for each bet k, of a unit with the value x.

    Examples
    --------
    >>> bool((log_gains(1.0) == np.log1p(BETS)).all()), bool(log_gains(0.0).any())
    (True, False)
    """
    return _GAINS[value] if value in _GAINS else np.asarray(np.log1p(BETS * value))


def divide_baseline(
    baseline: NDArray[np.float64], alpha: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Divide [0, 1] by what a baseline says against its rate being p or more.

    Parameters
    ----------
    baseline : (n,) array of float64
        Units in [0, 1].
    alpha : float
        One half is for the exact upper bound of a baseline of zeros and ones, one half for the
        product of the capitals of baseline and later units.

    Returns
    -------
    upper : (G,) array of float64
        The upper end of each part. Above the last one p is refuted without further units.
    base : (G,) array of float64
        The log of the capital at its lower end, in nats, less log 2. With the bets of the lower
        end this is the least capital of the part.

    Examples
    --------
    >>> upper, base = divide_baseline(np.zeros(100), alpha=0.05)
    >>> upper[-1].round(3), base[[0, -1]].round(1).tolist()
    (np.float64(0.036), [-0.7, 2.5])
    """
    units, total = len(baseline), fsum(baseline.tolist())
    mean, top, level = total / units, 1.0, log(2 / alpha)
    if total < units and not (baseline % 1).any():
        top = float(betaincinv(total + 1, units - total, 1 - alpha / 2))
    near = mean + (top - mean) * np.linspace(0, 1, _GRID) ** 2
    ends = np.unique(np.concatenate([[0.0], near, [top]]))
    p = ends[:-1]
    steps = _STEPS * _find_step(p, level / 2 / units)[:, None]
    bets = np.expm1(np.minimum(steps, log(BETS[-1])))
    logs = -units * np.log1p(bets * (1 - p[:, None]))
    for value, count in zip(*np.unique(baseline, return_counts=True), strict=True):
        logs += count * np.log1p(bets * (1 - value))
    capital = np.logaddexp.reduce(logs + np.log(_STAKES), axis=1)
    highest = np.maximum.accumulate(capital)
    levels = np.linspace(highest[0], min(level, highest[-1]), _CELLS)
    lower = np.unique(np.append(0, np.searchsorted(highest, levels)))
    upper = ends[lower[1:]]
    if highest[-1] < level:
        upper = np.append(upper, ends[-1])
    return upper, capital[lower[: len(upper)]] - log(2)


def _find_step(p: NDArray[np.float64], divergence: float) -> NDArray[np.float64]:
    """Return log odds of p less those of the rate below it that is so many nats a unit away."""
    low, high = np.zeros(len(p)), np.full(len(p), log(BETS[-1]))
    for _ in range(_HALVINGS):
        step = (low + high) / 2
        other = p / (p + (1 - p) * np.exp(step))
        nats = -xlogy(other, p + (1 - p) * np.exp(step)) + xlogy(1 - other, (1 - other) / (1 - p))
        low, high = np.where(nats < divergence, step, low), np.where(nats < divergence, high, step)
    return high


def _log_factors(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, B) array: log(1 + k p) for each bet k."""
    return np.asarray(np.log1p(p[:, None] * BETS))
