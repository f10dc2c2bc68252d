"""`GrammarChatModel`, a chat model whose every transition probability is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from detailed_balance.paper.mutations import GrammarKernel
from detailed_balance.paper.symbolic_agent import asked_expression

__all__ = ["REFUSAL", "GrammarChatModel"]

REFUSAL = "I would not change it!"
"""An answer that is no expression."""


class GrammarChatModel(BaseChatModel):
    """A chat model that answers the question of a `SymbolicTask` by a `GrammarKernel`.

    Parameters
    ----------
    kernel : GrammarKernel
        Where it goes from each expression, and with what probability.
    seed : int
        Of its answers, which depend on the order of the questions.
    answered : int
        How many questions were answered before, in a run that is gone on with.

    Examples
    --------
    >>> from langchain_core.messages import HumanMessage
    >>> model = GrammarChatModel(kernel=GrammarKernel(["x"], potential=len, max_complexity=2))
    >>> model.invoke([HumanMessage("Expression: exp(x)")]).text
    'sin(x)'
    """

    kernel: GrammarKernel
    seed: int = 0
    answered: int = 0
    _random: np.random.Generator = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Start the random numbers."""
        self._random = np.random.default_rng([self.seed, self.answered])

    @property
    def _llm_type(self) -> str:
        return "grammar"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        source = asked_expression(messages)
        text = REFUSAL if source is None else self._answer(source)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages)  # no work for another thread

    def _answer(self, source: str) -> str:
        targets, probabilities = self.kernel.row(source)
        chance = self._random.random()
        if chance >= 1 - self.kernel.escape_rate:
            return REFUSAL
        place = int(np.searchsorted(np.cumsum(probabilities), chance, side="right"))
        return targets[place] if place < len(targets) else source
