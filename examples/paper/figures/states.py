"""States on an axis of their potential, with the probabilities of the moves between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from rich.cells import cell_len

from detailed_balance.analyzers import Potential
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.potential.ordering import order_states
from detailed_balance.plots.layout import place_sideways
from detailed_balance.plots.style import FAINT, INK, PAPER, in_house_style, put_text, put_title
from detailed_balance.render.formatting import count_noun, safe_text
from examples.paper.figures.canvas import STYLES, make_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["StateLevels", "place_states", "plot_states"]

_INCHES = (4.55, 3.85)  # of the panel
_LABEL = 0.21
_BEND = 0.18
_NUMBER = np.array([0.36, 0.16])  # the room of a probability, in inches
_NUMBERED = 30  # of more arrows the probabilities are not written
_ARROWS = 80
_HALO: dict[str, Any] = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 0.6}


@dataclass(frozen=True, slots=True, eq=False)
class StateLevels:
    """Where n states stand on the axis of the potential.

    Parameters
    ----------
    states : tuple of str, length n
        Those that are drawn.
    potential : (n,) array of float
        V from the lowest state of the largest component, in units of 1 / beta; infinite above
        and below that component, NaN where there is no order.
    height : (n,) array of float
        Where they are drawn: at V where it is finite, else in rows beyond a break of the axis.
    rates : (n, n) array of float
        T(states[j] <- states[i]) between different states.
    """

    states: tuple[str, ...]
    potential: NDArray[np.float64]
    height: NDArray[np.float64]
    rates: NDArray[np.float64]


def place_states(potential: Potential, *, max_states: int = 16) -> StateLevels:
    """Place the states of a potential: finite ones at their V, the others in rows beyond.

    The rows are in the order of the components: nothing leads from a lower one up. Of more than
    `max_states` those are taken whose moves in and out are the most probable.

    Raises
    ------
    InvalidInputError
        Where `max_states` is under 2.

    Examples
    --------
    >>> from detailed_balance.analyzers import TransitionCounts, estimate_potential
    >>> counts = TransitionCounts.from_edges([("a", "b", 9), ("b", "a", 1), ("c", "a", 2)])
    >>> levels = place_states(estimate_potential(counts, attempts=10))
    >>> levels.potential.round(2).tolist()
    [2.2, 0.0, inf]
    """
    if max_states < 2:
        raise InvalidInputError(f"max_states={max_states!r}; an axis needs 2 states or more")
    rates = potential.kernel.probabilities.tocsr().copy()
    rates.setdiag(0)
    busy = np.asarray(rates.sum(axis=0) + rates.sum(axis=1)).ravel()
    chosen = np.sort(np.argsort(-busy, kind="stable")[:max_states])
    order = order_states(potential)
    values, levels = order.relative[chosen], order.levels[chosen]
    height = _heights(values, levels)
    states = tuple(potential.states[i] for i in chosen)
    return StateLevels(states, values, height, rates[chosen, :][:, chosen].toarray())


def _heights(values: NDArray[np.float64], levels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return V, and rows above and below it for what is not finite."""
    finite = np.isfinite(values)
    top = float(values[finite].max(initial=0.0))
    step = 0.22 * max(top, 1.0)
    height = np.where(finite, values, 0.0)
    above, below = ~finite & ~(values == -np.inf), values == -np.inf
    for part, sign, edge in ((above, 1, top), (below, -1, 0.0)):
        _, row = np.unique(sign * levels[part], return_inverse=True)
        height[part] = edge + sign * step * (1.6 + row)
    return height


