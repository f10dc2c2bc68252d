"""Explicit potentials: what they predict, and what a penalty on their features costs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from detailed_balance.analyzers import ExplicitPotential, Kernel, Potential, make_features
from detailed_balance.analyzers.errors import InsufficientDataError, UnknownStateError
from detailed_balance.analyzers.potential.lasso import ActionProblem, fit_path
from detailed_balance.plots.style import FAINT, INK, in_house_style, put_title
from detailed_balance.render.formatting import count_noun
from examples.paper.figures.canvas import (
    CLOUD,
    STYLES,
    draw_cloud,
    draw_diagonal,
    draw_points,
    make_frame,
    make_panels,
    put_corner,
    put_legend,
    say_nothing,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = [
    "Prediction",
    "count_features",
    "plot_penalty",
    "plot_prediction",
    "predict_states",
]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The free and the explicit potential of m states.

    Parameters
    ----------
    free, explicit : (m,) arrays of float
        In units of 1 / beta; each less its mean over the states that are not held out.
    held_out : (m,) array of bool
        The states that the explicit potential was not fitted to.
    """

    free: NDArray[np.float64]
    explicit: NDArray[np.float64]
    held_out: NDArray[np.bool_]

    def correlation(self, held_out: bool = True) -> float:
        """Return Pearson's r over the states held out, or over the others; NaN for under 3."""
        chosen = self.held_out == held_out
        x, y = self.free[chosen], self.explicit[chosen]
        if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
            return float("nan")
        return float(np.corrcoef(x, y)[0, 1])


def predict_states(
    fit: ExplicitPotential, potential: Potential, held_out: Collection[str]
) -> Prediction:
    """Return both potentials of the states of the largest strongly connected component.

    Parameters
    ----------
    fit : ExplicitPotential
        Fitted to the moves between the states that are not held out.
    potential : Potential
        Estimated from all moves.
    held_out : collection of str
        States of `potential`.

    Raises
    ------
    InvalidInputError
        Where a feature cannot be computed.
    UnknownStateError
        Where a state held out is none of `potential`.
    """
    hidden = set(held_out)
    if unknown := hidden.difference(potential.states):
        raise UnknownStateError(f"held_out has {min(unknown)[:80]!r}, which has no potential")
    values = potential.relative_to()
    kept = np.flatnonzero(np.isfinite(values))
    states = [potential.states[i] for i in kept]
    mask = np.array([state in hidden for state in states], dtype=bool)
    free, explicit = values[kept], fit.predict(states)
    base = ~mask if not mask.all() else mask
    return Prediction(free - free[base].mean(), explicit - explicit[base].mean(), mask)


@in_house_style
def plot_prediction(
    fit: ExplicitPotential, potential: Potential, held_out: Collection[str]
) -> Figure:
    """Draw the explicit potential of states against their free one, those held out apart.

    Of more than 2,000 states held out the density is drawn, and the others are left out.

    Parameters
    ----------
    fit, potential, held_out
        As for `predict_states`.

    Returns
    -------
    Figure
        In units of 1 / beta. Where no state of the component was held out it says so.

    Raises
    ------
    InvalidInputError
        Where a feature cannot be computed.
    UnknownStateError
        Where a state held out is none of `potential`.

    References
    ----------
    Song et al., arXiv:2512.10047, supplement E: the quantities, not a figure of it.

    Examples
    --------
    >>> from detailed_balance.analyzers import estimate_potential, fit_explicit_potential
    >>> v = np.arange(8) / 2
    >>> names = tuple("a" * n for n in range(1, 9))
    >>> kernel = Kernel.from_matrix(np.exp((v[:, None] - v) / 2) / 30, names)
    >>> fit = fit_explicit_potential(kernel, lambda s: {"length": len(s)})
    >>> figure = plot_prediction(fit, estimate_potential(kernel), names[:3])
    """
    figure, ax = make_frame("V, free (1/β)", "V, explicit (1/β)")
    found = predict_states(fit, potential, held_out)
    if not found.held_out.any():
        return say_nothing(figure, "No state with a finite potential was held out")
    draw_diagonal(ax, 0.0, "explicit = free")
    out = found.held_out
    if out.sum() > CLOUD:
        said = draw_cloud(ax, found.free[out], found.explicit[out], noun="state")
    else:
        said = count_noun(int(out.sum()), "state")
        for part, style, label in ((~out, STYLES[0], "fitted"), (out, STYLES[1], "held out")):
            options: dict[str, Any] = {"alpha": 0.7, "zorder": 3 if part is out else 2}
            draw_points(
                ax, found.free[part], found.explicit[part], style=style, label=label, **options
            )
    lines = [("held out", found.correlation()), ("fitted", found.correlation(False))]
    put_corner(ax, [f"r = {r:.3f} ({what})" for what, r in lines if np.isfinite(r)])
    put_legend(ax)
    used = count_noun(int(np.count_nonzero(fit.theta)), "feature")
    put_title(ax, f"The potential of states from {used}", f"{said} held out")
    return figure


