"""`Report`, what `analyze` found: in a terminal, on a page, in a notebook, as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detailed_balance import plots
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.results import Result
from detailed_balance.render import html, terminal
from detailed_balance.render.document import Document, Part, Picture, SideBySide, Verdict
from detailed_balance.render.formatting import safe_run
from detailed_balance.render.junit import render_junit
from detailed_balance.render.links import link_run
from detailed_balance.report._gates import CLAIMS, Gate, GateCondition
from detailed_balance.report.run_page import RunPage, show_run
from detailed_balance.report.run_sections import (
    contrast_section,
    kind_section,
    limit_section,
    loop_place_section,
    repetition_section,
    run_section,
)
from detailed_balance.report.sections import (
    CHEAP_ERRORS,
    data_section,
    loop_section,
    popularity_section,
    settings_section,
    state_section,
    trap_section,
)
from detailed_balance.sources.source import SourceInfo

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

    from detailed_balance.analyzers import (
        BalanceReport,
        PopularityComparison,
        Potential,
        TransitionCounts,
        TrapReport,
    )
    from detailed_balance.diagnosis.finding import Finding
    from detailed_balance.diagnosis.study import RunStudy

__all__ = ["Report", "landscape_picture"]


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
    popularity : PopularityComparison or None
        Whether the potential is more than the popularity of the states; None for fewer than 10
        states or pairs seen in both directions, and for more than 5,000 different moves.
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
    popularity: PopularityComparison | None = None

    @property
    def document(self) -> Document:
        """What every surface shows."""
        return _make_document(self)

    def show(self, run: str) -> RunPage:
        """Return the path of one run, with its facts.

        Parameters
        ----------
        run : str
            Its key, its id, or the beginning of one.

        Raises
        ------
        InvalidInputError
            Where the source has no runs, or none of that name.
        """
        if self.runs is None:
            raise InvalidInputError(f"{self.source.description} has no runs to show")
        return show_run(self.runs.table, run, run_url=self.run_url or None)

    def failures(self, conditions: Collection[GateCondition]) -> tuple[GateCondition, ...]:
        """Return which of some conditions hold, as ``--fail-on`` asks.

        Parameters
        ----------
        conditions : collection of str
            ``"problem"``, a kind of finding, or ``"violation"``: balance is broken by a cause that
            is neither structural nor work-flow.

        Raises
        ------
        InvalidInputError
            Where a condition is unknown.
        """
        return tuple(self._gate.failures(conditions))

    @property
    def _gate(self) -> Gate:
        return Gate(self.verdict, self.findings, self.balance)

    def to_junit(
        self, path: str | os.PathLike[str], conditions: Collection[GateCondition] | None = None
    ) -> None:
        """Write each condition, all by default, as a test of JUnit's XML.

        Raises
        ------
        InvalidInputError
            Where a condition is unknown.
        """
        tests = self._gate.tests(tuple(CLAIMS) if conditions is None else conditions)
        Path(path).write_bytes(render_junit(tests))

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
            **self._values("reason", "alpha", "balance", "popularity", "traps"),
            **self._values("runs", "warnings"),
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


def _make_document(report: Report) -> Document:
    """Return what is shown of a report, in the order in which people ask."""
    parts = tuple(part for part in _parts(report) if part is not None)
    settings = settings_section(
        report.alpha, report.potential, report.balance, report.traps, report.baseline, report.runs
    )
    return Document(report.verdict, parts, settings, links=_links(report))


def _links(report: Report) -> dict[str, str]:
    """Return the address of each run that is named, by its name as it is shown."""
    if not report.run_url:
        return {}
    names = [name for finding in report.findings for name in finding.runs]
    if report.runs is not None:
        names += [row.name for row in report.runs.report.rows if row.name is not None]
    return {safe_run(name): link_run(report.run_url, name) for name in names}


def _parts(report: Report) -> Iterator[Part | None]:
    runs, potential, balance = report.runs, report.potential, report.balance
    if runs is not None:
        yield kind_section(runs)
        yield repetition_section(runs)
        yield run_section(runs)
    if potential is not None and balance is not None:
        yield landscape_picture(report)
        yield loop_section(balance)
        if runs is not None:
            yield loop_place_section(runs)
        yield SideBySide(
            "The evidence, pair by pair and loop by loop", (_pairs(report), _loops(report))
        )
        yield state_section(potential)
        if report.popularity is not None:
            yield popularity_section(report.popularity)
    yield trap_section(report.traps)
    if runs is not None:
        if runs.chosen:
            yield _runs(runs)
        yield contrast_section(runs)
        yield limit_section(runs)
    yield data_section(report.counts, potential, balance, report.source)


def _pairs(report: Report) -> Picture:
    number = 0 if report.balance is None else len(report.balance.pairs)
    return Picture(
        lambda: plots.plot_pairs(report),
        f"Log ratios of rates against drops of the potential for {number} pairs of states; under "
        "detailed balance they lie on the diagonal.",
        "Each point is a pair of states that was seen in both directions. The log ratio of its two "
        "rates is the drop of the potential, where detailed balance holds (bars: one standard "
        "error).",
    )


def _loops(report: Report) -> Picture:
    number = 0 if report.balance is None else len(report.balance.loops)
    return Picture(
        lambda: plots.plot_loops(report),
        f"Sums of log rates of {number} loops, in one direction against the other; under detailed "
        "balance they lie on the diagonal.",
        "Each point is a loop. The product of its rates is the same in both directions, where "
        "detailed balance holds (bars: one standard error).",
    )


def _runs(runs: RunStudy) -> Picture:
    return Picture(
        lambda: plots.plot_runs(runs.chosen),
        f"The potential at each move of {len(runs.chosen)} runs.",
        "The worst run of each kind, and a successful run of median length. The colour changes "
        "where a run starts repeating itself. A run that makes progress goes down.",
        "The potential along runs",
        ("page",),
    )


def landscape_picture(report: Report, title: str = "The landscape") -> Picture:
    """Return the picture of a landscape, of a report with a potential."""
    n = 0 if report.potential is None else len(report.potential.states)
    return Picture(
        lambda: plots.plot_landscape(report),
        f"Levels of {n} states by their potential, arrows for the moves between them. "
        f"{report.verdict.headline}.",
        "Height: the potential V. Agents run downhill, and grey arrows are wider the more often "
        "they were taken. The loop that names a cause of broken balance is coloured, in the "
        "direction in which it is taken more often than detailed balance allows; a trap has a "
        "green border.",
        title,
    )
