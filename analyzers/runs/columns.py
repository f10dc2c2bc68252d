"""What is known of each run, and of each move, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.trajectory import Outcome, StepFacts

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["OUTCOMES", "FactColumns", "RunColumns"]

OUTCOMES = tuple(Outcome)
"""The outcomes, in the order of their codes in `RunColumns.outcome`."""


class FactColumns(NamedTuple):
    """What is known of each move beyond its states: `StepFacts` as (m,) arrays.

    Parameters
    ----------
    known : array of bool
        Whether anything is.
    failed, repeats, stale, resumed : array of bool
        As in `StepFacts`.
    call, answer, call_size, answer_size, tokens : array of int64
        Likewise; -1 where not known.
    cost : array of float64
        Likewise; NaN where not known.
    """

    known: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    call: NDArray[np.int64]
    answer: NDArray[np.int64]
    repeats: NDArray[np.bool_]
    stale: NDArray[np.bool_]
    call_size: NDArray[np.int64]
    answer_size: NDArray[np.int64]
    tokens: NDArray[np.int64]
    cost: NDArray[np.float64]
    resumed: NDArray[np.bool_]

    @classmethod
    def from_facts(cls, facts: Sequence[StepFacts | None]) -> FactColumns:
        """Return the facts of moves, None where nothing is known of one, as columns."""
        rows = [_fact_row(each) for each in facts]
        columns = zip(*rows, strict=True) if rows else [()] * len(cls._fields)
        return cls(*(np.array(c, dtype=t) for c, t in zip(columns, _FACT_TYPES, strict=True)))

    def select(self, moves: NDArray[Any]) -> FactColumns:
        """Return the facts of some of the moves, by their places or by a mask."""
        columns: list[Any] = [column[moves] for column in self]
        return FactColumns(*columns)

    def row(self, place: int) -> StepFacts | None:
        """Return the facts of one move."""
        if not self.known[place]:
            return None
        cost = float(self.cost[place])
        return StepFacts(
            failed=bool(self.failed[place]),
            call=_known(self.call[place]),
            answer=_known(self.answer[place]),
            repeats=bool(self.repeats[place]),
            stale=bool(self.stale[place]),
            call_size=_known(self.call_size[place]),
            answer_size=_known(self.answer_size[place]),
            tokens=_known(self.tokens[place]),
            cost=None if cost != cost else cost,
            resumed=bool(self.resumed[place]),
        )


_FACT_TYPES: tuple[Any, ...] = (
    *(np.bool_, np.bool_, np.int64, np.int64, np.bool_, np.bool_),
    *(np.int64, np.int64, np.int64, np.float64, np.bool_),
)


def _fact_row(facts: StepFacts | None) -> tuple[Any, ...]:
    known, facts = facts is not None, facts or StepFacts()
    *values, cost, resumed = (-1 if value is None else value for value in facts)
    return (known, *values, np.nan if facts.cost is None else cost, resumed)


def _known(value: Any) -> int | None:
    return None if value < 0 else int(value)


class RunColumns(NamedTuple):
    """What is known of each run as a whole, (r,) arrays; the names are those of `Trajectory`.

    Parameters
    ----------
    name, run, thread, parent, origin, error : array of object
        Texts, None where not known.
    outcome : array of int8
        A place in `OUTCOMES`; -1 where not known.
    success : array of int8
        1 or 0; -1 where not known.
    judged, past_unknown : array of bool
        As in `Trajectory`.
    attempts : array of int64
        As in `Trajectory`.
    started, ended : array of float64
        In seconds since 1970 (UTC); NaN where not known.
    limit_steps : array of int64
        As in `Trajectory`; -1 where not known.
    context : array of int64
        The labels: a place in `RunTable.contexts`.
    block : array of int64
        The task or batch: a place in `RunTable.blocks`; -1 where it is of none.
    """

    name: NDArray[np.object_]
    run: NDArray[np.object_]
    thread: NDArray[np.object_]
    parent: NDArray[np.object_]
    origin: NDArray[np.object_]
    error: NDArray[np.object_]
    outcome: NDArray[np.int8]
    success: NDArray[np.int8]
    judged: NDArray[np.bool_]
    past_unknown: NDArray[np.bool_]
    attempts: NDArray[np.int64]
    started: NDArray[np.float64]
    ended: NDArray[np.float64]
    limit_steps: NDArray[np.int64]
    context: NDArray[np.int64]
    block: NDArray[np.int64]

    @classmethod
    def unknown(cls, n: int, **known: ArrayLike) -> RunColumns:
        """Return the columns of n runs of which nothing is known but `known`, named columns."""
        columns = []
        for name, (kind, missing) in _RUN_TYPES.items():
            given = known.pop(name, None)
            if given is None:
                columns.append(np.full(n, missing, dtype=kind))
            elif kind is np.object_:
                columns.append(_objects(given))
            else:
                columns.append(np.asarray(given, dtype=kind))
        if known:
            raise InvalidInputError(f"no columns of runs: {', '.join(sorted(known))}")
        return cls(*columns)

    def select(self, runs: NDArray[Any]) -> RunColumns:
        """Return those of some of the runs, by their places or by a mask."""
        columns: list[Any] = [column[runs] for column in self]
        return RunColumns(*columns)


_TEXTS = ("name", "run", "thread", "parent", "origin", "error")
_RUN_TYPES: dict[str, tuple[Any, Any]] = {
    **dict.fromkeys(_TEXTS, (np.object_, None)),
    **dict.fromkeys(("outcome", "success"), (np.int8, -1)),
    **dict.fromkeys(("judged", "past_unknown"), (np.bool_, False)),
    "attempts": (np.int64, 0),
    **dict.fromkeys(("started", "ended"), (np.float64, np.nan)),
    "limit_steps": (np.int64, -1),
    "context": (np.int64, 0),
    "block": (np.int64, -1),
}


def _objects(values: Any) -> NDArray[np.object_]:
    if isinstance(values, np.ndarray) and values.dtype == np.object_:
        return values
    array = np.empty(len(values), dtype=np.object_)
    array[:] = values
    return array
