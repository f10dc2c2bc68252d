"""Where the states of a landscape are drawn: height by potential, sideways without overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.cells import cell_len

from detailed_balance.analyzers import Potential
from detailed_balance.analyzers.potential.ordering import order_states
from detailed_balance.render.formatting import safe_text

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

__all__ = [
    "FONT_SIZE",
    "LABEL_HEIGHT",
    "LEVEL_LINE",
    "WIDTH",
    "Band",
    "Scene",
    "place_sideways",
    "set_scene",
    "stack_bands",
]

WIDTH = 9.0
"""The width of a landscape, in inches."""

FONT_SIZE = 7.5
"""The size of the labels, in points."""

LABEL_HEIGHT = 0.19
"""The height of a label with its border, in inches."""

LEVEL_LINE = 0.09
"""How far a level reaches beyond each side of its label, in inches."""

BAND_GAP = 0.55
"""The gap between two bands, in inches."""

ROOM = 0.05
"""The room that stays free around each label, in inches."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The states of a landscape and their places, in inches.

    Parameters
    ----------
    states : tuple of str, length n
        The states that are drawn.
    labels : tuple of str, length n
        Their names, made safe and short.
    flows : (n, n) array of numbers
        The moves between them.
    bands : dict of int to Band
        The levels, lowest first.
    main_level : int
        The level of the largest component.
    x, y, widths : (n,) arrays of float
        The middle of each label, and how wide it is.
    """

    states: tuple[str, ...]
    labels: tuple[str, ...]
    flows: NDArray[Any]
    bands: dict[int, Band]
    main_level: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    widths: NDArray[np.float64]

    def index(self, state: str) -> int:
        """Return the place of `state`."""
        return self.states.index(state)

    @property
    def height(self) -> float:
        """The height of the highest state."""
        return float(self.y.max())


@dataclass(frozen=True, slots=True)
class Band:
    """The heights that components of one level share.

    Parameters
    ----------
    level : int
        How many components lie below them.
    bottom : float
        Where V = 0 is, in inches.
    scale : float
        Inches for a unit of V.
    top : float
        The largest V in it.
    """

    level: int
    bottom: float
    scale: float
    top: float

    def height(self, value: float) -> float:
        """Return the height of a value of V, in inches."""
        return self.bottom + self.scale * value


def set_scene(
    potential: Potential,
    moves: csr_array[Any, tuple[int, int]],
    wanted: Sequence[str],
    most: int,
) -> Scene:
    """Place states: those that are wanted, as far as half the room goes, and the most visited.

    `moves` are those between the states of `potential`, (n, n), counts or probabilities.
    """
    chosen = _choose_states(potential.states, moves, wanted, most)
    values, order = potential.heights[chosen], order_states(potential)
    levels = order.levels[chosen]
    bands = stack_bands(values, levels, float(np.clip(2.2 + 0.13 * len(chosen), 3.0, 7.0)))
    y = np.array([bands[k].height(v) for k, v in zip(levels.tolist(), values, strict=True)])
    states = tuple(potential.states[i] for i in chosen)
    labels = tuple(safe_text(state, 32 if len(chosen) <= 20 else 24) for state in states)
    widths = np.array([_text_width(label) + 0.14 for label in labels])
    flows = moves[chosen, :][:, chosen].toarray()
    np.fill_diagonal(flows, 0)
    sizes = np.column_stack([widths + 2 * LEVEL_LINE, np.full(len(chosen), LABEL_HEIGHT)])
    busiest = np.argsort(-(flows.sum(axis=0) + flows.sum(axis=1)), kind="stable").tolist()
    x = place_sideways(np.log1p(flows + flows.T), y, sizes, busiest, WIDTH)
    return Scene(states, labels, flows, bands, int(order.levels[order.main]), x, y, widths)


def _choose_states(
    states: tuple[str, ...],
    moves: csr_array[Any, tuple[int, int]],
    wanted: Sequence[str],
    most: int,
) -> list[int]:
    visits = np.asarray(moves.sum(axis=0) + moves.sum(axis=1))
    ranked = np.argsort(-visits, kind="stable").tolist()
    place = {state: i for i, state in enumerate(states)}
    first = [place[state] for state in dict.fromkeys(wanted) if state in place]
    return list(dict.fromkeys([*first[: most // 2], *ranked]))[:most]


def _text_width(text: str) -> float:
    """Return about how wide a label is, in inches; a column is 0.62 of the font's height."""
    return cell_len(text) * 0.62 * FONT_SIZE / 72