def count_features(fit: ExplicitPotential, kernel: Kernel) -> NDArray[np.int64]:
    """Return how many features each penalty of the path leaves, (k,) array.

    Parameters
    ----------
    fit : ExplicitPotential
        Of p features and k penalties.
    kernel : Kernel
        What it was fitted to.

    Raises
    ------
    InsufficientDataError
        Where no feature differs between the ends of any move.
    """
    table = make_features(kernel.states, fit.features, names=fit.names)
    problem = ActionProblem.from_kernel(kernel, table.values, fit.violation)
    path = fit_path(problem, fit.penalties)
    return np.array([np.count_nonzero(theta) for theta in path], dtype=np.int64)


@in_house_style
def plot_penalty(fit: ExplicitPotential, kernel: Kernel) -> Figure:
    """Draw the held-out action, and the number of features left, against the L1 penalty.

    Parameters
    ----------
    fit : ExplicitPotential
        Of k penalties.
    kernel : Kernel
        What it was fitted to; features are counted in the fit to all of its moves.

    Returns
    -------
    Figure
        The action as a share of that without a potential, with the standard error over the parts
        held out; the penalty in the same unit, for a standard deviation of a feature. The line is
        at the penalty chosen. Where no feature distinguishes states it says so.

    References
    ----------
    Song et al., arXiv:2512.10047, supplement E: the quantities, not a figure of it.

    Examples
    --------
    >>> from detailed_balance.analyzers import fit_explicit_potential
    >>> v = np.arange(8) / 2
    >>> names = tuple("a" * n for n in range(1, 9))
    >>> kernel = Kernel.from_matrix(np.exp((v[:, None] - v) / 2) / 30, names)
    >>> figure = plot_penalty(fit_explicit_potential(kernel, lambda s: {"length": len(s)}), kernel)
    """
    unit = "L1 penalty"
    figure, (left, right) = make_panels((unit, "held-out action"), (unit, "features left"))
    try:
        features = count_features(fit, kernel)
    except InsufficientDataError:
        return say_nothing(figure, "No feature differs between the ends of a move")
    _draw_path(left, fit)
    style = STYLES[2]
    left_style: dict[str, Any] = {"color": style.colour, "marker": style.marker, "ms": 4, "lw": 1.3}
    right.step(fit.penalties, features, where="mid", label="features", **left_style)
    for ax in (left, right):
        ax.set_xscale("log")
        ax.axvline(fit.penalty, color=INK, lw=0.9, ls=":", label="chosen")
        put_legend(ax)
    right.yaxis.set_major_locator(MaxNLocator(integer=True))
    title = f"Held out, {fit.held_out_action:.0%} of the action is left"
    parts = f"{len(fit.held_out_actions)} parts held out in turn"
    used = count_noun(int(np.count_nonzero(fit.theta)), "feature")
    put_title(left, title, f"{parts}; {used} of {len(fit.names):,} at the penalty chosen")
    return figure


def _draw_path(ax: Axes, fit: ExplicitPotential) -> None:
    mean = fit.held_out_actions.mean(axis=0)
    error = fit.held_out_actions.std(axis=0, ddof=1) / np.sqrt(len(fit.held_out_actions))
    options: dict[str, Any] = {
        "color": STYLES[0].colour,
        "ecolor": (STYLES[0].colour, 0.5),
        "ms": 4,
        "lw": 1.3,
    }
    ax.errorbar(fit.penalties, mean, yerr=error, fmt="o-", label="mean ± error", **options)
    ax.axhline(1.0, color=FAINT, lw=0.9, ls="--", label="no potential")
