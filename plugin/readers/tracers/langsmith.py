"""Runs of LangSmith, flat or nested (``child_runs``): JSON, CSV, the Parquet of bulk export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.records.values import BadRecordError, parse_text
from detailed_balance.readers.spans.read import find_value, read_spans
from detailed_balance.readers.spans.requests import read_requests
from detailed_balance.readers.spans.span import (
    Span,
    parse_count,
    parse_error,
    parse_json,
    parse_metadata,
    parse_name,
    parse_nanoseconds,
    parse_number,
    parse_object,
    parse_tags,
    unwrap,
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
    "export the runs inside of each root too: langsmith trace export, "
    "client.list_runs(trace_id=...), or client.read_run(id, load_child_runs=True)"
)
_KINDS = {"llm": "model", "tool": "tool", "retriever": "retriever"}


def looks_like(opening: Opening) -> bool:
    """Say whether a file begins with runs, or is a table of them."""
    return any(map(_is_run, peek_records(opening, _find_runs)))


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions of runs, plain or gzip."""
    records = unfold(read_file(path, "run_type", options, bad), _find_runs)
    return read_spans(records, to_span, options, bad, remedy=_REMEDY)


def to_span(run: Mapping[str, Any]) -> Span:
    """Return a run as a span; its nested fields may be texts of JSON, as bulk export writes them.

    Raises
    ------
    BadRecordError
        Where it lacks an id, a type or a start, or a value is of no use for its field.

    Examples
    --------
    >>> run = {"id": "1", "run_type": "llm", "start_time": "1970-01-01T00:00:01", "name": "chat"}
    >>> to_span(run).kind
    'model'
    """
    own = parse_name(run.get("id") or run.get("run_id"), "id")
    start = parse_nanoseconds(run.get("start_time"), "start_time")
    kind = parse_name(run.get("run_type"), "run_type")
    if own is None or start is None or kind is None:
        raise BadRecordError("a run has the fields 'id' (or 'run_id'), 'run_type' and 'start_time'")
    trace, parent = _read_ancestors(run)
    extra = parse_object(run.get("extra"))
    given = extra.get("metadata") or run.get("metadata") or run.get("custom_metadata")
    metadata = parse_metadata(parse_object(given))
    error = parse_error(run.get("error"))
    return Span(
        trace=trace or own,
        id=own,
        parent=parent,
        kind=_KINDS.get(kind, "chain"),
        name=parse_name(run.get("name"), "name") or kind,
        start=start,
        end=parse_nanoseconds(run.get("end_time"), "end_time"),
        metadata=metadata,
        tags=parse_tags(run.get("tags")),
        inputs=_read_value(run, "inputs"),
        output=_read_value(run, "outputs"),
        error="" if error is None and run.get("status") == "error" else error,
        model=_find_model(metadata, parse_object(extra.get("invocation_params"))),
        # Of a run with runs inside, LangSmith adds up what they took.
        tokens=parse_count(_find_usage(run, "total_tokens")) if kind == "llm" else None,
        cost=parse_number(_find_usage(run, "total_cost")) if kind == "llm" else None,
        asks=read_requests(_read_value(run, "outputs")) if kind == "llm" else None,
    )


def _find_runs(record: Mapping[str, Any]) -> Parts:
    """Return the runs of a page or a trace, or a run and those inside of it."""
    if "run_type" not in record:
        listed = find_list(record, "runs")
        return None if listed is None else ("run", listed)
    inner = find_list(record, "child_runs")
    if not inner:
        return None
    above = {
        "trace_id": record.get("trace_id") or record.get("id"),
        "parent_run_id": record.get("id") or record.get("run_id"),
    }
    own = {name: value for name, value in record.items() if name != "child_runs"}
    below = [
        above | {k: v for k, v in run.items() if v is not None} if isinstance(run, dict) else run
        for run in inner
    ]
    return "run", [own, *below]


def _find_usage(run: Mapping[str, Any], name: str) -> Any:
    """Return a sum that stands in the run, or in what the CLI or the model says of its usage."""
    groups = ("token_usage", "costs", "outputs.usage_metadata")
    found = (find_value(run, path) for path in (name, *(f"{group}.{name}" for group in groups)))
    return next((value for value in found if value is not None), None)


def _read_ancestors(run: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the ids of the trace and of the parent; `dotted_order` has the ids of both."""
    parts = (parse_text(run.get("dotted_order"), "dotted_order") or "").split(".")
    above = [part.partition("Z")[2] for part in parts if "Z" in part]
    trace, parent = parse_name(run.get("trace_id"), "trace_id"), run.get("parent_run_id")
    parent = parse_name(parent, "parent_run_id")
    return trace or next(iter(above), None), parent or (above[-2] if len(above) > 1 else None)


def _read_value(run: Mapping[str, Any], field: str) -> Any:
    """Return what a run was given or gave; an empty object where that was left out."""
    value = parse_json(run.get(field))
    return {} if value is None else unwrap(value, field.removesuffix("s"))


def _find_model(metadata: Mapping[str, Any], parameters: Mapping[str, Any]) -> str | None:
    named = (metadata.get("ls_model_name"), parameters.get("model"), parameters.get("model_name"))
    return parse_name(next((name for name in named if name), None), "model")


def _is_run(record: Mapping[str, Any]) -> bool:
    return "run_type" in record and any(name in record for name in ("start_time", "dotted_order"))
