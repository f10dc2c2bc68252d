"""Pairs walked one way only, held against the potential (paper Fig. 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers import OneWayCheck
from detailed_balance.plots.style import FAINT, in_house_style, put_note, put_title
from detailed_balance.render.formatting import count_noun, safe_text
from examples.paper.figures.canvas import (
    CLOUD,
    STYLES,
    draw_cloud,
    draw_diagonal,
    draw_points,
    make_frame,
    put_legend,
    say_nothing,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["plot_one_way"]

_NAMED = 3


@in_house_style
def plot_one_way(check: OneWayCheck) -> Figure:
    """Draw the least that each pair walked one way asks of the potential, and what it has.

    For a pair walked from f to g only, log T(g<-f) / u is the least that beta (V(f) - V(g)) may
    be, u being the upper bound of the rate that was never seen (eq. 25). Above the diagonal the
    potential falls short of it: that region is shaded, and forbidden but for chance. Pairs with a
    significant p-value, adjusted for their number, have a mark of their own, and three of them
    their names. Of more than 2,000 pairs the density is drawn, and the significant ones over it.

    Parameters
    ----------
    check : OneWayCheck
        What `check_one_way` returned. Pairs between two components, where the difference is
        infinite and nothing is forbidden, are counted and not drawn.

    Returns
    -------
    Figure
        Axes in nats. Where there is no pair to draw it says so.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 25 and Fig. 10.

    Examples
    --------
    >>> from detailed_balance.analyzers import TransitionCounts, check_one_way
    >>> edges = [("a", "b", 40), ("b", "c", 40), ("c", "a", 40)]
    >>> figure = plot_one_way(check_one_way(TransitionCounts.from_edges(edges)))
    """
    figure, ax = make_frame("β (V(f) - V(g))", "least allowed: log T(g←f) / bound of T(f←g) (nats)")
    drawn = np.isfinite(check.difference)
    x, y = check.difference[drawn], check.least[drawn]
    if not len(x):
        return say_nothing(figure, "No pair of one component was walked one way only")
    significant = (check.adjusted <= check.alpha)[drawn]
    draw_diagonal(ax, float(np.median(y)), "least allowed = potential")
    said = _draw(ax, x, y, significant)
    _shade(ax, x, y)
    _name(ax, check, np.flatnonzero(drawn)[significant])
    put_legend(ax, 4)
    title = f"{int(check.holds[drawn].sum()):,} of {count_noun(len(x), 'pair')} keep the inequality"
    rest = len(check) - len(x)
    infinite = f"; {rest:,} more between components" if rest else ""
    put_title(ax, title, f"{said}; bounds at {1 - check.alpha:.0%} each{infinite}")
    return figure


def _draw(
    ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64], significant: NDArray[np.bool_]
) -> str:
    said = count_noun(len(x), "pair")
    if len(x) > CLOUD:
        said = draw_cloud(ax, x, y, noun="pair")
    else:
        draw_points(ax, x[~significant], y[~significant], style=STYLES[0], label="pairs")
    label = "significant, adjusted"
    draw_points(ax, x[significant], y[significant], style=STYLES[1], label=label, zorder=4)
    return said


def _shade(ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Shade what lies above the diagonal."""
    ax.margins(0.06)
    left, right, top = *ax.get_xlim(), max(ax.get_ylim()[1], float(x.min()) + 1)
    ax.set(xlim=(left, right), ylim=(ax.get_ylim()[0], top))
    edge = np.array([left, right])
    options: dict[str, Any] = {
        "color": FAINT,
        "alpha": 0.18,
        "lw": 0,
        "zorder": 0,
        "label": "forbidden",
    }
    ax.fill_between(edge, edge, np.full(2, max(top, right)), **options)


def _name(ax: Axes, check: OneWayCheck, significant: NDArray[np.intp]) -> None:
    for i in significant[np.argsort(check.pvalue[significant], kind="stable")][:_NAMED].tolist():
        name = f"{safe_text(check.source[i], 24)} → {safe_text(check.target[i], 24)}"
        put_note(ax, name, (float(check.difference[i]), float(check.least[i])), (6, 0))
