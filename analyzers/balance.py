"""`check_balance`: where detailed balance holds, where it fails, and by which loops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from scipy.stats import false_discovery_control, fisher_exact, norm

from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.loops import LoopTable, find_loops, lookup
from detailed_balance.analyzers.pairs import (
    Errors,
    OneWayTable,
    PairTable,
    compare_pairs,
    list_one_way_pairs,
    pair_statistics,
)
from detailed_balance.analyzers.potential import Potential, estimate_potential
from detailed_balance.analyzers.tables import Table, plain, times, to_frame

__all__ = ["BalanceReport", "Kind", "Violation", "check_balance"]

Kind: TypeAlias = Literal["structural", "habitual", "suspect", "unclassified"]
"""What a violation is, by evidence; see `Violation.kind`."""

POWER = 0.8
"""The chance of finding a violation, wherever this library says how much data is enough."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A loop that the agent is driven round.

    Parameters
    ----------
    loop : tuple of str
        The states in the order in which they are walked; the last leads back to the first.
    affinity : float
        Log of forward over backward counts, multiplied up along the loop; in nats, above 0.
    error : float
        Its standard error.
    pvalue : float
        Adjusted for the number of loops tested (Benjamini and Hochberg).
    counts : (int, int)
        The smallest count along the loop, forward and backward: it was walked at most so often.
    kind : {"structural", "habitual", "suspect", "unclassified"}
        Structural: each step was the only exit ever seen from its state, so the loop is driven by
        design. Habitual: the baseline walks it as often. Suspect: walked more often than in the
        baseline. Unclassified: there was nothing to compare with.
    odds_ratio : float
        Odds of walking this loop here over those in the baseline; NaN without a baseline.
    trajectories : tuple of str
        Examples that walked it, where the source knows trajectories.
    """

    loop: tuple[str, ...]
    affinity: float
    error: float
    pvalue: float
    counts: tuple[int, int]
    kind: Kind = "unclassified"
    odds_ratio: float = float("nan")
    trajectories: tuple[str, ...] = ()

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval of the affinity, in nats."""
        half = float(norm.ppf(0.5 + confidence / 2)) * self.error
        return self.affinity - half, self.affinity + half

    def describe(self) -> str:
        """Say in one sentence what was found."""
        path = " -> ".join((*self.loop, self.loop[0]))
        return (
            f"{path} is driven ({self.kind}): affinity {self.affinity:.2f} +- {self.error:.2f} "
            f"nats, adjusted p = {self.pvalue:.2g}, walked at most "
            f"{times(self.counts[0])} this way round and {times(self.counts[1])} the other"
        )


@dataclass(frozen=True, slots=True, eq=False)
class BalanceReport:
    """What `check_balance` found.

    Parameters
    ----------
    pairs : PairTable
        Pairs walked both ways.
    one_way_pairs : OneWayTable
        Pairs walked one way only.
    loops : LoopTable
        Every loop that was tested, strongest first.
    violations : tuple of Violation
        The loops whose adjusted p-value is at most `alpha`, strongest first.
    chi2 : float
        Sum of z^2 over the resolved pairs.
    degrees_of_freedom : int
        Resolved pairs less the differences of V among their states; 0 on a tree, where any counts
        agree with some potential.
    correlation : float
        Pearson r of log ratio and prediction over the resolved pairs; NaN for fewer than 3.
    explained : float
        Share of the squared log ratios, weighted by 1 / error^2, that the potential accounts for.
    pvalue : float
        Of detailed balance on all loops together: the smallest adjusted p-value (Simes); NaN
        where no loop could be tested.
    alpha : float
        The false discovery rate of `violations`.
    errors : str
        The error formula.
    potential : Potential
        The potential that the pairs were held against.
    """

    pairs: PairTable
    one_way_pairs: OneWayTable
    loops: LoopTable
    violations: tuple[Violation, ...]
    chi2: float
    degrees_of_freedom: int
    correlation: float
    explained: float
    pvalue: float
    alpha: float
    errors: Errors
    potential: Potential

    def detectable_affinity(self) -> float:
        """Return the smallest affinity that the best resolved loop would show, in nats.

        With 80% probability at level alpha over all tested loops; inf where there is none.
        """
        if not len(self.loops):
            return float("inf")
        level = norm.isf(self.alpha / 2 / len(self.loops)) + norm.ppf(POWER)
        return float(level * self.loops.error.min())

    def to_table(self) -> Table:
        """Return the loops, strongest first; see `LoopTable`."""
        return self.loops.to_table()

    def to_frame(self) -> Any:
        """Return `to_table` as a pandas DataFrame."""
        return to_frame(self.to_table())

    def to_dict(self) -> dict[str, Any]:
        """Return everything in types that JSON has, settings included."""
        result = {
            "violations": [
                {**plain(violation), "interval": violation.interval()}
                for violation in self.violations
            ],
            "pairs": self.pairs.to_table(),
            "one_way_pairs": self.one_way_pairs.to_table(),
            "loops": self.loops.to_table(),
            "untested_loops": self.loops.untested,
            "chi2": self.chi2,
            "degrees_of_freedom": self.degrees_of_freedom,
            "correlation": self.correlation,
            "explained": self.explained,
            "pvalue": self.pvalue,
            "detectable_affinity": self.detectable_affinity(),
            "settings": {"alpha": self.alpha, "errors": self.errors},
        }
        return dict(plain(result))


