"""Pictures of balance: the pairs and the loops.

They are `matplotlib.figure.Figure` objects made without pyplot, so that nothing global changes and
no window opens: ``plot_pairs(report).savefig("pairs.png")`` writes one. In a notebook, draw into
axes of pyplot: ``plot_pairs(report, ax=plt.gca())``. State keys are never read as mathematics,
whatever dollar signs they hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from detailed_balance.analyzers import BalanceReport
from detailed_balance.analyzers.balance.loops import SMALL_COUNT
from detailed_balance.analyzers.sparse import lookup
from detailed_balance.plots._measured import CountsWithBalance, measure_balance
from detailed_balance.plots.style import (
    DRIVEN,
    FAINT,
    PLAIN,
    figure_of,
    in_house_style,
    put_note,
    put_text,
    put_title,
)
from detailed_balance.render.formatting import count_noun, safe_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from detailed_balance.analyzers import TransitionCounts
    from detailed_balance.analyzers.inputs import CountsLike
    from detailed_balance.plots._measured import PlottedReport

__all__ = ["plot_loops", "plot_pairs"]

SIZE = (5.2, 4.9)
"""The size of the pictures of pairs and loops, in inches."""

PAIRS_NAMED = 3
POINTS_SHOWN = 400
"""At most so many points are drawn: the pairs with the smallest errors, the strongest loops."""


@in_house_style
def plot_pairs(
    source: PlottedReport | BalanceReport | CountsLike, *, ax: Axes | None = None
) -> Figure:
    """Draw the log ratio of the rates of each pair against what the potential predicts.

    Under detailed balance all points lie on the diagonal (paper Fig. 4). Pairs beyond the
    resolution of the data are grey; the pairs farthest off, by more than 3 errors, are named. Of
    more than 400 pairs the ones with the smallest errors are drawn.

    Parameters
    ----------
    source : Report, BalanceReport or CountsLike
        What `analyze` or `check_balance` returned, or counts that are then checked.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a figure of its own.

    Returns
    -------
    matplotlib.figure.Figure
        The whole figure, that of `ax` where it is given.

    Raises
    ------
    InsufficientDataError
        Where data are too few for a potential.
    InvalidInputError
        Where `source` is none of these.

    Examples
    --------
    >>> from detailed_balance import TransitionCounts, analyze
    >>> counts = TransitionCounts.from_edges([("a", "b", 30), ("b", "a", 10)])
    >>> figure = plot_pairs(analyze(counts))
    >>> figure = plot_pairs(counts)  # the same
    """
    balance = source if isinstance(source, BalanceReport) else measure_balance(source).balance
    pairs = balance.pairs
    ax = _frame(ax, "potential drop β ΔV", "log ratio of the two rates (nats)")
    if not len(pairs):
        return _draw_empty(ax, "No pair of states was seen in both directions")
    drawn = np.argsort(pairs.error, kind="stable")[:POINTS_SHOWN]
    x, y, error = pairs.predicted[drawn], pairs.log_ratio[drawn], pairs.error[drawn]
    use = pairs.resolved[drawn]
    _draw_diagonal(ax, float(np.median(x)))
    for chosen, colour, label in ((~use, FAINT, "beyond resolution"), (use, PLAIN, "pairs")):
        _draw_points(ax, x[chosen], y[chosen], error[chosen], colour=colour, label=label)
    _name_worst_pairs(ax, balance, drawn)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
    put_title(ax, _pairs_title(balance), _pairs_detail(balance))
    return figure_of(ax)


@in_house_style
def plot_loops(
    source: PlottedReport | BalanceReport | CountsLike,
    counts: TransitionCounts | None = None,
    *,
    ax: Axes | None = None,
) -> Figure:
    """Draw the product of the rates along each loop, in one direction against the other.

    Under detailed balance all points lie on the diagonal (paper Fig. 3); driven loops are
    coloured. Which direction is which does not depend on the data. Of more than 400 loops the
    strongest are drawn.

    Parameters
    ----------
    source, ax
        As for `plot_pairs`.
    counts : TransitionCounts, optional
        What a `BalanceReport` is of.

    Returns
    -------
    matplotlib.figure.Figure
        The whole figure, that of `ax` where it is given.

    Raises
    ------
    InsufficientDataError
        Where data are too few for a potential.
    InvalidInputError
        Where `source` is none of these, or a `BalanceReport` comes without its counts.

    Examples
    --------
    >>> from detailed_balance import TransitionCounts, analyze
    >>> edges = [("a", "b", 90), ("b", "c", 90), ("c", "a", 90)]
    >>> edges += [(target, source, 10) for source, target, _ in edges]
    >>> figure = plot_loops(analyze(TransitionCounts.from_edges(edges)))
    """
    measured = measure_balance(source, counts)
    balance = measured.balance
    ax = _frame(ax, "one direction: sum of log rates (nats)", "reverse: sum of log rates (nats)")
    if not len(balance.loops):
        return _draw_empty(ax, "No loop of three or more states could be tested")
    shown = min(len(balance.loops), POINTS_SHOWN)
    (x, x_error), (y, y_error) = _log_products(measured, shown)
    driven = balance.loops.adjusted[:shown] <= balance.alpha
    _draw_diagonal(ax, float(np.median(x)))
    for chosen, colour, label in ((~driven, PLAIN, "not significant"), (driven, DRIVEN, "driven")):
        errors = y_error[chosen], x_error[chosen]
        _draw_points(ax, x[chosen], y[chosen], *errors, colour=colour, label=label)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
    count = len(balance.violations)
    verb = "is" if count == 1 else "are"
    title = f"{count:,} of {count_noun(len(balance.loops), 'loop')} {verb} driven"
    left_out = f"; the {shown} strongest are drawn" if shown < len(balance.loops) else ""
    put_title(ax, title, f"false discovery rate {balance.alpha:g}{left_out}")
    return figure_of(ax)


def _frame(ax: Axes | None, xlabel: str, ylabel: str) -> Axes:
    if ax is None:
        ax = Figure(figsize=SIZE).add_axes((0.12, 0.16, 0.85, 0.72))
    ax.set(xlabel=xlabel, ylabel=ylabel)
    return ax


def _draw_empty(ax: Axes, why: str) -> Figure:
    ax.set(xticks=[], yticks=[])
    put_text(ax, 0.5, 0.5, why, ha="center", color=FAINT, transform=ax.transAxes)
    return figure_of(ax)


def _draw_diagonal(ax: Axes, inside: float) -> None:
    ax.axline(
        (inside, inside), slope=1, color=FAINT, lw=1, ls="--", zorder=1, label="detailed balance"
    )


def _draw_points(
    ax: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    y_error: NDArray[np.float64],
    x_error: NDArray[np.float64] | None = None,
    *,
    colour: str,
    label: str,
) -> None:
    if not len(x):
        return
    ax.errorbar(
        x,
        y,
        yerr=y_error,
        xerr=x_error,
        fmt="o",
        color=colour,
        ecolor=(colour, 0.35),
        markersize=4,
        markeredgewidth=0,
        elinewidth=0.8,
        label=label,
    )


def _name_worst_pairs(ax: Axes, balance: BalanceReport, drawn: NDArray[np.intp]) -> None:
    pairs = balance.pairs
    off = np.where(pairs.resolved, np.abs(pairs.z), 0.0)
    heights: list[float] = []
    for i in drawn[np.argsort(-off[drawn])][:PAIRS_NAMED].tolist():
        x, y = float(pairs.predicted[i]), float(pairs.log_ratio[i])
        room = min((abs(y - height) for height in heights), default=np.inf)
        if off[i] > 3 and room > 0.05 * np.ptp(ax.get_ylim()):
            heights.append(y)
            name = f"{safe_text(pairs.source[i], 24)} → {safe_text(pairs.target[i], 24)}"
            side = 1 if x < pairs.predicted[drawn].max() / 2 else -1
            put_note(ax, name, (x, y), (5 * side, 0), ha="left" if side > 0 else "right")


def _pairs_title(balance: BalanceReport) -> str:
    if balance.independent_loops < 1:
        return "Too few pairs to tell whether one potential fits"
    return f"One potential explains {max(balance.explained, 0):.0%} of the drift"


def _pairs_detail(balance: BalanceReport) -> str:
    fit = f"r = {balance.correlation:.2f}; " if balance.independent_loops else ""
    count = len(balance.pairs)
    left_out = f"; the {POINTS_SHOWN} best known are drawn" if count > POINTS_SHOWN else ""
    return f"{fit}{count_noun(count, 'pair')} seen in both directions{left_out}"


def _log_products(
    measured: CountsWithBalance, shown: int
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return, for each direction, the sums of log rates of the first loops and their errors.

    Small counts get 1/2 added, as in the test itself.
    """
    loops, kernel = measured.balance.loops, measured.balance.potential.kernel
    counts = measured.counts.restrict(loops.states)
    attempts = counts.attempts if kernel.attempts is None else kernel.attempts
    members = [_by_name(loop) for loop in loops.members[:shown]]
    lengths = [len(loop) for loop in members]
    starts = np.cumsum([0, *lengths[:-1]])
    source = np.array([state for loop in members for state in loop])
    target = np.array([state for loop in members for state in (*loop[1:], loop[0])])
    small = np.minimum(loops.forward, loops.backward)[:shown] < SMALL_COUNT
    half = np.repeat(np.where(small, 0.5, 0.0), lengths)
    directions = []
    for f, g in ((source, target), (target, source)):
        n = lookup(counts.counts, f, g) + half
        rates = np.add.reduceat(np.log(n / attempts[f]), starts)
        directions.append((rates, np.sqrt(np.add.reduceat(1 / n, starts))))
    return directions


def _by_name(loop: tuple[int, ...]) -> tuple[int, ...]:
    """Turn a loop so that its second state has a lower index than its last."""
    return loop if loop[1] < loop[-1] else (loop[0], *loop[:0:-1])
