"""Which questions a run asks a model, and which of them are recorded already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.labels import Context, make_context
from detailed_balance.callbacks import Transition, TransitionStore

__all__ = ["Mode", "Plan", "Recorded"]

Mode: TypeAlias = Literal["probe", "walk"]
"""Each question is about a state drawn from those found so far, or about the last answer."""

WALKS = 8
"""So many walks share the questions of a plan that walks."""

PROBES = 50
"""So many probes, at most, are one run of the agent: to start it costs more than to go on."""


@dataclass(slots=True)
class Recorded:
    """What is recorded of a plan.

    Parameters
    ----------
    found : list of str
        The states found, each once, the first one of the plan before all others.
    questions : Counter of str
        How many questions each thread has asked.
    last : dict of str to str
        The last state of each thread.
    """

    found: list[str]
    questions: Counter[str] = field(default_factory=Counter)
    last: dict[str, str] = field(default_factory=dict)
    _known: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self._known = set(self.found)

    def add(self, move: Transition) -> None:
        """Add a question that is recorded."""
        thread = str(move.trajectory)
        self.questions[thread] += move.count
        if move.target is not None:
            self.last[thread] = move.target
            self.find(move.target)

    def find(self, state: str) -> None:
        """Add a state, unless it is found already."""
        if state not in self._known:
            self._known.add(state)
            self.found.append(state)


@dataclass(frozen=True, slots=True)
class Plan:
    """The questions of one run.

    Parameters
    ----------
    start : str
        The first state.
    questions : int
        How many.
    mode : {"probe", "walk"}
        "probe": each about a state drawn uniformly from those found so far, as in the paper.
        "walk": 8 walks, each of which asks about its last answer.
    labels : mapping of str to str
        Of what is recorded, such as the model. By them, `mode` and `seed` it is known again.
    seed : int
        Of the states drawn.
    shared : bool
        Whether the store may hold other runs too; else they are refused, as a sign that a setting
        was changed by mistake.
    unasked : str, optional
        A state that stands for rejected answers: it is recorded, and never asked about.

    Raises
    ------
    InvalidInputError
        Where a setting is not allowed.

    Examples
    --------
    >>> plan = Plan("BUZZY", questions=120)
    >>> list(plan.threads(plan.recall(TransitionStore("sqlite://"))))
    [('probe-0', 'BUZZY', 50), ('probe-50', 'BUZZY', 50), ('probe-100', 'BUZZY', 20)]
    """

    start: str
    questions: int = 20_000
    mode: Mode = "probe"
    labels: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    shared: bool = False
    unasked: str | None = None

    def __post_init__(self) -> None:
        if self.questions < 1:
            raise InvalidInputError(f"questions={self.questions!r}; ask 1 or more")
        if self.mode not in get_args(Mode):
            raise InvalidInputError(f"mode={self.mode!r}; allowed are {', '.join(get_args(Mode))}")

    @property
    def name(self) -> str:
        """The labels in words."""
        return " on ".join(self.labels.values())

    @property
    def context(self) -> Context:
        """The labels of what is recorded, by which it is known again."""
        return make_context({**self.labels, "mode": self.mode, "seed": str(self.seed)})

    def recall(self, store: TransitionStore) -> Recorded:
        """Read what a store holds of this plan.

        Raises
        ------
        InvalidInputError
            Where it holds something else, and is not shared.
        """
        others = [context for context in store.contexts() if context != self.context]
        if others and not self.shared:
            raise InvalidInputError(
                f"the store holds {dict(others[0])}, and this run is {dict(self.context)}: go on "
                "with the same settings, or choose another store"
            )
        recorded = Recorded([self.start])
        for move in store.read(context=self.context):
            recorded.add(replace(move, target=None) if move.target == self.unasked else move)
        return recorded

    def threads(self, recorded: Recorded, at_a_time: int = 1) -> Iterator[tuple[str, str, int]]:
        """Yield what is left: a thread, its first state, and the questions that it has left.

        Probes are shared out so that `at_a_time` threads have some.
        """
        if self.mode == "probe":
            done = recorded.questions.total()
            size = min(PROBES, max(1, -(-(self.questions - done) // at_a_time)))
            for i in range(done, self.questions, size):
                yield f"probe-{i}", self.start, min(size, self.questions - i)
            return
        for i in range(WALKS):
            planned = self.questions // WALKS + (i < self.questions % WALKS)
            thread = f"walk-{i}"
            if (left := planned - recorded.questions[thread]) > 0:
                yield thread, recorded.last.get(thread, self.start), left

    def chooser(self, recorded: Recorded) -> Callable[[str], str]:
        """Return what names the state to ask about, given the last one."""
        if self.mode == "walk":
            return lambda state: state
        rng = np.random.default_rng([self.seed, recorded.questions.total()])
        return lambda state: recorded.found[rng.integers(len(recorded.found))]
