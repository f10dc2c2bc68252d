"""What a run of the symbolic task says: detailed balance, and what makes V low."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm, spearmanr

from detailed_balance.analyzers import (
    ExplicitPotential,
    Potential,
    TransitionCounts,
    estimate_potential,
    expression_features,
    fit_explicit_potential,
    ngrams,
)
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.potential.features import FeatureFunction
from detailed_balance.analyzers.results import plain
from examples.paper.agent.evaluation import BalanceSummary, summarize_balance
from examples.paper.symbolic.fitting import Fit, Fitter

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "PUBLISHED",
    "RankCorrelation",
    "SymbolicResults",
    "correlate_ranks",
    "study_expressions",
]

PUBLISHED = {
    "states": 7_484,
    "edges": 21_697,
    "transitions": 50_228,
    "down": 0.6956,
    "up": 0.2583,
    "flat": 0.0462,
}
"""Of the paper's symbolic agent: its size, and the shares of its explicit potential (T > 0.05)."""

_FEWEST_RANKED = 4


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's rank correlation over n states, and its interval.

    Parameters
    ----------
    value, low, high : float
        NaN for fewer than four states, or where one side has no two values.
    states : int
        n.
    level : float
        Of the interval.
    """

    value: float
    low: float
    high: float
    states: int
    level: float = 0.95


def correlate_ranks(x: ArrayLike, y: ArrayLike, *, level: float = 0.95) -> RankCorrelation:
    """Return Spearman's rank correlation with its interval.

    The interval takes the states as independent; the standard error of artanh(r) is
    sqrt((1 + r^2 / 2) / (n - 3)), after Bonett and Wright, Psychometrika 65 (2000) 23.

    Examples
    --------
    >>> correlate_ranks(range(40), range(40)).value
    1.0
    >>> found = correlate_ranks([1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5])
    >>> round(found.value, 3), round(found.low, 2), round(found.high, 2)
    (0.829, -0.13, 0.99)
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    n = len(first)
    if n < _FEWEST_RANKED or np.ptp(first) == 0 or np.ptp(second) == 0:
        return RankCorrelation(math.nan, math.nan, math.nan, n, level)
    value = float(spearmanr(first, second).statistic)
    centre = math.atanh(min(max(value, -1 + 1e-12), 1 - 1e-12))
    reach = float(norm.isf((1 - level) / 2)) * math.sqrt((1 + value**2 / 2) / (n - 3))
    return RankCorrelation(value, math.tanh(centre - reach), math.tanh(centre + reach), n, level)


@dataclass(frozen=True, slots=True, eq=False)
class SymbolicResults:
    """What was recorded, and what it says.

    Parameters
    ----------
    counts : TransitionCounts
        The transitions.
    potential : Potential
        V of all expressions asked about twice or more.
    balance : BalanceSummary
        Pairs and loops.
    fits : tuple of Fit, length n
        Of the states of `potential`.
    heights : (n,) array of float
        Their V above the lowest of the largest strongly connected component; finite inside it,
        -inf for what was reached from it and never left for it, as `Potential.relative_to`.
    explicit : dict of str to ExplicitPotential
        By the name of the features; without those that there is too little data for.
    """

    counts: TransitionCounts
    potential: Potential
    balance: BalanceSummary
    fits: tuple[Fit, ...]
    heights: NDArray[np.float64]
    explicit: dict[str, ExplicitPotential]

    @property
    def edges(self) -> int:
        """The pairs f -> g that were taken, self-loops left out."""
        own = np.count_nonzero(self.counts.counts.diagonal())
        return int(self.counts.counts.nnz - own)

    @property
    def transitions(self) -> int:
        """The transitions, self-loops left out."""
        return int(self.counts.total - self.counts.counts.diagonal().sum())

    @property
    def inside(self) -> NDArray[np.int64]:
        """The places of the states of the largest component, where V is finite."""
        return np.flatnonzero(np.isfinite(self.heights))

    @property
    def error_ranks(self) -> RankCorrelation:
        """V against the mean squared error: above 0 where low V goes with a good fit."""
        errors = np.array([fit.mse for fit in self.fits])
        return correlate_ranks(self.heights[self.inside], errors[self.inside])

    @property
    def complexity_ranks(self) -> RankCorrelation:
        """V against the complexity: above 0 where low V goes with a short expression."""
        sizes = np.array([fit.expression.complexity for fit in self.fits])
        return correlate_ranks(self.heights[self.inside], sizes[self.inside])

    def best(self, most: int = 10) -> list[tuple[str, int, float, float, float]]:
        """Return expression, complexity, MSE, V and its standard error, the best fit first.

        Of fits that agree in four digits the one of the lowest V comes first.
        """
        rounded = [float(f"{fit.mse:.4g}") for fit in self.fits]
        order = sorted(range(len(self.fits)), key=lambda i: (rounded[i], self.heights[i]))
        shown = [self.fits[i] for i in order[:most]]
        names = [fit.expression.text for fit in shown]
        errors = self.potential.standard_errors(states=names)
        return [
            (fit.expression.text, fit.expression.complexity, fit.mse, float(height), float(error))
            for fit, height, error in zip(shown, self.heights[order], errors, strict=False)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return everything in types that JSON has."""
        names = ("expression", "complexity", "mse", "potential", "error")
        best = zip(*self.best(len(self.fits)), strict=True)
        result = {
            "states": len(self.counts),
            "edges": self.edges,
            "transitions": self.transitions,
            "attempts": int(self.counts.attempts.sum()),
            "expressions": dict(zip(names, map(list, best), strict=False)),
            "balance": self.balance,
            "error_ranks": self.error_ranks,
            "complexity_ranks": self.complexity_ranks,
            "explicit": {name: fit.to_dict() for name, fit in self.explicit.items()},
        }
        return dict(plain(result))


def study_expressions(
    counts: TransitionCounts, fitter: Fitter, *, seed: int = 0
) -> SymbolicResults:
    """Estimate the potential of recorded expressions, and hold it against their fits.

    Parameters
    ----------
    counts : TransitionCounts
        The states are canonical expressions.
    fitter : Fitter
        Of the data they were fitted to.
    seed : int
        Of the states held out in the choice of features.

    Raises
    ------
    InsufficientDataError
        Where fewer than two expressions were asked about twice.
    """
    potential = estimate_potential(counts)
    features: dict[str, list[FeatureFunction]] = {
        "expression features": [expression_features],
        "expression features and 2-grams": [expression_features, ngrams(2)],
    }
    explicit = {name: _explain(counts, functions, seed) for name, functions in features.items()}
    return SymbolicResults(
        counts,
        potential,
        summarize_balance(counts, potential),
        tuple(map(fitter.fit, potential.states)),
        potential.relative_to(),
        {name: fit for name, fit in explicit.items() if fit is not None},
    )


def _explain(
    counts: TransitionCounts, features: Sequence[FeatureFunction], seed: int
) -> ExplicitPotential | None:
    try:
        return fit_explicit_potential(counts, features, seed=seed)
    except InsufficientDataError:
        return None
