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

from detailed_balance.monitor import Event, Finding, Status
from detailed_balance.render.formatting import count_noun, show_context

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLES = {"alarm": "bold red", "warning": "yellow", "info": "cyan"}
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40
_OPEN_SHOWN, _RESOLVED_SHOWN = 8, 3
_STALE = 10.0


def render_status(status: Status) -> RenderableType:
    """Return the screen of a status."""
    parts: list[RenderableType] = [_headline(status), _numbers(status), Text(), _evidence(status)]
    found = status.open_findings
    over = [finding for finding in status.findings if not finding.is_open]
    over.sort(key=lambda finding: -(finding.resolved or 0.0))
    if found:
        parts += [Text(), _list_findings(found[:_OPEN_SHOWN])]
        if len(found) > _OPEN_SHOWN:
            more = count_noun(len(found) - _OPEN_SHOWN, "more open finding")
            parts.append(Text(f"  and {more}", style="dim"))
    if over:
        parts += [Text(), _list_findings(over[:_RESOLVED_SHOWN])]
    for analysis in status.analyses:
        if analysis.error:
            parts.append(
                Text(f"the analyzer {analysis.name} failed: {analysis.error}", style="red")
            )
    parts += [Text(), Text("Ctrl-C ends", style="dim")]
    return Padding(Group(*parts), (0, 1))


def describe_status(status: Status) -> str:
    """Return a status in one line."""
    found = count_noun(len(status.open_findings), "open finding")
    return (
        f"{count_noun(status.transitions, 'transition')}, {count_noun(status.states, 'state')}, "
        f"{count_noun(status.trajectories, 'run')}; log E = {status.log_e_value:.1f} (alarm at "
        f"{-log(status.alpha):.1f}); {found}"
    )


def describe_event(event: Event) -> str:
    """Return an event in one line.

    Examples
    --------
    >>> finding = Finding("1f", "trap", "open", "warning", "a <-> b", ("a", "b"), 0.0, 0.0)
    >>> print(describe_event(Event("raised", finding, 0.0))[21:])
    raised    warning trap: a <-> b
    """
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    finding = event.finding
    return f"{moment}  {event.what:<9} {finding.severity} {finding.kind}: {finding.sentence}"


def _headline(status: Status) -> Text:
    text = Text(overflow="ellipsis", no_wrap=True)
    worst = {finding.severity for finding in status.open_findings}
    for severity, word in (("alarm", "ALARM"), ("warning", "warning"), ("info", "as expected")):
        if severity in worst:
            text.append(word, style=_STYLES[severity])
            break
    else:
        text.append("quiet", style="bold green")
    text.append(f"  {status.source}", style="bold")
    if status.context:
        text.append(f"  {show_context(status.context)}", style="dim")
    return text


def _numbers(status: Status) -> Text:
    age = max(0.0, time.time() - status.updated)
    read = f"read {age:.0f} s ago" if age < _STALE else f"NOT READ FOR {age:.0f} s"
    parts = [
        count_noun(status.transitions, "transition"),
        count_noun(status.states, "state"),
        count_noun(status.trajectories, "run"),
        *([count_noun(status.escapes, "escape")] if status.escapes else []),
        *([f"{status.lost:,} lost"] if status.lost else []),
        read,
    ]
    return Text("  ".join(parts), style="dim")


def _evidence(status: Status) -> Text:
    line = -log(status.alpha)
    text = Text("evidence  ", style="dim")
    style = _STYLES["alarm"] if status.log_e_value >= line else "green"
    text.append(_draw([e for _, _, e in status.evidence], line), style=style)
    text.append(f"  log E = {status.log_e_value:.1f}", style=style)
    text.append(f", alarm at {line:.1f}", style="dim")
    return text


def _draw(values: Sequence[float], line: float) -> str:
    """Return a curve of the last values; its full height is the alarm line, or above it the top."""
    step = max(1, -(-len(values) // _WIDTH))
    shown = [max(values[i : i + step]) for i in range(0, len(values), step)]
    top = max([line, *shown])
    places = [min(len(_BARS) - 1, max(0, int(value / top * len(_BARS)))) for value in shown]
    return "".join(_BARS[place] for place in places)


def _list_findings(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    for justify in ("left", "left", "right", "left"):
        table.add_column(justify=justify, no_wrap=justify == "right", vertical="top")
    for row in map(_row, findings):
        table.add_row(*row)
    return table


def _row(finding: Finding) -> Iterator[Text]:
    style = _STYLES[finding.severity] if finding.is_open else "dim"
    moment = finding.raised if finding.resolved is None else finding.resolved
    yield Text(finding.severity if finding.is_open else "resolved", style=style)
    yield Text(finding.kind, style=style)
    yield Text(time.strftime("%H:%M:%S", time.localtime(moment)), style="dim")
    yield Text(finding.sentence, style="" if finding.is_open else "dim")
