"""any-agent: its traces, whose spans are those of OpenTelemetry as Python objects write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from detailed_balance.readers.records.base import BadLines, LineRecord, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.sessions._steps import get_part
from detailed_balance.readers.spans.read import read_spans
from detailed_balance.readers.spans.semantic_conventions import read_otel_span
from detailed_balance.readers.spans.span import Span
from detailed_balance.readers.tables.json_files import read_objects
from detailed_balance.readers.tracers.otel_records import to_otel_record

__all__ = ["looks_like", "read"]

_OPERATION, _MODEL = "gen_ai.operation.name", {"call_llm": "chat"}


def looks_like(opening: Opening) -> bool:
    """Say whether a file holds traces of any-agent."""
    spans = opening.first.get("spans")
    return "final_output" in opening.first and isinstance(spans, list)


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the moves of each trace, as of any spans."""
    return read_spans(_find_spans(path, options, bad), _to_span, options, bad)


def _find_spans(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[LineRecord]:
    for place, trace in read_objects(path, options, bad):
        spans = trace.get("spans")
        if not isinstance(spans, list):
            bad.report(place, "it has no list 'spans'")
            continue
        for number, span in enumerate(spans, 1):
            yield f"{place}, span {number}", span if isinstance(span, dict) else {}


def _to_span(record: Mapping[str, Any]) -> Span:
    """Return a span; its ids are numbers, and its calls of a model are named otherwise."""
    context, attributes = get_part(record, "context"), get_part(record, "attributes")
    operation = attributes.get(_OPERATION)
    if isinstance(operation, str) and operation in _MODEL:
        attributes = {**attributes, _OPERATION: _MODEL[operation]}
    ids = {
        "traceId": _to_hex(context.get("trace_id"), 32),
        "spanId": _to_hex(context.get("span_id"), 16),
        "parentSpanId": _to_hex(get_part(record, "parent").get("span_id"), 16),
    }
    return read_otel_span(to_otel_record(record, attributes, **ids))


def _to_hex(number: Any, width: int) -> Any:
    return f"{number:0{width}x}" if type(number) is int and number >= 0 else number
