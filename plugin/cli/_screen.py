"""What `detailed-balance watch` shows: one calm screen, or plain lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from math import log
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from detailed_balance.monitor import Alert, Event, Status
from detailed_balance.render.document import STATEMENT_INDENT
from detailed_balance.render.formatting import count_noun, show_context

if TYPE_CHECKING:
    from rich.console import RenderableType

    from detailed_balance.render.document import Statement

_STYLES = {
    "problem": "bold red",
    "watch": "yellow",
    "ok": "bold green",
    "unknown": "bold",
    "loss": "bold red",
}
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40
_RESOLVED_SHOWN = 3
_STALE = 10.0


def render_status(status: Status) -> RenderableType:
    """Return the screen of a status: what is wrong, the numbers, and the evidence."""
    parts: list[RenderableType] = [_describe_source(status)]
    for statement in status.verdict.statements:
        parts += _render_statement(statement)
    parts += [Text(sentence, style="dim") for sentence in status.verdict.sentences]
    parts += [Text(), _numbers(status), _evidence(status)]
    over = [alert for alert in status.alerts if not alert.is_open]
    if over:
        parts += [Text(), _list_resolved(over[:_RESOLVED_SHOWN])]
    for analysis in status.analyses:
        if analysis.error:
            parts.append(
                Text(f"the analyzer {analysis.name} failed: {analysis.error}", style="red")
            )
    parts += [Text(), Text("Ctrl-C ends", style="dim")]
    return Padding(Group(*parts), (0, 1))


def describe_status(status: Status) -> str:
    """Return the numbers of a status in one line."""
    return "; ".join(
        (
            ", ".join(_count_runs(status)),
            f"{count_noun(status.transitions, 'transition')}, {count_noun(status.states, 'state')}",
            f"evidence against balance: log e-value {status.log_e_value:.1f} (alarm at "
            f"{-log(status.alpha):.1f})",
            *_unseen(status),
        )
    )


def describe_event(event: Event) -> str:
    """Return an event in one line.

    Examples
    --------
    >>> from detailed_balance import Finding
    >>> finding = Finding("trap", "watch", "3 of 9 runs stay in a", ("a",), ("t1", "t7"))
    >>> alert = Alert(finding.id, finding, "open", 0.0, 0.0)
    >>> print(describe_event(Event("raised", alert, 0.0)))
    1970-01-01 00:00:00 UTC  raised    watch trap: 3 of 9 runs stay in a; runs t1, t7
    """
    moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(event.time))
    about = f"{event.finding.severity} {event.finding.kind}"
    return f"{moment}  {event.what:<9} {about}: {event.describe()}"


def _describe_source(status: Status) -> Text:
    text = Text(status.source, style="bold", overflow="ellipsis", no_wrap=True)
    if status.context:
        text.append(f"  {show_context(status.context)}", style="dim not bold")
    return text


def _render_statement(statement: Statement) -> Iterator[RenderableType]:
    word = statement.word.lower()
    rows = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    rows.add_column(width=STATEMENT_INDENT - 1, no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row(Text(statement.word, style=_STYLES.get(word, "bold")), Text(statement.text))
    for label, text in statement.rows:
        rows.add_row(Text(f"  {label}", style="dim"), Text(f"  {text}"))
    yield rows


def _count_runs(status: Status) -> Iterator[str]:
    yield count_noun(status.runs, "run")
    yield f"{status.failed:,} failed"
    yield f"{status.limited:,} at the limit"
    yield f"{status.repeating:,} repeating"


def _unseen(status: Status) -> Iterator[str]:
    if status.unseen:
        yield f"no state {', '.join(status.unseen)} to hide so far"


def _numbers(status: Status) -> Text:
    age = max(0.0, time.time() - status.updated)
    read = f"read {age:.0f} s ago" if age < _STALE else f"NOT READ FOR {age:.0f} s"
    parts = [
        *_count_runs(status),
        count_noun(status.transitions, "transition"),
        count_noun(status.states, "state"),
        *([count_noun(status.escapes, "escape")] if status.escapes else []),
        *([f"{status.lost:,} lost"] if status.lost else []),
        *_unseen(status),
        read,
    ]
    return Text("  ".join(parts), style="dim")


def _evidence(status: Status) -> Text:
    line = -log(status.alpha)
    text = Text("evidence against balance  ", style="dim")
    style = "bold red" if status.log_e_value >= line else "green"
    text.append(_draw([e for _, _, e in status.evidence], line), style=style)
    text.append(f"  log e-value {status.log_e_value:.1f}", style=style)
    text.append(f", alarm at {line:.1f}", style="dim")
    return text


def _draw(values: Sequence[float], line: float) -> str:
    """Return a curve of the last values; its full height is the alarm line, or above it the top."""
    step = max(1, -(-len(values) // _WIDTH))
    shown = [max(values[i : i + step]) for i in range(0, len(values), step)]
    top = max([line, *shown])
    places = [min(len(_BARS) - 1, max(0, int(value / top * len(_BARS)))) for value in shown]
    return "".join(_BARS[place] for place in places)


def _list_resolved(alerts: Sequence[Alert]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    for justify in ("left", "left", "right", "left"):
        table.add_column(justify=justify, no_wrap=justify == "right", vertical="top")
    for alert in alerts:
        moment = time.strftime("%H:%M:%S UTC", time.gmtime(alert.resolved))
        row = ("resolved", alert.finding.kind, moment, alert.end)
        table.add_row(*(Text(cell, style="dim") for cell in row))
    return table
