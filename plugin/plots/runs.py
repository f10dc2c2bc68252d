"""The potential along single runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from matplotlib.figure import Figure

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.plots.style import (
    DRIVEN,
    FAINT,
    PLAIN,
    TRAPPED,
    figure_of,
    in_house_style,
    put_text,
    put_title,
)
from detailed_balance.render.formatting import count_noun, safe_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from detailed_balance.render.document import ChosenRun


class PlottedRuns(Protocol):
    """A `Report`, as far as pictures of its runs need it."""

    @property
    def runs(self) -> Any: ...


__all__ = ["plot_runs"]

WIDTH, HEIGHT = 7.6, 1.7
"""The width of a picture and the height of each run in it, in inches."""

POINTS_DRAWN = 1_000
"""Of a longer run the lowest and the highest point of each part are drawn."""

_COLOURS = {"shuttle": TRAPPED, "stay": TRAPPED, "cycle": DRIVEN, "limit": DRIVEN}


@in_house_style
def plot_runs(
    runs: PlottedRuns | Sequence[ChosenRun], *, ax: Axes | Sequence[Axes] | None = None
) -> Figure:
    """Draw the potential at each move of some runs, one below the other.

    From the onset on, where a run begins to repeat itself, the line is coloured.

    Parameters
    ----------
    runs : Report or sequence of ChosenRun
        A report, of which the runs that it chose are drawn, or some of ``report.runs.chosen``.
    ax : matplotlib.axes.Axes or sequence of them, optional
        Where to draw: one for each run; by default a figure of its own.

    Returns
    -------
    matplotlib.figure.Figure
        The whole figure, that of `ax` where it is given.

    Raises
    ------
    InvalidInputError
        Where there are more or fewer axes than runs, or a report has no runs.

    Examples
    --------
    >>> from detailed_balance import analyze
    >>> from detailed_balance.analyzers import Trajectory
    >>> moves = (("a", "b"), ("b", "c"), ("c", "a"), ("a", "c")) * 9
    >>> runs = [Trajectory(moves, f"run-{i}", success=i > 3) for i in range(9)]
    >>> figure = plot_runs(analyze(runs))
    """
    chosen = runs if isinstance(runs, Sequence) else _choose(runs)
    if ax is not None:
        panels = list(np.atleast_1d(np.asarray(ax, dtype=object)).ravel())
        if len(panels) != len(chosen) or not chosen:
            raise InvalidInputError(f"{len(panels)} axes for {len(chosen)} runs; give one for each")
        figure = figure_of(panels[0])
        for panel in panels:
            panel.set_ylabel("potential V (1/β)")
    else:
        figure = Figure(figsize=(WIDTH, 0.75 + HEIGHT * len(chosen)), layout="constrained")
        if not chosen:
            return figure
        panels = list(figure.subplots(len(chosen), 1, sharey=True, squeeze=False)[:, 0])
        figure.supylabel("potential V (1/β)", fontsize=8)
    for panel, run in zip(panels, chosen, strict=True):
        _draw(panel, run)
    panels[-1].set_xlabel("move")
    return figure


def _choose(report: PlottedRuns) -> Sequence[ChosenRun]:
    if getattr(report, "runs", None) is None:
        raise InvalidInputError(
            f"a {type(report).__name__} has no runs to draw; give what analyze(runs) returned"
        )
    chosen: Sequence[ChosenRun] = report.runs.chosen
    return chosen


def _draw(ax: Axes, run: ChosenRun) -> None:
    row, levels = run.row, np.array(run.levels)
    moves = np.arange(1, len(levels) + 1)
    onset = len(levels) if row.onset is None else row.onset
    # The last point before the onset belongs to both parts, so that the line does not break.
    for part, colour in (
        (slice(0, onset), PLAIN),
        (slice(max(onset - 1, 0), None), _COLOURS.get(row.kind, PLAIN)),
    ):
        x, y = _thin(moves[part], levels[part])
        ax.plot(x, y, color=colour, lw=1.1, marker="o", markersize=2 if len(levels) <= 150 else 0)
    ax.set_xlim(0, max(len(levels), 2) + 0.5)
    _name_levels(ax, run)
    put_title(ax, _title(run), _detail(run))


def _thin(
    x: NDArray[np.int64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, of a long line, the lowest and the highest point of each of equal parts."""
    if len(y) <= POINTS_DRAWN:
        return x.astype(np.float64), y
    parts = np.array_split(np.arange(len(y)), POINTS_DRAWN // 2)
    with np.errstate(all="ignore"):
        ends = [(np.nanmin(y[p]), np.nanmax(y[p])) for p in parts if not np.isnan(y[p]).all()]
        middles = [x[p].mean() for p in parts if not np.isnan(y[p]).all()]
    return np.repeat(middles, 2), np.array(ends).ravel()


def _name_levels(ax: Axes, run: ChosenRun) -> None:
    """Name the levels of the most visited states, as far as the names do not overlap."""
    finite = [level for level in run.levels if level == level]
    gap = 0.13 * max(max(finite, default=0) - min(finite, default=0), 1e-9)
    taken: list[float] = []
    for state, level in run.places:
        if all(abs(level - other) > gap for other in taken):
            taken.append(level)
            ax.axhline(level, color=FAINT, lw=0.5, ls=":", zorder=0)
            place = {"transform": ax.get_yaxis_transform(), "color": FAINT, "fontsize": 7}
            put_text(ax, 1.01, level, safe_text(state, 24), va="center", **place)


def _title(run: ChosenRun) -> str:
    return "a run" if run.row.name is None else f"run {safe_text(run.row.name, 40)}"


def _detail(run: ChosenRun) -> str:
    row = run.row
    ended = {True: "succeeded", False: "failed", None: "not judged"}[row.success]
    since = "" if row.onset is None else f" from move {row.onset:,} on"
    return f"{row.kind}{since}; {ended}, {count_noun(row.steps, 'move')}"
