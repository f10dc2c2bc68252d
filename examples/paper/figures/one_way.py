"""Pairs seen in one direction only, held against the potential (paper Fig. 10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers import OneWayCheck
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.plots.style import INK, in_house_style, put_title
from examples.paper.figures.canvas import (
    STYLES,
    draw_diagonal,
    draw_points,
    make_panels,
    put_corner,
    say_nothing,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_one_way"]

_SHARE = 90


@in_house_style
def plot_one_way(
    checks: Mapping[str, OneWayCheck],
    title: str,
    *,
    most: int = 500,
    seed: int = 0,
    printed: str = "",
) -> Figure:
    """Draw what each pair walked one way asks of the potential, against what it has (Fig. 10).

    For a pair taken from f to g only, log T(g<-f) / u is the least that beta (V(f) - V(g)) may be
    (eq. 25), u being a bound of the rate never seen: 1 / N(g) in the paper, which is its drawn
    points, and the 95% bound of Clopper and Pearson, about 3 / N(g), here. Pairs above the
    diagonal fail. A line parallel to it has 90% of the pairs below, one for each bound.

    Parameters
    ----------
    checks : mapping of str to OneWayCheck
        One or two panels by their names. Pairs between two components, where the difference is
        infinite and nothing is forbidden, are not drawn.
    title : str
        Whose they are.
    most : int
        Of more pairs so many are drawn, chosen at random; all enter the lines and the numbers.
    seed : int
        Of that choice.
    printed : str
        The numbers of the paper, which stand in the line under the title.

    Returns
    -------
    Figure
        Axes in nats. Where there is no pair to draw it says so.

    Raises
    ------
    InvalidInputError
        Where there are no panels, or more than two.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 25 and Fig. 10.

    Examples
    --------
    >>> from detailed_balance.analyzers import TransitionCounts, check_one_way
    >>> edges = [("a", "b", 40), ("b", "c", 40), ("c", "a", 40)]
    >>> check = check_one_way(TransitionCounts.from_edges(edges))
    >>> figure = plot_one_way({"a ring": check}, "Driven round")
    """
    if not 1 <= len(checks) <= 2:
        raise InvalidInputError(f"{len(checks)} panels; one or two can be drawn")
    labels = "β (V(f) - V(g))", "least allowed: log T(g←f) / bound, in nats"
    figure, axes = make_panels(*[labels] * len(checks))
    if not any(np.isfinite(check.difference).any() for check in checks.values()):
        return say_nothing(figure, "No pair of one component was seen in one direction only")
    rng, said = np.random.default_rng(seed), []
    for ax, (name, check) in zip(axes, checks.items(), strict=True):
        said.append(f"{name}: {_draw(ax, check, most, rng)}")
    detail = "; ".join([*said, *([f"printed: {printed}"] if printed else [])])
    put_title(axes[0], title, detail)
    keys = axes[0].get_legend_handles_labels()
    figure.legend(*keys, loc="lower center", ncols=4, frameon=False)
    return figure


def _draw(ax: Axes, check: OneWayCheck, most: int, rng: np.random.Generator) -> str:
    """Draw one panel; return how many pairs there are."""
    inside = np.isfinite(check.difference)
    x, ours = check.difference[inside], check.least[inside]
    # check.least is log T(g<-f) / bound; the paper's bound of the rate never seen is 1 / N(g).
    paper = ours + np.log(check.bound[inside] * check.attempts[inside])
    shown = np.sort(rng.permutation(len(x))[:most])
    draw_points(ax, x[shown], paper[shown], style=STYLES[0], label="pairs, 1 / N", markersize=3)
    if len(x):
        draw_diagonal(ax, float(np.median(x)), "least allowed = potential")
    lines = []
    for least, style, name in ((paper, "-.", "1 / N"), (ours, ":", "95%")):
        off = float(np.percentile(least - x, _SHARE)) if len(x) else np.nan
        line: dict[str, Any] = {"color": INK, "lw": 1.2, "ls": style, "zorder": 4}
        if len(x):
            ax.axline((0, off), slope=1, label=f"{_SHARE}% below, {name}", **line)
        lines.append(f"{name}: {np.mean(least <= x):.0%} hold, {_SHARE}% below y = x{off:+.2f}")
    put_corner(ax, lines)
    ax.margins(0.06, 0.16)
    drawn = f", {len(shown):,} drawn" if len(shown) < len(x) else ""
    return f"{len(x):,} pairs{drawn}"
