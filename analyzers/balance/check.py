"""`check_balance`: where detailed balance holds, where it fails, and by which loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from scipy.stats import norm

from detailed_balance.analyzers.balance.loops import Correction, LoopTable, find_loops, loop_shares
from detailed_balance.analyzers.balance.outcomes import (
    LoopContrast,
    contrast_loops,
    contrast_with_baseline,
)
from detailed_balance.analyzers.balance.pairs import (
    Errors,
    OneWayTable,
    PairTable,
    compare_pairs,
    list_one_way_pairs,
    pair_statistics,
)
from detailed_balance.analyzers.balance.power import POWER, needed_attempts
from detailed_balance.analyzers.balance.run_wise import (
    MixtureTest,
    mixture_test,
    orientation_test,
)
from detailed_balance.analyzers.balance.violation import (
    AgentGraph,
    Violation,
    apply_contrasts,
    compare_counts_with_baseline,
    group_loops,
    mark_structural,
    name_examples,
    states_before_end,
)
from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.inputs import CountsLike, read_recorded
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.multiplicity import check_level
from detailed_balance.analyzers.potential.estimate import Potential, estimate_potential
from detailed_balance.analyzers.repetition.measure import MeasuredRuns
from detailed_balance.analyzers.results import Table, TableResult, plain
from detailed_balance.analyzers.runs.clusters import MoveClusters
from detailed_balance.analyzers.runs.table import Runs, RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BalanceReport", "check_balance"]

FEWEST_CONTRASTED = 5
"""So many loops at least are held against outcomes, the strongest ones, driven or not."""

MOST_ORIENTED = 200
"""So many loops, those taken most, are the family of the directions inside runs."""


@dataclass(frozen=True, slots=True, eq=False)
class BalanceReport(TableResult):
    """What `check_balance` found.

    Parameters
    ----------
    pairs : PairTable
        Pairs seen in both directions.
    one_way_pairs : OneWayTable
        Pairs seen in one direction only.
    loops : LoopTable
        Every loop that was tested, strongest first.
    violations : tuple of Violation
        The causes of the loops whose adjusted p-value is at most `alpha`, or that failed runs walk
        more, strongest first.
    contrasts : tuple of LoopContrast
        Failed against successful runs, and runs against those of the baseline, on the strongest
        loops; empty without runs.
    mixture : MixtureTest or None
        Whether the runs differ from each other; None without runs, or where single runs show all
        that is driven.
    mean_square : float
        The mean of z^2 over the resolved pairs: how many errors, squared, a pair lies from the
        potential; NaN where there are none. It is not a test: V is that of least action and not of
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
    contrasts: tuple[LoopContrast, ...]
    mixture: MixtureTest | None
    mean_square: float
    independent_loops: int
    correlation: float
    explained: float
    pvalue: float
    alpha: float
    errors: Errors
    correction: Correction
    potential: Potential

    @property
    def driven(self) -> tuple[Violation, ...]:
        """The violations that single runs show: no mixture of reversible runs explains them."""
        return tuple(v for v in self.violations if v.run_pvalue <= self.alpha)

    @property
    def suspect_pvalue(self) -> float:
        """That failed runs, or these runs, walk no loop more than others; NaN where not tested."""
        known = [c.pvalue for c in self.contrasts if not c.reason]
        return min(known, default=float("nan"))

    def detectable_affinity(self) -> float:
        """Return the smallest affinity that the best resolved loop would show, in nats.

        With 80% probability at level alpha over all tested loops; inf where there is none.
        """
        if not len(self.loops):
            return float("inf")
        level = norm.isf(self.alpha / 2 / len(self.loops)) + norm.ppf(POWER)
        return float(level * self.loops.error.min())

    def needed_attempts(self, affinity: float = 1.0) -> int:
        """Return how often each pair of states in a loop must be taken to show an affinity.

        Both ways together, for the shortest loop seen, at level alpha over all loops seen, with
        80% probability; see `needed_attempts`.
        """
        tests = max(1, len(self.loops) + self.loops.untested)
        length = min(map(len, self.loops.members), default=3)
        return needed_attempts(affinity, length=length, tests=tests, alpha=self.alpha)

    def describe(self) -> str:
        """Say in one sentence what was found.

        Examples
        --------
        >>> check_balance([[0, 90, 10], [10, 0, 90], [90, 10, 0]]).describe()
        'driven loops: 1 of 1 (false discovery rate 0.05), causes: 1; one potential accounts \
for 0% of the drift'
        """
        significant = int((self.loops.adjusted <= self.alpha).sum())
        share = f"one potential accounts for {max(self.explained, 0):.0%} of the drift"
        return (
            f"driven loops: {significant} of {len(self.loops)} (false discovery rate "
            f"{self.alpha:g}), causes: {len(self.violations)}"
            + (f"; {share}" if self.independent_loops else "")
        )

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
            **self._values("contrasts", "mixture"),
            **self._values("pairs", "one_way_pairs", "loops"),
            "untested_loops": self.loops.untested,
            **self._values(*measures),
            "detectable_affinity": self.detectable_affinity(),
            "settings": self._values("alpha", "errors", "correction"),
        }


