"""States of model calls: what a model was given, and what it answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage, HumanMessage

__all__ = ["PromptStates", "last_human_text", "reply_text"]


def last_human_text(messages: Sequence[BaseMessage]) -> str | None:
    """Return the text of the last human message, stripped; None where there is no such text."""
    humans = (message for message in reversed(messages) if isinstance(message, HumanMessage))
    human = next(humans, None)
    return human.text.strip() or None if human else None


def reply_text(message: BaseMessage) -> str | None:
    """Return the text of a reply, stripped; None, an escape, where it is empty."""
    return message.text.strip() or None


@dataclass(frozen=True, slots=True)
class PromptStates:
    """What a model was given and what it answered: the f -> g of one model call.

    Self-loops are recorded; a call that fails, or whose `answer` is None, is an escape. Calls are
    not chained into a path, so there is no START and no END. Models outside LangGraph count too.

    Parameters
    ----------
    prompt : callable
        Names the source state from the messages of the call; None leaves the call out.
    answer : callable
        Names the target state from the reply; None is an escape (unparsable, rejected).

    Notes
    -----
    Paper: section II, where a state is the text that the model is shown and is asked to change.

    Examples
    --------
    >>> from langchain_core.messages import AIMessage, HumanMessage
    >>> words = PromptStates(answer=lambda message: message.text.strip().lower() or None)
    >>> words.source([HumanMessage("buzzing")]), words.target(AIMessage(" Humming"))
    ('buzzing', 'humming')
    """

    prompt: Callable[[Sequence[BaseMessage]], str | None] = last_human_text
    answer: Callable[[BaseMessage], str | None] = reply_text

    def source(self, messages: Sequence[BaseMessage]) -> str | None:
        """Name the state that the call starts from."""
        return self.prompt(messages)

    def target(self, message: BaseMessage) -> str | None:
        """Name the state that the reply is."""
        return self.answer(message)
