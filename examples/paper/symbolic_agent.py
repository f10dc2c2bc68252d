"""The agent of the symbolic task: it holds an expression, and asks a chat model for the next one.

The model is shown the expression, how well it fits and the language. An answer that cannot be read
or fitted is an escape, after which the agent keeps what it has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from detailed_balance.callbacks.states import PromptStates
from detailed_balance.paper.exploring import Tally, give_up
from detailed_balance.paper.fitting import Fit, FitError, Fitter
from detailed_balance.paper.grammar import FUNCTIONS, ExpressionError

__all__ = ["SearchState", "SymbolicTask", "asked_expression", "build_symbolic_agent"]

_ASKED = re.compile(r"^Expression: (.+)$", re.MULTILINE)
_LONGEST_ANSWER = 4_000


class SearchState(TypedDict):
    """What the agent holds: an expression, its mean squared error, the questions it has left."""

    expression: str
    mse: NotRequired[float]
    questions: int


def asked_expression(messages: Sequence[BaseMessage]) -> str | None:
    r"""Return the expression that the last message asks about; None where it asks something else.

    Examples
    --------
    >>> asked_expression([HumanMessage("Expression: c * x\nMean squared error: 1")])
    'c * x'
    """
    found = _ASKED.search(messages[-1].text) if messages else None
    return found.group(1) if found else None


@dataclass(frozen=True, slots=True)
class SymbolicTask:
    r"""The question of one probe, and the judge of its answer.

    Parameters
    ----------
    fitter : Fitter
        Of the data.

    Notes
    -----
    Paper: the symbolic fitting agent, whose states are expressions. The wording is ours.

    Examples
    --------
    >>> from detailed_balance.paper.datasets import make_decay
    >>> task = SymbolicTask(Fitter(make_decay()))
    >>> task.judge("x", "Try this:\n`c1*exp(-c2*x)`"), task.judge("x", "exp(x")
    ('move', 'unreadable')
    """

    fitter: Fitter

    def ask(self, expression: str) -> list[BaseMessage]:
        """Return the messages that ask for an expression after a canonical one."""
        data, fit = self.fitter.data, self.fitter.fit(expression)
        return [
            HumanMessage(
                f"Find a simple formula for {data.target_name}, step by step.\n"
                f"Expression: {expression}\n"
                f"Mean squared error: {fit.mse:.4g}\n"
                "Change it a little, so that it fits better or is simpler. Allowed are + - * / **,"
                f" parentheses, numbers, the functions {', '.join(FUNCTIONS)}, the variables"
                f" {', '.join(data.variables)}, and c for each constant to be fitted (c0, c1, ..."
                " where one constant is used twice). Answer with one expression on one line, and"
                " nothing else."
            )
        ]

    def read(self, text: str) -> Fit:
        """Return the fit of the expression in an answer, its last line that is not empty.

        Raises
        ------
        ExpressionError
            Where it is no expression.
        FitError
            Where it has no finite values on the data.
        """
        lines = [line.strip(" \t\r`$") for line in text[-_LONGEST_ANSWER:].splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        return self.fitter.fit(last)

    def judge(self, source: str, text: str) -> str:
        """Return what an answer to `source` is: "move", "unchanged", "unreadable" or "unfitted"."""
        try:
            found = self.read(text).expression.text
        except ExpressionError:
            return "unreadable"
        except FitError:
            return "unfitted"
        return "unchanged" if found == source else "move"

    def states(self) -> PromptStates:
        """Return the state function: the expression asked about, and the one answered.

        An unchanged expression is a self-loop; what cannot be read or fitted is an escape.
        """
        return PromptStates(prompt=asked_expression, answer=self._target)

    def _target(self, reply: BaseMessage) -> str | None:
        try:
            return self.read(reply.text).expression.text
        except (ExpressionError, FitError):
            return None


def build_symbolic_agent(
    model: Runnable[LanguageModelInput, AIMessage], task: SymbolicTask, tally: Tally | None = None
) -> CompiledStateGraph[SearchState, None, SearchState, SearchState]:
    """Build the agent, which asks about its expression and goes on from the answer.

    It keeps its expression where the answer is an escape; a call that fails is one too. It is run
    by ``ainvoke``.

    Parameters
    ----------
    model : chat model
        Any chat model of LangChain; its own retries (``max_retries``) go before.
    task : SymbolicTask
        The question, and the judge.
    tally : Tally, optional
        Counts the answers.

    Raises
    ------
    ModelFailedError
        While it runs: where 20 calls failed one after another.

    Examples
    --------
    >>> import asyncio
    >>> from langchain_core.language_models import FakeListChatModel
    >>> from detailed_balance.paper.datasets import make_decay
    >>> model = FakeListChatModel(responses=["exp(c0 * x)", "I give up."])
    >>> agent = build_symbolic_agent(model, SymbolicTask(Fitter(make_decay())))
    >>> after = asyncio.run(agent.ainvoke({"expression": "x", "questions": 2}))
    >>> after["expression"], round(after["mse"], 5)
    ('exp(c * x)', 0.00032)
    """
    counted = Tally() if tally is None else tally

    async def ask(state: SearchState) -> dict[str, Any]:
        source = state["expression"]
        fit, question = task.fitter.fit(source), task.ask(source)
        try:
            reply = await model.ainvoke(question)
        except Exception as error:  # whatever a provider raises, when its retries are used up
            counted.add("failed")
            give_up(counted, f"{type(error).__name__}: {error}")
        else:
            kind = task.judge(source, reply.text)
            counted.add(kind, reply.usage_metadata)
            fit = task.read(reply.text) if kind == "move" else fit
        left = state["questions"] - 1
        return {"expression": fit.expression.text, "mse": fit.mse, "questions": left}

    async def go_on(state: SearchState) -> str:  # a plain function would go to another thread
        return "ask" if state["questions"] > 0 else END

    graph = StateGraph(SearchState)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", go_on, ["ask", END])
    return graph.compile()
