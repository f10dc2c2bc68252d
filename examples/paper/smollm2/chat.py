"""`SmolLM2Chat`: SmolLM2-135M-Instruct as a chat model of LangChain, offline."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list
from pydantic import Field, PrivateAttr

from detailed_balance.analyzers.errors import InvalidInputError
from examples.paper.smollm2.generation import BatchReader, GeneratedAnswer, generate_answers
from examples.paper.smollm2.model import SmolLM2
from examples.paper.smollm2.prompts import Chat

__all__ = ["SmolLM2Chat", "load_model", "to_chat"]

_Question: TypeAlias = "tuple[tuple[int, ...], tuple[str, ...]]"
"""The tokens of a prompt, and the stop sequences."""

_Waiting: TypeAlias = "ContextVar[dict[_Question, deque[GeneratedAnswer]] | None]"

_ROLES = {"system": "system", "human": "user", "ai": "assistant"}


def _nothing_prepared() -> _Waiting:
    # The thread that LangChain starts for a batch sees what was set before it, and no other does.
    return ContextVar("prepared", default=None)


@cache
def load_model() -> SmolLM2:
    """Return SmolLM2, loaded once in a process.

    Raises
    ------
    DetailedBalanceError
        Where a package that it needs is missing.
    """
    return SmolLM2()


class SmolLM2Chat(BaseChatModel):
    """A small real language model that answers offline, on the CPU, without a key.

    `batch` and `generate` answer all their prompts in one pass over the model for each token.

    Attributes
    ----------
    temperature : float
        Divides the logits of every token; 0 takes the likeliest.
    max_tokens : int
        Of one answer.
    seed : int or None
        The n-th prompt that this object is asked is answered by the same random numbers each
        time, in a batch or by itself; None for others each time.

    Examples
    --------
    >>> chat = SmolLM2Chat(temperature=0, max_tokens=20)       # doctest: +SKIP
    >>> chat.invoke("What is the capital of France?").text     # doctest: +SKIP
    """

    temperature: float = Field(default=1.0, ge=0)
    max_tokens: int = Field(default=128, ge=1)
    seed: int | None = None
    _asked: int = PrivateAttr(default=0)
    _lock: threading.RLock = PrivateAttr(default_factory=threading.RLock)
    _prepared: _Waiting = PrivateAttr(default_factory=_nothing_prepared)

    @property
    def token_model(self) -> SmolLM2:
        """The model itself, for `exact_kernel`; loaded when first asked for."""
        return load_model()

    @property
    def _llm_type(self) -> str:
        return "smollm2"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("temperature", "max_tokens", "seed")
        return {"model_name": MODEL_NAME} | {name: getattr(self, name) for name in names}

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answer every input, all in one batch; callbacks hear of each by itself.

        Parameters
        ----------
        inputs : list
            Each what `invoke` takes.
        config : RunnableConfig or list of RunnableConfig, optional
            For all, or for each.
        return_exceptions : bool
            Return an error in place of an answer, and do not raise it.
        **kwargs
            ``stop``, as for `invoke`.
        """
        prompts = [self._convert_input(given).to_messages() for given in inputs]
        # One after the other: the answers are there already, and their order is kept.
        configs: list[RunnableConfig] = [
            {**one, "max_concurrency": 1} for one in get_config_list(config, len(inputs))
        ]
        with self._answering(prompts, kwargs.get("stop")):
            return super().batch(inputs, configs, return_exceptions=return_exceptions, **kwargs)

    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        *args: Any,
        **kw: Any,
    ) -> Any:
        """Answer every list of messages, all in one batch."""
        with self._answering(messages, stop):
            return super().generate(messages, stop, *args, **kw)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        tokens = self.token_model.encode_chat(to_chat(messages))
        waiting = (self._prepared.get() or {}).get((tuple(tokens), tuple(stop or ())))
        answer = waiting.popleft() if waiting else self._answer([tokens], stop)[0]
        usage = UsageMetadata(
            input_tokens=len(tokens),
            output_tokens=len(answer.tokens),
            total_tokens=len(tokens) + len(answer.tokens),
        )
        about = {"model_name": MODEL_NAME, "finish_reason": answer.finish_reason}
        message = AIMessage(answer.text, usage_metadata=usage, response_metadata=about)
        return ChatResult(generations=[ChatGeneration(message=message, generation_info=about)])

    @contextmanager
    def _answering(
        self, prompts: Sequence[Sequence[BaseMessage]], stop: Sequence[str] | None
    ) -> Iterator[None]:
        """Have the answers to several prompts ready for `_generate`."""
        if len(prompts) < 2 or self._prepared.get() is not None:
            yield
            return
        try:
            questions = [tuple(self.token_model.encode_chat(to_chat(one))) for one in prompts]
            answers = self._answer(questions, stop)
        except InvalidInputError:
            yield  # each is then answered by itself, and the one at fault says so
            return
        prepared: dict[_Question, deque[GeneratedAnswer]] = {}
        for question, answer in zip(questions, answers, strict=True):
            prepared.setdefault((question, tuple(stop or ())), deque()).append(answer)
        token = self._prepared.set(prepared)
        try:
            yield
        finally:
            self._prepared.reset(token)

    def _answer(
        self, questions: Sequence[Sequence[int]], stop: Sequence[str] | None
    ) -> list[GeneratedAnswer]:
        model = self.token_model
        model.check_length(max(map(len, questions)) + self.max_tokens)
        with self._lock:
            first, self._asked = self._asked, self._asked + len(questions)
        numbers = range(first, first + len(questions))
        return generate_answers(
            BatchReader(model.transformer, questions),
            [np.random.default_rng(None if self.seed is None else [self.seed, n]) for n in numbers],
            decode=model.decode,
            ends=model.ends,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            stop=tuple(stop or ()),
        )


MODEL_NAME = "SmolLM2-135M-Instruct"
"""As it calls itself in the metadata of answers and in the contexts of recorded moves."""


def to_chat(messages: Sequence[BaseMessage]) -> Chat:
    """Return LangChain messages as (role, text).

    Raises
    ------
    InvalidInputError
        Where a message is of another kind, such as the answer of a tool.

    Examples
    --------
    >>> from langchain_core.messages import HumanMessage
    >>> to_chat([HumanMessage("a word")])
    (('user', 'a word'),)
    """
    for message in messages:
        if message.type not in _ROLES:
            raise InvalidInputError(
                f"a message of type {message.type!r}; this model knows {', '.join(_ROLES)}"
            )
    return tuple((_ROLES[message.type], message.text) for message in messages)
