"""How wide a potential is, and the action that this lets one expect (paper Fig. 11, eq. 28)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.optimize import curve_fit

from detailed_balance.analyzers import (
    Potential,
    evaluate_action,
    expected_minimum_action,
    fit_spread,
)
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.plots.style import INK, in_house_style, put_title
from detailed_balance.render.formatting import count_noun
from examples.paper import DATA
from examples.paper.figures.canvas import (
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

__all__ = ["ActionCurve", "Histogram", "follow_action", "plot_spread", "plot_temperature"]


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


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """How many states have which potential.

    Parameters
    ----------
    edges : (k + 1,) array of float
        Of the bins, evenly spaced, in units of 1 / beta.
    counts : (k,) array of int
        The states in each bin.

    Examples
    --------
    >>> published = Histogram.published("gpt5_nano")
    >>> len(published.counts), int(published.counts.sum())
    (50, 620)
    >>> [round(number, 2) for number in published.fit()]
    [-0.32, 1.75, 43.5]
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def published(cls, name: Literal["ideasearchfitter", "gpt5_nano"]) -> Histogram:
        """Read the bins of Fig. 11, which have the potentials of the authors' repository."""
        content = json.loads((DATA / "potential_bins.json").read_text(encoding="utf-8"))[name]
        counts = np.array(content["counts"], dtype=np.int64)
        return cls(content["from"] + content["width"] * np.arange(len(counts) + 1), counts)

    @classmethod
    def of(cls, potential: Potential, bins: int = 50) -> Histogram:
        """Count the states of the largest component, beta V less its mean.

        Raises
        ------
        InsufficientDataError
            Where it has fewer than three states, or all of the same potential.
        """
        fit = fit_spread(potential)
        values = potential.violation.beta * potential.values[_largest(potential)]
        counts, edges = np.histogram(values - potential.violation.beta * fit.mean, bins)
        return cls(edges, counts.astype(np.int64))

    @property
    def centres(self) -> NDArray[np.float64]:
        """(k,) array: the middle of each bin."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    def moments(self) -> tuple[float, float]:
        """Return the mean and the standard deviation of the states, at the middle of their bins."""
        mean = float(np.average(self.centres, weights=self.counts))
        squares = float(self.counts @ (self.centres - mean) ** 2)
        return mean, float(np.sqrt(squares / (self.counts.sum() - 1)))

    def fit(self) -> tuple[float, float, float]:
        """Return mean, deviation and height of a Gaussian, least squares on the bins."""
        mean, deviation = self.moments()
        start = (mean, deviation, float(self.counts.max()))
        (mean, deviation, height), _ = curve_fit(_bell, self.centres, self.counts, start)
        return float(mean), abs(float(deviation)), float(height)


def _bell(
    x: NDArray[np.float64], mean: float, deviation: float, height: float
) -> NDArray[np.float64]:
    bell: NDArray[np.float64] = height * np.exp(-((x - mean) ** 2) / (2 * deviation**2))
    return bell


@in_house_style
def plot_spread(
    panels: Mapping[str, Histogram], title: str, *, printed: Sequence[str] = ()
) -> Figure:
    """Draw how many states have which potential, with a Gaussian fitted to the bins (Fig. 11).

    Parameters
    ----------
    panels : mapping of str to Histogram
        One or two panels by their names.
    title : str
        Whose they are.
    printed : sequence of str
        The numbers of the paper, one for each panel, which stand under ours.

    Returns
    -------
    Figure
        Axes beta V and states.

    Raises
    ------
    InvalidInputError
        Where there are no panels, or more than two.

    References
    ----------
    Song et al., arXiv:2512.10047, Fig. 11 and Table IV.

    Examples
    --------
    >>> figure = plot_spread({"GPT-5 Nano": Histogram.published("gpt5_nano")}, "Potentials")
    """
    if not 1 <= len(panels) <= 2:
        raise InvalidInputError(f"{len(panels)} panels; one or two can be drawn")
    figure, axes = make_panels(*[("βV", "states")] * len(panels))
    said = []
    for ax, (name, histogram), numbers in zip(
        axes, panels.items(), (*printed, "", "")[: len(panels)], strict=True
    ):
        _draw_histogram(ax, histogram, numbers)
        said.append(f"{name}: {count_noun(int(histogram.counts.sum()), 'state')}")
    put_title(axes[0], title, "; ".join(said))
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
    the curves are not a violation by themselves.

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


def _draw_histogram(ax: Axes, histogram: Histogram, printed: str) -> None:
    edges = histogram.edges
    bars: dict[str, Any] = {"color": STYLES[0].colour, "edgecolor": INK, "linewidth": 0.3}
    widths = 0.98 * np.diff(edges)
    ax.bar(histogram.centres, histogram.counts, widths, label="states", alpha=0.7, **bars)
    mean, deviation, height = histogram.fit()
    x = np.linspace(edges[0], edges[-1], 300)
    line: dict[str, Any] = {"color": STYLES[1].colour, "lw": 1.6, "ls": "--"}
    ax.plot(x, _bell(x, mean, deviation, height), label="Gaussian, least squares", **line)
    own = histogram.moments()
    lines = [
        f"fit: mean {mean:.2f}, s {deviation:.2f}",
        f"of the states: mean {own[0]:.2f}, s {own[1]:.2f}",
    ]
    ax.set_ylim(0, 1.3 * histogram.counts.max())
    put_corner(ax, [*lines, *([f"printed: {printed}"] if printed else [])])
    put_legend(ax)
