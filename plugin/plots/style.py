"""What the pictures share: colours, fonts, and text that is never read as mathematics."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, cast

import matplotlib.style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

__all__ = [
    "DRIVEN",
    "FAINT",
    "INK",
    "LOOP_COLOURS",
    "PAPER",
    "PLAIN",
    "TRAPPED",
    "figure_of",
    "in_house_style",
    "put_note",
    "put_text",
    "put_title",
]

# Okabe and Ito's colours, which colour-blind readers can distinguish.
PLAIN = "#0072B2"
"""The colour of what is not significant."""

DRIVEN = "#D55E00"
"""The colour of driven loops and runs."""

TRAPPED = "#009E73"
"""The colour of traps."""

LOOP_COLOURS = (DRIVEN, PLAIN, "#CC79A7")
"""The colours of loops that are drawn in one picture."""

INK = "#222222"
"""The colour of text and levels."""

FAINT = "#8C8C8C"
"""The colour of axes, moves and details."""

PAPER = "#FFFFFF"
"""The colour of the background."""

_STYLE: dict[str, Any] = {
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": PAPER,
    "font.size": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}

_P = ParamSpec("_P")


def figure_of(ax: Axes) -> Figure:
    """Return the whole figure that axes are part of."""
    figure: Any = ax.figure
    return cast("Figure", figure.figure)  # of a part of a figure, the whole


def in_house_style(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    """Let `draw` use the style of the pictures here, whatever style the user has set."""

    @functools.wraps(draw)
    def styled(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with matplotlib.style.context(["default", _STYLE]):
            return draw(*args, **kwargs)

    return styled


def put_text(ax: Axes, x: float, y: float, text: str, **options: Any) -> Text:
    """Write `text`, without reading it as mathematics."""
    return ax.text(x, y, text, **{"parse_math": False, "usetex": False, **options})


def put_note(
    ax: Axes, text: str, place: tuple[float, float], offset: tuple[float, float], **options: Any
) -> None:
    """Write `text` beside a point, over what is drawn there, without reading it as mathematics."""
    halo = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
    style: dict[str, Any] = {"fontsize": 7, "va": "center", "zorder": 5, "bbox": halo}
    style |= {"textcoords": "offset points", "parse_math": False, **options}
    ax.annotate(text, place, offset, **style)


def put_title(ax: Axes, title: str, detail: str) -> None:
    """Write a title that says what is seen, and a line of detail under it."""
    above: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "parse_math": False,
    }
    ax.annotate(title, (0, 1), (0, 20), fontsize=11, fontweight="bold", **above)
    ax.annotate(detail, (0, 1), (0, 7), color=FAINT, **above)
