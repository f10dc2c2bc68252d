"""The landscape: states as levels at the height of their potential, moves as arrows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from detailed_balance.analyzers import Potential, TransitionCounts, Trap, Violation
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.plots._measured import (
    PlottedReport,
    measure_balance,
    measure_potential,
)
from detailed_balance.plots.layout import (
    FONT_SIZE,
    LABEL_HEIGHT,
    LEVEL_LINE,
    WIDTH,
    Band,
    Scene,
    set_scene,
)
from detailed_balance.plots.style import (
    FAINT,
    INK,
    LOOP_COLOURS,
    PAPER,
    TRAPPED,
    figure_of,
    in_house_style,
    put_text,
    put_title,
)
from detailed_balance.render.formatting import count_noun, join_states, shorten_states

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from detailed_balance.analyzers.kernel import KernelLike

__all__ = ["plot_landscape"]

ARROWS_SHOWN = 80
TRAPS_SHOWN = 3

_MARGIN = 0.45
"""The room above and below the states, in inches."""

_BEND = 0.15
_SAG = 0.35  # an arrow bends by this at most, in inches


@in_house_style
def plot_landscape(
    source: PlottedReport | Potential | KernelLike,
    counts: TransitionCounts | None = None,
    *,
    max_states: int = 40,
    ax: Axes | None = None,
) -> Figure:
    """Draw states as levels at the height of their potential, and moves as arrows between them.

    The loops that name what breaks balance are coloured, in the direction in which they are driven:
    of the suspect and unclassified causes, or else of those that are as expected, the three
    strongest that have no step in common. Traps are marked.

    Parameters
    ----------
    source : Report, Potential or KernelLike
        A report, a potential, or what a potential is then estimated from. Loops and traps are
        those of a report.
    counts : TransitionCounts, optional
        The moves to draw, by default those of the potential's kernel.
    max_states : int
        Of more states the most visited ones are drawn.
    ax : matplotlib.axes.Axes, optional
        Where to draw, with all sizes to scale; by default a figure of its own.

    Returns
    -------
    matplotlib.figure.Figure
        The whole figure, that of `ax` where it is given; ``savefig`` saves it.

    Raises
    ------
    InsufficientDataError
        Where data are too few for a potential.
    InvalidInputError
        Where `source` is none of these, or `max_states` is under 2.

    Examples
    --------
    >>> from detailed_balance import TransitionCounts, analyze
    >>> counts = TransitionCounts.from_edges([("a", "b", 30), ("b", "a", 10)])
    >>> figure = plot_landscape(analyze(counts))
    """
    if max_states < 2:
        raise InvalidInputError(f"max_states={max_states!r}; a landscape has 2 states or more")
    violations: tuple[Violation, ...] = ()
    traps: tuple[Trap, ...] = ()
    if isinstance(source, PlottedReport):
        counts, balance = measure_balance(source)
        traps = source.traps.traps
        unexpected = [v for v in balance.violations if v.kind in ("suspect", "unclassified")]
        violations = tuple(unexpected) or balance.violations
        source = balance.potential
    potential, moves = measure_potential(source, counts)
    loops, traps = _without_common_steps(violations), traps[:TRAPS_SHOWN]
    wanted = [state for loop in loops for state in loop.loop]
    wanted += [state for trap in traps for state in trap.states]
    scene = set_scene(potential, moves, wanted, max_states)
    return _draw(scene, loops, violations, traps, len(potential.states), ax)


def _without_common_steps(violations: Sequence[Violation]) -> list[Violation]:
    """Return the strongest violations, as many as there are colours."""
    chosen: list[Violation] = []
    taken: set[tuple[str, str]] = set()
    for violation in violations:
        if len(chosen) < len(LOOP_COLOURS) and taken.isdisjoint(_steps(violation)):
            chosen.append(violation)
            taken.update(_steps(violation))
    return chosen


def _steps(loop: Violation) -> list[tuple[str, str]]:
    return list(zip(loop.loop, (*loop.loop[1:], loop.loop[0]), strict=True))


def _draw(
    scene: Scene,
    loops: Sequence[Violation],
    violations: Sequence[Violation],
    traps: Sequence[Trap],
    states: int,
    given: Axes | None,
) -> Figure:
    handles = [*_loop_handles(loops), *_trap_handles(traps)]
    ax = _make_axes(scene, len(handles)) if given is None else given
    size = _set_axes(ax, scene)
    trapped = {state for trap in traps for state in trap.states}
    for i, state in enumerate(scene.states):
        _draw_state(ax, scene, i, state in trapped, size)
    in_loops = [(_loop_edges(scene, loop), colour) for loop, colour in _coloured(loops)]
    coloured = {edge for edges, _ in in_loops for edge in edges}
    busiest = _busiest_moves(scene)
    for i, j in [move for move in busiest if move not in coloured]:
        width = size * (0.4 + 2.6 * float(np.sqrt(scene.flows[i, j] / scene.flows.max())))
        _draw_arrow(ax, scene, i, j, color=FAINT, linewidth=width, alpha=0.45, zorder=1, size=size)
    for edges, colour in in_loops:
        for i, j in edges:
            _draw_arrow(ax, scene, i, j, color=colour, linewidth=2.2 * size, zorder=2, size=size)
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, -0.02), borderaxespad=0)
    put_title(ax, _title(violations, traps), _detail(scene, states, coloured.union(busiest)))
    return figure_of(ax)


def _make_axes(scene: Scene, legend_lines: int) -> Axes:
    """Return axes as large as the scene, in a figure of their own."""
    left, right, above, below = 0.75, 0.1, 0.6, 0.2 + 0.17 * legend_lines
    size = (left + WIDTH + right, below + scene.height + 2 * _MARGIN + above)
    return Figure(figsize=size).add_axes(
        (left / size[0], below / size[1], WIDTH / size[0], 1 - (above + below) / size[1])
    )


def _set_axes(ax: Axes, scene: Scene) -> float:
    """Let the data coordinates be inches of the scene; return what one of them is on paper."""
    tall = scene.height + 2 * _MARGIN
    ax.set(xlim=(0, WIDTH), ylim=(-_MARGIN, scene.height + _MARGIN), xticks=[], aspect="equal")
    box = ax.get_window_extent()
    size = min(box.width / WIDTH, box.height / tall) / figure_of(ax).dpi
    ax.spines[["bottom"]].set_visible(False)
    ax.set_ylabel("potential V (1/β)")
    ticks = [t for band in scene.bands.values() for t in _band_ticks(band, scene.main_level)]
    ax.set_yticks([place for place, _ in ticks], [label for _, label in ticks])
    for lower, upper in pairwise(scene.bands.values()):
        ax.axhline((lower.height(lower.top) + upper.bottom) / 2, color=FAINT, ls=":", lw=0.8)
    return round(float(size), 9)


def _band_ticks(band: Band, main_level: int) -> Iterator[tuple[float, str]]:
    """Yield the places and labels of the ticks; V is finite on the main level alone."""
    sign = {-1: "-∞", 0: "", 1: "∞"}[int(np.sign(band.level - main_level))]
    locator = MaxNLocator(nbins=6, steps=[1, 2, 5, 10])
    for tick in np.asarray(locator.tick_values(0, max(band.top, 1e-3))).tolist():
        if 0 <= tick <= band.top:
            parts = [sign, f"{tick:g}"] if tick or not sign else [sign]
            yield band.height(tick), " + ".join(filter(None, parts))


def _draw_state(ax: Axes, scene: Scene, i: int, trapped: bool, size: float) -> None:
    x, y, width = scene.x[i], scene.y[i], scene.widths[i]
    colour = TRAPPED if trapped else INK
    half = width / 2 + LEVEL_LINE
    ax.plot([x - half, x + half], [y, y], color=colour, lw=2.2 * size, zorder=3)
    pill = FancyBboxPatch(
        (x - width / 2, y - LABEL_HEIGHT / 2),
        width,
        LABEL_HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.06",
        facecolor=PAPER,
        edgecolor=colour,
        linewidth=size * (1.6 if trapped else 0.7),
        zorder=4,
    )
    ax.add_artist(pill)
    centred = {"ha": "center", "va": "center_baseline"}
    put_text(ax, x, y, scene.labels[i], fontsize=FONT_SIZE * size, zorder=5, **centred)


def _draw_arrow(ax: Axes, scene: Scene, i: int, j: int, size: float, **style: Any) -> None:
    """Draw a move, bent to its right, so that the way back lies beside it."""
    ends = np.array([[scene.x[i], scene.y[i]], [scene.x[j], scene.y[j]]])
    across, upright = ends[1] - ends[0]
    # Where matplotlib's arc3 has its third point; the arrow leaves and arrives towards it.
    bend = min(_BEND, 2 * _SAG / max(float(np.hypot(across, upright)), _SAG))
    via = ends.mean(axis=0) + bend * np.array([upright, -across])
    arrow = FancyArrowPatch(
        _border(ends[0], via, scene.widths[i]),
        _border(ends[1], via, scene.widths[j]),
        arrowstyle="-|>",
        connectionstyle=f"arc3,rad={bend}",
        shrinkA=1,
        shrinkB=1,
        clip_on=False,
        mutation_scale=7 * size + style["linewidth"],
        **style,
    )
    ax.add_artist(arrow)


def _border(
    centre: NDArray[np.float64], towards: NDArray[np.float64], width: float
) -> tuple[float, float]:
    """Return the point where the way from a label's centre leaves the label."""
    way = towards - centre
    with np.errstate(divide="ignore"):
        share = np.min(np.array([width, LABEL_HEIGHT]) / 2 / np.abs(way))
    x, y = centre + way * min(float(share), 1.0)
    return float(x), float(y)


