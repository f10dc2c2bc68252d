"""Tables of any size through DuckDB: it parses, sorts and codes; numpy makes runs of what it says.

What it reads is what the readers of records read, to the last digit. Wherever that is in doubt (a
broken line, a value of another type, an encoding), the table is left to them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.analyzers.runs.columns import RunColumns
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.readers.records.base import ReadOptions
from detailed_balance.readers.records.runs import MOST_COUNTED
from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.readers.tables._assembly import (
    Rows,
    RunPart,
    connect_steps,
    count_reordered,
    split_moves,
)
from detailed_balance.readers.tables._bytes import DoubtError
from detailed_balance.readers.tables._coding import Coder, start_codes
from detailed_balance.readers.tables._scan import SCANS
from detailed_balance.render.formatting import first_line

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

__all__ = ["MEMORY_LIMIT", "TABLES", "TableContent", "read_table"]

MEMORY_LIMIT = "2GB"
"""The memory that DuckDB may use, where nothing else is said."""

TABLES = frozenset(SCANS)
"""The formats that the engine reads."""

_ROWS_AT_A_TIME = 4_000_000


@dataclass(frozen=True, slots=True)
class TableContent:
    """What the engine read.

    Parameters
    ----------
    runs : RunTable or None
        The runs, as they began; None where no row belongs to one, or only counts were asked for.
    counts : TransitionCounts
        All moves.
    rows : int
        How many rows there are.
    duplicates, reordered : int
        As in `BadLines`.
    """

    runs: RunTable | None
    counts: TransitionCounts
    rows: int
    duplicates: int
    reordered: int


def read_table(
    paths: Sequence[Path],
    format_: str,
    options: ReadOptions,
    *,
    in_order: bool = False,
    only_counts: bool = False,
    memory_limit: str = MEMORY_LIMIT,
    temp_directory: str | os.PathLike[str] | None = None,
) -> TableContent | None:
    """Read files of one format as one table.

    Parameters
    ----------
    paths : sequence of Path
        The files.
    format_ : str
        One of `TABLES`.
    options : ReadOptions
        How to read them.
    in_order : bool
        Whether runs stay in the order of the table.
    only_counts : bool
        Whether runs are left out.
    memory_limit : str
        The memory that DuckDB may use; what does not fit goes to the disk.
    temp_directory : path, optional
        Where to; by default the folder of the system for temporary files.

    Returns
    -------
    TableContent or None
        None where it is for the readers of records.

    Raises
    ------
    InvalidInputError
        Where `memory_limit` is not an amount of memory.
    ReadError
        Where there is no room to sort the table.
    """
    if options.states is not None or options.fields.tell_facts:
        return None
    import duckdb

    size = sum(path.stat().st_size for path in paths)
    if options.progress:
        options.progress(0, size)
    with tempfile.TemporaryDirectory(dir=temp_directory, prefix="detailed-balance-") as folder:
        settings = {
            "memory_limit": memory_limit,
            "temp_directory": str(Path(folder) / "sort"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        with _connect(settings) as connection:
            try:
                coder = Coder(connection, SCANS[format_](connection, paths, options, Path(folder)))
                content = _Reading(coder).read(in_order=in_order, only_counts=only_counts)
            except duckdb.OutOfMemoryException as error:
                raise ReadError(
                    f"there is no room for sorting the table ({first_line(error)}); raise "
                    f"memory_limit={memory_limit!r}, or name a folder with more room in "
                    "temp_directory="
                ) from error
            except (DoubtError, BadRecordError, duckdb.Error, UnicodeDecodeError):
                return None  # DuckDB's messages may cut a letter in two
    if options.progress:
        options.progress(size, size)
    return content


def _connect(settings: dict[str, Any]) -> DuckDBPyConnection:
    import duckdb

    try:
        connection = duckdb.connect(config=settings)
    except duckdb.Error as error:
        raise InvalidInputError(
            f"memory_limit={settings['memory_limit']!r} is not an amount of memory such as '2GB' "
            f"({first_line(error)})"
        ) from error
    connection.execute("SET enable_progress_bar = false")
    return connection


class _Reading:
    """Reads a table whose values have codes."""

    def __init__(self, coder: Coder) -> None:
        self.coder, self.moves = coder, coder.total
        self.duplicates = self.reordered = 0
        self.states, self.codes, self.names = coder.code_states()
        self.label, self.labels = coder.code_labels()
        self.ending, self.outcome, self.success = coder.code_endings()
        self.event = coder.event()
        if coder.steps:
            self.trajectories = coder.code_trajectories("", [])
        else:
            self._check_counts()
            starts = start_codes(self.codes[0], self.names)
            self.trajectories = coder.code_trajectories(self.states[0], starts)

    def _check_counts(self) -> None:
        count = self.coder.number("count")
        if count is None:
            return
        least, total = self.coder.execute(
            f"SELECT min({count}), sum(COALESCE({count}, 1)) FROM {self.coder.origin}"
        ).fetchone() or (1, 0)
        if least < 1:
            raise DoubtError  # rows that count nothing
        self.moves = int(total)

    def read(self, *, in_order: bool, only_counts: bool) -> TableContent:
        """Return what the table holds."""
        names = self.trajectories.names
        if not self.coder.steps and (
            names == [None] or self.moves - self.coder.total > MOST_COUNTED
        ):
            return TableContent(None, self._sum_moves(), self.coder.total, 0, 0)
        parts: list[RunPart] = []
        tally = _Tally()
        for rows in self._parts():
            if self.coder.steps:
                self.reordered += count_reordered(rows)
                part, duplicates = connect_steps(rows, self.names)
                self.duplicates += duplicates
            else:
                part = split_moves(rows, self.names)
            tally.add(part.source, part.target)
            if not only_counts and names != [None]:
                parts.append(part)
        runs = self._to_table(parts, in_order=in_order) if parts else None
        counts = tally.to_counts(self.names.names)
        return TableContent(runs, counts, self.coder.total, self.duplicates, self.reordered)

    def _sum_moves(self) -> TransitionCounts:
        source, target = self.states
        count = self.coder.number("count")
        number = "count(*)" if count is None else f"sum(COALESCE({count}, 1))"
        found = self.coder.execute(
            f"SELECT {source} AS a, {target} AS b, {number} FROM {self.coder.origin} GROUP BY a, b"
        ).fetchall()
        tally = _Tally()
        a, b, number_of = (list(each) for each in zip(*found, strict=True))
        tally.add(self.codes[0][a], self.codes[1][b], list(map(int, number_of)))
        return tally.to_counts(self.names.names)

    def _parts(self) -> Iterator[Rows]:
        """Yield the rows in order, whole trajectories at a time."""
        selected, order = self._columns(), self._order()
        chosen = ", ".join(f"{sql} AS {name}" for name, sql in selected.items())
        select = f"SELECT {chosen} FROM {self.coder.origin} ORDER BY {order}"
        if self.coder.total <= _ROWS_AT_A_TIME or len(self.trajectories.names) == 1:
            yield self._to_rows(self.coder.fetch(select))
            return
        self.coder.execute(f"CREATE TEMP TABLE ordered AS {select}")
        upto = np.cumsum(self.trajectories.sizes)
        first = 0
        while first < len(upto):
            done = upto[first - 1] if first else 0
            last = max(first + 1, int(np.searchsorted(upto, done + _ROWS_AT_A_TIME, "right")))
            part = f"SELECT * FROM ordered WHERE run BETWEEN {first} AND {last - 1}"
            yield self._to_rows(self.coder.fetch(part))
            first = last

    def _columns(self) -> dict[str, str]:
        coder = self.coder
        chosen = {"run": self.trajectories.sql, "place": coder.place, "label": self.label}
        chosen |= {"ending": self.ending, "target": self.states[-1]}
        if not coder.steps:
            chosen["source"] = self.states[0]
        for role, missing in (("step", "0"), ("time", "'nan'::DOUBLE"), ("count", "1")):
            sql = coder.number(role)
            if sql is not None:
                chosen[role] = f"COALESCE({sql}, {missing})"
                if role == "step" and coder.known[role] < coder.total:
                    chosen["has_step"] = f"{sql} IS NOT NULL"
        if (cost := coder.number("cost")) is not None:
            chosen["cost"] = cost
        if self.event is not None:
            chosen["event"] = f"COALESCE(hash({self.event}), 0::UBIGINT)"
            chosen["has_event"] = f"{self.event} IS NOT NULL"
        return chosen

    def _order(self) -> str:
        step, time = self.coder.number("step"), self.coder.number("time")
        again = self.trajectories.used_again and self.trajectories.sql != "0"
        keys = [self.trajectories.sql] if self.trajectories.sql != "0" else []
        if step is not None:
            keys.append(f"CASE WHEN again = 0 THEN {step} END" if again else step)
            escapes = np.flatnonzero(self.codes[-1] < 0).tolist()
            if escapes and self.coder.steps:
                reached = f"{self.states[-1]} NOT IN ({', '.join(map(str, escapes))})"
                keys.append(f"({step} IS NOT NULL AND {reached})")
        if time is not None:
            keys.append(f"CASE WHEN again < 2 THEN {time} END" if again else time)
        return ", ".join(f"{key} NULLS LAST" for key in [*keys, self.coder.place])

    def _to_rows(self, found: dict[str, NDArray[Any]]) -> Rows:
        n = len(found["run"])
        target = self.codes[-1][found["target"]]
        source = self.codes[0][found["source"]] if "source" in found else target
        nothing = np.zeros(n, dtype=np.int64)
        has_step = np.full(n, "step" in found)
        return Rows(
            run=found["run"],
            source=source,
            target=target,
            step=found.get("step", nothing),
            has_step=found.get("has_step", has_step),
            time=found["time"] if "time" in found else np.full(n, np.nan),
            label=found["label"],
            outcome=self.outcome[found["ending"]],
            success=self.success[found["ending"]],
            place=found["place"],
            cost=found.get("cost"),
            event=found.get("event"),
            has_event=found.get("has_event"),
            count=found.get("count"),
        )

    def _to_table(self, parts: Sequence[RunPart], *, in_order: bool) -> RunTable | None:
        """Return the runs that belong to a trajectory, as they began."""
        columns = dict(zip(RunPart._fields, map(_concatenate, *parts), strict=True))
        names = np.array([*self.trajectories.names, None], dtype=object)[:-1][columns["name"]]
        known = ("outcome", "success", "judged", "attempts", "started", "ended")
        runs = RunColumns.unknown(
            len(names),
            name=names,
            context=columns["label"],
            **{name: columns[name] for name in known},
        )
        offsets = np.concatenate([[0], np.cumsum(columns["lengths"])])
        moves = columns["source"], columns["target"]
        costs = columns["costs"]
        table = RunTable.from_codes(self.names.names, *moves, offsets, runs, costs=costs)
        places = _order_runs(names, runs.started, in_order=in_order)
        if not len(places):
            return None
        if not np.array_equal(places, np.arange(len(table))):
            table = RunTable.from_codes(
                table.states, *_moves(part := table.select(places)), part.runs, costs=part.costs
            )
        return self._label(table)

    def _label(self, table: RunTable) -> RunTable:
        """Put contexts and blocks in the place of the codes of labels."""
        fields, codes = self.coder.fields, table.runs.context
        different, first, which = np.unique(codes, return_index=True, return_inverse=True)
        contexts: dict[Context, int] = {(): 0}
        told = np.empty(len(different), dtype=object)
        place = np.empty(len(different), dtype=np.int64)
        for i in np.argsort(first).tolist():
            labels = self.labels[different[i]]
            if fields.block is not None:
                told[i] = dict(labels).get(fields.block)
                if fields.block not in fields.context:
                    labels = tuple(label for label in labels if label[0] != fields.block)
            place[i] = contexts.setdefault(labels, len(contexts))
        blocks = tuple(sorted({name for name in told if name is not None}))
        block = np.array([-1 if name is None else blocks.index(name) for name in told])
        runs = table.runs._replace(context=place[which], block=block[which])
        return replace(table, runs=runs, contexts=tuple(contexts), blocks=blocks)


def _concatenate(*columns: NDArray[Any] | None) -> Any:
    there = [column for column in columns if column is not None]
    return np.concatenate(there) if there else None


def _moves(table: RunTable) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    return table.source, table.target, table.offsets


def _order_runs(
    names: NDArray[np.object_], started: NDArray[np.float64], *, in_order: bool
) -> NDArray[np.int64]:
    """Return the places of the runs that have a name, in the order in which they began."""
    named = np.flatnonzero(names != None)  # noqa: E711 - of each element
    keys = [np.where(np.isnan(started), -np.inf, started)[named]]
    if not in_order and len(np.unique(keys[0])) < len(named):
        _, rank = np.unique(names[named].astype(str), return_inverse=True)
        keys.insert(0, rank)
    return named[np.lexsort([np.arange(len(named)), *keys])]


class _Tally:
    """Adds up moves."""

    def __init__(self) -> None:
        self._keys: list[NDArray[np.int64]] = []
        self._counts: list[NDArray[np.int64]] = []

    def add(
        self, source: NDArray[Any], target: NDArray[Any], count: Sequence[int] | None = None
    ) -> None:
        """Add moves by the codes of their states."""
        keys = source.astype(np.int64) << 32 | (target.astype(np.int64) + 1)
        if count is None:
            keys, number = np.unique(keys, return_counts=True)
            self._counts.append(number.astype(np.int64))
        else:
            self._counts.append(np.array(count, dtype=np.int64))
        self._keys.append(keys)

    def to_counts(self, names: Sequence[str]) -> TransitionCounts:
        """Return the counts, the states sorted."""
        keys, number = np.concatenate(self._keys), np.concatenate(self._counts)
        source, target = keys >> 32, (keys & 0xFFFFFFFF) - 1
        used = sorted({*source.tolist(), *target.tolist()} - {-1}, key=names.__getitem__)
        place = np.full(len(names) + 1, -1)
        place[used] = np.arange(len(used))
        states = tuple(names[int(code)] for code in used)
        return TransitionCounts.from_arrays(states, place[source], place[target], number)
