"""How wide the values of a potential spread, and the action that this lets one expect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import erfcx
from scipy.stats import shapiro

from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.potential.estimate import Potential
from detailed_balance.analyzers.results import Result

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["PotentialSpread", "expected_minimum_action", "fit_spread"]

_FEWEST = 3
_MOST_TESTED = 5_000  # beyond it Shapiro and Wilk's p-value is not accurate


def expected_minimum_action(deviation: ArrayLike, *, asymptotic: bool = False) -> Any:
    r"""Return the least action to expect of a potential whose values are Gaussian (eq. 28).

    Two states drawn at random differ by x = beta (V(f) - V(g)), Gaussian with variance 2 s^2. The
    paper lets a pair cost exp(-\|x\|) of what it costs without a potential. The mean of that is
    exp(s^2) erfc(s), which tends to 1 / (sqrt(pi) s) for a wide potential.

    Parameters
    ----------
    deviation : array_like of float
        s, the standard deviation of beta V; 0 or more.
    asymptotic : bool
        Whether to return 1 / (sqrt(pi) s), as the paper does. It is above the exact value by
        about 1 / (2 s^2) of it.

    Returns
    -------
    float, or array of the shape of `deviation`
        In units of K(0).

    Raises
    ------
    InvalidInputError
        Where s is negative or no number.

    Notes
    -----
    With K(x) = exp(-x / 2) no pair in detailed balance costs that. Relative to K(0) one costs
    exp(-\|x\| / 2) where the larger rate is fixed, as in a Metropolis walk, and 1 / cosh(x / 2)
    where the sum of both rates is. For the first give s / 2; the second is more still.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 28.

    Examples
    --------
    >>> round(expected_minimum_action(4.38, asymptotic=True), 3)
    0.129
    >>> round(expected_minimum_action(4.38), 3), expected_minimum_action(0.0)
    (0.126, 1.0)
    """
    s = np.asarray(deviation, dtype=np.float64)
    if not np.all(s >= 0):
        raise InvalidInputError(f"a standard deviation is 0 or more; got {deviation!r}")
    with np.errstate(divide="ignore"):
        action = 1 / (math.sqrt(math.pi) * s) if asymptotic else erfcx(s)
    return float(action) if s.ndim == 0 else action


@dataclass(frozen=True, slots=True)
class PotentialSpread(Result):
    """The Gaussian that fits the values of a potential best.

    Parameters
    ----------
    states : int
        How many values there were, all of one strongly connected component.
    mean : float
        In units of V.
    deviation : float
        The standard deviation s, in units of 1 / beta, with n - 1 in the denominator.
    deviation_error : float
        Its standard error, s / sqrt(2 (n - 1)), which holds as far as the values are Gaussian.
    pvalue : float
        Of Shapiro and Wilk's test that they are; NaN beyond 5,000 states.
    beta : float
        The inverse temperature.
    """

    states: int
    mean: float
    deviation: float
    deviation_error: float
    pvalue: float
    beta: float

    @property
    def expected_action(self) -> float:
        """The least action to expect by `expected_minimum_action`, in units of K(0)."""
        return float(expected_minimum_action(self.deviation))

    def density(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the density of the Gaussian at values of V, per unit of V."""
        width = self.deviation / self.beta
        x = (np.asarray(values, dtype=np.float64) - self.mean) / width
        density: NDArray[np.float64] = np.exp(-(x**2) / 2) / (math.sqrt(2 * math.pi) * width)
        return density

    def _content(self) -> dict[str, Any]:
        return {
            "name": "PotentialSpread",
            **self._fields(),
            "expected_action": self.expected_action,
        }


def fit_spread(potential: Potential) -> PotentialSpread:
    """Fit a Gaussian to the values of a potential.

    Between strongly connected components the potential has no finite differences, so that only
    the largest component counts.

    Raises
    ------
    InsufficientDataError
        Where the largest component has fewer than three states, or all its values are the same.

    References
    ----------
    Song et al., arXiv:2512.10047, Fig. 11 and Table IV.

    Examples
    --------
    >>> from detailed_balance.analyzers import TransitionCounts, estimate_potential
    >>> edges = [("a", "b", 9), ("b", "a", 1), ("b", "c", 9), ("c", "b", 1)]
    >>> spread = fit_spread(estimate_potential(TransitionCounts.from_edges(edges), attempts=10))
    >>> round(spread.deviation, 4)  # V falls by log(9) twice
    2.1972
    """
    labels = potential.components
    values = potential.heights[labels == np.bincount(labels).argmax()]
    if len(values) < _FEWEST or np.ptp(values) == 0:
        raise InsufficientDataError(
            f"the largest strongly connected component has {len(values)} states with "
            f"{len(np.unique(values))} values; a spread needs {_FEWEST} states that differ"
        )
    beta = potential.violation.beta
    deviation = beta * float(np.std(values, ddof=1))
    return PotentialSpread(
        len(values),
        float(np.mean(values)),
        deviation,
        deviation / math.sqrt(2 * (len(values) - 1)),
        float(shapiro(values).pvalue) if len(values) <= _MOST_TESTED else math.nan,
        beta,
    )
