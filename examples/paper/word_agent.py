"""The agent of the word task: a LangGraph graph that asks a chat model for one word after another.

A prompt word goes in, a word comes out whose letters have the same sum; what the model says instead
is counted by its kind. `detailed_balance.paper.word_run` asks many such questions side by side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypedDict

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from detailed_balance.paper.word_task import Escape, WordTask

__all__ = ["Answer", "Tally", "WordState", "build_word_agent"]

TEXT_KEPT = 200
"""So many characters of an answer are kept."""


class WordState(TypedDict):
    """What the agent holds: its word, and how many questions it has left."""

    word: str
    questions: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question.

    Parameters
    ----------
    source : str
        The word asked about.
    text : str
        The beginning of what the model said, or of the error; it may hold anything.
    word : str or None
        The word that the answer is; None where it is an escape.
    escape : str or None
        Why it is no transition, one of `ESCAPES`.
    input_tokens, output_tokens : int
        As the model counts them; 0 where it does not.
    """

    source: str
    text: str
    word: str | None
    escape: Escape | None
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(slots=True)
class Tally:
    """What the questions so far came to, and what they cost.

    Parameters
    ----------
    questions, moves, input_tokens, output_tokens : int
        Questions asked, answers that were transitions, and tokens.
    escapes : Counter of str
        The other answers, by kind.

    Examples
    --------
    >>> tally = Tally()
    >>> tally.add(Answer("TURKEY", "hen", None, "wrong sum", 50, 2))
    >>> tally.describe(prices=(2.0, 10.0))
    '1 question: 0 moves, 1 wrong sum; 50 + 2 tokens, cost 0.00012'
    """

    questions: int = 0
    moves: int = 0
    escapes: Counter[Escape] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, answer: Answer) -> None:
        """Count an answer."""
        self.questions += 1
        self.input_tokens += answer.input_tokens
        self.output_tokens += answer.output_tokens
        if answer.escape is None:
            self.moves += 1
        else:
            self.escapes[answer.escape] += 1

    def cost(self, prices: tuple[float, float]) -> float:
        """Return what the tokens cost, given the prices of a million in and of a million out."""
        return (self.input_tokens * prices[0] + self.output_tokens * prices[1]) / 1e6

    def describe(self, prices: tuple[float, float] | None = None) -> str:
        """Say all of it in one line."""
        asked = "question" if self.questions == 1 else "questions"
        kinds = "".join(f", {n:,} {kind}" for kind, n in sorted(self.escapes.items()))
        text = f"{self.questions:,} {asked}: {self.moves:,} moves{kinds}"
        if self.input_tokens or self.output_tokens:
            text += f"; {self.input_tokens:,} + {self.output_tokens:,} tokens"
            text += f", cost {self.cost(prices):.4g}" if prices else ""
        return text


def build_word_agent(
    model: Runnable[LanguageModelInput, AIMessage],
    task: WordTask | None = None,
    note: Callable[[Answer], None] = lambda answer: None,
    choose: Callable[[str], str] = lambda word: word,
) -> CompiledStateGraph[WordState, None, WordState, WordState]:
    """Build the agent, which asks about its word and goes on from the answer.

    It keeps its word where the answer is an escape; a call that fails is one too. It is run by
    ``ainvoke``.

    Parameters
    ----------
    model : chat model
        Any chat model of LangChain; its own retries (``max_retries``) go before.
    task : WordTask, optional
        The task, by default of the sum 100 with any word.
    note : callable, optional
        Told of every answer.
    choose : callable, optional
        Names the word to ask about, given the last one; by default that one.

    Examples
    --------
    >>> import asyncio
    >>> from detailed_balance.paper.word_tables import TableChatModel
    >>> agent = build_word_agent(TableChatModel())
    >>> asyncio.run(agent.ainvoke({"word": "TURKEY", "questions": 1}))
    {'word': 'ATTITUDE', 'questions': 0}
    """
    judge = task or WordTask()

    async def ask(state: WordState) -> dict[str, Any]:
        answer = await _ask(model, judge, choose(state["word"]))
        note(answer)
        return {"word": answer.word or answer.source, "questions": state["questions"] - 1}

    graph = StateGraph(WordState)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", lambda state: "ask" if state["questions"] > 0 else END)
    return graph.compile()


async def _ask(model: Runnable[LanguageModelInput, AIMessage], task: WordTask, word: str) -> Answer:
    try:
        reply = await model.ainvoke(task.ask(word))
    except Exception as error:  # whatever a provider raises, when its own retries are used up
        return Answer(word, f"{type(error).__name__}: {error}"[:TEXT_KEPT], None, "failed")
    escape = task.judge(word, reply.text)
    usage = reply.usage_metadata
    return Answer(
        word,
        reply.text[:TEXT_KEPT],
        None if escape else task.read(reply),
        escape,
        usage["input_tokens"] if usage else 0,
        usage["output_tokens"] if usage else 0,
    )
