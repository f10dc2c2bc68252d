"""`TransitionSpanExporter`: record the agents of any framework, by their OpenTelemetry spans.

It needs the extra ``otel`` (``pip install 'detailed-balance[otel]'``).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.labels import ContextLike
from detailed_balance.callbacks import Transition, TransitionGraph, TransitionStore
from detailed_balance.callbacks.isolation import Faults, harmless, renew_after_fork, warn
from detailed_balance.callbacks.recorder.recent_runs import RecentRuns
from detailed_balance.callbacks.recorder.trajectory_builder import TrajectoryStep
from detailed_balance.callbacks.states import ActionStates, StateFunction
from detailed_balance.callbacks.states.base import CombinedStates
from detailed_balance.callbacks.transition import Beginning, Ending
from detailed_balance.readers.records.base import BadLines, ReadOptions
from detailed_balance.readers.records.columns import FieldNames
from detailed_balance.readers.records.values import BadRecordError
from detailed_balance.readers.spans.read import without_texts
from detailed_balance.readers.spans.replay import SpanReplay
from detailed_balance.readers.spans.semantic_conventions import read_otel_span
from detailed_balance.readers.spans.span import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["TransitionSpanExporter"]

_ACTIONS = ActionStates()
_MOST_PLAYED = 10_000  # traces that are remembered, to know late spans


@dataclass(slots=True)
class _Pending:
    """The spans of a trace that wait."""

    spans: list[Span] = field(default_factory=list)
    tops: set[str] = field(default_factory=set)
    """Those of them that nothing of this process is above of: they have ended."""
    cause: str | None = None
    """The trace that caused it."""
    ended: float = 0.0
    last: float = 0.0


class TransitionSpanExporter(SpanExporter):
    """Record the transitions of every agent whose spans it is given, and never disturb one.

    It understands what the readers of spans understand: the conventions of OpenTelemetry for
    generative AI, of OpenInference and others, from pydantic-ai, the OpenAI Agents SDK, smolagents,
    Google ADK, CrewAI, Strands, Agno, AutoGen and more. A live run gives the same moves as its
    exported trace.

    Parameters
    ----------
    graph : TransitionGraph, optional
        Counts the transitions; a new one by default.
    store : TransitionStore or str, optional
        Keeps the transitions. Given a URL, the exporter opens the store, and `shutdown` closes it.
    states : callable
        What is a state: a function of a `NodeRun`.
    context : mapping, optional
        Labels of all its transitions, such as the version of the agent.
    labels : sequence of str
        What else to label them by, beside the model and the agent or workflow (``"graph"``):
        ``"agent"``, ``"tags"``, and any attribute of a span.
    delay : float
        Seconds for which a run waits after its topmost span ended: spans that end late are still
        part of it.
    timeout : float
        Seconds without a new span after which a run whose topmost span did not end counts as
        abandoned, or as failed where its last step says so.
    max_spans : int
        The most spans that wait. Beyond it, the spans of the trace that began first are left out.

    Attributes
    ----------
    graph : TransitionGraph
        Where the transitions are counted.
    store : TransitionStore or None
        Where they are kept.
    recent : RecentRuns
        Without a store, the records of the last 10,000 runs that stopped.
    dropped : int
        Spans that were left out: too many waited, or they came after their run was recorded.

    Raises
    ------
    InvalidInputError
        Where `states` is not callable, or a number is out of range.

    Notes
    -----
    A run is recorded when its topmost span has ended, in a thread of the exporter, so use
    `BatchSpanProcessor` or `SimpleSpanProcessor` alike. Children end before their parents, so a
    trace is whole by then. `force_flush` and `shutdown` record what waits, also runs that have not
    ended. In a forked process the spans of the parent are not recorded twice.

    Examples
    --------
    >>> from opentelemetry.sdk.trace import TracerProvider
    >>> from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    >>> exporter = TransitionSpanExporter()
    >>> provider = TracerProvider()
    >>> provider.add_span_processor(SimpleSpanProcessor(exporter))
    >>> tracer = provider.get_tracer("my agent")
    >>> with tracer.start_as_current_span("invoke_agent helper"):
    ...     with tracer.start_as_current_span("search", attributes={"gen_ai.tool.name": "search",
    ...                                       "gen_ai.operation.name": "execute_tool"}):
    ...         pass
    >>> exporter.force_flush()
    True
    >>> list(exporter.graph.graph.edges())
    [('__start__', 'search'), ('search', '__end__')]
    """

    def __init__(
        self,
        graph: TransitionGraph | None = None,
        store: TransitionStore | str | None = None,
        states: StateFunction = _ACTIONS,
        context: ContextLike = None,
        labels: Sequence[str] = (),
        *,
        delay: float = 1.0,
        timeout: float = 300.0,
        max_spans: int = 100_000,
    ) -> None:
        if not callable(states):
            raise InvalidInputError(f"states must be callable; got {states!r}; try ActionStates()")
        if not (0 <= delay <= timeout and max_spans > 0):
            raise InvalidInputError(
                "delay must be at least 0 s, timeout at least delay, and max_spans at least 1; got "
                f"{delay=}, {timeout=}, {max_spans=}"
            )
        self.graph = TransitionGraph() if graph is None else graph
        self.store = TransitionStore(store) if isinstance(store, str) else store
        self.recent = RecentRuns()
        self.dropped = 0
        self._owns_store = isinstance(store, str)
        self._delay, self._timeout, self._max_spans = delay, timeout, max_spans
        self._faults = Faults()
        self._bad = BadLines("spans", skip=True)
        options = ReadOptions(FieldNames(context=tuple(labels)), states=CombinedStates((states,)))
        self._replay = SpanReplay(options, self._bad, context, is_live=True)
        self._after_fork()
        renew_after_fork(self)

    def _after_fork(self) -> None:
        self._lock = threading.Condition()
        self._playing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_shut = False
        self._held = 0
        self._traces: OrderedDict[str, _Pending] = OrderedDict()
        self._left_out: OrderedDict[str, None] = OrderedDict()
        self._played: OrderedDict[str, None] = OrderedDict()

    @property
    def faults(self) -> int:
        """The errors kept away from the application, and the spans that were left out."""
        return self._faults.count + self._bad.count + self.dropped

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take spans that have ended; nothing is raised, and the result is always a success."""
        self._take(spans)
        return SpanExportResult.SUCCESS

    @harmless
    def _take(self, spans: Sequence[ReadableSpan]) -> None:
        with self._lock:
            for span in spans:
                try:
                    self._add(span)
                except Exception:  # a span that is not as the SDK makes them
                    self._faults.record("a span could not be read: it is left out")
            if self._thread is None and not self._is_shut:
                name = "detailed-balance-spans"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
            self._lock.notify_all()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Record what waits, runs that have not ended too; call it when the agents are done."""
        self._play(every=True)
        if self.store is not None:
            self._flush_store()
        return True

    def shutdown(self) -> None:
        """Record what waits, and take nothing more."""
        with self._lock:
            self._is_shut = True
            self._lock.notify_all()
        self.force_flush()
        if self._owns_store:
            self._close_store()

    @harmless
    def _flush_store(self) -> None:
        if self.store is not None:
            self.store.flush()

    @harmless
    def _close_store(self) -> None:
        if self.store is not None:
            self.store.close()

    def _add(self, ended: ReadableSpan) -> None:
        span = without_texts(read_otel_span(_to_record(ended)))
        if span.trace in self._left_out:
            self.dropped += 1
            return
        pending = self._traces.setdefault(span.trace, _Pending())
        pending.spans.append(span)
        pending.last = time.monotonic()
        self._held += 1
        if ended.parent is None or ended.parent.is_remote:
            pending.tops.add(span.id)
            pending.ended = pending.last
            pending.cause = pending.cause or (span.link and span.link[0])
        while self._held > self._max_spans:
            trace, pending = self._traces.popitem(last=False)
            self._held -= len(pending.spans)
            self._drop(len(pending.spans), "too many wait, and those of the oldest trace go")
            _remember(self._left_out, trace)

    def _drop(self, count: int, why: str) -> None:
        if not self.dropped:
            warn("%d spans are left out: %s; said once, exporter.dropped counts them", count, why)
        self.dropped += count

    def _run(self) -> None:
        """Record the runs that are due, until the exporter is shut down."""
        while True:
            with self._lock:
                if self._is_shut:
                    return
                now = time.monotonic()
                wakes = [self._find_due(trace) for trace in self._traces]
                self._lock.wait(max(min(wakes) - now, 0.0) if wakes else None)
                if self._is_shut:
                    return
            self._play()

    def _find_due(self, trace: str) -> float:
        """Return when a trace is to be recorded, by the clock of `time.monotonic`."""
        pending = self._traces[trace]
        waits = pending.cause is not None and pending.cause != trace
        if waits and pending.cause not in self._played:
            cause = self._traces.get(pending.cause or "")
            waits = cause is None or not cause.tops
        else:
            waits = False
        if pending.tops and not waits:
            return pending.ended + self._delay
        return pending.last + self._timeout

    @harmless
    def _play(self, *, every: bool = False) -> None:
        """Record the traces that are due, or all."""
        with self._playing:
            with self._lock:
                spans = list(self._pop_due(every=every))
            for record in self._replay.play(spans):
                self._record(record)

    def _pop_due(self, *, every: bool) -> Iterator[Span]:
        now = time.monotonic()
        due = [trace for trace in self._traces if every or self._find_due(trace) <= now]
        for trace in due:
            pending = self._traces[trace]
            is_over = every or now - pending.last >= self._timeout
            # Spans of a run that has not ended may stand beside those of one that has.
            inside = _find_inside(pending.spans, pending.tops)
            taken = pending.spans if is_over else [s for s in pending.spans if s.id in inside]
            rest = [] if is_over else [s for s in pending.spans if s.id not in inside]
            self._held -= len(taken)
            if rest:
                pending.spans, pending.tops = rest, set()
            else:
                del self._traces[trace]
            if trace in self._played and not any(s.kind in ("agent", "chain") for s in taken):
                self._drop(len(taken), "they came after their run was recorded")
                continue
            _remember(self._played, trace)
            yield from taken

    @harmless
    def _record(self, record: Transition | Ending | Beginning) -> None:
        if self.store is not None:
            self.store.record(record)
        elif isinstance(record, Transition):
            place = (record.trajectory or "", record.source, record.target, record.step)
            move = TrajectoryStep(*place, record.context, record.run, record.facts)
            self.recent.record_move(move, record.time or 0.0)
        else:
            self.recent.record(record)
        if isinstance(record, Transition):
            labels: dict[str, Any] = {"context": record.context, "run": record.run}
            self.graph.record(record.source, record.target, trajectory=record.trajectory, **labels)
        elif isinstance(record, Ending) and record.outcome is not None:
            self.graph.record_outcome(Outcome(record.outcome), context=record.context)


def _remember(known: OrderedDict[str, None], trace: str) -> None:
    known[trace] = None
    if len(known) > _MOST_PLAYED:
        known.popitem(last=False)


def _find_inside(spans: Sequence[Span], tops: Collection[str]) -> set[str]:
    """Return the ids of these spans and of all inside of them."""
    parents = {span.id: span.parent for span in spans}
    inside = set(tops)
    for span in spans:
        above: list[str] = []
        place: str | None = span.id
        while place is not None and place not in inside and place in parents:
            above.append(place)
            place = parents[place] if len(above) <= len(parents) else None
        if place in inside:
            inside.update(above)
    return inside


def _to_record(span: ReadableSpan) -> dict[str, Any]:
    """Return a span of the SDK as `read_otel_span` takes it."""
    own, parent, status = span.get_span_context(), span.parent, span.status
    if own is None:
        raise BadRecordError("a span has a context: its trace and its id")
    return {
        "traceId": f"{own.trace_id:032x}",
        "spanId": f"{own.span_id:016x}",
        "parentSpanId": None if parent is None else f"{parent.span_id:016x}",
        "name": span.name,
        "startTimeUnixNano": span.start_time,
        "endTimeUnixNano": span.end_time,
        "status": {"code": status.status_code.name, "message": status.description},
        "attributes": dict(span.attributes or {}),
        "events": [{**(event.attributes or {}), "name": event.name} for event in span.events],
        "links": [
            {
                "traceId": f"{link.context.trace_id:032x}",
                "spanId": f"{link.context.span_id:016x}",
            }
            for link in span.links
        ],
    }
