"""A document as text for a terminal, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from detailed_balance.render.document import STATEMENT_INDENT, Section

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType

    from detailed_balance.render.document import Document, Statement, Verdict

__all__ = ["print_plainly", "render_document", "render_statement", "render_verdict"]

_WIDTH = 80
_INDENT = (0, 0, 0, 2)
_STYLE = {
    **dict.fromkeys(("problem", "worse", "different"), "bold red"),
    **dict.fromkeys(("ok", "better", "same"), "bold green"),
    **dict.fromkeys(("watch", "unknown"), "bold yellow"),
}


def print_plainly(result: RenderableType) -> str:
    """Return what a result prints, 80 columns wide and without colours."""
    console = Console(file=StringIO(), width=_WIDTH, color_system=None, force_jupyter=False)
    with console.capture() as captured:
        console.print(result)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def render_document(document: Document) -> Iterator[RenderableType]:
    """Yield what a terminal shows of a document, its first screen first.

    State keys stand in `rich.text.Text` objects, which are never read as markup.
    """
    yield from render_verdict(document.verdict)
    for part in document.on("terminal"):
        if isinstance(part, Section):
            yield from _render_section(part.shorten(part.printed, narrow=True))
    if document.settings is not None:
        yield from _render_settings(document.settings)


def render_verdict(verdict: Verdict) -> Iterator[RenderableType]:
    """Yield the first screen, and the sentences below it."""
    for statement in verdict.statements:
        yield from render_statement(statement)
    if verdict.sentences:
        yield Text()
    for sentence in verdict.sentences:
        yield Padding(Text(sentence), _INDENT)


def render_statement(statement: Statement) -> Iterator[RenderableType]:
    """Yield a statement: its word in colour, its text, and the rows under it.

    Long texts go on under their first column.
    """
    style = _STYLE.get(statement.word.lower(), "bold")
    yield _columns(Text(statement.word, style=style), Text(statement.text, style="bold"), 0)
    for label, text in statement.rows:
        yield _columns(Text(label, style="dim"), Text(text), 2)


def _columns(label: Text, text: Text, indent: int) -> Table:
    table = Table.grid(padding=0)
    table.add_column(width=STATEMENT_INDENT + indent, no_wrap=True)
    table.add_column(overflow="fold")
    label.pad_left(indent)
    table.add_row(label, text)
    return table


def _render_section(section: Section) -> Iterator[RenderableType]:
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


def _render_settings(section: Section) -> Iterator[RenderableType]:
    """Yield the settings of a result, run together into one paragraph."""
    settings = "; ".join(f"{name}: {value}" for name, value in section.rows)
    yield Text()
    yield Text(f"How it was computed. {settings}", style="dim")
