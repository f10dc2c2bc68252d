"""Observations of Langfuse, in a table or in traces: JSON, JSON Lines, CSV or Parquet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.readers.spans.read import read_spans
from detailed_balance.readers.spans.requests import read_requests
from detailed_balance.readers.spans.semantic_conventions import SpanAttributes
from detailed_balance.readers.spans.span import (
    Span,
    is_control_flow,
    parse_count,
    parse_error,
    parse_id,
    parse_json,
    parse_metadata,
    parse_name,
    parse_nanoseconds,
    parse_number,
    parse_object,
    parse_tags,
)
from detailed_balance.readers.tracers.files import (
    Parts,
    find_list,
    peek_records,
    read_file,
    unfold,
)

__all__ = ["looks_like", "read"]

_REMEDY = (
    "export all observations of each trace, with their types (GENERATION, TOOL, ...) or with the "
    "attributes in their metadata"
)
_KINDS = {
    "agent": "agent",
    "evaluator": "foreign",
    "generation": "model",
    "retriever": "retriever",
    "tool": "tool",
}
_CAPITAL = re.compile(r"([A-Z])")
_OF_TRACES = frozenset(
    ("sessionId", "userId", "observations", "observationCount", "htmlPath", "latency", "totalCost")
)
_ATTRIBUTES = "attributes."
_TOKENS = (("usageDetails", "total"), ("usage", "total", "totalTokens"), ("totalTokens",))
_COSTS = (
    ("costDetails", "total"),
    ("calculatedTotalCost",),
    ("totalCost",),
    ("usage", "totalCost"),
)


def looks_like(opening: Opening) -> bool:
    """Say whether a file begins with observations or traces, or is a table of them."""
    return any(map(_is_known, peek_records(opening, _find_observations)))


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of observations, plain or gzip."""
    records = unfold(read_file(path, "id", options, bad), _find_observations)
    return read_spans(records, to_span, options, bad, remedy=_REMEDY)


def to_span(record: Mapping[str, Any]) -> Span:
    """Return an observation as a span; its fields are written as the API or as exports do.

    Raises
    ------
    BadRecordError
        Where it lacks an id, a trace or a start, or a value is of no use for its field.

    Examples
    --------
    >>> found = {"id": "1", "traceId": "t", "type": "TOOL", "startTime": "2025-01-01T00:00:00Z"}
    >>> to_span(found).kind
    'tool'
    """
    own, trace = _find(record, "id"), parse_id(_find(record, "traceId"), "traceId")
    start = parse_nanoseconds(_find(record, "startTime"), "startTime")
    if _is_trace(record):
        raise BadRecordError(
            "this is a trace without its observations, which are its steps; export the table of "
            "observations, or each trace with its observations (GET /api/public/traces/ID)"
        )
    if own is None or trace is None or start is None:
        raise BadRecordError("an observation has the fields 'id', 'traceId' and 'startTime'")
    kind = str(_find(record, "type") or "").lower()
    metadata, attributes = _read_metadata(record)
    told = SpanAttributes(attributes, _find(record, "name"))
    # A program that sends spans of OpenTelemetry may leave it to their attributes what they are.
    sort = told.kind if kind == "span" and attributes else _KINDS.get(kind, "chain")
    name = told.name if kind == "span" and sort == "tool" else _find(record, "name")
    end = start if kind == "event" else parse_nanoseconds(_find(record, "endTime"), "endTime")
    inputs, output = parse_json(_find(record, "input")), parse_json(_find(record, "output"))
    if inputs is None and output is None and attributes:
        inputs, output = told.inputs, told.output
    parent = parse_id(_find(record, "parentObservationId"), "parentObservationId")
    # A tool that answers with an error has answered; what is no more than a span may be one.
    answered = output is not None and (sort == "tool" or (kind == "span" and parent is not None))
    return Span(
        trace=trace,
        id=parse_id(own, "id") or str(own),
        parent=parent,
        kind=sort,
        name=parse_name(name, "name") or kind or "span",
        start=start,
        end=end,
        metadata=metadata,
        tags=parse_tags(metadata.get("tags") or _find(record, "tags")),
        # Neither may mean that they were not exported.
        inputs={} if inputs is None and output is None else inputs,
        output=output,
        error=_read_error(record, answered),
        model=parse_name(_find(record, "providedModelName") or _find(record, "model"), "model"),
        tokens=parse_count(_find_usage(record, _TOKENS)) if sort == "model" else None,
        cost=parse_number(_find_usage(record, _COSTS)) if sort == "model" else None,
        asks=read_requests(output) if sort == "model" else None,
    )


