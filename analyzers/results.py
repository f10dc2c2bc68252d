"""What every result shares: its numbers in types that JSON has, and its table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from detailed_balance.analyzers.errors import DetailedBalanceError

__all__ = ["Result", "Table", "TableResult", "plain", "safe_name", "times"]

Table: TypeAlias = dict[str, list[Any]]
"""A table as columns of equal length, in order; ``pandas.DataFrame(table)`` takes it as it is."""


_LONGEST_NAME = 60
"""Longer keys are cut in sentences."""


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


class Result:
    """A frozen dataclass that says what was found and how.

    `_content` says what stands in `to_dict`; all fields, unless a subclass chooses.
    """

    __slots__ = ()

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

    def _content(self) -> Mapping[str, Any]:
        return self.to_table()
