"""What every result shares: JSON types, a table, and how it is shown in a shell or a notebook."""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from detailed_balance.analyzers.errors import DetailedBalanceError

__all__ = ["Result", "Table", "TableResult", "plain", "safe_name", "times"]

Table: TypeAlias = dict[str, list[Any]]
"""A table as columns of equal length, in order; ``pandas.DataFrame(table)`` takes it as it is."""


_LONGEST_NAME = 60
"""Longer keys are cut in sentences."""

_LINE, _LINES = 88, 10
"""How wide and how long a `repr` may be."""

_ROWS = 10
"""How many rows of a table a notebook shows."""


def times(count: int) -> str:
    """Say how often, in words that fit a sentence.

    Examples
    --------
    >>> times(1), times(0), times(2500)
    ('once', 'never', '2,500 times')
    """
    return {0: "never", 1: "once"}.get(count, f"{count:,} times")


def safe_name(state: str) -> str:
    r"""Write a state key in a sentence: keys come from language models, so they are hostile.

    Examples
    --------
    >>> safe_name("search"), safe_name("line\nbreak")
    ('search', "'line\\nbreak'")
    """
    name = state if state.isprintable() and state else repr(state)
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 3] + "..."


def plain(value: Any) -> Any:
    """Return `value` in types that JSON has: infinities become strings, NaN becomes None.

    Examples
    --------
    >>> plain({"V": np.array([0.5, np.inf, np.nan])})
    {'V': [0.5, 'inf', None]}
    """
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"name": type(value).__name__, **plain(fields)}
    return value if isinstance(value, str | int | bool | type(None)) else repr(value)


class _Abbreviation(reprlib.Repr):
    """Writes a value in a few words, however large it is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxdict = self.maxset = self.maxfrozenset = 3
        self.maxlist = self.maxtuple = 4
        self.maxother = self.maxstring = 60

    def repr_ndarray(self, array: np.ndarray[Any, Any], level: int) -> str:
        if array.ndim != 1:
            return f"<array {array.shape}>"
        return f"array({self.repr1(array[: self.maxlist + 1].tolist(), level)})"

    def repr_csr_array(self, matrix: Any, level: int) -> str:
        return f"<sparse array {matrix.shape}, {matrix.nnz:,} entries>"

    def repr_instance(self, x: Any, level: int) -> str:
        text = repr(x)
        short = len(text) <= self.maxother and "\n" not in text
        return text if short else f"{type(x).__name__}(...)"


_ABBREVIATION = _Abbreviation()


class Result:
    """A frozen dataclass that says what was found and how.

    `_content` says what stands in `to_dict`; all fields, unless a subclass chooses. Its `repr` has
    at most ten lines: long values are abbreviated.
    """

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        # Before @dataclass makes one of its own.
        if "__repr__" not in vars(cls):
            cls.__repr__ = Result.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        shown = ((each.name, getattr(self, each.name)) for each in fields if each.repr)
        parts = [_cut(f"{name}={_ABBREVIATION.repr(value)}") for name, value in shown]
        name = type(self).__name__
        whole = f"{name}({', '.join(parts)})"
        return whole if len(whole) <= _LINE else f"{name}(\n{_fill_lines(parts)}\n)"

    def to_dict(self) -> dict[str, Any]:
        """Return everything in types that JSON has, settings included."""
        return dict(plain(self._content()))

    def _content(self) -> Mapping[str, Any]:
        return self._fields()

    def _fields(self) -> dict[str, Any]:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return self._values(*(each.name for each in fields if not each.name.startswith("_")))

    def _values(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}


class TableResult(Result):
    """A result that is a table, or has one; `to_dict` gives that, unless a subclass chooses."""

    __slots__ = ()

    def to_table(self) -> Table:
        """Return the table as columns."""
        raise NotImplementedError

    def to_frame(self) -> Any:
        """Return `to_table` as a pandas DataFrame.

        Raises
        ------
        DetailedBalanceError
            Where pandas is not installed; the columns are there without it.
        """
        try:
            pandas = import_module("pandas")
        except ImportError:
            raise DetailedBalanceError(
                "pandas is not installed: pip install pandas, or use to_table(), which gives the "
                "same columns as a dict of lists"
            ) from None
        return pandas.DataFrame(self.to_table())

    def _repr_html_(self) -> str:
        """Return what a notebook shows: what was found in a sentence, and the first rows."""
        table = self._preview()
        rows = list(zip(*table.values(), strict=True))
        said = getattr(self, "describe", lambda: "")()
        head = f"<p><b>{type(self).__name__}</b> {escape(said)}</p>"
        more = len(rows) - _ROWS
        note = f"<p>{more:,} more rows: to_frame() has them all.</p>" if more > 0 else ""
        columns = "".join(f"<th>{escape(name)}</th>" for name in table)
        cells = ("".join(f"<td>{_show_cell(c)}</td>" for c in row) for row in rows[:_ROWS])
        body = "\n".join(f"<tr>{row}</tr>" for row in cells)
        return f"{head}\n<table>\n<thead><tr>{columns}</tr></thead>\n{body}\n</table>\n{note}"

    def _preview(self) -> Table:
        """Return the table that a notebook shows the first rows of."""
        return self.to_table()

    def _content(self) -> Mapping[str, Any]:
        return self.to_table()


def _cut(text: str) -> str:
    return text if len(text) <= _LINE - 8 else f"{text[: _LINE - 11]}..."


def _fill_lines(parts: Sequence[str]) -> str:
    """Put as many parts into a line as fit; the last line says that some were left out."""
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1]) + len(part) + 6 > _LINE:
            lines.append("")
        lines[-1] += f"{' ' if lines[-1] else ''}{part},"
    if len(lines) > _LINES - 2:
        lines = [*lines[: _LINES - 3], "..."]
    return "\n".join(f"    {line}" for line in lines)


def _show_cell(value: Any) -> str:
    """Return a cell of a table in HTML; it may hold whatever a model wrote."""
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}".replace("inf", "∞")  # noqa: RUF001
    if isinstance(value, list | tuple):
        value = " → ".join(map(str, value))
    return escape(safe_name(value) if isinstance(value, str) else str(value))
