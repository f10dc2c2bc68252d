"""The agent of both tasks: a LangGraph graph that asks a chat model for one state after another.

What the model is asked, and what its answer is, a `Task` says. `examples.paper.agent.explore`
asks many such questions side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from detailed_balance.callbacks.states import PromptStates

__all__ = ["AgentState", "Answer", "Task", "build_agent"]

TEXT_KEPT = 200
"""So many characters of an answer are kept."""


class Task(Protocol):
    """What is asked about a state, and the judge of the answer."""

    def check(self, state: str, /) -> None:
        """Raise `DetailedBalanceError` where a run cannot start from `state`."""
        ...

    def ask(self, state: str, /) -> list[BaseMessage]:
        """Return the messages that ask for a state after `state`."""
        ...

    def read(self, answer: BaseMessage, /) -> str | None:
        """Return the state that is the answer; None where it fails the task."""
        ...

    def judge(self, source: str, text: str, /) -> str:
        """Return the kind of the answer `text` to `source`: "move", or why it is none."""
        ...

    def states(self) -> PromptStates:
        """Return the state function: the state asked about, and the one answered."""
        ...


class AgentState(TypedDict):
    """What the agent holds: its state of the task, and how many questions it has left."""

    state: str
    questions: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question.

    Parameters
    ----------
    source : str
        The state asked about.
    text : str
        The beginning of what the model said, or of the error; it may hold anything.
    target : str or None
        The state that the answer is; None where it is no move.
    kind : str
        "move", "failed" for a call that failed, or what the task calls it.
    input_tokens, output_tokens : int
        As the model counts them; 0 where it does not.
    """

    source: str
    text: str
    target: str | None
    kind: str
    input_tokens: int = 0
    output_tokens: int = 0


def build_agent(
    model: Runnable[LanguageModelInput, AIMessage],
    task: Task,
    note: Callable[[Answer], None] = lambda answer: None,
    choose: Callable[[str], str] = lambda state: state,
) -> CompiledStateGraph[AgentState, None, AgentState, AgentState]:
    """Build the agent, which asks about its state and goes on from the answer.

    It keeps its state where the answer is no move; a call that fails is none. It is run by
    ``ainvoke``.

    Parameters
    ----------
    model : chat model
        Any chat model of LangChain; its own retries (``max_retries``) go before.
    task : Task
        Such as `WordTask` or `SymbolicTask`.
    note : callable, optional
        Told of every answer.
    choose : callable, optional
        Names the state to ask about, given the last one; by default that one.

    Examples
    --------
    >>> import asyncio
    >>> from examples.paper.words.tables import TableChatModel
    >>> from examples.paper.words.task import WordTask
    >>> agent = build_agent(TableChatModel(), WordTask())
    >>> asyncio.run(agent.ainvoke({"state": "TURKEY", "questions": 1}))
    {'state': 'ATTITUDE', 'questions': 0}
    """

    async def ask(state: AgentState) -> dict[str, Any]:
        answer = await _ask(model, task, choose(state["state"]))
        note(answer)
        return {"state": answer.target or answer.source, "questions": state["questions"] - 1}

    async def go_on(state: AgentState) -> str:  # a plain function would go to another thread
        return "ask" if state["questions"] > 0 else END

    graph = StateGraph(AgentState)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", go_on, ["ask", END])
    return graph.compile()


async def _ask(model: Runnable[LanguageModelInput, AIMessage], task: Task, source: str) -> Answer:
    question = task.ask(source)
    try:
        reply = await model.ainvoke(question)
    except Exception as error:  # whatever a provider raises, when its own retries are used up
        return Answer(source, f"{type(error).__name__}: {error}"[:TEXT_KEPT], None, "failed")
    kind, usage = task.judge(source, reply.text), reply.usage_metadata
    return Answer(
        source,
        reply.text[:TEXT_KEPT],
        task.read(reply) if kind == "move" else None,
        kind,
        usage["input_tokens"] if usage else 0,
        usage["output_tokens"] if usage else 0,
    )
