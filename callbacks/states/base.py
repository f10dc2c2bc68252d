"""What state functions are given, what they may give, and how ``+`` combines them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from langchain_core.messages import AIMessage, BaseMessage
from langgraph.types import Command

from detailed_balance.analyzers.boundaries import BOUNDARIES, END, START
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.names import is_hook
from detailed_balance.callbacks.states.messages import read_calls, written_messages

__all__ = [
    "NOTHING",
    "Combinable",
    "CombinedStates",
    "Given",
    "ModelCallStates",
    "NodeRun",
    "StateFunction",
    "asks_for_tools",
    "read_given",
    "state_names",
]


class Given(NamedTuple):
    """What a node was given: the calls that it may answer, and the messages that are not new.

    Parameters
    ----------
    calls : sequence of mapping
        The calls in the last message of the model, by reference.
    seen : frozenset of str
        The ids of all messages before it; only of a hook of a middleware, for it may return them.
    """

    calls: Sequence[Mapping[str, Any]] = ()
    seen: frozenset[str] = frozenset()


NOTHING = Given()
"""Nothing is known of what a node was given."""


def read_given(name: str, inputs: Any) -> Given:
    """Return what the node `name` is given, before it can change it.

    Examples
    --------
    >>> read_given("Todo.after_model", {"messages": [AIMessage("hi", id="7")]}).seen
    frozenset({'7'})
    """
    calls = read_calls(inputs)
    messages = inputs.get("messages") if is_hook(name) and isinstance(inputs, dict) else None
    seen = [m.id for m in messages if getattr(m, "id", None)] if type(messages) is list else ()
    return Given(calls, frozenset(seen)) if calls or seen else NOTHING


@dataclass(slots=True)
class NodeRun:
    """One run of a graph node that has just finished: what a state function is given.

    Parameters
    ----------
    name : str
        The node.
    step : int or None
        The superstep of its graph in which it ran.
    tools : tuple of str
        The tools that ran directly inside the node, in the order of their start, and those whose
        calls it answered without running them, as the ``name_tool`` of the state function names
        them, or else by their own names; a call of a tool that does not exist is
        ``name!unknown``, one that was rejected ``name!refused``. A tool whose naming failed is
        the empty text, which is not a state key: a state made of it is an escape.
    called_model : bool
        Whether a model was called directly inside the node (a model that one of its tools calls
        belongs to the tool).
    output : Any
        What the node returned, by reference: read it, change nothing, keep nothing.
    metadata : Mapping of str to Any
        The metadata of the run, LangGraph's own keys (``langgraph_step``, ...) included.
    given : Given
        What it was given, as far as its state needs that.

    Examples
    --------
    >>> from langchain_core.messages import AIMessage
    >>> call = {"name": "search", "args": {}, "id": "1"}
    >>> NodeRun("model", 1, output={"messages": [AIMessage("", tool_calls=[call])]}).asked_tools
    True
    """

    name: str
    step: int | None = None
    tools: tuple[str, ...] = ()
    called_model: bool = False
    output: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    given: Given = NOTHING
    _messages: list[BaseMessage] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def is_hook(self) -> bool:
        """Whether it is the hook of a middleware, such as ``TodoListMiddleware.after_model``."""
        return "." in self.name and is_hook(self.name)

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages that it wrote, without those that it was given."""
        if self._messages is None:
            written, seen = written_messages(self.output), self.given.seen
            new = [m for m in written if m.id is None or m.id not in seen] if seen else written
            self._messages = new
        return self._messages

    @property
    def asked_tools(self) -> bool:
        """Whether the last message of the output is a model's request to run tools."""
        return asks_for_tools(self.output)


def asks_for_tools(output: Any) -> bool:
    """Say whether the last message of what a node returned is a model's request to run tools."""
    if isinstance(output, dict):
        return any(map(_is_request, output.values()))
    if isinstance(output, Command):
        return asks_for_tools(output.update)
    if isinstance(output, (list, tuple)):
        updates = (part for part in output if isinstance(part, (Command, dict)))
        return _is_request(output) or any(map(asks_for_tools, updates))
    return _is_request(output)