@in_house_style
def plot_states(potential: Potential, *, max_states: int = 16) -> Figure:
    """Draw the states at their potential and the moves as arrows with their probabilities.

    The network of the word task (Fig. 2) in our own style. States of infinite potential stand
    beyond a break of the axis, where heights are an order and no numbers. Of more than 80 moves
    the most probable are drawn; of more than 30 the probabilities are not written.

    Parameters
    ----------
    potential : Potential
        With the kernel that it was estimated from.
    max_states : int
        Of more states those are drawn whose moves are the most probable.

    Returns
    -------
    Figure
        V in units of 1 / beta.

    Raises
    ------
    InvalidInputError
        Where `max_states` is under 2.

    References
    ----------
    Song et al., arXiv:2512.10047, Fig. 2 in kind; Table II of its supplement B for Claude-4.

    Examples
    --------
    >>> from detailed_balance.analyzers import TransitionCounts, estimate_potential
    >>> counts = TransitionCounts.from_edges([("a", "b", 9), ("b", "a", 1), ("c", "a", 2)])
    >>> figure = plot_states(estimate_potential(counts, attempts=10))
    """
    levels = place_states(potential, max_states=max_states)
    figure, ax = make_frame("", "potential V (1/β)")
    ax.set_position((0.11, 0.04, 0.86, 0.82))
    labels = [
        f"{safe_text(state, 24)}  {value:.1f}" if np.isfinite(value) else safe_text(state, 24)
        for state, value in zip(levels.states, levels.potential, strict=True)
    ]
    x = _place(ax, levels, labels)
    pills = [_draw_state(ax, *place) for place in zip(x, levels.height, labels, strict=True)]
    drawn, moves = _draw_moves(ax, levels, x, pills)
    _break_axis(ax, levels)
    finite = int(np.isfinite(levels.potential).sum())
    far = len(levels.states) - finite
    title = f"{count_noun(finite, 'state')} on one scale"
    title += f", {far} beyond it" if far else ""
    shown = f"the {drawn} most probable of {moves:,} moves" if moves > drawn else "all moves"
    numbers = ", with their probabilities" if drawn <= _NUMBERED else ""
    rest = len(potential.states) - len(levels.states)
    left_out = f"; {rest:,} states not drawn" if rest else ""
    put_title(ax, title, f"{shown}{numbers}{left_out}")
    return figure


