"""`record_transitions`, which attaches a handler to all that runs inside a with block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

from langchain_core.runnables.config import RunnableConfig, var_child_runnable_config
from langchain_core.tracers.context import register_configure_hook

from detailed_balance.callbacks.recorder.handler import TransitionCallbackHandler
from detailed_balance.callbacks.states import ActionStates, ModelCallStates, StateFunction
from detailed_balance.callbacks.transition import ContextLike

if TYPE_CHECKING:
    from detailed_balance.callbacks.graph import TransitionGraph
    from detailed_balance.callbacks.store.store import TransitionStore

__all__ = ["record_transitions"]

_Slot: TypeAlias = ContextVar[TransitionCallbackHandler | None]
_ACTIONS = ActionStates()
_SLOTS: list[_Slot] = []
"""One variable for each depth of nesting, for LangChain reads one handler from each."""


@contextmanager
def record_transitions(
    states: StateFunction | ModelCallStates = _ACTIONS,
    graph: TransitionGraph | None = None,
    store: TransitionStore | str | None = None,
    context: ContextLike = None,
    labels: Sequence[str] = ("model", "graph"),
    max_states: int | None = 10_000,
) -> Iterator[TransitionCallbackHandler]:
    """Record all that runs inside the with block; the agents themselves need no change.

    The arguments are those of `TransitionCallbackHandler`. Blocks may be nested, and each records
    what runs inside it. At the end the store is flushed, and closed if it was given as a URL. It
    reaches what runs in this thread or task, and in the threads and tasks that LangChain starts
    from here; a plain ``threading.Thread`` starts with no context: open the block inside it, or
    hand the handler over.

    Yields
    ------
    TransitionCallbackHandler
        The handler; its `graph` has the counts.

    Examples
    --------
    >>> from langgraph.graph import StateGraph
    >>> def answer(state): return state
    >>> agent = StateGraph(dict).add_node(answer).set_entry_point("answer").compile()
    >>> with record_transitions() as handler:
    ...     _ = agent.invoke({})
    >>> list(handler.graph.graph.edges())
    [('__start__', 'answer'), ('answer', '__end__')]
    """
    handler = TransitionCallbackHandler(states, graph, store, context, labels, max_states)
    slot, outside = _free_slot(), var_child_runnable_config.get()
    slot.set(handler)
    handlers = outside.get("callbacks") if outside else []
    if set(outside or ()) <= {"callbacks"} and isinstance(handlers, list):  # not inside a run
        # LangGraph tells of interrupts between nodes only those handlers that a config names.
        var_child_runnable_config.set(RunnableConfig(callbacks=[*handlers, handler]))
    try:
        yield handler
    finally:
        slot.set(None)  # reset() would raise where a generator is closed in another context
        var_child_runnable_config.set(outside)
        handler.close()


def _free_slot() -> _Slot:
    free = (slot for slot in _SLOTS if slot.get() is None)
    return next(free, None) or _new_slot()


def _new_slot() -> _Slot:
    slot: _Slot = ContextVar("detailed_balance_recorder", default=None)
    register_configure_hook(slot, inheritable=True)
    _SLOTS.append(slot)
    return slot
