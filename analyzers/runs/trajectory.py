"""`Trajectory`, one finished or unfinished agent run, and its `Outcome`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from detailed_balance.analyzers.boundaries import BOUNDARIES

__all__ = ["Outcome", "StepFacts", "Trajectory"]


class Outcome(StrEnum):
    """The outcome of a run.

    Examples
    --------
    >>> Outcome("failed").success, Outcome.ENDED.success, Outcome.INTERRUPTED.success
    (False, True, None)
    """

    ENDED = "ended"
    """It returned, or handed control to the graph above."""

    INTERRUPTED = "interrupted"
    """It stopped on purpose, and is open: it may be resumed."""

    FAILED = "failed"
    """It raised an error of its own."""

    RECURSION_LIMIT = "recursion_limit"
    """It was still going when it had used up the steps allowed."""

    CANCELLED = "cancelled"
    """It was stopped from outside."""

    ABANDONED = "abandoned"
    """Nobody listened any more: a stream was dropped, or its end was never seen."""

    @property
    def success(self) -> bool | None:
        """Whether it counts as a success where the run was not judged; None where nobody knows."""
        unknown = self is Outcome.INTERRUPTED or self is Outcome.ABANDONED
        return None if unknown else self is Outcome.ENDED


class StepFacts(NamedTuple):
    """What is known of one step beyond its state, without its contents.

    A number of a call or an answer is the step of the run at which the same came first, so equal
    numbers are equal contents, and nobody can guess contents from them.

    Parameters
    ----------
    failed : bool
        Whether it raised an error, or a tool of it reported one.
    call : int or None
        Which call it is: the step at which the same tools were called first with these arguments.
    answer : int or None
        Which answer it got: the step at which the same answer came first.
    repeats : bool
        Whether the same call came before in the run.
    stale : bool
        Whether the same call got the same answer before in the run.
    call_size, answer_size : int or None
        The lengths of the arguments and of the answer, in bytes.
    tokens : int or None
        The tokens that the model used for it, as the model reports.
    cost : float or None
        What the model says that it cost, in the currency of its provider.
    resumed : bool
        Whether it is the first after an interrupted run was resumed: a person has answered.

    Examples
    --------
    >>> facts = StepFacts(call=2, answer=2, repeats=True, stale=True)
    >>> facts.stale, facts.tokens
    (True, None)
    """

    failed: bool = False
    call: int | None = None
    answer: int | None = None
    repeats: bool = False
    stale: bool = False
    call_size: int | None = None
    answer_size: int | None = None
    tokens: int | None = None
    cost: float | None = None
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The ordered moves of one agent run, and its outcome.

    Parameters
    ----------
    moves : tuple of (str, str or None)
        Its moves source -> target in order, START and END included where they were seen; the
        target None is an escape, after which the run stands where it stood.
    name : str or None
        Its key.
    outcome : Outcome or None
        Its outcome; None where that is not known.
    success : bool or None
        Whether it did its work: as it was judged, or else as its outcome says; None where
        neither is known.
    error : str or None
        The type of the error that a failed run raised and, where a recorder knows it, the step that
        did: ``"TimeoutError in search"``.
    context : tuple of (str, str)
        Its labels, sorted by name.
    costs : tuple of float
        What each move cost (tokens, money), as many as there are moves; empty where not known.
    limit_steps : int or None
        The least recursion limit that lets it through, where the record says: LangGraph counts
        supersteps, of which a move may take several.
    run : str or None
        The id of its own, where the record has one.
    thread : str or None
        The thread that it belongs to.
    parent : str or None
        The run whose node it ran in, where its graph is a subgraph.
    origin : str or None
        The run that it was replayed or forked from.
    attempts : int
        How often it stopped other than by an interrupt: 2 after one retry. 0 where it is open.
    judged : bool
        Whether `success` is a judgement, and not what its outcome says.
    past_unknown : bool
        Whether it began before its first move here.
    started, ended : float or None
        When, in seconds since 1970 (UTC).
    facts : tuple of (StepFacts or None)
        What is known of each move beyond its states; empty where nothing is.

    Examples
    --------
    >>> run = Trajectory((("__start__", "plan"), ("plan", "search"), ("search", None)))
    >>> run.states, len(run)
    (('plan', 'search'), 3)
    """

    moves: tuple[tuple[str, str | None], ...]
    name: str | None = None
    outcome: Outcome | None = None
    success: bool | None = None
    error: str | None = None
    context: tuple[tuple[str, str], ...] = ()
    costs: tuple[float, ...] = field(default=(), repr=False)
    limit_steps: int | None = field(default=None, repr=False)
    run: str | None = field(default=None, repr=False)
    thread: str | None = field(default=None, repr=False)
    parent: str | None = field(default=None, repr=False)
    origin: str | None = field(default=None, repr=False)
    attempts: int = field(default=0, repr=False)
    judged: bool = field(default=False, repr=False)
    past_unknown: bool = field(default=False, repr=False)
    started: float | None = field(default=None, repr=False)
    ended: float | None = field(default=None, repr=False)
    facts: tuple[StepFacts | None, ...] = field(default=(), repr=False)

    @property
    def states(self) -> tuple[str, ...]:
        """The states it visited, in order, without boundaries and escapes."""
        first = self.moves[:1]
        visited = [source for source, _ in first] + [target for _, target in self.moves if target]
        return tuple(state for state in visited if state not in BOUNDARIES)

    def __len__(self) -> int:
        """Return the number of moves."""
        return len(self.moves)
