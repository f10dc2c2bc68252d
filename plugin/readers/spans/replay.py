"""From the spans of a trace to transitions: they are played back to the handler that records live.

So what a trace of LangGraph gives is what `TransitionCallbackHandler` would have recorded, wherever
the trace knows as much as the events did. The runs of other frameworks are played back step by
step, as `find_path` finds them, so states, facts and outcomes are made by the same code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from uuid import UUID

from detailed_balance.analyzers import START
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.runs.labels import Context, ContextLike
from detailed_balance.callbacks import (
    Ending,
    Transition,
    TransitionCallbackHandler,
    TransitionGraph,
)
from detailed_balance.callbacks.recorder.langgraph_events import read_kind
from detailed_balance.callbacks.transition import RESUMED, Beginning
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.values import BadRecordError, parse_outcome
from detailed_balance.readers.spans._graph_nodes import (
    STEP_TAG,
    GraphNodes,
    SpanPlace,
    find_namespace,
    name_node,
)
from detailed_balance.readers.spans._path import CANCELLED, Action, SpanPath, find_path
from detailed_balance.readers.spans._replay_events import (
    RECORD,
    NamedStates,
    is_limit,
    make_error,
    make_limit,
    send_end,
    send_start,
)
from detailed_balance.readers.spans._runs import SpanRun, find_runs
from detailed_balance.readers.spans._trace_assembly import (
    SpanEvent,
    SpanRow,
    SpanTree,
    Trace,
    sort_spans,
)
from detailed_balance.readers.spans.span import Span
from detailed_balance.render.formatting import safe_text

if TYPE_CHECKING:
    from detailed_balance.callbacks import TransitionStore


__all__ = ["SpanReplay", "reads_messages", "replay"]

_Load: TypeAlias = Callable[[SpanRow], Span]


def replay(spans: Iterable[Span], options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the transitions and endings of spans, trace by trace, the one that began first first.

    Parameters
    ----------
    spans : iterable of Span
        In any order; see `sort_spans`.
    options : ReadOptions
        Its states name the nodes; its context fields are labels besides model and graph: "agent",
        "tags", and keys of the metadata.
    bad : BadLines
        Keeps account of spans that cannot be placed.

    Examples
    --------
    >>> from detailed_balance.readers.records.columns import FieldNames
    >>> ask, find = Span("t", "1", None, "chain", "ask", 0, 9), Span("t", "2", "1", "tool", "find", 2, 3)
    >>> found = replay([ask, find], ReadOptions(FieldNames()), BadLines("trace", skip=False))
    >>> [(move.source, move.target) for move in found if not isinstance(move, Ending)]
    [('__start__', 'find'), ('find', '__end__')]
    """  # noqa: E501 - a doctest's code stands in one line
    found = SpanReplay(options, bad).play(spans)
    return (record for record in found if not isinstance(record, Beginning))


def reads_messages(options: ReadOptions) -> bool:
    """Say whether it matters what models were asked and answered."""
    return NamedStates(options).of_calls or "prompt" in options.fields.labels


class _Uncounted(TransitionGraph):
    """Counts nothing: who reads a trace counts what comes of it."""

    def record(self, *move: Any, **labels: Any) -> None:
        """Do nothing."""

    def record_outcome(self, *outcome: Any, **labels: Any) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class _Open:
    """A span that has started."""

    span: Span
    place: SpanPlace
    may_be_state: bool
    """Whether it may be a state, so that its output matters."""
    graph: UUID | None = None
    """The run of a graph that is not in the trace, and ends with this one, its only node."""


