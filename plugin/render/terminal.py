"""Verdicts and tables as text for a terminal, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType

    from detailed_balance.render.document import Section, Verdict

__all__ = ["print_plainly", "render_section", "render_settings", "render_verdict"]

_WIDTH = 80
_INDENT = (0, 0, 0, 2)
_STYLE = {
    **dict.fromkeys(("problem", "different"), "bold red"),
    **dict.fromkeys(("ok", "same"), "bold green"),
    **dict.fromkeys(("watch", "unknown"), "bold yellow"),
}


def print_plainly(result: RenderableType) -> str:
    """Return what a result prints, 80 columns wide and without colours."""
    console = Console(file=StringIO(), width=_WIDTH, color_system=None, force_jupyter=False)
    with console.capture() as captured:
        console.print(result)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


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


def render_settings(section: Section) -> Iterator[RenderableType]:
    """Yield the settings of a result, run together into one paragraph."""
    settings = "; ".join(f"{name}: {value}" for name, value in section.rows)
    yield Text()
    yield Text(f"How it was computed. {settings}", style="dim")