def check_balance(
    counts: TransitionCounts,
    potential: Potential | None = None,
    *,
    alpha: float = 0.05,
    errors: Errors = "multinomial",
    baseline: TransitionCounts | None = None,
) -> BalanceReport:
    """Hold the recorded transitions against detailed balance, pair by pair and loop by loop.

    Parameters
    ----------
    counts : TransitionCounts
        What was recorded; START and END are left out.
    potential : Potential
        Estimated from the same counts; by default with the default settings.
    alpha : float
        The false discovery rate of the violations.
    errors : {"multinomial", "paper"}
        Variance of a pair's log ratio: 1/n_fg - 1/N_f + 1/n_gf - 1/N_g, or the paper's, with plus
        signs, which is too large and pulls its chi-square per degree of freedom under 1.
    baseline : TransitionCounts
        Of runs that were as they should be; tells habitual loops from suspect ones.

    Returns
    -------
    BalanceReport
        The statistics and the violations.

    Raises
    ------
    InsufficientDataError
        Where there is no loop of three or more states to test; its `partial` is the report
        without it.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 5, 7 and 25, Fig. 3 and 4.

    Examples
    --------
    >>> edges = [("a", "b", 90), ("b", "c", 90), ("c", "a", 90)]
    >>> edges += [(target, source, 10) for source, target, _ in edges]
    >>> report = check_balance(TransitionCounts.from_edges(edges))
    >>> report.violations[0].loop
    ('a', 'b', 'c')
    """
    if not 0 < alpha < 1:
        raise InvalidInputError(f"alpha={alpha!r}; a level lies between 0 and 1")
    if errors not in get_args(Errors):
        raise InvalidInputError(f"errors={errors!r}; allowed are {', '.join(get_args(Errors))}")
    counts = counts.without_boundaries()
    potential = potential if potential is not None else estimate_potential(counts)
    counts = counts.restrict(potential.states)
    pairs = compare_pairs(counts, potential, errors)
    loops = find_loops(counts)
    report = BalanceReport(
        pairs,
        list_one_way_pairs(counts, potential),
        loops,
        _violations(counts, loops, alpha, baseline),
        **pair_statistics(pairs),
        pvalue=float(loops.adjusted.min()) if len(loops) else float("nan"),
        alpha=alpha,
        errors=errors,
        potential=potential,
    )
    if not len(loops):
        raise InsufficientDataError(_no_loop(loops.untested), report)
    return report


def _no_loop(untested: int) -> str:
    if untested:
        return (
            f"none of the {untested} loops was walked often enough to be tested (each pair of "
            "states 5 times): record more runs"
        )
    return (
        "detailed balance cannot be tested: the graph has no loop of three or more states. A "
        "pipeline has none; a finer state function may show one"
    )


def _violations(
    counts: TransitionCounts, loops: LoopTable, alpha: float, baseline: TransitionCounts | None
) -> tuple[Violation, ...]:
    found = [
        Violation(
            loops.names(i),
            float(loops.affinity[i]),
            float(loops.error[i]),
            float(loops.adjusted[i]),
            (int(loops.forward[i]), int(loops.backward[i])),
            kind="structural" if _only_exits(counts, loops.members[i]) else "unclassified",
        )
        for i in np.flatnonzero(loops.adjusted <= alpha).tolist()
    ]
    return tuple(found if baseline is None else _against(found, counts, baseline, alpha))


def _only_exits(counts: TransitionCounts, loop: tuple[int, ...]) -> bool:
    """Say whether each state of the loop was only ever left for the next one."""
    rows = counts.counts[list(loop), :].tocsr()
    exits = np.diff(rows.indptr) - (counts.counts.diagonal()[list(loop)] > 0)
    return bool(np.all(exits == 1))


def _against(
    found: list[Violation], counts: TransitionCounts, baseline: TransitionCounts, alpha: float
) -> list[Violation]:
    """Tell habitual violations from suspect ones by Fisher's exact test against a baseline."""
    if not found:
        return found
    walked = [_times_walked(baseline, violation.loop) for violation in found]
    tests = [
        fisher_exact(
            np.array([[v.counts[0], counts.total - v.counts[0]], [times, baseline.total - times]]),
            alternative="greater",
        )
        for v, times in zip(found, walked, strict=True)
    ]
    adjusted = false_discovery_control([test.pvalue for test in tests])
    return [
        replace(v, odds_ratio=float(test.statistic), kind=_kind(v.kind, p <= alpha, times))
        for v, test, p, times in zip(found, tests, adjusted, walked, strict=True)
    ]


def _kind(kind: Kind, over_represented: bool, times_in_baseline: int) -> Kind:
    if kind == "structural":
        return kind
    if over_represented:
        return "suspect"
    # A rare loop that a small baseline happens not to hold proves nothing either way.
    return "habitual" if times_in_baseline else "unclassified"


def _times_walked(counts: TransitionCounts, loop: tuple[str, ...]) -> int:
    """Return the smallest count along the loop, 0 where a state of it is unknown."""
    if not set(loop) <= set(counts.states):
        return 0
    ends = np.array([counts.index(state) for state in loop])
    return int(lookup(counts.counts, ends, np.roll(ends, -1)).min())
