"""`locate_loops`: in which runs a loop was walked, how often, and from which move on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from detailed_balance.analyzers.repetition.walk import find_patterns, name_loop, turn_loop
from detailed_balance.analyzers.runs.trajectory import Trajectory

__all__ = ["LoopSeen", "locate_loops"]


@dataclass(frozen=True, slots=True)
class LoopSeen:
    """Where a loop was walked.

    Parameters
    ----------
    loop : tuple of str
        In the order walked.
    runs, failed : int
        How many runs walked it round, and how many of them failed.
    rounds : int
        How often, in all runs.
    back : int
        How often the other way round.
    onset : float
        The median of the moves before its first round, NaN where no run walked it.
    examples : tuple of str
        The runs that walked it most, at most 3.
    """

    loop: tuple[str, ...]
    runs: int
    failed: int
    rounds: int
    back: int
    onset: float
    examples: tuple[str, ...]


def locate_loops(
    runs: Iterable[Trajectory], loops: Iterable[Sequence[str]]
) -> tuple[LoopSeen, ...]:
    """Say of each loop in how many runs it was walked, how often, and from which move on.

    Side trips are cut out: a run that leaves a loop and comes back to where it left goes on.

    Examples
    --------
    >>> run = Trajectory(tuple(zip("xabcabxbca", "abcabxbcab")), "run-1")
    >>> seen = locate_loops([run], [("b", "c", "a")])[0]
    >>> seen.runs, seen.rounds, seen.back, seen.onset, seen.examples
    (1, 2, 0, 1, ('run-1',))
    """
    wanted = [tuple(loop) for loop in loops]
    names = [name_loop(loop) for loop in wanted]
    walks: list[list[tuple[int, int, Trajectory]]] = [[] for _ in wanted]
    back = [0] * len(wanted)
    for run in runs if wanted else ():
        made = {loop.states: loop for loop in find_patterns(run).loops}
        for i, name in enumerate(names):
            if (walked := made.get(name)) is not None:
                walks[i].append((walked.rounds, walked.onset, run))
            if (walked := made.get(turn_loop(name))) is not None:
                back[i] += walked.rounds
    return tuple(_loop_seen(*each) for each in zip(wanted, walks, back, strict=True))


def _loop_seen(
    loop: tuple[str, ...], walks: Sequence[tuple[int, int, Trajectory]], back: int
) -> LoopSeen:
    most = sorted(walks, key=lambda walk: -walk[0])
    names = dict.fromkeys(run.name for _, _, run in most if run.name is not None)
    return LoopSeen(
        loop,
        len(walks),
        sum(run.success is False for _, _, run in walks),
        sum(rounds for rounds, _, _ in walks),
        back,
        median(onset for _, onset, _ in walks) if walks else float("nan"),
        tuple(names)[:3],
    )
