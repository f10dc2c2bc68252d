"""`read_trajectories`, agent runs as wholes: their moves in order, and what became of them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from detailed_balance.analyzers.counts import END, START
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.analyzers.trajectory import Outcome, Trajectory
from detailed_balance.callbacks.store import TransitionStore
from detailed_balance.readers import Source, read_transitions
from detailed_balance.sources import store_url

if TYPE_CHECKING:
    from detailed_balance.callbacks.ending import Ending
    from detailed_balance.callbacks.handler import TransitionCallbackHandler
    from detailed_balance.callbacks.transition import Transition

__all__ = ["read_trajectories"]

_SUCCESS = {"1": True, "1.0": True, "true": True, "success": True}
_FAILURE = {"0": False, "0.0": False, "false": False, "failure": False}
_JUDGED = _SUCCESS | _FAILURE


def read_trajectories(
    source: Source | TransitionStore | TransitionCallbackHandler,
    *,
    success_field: str | None = None,
    **options: Any,
) -> list[Trajectory]:
    """Read agent runs as wholes, in memory.

    A run begins where its key is seen first, and at each START after that: a thread that was used
    several times is several runs. Transitions without a trajectory are passed over.

    Parameters
    ----------
    source : TransitionStore, handler with a store, path, URL or networkx graph
        What holds the transitions. A store also tells how each run stopped, and what was judged
        of it (`TransitionStore.judge`).
    success_field : str, optional
        Of a file: the field that says whether the run did its work, by true, 1 or "success", or
        by false, 0 or "failure"; the last one of a run counts.
    **options
        As for `read_transitions`.

    Returns
    -------
    list of Trajectory
        In the order in which they began.

    Raises
    ------
    InvalidInputError
        Where `success_field` is asked of a store, or the source holds no transitions.
    ReadError
        As from `read_transitions`, or where `success_field` holds something else.

    Examples
    --------
    >>> from detailed_balance import Transition
    >>> with TransitionStore("sqlite://") as store:
    ...     store.append([Transition("plan", "search", "thread-1")])
    ...     store.judge("thread-1", success=True)
    ...     read_trajectories(store)
    [Trajectory(moves=(('plan', 'search'),), name='thread-1', outcome=None, success=True, error=None, context=())]
    """  # noqa: E501 - a doctest's output stands in one line
    store = source if isinstance(source, TransitionStore) else getattr(source, "store", None)
    url = store_url(source) if isinstance(source, str | os.PathLike) else None
    if isinstance(store, TransitionStore):
        _refuse_field(success_field)
        store.flush()
        return _from_store(store)
    if url is not None:
        _refuse_field(success_field)
        with TransitionStore(url, create=False) as opened:
            return _from_store(opened)
    fields = list(options.pop("context_fields", ()))
    if success_field is not None:
        fields.append(success_field)
    runs = _split(read_transitions(cast("Source", source), context_fields=fields, **options))
    return [_judge_by_field(run, success_field) for run in runs]


def _refuse_field(success_field: str | None) -> None:
    if success_field is not None:
        raise InvalidInputError(
            f"success_field={success_field!r} is for files; the runs of a store are judged by "
            "store.judge(trajectory, success=...)"
        )


def _split(transitions: Iterable[Transition]) -> list[list[Transition]]:
    """Return the transitions of each run."""
    runs: list[list[Transition]] = []
    open_runs: dict[str, list[Transition]] = {}
    for move in transitions:
        if move.trajectory is None:
            continue
        run = open_runs.get(move.trajectory)
        # Escapes before the first state start from START too, in the same run.
        if run is None or (move.source == START and any(m.target is not None for m in run)):
            run = open_runs[move.trajectory] = []
            runs.append(run)
        run.append(move)
    return runs


def _moves(run: Sequence[Transition]) -> tuple[tuple[str, str | None], ...]:
    return tuple((move.source, move.target) for move in run for _ in range(move.count))


def _judge_by_field(run: Sequence[Transition], field: str | None) -> Trajectory:
    last = run[-1]
    labels = dict(last.context)
    value = None if field is None else labels.pop(field, None)
    success = None if value is None else _JUDGED.get(value.strip().lower())
    if value is not None and success is None:
        raise ReadError(
            f"{field!r} of run {last.trajectory!r} is {value!r}; allowed are "
            f"{', '.join(_SUCCESS)} and {', '.join(_FAILURE)}"
        )
    outcome = Outcome.ENDED if last.target == END else None
    context = tuple(sorted(labels.items()))
    return Trajectory(_moves(run), last.trajectory, outcome, success, context=context)


def _from_store(store: TransitionStore) -> list[Trajectory]:
    endings: defaultdict[str | None, list[Ending]] = defaultdict(list)
    for ending in store.endings():
        endings[ending.trajectory].append(ending)
    runs = _split(store.read())
    # From the last run to the first: each takes the endings that came after it began.
    found = [_end(run, endings[run[0].trajectory]) for run in reversed(runs)]
    return found[::-1]


def _end(run: Sequence[Transition], endings: list[Ending]) -> Trajectory:
    """Return a run with the endings that are its own, which are taken off `endings`."""
    began = run[0].time
    own = [e for e in endings if began is None or e.time is None or e.time >= began]
    endings[:] = [e for e in endings if e not in own]
    stop = next((e for e in reversed(own) if e.outcome is not None), None)
    judged = next((e.success for e in reversed(own) if e.success is not None), None)
    outcome = None if stop is None else stop.outcome
    success = judged if judged is not None or outcome is None else outcome.success
    error = None if stop is None else stop.error
    return Trajectory(_moves(run), run[0].trajectory, outcome, success, error, run[-1].context)
