"""Which questions a run of the word task asks, and which of them are recorded already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.store import TransitionStore
from detailed_balance.callbacks.transition import Context, make_context
from detailed_balance.paper.word_task import WordTask

__all__ = ["Mode", "Recorded", "WordPlan"]

Mode: TypeAlias = Literal["probe", "walk"]
"""Each question is about a word drawn from those found so far, or about the last answer."""

WALKS = 8
"""So many walks share the questions of a plan that walks."""


@dataclass(slots=True)
class Recorded:
    """What is recorded of a plan.

    Parameters
    ----------
    found : list of str
        The words found, each once, the first one of the plan before all others.
    questions : Counter of str
        How many questions each thread has asked.
    words : dict of str to str
        The last word of each thread.
    """

    found: list[str]
    questions: Counter[str] = field(default_factory=Counter)
    words: dict[str, str] = field(default_factory=dict)

    def add(self, thread: str, word: str | None, questions: int = 1) -> None:
        """Add questions of a thread, and the word that they led to; None for an escape."""
        self.questions[thread] += questions
        if word is not None:
            self.words[thread] = word
            if word not in self.found:
                self.found.append(word)


@dataclass(frozen=True, slots=True)
class WordPlan:
    """The questions of one run.

    Parameters
    ----------
    start : str
        The first word, in capitals.
    questions : int
        How many.
    mode : {"probe", "walk"}
        "probe": each about a word drawn uniformly from those found so far, as in the paper.
        "walk": 8 walks, each of which asks about its last answer.
    task : WordTask
        The task.
    model : str
        The name of the model. With `mode` and `seed` it labels what is recorded, so that one
        store can hold several runs.
    seed : int
        Of the words drawn.

    Raises
    ------
    InvalidInputError
        Where a setting is not allowed.

    Examples
    --------
    >>> plan = WordPlan("BUZZY", questions=3)
    >>> recorded = plan.recall(TransitionStore("sqlite://"))
    >>> list(plan.threads(recorded)), plan.next_word("probe-0", recorded)
    ([('probe-0', 1), ('probe-1', 1), ('probe-2', 1)], 'BUZZY')
    """

    start: str
    questions: int = 20_000
    mode: Mode = "probe"
    task: WordTask = field(default_factory=WordTask)
    model: str = "unnamed"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.questions < 1:
            raise InvalidInputError(f"questions={self.questions!r}; ask 1 or more")
        if self.mode not in get_args(Mode):
            raise InvalidInputError(f"mode={self.mode!r}; allowed are {', '.join(get_args(Mode))}")
        if not self.task.is_valid(self.start):
            raise InvalidInputError(
                f"start={self.start!r} does not fit the task: allowed is a word in capitals whose "
                f"letters sum to {self.task.target}, of the vocabulary where there is one"
            )

    @property
    def context(self) -> Context:
        """The labels of what is recorded, by which it is known again."""
        return make_context({"model": self.model, "mode": self.mode, "seed": str(self.seed)})

    def recall(self, store: TransitionStore) -> Recorded:
        """Read what a store holds of this plan."""
        recorded = Recorded([self.start])
        for move in store.read(context=self.context):
            recorded.add(str(move.trajectory), move.target, move.count)
        return recorded

    def threads(self, recorded: Recorded) -> Iterator[tuple[str, int]]:
        """Yield the threads that are not done, and how many questions each has left."""
        threads = self.questions if self.mode == "probe" else min(WALKS, self.questions)
        for i in range(threads):
            planned = self.questions // threads + (i < self.questions % threads)
            thread = f"{self.mode}-{i}"
            if (left := planned - recorded.questions[thread]) > 0:
                yield thread, left

    def next_word(self, thread: str, recorded: Recorded) -> str:
        """Return the word that a thread asks about first."""
        if self.mode == "walk":
            return recorded.words.get(thread, self.start)
        rng = np.random.default_rng([self.seed, int(thread.removeprefix("probe-"))])
        return recorded.found[rng.integers(len(recorded.found))]
