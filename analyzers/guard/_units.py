"""Sums that no order of adding changes: whole numbers of a small unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

UNIT = 2.0**-30
"""What is added up over a run is a multiple of this, so live and offline sums are equal."""


def in_units(values: ArrayLike) -> NDArray[np.int64]:
    """Return values as whole numbers of units, rounded."""
    return np.rint(np.asarray(values, dtype=np.float64) / UNIT).astype(np.int64)


def from_units(values: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return whole numbers of units as floats, without rounding."""
    return np.asarray(values * UNIT, dtype=np.float64)
