"""What the attributes of an OpenTelemetry span say of it, by the conventions that are in use.

Those of OpenInference (``openinference.span.kind``, ``metadata``, ``graph.node.id``), of
OpenTelemetry for generative AI (``gen_ai.*``), and of the exporters of LangSmith, Langfuse and
OpenLLMetry (``langsmith.*``, ``langfuse.*``, ``traceloop.*``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.readers.spans.span import (
    Span,
    error_type,
    is_control_flow,
    parse_error,
    parse_id,
    parse_json,
    parse_metadata,
    parse_name,
    parse_nanoseconds,
    parse_object,
    parse_tags,
    unwrap,
)

__all__ = ["SpanAttributes", "read_otel_span"]

_KIND = (
    "openinference.span.kind",
    "langfuse.observation.type",
    "langsmith.span.kind",
    "traceloop.span.kind",
    "gen_ai.operation.name",
    "llm.request.type",
)
_MODELS = ("llm", "generation", "chat", "text_completion", "completion", "generate_content")
_KINDS = {
    **dict.fromkeys(_MODELS, "model"),
    **dict.fromkeys(("tool", "execute_tool"), "tool"),
    **dict.fromkeys(("retriever", "retrieval"), "retriever"),
}
_TOOL = ("tool.name", "gen_ai.tool.name", "traceloop.entity.name")
_MODEL = (
    "llm.model_name",
    "gen_ai.request.model",
    "langfuse.observation.model.name",
    "gen_ai.response.model",
)
_INPUT = (
    "input.value",
    "langfuse.observation.input",
    "gen_ai.input.messages",
    "gen_ai.tool.call.arguments",
    "gen_ai.prompt",
    "traceloop.entity.input",
)
_OUTPUT = (
    "output.value",
    "langfuse.observation.output",
    "gen_ai.output.messages",
    "gen_ai.completion",
    "traceloop.entity.output",
)
_TAGS = ("tag.tags", "langsmith.span.tags", "langfuse.trace.tags")
_THREAD = ("session.id", "gen_ai.conversation.id", "langfuse.session.id")
_AGENT = ("gen_ai.agent.name", "agent.name")
_PREFIXES = (
    "metadata.",
    "langsmith.metadata.",
    "langfuse.observation.metadata.",
    "traceloop.association.properties.",
    "gen_ai.langgraph.",
)
_REQUESTED = "llm.output_messages.0.message.tool_calls."
_FINISHES = ("tool_call", "tool_calls", "tool_use", "function_call")
_FAILED = (2, "2", "STATUS_CODE_ERROR", "ERROR")
_LONGEST_LABEL = 1_000  # characters of an attribute that is kept as metadata


def read_otel_span(record: Mapping[str, Any]) -> Span:
    """Return a span of OpenTelemetry as a span; its attributes and those of its events are plain.

    Parameters
    ----------
    record : mapping
        ``traceId``, ``spanId``, ``parentSpanId``, ``name``, ``startTimeUnixNano``,
        ``endTimeUnixNano``, ``status`` (``code``, ``message``), ``attributes`` (a mapping) and
        ``events`` (mappings of ``name`` and of the attributes), as OTLP JSON names them.

    Raises
    ------
    BadRecordError
        Where it lacks an id or a start, or a value is of no use for its field.

    Examples
    --------
    >>> span = {"traceId": "5b8e", "spanId": "eee1", "startTimeUnixNano": "1", "name": "execute_tool find"}
    >>> attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "find"}
    >>> found = read_otel_span(span | {"attributes": attributes})
    >>> found.kind, found.name
    ('tool', 'find')
    """  # noqa: E501 - a doctest's code stands in one line
    trace, own = (
        parse_id(record.get("traceId"), "traceId"),
        parse_id(record.get("spanId"), "spanId"),
    )
    start = parse_nanoseconds(record.get("startTimeUnixNano"), "startTimeUnixNano")
    if trace is None or own is None or start is None:
        raise BadRecordError("a span has the fields 'traceId', 'spanId' and 'startTimeUnixNano'")
    attributes = SpanAttributes(record["attributes"], record.get("name"))
    return Span(
        trace=trace,
        id=own,
        parent=parse_id(record.get("parentSpanId"), "parentSpanId"),
        kind=attributes.kind,
        name=attributes.name,
        start=start,
        # A span is written when it has ended; an end of 0 says that it was not.
        end=parse_nanoseconds(record.get("endTimeUnixNano"), "endTimeUnixNano") or None,
        metadata=attributes.metadata,
        tags=attributes.tags,
        inputs=attributes.inputs,
        output=attributes.output,
        error=_read_error(record, attributes),
        model=attributes.model,
    )


@dataclass(frozen=True, slots=True)
class SpanAttributes:
    """Reads the attributes of one span.

    Parameters
    ----------
    attributes : mapping
        Of the span, as plain values.
    title : Any
        The name of the span.

    Examples
    --------
    >>> SpanAttributes({"gen_ai.operation.name": "chat"}, "chat m").kind
    'model'
    """

    attributes: Mapping[str, Any]
    title: Any = None

    def find(self, *names: str) -> Any:
        """Return the first of these attributes that there is."""
        found = (self.attributes.get(name) for name in names)
        return next((value for value in found if value not in (None, "")), None)

    @property
    def kind(self) -> str:
        """What kind of span it is."""
        return _KINDS.get(str(self.find(*_KIND)).lower(), "chain")

    @property
    def name(self) -> str:
        """Its name; that of a tool is the tool's."""
        named = self.find(*_TOOL) if self.kind == "tool" else None
        return parse_name(named or self.title, "name") or self.kind

    @property
    def model(self) -> str | None:
        """The model that it calls."""
        return parse_name(self.find(*_MODEL), "model")

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags; Langfuse has them among the metadata."""
        return parse_tags(self.metadata.get("tags") or self.find(*_TAGS))

    @property
    def inputs(self) -> Any:
        """What it was given; an empty object where that was left out."""
        value = self.find(*_INPUT)
        return {} if value is None else unwrap(parse_json(value), "input")

    @property
    def output(self) -> Any:
        """What it gave; of a model's reply at least whether it asks for tools."""
        value = self.find(*_OUTPUT)
        if value is not None:
            return unwrap(parse_json(value), "output")
        reasons = self.find("gen_ai.response.finish_reasons") or ()
        asks = any(reason in reasons for reason in _FINISHES) if self.kind == "model" else False
        if asks or any(name.startswith(_REQUESTED) for name in self.attributes):
            return {"role": "assistant", "content": "", "tool_calls": [{"name": "tool"}]}
        return None

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata as LangChain knows them, and every short attribute."""
        found = {k: v for k, v in self.attributes.items() if _is_label(v)}
        found |= parse_object(self.attributes.get("metadata"))
        for name, value in self.attributes.items():
            for prefix in _PREFIXES:
                if name.startswith(prefix):
                    key = name.removeprefix(prefix)
                    key = f"langgraph_{key}" if "langgraph" in prefix else key
                    found[key] = parse_json(value) if prefix.startswith("langfuse") else value
        for key, names in (("session.id", _THREAD), ("lc_agent_name", _AGENT)):
            if (value := self.find(*names)) is not None:
                found.setdefault(key, value)
        return parse_metadata(found)


def _read_error(record: Mapping[str, Any], attributes: SpanAttributes) -> str | None:
    """Return the type of the error, by the exception that was recorded, else by the status."""
    recorded = (event.get("exception.type") for event in reversed(record.get("events") or ()))
    raised = error_type(next((kind for kind in recorded if kind), ""))
    status = record.get("status")
    status = status if isinstance(status, dict) else {}
    if status.get("code") in _FAILED:
        named = error_type(attributes.find("error.type"))
        return raised or named or parse_error(status.get("message")) or ""
    # What only looks like an error to Python is none to most exporters.
    named = raised or parse_error(attributes.find("langfuse.observation.status_message")) or ""
    return named if is_control_flow(named) else None


def _is_label(value: Any) -> bool:
    return isinstance(value, bool | int | float) or (
        isinstance(value, str) and len(value) <= _LONGEST_LABEL
    )
