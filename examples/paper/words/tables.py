"""Recorded transitions with published potentials, and a chat model that answers by them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from langchain_core.messages import BaseMessage
from pydantic import PrivateAttr

from detailed_balance.analyzers import Potential, TransitionCounts, estimate_potential
from detailed_balance.analyzers.errors import InvalidInputError
from examples.paper import DATA
from examples.paper.agent.simulated import REFUSAL, SimulatedChatModel
from examples.paper.words.task import asked_word

__all__ = ["TableChatModel", "TableName", "WordTable", "compare_published"]

TableName: TypeAlias = Literal["claude_4", "gemini_2_5_flash"]
"""The tables in the folder of data."""


@dataclass(frozen=True, slots=True, eq=False)
class WordTable:
    """How a model answered in the word task, and the potentials that the paper gives for it.

    Parameters
    ----------
    model : str
        The model that was asked.
    origin : str
        Where the numbers come from.
    counts : TransitionCounts
        The answers; those that were not a transition are escapes. Which kind is not known.
    attempts_per_state : float
        N0 of each state: budget / number of states, the paper's estimate. A state may have a few
        more transitions than that.
    published : dict of str to float
        V of each word; inf where no way leads up to it.
    stopped : dict of str to float
        Where the authors' optimiser stopped, for the words of infinite V: no property of the
        agent, but the heights at which they draw these words.
    """

    model: str
    origin: str
    counts: TransitionCounts
    attempts_per_state: float
    published: Mapping[str, float]
    stopped: Mapping[str, float]

    @classmethod
    def load(cls, name: TableName) -> WordTable:
        """Read a table of the folder of data.

        Raises
        ------
        InvalidInputError
            Where there is no such table.

        Examples
        --------
        >>> table = WordTable.load("claude_4")
        >>> table.published["PERSONAL"], table.counts.attempts.tolist()
        (4.1, [4097, 4000, 4000, 4000, 4122])
        """
        if name not in get_args(TableName):
            allowed = ", ".join(get_args(TableName))
            raise InvalidInputError(f"table={name!r}; allowed are {allowed}")
        content = json.loads((DATA / f"{name}_words.json").read_text(encoding="utf-8"))
        attempts = content["attempts_per_state"]
        return cls(
            content["model"],
            content["origin"],
            _fill_up(TransitionCounts.from_edges(map(tuple, content["transitions"])), attempts),
            attempts,
            {word: np.inf if v is None else v for word, v in content["published"].items()},
            content["stopped"],
        )

    def potential(self) -> Potential:
        """Return V as the paper has it: all states have the same number of attempts.

        Examples
        --------
        >>> round(WordTable.load("claude_4").potential().difference("PROBLEMS", "ATTITUDE"), 1)
        5.2
        """
        return estimate_potential(self.counts, attempts=self.attempts_per_state)

    @property
    def top(self) -> str:
        """The first word of the table, from which all others can be reached."""
        return self.counts.states[0]


def _fill_up(counts: TransitionCounts, attempts: float) -> TransitionCounts:
    """Count as escapes what is missing to the attempts of each state."""
    filled = np.maximum(counts.counts.sum(axis=1), round(attempts)).astype(np.int64)
    return TransitionCounts(counts.states, counts.counts, filled)


Row: TypeAlias = tuple[str, float, float, float, float]
"""A word, its V from the table, from the recorded run with its error, and as published."""


def compare_published(table: WordTable, recorded: TransitionCounts) -> list[Row]:
    """Return V of each word: from the table itself, from a recorded run, and as published.

    A word that the run has not found has the V and the error NaN.

    Examples
    --------
    >>> table = WordTable.load("claude_4")
    >>> compare_published(table, table.counts)[0]
    ('ATTITUDE', 0.0, 0.0, 0.0, 0.0)
    """
    lowest = min(table.published, key=lambda word: table.published[word])
    exact, run = table.potential(), estimate_potential(recorded)
    rows = []
    for word, published in table.published.items():
        found = {word, lowest} <= set(run.states)
        ours = run.difference(word, lowest) if found else np.nan
        error = run.standard_error(word, lowest) if found else np.nan
        rows.append((word, exact.difference(word, lowest), ours, error, published))
    return rows


class TableChatModel(SimulatedChatModel):
    """A chat model that answers as a table says another one did.

    Attributes
    ----------
    table : {"claude_4", "gemini_2_5_flash"}
        The table.
    replay : bool
        False: each answer is drawn by itself, with the frequencies of the table. True: the
        recorded answers to a word are given one by one in random order, each exactly once, and
        all over again when they are used up.
    seed : int
        Of the random answers, which depend on the order of the questions.
    delay : float
        How many seconds an answer takes.

    Notes
    -----
    A recording: no language model is asked. What was not a transition is answered by a refusal.

    Examples
    --------
    >>> from examples.paper.words.task import WordTask
    >>> TableChatModel().invoke(WordTask().ask("TURKEY")).text
    'ATTITUDE'
    """

    table: TableName = "claude_4"
    replay: bool = False
    _recorded: dict[str, list[str]] = PrivateAttr()
    _left: dict[str, list[str]] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        """Read the table."""
        super().model_post_init(context)
        self._recorded = _answers(WordTable.load(self.table).counts)

    def _read(self, messages: Sequence[BaseMessage]) -> str | None:
        return asked_word(messages)

    def _answer(self, word: str, /) -> str:
        recorded = self._recorded.get(word, [REFUSAL])
        if not self.replay:
            return recorded[self._random.integers(len(recorded))]
        if not self._left.get(word):
            self._left[word] = [recorded[i] for i in self._random.permutation(len(recorded))]
        return self._left[word].pop()


def _answers(counts: TransitionCounts) -> dict[str, list[str]]:
    """Return every answer to every word, one by one."""
    texts = [*counts.states, REFUSAL]
    often = np.column_stack([counts.counts.toarray(), counts.escapes])
    return {
        word: [text for text, n in zip(texts, row, strict=True) for _ in range(n)]
        for word, row in zip(counts.states, often.tolist(), strict=True)
    }
