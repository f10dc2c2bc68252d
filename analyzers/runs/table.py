"""`RunTable`: runs as columns, the one form in which they are held and computed on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, overload

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers.counts import (
    BOUNDARIES,
    TransitionCounts,
    unknown_state_message,
)
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs._bootstrap import draw_counts, draw_weights
from detailed_balance.analyzers.runs._hiding import credit, credit_facts, splice_out
from detailed_balance.analyzers.runs._trajectories import make_columns, make_trajectory
from detailed_balance.analyzers.runs.columns import FactColumns, RunColumns
from detailed_balance.analyzers.runs.labels import (
    Context,
    ContextLike,
    Moment,
    make_context,
    matches_context,
    moment_of,
)
from detailed_balance.analyzers.runs.names import order_runs
from detailed_balance.analyzers.runs.trajectory import Trajectory
from detailed_balance.analyzers.sparse import count_distinct, find_places

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["RunTable", "Runs"]

ESCAPE = -1
"""The target code of an escape."""


class DistinctMoves(NamedTuple):
    """The k different moves of runs, sorted.

    Parameters
    ----------
    source, target : (k,) arrays of int64
        Places in `RunTable.states`; the target -1 is an escape.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RunTable(Sequence[Trajectory]):
    """Runs as columns: the moves of one run after those of another, and what is known of each.

    It is a sequence of `Trajectory` too, each made when it is asked for.

    Parameters
    ----------
    states : tuple of str, length n
        The states, sorted, START and END among them where runs have them.
    source, target : (m,) arrays of int32
        The moves as places in `states`, run after run, in order; the target -1 is an escape.
    offsets : (r + 1,) array of int64
        Run i has the moves ``offsets[i]`` to ``offsets[i + 1]``.
    runs : RunColumns
        What is known of each run.
    contexts : tuple of Context
        The labels that runs carry; ``runs.context`` says which.
    blocks : tuple of str
        The tasks or batches that runs are of, sorted; ``runs.block`` says which.
    costs : (m,) array of float64 or None
        What each move cost, NaN where not known; None where no cost is.
    facts : FactColumns or None
        What else is known of each move; None where nothing is.

    Examples
    --------
    >>> runs = [Trajectory((("plan", "search"), ("search", "plan"))), Trajectory((("plan", None),))]
    >>> table = RunTable.from_trajectories(runs)
    >>> len(table), table.states, table.source.tolist(), table.target.tolist()
    (2, ('plan', 'search'), [0, 1, 0], [1, 0, -1])
    >>> table[1].moves
    (('plan', None),)
    """

    states: tuple[str, ...]
    source: NDArray[np.int32]
    target: NDArray[np.int32]
    offsets: NDArray[np.int64]
    runs: RunColumns
    contexts: tuple[Context, ...] = ((),)
    blocks: tuple[str, ...] = ()
    costs: NDArray[np.float64] | None = field(default=None)
    facts: FactColumns | None = field(default=None)

    @classmethod
    def from_trajectories(cls, runs: Iterable[Trajectory]) -> RunTable:
        """Return runs as a table, in the order given.

        Raises
        ------
        InvalidInputError
            Where something is no `Trajectory`.
        """
        return cls.from_codes(**make_columns(runs))

    @classmethod
    def from_codes(
        cls,
        states: Sequence[str],
        source: NDArray[Any],
        target: NDArray[Any],
        offsets: NDArray[Any],
        runs: RunColumns,
        **columns: Any,
    ) -> RunTable:
        """Return a table of moves by places in `states`, which may be in any order, or unused.

        Raises
        ------
        InvalidInputError
            Where the columns are not of the same runs, or not of the same moves.
        """
        if len(offsets) != len(runs.name) + 1 or offsets[-1] != len(source):
            raise InvalidInputError(
                f"{len(runs.name)} runs of {len(source)} moves need {len(runs.name) + 1} offsets "
                f"up to {len(source)}; got {len(offsets)} up to {offsets[-1]}"
            )
        used = np.zeros(len(states) + 1, dtype=bool)
        used[source] = used[target] = True
        order = sorted(np.flatnonzero(used[:-1]).tolist(), key=states.__getitem__)
        place = np.full(len(states) + 1, ESCAPE, dtype=np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        names = tuple(states[i] for i in order)
        moves = place[source], place[target]
        return cls(names, *moves, np.asarray(offsets, np.int64), runs, **columns)

    @classmethod
    def of(cls, runs: Iterable[Trajectory]) -> RunTable:
        """Return a table as it is, and any other runs as one."""
        return runs if isinstance(runs, RunTable) else cls.from_trajectories(runs)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, place: int) -> Trajectory: ...
    @overload
    def __getitem__(self, place: slice) -> RunTable: ...
    def __getitem__(self, place: int | slice) -> Trajectory | RunTable:
        if isinstance(place, slice):
            return self.select(np.arange(len(self))[place])
        return self._view(range(len(self))[place])

    def __iter__(self) -> Iterator[Trajectory]:
        return map(self._view, range(len(self)))

    def __repr__(self) -> str:
        return f"RunTable(runs={len(self):,}, moves={self.total:,}, states={len(self.states):,})"

    def _view(self, i: int) -> Trajectory:
        part = slice(*self.offsets[i : i + 2].tolist())
        row = RunColumns(*(column[i] for column in self.runs))
        return make_trajectory(
            self.states,
            zip(self.source[part].tolist(), self.target[part].tolist(), strict=True),
            row,
            self.contexts[int(row.context)],
            () if self.costs is None else tuple(self.costs[part].tolist()),
            () if self.facts is None else tuple(map(self.facts.row, range(part.start, part.stop))),
        )

    @property
    def total(self) -> int:
        """The number of moves of all runs, escapes included."""
        return len(self.source)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(r,) array of int64: the moves of each run."""
        return np.diff(self.offsets)

    @property
    def run_of_move(self) -> NDArray[np.int64]:
        """(m,) array of int64: the run of each move."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def code(self, state: str) -> int:
        """Return the place of a state in `states`; -2, which no move has, where it is not there."""
        try:
            return self.states.index(state)
        except ValueError:
            return -2

    @property
    def success(self) -> NDArray[np.int8]:
        """(r,) array of int8: 1 where a run did its work, 0 where not, -1 where nobody knows."""
        return self.runs.success

    def counts(self) -> TransitionCounts:
        """Return how often each move was made, START, END and escapes included.

        Examples
        --------
        >>> RunTable.of([Trajectory((("a", "b"), ("b", None)))]).counts().attempts.tolist()
        [1, 1]
        """
        keys, number = self._count_moves()
        return TransitionCounts.from_arrays(self.states, *self._split(keys), number)

    def _keys(self) -> NDArray[np.int64]:
        """(m,) array of int64: a number for each move, the same for the same move."""
        return self.source.astype(np.int64) * (len(self.states) + 1) + (self.target + 1)

    def _count_moves(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return count_distinct(self._keys(), len(self.states) * (len(self.states) + 1))

    def _split(self, keys: NDArray[np.int64]) -> DistinctMoves:
        width = len(self.states) + 1
        return DistinctMoves(keys // width, keys % width - 1)

    def distinct_moves(self) -> DistinctMoves:
        """Return the different moves, which are the columns of `by_run`.

        Examples
        --------
        >>> table = RunTable.of([Trajectory((("b", None), ("b", "a"), ("b", "a")))])
        >>> moves = table.distinct_moves()
        >>> moves.source.tolist(), moves.target.tolist()
        ([1, 1], [-1, 0])
        """
        return self._split(self._count_moves()[0])

    def by_run(self) -> csr_array[Any, tuple[int, int]]:
        """(r, k) csr_array of int64: how often each run made each of `distinct_moves`.

        Examples
        --------
        >>> runs = [Trajectory((("a", "b"), ("b", "a"))), Trajectory((("a", "b"),) * 2)]
        >>> RunTable.of(runs).by_run().toarray().tolist()
        [[1, 1], [2, 0]]
        """
        size = len(self.states) * (len(self.states) + 1)
        keys, _ = count_distinct(moves := self._keys(), size)
        column = find_places(moves, keys, size)
        ones, shape = np.ones(self.total, dtype=np.int64), (len(self), len(keys))
        counts = csr_array((ones, column, self.offsets.copy()), shape=shape)
        counts.sum_duplicates()
        return counts

    def order(self) -> NDArray[np.int64]:
        """(r,) array of int64: the places of the runs in an order that is not that of the record.

        By name; runs of the same name, or of none, by when they began, by outcome and success, and
        by a hash of their moves. What is equal in all of these is equal for any statistic of runs.

        Examples
        --------
        >>> RunTable.of([Trajectory((("a", "b"),), name) for name in "yx"]).order().tolist()
        [1, 0]
        """
        return order_runs(self.runs, self._keys(), self.offsets)

    def select(self, runs: ArrayLike) -> RunTable:
        """Return some of the runs, by their places, in that order, or by a mask.

        States that none of them visits stay in `states`.

        Examples
        --------
        >>> table = RunTable.of([Trajectory((("a", "b"),)), Trajectory((("b", "a"),))])
        >>> [run.moves for run in table.select([1])]
        [(('b', 'a'),)]
        """
        chosen = np.asarray(runs)
        places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        lengths = self.lengths[places]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        moves = np.arange(offsets[-1]) + np.repeat(self.offsets[places] - offsets[:-1], lengths)
        return replace(
            self,
            source=self.source[moves],
            target=self.target[moves],
            offsets=offsets,
            runs=self.runs.select(places),
            costs=None if self.costs is None else self.costs[moves],
            facts=None if self.facts is None else self.facts.select(moves),
        )

    def keep_moves(self, kept: NDArray[np.bool_]) -> RunTable:
        """Return the same runs with some of their moves alone; the costs of others are dropped.

        Parameters
        ----------
        kept : (m,) array of bool
            Which moves to keep.

        Examples
        --------
        >>> table = RunTable.of([Trajectory((("a", "b"), ("b", None)))])
        >>> table.keep_moves(table.target >= 0)[0].moves
        (('a', 'b'),)
        """
        return replace(
            self,
            source=self.source[kept],
            target=self.target[kept],
            offsets=np.append(0, np.cumsum(kept))[self.offsets],
            costs=None if self.costs is None else self.costs[kept],
            facts=None if self.facts is None else self.facts.select(kept),
        )

    def where(
        self, context: ContextLike = None, since: Moment = None, until: Moment = None
    ) -> RunTable:
        """Return the runs that carry all labels and began in ``since <= time < until``.

        Parameters
        ----------
        context : mapping, optional
            The labels.
        since, until : float, str or datetime, optional
            As for `moment_of`. A run without times is in no such window.

        Raises
        ------
        InvalidInputError
            Where a moment is not a date, or `context` no mapping.

        Examples
        --------
        >>> runs = [Trajectory((("a", "b"),), context=(("model", m),), started=9.0) for m in "xy"]
        >>> len(RunTable.of(runs).where({"model": "x"}, since=5)), len(RunTable.of(runs).where(until=5))
        (1, 0)
        """  # noqa: E501 - one line shows both
        labels = make_context(context)
        carries = np.array([matches_context(each, labels) for each in self.contexts], dtype=bool)
        kept, started = carries[self.runs.context], self.runs.started
        low, high = moment_of(since), moment_of(until)
        if low is not None:
            kept = kept & (started >= low)
        if high is not None:
            kept = kept & (started < high)
        return self if kept.all() else self.select(kept)

    def block_codes(self, by: str | None = None) -> NDArray[np.int64]:
        """(r,) array of int64: the block of each run, -1 where it is of none.

        Parameters
        ----------
        by : str, optional
            ``"thread"``, or the name of a label; by default `blocks`.

        Raises
        ------
        InvalidInputError
            Where no run has such a label.
        """
        return self._find_blocks(by)[0]

    def with_blocks(self, by: str) -> RunTable:
        """Return the same runs, the blocks of which are told by `by`; see `block_codes`.

        Examples
        --------
        >>> runs = [Trajectory((("a", "b"),), context=(("task", task),)) for task in "yxy"]
        >>> table = RunTable.of(runs).with_blocks("task")
        >>> table.blocks, table.runs.block.tolist()
        (('x', 'y'), [1, 0, 1])
        """
        codes, blocks = self._find_blocks(by)
        return replace(self, runs=self.runs._replace(block=codes), blocks=blocks)

    def _find_blocks(self, by: str | None) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        if by is None:
            return self.runs.block, self.blocks
        of_thread = by == "thread"
        values = self.runs.thread
        if not of_thread:
            values = np.array([dict(context).get(by) for context in self.contexts], dtype=object)
        there = values != np.array(None)
        names, places = np.unique(values[there].astype(str), return_inverse=True)
        codes = np.full(len(values), -1, dtype=np.int64)
        codes[there] = places
        codes = codes if of_thread else codes[self.runs.context]
        if not (codes >= 0).any():
            seen = sorted({name for context in self.contexts for name, _ in context})
            raise InvalidInputError(
                f"no run has a label {by!r} to tell its block; the labels are "
                f"{', '.join(map(repr, seen)) or 'none'}, and 'thread' is allowed"
            )
        return codes, tuple(names.tolist())

    def resample(self, rng: np.random.Generator, *, block: str | None = None) -> RunTable:
        """Draw as many runs, or as many blocks of runs, with replacement.

        Parameters
        ----------
        rng : Generator
            What to draw with.
        block : str, optional
            As `by` of `block_codes`: whole blocks are drawn. By default single runs are, or the
            blocks of the table where it has any. A run of no block is one by itself.

        Examples
        --------
        >>> table = RunTable.of([Trajectory((("a", state),)) for state in "bcd"])
        >>> table.resample(np.random.default_rng(0)).counts().total
        3
        """
        weights = self.bootstrap_weights(rng, 1, block=block)[0]
        return self.select(np.repeat(np.arange(len(self)), weights))

    def bootstrap_weights(
        self, rng: np.random.Generator, replicates: int, *, block: str | None = None
    ) -> NDArray[np.int64]:
        """(replicates, r) array of int64: how often each run is drawn; as for `resample`."""
        return draw_weights(self.block_codes(block), self.order(), rng, replicates)

    def bootstrap_counts(
        self, rng: np.random.Generator, replicates: int = 200, *, block: str | None = None
    ) -> NDArray[np.int64]:
        """(replicates, k) array of int64: the counts of `distinct_moves`, runs redrawn.

        Examples
        --------
        >>> table = RunTable.of([Trajectory((("a", "b"),))] * 5)
        >>> table.bootstrap_counts(np.random.default_rng(0), 3).tolist()
        [[5], [5], [5]]
        """
        blocks = self.block_codes(block)
        return draw_counts(self.by_run(), blocks, self.order(), rng, replicates)

    def rename(self, names: Mapping[str, str]) -> RunTable:
        """Give states other names.

        Raises
        ------
        InvalidInputError
            Where two states would have one name; `merge` makes them one.
        """
        new = [names.get(state, state) for state in self.states]
        if len(set(new)) < len(new):
            twice = sorted({name for name in new if new.count(name) > 1})
            raise InvalidInputError(
                f"{', '.join(map(repr, twice))} would be the name of more than one state; "
                "merge() makes several states one"
            )
        return self._with_states(new)

    def merge(self, states: Mapping[str, str] | Callable[[str], str]) -> RunTable:
        """Make several states one; a move between them becomes a move from it to itself.

        Parameters
        ----------
        states : mapping of str to str, or callable
            The new name of each old one; what a mapping does not hold keeps its name.

        Examples
        --------
        >>> table = RunTable.of([Trajectory((("web", "docs"), ("docs", "end")))])
        >>> table.merge({"web": "search", "docs": "search"})[0].moves
        (('search', 'search'), ('search', 'end'))
        """
        name = states if callable(states) else lambda state: states.get(state, state)
        return self._with_states([name(state) for state in self.states])

    def _with_states(self, new: Sequence[str]) -> RunTable:
        names = list(dict.fromkeys(new))
        place = {name: i for i, name in enumerate(names)}
        codes = np.array([*(place[name] for name in new), ESCAPE], dtype=np.int32)
        columns = {"contexts": self.contexts, "blocks": self.blocks}
        return RunTable.from_codes(
            names,
            codes[self.source],
            codes[self.target],
            self.offsets,
            self.runs,
            costs=self.costs,
            facts=self.facts,
            **columns,
        )

    def hide(self, states: Iterable[str]) -> RunTable:
        """Take states out of each run: ``a > hub > b`` becomes ``a > b``.

        ``a > hub > a`` becomes a stay at a. An attempt that failed in a hidden state failed in the
        state before it. What a move to a hidden state cost is added to the next move that is left,
        else to the last one of the run.

        Raises
        ------
        InvalidInputError
            Where a state is not there.

        Examples
        --------
        >>> table = RunTable.of([Trajectory((("a", "hub"), ("hub", "b"), ("b", "hub"), ("hub", "b")))])
        >>> table.hide(["hub"])[0].moves
        (('a', 'b'), ('b', 'b'))
        """  # noqa: E501 - one line shows the run
        hidden = self._mark((states,) if isinstance(states, str) else states)
        run = self.run_of_move
        kept, source = splice_out(self.source, self.target, run, hidden)
        return RunTable.from_codes(
            self.states,
            source,
            self.target[kept],
            np.concatenate([[0], np.cumsum(np.bincount(run[kept], minlength=len(self)))]),
            self.runs,
            contexts=self.contexts,
            blocks=self.blocks,
            costs=None if self.costs is None else credit(self.costs, kept, run, np.nan),
            facts=None if self.facts is None else credit_facts(self.facts, kept, run),
        )

    def _mark(self, states: Iterable[str]) -> NDArray[np.bool_]:
        """(n + 1,) array of bool: whether each state is among `states`; the last is an escape."""
        marked = np.zeros(len(self.states) + 1, dtype=bool)
        for state in states:
            if state in BOUNDARIES:
                raise InvalidInputError(f"{state!r} marks where a run begins or ends; it stays")
            if (code := self.code(state)) < 0:
                known = [name for name in self.states if name not in BOUNDARIES]
                raise InvalidInputError(unknown_state_message(state, known))
            marked[code] = True
        return marked


Runs: TypeAlias = "RunTable | Iterable[Trajectory]"
"""What every analysis of runs takes."""
