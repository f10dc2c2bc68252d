"""Exploring the states of a model by an agent: many questions, recorded, gone on with after a stop.

What is recorded is all that a run needs to know: a question that is in the store is answered, and
the states found are those in the store. So the same call goes on where it was, however it stopped.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph

from detailed_balance.analyzers.errors import DetailedBalanceError, InvalidInputError
from detailed_balance.callbacks import TransitionCallbackHandler, TransitionStore
from detailed_balance.callbacks.states import PromptStates
from detailed_balance.callbacks.transition import Context, make_context
from detailed_balance.text import safe_text

__all__ = ["Mode", "ModelFailedError", "Plan", "Recorded", "Tally", "explore", "give_up"]

Mode: TypeAlias = Literal["probe", "walk"]
"""Each question is about a state drawn from those found so far, or about the last answer."""

WALKS = 8
"""So many walks share the questions of a plan that walks."""


class ModelFailedError(DetailedBalanceError):
    """So many calls of a model failed one after another that going on would be no use."""


@dataclass(slots=True)
class Tally:
    """What the questions of one run came to, and what they cost.

    Parameters
    ----------
    answers : Counter of str
        The answers by kind: "move" for a transition, else why it is none.
    input_tokens, output_tokens : int
        As the model counts them; 0 where it does not.
    failures : int
        Calls that failed since the last one that did not.

    Examples
    --------
    >>> tally = Tally()
    >>> tally.add("move", {"input_tokens": 900, "output_tokens": 100})
    >>> tally.describe((2.0, 10.0))
    '1 move; 900 + 100 tokens, cost 0.0028'
    """

    answers: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    failures: int = 0

    @property
    def questions(self) -> int:
        """How many questions were asked."""
        return self.answers.total()

    def add(self, kind: str, usage: Mapping[str, Any] | None = None) -> None:
        """Count an answer; `usage` is the ``usage_metadata`` of the reply."""
        self.answers[kind] += 1
        self.failures = self.failures + 1 if kind == "failed" else 0
        self.input_tokens += usage["input_tokens"] if usage else 0
        self.output_tokens += usage["output_tokens"] if usage else 0

    def cost(self, prices: tuple[float, float]) -> float:
        """Return what the tokens cost, given the prices of a million in and of a million out."""
        return (self.input_tokens * prices[0] + self.output_tokens * prices[1]) / 1e6

    def describe(self, prices: tuple[float, float] | None = None) -> str:
        """Say all of it in one line."""
        text = ", ".join(f"{count:,} {kind}" for kind, count in self.answers.most_common())
        if self.input_tokens or self.output_tokens:
            text += f"; {self.input_tokens:,} + {self.output_tokens:,} tokens"
            text += f", cost {self.cost(prices):.4g}" if prices else ""
        return text


@dataclass(slots=True)
class Recorded:
    """What is recorded of a plan.

    Parameters
    ----------
    found : dict of int to str
        The states found by number, the start first.
    questions : Counter of str
        How many questions each thread has asked.
    last : dict of str to str
        The last state of each thread.
    """

    found: dict[int, str]
    questions: Counter[str] = field(default_factory=Counter)
    last: dict[str, str] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)

    def add(self, thread: str, state: str | None, questions: int = 1) -> None:
        """Add questions of a thread, and the state they led to; None for an escape."""
        self.questions[thread] += questions
        if state is not None:
            self.last[thread] = state
            self.find(state)

    def find(self, state: str) -> None:
        """Give a state a number, where it has none."""
        if state not in self._known:
            self._known.add(state)
            self.found[len(self.found)] = state


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
        Of what is recorded, beside the mode: the model, the task. It is known again by them.
    seed : int
        Of the states drawn.

    Raises
    ------
    InvalidInputError
        Where a setting is not allowed.

    Examples
    --------
    >>> list(Plan("x", 10, mode="walk").threads(Recorded({})))[:3]
    [('walk-0', 2), ('walk-1', 2), ('walk-2', 1)]
    """

    start: str
    questions: int
    mode: Mode = "probe"
    labels: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.questions < 1:
            raise InvalidInputError(f"questions={self.questions!r}; ask 1 or more")
        if self.mode not in get_args(Mode):
            raise InvalidInputError(f"mode={self.mode!r}; allowed are {', '.join(get_args(Mode))}")

    @property
    def context(self) -> Context:
        """The labels of what is recorded."""
        return make_context({**self.labels, "mode": self.mode})

    def recall(self, store: TransitionStore) -> Recorded:
        """Read what is recorded of this plan.

        Raises
        ------
        InvalidInputError
            Where the store holds something else.
        """
        others = [context for context in store.contexts() if context != self.context]
        if others:
            raise InvalidInputError(
                f"the store holds {dict(others[0])}, and this run is {dict(self.context)}: go on "
                "with the same settings, or choose another store"
            )
        recorded = Recorded({})
        recorded.find(self.start)
        for move in store.read():
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

    def next_state(self, thread: str, recorded: Recorded) -> str:
        """Return the state that a thread asks about first."""
        if self.mode == "walk":
            return recorded.last.get(thread, self.start)
        random = np.random.default_rng([self.seed, int(thread.removeprefix("probe-"))])
        return recorded.found[int(random.integers(len(recorded.found)))]


async def explore(
    agent: CompiledStateGraph[Any, Any, Any, Any],
    plan: Plan,
    store: TransitionStore,
    states: PromptStates,
    *,
    max_concurrency: int = 8,
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Ask the questions of a plan that are not recorded yet, and record them.

    Parameters
    ----------
    agent : compiled graph
        Its state has ``expression``, where it is, and ``questions``, how many it has left; it asks
        one question a step.
    plan : Plan
        The questions.
    store : TransitionStore
        What is recorded already, and where the rest goes. With the durability "sync" no kill can
        lose an answer that was paid for; else those of the last 0.2 s may be asked for again.
    states : PromptStates
        What the source and the target of a question are.
    max_concurrency : int
        How many are asked at the same time.
    progress : callable, optional
        Called after each thread.

    Raises
    ------
    InvalidInputError
        Where `max_concurrency` is below 1, or the store holds something else.
    """
    if max_concurrency < 1:
        raise InvalidInputError(f"max_concurrency={max_concurrency!r}; it must be 1 or more")
    recorded = plan.recall(store)
    threads = iter(list(plan.threads(recorded)))
    handler = TransitionCallbackHandler(
        states, store=store, context=plan.context, labels=(), max_states=None
    )

    async def work() -> None:
        for thread, left in threads:
            config = RunnableConfig(
                callbacks=[handler],
                configurable={"thread_id": thread},
                recursion_limit=left + 1,
            )
            start = {"expression": plan.next_state(thread, recorded), "questions": left}
            after = await agent.ainvoke(start, config)
            recorded.add(thread, after["expression"], left)
            progress()

    tasks = [asyncio.create_task(work()) for _ in range(max_concurrency)]
    try:
        await asyncio.gather(*tasks)
    finally:  # where one fails the others stop
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        handler.flush()


def give_up(tally: Tally, last: str, most: int = 20) -> None:
    """Raise `ModelFailedError` where `most` calls or more failed one after another."""
    if tally.failures >= most:
        raise ModelFailedError(
            f"{tally.failures} calls of the model failed one after another, the last with "
            f"{safe_text(last, 200)}. What was recorded is kept: start again to go on, with fewer "
            "calls at a time, or more retries of the model where the provider limits calls"
        )
