"""What the attributes of an OpenTelemetry span say of it, by the conventions that are in use.

Each convention is a table here: OpenInference, OpenTelemetry for generative AI, OpenLLMetry
(Traceloop), LangSmith, Langfuse, MLflow, Logfire, Haystack and the AI SDK of Vercel. What speaks
none of them is *foreign*: an HTTP request, a query of a database, an evaluation around agents.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.readers.spans.requests import find_requests
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
    parse_number,
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
    "mlflow.spanType",
    "gen_ai.operation.name",
    "llm.request.type",
)
_KINDS = {
    **dict.fromkeys(("llm", "generation", "chat_model", "completion"), "model"),
    **dict.fromkeys(("chat", "text_completion", "generate_content", "chat.completions"), "model"),
    **dict.fromkeys(("tool", "execute_tool"), "tool"),
    **dict.fromkeys(("retriever", "retrieval"), "retriever"),
    **dict.fromkeys(("agent", "invoke_agent"), "agent"),
    **dict.fromkeys(("handoff", "agent_handoff"), "handoff"),
    "evaluator": "foreign",
}
"""What those attributes say; with another value, the span is a chain."""

_TITLES = (
    ("haystack.agent.step.llm", "model"),
    ("haystack.agent.step.tool", "tool"),
    ("haystack.agent.run", "agent"),
    ("ai.toolCall", "tool"),
    ("ai.", "agent"),
    ("haystack.", "chain"),
)
"""Conventions that tell the kind by the beginning of a span's name; ``ai.`` needs `_VERCEL`."""

_VERCEL = ("ai.operationId", "operation.name")
_VERCEL_CALLS = (".doGenerate", ".doStream")
_TEMPLATES = (
    ("Function: ", "tool"),
    ("Agent run: ", "agent"),
    ("Handoff: ", "handoff"),
    ("Responses API", "model"),
    ("Chat completion", "model"),
    ("OpenAI Agents trace", "chain"),
)
"""The kind by the beginning of ``logfire.msg_template``."""

_NOT_MODELS = ("._prepare_chat_with_tools",)  # llama-index prepares a call and makes none
_NOT_TOOLS = ("(merged tools)",)  # Google ADK puts the answers of parallel calls together
_SPOKEN = ("gen_ai.", "langgraph_", "graph.node.", "traceloop.", "langfuse.", "langsmith.")
"""An attribute that begins so belongs to a convention, though it tells no kind."""

_TOOL = (
    "tool.name",
    "gen_ai.tool.name",
    "haystack.tool.name",
    "ai.toolCall.name",
    "haystack.component.name",
)
_AGENT = ("gen_ai.agent.name", "agent.name", "graph.node.name", "agent_name")
_WORKFLOW = ("gen_ai.workflow.name", "traceloop.workflow.name")
_TARGET = ("gen_ai.handoff.to_agent", "to_agent")
_MODEL = (
    "llm.model_name",
    "gen_ai.request.model",
    "langfuse.observation.model.name",
    "gen_ai.response.model",
    "ai.model.id",
)
_INPUT = (
    "input.value",
    "langfuse.observation.input",
    "gen_ai.input.messages",
    "gen_ai.tool.call.arguments",
    "tool_arguments",
    "ai.toolCall.args",
    "haystack.agent.step.tool.input",
    "mlflow.spanInputs",
    "gen_ai.prompt",
    "traceloop.entity.input",
)
_OUTPUT = (
    "output.value",
    "langfuse.observation.output",
    "gen_ai.output.messages",
    "gen_ai.tool.call.result",
    "tool_response",
    "ai.toolCall.result",
    "haystack.agent.step.tool.output",
    "mlflow.spanOutputs",
    "gen_ai.completion",
    "haystack.agent.step.llm.output",
    "traceloop.entity.output",
)
_TOKENS = ("llm.token_count.total", "gen_ai.usage.total_tokens", "llm.usage.total_tokens")
_TOKENS_IN = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
    "ai.usage.promptTokens",
    "ai.usage.inputTokens",
)
_TOKENS_OUT = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
    "ai.usage.completionTokens",
    "ai.usage.outputTokens",
)
_COST = ("gen_ai.usage.cost", "llm.cost.total", "operation.cost")
_TAGS = ("tag.tags", "langsmith.span.tags", "langfuse.trace.tags")
_THREAD = ("session.id", "gen_ai.conversation.id", "langfuse.session.id")
_PREFIXES = (
    "metadata.",
    "langsmith.metadata.",
    "langfuse.observation.metadata.",
    "traceloop.association.properties.",
    "gen_ai.langgraph.",
)
_AFFIXES = re.compile(
    r"^(?:execute_tool|running tool:?|invoke_agent|invoke_workflow|agent run:?) "
    r"|\.(?:tool|agent|workflow|task|run|execute|_execute_core|kickoff|__call__|on_messages_stream)$"
)
_UNNAMED = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-|^[A-Z]{3,7} /|[0-9a-f]{16}", re.IGNORECASE)
_HANDOFF = re.compile(r"^hand-?off(?: to)?\b", re.IGNORECASE)
_FAILED = (2, "2", "STATUS_CODE_ERROR", "ERROR")
_FINE = (1, "1", "STATUS_CODE_OK", "OK")
_LIMIT = re.compile(
    r"\b(?:max(?:imum)?\b.{0,20}\b(?:turns?|steps?|iterations?|llm calls)\b"
    r"|(?:recursion|request|usage|iteration|turn|step)[ _]limit)",
    re.IGNORECASE,
)
_LONGEST_MESSAGE = 1_000  # characters of an error that are searched
_LONGEST_LABEL = 1_000  # characters of an attribute that is kept as metadata


