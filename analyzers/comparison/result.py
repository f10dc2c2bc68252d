"""What a comparison of runs or counts found: tests, and the changes inside each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from detailed_balance.analyzers.results import Result, Table, TableResult

__all__ = [
    "AT_LIMIT",
    "FEWEST_RUNS",
    "QUESTIONS",
    "REPEAT",
    "Change",
    "ChangeUnit",
    "ComparisonTest",
    "Question",
    "RunComparison",
]

Question: TypeAlias = Literal["moves", "potential", "loops", "stays", "success", "limit", "length"]
"""What is asked about two sets of runs; see `QUESTIONS`."""

QUESTIONS: Mapping[Question, str] = {
    "moves": "does each state lead to the same states as often",
    "potential": "are the potentials of the states the same",
    "loops": "are the same loops taken as often",
    "stays": "do runs stay as long in the same places",
    "success": "do as many runs succeed",
    "limit": "do as many runs reach the recursion limit",
    "length": "do runs take as many steps, at the same cost",
}
"""The questions, in words."""

FEWEST_RUNS = 5
"""What fewer runs show is not tested; that does not depend on whose runs they are."""

REPEAT = "runs that repeat themselves"
"""The share of runs of the kinds stay, shuttle or cycle, by the rules of `classify_runs`."""

AT_LIMIT = "runs at the recursion limit"
"""The share of runs that were stopped by it."""

ChangeUnit: TypeAlias = Literal["runs", "runs in blocks", "blocks", "runs and blocks", "moves"]
"""What was permuted between two sets."""


@dataclass(frozen=True, slots=True)
class Change(Result):
    """One statistic of two sets of runs, and whether it changed.

    Parameters
    ----------
    question : str
        One of `QUESTIONS`.
    what : tuple of (str or None)
        A move (source, target; None is an escape), a state, a loop, a trap, or the name of a
        number.
    before, after : float
        Its value in the first and in the second set: a probability, V less its mean in units of
        1 / beta, rounds or visits for each run, a share of runs, moves; NaN where unknown.
    error : float
        Standard error of `after` less `before`, by runs, or by blocks where runs have them.
    runs : (int, int)
        The runs of each set that show it; for a move, that were in its source; (0, 0) where
        there are none to count.
    pvalue, adjusted : float
        The second controls the false discovery rate inside the question.
    changed : bool
        Whether the question as a whole was answered no, and `adjusted` is at most alpha.
    """

    question: Question
    what: tuple[str | None, ...]
    before: float
    after: float
    error: float
    runs: tuple[int, int]
    pvalue: float
    adjusted: float
    changed: bool

    @property
    def difference(self) -> float:
        """`after` less `before`."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class ComparisonTest(Result):
    """The test of one question about two sets of runs.

    Parameters
    ----------
    question : str
        One of `QUESTIONS`.
    pvalue, adjusted : float
        Of "nothing changed"; the second is adjusted for the number of questions.
    changes : tuple of Change
        What was looked at, the smallest p-value first.
    changed : bool
        Whether `adjusted` is at most alpha.
    """

    question: Question
    pvalue: float
    adjusted: float
    changes: tuple[Change, ...]
    changed: bool


@dataclass(frozen=True, slots=True)
class RunComparison(TableResult):
    """What differs between two sets of runs.

    Parameters
    ----------
    tests : tuple of ComparisonTest
        One for each question that could be asked.
    runs : (int, int)
        How many runs each set has; (0, 0) where only their counts are known.
    unit : {"runs", "runs in blocks", "blocks", "runs and blocks", "moves"}
        What was permuted between the sets: single runs; the runs of each block that both sets
        have; whole blocks, where none is in both; the runs of blocks in both, and the others as
        wholes. With "moves" each move was taken for independent.
    alpha : float
        The probability that anything is called changed where nothing is, at most; and the false
        discovery rate of the changes inside a question.
    replicates, seed : int
        Of the permutations.
    blocks : (int, int, int) or None
        How many blocks both sets have, and how many of the first alone, and of the second alone,
        were permuted as wholes; None without blocks.
    smallest_pvalue : float
        The smallest p-value of a question that could have come out; 1 where there was nothing
        to permute. Above alpha, nothing could have been found.
    """

    tests: tuple[ComparisonTest, ...]
    runs: tuple[int, int]
    unit: ChangeUnit
    alpha: float
    replicates: int
    seed: int
    blocks: tuple[int, int, int] | None = None
    smallest_pvalue: float = 0.0

    @property
    def pvalue(self) -> float:
        """Of "nothing changed", over all questions."""
        return min((test.adjusted for test in self.tests), default=1.0)

    @property
    def rejected(self) -> bool:
        """Whether something changed; False is not proof that nothing did."""
        return self.pvalue <= self.alpha

    @property
    def changes(self) -> tuple[Change, ...]:
        """What changed, question by question."""
        return tuple(c for test in self.tests for c in test.changes if c.changed)

    def test(self, question: Question) -> ComparisonTest | None:
        """Return the test of one question, None where it could not be asked."""
        return next((test for test in self.tests if test.question == question), None)

    def describe(self) -> str:
        """Say in one sentence what is promised."""
        tested = sum(len(test.changes) for test in self.tests)
        if not tested:
            return "too little varies from run to run to be tested"
        if self.too_few:
            return (
                f"too few data for a test: {self.describe_unit()}, and the smallest possible "
                f"p-value is {self.smallest_pvalue:.2g}"
            )
        alpha = f"at most {100 * self.alpha:g}%"
        return (
            f"{len(self.tests)} questions were tested on {tested} quantities. If nothing had "
            f"changed, a change would be reported in {alpha} of such comparisons; "
            f"of the changes in a list, {alpha} are expected to be chance"
        )

    @property
    def too_few(self) -> bool:
        """Whether no p-value could have been as small as alpha."""
        return self.smallest_pvalue > self.alpha

    def describe_unit(self) -> str:
        """Say in one sentence what was permuted, and of how many blocks."""
        if self.blocks is None:
            return f"{self.unit} were permuted"
        both, before, after = self.blocks
        parts = [f"the runs inside {both:,} blocks that both sides have"] if both else []
        if before or after:
            parts.append(f"whole blocks, {before:,} and {after:,} of one side alone")
        if not parts:
            return "no block has runs of both sides, so that nothing was permuted"
        return f"{', and '.join(parts)} were permuted"

    def to_table(self) -> Table:
        """Return one row for everything that was looked at."""
        rows = [change for test in self.tests for change in test.changes]
        names = ("question", "what", "before", "after", "difference", "error", "runs")
        columns = (*names, "pvalue", "adjusted", "changed")
        return {name: [getattr(row, name) for row in rows] for name in columns}

    def _content(self) -> dict[str, Any]:
        questions = {
            t.question: {"pvalue": t.pvalue, "adjusted": t.adjusted, "changed": t.changed}
            for t in self.tests
        }
        return {
            **self._values("pvalue", "rejected", "runs"),
            "questions": questions,
            "tested": self.to_table(),
            "settings": self._values(
                *("unit", "blocks", "smallest_pvalue", "alpha", "replicates", "seed")
            ),
        }
