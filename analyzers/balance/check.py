"""`check_balance`: where detailed balance holds, where it fails, and by which loops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from scipy.stats import norm

from detailed_balance.analyzers.balance.classification import (
    AgentGraph,
    compare_with_baseline,
    compare_with_outcomes,
    mark_structural,
)
from detailed_balance.analyzers.balance.loops import Correction, LoopTable, find_loops, loop_shares
from detailed_balance.analyzers.balance.pairs import (
    Errors,
    OneWayTable,
    PairTable,
    compare_pairs,
    list_one_way_pairs,
    pair_statistics,
)
from detailed_balance.analyzers.balance.power import POWER, needed_attempts
from detailed_balance.analyzers.balance.violation import Violation
from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.potential.estimate import Potential, estimate_potential
from detailed_balance.analyzers.results import Table, TableResult, plain
from detailed_balance.analyzers.runs.trajectory import Trajectory

__all__ = ["BalanceReport", "check_balance"]


@dataclass(frozen=True, slots=True, eq=False)
class BalanceReport(TableResult):
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
    mean_square : float
        The mean of z^2 over the resolved pairs: how many errors, squared, a pair lies from the
        potential; NaN where there are none. It is no test: V is that of least action and not of
        least squares, and where runs differ the errors of pairs are too small.
    independent_loops : int
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
    correction : str
        How the p-values were adjusted.
    potential : Potential
        The potential that the pairs were held against.
    """

    pairs: PairTable
    one_way_pairs: OneWayTable
    loops: LoopTable
    violations: tuple[Violation, ...]
    mean_square: float
    independent_loops: int
    correlation: float
    explained: float
    pvalue: float
    alpha: float
    errors: Errors
    correction: Correction
    potential: Potential

    def detectable_affinity(self) -> float:
        """Return the smallest affinity that the best resolved loop would show, in nats.

        With 80% probability at level alpha over all tested loops; inf where there is none.
        """
        if not len(self.loops):
            return float("inf")
        level = norm.isf(self.alpha / 2 / len(self.loops)) + norm.ppf(POWER)
        return float(level * self.loops.error.min())

    def needed_attempts(self, affinity: float = 1.0) -> int:
        """Return how often each pair of states in a loop must be walked to show an affinity.

        Both ways together, for the shortest loop seen, at level alpha over all loops seen, with
        80% probability; see `needed_attempts`.
        """
        tests = max(1, len(self.loops) + self.loops.untested)
        length = min(map(len, self.loops.members), default=3)
        return needed_attempts(affinity, length=length, tests=tests, alpha=self.alpha)

    def to_table(self) -> Table:
        """Return the loops, strongest first; see `LoopTable`."""
        return self.loops.to_table()

    def _content(self) -> dict[str, Any]:
        measures = ("mean_square", "independent_loops", "correlation", "explained", "pvalue")
        return {
            "violations": [
                {**plain(violation), "interval": violation.interval()}
                for violation in self.violations
            ],
            **self._values("pairs", "one_way_pairs", "loops"),
            "untested_loops": self.loops.untested,
            **self._values(*measures),
            "detectable_affinity": self.detectable_affinity(),
            "settings": self._values("alpha", "errors", "correction"),
        }


def check_balance(
    counts: TransitionCounts,
    potential: Potential | None = None,
    *,
    alpha: float = 0.05,
    errors: Errors = "multinomial",
    correction: Correction = "bh",
    baseline: TransitionCounts | None = None,
    trajectories: Iterable[Trajectory] | None = None,
    graph: AgentGraph | None = None,
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
    correction : {"bh", "by"}
        How p-values are adjusted for their number: Benjamini and Hochberg, or Benjamini and
        Yekutieli, which holds however the tests depend on one another, and finds less.
    baseline : TransitionCounts
        Of runs that were as they should be; distinguishes habitual loops from suspect ones.
    trajectories : iterable of Trajectory
        Runs, as examples; where there are successes and failures among them, they
        distinguish habitual loops from suspect ones too. Read only where there is a violation.
    graph : mapping of str to collection of str, or iterable of (str, str)
        The moves that the agent's graph allows. It decides which loops are structural, which
        otherwise the exits seen do.

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
    _check_choice("errors", errors, get_args(Errors))
    _check_choice("correction", correction, get_args(Correction))
    counts = counts.without_boundaries().sorted()
    potential = potential if potential is not None else estimate_potential(counts)
    held = counts.restrict(potential.states)
    pairs = compare_pairs(held, potential, errors)
    counts = held.sorted()
    loops = find_loops(counts, correction=correction)
    found = _classify(
        _violations(counts, loops, alpha), counts, alpha, correction, baseline, trajectories, graph
    )
    report = BalanceReport(
        pairs,
        list_one_way_pairs(held, potential),
        loops,
        tuple(found),
        **pair_statistics(pairs),
        pvalue=float(loops.adjusted.min()) if len(loops) else float("nan"),
        alpha=alpha,
        errors=errors,
        correction=correction,
        potential=potential,
    )
    if not len(loops):
        raise InsufficientDataError(_no_loop(loops.untested), report)
    return report


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidInputError(f"{name}={value!r}; allowed are {', '.join(allowed)}")


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


def _violations(counts: TransitionCounts, loops: LoopTable, alpha: float) -> list[Violation]:
    found = np.flatnonzero(loops.adjusted <= alpha).tolist()
    shares = loop_shares(counts, [loops.members[i] for i in found])
    return [
        Violation(
            loops.names(i),
            float(loops.affinity[i]),
            float(loops.error[i]),
            float(loops.adjusted[i]),
            (int(loops.forward[i]), int(loops.backward[i])),
            flux_share=share,
        )
        for i, share in zip(found, shares, strict=True)
    ]


def _classify(
    found: list[Violation],
    counts: TransitionCounts,
    alpha: float,
    correction: Correction,
    baseline: TransitionCounts | None,
    trajectories: Iterable[Trajectory] | None,
    graph: AgentGraph | None,
) -> list[Violation]:
    if not found:
        return found
    found = mark_structural(found, counts, graph)
    if trajectories is not None:
        found = compare_with_outcomes(found, trajectories, alpha, correction)
    if baseline is not None:
        usual = baseline.without_boundaries()  # as the counts are
        found = compare_with_baseline(found, counts, usual, alpha, correction)
    return found
