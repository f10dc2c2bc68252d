"""Shared by the adapters: a span in the spelling of another tool becomes one as OTLP spells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.readers.spans.read import find_value
from detailed_balance.readers.spans.span import parse_json

__all__ = ["flatten", "to_otel_record"]

_DEEPEST = 20
_LONGEST_KEY = 500  # characters; a longer one comes from nesting that no convention has
_WHOLE = frozenset({"metadata", "input.value", "output.value"})
_FIELDS = {
    "traceId": ("traceId", "trace_id", "traceID", "context.trace_id"),
    "spanId": ("spanId", "span_id", "spanID", "context.span_id"),
    "parentSpanId": ("parentSpanId", "parent_span_id", "parent_id", "parentSpanID"),
    "name": ("name", "operationName"),
    "startTimeUnixNano": (
        *("startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime", "start_time_ns"),
    ),
    "endTimeUnixNano": (
        *("endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime", "end_time_ns"),
    ),
}
_CODE = ("status.code", "status.status_code", "status_code")
_MESSAGE = ("status.message", "status.description", "status_message")


def to_otel_record(span: Any, attributes: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a span with its fields as OTLP names them.

    Parameters
    ----------
    span : mapping
        The span, its fields named as OpenTelemetry's SDKs, Jaeger, Phoenix or MLflow do.
    attributes : mapping
        Its attributes as plain values.
    **fields
        Fields that are found in another way.

    Raises
    ------
    BadRecordError
        Where the span is not an object.

    Examples
    --------
    >>> span = {"context": {"trace_id": "0xa"}, "status": {"status_code": "StatusCode.ERROR"}}
    >>> record = to_otel_record(span, {"tool.name": "find"}, spanId="1")
    >>> record["traceId"], record["spanId"], record["status"]["code"]
    ('0xa', '1', 'ERROR')
    """
    if not isinstance(span, Mapping):
        raise BadRecordError("a span is a JSON object; this is another value")
    named = {name: _find(span, paths) for name, paths in _FIELDS.items()}
    code = str(_find(span, _CODE)).rpartition(".")[2].upper()
    events, links = parse_json(span.get("events")), parse_json(span.get("links"))
    return {
        **named,
        "status": {"code": code, "message": _find(span, _MESSAGE)},
        "events": [_read_event(event) for event in events] if isinstance(events, list) else [],
        "links": [_read_link(link) for link in links] if isinstance(links, list) else [],
        **fields,
        "attributes": attributes,
    }


def _find(span: Mapping[str, Any], paths: Iterable[str]) -> Any:
    values = (find_value(span, path) for path in paths)
    return next((value for value in values if value not in (None, "")), None)


def _read_event(event: Any) -> dict[str, Any]:
    if not isinstance(event, Mapping):
        return {}
    attributes = event.get("attributes")
    return {**(attributes if isinstance(attributes, Mapping) else {}), "name": event.get("name")}


def _read_link(link: Any) -> dict[str, Any]:
    found = link if isinstance(link, Mapping) else {}
    return {name: _find(found, _FIELDS[name]) for name in ("traceId", "spanId")}


def flatten(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested attributes under the names that they have in OpenTelemetry.

    What holds a message, an input or an output as a whole stays as it is.

    Examples
    --------
    >>> flatten({"llm": {"output_messages": [{"message": {"role": "assistant"}}]}, "tags": ["a"]})
    {'llm.output_messages.0.message.role': 'assistant', 'tags': ['a']}
    """
    found: dict[str, Any] = {}
    _flatten("", attributes, found, _DEEPEST)
    return found


def _flatten(key: str, value: Any, found: dict[str, Any], depth: int) -> None:
    """Put `value`, which is called `key`, into `found`."""
    parts: Iterable[tuple[Any, Any]] = ()
    if depth and len(key) < _LONGEST_KEY and key not in _WHOLE:
        if isinstance(value, Mapping):
            parts = value.items()
        elif isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
            parts = enumerate(value)
    if not parts and value is not None:
        found[key] = value
    for name, part in parts:
        _flatten(f"{key}.{name}" if key else str(name), part, found, depth - 1)
