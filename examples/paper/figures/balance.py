"""Detailed balance as the paper shows it: round triplets, pair by pair (Fig. 3 and 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from detailed_balance.analyzers import (
    BalanceReport,
    Kernel,
    Potential,
    TransitionCounts,
    estimate_potential,
)
from detailed_balance.analyzers.balance.cycle_search import find_triangles
from detailed_balance.analyzers.balance.pairs import (
    Errors,
    PairTable,
    compare_pairs,
    pair_statistics,
)
from detailed_balance.analyzers.loop import Loop
from detailed_balance.analyzers.sparse import lookup
from detailed_balance.plots.style import FAINT, in_house_style, put_title
from detailed_balance.render.formatting import count_noun
from examples.paper.figures.canvas import (
    CLOUD,
    STYLES,
    draw_cloud,
    draw_diagonal,
    draw_points,
    make_frame,
    put_corner,
    put_legend,
    say_nothing,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

__all__ = [
    "TripletProducts",
    "hold_pairs",
    "multiply_triplets",
    "plot_pair_balance",
    "plot_triplet_balance",
]


@dataclass(frozen=True, slots=True, eq=False)
class TripletProducts:
    """The rates multiplied up round each of m triplets, both ways (paper Fig. 3).

    Parameters
    ----------
    one_way, other_way : (m,) arrays of float
        The sum of the three log rates, in nats; which way is which does not depend on the rates.
    one_way_error, other_way_error : (m,) arrays of float
        Their standard errors, each row of the kernel being multinomial; 0 for a known kernel.
    driven : (m,) array of bool
        Whether the report calls the triplet a violation; False for a kernel.
    """

    one_way: NDArray[np.float64]
    other_way: NDArray[np.float64]
    one_way_error: NDArray[np.float64]
    other_way_error: NDArray[np.float64]
    driven: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.one_way)


def multiply_triplets(source: BalanceReport | Kernel) -> TripletProducts:
    """Multiply up the rates round the triplets of which all six rates are known.

    Parameters
    ----------
    source : BalanceReport or Kernel
        A report, whose tested triplets are taken; or a kernel, of which all are.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 7 and Fig. 3.

    Examples
    --------
    >>> kernel = Kernel.from_matrix([[0.0, 0.5, 0.2], [0.2, 0.0, 0.5], [0.5, 0.2, 0.0]])
    >>> found = multiply_triplets(kernel)
    >>> found.one_way.round(3).tolist(), found.other_way.round(3).tolist()  # 3 log 0.5, 3 log 0.2
    ([-2.079], [-4.828])
    """
    if isinstance(source, BalanceReport):
        kernel, loops = source.potential.kernel, source.loops
        chosen = [i for i, loop in enumerate(loops.members) if len(loop) == 3]
        members = [loops.members[i] for i in chosen]
        driven = loops.adjusted[chosen] <= source.alpha
    else:
        kernel = source
        members = [Loop(triangle) for triangle in find_triangles(_both_ways(kernel))]
        driven = np.zeros(len(members), dtype=bool)
    # Sorted, so that which way round is which does not depend on the rates.
    places = np.sort(np.array(members, dtype=np.int64).reshape(-1, 3), axis=1)
    after = np.roll(places, -1, axis=1)
    there, there_error = _log_products(kernel, places, after)
    back, back_error = _log_products(kernel, after, places)
    known = np.isfinite(there) & np.isfinite(back)
    one_way, other_way, *errors = (x[known] for x in (there, back, there_error, back_error))
    return TripletProducts(one_way, other_way, errors[0], errors[1], driven[known])


@in_house_style
def plot_triplet_balance(source: BalanceReport | Kernel) -> Figure:
    """Draw the rates multiplied up round each triplet, one way against the other (Fig. 3).

    Under detailed balance all points lie on the diagonal. Triplets that a report calls driven
    have a mark of their own; of more than 2,000 triplets the density is drawn.

    Parameters
    ----------
    source : BalanceReport or Kernel
        What `multiply_triplets` takes; the rates are those of the report's potential.

    Returns
    -------
    Figure
        Axes in nats. Where no triplet has all six rates it says so.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 7 and Fig. 3.

    Examples
    --------
    >>> kernel = Kernel.from_matrix([[0.0, 0.5, 0.2], [0.2, 0.0, 0.5], [0.5, 0.2, 0.0]])
    >>> figure = plot_triplet_balance(kernel)
    """
    found = multiply_triplets(source)
    figure, ax = make_frame(
        "one way round: sum of log rates (nats)", "the other way: sum of log rates (nats)"
    )
    if not len(found):
        return say_nothing(figure, "No triplet of states has all six rates")
    draw_diagonal(ax, float(np.median(found.one_way)))
    said = _draw_triplets(ax, found)
    ax.set_aspect("equal", adjustable="datalim")
    put_legend(ax)
    off = float(np.median(np.abs(found.one_way - found.other_way)))
    put_title(ax, f"The two ways round differ by {off:.2g} nats", f"median over {said}")
    return figure


def hold_pairs(
    counts: TransitionCounts, potential: Potential | None = None
) -> dict[Errors, PairTable]:
    """Return the pairs walked both ways, held against the potential, with either error.

    The log ratios are the same in both; see `check_balance` for the two error formulas.

    Examples
    --------
    >>> counts = TransitionCounts.from_edges([("a", "b", 30), ("b", "a", 10), ("b", "b", 30)])
    >>> {name: pairs.error.round(3).tolist() for name, pairs in hold_pairs(counts).items()}
    {'multinomial': [0.274], 'paper': [0.438]}
    """
    counts = counts.without_boundaries()
    potential = potential if potential is not None else estimate_potential(counts)
    counts = counts.restrict(potential.states)
    return {errors: compare_pairs(counts, potential, errors) for errors in get_args(Errors)}


@in_house_style
def plot_pair_balance(counts: TransitionCounts, potential: Potential | None = None) -> Figure:
    """Draw the log ratio of the rates of each pair against beta (V(f) - V(g)) (Fig. 4).

    Under detailed balance all points lie on the diagonal. Thick bars are multinomial errors, thin
    ones the paper's, which are larger; the corner holds r, and chi-square per degree of freedom by
    both. Pairs beyond the resolution of the data are open and enter no statistic. Of more than
    2,000 pairs the density is drawn, without errors.

    Parameters
    ----------
    counts : TransitionCounts
        What was recorded.
    potential : Potential, optional
        Estimated from the same counts; by default with the default settings.

    Returns
    -------
    Figure
        Axes in nats. Where no pair was walked both ways it says so.

    Raises
    ------
    InsufficientDataError
        Where `potential` is not given and cannot be estimated.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 5 and Fig. 4.

    Examples
    --------
    >>> counts = TransitionCounts.from_edges([("a", "b", 30), ("b", "a", 10), ("b", "b", 30)])
    >>> figure = plot_pair_balance(counts)
    """
    tables = hold_pairs(counts, potential)
    pairs = tables["multinomial"]
    figure, ax = make_frame("β (V(f) - V(g))", "log T(g←f) / T(f←g) (nats)")
    if not len(pairs):
        return say_nothing(figure, "No pair of states was walked both ways")
    draw_diagonal(ax, float(np.median(pairs.predicted)))
    said = _draw_pairs(ax, tables)
    put_corner(ax, _pair_numbers(tables))
    put_legend(ax)
    explained = pair_statistics(pairs)["explained"]
    left_out = int((~pairs.resolved).sum())
    beyond = f"; {left_out:,} beyond resolution" if left_out else ""
    title = f"One potential accounts for {max(explained, 0.0):.0%} of the log ratios"
    put_title(ax, title, f"{said} walked both ways{beyond}")
    return figure


def _both_ways(kernel: Kernel) -> csr_array[Any, tuple[int, int]]:
    """Return the symmetric graph of the pairs with a rate each way."""
    rates = kernel.probabilities.copy()
    rates.setdiag(0)
    both: csr_array[Any, tuple[int, int]] = rates.multiply(rates.T).tocsr()
    both.eliminate_zeros()
    return both


def _log_products(
    kernel: Kernel, source: NDArray[np.int64], target: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of log T along each row, -inf where one is 0, and their errors."""
    rates = lookup(kernel.probabilities, source.ravel(), target.ravel()).reshape(source.shape)
    with np.errstate(divide="ignore"):
        logs = np.log(rates).sum(axis=1)
        if kernel.attempts is None:
            return logs, np.zeros(len(logs))
        # 1 / n - 1 / N of a multinomial row; the three moves have three sources.
        variance = (1 / rates - 1) / kernel.attempts[source]
    return logs, np.sqrt(variance.sum(axis=1))


