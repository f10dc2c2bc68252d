"""`Report`, what `analyze` found: in a terminal, on a page, in a notebook, as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detailed_balance import plots
from detailed_balance.analyzers import (
    BalanceReport,
    Potential,
    TransitionCounts,
    TrapReport,
    Violation,
)
from detailed_balance.analyzers.results import Result
from detailed_balance.render import html, terminal
from detailed_balance.render.document import Section, Verdict
from detailed_balance.report._repetition_section import repetition_section
from detailed_balance.diagnosis.verdict import VerdictEvidence, judge
from detailed_balance.report.run_sections import (
    contrast_section,
    kind_section,
    limit_section,
    loop_place_section,
    run_section,
)
from detailed_balance.report.sections import (
    CHEAP_ERRORS,
    data_section,
    loop_sections,
    settings_section,
    state_section,
    trap_section,
)
from detailed_balance.sources.source import SourceInfo

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

    from detailed_balance.diagnosis.study import RunStudy

__all__ = ["Report", "render_landscape"]

_LOOPS_SHOWN = 50
_STATES_SHOWN = 200
_TRAPS_SHOWN = 50
_CHANGES_SHOWN = 20
_PLACES_SHOWN = 50
# In a terminal:
_LOOPS_PRINTED = 10
_STATES_PRINTED = 15
_TRAPS_PRINTED = 10
_RUNS_PRINTED = 8
_CHANGES_PRINTED = 8
_PLACES_PRINTED = 8


@dataclass(frozen=True, slots=True, eq=False)
class Report(Result):
    """What `analyze` found; printing it shows it, and so does a notebook.

    Parameters
    ----------
    counts : TransitionCounts
        What was analysed, START and END included.
    potential : Potential
        Where the agent wants to go.
    balance : BalanceReport
        What drives it in circles.
    traps : TrapReport
        Where it is stuck.
    source : SourceInfo
        Where the counts came from.
    baseline : SourceInfo or None
        What they were compared with.
    warnings : tuple of str
        What the reader must know before relying on the numbers.
    runs : RunStudy or None
        What single runs did; None where the source has none, or too many.
    """

    counts: TransitionCounts
    potential: Potential
    balance: BalanceReport
    traps: TrapReport
    source: SourceInfo
    baseline: SourceInfo | None = None
    warnings: tuple[str, ...] = ()
    runs: RunStudy | None = None

    @property
    def verdict(self) -> Verdict:
        """The answer in words."""
        return judge(self._evidence, self.warnings)

    @property
    def findings(self) -> tuple[Violation, ...]:
        """The causes of broken balance that are no design and no work-flow, suspect ones first."""
        suspect = self._evidence.suspect()
        rest = (v for v in self.balance.violations if v.kind == "unclassified")
        return (*suspect, *rest)

    @property
    def _evidence(self) -> VerdictEvidence:
        transitions = self.counts.without_boundaries().total
        compared = self.baseline is not None
        return VerdictEvidence(self.balance, self.traps, transitions, self.runs, compared)

    def _content(self) -> dict[str, Any]:
        # Of more states there are no standard errors, which would take minutes.
        cheap = len(self.potential.states) <= CHEAP_ERRORS
        return {
            "version": version("detailed-balance"),
            "verdict": self.verdict,
            "source": self.source,
            "baseline": self.baseline,
            "transitions": self.counts.without_boundaries().total,
            "escapes": int(self.counts.escapes.sum()),
            "potential": self.potential.to_dict(errors=cheap),
            **self._values("balance", "traps", "runs", "warnings"),
        }

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict` as JSON."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write one self-contained page, with pictures."""
        page = html.render_page(self.verdict.headline, _page_parts(self))
        Path(path).write_text(page, encoding="utf-8")

    def __str__(self) -> str:
        return terminal.print_plainly(self)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        yield from _print_parts(self)

    def _repr_html_(self) -> str:
        return "\n".join(_notebook_parts(self))


def _print_parts(report: Report) -> Iterator[RenderableType]:
    """Yield what a terminal shows, the verdict first.

    State keys stand in `rich.text.Text` objects, which are never read as markup.
    """
    yield from terminal.render_verdict(report.verdict)
    for section in _printed_sections(report):
        if section is not None:
            yield from terminal.render_section(section)
    yield from terminal.render_settings(_settings(report))


