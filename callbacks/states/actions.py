"""The state functions that read what the agent did: its nodes and its tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from detailed_balance.callbacks.states._tool_arguments import Arguments, check_arguments, name_call
from detailed_balance.callbacks.states.base import Combinable, NodeRun, asks_for_tools
from detailed_balance.callbacks.states.steps import name_attempt, name_hook, only_answers

__all__ = ["ActionStates", "NodeStates", "ToolStates"]


@dataclass(frozen=True, slots=True)
class _ToolNames(Combinable):
    """Names tools, with chosen arguments or without."""

    arguments: Arguments = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", check_arguments(self.arguments))

    def name_tool(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Name a tool that starts, with its chosen arguments."""
        return name_call(name, arguments, self.arguments) if self.arguments else name


@dataclass(frozen=True, slots=True)
class ActionStates(_ToolNames):
    """What the agent did: the tools where tools ran, else the node.

    A node that ran tools, or answered their calls, and called no model of its own is its tools. A
    node that only asked for tools is transparent: its tools are the state. Any other node is its
    name, so that planner, writer and critic stay apart, and the plain answer of ``create_agent``
    is ``model``. A structured output that does not fit its schema is ``schema!invalid``.

    A hook of a middleware (``TodoListMiddleware.after_model``) is transparent unless it acts. One
    that turns calls down is those calls (``search!refused``), one that writes the answer is
    ``model``, one that jumps, or writes the structured response, is its name.

    Parameters
    ----------
    arguments : sequence of str, mapping, or "all"
        The arguments that distinguish the calls of a tool, as for `ToolStates`.

    Examples
    --------
    >>> ActionStates()(NodeRun("tools", 2, tools=("search",)))
    ('search',)
    >>> ActionStates()(NodeRun("planner", 1, called_model=True))
    'planner'
    >>> ActionStates()(NodeRun("TodoListMiddleware.after_model", 2)) is None
    True
    """

    def __call__(self, run: NodeRun) -> str | tuple[str, ...] | None:
        """Name the state of `run`."""
        if run.is_hook:
            return name_hook(run)
        if run.tools and (not run.called_model or only_answers(run)):
            return run.tools
        if asks_for_tools(run.output):
            return None
        return (run.called_model and name_attempt(run)) or run.name


@dataclass(frozen=True, slots=True)
class NodeStates(Combinable):
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
class ToolStates(_ToolNames):
    """The tools that ran; nodes without tools are transparent.

    Parameters
    ----------
    arguments : sequence of str, mapping, or "all"
        The arguments that distinguish the calls of a tool: names for every tool, or a mapping of
        tools to names. Their values are written as `canonical_text` says, and cut to 60 characters
        with a hash of the whole; an argument that the call does not have is left out. ``"all"``
        takes every argument of every tool, and is dangerous: one free text, id or counter among
        them, and no state comes twice.

    Raises
    ------
    InvalidInputError
        Where `arguments` is none of these.

    Examples
    --------
    >>> ToolStates()(NodeRun("tools", 2, tools=("search",)))
    ('search',)
    >>> ToolStates()(NodeRun("model", 3, called_model=True))
    ()
    >>> ToolStates(arguments=("city",)).name_tool("search", {"city": "Paris", "limit": 10})
    'search(city=paris)'
    >>> ToolStates(arguments={"read": ("path",)}).name_tool("search", {"city": "Paris"})
    'search'
    """

    def __call__(self, run: NodeRun) -> tuple[str, ...]:
        """Name the state of `run`."""
        return run.tools
