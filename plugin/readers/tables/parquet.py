"""Parquet through pyarrow: tables of moves, or of steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detailed_balance.analyzers.errors import DetailedBalanceError, InvalidInputError, ReadError
from detailed_balance.readers.records.base import (
    BadLines,
    LineRecord,
    ReadOptions,
    Record,
)
from detailed_balance.readers.records.columns import unknown_field_message
from detailed_balance.readers.records.event_log import adapt_to_event_log
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.rows import read_records
from detailed_balance.render.formatting import first_line

__all__ = ["is_parquet", "looks_like", "open_rows", "read", "read_columns", "read_table"]

_MAGIC = b"PAR1"
_ROWS_AT_A_TIME = 10_000


def looks_like(opening: Opening) -> bool:
    """Say whether a file begins as Parquet."""
    return is_parquet(opening.head)


def is_parquet(head: bytes) -> bool:
    """Say whether a file that begins so is Parquet."""
    return head.startswith(_MAGIC)


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of a Parquet file, 10,000 rows at a time.

    Raises
    ------
    InvalidInputError
        Where pyarrow is missing.
    """
    rows, options = open_rows(path, options, bad)
    yield from read_records(rows, options, bad)


def open_rows(
    path: Path, options: ReadOptions, bad: BadLines
) -> tuple[Iterator[LineRecord], ReadOptions]:
    """Return the rows of a file with their numbers, and the options for its columns.

    Raises
    ------
    InvalidInputError
        Where pyarrow is missing.
    ReadError
        Where a column is missing, or the file cannot be read.
    """
    with _open(path) as file:
        columns = list(file.schema_arrow.names)
        options = adapt_to_event_log(columns, options)
        wanted = options.fields.expected(steps=options.reads_steps)
        for name, option in wanted.items():
            if name not in columns and name.partition(".")[0] not in columns:
                raise ReadError(f"{bad.name}: {unknown_field_message(name, option, columns)}")
    return _read_rows(path, _choose(columns, options), options, bad), options


def _read_rows(
    path: Path, columns: list[str] | None, options: ReadOptions, bad: BadLines
) -> Iterator[LineRecord]:
    with _open(path) as file:
        yield from _rows(file, columns, options, bad)


def read_columns(path: Path) -> frozenset[str]:
    """Return the names of the columns; none where the file is broken, which `read` reports."""
    try:
        with _open(path) as file:
            return frozenset(file.schema_arrow.names)
    except DetailedBalanceError:
        return frozenset()


def read_table(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[LineRecord]:
    """Yield the rows of a Parquet file with all their columns.

    Raises
    ------
    InvalidInputError
        Where pyarrow is missing.
    """
    return _read_rows(path, None, options, bad)


def _open(path: Path) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise InvalidInputError(
            f"DuckDB does not read {path} as it is; pyarrow reads it row by row, or says what is "
            "wrong with it: install 'detailed-balance[parquet]'"
        ) from error
    try:
        file = parquet.ParquetFile(path)
        _ = file.schema_arrow.names
    except Exception as error:  # pyarrow answers damaged files with errors of many kinds
        raise ReadError(f"{path} cannot be read as Parquet ({first_line(error)})") from error
    return file


def _choose(columns: list[str], options: ReadOptions) -> list[str] | None:
    """Return the columns to load: a table of traces may have large ones that nobody asks for."""
    if options.states is not None:
        return None
    fields = options.fields
    usual = {fields.trajectory, fields.step, fields.time, fields.count, "context"}
    wanted = usual | set(fields.expected(steps=options.reads_steps))
    wanted |= {name.partition(".")[0] for name in wanted if name not in columns}
    return [name for name in columns if name in wanted]


def _rows(
    file: Any, columns: list[str] | None, options: ReadOptions, bad: BadLines
) -> Iterator[LineRecord]:
    number, total = 0, file.metadata.num_rows
    try:
        for batch in file.iter_batches(batch_size=_ROWS_AT_A_TIME, columns=columns):
            for row in batch.to_pylist():
                number += 1
                yield number, row
            if options.progress:
                options.progress(number, total)
    except Exception as error:  # as above
        lost = f"the file is damaged, nothing after here is read ({first_line(error)})"
        bad.report(number + 1, lost)