def read_otel_span(record: Mapping[str, Any]) -> Span:
    """Return a span of OpenTelemetry as a span; its attributes and those of its events are plain.

    Parameters
    ----------
    record : mapping
        ``traceId``, ``spanId``, ``parentSpanId``, ``name``, ``startTimeUnixNano``,
        ``endTimeUnixNano``, ``status`` (``code``, ``message``), ``attributes`` (a mapping),
        ``events`` (mappings of ``name`` and of the attributes) and ``links`` (``traceId``,
        ``spanId``), as OTLP JSON names them.

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
    events = record.get("events") or ()
    attributes = SpanAttributes(record["attributes"], record.get("name"), events)
    parent = parse_id(record.get("parentSpanId"), "parentSpanId")
    return Span(
        trace=trace,
        id=own,
        parent=parent,
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
        tokens=attributes.tokens,
        cost=attributes.cost,
        asks=attributes.asks,
        link=_read_link(record.get("links")) if parent is None else None,
    )


@dataclass(frozen=True)  # without slots, so that it finds out the kind only once
class SpanAttributes:
    """Reads the attributes of one span.

    Parameters
    ----------
    attributes : mapping
        Of the span, as plain values; sequences may be lists or tuples.
    title : Any
        The name of the span.
    events : sequence of mapping
        Its events: each its name and its attributes.

    Examples
    --------
    >>> SpanAttributes({"gen_ai.operation.name": "chat"}, "chat m").kind
    'model'
    """

    attributes: Mapping[str, Any]
    title: Any = None
    events: Sequence[Mapping[str, Any]] = field(default=())

    def find(self, *names: str) -> Any:
        """Return the first of these attributes that there is."""
        found = (self.attributes.get(name) for name in names)
        return next((value for value in found if value not in (None, "")), None)

    @cached_property
    def kind(self) -> str:
        """What kind of span it is, as `Span.kind`."""
        title = self.title if isinstance(self.title, str) else ""
        kind = self._find_kind(title)
        if kind == "model" and title.endswith(_NOT_MODELS):
            return "chain"
        if kind == "tool":
            named = self.find(*_TOOL)
            if named in _NOT_TOOLS:
                return "chain"
            if named is None and _HANDOFF.match(title):
                return "handoff"
        return kind

    def _find_kind(self, title: str) -> str:
        for name in _KIND:
            value = self.attributes.get(name)
            if isinstance(value, str) and value not in ("", "UNKNOWN"):
                return _KINDS.get(value.strip('"').lower(), "chain")
        template = self.attributes.get("logfire.msg_template")
        if isinstance(template, str):
            for beginning, kind in _TEMPLATES:
                if template.startswith(beginning):
                    return kind
        component = str(self.attributes.get("haystack.component.type", ""))
        if component.endswith("Generator"):
            return "model"
        if component == "ToolInvoker":  # of Haystack 2, which tells no tools
            return "tool"
        for beginning, kind in _TITLES:
            if title.startswith(beginning) and (
                not beginning.startswith("ai.") or self.find(*_VERCEL) is not None
            ):
                return "model" if kind == "agent" and title.endswith(_VERCEL_CALLS) else kind
        if self.find("gen_ai.tool.name", "tool.name") is not None:  # older pydantic-ai
            return "tool"
        spoken = any(name.startswith(_SPOKEN) for name in self.attributes)
        spoken = spoken or "metadata" in self.attributes
        return "chain" if spoken else "foreign"

    @property
    def name(self) -> str:
        """Its name: that of the tool, of the agent, of the workflow, else of the span."""
        kind, named = self.kind, None
        if kind == "tool":
            named = self.find(*_TOOL, "traceloop.entity.name") or self._find_logfire("name")
        elif kind == "agent":
            named = self.find(*_AGENT) or self._find_logfire("name")
        elif kind == "handoff":
            named = self._name_handoff()
        elif kind == "chain":
            named = self.find(*_WORKFLOW)
        title = self.title
        if kind in ("tool", "agent") and named is None and isinstance(title, str):
            node = self.attributes.get("graph.node.id")
            # Most ids of nodes are random; one that the span is called by is a name.
            named = node if isinstance(node, str) and title.startswith(f"{node}.") else None
            named = named or _AFFIXES.sub("", title)
        return parse_name(named or title, "name") or kind

    def _find_logfire(self, name: str) -> Any:
        return self.find(name) if "logfire.msg_template" in self.attributes else None

    def _name_handoff(self) -> str:
        target = self.find(*_TARGET)
        if target is None and isinstance(self.title, str) and _HANDOFF.match(self.title):
            target = _HANDOFF.sub("", self.title).strip(" :") or None
        return "handoff" if target is None else f"handoff_to_{target}"

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
        """What it was given; an empty object, of a tool None, where that was left out."""
        value = self.find(*_INPUT) or self._find_logfire("input")
        if value is None and self.kind == "tool":
            return self._find_content("gen_ai.tool.message", "content")
        return {} if value is None else unwrap(parse_json(value), "input")

    @property
    def output(self) -> Any:
        """What it gave; of a model's reply at least whether it asks for tools."""
        value = self.find(*_OUTPUT) or self._find_logfire("output")
        if value is None and self.kind == "tool":
            value = self._find_content("gen_ai.choice", "message")
        if value is not None:
            return unwrap(parse_json(value), "output")
        if self.kind == "model" and (asks := self.asks):
            calls = [{"name": name or "tool"} for name in asks]
            return {"role": "assistant", "content": "", "tool_calls": calls}
        return None

    def _find_content(self, event: str, name: str) -> Any:
        return next((e.get(name) for e in self.events if e.get("name") == event), None)

    @cached_property
    def asks(self) -> tuple[str, ...] | None:
        """The tools that a model's reply asks for, as `Span.asks`."""
        return find_requests(self.attributes, self.events) if self.kind == "model" else None

    @property
    def tokens(self) -> int | None:
        """What a call of a model took, in and out."""
        if self.kind != "model":
            return None
        total = parse_number(self.find(*_TOKENS))
        total = parse_number(self._details("usage").get("total")) if total is None else total
        parts = [parse_number(self.find(*names)) for names in (_TOKENS_IN, _TOKENS_OUT)]
        known = [part for part in parts if part is not None]
        found = total if total is not None else sum(known) if known else None
        return None if found is None else int(found)

    @property
    def cost(self) -> float | None:
        """What a call of a model cost, in dollars."""
        if self.kind != "model":
            return None
        cost = parse_number(self.find(*_COST))
        return parse_number(self._details("cost").get("total")) if cost is None else cost

    def _details(self, of: str) -> dict[str, Any]:
        return parse_object(self.attributes.get(f"langfuse.observation.{of}_details"))

    @cached_property
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


