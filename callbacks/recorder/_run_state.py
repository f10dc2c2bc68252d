"""What is known of one run while it is going on."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID
from weakref import WeakSet

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.callbacks.facts import Digest, TaskFacts, Usage
from detailed_balance.callbacks.recorder.trajectory_builder import (
    Record,
    TrajectoryBuilder,
    TrajectoryStep,
    join_names,
)
from detailed_balance.callbacks.states.base import NOTHING, Given

Chain: TypeAlias = tuple[str | None, bool]
"""The name of a run that may be a graph, and whether it continues from a checkpoint."""

UNKNOWN: Chain = (None, False)
"""A run of which nothing is known."""


class Call(NamedTuple):
    """What is known of a tool or a model that starts."""

    metadata: Mapping[str, Any] = MappingProxyType({})
    tags: Sequence[str] | None = None
    model: str | None = None
    prompt: str | None = None
    """A hash of its system message."""


@dataclass(slots=True)
class Root:
    """A run without a parent, and all that is to be forgotten when it ends."""

    id: int
    whole: bool = True
    """Whether nothing is above it; else nothing was seen of what is."""
    resumes: bool = False
    """Whether it continues from a checkpoint."""
    open: set[int] = field(default_factory=set)
    """Its runs that have not ended."""
    chains: dict[int, Chain] = field(default_factory=dict)
    """Those of them that may be graphs."""
    builders: dict[int, TrajectoryBuilder] = field(default_factory=dict)
    """Its open trajectories, by the run of their graph."""
    calls: dict[str, str] = field(default_factory=dict)
    """The runs of its model calls, where these are the moves, by their trajectory."""
    inner_limits: WeakSet[BaseException] = field(default_factory=WeakSet)
    """Errors of a limit that came out of a node: no limit of its graph."""


@dataclass(slots=True)
class Run:
    """A run that owns what runs inside it: a root, a node, a tool or a model."""

    id: int
    root: Root
    template: str | None = field(default=None, kw_only=True)
    """A hash of the prompt template that was filled in last inside it."""
    step: StepRun | None = field(default=None, kw_only=True)
    """The step that it runs in, if any."""

    def end(
        self, outcome: Outcome, names: tuple[str, ...], facts: TaskFacts | None
    ) -> Sequence[Record]:
        """Return the moves that its end makes certain."""
        return ()


@dataclass(slots=True)
class StepRun(Run):
    """A run that is a step of a trajectory, and what has run inside it: the node of a graph.

    So are the task of a functional workflow, and a tool or a model where there is no graph.
    """

    metadata: Mapping[str, Any]
    builder: TrajectoryBuilder
    task: str
    name: str
    tools: list[str] = field(default_factory=list)
    called_model: bool = False
    has_steps: bool = False
    """Whether steps of the same trajectory ran inside it, and replace it."""
    is_node: bool = True
    given: Given = NOTHING
    """What it was given, as far as its state needs that."""
    called: tuple[Digest, ...] = ()
    """The calls of tools that started in it, where no message asked for them."""
    usage: tuple[Usage, ...] = ()
    """What the models that it called report."""

    @property
    def doing(self) -> str:
        """What it was about: the tools that it called, else its own name."""
        names = [name for name in self.tools if isinstance(name, str)]
        return join_names(names) if names else str(self.name)

    def end(
        self, outcome: Outcome, names: tuple[str, ...], facts: TaskFacts | None
    ) -> Sequence[Record]:
        """Hand the state keys and the facts of the node to its trajectory."""
        if self.has_steps and outcome is not Outcome.INTERRUPTED:
            return ()
        return self.builder.end_task(self.task, outcome, names, facts)


@dataclass(slots=True)
class ModelCall(Run):
    """A model call that is a transition by itself."""

    trajectory: str
    of: str
    """The id of the run that it is a move of."""
    source: str
    place: int | None
    """The superstep of its graph."""
    context: Context

    def end(
        self, outcome: Outcome, names: tuple[str, ...], facts: TaskFacts | None
    ) -> Sequence[Record]:
        """Return the transition; failed, or without a state key, it is an escape."""
        if outcome not in (Outcome.ENDED, Outcome.FAILED):
            return ()
        target = join_names(names) or None
        move = (self.trajectory, self.source, target, self.place, self.context, self.of)
        return (TrajectoryStep(*move),)


def make_run_id() -> str:
    """Return an id that no other run has, in any process; later ones are greater, about.

    Examples
    --------
    >>> len(make_run_id()), make_run_id() != make_run_id()
    (26, True)
    """
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(7).hex()}"


def find_thread(metadata: Mapping[str, Any]) -> str | None:
    """Return the thread that a run belongs to, if any."""
    thread = metadata.get("thread_id")
    return None if thread in (None, "") else str(thread)


def name_base(metadata: Mapping[str, Any], run_id: int) -> str:
    """Name what a trajectory belongs to: its thread, or else the run of its graph.

    Examples
    --------
    >>> name_base({"thread_id": "T"}, 1), name_base({}, 1)
    ('T', '00000000-0000-0000-0000-000000000001')
    """
    return find_thread(metadata) or str(UUID(int=run_id))


def name_trajectory(base: str, metadata: Mapping[str, Any]) -> str:
    """Name a trajectory; a subgraph adds its place to what it belongs to."""
    places = metadata.get("langgraph_checkpoint_ns", "").rpartition("|")[0]
    return f"{base}/{places}" if places else base


def name_graph(chains: Mapping[int, Chain], graph_id: int) -> str | None:
    """Return the name of a graph; the names that LangChain gives by itself say nothing."""
    name, _ = chains.get(graph_id, UNKNOWN)
    return None if not name or name == "LangGraph" or name.startswith("Runnable") else name
