"""What sets of runs are compared by: numbers of each run for its moves, loops, stays and end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.sparse import csc_array, csr_array, hstack
from scipy.stats import rankdata

from detailed_balance.analyzers.comparison.result import (
    AT_LIMIT,
    FEWEST_RUNS,
    REPEAT,
    Question,
)
from detailed_balance.analyzers.counts import BOUNDARIES, TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.markov.traps import find_traps
from detailed_balance.analyzers.potential.estimate import estimate_potential
from detailed_balance.analyzers.repetition.classify import REPEATING, RepetitionRules, RunKinds
from detailed_balance.analyzers.repetition.measure import MeasuredRuns
from detailed_balance.analyzers.runs.arrays import Paths
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.runs.trajectory import Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Columns: TypeAlias = "csc_array[Any]"

MOST_MOVES, MOST_LOOPS, MOST_STATES = 300, 100, 60
"""Of more moves, loops and states, those that most runs show are tested."""

MOST_SOLVED = 5_000
"""With more states, the potential is not asked about: its errors would take minutes."""

STAY, SHUTTLE = "longest stay in one state", "longest shuttle between two states"

_AT_ONCE = 4
"""So many columns of scores are held at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class WholeRuns:
    """Root runs, each with all that ran inside it.

    Parameters
    ----------
    runs : RunTable or MeasuredRuns
        All r runs.
    parts, whole : (p,) arrays of int64
        The places of the runs that are a part of one, and of which of the u whole runs; in the
        order of these, and inside in that of their names.
    roots : (u,) array of int64
        The place of the root of each.
    """

    runs: RunTable | MeasuredRuns
    parts: NDArray[np.int64]
    whole: NDArray[np.int64]
    roots: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        runs: RunTable | MeasuredRuns,
        root: NDArray[np.int64],
        chosen: NDArray[np.int64],
        names: NDArray[np.int64],
    ) -> WholeRuns:
        """Choose some of the roots, in that order.

        Parameters
        ----------
        runs : RunTable or MeasuredRuns
            The r runs.
        root, names : (r,) arrays of int64
            The root of each run (`root_places`), and its place in `RunTable.order`.
        chosen : (u,) array of int64
            The places of the roots.
        """
        number = np.full(len(root), -1)
        number[chosen] = np.arange(len(chosen))
        whole = number[root]
        parts = np.lexsort((names, whole))
        parts = parts[np.searchsorted(whole[parts], 0) :]
        return cls(runs, parts, whole[parts], chosen)

    @property
    def table(self) -> RunTable:
        """The runs."""
        return self.runs.table if isinstance(self.runs, MeasuredRuns) else self.runs

    def add(self, counts: Any) -> Any:
        """(u, k) sparse array: the sums of (r, k) counts, a sparse array, over the parts."""
        if len(self.parts) == len(self.roots):
            return counts[self.parts]
        shape = (len(self.roots), counts.shape[0])
        ones = np.ones(len(self.parts), dtype=counts.dtype)
        return csr_array((ones, (self.whole, self.parts)), shape=shape) @ counts

    def most(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """(u,) array: the largest of (r,) values, 0 or more, over the parts."""
        found = np.zeros(len(self.roots))
        np.maximum.at(found, self.whole, values[self.parts])
        return found

    def total(self, of_moves: NDArray[np.float64]) -> NDArray[np.float64]:
        """(u,) array: the sums of (m,) numbers of moves; NaN where one is, or a part has none."""
        lengths = self.table.lengths
        of_runs = np.bincount(self.table.run_of_move, of_moves, minlength=len(lengths))
        of_parts = np.where(lengths > 0, of_runs, np.nan)[self.parts]
        found = np.bincount(self.whole, of_parts, minlength=len(self.roots))
        return np.asarray(found, dtype=np.float64)

    def counts(self) -> TransitionCounts:
        """Return the counts of all parts, with the states that they visit."""
        table = self.table
        chosen = table if len(self.parts) == len(table) else table.select(self.parts)
        counts = chosen.counts()
        seen = np.zeros(len(counts), dtype=bool)
        seen[chosen.source] = seen[chosen.target[chosen.target >= 0]] = True
        if seen.all():
            return counts
        return counts.restrict([s for s, there in zip(counts.states, seen, strict=True) if there])


@dataclass(frozen=True, slots=True, eq=False)
class RunStatistics:
    """The m statistics behind one question, of each of u whole runs.

    Parameters
    ----------
    question : Question
        The question.
    names : tuple of tuple of (str or None), length m
        A move (source, target), a state, a loop, a trap, or the name of a number.
    numerator : (u, m) csc_array of float
        A statistic of a set of runs is its sum over the sum of the denominator.
    base : (q, u) array of float
        The different denominators.
    column : (m,) array of int
        Which of them is that of each statistic.
    weights, scale : (u, m) csc_array and (m,) array of float
        What is tested: ``weights + denominator * scale``, with the sum 0 over the runs: above 0
        where a run has more of it.
    """

    question: Question
    names: tuple[tuple[str | None, ...], ...]
    numerator: _Columns
    base: NDArray[np.float64]
    column: NDArray[np.int64]
    weights: _Columns
    scale: NDArray[np.float64]

    def scores(self, columns: slice = slice(None)) -> NDArray[np.float64]:
        """(w, u) array: the scores of some of the statistics, those of each 1 long if `varying`."""
        rows = self.base[self.column[columns]] * self.scale[columns, None]
        starts, weights = self.weights.indptr, self.weights
        for row, j in zip(rows, range(len(self.names))[columns], strict=True):
            inside = slice(starts[j], starts[j + 1])
            row[weights.indices[inside]] += weights.data[inside]
        return rows

    def parts(self) -> Iterable[slice]:
        """Yield the statistics a few at a time."""
        return (slice(i, i + _AT_ONCE) for i in range(0, len(self.names), _AT_ONCE))

    def norms(self) -> NDArray[np.float64]:
        """(m,) array: the length of the scores of each statistic."""
        there = self.base[_spread(self.column, self.weights), self.weights.indices]
        scale = _spread(self.scale, self.weights)
        all_runs = np.ones(self.base.shape[1])
        scores = self.weights.data + there * scale
        where_weighted = _sum_columns(self.weights, scores**2, all_runs)
        elsewhere = (self.base**2).sum(axis=1)[self.column]
        elsewhere -= _sum_columns(self.weights, there**2, all_runs)
        return np.asarray(np.sqrt(where_weighted + np.maximum(elsewhere, 0) * self.scale**2))

    def varying(self) -> RunStatistics:
        """Leave out what is the same in all runs, and make the scores of the rest 1 long."""
        norms = self.norms()
        kept = np.flatnonzero(norms > 1e-9)
        weights = self.weights[:, kept]
        weights.data /= _spread(norms[kept], weights)
        return RunStatistics(
            self.question,
            tuple(self.names[i] for i in kept.tolist()),
            self.numerator[:, kept],
            self.base,
            self.column[kept],
            weights,
            self.scale[kept] / norms[kept],
        )

    def effects(
        self, later: NDArray[np.bool_], block: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """(5, m) array: before, after, the error of their difference, and the runs that count.

        Parameters
        ----------
        later : (u,) array of bool
            Which of the runs count as after.
        block : (u,) array of int64, optional
            The block of each run, from 0: errors are by blocks.
        """
        data = self.numerator.data
        below = self.base[_spread(self.column, self.numerator), self.numerator.indices]
        side = np.column_stack([~later, later]).astype(np.float64)
        total, squares = (power @ side for power in (self.base, self.base**2))
        number = ((self.base > 0) @ side)[self.column]
        by_numerator = self.question in ("loops", "stays")
        runs = _sum_columns(self.numerator, data > 0, side) if by_numerator else number
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = _sum_columns(self.numerator, data, side) / total[self.column]
            # Where the numerator is 0 the rest is the mean times the denominator.
            zeros = squares[self.column] - _sum_columns(self.numerator, below**2, side)
            rest = mean**2 * zeros
            for i in range(2):
                residuals = data - below * _spread(mean[:, i], self.numerator)
                rest[:, i] += _sum_columns(self.numerator, residuals**2, side[:, i])
            variance = rest / total[self.column] ** 2 * number / (number - 1)
        error = np.sqrt(variance.sum(axis=1))
        if block is not None:
            error = self._errors_by_block(mean, side, block)
        return np.vstack([mean.T, error, runs.T])

    def _errors_by_block(
        self, mean: NDArray[np.float64], side: NDArray[np.float64], block: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """(m,) array: the errors of the differences of (m, 2) means, by what blocks add to them."""
        u, n = len(block), int(block.max(initial=-1)) + 1
        gather = csr_array((np.ones(u), (block, np.arange(u))), shape=(n, u))
        errors = []
        for part in self.parts():
            values = self.numerator[:, part].toarray()
            base = self.base[self.column[part]].T
            added = np.zeros((n, values.shape[1]))
            for i, sign in enumerate((-1, 1)):
                here = base * side[:, [i]]
                blocks = np.count_nonzero(np.asarray(gather @ here) > 0, axis=0)
                residuals = gather @ (values * side[:, [i]] - mean[part, i] * here)
                with np.errstate(invalid="ignore", divide="ignore"):
                    added += sign * residuals / here.sum(axis=0) * np.sqrt(blocks / (blocks - 1))
            errors.append(np.sqrt((added**2).sum(axis=0)))
        return np.concatenate(errors)


def _spread(values: NDArray[Any], matrix: _Columns) -> NDArray[Any]:
    """Return the value of a column for each entry of a sparse matrix."""
    return np.repeat(values, np.diff(matrix.indptr))


def _sum_columns(
    matrix: _Columns, data: NDArray[Any], side: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Add `data`, one number for each entry of `matrix`, up in each column, weighted by `side`."""
    values = (data.astype(np.float64, copy=False), matrix.indices, matrix.indptr)
    return np.asarray(csc_array(values, shape=matrix.shape).T @ side)


def compute_run_statistics(
    wholes: WholeRuns, questions: Iterable[Question], min_visits: float = 10.0
) -> list[RunStatistics]:
    """Return the statistics behind each question that the runs can answer.

    They do not depend on which runs are to be compared with which.
    """
    wanted = set(questions)
    found: list[RunStatistics] = []
    if "moves" in wanted:
        found.append(_moves(wholes))
    if "potential" in wanted:
        found.append(_potential(wholes))
    if not wanted.isdisjoint({"loops", "stays"}):
        measured = MeasuredRuns.of(wholes.runs)
        if "loops" in wanted:
            found.append(_loops(wholes, measured))
        if "stays" in wanted:
            found.append(_stays(wholes, measured, min_visits))
    if "success" in wanted:
        found.append(_success(wholes))
    if "limit" in wanted:
        found.append(_limit(wholes))
    if "length" in wanted:
        found.append(_length(wholes))
    return [kept for statistics in found if (kept := statistics.varying()).names]


def _moves(wholes: WholeRuns) -> RunStatistics:
    moves, counts = wholes.table.distinct_moves(), wholes.add(wholes.table.by_run())
    shown = np.bincount(counts.indices, minlength=len(moves.source))
    exits = np.bincount(moves.source[shown > 0], minlength=len(wholes.table.states))
    order = np.lexsort((moves.target, moves.source, -shown))
    common = order[((shown >= FEWEST_RUNS) & (exits[moves.source] > 1))[order]][:MOST_MOVES]
    sources, column = np.unique(moves.source[common], return_inverse=True)
    from_source = csr_array(moves.source[:, None] == sources, dtype=np.int64)
    states = (*wholes.table.states, None)
    names = zip(moves.source[common].tolist(), moves.target[common].tolist(), strict=True)
    return _compare_shares(
        "moves",
        tuple((states[source], states[target]) for source, target in names),
        csc_array(counts[:, common]),
        (counts @ from_source).toarray().T,
        column,
    )


def _loops(wholes: WholeRuns, measured: MeasuredRuns) -> RunStatistics:
    loops, n = measured.loops, len(measured.loops)
    rounds = csr_array((loops.rounds, (loops.run, loops.loop)), shape=(len(measured.table), n))
    counts = wholes.add(rounds)
    shown = np.bincount(counts.indices, minlength=n)
    fewest = max(FEWEST_RUNS, int(np.sort(shown)[-MOST_LOOPS:][0]) if n else 0)
    enough = np.flatnonzero(shown >= fewest).tolist()
    names = {loop: loops.name(loop) for loop in enough}
    common = sorted(enough, key=lambda loop: (-shown[loop], names[loop]))[:MOST_LOOPS]
    return _compare_ranks("loops", tuple(map(names.__getitem__, common)), counts[:, common])


def _stays(wholes: WholeRuns, measured: MeasuredRuns, min_visits: float) -> RunStatistics:
    traps = [trap.states for trap in find_traps(wholes.counts(), min_visits=min_visits).traps]
    kinds = RunKinds.find(measured, traps=traps, rules=RepetitionRules(visits=min_visits))
    stays = [measured.stay.visits, measured.shuttle.switches]
    stays += [measured.in_trap(trap).visits for trap in traps]
    values = csc_array(np.column_stack([wholes.most(each) for each in stays]))
    ranked = _compare_ranks("stays", ((STAY,), (SHUTTLE,), *traps), values)
    repeats = wholes.most(kinds.kind < len(REPEATING))
    share = _compare_shares("stays", ((REPEAT,),), csc_array(repeats[:, None]), ranked.base)
    return RunStatistics(
        "stays",
        (*share.names, *ranked.names),
        csc_array(hstack([share.numerator, ranked.numerator])),
        ranked.base,
        np.concatenate([share.column, ranked.column]),
        csc_array(hstack([share.weights, ranked.weights])),
        np.concatenate([share.scale, ranked.scale]),
    )


def _success(wholes: WholeRuns) -> RunStatistics:
    known = wholes.table.runs.success[wholes.roots]
    numerator = csc_array((known == 1).astype(np.float64)[:, None])
    return _compare_shares("success", (("success",),), numerator, (known >= 0)[None].astype(float))


def _limit(wholes: WholeRuns) -> RunStatistics:
    outcome = wholes.table.runs.outcome[wholes.roots]
    limited = outcome == OUTCOMES.index(Outcome.RECURSION_LIMIT)
    numerator = csc_array(limited.astype(np.float64)[:, None])
    return _compare_shares("limit", ((AT_LIMIT,),), numerator, (outcome >= 0)[None].astype(float))


def _length(wholes: WholeRuns) -> RunStatistics:
    """Return moves and what they cost as they are: a few endless runs make a change expensive."""
    columns = {"steps": wholes.table.lengths[wholes.roots].astype(np.float64)}
    spent = {name: wholes.total(of_moves) for name, of_moves in _spent(wholes.table)}
    columns |= {name: total for name, total in spent.items() if not np.isnan(total).any()}
    names = tuple((name,) for name in columns)
    numerator = csc_array(np.column_stack(list(columns.values())))
    return _compare_shares("length", names, numerator, np.ones((1, len(wholes.roots))))


def _spent(table: RunTable) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield (m,) arrays of what each move used up, NaN where not known."""
    facts = table.facts
    if facts is not None:
        # Not every step tells its tokens: a run is known where some of its steps do.
        yield "tokens", _fill_gaps(table, np.where(facts.tokens < 0, np.nan, facts.tokens))
    if table.costs is not None:
        yield "cost", table.costs
    elif facts is not None:
        yield "cost", _fill_gaps(table, facts.cost)


def _fill_gaps(table: RunTable, values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = ~np.isnan(values)
    some = np.bincount(table.run_of_move, known, minlength=len(table)) > 0
    return np.where(known, values, np.where(some[table.run_of_move], 0.0, np.nan))


def _potential(wholes: WholeRuns) -> RunStatistics:
    """Return what each run adds to V of the states of the largest component, less their mean."""
    n = len(wholes.roots)
    no_part = csc_array((n, 0))
    nothing = (np.zeros((0, n)), np.zeros(0, dtype=np.int64), no_part, np.zeros(0))
    none = RunStatistics("potential", (), no_part, *nothing)
    counts = wholes.counts()
    if len(counts) > MOST_SOLVED:
        return none
    try:
        potential = estimate_potential(counts)
    except InsufficientDataError:
        return none
    first = [state for state in counts.states if state not in BOUNDARIES]
    members = potential.components == np.bincount(potential.components).argmax()
    inside = {state for state, kept in zip(potential.states, members, strict=True) if kept}
    busiest = sorted(inside, key=lambda state: (-counts.attempts[counts.index(state)], state))
    names = tuple(busiest[:MOST_STATES])
    if len(names) < 2:
        return none
    order = (*potential.states, *(s for s in first if s not in set(potential.states)))
    paths = Paths.from_runs(wholes.table.select(wholes.parts), states=order)
    each_adds = potential.influence(names, names[0], paths.run_counts(), len(paths.states) + 1)
    # The parts come in the order of the wholes, each of which has one at least.
    begins = np.flatnonzero(np.diff(wholes.whole, prepend=-1))
    added = -np.add.reduceat(each_adds, begins)
    scores = added - added.mean(axis=1, keepdims=True)
    scores -= scores.mean(axis=0)
    m = len(names)
    empty = csc_array((n, m))
    each = tuple((name,) for name in names)
    return RunStatistics(
        "potential", each, empty, np.ascontiguousarray(scores.T), np.arange(m), empty, np.ones(m)
    )


def _compare_shares(
    question: Question,
    names: tuple[tuple[str | None, ...], ...],
    numerator: Any,
    base: NDArray[Any],
    column: NDArray[np.int64] | None = None,
) -> RunStatistics:
    """Return numbers of runs, tested by what each run has over its share, by the share of all."""
    column = np.zeros(len(names), dtype=np.int64) if column is None else column
    numerator, base = numerator.astype(np.float64), np.ascontiguousarray(base, dtype=np.float64)
    total = base.sum(axis=1)[column]
    share = np.divide(numerator.sum(axis=0), total, out=np.zeros(len(names)), where=total > 0)
    return RunStatistics(question, names, numerator, base, column, numerator, -share)


def _compare_ranks(
    question: Question, names: Sequence[tuple[str, ...]], values: Any
) -> RunStatistics:
    """Return numbers of runs, tested by their ranks, so that one endless run does not decide."""
    values = csc_array(values, dtype=np.float64)
    values.eliminate_zeros()
    n, m = values.shape
    zeros = n - np.diff(values.indptr)
    lowest = (zeros + 1) / 2  # the rank of 0, which most runs share
    ranks = values.copy()
    for j, (start, stop) in enumerate(zip(values.indptr[:-1], values.indptr[1:], strict=True)):
        ranks.data[start:stop] = rankdata(values.data[start:stop]) + zeros[j] - lowest[j]
    column = np.zeros(m, dtype=np.int64)
    scale = lowest - (n + 1) / 2
    return RunStatistics(question, tuple(names), values, np.ones((1, n)), column, ranks, scale)
