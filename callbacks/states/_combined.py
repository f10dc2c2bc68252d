"""State functions added up: ``NodeStates() + ToolStates()``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from detailed_balance.callbacks.states.base import NodeRun, StateFunction, state_names

__all__ = ["Combinable", "CombinedStates"]


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
        spoken = [names for names in named if names]
        return tuple(map(self.separator.join, itertools.product(*spoken))) if spoken else ()

    def name_tool(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Name a tool that starts, as the parts name it."""
        for part in self.parts:
            if rename := getattr(part, "name_tool", None):
                name = rename(name, arguments)
        return name
