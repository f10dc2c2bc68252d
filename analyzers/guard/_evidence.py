"""What a run has done so far, as numbers: move by move, and for all runs at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from detailed_balance.analyzers.counts import END
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.guard._grams import (
    UNIT,
    Gram,
    Grams,
    from_units,
    in_units,
    last_grams,
    log_ratio,
    state_grams,
)
from detailed_balance.analyzers.guard._texts import Embedder, ReadTexts, TextEvidence
from detailed_balance.analyzers.markov.context_tree import ContextTree
from detailed_balance.analyzers.repetition.prefixes import (
    highest_so_far,
    measure_prefixes,
    sum_so_far,
)
from detailed_balance.analyzers.repetition.walk import RepetitionTracker

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.runs.columns import FactColumns
    from detailed_balance.analyzers.runs.table import RunTable
    from detailed_balance.analyzers.runs.trajectory import StepFacts

_Number = TypeVar("_Number", float, "NDArray[np.float64]")
_Columns = dict[str, "NDArray[np.float64]"]

FACTS = ("failed", "repeats", "stale")

_MOST_TOKENS = 10**9


@dataclass(frozen=True, slots=True)
class StateEvidence:
    """The log ratio of each run of states, in units, and that of one never seen."""

    values: Mapping[Gram, int]
    unseen: int


@dataclass(frozen=True, slots=True)
class MemoryEvidence:
    """The context trees of failed and of successful runs."""

    failed: ContextTree
    worked: ContextTree

    def of_moves(self, table: RunTable) -> NDArray[np.int64]:
        """(m,) array: the log ratio of each move, in units; that of one to END is 0."""
        ratio = self.failed.log_probabilities(table) - self.worked.log_probabilities(table)
        return np.where(table.target == table.code(END), 0, in_units(ratio))


@dataclass(frozen=True)
class OutcomeModel:
    """The log odds of failure as a linear function of what a run has done so far.

    Parameters
    ----------
    intercept : float
        Log odds where all else is 0.
    weights : dict of str to float
        Those of the features, in the order in which they are added.
    states : StateEvidence or None
        The log ratio of runs of states; None where texts are read.
    text : TextEvidence or None
        That of texts.
    memory : MemoryEvidence or None
        That of moves after what came before them.
    """

    intercept: float
    weights: Mapping[str, float]
    states: StateEvidence | None = None
    text: TextEvidence | None = None
    memory: MemoryEvidence | None = None

    def weigh(self, evidence: Mapping[str, _Number]) -> _Number:
        """Return the log odds; added up one by one, so that numbers and arrays give the same."""
        odds: Any = self.intercept
        for name, weight in self.weights.items():
            odds = odds + weight * evidence[name]
        return odds  # type: ignore[no-any-return]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        found: dict[str, Any] = {"intercept": self.intercept, "weights": dict(self.weights)}
        if self.states is not None:
            values = [[list(gram), value] for gram, value in self.states.values.items()]
            found["states"] = {"values": values, "unseen": self.states.unseen}
        if self.text is not None:
            found["text"] = {"weights": list(self.text.weights), "intercept": self.text.intercept}
        if self.memory is not None:
            found["memory"] = [self.memory.failed.to_dict(), self.memory.worked.to_dict()]
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], embeddings: Embedder | None = None) -> OutcomeModel:
        """Return the model that `to_dict` has written."""
        states = text = memory = None
        if "states" in data:
            values = {tuple(gram): int(value) for gram, value in data["states"]["values"]}
            states = StateEvidence(values, int(data["states"]["unseen"]))
        if "text" in data:
            weights = tuple(map(int, data["text"]["weights"]))
            text = TextEvidence(weights, int(data["text"]["intercept"]), embeddings)
        if "memory" in data:
            memory = MemoryEvidence(*map(ContextTree.from_dict, data["memory"]))
        weights_of = {str(name): float(weight) for name, weight in data["weights"].items()}
        return cls(float(data["intercept"]), weights_of, states, text, memory)


class RunFeatures:
    """What one run has done so far, move by move."""

    def __init__(self, model: OutcomeModel) -> None:
        self._model = model
        self._repetition = RepetitionTracker()
        self._counts = dict.fromkeys(FACTS, 0)
        self._first_cost = self._highest_cost = 0
        self._path: list[str | None] = []
        self._seen: set[Gram] = set()
        self._states = self._text = self._memory = 0
        if model.memory is not None:
            self._trees = (model.memory.failed.start(), model.memory.worked.start())

    def update(
        self, source: str, target: str | None, facts: StepFacts | None, text: str | None
    ) -> None:
        """Add one move; that to END adds nothing."""
        self._repetition.update(source, target)
        if target == END:
            return
        if facts is not None:
            for name in FACTS:
                self._counts[name] += getattr(facts, name)
            self._add_cost(cost_of(facts))
        model = self._model
        if model.states is not None:
            self._path = [*(self._path or [source])[-2:], target]
            for gram in last_grams(self._path):
                if gram not in self._seen:
                    self._seen.add(gram)
                    self._states += model.states.values.get(gram, model.states.unseen)
        if model.text is not None:
            self._text += model.text.of_text(text)
        if model.memory is not None:
            failed, worked = (tree.update(source, target) for tree in self._trees)
            self._memory += int(in_units(failed - worked))

    def _add_cost(self, cost: int) -> None:
        self._first_cost = self._first_cost or cost
        self._highest_cost = max(self._highest_cost, cost)

    def values(self) -> dict[str, float]:
        """Return the features, by name."""
        seen = self._repetition
        longest = max(seen.longest_stay.times, seen.longest_shuttle.times)
        growth = math.log(self._highest_cost / self._first_cost) if self._first_cost else 0.0
        return {
            "steps": math.log1p(seen.steps),
            "escapes": math.log1p(seen.escapes),
            "rounds": math.log1p(seen.rounds),
            "longest": math.log1p(longest),
            **{name: math.log1p(count) for name, count in self._counts.items()},
            "growth": growth,
            "states": self._states * UNIT,
            "text": self._text * UNIT,
            "memory": self._memory * UNIT,
        }


def cost_of(facts: StepFacts) -> int:
    """Return what a step cost: its tokens, up to a billion; 0 where they are not known."""
    return min(facts.tokens or 0, _MOST_TOKENS)


def fit_parts(
    table: RunTable,
    failed: NDArray[np.bool_],
    fold: NDArray[np.int64],
    *,
    prior: float,
    depth: int,
    read: ReadTexts | None,
) -> tuple[tuple[StateEvidence | None, TextEvidence | None, MemoryEvidence | None], _Columns]:
    """Return the log ratios of all runs, and the (m,) features with those of other folds."""
    states = text = memory = None
    columns = _plain_columns(table)
    sides = [(failed & other, ~failed & other) for other in (fold != k for k in np.unique(fold))]
    place = np.searchsorted(np.unique(fold), fold)[table.run_of_move]
    if read is None:
        grams, names = state_grams(table)
        held, first = grams.held(table), grams.first_in_run(table)
        ratios = [log_ratio(held, *side, prior)[0] for side in sides]
        each = np.array(ratios)[place[first.move], first.gram]
        columns["states"] = _summed(first, each, table)
        values, unseen = log_ratio(held, failed, ~failed, prior)
        states = StateEvidence(dict(zip(names, values.tolist(), strict=True)), unseen)
    else:
        texts = [read.fit(table, *side, prior).of_texts(read) for side in sides]
        columns["text"] = _so_far(np.array(texts)[place, np.arange(table.total)], table)
        text = read.fit(table, failed, ~failed, prior)
        del columns["steps"]  # the log ratio of texts grows with them by itself
    if depth:
        inner = table.keep_moves(table.target != table.code(END))
        trees = [_fit_trees(inner, *side, depth).of_moves(table) for side in sides]
        columns["memory"] = _so_far(np.array(trees)[place, np.arange(table.total)], table)
        memory = _fit_trees(inner, failed, ~failed, depth)
    return (states, text, memory), columns


def measure_evidence(table: RunTable, model: OutcomeModel, read: ReadTexts | None) -> _Columns:
    """Return the (m,) features after each move of runs, to the last digit as `RunFeatures` does."""
    columns = _plain_columns(table)
    if model.states is not None:
        grams, names = state_grams(table)
        known = [model.states.values.get(gram, model.states.unseen) for gram in names]
        first = grams.first_in_run(table)
        columns["states"] = _summed(first, np.array(known, dtype=np.int64)[first.gram], table)
    if model.text is not None:
        if read is None:
            raise InvalidInputError("this score reads texts: give texts=")
        columns["text"] = _so_far(model.text.of_texts(read), table)
    if model.memory is not None:
        columns["memory"] = _so_far(model.memory.of_moves(table), table)
    return columns


def _fit_trees(
    table: RunTable, bad: NDArray[np.bool_], good: NDArray[np.bool_], depth: int
) -> MemoryEvidence:
    """Fit a tree to each side; one without moves knows what all runs do."""
    sides = (table.select(runs) for runs in (bad, good))
    return MemoryEvidence(*(ContextTree.fit(s if s.total else table, depth) for s in sides))


def _plain_columns(table: RunTable) -> _Columns:
    """Return the features that need no outcomes."""
    prefixes = measure_prefixes(table)
    longest = np.maximum(prefixes.longest_stay, prefixes.longest_shuttle)
    counts = {
        "steps": prefixes.steps,
        "escapes": prefixes.escapes,
        "rounds": prefixes.rounds,
        "longest": longest,
    }
    columns = {name: _log1p(count) for name, count in counts.items()}
    if table.facts is None:
        return columns | dict.fromkeys((*FACTS, "growth"), np.zeros(table.total))
    inner = table.target != table.code(END)
    for name in FACTS:
        columns[name] = _log1p(sum_so_far(getattr(table.facts, name) & inner, table.offsets))
    return columns | {"growth": _growth(table, table.facts, inner)}


def _growth(table: RunTable, facts: FactColumns, inner: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(m,) array: log of the cost of the most expensive step so far over that of the first."""
    cost = np.where(inner, np.clip(facts.tokens, 0, _MOST_TOKENS), 0)
    run = table.run_of_move
    priced = np.flatnonzero(cost > 0)
    first = np.zeros(len(table), dtype=np.int64)
    _, begin = np.unique(run[priced], return_index=True)
    first[run[priced[begin]]] = cost[priced[begin]]
    highest = highest_so_far(cost, run)
    known = highest > 0
    ratio = np.divide(highest, first[run], where=known, out=np.ones(table.total))
    values, place = np.unique(ratio, return_inverse=True)
    return np.array([math.log(value) for value in values.tolist()])[place]


def _log1p(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the same function as live, to the last digit."""
    logs = np.array([math.log1p(i) for i in range(int(counts.max(initial=0)) + 1)])
    return np.asarray(logs[counts])


def _so_far(units: NDArray[np.int64], table: RunTable) -> NDArray[np.float64]:
    return from_units(sum_so_far(units, table.offsets))


def _summed(grams: Grams, units: NDArray[np.int64], table: RunTable) -> NDArray[np.float64]:
    """(m,) array: the sum of the n-grams of a run up to each move."""
    of_move = np.zeros(table.total, dtype=np.int64)
    np.add.at(of_move, grams.move, units)
    return _so_far(of_move, table)
