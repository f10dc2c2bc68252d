"""`Comparison`, what a change did; printing it shows it, and so does a notebook."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from detailed_balance.analyzers.balance.violation import Violation
from detailed_balance.analyzers.comparison.result import Change, Differences
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.repetition.walk import name_loop
from detailed_balance.analyzers.results import Result
from detailed_balance.comparison._sides import Side
from detailed_balance.report._verdict import Verdict

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

__all__ = ["CONDITIONS", "Comparison", "Condition"]

Condition: TypeAlias = Literal["drift", "violation", "trap"]
"""What a comparison can be asked to fail on; see `Comparison.failures`."""

CONDITIONS: tuple[Condition, ...] = get_args(Condition)
"""All of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison(Result):
    """What differs between two sides, A (before) and B (after).

    Parameters
    ----------
    a, b : Side
        The two sides, each with its own report.
    differences : Differences
        What was tested, with one promise for all of it.
    """

    a: Side
    b: Side
    differences: Differences

    @property
    def verdict(self) -> Verdict:
        """The answer in words."""
        from detailed_balance.comparison._verdict import judge_comparison

        return judge_comparison(self)

    @property
    def changed(self) -> bool:
        """Whether B is seen to differ from A; False is no proof that it does not."""
        return self.differences.rejected

    @property
    def new_violations(self) -> tuple[Violation, ...]:
        """The loops that drive B, and that its runs are seen to walk more than those of A."""
        more = {
            name_loop([str(state) for state in change.what])
            for change in self.differences.changes
            if change.question == "loops" and change.difference > 0
        }
        driven = self.b.report.balance.violations
        return tuple(v for v in driven if name_loop(v.loop) in more)

    @property
    def longer_stays(self) -> tuple[Change, ...]:
        """Where the runs of B are seen to stay longer than those of A."""
        changes = self.differences.changes
        return tuple(c for c in changes if c.question == "stays" and c.difference > 0)

    def failures(self, conditions: Collection[Condition] = CONDITIONS) -> tuple[Condition, ...]:
        """Return which of some conditions hold.

        "drift": something changed. "violation": a loop drives B, and its runs walk it more than
        those of A. "trap": runs of B stay longer in one state, in a trap, or between two states.
        All three go by what the comparison as a whole calls changed.

        Raises
        ------
        InvalidInputError
            Where a condition is none of these.
        """
        if unknown := sorted(set(conditions) - set(CONDITIONS)):
            raise InvalidInputError(
                f"unknown {', '.join(map(repr, unknown))}; allowed are {', '.join(CONDITIONS)}"
            )
        found = {
            "drift": self.changed,
            "violation": bool(self.new_violations),
            "trap": bool(self.longer_stays),
        }
        return tuple(c for c in CONDITIONS if c in conditions and found[c])

    def _content(self) -> dict[str, Any]:
        sides = {
            side.name: {
                "label": side.label,
                "report": side.report,
                "forecast": side.forecast,
            }
            for side in (self.a, self.b)
        }
        return {
            "version": version("detailed-balance"),
            "verdict": self.verdict,
            "failures": self.failures(),
            "differences": self.differences,
            **sides,
        }

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict` as JSON."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write one self-contained page, with both landscapes side by side."""
        from detailed_balance.comparison._html import render_comparison  # loads matplotlib

        Path(path).write_text(render_comparison(self), encoding="utf-8")

    def to_junit(
        self, path: str | os.PathLike[str], conditions: Collection[Condition] = CONDITIONS
    ) -> None:
        """Write each question as a test of JUnit's XML, which a pipeline can show.

        Parameters
        ----------
        path : str or path
            Where to.
        conditions : collection of str
            As for `failures`; the tests of the others are left out.
        """
        from detailed_balance.comparison._junit import render_junit

        Path(path).write_bytes(render_junit(self, conditions))

    def __str__(self) -> str:
        from detailed_balance.render.terminal import print_plainly

        return print_plainly(self)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        from detailed_balance.comparison._terminal import render_text

        yield from render_text(self)

    def _repr_html_(self) -> str:
        from detailed_balance.comparison._html import render_fragment  # loads matplotlib

        return render_fragment(self)
