"""Handlers that attach themselves: to what runs inside a with block, or to a whole process."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, cast

from langchain_core.runnables.config import RunnableConfig, var_child_runnable_config
from langchain_core.tracers.context import register_configure_hook

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.labels import ContextLike
from detailed_balance.callbacks.isolation import warn
from detailed_balance.callbacks.named_states import find_states
from detailed_balance.callbacks.recorder._opening_store import OpeningStore
from detailed_balance.callbacks.recorder.handler import TransitionCallbackHandler
from detailed_balance.callbacks.redaction import hide_secrets
from detailed_balance.callbacks.states import ActionStates, ModelCallStates, StateFunction

if TYPE_CHECKING:
    from detailed_balance.callbacks.graph import TransitionGraph
    from detailed_balance.callbacks.store.store import TransitionStore

__all__ = ["install", "record_transitions"]

_STORE_VARIABLE = "DETAILED_BALANCE_STORE"
"""Names the store: a URL, or the path of a file that SQLite keeps."""

_CONTEXT_VARIABLE = "DETAILED_BALANCE_CONTEXT"
"""Names the labels of all that is recorded: ``version=2,team=search``, or as an object of JSON."""

_STATES_VARIABLE = "DETAILED_BALANCE_STATES"
"""Names the state function: ``tools``, or ``module:function``; see `find_states`."""

_Slot: TypeAlias = ContextVar[TransitionCallbackHandler | None]
_ACTIONS = ActionStates()
_SLOTS: list[_Slot] = []
"""One variable for each depth of nesting, for LangChain reads one handler from each."""

_PROCESS_SLOT: _Slot = ContextVar("detailed_balance_process_recorder", default=None)
_installed = False


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
        # LangGraph reports interrupts between nodes only to handlers that a config names.
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


class ProcessRecorder(TransitionCallbackHandler):
    """The one recorder of this process, made when the first agent runs.

    LangChain asks for it in every thread while ``DETAILED_BALANCE_STORE`` is set. Where the
    store cannot be opened, or there is no such state function, it says so once in the log, nothing
    is stored, and the agents run as they would.

    Examples
    --------
    >>> ProcessRecorder() is ProcessRecorder()
    True
    """

    _only: ClassVar[ProcessRecorder | None] = None
    _making: ClassVar[threading.RLock] = threading.RLock()

    def __new__(cls) -> Self:
        """Return the only one."""
        with cls._making:
            if not isinstance(cls._only, cls):
                only = super().__new__(cls)
                only._set_up()
                cls._only = only
            return cls._only

    def __init__(self) -> None:
        """Leave all as it is: Python calls this each time that the recorder is asked for."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()

    def _set_up(self) -> None:
        context = _read_context(os.environ.get(_CONTEXT_VARIABLE, ""))
        states = _find_states(os.environ.get(_STATES_VARIABLE, ""))
        place = "" if states is None else os.environ.get(_STORE_VARIABLE, "")
        store: TransitionStore | OpeningStore | None
        if place and _is_in_event_loop():
            store = OpeningStore(partial(_open_store, place))
        else:
            store = _open_store(place) if place else None
        super().__init__(
            _ACTIONS if states is None else states,
            store=cast("TransitionStore | None", store),
            context=context,
        )


def _open_store(place: str) -> TransitionStore | None:
    """Open the store that the variable names; say so where it cannot be."""
    try:
        from detailed_balance.callbacks.store.engine import locate  # loads SQLAlchemy
        from detailed_balance.callbacks.store.store import TransitionStore

        return TransitionStore(locate(place))
    except Exception:
        warn("%s=%s: nothing is stored", _STORE_VARIABLE, hide_secrets(place))
        return None


def _find_states(name: str) -> StateFunction | ModelCallStates | None:
    """Return the state function that the variable names; say so where there is none."""
    try:
        return find_states(name) if name else _ACTIONS
    except InvalidInputError as error:
        reason = str(error)
    warn("%s: nothing is stored: %s", _STATES_VARIABLE, reason)
    return None


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _read_context(value: str) -> ContextLike:
    """Return the labels; JSON has commas and equals signs in names and values.

    Examples
    --------
    >>> _read_context("version=2, team=red"), _read_context('{"team": "red, blue"}')
    ({'version': '2', 'team': 'red'}, {'team': 'red, blue'})
    """
    with suppress(ValueError):
        labels = json.loads(value)
        if isinstance(labels, dict):
            return {name: str(label) for name, label in labels.items()}
    pairs = (pair.partition("=") for pair in value.split(",") if pair.strip())
    return {name.strip(): label.strip() for name, _, label in pairs}


def install() -> None:
    """Let LangChain ask for the recorder of this process wherever the variable is set.

    ``import detailed_balance`` does it where the variable is set by then; the command
    ``detailed-balance record`` does it for programs that do not import it.

    Examples
    --------
    >>> install()  # once or more often is the same
    """
    global _installed
    if not _installed:
        _installed = True
        register_configure_hook(_PROCESS_SLOT, True, ProcessRecorder, _STORE_VARIABLE)
