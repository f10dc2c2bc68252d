"""What the chat models that need no network have in common."""

from __future__ import annotations

import asyncio
import threading
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

__all__ = ["REFUSAL", "SimulatedChatModel"]

REFUSAL = "I cannot think of one."
"""An answer that is neither a single word nor an expression."""


class SimulatedChatModel(BaseChatModel):
    """A chat model that answers the question of a `Task` by chance; it is asked offline.

    Attributes
    ----------
    seed : int
        Of its random answers, which depend on the order of the questions.
    delay : float
        How many seconds an answer takes.
    """

    seed: int = 0
    delay: float = 0.0
    _random: np.random.Generator = PrivateAttr()
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    def model_post_init(self, context: Any, /) -> None:
        """Start the random numbers."""
        self._random = np.random.default_rng(self.seed)

    @property
    def _llm_type(self) -> str:
        return "simulated"

    @abstractmethod
    def _read(self, messages: Sequence[BaseMessage]) -> str | None:
        """Return the state that a question is about; None where it is another question."""

    @abstractmethod
    def _answer(self, state: str, /) -> str:
        """Return an answer to the question about `state`; one thread at a time."""

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        state = self._read(messages)
        with self._lock:
            text = REFUSAL if state is None else self._answer(state)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self.delay:
            await asyncio.sleep(self.delay)
        return self._generate(messages)  # no work for another thread
