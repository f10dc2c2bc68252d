"""When a solver is done, and what it reports on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Literal, TypeAlias

__all__ = ["BALANCED", "Method", "Progress", "ProgressCallback", "Residuals", "StepsCallback"]

BALANCED = 1e-10
"""The largest share of the flow that may be out of balance at the end."""

Method: TypeAlias = Literal[
    "auto", "newton", "pcg", "banded", "lu", "amg", "spanning_tree", "multiscale", "osborne"
]
"""How to solve; see `estimate_potential`."""


@dataclass(frozen=True, slots=True)
class Residuals:
    """How far an estimate is from the minimum, in three ways that must all be small."""

    flow: float
    """sum |in - out| / sum (in + out) of the flow T |K'|, of the worst component."""
    step: float
    """The largest change of a difference of V by one more full Newton step, in units of V."""
    decrement: float
    """The squared Newton decrement over the action: twice the decrease still expected."""

    def are_small(self, tolerance: float) -> bool:
        """Return whether all three are: the gradient alone may hide a large error in V."""
        return self.step <= tolerance and self.decrement <= 1e-12 and self.flow <= BALANCED


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a long solve stands."""

    method: str
    """What is at work: "pcg", "banded", "lu", "amg", "spanning_tree", "multiscale" or "osborne"."""
    iterations: int
    """Newton steps or sweeps so far."""
    inner_iterations: int
    """Conjugate gradient iterations so far."""
    residuals: Residuals
    """At the current estimate."""

    @property
    def percent(self) -> int:
        """How many of the digits are there to which the flow is to balance, in percent."""
        if not 0 < self.residuals.flow < 1:
            return 100 if self.residuals.flow == 0 else 0
        return min(100, round(100 * log(self.residuals.flow) / log(BALANCED)))


ProgressCallback: TypeAlias = Callable[[Progress], object]
"""Called after each step; it may raise StopIteration to end the solve where it is."""

StepsCallback: TypeAlias = Callable[[int, int], object]
"""Called now and then with the steps done and the steps in all."""
