"""Observations that were exported from Langfuse: JSON, JSON Lines, CSV or Parquet."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from detailed_balance.readers.records.base import (
    BadLines,
    LineRecord,
    ReadOptions,
    Record,
    peek_text,
)
from detailed_balance.readers.records.columns import FieldNames
from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.readers.spans.read import read_spans
from detailed_balance.readers.spans.semantic_conventions import SpanAttributes
from detailed_balance.readers.spans.span import (
    Span,
    is_control_flow,
    parse_error,
    parse_id,
    parse_json,
    parse_metadata,
    parse_name,
    parse_nanoseconds,
    parse_object,
    parse_tags,
)
from detailed_balance.readers.tables.delimited import read_rows
from detailed_balance.readers.tables.json_files import read_objects
from detailed_balance.readers.tables.parquet import (
    looks_like as is_parquet,
    read_columns,
    read_table,
)

__all__ = ["looks_like", "read"]

_KINDS = {"generation": "model", "tool": "tool", "retriever": "retriever"}
_CAPITAL = re.compile(r"([A-Z])")
_COLUMNS = FieldNames(state="id")


def looks_like(head: bytes, path: Path) -> bool:
    """Say whether a file begins with an observation, or is a table of them."""
    if is_parquet(head, path):
        return {"parent_observation_id", "trace_id"} <= read_columns(path)
    camel = b"parentObservationId" in head and b"traceId" in head
    return camel or (b"parent_observation_id" in head and b"trace_id" in head)


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of observations, plain or gzip."""
    head = peek_text(path, 100).removeprefix(BOM_UTF8).lstrip()
    records: Iterator[LineRecord]
    if is_parquet(head, path):
        records = read_table(path, options, bad)
    elif head[:1] in (b"{", b"["):
        records = _unfold(read_objects(path, options, bad))
    else:
        records = read_rows(path, replace(options, fields=_COLUMNS, states=None), bad)
    return read_spans(records, to_span, options, bad)


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
    if own is None or trace is None or start is None:
        raise BadRecordError("an observation has the fields 'id', 'traceId' and 'startTime'")
    kind = str(_find(record, "type") or "").lower()
    metadata = _read_metadata(record)
    end = start if kind == "event" else parse_nanoseconds(_find(record, "endTime"), "endTime")
    inputs, output = parse_json(_find(record, "input")), parse_json(_find(record, "output"))
    return Span(
        trace=trace,
        id=parse_id(own, "id") or str(own),
        parent=parse_id(_find(record, "parentObservationId"), "parentObservationId"),
        kind=_KINDS.get(kind, "chain"),
        name=parse_name(_find(record, "name"), "name") or kind or "span",
        start=start,
        end=end,
        metadata=metadata,
        tags=parse_tags(metadata.get("tags") or _find(record, "tags")),
        # Neither may mean that they were not exported.
        inputs={} if inputs is None and output is None else inputs,
        output=output,
        error=_read_error(record, output),
        model=parse_name(_find(record, "providedModelName") or _find(record, "model"), "model"),
    )


def _unfold(objects: Iterable[tuple[int | str, dict[str, Any]]]) -> Iterator[LineRecord]:
    """Yield the observations of traces and of pages of the API as records of their own."""
    for place, found in objects:
        inner = found.get("observations", found.get("data"))
        if not isinstance(inner, list) or "startTime" in found:
            yield place, found
            continue
        for number, record in enumerate(inner, 1):
            where = f"line {place}" if isinstance(place, int) else place
            around = {"traceId": found.get("id"), "sessionId": found.get("sessionId")}
            # A place among those of the file, so that what is wrong with it can be found.
            yield (
                f"{where}, observation {number}",
                around | record if isinstance(record, dict) else {},
            )


def _find(record: Mapping[str, Any], name: str) -> Any:
    """Return a field by its name in the API, or in exports: ``traceId`` or ``trace_id``."""
    value = record.get(name)
    value = record.get(_CAPITAL.sub(r"_\1", name).lower()) if value is None else value
    return None if value == "" else value


def _read_metadata(record: Mapping[str, Any]) -> dict[str, Any]:
    given = parse_object(_find(record, "metadata"))
    # Exports write values that are no texts as JSON.
    metadata = {k: parse_json(v) if str(v)[:1] in '"[{' else v for k, v in given.items()}
    attributes = metadata.pop("attributes", None)
    metadata = (
        SpanAttributes(attributes).metadata | metadata if isinstance(attributes, dict) else metadata
    )
    if (session := _find(record, "sessionId")) is not None:
        metadata.setdefault("session.id", session)
    return parse_metadata(metadata)


def _read_error(record: Mapping[str, Any], output: Any) -> str | None:
    """Return the type of the error; Langfuse keeps only what it says, so often it is not known."""
    named = parse_error(_find(record, "statusMessage")) or ""
    if is_control_flow(named):
        return named
    # A tool that answers with an error has answered.
    return named if _find(record, "level") == "ERROR" and output is None else None
