"""`fit_ridge_logistic`: logistic regression with a penalty, by Newton's method."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

__all__ = ["fit_ridge_logistic"]


def fit_ridge_logistic(
    features: NDArray[np.float64],
    labels: NDArray[np.bool_],
    weights: NDArray[np.float64],
    ridge: float,
    tolerance: float = 1e-8,
    max_iterations: int = 100,
) -> NDArray[np.float64]:
    """Return the intercept and the weights of the features, on the scale of the features.

    The penalty is ridge / 2 times the squared weights of the features when each is standardised
    (with `weights`); the intercept is free. A feature that does not vary gets the weight 0.

    Parameters
    ----------
    features : (n, p) array
        One row per sample.
    labels : (n,) array of bool
        What is predicted.
    weights : (n,) array
        How much each sample counts.
    ridge : float
        Strength of the penalty, positive, in units of the weights.

    Returns
    -------
    (1 + p,) array
        Log odds of True = first + features @ rest.

    Examples
    --------
    >>> features = np.array([[0.0], [0.0], [1.0], [1.0]])
    >>> labels = np.array([False, True, True, True])
    >>> intercept, slope = fit_ridge_logistic(features, labels, np.ones(4), ridge=1.0)
    >>> bool(slope > 0)
    True
    """
    mean = np.average(features, axis=0, weights=weights)
    spread = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weights))
    scale = np.where(spread > 1e-12, spread, np.inf)
    design = np.column_stack([np.ones(len(features)), (features - mean) / scale])
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 0.0
    found = _newton(design, labels, weights, penalty, tolerance, max_iterations)
    slopes = found[1:] / scale
    return np.concatenate([[found[0] - slopes @ mean], slopes])


def _newton(
    design: NDArray[np.float64],
    labels: NDArray[np.bool_],
    weights: NDArray[np.float64],
    penalty: NDArray[np.float64],
    tolerance: float,
    max_iterations: int,
) -> NDArray[np.float64]:
    """Minimise the penalised loss, halving a step for as long as it does not lower it."""

    def loss(point: NDArray[np.float64]) -> float:
        odds = design @ point
        return float(weights @ (np.logaddexp(0.0, odds) - labels * odds) + penalty @ point**2 / 2)

    point = np.zeros(design.shape[1])
    for _ in range(max_iterations):
        chance = expit(design @ point)
        gradient = design.T @ (weights * (chance - labels)) + penalty * point
        curvature = (design.T * (weights * chance * (1 - chance))) @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-6 and loss(point - size * step) > loss(point):
            size /= 2
        point = point - size * step
        if np.abs(step).max() < tolerance:
            break
    return point