def _place(ax: Axes, levels: StateLevels, labels: list[str]) -> NDArray[np.float64]:
    """Set the limits, with the panel's width in inches, and return the place of each label."""
    low = float(levels.height.min())
    high = max(float(levels.height.max()), low + 1)
    margin = 0.09 * (high - low)
    ax.set(xlim=(0, _INCHES[0]), ylim=(low - margin, high + margin), xticks=[])
    ax.spines[["bottom", "left"]].set_visible(False)
    scale = _INCHES[1] / (high - low + 2 * margin)
    sizes = np.array([[_width(label) + 0.1 + 3 / len(labels), _LABEL + 0.1] for label in labels])
    # A funnel, the lowest in the middle: arrows from far above pass below the states between.
    rank = np.argsort(np.argsort(levels.height, kind="stable"))
    side = np.where(rank % 2 == 1, -1, 1) * ((rank + 1) // 2)
    room = _INCHES[0] - 0.3
    wanted = (side - side.min() + 0.5) / len(labels) * room
    weights, heights = levels.rates + levels.rates.T, levels.height * scale
    order = np.argsort(rank).tolist()
    return 0.25 + place_sideways(weights, heights, sizes, order, room, wanted)


def _width(label: str) -> float:
    return cell_len(label) * 0.072 + 0.14


def _draw_state(ax: Axes, x: float, y: float, label: str) -> FancyBboxPatch:
    unit = (ax.get_ylim()[1] - ax.get_ylim()[0]) / _INCHES[1]
    width, height = _width(label), _LABEL * unit
    pill = FancyBboxPatch(
        (x - width / 2, y - height / 2),
        width,
        height,
        boxstyle="square,pad=0",
        facecolor=PAPER,
        edgecolor=INK,
        linewidth=0.8,
        zorder=4,
    )
    ax.add_artist(pill)
    put_text(ax, x, y, label, ha="center", va="center_baseline", fontsize=7.5, zorder=5)
    return pill


def _draw_moves(
    ax: Axes, levels: StateLevels, x: NDArray[np.float64], pills: list[FancyBboxPatch]
) -> tuple[int, int]:
    """Draw the moves, the least probable first; return how many were drawn, and how many are."""
    source, target = np.nonzero(levels.rates)
    rates = levels.rates[source, target]
    order = np.argsort(rates, kind="stable")[-_ARROWS:]
    moves = list(zip(source[order].tolist(), target[order].tolist(), strict=True))
    places = np.column_stack([x, levels.height])
    for i, j in moves:
        _draw_move(ax, places[[i, j]], float(levels.rates[i, j]), (pills[i], pills[j]))
    if len(moves) <= _NUMBERED:
        _write_rates(ax, places, moves, rates[order], pills)
    return len(moves), len(rates)


def _draw_move(
    ax: Axes, ends: NDArray[np.float64], rate: float, pills: tuple[FancyBboxPatch, FancyBboxPatch]
) -> None:
    style = STYLES[0] if ends[0, 1] >= ends[1, 1] else STYLES[1]
    bend = _bend(ends)
    arrow = FancyArrowPatch(
        tuple(ends[0]),
        tuple(ends[1]),
        patchA=pills[0],
        patchB=pills[1],
        arrowstyle="-|>",
        connectionstyle=f"arc3,rad={bend}",
        linestyle=style.line,
        color=style.colour,
        linewidth=0.8 + 1.6 * rate,
        mutation_scale=8 + 3 * rate,
        zorder=2,
    )
    ax.add_artist(arrow)


def _bend(ends: NDArray[np.float64]) -> float:
    """Return the bend of an arrow: moves down hang below the straight line, moves up above."""
    across, upright = ends[1] - ends[0]
    down = upright < 0 or (upright == 0 and across > 0)
    return _BEND if down == (across > 0) else -_BEND


def _write_rates(
    ax: Axes,
    places: NDArray[np.float64],
    moves: list[tuple[int, int]],
    rates: NDArray[np.float64],
    pills: list[FancyBboxPatch],
) -> None:
    """Write each probability on its arrow, where no other arrow and no other number is near."""
    unit = np.array([1.0, _INCHES[1] / (ax.get_ylim()[1] - ax.get_ylim()[0])])
    curves = [_curve(places[[i, j]] * unit) for i, j in moves]
    taken = [_label_points(pill) * unit for pill in pills]
    options: dict[str, Any] = {"ha": "center", "va": "center", "bbox": _HALO, "zorder": 3}
    for k, rate in enumerate(rates.tolist()):
        others = np.concatenate([*taken, *curves[:k], *curves[k + 1 :]])
        tries = curves[k][len(curves[k]) // 4 : 3 * len(curves[k]) // 4]
        apart = np.abs(tries[:, None, :] - others[None, :, :]) / _NUMBER
        best = tries[int(np.argmax(np.minimum(apart.max(axis=2).min(axis=1), 1.6)))]
        taken.append(best[None, :])
        x, y = (best / unit).tolist()
        put_text(ax, x, y, _digits(rate), fontsize=7, color=INK, **options)


def _label_points(pill: FancyBboxPatch) -> NDArray[np.float64]:
    """Return points along the middle of a label."""
    across = np.linspace(pill.get_x(), pill.get_x() + pill.get_width(), 8)
    return np.column_stack([across, np.full(8, pill.get_y() + pill.get_height() / 2)])


def _curve(ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points along an arrow, in inches."""
    first, last = ends
    across, upright = last - first
    # Where matplotlib's arc3 has its third point.
    via = (first + last) / 2 + _bend(ends) * np.array([upright, -across])
    t = np.linspace(0, 1, 61)[:, None]
    points: NDArray[np.float64] = (1 - t) ** 2 * first + 2 * t * (1 - t) * via + t**2 * last
    return points


def _digits(rate: float) -> str:
    return f"{rate:.2f}" if rate >= 0.095 else f"{rate:.2g}"


def _break_axis(ax: Axes, levels: StateLevels) -> None:
    """Draw the axis where V is finite, and what is beyond it apart."""
    here = np.isfinite(levels.potential)
    finite, beyond = levels.height[here], levels.height[~here]
    low, high = float(finite.min(initial=0.0)), float(finite.max(initial=0.0))
    high = high if len(beyond) else max(high, low + 1)
    marks = {float(t): f"{t:g}" for t in ax.get_yticks() if low - 1e-9 <= t <= high + 1e-9}
    for height, value in zip(beyond.tolist(), levels.potential[~here].tolist(), strict=True):
        marks[height] = "?" if np.isnan(value) else "∞" if value > 0 else "-∞"
    ax.set_yticks(list(marks), list(marks.values()))
    _draw_axis(ax, low, high)
    for edge, rows in ((high, beyond[beyond > high]), (low, beyond[beyond < low])):
        if len(rows):
            _draw_break(ax, edge, rows[np.argsort(np.abs(rows - edge))])


def _draw_axis(ax: Axes, low: float, high: float, width: float = 0.0) -> None:
    """Draw a piece of the axis; one that is wide is a stroke across it."""
    options: dict[str, Any] = {
        "color": FAINT,
        "lw": 0.8,
        "transform": ax.get_yaxis_transform(),
        "clip_on": False,
    }
    ax.plot([-width, width], [low, high], **options)


def _draw_break(ax: Axes, edge: float, rows: NDArray[np.float64]) -> None:
    """Go on with the axis from `edge` to the rows beyond, the nearest first, with a break."""
    middle, tilt = (edge + rows[0]) / 2, 0.012 * np.ptp(ax.get_ylim())
    gap = 2 * tilt * np.sign(rows[0] - edge)
    _draw_axis(ax, edge, middle - gap)
    _draw_axis(ax, middle + gap, rows[-1])
    for stroke in (middle - 0.9 * tilt, middle + 0.9 * tilt):
        _draw_axis(ax, stroke - tilt, stroke + tilt, 0.015)
    ax.axhline(middle, color=FAINT, ls=":", lw=0.8, zorder=0)
