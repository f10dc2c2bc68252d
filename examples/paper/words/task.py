"""The conditioned word task: a word in, another word out whose letters sum to the same number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from langchain_core.messages import BaseMessage, HumanMessage
from scipy.sparse import csr_array, diags_array

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.states import PromptStates

__all__ = [
    "WRONG_SUM",
    "Kind",
    "WordTask",
    "asked_word",
    "leave_out_repeats",
    "letter_sum",
    "read_vocabulary",
]

Kind: TypeAlias = Literal["move", "unchanged", "invalid", "wrong sum"]
"""What an answer is: a transition, the word that was asked about, no single word of the vocabulary,
or a word of another sum."""

WRONG_SUM = "(wrong sum)"
"""With the paper's settings, the one state of all words of another sum; it is never asked about."""

_LETTERS = ", ".join(f"{chr(ord('A') + i)}={i + 1}" for i in range(26))

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
        raise InvalidInputError(f"{word!r} is not a word; a word has the letters A to Z alone")
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
    paper : bool
        Ask as the paper does: explain the numbers of all letters, with an example. Words of
        another sum are the one state `WRONG_SUM`; else they are escapes.

    Notes
    -----
    Paper: the conditioned word generation of section II. The wording of the question is ours. The
    case of an answer does not matter, nor do quotation marks, asterisks or a full stop round it.

    Examples
    --------
    >>> task = WordTask()
    >>> task.judge("TURKEY", "**Attitude**"), task.judge("TURKEY", "turkey.")
    ('move', 'unchanged')
    >>> task.judge("TURKEY", "hen"), task.judge("TURKEY", "no idea")
    ('wrong sum', 'invalid')
    """

    target: int = 100
    vocabulary: frozenset[str] | None = None
    paper: bool = False

    def ask(self, word: str) -> list[BaseMessage]:
        """Return the messages that ask for a word after `word`, which is in capitals."""
        if self.paper:
            return [
                HumanMessage(
                    f"Each letter has a number: {_LETTERS}. The numbers of a word are summed: CAT "
                    f"is 3 + 1 + 20 = 24. The word is {word}. Its sum is {self.target}. Find a new "
                    f"English word whose sum is {self.target} too. Answer with the new word only."
                )
            ]
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
        if word is None or not self._is_known(word):
            return None
        if self.is_valid(word):
            return word
        return WRONG_SUM if self.paper else None

    def is_valid(self, word: str) -> bool:
        """Say whether `word`, in capitals, is allowed and has the right sum."""
        return word.isupper() and self._is_known(word) and letter_sum(word) == self.target

    def check(self, state: str) -> None:
        """Raise InvalidInputError where `state` is not a word of the task."""
        if not self.is_valid(state):
            raise InvalidInputError(
                f"start={state!r} does not fit the task: allowed is a word in capitals whose "
                f"letters sum to {self.target}, of the vocabulary where there is one"
            )

    def judge(self, source: str, text: str) -> Kind:
        """Return what the answer `text` to the word `source` is."""
        word = _single_word(text)
        if word is None or not self._is_known(word):
            return "invalid"
        if letter_sum(word) != self.target:
            return "wrong sum"
        return "unchanged" if word == source else "move"

    def states(self) -> PromptStates:
        """Return the state function: the word asked about, and the word answered.

        An unchanged word is a self-loop, which is an attempt and no transition; any other answer
        that fails is an escape.
        """
        return PromptStates(prompt=asked_word, answer=self.read)

    def _is_known(self, word: str) -> bool:
        return _is_word(word) and (self.vocabulary is None or word in self.vocabulary)


def leave_out_repeats(counts: TransitionCounts) -> TransitionCounts:
    """Return counts in which an answer that repeats the question was never given.

    Examples
    --------
    >>> counts = TransitionCounts.from_edges([("BUZZY", "BUZZY", 3), ("BUZZY", "TURKEY", 2)])
    >>> counts.attempts.tolist(), leave_out_repeats(counts).attempts.tolist()
    ([5, 0], [2, 0])
    """
    repeats = counts.counts.diagonal()
    others = csr_array(counts.counts - diags_array(repeats, dtype=repeats.dtype))
    return TransitionCounts(counts.states, others, counts.attempts - repeats)


def read_vocabulary(path: Path | None, target: int) -> frozenset[str] | None:
    """Return the words of a file, one a line, that have the sum `target`; None without a file.

    Raises
    ------
    InvalidInputError
        Where the file cannot be read, or holds no such word.
    """
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").upper().split()
    except OSError as error:
        raise InvalidInputError(f"--vocabulary {str(path)!r}: {error}") from error
    words = [word for word in lines if word.isascii() and word.isalpha()]
    fitting = frozenset(word for word in words if letter_sum(word) == target)
    if not fitting:
        raise InvalidInputError(
            f"--vocabulary {str(path)!r} has {len(words)} words, and the letters of none sum to "
            f"{target}; give one word a line, and the right --target"
        )
    return fitting


def _is_word(text: str) -> bool:
    return text.isascii() and text.isalpha()


def _single_word(text: str) -> str | None:
    """Return the word that `text` is, in capitals; None where it is anything else."""
    word = text.strip(_AROUND)
    return word.upper() if _is_word(word) else None
