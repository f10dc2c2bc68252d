"""The potential against something else that is known of the states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr

from detailed_balance.analyzers import Potential
from detailed_balance.analyzers.errors import UnknownStateError
from detailed_balance.plots.style import in_house_style, put_title
from detailed_balance.render.formatting import format_pvalue
from examples.paper.figures.canvas import (
    draw_cloud,
    make_frame,
    name_series,
    put_corner,
    say_nothing,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["pair_scores", "plot_score"]


def pair_scores(
    potential: Potential, scores: Mapping[str, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scores and the V, (m,) each, of the states that have both finite.

    V is that of the largest strongly connected component, from its lowest state.

    Parameters
    ----------
    potential : Potential
        Of n states.
    scores : mapping of str to float
        At least those states' scores; NaN where one is unknown.

    Raises
    ------
    UnknownStateError
        Where a state has no score.

    Examples
    --------
    >>> from detailed_balance.analyzers import Kernel, estimate_potential
    >>> potential = estimate_potential(Kernel.from_matrix([[0, 0.5], [0.25, 0]], ("a", "b")))
    >>> x, v = pair_scores(potential, {"a": 3.0, "b": 1.0})
    >>> x.tolist(), v.round(3).tolist()
    ([3.0, 1.0], [0.693, 0.0])
    """
    if missing := [state for state in potential.states if state not in scores]:
        raise UnknownStateError(f"state {missing[0][:80]!r} has no score; give NaN if unknown")
    x = np.array([scores[state] for state in potential.states], dtype=np.float64)
    v = potential.relative_to()
    known = np.isfinite(x) & np.isfinite(v)
    return x[known], v[known]


@in_house_style
def plot_score(potential: Potential, scores: Mapping[str, float], *, name: str = "score") -> Figure:
    """Draw the potential against a score of the states, such as error or complexity.

    The corner holds Spearman's rank correlation, for which no scale matters. Of more than 2,000
    states the density is drawn.

    Parameters
    ----------
    potential : Potential
        Of n states.
    scores : mapping of str to float
        See `pair_scores`.
    name : str
        What the score is, with its unit.

    Returns
    -------
    Figure
        V in units of 1 / beta. Where fewer than three states have both it says so.

    Raises
    ------
    UnknownStateError
        Where a state has no score.

    References
    ----------
    Song et al., arXiv:2512.10047: the quantities, not a figure of it.

    Examples
    --------
    >>> from detailed_balance.analyzers import Kernel, estimate_potential
    >>> names = ("xxx", "xx", "x")
    >>> kernel = Kernel.from_matrix([[0, 0.4, 0.4], [0.1, 0, 0.4], [0.1, 0.1, 0]], names)
    >>> figure = plot_score(estimate_potential(kernel), {s: len(s) for s in names}, name="length")
    """
    x, v = pair_scores(potential, scores)
    figure, ax = make_frame(name_series(name), "potential V (1/β)")
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(v) == 0:
        return say_nothing(figure, "Fewer than three states differ in score and potential")
    said = draw_cloud(ax, x, v, noun="state")
    rank = spearmanr(x, v)
    rho = float(rank.statistic)
    put_corner(ax, [f"rank r = {rho:.3f}", f"p = {format_pvalue(float(rank.pvalue))}"])
    ax.margins(y=0.12)
    title = f"Rank correlation {rho:.2f} with the potential"
    put_title(ax, title, f"{said}; Spearman's, which needs no scale")
    return figure
