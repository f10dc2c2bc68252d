"""What expressions are fitted to: a table with one target column, read from a file or made here."""

from __future__ import annotations

import csv
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.render.formatting import safe_text
from examples.paper.symbolic.grammar import check_variables

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LAW", "MAX_ROWS", "DataSet", "make_decay", "read_csv"]

MAX_ROWS = 10_000
"""Rows of a data set: each of them enters each step of each fit."""

LAW = "exp(-0.6 * x)"
"""The law behind the built-in data set."""

_FEWEST_ROWS = 3


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """n rows of numbers.

    Parameters
    ----------
    name : str
        Where they come from.
    variables : dict of str to (n,) array of float
        The columns that an expression may use.
    target : (n,) array of float
        The column that it is to give.
    target_name : str
        Its name.

    Raises
    ------
    InvalidInputError
        Where there are too few or too many rows, no variable, or a column has a name that the
        language cannot have.
    """

    name: str
    variables: dict[str, NDArray[np.float64]]
    target: NDArray[np.float64]
    target_name: str

    def __post_init__(self) -> None:
        if not _FEWEST_ROWS <= len(self.target) <= MAX_ROWS:
            raise InvalidInputError(
                f"{self.name} has {len(self.target):,} rows; a fit takes {_FEWEST_ROWS} to"
                f" {MAX_ROWS:,}. Take a sample of more"
            )
        if not check_variables(self.variables):
            raise InvalidInputError(f"{self.name} has no column beside {self.target_name!r}")

    @property
    def label(self) -> str:
        """The name, and a checksum of the numbers: equal for equal data."""
        columns = [*self.variables.values(), self.target]
        return f"{self.name} {zlib.crc32(np.stack(columns).tobytes()):08x}"


def make_decay(*, rows: int = 60, noise: float = 0.02, seed: int = 0) -> DataSet:
    """Return points of the law y = exp(-0.6 x) on 0.1 <= x <= 5, with Gaussian noise.

    Examples
    --------
    >>> data = make_decay(noise=0.0)
    >>> bool(np.allclose(data.target, np.exp(-0.6 * data.variables["x"])))
    True
    """
    x = np.linspace(0.1, 5.0, rows)
    errors = np.random.default_rng(seed).normal(scale=noise, size=rows)
    return DataSet("decay", {"x": x}, np.exp(-0.6 * x) + errors, "y")


def read_csv(path: Path, target: str) -> DataSet:
    """Read a table with a line of column names; all but `target` are variables.

    Parameters
    ----------
    path : Path
        A file in UTF-8, with commas.
    target : str
        The column that is to be explained.

    Raises
    ------
    ReadError
        Where it cannot be read as a table of finite numbers with that column; the message names
        the line and the column.
    InvalidInputError
        Where its columns or rows are not allowed (`DataSet`).
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, rows = _read_rows(path, csv.reader(file, strict=True), target)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReadError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    table = dict(
        zip(header, np.array(rows, dtype=np.float64).reshape(-1, len(header)).T, strict=True)
    )
    explained = table.pop(target)
    return DataSet(path.stem, table, explained, target)


def _read_rows(
    path: Path, lines: Iterable[list[str]], target: str
) -> tuple[list[str], list[list[float]]]:
    header: list[str] = []
    rows: list[list[float]] = []
    for number, cells in enumerate(lines, 1):
        if not header:
            header = _check_header(path, [cell.strip() for cell in cells], target)
        elif cells:  # an empty line is none
            rows.append(_read_row(path, number, header, cells))
            if len(rows) > MAX_ROWS:
                raise ReadError(f"{path} has more than {MAX_ROWS:,} rows; take a sample")
    if not header:
        raise ReadError(f"{path} is empty; a table begins with its column names")
    return header, rows


def _check_header(path: Path, header: list[str], target: str) -> list[str]:
    named = ", ".join(map(safe_text, header[:10]))
    if len(set(header)) < len(header):
        raise ReadError(f"{path} has two columns of one name: {named}")
    if target not in header:
        raise ReadError(f"{path} has no column {safe_text(target)!r}; its columns are {named}")
    return header


def _read_row(path: Path, number: int, header: list[str], cells: list[str]) -> list[float]:
    if len(cells) != len(header):
        raise ReadError(f"{path}, line {number}: {len(cells)} cells for {len(header)} columns")
    row = []
    for name, cell in zip(header, cells, strict=True):
        try:
            value = math.nan if "_" in cell else float(cell)  # 1_0 is Python, not CSV
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ReadError(
                f"{path}, line {number}, column {safe_text(name)!r}: {safe_text(cell)!r} is "
                "not a finite number; leave such rows out"
            )
        row.append(value)
    return row
