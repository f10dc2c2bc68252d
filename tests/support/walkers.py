"""Walks of a made-up agent, reversible or driven round a loop, for the tests of the monitor."""

import random
from collections.abc import Iterator

from detailed_balance import Transition

STATES = ("plan", "search", "read", "write", "check")
LOOP = {"plan": "search", "search": "read", "read": "plan"}


class Walker:
    """Several runs at a time, each to any state at random, or half of the time round the loop."""

    def __init__(self, seed: int, *, runs: int = 4, ending: float = 0.0) -> None:
        self.rng = random.Random(seed)
        self.ending = ending
        self.begun = 0
        self.at = [self._begin() for _ in range(runs)]

    def _begin(self) -> tuple[str, str]:
        self.begun += 1
        return f"run {self.begun}", "__start__"

    def walk(self, steps: int, *, driven: bool = False) -> Iterator[Transition]:
        for step in range(steps):
            place = step % len(self.at)
            name, state = self.at[place]
            if state == "__start__":
                target = "plan"
            elif self.rng.random() < self.ending:
                target = "__end__"
            elif driven and state in LOOP and self.rng.random() < 0.5:
                target = LOOP[state]
            else:
                target = self.rng.choice(STATES)
            yield Transition(state, target, name, time=float(step))
            self.at[place] = self._begin() if target == "__end__" else (name, target)
