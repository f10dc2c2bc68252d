"""What majority voting does to log ratios (paper Fig. 12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from detailed_balance.analyzers import Kernel, majority_vote_kernel
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.sparse import lookup
from detailed_balance.plots.style import in_house_style, put_title
from examples.paper.figures.canvas import draw_diagonal, make_panels, put_corner, say_nothing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["Vote", "hold_votes", "plot_voting"]

_POINTS = 1_500


@dataclass(frozen=True, slots=True, eq=False)
class Vote:
    """The log ratios of m pairs of states before and after a vote.

    Parameters
    ----------
    votes, needed : int
        M, and n of them that must agree.
    rates : (m,) array of float
        T(g<-f) of the likelier way of each pair, falling.
    before : (m,) array of float
        n log T(g<-f) / T(f<-g), in nats.
    after : (m,) array of float
        log T*(g<-f) / T*(f<-g).
    """

    votes: int
    needed: int
    rates: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]

    @property
    def slope(self) -> float:
        """The slope of `after` on `before` through the origin; 1 where rates are small."""
        return float(self.before @ self.after) / float(self.before @ self.before)


def hold_votes(
    kernel: Kernel, votes: int = 10, needed: Sequence[int] = (5, 7, 9)
) -> tuple[Vote, ...]:
    """Hold several votes on one kernel, and compare the pairs that have a rate both ways.

    Parameters
    ----------
    kernel : Kernel
        Of one answer.
    votes : int
        M.
    needed : sequence of int
        The values of n.

    Raises
    ------
    InvalidInputError
        Where an n is less than half of the votes, or more than all of them.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 29 and 30.

    Examples
    --------
    >>> once = Kernel.from_matrix([[0.0, 0.1], [0.01, 0.0]])
    >>> (vote,) = hold_votes(once, needed=[5])
    >>> vote.before.round(2).tolist(), vote.after.round(2).tolist()  # 5 log 10
    ([11.51], [11.12])
    """
    moves = kernel.probabilities.tocoo()
    f, g, rates = moves.row, moves.col, moves.data
    back = lookup(kernel.probabilities, g, f)
    likelier = (back > 0) & ((rates > back) | ((rates == back) & (f < g))) & (f != g)
    f, g, rates, back = f[likelier], g[likelier], rates[likelier], back[likelier]
    order = np.argsort(-rates, kind="stable")
    f, g, rates, back = f[order], g[order], rates[order], back[order]
    found = []
    for n in needed:
        after = majority_vote_kernel(kernel, votes, n).probabilities
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.log(lookup(after, f, g)) - np.log(lookup(after, g, f))
        known = np.isfinite(ratio)  # of tiny rates T* may be 0
        before = n * np.log(rates / back)
        found.append(Vote(votes, n, rates[known], before[known], ratio[known]))
    return tuple(found)


@in_house_style
def plot_voting(
    kernel: Kernel, title: str, *, votes: int = 10, needed: Sequence[int] = (5, 7, 9)
) -> Figure:
    """Draw both sides of eq. 30, one panel for each n out of M (Fig. 12).

    On the diagonal log T*(g<-f) / T*(f<-g) is n times log T(g<-f) / T(f<-g), as it is where rates
    are small; the colour is T(g<-f). Of more than 1,500 pairs those are drawn whose likelier way
    is the most probable.

    Parameters
    ----------
    kernel : Kernel
        Of one answer.
    title : str
        Whose it is.
    votes : int
        M.
    needed : sequence of int
        The values of n, up to four.

    Returns
    -------
    Figure
        Axes in nats. Where no pair has a rate both ways it says so.

    Raises
    ------
    InvalidInputError
        Where `needed` is empty or has more than four values, or one that is less than half of
        the votes, or more than all of them.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 29 and 30, Fig. 12.

    Examples
    --------
    >>> figure = plot_voting(Kernel.from_matrix([[0.0, 0.1], [0.01, 0.0]]), "Two states")
    """
    if not 1 <= len(needed) <= 4:
        raise InvalidInputError(f"needed={needed!r}; one to 4 numbers can be drawn")
    held = hold_votes(kernel, votes, needed)
    labels = [(f"{n} log T(g←f) / T(f←g)", "log T*(g←f) / T*(f←g)") for n in needed]
    figure, axes = make_panels(*labels)
    if not len(held[0].rates):
        return say_nothing(figure, "The kernel has no pair of states with a rate both ways")
    colours = Normalize(0.0, held[0].rates.max())
    part = slice(0, _POINTS)
    dots: dict[str, Any] = {"cmap": "viridis_r", "norm": colours, "s": 9, "linewidths": 0}
    for ax, vote in zip(axes, held, strict=True):
        draw_diagonal(ax, 0.0, "n times")
        ax.scatter(vote.before[part], vote.after[part], c=vote.rates[part], **dots)
        put_corner(ax, [f"n = {vote.needed} of {votes}", f"slope {vote.slope:.3f}"])
    for ax in axes[1:]:
        ax.set_ylabel("")
    scale = ScalarMappable(colours, "viridis_r")
    bar = figure.colorbar(scale, ax=axes, shrink=0.8, pad=0.02, aspect=30)
    bar.set_label("T(g←f)")
    pairs = len(held[0].rates)
    drawn = f", {_POINTS:,} with the likeliest moves drawn" if pairs > _POINTS else ""
    put_title(axes[0], title, f"{pairs:,} pairs{drawn}; M = {votes}")
    return figure
