"""Spans of OpenTelemetry as OTLP JSON, one document or one a line; traces of Grafana Tempo too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from detailed_balance.readers.records.base import BadLines, LineRecord, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.readers.spans.read import read_spans
from detailed_balance.readers.spans.semantic_conventions import read_otel_span
from detailed_balance.readers.tables.json_files import read_objects
from detailed_balance.readers.tracers.files import peek_records

__all__ = ["looks_like", "read"]

_GROUPS = ("resourceSpans", "batches")
_AROUND = ("trace", "result")
_BARE = ("data", "spans")
"""Where spans stand without a group, as in the API of Phoenix."""
_SCOPES = ("scopeSpans", "instrumentationLibrarySpans")


def looks_like(opening: Opening) -> bool:
    """Say whether a file begins with spans, by themselves or in groups."""
    return any(map(_is_known, peek_records(opening)))


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of spans, plain or gzip."""
    return read_spans(_records(read_objects(path, options, bad), bad), read_otel_span, options, bad)


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
        if not number and _find_groups(document) is None:
            bad.report(
                place,
                "a document of OTLP has a list 'resourceSpans', one of Tempo 'batches'; this one "
                "has none",
            )


_CAPITAL = re.compile(r"([A-Z])")
_FIELDS = (
    "traceId",
    "spanId",
    "parentSpanId",
    "name",
    "startTimeUnixNano",
    "endTimeUnixNano",
    "status",
    "links",
)
_DEEPEST = 50


def unfold(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each span of a document with the attributes of its resource.

    Examples
    --------
    >>> list(unfold({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "a"}]}]}]}))
    [({'name': 'a'}, None)]
    """
    for span in _find_bare(document):
        yield span, None
    for group in _find_groups(document) or ():
        resource = _get(_get(group, "resource"), "attributes")
        for scope in (scope for name in _SCOPES for scope in _items(group, name)):
            for span in _items(scope, "spans"):
                yield span, resource


def _is_known(document: Mapping[str, Any]) -> bool:
    if any(_get(span, "startTimeUnixNano") is not None for span in _find_bare(document)):
        return True
    groups = _find_groups(document)
    named = any(_get(part, "resourceSpans") is not None for part in (document, *_inner(document)))
    return named or any(_get(group, name) is not None for group in groups or () for name in _SCOPES)


def _find_bare(document: Any) -> list[Any]:
    """Return the spans that stand in no group: the document itself, or those of its list."""
    if _get(document, "spanId") is not None:
        return [document]
    if _find_groups(document) is not None:
        return []
    return [span for name in _BARE for span in _list(_get(document, name))]


def _inner(document: Any) -> list[dict[str, Any]]:
    return [part for name in _AROUND if isinstance(part := _get(document, name), dict)]


def _find_groups(document: Any) -> list[Any] | None:
    """Return the spans of a document, grouped by what sent them; None where there are none."""
    for name in _GROUPS:
        if _get(document, name) is not None:
            return _items(document, name)
    return next(map(_find_groups, _inner(document)), None)


def _items(value: Any, name: str) -> list[Any]:
    """Return what stands in a list; what stands in its place is passed on, to be complained of."""
    if not isinstance(value, dict):
        return [value]
    found = _get(value, name)
    return found if isinstance(found, list) else [] if found is None else [found]


def plain_span(span: Any, resource: Any) -> dict[str, Any]:
    """Return a span with plain values: its fields, and its attributes, as fields and by themselves.

    Raises
    ------
    BadRecordError
        Where it is not an object.

    Examples
    --------
    >>> attribute = {"key": "tool.name", "value": {"stringValue": "find"}}
    >>> plain_span({"spanId": "1", "attributes": [attribute]}, None)["tool.name"]
    'find'
    """
    if not isinstance(span, dict):
        raise BadRecordError("a span is a JSON object; this is another value")
    attributes = _read_attributes(_get(span, "attributes"))
    return {
        **attributes,
        **{name: _get(span, name) for name in _FIELDS},
        "events": [_read_event(event) for event in _list(_get(span, "events"))],
        "attributes": attributes,
        "resource": _read_attributes(resource),
    }


def _read_event(event: Any) -> dict[str, Any]:
    return {"name": _get(event, "name"), **_read_attributes(_get(event, "attributes"))}


def _read_attributes(listed: Any, depth: int = _DEEPEST) -> dict[str, Any]:
    found = dict(listed) if isinstance(listed, dict) else {}
    for attribute in _list(listed):
        key = _get(attribute, "key")
        if isinstance(key, str):
            found[key] = _read_value(_get(attribute, "value"), depth)
    return found


def _read_value(value: Any, depth: int) -> Any:
    """Return what an ``AnyValue`` of OTLP holds; below 50 levels nothing."""
    if not isinstance(value, dict) or not value or not depth:
        return None
    # A dump of protobuf names the other kinds too, each with null.
    kind, held = next((item for item in value.items() if item[1] is not None), ("", None))
    match kind.replace("_", "").lower():
        case "arrayvalue":
            return [_read_value(part, depth - 1) for part in _list(_get(held, "values"))]
        case "kvlistvalue":
            return _read_attributes(_get(held, "values"), depth - 1)
        case "intvalue":
            return _read_integer(held)
        case _:
            return held if isinstance(held, str | float | int) else None


def _read_integer(value: Any) -> Any:
    """Return a whole number, which OTLP writes as a text; what is none stays as it is."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return value if isinstance(value, str) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _get(value: Any, name: str) -> Any:
    """Return a field by its name in OTLP JSON, or by the one that protobuf gives it."""
    if not isinstance(value, Mapping):
        return None
    return value[name] if name in value else value.get(_CAPITAL.sub(r"_\1", name).lower())
