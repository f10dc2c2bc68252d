"""A report as one self-contained page: no script, nothing fetched, readable in print."""

from __future__ import annotations

import io
import warnings
from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import matplotlib

from detailed_balance.plots import plot_landscape, plot_loops, plot_pairs
from detailed_balance.sections import (
    Section,
    data_section,
    loop_sections,
    settings_section,
    state_section,
    trap_section,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from detailed_balance.report import Report

__all__ = ["render_fragment", "render_page"]

LOOPS_SHOWN = 50
STATES_SHOWN = 200
TRAPS_SHOWN = 50

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

_STYLE = """\
:root { --paper: #fff; --ink: #1b1b1b; --faint: #666; --line: #ddd;
  --finding: #b04a00; --clear: #00724f; --unknown: #7a5c00; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .6rem; padding-left: .8rem;
  border-left: .35rem solid currentColor; }
h1.finding { color: var(--finding); }
h1.clear { color: var(--clear); }
h1.unknown { color: var(--unknown); }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; }
p { margin: .4rem 0; max-width: 46rem; }
p.note, figcaption { color: var(--faint); font-size: .88rem; }
figure { margin: .5rem 0; }
figure img { display: block; width: 100%; height: auto; }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.5rem; }
.wide { overflow: auto; max-height: 34rem; }
table { border-collapse: collapse; font-size: .92rem; }
caption { text-align: left; color: var(--faint); font-size: .88rem; padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .2rem 1.1rem .2rem 0; }
td:first-child, tbody th + td { overflow-wrap: anywhere; }
thead th { color: var(--faint); font-weight: 600; border-bottom: 1px solid var(--line);
  position: sticky; top: 0; background: var(--paper); }
tbody tr + tr > * { border-top: 1px solid var(--line); }
tbody th { font-weight: 600; white-space: nowrap; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
footer { margin-top: 2.5rem; color: var(--faint); font-size: .85rem; }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #101214; --ink: #e8e6e3; --faint: #a09c95; --line: #33373b;
    --finding: #ff9a52; --clear: #4fd1a1; --unknown: #e3bf4f; }
  figure img { filter: invert(0.93) hue-rotate(180deg); }
}
@media print {
  main { max-width: none; padding: 0; }
  .wide { max-height: none; overflow: visible; }
  figure, tr { break-inside: avoid; }
  h2, caption, thead { break-after: avoid; }
}"""


def render_page(report: Report) -> str:
    """Return a whole page; every text in it is escaped."""
    title = escape(report.verdict.headline)
    return _PAGE.format(title=title, style=_STYLE, body="\n".join(_page_parts(report)))


def render_fragment(report: Report) -> str:
    """Return what a notebook shows of a report: the verdict, the landscape, loops and states."""
    loops = loop_sections(report.balance, compared=report.baseline is not None, limit=10)
    sections = (*loops, state_section(report.potential, limit=15))
    return "\n".join([*_verdict(report), _landscape(report), *map(_section, sections)])


def _page_parts(report: Report) -> Iterator[str]:
    yield from _verdict(report)
    yield f"<h2>The landscape</h2>\n{_landscape(report)}"
    compared = report.baseline is not None
    yield from map(_section, loop_sections(report.balance, compared=compared, limit=LOOPS_SHOWN))
    yield "<h2>The evidence, pair by pair and loop by loop</h2>"
    yield f'<div class="side">\n{_pairs(report)}\n{_loops(report)}\n</div>'
    yield _section(state_section(report.potential, limit=STATES_SHOWN))
    if traps := trap_section(report.traps, limit=TRAPS_SHOWN):
        yield _section(traps)
    yield _section(data_section(report))
    yield _section(settings_section(report))
    yield f"<footer>detailed-balance {escape(version('detailed-balance'))}</footer>"


def _verdict(report: Report) -> Iterator[str]:
    verdict = report.verdict
    yield f'<h1 class="{verdict.outcome}">{escape(verdict.headline)}</h1>'
    for sentence in verdict.sentences:
        yield f"<p>{escape(sentence)}</p>"


def _section(section: Section) -> str:
    words = [place == 0 or name in section.words for place, name in enumerate(section.columns)]
    classes = ["" if word else ' class="number"' for word in words]
    head = ""
    if any(section.columns):
        cells = zip(section.columns, classes, strict=True)
        row = "".join(f'<th scope="col"{c}>{escape(name)}</th>' for name, c in cells)
        head = f"<thead><tr>{row}</tr></thead>\n"
    rows = "\n".join(_row(row, classes, named=not head) for row in section.rows)
    return (
        f'<h2>{escape(section.title)}</h2>\n<div class="wide" tabindex="0">\n<table>\n'
        f"<caption>{escape(section.note)}</caption>\n"
        f"{head}<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def _row(row: Sequence[str], classes: Sequence[str], *, named: bool) -> str:
    cells = [f"<td{c}>{escape(cell)}</td>" for cell, c in zip(row, classes, strict=True)]
    if named:
        cells[0] = f'<th scope="row">{escape(row[0])}</th>'
    return f"<tr>{''.join(cells)}</tr>"


def _landscape(report: Report) -> str:
    n = len(report.potential.states)
    return _figure(
        plot_landscape(report),
        f"Levels of {n} states by their potential, arrows for the moves between them. "
        f"{report.verdict.headline}.",
        "Height: the potential V. Agents run downhill, and grey arrows are wider the more often "
        "they were walked. A driven loop is coloured, in the direction in which it is walked more "
        "often than detailed balance allows; a trap has a green border.",
    )


def _pairs(report: Report) -> str:
    return _figure(
        plot_pairs(report),
        f"Log ratios of rates against drops of the potential for {len(report.balance.pairs)} "
        "pairs of states; under detailed balance they lie on the diagonal.",
        "Each point is a pair of states that was walked both ways. The log ratio of its two rates "
        "is the drop of the potential, where detailed balance holds (bars: one standard error).",
    )


def _loops(report: Report) -> str:
    return _figure(
        plot_loops(report),
        f"Sums of log rates of {len(report.balance.loops)} loops, one way round against the "
        "other; under detailed balance they lie on the diagonal.",
        "Each point is a loop. Its rates multiplied up are the same both ways round, where "
        "detailed balance holds (bars: one standard error).",
    )


def _figure(figure: Figure, alt: str, caption: str) -> str:
    """Embed a figure as an image, in which nothing can run, whatever the labels hold."""
    data = b64encode(_svg(figure)).decode("ascii")
    return (
        f'<figure><img alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}">\n'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _svg(figure: Figure) -> bytes:
    """Draw with text as text: small, and the browser finds glyphs for every script."""
    file = io.BytesIO()
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "detailed-balance"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
