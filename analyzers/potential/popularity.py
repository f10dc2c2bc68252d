"""Is the potential more than popularity? `compare_with_popularity` and its null."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array, triu
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import (
    ConvergenceError,
    InsufficientDataError,
    InvalidInputError,
)
from detailed_balance.analyzers.kernel import (
    Attempts,
    Kernel,
    KernelLike,
    estimate_kernel,
    read_chain,
    resolve_attempts,
)
from detailed_balance.analyzers.potential.estimate import Potential, estimate_potential
from detailed_balance.analyzers.results import Result, Table, TableResult
from detailed_balance.analyzers.runs.clusters import MoveClusters
from detailed_balance.analyzers.runs.table import RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.action import ViolationFunction

__all__ = [
    "ExplainedShares",
    "PopularityComparison",
    "compare_with_popularity",
]

GROUPS = 50
"""Runs, or states, are left out in so many groups at most."""

_MEASURES, _TESTED = 13, 6
"""How many numbers `_Pairs.measures` gives, and the place of ``weighted.given_popularity``."""

_LEVEL = 0.05
"""Of the test, where it is put in words."""

_NOTHING = 1e-9
"""A share as small as this, left by popularity, is rounding."""

FEWEST_STATES = 10
"""Fewer states, left out one by one, say too little about an error."""


@dataclass(frozen=True, slots=True)
class ExplainedShares(Result):
    """Which share of the squared log ratios of pairs is explained, by what; not centred.

    A share is 1 - sum w (L - x)^2 / sum w L^2, with L = log T(g<-f) / T(f<-g) of each pair, its
    weight w, and x what is expected of it. It can be negative.

    Parameters
    ----------
    popularity : float
        By popularity: x = log p(g) / p(f).
    potential : float
        By the potential: x = beta (V(f) - V(g)).
    given_popularity : float
        Of what popularity leaves, the share that the potential explains: (potential - popularity)
        / (1 - popularity). NaN where popularity leaves nothing.
    popularity_error, potential_error, given_popularity_error : float
        Standard errors; NaN where there is too little to tell.
    """

    popularity: float
    potential: float
    given_popularity: float
    popularity_error: float = float("nan")
    potential_error: float = float("nan")
    given_popularity_error: float = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class PopularityComparison(TableResult):
    """How much of a potential is the popularity of the states.

    Parameters
    ----------
    potential : Potential
        V of least action.
    popularity : (n,) array of float
        p(g), the mean of T(g<-f) over the other states f of `potential.states`.
    pairs : int
        The pairs of states with moves both ways, which all shares are of.
    independent_loops : int
        These pairs less the differences of V among their states; where it is 0, some potential
        fits any log ratios, and the share of the potential says nothing.
    correlation, correlation_error : float
        Pearson r of V and -log p over the states of the largest component; NaN for fewer than 3.
    unweighted, weighted : ExplainedShares
        Each pair counts the same, or by T(g<-f) + T(f<-g): moves that are made often say more.
    unweighted_scaled, weighted_scaled : ExplainedShares
        The same up to a scale: x of the potential and x of popularity are each multiplied by the
        number that fits best.
    expected_given : float
        The mean of ``weighted.given_popularity`` where V is popularity and each pair is in
        balance: V follows the noise of counts in another way than popularity does. NaN for a
        kernel without attempts.
    pvalue : float
        Of that null; NaN for a kernel without attempts, which leaves nothing to test.
    replicates, seed : int
        Of its simulation.
    groups : int
        What was left out, one group after the other, for the errors.
    unit : {"run", "block", "state"}
        What the groups are of: errors by states say how far other states would differ.
    """

    potential: Potential
    popularity: NDArray[np.float64]
    pairs: int
    independent_loops: int
    correlation: float
    correlation_error: float
    unweighted: ExplainedShares
    weighted: ExplainedShares
    unweighted_scaled: ExplainedShares
    weighted_scaled: ExplainedShares
    expected_given: float
    pvalue: float
    replicates: int
    seed: int
    groups: int
    unit: str

    def describe(self) -> str:
        """Say in plain sentences what is left of the potential beside popularity.

        Examples
        --------
        >>> kernel = Kernel.from_matrix([[0.0, 0.3, 0.2], [0.5, 0.0, 0.2], [0.5, 0.3, 0.0]])
        >>> compare_with_popularity(kernel).describe()  # the answer does not depend on the question
        'popularity explains every log ratio: nothing is left for the potential'
        """
        plain, scaled = self.weighted, self.weighted_scaled
        if isnan(plain.given_popularity):
            return "popularity explains every log ratio: nothing is left for the potential"
        if not self.independent_loops:
            return (
                f"popularity explains {plain.popularity:.0%} of the squared log ratios; that the "
                f"potential explains {plain.potential:.0%} says nothing, since the {self.pairs:,} "
                "pairs make no loop, and some potential fits any log ratios"
            )
        words = (
            f"popularity explains {plain.popularity:.0%} of the squared log ratios and the "
            f"potential {plain.potential:.0%}: {_show(plain)} of what popularity leaves; up to a "
            f"scale {scaled.popularity:.0%} and {scaled.potential:.0%}: {_show(scaled)}"
        )
        if isnan(self.pvalue):
            return words
        enough = self.pvalue <= _LEVEL
        verdict = "is more than popularity" if enough else "may be popularity alone"
        return f"{words}. The potential {verdict} (p = {self.pvalue:.2g})"

    def to_table(self) -> Table:
        """Return the columns weights, scaled, popularity, potential, given_popularity and errors.

        A row for each of `unweighted`, `weighted`, `unweighted_scaled` and `weighted_scaled`.
        """
        rows = [self.unweighted, self.weighted, self.unweighted_scaled, self.weighted_scaled]
        columns: Table = {
            "weights": ["none", "T(g<-f) + T(f<-g)"] * 2,
            "scaled": [False, False, True, True],
        }
        for name in ("popularity", "potential", "given_popularity"):
            columns[name] = [getattr(row, name) for row in rows]
            columns[f"{name}_error"] = [getattr(row, f"{name}_error") for row in rows]
        return columns

    def _content(self) -> dict[str, Any]:
        popularity = dict(zip(self.potential.states, self.popularity.tolist(), strict=True))
        names = (
            "pairs",
            "independent_loops",
            "correlation",
            "correlation_error",
            "expected_given",
            "pvalue",
        )
        settings = self._values("replicates", "seed", "groups", "unit")
        return {
            "shares": self.to_table(),
            **self._values(*names),
            "popularity": popularity,
            "settings": {**settings, "attempts": self.potential.kernel.mode},
        }


def _show(shares: ExplainedShares) -> str:
    value, error = shares.given_popularity, shares.given_popularity_error
    return f"{value:.2f} ± {error:.2f}" if isfinite(error) else f"{value:.2f}"


def compare_with_popularity(
    counts: KernelLike,
    *,
    violation: ViolationFunction | None = None,
    attempts: Attempts = "observed",
    min_attempts: int = 2,
    replicates: int = 199,
    seed: int = 0,
) -> PopularityComparison:
    """Ask whether the potential of least action is more than the popularity of the states.

    An agent that does not look at its state answers from one distribution p: T(g<-f) = p(g).
    It satisfies detailed balance, with V = -log p. So a potential that fits says something about
    how the agent *answers* only as far as it explains more than popularity does.

    Popularity is p(g), the mean of T(g<-f) over f != g, each state f counting the same. It is not
    the stationary distribution: in any kernel in balance whose rows sum to 1, V = -log(stationary
    distribution), so that distribution cannot tell the two apart.

    Parameters
    ----------
    counts : KernelLike
        Moves; START, END and self-loops are left out. A kernel is taken as it is, so a known
        kernel whose rows are to sum to 1 is scaled before.
    violation, attempts, min_attempts
        As for `estimate_potential`.
    replicates, seed : int
        Of the test. Its null: each pair is in balance with V = -log p. The moves of each pair are
        drawn again with these odds, as many as were seen, and all is estimated again. 0 leaves
        the test out.

    Returns
    -------
    PopularityComparison
        The shares, with errors: by runs or blocks where there are 10 or more (each group of them
        left out once), else by states, of counts and of a kernel.

    Raises
    ------
    InsufficientDataError
        Where no pair of states has moves both ways.
    InvalidInputError
        Where `replicates` is negative, or an argument is none of those allowed.

    Notes
    -----
    The errors are those of the jackknife by groups, 50 at most. For states it is that of a
    network: a state is left out with all of its pairs.

    References
    ----------
    Snijders and Borgatti, Connections 22 (1999) 61, for the jackknife of states.

    Examples
    --------
    >>> kernel = Kernel.from_matrix([[0.0, 0.6, 0.1], [0.3, 0.0, 0.1], [0.1, 0.2, 0.0]])
    >>> found = compare_with_popularity(kernel)
    >>> found.popularity.round(2).tolist()
    [0.2, 0.4, 0.1]
    >>> found.unweighted.potential, found.independent_loops
    (1.0, 1)
    """
    if replicates < 0:
        raise InvalidInputError(f"replicates={replicates!r}; it is 0 or more")
    chain, runs = read_chain(counts)
    settings: dict[str, Any] = {"attempts": attempts, "min_attempts": min_attempts}
    kernel = chain if isinstance(chain, Kernel) else _sorted_kernel(chain, **settings)
    potential = estimate_potential(kernel, violation=violation)
    pairs = _Pairs.of(potential)
    if not len(pairs.log_ratio):
        raise InsufficientDataError(
            "no pair of states was seen in both directions, so there is no log ratio to explain. "
            "Record "
            "more, or name states more coarsely"
        )
    measures = pairs.measures()
    parts, unit = _leave_out(kernel, runs, settings)
    errors = _jackknife(parts, potential)
    null = _draw_null(kernel, potential, pairs.popularity, replicates, seed)
    drawn = len(null)
    reached = np.count_nonzero(null >= measures[_TESTED] - 1e-12)
    unweighted, weighted, unweighted_scaled, weighted_scaled = (
        ExplainedShares(*measures[i : i + 3], *errors[i : i + 3]) for i in range(1, _MEASURES, 3)
    )
    return PopularityComparison(
        potential,
        pairs.popularity,
        len(pairs.log_ratio),
        pairs.independent_loops,
        measures[0],
        errors[0],
        unweighted,
        weighted,
        unweighted_scaled,
        weighted_scaled,
        float(null.mean()) if drawn else float("nan"),
        float((1 + reached) / (1 + drawn)) if drawn else float("nan"),
        drawn,
        seed,
        len(parts),
        unit,
    )


class _Pairs(NamedTuple):
    """The pairs seen in both directions, and what two potentials expect of them.

    Parameters
    ----------
    popularity : (n,) array of float
        p.
    log_ratio, drop, popularity_drop, weight : (m,) arrays of float
        L, what V and what popularity expect of it, and T(g<-f) + T(f<-g).
    independent_loops : int
        m less the differences of V among the states of the pairs.
    correlation : float
        Of V and -log p.
    """

    popularity: NDArray[np.float64]
    log_ratio: NDArray[np.float64]
    drop: NDArray[np.float64]
    popularity_drop: NDArray[np.float64]
    weight: NDArray[np.float64]
    independent_loops: int
    correlation: float

    @classmethod
    def of(cls, potential: Potential) -> _Pairs:
        rates = _without_self_loops(potential.kernel)
        n = len(potential.states)
        popularity = np.asarray(rates.sum(axis=0), dtype=np.float64) / (n - 1)
        back = rates.T.tocsr()
        there = triu(rates.multiply(back > 0), 1).tocsr().tocoo()  # sorted, as is what comes next
        reverse = triu(back.multiply(rates > 0), 1).tocsr().tocoo()
        f, g, heights = there.row, there.col, potential.violation.beta * potential.heights
        with np.errstate(divide="ignore"):
            unpopular = -np.log(popularity)
        return cls(
            popularity,
            np.log(there.data / reverse.data),
            heights[f] - heights[g],
            unpopular[f] - unpopular[g],
            there.data + reverse.data,
            len(f) - n + int(connected_components(there, directed=False)[0]),
            _correlate(potential, unpopular),
        )

    def measures(self) -> list[float]:
        """Return the correlation, then three shares for each way to weigh and to scale."""
        found = [self.correlation]
        for scaled in (False, True):
            for weight in (np.ones_like(self.weight), self.weight):
                found += self._shares(weight, scaled=scaled)
        return found

    def _shares(self, weight: NDArray[np.float64], *, scaled: bool) -> tuple[float, float, float]:
        """Return the shares of popularity, of V, and of V given popularity."""
        total = float(weight @ self.log_ratio**2)
        if total <= 0:
            return float("nan"), float("nan"), float("nan")

        def share(x: NDArray[np.float64]) -> float:
            squares = float(weight @ x**2)
            if scaled and squares > 0:
                x = x * (weight @ (self.log_ratio * x)) / squares
            return 1.0 - float(weight @ (self.log_ratio - x) ** 2) / total

        popularity, potential = share(self.popularity_drop), share(self.drop)
        left = 1.0 - popularity
        given = (potential - popularity) / left if left > _NOTHING else float("nan")
        return popularity, potential, given


def _without_self_loops(kernel: Kernel) -> csr_array[Any, tuple[int, int]]:
    rates = kernel.probabilities.tocsr().copy()
    rates.setdiag(0)
    rates.eliminate_zeros()
    rates.sum_duplicates()
    return rates


def _correlate(potential: Potential, unpopular: NDArray[np.float64]) -> float:
    """Return r over the largest component; of several equal ones, that of the first state."""
    sizes = np.bincount(potential.components)[potential.components]
    inside = potential.components == potential.components[int(sizes.argmax())]
    x, y = potential.heights[inside], unpopular[inside]
    if np.count_nonzero(inside) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _sorted_kernel(counts: TransitionCounts, *, attempts: Attempts, min_attempts: int) -> Kernel:
    """Return the kernel with its states in order, so that no draw depends on another order."""
    given = counts.without_boundaries()
    ordered = given.sorted()
    if not isinstance(attempts, str) and np.ndim(attempts):
        made, _ = resolve_attempts(given, attempts)
        attempts = made[[given.index(state) for state in ordered.states]]
    return estimate_kernel(ordered, attempts=attempts, min_attempts=min_attempts)


def _leave_out(
    kernel: Kernel, runs: RunTable | None, settings: dict[str, Any]
) -> tuple[list[Kernel], str]:
    """Return the kernel without each group of runs, or of states where runs are too few."""
    if runs is not None:
        clusters = MoveClusters.from_runs(runs)
        if clusters.enough:
            groups = min(len(clusters), GROUPS)
            parts = []
            for i in range(groups):
                left = clusters.totals - np.asarray(clusters.counts[i::groups].sum(axis=0))
                moves = (clusters.source, clusters.target, left)
                part = TransitionCounts.from_arrays(runs.states, *moves)
                parts.append(_sorted_kernel(part, **settings))
            return parts, clusters.unit
    n = len(kernel.states)
    order = np.argsort(np.array(kernel.states, dtype=object), kind="stable")
    groups, parts = min(n, GROUPS), []
    for i in range(groups if n >= FEWEST_STATES else 0):
        kept = np.sort(np.delete(order, np.s_[i::groups]))
        rates = kernel.probabilities[kept, :][:, kept].tocsr()
        made = None if kernel.attempts is None else kernel.attempts[kept]
        parts.append(Kernel(tuple(kernel.states[j] for j in kept), rates, made))
    return parts, "state"


def _jackknife(parts: list[Kernel], potential: Potential) -> list[float]:
    """Return the standard errors of `_Pairs.measures`; NaN where a part cannot be measured."""
    if not parts:
        return [float("nan")] * _MEASURES
    found = np.array([_measure(part, potential) for part in parts])
    errors: list[float] = np.sqrt((len(found) - 1) * found.var(axis=0)).tolist()
    return errors


def _measure(kernel: Kernel, near: Potential) -> list[float]:
    try:
        potential = estimate_potential(kernel, violation=near.violation, initial=near)
    except (ConvergenceError, InsufficientDataError):
        return [float("nan")] * _MEASURES
    return _Pairs.of(potential).measures()


def _draw_null(
    kernel: Kernel,
    potential: Potential,
    popularity: NDArray[np.float64],
    replicates: int,
    seed: int,
) -> NDArray[np.float64]:
    """Return what V explains of what popularity leaves, where V is popularity: (replicates,).

    Under balance T(g<-f) : T(f<-g) is p(g) : p(f), so that of the moves of a pair each goes f -> g
    with the odds N0(f) p(g) : N0(g) p(f).
    """
    if kernel.attempts is None:
        return np.empty(0)
    attempts = np.maximum(kernel.attempts, 1e-300)
    seen = _without_self_loops(kernel).multiply(attempts[:, None]).tocsr()
    totals = triu((seen + seen.T).tocsr(), 1).tocoo()
    f, g, number = totals.row, totals.col, np.rint(totals.data).astype(np.int64)
    with np.errstate(divide="ignore"):
        level = np.log(attempts) - np.log(popularity)
    ends, rng = (np.r_[f, g], np.r_[g, f]), np.random.default_rng(seed)
    drawn = np.empty(replicates)
    for i in range(replicates):
        there = rng.binomial(number, expit(level[f] - level[g]))
        made = np.r_[there, number - there] / attempts[ends[0]]
        rates = csr_array((np.minimum(made, 1.0), ends), shape=seen.shape)
        rates.eliminate_zeros()
        drawn[i] = _measure(Kernel(kernel.states, rates, kernel.attempts), potential)[_TESTED]
    return drawn[np.isfinite(drawn)]
