"""What the recorded transitions of the word task say, held against what is known."""

from __future__ import annotations

import numpy as np

from detailed_balance.analyzers import TransitionCounts, estimate_potential
from examples.paper.agent.evaluation import BalanceSummary
from examples.paper.words.lexicon import LexiconChatModel
from examples.paper.words.tables import WordTable

__all__ = ["Row", "compare_published", "count_false", "count_found"]

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
    exact, run = table.potential(), estimate_potential(recorded)
    rows = []
    for word, published in table.published.items():
        found = {word, lowest} <= set(run.states)
        ours = run.difference(word, lowest) if found else np.nan
        error = run.standard_error(word, lowest) if found else np.nan
        rows.append((word, exact.difference(word, lowest), ours, error, published))
    return rows


def count_found(balance: BalanceSummary, model: LexiconChatModel) -> int:
    """Return how many of the loops that a model drives are among the violations."""
    found = {frozenset(_steps(violation.loop)) for violation in balance.violations}
    return sum(frozenset(_steps(loop)) in found for loop in model.driving)


def count_false(balance: BalanceSummary, model: LexiconChatModel) -> int:
    """Return how many of the violations have no affinity in a model that is known."""
    rates = model.kernel().probabilities.toarray()
    place = {word: i for i, word in enumerate(model.words)}
    false = 0
    for violation in balance.violations:
        ways = np.array([(place[f], place[g]) for f, g in _steps(violation.loop)]).T
        affinity = np.log(rates[ways[0], ways[1]]).sum() - np.log(rates[ways[1], ways[0]]).sum()
        false += bool(np.isclose(affinity, 0, atol=1e-9))
    return false


def _steps(loop: tuple[str, ...]) -> list[tuple[str, str]]:
    return list(zip(loop, (*loop[1:], loop[0]), strict=True))
