"""`read_trajectories`, agent runs as wholes: their moves in order, their outcomes and costs."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from math import inf, isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from detailed_balance.analyzers import END, START, Outcome, Trajectory
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.analyzers.runs.labels import ContextLike, Moment, matches_context, moment_of
from detailed_balance.callbacks import Ending, TransitionCallbackHandler, TransitionStore
from detailed_balance.callbacks.recorder.recent_runs import RecentRuns
from detailed_balance.callbacks.transition import Beginning
from detailed_balance.readers import Source, read_transitions
from detailed_balance.readers.databases import store_url
from detailed_balance.sources.source import is_runs

if TYPE_CHECKING:
    from detailed_balance.analyzers.runs.trajectory import StepFacts
    from detailed_balance.callbacks import Transition

__all__ = ["MAX_READ", "count_stored", "find_runs", "read_trajectories"]

MAX_READ = 500_000
"""Of a source with more transitions the runs are read only when asked for: they fill the memory."""

_MOST_SILENT = 3  # steps before the first move of a fresh thread
_NO_ENDINGS: Mapping[str | None, Sequence[Ending]] = {}


def read_trajectories(
    source: Source | TransitionStore | TransitionCallbackHandler,
    *,
    success_field: str | None = None,
    cost_field: str | None = None,
    since: Moment = None,
    until: Moment = None,
    **options: Any,
) -> list[Trajectory]:
    """Read agent runs as wholes, in memory.

    A run is what bears the same id of a run. Where there is none, it begins where its key is seen
    first, and at each START after that: a thread that was used several times is several runs.
    Transitions without a trajectory are passed over.

    Parameters
    ----------
    source : TransitionStore, handler, path, URL or networkx graph
        What holds the transitions; a handler without a store has the runs that stopped last. A
        store also has the outcome of each run, and what was judged of it
        (`TransitionStore.judge`).
    success_field : str, optional
        Of a file: the field with the success or the outcome of the run, as for `read_transitions`.
    cost_field : str, optional
        Of a file: the field that says what a move cost, in tokens or money; empty counts as 0.
    since, until : float, str or datetime, optional
        Only runs that began in ``since <= time < until``: seconds since 1970 (UTC), or a date and
        time, in UTC where it names no zone. A run without times is in no such window.
    **options
        As for `read_transitions`.

    Returns
    -------
    list of Trajectory
        In the order in which they began.

    Raises
    ------
    InvalidInputError
        Where `success_field` or `cost_field` is asked of a store, the source holds no
        transitions, or a moment is no date.
    ReadError
        As from `read_transitions`, or where a cost is no number.

    Examples
    --------
    >>> from detailed_balance import Transition
    >>> with TransitionStore("sqlite://") as store:
    ...     store.append([Transition("plan", "search", "thread-1")])
    ...     store.judge("thread-1", success=True)
    ...     read_trajectories(store)
    [Trajectory(moves=(('plan', 'search'),), name='thread-1', outcome=None, success=True, error=None, context=())]
    """  # noqa: E501 - a doctest's output stands in one line
    window = (moment_of(since), moment_of(until))
    store = source if isinstance(source, TransitionStore) else getattr(source, "store", None)
    url = store_url(source) if isinstance(source, str | os.PathLike) else None
    if isinstance(store, TransitionStore):
        _refuse_fields(success_field, cost_field)
        store.flush()
        runs = _from_store(store)
    elif url is not None:
        _refuse_fields(success_field, cost_field)
        with TransitionStore(url, create=False) as opened:
            runs = _from_store(opened)
    elif isinstance(recent := getattr(source, "recent", None), RecentRuns):
        _refuse_fields(success_field, cost_field)
        runs = _from_recent(recent)
    else:
        fields = [*options.pop("context_fields", ()), *([cost_field] if cost_field else [])]
        options = {"success_field": success_field, "context_fields": fields, **options}
        runs = _split(read_transitions(cast("Source", source), **options).records())
    return [run.end(cost_field) for run in runs if run.began_in(*window)]


def count_stored(source: object, **reader_options: Any) -> int | None:
    """Return how many transitions the store of a source holds, None where it has no store.

    Examples
    --------
    >>> with TransitionStore("sqlite://") as store:
    ...     count_stored(store), count_stored("runs.jsonl")
    (0, None)
    """
    if isinstance(source, str | os.PathLike):
        url = None if reader_options else store_url(source)
        if url is None:
            return None
        with TransitionStore(url, create=False) as opened:
            return opened.counts().total
    store = getattr(source, "store", source)
    if not isinstance(store, TransitionStore):
        return None
    store.flush()
    return store.counts().total


def find_runs(
    source: object,
    transitions: int | None,
    context: ContextLike,
    *,
    fields: Mapping[str, Any] | None = None,
    **reader_options: Any,
) -> tuple[list[Trajectory] | None, tuple[str, ...]]:
    """Return the runs of a source that carry the labels, and what to say where they are too many.

    Parameters
    ----------
    source : object
        As for `load_counts`; stores and files know runs, counts and graphs do not.
    transitions : int or None
        How many a file holds; None where they belong to no run.
    context : mapping or Context
        The labels.
    fields : mapping, optional
        What else `read_trajectories` is to be asked for, such as ``success_field``.
    **reader_options
        As for `read_transitions`.

    Examples
    --------
    >>> with TransitionStore("sqlite://") as store:
    ...     find_runs(store, None, None)
    ([], ())
    """
    fields = {name: value for name, value in (fields or {}).items() if value is not None}
    if is_runs(source):
        return [run for run in source if matches_context(run.context, context)], ()
    if isinstance(source, TransitionCallbackHandler) and source.store is None:
        recorded = read_trajectories(source, **fields)
        return [run for run in recorded if matches_context(run.context, context)], ()
    stored = count_stored(source, **reader_options)
    where, held = ("file", transitions) if stored is None else ("store", stored)
    if held is None or (stored is None and not _is_readable(source)):
        return None, ()
    if held > MAX_READ:
        return None, (
            f"The outcomes of runs were not looked at: the {where} holds {held:,} transitions, and "
            f"up to {MAX_READ:,} its runs are read by themselves. Give some of them as "
            "trajectories=.",
        )
    runs = read_trajectories(cast("Source", source), **fields, **reader_options)
    return [run for run in runs if matches_context(run.context, context)], ()


def _is_readable(source: object) -> bool:
    """Say whether a source is a file or a URL; a folder of tables has no reader."""
    if not isinstance(source, str | os.PathLike):
        return False
    return "://" in str(source) or Path(source).is_file()


def _refuse_fields(success_field: str | None, cost_field: str | None) -> None:
    if success_field is not None:
        raise InvalidInputError(
            f"success_field={success_field!r} is for files; the runs of a store are judged by "
            "store.judge(trajectory, success=...)"
        )
    if cost_field is not None:
        raise InvalidInputError(f"cost_field={cost_field!r} is for files; a store keeps no costs")


def _split(
    records: Iterable[Transition | Ending],
    endings: Mapping[str | None, Sequence[Ending]] = _NO_ENDINGS,
    beginnings: Iterable[Beginning] = (),
) -> list[_Run]:
    """Return the transitions of each run, with the endings that stand behind them."""
    known = {beginning.run: _Run(beginning.run, beginning) for beginning in beginnings}
    runs = list(known.values())
    open_runs: dict[str, _Run] = {}
    for record in records:
        if record.run is not None:
            run = known.get(record.run)
            if run is None:
                run = known[record.run] = _Run(record.run)
                runs.append(run)
        elif record.trajectory is None:
            continue
        else:
            run = open_runs.get(record.trajectory)
        if isinstance(record, Ending):
            if run is not None:
                run.endings.append(record)
            continue
        stops = endings.get(record.trajectory, ())
        if run is None or (record.run is None and _is_new(run.moves, record, stops)):
            run = open_runs[record.trajectory or ""] = _Run()
            runs.append(run)
        run.moves.append(record)
    return runs


def _is_new(run: Sequence[Transition], move: Transition, endings: Sequence[Ending]) -> bool:
    """Say whether a move begins another run than the one before it in its trajectory."""
    if move.source != START:
        return False
    if any(before.target is not None for before in run):
        return True
    # So far there were only escapes, which are retries unless the run has stopped since.
    last, now = run[-1].time or 0.0, move.time or 0.0
    return any(last <= (ending.time or 0.0) <= now for ending in endings if ending.outcome)


def _in_order(moves: list[Transition]) -> list[Transition]:
    """Return the moves of a run as they were made; a part of it may have been written later."""
    if _is_path(moves):
        return moves
    by_step = sorted(moves, key=lambda move: (move.target == END, move.step or 0))
    return by_step if _is_path(by_step) else moves


def _is_path(moves: Sequence[Transition]) -> bool:
    here = moves[0].source if moves else ""
    for move in moves:
        if move.source != here:
            return False
        here = here if move.target is None else move.target
    return True


def _from_store(store: TransitionStore) -> list[_Run]:
    endings: defaultdict[str | None, list[Ending]] = defaultdict(list)
    records: list[Ending] = []
    for ending in store.endings():
        if ending.run is None:
            endings[ending.trajectory].append(ending)
        else:
            records.append(ending)
    ordered: Iterable[Transition | Ending] = chain(store.read(), records)
    runs = _split(ordered, endings, store.runs())
    runs = [run for run in runs if run.moves or run.endings]
    if any(run.beginning for run in runs):
        runs.sort(key=lambda run: -inf if run.began is None else run.began)
    # From the last run to the first: each takes the endings that came after it began.
    for run in reversed(runs):
        run.pop_endings(endings[run.trajectory])
    return runs


def _from_recent(recent: RecentRuns) -> list[_Run]:
    records = list(recent.records())
    beginnings = [record for record in records if isinstance(record, Beginning)]
    runs = _split((r for r in records if not isinstance(r, Beginning)), beginnings=beginnings)
    return sorted(runs, key=lambda run: -inf if run.began is None else run.began)


@dataclass(slots=True)
class _Run:
    """A run that is being put together."""

    name: str | None = None
    beginning: Beginning | None = None
    moves: list[Transition] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)

    @property
    def trajectory(self) -> str | None:
        """The trajectory that it belongs to."""
        if self.beginning is not None:
            return self.beginning.trajectory
        return self.moves[0].trajectory if self.moves else self.endings[0].trajectory

    @property
    def began(self) -> float | None:
        """When it began."""
        if self.beginning is not None and self.beginning.time is not None:
            return self.beginning.time
        return self.moves[0].time if self.moves else None

    def pop_endings(self, endings: list[Ending]) -> None:
        """Take its own endings off a list."""
        began = self.began
        own = [e for e in endings if began is None or e.time is None or e.time >= began]
        endings[:] = [e for e in endings if e not in own]
        self.endings.extend(own)

    def began_in(self, since: float | None, until: float | None) -> bool:
        """Say whether it began in a window of time."""
        if since is None and until is None:
            return True
        low, high = -inf if since is None else since, inf if until is None else until
        return self.began is not None and low <= self.began < high

    def end(self, cost_field: str | None = None) -> Trajectory:
        """Return the run with its outcome."""
        if self.name is not None:
            self.moves = _in_order(self.moves)
            self.endings.sort(key=lambda ending: inf if ending.time is None else ending.time)
        moves = tuple((move.source, move.target) for move in self.moves for _ in range(move.count))
        stops = [ending for ending in self.endings if ending.outcome is not None]
        judged = next((e.success for e in reversed(self.endings) if e.success is not None), None)
        outcome = stops[-1].outcome if stops else None
        success = judged if judged is not None or outcome is None else outcome.success
        if outcome is None and moves and moves[-1][1] == END:
            outcome = Outcome.ENDED  # without a word of success: a trace may end where it was cut
        began = self.beginning
        labels = (self.moves or self.endings)[-1].context
        starts = not moves or moves[0][0] == START
        return Trajectory(
            moves,
            self.trajectory,
            outcome,
            success,
            stops[-1].error if stops else None,
            tuple(label for label in labels if label[0] != cost_field),
            () if cost_field is None else tuple(self._costs(cost_field)),
            self._limit_steps(),
            run=self.name,
            thread=began.thread if began else None,
            parent=began.parent if began else None,
            origin=began.origin if began else None,
            attempts=sum(stop.outcome != Outcome.INTERRUPTED for stop in stops),
            judged=judged is not None,
            past_unknown=bool(self.name and (not starts or (began and began.past_unknown))),
            started=self.began,
            ended=stops[-1].time if stops else None,
            facts=self._facts(),
        )

    def _facts(self) -> tuple[StepFacts | None, ...]:
        if all(move.facts is None for move in self.moves):
            return ()
        return tuple(move.facts for move in self.moves for _ in range(move.count))

    def _costs(self, field: str) -> Iterator[float]:
        for move in self.moves:
            value = dict(move.context).get(field, "").strip() or "0"
            try:
                cost = float(value)
            except ValueError:
                cost = nan
            if not isfinite(cost):
                raise ReadError(
                    f"{field!r} of run {move.trajectory!r} is {value!r}; a cost is a number"
                )
            yield from repeat(cost / move.count, move.count)

    def _limit_steps(self) -> int | None:
        """Return the least recursion limit that would have let each invocation through.

        LangGraph wants one more than the steps taken. The steps of a thread that is used again go
        on from those before; there may be one before the first move (a model that only asks for
        tools).
        """
        counted = [ending.supersteps for ending in self.endings if ending.supersteps is not None]
        if counted:
            return max(counted) + 1
        if not any(ending.outcome is not None for ending in self.endings):
            return None  # what is no record of ours may count other steps
        steps = [m.step for m in self.moves if m.step is not None and m.target != END]
        if not steps:
            return None
        fresh = self.moves[0].source == START and steps[0] <= _MOST_SILENT + 1
        return max(steps) + 1 - (0 if fresh else steps[0] - 2)
