"""The names of states as the messages of LangChain tell them; see `callbacks.names`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
)
from langgraph import types as langgraph_types
from langgraph.types import Command

from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.callbacks.facts import RunFacts, written_text
from detailed_balance.callbacks.names import (
    INVALID,
    MODEL,
    UNKNOWN,
    Answer,
    join_names,
    name_answer,
    order_names,
)

__all__ = [
    "RunStep",
    "StepReader",
    "begins_run",
    "message_path",
    "message_steps",
    "read_answer",
    "read_calls",
    "rewrites_history",
    "written_messages",
]

# It replaces a channel as a whole; older versions of LangGraph do not have it.
_OVERWRITE: Any = getattr(langgraph_types, "Overwrite", ())
_LOOKED_BACK = 1_000


def read_answer(message: ToolMessage) -> Answer:
    """Return what names the answer that `message` is."""
    content = message.content
    if not isinstance(content, str):
        first = content[0] if content else ""
        content = first.get("text", "") if isinstance(first, dict) else first
    marks = message.additional_kwargs.get("lc_data")
    decision = marks.get("decision") if isinstance(marks, dict) else None
    text = content[:2_000] if isinstance(content, str) else ""
    return Answer(message.name, message.tool_call_id, text, message.status == "error", decision)


def begins_run(message: Any) -> bool:
    """Say whether a message is a person's, and not a summary or a note that a middleware wrote.

    Examples
    --------
    >>> begins_run(HumanMessage("hi"))
    True
    >>> begins_run(HumanMessage("So far ...", additional_kwargs={"lc_source": "summarization"}))
    False
    """
    return isinstance(message, HumanMessage) and not message.additional_kwargs.get("lc_source")


class RunStep(NamedTuple):
    """One step of a run, as its messages tell it.

    Attributes
    ----------
    state : str
        Where it led.
    facts : StepFacts or None
        What is known of it, without its contents.
    text : str or None
        What the agent wrote in it, beside its calls; None where it wrote nothing.
    """

    state: str
    facts: StepFacts | None = None
    text: str | None = None


class StepReader:
    """Gives the facts of the steps of one run, each computed once, however often it is read."""

    def __init__(self) -> None:
        self._facts = RunFacts()
        self._known: dict[str, StepFacts] = {}
        self._steps = 0

    def read(
        self, asked: AIMessage | None, answers: Sequence[ToolMessage], *, called: bool
    ) -> StepFacts:
        """Return the facts of a step: the message of the model, and the answers to its calls."""
        key = (asked and asked.id) or (answers[0].id if answers else None)
        if key is not None and key in self._known:
            return self._known[key]
        self._steps += 1
        if asked is not None:
            self._facts.carry(self._facts.task([asked]))
        calls = asked.tool_calls if asked is not None and called else ()
        found = self._facts.step(self._steps, [self._facts.task(answers, calls)])
        if key is not None:
            self._known[key] = found
        return found


def message_path(messages: Iterable[Any], **known: Any) -> list[str]:
    """Return the states that the messages of a run tell, in order; see `message_steps`.

    Examples
    --------
    >>> calls = [{"name": name, "args": {}, "id": name} for name in ("search", "read")]
    >>> message_path([AIMessage("", tool_calls=calls), ToolMessage("found", tool_call_id="search"),
    ...               ToolMessage("text", tool_call_id="read"), AIMessage("done")])
    ['read|search', 'model']
    """
    return [step.state for step in message_steps(messages, **known)]


def message_steps(
    messages: Iterable[Any],
    *,
    tools: Collection[str] | None = None,
    schemas: Collection[str] = (),
    refused: Collection[str] = (),
    goes_on: bool = False,
    reader: StepReader | None = None,
) -> list[RunStep]:
    """Return the steps that the messages of a run tell, in order.

    Parameters
    ----------
    messages : iterable of BaseMessage
        The messages of one run; those of people and of the system are passed over.
    tools : collection of str or None
        The tools that there are; None where that is not known.
    schemas : collection of str
        The schemas of structured outputs, where they are known.
    refused : collection of str
        The ids of calls that are known not to have run.
    goes_on : bool
        Whether the model is asked again after them: a structured output that nothing follows has
        ended the run, and so was valid.
    reader : StepReader or None
        Gives the facts; None leaves them out.

    Examples
    --------
    >>> call = {"name": "search", "args": {}, "id": "1"}
    >>> steps = message_steps([AIMessage("Let me see", tool_calls=[call]),
    ...                        ToolMessage("found", tool_call_id="1"), AIMessage("done")])
    >>> [(step.state, step.text) for step in steps]
    [('search', 'Let me see'), ('model', 'done')]
    """
    steps: list[RunStep] = []
    asked: AIMessage | None = None
    answers: list[ToolMessage] = []
    followed = _Known(tools, dict.fromkeys(schemas, INVALID), refused)

    def close(known: _Known) -> None:
        names, structured = _name_group(asked, answers, known)
        if names:
            called = len(names) > len(structured)
            facts = reader.read(asked, answers, called=called) if reader else None
            text = written_text(asked.content) if asked else None
            steps.append(RunStep(names[0], facts, text))
            # Facts and text are of the step as a whole, so not twice.
            steps.extend(map(RunStep, names[1:]))

    for message in messages:
        if isinstance(message, ToolMessage):
            answers.append(message)
        elif isinstance(message, AIMessage):
            close(followed)
            if not message.tool_calls:
                facts = reader.read(message, (), called=False) if reader else None
                steps.append(RunStep(MODEL, facts, written_text(message.content)))
            asked, answers = message, []
    close(followed if goes_on else followed._replace(schemas=dict.fromkeys(schemas)))
    return steps


class _Known(NamedTuple):
    """What is known beside the messages."""

    tools: Collection[str] | None
    schemas: Mapping[str, str | None]
    """Each schema, and the mark of an answer to it."""
    refused: Collection[str]

    def name(self, answer: Answer, tool: str) -> str | None:
        """Return the state that the answer to a call is; None for `MODEL`."""
        name = name_answer(answer, tool, refused=answer.call in self.refused)
        if name != tool:
            return name
        if tool in self.schemas:
            mark = self.schemas[tool]
            return None if mark is None else tool + mark
        gone = answer.failed and self.tools is not None and tool not in self.tools
        return tool + UNKNOWN if gone else tool


def _name_group(
    asked: AIMessage | None, answers: Sequence[ToolMessage], known: _Known
) -> tuple[list[str], list[str]]:
    """Return the states of the answers to one message, and which of them are structured outputs."""
    if not answers:
        return [], []
    calls = {call["id"]: call["name"] for call in asked.tool_calls} if asked else {}
    broken = {call.get("id") for call in asked.invalid_tool_calls} if asked else set()
    structured: set[str] = set()
    names: set[str] = set()
    for message in answers:
        answer = read_answer(message)
        if answer.call in broken:
            continue  # its arguments were cut off, and no tool was asked
        name = known.name(answer, answer.name or calls.get(answer.call) or "tools")
        if name is None or name.endswith(INVALID):
            structured.add(name or MODEL)
        else:
            names.add(name)
    outputs = [join_names(structured)] if structured else []
    return [*outputs, *order_names(names)], outputs


def read_calls(inputs: Any) -> Sequence[Mapping[str, Any]]:
    """Return the calls that a node is given to answer: those of the last message of the model.

    Parameters
    ----------
    inputs : Any
        What the node is given: a state, messages, or calls that were sent to it one by one.

    Examples
    --------
    >>> call = {"name": "search", "args": {}, "id": "1", "type": "tool_call"}
    >>> [call["name"] for call in read_calls([call])]
    ['search']
    >>> read_calls({"messages": [AIMessage("", tool_calls=[call])]}) == [call]
    True
    """
    if isinstance(inputs, dict):
        if inputs.get("__type") == "tool_call_with_context":
            return (inputs["tool_call"],)
        messages = inputs.get("messages")
    elif isinstance(inputs, list):
        if inputs and isinstance(inputs[-1], dict):
            return inputs if inputs[-1].get("type") == "tool_call" else ()
        messages = inputs
    else:
        messages = getattr(inputs, "messages", None)
    if isinstance(messages, list):
        for message in messages[: -_LOOKED_BACK - 1 : -1]:
            if isinstance(message, AIMessage):
                return message.tool_calls
    return ()


def written_messages(output: Any) -> list[BaseMessage]:
    """Return the messages that a node wrote, in order, in every shape LangGraph takes.

    Examples
    --------
    >>> [m.content for m in written_messages([Command(update={"messages": [AIMessage("a")]}),
    ...                                       {"messages": AIMessage("b"), "n": 1}])]
    ['a', 'b']
    """
    if isinstance(output, BaseMessage):
        return [output]
    if isinstance(output, Command):
        return [] if output.graph == Command.PARENT else written_messages(output.update)
    if isinstance(output, dict):
        return [message for value in output.values() for message in _messages_of(value)]
    if isinstance(output, (list, tuple)):
        return [message for part in output for message in written_messages(part)]
    return _messages_of(getattr(output, "messages", None))


def _messages_of(value: Any) -> list[BaseMessage]:
    if isinstance(value, BaseMessage):
        return [value]
    if isinstance(value, _OVERWRITE):
        return _messages_of(value.value)
    # A list of messages ends with one; of any other list only its end is looked at.
    if isinstance(value, (list, tuple)) and value and isinstance(value[-1], BaseMessage):
        return [message for message in value if isinstance(message, BaseMessage)]
    return []


def rewrites_history(output: Any) -> bool:
    """Say whether a node replaces or removes messages, as a summary does, and does not add some."""
    if isinstance(output, Command):
        return rewrites_history(output.update)
    if isinstance(output, (list, tuple)):
        return any(map(rewrites_history, output))
    value = output.get("messages") if isinstance(output, dict) else output
    if isinstance(value, (list, tuple)):
        return any(isinstance(part, RemoveMessage) for part in value)
    return isinstance(value, (RemoveMessage, *([_OVERWRITE] if _OVERWRITE else [])))
