"""What the paper's figures share: frames, styles that differ in more than colour, clouds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from detailed_balance.plots.style import DRIVEN, FAINT, INK, PAPER, PLAIN, TRAPPED, put_text
from detailed_balance.render.formatting import count_noun, safe_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = [
    "CLOUD",
    "STYLES",
    "Style",
    "draw_cloud",
    "draw_diagonal",
    "draw_points",
    "make_frame",
    "make_panels",
    "name_series",
    "put_corner",
    "put_legend",
    "say_nothing",
    "style_of",
]

CLOUD = 2_000
"""Of more points the density is drawn."""

SQUARE, WIDE = (5.2, 4.9), (7.6, 3.9)
_MARGINS = {"left": 0.11, "right": 0.97, "bottom": 0.18, "top": 0.86, "wspace": 0.3}
_CELLS = 60


@dataclass(frozen=True, slots=True)
class Style:
    """How one series is drawn: distinguished by colour, and without it."""

    colour: str
    marker: str
    line: str
    hatch: str


STYLES = (
    Style(PLAIN, "o", "-", ""),
    Style(DRIVEN, "s", "-.", "///"),
    Style(TRAPPED, "^", ":", "..."),
    Style("#E6A9C9", "D", "--", "xxx"),
)
"""One after another for the series of a figure; also apart for colour-blind eyes."""


def style_of(place: int) -> Style:
    """Return the style of series number `place`; after the last they begin again."""
    return STYLES[place % len(STYLES)]


def make_frame(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """Return a figure with one panel."""
    figure = Figure(figsize=SQUARE)
    ax = figure.add_axes((0.13, 0.17, 0.84, 0.71))
    ax.set(xlabel=xlabel, ylabel=ylabel)
    return figure, ax


def make_panels(*labels: tuple[str, str]) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel beside the other for each (xlabel, ylabel)."""
    figure = Figure(figsize=WIDE)
    axes = figure.subplots(1, len(labels), gridspec_kw=_MARGINS, squeeze=False)[0]
    for ax, (xlabel, ylabel) in zip(axes, labels, strict=True):
        ax.set(xlabel=xlabel, ylabel=ylabel)
    return figure, list(axes)


def say_nothing(figure: Figure, why: str) -> Figure:
    """Leave the panels empty and say why."""
    for ax in figure.axes:
        ax.set(xticks=[], yticks=[])
    first = figure.axes[0]
    centre: dict[str, Any] = {"transform": figure.transFigure, "ha": "center", "color": INK}
    put_text(first, 0.5, 0.5, why, backgroundcolor=PAPER, **centre)
    return figure


def put_legend(ax: Axes, columns: int = 3) -> None:
    """Put the legend under a panel."""
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=columns, columnspacing=1.2)


def put_corner(ax: Axes, lines: list[str], *, right: bool = False, low: bool = False) -> None:
    """Write numbers into a corner of a panel, over what is drawn there."""
    place = (0.97 if right else 0.03, 0.03 if low else 0.97)
    halo: dict[str, Any] = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
    side: dict[str, Any] = {"ha": "right" if right else "left", "va": "bottom" if low else "top"}
    options: dict[str, Any] = {"transform": ax.transAxes, "zorder": 6, "fontsize": 7, **side}
    put_text(ax, *place, "\n".join(lines), bbox=halo, **options)


def name_series(name: object) -> str:
    """Return the name of a series, safe and short; legends drop what begins with a line."""
    text = safe_text(str(name), 40)
    return f" {text}" if text.startswith("_") else text


def draw_diagonal(ax: Axes, inside: float, label: str = "detailed balance") -> None:
    """Draw the line y = x, through a place where the data is."""
    ax.axline((inside, inside), slope=1, color=DRIVEN, lw=1.2, ls="--", zorder=1, label=label)


def draw_points(
    ax: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    errors: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None] = (None, None),
    *,
    style: Style,
    label: str,
    **options: Any,
) -> None:
    """Draw points with their (x, y) errors."""
    if not len(x):
        return
    chosen: dict[str, Any] = {
        "color": style.colour,
        "ecolor": (FAINT, 0.5),
        "markersize": 4,
    }
    chosen |= {"markeredgewidth": 0, "elinewidth": 0.8, **options}
    ax.errorbar(x, y, yerr=errors[1], xerr=errors[0], fmt=style.marker, label=label, **chosen)


def draw_cloud(
    ax: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    errors: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None] = (None, None),
    *,
    noun: str,
    style: Style = STYLES[0],
    label: str | None = None,
) -> str:
    """Draw up to 2,000 points with their errors, or the density of more; return what was done.

    The sentence is for the line of detail: "12 pairs", or "100,000 pairs, as a density".
    """
    said = count_noun(len(x), noun)
    if len(x) <= CLOUD:
        draw_points(ax, x, y, errors, style=style, label=label or f"{noun}s")
        return said
    cells = ax.hexbin(x, y, gridsize=_CELLS, bins="log", mincnt=1, cmap="Blues", linewidths=0)
    cells.set_zorder(0)
    bar = ax.figure.colorbar(cells, ax=ax, shrink=0.6, pad=0.02, aspect=30)
    bar.set_label(f"{noun}s in a cell")
    return f"{said}, as a density"
