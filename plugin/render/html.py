"""A document as one self-contained page, or as what a notebook shows."""

from __future__ import annotations

import io
import warnings
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from detailed_balance.render.document import Picture, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from detailed_balance.render.document import Document, Part, Statement, Verdict

__all__ = [
    "render_document",
    "render_notebook",
    "render_page",
    "render_statement",
    "render_verdict",
]

_NOTEBOOK_ROWS = 15

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
{body}
</body>
</html>
"""

_STYLE = """\
:root { --paper: #fff; --ink: #1b1b1b; --faint: #666; --line: #ddd;
  --bad: #b04a00; --good: #00724f; --open: #7a5c00; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .6rem; padding-left: .8rem;
  border-left: .35rem solid currentColor; }
h1.problem, h1.worse, h1.different, .statement.problem b, .statement.worse b { color: var(--bad); }
h1.ok, h1.better, h1.same, .statement.ok b { color: var(--good); }
h1.watch, h1.unknown, .statement.watch b, .statement.unknown b { color: var(--open); }
.statement { margin: .9rem 0; max-width: 52rem; }
.statement b { margin-right: .6rem; }
dl { display: grid; grid-template-columns: 5rem 1fr; gap: .15rem .6rem; margin: .4rem 0 1rem;
  max-width: 52rem; }
dt { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 30rem) { h1 { font-size: 1.25rem; } dl { grid-template-columns: 1fr; }
  dt { margin-top: .4rem; } }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; }
p { margin: .4rem 0; max-width: 46rem; }
p.note, figcaption { color: var(--faint); font-size: .88rem; }
figure { margin: .5rem 0; }
figure img { display: block; width: 100%; height: auto; }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.5rem; }
.pair { max-width: 92rem; }
.pair .side { grid-template-columns: repeat(auto-fit, minmax(min(32rem, 100%), 1fr)); }
.wide { overflow: auto; max-height: 34rem; }
table { border-collapse: collapse; font-size: .92rem; min-width: min(100%, 38rem); }
caption { text-align: left; color: var(--faint); font-size: .88rem; padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .2rem 1.1rem .2rem 0; }
td:first-child, tbody th + td { overflow-wrap: anywhere; min-width: 7rem; }
thead th { color: var(--faint); font-weight: 600; border-bottom: 1px solid var(--line);
  position: sticky; top: 0; background: var(--paper); }
tbody tr + tr > * { border-top: 1px solid var(--line); }
tbody th { font-weight: 600; white-space: nowrap; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
footer { margin-top: 2.5rem; color: var(--faint); font-size: .85rem; }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #101214; --ink: #e8e6e3; --faint: #a09c95; --line: #33373b;
    --bad: #ff9a52; --good: #4fd1a1; --open: #e3bf4f; }
  figure img { filter: invert(0.93) hue-rotate(180deg); }
}
@page { margin: 14mm; }
@media print {
  main { max-width: none; padding: 0; }
  .wide { max-height: none; overflow: visible; }
  figure, tr, .pair .side > div { break-inside: avoid; }
  h2, caption, thead { break-after: avoid; }
}"""


def render_page(title: str, body: Iterable[str], *, wide: bool = False) -> str:
    """Return a whole page: no script, nothing fetched; the title is escaped, the body is not.

    A wide one has room for two pictures side by side.
    """
    footer = f"<footer>detailed-balance {escape(version('detailed-balance'))}</footer>"
    main = '<main class="pair">' if wide else "<main>"
    parts = "\n".join([main, *body, footer, "</main>"])
    return _PAGE.format(title=escape(title), style=_STYLE, body=parts)


def render_document(document: Document) -> str:
    """Return the page of a document."""
    links = document.links
    body = [*render_verdict(document.verdict, links), *_render_parts(document.on("page"), links)]
    if document.settings is not None:
        body.append(_render_section(document.settings, {}))
    return render_page(document.verdict.headline, body, wide=document.wide)


def render_notebook(document: Document) -> str:
    """Return what a notebook shows of a document."""
    links = document.links
    parts = _render_parts(document.on("notebook"), links, limit=_NOTEBOOK_ROWS)
    return "\n".join([*render_verdict(document.verdict, links), *parts])


def render_verdict(verdict: Verdict, links: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield the first screen, and the sentences below it."""
    links = links or {}
    first, *others = verdict.statements
    yield f'<h1 class="{verdict.outcome}">{escape(verdict.headline)}</h1>'
    yield from _render_rows(first, links)
    yield from (render_statement(statement, links) for statement in others)
    for sentence in verdict.sentences:
        yield f"<p>{escape(sentence)}</p>"


