"""States by a score and an explicit potential, with the moves between them (paper Fig. 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from detailed_balance.analyzers import Kernel
from detailed_balance.analyzers.errors import InvalidInputError, UnknownStateError
from detailed_balance.plots.style import INK, in_house_style, put_title
from detailed_balance.render.formatting import count_noun
from examples.paper.figures.canvas import STYLES, make_frame, put_corner, say_nothing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

__all__ = ["plot_moves"]

_DOWN, _UP = STYLES[2], STYLES[1]


@in_house_style
def plot_moves(
    kernel: Kernel,
    values: ArrayLike,
    scores: Mapping[str, float],
    title: str,
    *,
    score: str = "log10 of the mean squared error",
    most: int = 70,
    threshold: float = 0.05,
    printed: str = "",
) -> Figure:
    """Draw states at (score, V), and the moves of probability `threshold` or more (Fig. 5).

    Moves to a lower V are green and solid, moves up or level red and broken.

    Parameters
    ----------
    kernel : Kernel
        T, the n states.
    values : (n,) array_like
        V, such as an explicit potential.
    scores : mapping of str to float
        At least those states' scores; states whose score is not finite are left out.
    title : str
        Whose they are.
    score : str
        What the score is, with its unit.
    most : int
        How many states are drawn, those with the most attempts; of a kernel that is known
        exactly the first ones.
    threshold : float
        The least probability of a move that is drawn.
    printed : str
        The numbers of the paper, which stand under ours.

    Returns
    -------
    Figure
        Where fewer than two states have a score it says so.

    Raises
    ------
    InvalidInputError
        Where `values` are not one for each state.
    UnknownStateError
        Where a state has no score.

    References
    ----------
    Song et al., arXiv:2512.10047, Fig. 5.

    Examples
    --------
    >>> kernel = Kernel.from_matrix([[0.0, 0.5], [0.25, 0.0]], ("a", "b"))
    >>> figure = plot_moves(kernel, [1.0, 0.0], {"a": -1.0, "b": -2.0}, "Two states")
    """
    heights = np.asarray(values, dtype=np.float64)
    if heights.shape != (len(kernel.states),):
        raise InvalidInputError(
            f"values of shape {heights.shape}; {len(kernel.states)} states need one each"
        )
    if missing := [state for state in kernel.states if state not in scores]:
        raise UnknownStateError(f"state {missing[0][:80]!r} has no score; give NaN if unknown")
    x = np.array([scores[state] for state in kernel.states], dtype=np.float64)
    attempts = np.zeros(len(x)) if kernel.attempts is None else kernel.attempts
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(heights))
    drawn = known[np.argsort(-attempts[known], kind="stable")[:most]]
    figure, ax = make_frame(score, "explicit potential V")
    if len(drawn) < 2:
        return say_nothing(figure, "Fewer than two states have a score and a V")
    x, y = x[drawn], heights[drawn]
    rates = kernel.probabilities[drawn, :][:, drawn].toarray()
    np.fill_diagonal(rates, 0)
    down, up = _draw_moves(ax, np.column_stack([x, y]), rates, threshold)
    dots: dict[str, Any] = {"cmap": "viridis_r", "edgecolors": INK, "linewidths": 0.3, "zorder": 3}
    points = ax.scatter(x, y, c=x, s=22, **dots)
    bar = figure.colorbar(points, ax=ax, shrink=0.7, pad=0.02, aspect=30)
    bar.set_label(score)
    lines = [f"{down} down, {up} up or level"]
    put_corner(ax, [*lines, *([f"printed: {printed}"] if printed else [])])
    ax.margins(0.08)
    _put_key(ax)
    put_title(ax, title, f"{count_noun(len(x), 'state')}; moves with T of {threshold:g} or more")
    return figure


def _draw_moves(
    ax: Axes, places: NDArray[np.float64], rates: NDArray[np.float64], threshold: float
) -> tuple[int, int]:
    """Draw the arrows; return how many go down, and how many do not."""
    source, target = np.nonzero(rates >= threshold)
    goes_down = places[source, 1] > places[target, 1]
    for f, g, falls in zip(source.tolist(), target.tolist(), goes_down.tolist(), strict=True):
        style = _DOWN if falls else _UP
        options: dict[str, Any] = {
            "arrowstyle": "->",
            "connectionstyle": "arc3,rad=0.1",
            "color": style.colour,
            "linestyle": "-" if falls else (0, (4, 2)),
            "linewidth": 0.5 + 1.5 * rates[f, g],
            "mutation_scale": 7,
            "alpha": 0.6,
            "shrinkA": 2,
            "shrinkB": 2,
        }
        ax.add_patch(FancyArrowPatch(tuple(places[f]), tuple(places[g]), **options))
    return int(goes_down.sum()), int((~goes_down).sum())


def _put_key(ax: Axes) -> None:
    keys = [
        Line2D([], [], color=_DOWN.colour, ls="-", label="down"),
        Line2D([], [], color=_UP.colour, ls="--", label="up or level"),
    ]
    ax.legend(handles=keys, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
