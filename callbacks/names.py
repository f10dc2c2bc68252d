"""The names of states: one naming for recorder, guard and readers.

A recorder sees which tools start. Where none starts (an unknown tool, a refused call, an answer out
of a cache) and where only the messages are there, the messages name the states:

- the answers to the calls of one message are the tools, side by side: ``read|search``;
- a call of a tool that does not exist is ``name!unknown``;
- a call that was refused, or blocked by a limit, and never ran is ``name!refused``, and comes
  before what ran;
- a message of the model without calls is ``model``, and so is a structured output;
- a structured output that does not fit its schema is ``schema!invalid``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

__all__ = [
    "INVALID",
    "MODEL",
    "REFUSED",
    "UNKNOWN",
    "Answer",
    "is_hook",
    "join_names",
    "name_answer",
    "order_names",
]

MODEL = "model"
"""The state of a plain answer of the model: the node of ``create_agent`` that gives it."""

_HOOKS = (".before_agent", ".before_model", ".after_model", ".after_agent")
UNKNOWN, REFUSED, INVALID = "!unknown", "!refused", "!invalid"

_NOT_THERE = re.compile(r"Error: .{1,500}? is not a valid tool, try one of \[", re.DOTALL)
_TURNED_DOWN = re.compile(
    r"User rejected the tool call for "
    r"|Tool call limit exceeded\."
    r"|Execution stopped before this tool call could run "
    r"|Error: The `\w{1,100}` tool should never be called multiple times in parallel"
    r"|The tool call `.{1,500}?` was blocked because "
    r"|Tool call .{1,500}? was cancelled - another message came in ",
    re.DOTALL,
)
_STRUCTURED = "Returning structured response: "
_NOT_STRUCTURED = re.compile(
    r"Error: Failed to parse structured output for tool '"
    r"|Error: Model incorrectly returned multiple structured responses "
)


def is_hook(name: str) -> bool:
    """Say whether a node is a hook of a middleware of ``create_agent``, by its name.

    Examples
    --------
    >>> is_hook("TodoListMiddleware.after_model"), is_hook("model")
    (True, False)
    """
    return "." in name and name.endswith(_HOOKS)


class Answer(NamedTuple):
    """The answer to one call of a tool, as far as its name needs it.

    Parameters
    ----------
    name : str or None
        The tool, where the answer says.
    call : str or None
        The id of the call.
    text : str
        The beginning of the answer.
    failed : bool or None
        Whether it says that it is an error; None where it cannot say.
    decision : str or None
        What a person decided, as ``HumanInTheLoopMiddleware`` marks its messages.
    """

    name: str | None
    call: str | None
    text: str = ""
    failed: bool | None = None
    decision: str | None = None


def join_names(names: Iterable[str]) -> str:
    """Return one state key for what happened side by side.

    Examples
    --------
    >>> join_names(["search", "worker", "worker"])
    'search|worker'
    """
    return "|".join(sorted(set(names)))


def order_names(names: Iterable[str]) -> list[str]:
    """Return the states of one step in order: what was refused, then all that happened.

    Calls that are rejected are answered at once, so they come before calls of the same message
    that ran, and before the answer that ends the run.

    Examples
    --------
    >>> order_names(["search", "write!refused", "read"])
    ['write!refused', 'read|search']
    """
    names = set(names)
    refused = {name for name in names if name.endswith(REFUSED)}
    return [join_names(group) for group in (refused, names - refused) if group]


def name_answer(answer: Answer, name: str, *, refused: bool = False) -> str | None:
    """Return the state that the answer to a call of the tool `name` is; None for `MODEL`.

    Parameters
    ----------
    answer : Answer
        The answer.
    name : str
        The name of the tool, or of the schema of a structured output.
    refused : bool
        Whether the call is known not to have run.

    Examples
    --------
    >>> name_answer(Answer("search", "1", "found"), "search")
    'search'
    >>> said = "Error: find is not a valid tool, try one of [search]."
    >>> name_answer(Answer("find", "2", said, failed=True), "find")
    'find!unknown'
    >>> name_answer(Answer("search", "3", "Tool call limit exceeded."), "search")
    'search!refused'
    """
    text = answer.text
    if answer.failed is not False:
        if _NOT_THERE.match(text):
            return name + UNKNOWN
        if answer.decision == "reject" or _TURNED_DOWN.match(text):
            return name + REFUSED
    if refused and answer.decision != "respond":
        return name + REFUSED
    if text.startswith(_STRUCTURED):
        return None
    return name + INVALID if _NOT_STRUCTURED.match(text) else name
