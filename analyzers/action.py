"""Violation functions K, and the action that they define."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy.special import expit

from detailed_balance.analyzers.errors import InvalidInputError, ViolationFunctionError

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = [
    "CustomViolation",
    "Exponential",
    "Softplus",
    "ViolationFunction",
    "check_violation_function",
]


class ViolationFunction(Protocol):
    """A convex K with K'(x) = K'(-x) exp(-beta x); x = V(f) - V(g), the drop of a move f -> g.

    All methods take and return (m,) arrays of float.
    """

    @property
    def beta(self) -> float:
        """The inverse temperature, in units of 1 / V."""
        ...

    def value(self, x: NDArray[np.float64], /) -> NDArray[np.float64]:
        """K(x)."""
        ...

    def derivative(self, x: NDArray[np.float64], /) -> NDArray[np.float64]:
        """K'(x)."""
        ...

    def second_derivative(self, x: NDArray[np.float64], /) -> NDArray[np.float64]:
        """K''(x)."""
        ...


@dataclass(frozen=True, slots=True)
class Exponential:
    """K(x) = exp(-beta x / 2), the paper's choice.

    Its minimiser balances the kernel: scaled by exp(-beta V / 2) on one side and by its inverse
    on the other, every state receives as much as it gives (Osborne's L1 matrix balancing).

    Examples
    --------
    >>> float(Exponential(beta=2.0).value(np.array([1.0]))[0])
    0.36787944117144233
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        _check_beta(self.beta)

    def value(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """K(x)."""
        return np.exp(-0.5 * self.beta * x)

    def derivative(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """K'(x)."""
        return -0.5 * self.beta * np.exp(-0.5 * self.beta * x)

    def second_derivative(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """K''(x)."""
        return 0.25 * self.beta**2 * np.exp(-0.5 * self.beta * x)


@dataclass(frozen=True, slots=True)
class Softplus:
    """K(x) = log(1 + exp(-beta x)).

    Its minimiser is the Bradley-Terry maximum likelihood estimate, a move f -> g being a
    comparison that g won. Large drops cost it less than they cost `Exponential`.

    Examples
    --------
    >>> float(Softplus().value(np.array([0.0]))[0])
    0.6931471805599453
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        _check_beta(self.beta)

    def value(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """K(x)."""
        return np.logaddexp(0.0, -self.beta * x)

    def derivative(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """K'(x)."""
        return np.asarray(-self.beta * expit(-self.beta * x))

    def second_derivative(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """K''(x)."""
        return np.asarray(self.beta**2 * expit(self.beta * x) * expit(-self.beta * x))


@dataclass(frozen=True, slots=True)
class CustomViolation:
    """A violation function of your own, checked when it is made.

    Parameters
    ----------
    value, derivative, second_derivative : callable
        K, K' and K'', each from an (m,) array to an (m,) array.
    beta : float
        The inverse temperature in K'(x) = K'(-x) exp(-beta x).

    Raises
    ------
    ViolationFunctionError
        Where K is not convex, lacks the symmetry, or a derivative is not that of K; the message
        names the x.

    Examples
    --------
    >>> half = CustomViolation(
    ...     value=lambda x: 3 * np.exp(-x / 2),
    ...     derivative=lambda x: -1.5 * np.exp(-x / 2),
    ...     second_derivative=lambda x: 0.75 * np.exp(-x / 2),
    ... )
    >>> float(half.value(np.array([0.0]))[0])
    3.0
    """

    value: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    derivative: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    second_derivative: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    beta: float = 1.0

    def __post_init__(self) -> None:
        check_violation_function(self)


def check_violation_function(violation: ViolationFunction) -> None:
    """Check K on a grid of 401 points of beta x in [-20, 20].

    Raises
    ------
    ViolationFunctionError
        Naming the first x where a value is not finite, K' or K'' is not the derivative of K or
        K', K is not convex, or K'(x) = K'(-x) exp(-beta x) fails.

    Examples
    --------
    >>> check_violation_function(Softplus(beta=2.0))
    """
    if isinstance(violation, Exponential | Softplus):
        return
    beta = _check_beta(getattr(violation, "beta", None))
    x = np.linspace(-20.0, 20.0, 401) / beta
    first, second = _on_grid(violation.derivative, x), _on_grid(violation.second_derivative, x)
    _on_grid(violation.value, x)
    _require(second >= 0, x, "K is not convex: K''(x) is negative")
    _require(
        np.isclose(first, first[::-1] * np.exp(-beta * x), rtol=1e-6, atol=0),
        x,
        f"K'(x) = K'(-x) exp(-beta x) with beta = {beta:g} does not hold",
    )
    step = 1e-5 / beta
    _require(
        np.isclose(_slope(violation.value, x, step), first, rtol=1e-3, atol=1e-6 * beta),
        x,
        "derivative(x) is not the slope of value(x)",
    )
    _require(
        np.isclose(_slope(violation.derivative, x, step), second, rtol=1e-3, atol=1e-6 * beta**2),
        x,
        "second_derivative(x) is not the slope of derivative(x)",
    )


def _check_beta(beta: Any) -> float:
    if not isinstance(beta, int | float) or not 0 < beta < np.inf:
        raise InvalidInputError(f"beta={beta!r}; beta is a finite positive number")
    return float(beta)


def _on_grid(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    result = np.asarray(function(x), dtype=np.float64)
    if result.shape != x.shape:
        raise ViolationFunctionError(
            f"a violation function maps an array of shape {x.shape} to one of the same shape; "
            f"got {result.shape}"
        )
    _require(np.isfinite(result), x, "K, K' and K'' must be finite")
    return result


def _slope(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    x: NDArray[np.float64],
    step: float,
) -> NDArray[np.float64]:
    return (np.asarray(function(x + step)) - np.asarray(function(x - step))) / (2 * step)


def _require(holds: NDArray[np.bool_], x: NDArray[np.float64], claim: str) -> None:
    if not holds.all():
        where = x[int(np.argmin(holds))]
        raise ViolationFunctionError(
            f"{claim} at x = {where:g}; use Exponential(), Softplus() or a K that is convex and "
            "has that symmetry"
        )
