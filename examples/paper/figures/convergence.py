"""How the action falls and the residuals shrink while the potential is solved for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from detailed_balance.analyzers import Kernel, Potential, TransitionCounts, estimate_potential
from detailed_balance.analyzers.convergence import BALANCED
from detailed_balance.analyzers.errors import ConvergenceError
from detailed_balance.plots.style import in_house_style, put_title
from detailed_balance.render.formatting import count_noun
from examples.paper.figures.canvas import STYLES, make_panels, put_legend, say_nothing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["SolverTrace", "plot_convergence", "trace_solver"]

_DECREMENT = 1e-12
"""What the decrement must fall below, see `Residuals.are_small`."""


@dataclass(frozen=True, slots=True, eq=False)
class SolverTrace:
    """A solve, looked at after each of its k - 1 iterations.

    Parameters
    ----------
    normalized_action : (k,) array of float
        S[V] / n, in units of K; the first is where the iterations began.
    flow, step, decrement : (k,) arrays of float
        The residuals, see `Residuals`.
    tolerance : float
        What `step` must fall below, in units of V.
    method : str
        What the steps were solved with.
    states : int
        How many there are.
    """

    normalized_action: NDArray[np.float64]
    flow: NDArray[np.float64]
    step: NDArray[np.float64]
    decrement: NDArray[np.float64]
    tolerance: float
    method: str
    states: int

    def __len__(self) -> int:
        return len(self.normalized_action)


def trace_solver(counts: TransitionCounts | Kernel, **settings: Any) -> SolverTrace:
    """Solve for the potential with 0, 1, 2 ... iterations, until it converges.

    Each is a solve of its own, so that k iterations cost about k^2 / 2.

    Parameters
    ----------
    counts : TransitionCounts or Kernel
        What `estimate_potential` takes.
    **settings
        Its options; `max_iterations` is where to give up, 100 by default.

    Raises
    ------
    InsufficientDataError
        Where fewer than two states are left.

    Examples
    --------
    >>> counts = TransitionCounts.from_edges([("a", "b", 10), ("b", "a", 90), ("b", "c", 10)])
    >>> trace = trace_solver(counts)
    >>> bool(trace.flow[-1] < 1e-10)
    True
    """
    most = settings.pop("max_iterations", 100)
    seen: list[Potential] = []
    for iterations in range(most + 1):
        try:
            seen.append(estimate_potential(counts, max_iterations=iterations, **settings))
            break
        except ConvergenceError as error:
            seen.append(error.estimate)
    last, residuals = seen[-1], [potential.residuals for potential in seen]
    return SolverTrace(
        np.array([potential.normalized_action for potential in seen]),
        np.array([r.flow for r in residuals]),
        np.array([r.step for r in residuals]),
        np.array([r.decrement for r in residuals]),
        last.tolerance / last.violation.beta,
        last.method,
        len(last.states),
    )


@in_house_style
def plot_convergence(trace: SolverTrace) -> Figure:
    """Draw the normalised action and the three residuals against the iterations of the solver.

    Dotted lines are what each residual must fall below; the solve ends when all three have.

    Parameters
    ----------
    trace : SolverTrace
        What `trace_solver` returned; another optimiser's is drawn the same way.

    Returns
    -------
    Figure
        S / n in units of K; `step` in units of V, the others are shares. Where the trace is empty
        it says so.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 8: the quantity, not a figure of it.

    Examples
    --------
    >>> counts = TransitionCounts.from_edges([("a", "b", 10), ("b", "a", 90), ("b", "c", 10)])
    >>> figure = plot_convergence(trace_solver(counts))
    """
    labels = ("iteration", "S / n"), ("iteration", "residual")
    figure, (left, right) = make_panels(*labels)
    if not len(trace):
        return say_nothing(figure, "The trace has no iteration")
    iterations = np.arange(len(trace))
    options: dict[str, Any] = {
        "color": STYLES[0].colour,
        "marker": STYLES[0].marker,
        "ms": 4,
        "lw": 1.3,
    }
    left.plot(iterations, trace.normalized_action, label="action over states", **options)
    _draw_residuals(right, trace)
    for ax in (left, right):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        put_legend(ax)
    title = f"The action settles at S / n = {trace.normalized_action[-1]:.4g}"
    steps = count_noun(len(trace) - 1, "iteration")
    put_title(left, title, f"{count_noun(trace.states, 'state')}, {steps} ({trace.method})")
    return figure


def _draw_residuals(ax: Axes, trace: SolverTrace) -> None:
    series = {
        "flow": (trace.flow, BALANCED),
        "step (1/β)": (trace.step, trace.tolerance),
        "decrement": (trace.decrement, _DECREMENT),
    }
    for style, (name, (values, wanted)) in zip(STYLES, series.items(), strict=False):
        shown = np.where(values > 0, values, np.nan)
        options: dict[str, Any] = {"marker": style.marker, "ls": style.line, "ms": 4, "lw": 1.3}
        ax.semilogy(np.arange(len(values)), shown, color=style.colour, label=name, **options)
        ax.axhline(wanted, color=style.colour, ls=":", lw=0.9)
