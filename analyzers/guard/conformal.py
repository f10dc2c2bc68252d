"""How many successful runs set the threshold of a guard, and which threshold they set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

__all__ = ["calibration_size", "conformal_threshold", "fewest_runs"]


def conformal_threshold(maxima: Sequence[float], alpha: float) -> float | None:
    """Return the ceil((m + 1)(1 - alpha))-th smallest of m run maxima, None where m is too small.

    One more run, exchangeable with those, has a greater maximum with probability at most alpha.

    Examples
    --------
    >>> conformal_threshold([5.0, 1.0, 2.0, 4.0, 3.0, 6.0, 9.0, 7.0, 8.0], 0.1)
    9.0
    >>> conformal_threshold([1.0, 2.0, 3.0], 0.1) is None
    True
    """
    above = _allowed_above(len(maxima), alpha)
    return float(sorted(maxima, reverse=True)[above - 1]) if above else None


def fewest_runs(alpha: float) -> int:
    """Return the fewest run maxima that give a threshold.

    Examples
    --------
    >>> fewest_runs(0.1), fewest_runs(0.05)
    (9, 19)
    """
    return math.ceil(1 / _exactly(alpha)) - 1


def calibration_size(available: int, alpha: float, most: int) -> int | None:
    """Return how many run maxima set the threshold; None where too few are available.

    The share of successful runs stopped is floor((m + 1) alpha) / (m + 1) on average, so the
    numbers m at which the floor jumps up waste none of alpha. This is the largest of these that is
    no more than `most`, or the smallest of all.

    Examples
    --------
    >>> [calibration_size(n, 0.1, most=n // 2) for n in (8, 9, 30, 40, 100)]
    [None, 9, 9, 19, 49]
    """
    above = max(1, _allowed_above(min(most, available), alpha))
    m = math.ceil(above / _exactly(alpha)) - 1
    return m if m <= available else None


def _allowed_above(m: int, alpha: float) -> int:
    return math.floor((m + 1) * _exactly(alpha))


def _exactly(alpha: float) -> Fraction:
    """Return alpha as the decimal that it was written as: 30 * 0.1 is over 3, as floats go."""
    return Fraction(str(float(alpha)))
