"""The action as a function of the weights of features, and its minimum under an L1 penalty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array, diags_array

from detailed_balance.analyzers.action import ViolationFunction
from detailed_balance.analyzers.errors import (
    ConvergenceError,
    InsufficientDataError,
    InvalidInputError,
)
from detailed_balance.analyzers.kernel import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ActionProblem", "fit_path"]

_MAX_STEPS = 200
_MAX_SWEEPS = 200
_ACCURACY = 1e-8
"""Of the optimality conditions, as a share of the penalty that leaves no feature."""

_DENSE = 0.05
"""The share of all pairs that are moves, above which dense products are faster."""

_STEEPEST = 600.0
"""The most that beta x may be; beyond it exp overflows, and no feature is worth so much."""


@dataclass(frozen=True, slots=True, eq=False)
class ActionProblem:
    """S(theta) / S(0), where S(theta) = sum w K(theta . (phi(f) - phi(g))) over moves f -> g.

    Parameters
    ----------
    features : (n, p) array of float
        phi of each state, each feature divided by its scale.
    scales : (p,) array of float
        The standard deviation of each feature over the states; 1 where it is 0.
    sources, targets : (m,) array of int
        The states f and g of each move.
    weights : (m,) array of float
        w = T(g<-f).
    violation : ViolationFunction
        K.
    """

    features: NDArray[np.float64]
    scales: NDArray[np.float64]
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float64]
    violation: ViolationFunction

    @classmethod
    def from_kernel(
        cls, kernel: Kernel, features: NDArray[np.float64], violation: ViolationFunction
    ) -> ActionProblem:
        """Take the moves of a kernel and the (n, p) features of its states."""
        edges = kernel.probabilities.tocoo()
        moves = (edges.row != edges.col) & (edges.data > 0)
        source, target = edges.row[moves].astype(np.int64), edges.col[moves].astype(np.int64)
        if not np.any(features[source] != features[target]):
            raise InsufficientDataError(
                f"none of {features.shape[1]} features differs between the ends of any of "
                f"{len(source)} moves; other features, or other states, may distinguish them"
            )
        spread = features.std(axis=0)
        scales = np.where(spread > 0, spread, 1.0)
        weights = edges.data[moves].astype(np.float64)
        return cls(features / scales, scales, source, target, weights, violation)

    def restrict(self, states: NDArray[np.bool_]) -> ActionProblem:
        """Return the moves from these states, of (n,) bool."""
        kept = states[self.sources]
        parts = (self.sources[kept], self.targets[kept], self.weights[kept])
        return replace(self, sources=parts[0], targets=parts[1], weights=parts[2])

    def action(self, theta: NDArray[np.float64]) -> float:
        """Return S(theta) / S(0), theta per unit of each feature; 1 where there are no moves."""
        return self.value(theta * self.scales)

    def value(self, scaled: NDArray[np.float64]) -> float:
        """Return S / S(0) for weights per scale of the features; infinite where K overflows."""
        drops = self._drops(scaled)
        if np.any(np.abs(drops) * self.violation.beta > _STEEPEST):
            return np.inf
        free = self._action_at_zero
        return float(self.weights @ self.violation.value(drops)) / free if free else 1.0

    def derivatives(
        self, scaled: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the gradient (p,) and the Hessian (p, p) of `value`."""
        drops, n = self._drops(scaled), len(self.features)
        first = self.weights * self.violation.derivative(drops) / self._action_at_zero
        net = np.bincount(self.sources, first, n) - np.bincount(self.targets, first, n)
        # The Hessian in V is a graph Laplacian, and V is linear in theta.
        second = self.weights * self.violation.second_derivative(drops) / self._action_at_zero
        links = csr_array((second, (self.sources, self.targets)), shape=(n, n))
        degree = np.bincount(self.sources, second, n) + np.bincount(self.targets, second, n)
        laplacian = diags_array(degree) - links - links.T
        dense = links.nnz > _DENSE * n * n
        phi = self.features
        bent = np.asarray((laplacian.toarray() if dense else laplacian) @ phi)
        return phi.T @ net, phi.T @ bent

    def _drops(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        heights = self.features @ scaled
        drops: NDArray[np.float64] = heights[self.sources] - heights[self.targets]
        return drops

    def penalties(self, count: int) -> NDArray[np.float64]:
        """Return penalties from the least that leaves no feature down to a hundredth of it."""
        largest = float(np.abs(self.derivatives(np.zeros(len(self.scales)))[0]).max())
        return np.geomspace(largest, largest / 100, count)

    @property
    def _action_at_zero(self) -> float:
        """S(0)."""
        return float(self.weights.sum() * self.violation.value(np.zeros(1))[0])


def fit_path(problem: ActionProblem, penalties: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Minimise S(theta) / S(0) + penalty * sum of abs(scale * theta), one after another.

    Each is a proximal Newton descent from the one before: coordinate descent on the quadratic
    model, then a step length that lowers the true function.

    Parameters
    ----------
    problem : ActionProblem
        The moves; there must be some.
    penalties : (k,) array of float
        Above 0, best in falling order.

    Returns
    -------
    list of k (p,) arrays of float
        Theta per unit of each feature.

    Raises
    ------
    InvalidInputError
        Where a penalty is not positive: without one the minimum may lie at infinity.
    ConvergenceError
        Where a minimum was not reached.

    References
    ----------
    Lee, Sun, Saunders, *Proximal Newton-type methods for minimizing composite functions*, SIAM J.
    Optim. 24 (2014); Friedman, Hastie, Tibshirani, *Regularization paths for generalized linear
    models via coordinate descent*, J. Stat. Softw. 33 (2010).

    Examples
    --------
    >>> from detailed_balance.analyzers import Exponential
    >>> kernel = Kernel.from_matrix([[0.0, 0.1], [0.9, 0.0]])
    >>> problem = ActionProblem.from_kernel(kernel, np.array([[0.0], [1.0]]), Exponential())
    >>> fit_path(problem, np.array([1e-9]))[0].round(4).tolist()  # log 9
    [2.1972]
    """
    if not len(penalties) or not np.all(penalties > 0):
        raise InvalidInputError(f"a penalty is a number above 0; got {penalties.tolist()}")
    scaled = np.zeros(len(problem.scales))
    free = float(np.abs(problem.derivatives(scaled)[0]).max())
    found = []
    for penalty in penalties:
        scaled = _descend(problem, scaled, float(penalty), _ACCURACY * max(free, 1e-300))
        found.append(scaled / problem.scales)
    return found


def _descend(
    problem: ActionProblem, theta: NDArray[np.float64], penalty: float, accuracy: float
) -> NDArray[np.float64]:
    for _ in range(_MAX_STEPS):
        gradient, hessian = problem.derivatives(theta)
        missed = _violation(gradient, theta, penalty)
        if missed <= accuracy:
            return theta
        # Far from the minimum the model deserves no more digits than it has.
        target = _minimize_model(
            gradient, hessian, theta, penalty, missed * min(0.1, missed / penalty)
        )
        moved = _search_line(problem, theta, target, gradient, penalty)
        if moved is None:  # no digit is left to gain
            return theta
        theta = moved
    raise ConvergenceError(f"no minimum in {_MAX_STEPS} steps at the penalty {penalty:g}", theta)


def _violation(gradient: NDArray[np.float64], theta: NDArray[np.float64], penalty: float) -> float:
    """Return by how much the conditions of the minimum are missed."""
    idle = np.maximum(np.abs(gradient) - penalty, 0.0)
    return float(np.where(theta == 0, idle, np.abs(gradient + penalty * np.sign(theta))).max())


def _minimize_model(
    gradient: NDArray[np.float64],
    hessian: NDArray[np.float64],
    theta: NDArray[np.float64],
    penalty: float,
    accuracy: float,
) -> NDArray[np.float64]:
    """Minimise g.d + d.H.d / 2 + penalty * sum of abs(theta + d); return theta + d.

    A sweep over the coordinates finds which are used; a linear solve then settles these, which
    sweeps alone would take thousands for where features are nearly combinations of each other.
    """
    point, slope = theta.copy(), gradient.copy()
    curvature = np.maximum(np.diag(hessian), 1e-12 * max(float(np.diag(hessian).max()), 1e-300))
    for _ in range(_MAX_SWEEPS):
        idle = np.abs(slope) <= penalty
        for j in np.flatnonzero((point != 0) | ~idle):
            free = point[j] - slope[j] / curvature[j]
            new = np.sign(free) * max(abs(free) - penalty / curvature[j], 0.0)
            if new != point[j]:
                slope += hessian[:, j] * (new - point[j])
                point[j] = new
        if _violation(slope, point, penalty) <= accuracy:
            break
        moved = _settle(slope, hessian, point, penalty)
        slope += hessian @ (moved - point)
        point = moved
    return point


def _settle(
    slope: NDArray[np.float64],
    hessian: NDArray[np.float64],
    point: NDArray[np.float64],
    penalty: float,
) -> NDArray[np.float64]:
    """Go to the minimum of the model over the coordinates used, as far as no sign changes."""
    used = np.flatnonzero(point)
    if not len(used):
        return point
    force = -(slope[used] + penalty * np.sign(point[used]))
    step = np.linalg.lstsq(hessian[np.ix_(used, used)], force)[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.where(step * point[used] < 0, -point[used] / step, np.inf)
    length = min(1.0, float(crossing.min()))
    moved = point.copy()
    moved[used] = np.where(crossing <= length, 0.0, point[used] + length * step)
    return moved


def _search_line(
    problem: ActionProblem,
    theta: NDArray[np.float64],
    target: NDArray[np.float64],
    gradient: NDArray[np.float64],
    penalty: float,
) -> NDArray[np.float64] | None:
    """Return the first point on the way to `target` that lowers the penalised action enough."""
    step = target - theta
    here = problem.value(theta) + penalty * np.abs(theta).sum()
    promised = gradient @ step + penalty * (np.abs(target).sum() - np.abs(theta).sum())
    length = 1.0
    while length > 1e-12:
        point: NDArray[np.float64] = theta + length * step
        there = problem.value(point) + penalty * np.abs(point).sum()
        if there <= here + 1e-4 * length * promised + 1e-15 * abs(here):
            return point if np.any(point != theta) else None
        length /= 2
    return None
