"""`Proposal`, one program of a search with its verdict, and `Islands`, which keep the best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from detailed_balance.analyzers.results import plain
from examples.paper.search.sandbox import Status

__all__ = ["Islands", "Proposal", "Verdict"]

Verdict: TypeAlias = Literal[Status, "unfit", "repeated", "no program", "no answer"]
"""How a proposal was judged.

As in `SandboxResult`; "unfit" is one whose features no potential could be fitted to, "repeated" one
that had been proposed before, "no program" an answer without one, "no answer" a failed call.
"""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One program of a search, and how it was judged.

    Parameters
    ----------
    number : int
        Its place in the search, the first programs included.
    island : int or None
        Where it was asked for; None for the first programs, which are on all.
    parents : tuple of int
        The numbers of the programs that were shown, the better last.
    program : str
        Its text; empty where there is none.
    status : Verdict
        "ok", or why it has no score.
    reason : str
        The same in a sentence; parts of it may be the program's words.
    score : float or None
        The held-out action, as a share of the action without a potential: lower is better.
    features : int or None
        How many features it gave.
    seconds : float
        Of the sandbox and the fit.
    filtered : bool
        Whether the kernel filtered the system calls of its process.
    """

    number: int
    island: int | None
    parents: tuple[int, ...]
    program: str
    status: Verdict
    reason: str = ""
    score: float | None = None
    features: int | None = None
    seconds: float = 0.0
    filtered: bool = False

    @property
    def rank(self) -> tuple[float, int, int]:
        """What programs are sorted by: the score, then the length, then who came first."""
        score = float("inf") if self.score is None else self.score
        return score, len(self.program), self.number

    def repeated(self, earlier: Proposal) -> Proposal:
        """Return this proposal as one that says the same as an earlier one."""
        return replace(self, status="repeated", reason=f"the same as number {earlier.number}")

    def to_dict(self) -> dict[str, Any]:
        """Return everything in types that JSON has."""
        found = dict(plain(self))
        del found["name"]  # of the class
        return found


class Islands:
    """Populations that breed apart, so that one early success does not take over the search.

    Parameters
    ----------
    count : int
        How many.
    seed : int
        Of the choice of parents, and of who settles where an island is cleared.
    most : int
        Programs that one keeps.

    References
    ----------
    Romera-Paredes et al., *Mathematical discoveries from program search with large language
    models* (FunSearch), Nature 625 (2024).

    Examples
    --------
    >>> islands = Islands(2)
    >>> for number, score in enumerate([0.9, 0.7]):
    ...     islands.add(Proposal(number, number, (), f"program {number}", "ok", score=score))
    >>> islands.reseed(2)
    >>> [[member.score for member in island] for island in islands.members]
    [[0.7], [0.7]]
    """

    def __init__(self, count: int, seed: int = 0, most: int = 10) -> None:
        self.members: list[list[Proposal]] = [[] for _ in range(count)]
        self._seed, self._most = seed, most

    def add(self, proposal: Proposal) -> None:
        """Add a proposal where it belongs; one without a score is passed over."""
        if proposal.score is None:
            return
        places = range(len(self.members)) if proposal.island is None else [proposal.island]
        for place in places:
            found = sorted([*self.members[place], proposal], key=lambda member: member.rank)
            self.members[place] = found[: self._most]

    def parents(self, island: int, number: int) -> tuple[Proposal, ...]:
        """Choose up to two programs to show for proposal `number`, good ones more often.

        The better is the last; the chances go as 1 / rank.
        """
        members = self.members[island]
        weights = 1 / np.arange(1, len(members) + 1)
        random = np.random.default_rng([self._seed, number, 0])
        count = min(2, len(members))
        if not count:
            return ()
        chosen = random.choice(len(members), count, replace=False, p=weights / weights.sum())
        return tuple(members[i] for i in sorted(chosen, reverse=True))

    def reseed(self, number: int) -> None:
        """Clear the weaker half of the islands; the best of a stronger one settles on each."""
        order = sorted(range(len(self.members)), key=self._strength)
        strong = order[: (len(order) + 1) // 2]
        random = np.random.default_rng([self._seed, number, 1])
        for weak in order[len(strong) :]:
            self.members[weak] = self.members[strong[random.integers(len(strong))]][:1]

    def _strength(self, island: int) -> tuple[float, int, int]:
        members = self.members[island]
        return members[0].rank if members else (float("inf"), 0, 0)
