"""What the recorded transitions of the word task say, held against what is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detailed_balance.analyzers.balance import BalanceReport, check_balance
from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.pairs import Errors
from detailed_balance.analyzers.potential import Potential, estimate_potential
from detailed_balance.analyzers.violation import Violation
from detailed_balance.paper.lexicon import LexiconChatModel
from detailed_balance.paper.word_tables import WordTable

__all__ = [
    "BalanceSummary",
    "Recovery",
    "Row",
    "compare_published",
    "recover_potential",
    "summarize_balance",
]

Z95 = 1.959964
"""Standard errors on each side of a 95% interval."""

Row = tuple[str, float, float, float, float]
"""A word, its V from the table, from the recorded run with its error, and as published."""


def compare_published(table: WordTable, recorded: TransitionCounts) -> list[Row]:
    """Return V of each word: from the table itself, from a recorded run, and as published.

    A word that the run has not found has the V and the error NaN.

    Examples
    --------
    >>> table = WordTable.load("claude_4")
    >>> compare_published(table, table.counts)[0]
    ('ATTITUDE', 0.0, 0.0, 0.0, 0.0)
    """
    lowest = min(table.published, key=lambda word: table.published[word])
    exact = estimate_potential(table.counts, attempts=table.attempts_per_state)
    run = estimate_potential(recorded)
    rows = []
    for word, published in table.published.items():
        found = {word, lowest} <= set(run.states)
        ours = run.difference(word, lowest) if found else np.nan
        error = run.standard_error(word, lowest) if found else np.nan
        rows.append((word, exact.difference(word, lowest), ours, error, published))
    return rows


@dataclass(frozen=True, slots=True)
class Recovery:
    """How well a known potential was found again.

    Parameters
    ----------
    reference : str
        The word that all others are compared with, the lowest one.
    words : tuple of str, length n
        The other words of its component.
    known, estimated, errors : tuple of float, length n
        V - V(reference), as it is and as it was estimated, with the standard errors; in units of
        1 / beta.
    linked_coverage : float
        The share of the differences between words that lead to each other that are within 1.96
        standard errors of the truth. All those to the lowest word share its error; these do not.
    missed : tuple of str
        The words that were not found, or not joined with the others both ways.
    """

    reference: str
    words: tuple[str, ...]
    known: tuple[float, ...]
    estimated: tuple[float, ...]
    errors: tuple[float, ...]
    linked_coverage: float
    missed: tuple[str, ...]

    @property
    def coverage(self) -> float:
        """The share of the differences within 1.96 standard errors of the truth; 0.95 is right."""
        off = np.subtract(self.estimated, self.known)
        return float(np.mean(np.abs(off) <= Z95 * np.array(self.errors)))

    @property
    def rms(self) -> float:
        """The root of the mean square of what the estimates are off."""
        return float(np.sqrt(np.mean(np.subtract(self.estimated, self.known) ** 2)))


def recover_potential(model: LexiconChatModel, potential: Potential) -> Recovery:
    """Hold an estimated potential against that of the model.

    Examples
    --------
    >>> model = LexiconChatModel()
    >>> counts = TransitionCounts.from_dense(
    ...     np.round(1e6 * model.kernel().probabilities.toarray()), model.words
    ... )
    >>> recovery = recover_potential(model, estimate_potential(counts))
    >>> recovery.coverage, recovery.rms < 1e-4
    (1.0, True)
    """
    known = dict(zip(model.words, (model.potential / model.temperature).tolist(), strict=True))
    reference = min(potential.states, key=lambda word: known[word])
    values = dict(zip(potential.states, potential.relative_to(reference).tolist(), strict=True))
    joined = [word for word, V in values.items() if np.isfinite(V) and word != reference]
    return Recovery(
        reference,
        tuple(joined),
        tuple(known[word] - known[reference] for word in joined),
        tuple(values[word] for word in joined),
        tuple(potential.standard_errors(reference, joined).tolist()),
        _linked_coverage(known, potential),
        tuple(word for word in model.words if word not in {reference, *joined}),
    )


def _linked_coverage(known: dict[str, float], potential: Potential) -> float:
    errors = potential.pair_errors().tocoo()
    use = errors.data > 0
    f, g = errors.row[use], errors.col[use]
    true = np.array([known[word] for word in potential.states])
    off = potential.values[f] - potential.values[g] - (true[f] - true[g])
    return float(np.mean(np.abs(off) <= Z95 * errors.data[use]))


@dataclass(frozen=True, slots=True)
class BalanceSummary:
    """The pairs and the loops of a run, in a few numbers.

    Parameters
    ----------
    pairs : int
        Pairs walked both ways.
    correlation : float
        Pearson r of log ratio and potential drop.
    chi2_multinomial, chi2_paper : float
        Chi-square per degree of freedom, with the multinomial errors and with those of the paper,
        which are too large.
    triplets : int
        Loops of three words that were tested.
    loops : int
        Loops of any length that were tested.
    violations : tuple of Violation
        Those that break detailed balance, at a false discovery rate of 5%.
    """

    pairs: int
    correlation: float
    chi2_multinomial: float
    chi2_paper: float
    triplets: int
    loops: int
    violations: tuple[Violation, ...]

    def count_found(self, model: LexiconChatModel) -> int:
        """Return how many of the loops that a model drives are among the violations."""
        found = {frozenset(_steps(violation.loop)) for violation in self.violations}
        return sum(frozenset(_steps(loop)) in found for loop in model.driving)

    def count_false(self, model: LexiconChatModel) -> int:
        """Return how many of the violations have no affinity in a model that is known."""
        rates = model.kernel().probabilities.toarray()
        place = {word: i for i, word in enumerate(model.words)}
        false = 0
        for violation in self.violations:
            ways = np.array([(place[f], place[g]) for f, g in _steps(violation.loop)]).T
            affinity = np.log(rates[ways[0], ways[1]]).sum() - np.log(rates[ways[1], ways[0]]).sum()
            false += bool(np.isclose(affinity, 0, atol=1e-9))
        return false


def _steps(loop: tuple[str, ...]) -> list[tuple[str, str]]:
    return list(zip(loop, (*loop[1:], loop[0]), strict=True))


def summarize_balance(counts: TransitionCounts, potential: Potential) -> BalanceSummary:
    """Test the pairs and loops of recorded transitions.

    Examples
    --------
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
        sum(len(loop) == 3 for loop in report.loops.members),
        len(report.loops),
        report.violations,
    )


def _check(counts: TransitionCounts, potential: Potential, errors: Errors) -> BalanceReport:
    try:
        return check_balance(counts, potential, errors=errors)
    except InsufficientDataError as error:  # no loop could be tested; the pairs are there
        report: BalanceReport = error.partial
        return report


def _reduced(report: BalanceReport) -> float:
    freedom = report.degrees_of_freedom
    return report.chi2 / freedom if freedom else float("nan")
