"""The picture of a landscape, with its caption, for a report and for a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detailed_balance import plots
from detailed_balance.render.document import Picture

if TYPE_CHECKING:
    from detailed_balance.report.report import Report

__all__ = ["landscape_picture"]


def landscape_picture(report: Report, title: str = "The landscape") -> Picture:
    """Return the picture of a landscape, of a report with a potential."""
    n = 0 if report.potential is None else len(report.potential.states)
    return Picture(
        lambda: plots.plot_landscape(report),
        f"Levels of {n} states by their potential, arrows for the moves between them. "
        f"{report.verdict.headline}.",
        "Height: the potential V. Agents run downhill, and grey arrows are wider the more often "
        "they were walked. The loop that names a cause of broken balance is coloured, in the "
        "direction in which it is walked more often than detailed balance allows; a trap has a "
        "green border.",
        title,
    )
