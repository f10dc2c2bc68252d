"""A comparison as one self-contained page, with both landscapes side by side."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from detailed_balance.comparison._sections import (
    change_sections,
    forecast_section,
    loop_section,
    question_section,
    settings_section,
    side_section,
    trap_section,
)
from detailed_balance.render.html import render_document, render_section, render_verdict
from detailed_balance.report.document import render_landscape

if TYPE_CHECKING:
    from detailed_balance.comparison.comparison import Comparison

__all__ = ["render_comparison", "render_fragment"]

SHOWN = 40


def render_comparison(comparison: Comparison) -> str:
    """Return a whole page; every text in it is escaped."""
    return render_document(comparison._verdict.headline, _parts(comparison), wide=True)


def render_fragment(comparison: Comparison) -> str:
    """Return what a notebook shows of a comparison: the verdict, the questions, the landscapes."""
    return "\n".join([*_head(comparison), *_landscapes(comparison)])


def _head(comparison: Comparison) -> Iterator[str]:
    yield from render_verdict(comparison._verdict)
    yield render_section(side_section(comparison))
    yield render_section(question_section(comparison))


def _parts(comparison: Comparison) -> Iterator[str]:
    yield from _head(comparison)
    yield from _landscapes(comparison)
    yield from map(render_section, change_sections(comparison, limit=SHOWN))
    for found in (
        loop_section(comparison, limit=SHOWN),
        trap_section(comparison, limit=SHOWN),
        forecast_section(comparison),
    ):
        if found is not None:
            yield render_section(found)
    yield render_section(settings_section(comparison))


def _landscapes(comparison: Comparison) -> Iterator[str]:
    yield '<h2>Both landscapes</h2>\n<div class="side">'
    for side in (comparison.a, comparison.b):
        label = f"{side.name}: {side.label}"
        yield f"<div>\n<p>{escape(label)}</p>\n{render_landscape(side.report)}\n</div>"
    yield "</div>"
