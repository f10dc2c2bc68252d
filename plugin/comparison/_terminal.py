"""A comparison as text for a terminal, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from detailed_balance.comparison._sections import (
    change_sections,
    forecast_section,
    loop_section,
    question_section,
    settings_section,
    side_section,
    trap_section,
)
from detailed_balance.render.terminal import render_section, render_verdict

if TYPE_CHECKING:
    from rich.console import RenderableType

    from detailed_balance.comparison.comparison import Comparison

__all__ = ["render_text"]

SHOWN = 8


def render_text(comparison: Comparison) -> Iterator[RenderableType]:
    """Yield the parts of a comparison, the verdict first."""
    yield from render_verdict(comparison._verdict)
    yield from render_section(side_section(comparison))
    yield from render_section(question_section(comparison))
    changed = {test.question for test in comparison.differences.questions if test.changed}
    tests = comparison.differences.questions
    for test, section in zip(tests, change_sections(comparison, limit=SHOWN), strict=True):
        if test.question in changed or test.question in ("success", "length"):
            yield from render_section(section)
    for found in (
        loop_section(comparison, limit=SHOWN),
        trap_section(comparison, limit=SHOWN),
        forecast_section(comparison),
    ):
        if found is not None:
            yield from render_section(found)
    settings = "; ".join(f"{name}: {value}" for name, value in settings_section(comparison).rows)
    yield Text()
    yield Text(f"How it was computed. {settings}", style="dim")
