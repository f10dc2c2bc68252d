"""What people ask first of two sides: success, limit, repetition, steps, tokens and cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan

from detailed_balance.analyzers import Change, RunComparison
from detailed_balance.analyzers.comparison.result import AT_LIMIT, REPEAT, Question
from detailed_balance.comparison._sides import Side
from detailed_balance.render.formatting import format_number

_ASKED: tuple[tuple[Question, str], ...] = (
    ("success", "success"),
    ("limit", AT_LIMIT),
    ("stays", REPEAT),
    ("length", "steps"),
    ("length", "tokens"),
    ("length", "cost"),
)
"""Which question each figure is of."""

_SHARES = ("success", AT_LIMIT, REPEAT)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of both sides.

    Parameters
    ----------
    name : str
        What it is: a share of root runs, or a mean of them.
    before, after : float
        In A and in B.
    change : Change or None
        Its test; None where it is the same in all runs.
    """

    name: str
    before: float
    after: float
    change: Change | None

    @property
    def changed(self) -> bool:
        """Whether it is seen to change."""
        return self.change is not None and self.change.changed

    @property
    def worse(self) -> int:
        """1 where it is seen to get worse, -1 where better, else 0."""
        if not self.changed:
            return 0
        sign = 1 if self.after > self.before else -1
        return -sign if self.name == "success" else sign

    def show(self, value: float) -> str:
        """Return one of its values."""
        if isnan(value):
            return "-"
        if self.name in _SHARES:
            return f"{value:.1%}"
        return f"{value:,.1f}" if self.name == "steps" else format_number(value)

    def describe(self) -> str:
        """Say what it was and is."""
        return f"{self.name} {self.show(self.before)} -> {self.show(self.after)}"


def find_figures(a: Side, b: Side, found: RunComparison) -> tuple[Figure, ...]:
    """Return what is known of both sides, in the order in which people ask."""
    return tuple(_find_figures(a, b, found))


def _find_figures(a: Side, b: Side, found: RunComparison) -> Iterator[Figure]:
    if a.runs is None or b.runs is None:
        return
    for question, name in _ASKED:
        test = found.test(question)
        changes = () if test is None else test.changes
        change = next((each for each in changes if each.what == (name,)), None)
        if change is not None:
            yield Figure(name, change.before, change.after, change)
        elif name == "success" and a.judged[1] and b.judged[1]:
            before, after = (good / judged for good, judged in (a.judged, b.judged))
            yield Figure(name, before, after, None)
        elif name == "steps" and len(a.roots) and len(b.roots):
            before, after = (float(side.roots.lengths.mean()) for side in (a, b))
            yield Figure(name, before, after, None)
