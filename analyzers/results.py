"""What every result shares: JSON-safe values and tables as columns."""

from __future__ import annotations

import dataclasses
import math
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from detailed_balance.analyzers.errors import DetailedBalanceError

__all__ = ["Table", "plain", "times", "to_frame"]

Table: TypeAlias = dict[str, list[Any]]
"""A table as columns of equal length, in order; ``pandas.DataFrame(table)`` takes it as it is."""


def times(count: int) -> str:
    """Say how often, in words that fit a sentence.

    Examples
    --------
    >>> times(1), times(0), times(2500)
    ('once', 'never', '2,500 times')
    """
    return {0: "never", 1: "once"}.get(count, f"{count:,} times")


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
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"name": type(value).__name__, **plain(fields)}
    return value if isinstance(value, str | int | bool | type(None)) else repr(value)


def to_frame(table: Table) -> Any:
    """Return `table` as a pandas DataFrame.

    Raises
    ------
    DetailedBalanceError
        Where pandas is not installed; the columns are there without it.
    """
    try:
        pandas = import_module("pandas")
    except ImportError:
        raise DetailedBalanceError(
            "pandas is not installed: pip install pandas, or use to_table(), which gives the same "
            "columns as a dict of lists"
        ) from None
    return pandas.DataFrame(table)
