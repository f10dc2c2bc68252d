"""A report as text for a terminal, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from detailed_balance.sections import (
    Section,
    data_section,
    loop_sections,
    settings_section,
    state_section,
    trap_section,
)

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType

    from detailed_balance.report import Report

__all__ = ["render_report"]

LOOPS_SHOWN = 10
STATES_SHOWN = 15
TRAPS_SHOWN = 10

_INDENT = (0, 0, 0, 2)
_STYLE = {"finding": "bold red", "clear": "bold green", "unknown": "bold yellow"}


def render_report(report: Report) -> Iterator[RenderableType]:
    """Yield the parts of a report, the verdict first.

    State keys stand in `rich.text.Text` objects, which are never read as markup.
    """
    verdict = report.verdict
    yield Text(verdict.headline, style=_STYLE[verdict.outcome])
    for sentence in verdict.sentences:
        yield Padding(Text(sentence), _INDENT)
    compared = report.baseline is not None
    for section in loop_sections(report.balance, compared=compared, limit=LOOPS_SHOWN):
        yield from _render_section(section)
    yield from _render_section(state_section(report.potential, limit=STATES_SHOWN, width=36))
    if traps := trap_section(report.traps, limit=TRAPS_SHOWN):
        yield from _render_section(traps)
    yield from _render_section(data_section(report))
    settings = "; ".join(f"{name}: {value}" for name, value in settings_section(report).rows)
    yield Text()
    yield Text(f"How it was computed. {settings}", style="dim")


def _render_section(section: Section) -> Iterator[RenderableType]:
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