def _busiest_moves(scene: Scene) -> list[tuple[int, int]]:
    """Return the moves to draw, the busiest last: of each state, and of all."""
    source, target = np.nonzero(scene.flows)
    ranked = np.argsort(-scene.flows[source, target], kind="stable")
    firsts = [np.unique(ends[ranked], return_index=True)[1] for ends in (source, target)]
    kept = list(dict.fromkeys(np.concatenate([*firsts, np.arange(len(ranked))]).tolist()))
    busiest = ranked[np.sort(np.array(kept[:ARROWS_SHOWN], dtype=np.int64))[::-1]]
    return list(zip(source[busiest].tolist(), target[busiest].tolist(), strict=True))


def _coloured(loops: Sequence[Violation]) -> Iterator[tuple[Violation, str]]:
    yield from zip(loops, LOOP_COLOURS, strict=False)


def _loop_edges(scene: Scene, loop: Violation) -> list[tuple[int, int]]:
    there = set(scene.states)
    return [(scene.index(f), scene.index(g)) for f, g in _steps(loop) if {f, g} <= there]


def _loop_handles(loops: Sequence[Violation]) -> Iterator[Line2D]:
    for loop, colour in _coloured(loops):
        path = join_states((*loop.loop, loop.loop[0]), _name_limit(loop.loop))
        label = f"{path}: {loop.affinity:.1f} ± {loop.error:.1f} nats, {loop.kind}"
        yield Line2D([], [], color=colour, lw=2.2, label=label)


