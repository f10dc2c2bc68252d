"""any-agent: its traces, whose spans are those of OpenTelemetry as Python objects write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from detailed_balance.readers.messages.agent_steps import get_objects, get_part
from detailed_balance.readers.records.base import BadLines, LineRecord, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.readers.spans.read import read_spans
from detailed_balance.readers.spans.semantic_conventions import read_otel_span
from detailed_balance.readers.spans.span import Span
from detailed_balance.readers.tables.json_files import read_objects
from detailed_balance.readers.tracers.otel_records import to_otel_record

__all__ = ["looks_like", "read"]

_OPERATION = "gen_ai.operation.name"
_ROOT = 1  # the id of an agent whose own span is not in its trace


def looks_like(opening: Opening) -> bool:
    """Say whether a file holds traces of any-agent."""
    spans = opening.first.get("spans")
    return "final_output" in opening.first and isinstance(spans, list)


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the moves of each trace, which is one run of an agent, as of any spans."""
    return read_spans(_find_spans(path, options, bad), _to_span, options, bad)


def _find_spans(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[LineRecord]:
    """Yield the spans; those whose parent was not kept are inside of the agent."""
    for place, trace in read_objects(path, options, bad):
        spans = get_objects(trace, "spans")
        if not spans:
            bad.report(place, "it has no list 'spans' of objects")
            continue
        known = {_read_id(span, "context"): span for span in spans}
        roots = [id_ for id_, span in known.items() if _read_id(span, "parent") is None]
        root = roots[0] if roots else _ROOT
        agent = _make_agent(spans)
        if not roots and _is_readable(agent):
            bad.accepted -= 1  # it is not a record of the file
            yield f"{place}, agent", agent
        for number, span in enumerate(spans, 1):
            if (above := _read_id(span, "parent")) is not None and above not in known:
                span = {**span, "parent": {"span_id": root}}
            yield f"{place}, span {number}", span


def _make_agent(spans: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the span of an agent around others."""
    begun, done = ([span.get(name) for span in spans] for name in ("start_time", "end_time"))
    return {
        "name": "invoke_agent",
        "context": {**get_part(spans[0], "context"), "span_id": _ROOT},
        "start_time": min((time for time in begun if type(time) is int), default=None),
        "end_time": max((time for time in done if type(time) is int), default=None),
        "attributes": {_OPERATION: "invoke_agent"},
    }


def _is_readable(agent: dict[str, Any]) -> bool:
    """Say whether a span that is made of others is one: what is wrong with those they say."""
    try:
        _to_span(agent)
    except BadRecordError:
        return False
    return True


def _read_id(span: dict[str, Any], name: str) -> Any:
    id_ = get_part(span, name).get("span_id")
    return id_ if isinstance(id_, int | str) else None


def _to_span(record: Mapping[str, Any]) -> Span:
    """Return a span; its ids are numbers, and its calls of a model are named otherwise."""
    context, attributes = get_part(record, "context"), dict(get_part(record, "attributes"))
    if attributes.get(_OPERATION) == "call_llm":
        attributes[_OPERATION] = "chat"
        if '"tool.name"' in str(attributes.get("gen_ai.output")):
            attributes["gen_ai.response.finish_reasons"] = ["tool_calls"]
    ids = {
        "traceId": _to_hex(context.get("trace_id"), 32),
        "spanId": _to_hex(context.get("span_id"), 16),
        "parentSpanId": _to_hex(get_part(record, "parent").get("span_id"), 16),
    }
    return read_otel_span(to_otel_record(record, attributes, **ids))


def _to_hex(number: Any, width: int) -> Any:
    return f"{number:0{width}x}" if type(number) is int and number >= 0 else number
