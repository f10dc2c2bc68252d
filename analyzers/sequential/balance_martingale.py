"""`BalanceMartingale`: a test of detailed balance that holds at any time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from math import log
from typing import Any

from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.sequential._betting_martingale import (
    AffinityBet,
    LoopErasedPath,
    MoveCounts,
    kt_bet,
    log_mean_exp,
)
from detailed_balance.analyzers.sequential.loop_evidence import (
    LoopEvidence,
    LoopRecord,
    LoopRegistry,
    MergedEvidence,
    merge_evidence,
    sort_evidence,
)
from detailed_balance.analyzers.sequential.thinned_series import ThinnedSeries

__all__ = ["BalanceMartingale"]

HISTORY = 1_000
"""The most points of the log e-value that are kept for plots."""

FORMAT = 1
"""The version of what `to_dict` gives."""

_LIMITS = {"max_classes": 1, "max_trajectories": 1, "max_moves": 1, "max_steps": 3}


class BalanceMartingale:
    """Bet against detailed balance while an agent runs; a large wealth is the evidence.

    Under detailed balance a loop of states goes in either direction with the same probability.
    Each time that a trajectory closes a loop of three states or more, there is a bet on the way
    round it was taken, at even odds: nobody can expect to win. If the e-value, the wealth of one
    who began with 1, ever reaches 1/alpha, then detailed balance is rejected; under detailed
    balance that happens with probability alpha at most, however often one looks, for ever.

    Parameters
    ----------
    alpha : float
        The largest probability of a false alarm, over all looks; between 0 and 1.
    max_classes : int
        How many different loops are remembered. At the limit those taken once are forgotten; where
        that gives little room, new loops are bet on by their moves alone.
    max_trajectories : int
        How many unfinished trajectories are followed. The one begun first is let go.
    max_moves : int
        How many different moves are counted.
    max_steps : int
        How many steps a trajectory may go without a loop, at least 3, before its path starts again.

    Attributes
    ----------
    log_e_value : float
        The log of the e-value now, in nats; 0 at first.
    max_log_e_value : float
        The largest it has been; the alarm goes by it.
    transitions, completed : int
        The moves between different states, and the loops completed.
    dropped : dict of str to int
        What the limits cost: ``classes`` (loops taken once and forgotten, or never remembered),
        ``trajectories`` (let go), ``moves`` (not counted), ``paths`` (started again at
        `max_steps`). None of it makes a false alarm more likely; all of it costs power.

    Raises
    ------
    InvalidInputError
        Where alpha is not between 0 and 1, or a limit is too small.

    Notes
    -----
    *The null hypothesis*: each run is a walk of a reversible Markov chain, with a kernel of its own
    that does not change during the run. Reversible runs that differ from each other raise no alarm;
    runs that change as they go (plan, then execute) do.

    *What rejection means*: some runs are driven round a loop, change as they go, or depend on more
    than the state. The loops say where to look.

    *What it assumes*: trajectories are independent runs; which of them moves next, and which are
    shown to the test at all, does not depend on the way round that a loop was taken.

    *What it cannot see*: driving without a loop of three states (in two states, or along a tree,
    every chain is reversible); loops driven so weakly that few are taken; anything inside a state.

    Two bettors share the stake. One learns from how often the same loop was taken each way
    (Krichevsky-Trofimov); one from the affinity that the counts of its moves show, shrunken by its
    error. Both see only what lies before the path of the loop in hand: a trajectory's moves are
    counted when it completes a loop or ends. START and END are on no path, and START begins a new
    one; so does a move that does not begin where the trajectory stood. Escapes and self-loops
    leave it where it is.

    Safe to use from many threads.

    Examples
    --------
    >>> live = BalanceMartingale(alpha=0.05)
    >>> for lap in range(10):
    ...     for source, target in [("plan", "act"), ("act", "check"), ("check", "plan")]:
    ...         live.update("run 1", source, target)
    >>> live.alarm, round(live.log_e_value, 2)
    (True, 4.92)
    >>> print(live.loops[0].describe())
    act -> check -> plan -> act: 10 times in this direction and never in reverse
    """

    def __init__(
        self,
        alpha: float = 0.05,
        *,
        max_classes: int = 10_000,
        max_trajectories: int = 1_000,
        max_moves: int = 100_000,
        max_steps: int = 10_000,
    ) -> None:
        if not 0 < alpha < 1:
            raise InvalidInputError(f"alpha must lie between 0 and 1; got {alpha!r}. Try 0.05")
        self.alpha = alpha
        self.max_classes, self.max_trajectories = max_classes, max_trajectories
        self.max_moves, self.max_steps = max_moves, max_steps
        for name, least in _LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise InvalidInputError(f"{name} must be {least} or more; got {value!r}")
        self.log_e_value = self.max_log_e_value = 0.0
        self.transitions = self.completed = 0
        self.dropped = dict.fromkeys(("classes", "trajectories", "moves", "paths"), 0)
        self._log_kt = 0.0
        self._affinity = AffinityBet()
        self._moves = MoveCounts(max_moves)
        self._loops = LoopRegistry(max_classes)
        self._paths: dict[str, LoopErasedPath] = {}
        self._history = ThinnedSeries[tuple[int, float]](HISTORY)
        self._history.append((0, 0.0))
        # Re-entrant: the garbage collector may run, within an update, the finaliser of an
        # abandoned agent run, which reports in its turn; its move then waits for its turn.
        self._lock = threading.RLock()
        self._busy = False
        self._waiting: deque[tuple[str, str, str | None]] = deque()

    def update(self, trajectory: str, source: str, target: str | None) -> None:
        """Add one move.

        Parameters
        ----------
        trajectory : str
            The key of the run that moved.
        source : str
            The state that was left, or START.
        target : str or None
            The state that was reached, or END; None for an escape.

        Raises
        ------
        InvalidInputError
            Where one of them is not a str.
        """
        if not (isinstance(source, str) and (target is None or isinstance(target, str))):
            raise InvalidInputError(f"a state is a str; got the move {source!r} -> {target!r}")
        if not isinstance(trajectory, str):
            raise InvalidInputError(f"a trajectory is named by a str; got {trajectory!r}")
        with self._lock:
            if self._busy:
                self._waiting.append((trajectory, source, target))
                return
            self._busy = True
            try:
                self._move(trajectory, source, target)
                while self._waiting:
                    self._move(*self._waiting.popleft())
            finally:
                self._busy = False

    @property
    def alarm(self) -> bool:
        """Whether the e-value has ever reached 1/alpha."""
        return self.max_log_e_value >= -log(self.alpha)

    @property
    def loops(self) -> tuple[LoopEvidence, ...]:
        """The loops remembered, each in the direction it was taken more, strongest evidence first.

        `log_evidence` is a test of that loop alone. To accuse one among many because it is the
        first in this list, ask more of it: log(number of loops / alpha).
        """
        with self._lock:
            rows = self._loops.to_list()
        return sort_evidence(LoopEvidence.from_counts(*row) for row in rows)

    @property
    def history(self) -> tuple[tuple[int, float], ...]:
        """The log e-value over time, as (transitions, nats), thinned to about 1,000 points."""
        with self._lock:
            return (*self._history.points, (self.transitions, self.log_e_value))

    def merge(
        self, others: Iterable[BalanceMartingale], *, independent: bool = True
    ) -> MergedEvidence:
        """Return the evidence of this agent and others together, at this instance's alpha.

        Parameters
        ----------
        others : iterable of BalanceMartingale
            The tests of other agents; no trajectory may have gone into two of them.
        independent : bool
            True multiplies the e-values: valid at any time, for agents that run independently.
            False takes their mean: valid whatever ties the agents together, but for one look at
            a time chosen beforehand.

        Notes
        -----
        Agents that are thought to behave alike are better fed into one `BalanceMartingale`: it
        learns from all of them, where merged tests each learn on their own.

        Examples
        --------
        >>> one, other = BalanceMartingale(), BalanceMartingale()
        >>> for lap in range(6):
        ...     for source, target in ["ab", "bc", "ca"]:
        ...         one.update("run", source, target)
        ...         other.update("run", source, target)
        >>> one.alarm, one.merge([other]).alarm
        (False, True)
        """
        members = [self, *others]
        if len({id(member) for member in members}) < len(members):
            raise InvalidInputError("one test is given twice; its evidence counts once")
        evidence = [(member.log_e_value, member.loops) for member in members]
        return merge_evidence(evidence, alpha=self.alpha, independent=independent)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state in types that JSON has; `from_dict` goes on from it."""
        with self._lock:
            return {
                "format": FORMAT,
                "alpha": self.alpha,
                "limits": {name: getattr(self, name) for name in _LIMITS},
                "transitions": self.transitions,
                "completed": self.completed,
                "log_e_value": self.log_e_value,
                "max_log_e_value": self.max_log_e_value,
                "log_kt": self._log_kt,
                "log_affinity": list(self._affinity.log_wealth),
                "dropped": dict(self.dropped),
                "moves": [list(move) for move in self._moves],
                "classes": [[list(loop), *row] for loop, *row in self._loops.to_list()],
                "classes_closed": self._loops.closed,
                "paths": [[name, list(path.walk)] for name, path in self._paths.items()],
                "history": self._history.to_dict(),
            }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> BalanceMartingale:
        """Go on from what `to_dict` gave.

        Raises
        ------
        InvalidInputError
            Where it is not such a state.
        """
        try:
            if state["format"] != FORMAT:
                raise ValueError(f"its format is {state['format']!r}, not {FORMAT}")
            live = cls(state["alpha"], **state["limits"])
            live._restore(state)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            message = f"not a state of a BalanceMartingale ({type(error).__name__}: {error})"
            raise InvalidInputError(f"{message}; give what to_dict() returned") from error
        return live

    def _restore(self, state: dict[str, Any]) -> None:
        self.transitions, self.completed = int(state["transitions"]), int(state["completed"])
        self.log_e_value = float(state["log_e_value"])
        self.max_log_e_value = float(state["max_log_e_value"])
        self._log_kt = float(state["log_kt"])
        wealth = self._affinity.log_wealth
        wealth[:] = [float(state["log_affinity"][i]) for i in range(len(wealth))]
        self.dropped = {name: int(state["dropped"][name]) for name in self.dropped}
        for source, target, count in state["moves"]:
            self._moves.put(source, target, _checked_count(count))
        for loop, named, other, log_evidence, share in state["classes"]:
            row = LoopRecord(
                _checked_count(named), _checked_count(other), float(log_evidence), float(share)
            )
            self._loops.rows[Loop(loop)] = row
        self._loops.closed = bool(state["classes_closed"])
        for name, walk in state["paths"]:
            path = self._paths[name] = LoopErasedPath(walk[0])
            for step in walk[1:]:
                path.step(step)
        self._history.restore(state["history"])

    def _move(self, trajectory: str, source: str, target: str | None) -> None:
        path = self._paths.get(trajectory)
        if path is None or path.walk[-1] != source:
            self._end(trajectory)
            first = target if source in BOUNDARIES else source
            if first is None or first in BOUNDARIES:
                return
            path = self._begin(trajectory, first)
            if first != source:
                return
        if target in BOUNDARIES:
            self._end(trajectory)
        elif target is not None and target != source:
            self._step(path, target)

    def _step(self, path: LoopErasedPath, state: str) -> None:
        self.transitions += 1
        loop = path.step(state)
        if loop is not None:
            self._bet(loop)
            self._count(path.walked)
        elif len(path.walk) > self.max_steps:
            path.begin_anew()
            self._count(path.walked)
            self.dropped["paths"] += 1

    def _begin(self, trajectory: str, state: str) -> LoopErasedPath:
        if len(self._paths) >= self.max_trajectories:
            self._end(next(iter(self._paths)))
            self.dropped["trajectories"] += 1
        path = self._paths[trajectory] = LoopErasedPath(state)
        return path

    def _end(self, trajectory: str) -> None:
        """Forget where a trajectory stands; its last moves were never bet on and may count."""
        path = self._paths.pop(trajectory, None)
        if path is not None:
            self._count(path.walk)

    def _count(self, walk: list[str]) -> None:
        self.dropped["moves"] += self._moves.add(walk)

    def _bet(self, loop: list[str]) -> None:
        """Update the bets by a loop; its own moves are not counted yet."""
        self.completed += 1
        self._affinity.update(*self._moves.affinity(loop), len(loop))
        row, named, lost = self._loops.find(loop)
        self.dropped["classes"] += lost
        won = kt_bet(row.named, row.other) if named else kt_bet(row.other, row.named)
        self._log_kt += won
        before = self.log_e_value
        self.log_e_value = log_mean_exp((self._log_kt, self._affinity.log_e_value))
        self.max_log_e_value = max(self.max_log_e_value, self.log_e_value)
        self._history.append((self.transitions, self.log_e_value))
        row.add(named, won, self.log_e_value - before)


def _checked_count(count: Any) -> int:
    if type(count) is not int or count < 0:
        raise ValueError(f"a count is {count!r}")
    return count
