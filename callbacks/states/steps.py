"""What a step was, where the tools that started do not say it: hooks, and answers without a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage

from detailed_balance.callbacks.names import INVALID, MODEL, name_answer
from detailed_balance.callbacks.states.base import NodeRun
from detailed_balance.callbacks.states.channels import written_values
from detailed_balance.callbacks.states.messages import read_answer, rewrites_history

__all__ = ["answered_tools", "name_attempt", "name_hook", "only_answers"]

_NOT_WRITTEN = object()
_NO_ARGUMENTS: Mapping[str, Any] = {}


def name_hook(run: NodeRun) -> str | tuple[str, ...] | None:
    """Name the state of a hook of a middleware: what it wrote, its name if it jumped, else none."""
    if not run.output:
        return None
    if last_written(run.output, "structured_response", None) is not None:
        return run.name
    if not rewrites_history(run.output):
        answered = any(isinstance(m, AIMessage) and not m.tool_calls for m in run.messages)
        if names := (*run.tools, *([MODEL] if answered else ())):
            return names
    return run.name if last_written(run.output, "jump_to", None) is not None else None


def name_attempt(run: NodeRun) -> tuple[str, ...]:
    """Name a structured output that does not fit its schema; nothing where it fits, or is none."""
    answers = [m for m in run.messages if isinstance(m, ToolMessage)]
    if not answers:
        return ()
    missing = last_written(run.output, "structured_response", _NOT_WRITTEN) is None
    names = []
    for message in answers:
        answer = read_answer(message)
        name = name_answer(answer, tool := answer.name or "")
        if name is not None and (missing or name.endswith(INVALID)):
            names.append(tool + INVALID)
    return tuple(names)


def only_answers(run: NodeRun) -> bool:
    """Say whether all messages that a node wrote answer the calls that it was given."""
    calls, messages = {call.get("id") for call in run.given.calls}, run.messages
    return bool(messages) and all(
        isinstance(m, ToolMessage) and m.tool_call_id in calls for m in messages
    )


def answered_tools(
    run: NodeRun, name_tool: Callable[[str, Mapping[str, Any]], str]
) -> tuple[str, ...]:
    """Return the tools of a node: those that started, and those whose calls it answered itself.

    Parameters
    ----------
    run : NodeRun
        The node, whose `tools` are those that started.
    name_tool : callable
        Names a tool by its name and its arguments.
    """
    hook = run.is_hook
    if not run.output or (not hook and len(run.given.calls) <= len(run.tools)):
        return run.tools  # all of them started
    if hook and rewrites_history(run.output):
        return run.tools
    calls = {call.get("id"): call for call in run.given.calls}
    messages = run.messages
    answers = [
        m for m in messages if isinstance(m, ToolMessage) and (hook or m.tool_call_id in calls)
    ]
    if not answers or (not hook and len(answers) < len(messages)):
        return run.tools  # a node with a say of its own, such as an agent that hands back
    plain: list[str] = []
    marked: list[str] = []
    for message in answers:
        answer = read_answer(message)
        call = calls.get(answer.call, _NO_ARGUMENTS)
        if not (tool := answer.name or call.get("name")):
            continue
        named = name_tool(tool, call.get("args") or _NO_ARGUMENTS)
        name = name_answer(answer, named, refused=hook) or named
        (plain if name == named else marked).append(name)
    # A tool that started has its name; where it was tried again, it started more than once.
    return (*run.tools, *marked, *(plain if len(run.tools) < len(plain) else ()))


def last_written(output: Any, channel: str, default: Any) -> Any:
    """Return what `output` wrote to `channel` last; `default` where it did not write it."""
    written = list(written_values(output, channel))
    return written[-1] if written else default
