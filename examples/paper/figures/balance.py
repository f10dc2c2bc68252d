"""Detailed balance as the paper shows it: round triplets and pair by pair (Fig. 3, 4, 7, 8, 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.plots.style import in_house_style, put_title
from examples.paper.figures.canvas import (
    STYLES,
    draw_cloud,
    draw_diagonal,
    make_frame,
    make_panels,
    put_corner,
    put_legend,
    say_nothing,
)
from examples.paper.points import Points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Limits", "plot_pairs", "plot_triplets"]

Limits: TypeAlias = tuple[tuple[float, float], tuple[float, float]]
"""Of the axes x and y."""


@in_house_style
def plot_triplets(
    points: Points, title: str, *, printed: str = "", limits: Limits | None = None
) -> Figure:
    """Draw the rates multiplied up round each triplet, one way against the other (Fig. 3, 8).

    Under detailed balance all points lie on the diagonal but for chance. Of more than 2,000
    triplets the density is drawn.

    Parameters
    ----------
    points : Points
        The triplets, as of `Points.of_triplets`.
    title : str
        Whose they are.
    printed : str
        The numbers of the paper, which stand under ours.
    limits : pair of pairs of float, optional
        The ends of both axes.

    Returns
    -------
    Figure
        Axes in nats. Where there is no triplet it says so.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 7, Fig. 3 and 8.

    Examples
    --------
    >>> figure = plot_triplets(Points.published("gpt5_nano_triplets"), "GPT-5 Nano")
    """
    figure, ax = make_frame("Σ log T (forward), in nats", "Σ log T (backward), in nats")
    if not len(points):
        return say_nothing(figure, "No triplet of states has all six counts")
    said = _draw(ax, points, "triplet", limits)
    lines = [f"N = {len(points):,}", f"χ²/ndf = {points.mean_square:.2f}"]
    put_corner(ax, [*lines, *_printed(printed)], right=True, low=True)
    off = float(np.median(np.abs(points.x - points.y)))
    put_title(ax, title, f"{said}; half of them differ by more than {off:.2g} nats")
    return figure


@in_house_style
def plot_pairs(
    panels: Mapping[str, Points],
    title: str,
    *,
    printed: str = "",
    limits: Limits | None = None,
) -> Figure:
    """Draw the log ratio of the rates of each pair against beta (V(f) - V(g)) (Fig. 4, 7, 9).

    Under detailed balance all points lie on the diagonal but for chance. The corner holds
    Pearson's r with each pair both ways round, the mean squared residual, which the paper calls
    chi-square / ndf, and that with errors. Of more than 2,000 pairs the density is drawn.

    Parameters
    ----------
    panels : mapping of str to Points
        One or two panels by their names, as of `Points.of_pairs`.
    title, printed, limits
        See `plot_triplets`.

    Returns
    -------
    Figure
        Axes in nats. Where there is no pair it says so.

    Raises
    ------
    InvalidInputError
        Where there are no panels, or more than two.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 5, Fig. 4, 7 and 9.

    Examples
    --------
    >>> points = Points.published("gpt5_nano_pairs")
    >>> figure = plot_pairs({"GPT-5 Nano": points}, "Pairs", printed="N 52, r 0.7438")
    """
    if not 1 <= len(panels) <= 2:
        raise InvalidInputError(f"{len(panels)} panels; one or two can be drawn")
    labels = "β (V(f) - V(g))", "log T(g←f) / T(f←g), in nats"
    if len(panels) == 1:
        figure, only = make_frame(*labels)
        axes = [only]
    else:
        figure, axes = make_panels(labels, labels)
    if not any(map(len, panels.values())):
        return say_nothing(figure, "No pair of states has counts both ways")
    said = []
    for ax, (name, points) in zip(axes, panels.items(), strict=True):
        if len(points):
            said.append(f"{name}: {_draw(ax, points, 'pair', limits)}")
            put_corner(ax, [*_pair_lines(points), *_printed(printed)], right=True, low=True)
    put_title(axes[0], title, "; ".join(said))
    return figure


def _draw(ax: Axes, points: Points, noun: str, limits: Limits | None) -> str:
    draw_diagonal(ax, float(np.median(points.x)))
    bars = points.x_error if points.x_error.any() else None, points.y_error
    said = draw_cloud(ax, points.x, points.y, bars, noun=noun, style=STYLES[0])
    if limits is not None:
        ax.set(xlim=limits[0], ylim=limits[1])
    put_legend(ax)
    return said


def _pair_lines(points: Points) -> list[str]:
    return [
        f"N = {len(points):,}",
        f"r = {points.correlation_both:.3f}, slope {points.slope:.2f}",
        f"χ²/ndf = {points.mean_residual:.2f} (no errors), {points.mean_square:.2f} (errors)",
    ]


def _printed(text: str) -> list[str]:
    return [f"printed: {text}"] if text else []
