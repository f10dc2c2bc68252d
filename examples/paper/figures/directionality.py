"""Which way the moves of an agent go on a potential, beside chance and what was published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers import Directionality, Kernel, score_directionality
from detailed_balance.plots.style import FAINT, INK, in_house_style, put_text, put_title
from examples.paper.figures.canvas import (
    STYLES,
    make_frame,
    name_series,
    put_legend,
    say_nothing,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

__all__ = ["PUBLISHED_SHARES", "plot_directionality", "shuffle_directionality"]

PUBLISHED_SHARES = (0.6956, 0.2583, 0.0462)
"""Down, up and flat as the paper gives them (supplement E); rounded, they sum to 1.0001."""


def shuffle_directionality(
    kernel: Kernel, values: ArrayLike, *, draws: int = 200, seed: int = 0
) -> Directionality:
    """Return which way the moves go when the values are dealt to the states at random.

    The counts of all draws are added up: what a potential that knows nothing would give.

    Parameters
    ----------
    kernel : Kernel
        T, the n states.
    values : (n,) array_like
        V.
    draws, seed : int
        How often they are dealt, and by which random numbers.

    Raises
    ------
    InsufficientDataError
        Where no transition is probable enough.

    Examples
    --------
    >>> kernel = Kernel.from_matrix([[0.0, 0.9], [0.0, 0.0]])
    >>> shuffle_directionality(kernel, [1.0, 0.0], draws=2_000).shares[0].__round__(1)
    0.5
    """
    rng, heights = np.random.default_rng(seed), np.asarray(values, dtype=np.float64)
    found = [score_directionality(kernel, rng.permutation(heights)) for _ in range(draws)]
    return replace(
        found[0],
        down=sum(score.down for score in found),
        up=sum(score.up for score in found),
        flat=sum(score.flat for score in found),
    )


@in_house_style
def plot_directionality(
    scores: Mapping[str, Directionality | None], *, published: bool = True
) -> Figure:
    """Draw the shares of moves that go down, up and neither, a bar for each potential.

    Parameters
    ----------
    scores : mapping of str to Directionality
        What `score_directionality`, `shuffle_directionality` or a fit gave, by name; a None is
        left out.
    published : bool
        Whether to add the paper's figures, those of its own agent and explicit potential.

    Returns
    -------
    Figure
        Where there is no score it says so.

    References
    ----------
    Song et al., arXiv:2512.10047, supplement E.

    Examples
    --------
    >>> figure = plot_directionality({"explicit": Directionality(7, 2, 1, 0.05, 1e-9)})
    """
    known = {name: score for name, score in scores.items() if score is not None}
    figure, ax = make_frame("share of the transitions", "")
    if not known:
        return say_nothing(figure, "No transition is probable enough to have a say")
    rows = {name_series(name).strip(): score.shares for name, score in known.items()}
    bars = [*rows.items(), *([("the paper's agent", PUBLISHED_SHARES)] if published else [])]
    ax.set_position((0.25, 0.17, 0.72, 0.71))
    _draw_bars(ax, bars)
    first, score = next(iter(known.items()))
    title = f"{score.shares[0]:.0%} of the moves go down ({name_series(first).strip()})"
    put_title(ax, title, f"transitions with T > {score.threshold:g}")
    return figure


def _draw_bars(ax: Axes, bars: list[tuple[str, tuple[float, float, float]]]) -> None:
    places = np.arange(len(bars))[::-1]
    below = np.zeros(len(bars))
    ways = zip(("down", "up", "flat"), (STYLES[0], STYLES[1], STYLES[3]), strict=True)
    for way, (label, style) in enumerate(ways):
        shares = np.array([shares[way] for _, shares in bars])
        options: dict[str, Any] = {
            "hatch": style.hatch,
            "edgecolor": "white",
            "lw": 0.5,
            "height": 0.6,
        }
        ax.barh(places, shares, left=below, color=style.colour, label=label, **options)
        below += shares
    for place, (_, parts) in zip(places.tolist(), bars, strict=True):
        text = " / ".join(f"{100 * share:.2f}" for share in parts) + " %"
        put_text(ax, 0.005, place + 0.36, text, fontsize=7, color=INK)
    ax.set(xlim=(0, 1.001), ylim=(-0.6, len(bars) - 0.25))
    ax.axvline(0.5, color=FAINT, lw=0.8, ls="--", zorder=3)
    ax.set_yticks(places, [name for name, _ in bars], parse_math=False)
    put_legend(ax)
