"""States on an axis of their potential, with the probabilities of the moves between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from rich.cells import cell_len

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.potential import Potential
from detailed_balance.drawing import FAINT, INK, PAPER, in_house_style, put_text, put_title
from detailed_balance.figures.canvas import LOOKS, make_frame
from detailed_balance.layout import place_sideways
from detailed_balance.ordering import order_states
from detailed_balance.text import safe_text
from detailed_balance.wording import count_noun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["StateLevels", "place_states", "plot_states"]

_INCHES = (4.55, 3.85)  # of the panel
_LABEL = 0.21
_BEND = 0.22
_NUMBERED = 30  # of more arrows the probabilities are not written
_ARROWS = 80


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
    figure.subplots_adjust()
    ax.set_position((0.11, 0.04, 0.86, 0.82))
    labels = [safe_text(state, 24) for state in levels.states]
    x = _place(ax, levels, labels)
    pills = [_draw_state(ax, *place) for place in zip(x, levels.height, labels, strict=True)]
    drawn, moves = _draw_moves(ax, levels, x, pills)
    _break_axis(ax, levels)
    finite = int(np.isfinite(levels.potential).sum())
    far = len(levels.states) - finite
    title = f"{count_noun(finite, 'state')} on one scale"
    title += f", {far} beyond it" if far else ""
    shown = f"the {drawn} most probable of {moves:,} moves" if moves > drawn else "all moves"
    rest = len(potential.states) - len(levels.states)
    left_out = f"; {rest:,} states are not drawn" if rest else ""
    put_title(ax, title, f"{shown}, with their probabilities{left_out}")
    return figure


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


def _place(ax: Axes, levels: StateLevels, labels: list[str]) -> NDArray[np.float64]:
    """Set the limits, with the panel's width in inches, and return the place of each label."""
    low, high = float(levels.height.min()), float(levels.height.max())
    margin = 0.09 * max(high - low, 1e-3)
    ax.set(xlim=(0, _INCHES[0]), ylim=(low - margin, high + margin), xticks=[])
    ax.spines[["bottom", "left"]].set_visible(False)
    scale = _INCHES[1] / max(high - low + 2 * margin, 1e-9)
    sizes = np.array([[_width(label) + 0.1, _LABEL + 0.25] for label in labels])
    busiest = np.argsort(-levels.height, kind="stable").tolist()
    weights = np.sqrt(levels.rates + levels.rates.T)
    room = _INCHES[0] - 0.3
    return 0.25 + place_sideways(weights, levels.height * scale, sizes, busiest, room)


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
    taken: list[NDArray[np.float64]] = []
    for i, j in zip(source[order].tolist(), target[order].tolist(), strict=True):
        rate = float(levels.rates[i, j])
        drop = levels.height[i] - levels.height[j]
        look = LOOKS[0] if drop >= 0 else LOOKS[1]
        ends = np.array([[x[i], levels.height[i]], [x[j], levels.height[j]]])
        arrow = FancyArrowPatch(
            tuple(ends[0]),
            tuple(ends[1]),
            patchA=pills[i],
            patchB=pills[j],
            arrowstyle="-|>",
            connectionstyle=f"arc3,rad={_BEND}",
            linestyle=look.line,
            color=look.colour,
            linewidth=0.8 + 2.2 * rate,
            mutation_scale=8 + 3 * rate,
            zorder=2,
        )
        ax.add_artist(arrow)
        if len(order) <= _NUMBERED:
            _number(ax, ends, rate, look.colour, taken)
    return len(order), len(rates)


def _number(
    ax: Axes,
    ends: NDArray[np.float64],
    rate: float,
    colour: str,
    taken: list[NDArray[np.float64]],
) -> None:
    """Write a probability on its arrow, where no other one is near."""
    unit = np.array([1.0, _INCHES[1] / (ax.get_ylim()[1] - ax.get_ylim()[0])])
    first, last = ends * unit
    across, upright = last - first
    # Where matplotlib's arc3 has its third point.
    via = (first + last) / 2 + _BEND * np.array([upright, -across])
    shares = np.array([0.5, 0.4, 0.6, 0.33, 0.67, 0.27])[:, None]
    places = (1 - shares) ** 2 * first + 2 * shares * (1 - shares) * via + shares**2 * last
    gaps = [min((_gap(place, other) for other in taken), default=9.0) for place in places]
    best = next((i for i, gap in enumerate(gaps) if gap > 1), int(np.argmax(gaps)))
    taken.append(places[best])
    halo = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 0.6}
    style: dict[str, Any] = {"ha": "center", "va": "center", "bbox": halo, "zorder": 3}
    put_text(ax, *(places[best] / unit), _digits(rate), fontsize=7, color=INK, **style)


def _gap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return how far two numbers are from each other, 1 where they touch."""
    return float(np.max(np.abs(one - other) / (0.38, 0.14)))


def _digits(rate: float) -> str:
    return f"{rate:.2f}" if rate >= 0.095 else f"{rate:.2g}"


def _break_axis(ax: Axes, levels: StateLevels) -> None:
    """Draw the axis where V is finite, and what is beyond it apart."""
    finite = levels.height[np.isfinite(levels.potential)]
    low, high = float(finite.min(initial=0.0)), float(finite.max(initial=0.0))
    high = high if high > low else low + 1
    across = ax.get_yaxis_transform()
    line = {"color": FAINT, "lw": 0.8, "transform": across, "clip_on": False}
    ax.plot([0, 0], [low, high], **line)
    ticks = [t for t in ax.get_yticks() if low - 1e-9 <= t <= high + 1e-9]
    marks = {float(t): f"{t:g}" for t in ticks}
    beyond = levels.height[~np.isfinite(levels.potential)]
    rest = levels.potential[~np.isfinite(levels.potential)]
    for height, value in zip(beyond.tolist(), rest.tolist(), strict=True):
        marks[height] = "?" if np.isnan(value) else "∞" if value > 0 else "-∞"
    for part, edge in ((beyond[beyond > high], high), (beyond[beyond < low], low)):
        if len(part):
            nearest = part[np.argmin(np.abs(part - edge))]
            middle, tilt = (edge + nearest) / 2, 0.012 * np.ptp(ax.get_ylim())
            for shift in (-0.9 * tilt, 0.9 * tilt):
                y = [middle + shift - tilt, middle + shift + tilt]
                ax.plot([-0.015, 0.015], y, **line)
            ax.plot([0, 0], [edge, middle - 2 * tilt * np.sign(nearest - edge)], **line)
            far = part[np.argmax(np.abs(part - edge))]
            ax.plot([0, 0], [middle + 2 * tilt * np.sign(nearest - edge), far], **line)
            ax.axhline(middle, color=FAINT, ls=":", lw=0.8, zorder=0)
    ax.set_yticks(list(marks), list(marks.values()))
