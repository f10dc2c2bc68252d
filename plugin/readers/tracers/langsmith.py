"""Runs that were exported from LangSmith: JSON Lines, a list, or the Parquet of bulk export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from detailed_balance.readers.records.base import BadLines, ReadOptions, Record, peek_text
from detailed_balance.readers.records.values import BadRecordError, parse_text
from detailed_balance.readers.spans.read import read_spans
from detailed_balance.readers.spans.span import (
    Span,
    parse_error,
    parse_json,
    parse_metadata,
    parse_name,
    parse_nanoseconds,
    parse_object,
    parse_tags,
    unwrap,
)
from detailed_balance.readers.tables.json_files import read_objects
from detailed_balance.readers.tables.parquet import (
    looks_like as is_parquet,
    read_columns,
    read_table,
)

__all__ = ["looks_like", "read"]

_KINDS = {"llm": "model", "tool": "tool", "retriever": "retriever"}


def looks_like(head: bytes, path: Path) -> bool:
    """Say whether a file begins with a run, or is a table of runs."""
    if is_parquet(head, path):
        return {"run_type", "trace_id", "start_time"} <= read_columns(path)
    return b'"run_type"' in head and (b'"trace_id"' in head or b'"dotted_order"' in head)


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of runs, plain or gzip."""
    is_table = is_parquet(peek_text(path, 4), path)
    records = (read_table if is_table else read_objects)(path, options, bad)
    return read_spans(records, to_span, options, bad)


def to_span(run: Mapping[str, Any]) -> Span:
    """Return a run as a span; its nested fields may be texts of JSON, as bulk export writes them.

    Raises
    ------
    BadRecordError
        Where it lacks an id, a type or a start, or a value is of no use for its field.

    Examples
    --------
    >>> run = {"id": "1", "run_type": "llm", "start_time": "1970-01-01T00:00:01", "name": "chat"}
    >>> to_span(run).kind
    'model'
    """
    own = parse_name(run.get("id"), "id")
    start = parse_nanoseconds(run.get("start_time"), "start_time")
    kind = parse_name(run.get("run_type"), "run_type")
    if own is None or start is None or kind is None:
        raise BadRecordError("a run has the fields 'id', 'run_type' and 'start_time'")
    trace, parent = _read_ancestors(run)
    extra = parse_object(run.get("extra"))
    metadata = parse_metadata(parse_object(extra.get("metadata")))
    error = parse_error(run.get("error"))
    return Span(
        trace=trace or own,
        id=own,
        parent=parent,
        kind=_KINDS.get(kind, "chain"),
        name=parse_name(run.get("name"), "name") or kind,
        start=start,
        end=parse_nanoseconds(run.get("end_time"), "end_time"),
        metadata=metadata,
        tags=parse_tags(run.get("tags")),
        inputs=_read_value(run, "inputs"),
        output=_read_value(run, "outputs"),
        error="" if error is None and run.get("status") == "error" else error,
        model=_find_model(metadata, parse_object(extra.get("invocation_params"))),
    )


def _read_ancestors(run: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the ids of the trace and of the parent; `dotted_order` has the ids of both."""
    parts = (parse_text(run.get("dotted_order"), "dotted_order") or "").split(".")
    above = [part.partition("Z")[2] for part in parts if "Z" in part]
    trace, parent = parse_name(run.get("trace_id"), "trace_id"), run.get("parent_run_id")
    parent = parse_name(parent, "parent_run_id")
    return trace or next(iter(above), None), parent or (above[-2] if len(above) > 1 else None)


def _read_value(run: Mapping[str, Any], field: str) -> Any:
    """Return what a run was given or gave; an empty object where that was left out."""
    value = parse_json(run.get(field))
    return {} if value is None else unwrap(value, field.removesuffix("s"))


def _find_model(metadata: Mapping[str, Any], parameters: Mapping[str, Any]) -> str | None:
    named = (metadata.get("ls_model_name"), parameters.get("model"), parameters.get("model_name"))
    return parse_name(next((name for name in named if name), None), "model")
