"""A table on disk as a relation of DuckDB with the fields that are needed, and no others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detailed_balance.analyzers.errors import DetailedBalanceError
from detailed_balance.readers.records.base import BadLines, ReadOptions
from detailed_balance.readers.records.columns import FieldNames
from detailed_balance.readers.records.event_log import adapt_to_event_log
from detailed_balance.readers.tables._bytes import DoubtError, inspect_text
from detailed_balance.readers.tables._sql import JSON, PLAIN, TEXT, Column, name
from detailed_balance.readers.tables.delimited import read_header

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SEPARATOR = "\x01"  # no line of JSON has it
_FEW = 100_000
# What DuckDB takes for JSON and Python does not, or deeper or longer than Python takes it.
_SUSPECT = r"""
    regexp_matches(j, ',[ \t\r]*[\]}]') OR (strlen(j) > 1800 AND (regexp_matches(j, '[0-9]{1000}')
        OR length(j) - length(replace(replace(j, '[', ''), '{', '')) > 900))
"""
_NO_NUMBER = r"regexp_matches(j, '[:,\[][ \t\r]*-?(?i:nan|inf)')"


@dataclass(frozen=True, slots=True)
class Scan:
    """Where the needed fields of a table are.

    Parameters
    ----------
    fields : FieldNames
        Which field holds what.
    columns : dict of str to Column
        The fields that are there.
    steps : bool
        Whether its rows are steps, and not moves.
    place : str
        The column of the relation ``source`` with the place of a row.
    """

    fields: FieldNames
    columns: dict[str, Column]
    steps: bool
    place: str


def needed_fields(fields: FieldNames, *, steps: bool) -> list[str]:
    """Return the fields that a reader of records looks at, where they are there."""
    numbers = numeric_fields(fields, steps=steps).values()
    return list(dict.fromkeys((*coded_fields(fields, steps=steps), *numbers)))


def coded_fields(fields: FieldNames, *, steps: bool) -> list[str]:
    """Return those of them that hold more than numbers."""
    states = fields.state_fields if steps else (fields.source, fields.target)
    asked = (fields.event, fields.success, *fields.labels, "context")
    return [each for each in (*states, fields.trajectory, *asked) if each is not None]


def numeric_fields(fields: FieldNames, *, steps: bool) -> dict[str, str]:
    """Return the fields that hold numbers, by what they tell."""
    named = {"step": fields.step, "time": fields.time, "cost": fields.cost}
    named["count"] = None if steps else fields.count
    return {role: field for role, field in named.items() if field is not None}


def _convert(columns: Mapping[str, Column], fields: FieldNames, *, steps: bool) -> str:
    """Return what to select: the columns, and the numbers, with what Python has to make of them."""
    coded = coded_fields(fields, steps=steps)
    chosen = [column.sql for field, column in columns.items() if field in coded]
    for role, field in numeric_fields(fields, steps=steps).items():
        if field in columns:
            column = columns[field]
            number = column.as_number(role)
            odd = f"CASE WHEN {column.sql} IS NOT NULL AND ({number}) IS NULL THEN {column.sql} END"
            chosen += [f"{number} AS n_{role}", f"{odd} AS odd_{role}"]
    return ", ".join(chosen) or "1 AS nothing"


def scan_csv(
    connection: DuckDBPyConnection, paths: Sequence[Path], options: ReadOptions, folder: Path
) -> Scan:
    """Load the needed columns of files of CSV, as texts; an empty cell is null."""
    seen: tuple[list[str], FieldNames] = ([], options.fields)
    fields, inside, steps = options.fields, dict[str, Column](), False
    rows = 0
    for number, path in enumerate(paths):
        delimiter, header, adapted = _read_header(path, options)
        fields, steps = adapted.fields, adapted.reads_steps
        found = [each for each in needed_fields(fields, steps=steps) if each in header]
        braces = fields.state is not None and fields.state in header and "{" in fields.state
        if braces or len(header) < 2 or (number and (found, fields) != seen):
            raise DoubtError
        seen = found, fields
        facts = inspect_text(path, folder, delimiter)
        # DuckDB passes over one more cell at the end of a row, where it is empty.
        if facts.delimiters != facts.rows * (len(header) - 1):
            raise DoubtError
        # Of two columns of one name that nobody asked for, a reader of records takes the last.
        places = [len(header) - 1 - header[::-1].index(each) for each in found]
        chosen = ", ".join(f"c{place} AS f{i}" for i, place in enumerate(places))
        columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(header)))
        quote = '"' if facts.quotes else ""
        inside = {each: Column(f"f{i}", TEXT) for i, each in enumerate(found)}
        select = f"""SELECT {_convert(inside, fields, steps=steps)} FROM (
            SELECT {chosen or "1 AS nothing"} FROM read_csv($1, columns = {{{columns}}},
            auto_detect = false, header = true, delim = $2, quote = '{quote}', escape = '{quote}',
            comment = '', nullstr = '', strict_mode = true, parallel = {not facts.quotes}))"""
        _load(connection, "source", number, select, [str(facts.path), delimiter])
        rows += facts.rows - 1
        if _count(connection, "source") != rows:
            raise DoubtError
    return Scan(fields, inside, steps, "rowid")


def _read_header(path: Path, options: ReadOptions) -> tuple[str, list[str], ReadOptions]:
    bad = BadLines(str(path), skip=False)
    try:
        return read_header(path, options, bad)
    except DetailedBalanceError as error:
        raise DoubtError from error


def scan_json_lines(
    connection: DuckDBPyConnection, paths: Sequence[Path], options: ReadOptions, folder: Path
) -> Scan:
    """Load the needed fields of files of JSON Lines, each as JSON."""
    rows, no_number = 0, False
    for number, path in enumerate(paths):
        facts = inspect_text(path, folder)
        select = """SELECT j FROM read_csv($1, columns = {'j': 'VARCHAR'}, auto_detect = false,
            header = false, delim = $2, quote = '', escape = '', comment = '', nullstr = '',
            strict_mode = true)"""
        _load(connection, "lines", number, select, [str(facts.path), _SEPARATOR])
        rows += facts.rows
        no_number = no_number or facts.no_number
    if _count(connection, "lines", "j") != rows:
        raise DoubtError
    fields, steps = options.fields, options.reads_steps
    suspect = f"{_SUSPECT} OR {_NO_NUMBER}" if no_number else _SUSPECT
    suspects = connection.execute(f"SELECT j FROM lines WHERE {suspect}")
    while lines := suspects.fetchmany(1_000):
        for (line,) in lines:
            _check_json(line)
    blank = "NOT contains(j, '{') AND regexp_matches(j, '[^ \\t\\r]')"
    if connection.execute(f"SELECT count(*) FROM lines WHERE {blank}").fetchone() != (0,):
        raise DoubtError
    expected = fields.expected(steps=steps)
    required = set(fields.state_fields if steps else (fields.source, fields.target))
    found = _find_paths(
        connection, needed_fields(fields, steps=steps), set(expected), required, fields
    )
    # Of a number that is one, or a text of one, Python makes the same.
    coded = coded_fields(fields, steps=steps)
    columns = {
        each: Column(f"f{i}", JSON if each in coded else TEXT) for i, each in enumerate(found)
    }
    structure: dict[str, Any] = {}
    for each, path_ in found.items():
        inner = structure
        for part in path_[:-1]:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise DoubtError
        if path_[-1] in inner:
            raise DoubtError
        inner[path_[-1]] = "VARCHAR" if columns[each].kind == TEXT else "JSON"
    _refuse_twins(structure)
    reached = [
        ".".join(["t", *(name(part) for part in path_)]) + f" AS f{i}"
        for i, path_ in enumerate(found.values())
    ]
    shape = json.dumps(structure, ensure_ascii=False)
    connection.execute(
        f"""CREATE TEMP TABLE source AS SELECT {_convert(columns, fields, steps=steps)} FROM (
            SELECT {", ".join(reached)} FROM (
                SELECT json_transform(j, $1) AS t FROM lines WHERE contains(j, '{{')))""",
        [shape],
    )
    connection.execute("DROP TABLE lines")
    return Scan(fields, columns, steps, "rowid")


def _check_json(line: str) -> None:
    try:
        json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DoubtError from error


def _find_paths(
    connection: DuckDBPyConnection,
    names: Iterable[str],
    expected: set[str],
    required: set[str],
    fields: FieldNames,
) -> dict[str, tuple[str, ...]]:
    """Return where the fields are: by themselves or, with dots, in objects inside of the records.

    Raises
    ------
    DoubtError
        Where a record has a key twice, or one that is required is missing.
    """
    top = _list_keys(connection, ())
    if fields.state and "{" in fields.state and any(fields.state in keys for keys in top):
        raise DoubtError
    found: dict[str, tuple[str, ...]] = {}
    for each in names:
        whole = [each in keys for keys in top]
        if any(whole):
            if "." in each and not all(whole):
                raise DoubtError
            found[each], everywhere = (each,), all(whole)
        else:
            parts, everywhere = tuple(each.split(".")), "." in each
            inside = everywhere
            for depth in range(len(parts) if inside else 0):
                has = [parts[depth] in keys for keys in _list_keys(connection, parts[:depth])]
                everywhere, inside = everywhere and all(has), inside and any(has)
            if inside:
                found[each] = parts
        if (each in expected and each not in found) or (each in required and not everywhere):
            raise DoubtError
    return found


def _list_keys(connection: DuckDBPyConnection, path: Sequence[str]) -> list[list[str]]:
    """Return the different lists of keys of the objects at a path; none where there is none."""
    where = "$" + "".join(f".{name(part)}" for part in path)
    argument = ", $1" if path else ""
    found = connection.execute(
        f"SELECT json_keys(j{argument}) FROM lines WHERE rowid IN (SELECT min(rowid) FROM lines "
        f"WHERE contains(j, '{{') GROUP BY hash(json_keys(j{argument})) LIMIT {_FEW})",
        [where] if path else None,
    ).fetchall()
    lists = [keys or [] for (keys,) in found]
    if len(lists) == _FEW or any(len(set(keys)) < len(keys) for keys in lists):
        raise DoubtError
    if not path and not all(lists):
        raise DoubtError  # a line that is not an object, or has no keys
    return lists


def _refuse_twins(structure: Mapping[str, Any]) -> None:
    """Refuse names that DuckDB would not tell from each other."""
    if len({each.lower() for each in structure}) < len(structure):
        raise DoubtError
    for inner in structure.values():
        if isinstance(inner, dict):
            _refuse_twins(inner)


def scan_parquet(
    connection: DuckDBPyConnection, paths: Sequence[Path], options: ReadOptions, folder: Path
) -> Scan:
    """Make a view of files of Parquet; nothing is loaded."""
    files = [str(path) for path in paths]
    tables = [_describe(connection, file) for file in files]
    options = adapt_to_event_log(list(tables[0]), options)
    fields, steps = options.fields, options.reads_steps
    columns: dict[str, Column] = {}
    required = set(fields.state_fields if steps else (fields.source, fields.target))
    if fields.state and "{" in fields.state and fields.state in tables[0]:
        raise DoubtError
    for each in needed_fields(fields, steps=steps):
        kinds = {table.get(each) for table in tables}
        if len(kinds) > 1 or (each not in tables[0] and each.partition(".")[0] in tables[0]):
            raise DoubtError
        kind = kinds.pop()
        if each == "context" and each not in fields.labels:
            kind = kind if kind is not None and kind.startswith("STRUCT") else None
        elif kind is not None and kind not in PLAIN and each not in (fields.step, fields.time):
            raise DoubtError
        if kind is not None:
            columns[each] = Column(f"f{len(columns)}", kind)
    if (set(fields.expected(steps=steps)) | required) - set(columns):
        raise DoubtError
    inner = ", ".join(f"{name(each)} AS {column.sql}" for each, column in columns.items())
    chosen = _convert(columns, fields, steps=steps)
    if len(files) == 1:
        more = "file_row_number AS place"
    else:
        number = f"list_position({_texts(files)}, filename)"
        more = f"file_row_number + {number} * 1099511627776 AS place"
    several = "" if len(files) == 1 else ", filename = true"
    connection.execute(
        f"CREATE TEMP VIEW source AS SELECT {chosen}, place FROM (SELECT {inner}, {more} "
        f"FROM read_parquet({_texts(files)}, hive_partitioning = false, file_row_number = true"
        f"{several}))"
    )
    return Scan(fields, columns, steps, "place")


def _describe(connection: DuckDBPyConnection, file: str) -> dict[str, str]:
    found = connection.execute(
        "DESCRIBE SELECT * FROM read_parquet($1, hive_partitioning = false)", [file]
    ).fetchall()
    table = {row[0]: row[1] for row in found}
    schema = connection.execute(
        "SELECT name, num_children FROM parquet_schema($1)", [file]
    ).fetchall()
    names, open_children = [], [0]
    for each, children in schema[1:]:
        while open_children[-1] == 0 and len(open_children) > 1:
            open_children.pop()
        if len(open_children) == 1:
            names.append(each)
        else:
            open_children[-1] -= 1
        if children:
            open_children.append(children)
    if set(names) != set(table) or len(names) != len(table):
        raise DoubtError  # two of its columns differ only in their case
    return table


def _texts(values: Iterable[str]) -> str:
    return "[" + ", ".join("'" + value.replace("'", "''") + "'" for value in values) + "]"


def _load(
    connection: DuckDBPyConnection, table: str, number: int, select: str, values: list[Any]
) -> None:
    connection.execute(
        f"INSERT INTO {table} {select}" if number else f"CREATE TEMP TABLE {table} AS {select}",
        values,
    )


def _count(connection: DuckDBPyConnection, table: str, column: str = "*") -> int:
    found = connection.execute(f"SELECT count({column}) FROM {table}").fetchone()
    return int(found[0]) if found else 0


SCANS: dict[str, Callable[..., Scan]] = {
    "csv": scan_csv,
    "jsonl": scan_json_lines,
    "parquet": scan_parquet,
}
"""What scans each format."""
