"""The size of the space that an agent explores, and how its moves are spread over it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers import TransitionCounts, estimate_kernel
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.kernel import Attempts
from detailed_balance.plots.style import in_house_style, put_title
from detailed_balance.render.formatting import count_noun
from examples.paper.figures.canvas import (
    STYLES,
    make_panels,
    name_series,
    put_legend,
    say_nothing,
    style_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["count_states_found", "plot_distributions", "plot_exploration", "share_at_least"]

_BLOCKS = 20
_POINTS = 1_000
_BINS = 24


def count_states_found(attempts: Iterable[tuple[str, str | None]]) -> NDArray[np.int64]:
    """Return how many different states were known after each attempt.

    Parameters
    ----------
    attempts : iterable of (str, str or None)
        Source and target in the order made; the target None is an answer that was rejected.

    Returns
    -------
    (m,) array of int

    Examples
    --------
    >>> count_states_found([("a", "b"), ("a", None), ("b", "c"), ("c", "a")]).tolist()
    [2, 2, 3, 3]
    """
    known: set[str | None] = {None}
    found = []
    for attempt in attempts:
        known.update(attempt)
        found.append(len(known) - 1)
    return np.array(found, dtype=np.int64)


def share_at_least(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the different values above 0, rising, and the share of all that is at least each.

    Examples
    --------
    >>> share_at_least(np.array([1.0, 5.0, 1.0, 0.0]))
    (array([1., 5.]), array([0.75, 0.25]))
    """
    levels, counts = np.unique(values, return_counts=True)
    share = np.cumsum(counts[::-1])[::-1] / max(len(values), 1)
    return levels[levels > 0], share[levels > 0]


@in_house_style
def plot_exploration(runs: Mapping[str, Iterable[tuple[str, str | None]]]) -> Figure:
    """Draw how many states were found against the number of attempts, and the share that is new.

    A space that is small saturates; one that is not goes on growing. The second panel has, for
    each of twenty equal parts of a run, the share of attempts that found a state not known before.

    Parameters
    ----------
    runs : mapping of str to iterable of (str, str or None)
        The attempts of each run by its name, see `count_states_found`; up to four runs.

    Returns
    -------
    Figure
        Where no run has an attempt it says so. Of a run of more than 1,000 attempts as many
        points are drawn, evenly spaced.

    Raises
    ------
    InvalidInputError
        For more than four runs, which could not be distinguished.

    References
    ----------
    Song et al., arXiv:2512.10047: the quantities, not a figure of it.

    Examples
    --------
    >>> figure = plot_exploration({"small": [("a", "b"), ("b", "a"), ("a", "b")]})
    """
    if len(runs) > len(STYLES):
        raise InvalidInputError(f"{len(runs)} runs; at most {len(STYLES)} can be distinguished")
    found = {name: count_states_found(attempts) for name, attempts in runs.items()}
    found = {name: known for name, known in found.items() if len(known)}
    label = "attempts"
    figure, (left, right) = make_panels((label, "states found"), (label, "share that finds a new"))
    if not found:
        return say_nothing(figure, "No attempt was made")
    for place, (name, known) in enumerate(found.items()):
        _draw_run(left, right, known, place, name)
    left.set_yscale("log")
    right.set_ylim(0, None)
    figure.legend(*left.get_legend_handles_labels(), loc="lower center", ncols=len(found))
    ends = ", ".join(f"{known[-1]:,} of {len(known):,}" for known in found.values())
    growing = sum(bool(_new_in_blocks(known)[1][-1]) for known in found.values())
    title = f"{growing} of {count_noun(len(found), 'run')} still found new states at the end"
    put_title(left, title, f"states found of attempts made: {ends}")
    return figure


@in_house_style
def plot_distributions(counts: TransitionCounts, *, attempts: Attempts = "observed") -> Figure:
    """Draw how visits and exits are spread over the states, and the transition probabilities.

    Parameters
    ----------
    counts : TransitionCounts
        What was recorded; START and END are left out. A visit is an arrival from another state,
        an exit a different state moved to.
    attempts : str, float or array
        The N0 of the probabilities, as for `estimate_kernel`.

    Returns
    -------
    Figure
        Shares of states on logarithmic axes; probabilities in bins of equal width in their
        logarithm. Where nothing moves it says so.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 6: the quantities, not a figure of it.

    Examples
    --------
    >>> figure = plot_distributions(TransitionCounts.from_edges([("a", "b", 3), ("b", "a", 1)]))
    """
    counts = counts.without_boundaries()
    figure, (left, right) = make_panels(
        ("visits, or exits", "share of states with as many"), ("T(g←f)", "transitions")
    )
    moves = counts.counts.tocoo()
    kept = (moves.row != moves.col) & (moves.data > 0)
    if not kept.any():
        return say_nothing(figure, "No move between two states was recorded")
    n = len(counts)
    visits = np.bincount(moves.col[kept], moves.data[kept], n).astype(np.float64)
    exits = np.bincount(moves.row[kept], minlength=n).astype(np.float64)
    for values, style, label in ((visits, STYLES[0], "visits"), (exits, STYLES[1], "exits")):
        _draw_share(left, values, style.colour, style.marker, style.line, label)
    put_legend(left)
    _draw_probabilities(right, counts, attempts)
    title = f"{count_noun(n, 'state')}, {count_noun(int(kept.sum()), 'edge')}"
    put_title(left, title, f"{count_noun(int(moves.data[kept].sum()), 'transition')} between them")
    return figure


def _draw_run(left: Axes, right: Axes, known: NDArray[np.int64], place: int, name: str) -> None:
    style, m = style_of(place), len(known)
    options: dict[str, Any] = {
        "color": style.colour,
        "ls": style.line,
        "lw": 1.5,
        "label": name_series(name),
    }
    chosen = np.unique(np.linspace(0, m - 1, min(m, _POINTS)).astype(np.int64))
    left.plot(chosen + 1, known[chosen], **options)
    right.plot(*_new_in_blocks(known), marker=style.marker, ms=3.5, **options)


def _new_in_blocks(known: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the middle of each block of attempts, and the share of them that found a state."""
    m = len(known)
    ends = np.unique(np.linspace(0, m, min(m, _BLOCKS) + 1).astype(np.int64))
    found_one = np.concatenate([[0], np.cumsum(np.diff(known, prepend=0) > 0)])[ends]
    return (ends[1:] + ends[:-1] + 1) / 2, np.diff(found_one) / np.diff(ends)


def _draw_share(
    ax: Axes, values: NDArray[np.float64], colour: str, marker: str, line: str, label: str
) -> None:
    x, share = share_at_least(values)
    ax.loglog(x, share, color=colour, marker=marker, ms=3, ls=line, lw=1, label=label)


def _draw_probabilities(ax: Axes, counts: TransitionCounts, attempts: Attempts) -> None:
    kernel = estimate_kernel(counts, attempts=attempts, min_attempts=0)
    moves = kernel.probabilities.tocoo()
    rates = moves.data[(moves.row != moves.col) & (moves.data > 0)]
    low = min(float(rates.min()), 0.5)
    edges = np.geomspace(low, 1.0, _BINS + 1)
    edges[-1] = np.nextafter(1.0, 2.0)
    ax.hist(rates, edges.tolist(), color=STYLES[0].colour, alpha=0.6, edgecolor="white", lw=0.5)
    ax.set_xscale("log")
