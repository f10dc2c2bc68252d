"""Many walks side by side: at each step a chat model is asked about all their words at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from detailed_balance.analyzers.runs.labels import ContextLike, make_context
from detailed_balance.callbacks import Transition
from examples.paper.smollm2.prompts import RELATED_WORD, Chat, fill_prompt

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["read_single_word", "walk_words"]


def read_single_word(answer: str) -> str | None:
    """Return an answer of one word in lower case, without a full stop; None, an escape, if not.

    Examples
    --------
    >>> read_single_word(" Cat."), read_single_word("a cat")
    ('cat', None)
    """
    found = re.fullmatch(r"\s*([^\W\d_]{2,20})\.?\s*", answer)
    return found.group(1).lower() if found else None


def walk_words(
    model: BaseChatModel,
    starts: Sequence[str],
    *,
    steps: int,
    prompt: Chat = RELATED_WORD,
    read: Callable[[str], str | None] = read_single_word,
    context: ContextLike = None,
) -> Iterator[Transition]:
    """Walk from each of `starts`, and yield the moves of all walks, step by step.

    One step of all walks is one `batch` of the model. A walk whose answer is an escape stays at
    its word, and the model is asked again.

    Parameters
    ----------
    model : BaseChatModel
        Such as `SmolLM2Chat`, which answers a batch in one pass.
    starts : sequence of str, length b
        The first word of each walk.
    steps : int
        Of each walk.
    prompt : Chat
        The question; ``{word}`` stands for the word.
    read : callable
        Reads the state from an answer; None is an escape. `Spellings().reader(words).get` for a
        closed vocabulary, as that of `exact_kernel`.
    context : mapping or Context, optional
        The labels of the moves.

    Yields
    ------
    Transition
        For `TransitionGraph.record`, `TransitionStore.append` or `read_runs`.

    Notes
    -----
    A `TransitionCallbackHandler` with `PromptStates` records such calls too, each by itself; but it
    knows no walk, since the calls belong to no run of a graph.

    Examples
    --------
    >>> from langchain_core.language_models import FakeListChatModel
    >>> model = FakeListChatModel(responses=["cat", "who knows", "mouse"])
    >>> for move in walk_words(model, ["dog"], steps=3):
    ...     print(move.trajectory, move.step, move.source, move.target)
    walk 0 0 dog cat
    walk 0 1 cat None
    walk 0 2 cat mouse
    """
    words, labels = list(starts), make_context(context)
    for step in range(steps):
        answers = model.batch([list(fill_prompt(prompt, word)) for word in words])
        for walk, answer in enumerate(answers):
            target = read(answer.text)
            yield Transition(words[walk], target, f"walk {walk}", labels, step=step)
            words[walk] = words[walk] if target is None else target
