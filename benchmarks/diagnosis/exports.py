"""The runs of scripted agents as others write them: chats of OpenAI, spans of OpenInference."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, convert_to_messages, convert_to_openai_messages

__all__ = ["Conversations", "collect_spans", "write_spans"]

_OUTCOMES = {"GraphRecursionError": "recursion_limit", "CancelledError": "cancelled"}


class Conversations(BaseCallbackHandler):
    """Collects the messages that agents write, a conversation for each invocation.

    Parameters
    ----------
    read_clock : callable
        Returns the time.

    Attributes
    ----------
    labels : set of str
        The fields that conversations have beyond the usual ones.
    """

    run_inline = True

    def __init__(self, read_clock: Callable[[], float]) -> None:
        self._read_clock = read_clock
        self.labels: set[str] = set()
        self._roots: dict[UUID, dict[str, Any]] = {}
        self._known: dict[int | str, BaseMessage] = {}
        self._all: list[dict[str, Any]] = []

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Begin a conversation where no other is open."""
        told = metadata or {}
        if parent_run_id is not None:
            self._roots[run_id] = self._roots[parent_run_id]
            return
        labels = {name: told[name] for name in ("version",) if name in told}
        self.labels |= labels.keys()
        self._roots[run_id] = {"id": told["thread_id"], "messages": [], **labels}
        self._all.append(self._roots[run_id])
        self._add(self._roots[run_id], inputs)

    def on_chain_end(
        self, outputs: Any, *, run_id: UUID, tags: Sequence[str] | None = None, **kwargs: Any
    ) -> None:
        """Keep what a node wrote, and how a conversation stopped."""
        conversation = self._roots[run_id]
        if any(tag.startswith("graph:step:") for tag in tags or ()):
            self._add(conversation, outputs)
        elif kwargs.get("parent_run_id") is None:
            waits = isinstance(outputs, dict) and "__interrupt__" in outputs
            conversation["success"] = "interrupted" if waits else "ended"

    def on_chain_error(
        self,
        error: BaseException,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep how a conversation stopped."""
        if parent_run_id is None:
            outcome = _OUTCOMES.get(type(error).__name__, "failed")
            self._roots[run_id]["success"] = outcome

    def _add(self, conversation: dict[str, Any], written: Any) -> None:
        for value in written if isinstance(written, list) else [written]:
            update = getattr(value, "update", None) if not isinstance(value, dict) else value
            found = update.get("messages") if isinstance(update, dict) else None
            for message in convert_to_messages(found or []):
                names = (id(message), message.id or id(message))
                if message.type != "remove" and self._known.keys().isdisjoint(names):
                    self._known |= dict.fromkeys(names, message)
                    conversation["messages"].append(self._plain(message))

    def _plain(self, message: BaseMessage) -> dict[str, Any]:
        plain: dict[str, Any] = convert_to_openai_messages(message)
        if used := getattr(message, "usage_metadata", None):
            sides = {"prompt": used["input_tokens"], "completion": used["output_tokens"]}
            plain["usage"] = {f"{side}_tokens": number for side, number in sides.items()}
        return {**plain, "timestamp": self._read_clock()}

    def write(self, path: Path, judged: Mapping[str, bool]) -> bool:
        """Write all conversations, and say whether an agent speaks in any."""
        for each in self._all:
            each["success"] = judged.get(each["id"], each.get("success", "abandoned"))
        path.write_text(json.dumps(self._all), encoding="utf-8")
        return any(m["role"] == "assistant" for each in self._all for m in each["messages"])


@contextmanager
def collect_spans() -> Iterator[Callable[[], Sequence[Any]]]:
    """Have OpenInference's instrumentor trace what runs; yield what returns the spans."""
    from openinference.instrumentation.langchain import LangChainInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    # Long prompts have more attributes than a span may have; it says so for each of them.
    logging.getLogger("opentelemetry.attributes").setLevel(logging.ERROR)
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        yield exporter.get_finished_spans
    finally:
        instrumentor.uninstrument()


def write_spans(
    spans: Sequence[Any], path: Path, began: Sequence[tuple[str, float]], judged: Mapping[str, bool]
) -> None:
    """Write spans as OTLP, at the times of the stage.

    Parameters
    ----------
    spans : sequence of ReadableSpan
        What OpenTelemetry's SDK collected.
    path : Path
        Where to.
    began : sequence of (str, float)
        The runs, in order: their names, and when they began on the stage.
    judged : mapping
        Which runs did their work: an attribute of their first span.
    """
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    document = MessageToDict(encode_spans(spans))
    scopes = [scope for group in document["resourceSpans"] for scope in group["scopeSpans"]]
    plain = [span for scope in scopes for span in scope["spans"]]
    roots = sorted(
        (span for span in plain if "parentSpanId" not in span),
        key=lambda span: int(span["startTimeUnixNano"]),
    )
    shifts = {}
    for root, (key, moment) in zip(roots, began, strict=True):
        shifts[root["traceId"]] = int(moment * 1e9) - int(root["startTimeUnixNano"])
        if key in judged:
            value = {"stringValue": str(judged[key]).lower()}
            root["attributes"].append({"key": "success", "value": value})
    for span in plain:
        for each in (span, *span.get("events", ())):
            for name in {"startTimeUnixNano", "endTimeUnixNano", "timeUnixNano"} & each.keys():
                each[name] = str(int(each[name]) + shifts[span["traceId"]])
    path.write_text(json.dumps(document), encoding="utf-8")
