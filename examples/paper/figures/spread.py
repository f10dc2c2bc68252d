"""How wide a potential is, and the action that this lets one expect (paper Fig. 11, eq. 28)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm

from detailed_balance.analyzers import (
    Potential,
    PotentialSpread,
    evaluate_action,
    expected_minimum_action,
    fit_spread,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.plots.style import FAINT, INK, in_house_style, put_title
from detailed_balance.render.formatting import count_noun, format_pvalue
from examples.paper.figures.canvas import (
    CLOUD,
    STYLES,
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

__all__ = ["ActionCurve", "follow_action", "plot_spread", "plot_temperature"]

_MOST_BARS = 60


@dataclass(frozen=True, slots=True, eq=False)
class ActionCurve:
    """The action at k temperatures, and what the spread of the potential lets one expect.

    Parameters
    ----------
    temperature : (k,) array of float
        Rising, in the units given.
    deviation : (k,) array of float
        s, the standard deviation of beta V over the largest component.
    action : (k,) array of float
        S[V] / S[0]: the action as a share of what it is without a potential.
    exact, asymptotic : (k,) arrays of float
        exp(s^2) erfc(s), and 1 / (sqrt(pi) s) (paper eq. 28).
    """

    temperature: NDArray[np.float64]
    deviation: NDArray[np.float64]
    action: NDArray[np.float64]
    exact: NDArray[np.float64]
    asymptotic: NDArray[np.float64]


@in_house_style
def plot_spread(potential: Potential) -> Figure:
    """Draw the histogram of the potential with its Gaussian, and the quantiles of both (Fig. 11).

    Parameters
    ----------
    potential : Potential
        The values of its largest strongly connected component are taken.

    Returns
    -------
    Figure
        V in units of 1 / beta; the quantiles in standard deviations. Where fewer than three
        states have a finite V, or all the same, it says so.

    References
    ----------
    Song et al., arXiv:2512.10047, Fig. 11 and Table IV.

    Examples
    --------
    >>> from detailed_balance.analyzers import Kernel, estimate_potential
    >>> v = np.random.default_rng(0).normal(size=40)
    >>> kernel = Kernel.from_matrix(np.exp((v[:, None] - v) / 2) / 1_000)
    >>> figure = plot_spread(estimate_potential(kernel))
    """
    figure, (left, right) = make_panels(
        ("V (1/β)", "states"), ("quantile of the Gaussian (s)", "quantile of V (s)")
    )
    try:
        fit = fit_spread(potential)
    except InsufficientDataError:
        return say_nothing(figure, "Fewer than three states have a V, or all have the same")
    values = np.sort(potential.values[_largest(potential)])
    _draw_histogram(left, values, fit)
    _draw_quantiles(right, values, fit)
    deviation, error = fit.deviation, fit.deviation_error
    normal = "" if np.isnan(fit.pvalue) else f"; normality p = {format_pvalue(fit.pvalue)}"
    detail = f"{count_noun(fit.states, 'state')}; mean {fit.mean:.2f}/β{normal}"
    put_title(left, f"The potential spreads by s = {deviation:.2f} ± {error:.2f}", detail)
    return figure


def follow_action(potentials: Mapping[float, Potential]) -> ActionCurve:
    """Return the action and its expectation at several temperatures.

    Parameters
    ----------
    potentials : mapping of float to Potential
        The potential at each temperature.

    Raises
    ------
    InvalidInputError
        Where a temperature is not positive.
    InsufficientDataError
        Where a potential is too small for a spread.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 8 and 28.

    Examples
    --------
    >>> from detailed_balance.analyzers import Kernel, estimate_potential
    >>> kernel = Kernel.from_matrix([[0, 0.16, 0.16], [0.04, 0, 0.16], [0.01, 0.04, 0]])
    >>> curve = follow_action({1.0: estimate_potential(kernel)})
    >>> curve.deviation.round(2).tolist(), curve.action.round(2).tolist()  # log 4, 40 / 57
    ([1.39], [0.7])
    """
    if bad := [t for t in potentials if not 0 < t < np.inf]:
        raise InvalidInputError(f"temperature {bad[0]!r}; a temperature is finite and positive")
    temperatures = sorted(potentials)
    chosen = [potentials[t] for t in temperatures]
    deviation = np.array([fit_spread(potential).deviation for potential in chosen])
    return ActionCurve(
        np.array(temperatures, dtype=np.float64),
        deviation,
        np.array([_share_left(potential) for potential in chosen]),
        expected_minimum_action(deviation),
        expected_minimum_action(deviation, asymptotic=True),
    )


@in_house_style
def plot_temperature(potentials: Mapping[float, Potential]) -> Figure:
    """Draw the least action against temperature, beside the expectation of eq. 28.

    The action is drawn as a share of what it is without a potential, the unit of the expectation.
    With the exponential K a pair in detailed balance costs 1 / cosh(x / 2) of that, x being beta
    times its difference, and the expectation counts exp(-abs(x)), which is less: points above
    the curves are no violation by themselves.

    Parameters
    ----------
    potentials : mapping of float to Potential
        The potential at each temperature.

    Returns
    -------
    Figure
        Where no potential is given it says so.

    Raises
    ------
    InvalidInputError
        Where a temperature is not positive.
    InsufficientDataError
        Where a potential is too small for a spread.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 8 and 28.

    Examples
    --------
    >>> from detailed_balance.analyzers import Kernel, estimate_potential
    >>> kernel = Kernel.from_matrix([[0, 0.4, 0.4], [0.1, 0, 0.4], [0.1, 0.1, 0]])
    >>> figure = plot_temperature({1.0: estimate_potential(kernel)})
    """
    figure, ax = make_frame("temperature", "action, as a share of that without a potential")
    if not potentials:
        return say_nothing(figure, "No temperature was given")
    curve = follow_action(potentials)
    series = (
        (curve.action, STYLES[0], "least action S[V] / S[0]"),
        (curve.exact, STYLES[1], "exp(s²) erfc(s)"),
        (curve.asymptotic, STYLES[2], "1 / (√π s)"),
    )
    for values, style, label in series:
        options: dict[str, Any] = {
            "color": style.colour,
            "marker": style.marker,
            "ls": style.line,
            "markersize": 5,
        }
        ax.plot(curve.temperature, values, label=label, lw=1.3, **options)
    ax.set_ylim(0, None)
    put_legend(ax)
    low, high = curve.deviation.min(), curve.deviation.max()
    where = f"s from {low:.2f} to {high:.2f}" if high > low else f"s = {high:.2f}"
    put_title(ax, _temperature_title(curve), f"{where}; expectations of a Gaussian potential")
    return figure


def _temperature_title(curve: ActionCurve) -> str:
    rises = np.all(np.diff(curve.action) > 0) and len(curve.action) > 1
    return "The hotter, the less a potential saves" if rises else "The least action"


def _largest(potential: Potential) -> NDArray[np.bool_]:
    labels = potential.components
    largest: NDArray[np.bool_] = labels == np.bincount(labels).argmax()
    return largest


def _share_left(potential: Potential) -> float:
    flat = evaluate_action(potential.kernel, np.zeros(len(potential.states)), potential.violation)
    return potential.action / flat


def _draw_histogram(ax: Axes, values: NDArray[np.float64], fit: PotentialSpread) -> None:
    edges = np.histogram_bin_edges(values, "fd")
    if len(edges) > _MOST_BARS + 1:
        edges = np.linspace(values[0], values[-1], _MOST_BARS + 1)
    ax.hist(values, edges.tolist(), color=STYLES[0].colour, alpha=0.45, edgecolor="white", lw=0.5)
    x = np.linspace(values[0] - 0.05 * np.ptp(values), values[-1] + 0.05 * np.ptp(values), 300)
    bell = fit.density(x) * len(values) * (edges[1] - edges[0])
    ax.plot(x, bell, color=STYLES[1].colour, lw=1.6, label="Gaussian")
    ax.axvline(fit.mean, color=INK, lw=0.8, ls=":", label="mean")
    ax.set_ylim(0, 1.12 * ax.get_ylim()[1])
    put_legend(ax)


def _draw_quantiles(ax: Axes, values: NDArray[np.float64], fit: PotentialSpread) -> None:
    """Draw every quantile, or of many states 2,000 that are evenly spaced."""
    n = len(values)
    chosen = np.unique(np.linspace(0, n - 1, min(n, CLOUD)).astype(np.int64))
    expected = norm.ppf((chosen + 0.5) / n)
    found = (values[chosen] - fit.mean) * fit.beta / fit.deviation
    ax.plot(expected, found, "o", ms=3, mew=0, color=STYLES[0].colour, label="states")
    ax.axline((0, 0), slope=1, color=FAINT, lw=1, ls="--", label="Gaussian")
    put_legend(ax)
    if n > CLOUD:
        put_corner(ax, [f"{len(chosen):,} of {n:,} states"])
