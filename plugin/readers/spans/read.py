"""What the readers of spans share: from the records of a trace to its transitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from detailed_balance.analyzers.errors import ReadError
from detailed_balance.callbacks import Transition
from detailed_balance.readers.records.base import BadLines, LineRecord, ReadOptions, Record
from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.readers.spans.span import Span, parse_object
from detailed_balance.render.formatting import safe_text

__all__ = ["find_value", "read_spans", "without_texts"]

_NAMES_SHOWN = 5
_REMEDY = (
    "export whole traces, with what ran inside of each root and with the attributes of each span, "
    "which say what it is"
)


def read_spans(
    records: Iterable[LineRecord],
    to_span: Callable[[Mapping[str, Any]], Span],
    options: ReadOptions,
    bad: BadLines,
    *,
    remedy: str = _REMEDY,
) -> Iterator[Record]:
    """Turn records, each of which is a span, into transitions and endings.

    Parameters
    ----------
    records : iterable of LineRecord
        Each with its place.
    to_span : callable
        Makes a span of a record.
    options : ReadOptions
        How to read them.
    bad : BadLines
        Keeps account of them.
    remedy : str
        What to do where spans were read and none of them is a step.

    Raises
    ------
    ReadError
        Where there is no record at all, or no move in a file that is read by itself.
    """
    from detailed_balance.readers.spans.replay import reads_messages, replay  # loads langchain

    names: dict[str, bool] = {}
    spans = _note_names(_make_spans(records, to_span, options, bad), names)
    if not reads_messages(options):
        spans = map(without_texts, spans)
    has_moved = False
    for record in replay(spans, options, bad):
        has_moved = has_moved or isinstance(record, Transition)
        yield record
    if bad.accepted > bad.duplicates and not has_moved and not bad.several:
        called = ", ".join(repr(safe_text(name, 40)) for name in names)
        fault = "is a tool, a model or a node of a graph"
        if not any(names.values()):
            fault, remedy = "has an end", "export them when they have ended"
        raise ReadError(
            f"no move was found in {bad.name} ({bad.accepted:,} read, {bad.count:,} skipped): none "
            f"of its spans ({called}) {fault}; {remedy}"
        )


def _note_names(spans: Iterable[Span], names: dict[str, bool]) -> Iterator[Span]:
    """Pass spans on, and keep the first few of their names, with whether one of them has ended."""
    for span in spans:
        if span.name in names or len(names) < _NAMES_SHOWN:
            names[span.name] = names.get(span.name, False) or span.end is not None
        yield span


def find_value(record: Mapping[str, Any], path: str | None) -> Any:
    """Return a field of a record, or one inside of others, such as ``feedback.score.avg``.

    What is around it may be a JSON text, as in a table.

    Examples
    --------
    >>> find_value({"feedback": {"score": {"avg": 1.0}}}, "feedback.score.avg")
    1.0
    """
    if path is None or path in record:
        return None if path is None else record[path]
    name, dot, rest = path.partition(".")
    return find_value(parse_object(record.get(name)), rest) if dot else None


def _make_spans(
    records: Iterable[LineRecord],
    to_span: Callable[[Mapping[str, Any]], Span],
    options: ReadOptions,
    bad: BadLines,
) -> Iterator[Span]:
    place: int | str | None = None
    for place, record in records:
        try:
            span = to_span(record)
        except (BadRecordError, RecursionError) as error:
            bad.report(place, str(error))
            continue
        bad.accepted += 1
        success = _find_success(record, span, options.fields.success, bad)
        kept = dict(record) if options.reads_steps else None
        yield replace(span, line=place, success=success, record=kept)
    if place is None and not bad.count:
        raise ReadError(f"{bad.name} is empty: it holds no spans")


def _find_success(record: Mapping[str, Any], span: Span, field: str | None, bad: BadLines) -> Any:
    """Return what a record says of success: by a field or a score of that name, else all scores.

    Scores are kept by their names, for it is known at the end alone whether there is only one.
    """
    if field is None:
        scores = _read_scores(record)
        bad.score_names.update(scores)
        clear = {name: value for name, value in scores.items() if value in (0, 1)}
        return clear or None
    for found in (find_value(record, field), span.metadata.get(field)):
        if found is not None:
            return found
    return _read_scores(record).get(field)


def _read_scores(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of Langfuse, and the feedback of LangSmith (its mean), by their names.

    Examples
    --------
    >>> _read_scores({"feedback_stats": {"correct": {"n": 1, "avg": 1.0}}})
    {'correct': 1.0}
    """
    feedback = parse_object(record.get("feedback_stats"))
    means = {name: each.get("avg") for name, each in feedback.items() if isinstance(each, dict)}
    scores = parse_object(record.get("scores")) | means
    return {n: value for n, value in scores.items() if isinstance(value, bool | int | float | str)}


def without_texts(span: Span) -> Span:
    """Leave out what no state is made of, such as the conversation that a model was given."""
    inputs: Any = {}
    if span.inputs is None or span.kind == "tool":
        inputs = span.inputs
    elif isinstance(span.inputs, dict) and "resume" in span.inputs:
        inputs = {"resume": None, "goto": None}
    in_graph = bool(span.metadata.get("langgraph_node") or span.metadata.get("graph.node.id"))
    if in_graph and span.kind == "chain" and inputs == {}:
        inputs = _only_calls(span.inputs)
    is_kept = in_graph if span.kind in ("chain", "agent") else not in_graph
    return replace(span, inputs=inputs, output=span.output if is_kept else None)


def _only_calls(inputs: Any) -> Any:
    """Return the calls that a node is sent, without the conversation that may stand beside them."""
    if isinstance(inputs, dict) and inputs.get("__type") == "tool_call_with_context":
        inputs = [inputs.get("tool_call")]
    calls = inputs if isinstance(inputs, list) else ()
    are_calls = all(isinstance(call, dict) and call.get("type") == "tool_call" for call in calls)
    return calls if calls and are_calls else {}
