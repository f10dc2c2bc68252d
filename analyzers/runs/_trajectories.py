"""Trajectories as columns, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.columns import OUTCOMES, FactColumns, RunColumns
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.analyzers.runs.trajectory import StepFacts, Trajectory

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEXTS = ("name", "run", "thread", "parent", "origin", "error")


def make_columns(runs: Iterable[Trajectory]) -> dict[str, Any]:
    """Return what `RunTable.from_codes` takes; see `RunTable.from_trajectories`."""
    given, runs = runs, list(runs) if isinstance(runs, Iterable) else [runs]
    for run in runs:
        if not isinstance(run, Trajectory):
            inside = "" if given is runs[0] else f" of {type(run).__name__}"
            raise InvalidInputError(
                f"runs are a RunTable or an iterable of Trajectory; got {type(given).__name__}"
                f"{inside}. read_runs reads them from a store, a file or a DataFrame of steps; "
                "counts do not tell one run from another"
            )
    places: dict[str | None, int] = {None: -1}
    codes = [
        places.setdefault(state, len(places) - 1)
        for run in runs
        for move in run.moves
        for state in move
    ]
    moves = np.array(codes, dtype=np.int32).reshape(-1, 2)
    contexts: dict[Context, int] = {(): 0}
    known: dict[str, Any] = {name: [getattr(run, name) for run in runs] for name in _TEXTS}
    known["outcome"] = [_code(OUTCOMES, run.outcome) for run in runs]
    known["success"] = [-1 if run.success is None else int(run.success) for run in runs]
    for name in ("judged", "past_unknown", "attempts"):
        known[name] = [getattr(run, name) for run in runs]
    for name in ("started", "ended"):
        values = (getattr(run, name) for run in runs)
        known[name] = [np.nan if value is None else value for value in values]
    known["limit_steps"] = [-1 if r.limit_steps is None else r.limit_steps for r in runs]
    known["context"] = [contexts.setdefault(run.context, len(contexts)) for run in runs]
    return {
        "states": tuple(state for state in places if state is not None),
        "source": moves[:, 0],
        "target": moves[:, 1],
        "offsets": np.cumsum([0, *map(len, runs)]),
        "runs": RunColumns.unknown(len(runs), **known),
        "contexts": tuple(contexts),
        "costs": _costs_of(runs),
        "facts": _facts_of(runs),
    }


def make_trajectory(
    states: Sequence[str],
    moves: Iterable[tuple[int, int]],
    row: Any,
    context: Context,
    costs: tuple[float, ...],
    facts: tuple[StepFacts | None, ...],
) -> Trajectory:
    """Return one run: its moves by places in `states`, and its row of `RunColumns`."""
    names = (*states, None)
    limit, started, ended = int(row.limit_steps), float(row.started), float(row.ended)
    return Trajectory(
        tuple((states[f], names[g]) for f, g in moves),
        name=row.name,
        outcome=None if row.outcome < 0 else OUTCOMES[row.outcome],
        success=None if row.success < 0 else bool(row.success),
        error=row.error,
        context=context,
        costs=() if any(cost != cost for cost in costs) else costs,
        limit_steps=None if limit < 0 else limit,
        run=row.run,
        thread=row.thread,
        parent=row.parent,
        origin=row.origin,
        attempts=int(row.attempts),
        judged=bool(row.judged),
        past_unknown=bool(row.past_unknown),
        started=None if started != started else started,
        ended=None if ended != ended else ended,
        facts=facts if any(each is not None for each in facts) else (),
    )


def _code(values: Sequence[Any], value: Any) -> int:
    return -1 if value is None else values.index(value)


def _costs_of(runs: Sequence[Trajectory]) -> NDArray[np.float64] | None:
    if not any(run.costs for run in runs):
        return None
    return np.array([c for run in runs for c in (run.costs or [np.nan] * len(run))], dtype=float)


def _facts_of(runs: Sequence[Trajectory]) -> FactColumns | None:
    if not any(run.facts for run in runs):
        return None
    return FactColumns.from_facts([f for run in runs for f in (run.facts or [None] * len(run))])
