"""`Violation`: a loop that the agent is driven round, its kind and the evidence for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from scipy.stats import norm

from detailed_balance.analyzers.results import times

__all__ = ["Kind", "Violation"]

Kind: TypeAlias = Literal["structural", "habitual", "suspect", "unclassified"]
"""What a violation is, by evidence; see `Violation.kind`."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A loop that the agent is driven round.

    Parameters
    ----------
    loop : tuple of str
        The states in the order in which they are walked; the last leads back to the first.
    affinity : float
        Log of forward over backward counts, multiplied up along the loop; in nats, above 0. Of a
        loop that was searched for, in the half of the moves that did not choose it.
    error : float
        Its standard error.
    pvalue : float
        Adjusted for the number of loops tested (the report's `correction`).
    counts : (int, int)
        The smallest count along the loop, forward and backward: it was walked at most so often.
    kind : {"structural", "habitual", "suspect", "unclassified"}
        Structural: each step is the only exit that the agent's graph allows from its state, or,
        where no graph was given, the only one ever seen, so the loop is driven by design.
        Habitual: successful runs, or the baseline, walk it as often. Suspect: walked more often
        in failed runs, or than in the baseline. Unclassified: nothing to compare with.
    odds_ratio : float
        Odds of walking this loop in failed runs over those in successful ones, or here over
        those in the baseline; NaN without either.
    odds_pvalue : float
        Of an odds ratio above 1: Fisher's exact test, adjusted for the number of violations.
    flux_share : float
        Net moves that going round this loop accounts for, at most, over all net moves: its length
        times its smallest net count, over the sum of |n_fg - n_gf|. 0 where the net count of some
        step runs against it. Loops that share steps share flux, so the shares do not add up.
    trajectories : tuple of str
        Up to 3 runs that walked it, failed ones first, then those that walked it most.
    evidence : str
        What the kind rests on, in words.

    Examples
    --------
    >>> violation = Violation(("a", "b", "c"), 6.59, 0.58, 1e-9, (90, 10))
    >>> low, high = violation.interval()
    >>> round(low, 2), round(high, 2)
    (5.45, 7.73)
    """

    loop: tuple[str, ...]
    affinity: float
    error: float
    pvalue: float
    counts: tuple[int, int]
    kind: Kind = "unclassified"
    odds_ratio: float = float("nan")
    odds_pvalue: float = float("nan")
    flux_share: float = float("nan")
    trajectories: tuple[str, ...] = ()
    evidence: str = ""

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval of the affinity, in nats."""
        half = float(norm.ppf(0.5 + confidence / 2)) * self.error
        return self.affinity - half, self.affinity + half

    def describe(self) -> str:
        """Say in one sentence what was found."""
        path = " -> ".join((*self.loop, self.loop[0]))
        because = f": {self.evidence}" if self.evidence else ""
        return (
            f"{path} is driven ({self.kind}{because}): affinity {self.affinity:.2f} +- "
            f"{self.error:.2f} nats, adjusted p = {self.pvalue:.2g}, walked at most "
            f"{times(self.counts[0])} this way round and {times(self.counts[1])} the other"
        )
