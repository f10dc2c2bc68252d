"""`TransitionCallbackHandler`, which records the transitions of agents."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.errors import ParentCommand
from langgraph.types import Command

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.labels import ContextLike, make_context
from detailed_balance.callbacks.facts import TaskFacts, read_usage
from detailed_balance.callbacks.graph import TransitionGraph
from detailed_balance.callbacks.isolation import (
    Faults,
    Metadata,
    More,
    Tags,
    ends,
    harmless,
    harmless_unary,
    starts,
)
from detailed_balance.callbacks.recorder._inline import Inline
from detailed_balance.callbacks.recorder._labels import (
    Labels,
    hash_prompt,
    hash_template,
    read_model,
)
from detailed_balance.callbacks.recorder._run_state import Call, ModelCall, StepRun
from detailed_balance.callbacks.recorder._run_tracker import RunTracker
from detailed_balance.callbacks.recorder.langgraph_events import (
    read_kind,
    read_outcome,
    read_reply,
    read_tool,
)
from detailed_balance.callbacks.recorder.recent_runs import RecentRuns
from detailed_balance.callbacks.recorder.trajectory_builder import (
    Record,
    Stop,
    TrajectoryStep,
    join_names,
)
from detailed_balance.callbacks.states import (
    ActionStates,
    ModelCallStates,
    NodeRun,
    StateFunction,
    state_names,
)
from detailed_balance.callbacks.states.base import NOTHING, read_given
from detailed_balance.callbacks.states.cardinality import StateLimit
from detailed_balance.callbacks.states.steps import answered_tools
from detailed_balance.callbacks.transition import RESUMED, Beginning, Ending, Transition

if TYPE_CHECKING:
    from langchain_core.outputs import LLMResult
    from langgraph.callbacks import GraphCallbackHandler, GraphInterruptEvent

    from detailed_balance.callbacks.store.store import TransitionStore
else:
    try:
        from langgraph.callbacks import GraphCallbackHandler
    except ImportError:  # before 1.2 LangGraph did not report interrupts between nodes
        from langchain_core.callbacks import BaseCallbackHandler as GraphCallbackHandler

__all__ = ["TransitionCallbackHandler"]

_ACTIONS = ActionStates()
_FAILED = "a state function failed: its attempt is recorded as one that reached no state"
_NO_FACTS = "the facts of a step could not be read: it is recorded without them"
_NOT_READ = "what a node was given could not be read: its state is named by what it did"
_CALLS = frozenset({"messages", "__type"})
"""What a node is given has one of these, if it has calls to answer."""
_Subject = TypeVar("_Subject")


class TransitionCallbackHandler(GraphCallbackHandler):
    """Record the transitions of every agent it is attached to, and never disturb one.

    Attach it as ``agent.invoke(..., {"callbacks": [handler]})``. One handler serves any number of
    agents, threads and tasks at the same time.

    Parameters
    ----------
    states : callable or ModelCallStates
        What is a state: a function of a `NodeRun`, or an object such as `PromptStates`.
    graph : TransitionGraph, optional
        Counts the transitions; a new one by default.
    store : TransitionStore or str, optional
        Keeps the transitions. Given a URL, the handler opens the store, and `close` closes it.
    context : mapping, optional
        Labels of all its transitions, such as the version of the agent.
    labels : sequence of str
        What else to label them by: ``"model"``, the name that the model gives itself; ``"graph"``,
        the name of the graph; ``"agent"``, that of ``create_agent`` (LangChain 1.2.4 and later);
        ``"tags"``; ``"prompt"``, a hash of the prompt template, or else of the system message; and
        any key of the metadata of a run. What a run does not have is left out.
    max_states : int or None
        The most state keys that it distinguishes; every later one is the state ``__other__``, and a
        warning says what seems to be wrong. None for no limit.
    facts : bool
        Whether to record what is known of each step beyond its state: did it fail, does its call
        repeat an earlier one, does its answer, how long are they, and what it cost. Their contents
        are not kept.

    Attributes
    ----------
    recent : RecentRuns
        Without a store, the records of the last 10,000 runs that stopped.

    Raises
    ------
    InvalidInputError
        Where `states` is neither callable nor a `ModelCallStates`, `labels` are not names, or
        `max_states` is out of range.

    Notes
    -----
    A trajectory is the way through one graph; its key is the ``thread_id``, or else the id of the
    root run, and for a subgraph ``/`` and its place in the graph above. Nodes that run side by
    side are one state; a failed attempt is an escape. Tools and models that run in no graph are
    the steps of their root run. Only a run that returned has an END; how each stopped is an
    `Ending`. A thread that is resumed continues where it stopped; where this handler does not know
    that state, as after a restart, the trajectory begins with the first state that it sees.
    Interrupts between nodes (``interrupt_before``) are seen from LangGraph 1.2 on, by a handler in
    the ``callbacks`` of the run or of `record_transitions`; elsewhere they look like an end. A copy
    of a handler is the handler itself; a pickled one has the same settings and a graph of its own.

    Examples
    --------
    >>> from langgraph.graph import StateGraph
    >>> def plan(state): return state
    >>> def write(state): return state
    >>> agent = StateGraph(dict).add_sequence([plan, write]).set_entry_point("plan").compile()
    >>> handler = TransitionCallbackHandler()
    >>> _ = agent.invoke({}, {"callbacks": [handler]})
    >>> list(handler.graph.graph.edges())
    [('__start__', 'plan'), ('plan', 'write'), ('write', '__end__')]
    """

    # In the agent's own thread: a hop to another one costs more than the work.
    run_inline: bool = cast("bool", Inline())

    _of_call: ModelCallStates | None = None
    _of_node: StateFunction | None = None
    _of_tool: Callable[[str, Mapping[str, Any]], str] | None = None

    def __init__(
        self,
        states: StateFunction | ModelCallStates = _ACTIONS,
        graph: TransitionGraph | None = None,
        store: TransitionStore | str | None = None,
        context: ContextLike = None,
        labels: Sequence[str] = ("model", "graph"),
        max_states: int | None = 10_000,
        *,
        facts: bool = True,
    ) -> None:
        super().__init__()
        if isinstance(states, ModelCallStates):
            self._of_call = states
        elif callable(states):
            self._of_node = states
            self._of_tool = getattr(states, "name_tool", None)
        else:
            raise InvalidInputError(
                f"states must be callable, or have source() and target(); got {states!r}; "
                "try ActionStates(), NodeStates() or PromptStates()"
            )
        self.states = states
        self.graph = TransitionGraph() if graph is None else graph
        self.store = _open_store(store) if isinstance(store, str) else store
        self.context = make_context(context)
        self.recent = RecentRuns()
        self._limit = StateLimit(max_states)
        self._faults = Faults()
        self._store_given = store
        self._labels_given = tuple(labels)
        self._labels = Labels(self.context, labels)
        plain = self._of_node is not None
        self._keeps_facts = facts
        self._hashes_prompts = "prompt" in self._labels
        self._runs = RunTracker(
            self._labels,
            plain=plain,
            on_evict=self._record_eviction,
            may_resume=self.store is not None,
            facts=facts,
        )

    @property
    def faults(self) -> int:
        """The errors kept away from the agent so far; the first of a kind is logged in full."""
        return self._faults.count

    @harmless
    def flush(self) -> None:
        """Wait until the store, if there is one, has what was recorded."""
        if self.store is not None:
            self.store.flush()

    @harmless
    def close(self) -> None:
        """Flush the store, if there is one, and close it if the handler opened it."""
        self.flush()
        if self.store is not None and isinstance(self._store_given, str):
            self.store.close()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        settings = (self.states, None, self._store_given, self.context, self._labels_given)
        make = partial(type(self), facts=self._keeps_facts)
        return make, (*settings, self._limit.max_states)

    @starts
    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        run_id: int,
        parent_id: int | None,
        metadata: Metadata,
        tags: Tags,
        more: More,
    ) -> None:
        """Start a node, or whatever else has something inside."""
        records: Sequence[Record] | None = None
        if parent_id and metadata and self._of_node is not None:
            kind = read_kind(tags, metadata)
            if kind == "node":
                records = self._runs.start_node(run_id, parent_id, metadata, tags)
                if type(inputs) is not dict or not _CALLS.isdisjoint(inputs):
                    self._read_given(run_id, inputs)
            elif kind == "task":
                records = self._runs.start_task(run_id, parent_id, metadata)
        if records is None:
            if more.get("run_type") == "prompt":
                self._record_template(serialized, parent_id)
            resumes = inputs is None or isinstance(inputs, Command)  # it is given nothing new
            records = self._runs.start(run_id, parent_id, (more.get("name"), resumes))
        if records:
            self._record(records)

    def _read_given(self, run_id: int, inputs: Any) -> None:
        try:
            if isinstance(node := self._runs.get(run_id), StepRun):
                node.given = read_given(node.name, inputs)
        except Exception:  # a state of a class of the user's own
            self._faults.record(_NOT_READ)

    def _finish(self, output: Any, run_id: int) -> None:
        """End a run that returned; a state function that failed fails it for us."""
        names: tuple[str, ...] | None = ()
        facts: TaskFacts | None = None
        run = self._runs.get(run_id)
        if isinstance(run, StepRun):
            if self._of_node is not None and not run.has_steps:
                tools, called = tuple(run.tools), run.called_model
                about = (output, run.metadata, run.given)
                node = NodeRun(run.name, run.builder.step, tools, called, *about)
                acts = called or tools or run.given is not NOTHING or "." in run.name  # a hook
                names = self._name(self._name_node if acts else self._of_node, node)
                if run.builder.facts is not None:
                    messages = node.messages if acts else ()
                    facts = self._find_facts(run, output if names else None, messages)
        elif isinstance(run, ModelCall) and self._of_call is not None:
            names = self._name(self._of_call.target, output)
        outcome = Outcome.FAILED if names is None else Outcome.ENDED
        if records := self._runs.end(run_id, outcome, names or (), None, facts):
            self._record(records)

    on_chain_end = on_tool_end = ends(_finish)

    @ends
    def on_chain_error(self, error: BaseException, run_id: int) -> None:
        """End a node, a graph or a chain that raised; a command to the parent is not a failure."""
        if isinstance(error, ParentCommand):
            self._finish(error.args[0], run_id)
        else:
            self._fail(run_id, error)

    @starts
    def on_tool_start(
        self,
        serialized: Any,
        input_str: Any,
        run_id: int,
        parent_id: int | None,
        metadata: Metadata,
        tags: Tags,
        more: More,
    ) -> None:
        """Start a tool."""
        inputs = more.get("inputs")
        name = self._name_tool(read_tool(serialized, more), inputs)
        is_new = self._runs.get(run_id) is None  # the event may come twice
        self._record(self._runs.start_tool(run_id, parent_id, name, Call(metadata, tags)))
        step = self._runs.step_of(run_id) if is_new else None
        if step and step.builder.facts and not step.given.calls:
            asked = input_str or None if inputs is None else inputs  # None: a trace without it
            if asked is not None:
                step.called += (step.builder.facts.call(name, asked),)

    @ends
    def on_tool_error(self, error: BaseException, run_id: int) -> None:
        """End a tool; the end of its node says whether that failed too."""
        self._fail(run_id, error)

    @starts
    def on_retriever_start(self, serialized: Any, query: Any, *run: Any) -> None:
        """Start a retriever, which is part of what it runs in."""
        run_id, parent_id, *_ = run
        self._record(self._runs.start(run_id, parent_id))

    @ends
    def on_retriever_end(self, documents: Any, run_id: int) -> None:
        """End a retriever."""
        self._record(self._runs.end(run_id, Outcome.ENDED))

    @ends
    def on_retriever_error(self, error: BaseException, run_id: int) -> None:
        """End a retriever that failed."""
        self._fail(run_id, error)

    @starts
    def on_chat_model_start(self, serialized: Any, messages: Any, *run: Any) -> None:
        """Start a chat model."""
        self._start_model(messages[0], *run)

    @starts
    def on_llm_start(self, serialized: Any, prompts: Any, *run: Any) -> None:
        """Start a model that completes text: its prompt stands for one human message."""
        self._start_model([HumanMessage(prompts[0])], *run)

    @ends
    def on_llm_end(self, response: LLMResult, run_id: int) -> None:
        """End a model call."""
        step = self._runs.step_of(run_id)
        counted = step is not None and step.builder.facts is not None
        asked = counted or isinstance(self._runs.get(run_id), (StepRun, ModelCall))
        reply = read_reply(response) if asked else None
        if step is not None and counted and isinstance(reply, AIMessage):
            step.usage += (read_usage(reply),)
        self._finish(reply, run_id)

    @ends
    def on_llm_error(self, error: BaseException, run_id: int) -> None:
        """End a model call that failed."""
        self._fail(run_id, error)

    @harmless
    def on_interrupt(self, event: GraphInterruptEvent) -> None:
        """Leave the trajectory of this graph open."""
        if event.run_id is not None:
            self._runs.interrupt(event.run_id.int)

    def _start_model(
        self,
        messages: Sequence[BaseMessage],
        run_id: int,
        parent_id: int | None,
        metadata: Metadata,
        tags: Tags,
        more: More,
    ) -> None:
        prompt = hash_prompt(messages) if self._hashes_prompts else None
        call = Call(metadata, tags, read_model(metadata, more), prompt)
        names = None if self._of_call is None else self._name(self._of_call.source, messages)
        if names:
            self._record(self._runs.start_call(run_id, parent_id, join_names(names), call))
        else:
            self._record(self._runs.start_model(run_id, parent_id, call))

    def _record_template(self, serialized: Any, parent_id: int | None) -> None:
        template = hash_template(serialized) if self._hashes_prompts else None
        if template and parent_id:
            self._runs.record_template(parent_id, template)

    def _fail(self, run_id: int, error: BaseException) -> None:
        run, facts = self._runs.get(run_id), None
        if isinstance(run, StepRun):
            facts = self._find_facts(run, None, (), failed=True)
        self._record(self._runs.end(run_id, read_outcome(error), error=error, facts=facts))

    def _find_facts(
        self, run: StepRun, output: Any, messages: Sequence[BaseMessage], *, failed: bool = False
    ) -> TaskFacts | None:
        """Return the facts of a step that ended, without its contents."""
        of_run = run.builder.facts
        if of_run is None:
            return None
        try:
            calls = run.given.calls if run.tools or not failed else ()
            return of_run.task(
                messages, calls, output, failed=failed, called=run.called, usage=run.usage
            )
        except Exception:
            self._faults.record(_NO_FACTS)
            return None

    def _name(
        self, state_of: Callable[[_Subject], str | Iterable[str] | None], subject: _Subject
    ) -> tuple[str, ...] | None:
        """Return the state keys of `subject`; None where the state function fails."""
        try:
            value = state_of(subject)
            names = (value,) if type(value) is str else value
            # What passed before is not checked again, and that is almost every state.
            if type(names) is tuple and self._limit.knows(names):
                return names
            return self._limit(state_names(value))
        except BaseException:
            self._faults.catch(_FAILED)
            return None

    def _name_node(self, node: NodeRun) -> str | Iterable[str] | None:
        node.tools = answered_tools(node, self._name_tool)
        return self._of_node(node) if self._of_node else None

    def _name_tool(self, name: str, arguments: Any) -> str:
        """Return the name that the state function gives a tool; where it fails, "", no state."""
        if self._of_tool is None:
            return name
        try:
            return self._of_tool(name, arguments or {})
        except BaseException:
            self._faults.catch(_FAILED)
            return ""

    def _record(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, TrajectoryStep):
                self._record_move(record)
            elif isinstance(record, Stop):
                self._record_stop(record)
            else:
                self._record_beginning(record)

    @harmless_unary  # each move has its own edge, so that a lost one takes no other along
    def _record_move(self, move: TrajectoryStep) -> None:
        trajectory, source, target, step, context, run, facts = move
        now = time.time()
        if self.store is None:
            self.recent.record_move(move, now)
        else:
            moved = Transition(source, target, trajectory, context, step, now, 1, run, facts)
            self.store.record(moved)
        if source != RESUMED:
            self.graph.record(source, target, trajectory=trajectory, context=context, run=run)

    @harmless_unary
    def _record_stop(self, stop: Stop) -> None:
        trajectory, outcome, error, context, run, standing, supersteps, replaces = stop
        stopped = (trajectory, outcome, error, None, context, time.time())
        self._keeper.record(Ending(*stopped, run, standing, supersteps))
        self.graph.record_outcome(outcome, context=context, replaces=replaces)

    @harmless_unary
    def _record_beginning(self, beginning: Beginning) -> None:
        self._keeper.record(replace(beginning, time=time.time()))

    @property
    def _keeper(self) -> TransitionStore | RecentRuns:
        return self.recent if self.store is None else self.store

    def _record_eviction(self) -> None:
        self._faults.record("too many open runs: the oldest counts as abandoned")


def _open_store(url: str) -> TransitionStore:
    from detailed_balance.callbacks.store.store import TransitionStore  # loads SQLAlchemy

    return TransitionStore(url)
