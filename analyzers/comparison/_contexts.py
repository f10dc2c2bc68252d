"""Several contexts side by side: their names, their moves, the distances between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

import numpy as np
from scipy.sparse import csr_array
from scipy.special import xlogy
from scipy.stats import false_discovery_control

from detailed_balance.analyzers.comparison._divisions import Divisions, number_blocks
from detailed_balance.analyzers.counts import END
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.inputs import CountsLike, read_recorded
from detailed_balance.analyzers.results import Table
from detailed_balance.analyzers.runs.arrays import Paths
from detailed_balance.analyzers.runs.joining import join_runs
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.analyzers.sparse import exact_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Unit: TypeAlias = Literal["runs", "exits"]
"""What is exchangeable under the null hypothesis."""

AT_ONCE = 8_000_000
"""So many labels or counts of shuffled units are held in memory at a time."""

_T = TypeVar("_T")


def named_contexts(a: _T | Mapping[str, _T], b: _T | None) -> dict[str, _T]:
    """Return the contexts by name; "a" and "b" where they have none.

    Raises
    ------
    InvalidInputError
        Where there are fewer than two.
    """
    if b is not None:
        if isinstance(a, Mapping):
            raise InvalidInputError("give two contexts, or one mapping of all; not both")
        return {"a": a, "b": b}
    if not isinstance(a, Mapping) or len(a) < 2:
        raise InvalidInputError("a comparison needs two contexts, or a mapping of two or more")
    return dict(a)


def distance_table(
    names: tuple[str, ...], distances: NDArray[np.float64], pvalues: NDArray[np.float64]
) -> Table:
    """Return the upper triangles of two (k, k) arrays as columns, for a heat map or a list."""
    pairs = list(combinations(range(len(names)), 2))
    return {
        "first": [names[i] for i, _ in pairs],
        "second": [names[j] for _, j in pairs],
        "distance": [float(distances[pair]) for pair in pairs],
        "pvalue": [float(pvalues[pair]) for pair in pairs],
    }


@dataclass(frozen=True, slots=True, eq=False)
class JoinedRuns:
    """The runs of k contexts as one table, in the order of their names.

    Parameters
    ----------
    runs : RunTable
        The r runs.
    label : (r,) array of int64
        The context of each.
    block : (r,) array of int64
        The block of each, numbered as they come; a run of none is one by itself.
    divisions : Divisions
        What is permuted among the contexts.
    """

    runs: RunTable
    label: NDArray[np.int64]
    block: NDArray[np.int64]
    divisions: Divisions

    @classmethod
    def of(cls, tables: Sequence[RunTable]) -> JoinedRuns:
        """Join the runs of each context."""
        runs = join_runs(tables)
        label = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        order = runs.order()  # what is drawn must not depend on that of a record
        return cls._make(runs.select(order), label[order])

    @classmethod
    def _make(cls, runs: RunTable, label: NDArray[np.int64]) -> JoinedRuns:
        block = runs.block_codes()
        return cls(runs, label, number_blocks(block), Divisions.of(block, label))

    def only(self, contexts: Sequence[int]) -> JoinedRuns:
        """Keep some contexts."""
        kept = np.flatnonzero(np.isin(self.label, contexts))
        return self._make(self.runs.select(kept), np.searchsorted(contexts, self.label[kept]))

    def tables(self) -> list[RunTable]:
        """Return the runs of each context."""
        return [self.runs.select(self.label == i) for i in range(int(self.label.max()) + 1)]

    def blocks(self) -> list[NDArray[np.int64]]:
        """Return the block of each run of `tables`."""
        return [self.block[self.label == i] for i in range(int(self.label.max()) + 1)]

    def shuffled(self, replicates: int, rng: np.random.Generator) -> Iterator[JoinedRuns]:
        """Yield the same runs, permuted among the contexts."""
        for labels in self.divisions.draw(replicates, rng):
            for label in labels:
                yield replace(self, label=label[self.divisions.unit])


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Units (runs, or whole contexts) with their counts of the m moves ever made.

    Parameters
    ----------
    names : tuple of str, length k
        The contexts.
    states, targets : tuple of str
        What `source` and `target` index; the last target is END for runs, an escape for counts.
    source, target : (m,) array of int
        The moves.
    units : (u, m) csr_array
        The counts of each unit.
    label : (u,) array of int
        The context of each unit.
    block : (u,) array of int
        The block of each unit, -1 for none.
    unit : {"runs", "exits"}
        What a unit is.
    """

    names: tuple[str, ...]
    states: tuple[str, ...]
    targets: tuple[str | None, ...]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    units: csr_array[Any, tuple[int, int]]
    label: NDArray[np.int64]
    block: NDArray[np.int64]
    unit: Unit

    def only(self, contexts: tuple[int, ...]) -> Sample:
        """Keep some contexts."""
        kept = np.flatnonzero(np.isin(self.label, contexts))
        label = np.searchsorted(contexts, self.label[kept])
        names = tuple(self.names[i] for i in contexts)
        units, block = self.units[kept], self.block[kept]
        return replace(self, names=names, units=units, label=label, block=block)

    def counts(self, label: NDArray[np.int64]) -> NDArray[np.float64]:
        """(k, m) array: the counts of each context."""
        return np.asarray((self.units.T @ np.eye(len(self.names))[label]).T)

    def shuffled_counts(
        self, replicates: int, rng: np.random.Generator
    ) -> Iterator[NDArray[np.float64]]:
        """Yield the (k, m) counts of each context after its units were dealt out again."""
        total, k = self.units.sum(axis=0), len(self.names)
        divisions = Divisions.of(self.block, self.label)
        gathered = csr_array(divisions.gather(self.units))
        by_move = gathered.T.tocsr().astype(exact_type(total.sum()))
        at_once = max(1, AT_ONCE // max(len(divisions.label), k * len(total)))
        for labels in divisions.draw(replicates, rng):
            for begin in range(0, len(labels), at_once):
                label = np.ascontiguousarray(labels[begin : begin + at_once].T)
                drawn = [by_move @ (label == i).astype(by_move.dtype) for i in range(k - 1)]
                for copy in range(label.shape[1]):
                    parts = [part[:, copy].astype(np.float64) for part in drawn]
                    yield np.array([*parts, total - sum(parts)], dtype=np.float64)

    def ratios(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) array: the likelihood ratio of each state."""
        rows = self.per_state(counts)
        each = xlogy(counts, counts).sum(axis=0) - xlogy(pooled := counts.sum(axis=0), pooled)
        total = rows.sum(axis=0)
        moved = np.bincount(self.source, each, len(self.states))
        found = moved - xlogy(rows, rows).sum(axis=0) + xlogy(total, total)
        return np.asarray(np.maximum(2 * found, 0.0))

    def per_state(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """(k, n) array: the moves from each state."""
        rows = [np.bincount(self.source, row, len(self.states)) for row in counts]
        return np.stack(rows).astype(np.float64)


def pairwise_distances(
    k: int, measure: Callable[[int, int], tuple[float, float]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the (k, k) distances of all pairs, and their p-values, adjusted for their number."""
    distances, pvalues = np.zeros((k, k)), np.ones((k, k))
    pairs = list(combinations(range(k), 2))
    found = [measure(i, j) for i, j in pairs]
    adjusted = false_discovery_control([pvalue for _, pvalue in found])
    for (i, j), (distance, _), pvalue in zip(pairs, found, adjusted, strict=True):
        distances[i, j] = distances[j, i] = distance
        pvalues[i, j] = pvalues[j, i] = pvalue
    return distances, pvalues


def collect_sample(
    contexts: Mapping[str, CountsLike], unit: Unit | None, block: str | None = None
) -> Sample:
    """Lay what was recorded in each context out for a comparison; `unit` None is the best it has.

    Raises
    ------
    InvalidInputError
        Where counts and runs are mixed, or counts are to be permuted by runs or blocks.
    """
    if unit is not None and unit not in get_args(Unit):
        raise InvalidInputError(f"unit={unit!r}; allowed are {', '.join(get_args(Unit))}")
    records = {name: read_recorded(record) for name, record in contexts.items()}
    are_counts = [runs is None for _, runs in records.values()]
    if any(are_counts) and not all(are_counts):
        raise InvalidInputError("some contexts are counts and others are runs; give one kind")
    if not any(are_counts):
        sample = _run_sample({name: runs for name, (_, runs) in records.items()}, block)
        return _pooled(sample) if unit == "exits" else sample
    if unit == "runs" or block is not None:
        option = "unit='runs'" if block is None else f"block={block!r}"
        raise InvalidInputError(f"{option} needs runs (read_runs): counts do not hold them")
    return _count_sample({name: counts for name, (counts, _) in records.items()})


def _count_sample(contexts: Mapping[str, Any]) -> Sample:
    states = tuple(dict.fromkeys(s for counts in contexts.values() for s in counts.states))
    place, width = {state: i for i, state in enumerate(states)}, len(states) + 1
    rows = []
    for counts in contexts.values():
        where = np.array([place[state] for state in counts.states], dtype=np.int64)
        edges = counts.counts.tocoo()
        keys = np.concatenate(
            [where[edges.row] * width + where[edges.col], where * width + width - 1]
        )
        data = np.concatenate([edges.data, counts.escapes]).astype(np.float64)
        kept = data > 0
        rows.append((keys[kept], data[kept]))
    owner = np.repeat(np.arange(len(rows)), [len(keys) for keys, _ in rows])
    keys, data = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    distinct, column = np.unique(keys, return_inverse=True)
    units = csr_array((data, (owner, column)), shape=(len(rows), len(distinct)))
    source, target = np.divmod(distinct, width)
    label, none = np.arange(len(rows)), np.full(len(rows), -1)
    names, targets = tuple(contexts), (*states, None)
    return Sample(names, states, targets, source, target, units, label, none, "exits")


def _run_sample(contexts: Mapping[str, Any], block: str | None) -> Sample:
    tables = list(contexts.values())
    if block is not None:
        tables = [table.with_blocks(block) for table in tables]
    joined = JoinedRuns.of(tables)
    paths = Paths.from_runs(joined.runs)
    flat = paths.run_counts()
    distinct = np.unique(flat.indices)
    source, target = np.divmod(distinct, len(paths.states) + 1)
    targets = (*paths.states, END)
    units = csr_array(flat[:, distinct])
    moves = (tuple(contexts), paths.states, targets, source, target, units)
    return Sample(*moves, joined.label, joined.runs.block_codes(), "runs")


def _pooled(sample: Sample) -> Sample:
    """Add up the runs of each context."""
    units, k = csr_array(sample.counts(sample.label)), len(sample.names)
    return replace(sample, units=units, label=np.arange(k), block=np.full(k, -1), unit="exits")
