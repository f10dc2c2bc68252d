"""The path of one run, line by line: its steps, what it repeats, and the runs inside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import exp
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.repetition.progress import StepProgress, classify_steps
from detailed_balance.analyzers.repetition.walk import LoopErasure
from detailed_balance.analyzers.results import Result
from detailed_balance.analyzers.runs.columns import OUTCOMES
from detailed_balance.analyzers.runs.roots import name_node
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.render.formatting import (
    count_noun,
    format_number,
    safe_run,
    shorten_states,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PathLine", "list_path", "say_chance"]

_NAME = 48
_NOWHERE = "(no state reached)"
_INSIDE_SHOWN = 3
_DEEPEST = 8
_MOST_MOVES = 100_000

_AGAIN = len(StepProgress)
_WORDS = {
    StepProgress.STALE: "same call, same answer",
    StepProgress.FAILED: "failed",
    _AGAIN: "same call, new answer",
    StepProgress.NEW: "new",
    StepProgress.UNKNOWN: "not known",
}
"""What steps brought, in the order in which it is said."""


@dataclass(frozen=True, slots=True)
class PathLine(Result):
    """One line of a path: a step, steps that repeat, or the name of a run inside.

    Parameters
    ----------
    depth : int
        0 in the run itself, 1 in a run inside it, and so on.
    first, last : int
        Which moves of its run these are, from 1; both 0 where it is not a move.
    text : str
        The states reached, safe to print.
    times : int
        How often they were reached, one after the other.
    facts : str
        What is known of these steps, in words; empty where nothing is.
    tokens, cost : float or None
        Of all these steps; None where not known.
    onset : str
        What the run begins to repeat here, in words; mostly empty.
    run : str or None
        The key of the run inside that the line names, as recorded; None on other lines.
    surprisal : float or None
        Of the least expected of these steps, in nats: minus the log of the probability that it had
        by the steps before it and by other runs; None where that is not known.

    Examples
    --------
    >>> PathLine(0, 2, 41, "ask ⇄ look", 20).steps
    '2-41'
    """

    depth: int
    first: int
    last: int
    text: str
    times: int = 1
    facts: str = ""
    tokens: float | None = None
    cost: float | None = None
    onset: str = ""
    run: str | None = None
    surprisal: float | None = None

    @property
    def chance(self) -> str:
        """The probability of the least expected of these steps, in words; empty where not known.

        Examples
        --------
        >>> PathLine(0, 1, 1, "ask", surprisal=1.2).chance, PathLine(0, 1, 1, "ask", surprisal=6.0).chance
        ('30%', '1 in 403')
        """  # noqa: E501 - one line shows both
        return "" if self.surprisal is None else say_chance(self.surprisal)

    @property
    def steps(self) -> str:
        """Which moves these are, in words."""
        if self.first == self.last:
            return str(self.first) if self.first else ""
        return f"{self.first}-{self.last}"


def say_chance(surprisal: float) -> str:
    """Return a probability, given as its surprisal in nats, as a share or as 1 in so many."""
    chance = exp(-surprisal)
    return f"{chance:.0%}" if chance >= 0.05 else f"1 in {format_number(round(1 / chance))}"


def list_path(
    table: RunTable,
    place: int,
    onsets: Mapping[int, tuple[int, str]] | None = None,
    surprisal: NDArray[np.float64] | None = None,
) -> list[PathLine]:
    """List the steps of one run.

    States that follow each other again in the same order are one line; what is repeated inside a
    run in parts that differ stays apart. The runs of subgraphs stand under the node in which they
    ran. Of a run, 100,000 moves are looked at.

    Parameters
    ----------
    table : RunTable
        The r runs.
    place : int
        Which of them.
    onsets : mapping of int to (int, str), optional
        By the place of a run: the moves before it began to repeat itself, and what, in words.
    surprisal : (k,) array of float, optional
        Of each of the k moves of this run, in nats.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> run = Trajectory(tuple(zip(("__start__", *"xababab"), (*"xababab", "__end__"))))
    >>> for line in list_path(RunTable.of([run]), 0):
    ...     print(line.steps, line.text, line.times)
    1 x 1
    2-7 a ⇄ b 3
    8 __end__ 1
    """
    inside: dict[str, list[int]] = {}
    for number, parent in enumerate(table.runs.parent.tolist()):
        if parent is not None:
            inside.setdefault(parent, []).append(number)
    known = {} if surprisal is None else {place: surprisal}
    return list(_PathReader(table, onsets or {}, inside, known).read(place, 0))


class _Part(NamedTuple):
    """Some moves in a row: the states reached, and how often.

    `first` and `stop` are places of moves inside the run; `again` says that a person had answered.
    """

    first: int
    stop: int
    states: tuple[int, ...]
    times: int
    anew: bool


@dataclass(slots=True)
class _PathReader:
    table: RunTable
    onsets: Mapping[int, tuple[int, str]]
    inside: Mapping[str, list[int]]
    surprisal: Mapping[int, NDArray[np.float64]]
    read_already: set[int] = field(default_factory=set)

    def read(self, place: int, depth: int) -> Iterator[PathLine]:
        self.read_already.add(place)
        run = self.table.select([place])
        reached = run.target[:_MOST_MOVES]
        parts = _find_parts(run, reached)
        steps = _Steps.of(run)
        inside = self._find_inside(place, reached)
        onset, words = self.onsets.get(place, (-1, ""))
        for part in parts:
            text = _describe(self.table.states, part.states)
            facts, tokens, cost = steps.describe(part)
            begins = words if part.first < max(onset, 1) <= part.stop and words else ""
            first = part.first + 1 if part.stop > part.first else 0
            own = self.surprisal.get(place, np.zeros(0))[part.first : part.stop]
            least = float(own.max()) if len(own) else None
            yield PathLine(
                depth, first, part.stop, text, part.times, facts, tokens, cost, begins, None, least
            )
            there = [each for move, each in inside if part.first <= move < part.stop]
            yield from self._read_inside(there, place, depth + 1)
        if run.total > len(reached):
            more = count_noun(run.total - len(reached), "more move")
            yield PathLine(depth, 0, 0, f"(and {more})")
        lost = [each for move, each in inside if move < 0]
        yield from self._read_inside(lost, place, depth + 1)

    def _read_inside(self, places: Sequence[int], within: int, depth: int) -> Iterator[PathLine]:
        fresh = [place for place in places if place not in self.read_already]
        shown = fresh[:_INSIDE_SHOWN] if depth <= _DEEPEST else []
        for place in shown:
            key = self.table.runs.run[place] or self.table.runs.name[place]
            yield PathLine(depth, 0, 0, self._name(place, within), run=key)
            yield from self.read(place, depth)
        if len(fresh) > len(shown):
            more = count_noun(len(fresh) - len(shown), "more run")
            yield PathLine(depth, 0, 0, f"(and {more} here)")

    def _name(self, place: int, within: int) -> str:
        columns = self.table.runs
        outcome = int(columns.outcome[place])
        how = f", {OUTCOMES[outcome].replace('_', ' ')}" if outcome >= 0 else ""
        name = columns.name[place] or columns.run[place] or ""
        name = name.removeprefix(columns.name[within] or "").lstrip("/|")
        return f"run {safe_run(name)}{how}, {count_noun(int(self.table.lengths[place]), 'move')}"

    def _find_inside(self, place: int, reached: NDArray[np.int32]) -> list[tuple[int, int]]:
        """Return the runs inside a run with the move that they ran in, -1 where not known.

        The first one in a node ran in the first visit to it, and so on.
        """
        columns = self.table.runs
        places = np.array(self.inside.get(columns.run[place], []), dtype=np.int64)
        places = places[np.argsort(columns.started[places], kind="stable")]
        visits: dict[str, list[int]] = {}
        found = []
        names = columns.name.tolist()
        for each in places.tolist():
            node = name_node(names[each])
            if node not in visits:
                has = [node in state.split("|") for state in self.table.states]
                visits[node] = np.flatnonzero(np.array([*has, False])[reached]).tolist()[::-1]
            left = visits[node]
            found.append((-1 if not left else left.pop() if len(left) > 1 else left[0], each))
        return found


def _find_parts(run: RunTable, reached: NDArray[np.int32]) -> list[_Part]:
    """Return the steps of one run, those that repeat put together."""
    resumed = np.zeros(len(reached), dtype=bool)
    if run.facts is not None:
        resumed = run.facts.resumed[: len(reached)]
    parts = [
        _Part(i, i + 1, (state,), 1, anew)
        for i, (state, anew) in enumerate(zip(reached.tolist(), resumed.tolist(), strict=True))
    ]
    if run.total and run.states[run.source[0]] not in BOUNDARIES:
        parts.insert(0, _Part(0, 0, (int(run.source[0]),), 1, False))
    return _fold(list(_join_stays(parts)))


def _join_stays(parts: Sequence[_Part]) -> Iterator[_Part]:
    """Yield parts in which no state follows itself, but where a person has answered."""
    number = np.cumsum([part.anew for part in parts]).tolist()
    for _, group in groupby(range(len(parts)), key=lambda i: (parts[i].states, number[i])):
        own = [parts[i] for i in group]
        yield own[0]._replace(stop=own[-1].stop, times=len(own))


def _fold(parts: Sequence[_Part]) -> list[_Part]:
    """Put parts together that follow each other again and again in the same order.

    Moves between parts, and not parts, are what is looked for, so that rounds from a hub to several
    others and back are found too.
    """
    folded: list[_Part] = []
    path: LoopErasure[str] = LoopErasure()
    i = 0
    while i < len(parts):
        if parts[i].anew:
            path = LoopErasure()
        if i + 1 < len(parts):
            loop = path.visit(repr((parts[i].states, parts[i + 1].states)), i)
            places = [place for _, place in loop]
            if loop and places == list(range(i - len(loop), i)):
                stop = _repeats_until(parts, i, len(loop))
                times = (stop - places[0]) // len(loop)
                if times > 1:
                    del folded[len(folded) - len(loop) :]
                    i = places[0] + times * len(loop)
                    folded.append(_join(parts[places[0] : i], len(loop), times))
                    path = LoopErasure()
                    continue
        folded.append(parts[i])
        i += 1
    return folded


def _repeats_until(parts: Sequence[_Part], i: int, period: int) -> int:
    while i < len(parts) and parts[i].states == parts[i - period].states and not parts[i].anew:
        i += 1
    return i


def _join(parts: Sequence[_Part], period: int, times: int) -> _Part:
    states = tuple(state for part in parts[:period] for state in part.states)
    return _Part(parts[0].first, parts[-1].stop, states, times, parts[0].anew)


def _describe(states: Sequence[str], codes: Sequence[int]) -> str:
    names = shorten_states([_NOWHERE if code < 0 else states[code] for code in codes], _NAME)
    return (" ⇄ " if len(names) == 2 else " → ").join(names)


@dataclass(frozen=True, slots=True)
class _Steps:
    """What is known of the moves of one run, (m,) arrays."""

    progress: NDArray[np.int8]
    resumed: NDArray[np.bool_]
    tokens: NDArray[np.float64]
    cost: NDArray[np.float64]

    @classmethod
    def of(cls, run: RunTable) -> _Steps:
        progress, nothing = classify_steps(run), np.full(run.total, np.nan)
        facts, cost, resumed = run.facts, run.costs, np.zeros(run.total, dtype=bool)
        tokens = nothing
        if facts is not None:
            progress[(progress == StepProgress.NEW) & facts.repeats] = _AGAIN
            tokens = np.where(facts.tokens < 0, np.nan, facts.tokens)
            cost = facts.cost if cost is None else cost
            resumed = facts.resumed
        return cls(progress, resumed, tokens, nothing if cost is None else cost)

    def describe(self, part: _Part) -> tuple[str, float | None, float | None]:
        """Return what is known of a part in words, its tokens and its cost."""
        own = slice(part.first, part.stop)
        said = ["a person has answered"] if self.resumed[own][:1].any() else []
        number = np.bincount(self.progress[own], minlength=len(_WORDS)).tolist()
        known = [kind for kind in _WORDS if number[kind]]
        if len(known) > 1:
            said += [f"{number[kind]:,} {_WORDS[kind]}" for kind in known]
        elif known and known != [StepProgress.UNKNOWN]:
            every = "all " if part.stop - part.first > 1 else ""
            said.append(f"{every}{_WORDS[known[0]]}")
        return "; ".join(said), _sum(self.tokens[own]), _sum(self.cost[own])


def _sum(values: NDArray[np.float64]) -> float | None:
    return None if np.isnan(values).all() else float(np.nansum(values))
