"""What recorded transitions say: of detailed balance, and of a potential that is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detailed_balance.analyzers import (
    BalanceReport,
    PopularityComparison,
    Potential,
    TransitionCounts,
    Violation,
    check_balance,
    compare_with_popularity,
)
from detailed_balance.analyzers.balance.pairs import Errors
from detailed_balance.analyzers.errors import InsufficientDataError

__all__ = [
    "BalanceSummary",
    "Recovery",
    "popularity_rows",
    "recover_potential",
    "summarize_balance",
]

Z95 = 1.959964
"""Standard errors on each side of a 95% interval."""

_FEWEST_COMPARED = 3


@dataclass(frozen=True, slots=True)
class BalanceSummary:
    """The pairs and the loops of a run, in a few numbers.

    Parameters
    ----------
    pairs : int
        Pairs seen in both directions.
    correlation : float
        Pearson r of log ratio and potential drop.
    chi2_multinomial, chi2_paper : float
        Chi-square per degree of freedom, with the multinomial errors and with those of the paper,
        which are too large.
    degrees_of_freedom : int
        Of both: pairs less the differences of V among their states.
    triplets : int
        Loops of three states that were tested.
    loops : int
        Loops of any length that were tested.
    violations : tuple of Violation
        Those that break detailed balance, at a false discovery rate of 5%.
    popularity : PopularityComparison or None
        Whether V is more than popularity; None without a pairs seen in both directions.
    """

    pairs: int
    correlation: float
    chi2_multinomial: float
    chi2_paper: float
    degrees_of_freedom: int
    triplets: int
    loops: int
    violations: tuple[Violation, ...]
    popularity: PopularityComparison | None

    def to_rows(self) -> list[tuple[str, str]]:
        """Return the rows of a table."""
        driven = sum(len(violation.loop) == 3 for violation in self.violations)
        return [
            ("pairs seen both ways", f"{self.pairs:,}"),
            ("Pearson r of log ratio and potential drop", f"{self.correlation:.3f}"),
            ("chi-square / degree of freedom", f"{self.chi2_multinomial:.2f}"),
            ("the same with the errors of the paper", f"{self.chi2_paper:.2f}"),
            ("triplets tested (that break detailed balance)", f"{self.triplets:,} ({driven:,})"),
            ("loops tested (that break it)", f"{self.loops:,} ({len(self.violations):,})"),
            *([] if self.popularity is None else popularity_rows(self.popularity)),
        ]


def popularity_rows(found: PopularityComparison) -> list[tuple[str, str]]:
    """Return the rows of a table: what of the potential is popularity.

    Examples
    --------
    >>> counts = TransitionCounts.from_dense([[0, 30, 20], [50, 0, 20], [50, 30, 0]])
    >>> popularity_rows(compare_with_popularity(counts, attempts=100))[2]
    ('of what popularity leaves, explained by V', 'nothing is left')
    """

    def share(value: float, error: float) -> str:
        return f"{value:.3f} ± {error:.3f}" if np.isfinite(error) else f"{value:.3f}"

    plain, given = found.weighted, found.weighted.given_popularity
    left = share(given, plain.given_popularity_error) if np.isfinite(given) else "nothing is left"
    rows = [
        ("share explained by popularity", share(plain.popularity, plain.popularity_error)),
        ("share explained by V", share(plain.potential, plain.potential_error)),
        ("of what popularity leaves, explained by V", left),
    ]
    if np.isfinite(found.pvalue):
        rows.append(("p, if V were popularity", f"{found.pvalue:.3f}"))
    return rows


def summarize_balance(counts: TransitionCounts, potential: Potential) -> BalanceSummary:
    """Test the pairs and loops of recorded transitions.

    Examples
    --------
    >>> from detailed_balance.analyzers import estimate_potential
    >>> edges = [("a", "b", 90), ("b", "c", 90), ("c", "a", 90)]
    >>> edges += [(target, source, 10) for source, target, _ in edges]
    >>> counts = TransitionCounts.from_edges(edges)
    >>> summary = summarize_balance(counts, estimate_potential(counts))
    >>> summary.pairs, summary.triplets, len(summary.violations)
    (3, 1, 1)
    """
    report, paper = _check(counts, potential, "multinomial"), _check(counts, potential, "paper")
    return BalanceSummary(
        len(report.pairs),
        report.correlation,
        _reduced(report),
        _reduced(paper),
        report.independent_loops,
        sum(len(loop) == 3 for loop in report.loops.members),
        len(report.loops),
        report.violations,
        _compare(counts),
    )


def _compare(counts: TransitionCounts) -> PopularityComparison | None:
    try:
        return compare_with_popularity(counts, replicates=39)
    except InsufficientDataError:  # no pair was seen in both directions
        return None


def _check(counts: TransitionCounts, potential: Potential, errors: Errors) -> BalanceReport:
    try:
        return check_balance(counts, potential, errors=errors)
    except InsufficientDataError as error:  # no loop could be tested; the pairs are there
        report: BalanceReport = error.partial
        return report


def _reduced(report: BalanceReport) -> float:
    squares, freedom = report.pairs.z[report.pairs.resolved] ** 2, report.independent_loops
    return float(squares.sum() / freedom) if freedom else float("nan")


@dataclass(frozen=True, slots=True)
class Recovery:
    """How well a known potential was found again, on the largest component.

    Parameters
    ----------
    reference : str
        The state that all others are compared with, the lowest one in truth.
    states : tuple of str, length n
        The other states of its component.
    known, estimated, errors : tuple of float, length n
        V - V(reference), as it is and as it was estimated, with the standard errors; in units of
        1 / beta.
    pair_coverage : float
        The share of the differences between states that lead to each other that are within 1.96
        standard errors of the truth. All those to the reference share its error; these do not.
    chi2 : float
        Of all n differences together, by the covariance of the estimate; n degrees of freedom, so
        that their ratio is about 1 where the errors are right.
    """

    reference: str
    states: tuple[str, ...]
    known: tuple[float, ...]
    estimated: tuple[float, ...]
    errors: tuple[float, ...]
    pair_coverage: float
    chi2: float

    @property
    def coverage(self) -> float:
        """The share of the differences within 1.96 standard errors of the truth; 0.95 is right."""
        off = np.subtract(self.estimated, self.known)
        return float(np.mean(np.abs(off) <= Z95 * np.array(self.errors)))

    @property
    def correlation(self) -> float:
        """Pearson's, of the estimated and the true V."""
        return float(np.corrcoef([0, *self.known], [0, *self.estimated])[0, 1])

    @property
    def rms(self) -> float:
        """The root of the mean square of what the estimates are off, their mean taken out."""
        return float(np.std([0, *np.subtract(self.estimated, self.known)]))

    @property
    def spread(self) -> float:
        """The standard deviation of the true V."""
        return float(np.std([0, *self.known]))

    def to_rows(self) -> list[tuple[str, str]]:
        """Return the rows of a table."""
        return [
            ("states compared with the lowest one", f"{len(self.states):,}"),
            ("V less the lowest within 1.96 errors (95% is right)", f"{self.coverage:.1%}"),
            ("the same of states linked both ways", f"{self.pair_coverage:.1%}"),
            ("Pearson r of V found and true", f"{self.correlation:.3f}"),
            ("root mean square difference of V, centred", f"{self.rms:.3f}"),
            ("standard deviation of the true V", f"{self.spread:.3f}"),
            ("chi-square / degree of freedom of V", f"{self.chi2 / len(self.states):.2f}"),
        ]


