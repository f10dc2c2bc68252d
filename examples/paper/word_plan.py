"""Which questions a run of the word task asks, and which of them are recorded already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.store import TransitionStore
from detailed_balance.callbacks.transition import Context, Transition, make_context
from detailed_balance.paper.word_task import WordTask

__all__ = ["Mode", "Recorded", "WordPlan"]

Mode: TypeAlias = Literal["probe", "walk"]
"""Each question is about a word drawn from those found so far, or about the last answer."""

WALKS = 8
"""So many walks share the questions of a plan that walks."""

PROBES = 50
"""So many probes are one run of the agent."""


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

    def add(self, move: Transition) -> None:
        """Add a question that is recorded."""
        thread = str(move.trajectory)
        self.questions[thread] += move.count
        if move.target is not None:
            self.words[thread] = move.target
            self.find(move.target)

    def find(self, word: str) -> None:
        """Add a word, unless it is found already."""
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
    >>> plan = WordPlan("BUZZY", questions=120)
    >>> list(plan.threads(plan.recall(TransitionStore("sqlite://"))))
    [('probe-0', 'BUZZY', 50), ('probe-50', 'BUZZY', 50), ('probe-100', 'BUZZY', 20)]
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
            recorded.add(move)
        return recorded

    def threads(self, recorded: Recorded) -> Iterator[tuple[str, str, int]]:
        """Yield what is left: a thread, its first word, and the questions that it has left."""
        if self.mode == "probe":
            for i in range(recorded.questions.total(), self.questions, PROBES):
                yield f"probe-{i}", self.start, min(PROBES, self.questions - i)
            return
        for i in range(WALKS):
            planned = self.questions // WALKS + (i < self.questions % WALKS)
            thread = f"walk-{i}"
            if (left := planned - recorded.questions[thread]) > 0:
                yield thread, recorded.words.get(thread, self.start), left

    def chooser(self, recorded: Recorded) -> Callable[[str], str]:
        """Return what names the word to ask about, given the last one."""
        if self.mode == "walk":
            return lambda word: word
        rng = np.random.default_rng([self.seed, recorded.questions.total()])
        return lambda word: recorded.found[rng.integers(len(recorded.found))]
