"""Spans of Phoenix: those of its API, and its spans dataframes as JSON, CSV or Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.spans.read import read_spans
from detailed_balance.readers.spans.semantic_conventions import read_otel_span
from detailed_balance.readers.spans.span import Span, parse_json, parse_object
from detailed_balance.readers.tracers.files import (
    Parts,
    find_list,
    peek_records,
    read_file,
    unfold,
)
from detailed_balance.readers.tracers.otel_records import flatten, to_otel_record

__all__ = ["looks_like", "read"]

_KIND = "openinference.span.kind"
_PREFIX = "attributes."


def looks_like(opening: Opening) -> bool:
    """Say whether a file begins with spans of Phoenix, or is a table of them."""
    return any(map(_is_span, peek_records(opening, _find_spans)))


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of spans, plain or gzip."""
    found = read_file(path, "context.span_id", options, bad, column="context.trace_id")
    return read_spans(unfold(found, _find_spans), to_span, options, bad)


def to_span(record: Mapping[str, Any]) -> Span:
    """Return a span of Phoenix as a span; its attributes are nested, flat, or columns of a table.

    Raises
    ------
    BadRecordError
        Where it lacks an id or a start, or a value is of no use for its field.

    Examples
    --------
    >>> row = {"context.trace_id": "5b8e", "context.span_id": "eee1", "start_time": 1735689600000}
    >>> to_span(row | {"span_kind": "TOOL", "attributes.tool.name": "find"}).name
    'find'
    """
    columns = {
        name.removeprefix(_PREFIX): parse_json(value) if ".llm." in name else value
        for name, value in record.items()
        if name.startswith(_PREFIX)
    }
    attributes = flatten(parse_object(record.get("attributes")) | columns)
    if record.get("span_kind") not in (None, "", "UNKNOWN"):
        attributes.setdefault(_KIND, record["span_kind"])
    return read_otel_span(to_otel_record(record, attributes))


def _find_spans(record: Mapping[str, Any]) -> Parts:
    """Return the traces of a page of the API, or the spans of a page or a trace."""
    listed = (
        None
        if "start_time" in record and "spans" not in record
        else find_list(record, "data", "spans")
    )
    if listed is None:
        return None
    trace = {"trace_id": record.get("trace_id")}
    return "element", [trace | part if isinstance(part, dict) else part for part in listed]


def _is_span(record: Mapping[str, Any]) -> bool:
    """Tell its spans by their ids, and from those of a console by what kind they are."""
    if "context.trace_id" in record:
        return "context.span_id" in record or "parent_id" in record
    ids = parse_object(record.get("context")) or record
    return {"trace_id", "span_id"} <= ids.keys() and "span_kind" in record
