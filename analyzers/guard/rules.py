"""`RepetitionLimits`: declared limits on what a run may do over and over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.counts import END
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.potential.ordering import order_states
from detailed_balance.analyzers.repetition.prefixes import highest_so_far, measure_prefixes
from detailed_balance.analyzers.repetition.walk import RepetitionTracker
from detailed_balance.analyzers.runs.table import Runs, RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.potential.estimate import Potential

__all__ = ["RepetitionLimits"]

# The limits, in the order of the counts that they are for, and their words.
_LIMITS = {
    "max_stay": "{} times in a row in the same state",
    "max_shuttle": "{} changes in a row between two states",
    "max_rounds": "{} rounds of the same loop",
    "max_stall": "{} steps without a lower potential",
}


@dataclass(frozen=True)
class RepetitionLimits:
    """How much repetition a run is allowed; its risk is the largest share of a limit used up.

    A risk above 1 breaks a rule. As the score of `RunGuard.fit`, the same measure gets a threshold
    with a promise, from successful runs alone.

    Parameters
    ----------
    max_stay : int or None
        Times in a row in the same state; None drops the rule, as for all of them.
    max_shuttle : int or None
        Changes in a row between two states.
    max_rounds : int or None
        Rounds of the same loop of two states or more, detours cut out.
    max_stall : int or None
        Steps without reaching a lower potential than ever before in the run; needs `potential`.
    potential : Potential or Mapping of str to float or None
        The potential of each state, kept as a mapping; a state that it does not hold is no
        progress. Values compare inside one strongly connected component only, so use the rule
        where nearly all states are in one.

    Raises
    ------
    InvalidInputError
        Where a limit is under 1, or the fourth comes without a potential.

    Examples
    --------
    >>> state = RepetitionLimits(max_stay=3).start()
    >>> [round(state.update(*move), 2) for move in [("__start__", "a")] + 3 * [("a", "a")]]
    [0.33, 0.67, 1.0, 1.33]
    """

    max_stay: int | None = None
    max_shuttle: int | None = None
    max_rounds: int | None = None
    max_stall: int | None = None
    potential: Mapping[str, float] | Potential | None = None

    def __post_init__(self) -> None:
        limits = {name: getattr(self, name) for name in _LIMITS}
        _check_limits(limits, self.potential)
        if self.potential is not None and not isinstance(self.potential, Mapping):
            known = self.potential
            # A component lies below all that lead to it: what is wanted is the order alone.
            ranks = order_states(known).levels * (known.heights.max() + 1) + known.heights
            levels = dict(zip(known.states, ranks.tolist(), strict=True))
            object.__setattr__(self, "potential", levels)

    def fit(self, runs: Runs, seed: int = 0) -> RepetitionLimits:
        """Return itself: rules are declared and learn nothing."""
        return self

    def start(self) -> _RuleState:
        """Begin a run."""
        return _RuleState(self)

    def risks(self, runs: Runs) -> NDArray[np.float64]:
        """(m,) array: the largest share of a limit used up after each of the m moves of runs.

        Examples
        --------
        >>> from detailed_balance.analyzers import Trajectory
        >>> run = Trajectory((("__start__", "a"), ("a", "a"), ("a", "a")))
        >>> RepetitionLimits(max_stay=2).risks([run]).tolist()
        [0.5, 1.0, 1.5]
        """
        table = RunTable.of(runs)
        found = measure_prefixes(table)
        counts = (found.stay, found.shuttle, found.rounds, self._stalls(table, found.steps))
        limits = [getattr(self, name) for name in _LIMITS]
        shares = [
            count / limit for count, limit in zip(counts, limits, strict=True) if limit is not None
        ]
        return np.asarray(np.max(shares, axis=0), dtype=np.float64)

    def _stalls(self, table: RunTable, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """(m,) array: the steps since a run reached a lower potential than ever before."""
        heights = np.array([self.levels.get(state, np.inf) for state in table.states] + [np.inf])
        lower = np.unique(heights[heights < np.inf])
        # How deep each state lies, 1 and more; 0 where that is not known.
        depth = np.where(heights < np.inf, len(lower) - np.searchsorted(lower, heights), 0)
        reached = np.where(table.target == table.code(END), 0, depth[table.target])
        run = table.run_of_move
        deepest = highest_so_far(reached, run)
        before = np.append(0, deepest[:-1])
        before[table.offsets[:-1][table.lengths > 0]] = 0
        return steps - highest_so_far(np.where(deepest > before, steps, 0), run)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RepetitionLimits:
        """Return the rules that `to_dict` has written."""
        return cls(**data)

    @property
    def levels(self) -> Mapping[str, float]:
        """The potential of each state; empty where there is none."""
        return self.potential if isinstance(self.potential, Mapping) else {}


def _check_limits(limits: Mapping[str, int | None], potential: object) -> None:
    for name, limit in limits.items():
        if limit is not None and not limit >= 1:
            raise InvalidInputError(f"{name} must be at least 1, or None for no such rule: {limit}")
    if all(limit is None for limit in limits.values()):
        raise InvalidInputError(f"give at least one limit: {', '.join(limits)}")
    if (limits["max_stall"] is None) != (potential is None):
        raise InvalidInputError("max_stall and potential come together: give both, or neither")


class _RuleState:
    """One run under rules."""

    def __init__(self, rules: RepetitionLimits) -> None:
        self._rules = rules
        self._repetition = RepetitionTracker()
        self._levels = rules.levels
        self._lowest = float("inf")
        self._stall = 0

    def update(self, source: str, target: str | None) -> float:
        """Add one move, and return the largest share of a limit that is used up."""
        self._repetition.update(source, target)
        if target != END:
            self._count_stall(target)
        return max(self._shares())[0]

    def reason(self) -> str:
        """Say which rule is the nearest to being broken, or is broken the most."""
        _, name, count = max(self._shares())
        return f"{_LIMITS[name].format(count)}, at most {getattr(self._rules, name)} allowed"

    def _count_stall(self, target: str | None) -> None:
        value = self._levels.get(target or "", float("inf"))
        self._stall = 0 if value < self._lowest else self._stall + 1
        self._lowest = min(self._lowest, value)

    def _shares(self) -> list[tuple[float, str, int]]:
        repetition = self._repetition
        counts = (repetition.stay, repetition.shuttle, repetition.rounds, self._stall)
        limits = [(name, getattr(self._rules, name)) for name in _LIMITS]
        return [
            (count / limit, name, count)
            for (name, limit), count in zip(limits, counts, strict=True)
            if limit is not None
        ]
