"""What is recorded of an agent run: its `Beginning`, each `Transition`, and its `Ending`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.analyzers.runs.trajectory import StepFacts

__all__ = [
    "RESUMED",
    "Beginning",
    "Ending",
    "Record",
    "Resumption",
    "Standing",
    "Transition",
]


@dataclass(frozen=True, slots=True)
class Transition:
    """One move source -> target inside one trajectory.

    Parameters
    ----------
    source : str
        The state that was left; START for the first move of a trajectory.
    target : str or None
        The state that was reached; END for the last move; None for an escape, an attempt that
        reached no state (rejected, unparsable, error).
    trajectory : str or None
        The agent run that it belongs to.
    context : Context
        Labels such as model, prompt or version, sorted by name.
    step : int or None
        The place in the trajectory, as the agent counts its steps.
    time : float or None
        Seconds since 1970 (UTC).
    count : int
        How many such moves this stands for; above 1 only where a source has counted already.
    run : str or None
        The id of the run, where it has one of its own: a trajectory may hold several runs, one
        after the other.
    facts : StepFacts or None
        What is known of the step beyond its state.

    Examples
    --------
    >>> Transition("plan", "search", trajectory="thread-1")
    Transition(source='plan', target='search', trajectory='thread-1', context=(), step=None, time=None, count=1)
    """  # noqa: E501 - a doctest's output stands in one line

    source: str
    target: str | None
    trajectory: str | None = None
    context: Context = ()
    step: int | None = None
    time: float | None = None
    count: int = 1
    run: str | None = field(default=None, repr=False)
    facts: StepFacts | None = field(default=None, repr=False)


class Resumption(NamedTuple):
    """How an invocation begins that may go on with a run which this process has not seen."""

    task: str
    """Its first task."""
    superstep: int | None
    """The superstep of that task."""
    replays: bool = False
    """Whether it names a checkpoint to go on from: then only an open task of that id fits."""


class Standing(NamedTuple):
    """Where a run stands when it stops without END."""

    state: str | None
    """The last state reached; None where that is not known."""
    superstep: int | None
    """The superstep that is open, or was the last."""
    tasks: tuple[str, ...] = ()
    """Its tasks that did not finish; empty where the superstep is complete."""
    names: tuple[str, ...] = ()
    """The state keys of its tasks that finished, while others are open."""


RESUMED = "__resumed__"
"""The source of the first move of an invocation whose run is not known yet: wherever it stood."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """The beginning of one run, or of an invocation that may go on with one.

    Parameters
    ----------
    trajectory : str or None
        The thread, or else the invocation, and the place of the graph in it: one key for all runs
        of a thread.
    run : str
        The id of the run.
    thread : str or None
        The thread that it belongs to.
    parent : str or None
        The run whose node it runs in, where its graph is a subgraph.
    origin : str or None
        The run that it was replayed or forked from.
    past_unknown : bool
        Whether it began before its first move here.
    resumes : Resumption or None
        Where it may go on with a run that this process has not seen.
    context : Context
        Labels such as model, prompt or version, sorted by name.
    time : float or None
        Seconds since 1970 (UTC).

    Examples
    --------
    >>> Beginning("thread-1", "b7", thread="thread-1").origin is None
    True
    """

    trajectory: str | None
    run: str
    thread: str | None = None
    parent: str | None = None
    origin: str | None = None
    past_unknown: bool = False
    resumes: Resumption | None = None
    context: Context = ()
    time: float | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """The outcome of one trajectory, or a later judgement of whether it succeeded.

    Parameters
    ----------
    trajectory : str or None
        The agent run.
    outcome : Outcome or None
        Its outcome; None where this is a judgement alone.
    error : str or None
        The type of the error that it raised and, where a step did, the tool or the node:
        ``"TimeoutError in search"``.
    success : bool or None
        The judgement, where there is one: whether the run did its work.
    context : Context
        Labels such as model, prompt or version, sorted by name.
    time : float or None
        Seconds since 1970 (UTC).
    run : str or None
        The id of the run, where it has one of its own.
    standing : Standing or None
        Where it stands, if it may go on.
    supersteps : int or None
        How many supersteps this invocation took, those without a state included: what a recursion
        limit counts.

    Examples
    --------
    >>> Ending("thread-1", Outcome.FAILED, error="ValueError").outcome.success
    False
    """

    trajectory: str | None
    outcome: Outcome | None = None
    error: str | None = None
    success: bool | None = None
    context: Context = ()
    time: float | None = None
    run: str | None = field(default=None, repr=False)
    standing: Standing | None = field(default=None, repr=False)
    supersteps: int | None = field(default=None, repr=False)


Record: TypeAlias = Beginning | Transition | Ending
"""What a store keeps."""