def _read_link(links: Any) -> tuple[str, str] | None:
    """Return the trace and the span that a span without a parent was caused by."""
    for link in links if isinstance(links, list | tuple) else ():
        if isinstance(link, Mapping):
            trace, own = parse_id(link.get("traceId"), "link"), parse_id(link.get("spanId"), "link")
            if trace and own:
                return trace, own
    return None


def _read_error(record: Mapping[str, Any], attributes: SpanAttributes) -> str | None:
    """Return the type of the error, by the exception that was recorded, else by the status.

    An exception of a tool or a model counts with any status, one of an agent not with status OK:
    it was handled.
    """
    recorded = (event.get("exception.type") for event in reversed(attributes.events))
    raised = error_type(next((kind for kind in recorded if kind), ""))
    status = record.get("status")
    status = status if isinstance(status, dict) else {}
    code, kind = status.get("code"), attributes.kind
    named = error_type(attributes.find("error.type"))
    if code in _FAILED:
        message = status.get("message")
        found = raised or named or parse_error(message) or ""
        is_limit = isinstance(message, str) and _LIMIT.search(message[:_LONGEST_MESSAGE])
        return "LimitReached" if is_limit and not (raised or named) else found
    is_call = kind in ("tool", "model")
    told = "error" in (attributes.find("gen_ai.tool.status"), attributes.find("tool.status"))
    if kind == "tool" and (told or attributes.find("haystack.tool.error")):
        return raised or named
    if (raised or named) and (is_call or (code not in _FINE and kind == "agent")):
        return raised or named
    # What only looks like an error to Python is none to most exporters.
    named = raised or parse_error(attributes.find("langfuse.observation.status_message")) or ""
    return named if is_control_flow(named) else None


def _is_label(value: Any) -> bool:
    return isinstance(value, bool | int | float) or (
        isinstance(value, str) and len(value) <= _LONGEST_LABEL
    )
