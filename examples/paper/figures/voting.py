"""What majority voting does to rates and to the potential (paper Fig. 12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import betainc

from detailed_balance.analyzers import Kernel, estimate_potential, majority_vote_kernel
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.plots.style import FAINT, in_house_style, put_title
from examples.paper.figures.canvas import (
    STYLES,
    draw_diagonal,
    make_panels,
    put_corner,
    put_legend,
    say_nothing,
    style_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["Vote", "hold_votes", "plot_voting"]

_POINTS = 400


@dataclass(frozen=True, slots=True, eq=False)
class Vote:
    """A kernel before and after a vote.

    Parameters
    ----------
    votes, needed : int
        M, and n of them that must agree.
    rates, voted_rates : (m,) arrays of float
        T and T* of the moves between two states, rising in T.
    values, voted_values : (n,) arrays of float
        V and V* of the largest component, in units of 1 / beta, each less its mean.
    """

    votes: int
    needed: int
    rates: NDArray[np.float64]
    voted_rates: NDArray[np.float64]
    values: NDArray[np.float64]
    voted_values: NDArray[np.float64]

    @property
    def slope(self) -> float:
        """The slope of V* against n V by least squares; 1 is the paper's estimate."""
        x = self.needed * self.values
        return float(x @ self.voted_values) / float(x @ x)


def hold_votes(
    kernel: Kernel, votes: int = 10, needed: Sequence[int] = (5, 7, 9)
) -> tuple[Vote, ...]:
    """Hold several votes on one kernel, and estimate the potential after each.

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
    InsufficientDataError
        Where the kernel has fewer than two states.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 29 and 30.

    Examples
    --------
    >>> once = Kernel.from_matrix([[0.0, 0.1], [0.01, 0.0]])
    >>> (vote,) = hold_votes(once, needed=[5])
    >>> round(vote.slope, 2)  # of rates that are small V* is n V
    0.97
    """
    before = estimate_potential(kernel)
    labels = before.components
    inside = labels == np.bincount(labels).argmax()
    moves = kernel.probabilities.tocoo()
    kept = (moves.row != moves.col) & (moves.data > 0)
    rates = np.sort(moves.data[kept])
    found = []
    for n in needed:
        after = estimate_potential(majority_vote_kernel(kernel, votes, n))
        won = betainc(n, votes - n + 1, np.clip(rates, 0, 1))
        old, new = before.values[inside], after.values[inside]
        found.append(Vote(votes, n, rates, won, old - old.mean(), new - new.mean()))
    return tuple(found)


@in_house_style
def plot_voting(kernel: Kernel, votes: int = 10, needed: Sequence[int] = (5, 7, 9)) -> Figure:
    """Draw T* against T, and V* against n V, for votes of n out of M (Fig. 12).

    The curves are eq. 29; the ticks under them are the rates of the kernel. On the diagonal of the
    second panel V* is n V, as eq. 30 has it where rates are small. Of more than 400 states that
    many are drawn, evenly spaced in V.

    Parameters
    ----------
    kernel : Kernel
        Of one answer.
    votes : int
        M.
    needed : sequence of int
        The values of n, up to four.

    Returns
    -------
    Figure
        Rates without a unit, potentials in units of 1 / beta and less their mean. Where the
        kernel has no moves between states it says so.

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
    >>> figure = plot_voting(Kernel.from_matrix([[0.0, 0.1], [0.01, 0.0]]))
    """
    if not 1 <= len(needed) <= len(STYLES):
        raise InvalidInputError(f"needed={needed!r}; one to {len(STYLES)} numbers can be drawn")
    labels = ("T, of one answer", "T*, after the vote"), ("n V (1/β)", "V* (1/β)")
    figure, (left, right) = make_panels(*labels)
    if not _has_moves(kernel):
        return say_nothing(figure, "The kernel has no move between two states")
    held = hold_votes(kernel, votes, needed)
    _draw_rates(left, held)
    _draw_values(right, held)
    slopes = sorted(f"{vote.slope:.2f}" for vote in held)
    between = " to ".join(dict.fromkeys((slopes[0], slopes[-1])))
    title = f"After the vote the potential is {between} times n V"
    detail = f"n of M = {votes} answers must agree; {len(held[0].values):,} states"
    put_title(left, title, detail)
    return figure


def _has_moves(kernel: Kernel) -> bool:
    moves = kernel.probabilities.tocoo()
    return bool(np.any((moves.row != moves.col) & (moves.data > 0)))


def _draw_rates(ax: Axes, held: Sequence[Vote]) -> None:
    grid = np.linspace(0, 1, 301)
    draw_diagonal(ax, 0.5, "no vote")
    for place, vote in enumerate(held):
        style, won = style_of(place), betainc(vote.needed, vote.votes - vote.needed + 1, grid)
        ax.plot(grid, won, color=style.colour, ls=style.line, lw=1.5, label=f"n = {vote.needed}")
    ticks = _thin(held[0].rates)
    ax.plot(ticks, np.full(len(ticks), -0.04), "|", ms=6, color=FAINT, alpha=0.5)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.08, 1.04))
    put_legend(ax, 4)


def _draw_values(ax: Axes, held: Sequence[Vote]) -> None:
    draw_diagonal(ax, 0.0, "V* = n V")
    lines = ["slope of V* on n V"]
    for place, vote in enumerate(held):
        style = style_of(place)
        order = np.argsort(vote.values, kind="stable")
        options: dict[str, Any] = {"color": style.colour, "ms": 4, "mfc": "none", "mew": 0.9}
        x, y = _thin(vote.needed * vote.values[order]), _thin(vote.voted_values[order])
        ax.plot(x, y, style.marker, label=f"n = {vote.needed}", **options)
        lines.append(f"n = {vote.needed}: {vote.slope:.3f}")
    put_corner(ax, lines)
    put_legend(ax, 4)


def _thin(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return of many sorted values 400 that are evenly spaced."""
    return values[np.unique(np.linspace(0, len(values) - 1, _POINTS).astype(np.int64))]
