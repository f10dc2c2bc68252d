"""A report as text for a terminal, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from detailed_balance.report.run_sections import (
    contrast_section,
    kind_section,
    limit_section,
    loop_place_section,
    run_section,
)
from detailed_balance.report.sections import (
    Section,
    data_section,
    loop_sections,
    settings_section,
    state_section,
    trap_section,
)

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType

    from detailed_balance.report.report import Report
    from detailed_balance.report._verdict import Verdict

__all__ = ["print_plainly", "render_report", "render_section", "render_verdict"]

LOOPS_SHOWN = 10
STATES_SHOWN = 15
TRAPS_SHOWN = 10
RUNS_SHOWN = 8
CHANGES_SHOWN = 8

_WIDTH = 80
_INDENT = (0, 0, 0, 2)
_STYLE = {"finding": "bold red", "clear": "bold green", "unknown": "bold yellow"}


def print_plainly(result: RenderableType) -> str:
    """Return what a result prints, 80 columns wide and without colours."""
    console = Console(file=StringIO(), width=_WIDTH, color_system=None, force_jupyter=False)
    with console.capture() as captured:
        console.print(result)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def render_report(report: Report) -> Iterator[RenderableType]:
    """Yield the parts of a report, the verdict first.

    State keys stand in `rich.text.Text` objects, which are never read as markup.
    """
    yield from render_verdict(report.verdict)
    if (runs := report.runs) is not None:
        yield from render_section(kind_section(runs))
        if matter := run_section(runs, limit=RUNS_SHOWN, narrow=True):
            yield from render_section(matter)
    compared = report.baseline is not None
    for section in loop_sections(report.balance, compared=compared, limit=LOOPS_SHOWN):
        yield from render_section(section)
    if runs is not None and (places := loop_place_section(runs, limit=LOOPS_SHOWN, narrow=True)):
        yield from render_section(places)
    yield from render_section(state_section(report.potential, limit=STATES_SHOWN, width=36))
    if traps := trap_section(report.traps, limit=TRAPS_SHOWN):
        yield from render_section(traps)
    if runs is not None:
        if contrast := contrast_section(runs, limit=CHANGES_SHOWN):
            yield from render_section(contrast)
        if limit := limit_section(runs):
            yield from render_section(limit)
    yield from render_section(data_section(report))
    settings = "; ".join(f"{name}: {value}" for name, value in settings_section(report).rows)
    yield Text()
    yield Text(f"How it was computed. {settings}", style="dim")


def render_verdict(verdict: Verdict) -> Iterator[RenderableType]:
    """Yield the verdict: its headline and its sentences."""
    yield Text(verdict.headline, style=_STYLE[verdict.outcome])
    for sentence in verdict.sentences:
        yield Padding(Text(sentence), _INDENT)


def render_section(section: Section) -> Iterator[RenderableType]:
    """Yield a table under its title."""
    headed = any(section.columns)
    table = Table(
        box=box.SIMPLE_HEAD if headed else None,
        show_header=headed,
        show_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
    for place, name in enumerate(section.columns):
        words = place == 0 or name in section.words
        justify: JustifyMethod = "left" if words else "right"
        table.add_column(Text(name), justify=justify, overflow="fold", no_wrap=not words)
    for row in section.rows:
        table.add_row(*map(Text, row))
    yield Text()
    yield Text(section.title, style="bold")
    yield Padding(table, _INDENT)
    if headed and section.note:
        yield Padding(Text(section.note, style="dim"), _INDENT)