class SpanReplay:
    """Plays traces back to a handler, and is the store that the handler records into.

    Parameters
    ----------
    options : ReadOptions
        Its states and labels.
    bad : BadLines
        Keeps account of spans that cannot be placed.
    context : mapping, optional
        Labels of all that it finds.
    is_live : bool
        Whether each run has an id that no other run has, in any process; else equal traces give
        equal ids.
    """

    def __init__(
        self,
        options: ReadOptions,
        bad: BadLines,
        context: ContextLike = None,
        *,
        is_live: bool = False,
    ) -> None:
        self._bad = bad
        self._is_live = is_live
        self._states = NamedStates(options)
        self._fields = options.fields
        self._handler = TransitionCallbackHandler(
            self._states.for_handler,
            _Uncounted(),
            cast("TransitionStore", self),
            context,
            list(dict.fromkeys(("model", "graph", *options.fields.labels))),
            max_states=None,
        )
        self._prompts = reads_messages(options)
        self._faults = 0
        self._now = 0
        self._found: list[Record | Beginning] = []
        self._names: dict[str, str] = {}
        # The ids that the handler gives are random: a trace gives the same ones each time.
        self._run_names: dict[str, str] = {}
        self._run_counts: Counter[str] = Counter()

    def record(self, record: Record | Beginning) -> None:
        """Take what the handler records."""
        base, slash, inside = (record.trajectory or "").partition("/")
        key = f"{self._names.get(base, base)}{slash}{inside}"
        if isinstance(record, Beginning):
            self._run_counts[key] += 0 if self._is_live else 1
            named = record.run if self._is_live else f"{key}#{self._run_counts[key]}"
            self._run_names[record.run] = named
            around = record.parent and self._run_names.get(record.parent)
            time = self._now / 1e9
            begun = replace(record, trajectory=key, run=named, parent=around, time=time)
            self._found.append(begun)
            return
        run = self._run_names[record.run or ""]
        self._last[key] = run, record.context
        if isinstance(record, Transition) and record.source == RESUMED:
            return  # where it stood is not in the trace
        self._found.append(replace(record, trajectory=key, time=self._now / 1e9, run=run))

    def play(self, spans: Iterable[Span]) -> Iterator[Record | Beginning]:
        """Yield what happened in the traces of spans, the one that began first first."""
        for trace in sort_spans(spans, self._bad):
            yield from self._play(trace)
            if self._is_live:
                self._run_names.clear()

    def _play(self, trace: Trace) -> Iterator[Record | Beginning]:
        self._names = {}
        self._refused: set[str] = set()
        runs = list(find_runs(SpanTree(trace.rows), trace.load))
        is_single = _count_tops(trace.rows) == 1
        for run in runs:
            self._last: dict[str, tuple[str, Context]] = {}  # run and labels of each trajectory
            is_graph = run.is_graph
            self._is_single = len(runs) == 1 and (is_single or not is_graph)
            yield from (self._play_graph if is_graph else self._play_path)(run, trace.load)

    def _play_graph(self, run: SpanRun, load: _Load) -> Iterator[Record | Beginning]:
        """Play a run of LangGraph, each event in its place."""
        self._nodes = GraphNodes()
        self._open: dict[int, _Open] = {}
        self._graphs: dict[str, UUID] = {}
        self._roots: list[Span] = []
        for event in SpanTree(run.rows()).events():
            self._now = event.time
            span = (
                self._end(event) if event.is_end else self._start(_as_chain(load(event.row)), event)
            )
            if span and (why := self._find_failure()):
                self._refuse(span, why)
            yield from self._pop_found()
        self._abandon()
        yield from self._pop_found()

    def _play_path(self, run: SpanRun, load: _Load) -> Iterator[Record | Beginning]:
        """Play a run of another framework, step by step."""
        path = find_path(run, load)
        first = load(run.tree.rows[run.tops[0]])
        graph = self._name(first.trace, run.key, is_top=True)
        self._now = first.start
        self._handler.on_chain_start({}, {}, run_id=graph, name=path.name)
        for step in path.steps:
            spans = [self._start_action(load(each.row), each, path, graph) for each in step]
            started = [(each, span) for each, span in zip(step, spans, strict=True) if span]
            for action, span in sorted(started, key=lambda each: each[0].stop):
                self._end_action(action, span, is_last=step is path.steps[-1])
            yield from self._pop_found()
        self._now = max(self._now, run.stop)
        if path.error is None and run.has_ended:
            self._handler.on_chain_end({}, run_id=graph)
        else:
            self._fail_run(graph, path.error)
        judged = (load(run.tree.rows[place]) for place in run.tops)
        for span in judged:
            if span.success is not None:
                self._judge(span)
        yield from self._pop_found()

    def _fail_run(self, graph: UUID, error: str | None) -> None:
        """End a run that failed, or whose end is not in the trace."""
        if error is None:
            raised: BaseException = GeneratorExit()
        else:
            raised = make_limit(error) if is_limit(error) else make_error(error)
        self._handler.on_chain_error(raised, run_id=graph)

    def _start_action(self, span: Span, action: Action, path: SpanPath, graph: UUID) -> Span | None:
        """Start a step; None where it has no name of a state."""
        if action.kind != "model" and action.name in BOUNDARIES:
            self._refuse(span, f"{action.name!r} marks a boundary, it is not a name of a state")
            return None
        self._now = max(self._now, action.start)
        metadata = _read_metadata(span, "")
        metadata = {k: v for k, v in metadata.items() if not k.startswith("langgraph_")}
        metadata |= {"thread_id": path.thread}
        if path.agent is not None:
            metadata["lc_agent_name"] = path.agent
        asks = ("tool",) if action.is_transparent else ()
        if action.kind == "model":
            span = replace(span, asks=(span.asks or asks) if asks else ())
        else:
            inputs = span.inputs if span.kind == "tool" else None
            span = replace(span, kind="tool", name=action.name, inputs=inputs)
        run = self._name(span.trace, span.id, is_top=False)
        send_start(self._handler, span, run, graph, metadata, span.tags, prompts=self._prompts)
        return span

    def _end_action(self, action: Action, span: Span, *, is_last: bool) -> None:
        """End a step, unless its end is not in the trace."""
        if action.row.stop is None:
            return
        self._now = max(self._now, action.stop)
        # A cancelled call that the agent went on from failed.
        error = "Cancelled" if action.error == CANCELLED and not is_last else action.error
        run = self._name(span.trace, span.id, is_top=False)
        send_end(self._handler, replace(span, error=error), run)
        if why := self._find_failure():
            self._refuse(span, why)

    def _pop_found(self) -> list[Record | Beginning]:
        found, self._found = self._found, []
        return found

    def _start(self, span: Span, event: SpanEvent) -> Span | None:
        above = self._open.get(event.parent.place) if event.parent else None
        around = above.place if above else None
        namespace = find_namespace(span, around)
        is_node = self._nodes.is_node(span, namespace, around)
        if why := _find_fault(span, is_node, namespace, around):
            self._refuse(span, why)
            return None
        if around is None:
            self._roots.append(span)
        run = self._name(span.trace, span.id, is_top=around is None)
        parent, own_graph = self._find_parent(span, around, is_node)
        metadata = _read_metadata(span, namespace)
        tags = [tag for tag in span.tags if not tag.startswith(STEP_TAG)]
        if is_node and parent:
            metadata |= self._nodes.describe(span, namespace, parent)
            tags.append(f"{STEP_TAG}{metadata['langgraph_step']}")
        send_start(self._handler, span, run, parent, metadata, tags, prompts=self._prompts)
        place = SpanPlace(
            run,
            around.graph if around and not is_node else run,
            namespace,
            name_node(metadata) if is_node or around is None else around.node,
        )
        may_be_state = span.kind != "chain" or is_node or read_kind((), metadata) == "task"
        self._open[event.row.place] = _Open(span, place, may_be_state, own_graph)
        return span

    def _find_parent(
        self, span: Span, around: SpanPlace | None, is_node: bool
    ) -> tuple[UUID | None, UUID | None]:
        """Return the run that a span is sent as being inside of, and whether it is its own graph.

        The nodes of LangGraph stand right under their graph; others may stand deeper. Nodes and
        steps whose graph is not in the trace are given one.
        """
        if around:
            is_deeper = is_node and not span.metadata.get("langgraph_node")
            return around.graph if is_deeper else around.run, None
        if not is_node and (span.parent is None or span.kind == "chain"):
            return None, None
        key = span.parent or f"{span.id}^"
        if key not in self._graphs:
            self._graphs[key] = self._name(span.trace, key, is_top=span.parent is None)
            self._handler.on_chain_start({}, {}, run_id=self._graphs[key])
        return self._graphs[key], self._graphs[key] if span.parent is None else None

    def _end(self, event: SpanEvent) -> Span | None:
        done = self._open.pop(event.row.place, None)
        if done is None:
            return None
        send_end(self._handler, done.span, done.place.run, whole=done.may_be_state)
        if done.graph:
            send_end(self._handler, replace(done.span, kind="chain"), done.graph, whole=False)
        return done.span

    def _find_failure(self) -> str:
        """Say what went wrong since it was asked last."""
        why, self._states.failure = self._states.failure, ""
        if self._handler.faults > self._faults:
            self._faults = self._handler.faults
            return why or "it cannot be played back to the handler"
        return why

    def _abandon(self) -> None:
        """End what has no end, and judge the trace."""
        for run in (*(o.place.run for o in self._open.values()), *self._graphs.values()):
            self._handler.on_chain_error(GeneratorExit(), run_id=run)
        for root in self._roots:
            if root.success is not None:
                self._judge(root)

    def _judge(self, root: Span) -> None:
        """Add what a trace says of its outcome to the trajectory of its outermost graph."""
        told = root.success
        if self._fields.success is None:  # then these are scores, which tell it where all are one
            told = next(iter(told.values())) if len(self._bad.score_names) == 1 else None
        try:
            outcome, success = parse_outcome(told, "the outcome", self._fields.success_values)
        except BadRecordError as error:
            self._refuse(root, str(error))
            return
        key = min(self._last, key=len, default=None)
        if key is not None and (outcome or success is not None):
            run, context = self._last[key]
            judged = Ending(key, outcome, None, success, context, self._now / 1e9, run=run)
            self._found.append(judged)

    def _refuse(self, span: Span, why: str) -> None:
        if span.id not in self._refused:
            self._refused.add(span.id)
            self._bad.accepted -= 1
            self._bad.report(span.line, f"the span {safe_text(span.name, 60)!r}: {why}")

    def _name(self, trace: str, span: str, *, is_top: bool) -> UUID:
        """Return the run of a span, and keep the name of a trajectory that is named by it."""
        with suppress(ValueError):
            if any((run := UUID(span)).bytes):
                return run
        digest = blake2b(f"{trace}\0{span}".encode(), digest_size=16).digest()
        run = UUID(bytes=digest)
        self._names[str(run)] = trace if is_top and self._is_single else f"{trace}:{span}"
        return run