def stack_bands(
    values: NDArray[np.float64], levels: NDArray[np.int64], height: float
) -> dict[int, Band]:
    """Divide up to `height` inches among the levels, lowest first, each as high as its V needs.

    Parameters
    ----------
    values : (n,) array of float
        V, each component from 0.
    levels : (n,) array of int
        The level of each state's component.
    height : float
        In inches.
    """
    present = np.unique(levels).tolist()
    tops = {level: float(values[levels == level].max()) for level in present}
    gap = min(BAND_GAP, 0.8 * height / len(present))
    # Smaller differences than a thousandth are rounding, and are not blown up.
    scale = (height - gap * (len(present) - 1)) / max(sum(tops.values()), 1e-3)
    bands: dict[int, Band] = {}
    bottom = 0.0
    for level in present:
        bands[level] = Band(level, bottom, scale, tops[level])
        bottom += scale * tops[level] + gap
    return bands


def place_sideways(
    weights: NDArray[np.float64],
    heights: NDArray[np.float64],
    sizes: NDArray[np.float64],
    order: Sequence[int],
    width: float,
    wanted: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Spread labels sideways: near the states they trade moves with, and free of each other.

    Parameters
    ----------
    weights : (n, n) array of float
        How strongly two states are linked; symmetric.
    heights : (n,) array of float
        The middle of each label, in inches.
    sizes : (n, 2) array of float
        Width and height of each label, in inches.
    order : sequence of int
        Who chooses first.
    width : float
        What there is, in inches.
    wanted : (n,) array of float, optional
        The middles that they had before, and are to have again where there is room; NaN for new
        ones.

    Returns
    -------
    (n,) array of float
        The middle of each label, in inches.
    """
    best = _spectral_order(weights) * width
    if wanted is not None:
        best = np.where(np.isnan(wanted), best, wanted)
    x = np.full(len(heights), np.nan)
    for i in order:
        half = sizes[i, 0] / 2
        tries = np.linspace(half, max(width - half, half), 200)
        placed = np.flatnonzero(~np.isnan(x))
        hidden = _overlap(tries, heights[i], sizes[i], x[placed], heights[placed], sizes[placed])
        x[i] = tries[np.lexsort((np.abs(tries - best[i]), hidden))[0]]
    return x


def _spectral_order(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return places in [0, 1], evenly spread, that keep linked states together."""
    n = len(weights)
    linked = weights + 1e-6 * (weights.max(initial=0.0) + 1.0)
    laplacian = np.diag(linked.sum(axis=1)) - linked
    root = 1 / np.sqrt(linked.sum(axis=1))
    _, vectors = np.linalg.eigh(root[:, None] * laplacian * root[None, :])
    # The second eigenvector of the normalised Laplacian; its sign is a convention.
    slowest = vectors[:, min(1, n - 1)] * root
    slowest *= np.sign(slowest[np.argmax(np.abs(slowest))])
    return (np.argsort(np.argsort(slowest, kind="stable")) + 0.5) / n


def _overlap(
    tries: NDArray[np.float64],
    height: float,
    size: NDArray[np.float64],
    x: NDArray[np.float64],
    heights: NDArray[np.float64],
    sizes: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return how much of the labels that are there each place tried would hide."""
    across = (size[0] + sizes[:, 0]) / 2 + ROOM - np.abs(tries[:, None] - x[None, :])
    upright = (size[1] + sizes[:, 1]) / 2 + ROOM - np.abs(height - heights)
    hidden = np.clip(across, 0, None) * np.clip(upright, 0, None)[None, :]
    return np.asarray(hidden.sum(axis=1))