def _printed_sections(report: Report) -> Iterator[Section | None]:
    runs = report.runs
    if runs is not None:
        yield kind_section(runs)
        yield repetition_section(runs.repetition, limit=_PLACES_PRINTED)
        yield run_section(runs, limit=_RUNS_PRINTED, narrow=True)
    yield from _loop_sections(report, _LOOPS_PRINTED)
    if runs is not None:
        yield loop_place_section(runs, limit=_LOOPS_PRINTED, narrow=True)
    yield state_section(report.potential, limit=_STATES_PRINTED, width=36)
    yield trap_section(report.traps, limit=_TRAPS_PRINTED)
    if runs is not None:
        yield contrast_section(runs, limit=_CHANGES_PRINTED)
        yield limit_section(runs)
    yield _data(report)


def _notebook_parts(report: Report) -> Iterator[str]:
    """Yield what a notebook shows: the verdict, the landscape, runs, loops and states."""
    yield from html.render_verdict(report.verdict)
    yield render_landscape(report)
    if report.runs is not None:
        yield from _tables(kind_section(report.runs))
    yield from _tables(*_loop_sections(report, 10), state_section(report.potential, limit=15))


def _page_parts(report: Report) -> Iterator[str]:
    runs = report.runs
    yield from html.render_verdict(report.verdict)
    if runs is not None:
        yield from _tables(
            kind_section(runs),
            repetition_section(runs.repetition, limit=_PLACES_SHOWN),
            run_section(runs),
        )
    yield f"<h2>The landscape</h2>\n{render_landscape(report)}"
    yield from _tables(*_loop_sections(report, _LOOPS_SHOWN))
    if runs is not None:
        yield from _tables(loop_place_section(runs, limit=_LOOPS_SHOWN))
    yield "<h2>The evidence, pair by pair and loop by loop</h2>"
    yield f'<div class="side">\n{_draw_pairs(report)}\n{_draw_loops(report)}\n</div>'
    yield from _tables(
        _data(report),
        state_section(report.potential, limit=_STATES_SHOWN),
        trap_section(report.traps, limit=_TRAPS_SHOWN),
    )
    if runs is not None:
        if runs.chosen:
            yield f"<h2>The potential along runs</h2>\n{_draw_runs(runs)}"
        yield from _tables(contrast_section(runs, limit=_CHANGES_SHOWN), limit_section(runs))
    yield from _tables(_settings(report))


def _tables(*sections: Section | None) -> Iterator[str]:
    return (html.render_section(section) for section in sections if section is not None)


def _loop_sections(report: Report, limit: int) -> Iterator[Section]:
    return loop_sections(report.balance, limit=limit)


def _data(report: Report) -> Section:
    return data_section(report.counts, report.potential, report.balance, report.source)


def _settings(report: Report) -> Section:
    return settings_section(
        report.potential, report.balance, report.traps, report.baseline, report.runs
    )


def render_landscape(report: Report) -> str:
    """Return the picture of a landscape with its caption."""
    n = len(report.potential.states)
    return html.render_figure(
        plots.plot_landscape(report),
        f"Levels of {n} states by their potential, arrows for the moves between them. "
        f"{report.verdict.headline}.",
        "Height: the potential V. Agents run downhill, and grey arrows are wider the more often "
        "they were walked. The loop that names a cause of broken balance is coloured, in the "
        "direction in which it is walked more often than detailed balance allows; a trap has a "
        "green border.",
    )


def _draw_pairs(report: Report) -> str:
    return html.render_figure(
        plots.plot_pairs(report),
        f"Log ratios of rates against drops of the potential for {len(report.balance.pairs)} "
        "pairs of states; under detailed balance they lie on the diagonal.",
        "Each point is a pair of states that was walked both ways. The log ratio of its two rates "
        "is the drop of the potential, where detailed balance holds (bars: one standard error).",
    )


def _draw_loops(report: Report) -> str:
    return html.render_figure(
        plots.plot_loops(report),
        f"Sums of log rates of {len(report.balance.loops)} loops, in one direction against the "
        "other; under detailed balance they lie on the diagonal.",
        "Each point is a loop. The product of its rates is the same in both directions, where "
        "detailed balance holds (bars: one standard error).",
    )


def _draw_runs(runs: RunStudy) -> str:
    return html.render_figure(
        plots.plot_runs(runs.chosen),
        f"The potential at each move of {len(runs.chosen)} runs.",
        "Of the runs that matter the worst of each sort, and one of median length that succeeded. "
        "The colour changes where a run begins to repeat itself. A run that gets somewhere goes "
        "down.",
    )