def check_balance(
    counts: CountsLike,
    potential: Potential | None = None,
    *,
    alpha: float = 0.05,
    errors: Errors = "multinomial",
    correction: Correction = "bh",
    baseline: CountsLike | None = None,
    runs: Runs | MeasuredRuns | None = None,
    graph: AgentGraph | None = None,
    replicates: int = 999,
    seed: int = 0,
) -> BalanceReport:
    """Hold the recorded transitions against detailed balance, pair by pair and loop by loop.

    Parameters
    ----------
    counts : CountsLike
        What was recorded; START and END are left out. Runs are `runs` too.
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
    baseline : CountsLike
        Runs that were as they should be; distinguishes work-flow from suspect loops. By runs where
        both sides have them, else as if moves were independent.
    runs : RunTable, iterable of Trajectory, or MeasuredRuns
        The runs behind the counts. Where there are successes and failures among them, they
        distinguish work-flow from suspect loops; the directions of loops inside runs distinguish a
        push from a mixture of runs that differ; errors are by runs. Blocks of the table are heard.
    graph : mapping of str to collection of str, or iterable of (str, str)
        The moves that the agent's graph allows. It decides which loops are structural, which
        otherwise the exits seen do.
    replicates, seed : int
        Of the permutations of runs.

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
    Loop('a', 'b', 'c')
    """
    check_level(alpha)
    _check_choice("errors", errors, get_args(Errors))
    _check_choice("correction", correction, get_args(Correction))
    counts, counted = read_recorded(counts)
    runs = counted if runs is None else runs
    given = runs.table if isinstance(runs, MeasuredRuns) else runs
    table = None if given is None else RunTable.of(given)
    usual, usual_runs = (None, None) if baseline is None else read_recorded(baseline)
    if table is None:
        usual_runs = None
    ends = states_before_end(counts)
    counts = counts.without_boundaries().sorted()
    potential = potential if potential is not None else estimate_potential(counts)
    held = counts.restrict(potential.states)
    pairs = compare_pairs(held, potential, errors)
    counts = held.sorted()
    loops = find_loops(counts, correction=correction)
    contrasts = _contrast(loops, alpha, table, usual_runs, replicates, seed)
    found = _find_causes(counts, loops, alpha, contrasts)
    mixture = None
    if found:
        found = mark_structural(found, counts, graph, ends)
        found = apply_contrasts(found, contrasts)
        if usual is not None and usual_runs is None:
            bare = usual.without_boundaries()  # as the counts are
            found = compare_counts_with_baseline(found, counts, bare, alpha, correction)
        if table is not None:
            measured = MeasuredRuns.of(runs if isinstance(runs, MeasuredRuns) else table)
            found = _look_inside(found, loops, measured, alpha, replicates, seed)
            found = name_examples(found, table)
            if any(v.run_pvalue > alpha for v in found):
                mixture = _test_mixture(table, alpha, seed)
    report = BalanceReport(
        pairs,
        list_one_way_pairs(held, potential),
        loops,
        tuple(found),
        contrasts,
        mixture,
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
            f"none of the {untested} loops was taken often enough to be tested (each pair of "
            "states 5 times): record more runs"
        )
    return (
        "detailed balance cannot be tested: the graph has no loop of three or more states. A "
        "pipeline has none; a finer state function may show one"
    )


