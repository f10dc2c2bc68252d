"""`Report`, what `analyze` found: in a terminal, on a page, in a notebook, as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.results import Result
from detailed_balance.render import html, terminal
from detailed_balance.render.document import Document, Verdict
from detailed_balance.report._document import make_document
from detailed_balance.report.run_page import RunPage, show_run
from detailed_balance.report.sections import CHEAP_ERRORS
from detailed_balance.sources.source import SourceInfo

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

    from detailed_balance.analyzers import BalanceReport, Potential, TransitionCounts, TrapReport
    from detailed_balance.diagnosis.finding import Finding
    from detailed_balance.diagnosis.study import RunStudy

__all__ = ["Report"]


@dataclass(frozen=True, slots=True, eq=False)
class Report(Result):
    """What `analyze` found; printing it shows it, and so does a notebook.

    Parameters
    ----------
    counts : TransitionCounts
        What was analysed, START and END included.
    potential : Potential or None
        Where the agent wants to go; None where data are too few, which `reason` says.
    balance : BalanceReport or None
        What drives it in circles; likewise.
    traps : TrapReport
        Where it is stuck.
    source : SourceInfo
        Where the counts came from.
    baseline : SourceInfo or None
        What they were compared with.
    warnings : tuple of str
        What the reader must know before relying on the numbers.
    runs : RunStudy or None
        What single runs did; None where the source has none.
    findings : tuple of Finding
        What is wrong, the worst first.
    verdict : Verdict
        The answer in words: its first screen.
    alpha : float
        The level that all tested kinds of findings share.
    reason : str
        Why there is no potential; empty where there is one.
    run_url : str
        The address of a run, with ``{run}`` for its key; empty where there is none.
    """

    counts: TransitionCounts
    potential: Potential | None
    balance: BalanceReport | None
    traps: TrapReport
    source: SourceInfo
    baseline: SourceInfo | None
    warnings: tuple[str, ...]
    runs: RunStudy | None
    findings: tuple[Finding, ...]
    verdict: Verdict
    alpha: float = 0.05
    reason: str = ""
    run_url: str = ""

    @property
    def document(self) -> Document:
        """What every surface shows."""
        return make_document(self)

    def show(self, run: str) -> RunPage:
        """Return the path of one run, with its facts.

        Parameters
        ----------
        run : str
            Its key, its id, or the beginning of one.

        Raises
        ------
        InvalidInputError
            Where the source knows no runs, or none of that name.
        """
        if self.runs is None:
            raise InvalidInputError(f"{self.source.description} knows no runs to show")
        return show_run(self.runs.table, run, run_url=self.run_url or None)

    def _content(self) -> dict[str, Any]:
        potential = self.potential
        # Of more states there are no standard errors, which would take minutes.
        cheap = potential is not None and len(potential.states) <= CHEAP_ERRORS
        return {
            "version": version("detailed-balance"),
            **self._values("verdict", "findings", "source", "baseline"),
            "transitions": self.counts.without_boundaries().total,
            "escapes": int(self.counts.escapes.sum()),
            "potential": None if potential is None else potential.to_dict(errors=cheap),
            **self._values("reason", "alpha", "balance", "traps", "runs", "warnings"),
        }

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict` as JSON."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write one self-contained page, with pictures."""
        Path(path).write_text(html.render_document(self.document), encoding="utf-8")

    def __str__(self) -> str:
        return terminal.print_plainly(self)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        yield from terminal.render_document(self.document)

    def _repr_html_(self) -> str:
        return html.render_notebook(self.document)
