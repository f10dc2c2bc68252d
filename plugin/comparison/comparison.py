"""`Comparison`, what a change did: in a terminal, on a page, in a notebook, as JSON or JUnit."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from detailed_balance.analyzers import Change, RunComparison, Violation
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.results import Result
from detailed_balance.comparison._figures import Figure, find_figures
from detailed_balance.comparison._findings import advise, find_changes
from detailed_balance.comparison._junit import list_tests
from detailed_balance.comparison._sections import (
    change_sections,
    forecast_section,
    loop_section,
    question_section,
    settings_section,
    side_section,
    trap_section,
)
from detailed_balance.comparison._sides import Side
from detailed_balance.comparison._verdict import find_outcome, judge_comparison
from detailed_balance.diagnosis.finding import FINDING_KINDS, Advice, Finding, FindingKind
from detailed_balance.diagnosis.words import UNJUDGED
from detailed_balance.render import html, terminal
from detailed_balance.render.document import Document, Part, SideBySide, Verdict
from detailed_balance.render.junit import render_junit
from detailed_balance.report.report import landscape_picture

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

__all__ = ["CONDITIONS", "Comparison", "Condition"]

Condition: TypeAlias = Literal["problem", "violation"] | FindingKind
"""What a comparison can be asked to fail on; see `Comparison.failures`."""

CONDITIONS: tuple[Condition, ...] = ("problem", "violation", *FINDING_KINDS)
"""All of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison(Result):
    """What differs between two sides, A (before) and B (after).

    Parameters
    ----------
    a, b : Side
        The two sides, each with its own report.
    differences : RunComparison
        What was tested, with one promise for all of it.
    warnings : tuple of str
        What to know about both sides.
    """

    a: Side
    b: Side
    differences: RunComparison
    warnings: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The answer in words: its first screen."""
        return judge_comparison(
            self.differences,
            self._figures,
            self.new_violations,
            self._advice,
            self.warnings,
            alone=self._alone,
            unsure=self._unsure,
        )

    @property
    def _figures(self) -> tuple[Figure, ...]:
        """What people ask first: success, limit, repetition, steps, tokens and cost."""
        return find_figures(self.a, self.b, self.differences)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What changed, problems first."""
        return find_changes(self.b, self.differences, self._figures, self._advice)

    @property
    def _advice(self) -> tuple[Advice, ...]:
        """What to do where something changed."""
        return advise(self.a, self.b, find_outcome(self.differences, self._figures))

    @property
    def _alone(self) -> str:
        """What is wrong in B by itself, and not in A."""
        known = {finding.id for finding in self.a.report.findings}
        new = (f for f in self.b.report.findings if f.severity == "problem" and f.id not in known)
        return next((finding.headline for finding in new), "")

    @property
    def _unsure(self) -> str:
        """What success means, where nobody judged the runs."""
        sides = (self.a, self.b)
        judged = any(side.roots.runs.judged.any() for side in sides)
        return UNJUDGED if all(side.judged[1] for side in sides) and not judged else ""

    @property
    def document(self) -> Document:
        """What every surface shows."""
        return _make_document(self)

    @property
    def changed(self) -> bool:
        """Whether B is seen to differ from A; False is not proof that it does not."""
        return self.differences.rejected

    @property
    def new_violations(self) -> tuple[Violation, ...]:
        """The loops that drive B, and that its runs are seen to walk more than those of A."""
        more = {
            Loop(str(state) for state in change.what)
            for change in self.differences.changes
            if change.question == "loops" and change.difference > 0
        }
        balance = self.b.report.balance
        driven = () if balance is None else balance.violations
        return tuple(v for v in driven if Loop(v.loop) in more)

    @property
    def longer_stays(self) -> tuple[Change, ...]:
        """Where the runs of B are seen to stay longer than those of A."""
        changes = self.differences.changes
        return tuple(c for c in changes if c.question == "stays" and c.difference > 0)

    def failures(self, conditions: Collection[Condition] = CONDITIONS) -> tuple[Condition, ...]:
        """Return which of some conditions hold.

        "problem": the verdict is WORSE. "drift": something changed. "violation": a loop drives B,
        and its runs walk it more than those of A. "trap": runs of B stay longer in one state, in a
        trap, or between two states. "failure": success fell. "limit": more runs reach the
        recursion limit. "repetition": more runs repeat themselves, they stay longer, or loops are
        taken more. Other kinds of findings are not compared, and never hold. All go by what the
        comparison as a whole calls changed.

        Raises
        ------
        InvalidInputError
            Where a condition is none of these.
        """
        if unknown := sorted(set(conditions) - set(CONDITIONS)):
            raise InvalidInputError(
                f"unknown {', '.join(map(repr, unknown))}; allowed are {', '.join(CONDITIONS)}"
            )
        found: set[Condition] = {kind for finding in self.findings for kind in finding.kinds}
        found -= {"drift"}
        found |= {"drift"} if self.changed else set()
        found |= {"problem"} if self.verdict.outcome == "worse" else set()
        found |= {"violation"} if self.new_violations else set()
        found |= {"trap"} if self.longer_stays else set()
        return tuple(c for c in CONDITIONS if c in conditions and c in found)

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
            "findings": self.findings,
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
        Path(path).write_text(html.render_document(self.document), encoding="utf-8")

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
        self.failures(conditions)  # refuses unknown ones
        tests = list_tests(
            self.differences,
            self.verdict,
            self.findings,
            self.new_violations,
            self.longer_stays,
            conditions,
        )
        Path(path).write_bytes(render_junit(tests))

    def __str__(self) -> str:
        return terminal.print_plainly(self)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        yield from terminal.render_document(self.document)

    def _repr_html_(self) -> str:
        return html.render_notebook(self.document)


def _make_document(comparison: Comparison) -> Document:
    """Return what is shown of a comparison, in order."""
    a, b, found = comparison.a, comparison.b, comparison.differences
    pictures = tuple(
        landscape_picture(side.report, f"{side.name}: {side.label}")
        for side in (a, b)
        if side.report.potential is not None
    )
    parts: list[Part | None] = [
        side_section(a, b, find_figures(a, b, found)),
        question_section(found),
        SideBySide("Both landscapes", pictures, ("notebook", "page")) if pictures else None,
        *change_sections(found),
        loop_section(a, b, comparison.new_violations),
        trap_section(a, b),
        forecast_section(a, b),
    ]
    shown = tuple(part for part in parts if part is not None)
    return Document(comparison.verdict, shown, settings_section(found, a), wide=True)
