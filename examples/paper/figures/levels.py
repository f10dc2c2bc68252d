"""States as lines at their potential, moves as arrows between them (paper Fig. 2 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers import Potential
from detailed_balance.analyzers.potential.ordering import order_states
from detailed_balance.plots.style import FAINT, INK, PAPER, in_house_style, put_text, put_title
from detailed_balance.render.formatting import count_noun, safe_text
from examples.paper.figures.canvas import make_frame, say_nothing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["plot_levels"]

_LOWER, _UPPER = (0.0, 0.58), (0.63, 1.0)  # of the panel's height, on both sides of the break
_NAME = 0.042  # the room of a name, of the panel's height
_NUMBERED = 10
_MOST = 20


@in_house_style
def plot_levels(
    potential: Potential,
    title: str,
    *,
    heights: Mapping[str, float] | None = None,
    limits: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> Figure:
    """Draw a line for each state at its beta V, and an arrow for each move (Fig. 2, 6).

    The axis is broken: above it stand the states of infinite potential, whose heights are an
    order, or those of `heights`, and no numbers of the agent. Arrows are evenly spaced, by the
    higher and then the lower of their states, and the wider the more probable; up to ten have
    their probability. Names never overlap.

    Parameters
    ----------
    potential : Potential
        With the kernel that it was estimated from. Of more than 20 states those are drawn whose
        moves are the most probable.
    title : str
        Whose it is.
    heights : mapping of str to float, optional
        Where to draw states of infinite potential, such as where an optimiser stopped.
    limits : pair of pairs of float, optional
        The ends of the axis below and above the break.

    Returns
    -------
    Figure
        Where no two states compare it says so.

    References
    ----------
    Song et al., arXiv:2512.10047, Fig. 2 and 6.

    Examples
    --------
    >>> from detailed_balance.analyzers import TransitionCounts, estimate_potential
    >>> counts = TransitionCounts.from_edges([("a", "b", 9), ("b", "a", 1), ("c", "a", 2)])
    >>> figure = plot_levels(estimate_potential(counts, attempts=10), "Three states")
    """
    figure, ax = make_frame("", "potential βV")
    ax.set_position((0.1, 0.05, 0.64, 0.83))
    ax.set(xlim=(0, 1), ylim=(0, 1), xticks=[])
    ax.spines[["bottom", "left"]].set_visible(False)
    values, rows, rates, states = _choose(potential)
    if len(states) < 2:
        return say_nothing(figure, "No two states compare")
    infinite = np.isinf(values)
    above = np.where(infinite, rows, 0.0)
    if heights is not None:
        above[infinite] = [
            heights.get(state, row)
            for state, row in zip(np.array(states)[infinite], rows[infinite], strict=True)
        ]
    lower, upper = limits if limits is not None else _limits(values, above)
    y = np.where(
        infinite, _scale(above, upper, _UPPER), _scale(np.where(infinite, 0, values), lower, _LOWER)
    )
    _draw_lines(ax, states, values, y)
    arrows = _draw_arrows(ax, y, rates)
    if infinite.any():
        _draw_break(ax)
    rest = len(potential.states) - len(states)
    left_out = f"; {count_noun(rest, 'state')} not drawn" if rest else ""
    finite = int((~infinite).sum())
    detail = (
        f"{finite} of {len(states)} states on one scale, {count_noun(arrows, 'move')}{left_out}"
    )
    put_title(ax, title, detail)
    return figure


def _choose(
    potential: Potential,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], tuple[str, ...]]:
    """Return beta V, the rows of what is infinite, T and the names of the states to draw."""
    order = order_states(potential)
    rates = potential.kernel.probabilities.tocsr().copy()
    rates.setdiag(0)
    busy = np.asarray(rates.sum(axis=0) + rates.sum(axis=1)).ravel()
    comparable = np.flatnonzero(~np.isnan(order.relative) & (order.relative > -np.inf))
    chosen = np.sort(comparable[np.argsort(-busy[comparable], kind="stable")[:_MOST]])
    values = potential.violation.beta * order.relative[chosen]
    _, rows = np.unique(order.levels[chosen], return_inverse=True)
    names = tuple(potential.states[i] for i in chosen)
    return values, rows.astype(np.float64), rates[chosen, :][:, chosen].toarray(), names


def _limits(
    values: NDArray[np.float64], above: NDArray[np.float64]
) -> tuple[tuple[float, float], tuple[float, float]]:
    infinite = np.isinf(values)
    top = float(values[~infinite].max(initial=1.0))
    low, high = (above[infinite].min(), above[infinite].max()) if infinite.any() else (0.0, 1.0)
    return (-0.08 * top, 1.15 * top), (float(low) - 0.5, float(high) + 0.5)


def _scale(
    values: NDArray[np.float64], limits: tuple[float, float], room: tuple[float, float]
) -> NDArray[np.float64]:
    share = (values - limits[0]) / (limits[1] - limits[0])
    return room[0] + share * (room[1] - room[0])


def _draw_lines(
    ax: Axes, states: tuple[str, ...], values: NDArray[np.float64], y: NDArray[np.float64]
) -> None:
    """Draw the lines, with numbers at the left and names at the right, moved apart."""
    places = dict(zip(np.argsort(y, kind="stable").tolist(), _move_apart(np.sort(y)), strict=True))
    for i, (state, height) in enumerate(zip(states, y.tolist(), strict=True)):
        ax.plot([0, 1], [height, height], color=INK, lw=0.9, zorder=1)
        lead: dict[str, Any] = {"color": FAINT, "lw": 0.6, "clip_on": False}
        ax.plot([1.0, 1.03], [height, places[i]], **lead)
        put_text(ax, 1.04, places[i], safe_text(state, 16), va="center", fontsize=8)
    finite, infinite = np.flatnonzero(np.isfinite(values)), np.flatnonzero(np.isinf(values))
    ticks = {float(y[i]): f"{values[i]:.1f}" for i in finite}
    if len(infinite) > 3:
        ticks[float(y[infinite].mean())] = "∞"
    else:
        ticks |= {float(y[i]): "∞" for i in infinite}
    ax.set_yticks(list(ticks), list(ticks.values()))


def _move_apart(wanted: NDArray[np.float64]) -> list[float]:
    """Return places near those wanted, which rise, with the room of a name between them."""
    places: list[float] = []
    for height in wanted.tolist():
        places.append(max(height, places[-1] + _NAME) if places else height)
    top = 1.0
    for i in reversed(range(len(places))):
        places[i] = min(places[i], top)
        top = places[i] - _NAME
    return places


def _draw_arrows(ax: Axes, y: NDArray[np.float64], rates: NDArray[np.float64]) -> int:
    """Draw the arrows, and return how many there are."""
    moves = [(int(f), int(g)) for f, g in zip(*np.nonzero(rates), strict=True)]
    moves.sort(key=lambda m: (max(y[m[0]], y[m[1]]), min(y[m[0]], y[m[1]]), y[m[0]] < y[m[1]]))
    few = len(moves) <= _NUMBERED
    thin, wide = (0.5, 2.0) if few else (0.3, 1.5)
    for place, (f, g) in zip(np.linspace(0.06, 0.94, len(moves)).tolist(), moves, strict=True):
        rate, gap = float(rates[f, g]), 0.006 * float(np.sign(y[g] - y[f]))
        style: dict[str, Any] = {
            "arrowstyle": "->",
            "color": INK,
            "lw": thin + wide * rate,
            "shrinkA": 0,
            "shrinkB": 0,
        }
        ends = (place, float(y[g]) - gap), (place, float(y[f]) + gap)
        ax.annotate("", *ends, arrowprops=style, zorder=2)
        if few:
            middle = (min(y[f], _LOWER[1]) + min(y[g], _LOWER[1])) / 2
            if min(y[f], y[g]) > _LOWER[1]:
                middle = (y[f] + y[g]) / 2
            halo = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8}
            at = (place, float(middle))
            put_text(ax, *at, f"{rate:.2f}", ha="center", va="center", bbox=halo, zorder=3)
    return len(moves)


def _draw_break(ax: Axes) -> None:
    """Draw the break of the axis, over the arrows that cross it."""
    middle, half = (_LOWER[1] + _UPPER[0]) / 2, 0.012
    ax.axhspan(middle - half, middle + half, color=PAPER, zorder=2.5)
    stroke: dict[str, Any] = {"color": INK, "lw": 0.9, "clip_on": False}
    for edge in (0.0, 1.0):
        for sign in (-1, 1):
            at = middle + sign * half
            ax.plot([edge - 0.015, edge + 0.015], [at - 0.01, at + 0.01], **stroke)
        ax.plot([edge, edge], [0, middle - half], color=FAINT, lw=0.8)
        ax.plot([edge, edge], [middle + half, 1], color=FAINT, lw=0.8)
