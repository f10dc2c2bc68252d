"""Values of columns as SQL: what DuckDB may convert by itself, since Python would say the same."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from detailed_balance.readers.tables._bytes import DoubtError

TEXT, JSON = "TEXT", "JSON"
"""What a column of a file of text holds; that of Parquet has the name of its type in DuckDB."""

INTEGERS = frozenset(
    f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG")
) | {"INTEGER", "UINTEGER"}
_FLOATS = frozenset({"FLOAT", "DOUBLE"})
PLAIN = frozenset({TEXT, JSON, "VARCHAR", "BOOLEAN"}) | INTEGERS | _FLOATS
"""The types whose values are in Python what a reader of records would get."""

_TOO_LOW = -(2**63)
_DATE = r"(19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{6}|\.[0-9]{3})?"
_MOMENT = rf"{_DATE}([T ]{_CLOCK}(Z|\+00:00)?)?"
_ZONED = rf"{_DATE}[T ]{_CLOCK}[+-][01][0-9]:[0-5][0-9]"


class Column(NamedTuple):
    """A column of a table: the SQL that gives it, and what it holds."""

    sql: str
    kind: str

    @property
    def text(self) -> str:
        """The SQL of the value as text; of JSON, without its quotes."""
        if self.kind == JSON:
            inner = f"substr({self.sql}::VARCHAR, 2, length({self.sql}::VARCHAR) - 2)"
            bare = f"{self.sql}::VARCHAR"
            return f"CASE WHEN starts_with({bare}, '\"') THEN {inner} ELSE {bare} END"
        return f"{self.sql}::VARCHAR"

    def decode(self, value: Any) -> Any:
        """Return a value as a reader of records would get it."""
        if value is None:
            return None
        if self.kind == JSON:
            simple = len(value) > 1 and value[0] == '"' and "\\" not in value
            return value[1:-1] if simple else json.loads(value)
        return value

    def as_number(self, role: str) -> str:
        """Return the SQL of a ``step``, ``count``, ``time`` or ``cost``; null for Python's."""
        convert = {"time": self.as_time, "cost": self.as_cost}
        return convert.get(role, self.as_whole)()

    def as_whole(self) -> str:
        """Return the SQL of a whole number; null where Python has to decide."""
        if self.kind in INTEGERS:
            return f"NULLIF(TRY_CAST({self.sql} AS BIGINT), {_TOO_LOW})"
        if self.kind in _FLOATS:
            fits = f"{self.sql} = floor({self.sql}) AND abs({self.sql}) < 9e15"
            return f"CASE WHEN {fits} THEN CAST({self.sql} AS BIGINT) END"
        self._check_text()
        number = f"TRY_CAST({self.text} AS BIGINT)"
        fits = f"{number}::VARCHAR = {self.text} AND {self.text} <> '{_TOO_LOW}'"
        return f"CASE WHEN {fits} THEN {number} END"

    def as_time(self) -> str:
        """Return the SQL of seconds since 1970; null where Python has to decide."""
        if self.kind in INTEGERS | _FLOATS:
            return self._as_float()
        if self.kind in ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"):
            return f"epoch_us({self.sql})::DOUBLE / 1e6"
        if self.kind in ("TIMESTAMP_MS", "TIMESTAMP_S"):
            return f"epoch_us({self.sql}::TIMESTAMP)::DOUBLE / 1e6"
        if self.kind == "TIMESTAMP_NS":
            fits = f"epoch_ns({self.sql}) % 1000 = 0"
            return f"CASE WHEN {fits} THEN (epoch_ns({self.sql}) // 1000)::DOUBLE / 1e6 END"
        self._check_text()
        text = self.text
        number = f"CASE WHEN {_is_number(text)} THEN TRY_CAST({text} AS DOUBLE) "
        local = f"epoch_us(TRY_CAST(left({text}, length({text}) - 6) AS TIMESTAMP))"
        sign = f"CASE WHEN substr({text}, length({text}) - 5, 1) = '-' THEN -1 ELSE 1 END"
        hours, minutes = (f"TRY_CAST(substr({text}, length({text}) - {n}, 2) AS INT)" for n in "41")
        shift = f"{sign} * (60 * {hours} + {minutes}) * 60000000"
        plain = f"TRY_CAST(replace({text}, '+00:00', '') AS TIMESTAMP)"
        return (
            f"{number}WHEN regexp_full_match({text}, '{_MOMENT}') "
            f"THEN epoch_us({plain})::DOUBLE / 1e6 "
            f"WHEN regexp_full_match({text}, '{_ZONED}') THEN ({local} - {shift})::DOUBLE / 1e6 END"
        )

    def as_cost(self) -> str:
        """Return the SQL of a number, 0 for nothing; null where Python has to decide."""
        if self.kind in INTEGERS | _FLOATS:
            return f"CASE WHEN {self.sql} IS NULL THEN 0 ELSE {self._as_float()} END"
        self._check_text()
        number = f"WHEN {_is_number(self.text)} THEN TRY_CAST({self.text} AS DOUBLE)"
        return f"CASE WHEN {self.sql} IS NULL THEN 0 {number} END"

    def _as_float(self) -> str:
        number = f"{self.sql}::DOUBLE"
        return f"CASE WHEN isfinite({number}) THEN {number} END"

    def _check_text(self) -> None:
        if self.kind not in (TEXT, JSON, "VARCHAR"):
            raise DoubtError


def _is_number(text: str) -> str:
    """Return the SQL of whether DuckDB and Python take a text for the same number."""
    # DuckDB takes +-5 for -5.
    return f"isfinite(TRY_CAST({text} AS DOUBLE)) AND NOT contains({text}, '+')"


def name(identifier: str) -> str:
    """Return a name as SQL.

    Examples
    --------
    >>> name("a b")
    '"a b"'
    """
    return '"' + identifier.replace('"', '""') + '"'