def _is_request(value: Any) -> bool:
    """Say whether a message, or the last of a list of messages, asks for tools."""
    last = value[-1] if isinstance(value, (list, tuple)) and value else value
    return isinstance(last, AIMessage) and bool(last.tool_calls)


StateFunction: TypeAlias = Callable[[NodeRun], str | Iterable[str] | None]
"""Names the state of a finished node run; None makes it transparent, several are a composite.

It may have a method ``name_tool(name, arguments) -> str``, which is asked when a tool starts, for
its arguments are not kept; what it says then stands in `NodeRun.tools`.
"""


@runtime_checkable
class ModelCallStates(Protocol):
    """States of model calls: each call is one transition ``source(messages) -> target(reply)``."""

    def source(self, messages: Sequence[BaseMessage]) -> str | None:
        """Name the state that the call starts from; None leaves the call out."""
        ...

    def target(self, message: BaseMessage) -> str | None:
        """Name the state that the reply is; None is an escape."""
        ...


def state_names(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return what a state function returned as a tuple of state keys; empty means transparent.

    Raises
    ------
    InvalidInputError
        Where a key is not a str, is empty, or is START or END.

    Examples
    --------
    >>> state_names("plan"), state_names(["search", "read"]), state_names(None)
    (('plan',), ('search', 'read'), ())
    """
    if value is None:
        return ()
    if isinstance(value, str):
        return (_checked_key(value),)
    return tuple(map(_checked_key, value))


def _checked_key(key: str) -> str:
    # Nothing is turned into a str here: a repr often has an address or an id in it, and every
    # visit would be a new state.
    if not isinstance(key, str) or not key or key in BOUNDARIES:
        raise InvalidInputError(
            f"a state key must be a str, not empty, and not {START!r} or {END!r}; the state "
            f"function gave {key!r}; return a text that names the state, several, or None"
        )
    return key


class Combinable:
    """State functions that ``+`` combines, with one another and with any callable."""

    __slots__ = ()

    def __add__(self, other: StateFunction) -> CombinedStates:
        return CombinedStates((self, other)) if callable(other) else NotImplemented

    def __radd__(self, other: StateFunction) -> CombinedStates:
        return CombinedStates((other, self)) if callable(other) else NotImplemented

    def __call__(self, run: NodeRun) -> Any:
        """Name the state of `run`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class CombinedStates(Combinable):
    """What several state functions say of one node run, joined into one key.

    A part that is transparent is left out of the key, and a node is transparent where all parts
    are. Where a part names several states, such as parallel tools, each has a key of its own
    (``tools:read|tools:search``). Where one part fails, the state is an escape.

    Parameters
    ----------
    parts : tuple of callable
        The state functions, in the order of the key. Several with a ``name_tool`` name a tool one
        after the other.
    separator : str
        Stands between the parts. LangGraph allows no ``:`` in the name of a node.

    Examples
    --------
    >>> from detailed_balance.callbacks.states import NodeStates, ToolStates
    >>> states = NodeStates() + ToolStates()
    >>> states(NodeRun("agent", 2, tools=("search",)))
    ('agent:search',)
    >>> states(NodeRun("planner", 1))
    ('planner',)
    >>> CombinedStates((NodeStates(), ToolStates()), separator="/")(NodeRun("a", tools=("b", "c")))
    ('a/b', 'a/c')
    """

    parts: tuple[StateFunction, ...]
    separator: str = ":"

    def __call__(self, run: NodeRun) -> tuple[str, ...]:
        """Name the state of `run`."""
        named = (sorted(set(state_names(part(run)))) for part in self.parts)
        given = [names for names in named if names]
        return tuple(map(self.separator.join, itertools.product(*given))) if given else ()

    def name_tool(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Name a tool that starts, as the parts name it."""
        for part in self.parts:
            if rename := getattr(part, "name_tool", None):
                name = rename(name, arguments)
        return name
