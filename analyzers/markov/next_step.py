"""`predict_steps`: how well the next step of each run is known from those before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, log
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.markov.context_tree import ContextTree
from detailed_balance.analyzers.results import Table, TableResult
from detailed_balance.analyzers.runs.clusters import cluster_codes
from detailed_balance.analyzers.runs.table import Runs, RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["StepPrediction", "predict_steps"]

FEWEST_RUNS = 5
"""With fewer runs, or blocks, there are too few others to predict a run from."""


@dataclass(frozen=True, slots=True, eq=False)
class StepPrediction(TableResult):
    """The next step of each run, predicted from its steps so far and from other runs.

    Parameters
    ----------
    log_loss : float
        Mean surprisal of a move, in nats: 0 where every next step is certain.
    log_loss_error : float
        Its standard error, by runs or blocks.
    popularity_loss : float
        The same where only the popularity of keys is known, and not what came before.
    top1 : float
        The share of moves that went to the key predicted as the most likely.
    surprisal : (m,) array of float
        Of each move, in nats: minus the log of the probability that it was given.
    expected : tuple of (str or None)
        The key that was predicted for each move; None is an escape.
    moves : int
        How many were predicted.
    runs : int
        How many runs there are.
    folds : int
        Parts of the runs, each predicted from the others.
    depth, prior, unit, seed
        The settings; a unit, "run" or "block", is never in two parts.
    """

    log_loss: float
    log_loss_error: float
    popularity_loss: float
    top1: float
    surprisal: NDArray[np.float64]
    expected: tuple[str | None, ...]
    moves: int
    runs: int
    folds: int
    depth: int
    prior: float
    unit: str
    seed: int
    _table: RunTable = field(repr=False)

    def unexpected(self, run: int, most: int = 5) -> list[tuple[int, float]]:
        """Return the places and surprisals of the moves of a run that were least expected.

        Only moves that were less probable than 1 in 10, the least probable first.
        """
        begin, end = self._table.offsets[run : run + 2].tolist()
        part = self.surprisal[begin:end]
        order = np.argsort(-part, kind="stable")[:most].tolist()
        return [(place, float(part[place])) for place in order if part[place] > log(10)]

    def of_run(self, run: int) -> NDArray[np.float64]:
        """(k,) array: the surprisal of the k moves of one run, in nats."""
        return self.surprisal[slice(*self._table.offsets[run : run + 2].tolist())]

    def describe(self) -> str:
        """Say in one sentence how well the next step is known."""
        return (
            f"the next step is predicted correctly {self.top1:.0%} of the time, with a probability "
            f"of {exp(-self.log_loss):.0%} for what happened (geometric mean: {self.log_loss:.3f} "
            f"nats a move, by popularity alone {self.popularity_loss:.3f})"
        )

    def to_table(self) -> Table:
        """Return the columns run, step, source, target, expected, surprisal; one row a move."""
        table = self._table
        names = (*table.states, None)
        begin = np.repeat(table.offsets[:-1], table.lengths)
        return {
            "run": table.runs.name[table.run_of_move].tolist(),
            "step": (np.arange(table.total) - begin + 1).tolist(),
            "source": [names[i] for i in table.source.tolist()],
            "target": [names[i] for i in table.target.tolist()],
            "expected": list(self.expected),
            "surprisal": self.surprisal.tolist(),
        }

    def _content(self) -> dict[str, Any]:
        found = ("log_loss", "log_loss_error", "popularity_loss", "top1", "moves", "runs")
        return {
            **self._values(*found),
            "surprisal": self.surprisal,
            "settings": self._values("folds", "depth", "prior", "unit", "seed"),
        }


def predict_steps(
    runs: Runs, *, depth: int = 3, prior: float = 0.1, folds: int = 5, seed: int = 0
) -> StepPrediction:
    """Predict each step of runs from the steps before it, and from other runs.

    The runs are dealt out into parts; the steps of each are predicted by a `ContextTree` fitted to
    the others. Blocks, where the table has them, stay together: then it is said how well the steps
    of a *new* task are known.

    Parameters
    ----------
    runs : RunTable or iterable of Trajectory
        The runs.
    depth, prior : int, float
        As for `ContextTree`.
    folds : int
        How many parts; at most as many as runs, or blocks.
    seed : int
        Of the parts, which do not depend on the order of the runs.

    Raises
    ------
    InsufficientDataError
        Where there are fewer than 5 runs, or blocks.
    InvalidInputError
        Where there are fewer than 2 folds, or as for `ContextTree`.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> usual = Trajectory((("plan", "search"), ("search", "answer")))
    >>> odd = Trajectory((("plan", "search"), ("search", "plan")))
    >>> found = predict_steps([usual] * 19 + [odd])
    >>> found.unexpected(19)[0][0], found.expected[-1], round(found.top1, 3)
    (1, 'answer', 0.975)
    """
    table = RunTable.of(runs)
    if folds < 2:
        raise InvalidInputError(f"folds={folds!r}; it takes 2 or more")
    units, number = cluster_codes(table)
    unit = "block" if (table.block_codes() >= 0).any() else "run"
    if number < FEWEST_RUNS or not table.total:
        raise InsufficientDataError(
            f"there are {number} {unit}s with {table.total} moves; to predict the steps of each "
            f"from others takes {FEWEST_RUNS} {unit}s or more"
        )
    parts = min(folds, number)
    fold = (np.random.default_rng(seed).permutation(number) % parts)[units]
    known, popular = np.zeros(table.total), np.zeros(table.total)
    expected = np.empty(table.total, dtype=object)
    of_move = fold[table.run_of_move]
    for part in range(parts):
        here, own = np.flatnonzero(fold == part), of_move == part
        if not own.any():
            continue
        some, others = table.select(here), table.select(fold != part)
        tree = ContextTree.fit(others, depth, prior)
        popular[own] = ContextTree.fit(others, 0, prior).log_probabilities(some)
        known[own], expected[own] = tree.log_probabilities(some), tree.most_likely(some)
    names = np.array([*table.states, None], dtype=object)
    hits = expected == names[table.target]
    loss = -known
    sums = np.bincount(units[table.run_of_move], loss - loss.mean(), number)
    error = float(np.sqrt(number / (number - 1) * (sums**2).sum()) / table.total)
    return StepPrediction(
        float(loss.mean()),
        error,
        float(-popular.mean()),
        float(hits.mean()),
        loss,
        tuple(expected.tolist()),
        table.total,
        len(table),
        parts,
        depth,
        prior,
        unit,
        seed,
        table,
    )