def _contrast(
    loops: LoopTable,
    alpha: float,
    table: RunTable | None,
    baseline: RunTable | None,
    replicates: int,
    seed: int,
) -> tuple[LoopContrast, ...]:
    """Hold the causes, and the strongest loops, against outcomes and against a baseline's runs.

    Which loops these are depends on no outcome.
    """
    if table is None:
        return ()
    driven = np.flatnonzero(loops.adjusted <= alpha).tolist()
    causes = [cause[0] for cause in group_loops(loops, driven)]
    strongest = (i for i in range(len(loops)) if i not in set(causes))
    family = sorted([*causes, *islice(strongest, max(0, FEWEST_CONTRASTED - len(causes)))])
    names, made = [loops.names(i) for i in family], []
    if (table.success == 0).any() and (table.success == 1).any():
        made.append(contrast_loops(table, names, alpha=alpha, replicates=replicates, seed=seed))
    if baseline is not None:
        made.append(
            contrast_with_baseline(
                table, baseline, names, alpha=alpha, replicates=replicates, seed=seed
            )
        )
    return tuple(
        replace(each, pvalue=min(1.0, len(made) * each.pvalue)) for part in made for each in part
    )


def _find_causes(
    counts: TransitionCounts,
    loops: LoopTable,
    alpha: float,
    contrasts: Sequence[LoopContrast],
) -> list[Violation]:
    rejected = {contrast.loop for contrast in contrasts if contrast.rejected}
    suspect = {i for i in range(len(loops)) if rejected and loops.names(i) in rejected}
    found = sorted({*np.flatnonzero(loops.adjusted <= alpha).tolist(), *suspect})
    causes = group_loops(loops, found, suspect)
    shares = loop_shares(counts, [loops.members[cause[0]] for cause in causes])
    return [
        Violation(
            loops.names(cause[0]),
            float(loops.affinity[cause[0]]),
            float(loops.error[cause[0]]),
            float(loops.adjusted[cause[0]]),
            (int(loops.forward[cause[0]]), int(loops.backward[cause[0]])),
            flux_share=share,
            explains=tuple(loops.names(i) for i in cause[1:]),
        )
        for cause, share in zip(causes, shares, strict=True)
    ]


def _look_inside(
    found: Sequence[Violation],
    loops: LoopTable,
    measured: MeasuredRuns,
    alpha: float,
    replicates: int,
    seed: int,
) -> list[Violation]:
    """Add what single runs show: the directions of loops, and errors by runs."""
    family = dict.fromkeys(v.loop for v in found)
    # The rest of the family is that of all loops that could have been found: the most taken.
    walked = np.argsort(-(loops.forward + loops.backward), kind="stable")[:MOST_ORIENTED]
    names = [loops.names(i) for i in walked.tolist()]
    others = [n for n in names if n not in family and n.reversed() not in family]
    made = orientation_test(
        measured, [*family, *others], alpha=alpha, replicates=replicates, seed=seed
    )
    errors = _cluster_errors([v.loop for v in found], measured.table)
    return [
        replace(
            v,
            closed=(seen.forward, seen.backward),
            run_pvalue=seen.pvalue,
            error=v.error if np.isnan(error) else error,
        )
        for v, seen, error in zip(found, made, errors.tolist(), strict=False)
    ]


def _cluster_errors(loops: Sequence[Loop[str]], table: RunTable) -> NDArray[np.float64]:
    """Return the standard errors of affinities by runs; NaN where too few runs say anything."""
    clusters = MoveClusters.from_runs(table)
    moves, made = (clusters.source.tolist(), clusters.target.tolist()), clusters.totals
    codes = {state: i for i, state in enumerate(table.states)}
    place = {move: i for i, move in enumerate(zip(*moves, strict=True))}
    attempts = np.bincount(clusters.source, made, len(table.states))
    slopes = np.zeros((len(made), len(loops)))
    one_way = np.zeros(len(loops), dtype=bool)
    for j, loop in enumerate(loops):
        for sign, edges in ((1.0, loop.edges()), (-1.0, loop.reversed().edges())):
            for f, g in edges:
                i = place.get((codes.get(f, -2), codes.get(g, -2)))
                if i is None:
                    one_way[j] = True
                else:
                    slopes[i, j] += sign * attempts[codes[f]] / made[i]
    return np.where(one_way, np.nan, clusters.errors(slopes).errors)


def _test_mixture(table: RunTable, alpha: float, seed: int) -> MixtureTest | None:
    try:
        return mixture_test(table, alpha=alpha, seed=seed)
    except InsufficientDataError:
        return None