def render_statement(statement: Statement, links: Mapping[str, str] | None = None) -> str:
    """Return a statement with the rows under it."""
    word = escape(statement.word)
    head = f"<b>{word}</b> {escape(statement.text)}"
    rows = "\n".join(_render_rows(statement, links or {}))
    return f'<div class="statement {word.lower()}"><p>{head}</p>\n{rows}</div>'


def _render_rows(statement: Statement, links: Mapping[str, str]) -> Iterator[str]:
    if statement.rows:
        rows = "\n".join(
            f"<dt>{escape(label)}</dt><dd>{_link_names(text, each)}</dd>"
            for label, text in statement.rows
            for each in [links if label == "runs" else {}]
        )
        yield f"<dl>\n{rows}\n</dl>"


def _link_names(text: str, links: Mapping[str, str]) -> str:
    """Escape a list of runs, with the links of those that have one."""
    names, semicolon, rest = text.partition("; ")
    names, more, number = names.partition(" and ")
    linked = ", ".join(_link(name, links) for name in names.split(", "))
    return linked + escape(f"{more}{number}{semicolon}{rest}")


def _link(name: str, links: Mapping[str, str]) -> str:
    url = links.get(name)
    if url is None:
        return escape(name)
    return f'<a href="{escape(url)}" rel="noreferrer">{escape(name)}</a>'


def _render_parts(
    parts: Iterable[Part], links: Mapping[str, str], limit: int | None = None
) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Section):
            yield _render_section(part.shorten(limit), links)
        elif isinstance(part, Picture):
            yield (f"<h2>{escape(part.title)}</h2>\n" if part.title else "") + _render_picture(part)
        else:
            pictures = "\n".join(map(_render_beside, part.pictures))
            yield f'<h2>{escape(part.title)}</h2>\n<div class="side">\n{pictures}\n</div>'


def _render_beside(picture: Picture) -> str:
    title = f"<p>{escape(picture.title)}</p>\n" if picture.title else ""
    return f"<div>\n{title}{_render_picture(picture)}\n</div>"


def _render_section(section: Section, links: Mapping[str, str]) -> str:
    """Return a table under its title."""
    words = [place == 0 or name in section.words for place, name in enumerate(section.columns)]
    classes = ["" if word else ' class="number"' for word in words]
    head = ""
    if any(section.columns):
        cells = zip(section.columns, classes, strict=True)
        row = "".join(f'<th scope="col"{c}>{escape(name)}</th>' for name, c in cells)
        head = f"<thead><tr>{row}</tr></thead>\n"
    linked = [links if name == "run" else {} for name in section.columns]
    rows = "\n".join(_row(row, classes, linked, named=not head) for row in section.rows)
    return (
        f'<h2>{escape(section.title)}</h2>\n<div class="wide" tabindex="0">\n<table>\n'
        f"<caption>{escape(section.note)}</caption>\n"
        f"{head}<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def _row(
    row: Sequence[str],
    classes: Sequence[str],
    links: Sequence[Mapping[str, str]],
    *,
    named: bool,
) -> str:
    cells = [
        f"<td{c}>{_link(cell, each)}</td>"
        for cell, c, each in zip(row, classes, links, strict=True)
    ]
    if named:
        cells[0] = f'<th scope="row">{escape(row[0])}</th>'
    return f"<tr>{''.join(cells)}</tr>"


def _render_picture(picture: Picture) -> str:
    """Embed a picture as an image, in which nothing can run, whatever the labels hold."""
    data = b64encode(_svg(picture.draw())).decode("ascii")
    return (
        f'<figure><img alt="{escape(picture.alt)}" src="data:image/svg+xml;base64,{data}">\n'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def _svg(figure: Figure) -> bytes:
    """Draw with text as text: small, and the browser finds glyphs for every script."""
    import matplotlib  # where there is a figure, it is loaded

    file = io.BytesIO()
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "detailed-balance"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
