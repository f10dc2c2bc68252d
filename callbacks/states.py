"""State functions: how a node run, or the call of a model, becomes a state key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.types import Command

from detailed_balance.analyzers.counts import BOUNDARIES, END, START
from detailed_balance.analyzers.errors import InvalidInputError

__all__ = [
    "ActionStates",
    "ModelCallStates",
    "NodeRun",
    "NodeStates",
    "PromptStates",
    "StateFunction",
    "ToolStates",
    "last_human_text",
    "reply_text",
    "state_names",
]


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
        The tools that ran directly inside the node, in the order of their start.
    called_model : bool
        Whether a model was called directly inside the node (a model that one of its tools calls
        belongs to the tool).
    output : Any
        What the node returned, by reference: read it, change nothing, keep nothing.
    metadata : Mapping of str to Any
        The metadata of the run, LangGraph's own keys (``langgraph_step``, ...) included.

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

    @property
    def asked_tools(self) -> bool:
        """Whether the last message of the output is a model's request to run tools."""
        return _asks_for_tools(self.output)


def _asks_for_tools(output: Any) -> bool:
    if isinstance(output, dict):
        return any(map(_is_request, output.values()))
    if isinstance(output, Command):
        return _asks_for_tools(output.update)
    if isinstance(output, (list, tuple)):
        updates = (part for part in output if isinstance(part, (Command, dict)))
        return _is_request(output) or any(map(_asks_for_tools, updates))
    return _is_request(output)


def _is_request(value: Any) -> bool:
    """Say whether a message, or the last of a list of messages, asks for tools."""
    last = value[-1] if isinstance(value, (list, tuple)) and value else value
    return isinstance(last, AIMessage) and bool(last.tool_calls)


StateFunction: TypeAlias = Callable[[NodeRun], str | Iterable[str] | None]
"""Names the state of a finished node run; None makes it transparent, several are a composite."""


@runtime_checkable
class ModelCallStates(Protocol):
    """States of model calls: each call is one transition ``source(messages) -> target(reply)``."""

    def source(self, messages: Sequence[BaseMessage]) -> str | None:
        """Name the state that the call starts from; None leaves the call out."""
        ...

    def target(self, message: BaseMessage) -> str | None:
        """Name the state that the reply is; None is an escape."""
        ...


@dataclass(frozen=True, slots=True)
class ActionStates:
    """What the agent did: the tools where tools ran, else the node.

    A node that ran tools, and called no model, is its tools. A node that only asked for tools is
    transparent, for the tools speak for it. Any other node is its name, so that planner, writer
    and critic stay apart, and the plain answer of ``create_agent`` is ``model``.

    Examples
    --------
    >>> ActionStates()(NodeRun("tools", 2, tools=("search",)))
    ('search',)
    >>> ActionStates()(NodeRun("planner", 1, called_model=True))
    'planner'
    """

    def __call__(self, run: NodeRun) -> str | tuple[str, ...] | None:
        """Name the state of `run`."""
        if run.tools and not run.called_model:
            return run.tools
        return None if run.asked_tools else run.name


@dataclass(frozen=True, slots=True)
class NodeStates:
    """The node's name, whatever it did.

    Examples
    --------
    >>> NodeStates()(NodeRun("tools", 2, tools=("search",)))
    'tools'
    """

    def __call__(self, run: NodeRun) -> str:
        """Name the state of `run`."""
        return run.name


@dataclass(frozen=True, slots=True)
class ToolStates:
    """The tools that ran; nodes without tools are transparent.

    Examples
    --------
    >>> ToolStates()(NodeRun("tools", 2, tools=("search",)))
    ('search',)
    >>> ToolStates()(NodeRun("model", 3, called_model=True))
    ()
    """

    def __call__(self, run: NodeRun) -> tuple[str, ...]:
        """Name the state of `run`."""
        return run.tools


def last_human_text(messages: Sequence[BaseMessage]) -> str | None:
    """Return the text of the last human message, stripped; None where there is no such text."""
    humans = (message for message in reversed(messages) if isinstance(message, HumanMessage))
    human = next(humans, None)
    return human.text.strip() or None if human else None


def reply_text(message: BaseMessage) -> str | None:
    """Return the text of a reply, stripped; None, an escape, where it is empty."""
    return message.text.strip() or None


@dataclass(frozen=True, slots=True)
class PromptStates:
    """What a model was given and what it answered: the f -> g of one model call.

    Self-loops are recorded; a call that fails, or whose `answer` is None, is an escape. Calls are
    not chained into a path, so there is no START and no END. Models outside LangGraph count too.

    Parameters
    ----------
    prompt : callable
        Names the source state from the messages of the call; None leaves the call out.
    answer : callable
        Names the target state from the reply; None is an escape (unparsable, rejected).

    Notes
    -----
    Paper: section II, where a state is the text that the model is shown and is asked to change.

    Examples
    --------
    >>> from langchain_core.messages import AIMessage, HumanMessage
    >>> words = PromptStates(answer=lambda message: message.text.strip().lower() or None)
    >>> words.source([HumanMessage("buzzing")]), words.target(AIMessage(" Humming"))
    ('buzzing', 'humming')
    """

    prompt: Callable[[Sequence[BaseMessage]], str | None] = last_human_text
    answer: Callable[[BaseMessage], str | None] = reply_text

    def source(self, messages: Sequence[BaseMessage]) -> str | None:
        """Name the state that the call starts from."""
        return self.prompt(messages)

    def target(self, message: BaseMessage) -> str | None:
        """Name the state that the reply is."""
        return self.answer(message)


def state_names(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return what a state function gave as a tuple of state keys; empty means transparent.

    Raises
    ------
    InvalidInputError
        Where a key is no str, is empty, or is START or END.

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
