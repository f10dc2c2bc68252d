"""The agent of both tasks: a LangGraph graph that asks a chat model for one state after another.

What the model is asked, and what its answer is, a `Task` says. `explore` asks many questions side
by side. It goes on after a stop: a question that is in the store is done, and the states found are
those in the store.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO, TypedDict

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from detailed_balance.analyzers.errors import DetailedBalanceError, InvalidInputError
from detailed_balance.callbacks import TransitionCallbackHandler, TransitionStore
from detailed_balance.callbacks.states import PromptStates
from detailed_balance.render.formatting import safe_text
from examples.paper.agent.plan import Plan, Recorded

__all__ = [
    "AgentState",
    "Answer",
    "AnswerCounter",
    "ModelFailedError",
    "Task",
    "build_agent",
    "explore",
    "read_journal",
]

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
        The state that the answer is; None where it is not a move.
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
    record: Callable[[Answer], None] = lambda answer: None,
    choose: Callable[[str], str] = lambda state: state,
) -> CompiledStateGraph[AgentState, None, AgentState, AgentState]:
    """Build the agent, which asks about its state and goes on from the answer.

    It keeps its state where the answer is not a move; a call that fails is none. It is run by
    ``ainvoke``.

    Parameters
    ----------
    model : chat model
        Any chat model of LangChain; its own retries (``max_retries``) go before.
    task : Task
        Such as `WordTask` or `SymbolicTask`.
    record : callable, optional
        Called with every answer.
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
        record(answer)
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


class ModelFailedError(DetailedBalanceError):
    """So many calls of a model failed one after another that going on would be no use."""


@dataclass(slots=True)
class AnswerCounter:
    """What the questions so far came to, and what they cost.

    Parameters
    ----------
    answers : Counter of str
        The answers by kind: "move" for a transition, else why it is none.
    input_tokens, output_tokens : int
        As the model counts them; 0 where it does not.

    Examples
    --------
    >>> counter = AnswerCounter()
    >>> counter.add(Answer("TURKEY", "hen", None, "wrong sum", 50, 2))
    >>> counter.describe(prices=(2.0, 10.0))
    '1 question: 0 moves, 1 wrong sum; 50 + 2 tokens, cost 0.00012'
    """

    answers: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def questions(self) -> int:
        """How many questions were asked."""
        return self.answers.total()

    def add(self, answer: Answer) -> None:
        """Count an answer."""
        self.answers[answer.kind] += 1
        self.input_tokens += answer.input_tokens
        self.output_tokens += answer.output_tokens

    def cost(self, prices: tuple[float, float]) -> float:
        """Return what the tokens cost, given the prices of a million in and of a million out."""
        return (self.input_tokens * prices[0] + self.output_tokens * prices[1]) / 1e6

    def describe(self, prices: tuple[float, float] | None = None) -> str:
        """Say all of it in one line."""
        asked = "question" if self.questions == 1 else "questions"
        others = sorted((kind, n) for kind, n in self.answers.items() if kind != "move")
        kinds = "".join(f", {n:,} {kind}" for kind, n in others)
        text = f"{self.questions:,} {asked}: {self.answers['move']:,} moves{kinds}"
        if self.input_tokens or self.output_tokens:
            text += f"; {self.input_tokens:,} + {self.output_tokens:,} tokens"
            text += f", cost {self.cost(prices):.4g}" if prices else ""
        return text


