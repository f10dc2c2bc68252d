"""The distances between contexts, as a heat map."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from detailed_balance.analyzers import KernelComparison, PotentialComparison, compare_kernels
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.plots.style import (
    FAINT,
    INK,
    PAPER,
    figure_of,
    in_house_style,
    put_text,
    put_title,
)
from detailed_balance.render.formatting import safe_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from detailed_balance.analyzers.inputs import CountsLike

__all__ = ["plot_distances"]

MOST_NUMBERED = 12
"""With more contexts than this the cells hold no numbers."""

NAME_WIDTH = 24


@in_house_style
def plot_distances(
    comparison: KernelComparison | PotentialComparison | Mapping[str, CountsLike],
    path: str | PathLike[str] | None = None,
    *,
    ax: Axes | None = None,
) -> Figure:
    """Draw how far each two contexts are from each other.

    Dark is far. An asterisk marks pairs that differ at the level of the comparison, a dash pairs
    that could not be compared.

    Parameters
    ----------
    comparison : KernelComparison, PotentialComparison or mapping of str to CountsLike
        Of k contexts; its (k, k) `distances` are drawn, in nats per move or in units of 1 / beta.
        Counts or runs by the names of their contexts are compared by `compare_kernels` first.
    path : str or path, optional
        Where to write the picture; the suffix says in which format (.png, .svg).
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a figure of its own.

    Returns
    -------
    Figure
        The whole figure, that of `ax` where it is given, whether it was written or not.

    Raises
    ------
    InvalidInputError
        Where `comparison` is not a comparison of contexts.

    Examples
    --------
    >>> from detailed_balance.analyzers import TransitionCounts, compare_kernels
    >>> old = TransitionCounts.from_edges([("plan", "search", 90), ("plan", "answer", 10)])
    >>> new = TransitionCounts.from_edges([("plan", "search", 60), ("plan", "answer", 40)])
    >>> figure = plot_distances(compare_kernels({"old": old, "new": new}))
    """
    if isinstance(comparison, Mapping):
        comparison = compare_kernels(comparison)
    if not isinstance(comparison, KernelComparison | PotentialComparison):
        raise InvalidInputError(
            f"comparison is a {type(comparison).__name__}; give what compare_kernels or "
            "compare_potentials returned, or a mapping of names to counts or runs"
        )
    kernels = isinstance(comparison, KernelComparison)
    count = len(comparison.contexts)
    if ax is None:
        side = 0.55 * min(count, MOST_NUMBERED)
        ax = Figure(figsize=(3.4 + side, 2.1 + side), layout="constrained").add_subplot()
    ax.set(xlabel="context", ylabel="context")
    figure = figure_of(ax)
    apart = np.where(np.eye(count, dtype=bool), 0.0, comparison.distances)
    top = float(np.nanmax(apart)) or 1.0
    image = ax.imshow(np.ma.masked_invalid(apart), cmap="Greys", vmin=0, vmax=top)
    unit = "nats per move" if kernels else "in units of 1/β"
    figure.colorbar(image, ax=ax, label=f"distance, {unit}", shrink=0.9)
    names = [safe_text(name, NAME_WIDTH) for name in comparison.contexts]
    ax.set_xticks(range(count), names, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(count), names)
    if count <= MOST_NUMBERED:
        _write_numbers(ax, comparison, top)
    what = "kernels" if kernels else "potentials"
    verb = "differ" if comparison.rejected else "show no difference"
    put_title(ax, f"The {what} {verb}", f"* p ≤ {comparison.alpha:g}, adjusted for the pairs")
    if path is not None:
        figure.savefig(path)
    return figure


def _write_numbers(
    ax: Axes, comparison: KernelComparison | PotentialComparison, top: float
) -> None:
    """Write the distance of each two contexts into their cells."""
    for i, j in np.argwhere(~np.eye(len(comparison.contexts), dtype=bool)).tolist():
        distance = float(comparison.distances[i, j])
        if np.isnan(distance):
            put_text(ax, j, i, "-", ha="center", va="center", color=FAINT)
            continue
        star = "*" if comparison.distance_pvalues[i, j] <= comparison.alpha else ""
        colour = PAPER if distance > 0.55 * top else INK
        put_text(ax, j, i, f"{distance:.2g}{star}", ha="center", va="center", color=colour)