def _find_observations(record: Mapping[str, Any]) -> Parts:
    """Return the elements of a page of the API, or the observations of a trace."""
    if _find(record, "startTime") is not None:
        return None
    if (page := find_list(record, "data")) is not None:
        return "element", page
    listed = find_list(record, "observations")
    if not listed or not isinstance(listed[0], dict):
        return None
    trace = parse_object(record.get("trace")) or record
    around = {
        "traceId": _find(trace, "id"),
        "sessionId": _find(trace, "sessionId"),
        "tags": trace.get("tags"),
        "trace": {name: trace.get(name) for name in ("name", "metadata", "userId")},
    }
    scores = find_list(record, "scores") or find_list(trace, "scores") or ()
    judged = [score for score in scores if isinstance(score, dict)]
    return "observation", [
        around | {"scores": _read_scores(judged, part)} | part if isinstance(part, dict) else part
        for part in listed
    ]


def _read_scores(scores: list[dict[str, Any]], observation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of a trace and of this observation by their names."""
    of = (None, "", observation.get("id"))
    return {
        str(score.get("name")): score["value"]
        if score.get("value") is not None
        else score.get("stringValue")
        for score in scores
        if _find(score, "observationId") in of
    }


def _is_trace(record: Mapping[str, Any]) -> bool:
    has_time = "timestamp" in record and not _has(record, "startTime")
    return has_time and sum(_has(record, name) for name in _OF_TRACES) > 1


def _find(record: Mapping[str, Any], name: str) -> Any:
    """Return a field by its name in the API, or in exports: ``traceId`` or ``trace_id``."""
    value = record.get(name)
    value = record.get(_snake(name)) if value is None else value
    return None if value == "" else value


def _has(record: Mapping[str, Any], name: str) -> bool:
    return name in record or _snake(name) in record


def _snake(name: str) -> str:
    return _CAPITAL.sub(r"_\1", name).lower()


def _find_usage(record: Mapping[str, Any], paths: tuple[tuple[str, ...], ...]) -> Any:
    """Return what a model took, as one of the versions of Langfuse says it."""
    for group, *names in paths:
        found = parse_json(_find(record, group))
        values = [found] if not names else [parse_object(found).get(name) for name in names]
        if any(value is not None for value in values):
            return next(value for value in values if value is not None)
    return None


def _read_metadata(record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metadata, and the attributes of OpenTelemetry that stand in them."""
    given = parse_object(_find(record, "metadata"))
    # Exports write values that are not texts as JSON.
    metadata = {k: parse_json(v) if str(v)[:1] in '"[{' else v for k, v in given.items()}
    attributes = parse_object(metadata.pop("attributes", None))
    for key in [key for key in metadata if key.startswith(_ATTRIBUTES)]:
        attributes[key.removeprefix(_ATTRIBUTES)] = metadata.pop(key)
    metadata = SpanAttributes(attributes).metadata | metadata
    if (session := _find(record, "sessionId")) is not None:
        metadata.setdefault("session.id", session)
    return parse_metadata(metadata), attributes


def _read_error(record: Mapping[str, Any], answered: bool) -> str | None:
    """Return the type of the error; Langfuse keeps only what it says, so often it is not known."""
    named = parse_error(_find(record, "statusMessage")) or ""
    if is_control_flow(named):
        return named
    return named if _find(record, "level") == "ERROR" and not answered else None


def _is_known(record: Mapping[str, Any]) -> bool:
    if _is_trace(record):
        return True
    inside = _has(record, "parentObservationId") or (_has(record, "startTime") and "type" in record)
    return "id" in record and _has(record, "traceId") and inside