async def explore(
    model: Runnable[LanguageModelInput, AIMessage],
    task: Task,
    plan: Plan,
    store: TransitionStore,
    *,
    max_concurrency: int = 8,
    max_failures: int = 20,
    journal: Path | None = None,
    progress: Callable[[int, AnswerCounter], None] = lambda done, counter: None,
) -> AnswerCounter:
    """Ask the questions of a plan that are not recorded yet, and record them.

    Parameters
    ----------
    model : chat model
        Any chat model of LangChain.
    task : Task
        What it is asked, such as `WordTask` or `SymbolicTask`.
    plan : Plan
        The questions.
    store : TransitionStore
        What is recorded already, and where the rest goes. With the durability "sync" a kill loses
        no answer; else those of the last 0.2 s may be lost, and are asked for again.
    max_concurrency : int
        How many are asked at the same time.
    max_failures : int
        After so many failed calls one after another the run stops. Each of them is an escape.
    journal : Path, optional
        A file that gets a line of JSON for each answer, also those that are not a transition: what
        the model said, its kind, its tokens. `read_journal` adds it up.
    progress : callable, optional
        Called with how many questions are done, and the answers so far.

    Returns
    -------
    AnswerCounter
        Of this call and, in the journal, of those before.

    Raises
    ------
    InvalidInputError
        Where a setting is out of range, the first state does not fit the task, or the store holds
        another run and is not shared.
    ModelFailedError
        Where `max_failures` calls failed one after another; what was recorded stays.

    Examples
    --------
    >>> from examples.paper.words.tables import TableChatModel
    >>> from examples.paper.words.task import WordTask
    >>> plan = Plan("BUZZY", questions=50)
    >>> with TransitionStore("sqlite://") as store:
    ...     counter = asyncio.run(explore(TableChatModel(), WordTask(), plan, store))
    ...     counter.questions, len(store)
    (50, 50)
    """
    for name, value in (("max_concurrency", max_concurrency), ("max_failures", max_failures)):
        if value < 1:
            raise InvalidInputError(f"{name}={value!r}; it must be 1 or more")
    task.check(plan.start)
    recorded = plan.recall(store)
    threads = iter(list(plan.threads(recorded, max_concurrency)))
    log = _AnswerLog(read_journal(journal), recorded, progress, max_failures)
    agent = build_agent(model, task, log.add, plan.chooser(recorded))
    handler = TransitionCallbackHandler(
        task.states(), store=store, context=plan.context, labels=(), max_states=None
    )

    async def work() -> None:
        for thread, state, left in threads:
            config = RunnableConfig(
                callbacks=[handler],
                configurable={"thread_id": thread},
                recursion_limit=left + 1,
            )
            await agent.ainvoke(AgentState(state=state, questions=left), config)

    with nullcontext() if journal is None else journal.open("a", encoding="ascii") as log.file:
        try:
            await _side_by_side([work() for _ in range(max_concurrency)])
        finally:
            handler.flush()
    return log.counter


def read_journal(path: Path | None) -> AnswerCounter:
    """Add up the answers of a journal; a line that a kill has cut short is passed over."""
    counter = AnswerCounter()
    if path is not None and path.exists():
        for line in path.read_text(encoding="ascii", errors="replace").splitlines():
            try:
                counter.add(Answer(**json.loads(line)))
            except (TypeError, ValueError):
                continue
    return counter


@dataclass(slots=True)
class _AnswerLog:
    """What is done with every answer."""

    counter: AnswerCounter
    recorded: Recorded
    progress: Callable[[int, AnswerCounter], None]
    max_failures: int
    file: TextIO | None = None
    asked: int = 0
    failed: int = 0

    def add(self, answer: Answer) -> None:
        self.counter.add(answer)
        if answer.target is not None:
            self.recorded.find(answer.target)
        if self.file is not None:
            # The line end comes first: a line that a kill cuts short must not spoil the next one.
            self.file.write("\n" + json.dumps(asdict(answer)))
            self.file.flush()
        self.asked += 1
        self.progress(self.recorded.questions.total() + self.asked, self.counter)
        self.failed = self.failed + 1 if answer.kind == "failed" else 0
        if self.failed >= self.max_failures:
            raise ModelFailedError(_no_use(self.failed, answer))


def _no_use(failed: int, last: Answer) -> str:
    return (
        f"{failed} calls of the model failed one after another, the last with "
        f"{safe_text(last.text, 200)}. What was recorded is kept: start again to go on, with fewer "
        "calls at a time or more retries of the model where the provider's limits are the reason"
    )


async def _side_by_side(works: list[Coroutine[None, None, None]]) -> None:
    """Do all of it at the same time; where one fails the others are cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
