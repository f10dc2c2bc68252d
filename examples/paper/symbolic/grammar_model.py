"""`GrammarChatModel`, a chat model whose every transition probability is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from langchain_core.messages import BaseMessage

from examples.paper.agent.simulated import REFUSAL, SimulatedChatModel
from examples.paper.symbolic.grammar_kernel import GrammarKernel
from examples.paper.symbolic.task import asked_expression

__all__ = ["GrammarChatModel"]


class GrammarChatModel(SimulatedChatModel):
    """A chat model that answers the question of a `SymbolicTask` by a `GrammarKernel`.

    Attributes
    ----------
    kernel : GrammarKernel
        Where it goes from each expression, and with what probability.
    seed : int
        Of its answers, which depend on the order of the questions.
    delay : float
        How many seconds an answer takes.

    Examples
    --------
    >>> from langchain_core.messages import HumanMessage
    >>> model = GrammarChatModel(kernel=GrammarKernel(["x"], potential=len, max_complexity=2))
    >>> model.invoke([HumanMessage("Expression: exp(x)")]).text
    'sin(x)'
    """

    kernel: GrammarKernel

    def _read(self, messages: Sequence[BaseMessage]) -> str | None:
        return asked_expression(messages)

    def _answer(self, source: str, /) -> str:
        targets, probabilities = self.kernel.row(source)
        chance = self._random.random()
        if chance >= 1 - self.kernel.escape_rate:
            return REFUSAL
        place = int(np.searchsorted(np.cumsum(probabilities), chance, side="right"))
        return targets[place] if place < len(targets) else source