def _draw_triplets(ax: Axes, found: TripletProducts) -> str:
    errors = found.one_way_error, found.other_way_error
    if len(found) > CLOUD:
        return draw_cloud(ax, found.one_way, found.other_way, noun="triplet")
    kinds = ((~found.driven, STYLES[0], "not driven"), (found.driven, STYLES[1], "driven"))
    for chosen, style, label in kinds:
        x, y = found.one_way[chosen], found.other_way[chosen]
        name = label if found.driven.any() else "triplets"
        draw_points(ax, x, y, (errors[0][chosen], errors[1][chosen]), style=style, label=name)
    return count_noun(len(found), "triplet")


def _draw_pairs(ax: Axes, tables: dict[Errors, PairTable]) -> str:
    pairs, paper = tables["multinomial"], tables["paper"]
    x, y, use = pairs.predicted, pairs.log_ratio, pairs.resolved
    if len(pairs) > CLOUD:
        return draw_cloud(ax, x, y, noun="pair")
    thin: dict[str, Any] = {"marker": "none", "ls": "none", "color": FAINT, "elinewidth": 0.6}
    ax.errorbar(x[use], y[use], yerr=paper.error[use], label="paper's error", zorder=1.5, **thin)
    thick: dict[str, Any] = {"elinewidth": 2.2, "ecolor": (STYLES[0].colour, 0.45)}
    errors = None, pairs.error[use]
    draw_points(ax, x[use], y[use], errors, style=STYLES[0], label="multinomial error", **thick)
    beyond: dict[str, Any] = {"markerfacecolor": "none", "markeredgewidth": 0.8}
    draw_points(ax, x[~use], y[~use], style=STYLES[3], label="beyond resolution", **beyond)
    return count_noun(len(pairs), "pair")


def _pair_numbers(tables: dict[Errors, PairTable]) -> list[str]:
    """Return r, and chi-square per degree of freedom by either error."""
    found = {errors: pair_statistics(pairs) for errors, pairs in tables.items()}
    r, ndf = found["paper"]["correlation"], found["paper"]["independent_loops"]
    lines = [f"r = {r:.3f}"] if np.isfinite(r) else []
    if not ndf:
        return [*lines, "no degree of freedom is left for χ²"]
    squares = {errors: pairs.z[pairs.resolved] ** 2 for errors, pairs in tables.items()}
    fits = [f"χ²/ndf = {z2.sum() / ndf:.2f} ({errors} errors)" for errors, z2 in squares.items()]
    return [*lines, *fits, f"ndf = {ndf:,}"]
