"""`suggest_step_limit`: a recursion limit from the steps that successful runs took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log
from typing import Any

from scipy.stats import binom

from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.results import Result

__all__ = ["StepLimit", "suggest_step_limit"]


@dataclass(frozen=True, slots=True)
class StepLimit(Result):
    """How many steps to allow a run.

    Parameters
    ----------
    limit : int
        With the confidence asked for, at least `share` of runs that succeed take no more steps.
    share : float
        Of the runs that succeed; less than was asked for where they are too few.
    asked : float
        The share that was asked for.
    confidence : float
        The probability that such a limit holds.
    runs : int
        The successful runs that it rests on.
    needed : int
        The fewest that give a limit for the share asked for.
    longest : int
        The steps of the longest of them.
    """

    limit: int
    share: float
    asked: float
    confidence: float
    runs: int
    needed: int
    longest: int

    @property
    def enough(self) -> bool:
        """Whether there were runs enough for the share that was asked for."""
        return self.runs >= self.needed

    def describe(self) -> str:
        """Say in one or two sentences what the limit promises."""
        text = (
            f"a limit of {self.limit:,} steps stops at most {1 - self.share:.1%} of the runs that "
            f"would succeed, with confidence {self.confidence:.0%}, by {self.runs:,} successful "
            "runs"
        )
        if self.enough:
            return text
        return (
            f"{text}; that is the longest of them, and to keep the share at {1 - self.asked:.1%} "
            f"it takes {self.needed:,}"
        )

    def _content(self) -> dict[str, Any]:
        return {"name": "StepLimit", **self._fields(), "enough": self.enough}


def suggest_step_limit(
    steps: Sequence[int], *, share: float = 0.99, confidence: float = 0.95
) -> StepLimit:
    """Suggest how many steps to allow a run, from those that successful runs took.

    The limit is an order statistic: the k-th smallest of n, with the least k for which a binomial
    number of n trials at `share` stays under k with probability `confidence`. That holds whatever
    the distribution of the steps is, for runs that are independent and like those to come. Where n
    is too small for that, the limit is the longest run, and `share` what it can be trusted for.

    Parameters
    ----------
    steps : sequence of int
        Of each successful run.
    share : float
        Of successful runs that the limit must not stop.
    confidence : float
        How often a limit made so keeps that.

    Raises
    ------
    InsufficientDataError
        Where there is no successful run.
    InvalidInputError
        Where `share` or `confidence` is not between 0 and 1.

    References
    ----------
    S. S. Wilks, Annals of Mathematical Statistics 12 (1941) 91: distribution-free limits.

    Examples
    --------
    >>> limit = suggest_step_limit(range(1, 101), share=0.9)
    >>> limit.limit, limit.runs, limit.needed  # P(Bin(100, 0.9) <= 94) = 0.9424, <= 95: 0.9763
    (96, 100, 29)
    >>> print(suggest_step_limit([7, 9, 30]).describe())
    a limit of 30 steps stops at most 63.2% of the runs that would succeed, with confidence 95%, \
by 3 successful runs; that is the longest of them, and to keep the share at 1.0% it takes 299
    """
    for name, value in (("share", share), ("confidence", confidence)):
        if not 0 < value < 1:
            raise InvalidInputError(f"{name}={value!r}; it must lie between 0 and 1")
    n, needed = len(steps), fewest_for_limit(share, confidence)
    if not n:
        raise InsufficientDataError(
            "no run is known to have succeeded, so there is no limit to suggest: judge runs "
            "(TransitionStore.judge), or name the field that says so (success_field)"
        )
    ordered = sorted(steps)
    if n < needed:
        kept = (1 - confidence) ** (1 / n)
        return StepLimit(ordered[-1], kept, share, confidence, n, needed, ordered[-1])
    k = min(int(binom.ppf(confidence, n, share)) + 1, n)
    return StepLimit(ordered[k - 1], share, share, confidence, n, needed, ordered[-1])


def fewest_for_limit(share: float, confidence: float) -> int:
    """Return the fewest runs whose longest bounds that share of all, 1 - share**n >= confidence.

    Examples
    --------
    >>> fewest_for_limit(0.95, 0.95), fewest_for_limit(0.99, 0.95)
    (59, 299)
    """
    return ceil(log(1 - confidence) / log(share))
