"""Spans of OpenTelemetry, as OTLP writes them into JSON: one document, or one a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.rows import LineRecord
from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.readers.spans._otlp_json import plain_span, unfold
from detailed_balance.readers.spans._read import read_spans
from detailed_balance.readers.spans.semantic_conventions import Meaning
from detailed_balance.readers.spans.span import (
    Span,
    error_type,
    is_control_flow,
    parse_error,
    parse_id,
    parse_nanoseconds,
)
from detailed_balance.readers.tables.json_files import read_objects

__all__ = ["looks_like", "read", "to_span"]

_FAILED = (2, "2", "STATUS_CODE_ERROR", "ERROR")


def looks_like(head: bytes, path: Path) -> bool:
    """Say whether a file begins with spans."""
    return b'"resourceSpans"' in head or b'"resource_spans"' in head


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of spans, plain or gzip."""
    return read_spans(_records(read_objects(path, options, bad), bad), to_span, options, bad)


def to_span(record: Mapping[str, Any]) -> Span:
    """Return an OTLP span, its attributes already plain values, as a span.

    Raises
    ------
    BadRecordError
        Where it lacks an id or a start, or a value is of no use for its field.

    Examples
    --------
    >>> span = {"traceId": "5b8e", "spanId": "eee1", "startTimeUnixNano": "1", "name": "execute_tool find"}
    >>> told = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "find"}
    >>> found = to_span(span | {"attributes": told})
    >>> found.kind, found.name
    ('tool', 'find')
    """  # noqa: E501 - a doctest's code stands in one line
    trace, own = (
        parse_id(record.get("traceId"), "traceId"),
        parse_id(record.get("spanId"), "spanId"),
    )
    start = parse_nanoseconds(record.get("startTimeUnixNano"), "startTimeUnixNano")
    if trace is None or own is None or start is None:
        raise BadRecordError("a span has the fields 'traceId', 'spanId' and 'startTimeUnixNano'")
    meaning = Meaning(record["attributes"], record.get("name"))
    return Span(
        trace=trace,
        id=own,
        parent=parse_id(record.get("parentSpanId"), "parentSpanId"),
        kind=meaning.kind,
        name=meaning.name,
        start=start,
        # A span is written when it has ended; an end of 0 says that it was not.
        end=parse_nanoseconds(record.get("endTimeUnixNano"), "endTimeUnixNano") or None,
        metadata=meaning.metadata,
        tags=meaning.tags,
        inputs=meaning.inputs,
        output=meaning.output,
        error=_read_error(record, meaning),
        model=meaning.model,
    )


def _records(
    documents: Iterable[tuple[int | str, dict[str, Any]]], bad: BadLines
) -> Iterator[LineRecord]:
    """Yield the spans of documents as records of their own."""
    for place, document in documents:
        number = 0
        for number, (span, resource) in enumerate(unfold(document), 1):
            where = f"line {place}" if isinstance(place, int) else place
            try:
                yield f"{where}, span {number}", plain_span(span, resource)
            except BadRecordError as error:
                bad.report(f"{where}, span {number}", str(error))
        if not number and "resourceSpans" not in document and "resource_spans" not in document:
            bad.report(place, "a document of OTLP has a list 'resourceSpans'; this one has none")


def _read_error(record: Mapping[str, Any], meaning: Meaning) -> str | None:
    """Return the type of the error: the exception that was recorded tells, or else the status."""
    recorded = (event.get("exception.type") for event in reversed(record.get("events") or ()))
    raised = error_type(next((kind for kind in recorded if kind), ""))
    status = record.get("status")
    status = status if isinstance(status, dict) else {}
    if status.get("code") in _FAILED:
        named = error_type(meaning.find("error.type"))
        return raised or named or parse_error(status.get("message")) or ""
    # What only looks like an error to Python is none to most exporters.
    told = raised or parse_error(meaning.find("langfuse.observation.status_message")) or ""
    return told if is_control_flow(told) else None
