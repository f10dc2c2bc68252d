"""`Case`: the runs of one agent and what was measured on them, which findings are made of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers.multiplicity import adjust_holm
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.analyzers.runs.trajectory import Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers import BalanceReport, RunTable, TransitionCounts, TrapReport
    from detailed_balance.diagnosis.study import RunStudy
    from detailed_balance.sources.source import SourceInfo


__all__ = ["Case", "Roots"]

_PARTS = re.compile(r"\d+|\D+")


@dataclass(frozen=True, eq=False)
class Case:
    """What findings are made of.

    Parameters
    ----------
    counts, info : TransitionCounts, SourceInfo
        What was recorded, and where it is from.
    balance, traps : BalanceReport or None, TrapReport
        What was measured; no balance where data are too few.
    study : RunStudy or None
        What single runs did; None where only counts are known.
    hub : str
        A state that stands between all others; empty where there is none.
    hidden : Case or None
        The same runs with the hub taken out.
    alpha : float
        The level that all tested kinds share.
    command : str
        The source as a word of a command line; empty where it has no such name.
    graph : str
        The name of the agent, where the record has several.
    compared : bool
        Whether there was a baseline.
    in_order : bool
        Whether the order of the runs is that of time.
    reason : str
        Why there is no balance.
    pvalues : dict of str to float
        Of each kind that is tested, without adjustment; `diagnose` fills them in.
    """

    counts: TransitionCounts
    info: SourceInfo
    balance: BalanceReport | None
    traps: TrapReport
    study: RunStudy | None
    alpha: float
    hub: str = ""
    hidden: Case | None = None
    command: str = ""
    graph: str = ""
    compared: bool = False
    in_order: bool = False
    reason: str = ""
    pvalues: dict[str, float] = field(default_factory=dict)

    @cached_property
    def roots(self) -> Roots:
        """The root runs.

        Raises
        ------
        ValueError
            Where only counts are known.
        """
        if self.study is None:
            raise ValueError("this record has no runs")
        return Roots(self.study.table, self.study.root)

    def adjusted(self, kind: str) -> float:
        """Return the p-value of a kind, adjusted for all that are tested (Holm)."""
        return adjust_holm(self.pvalues).get(kind, 1.0)

    def supports(self, kind: str) -> bool:
        """Say whether the tests of a kind support its findings."""
        return self.adjusted(kind) <= self.alpha


class Roots:
    """The root runs of a table, and what is known of each.

    Parameters
    ----------
    table : RunTable
        The r runs.
    root : (r,) array of int64
        The place of the root run of each.

    Attributes
    ----------
    moves : (r,) array of int64
        The moves of each root run, with those of the runs inside it; 0 for the runs inside.
    places : (k,) array of int64
        The root runs with moves.
    """

    def __init__(self, table: RunTable, root: NDArray[np.int64]) -> None:
        self.table, self.root = table, root
        self.moves = np.bincount(root, table.lengths, minlength=len(table)).astype(np.int64)
        self.places = np.flatnonzero(self.moves)

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def succeeded(self) -> NDArray[np.bool_]:
        """(r,) array: whether each run is known to have succeeded."""
        return np.asarray(self.table.runs.success == 1)

    @cached_property
    def failed(self) -> NDArray[np.bool_]:
        """(r,) array: whether each run is known to have failed."""
        return np.asarray(self.table.runs.success == 0)

    @cached_property
    def judged(self) -> NDArray[np.bool_]:
        """(r,) array: whether the success of each run is a judgement, and not its outcome."""
        runs = self.table.runs
        ended = runs.outcome == OUTCOMES.index(Outcome.ENDED)
        other = (runs.success >= 0) & ((runs.outcome < 0) | (ended & (runs.success == 0)))
        return np.asarray(runs.judged | other)

    def stopped(self, outcome: Outcome) -> NDArray[np.bool_]:
        """(r,) array: whether each run stopped in one way."""
        return np.asarray(self.table.runs.outcome == OUTCOMES.index(outcome))

    @cached_property
    def in_time(self) -> bool:
        """Whether it is known when each root run began."""
        return not bool(np.isnan(self.table.runs.started[self.places]).any())

    def mark(self, places: Iterable[int]) -> NDArray[np.bool_]:
        """(r,) array: whether each run is one of some."""
        marked = np.zeros(len(self.table), dtype=bool)
        marked[list(places)] = True
        return marked

    def name(self, place: int) -> str | None:
        """Return the key of a run, or its id where several have the same key."""
        key, own = self.table.runs.name[place], self.table.runs.run[place]
        if key is None or self._keys[key] > 1:
            key = own or key
        return None if key is None else str(key)

    def order(self, place: int) -> tuple[tuple[int, str], ...]:
        """Return what sorts runs by their keys, numbers in them by their size: t2 before t10."""
        parts = _PARTS.findall(self.name(place) or "")
        return tuple((len(part) if part.isdigit() else 0, part) for part in parts)

    def names(self, places: Iterable[int]) -> tuple[str, ...]:
        """Return the keys of runs, of those that have one."""
        return tuple(name for name in map(self.name, places) if name is not None)

    @cached_property
    def _keys(self) -> Counter[str | None]:
        return Counter(self.table.runs.name[self.places].tolist())

    def totals(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(r,) array: the sum of a number of each move over each root run; NaN counts nothing."""
        of_runs = np.bincount(
            self.root[self.table.run_of_move],
            np.nan_to_num(values),
            minlength=len(self.table),
        )
        return np.asarray(of_runs, dtype=np.float64)

    @cached_property
    def tokens(self) -> NDArray[np.float64] | None:
        """(m,) array: the tokens of each move, NaN where not known; None where none are."""
        facts = self.table.facts
        if facts is None or not (facts.tokens >= 0).any():
            return None
        return np.where(facts.tokens >= 0, facts.tokens, np.nan)

    @cached_property
    def money(self) -> NDArray[np.float64] | None:
        """(m,) array: the cost of each move, NaN where not known; None where none is."""
        if self.table.costs is not None:
            return self.table.costs
        facts = self.table.facts
        return None if facts is None or np.isnan(facts.cost).all() else facts.cost
