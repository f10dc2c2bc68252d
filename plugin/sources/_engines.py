"""Opening what holds a table of events: Parquet files, a DuckDB file, PostgreSQL, Ibis."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.callbacks.store.engine import parse_url
from detailed_balance.render.formatting import first_line, safe_text
from detailed_balance.sources._ibis import Table, load_ibis

MEMORY_LIMIT = "2GB"
"""The memory that DuckDB may use; with the program around it a process stays under 4 GB."""

FILE, ROW = "filename", "file_row_number"
"""The columns with which DuckDB says where a row of Parquet stands."""

_LONGEST_QUERY = "-c statement_timeout=10min"
"""How long PostgreSQL may take for a query, as it is told where the URL has no ``options=``."""

_PARQUET_MAGIC = b"PAR1"
_DUCKDB_MAGIC = b"DUCK"
_SUFFIXES = (".parquet", ".pq")


@contextmanager
def open_table(
    source: object,
    *,
    memory_limit: str = MEMORY_LIMIT,
    temp_directory: str | os.PathLike[str] | None = None,
) -> Iterator[Table]:
    """Open a table; see `count_table` for what `source` may be.

    Raises
    ------
    InvalidInputError
        Where the source is of no known kind, or does not say which table.
    ReadError
        Where it cannot be opened.

    Examples
    --------
    >>> import ibis
    >>> with open_table(ibis.memtable({"source": ["a"], "target": ["b"]})) as table:
    ...     table.columns
    ('source', 'target')
    """
    ibis = load_ibis()
    if isinstance(source, ibis.Table):
        yield source
    elif isinstance(source, str) and "://" in source:
        with _open_url(source, memory_limit, temp_directory) as table:
            yield table
    elif not isinstance(source, str | os.PathLike):
        raise InvalidInputError(
            f"a {type(source).__name__} is not a table; allowed are an Ibis table, Parquet (a "
            f"file, a "
            "folder, a pattern such as 'runs/*.parquet'), a DuckDB file, and a URL such as "
            "postgresql://host/database?table=events"
        )
    elif _begins(Path(source), _DUCKDB_MAGIC, 8):
        with _duckdb(memory_limit, temp_directory, str(source), read_only=True) as connection:
            yield _choose(connection, None, str(source))
    else:
        files = find_parquet(source)
        if not files:
            raise ReadError(f"{safe_text(str(source), 200)} is not a Parquet file and holds none")
        with _duckdb(memory_limit, temp_directory) as connection:
            yield _read_parquet(connection, files)


def find_parquet(source: str | os.PathLike[str]) -> list[Path]:
    """Return the Parquet files that a path, a folder or a pattern means, by name; none: an empty list.

    Hidden files and folders, and those that begin with an underscore, are passed over, as Spark
    and others do that write such folders.

    Examples
    --------
    >>> find_parquet("no such folder/*.parquet")
    []
    """  # noqa: E501
    path = Path(source)
    if path.is_file():
        return [path] if _begins(path, _PARQUET_MAGIC) else []
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.suffix in _SUFFIXES]
        hidden = [any(p[0] in "._" for p in file.relative_to(path).parts) for file in found]
        return sorted(file for file, no in zip(found, hidden, strict=True) if not no)
    found = [Path(name) for name in glob.glob(str(source), recursive=True)]
    return sorted(file for file in found if file.is_file() and _begins(file, _PARQUET_MAGIC))


def _begins(path: Path, magic: bytes, offset: int = 0) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(offset + len(magic))[offset:] == magic
    except OSError:
        return False


@contextmanager
def _duckdb(
    memory_limit: str,
    temp_directory: str | os.PathLike[str] | None,
    database: str = ":memory:",
    **options: Any,
) -> Iterator[Any]:
    """Connect to DuckDB, which puts on the disk what does not fit into the memory it may use."""
    ibis = load_ibis()
    with tempfile.TemporaryDirectory(prefix="detailed-balance-", dir=temp_directory) as folder:
        try:
            connection = ibis.duckdb.connect(
                database,
                memory_limit=memory_limit,
                temp_directory=folder,
                preserve_insertion_order=False,
                autoinstall_known_extensions=False,
                **options,
            )
        except ImportError as error:
            raise InvalidInputError(
                "DuckDB is not installed; install 'detailed-balance[scale]'"
            ) from error
        except Exception as error:  # DuckDB's own, which have no common class over its versions
            raise ReadError(f"DuckDB cannot open {database}: {first_line(error)}") from error
        try:
            connection.raw_sql("SET enable_progress_bar = false")
            yield connection
        finally:
            connection.disconnect()


def _read_parquet(connection: Any, files: Sequence[Path]) -> Table:
    """Return the rows of Parquet files, with the place of each (`FILE`, `ROW`)."""
    names = [glob.escape(str(file.absolute())) for file in files]  # a name is not a pattern
    try:
        table: Table = connection.read_parquet(
            names, filename=True, file_row_number=True, union_by_name=True
        )
    except Exception as error:
        raise ReadError(f"{files[0]} cannot be read as Parquet: {first_line(error)}") from error
    return table


@contextmanager
def _open_url(
    source: str, memory_limit: str, temp_directory: str | os.PathLike[str] | None
) -> Iterator[Table]:
    url = parse_url(source)
    named = url.query.get("table")
    name = named if isinstance(named, str) else None
    url = url.difference_update_query(["table"])
    kind = url.get_backend_name() if url.drivername.startswith("postgresql") else url.drivername
    if kind == "duckdb":
        with _duckdb(
            memory_limit, temp_directory, url.database or "", read_only=True
        ) as connection:
            yield _choose(connection, name, hide_secrets(source))
    elif kind in ("postgresql", "postgres"):
        connection = _connect_postgres(url, hide_secrets(source))
        try:
            yield _choose(connection, name, hide_secrets(source))
        finally:
            connection.disconnect()
    else:
        raise InvalidInputError(
            f"{hide_secrets(source)}: tables are counted on duckdb:// and postgresql://; for any "
            "other engine give the Ibis table"
        )


def _connect_postgres(url: URL, shown: str) -> Any:
    try:
        return load_ibis().postgres.connect(
            host=url.host,
            port=url.port or 5432,
            user=url.username,
            password=url.password,
            database=url.database,
            **{"options": _LONGEST_QUERY, **url.query},
        )
    except ImportError as error:
        raise InvalidInputError(
            "the PostgreSQL driver is not installed; install 'detailed-balance[scale,postgres]'"
        ) from error
    except Exception as error:
        raise ReadError(f"{shown} cannot be opened: {first_line(error)}") from error


def _choose(connection: Any, name: str | None, shown: str) -> Table:
    """Return the table of this name, which may be ``schema.table``; by default the only one.

    Raises
    ------
    InvalidInputError
        Where it is not said which table, or there is none of the name.
    ReadError
        Where it is a view in a DuckDB file: a query of others, which may have no end.
    """
    schema, _, rest = (name or "").rpartition(".")
    there = _list_tables(connection, None)
    if name is None and len(there) == 1:
        name = there[0]
    if name in there:
        return _open(connection, name, None, shown)
    if schema and rest in _list_tables(connection, schema):
        return _open(connection, rest, schema, shown)
    tables = ", ".join(f"'{safe_text(table, 40)}'" for table in there[:12]) or "none"
    what = "which table" if name is None else f"a table '{safe_text(name, 40)}' that is there"
    raise InvalidInputError(f"{shown} does not say {what}; name it with ?table=. It has {tables}")


def _open(connection: Any, name: str, schema: str | None, shown: str) -> Table:
    if connection.name == "duckdb":
        query = (
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = $1 "
            "AND table_name = $2 AND table_type = 'VIEW'"
        )
        ((views,),) = connection.con.execute(query, [schema or "main", name]).fetchall()
        if views:
            raise ReadError(
                f"'{safe_text(name, 40)}' of {shown} is a view, and a view may have no end; make "
                "it a table, or give it as an Ibis table"
            )
    return connection.table(name, database=schema)


def _list_tables(connection: Any, schema: str | None) -> list[str]:
    if connection.name != "duckdb":
        return list(connection.list_tables(database=schema))
    # Not through Ibis, whose query for it does not run on DuckDB 2.0.
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = $1"
    return [row[0] for row in connection.con.execute(query, [schema or "main"]).fetchall()]
