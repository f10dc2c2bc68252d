"""`RunPath`: the states of a run, kept in the private state of an agent while it goes on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from threading import Lock
from typing import Annotated, Any, NotRequired

from langchain.agents.middleware import AgentState, ModelResponse, types
from langchain_core.messages import AIMessage
from langgraph.channels import UntrackedValue
from langgraph.config import get_config
from langgraph.types import Command

from detailed_balance.analyzers import START
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.callbacks.states.messages import (
    RunStep,
    StepReader,
    begins_run,
    message_steps,
)

_PATH, _HERE = "_run_guard_path", "_run_guard_here"
_SEEN = 16
_RUNS = 1_000
_LONGEST_TEXT = 4_000
# Older versions of LangChain cannot write to the state around the call of a model.
_RESPONSE: Any = getattr(types, "ExtendedModelResponse", None)


def _replace(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Keep what was written last: two guards in one agent may write in the same step.

    The texts of a guard that reads them stay where another writes none.
    """
    return {**(old or {}), **new}


class RunPathState(AgentState[Any]):
    """The agent's state with two private keys: they are in no input, no output and no prompt."""

    _run_guard_path: NotRequired[Annotated[dict[str, Any], types.PrivateStateAttr, _replace]]
    """The path of the run, in every checkpoint."""

    _run_guard_here: NotRequired[
        Annotated[bool, UntrackedValue(bool, guard=False), types.PrivateStateAttr]
    ]
    """Whether this invocation has called the model; in no checkpoint, so not after a resume."""


@dataclass(frozen=True, slots=True)
class RunPath:
    """The steps of a run so far, as its messages told them when they came.

    A summary or a hook that cuts old messages cannot take them back.

    Parameters
    ----------
    steps : tuple of RunStep
        The steps, in order.
    whole : bool
        Whether the first of them is the first of the run; else counting began again with it.
    run : str
        The id of the message that began the run.
    seen : tuple of str
        The ids of the last messages that were counted.
    """

    steps: tuple[RunStep, ...] = ()
    whole: bool = True
    run: str = ""
    seen: tuple[str, ...] = ()

    @property
    def states(self) -> tuple[str, ...]:
        """The states, in order."""
        return tuple([step.state for step in self.steps])

    @property
    def moves(self) -> list[tuple[str, str]]:
        """The moves of the run, from START where it is whole."""
        return list(pairwise((START, *self.states) if self.whole else self.states))

    @property
    def led(self) -> tuple[RunStep, ...]:
        """The step that each of `moves` led to."""
        return self.steps if self.whole else self.steps[1:]

    @classmethod
    def read(
        cls,
        state: Mapping[str, Any],
        schemas: Collection[str] = (),
        readers: StepReaders | None = None,
    ) -> RunPath:
        """Return the path of the run that an agent is in, before it calls its model.

        A question of a person begins a run. When a run is resumed, by the answer of a person,
        counting starts again with the state that it stood in.

        Parameters
        ----------
        state : mapping
            The agent's state.
        schemas : collection of str
            The schemas of its structured outputs.
        readers : StepReaders, optional
            Knows what the steps of the run were before; without it facts are left out.

        Examples
        --------
        >>> from langchain_core.messages import HumanMessage
        >>> RunPath.read({"messages": [HumanMessage("hi", id="7")]})
        RunPath(steps=(), whole=True, run='7', seen=('7',))
        """
        messages = state.get("messages") or []
        ids = tuple([message.id for message in messages[-_SEEN:] if message.id])
        before = cls.load(state.get(_PATH))
        new = messages if before is None else _after(messages, before.seen)
        path = before or cls()
        if not state.get(_HERE):
            asked, new = last_run(new)
            if asked or before is None:
                path = cls(run=asked)
            else:
                path = replace(path, steps=path.steps[-1:], whole=not path.steps)
        reader = None
        if readers is not None:
            reader = readers.of(path.name(), messages[: len(messages) - len(new)])
        steps = message_steps(new, schemas=schemas, goes_on=True, reader=reader)
        return replace(path, steps=(*path.steps, *steps), seen=ids)

    @classmethod
    def load(cls, kept: Any) -> RunPath | None:
        """Return what `dump` wrote; None where it is anything else."""
        if not isinstance(kept, dict):
            return None
        try:
            states, seen = tuple(map(str, kept["states"])), tuple(map(str, kept["seen"]))
            facts = _as_many(states, kept.get("facts"))
            texts = _as_many(states, kept.get("texts"))
            steps = tuple(
                [
                    RunStep(state, known and StepFacts(*known), text and str(text))
                    for state, known, text in zip(states, facts, texts, strict=True)
                ]
            )
            return cls(steps, bool(kept["whole"]), str(kept["run"]), seen)
        except (KeyError, TypeError):
            return None

    def dump(self, *, texts: bool = False) -> dict[str, Any]:
        """Return what a checkpoint can hold: the texts only where they are asked for."""
        lists: dict[str, Any] = {"states": list(self.states), "seen": list(self.seen)}
        if any(step.facts for step in self.steps):
            lists["facts"] = [step.facts and list(step.facts) for step in self.steps]
        if texts:
            lists["texts"] = [step.text and step.text[:_LONGEST_TEXT] for step in self.steps]
        return {**lists, "whole": self.whole, "run": self.run}

    def name(self) -> tuple[str, str]:
        """Return the thread of the run, if any, and the id of the message that began it."""
        try:
            thread = get_config().get("configurable", {}).get("thread_id")
        except RuntimeError:  # not inside a graph
            thread = None
        return str(thread or ""), self.run


