"""`Case`, a scripted agent with what should be said of its record."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from benchmarks.diagnosis.stage import Stage
from detailed_balance.callbacks import ActionStates

__all__ = ["Case", "Play"]

Play: TypeAlias = Callable[[Stage], Collection[str]]
"""Plays all runs of an agent, and returns the keys of those that are faulty."""


@dataclass(frozen=True)
class Case:
    """An agent, and what should be said of its record.

    Parameters
    ----------
    name : str
        What it does.
    play : Play
        Plays its runs.
    words : tuple of str
        The verdicts that are right.
    kinds : tuple of str
        The kinds that are right for the first finding; none for a healthy agent.
    places : tuple of frozenset of str
        The states that are right for it, in any order.
    states : callable
        What names its states.
    """

    name: str
    play: Play
    words: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    places: tuple[frozenset[str], ...] = field(default=(frozenset(),))
    states: Any = field(default_factory=ActionStates)

    @property
    def any_runs(self) -> bool:
        """Whether it is about the record as a whole."""
        return not {"loss", "cardinality"}.isdisjoint(self.kinds)

    @property
    def expected(self) -> str:
        """What should be said, in words."""
        said = [" or ".join(self.words), " or ".join(self.kinds)]
        places = [", ".join(sorted(place)) for place in self.places if place]
        return ": ".join(filter(None, [*said, " or ".join(places[:1])])).replace("|", "\\|")

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.kinds
