"""The conditioned word task: a word in, another word out whose letters sum to the same number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from langchain_core.messages import BaseMessage, HumanMessage

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.states import PromptStates

__all__ = ["ESCAPES", "Escape", "WordTask", "asked_word", "letter_sum"]

Escape: TypeAlias = Literal["invalid", "wrong sum", "unchanged", "failed"]
"""Why an answer is no transition: no single word of the vocabulary, a word of another sum, the word
that was asked about, or a call that failed."""

ESCAPES: tuple[Escape, ...] = ("invalid", "wrong sum", "unchanged", "failed")
"""All kinds of `Escape`."""

# The marks that chat models put round a word; anything else beside it makes it no single word.
_AROUND = " \t\r\n*_\"'`.“”"
_ASKED = re.compile(r"The word is ([A-Z]+)\.")


def letter_sum(word: str) -> int:
    """Return the sum of the letters, A=1 to Z=26, whatever their case.

    Raises
    ------
    InvalidInputError
        Where `word` has anything but the letters A to Z, or nothing.

    Examples
    --------
    >>> letter_sum("attitude")
    100
    """
    if not _is_word(word):
        raise InvalidInputError(f"{word!r} is no word; a word has the letters A to Z alone")
    return sum(ord(letter) - ord("A") + 1 for letter in word.upper())


def asked_word(messages: Sequence[BaseMessage]) -> str | None:
    """Return the word that the last message asks about; None where it asks something else."""
    found = _ASKED.search(messages[-1].text) if messages else None
    return found.group(1) if found else None


@dataclass(frozen=True, slots=True)
class WordTask:
    """The task of one probe, and the judge of its answer.

    Parameters
    ----------
    target : int
        What the letters of each word sum to, A=1 to Z=26.
    vocabulary : frozenset of str, optional
        The words allowed, in capitals; None for any that has the letters A to Z alone.

    Notes
    -----
    Paper: the conditioned word generation of section II. The wording of the question is ours. The
    case of an answer does not matter, nor do quotation marks, asterisks or a full stop round it.

    Examples
    --------
    >>> task = WordTask()
    >>> task.judge("TURKEY", "**Attitude**"), task.judge("TURKEY", "turkey.")
    (None, 'unchanged')
    >>> task.judge("TURKEY", "hen"), task.judge("TURKEY", "no idea")
    ('wrong sum', 'invalid')
    """

    target: int = 100
    vocabulary: frozenset[str] | None = None

    def ask(self, word: str) -> list[BaseMessage]:
        """Return the messages that ask for a word after `word`, which is in capitals."""
        return [
            HumanMessage(
                f"The word is {word}. With A=1, B=2, ... Z=26 its letters sum to {self.target}. "
                f"Answer with another English word whose letters also sum to {self.target}. "
                "Answer with that word only."
            )
        ]

    def read(self, answer: BaseMessage) -> str | None:
        """Return the word that is the answer, in capitals; None where it fails the task."""
        word = _single_word(answer.text)
        return word if word and self.is_valid(word) else None

    def is_valid(self, word: str) -> bool:
        """Say whether `word`, in capitals, is allowed and has the right sum."""
        return word.isupper() and self._is_known(word) and letter_sum(word) == self.target

    def judge(self, source: str, text: str) -> Escape | None:
        """Return why the answer `text` to the word `source` is no transition; None where it is."""
        word = _single_word(text)
        if word is None or not self._is_known(word):
            return "invalid"
        if letter_sum(word) != self.target:
            return "wrong sum"
        return "unchanged" if word == source else None

    def states(self) -> PromptStates:
        """Return the state function: the word asked about, and the word answered.

        An unchanged word is a self-loop, which is an attempt and no transition; any other answer
        that fails is an escape.
        """
        return PromptStates(prompt=asked_word, answer=self.read)

    def _is_known(self, word: str) -> bool:
        return _is_word(word) and (self.vocabulary is None or word in self.vocabulary)


def _is_word(text: str) -> bool:
    return text.isascii() and text.isalpha()


def _single_word(text: str) -> str | None:
    """Return the word that `text` is, in capitals; None where it is anything else."""
    word = text.strip(_AROUND)
    return word.upper() if _is_word(word) else None