class StepReaders:
    """A `StepReader` for each run that goes on, of the last ones that were read."""

    def __init__(self) -> None:
        self._readers: OrderedDict[tuple[str, str], StepReader] = OrderedDict()
        self._lock = Lock()

    def of(self, run: tuple[str, str], messages: Sequence[Any]) -> StepReader:
        """Return that of a run; a new one first reads what is there of the messages so far."""
        with self._lock:
            reader = self._readers.get(run)
            if reader is not None:
                self._readers.move_to_end(run)
                return reader
        reader = StepReader()
        message_steps(last_run(messages)[1], goes_on=True, reader=reader)
        with self._lock:
            self._readers[run] = reader
            if len(self._readers) > _RUNS:
                self._readers.popitem(last=False)
        return reader


def _as_many(states: Sequence[str], kept: Any) -> Sequence[Any]:
    """Return what was kept of each state; None of all where it is of others."""
    whole = isinstance(kept, list) and len(kept) == len(states)
    return kept if whole else [None] * len(states)


def _after(messages: Sequence[Any], seen: Collection[str]) -> Sequence[Any]:
    """Return the messages behind the last one that was counted; all where none is there."""
    for place in range(len(messages) - 1, -1, -1):
        if messages[place].id in seen:
            return messages[place + 1 :]
    return messages


def last_run(messages: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """Return the id of the last message of a person, and all that follows it.

    Examples
    --------
    >>> from langchain_core.messages import AIMessage, HumanMessage
    >>> messages = [HumanMessage("a", id="1"), AIMessage("b"), HumanMessage("c", id="2")]
    >>> asked, rest = last_run(messages)
    >>> asked, list(rest)
    ('2', [])
    """
    for place in range(len(messages) - 1, -1, -1):
        if begins_run(messages[place]):
            return str(messages[place].id or "?"), messages[place + 1 :]
    return "", messages


def keep_path(response: Any, path: RunPath | None, *, texts: bool = False) -> Any:
    """Return the response of a model with the command that keeps the path of its run."""
    if path is None or _RESPONSE is None:
        return response
    if isinstance(response, AIMessage):
        response = ModelResponse(result=[response])
    return _RESPONSE(response, Command(update={_PATH: path.dump(texts=texts), _HERE: True}))
