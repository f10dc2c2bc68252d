"""The runs of a store, found by columns and not one by one."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers import END, START, Outcome, TransitionCounts
from detailed_balance.analyzers.runs.columns import OUTCOMES, FactColumns, RunColumns
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.callbacks import Ending, TransitionStore
from detailed_balance.callbacks.store.reading import MISSING, MoveColumns, read_moves
from detailed_balance.callbacks.transition import Beginning, Record
from detailed_balance.readers.records.runs import MOST_COUNTED, split_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MARGIN = 60.0  # seconds from the beginning of a run to its first move, at most


def read_stored(
    store: TransitionStore, last: int | None = None
) -> tuple[RunTable | None, TransitionCounts]:
    """Return the runs of a store, and the counts of all its moves, those of no run too.

    A run is what bears the same id of a run. Where moves have none, it begins where its trajectory
    is seen first, and at each START after that. Runs are in the order in which they began, then in
    that of their names. There are None where counts stand for more moves than a table holds.

    Parameters
    ----------
    store : TransitionStore
        The store.
    last : int, optional
        Only about so many moves, those recorded last; runs that began before them are left out.

    Raises
    ------
    ReadError
        As from `read_moves`.

    Examples
    --------
    >>> from detailed_balance import Transition
    >>> with TransitionStore("sqlite://") as store:
    ...     store.append([Transition("plan", "search", "T1"), Transition("plan", None)])
    ...     runs, counts = read_stored(store)
    >>> [run.name for run in runs], int(counts.attempts.sum())
    (['T1'], 2)
    """
    moves = read_moves(store, last)
    counts = TransitionCounts.from_arrays(
        tuple(moves.states), moves.source, moves.target, moves.number
    )
    of_runs = (moves.run >= 0) | (moves.trajectory >= 0)
    if (moves.number[of_runs] - 1.0).sum() > MOST_COUNTED:
        return None, counts
    if moves.whole:
        return sort_runs(_RunFinder(moves, store.runs(), store.endings()).table()), counts
    since = None if np.isnan(moves.time).all() else float(np.nanmin(moves.time)) - _MARGIN
    found = _RunFinder(moves, store.runs(since=since), store.endings(since=since)).table()
    return sort_runs(leave_out_cut(found)), counts


def assemble_runs(records: Iterable[Record]) -> RunTable:
    """Return the runs of what was recorded, in the order in which they began.

    Examples
    --------
    >>> from detailed_balance import Transition
    >>> [run.name for run in assemble_runs([Transition("plan", "search", "T1")])]
    ['T1']
    """
    known = list(records)
    begun = [record for record in known if isinstance(record, Beginning)]
    rest = [record for record in known if not isinstance(record, Beginning)]
    runs = (run for run in split_runs(rest, begun) if run.moves or run.endings)
    return sort_runs(RunTable.from_trajectories(run.end() for run in runs))


def leave_out_cut(runs: RunTable) -> RunTable:
    """Return the runs of a part of a record that are whole.

    They begin with START, where runs do, and so do the runs around them.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> runs = [Trajectory((("__start__", "a"),), "T1"), Trajectory((("a", "b"),), "T2")]
    >>> [run.name for run in leave_out_cut(RunTable.of(runs))]
    ['T1']
    """
    if START not in runs.states:
        return runs
    kept = np.flatnonzero(runs.lengths)
    kept = kept[runs.source[runs.offsets[kept]] == runs.code(START)]
    before = -1
    while len(kept) != before:
        before, around = len(kept), {None, *runs.runs.run[kept].tolist()}
        kept = kept[[parent in around for parent in runs.runs.parent[kept].tolist()]]
    return runs.select(kept)


def sort_runs(runs: RunTable) -> RunTable:
    """Return runs in the order in which they began, then in that of their names.

    Those whose time is not known come first, and equal ones stay as they are.
    """
    started, names = runs.runs.started, runs.runs.name.tolist()
    early = np.where(np.isnan(started), -np.inf, started)
    by_name = np.array(sorted(range(len(names)), key=lambda i: names[i] or ""), dtype=np.int64)
    return runs.select(by_name[np.argsort(early[by_name], kind="stable")])


@dataclass(frozen=True, slots=True)
class _Groups:
    """Which moves are of one run.

    Parameters
    ----------
    of_move : (m,) array of int64
        The run of each move, -1 where it is of none.
    n : int
        How many runs there may be; those with a name come first.
    """

    of_move: NDArray[np.int64]
    n: int


class _RunFinder:
    """Puts the moves, beginnings and endings of a store together."""

    def __init__(
        self, moves: MoveColumns, begun: Sequence[Beginning], endings: Sequence[Ending]
    ) -> None:
        self._moves, self._endings = moves, endings
        self._names: list[str | None] = list(moves.runs)
        codes = {name: code for code, name in enumerate(moves.runs)}
        for name in (*(b.run for b in begun), *(e.run for e in endings if e.run is not None)):
            if codes.setdefault(name, len(codes)) == len(self._names):
                self._names.append(name)
        self._begun = {codes[b.run]: b for b in begun}
        # Those of no trajectory have one place too.
        places = {name: i for i, name in enumerate((*moves.trajectories, None))}
        self._own = [-1 if e.run is None else codes[e.run] for e in endings]
        self._loose = [-1 if e.run is not None else places[e.trajectory] for e in endings]
        self._places = places
        self._start = _place(moves.states, START)
        self._end = _place(moves.states, END)

    def table(self) -> RunTable:
        """Return the runs."""
        groups = self._group()
        shown, began, first = self._order(groups)
        rank = np.full(groups.n + 1, -1)
        rank[shown] = np.arange(len(shown))
        run = rank[groups.of_move]
        order = np.argsort(run, kind="stable")[np.count_nonzero(run < 0) :]
        order = self._in_order(order, run[order], self._named(shown))
        ends = self._find_endings(shown, began, first, rank)
        columns = self._columns(shown, order, run[order], ends, began)
        return self._expand(order, run[order], len(shown), columns)

    def _group(self) -> _Groups:
        """Give each move its run: by its id, or by the places where its trajectory starts again."""
        moves, named = self._moves, len(self._names)
        loose = np.flatnonzero((moves.run < 0) & (moves.trajectory >= 0))
        order = loose[np.argsort(moves.trajectory[loose], kind="stable")]
        of_move = moves.run.copy()
        if not len(order):
            return _Groups(of_move, named)
        new = _differs(moves.trajectory[order])
        starts = np.flatnonzero(new | (moves.source[order] == self._start))
        reached = np.concatenate([[0], np.cumsum(moves.target[order] >= 0)])[starts]
        moved = np.concatenate([[False], np.diff(reached) > 0])
        again = ~new[starts] & ~moved  # so far there were only escapes
        new[starts[moved]] = True
        if again.any():
            stopped = self._stop_finder()
            time = np.nan_to_num(moves.time)
            for place in starts[again].tolist():
                last, now = order[place - 1], order[place]
                new[place] = stopped(
                    int(moves.trajectory[now]), float(time[last]), float(time[now])
                )
        of_move[order] = named + np.cumsum(new) - 1
        return _Groups(of_move, named + int(new.sum()))

    def _stop_finder(self) -> Callable[[int, float, float], bool]:
        """Return what says whether a trajectory stopped between two moments."""
        stops: defaultdict[int, list[float]] = defaultdict(list)
        for ending, place in zip(self._endings, self._loose, strict=True):
            if ending.outcome is not None and place >= 0:
                stops[place].append(ending.time or 0.0)
        for times in stops.values():
            times.sort()

        def stopped(trajectory: int, since: float, until: float) -> bool:
            times = stops.get(int(trajectory), [])
            place = bisect_left(times, since)
            return place < len(times) and times[place] <= until

        return stopped

    def _order(
        self, groups: _Groups
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Return the runs that are there, in order; when each began, and its first move or -1."""
        n = groups.n
        kept = np.flatnonzero(groups.of_move >= 0)
        found, place = np.unique(groups.of_move[kept], return_index=True)
        first = np.full(n, -1)
        first[found] = kept[place]
        size = len(groups.of_move)
        seen = np.where(first >= 0, first, size + len(self._endings))
        there = first >= 0
        for number, code in enumerate(self._own):
            if code >= 0:
                there[code] = True
                seen[code] = min(seen[code], size + number)
        began = np.where(first >= 0, np.append(self._moves.time, np.nan)[first], np.nan)
        for number, (code, beginning) in enumerate(self._begun.items()):
            seen[code] = number - len(self._begun)
            began[code] = began[code] if beginning.time is None else beginning.time
        shown = np.flatnonzero(there)
        shown = shown[np.argsort(seen[shown], kind="stable")]
        if any(there[code] for code in self._begun):
            early = np.where(np.isnan(began), -np.inf, began)
            shown = shown[np.argsort(early[shown], kind="stable")]
        return shown, began[shown], first[shown]

    def _named(self, shown: NDArray[np.int64]) -> NDArray[np.bool_]:
        return shown < len(self._names)

    def _in_order(
        self, order: NDArray[np.int64], run: NDArray[np.int64], named: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Return moves as they were made; a part of a run may have been written later."""
        broken = self._broken(order, run, len(named)) & named
        if not broken.any():
            return order
        moves, places = self._moves, np.flatnonzero(broken[run])
        part = order[places]
        step = np.where(moves.step[part] == MISSING, 0, moves.step[part])
        by_step = np.lexsort((step, moves.target[part] == self._end, run[places]))
        trial = order.copy()
        trial[places] = part[by_step]
        mended = broken & ~self._broken(trial, run, len(named))
        return np.where(mended[run], trial, order)

    def _broken(
        self, order: NDArray[np.int64], run: NDArray[np.int64], n: int
    ) -> NDArray[np.bool_]:
        """Say of each run whether some move does not go on where the one before it led."""
        source, target = self._moves.source[order], self._moves.target[order]
        here = np.where(target < 0, source, target)
        jumps = ~_differs(run)
        jumps[1:] &= source[1:] != here[:-1]
        broken = np.zeros(n, dtype=bool)
        broken[run[jumps]] = True
        return broken

    def _find_endings(
        self,
        shown: NDArray[np.int64],
        began: NDArray[np.float64],
        first: NDArray[np.int64],
        rank: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which endings are of runs, and their runs, in the order of runs and times."""
        own, loose = np.array(self._own, dtype=np.int64), np.array(self._loose, dtype=np.int64)
        times = np.array([np.nan if e.time is None else e.time for e in self._endings], dtype=float)
        run = np.where(own >= 0, rank[own], -1) if len(own) else own
        free = np.flatnonzero(loose >= 0)
        if len(free) and len(shown):
            run[free] = _last_begun(
                self._trajectories(shown, first), began, loose[free], times[free]
            )
        kept = np.flatnonzero(run >= 0)
        late = np.where(np.isnan(times), np.inf, times)[kept]
        late[~self._named(shown)[run[kept]]] = 0.0
        order = kept[np.lexsort((own[kept] < 0, late, run[kept]))]
        return order, run[order]

    def _trajectories(
        self, shown: NDArray[np.int64], first: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the place of the trajectory of each run."""
        found = np.append(self._moves.trajectory, -1)[first]
        found[found < 0] = self._places[None]
        place = dict(zip(shown.tolist(), range(len(shown)), strict=True))
        for ending, code in zip(reversed(self._endings), reversed(self._own), strict=True):
            if code >= 0 and first[place[code]] < 0:
                found[place[code]] = self._places[ending.trajectory]
        for code, beginning in self._begun.items():
            if code in place:
                found[place[code]] = self._places[beginning.trajectory]
        return found

    def _columns(
        self,
        shown: NDArray[np.int64],
        order: NDArray[np.int64],
        run: NDArray[np.int64],
        ends: tuple[NDArray[np.int64], NDArray[np.int64]],
        began: NDArray[np.float64],
    ) -> dict[str, Any]:
        """Return what is known of each run."""
        n, moves = len(shown), self._moves
        first, last = _bounds(run, n)
        has = first < last
        head = np.append(order, -1)[np.where(has, first, len(order))]
        tail = np.append(order, -1)[np.where(has, last - 1, len(order))]
        names: list[Any] = [*moves.trajectories, None]
        known: dict[str, Any] = {
            "name": _objects([names[i] for i in np.append(moves.trajectory, -1)[head].tolist()]),
            "run": _objects([*self._names, None])[np.minimum(shown, len(self._names))],
            "past_unknown": self._named(shown) & has & (moves.source[head] != self._start)
            if len(order)
            else np.zeros(n, dtype=bool),
            "context": np.append(moves.context, -1)[tail],
            "started": np.append(moves.time, np.nan)[head],
            "contexts": list(moves.contexts),
        }
        known |= {name: _objects([None] * n) for name in ("thread", "parent", "origin")}
        place = dict(zip(shown.tolist(), range(n), strict=True))
        for code, beginning in self._begun.items():
            if code not in place:
                continue
            i = place[code]
            known["name"][i] = beginning.trajectory
            for name in ("thread", "parent", "origin"):
                known[name][i] = getattr(beginning, name)
            known["past_unknown"][i] |= beginning.past_unknown
            if beginning.time is not None:
                known["started"][i] = beginning.time
        self._add_endings(known, ends, has, place)
        # In a trace it may be told before the last move how a run stopped.
        last = np.where(self._named(shown), np.nan, np.append(moves.time, np.nan)[tail])
        known["ended"] = np.where(last > known["ended"], last, known["ended"])
        ended = (known["outcome"] < 0) & has
        if len(order):
            ended &= (moves.target[tail] == self._end) & (self._end >= 0)
        known["outcome"][ended] = OUTCOMES.index(Outcome.ENDED)
        return known

    def _add_endings(
        self,
        known: dict[str, Any],
        ends: tuple[NDArray[np.int64], NDArray[np.int64]],
        has_moves: NDArray[np.bool_],
        place: dict[int, int],
    ) -> None:
        n = len(has_moves)
        outcome, success, judged = np.full(n, -1), np.full(n, -1), np.zeros(n, dtype=bool)
        attempts, limit, ended = np.zeros(n, dtype=np.int64), np.full(n, -1), np.full(n, np.nan)
        error = _objects([None] * n)
        contexts = {context: i for i, context in enumerate(known["contexts"])}
        codes = {kind: (OUTCOMES.index(kind), kind.success) for kind in Outcome}
        unnamed = set(np.flatnonzero(~has_moves).tolist())
        first_names = {
            place[code]: b.trajectory for code, b in self._begun.items() if code in place
        }
        for number, i in zip(*(part.tolist() for part in ends), strict=True):
            ending = self._endings[number]
            if ending.outcome is not None:
                outcome[i], told = codes[ending.outcome]
                error[i] = ending.error
                ended[i] = np.nan if ending.time is None else ending.time
                attempts[i] += ending.outcome is not Outcome.INTERRUPTED
                if not judged[i]:
                    success[i] = -1 if told is None else int(told)
            if ending.success is not None:
                judged[i], success[i] = True, int(ending.success)
            if ending.supersteps is not None:
                limit[i] = max(limit[i], ending.supersteps + 1)
            if i in unnamed:
                known["context"][i] = contexts.setdefault(ending.context, len(contexts))
                known["name"][i] = first_names.setdefault(i, ending.trajectory)
        known |= {"outcome": outcome, "success": success, "judged": judged, "error": error}
        known |= {"attempts": attempts, "limit_steps": limit, "ended": ended}
        known["contexts"] = list(contexts)

    def _expand(
        self, order: NDArray[np.int64], run: NDArray[np.int64], n: int, known: dict[str, Any]
    ) -> RunTable:
        """Return the table, a move that was counted several times as so many moves."""
        moves, contexts = self._moves, known.pop("contexts")
        number = moves.number[order]
        if len(order) and number.max() > 1:
            order, run = np.repeat(order, number), np.repeat(run, number)
        facts = None
        if moves.facts and moves.facts["known"][order].any():
            facts = FactColumns(**{name: column[order] for name, column in moves.facts.items()})
        return RunTable.from_codes(
            moves.states,
            moves.source[order],
            moves.target[order],
            np.concatenate([[0], np.cumsum(np.bincount(run, minlength=n))]),
            RunColumns.unknown(n, **known),
            contexts=tuple(contexts) or ((),),
            facts=facts,
        )


def _place(names: Sequence[str], name: str) -> int:
    """Return the place of a name; -2, which no column has, where it is not there."""
    return names.index(name) if name in names else -2


def _differs(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of each value whether it is the first, or another than the one before."""
    return np.concatenate([[True], values[1:] != values[:-1]])[: len(values)]


def _bounds(run: NDArray[np.int64], n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each of n runs begins and ends in a sorted column."""
    numbers = np.arange(n)
    return np.searchsorted(run, numbers), np.searchsorted(run, numbers, side="right")


def _objects(values: list[Any]) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=np.object_)
    array[:] = values
    return array


def _last_begun(
    trajectory: NDArray[np.int64],
    began: NDArray[np.float64],
    wanted: NDArray[np.int64],
    times: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return for each ending the last run of its trajectory that had begun, -1 where none had."""
    early = np.where(np.isnan(began), -np.inf, began)
    late = np.where(np.isnan(times), np.inf, times)
    moments, rank = np.unique(np.concatenate([early, late]), return_inverse=True)
    width = len(moments)
    order = np.argsort(trajectory, kind="stable")
    keys = trajectory[order] * width + rank[: len(early)][order]
    # From behind, the earliest beginning so far: the last run that had begun is where that rises.
    keys = np.minimum.accumulate(keys[::-1])[::-1]
    asked = wanted * width + rank[len(early) :]
    place = np.searchsorted(keys, asked, side="right") - 1
    found = order[np.maximum(place, 0)]
    return np.where((place >= 0) & (trajectory[found] == wanted), found, -1)
