"""The potentials of contexts against each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from detailed_balance.analyzers import Kernel, PotentialComparison, estimate_potential
from detailed_balance.plots.style import FAINT, INK, PLAIN, in_house_style
from detailed_balance.render.formatting import safe_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["plot_against"]


@in_house_style
def plot_against(
    comparison: PotentialComparison, exact: Mapping[str, Kernel] | None = None
) -> Figure:
    """Draw V in each context against V in the first: estimates with errors, exact ones as dots.

    Parameters
    ----------
    comparison : PotentialComparison
        Of k contexts on m states.
    exact : mapping of str to Kernel, optional
        The kernels that are known.
    """
    others = len(comparison.contexts) - 1
    figure = Figure(figsize=(0.6 + 2.7 * others, 3.5), layout="constrained")
    panels = figure.subplots(1, others, sharey=False, squeeze=False)[0]
    for i, ax in enumerate(panels, start=1):
        _draw(ax, comparison, i, exact or {})
    verb = "differ" if comparison.rejected else "show no difference"
    title = f"The potentials {verb} on {len(comparison.states)} states"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _draw(ax: Axes, comparison: PotentialComparison, i: int, exact: Mapping[str, Kernel]) -> None:
    names = comparison.contexts
    x, y = comparison.values[[0, i]]
    errors = comparison.errors[[0, i]]
    style: dict[str, Any] = {"fmt": "none", "ecolor": PLAIN, "elinewidth": 0.6, "alpha": 0.6}
    ax.errorbar(x, y, yerr=errors[1], xerr=errors[0], label="estimate, one standard error", **style)
    if names[0] in exact and names[i] in exact:
        known = [_centred(exact[names[j]], comparison.states) for j in (0, i)]
        ax.plot(*known, ".", markersize=2.5, color=INK, label="exact")
    span = (min(x.min(), y.min()), max(x.max(), y.max()))
    ax.plot(span, span, color=FAINT, linewidth=0.8)
    ax.set_xlabel(f"V, {safe_text(names[0], 30)} (1/β)")
    ax.set_ylabel(f"V, {safe_text(names[i], 30)} (1/β)")
    if i == 1:
        ax.legend(loc="upper left", fontsize=6)


def _centred(kernel: Kernel, states: tuple[str, ...]) -> NDArray[np.float64]:
    potential = estimate_potential(kernel)
    values = potential.values[[potential.index(state) for state in states]]
    return np.asarray(values - values.mean())
