"""Platt scaling of risks, and how good probabilities are: Brier score and calibration error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.results import Result

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["PlattScaling", "brier_score", "calibration_error"]

BINS = 10


@dataclass(frozen=True, slots=True)
class PlattScaling(Result):
    """The probability of success as a function of a risk: 1 / (1 + exp(slope risk + intercept)).

    Parameters
    ----------
    slope, intercept : float
        Of the log odds of failure.

    References
    ----------
    J. Platt, in Advances in Large Margin Classifiers (1999) 61, with his targets, which are a
    little off 0 and 1, so that few runs do not make a probability certain.

    Examples
    --------
    >>> scaling = PlattScaling.fit([-1.0, -0.5, 0.5, 1.0] * 25, [True, True, False, True] * 25)
    >>> [round(float(p), 2) for p in scaling([-1.0, 1.0])]
    [0.92, 0.54]
    """

    slope: float
    intercept: float

    @classmethod
    def fit(cls, risks: ArrayLike, success: ArrayLike) -> PlattScaling:
        """Fit the two numbers by maximum likelihood.

        Parameters
        ----------
        risks : (k,) array of float
            Of runs that the score was not fitted to.
        success : (k,) array of bool
            Whether they succeeded.

        Raises
        ------
        InsufficientDataError
            Where all succeeded, or none.
        InvalidInputError
            Where a risk is not finite.
        """
        risk, good = np.asarray(risks, dtype=np.float64), np.asarray(success, dtype=bool)
        if not np.isfinite(risk).all():
            raise InvalidInputError("a risk is not finite; a score must give numbers")
        worked, failed = int(good.sum()), int((~good).sum())
        if not worked or not failed:
            raise InsufficientDataError(
                f"{worked} of {len(good)} succeeded; to calibrate a risk takes runs of "
                "both outcomes"
            )
        # The log odds of failure; the target of a success is 1 / (worked + 2).
        target = np.where(good, 1 / (worked + 2), (failed + 1) / (failed + 2))
        centre, spread = float(risk.mean()), float(risk.std()) or 1.0
        scaled = (risk - centre) / spread

        def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            odds = point[0] * scaled + point[1]
            value = (np.logaddexp(0.0, odds) - target * odds).sum()
            slope = expit(odds) - target
            return float(value), np.array([slope @ scaled, slope.sum()])

        start = np.array([0.0, np.log((failed + 1) / (worked + 1))])
        slope, intercept = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-8}).x
        return cls(float(slope / spread), float(intercept - slope * centre / spread))

    def __call__(self, risks: ArrayLike) -> NDArray[np.float64]:
        """(k,) array: the probability of success at each risk."""
        risk = np.asarray(risks, dtype=np.float64)
        return np.asarray(expit(-(self.slope * risk + self.intercept)), dtype=np.float64)


def brier_score(probability: ArrayLike, success: ArrayLike) -> NDArray[np.float64]:
    """(k,) array: the squared error of each probability; the mean of it is the Brier score.

    Examples
    --------
    >>> brier_score([0.75, 0.5], [True, False]).tolist()
    [0.0625, 0.25]
    """
    return (np.asarray(probability, np.float64) - np.asarray(success, np.float64)) ** 2


def calibration_error(probability: ArrayLike, success: ArrayLike, bins: int = BINS) -> float:
    """Return the expected calibration error, in bins of equally many runs.

    The mean, over the runs, of how far the share that succeeded in a bin is from the mean
    probability there. It is above 0 for a perfect forecast too, by the chance of each outcome.

    Parameters
    ----------
    probability : (k,) array of float
        Of success.
    success : (k,) array of bool
        What happened.
    bins : int
        How many; at most one for each run.

    Examples
    --------
    >>> calibration_error([0.2, 0.2, 0.8, 0.8], [False, False, True, False], bins=2)
    0.25
    """
    said, seen = np.asarray(probability, np.float64), np.asarray(success, np.float64)
    # Runs with the same probability stay together, whatever their order.
    order = np.lexsort((seen, said))
    bin_of = (np.searchsorted(said[order], said[order]) * min(bins, len(said))) // max(len(said), 1)
    difference = np.bincount(bin_of, (seen - said)[order])
    return float(np.abs(difference).sum() / max(len(said), 1))
