"""Risks as probabilities by logistic regression, their Brier score and their calibration error."""

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

__all__ = ["PlattScaling", "ProgressScaling", "brier_score", "calibration_error", "rank_bins"]

BINS = 10
RIDGE = 0.01
"""Half of it times the squared coefficients is their penalty. Where all runs are alike, their
out-of-fold risks differ by the outcomes of other folds alone, and that must not be magnified."""


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
        risk = np.asarray(risks, dtype=np.float64)
        intercept, slope = _fit_logistic(risk[:, None], success, np.ones(len(risk)), 0.0)
        return cls(slope, intercept)

    def __call__(self, risks: ArrayLike) -> NDArray[np.float64]:
        """(k,) array: the probability of success at each risk."""
        risk = np.asarray(risks, dtype=np.float64)
        return np.asarray(expit(-(self.slope * risk + self.intercept)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class ProgressScaling(Result):
    """The probability of success as a function of the risk, state and moves of a run that goes on.

    The log odds of failure are linear in the risk, in the log odds ratio of the state, in L =
    log(moves), in risk times L and in L squared: the same risk can mean something else early and
    late.

    Parameters
    ----------
    intercept, of_risk, of_state, of_moves, of_both, of_square : float
        The coefficients, in this order.

    Examples
    --------
    >>> early = ProgressScaling(0.0, 1.0, 0.0, 0.5, 0.0, 0.0)
    >>> [round(float(p), 2) for p in early([0.0, 0.0], [0.0, 0.0], [1, 20])]
    [0.5, 0.18]
    """

    intercept: float
    of_risk: float
    of_state: float
    of_moves: float
    of_both: float
    of_square: float

    @classmethod
    def fit(
        cls,
        risks: ArrayLike,
        odds: ArrayLike,
        moves: ArrayLike,
        success: ArrayLike,
        weights: ArrayLike | None = None,
    ) -> ProgressScaling:
        """Fit the coefficients by maximum likelihood with a small penalty.

        For runs that go on, give weights that depend on nothing but the moves so far. Weights by
        the length of the whole run, or the middle of each run alone, use what nobody knows yet.

        Parameters
        ----------
        risks : (k,) array of float
            Of runs that the score was not fitted to, after some of their moves.
        odds : (k,) array of float
            The log odds ratio of failure of other runs in the same state.
        moves : (k,) array of int
            How many moves the run had made, 1 or more.
        success : (k,) array of bool
            Whether it succeeded in the end.
        weights : (k,) array of float, optional
            Equal by default.

        Raises
        ------
        InsufficientDataError
            Where all succeeded, or none.
        InvalidInputError
            Where a risk is not finite.
        """
        terms = _terms(risks, odds, moves)
        weight = np.ones(len(terms)) if weights is None else np.asarray(weights, dtype=np.float64)
        return cls(*_fit_logistic(terms, success, weight, RIDGE))

    def __call__(self, risks: ArrayLike, odds: ArrayLike, moves: ArrayLike) -> NDArray[np.float64]:
        """(k,) array: the probability of success at each risk, state and number of moves."""
        slopes = (self.of_risk, self.of_state, self.of_moves, self.of_both, self.of_square)
        found = self.intercept + _terms(risks, odds, moves) @ np.array(slopes)
        return np.asarray(expit(-found), dtype=np.float64)


def _terms(risks: ArrayLike, odds: ArrayLike, moves: ArrayLike) -> NDArray[np.float64]:
    """(k, 5) array: what the log odds of `ProgressScaling` are linear in."""
    risk, log = np.asarray(risks, dtype=np.float64), np.log(np.asarray(moves, dtype=np.float64))
    return np.stack([risk, np.asarray(odds, np.float64), log, risk * log, log * log], axis=1)


def _fit_logistic(
    features: NDArray[np.float64], success: ArrayLike, weights: NDArray[np.float64], ridge: float
) -> list[float]:
    """Return the intercept and slopes of the log odds of failure, with Platt's targets."""
    good = np.asarray(success, dtype=bool)
    if not np.isfinite(features).all():
        raise InvalidInputError("a risk is not finite; a score must give numbers")
    worked, failed = int(good.sum()), int((~good).sum())
    if not worked or not failed:
        raise InsufficientDataError(
            f"{worked} of {len(good)} succeeded; to calibrate a risk takes runs of both outcomes"
        )
    # The log odds of failure; the target of a success is 1 / (worked + 2).
    target = np.where(good, 1 / (worked + 2), (failed + 1) / (failed + 2))
    centre, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread < 1e-9] = 1.0
    design = np.column_stack([np.ones(len(good)), (features - centre) / spread])
    penalty = np.concatenate([[0.0], ridge / spread**2])

    def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        odds = design @ point
        value = weights @ (np.logaddexp(0.0, odds) - target * odds) + penalty @ point**2 / 2
        return float(value), design.T @ (weights * (expit(odds) - target)) + penalty * point

    start = np.zeros(design.shape[1])
    start[0] = np.log((failed + 1) / (worked + 1))
    point = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-8}).x
    slopes = point[1:] / spread
    return [float(point[0] - slopes @ centre), *slopes.tolist()]


def brier_score(probability: ArrayLike, success: ArrayLike) -> NDArray[np.float64]:
    """(k,) array: the squared error of each probability; the mean of it is the Brier score.

    Examples
    --------
    >>> brier_score([0.75, 0.5], [True, False]).tolist()
    [0.0625, 0.25]
    """
    return (np.asarray(probability, np.float64) - np.asarray(success, np.float64)) ** 2


def calibration_error(
    probability: ArrayLike, success: ArrayLike, bins: int = BINS, parts: ArrayLike | None = None
) -> float:
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
    parts : (k,) array of int, optional
        The part of each run, where the probabilities of a part come from the outcomes of the
        others. The bin is then the rank within the part.

    Examples
    --------
    >>> calibration_error([0.2, 0.2, 0.8, 0.8], [False, False, True, False], bins=2)
    0.25
    """
    said, seen = np.asarray(probability, np.float64), np.asarray(success, np.float64)
    part = np.zeros(len(said), np.int64) if parts is None else np.asarray(parts, np.int64)
    order = np.lexsort((part, seen, said))  # the same sums whatever the order of runs
    difference = np.bincount(rank_bins(said, part, bins)[order], (seen - said)[order])
    return float(np.abs(difference).sum() / max(len(said), 1))


def rank_bins(
    probability: NDArray[np.float64], parts: NDArray[np.int64], bins: int = BINS
) -> NDArray[np.int64]:
    """(k,) array: the bin of each run, by the rank of its probability within its part.

    Runs of a part with the same probability stay together. Ranks over all parts would hold the
    outcomes of a part against themselves: where it had more successes by chance, the others had
    fewer, and its probabilities are a little lower.

    Examples
    --------
    >>> rank_bins(np.array([0.1, 0.9, 0.5, 0.5]), np.array([0, 0, 1, 1]), bins=2).tolist()
    [0, 1, 0, 0]
    """
    found = np.zeros(len(probability), dtype=np.int64)
    for part in np.unique(parts).tolist():
        (here,) = np.nonzero(parts == part)
        below = np.searchsorted(np.sort(probability[here]), probability[here])
        found[here] = below * min(bins, len(here)) // len(here)
    return found
