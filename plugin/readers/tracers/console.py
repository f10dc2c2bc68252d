"""Spans that the ``ConsoleSpanExporter`` of OpenTelemetry prints: one JSON object after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.spans.read import read_spans
from detailed_balance.readers.spans.semantic_conventions import read_otel_span
from detailed_balance.readers.spans.span import Span, parse_object
from detailed_balance.readers.tables.json_files import read_objects
from detailed_balance.readers.tracers.files import peek_records
from detailed_balance.readers.tracers.otel_records import to_otel_record

__all__ = ["looks_like", "read"]


def looks_like(opening: Opening) -> bool:
    """Say whether a file begins with a printed span."""
    return any(map(_is_span, peek_records(opening)))


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of spans, plain or gzip."""
    return read_spans(read_objects(path, options, bad), to_span, options, bad)


def to_span(record: Mapping[str, Any]) -> Span:
    """Return a printed span as a span.

    Raises
    ------
    BadRecordError
        Where it lacks an id or a start, or a value is of no use for its field.

    Examples
    --------
    >>> ids = {"context": {"trace_id": "0x5b8e", "span_id": "0xeee1"}, "parent_id": None}
    >>> printed = {"name": "execute_tool find", "start_time": "2025-01-01T00:00:00.000001Z"}
    >>> to_span(ids | printed | {"attributes": {"gen_ai.tool.name": "find"}}).start
    1735689600000001000
    """
    resource = parse_object(record.get("resource")).get("attributes")
    attributes = parse_object(record.get("attributes"))
    return read_otel_span(to_otel_record(record, attributes, resource=resource))


def _is_span(record: Mapping[str, Any]) -> bool:
    context = parse_object(record.get("context"))
    return {"trace_id", "span_id"} <= context.keys() and "parent_id" in record
