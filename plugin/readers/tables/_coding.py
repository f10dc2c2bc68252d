"""The values of a scanned table as numbers: states, trajectories and labels become codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from detailed_balance.analyzers import START
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.readers.records.values import (
    parse_cost,
    parse_count,
    parse_integer,
    parse_outcome,
    parse_state,
    parse_text,
    parse_time,
)
from detailed_balance.readers.tables._assembly import StateNames
from detailed_balance.readers.tables._bytes import DoubtError
from detailed_balance.readers.tables._scan import Scan, numeric_fields
from detailed_balance.readers.tables._sql import INTEGERS, JSON, TEXT, Column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

_MOST_ODD = 200_000  # different values of a column that Python converts
_PARSERS: dict[str, Callable[[Any, str], Any]] = {
    "step": parse_integer,
    "count": parse_count,
    "time": parse_time,
    "cost": parse_cost,
}


class Trajectories(NamedTuple):
    """The trajectories of a table.

    Parameters
    ----------
    sql : str
        The SQL of the number of one.
    names : list of (str or None)
        Their names, in the order in which they began.
    sizes : (t,) array of int64
        How many rows each has.
    used_again : bool
        Whether one may hold several runs, whose steps may start again.
    """

    sql: str
    names: list[str | None]
    sizes: NDArray[np.int64]
    used_again: bool


class Coder:
    """Gives the values of a scanned table codes, by joins with the different values of columns.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Where the table is.
    scan : Scan
        The table.

    Raises
    ------
    DoubtError, BadRecordError
        Here and in all methods: where a reader of records has to say what is wrong.
    """

    def __init__(self, connection: DuckDBPyConnection, scan: Scan) -> None:
        self.execute = connection.execute
        self.fields, self.columns = scan.fields, scan.columns
        self.place = f"source.{scan.place}"
        self.steps = scan.steps
        self._joins: dict[str, str] = {}
        numbers = numeric_fields(scan.fields, steps=self.steps)
        self._numbers: dict[str, str] = {}
        self.known: dict[str, int] = {}
        there = {role: field for role, field in numbers.items() if field in scan.columns}
        asked = [f"count(n_{role}), count(odd_{role})" for role in there]
        found = self.execute(f"SELECT {', '.join(['count(*)', *asked])} FROM source").fetchone()
        self.total, *known = found or (0,)
        if not self.total:
            raise DoubtError
        for (role, field), plain, odd in zip(there.items(), known[::2], known[1::2], strict=True):
            self.known[role] = plain + odd
            self._numbers[role] = f"n_{role}"
            if odd:
                self._convert_odd(role, field)

    def _convert_odd(self, role: str, field: str) -> None:
        """Let Python convert what SQL may not."""
        column = self.columns[field]
        found = self.execute(
            f"SELECT DISTINCT odd_{role} FROM source WHERE odd_{role} IS NOT NULL LIMIT {_MOST_ODD}"
        ).fetchall()
        if len(found) == _MOST_ODD or column.kind not in (TEXT, JSON, "VARCHAR"):
            raise DoubtError
        odd = [value for (value,) in found]
        values = [_PARSERS[role](column.decode(value), field) for value in odd]
        kind = "DOUBLE" if role in ("time", "cost") else "BIGINT"
        self.execute(
            f"CREATE TEMP TABLE m_{role} AS SELECT unnest($1::VARCHAR[]) AS odd, "
            f"unnest($2::{kind}[]) AS value",
            [odd, values],
        )
        join = f"LEFT JOIN m_{role} ON source.odd_{role}::VARCHAR = m_{role}.odd"
        self._joins[f"m_{role}"] = join
        self._numbers[role] = f"COALESCE(n_{role}, m_{role}.value)"

    def number(self, role: str) -> str | None:
        """Return the SQL of a column of numbers; None where it tells nothing."""
        return self._numbers[role] if self.known.get(role) else None

    @property
    def origin(self) -> str:
        """The SQL of the table with all that is joined to it."""
        return " ".join(["source", *self._joins.values()])

    def fetch(self, select: str) -> dict[str, NDArray[Any]]:
        """Return the columns of a query, none of whose numbers is null."""
        columns: Any = self.execute(select).fetchnumpy()
        return dict(columns)

    def code(self, table: str, fields: Iterable[str]) -> tuple[str, list[dict[str, Any]]]:
        """Code the combinations of values of some fields: the SQL of the code, and the values."""
        columns = {each: self.columns[each] for each in fields if each in self.columns}
        if not columns:
            return "0", [{}]
        chosen = ", ".join(column.sql for column in columns.values())
        self.execute(
            f"CREATE TEMP TABLE {table} AS SELECT *, (row_number() OVER () - 1)::INTEGER AS code "
            f"FROM (SELECT DISTINCT {chosen} FROM source)"
        )
        rows = self.execute(f"SELECT {chosen} FROM {table} ORDER BY code").fetchall()
        records = [
            {
                field: column.decode(value)
                for (field, column), value in zip(columns.items(), row, strict=True)
            }
            for row in rows
        ]
        if len(rows) == 1:
            return "0", records
        self._joins[table] = f"JOIN {table} ON {_same(table, columns.values())}"
        return f"{table}.code", records

    def code_states(self) -> tuple[list[str], list[NDArray[np.int32]], StateNames]:
        """Code the states: of moves source and target, of steps the one that each has.

        Returns
        -------
        list of str
            The SQL of their codes.
        list of (k,) arrays of int32
            The place of each code in the names; -1 is an escape.
        StateNames
            The names.
        """
        fields, told = self.fields, []
        sql: list[str] = []
        if self.steps:
            whole = fields.state is not None and fields.state in self.columns
            code, records = self.code(
                "targets", [fields.state or ""] if whole else fields.state_fields
            )
            sql, told = [code], [[fields.read_state(record) for record in records]]
        else:
            for field in (fields.source, fields.target):
                code, records = self.code(f"states{len(sql)}", [field])
                escapes = [len(sql) == 1 and record[field] is None for record in records]
                told.append(
                    [
                        None if escape else fields.rename(parse_state(record[field], field))
                        for record, escape in zip(records, escapes, strict=True)
                    ]
                )
                sql.append(code)
        names = StateNames([name for each in told for name in each if name is not None])
        codes = [
            np.array([-1 if name is None else names.codes[name] for name in each], dtype=np.int32)
            for each in told
        ]
        return sql, codes, names

    def code_labels(self) -> tuple[str, list[Context]]:
        """Code the labels, those of an object ``context`` too."""
        nested = self.columns.get("context")
        is_object = nested is not None and nested.kind not in (TEXT, "VARCHAR")
        more = ("context",) if is_object and "context" not in self.fields.labels else ()
        code, records = self.code("labels", (*self.fields.labels, *more))
        return code, [self.fields.read_labels(record) for record in records]

    def code_endings(self) -> tuple[str, NDArray[np.int8], NDArray[np.int8]]:
        """Code what rows say of the end of their run: outcome and success of each code."""
        field = self.fields.success
        code, records = self.code("endings", [] if field is None else [field])
        values = self.fields.success_values
        told = [parse_outcome(record.get(field or ""), field or "", values) for record in records]
        outcome = [-1 if each is None else OUTCOMES.index(each) for each, _ in told]
        success = [-1 if each is None else int(each) for _, each in told]
        return code, np.array(outcome, dtype=np.int8), np.array(success, dtype=np.int8)

    def code_trajectories(self, source: str, starts: Sequence[int]) -> Trajectories:
        """Give the trajectories numbers, in the order in which they began.

        Parameters
        ----------
        source : str
            The SQL of the code of the source of a move.
        starts : sequence of int
            The codes that are START; none for steps.
        """
        column = self.columns.get(self.fields.trajectory)
        if column is None:
            # All rows are one trajectory, without a name.
            return Trajectories("0", [None], np.array([self.total]), bool(starts))
        time, again = self.number("time"), "0"
        if starts:
            timed = "false" if time is None else f"count({time}) = count(*)"
            several = f"count(*) FILTER ({source} IN ({', '.join(map(str, starts))})) > 1"
            again = f"CASE WHEN NOT {several} THEN 0 WHEN {timed} THEN 1 ELSE 2 END"
        began = "NULL" if time is None else f"min({time})"
        tables = ("m_time", source.partition(".")[0]) if starts else ("m_time",)
        needed = [self._joins[table] for table in tables if table in self._joins]
        run = f"source.{column.sql}"
        self.execute(
            f"CREATE TEMP TABLE runs AS SELECT *, (row_number() OVER (ORDER BY began NULLS FIRST, "
            f"first) - 1)::INTEGER AS code FROM (SELECT {run}, {began} AS began, "
            f"min({self.place}) AS first, count(*) AS size, {again} AS again "
            f"FROM {' '.join(['source', *needed])} GROUP BY {run})"
        )
        found = self.fetch(f"SELECT {column.sql} AS name, size, again FROM runs ORDER BY code")
        names = self._name_trajectories(column, found["name"])
        if len(set(names)) < len(names):
            raise DoubtError
        self._joins["runs"] = f"JOIN runs ON {_same('runs', [column])}"
        return Trajectories("runs.code", names, found["size"], bool(found["again"].any()))

    def _name_trajectories(self, column: Column, found: Any) -> list[str | None]:
        values = found.tolist()  # None where it is masked
        decode, field = column.decode, self.fields.trajectory
        if column.kind == JSON:
            values = [decode(value) for value in values]
        return [value if type(value) is str else parse_text(value, field) for value in values]

    def event(self) -> str | None:
        """Return the SQL of the id of a step as text; None where there is none."""
        column = self.columns.get(self.fields.event or "")
        if column is None:
            return None
        column = Column(f"source.{column.sql}", column.kind)
        if column.kind == JSON:
            plain = rf"regexp_matches({column.sql}::VARCHAR, '^(\".*|0|-?[1-9][0-9]{{0,17}})$')"
            odd = f"SELECT 1 FROM source WHERE {column.sql} IS NOT NULL AND NOT {plain} LIMIT 1"
            if self.execute(odd).fetchone():
                raise DoubtError
        elif column.kind not in (TEXT, "VARCHAR", *INTEGERS):
            raise DoubtError
        return column.text


def start_codes(codes: NDArray[np.int32], names: StateNames) -> list[int]:
    """Return the codes that mean START."""
    return [int(code) for code in np.flatnonzero(codes == names.codes[START])]


def _same(table: str, columns: Iterable[Column]) -> str:
    return " AND ".join(
        f"source.{column.sql} IS NOT DISTINCT FROM {table}.{column.sql}" for column in columns
    )
