"""`ChannelStates`, the value that a node wrote to a channel of its graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from numbers import Real
from typing import Any

from langgraph import types as langgraph_types
from langgraph.types import Command
from pydantic import BaseModel

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.states._tool_arguments import canonical_text
from detailed_balance.callbacks.states.base import Combinable, NodeRun

__all__ = ["ChannelStates", "written_values"]

_LONGEST_TEXT = 80
# It says how to write a value, and is not it; older versions of LangGraph do not have it.
_OVERWRITE: Any = getattr(langgraph_types, "Overwrite", ())


def value_text(value: Any) -> str:
    """Return the state key of a plain value: a short text, an enum, a number, a bool or None.

    Raises
    ------
    InvalidInputError
        Where it is none of these, or a text of more than 80 characters.

    Examples
    --------
    >>> value_text(" draft "), value_text(3.0), value_text(True), value_text(None)
    ('draft', '3', 'True', 'None')
    """
    if isinstance(value, Enum):
        value = value.value if isinstance(value, str) else value.name
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, Real):
        return canonical_text(value)
    if isinstance(value, str) and len(value.strip()) <= _LONGEST_TEXT:
        return value.strip()
    what = f"a text of {len(value)} characters" if isinstance(value, str) else type(value).__name__
    raise InvalidInputError(
        f"a channel holds {what}, which is not a state key; allowed are texts of up to "
        f"{_LONGEST_TEXT} characters, enums, numbers, bools and None; say by "
        "ChannelStates(channel, value=...) what of it is the state, such as value=len"
    )


def written_values(output: Any, channel: str) -> Iterator[Any]:
    """Yield what a node's `output` writes to `channel`, in order, in every shape LangGraph takes.

    Examples
    --------
    >>> list(written_values([{"stage": "draft"}, Command(update={"stage": "done"})], "stage"))
    ['draft', 'done']
    """
    if isinstance(output, Command):
        if output.graph != Command.PARENT:  # else it writes to the channels of another graph
            yield from written_values(output.update, channel)
    elif isinstance(output, Mapping):
        if channel in output:
            yield _unwrap(output[channel])
    elif isinstance(output, tuple) and len(output) == 2 and isinstance(output[0], str):
        if output[0] == channel:
            yield _unwrap(output[1])
    elif isinstance(output, (list, tuple)):
        for part in output:
            yield from written_values(part, channel)
    elif _has_field(output, channel):
        yield _unwrap(getattr(output, channel))


def _unwrap(value: Any) -> Any:
    return value.value if isinstance(value, _OVERWRITE) else value


def _has_field(output: Any, channel: str) -> bool:
    """Say whether an object writes to `channel`: as in LangGraph, what its class annotates.

    A field of a pydantic model that nobody set, and that is None, is not written.
    """
    classes = type(output).__mro__
    if not any(channel in getattr(one, "__annotations__", ()) for one in classes):
        return False
    is_set = not isinstance(output, BaseModel) or channel in output.model_fields_set
    return hasattr(output, channel) and (is_set or getattr(output, channel) is not None)


@dataclass(frozen=True, slots=True)
class ChannelStates(Combinable):
    """The value that a node wrote to a channel of the graph: its stage, its route, its verdict.

    A node that does not write the channel is transparent. Of a channel with a reducer, only what
    the node wrote is seen, and not what the reducer made of it: of a sum, the summand. A node that
    writes several times (a list of commands) is its last value.

    Parameters
    ----------
    channel : str
        The key of the graph's state.
    value : callable
        Makes a state key of a value, or several, or None (transparent); by default `value_text`,
        to which a value that is not a short text, enum, number, bool or None is an escape.

    Examples
    --------
    >>> stages = ChannelStates("stage")
    >>> stages(NodeRun("writer", 1, output={"stage": "draft"}))
    'draft'
    >>> stages(NodeRun("tools", 2, output={"messages": []})) is None
    True
    >>> ChannelStates("open", value=lambda items: f"{len(items)} open")(
    ...     NodeRun("triage", 1, output={"open": ["a", "b"]})
    ... )
    '2 open'
    """

    channel: str
    value: Callable[[Any], str | Iterable[str] | None] = value_text

    def __call__(self, run: NodeRun) -> str | Iterable[str] | None:
        """Name the state of `run`."""
        written = list(written_values(run.output, self.channel))
        return self.value(written[-1]) if written else None
