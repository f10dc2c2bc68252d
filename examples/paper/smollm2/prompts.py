"""Prompts that ask for one word, and the spellings in which an answer counts as a word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from detailed_balance.analyzers.errors import InvalidInputError

__all__ = ["RELATED_WORD", "Chat", "Spellings", "fill_prompt"]

Chat: TypeAlias = Sequence[tuple[str, str]]
"""Messages in order, each its role ("system", "user" or "assistant") and its text."""

_QUESTION = "Give me one word related to '{word}'. Only the word."

RELATED_WORD: Chat = (
    ("system", "Reply with one word."),
    ("user", _QUESTION.replace("{word}", "hammer")),
    ("assistant", "nail"),
    ("user", _QUESTION.replace("{word}", "pillow")),
    ("assistant", "sleep"),
    ("user", _QUESTION),
)
"""The prompt by which the kernel of the demo was measured; ``{word}`` stands for the source."""


def fill_prompt(prompt: Chat, word: str) -> Chat:
    """Put `word` in place of every ``{word}``.

    Raises
    ------
    InvalidInputError
        Where the prompt has no such place: it would ask the same of every word.

    Examples
    --------
    >>> fill_prompt(RELATED_WORD, "dog")[-1]
    ('user', "Give me one word related to 'dog'. Only the word.")
    """
    if not any("{word}" in text for _, text in prompt):
        raise InvalidInputError("the prompt has no place for the word; write {word} where it goes")
    return tuple((role, text.replace("{word}", word)) for role, text in prompt)


@dataclass(frozen=True, slots=True)
class Spellings:
    """In which spellings an answer counts as a word; by default the word itself alone.

    Parameters
    ----------
    capitalised : bool
        "Dog" counts as "dog".
    spaced : bool
        A leading space counts: " dog", which a language model takes for another token than "dog".
    stopped : bool
        A full stop at the end counts: "dog."

    Examples
    --------
    >>> Spellings(capitalised=True, stopped=True).texts("dog")
    ('dog', 'dog.', 'Dog', 'Dog.')
    """

    capitalised: bool = False
    spaced: bool = False
    stopped: bool = False

    def texts(self, word: str) -> tuple[str, ...]:
        """Return the answers that count as `word`, each once."""
        found = [word, word[:1].upper() + word[1:]] if self.capitalised else [word]
        if self.stopped:
            found = [text + end for text in found for end in ("", ".")]
        if self.spaced:
            found = [start + text for text in found for start in ("", " ")]
        return tuple(dict.fromkeys(found))

    def reader(self, words: Iterable[str]) -> dict[str, str]:
        """Return the word of every answer that counts as one of `words`.

        Raises
        ------
        InvalidInputError
            Where one answer would count as two words, or a word is empty.

        Examples
        --------
        >>> Spellings(stopped=True).reader(["dog"])
        {'dog': 'dog', 'dog.': 'dog'}
        """
        found: dict[str, str] = {}
        for word in words:
            if not word:
                raise InvalidInputError("an empty word; an answer has at least one letter")
            for text in self.texts(word):
                if found.setdefault(text, word) != word:
                    raise InvalidInputError(
                        f"the answer {text!r} counts as {found[text]!r} and as {word!r}; leave one "
                        "of them out, or allow fewer spellings"
                    )
        return found
