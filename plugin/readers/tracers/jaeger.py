"""Traces of Jaeger: the JSON of its API, and of its "Download JSON"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.readers.spans.read import read_spans
from detailed_balance.readers.spans.semantic_conventions import read_otel_span
from detailed_balance.readers.spans.span import Span, parse_json, parse_object
from detailed_balance.readers.tables.json_files import read_objects
from detailed_balance.readers.tracers.files import Parts, find_list, peek_records, unfold
from detailed_balance.readers.tracers.otel_records import to_otel_record

__all__ = ["looks_like", "read"]


def looks_like(opening: Opening) -> bool:
    """Say whether a file begins with spans of Jaeger."""
    return any(map(_is_span, peek_records(opening, _find_spans)))


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of spans, plain or gzip."""
    return read_spans(unfold(read_objects(path, options, bad), _find_spans), to_span, options, bad)


def to_span(record: Mapping[str, Any]) -> Span:
    """Return a span of Jaeger as a span.

    Raises
    ------
    BadRecordError
        Where it lacks an id or a start, or a value is of no use for its field.

    Examples
    --------
    >>> tags = [{"key": "gen_ai.operation.name", "type": "string", "value": "execute_tool"}]
    >>> ids = {"traceID": "5b8e", "spanID": "eee1", "operationName": "execute_tool find"}
    >>> span = to_span(ids | {"startTime": 1735689600000000, "duration": 5, "tags": tags})
    >>> span.kind, span.end - span.start
    ('tool', 5000)
    """
    tags = _read_tags(record.get("tags"))
    failed = str(tags.get("error")).lower() == "true"
    above, links = _find_parent(record)
    return read_otel_span(
        to_otel_record(
            record,
            tags,
            parentSpanId=above,
            links=links,
            endTimeUnixNano=_find_end(record),
            status={
                "code": "ERROR" if failed else tags.get("otel.status_code"),
                "message": tags.get("otel.status_description"),
            },
            events=[_read_log(log) for log in find_list(record, "logs") or ()],
        )
    )


def _find_spans(record: Mapping[str, Any]) -> Parts:
    """Return the traces of a document, or the spans of a trace, each with its process."""
    if (traces := find_list(record, "data")) is not None:
        return "trace", traces
    if (spans := find_list(record, "spans")) is None:
        return None
    processes = parse_object(record.get("processes"))
    return "span", [_add_process(span, processes) for span in spans]


def _add_process(span: Any, processes: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(span, dict):
        return {}
    process = parse_object(processes.get(str(span.get("processID"))))
    resource = {"service.name": process.get("serviceName"), **_read_tags(process.get("tags"))}
    return span | {"resource": resource}


def _read_tags(listed: Any) -> dict[str, Any]:
    """Return tags as a mapping; lists stand in them as JSON."""
    found = {}
    for tag in listed if isinstance(listed, list) else ():
        if isinstance(tag, dict) and isinstance(tag.get("key"), str):
            value = tag.get("value")
            found[tag["key"]] = parse_json(value) if str(value)[:1] == "[" else value
    return found


def _read_log(log: Any) -> dict[str, Any]:
    fields = _read_tags(parse_object(log).get("fields"))
    return {"name": fields.get("event"), **fields}


def _find_parent(span: Mapping[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
    """Return the id of the span around this one, and the references to spans of other traces."""
    trace = span.get("traceID")
    parents: dict[Any, Any] = {}
    links = []
    for reference in map(parse_object, find_list(span, "references") or ()):
        if reference.get("traceID", trace) == trace:
            parents.setdefault(str(reference.get("refType")), reference.get("spanID"))
        else:
            links.append({"traceId": reference["traceID"], "spanId": reference.get("spanID")})
    above = parents.get("CHILD_OF") or parents.get("FOLLOWS_FROM") or span.get("parentSpanID")
    return above, links


def _find_end(span: Mapping[str, Any]) -> Any:
    """Return the end in the unit of the start, microseconds."""
    start, duration = span.get("startTime"), span.get("duration")
    if start is None or duration is None:
        return None
    try:
        return int(start) + int(duration)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRecordError(
            "'startTime' and 'duration' must be whole numbers of microseconds"
        ) from error


def _is_span(record: Mapping[str, Any]) -> bool:
    return "spanID" in record and "operationName" in record