def _as_chain(span: Span) -> Span:
    """Return a span as LangChain knows it: agents, handoffs and foreign spans are chains."""
    is_known = span.kind in ("model", "tool", "retriever", "chain")
    return span if is_known else replace(span, kind="chain")


def _count_tops(rows: Sequence[SpanRow]) -> int:
    """Count the spans that nothing is above of."""
    known = {row.id for row in rows}
    return sum(row.parent not in known for row in rows)


def _read_metadata(span: Span, namespace: str) -> dict[str, Any]:
    """Return the metadata of a span as the handler is given them."""
    metadata = {**span.metadata, RECORD: span.record}
    if metadata.get("langgraph_node"):
        metadata["langgraph_checkpoint_ns"] = namespace
    else:
        metadata.pop("langgraph_path", None)
        metadata.setdefault("thread_id", metadata.get("session.id"))
    if span.model:
        metadata.setdefault("ls_model_name", span.model)
    return metadata


def _find_fault(span: Span, is_node: bool, namespace: str, around: SpanPlace | None) -> str:
    """Say why a span cannot be played; "" where it can."""
    node = span.metadata.get("langgraph_node")
    if (span.kind == "tool" and span.name in BOUNDARIES) or (is_node and node in BOUNDARIES):
        return f"{span.name!r} marks a boundary, it is not a name of a state"
    inside = around.namespace if around else ""
    if span.kind != "chain" and node and node != START and namespace != inside:
        return (
            f"it belongs to the node {safe_text(node, 60)!r}, whose own span is not in the trace; "
            "export whole traces"
        )
    return ""
