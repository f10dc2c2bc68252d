"""A ridge logistic model, and the folds in which its features are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fit_ridge_logistic(
    features: NDArray[np.float64],
    labels: NDArray[np.bool_],
    weights: NDArray[np.float64],
    ridge: float,
) -> NDArray[np.float64]:
    """(p + 1,) array: the log odds of True, as the intercept and the weights of (n, p) features.

    The penalty is ridge / 2 times the squared weights of the features when each is standardised
    (with `weights`); the intercept is free. A feature that does not vary gets the weight 0.
    """
    share = weights / weights.sum()
    mean = share @ features
    design = np.column_stack([np.ones(len(features)), features - mean])
    spread = np.sqrt(share @ design[:, 1:] ** 2)
    scale = np.where(spread > 1e-12, spread, np.inf)
    design[:, 1:] /= scale
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 0.0

    def loss(point: Any) -> tuple[float, Any]:
        odds = design @ point
        value = weights @ (np.logaddexp(0.0, odds) - labels * odds) + penalty @ point**2 / 2
        return float(value), design.T @ (weights * (expit(odds) - labels)) + penalty * point

    def curvature(point: Any) -> Any:
        chance = expit(design @ point)
        root = design * np.sqrt(weights * chance * (1 - chance))[:, None]
        return root.T @ root + np.diag(penalty)

    start = np.zeros(design.shape[1])
    settings: Any = {"jac": True, "hess": curvature, "method": "trust-exact"}
    found = minimize(loss, start, options={"gtol": 1e-8}, **settings).x
    slopes = found[1:] / scale
    return np.concatenate([[found[0] - slopes @ mean], slopes])


def deal_folds(
    failed: NDArray[np.bool_], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(r,) array: the fold of each run, dealt out at random so that each has both outcomes."""
    parts = np.empty(len(failed), dtype=np.int64)
    for outcome in (True, False):
        (members,) = np.nonzero(failed == outcome)
        parts[rng.permutation(members)] = np.arange(len(members)) % folds
    return parts
