"""Other rules for the same test, to compare with: a path that is kept, bets of fixed weight."""

from __future__ import annotations

from detailed_balance.analyzers import BalanceMartingale
from detailed_balance.analyzers.sequential._betting_martingale import AffinityBet, LoopErasedPath

__all__ = ["FixedWeights", "KeptPath"]


class _FixedBet(AffinityBet):
    """Bet 2 sigma(sA) on the affinity as it was counted, for five fixed s."""

    weights = (0.1, 0.25, 0.5, 0.75, 1.0)

    def __init__(self) -> None:
        self.log_wealth = [0.0] * len(self.weights)
        self._parts = [AffinityBet() for _ in self.weights]

    def update(self, affinity: float, variance: float, length: int) -> None:
        for part, weight in zip(self._parts, self.weights, strict=True):
            # Without error nothing is drawn towards 0.
            part.update(weight * affinity, 0.0, length)
        self.log_wealth = [part.log_wealth[0] for part in self._parts]


class FixedWeights(BalanceMartingale):
    """The path starts again after each loop; the affinity is not shrunken."""

    def __init__(self, alpha: float = 0.05) -> None:
        super().__init__(alpha)
        self._affinity = _FixedBet()


class _Path(LoopErasedPath):
    """A path that is kept after a loop; loops that use older states of it are not fresh."""

    __slots__ = ("_first_fresh", "fresh")

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self._first_fresh, self.fresh = 0, False

    def step(self, state: str) -> list[str] | None:
        self.walk.append(state)
        place = self._places.get(state)
        if place is None:
            self._places[state] = len(self._path)
            self._path.append(state)
            return None
        loop = self._path[place:]
        for undone in loop[1:]:
            del self._places[undone]
        del self._path[place + 1 :]
        if len(loop) < 3:
            self._first_fresh = min(self._first_fresh, place)
            return None
        self.fresh = place >= self._first_fresh
        self._first_fresh = place
        self.walked, self.walk = self.walk, [state]
        return loop


class KeptPath(FixedWeights):
    """The path is kept after a loop, only fresh loops are bet on; fixed weights."""

    def _begin(self, trajectory: str, state: str) -> LoopErasedPath:
        path = self._paths[trajectory] = _Path(state)
        return path

    def _step(self, path: LoopErasedPath, state: str) -> None:
        self.transitions += 1
        loop = path.step(state)
        if loop is not None:
            if path.fresh:
                self._bet(loop)
            self._count(path.walked)