def _trap_handles(traps: Sequence[Trap]) -> Iterator[Line2D]:
    for trap in traps:
        names = " ↔ ".join(shorten_states(trap.states, _name_limit(trap.states)))
        stay = "never left" if not trap.exits else f"stays of {trap.stay:,.0f} moves"
        yield Line2D([], [], color=TRAPPED, lw=2.2, label=f"trap: {names}, {stay}")


def _name_limit(states: Sequence[str]) -> int:
    """Return how many columns a name may take for the line to fit under the picture."""
    return 32 if len(states) <= 3 else 18


def _title(violations: Sequence[Violation], traps: Sequence[Trap]) -> str:
    found = [f"balance broken by {count_noun(len(violations), 'cause')}"] if violations else []
    found += [count_noun(len(traps), "trap")] if traps else []
    title = " and ".join(found) or "the landscape"
    return f"{title[0].upper()}{title[1:]}"


def _detail(scene: Scene, states: int, drawn: set[tuple[int, int]]) -> str:
    n, moves = len(scene.states), max(int(np.count_nonzero(scene.flows)), len(drawn))
    shown = f"{n} of {states:,} states" if states > n else f"{n} states"
    arrows = f"the {len(drawn)} busiest of {moves:,}" if moves > len(drawn) else "all"
    order = "; no way up across a dotted line" if len(scene.bands) > 1 else ""
    return f"{shown}, agents run downhill; {arrows} moves between them{order}"
