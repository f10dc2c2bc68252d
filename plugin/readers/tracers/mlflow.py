"""Traces of MLflow: `Trace.to_json`, and the tables of `search_traces` as JSON, CSV or Parquet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.values import BadRecordError
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
from detailed_balance.readers.tracers.otel_records import to_otel_record

__all__ = ["looks_like", "read"]

_KINDS = {"CHAT_MODEL": "LLM", "LLM": "LLM"}
_NUMBERED = re.compile(r"(.+)_([1-9]\d{0,5})")
_NAMES = {
    "mlflow.spanInputs": "input.value",
    "mlflow.spanOutputs": "output.value",
    "mlflow.llm.model": "llm.model_name",
}


def looks_like(opening: Opening) -> bool:
    """Say whether a file begins with spans of MLflow, or is a table of traces."""
    return any(map(_is_span, peek_records(opening, _find_spans)))


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of traces, plain or gzip."""
    found = read_file(path, "trace", options, bad)
    return read_spans(unfold(found, _find_spans), to_span, options, bad)


def to_span(record: Mapping[str, Any]) -> Span:
    """Return a span of MLflow as a span; each of its attributes is a text of JSON.

    Raises
    ------
    BadRecordError
        Where it lacks an id or a start, or a value is of no use for its field.

    Examples
    --------
    >>> ids = {"trace_id": "5b8e", "span_id": "eee1", "start_time_unix_nano": 1735689600000000000}
    >>> span = to_span(ids | {"name": "find", "attributes": {"mlflow.spanType": '"TOOL"'}})
    >>> span.kind, span.name
    ('tool', 'find')
    """
    if isinstance(record.get("spans"), str):
        raise BadRecordError(
            "the spans of this trace are not JSON but the text of Python's objects; write what "
            "mlflow.search_traces() gives with to_json, or each trace with Trace.to_json()"
        )
    trace = parse_object(record.get("info"))
    written = parse_object(record.get("attributes"))
    attributes = {name: parse_json(value) for name, value in written.items()}
    for name, standard in _NAMES.items():
        if name in attributes:
            attributes.setdefault(standard, attributes[name])
    if kind := attributes.get("mlflow.spanType"):
        attributes.setdefault("openinference.span.kind", _KINDS.get(str(kind), kind))
    usage = parse_object(attributes.get("mlflow.chat.tokenUsage"))
    attributes.setdefault("llm.token_count.total", usage.get("total_tokens"))
    cost = parse_object(attributes.get("mlflow.llm.cost"))
    attributes.setdefault("llm.cost.total", cost.get("total_cost"))
    if session := _find_session(trace):
        attributes.setdefault("session.id", session)
    fields = {"traceId": trace["trace_id"]} if trace.get("trace_id") else {}
    made = read_otel_span(to_otel_record(record, attributes, **fields))
    failed = made.parent is None and trace.get("state") == "ERROR" and made.error is None
    return replace(made, error="") if failed else made


def _find_spans(record: Mapping[str, Any]) -> Parts:
    """Return the spans of a trace, or the trace that a table holds as JSON."""
    if trace := parse_object(record.get("trace")):
        return "trace", [trace]
    data = parse_object(record.get("data")) or record
    if (spans := find_list(data, "spans")) is None:
        return None
    about = parse_object(record.get("info")) or record
    info = {
        "trace_id": about.get("trace_id") or about.get("request_id"),
        "state": about.get("state") or about.get("status"),
        "metadata": about.get("trace_metadata") or about.get("request_metadata"),
        "tags": about.get("tags"),
    }
    names = _rename([span.get("name") if isinstance(span, dict) else None for span in spans])
    judged = {"info": info, "assessments": _read_assessments(about.get("assessments"))}
    return "span", [
        judged | span | {"name": name} if isinstance(span, dict) else span
        for span, name in zip(spans, names, strict=True)
    ]


def _rename(names: list[Any]) -> list[Any]:
    """Return the names of the spans of a trace without the numbers that MLflow gave to equal ones.

    Versions before 3 make ``find_1`` and ``find_2`` of two spans ``find``, and then no two spans
    of a trace have one name.

    Examples
    --------
    >>> _rename(["agent", "find_1", "find_2", "gpt_4"])
    ['agent', 'find', 'find', 'gpt_4']
    """
    found = [_NUMBERED.fullmatch(name) if isinstance(name, str) else None for name in names]
    if len(set(map(str, names))) < len(names):
        return names
    groups: dict[str, list[int]] = {}
    for match in found:
        if match:
            groups.setdefault(match[1], []).append(int(match[2]))
    equal = {name for name, numbers in groups.items() if numbers == [*range(1, len(numbers) + 1)]}
    equal = {name for name in equal if len(groups[name]) > 1 and name not in names}
    return [m[1] if m and m[1] in equal else n for m, n in zip(found, names, strict=True)]


def _find_session(trace: Mapping[str, Any]) -> Any:
    about = parse_object(trace.get("metadata")), parse_object(trace.get("tags"))
    return next((found for each in about if (found := each.get("mlflow.trace.session"))), None)


def _read_assessments(listed: Any) -> dict[str, Any]:
    """Return what was judged of a trace, by the name of the judgement."""
    found = [parse_object(each) for each in find_list({"all": listed}, "all") or ()]
    return {
        str(each.get("assessment_name", each.get("name"))): parse_object(each.get("feedback")).get(
            "value"
        )
        for each in found
    }


def _is_span(record: Mapping[str, Any]) -> bool:
    if "spans" in record and "trace" in record:  # columns of a table
        return "trace_metadata" in record or "request_metadata" in record
    attributes = parse_object(record.get("attributes"))
    return any(str(name).startswith("mlflow.") for name in attributes)