def recover_potential(potential: Potential, truth: Callable[[str], float]) -> Recovery:
    """Hold an estimated potential against the true one, in units of 1 / beta.

    Raises
    ------
    InsufficientDataError
        Where the largest component has fewer than three states.

    Examples
    --------
    >>> from detailed_balance.analyzers import estimate_potential
    >>> from examples.paper.words.lexicon import LexiconChatModel
    >>> model = LexiconChatModel()
    >>> counts = TransitionCounts.from_dense(
    ...     np.round(1e6 * model.kernel().probabilities.toarray()), model.words
    ... )
    >>> recovery = recover_potential(estimate_potential(counts), model.height)
    >>> recovery.coverage, recovery.rms < 1e-4
    (1.0, True)
    """
    heights = dict(zip(potential.states, potential.relative_to().tolist(), strict=True))
    inside = [state for state, V in heights.items() if np.isfinite(V)]
    if len(inside) < _FEWEST_COMPARED:
        raise InsufficientDataError(
            f"{len(inside)} states lead to each other and back; record more to compare their"
            " potential"
        )
    known = {state: truth(state) for state in potential.states}
    reference = min(inside, key=lambda state: known[state])
    others = tuple(state for state in inside if state != reference)
    true = np.array([known[state] - known[reference] for state in others])
    found = np.array([heights[state] - heights[reference] for state in others])
    off, covariance = found - true, potential.covariance(others, reference)
    return Recovery(
        reference,
        others,
        tuple(true.tolist()),
        tuple(found.tolist()),
        tuple(potential.standard_errors(reference, others).tolist()),
        _pair_coverage(np.array(list(known.values())), potential),
        float(off @ np.linalg.lstsq(covariance, off, rcond=None)[0]),
    )


def _pair_coverage(true: np.ndarray, potential: Potential) -> float:
    errors = potential.pair_errors().tocoo()
    use = errors.data > 0
    f, g = errors.row[use], errors.col[use]
    off = potential.heights[f] - potential.heights[g] - (true[f] - true[g])
    return float(np.mean(np.abs(off) <= Z95 * errors.data[use]))
