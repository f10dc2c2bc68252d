"""What a run does over and over, move by move: stays, shuttles and loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from detailed_balance.analyzers.counts import BOUNDARIES, END
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.repetition.progress import StepProgress, classify_step
from detailed_balance.analyzers.results import safe_name
from detailed_balance.analyzers.runs.trajectory import StepFacts

__all__ = ["LoopErasure", "Repeated", "RepetitionTracker"]

_LONGEST_LOOP = 6

_State = TypeVar("_State", str, int)


class LoopErasure(Generic[_State]):
    """The states of a run, less the loops that it closed.

    Whenever the run comes back to a state that is on the path, the states since then are a loop,
    and are cut off. Each state is cut off once, so that the cost of a visit does not grow with the
    length of the run.

    Parameters
    ----------
    visits : iterable of (state, int)
        The path so far.

    Examples
    --------
    >>> path = LoopErasure()
    >>> [path.visit(state, move) for move, state in enumerate("abcbd", 1)]
    [[], [], [], [('b', 2), ('c', 3)], []]
    """

    def __init__(self, visits: Iterable[tuple[_State, int]] = ()) -> None:
        self._visits: dict[_State, int] = dict(visits)

    def visit(self, state: _State, move: int) -> list[tuple[_State, int]]:
        """Add a visit, and return those of the loop that it closes, in order, from `state` on."""
        visits, loop = self._visits, []
        if state in visits:
            while True:
                last = visits.popitem()
                loop.append(last)
                if last[0] == state:
                    break
            loop.reverse()
        visits[state] = move
        return loop


class Repeated(NamedTuple):
    """What a run did over and over.

    Parameters
    ----------
    states : tuple of str
        Where: one state, two, or those of a loop in the order visited.
    times : int
        Visits in a row (a stay), changes in a row (a shuttle), or rounds (a loop).
    onset : int
        The moves before it began.
    """

    states: tuple[str, ...] = ()
    times: int = 0
    onset: int = 0


class RepetitionTracker:
    """What a run does over and over: stays in one state, shuttles between two, rounds of loops.

    Loops are those of the loop-erased path (`LoopErasure`): detours are cut out. An attempt
    that reached no state is one more visit to where the run stands. The move to END is the last of
    a run and changes nothing. The cost of a move does not grow with the length of the run. Counting
    starts again with a move whose facts say that the run was resumed; `steps`, `escapes` and
    `visited` go on.

    Attributes
    ----------
    steps : int
        Moves so far, END not counted.
    escapes : int
        Moves without a target.
    visited : dict of str to None
        The states so far, in the order of their first visit.
    stay, shuttle : int
        How many times in a row it is in the state where it is now, and how often in a row it
        changed between two states up to now.
    longest_stay, longest_shuttle : Repeated
        The longest so far; of equal ones the first.
    rounds : int
        How often it closed the loop of two states or more that it closed most.
    loops : Counter of Loop
        How often each such loop was closed.
    idle : int
        The steps in a row, up to now, of which it is known that they brought nothing: the same
        call got the same answer as before in the run, or failed.

    Examples
    --------
    >>> tracker = RepetitionTracker()
    >>> for source, target in [("__start__", "a"), ("a", "b"), ("b", "a"), ("a", "b"), ("b", "a")]:
    ...     tracker.update(source, target)
    >>> tracker.loops, tracker.longest_shuttle
    (Counter({Loop('a', 'b'): 2}), Repeated(states=('a', 'b'), times=4, onset=1))
    >>> tracker.describe()
    'it went a -> b -> a 2 times'
    """

    def __init__(self) -> None:
        self.steps = self.escapes = 0
        self.visited: dict[str, None] = {}
        self._moves = 0
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what was repeated so far, as where a person has answered."""
        self.stay = self.shuttle = self.rounds = self.idle = 0
        self.longest_stay = self.longest_shuttle = Repeated()
        self.loops: Counter[Loop[str]] = Counter()
        self._onsets: dict[Loop[str], int] = {}
        self._state: str | None = None
        self._other: str | None = None
        self._onset = self._shuttle_onset = 0
        self._path: LoopErasure[str] = LoopErasure()

    @property
    def most_rounds(self) -> Repeated:
        """The loop that was closed most; of several the one that was closed first."""
        loop = max(self.loops, key=self.loops.__getitem__, default=None)
        return Repeated() if loop is None else Repeated(loop, self.rounds, self._onsets[loop])

    def update(self, source: str, target: str | None, facts: StepFacts | None = None) -> None:
        """Add one move, and what is known of it."""
        if not self._moves and source not in BOUNDARIES:
            self._visit(source)  # a record that begins in the midst of a run
        if facts is not None and facts.resumed:
            self.begin_anew()
        self._moves += 1
        if target == END:
            return
        self.steps += 1
        useless = classify_step(target, facts) <= StepProgress.FAILED
        self.idle = self.idle + 1 if useless else 0
        if target is None:
            self.escapes += 1
            target = source
        if target not in BOUNDARIES:
            self._visit(target)

    def _visit(self, state: str) -> None:
        if state == self._state:
            self.stay += 1
        else:
            self._go(state)
        if self.stay > self.longest_stay.times:
            self.longest_stay = Repeated((state,), self.stay, self._onset)

    def _go(self, state: str) -> None:
        """Count the visit to another state than the last."""
        last = self._state
        self.visited[state] = None
        if last is not None:
            if state == self._other:
                self.shuttle += 1
            else:
                self.shuttle, self._shuttle_onset = 1, self._onset
            if self.shuttle > self.longest_shuttle.times:
                pair = (last, state) if last < state else (state, last)
                self.longest_shuttle = Repeated(pair, self.shuttle, self._shuttle_onset)
        self._other, self._state = last, state
        self.stay, self._onset = 1, self._moves
        if walked := self._path.visit(state, self._moves):
            loop = Loop([each for each, _ in walked])
            self._onsets.setdefault(loop, walked[0][1])
            self.loops[loop] += 1
            self.rounds = max(self.rounds, self.loops[loop])

    def describe(self) -> str:
        """Say in a part of a sentence what the run does most, by the visits that went into it."""
        most, stay = self.most_rounds, self.longest_stay
        if most.times > 1 and most.times * len(most.states) >= stay.times:
            return f"it went {self._write_loop(most.states)} {most.times} times"
        if stay.times > 1:
            return f"it was in {safe_name(stay.states[0])} {stay.times} times in a row"
        return f"it has visited {len(self.visited)} states in {self.steps} steps"

    def _write_loop(self, loop: tuple[str, ...]) -> str:
        first = next(state for state in self.visited if state in loop)  # where it came in
        start = loop.index(first)
        names = [safe_name(state) for state in (*loop[start:], *loop[:start])]
        middle = names if len(names) <= _LONGEST_LOOP else [*names[:_LONGEST_LOOP], "..."]
        return " -> ".join([*middle, names[0]])
