"""Data frames of steps or moves as rows."""

from __future__ import annotations

from datetime import date
from typing import Any

from detailed_balance.analyzers.inputs import is_frame


def find_rows(source: object) -> list[dict[str, Any]] | None:
    """Return a data frame of steps or moves as rows; None for anything else."""
    if is_frame(source, "pandas"):
        frame: Any = source
        names = [str(name) for name in frame.columns]
        columns = [list(map(_plain, frame.iloc[:, i].tolist())) for i in range(len(names))]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if is_frame(source, "polars"):
        return [{name: _plain(value) for name, value in row.items()} for row in source.to_dicts()]  # type: ignore[attr-defined] # a polars frame
    return None


def _plain(value: Any) -> Any:
    """Return a cell as a reader takes it: None where it is missing, a date as text."""
    if value is None or type(value).__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, float) and value != value:
        return None
    return value.isoformat() if isinstance(value, date) else value
