"""`compare_potentials`: whether contexts share one potential, and which states moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import chi2, f, false_discovery_control

from detailed_balance.analyzers.comparison._contexts import (
    JoinedRuns,
    distance_table,
    named_contexts,
    pairwise_distances,
)
from detailed_balance.analyzers.counts import END, TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.inputs import CountsLike, read_recorded
from detailed_balance.analyzers.potential.estimate import Potential, estimate_potential
from detailed_balance.analyzers.results import Table, TableResult
from detailed_balance.analyzers.runs.arrays import Paths
from detailed_balance.analyzers.runs.table import RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PotentialComparison", "compare_potentials"]

Measured: TypeAlias = "Potential | CountsLike"
"""A context: its potential, or what to estimate it from."""

NO_SPREAD = 1e-10
"""Variances so much smaller than the largest are rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class PotentialComparison(TableResult):
    """Whether k contexts share one potential, on the m states that they can be compared on.

    Parameters
    ----------
    contexts : tuple of str, length k
        Their names.
    states : tuple of str, length m
        The states of one strongly connected component in every context: the largest such set.
    values, errors : (k, m) array of float
        V less its mean over these states, and its standard error, in units of 1 / beta.
    shift_error : (m,) array of float
        Standard error of `shift`.
    statistic : float
        Wald's: the differences, measured by their covariance.
    degrees_of_freedom : int
        (k - 1) (m - 1), less directions without spread in the sample.
    pvalue : float
        Of one potential up to a constant for each context.
    state_pvalue, state_adjusted : (m,) array of float
        Of each state being where it was against the mean; the second controls the false discovery
        rate.
    distances : (k, k) array of float
        Root mean square difference of V over these states in units of 1 / beta, less what the
        errors of both explain; 0 or more.
    distance_pvalues : (k, k) array of float
        Of each pair by itself, adjusted for the number of pairs.
    replicates, seed : int
        Of the permutations behind `pvalue` and `distance_pvalues`; without any, and for the
        states, p-values are those of Wald's test.
    alpha : float
        The level of the verdict.

    Notes
    -----
    A potential is known up to a constant only, so that one state that moved far moves the mean,
    and all others a little the other way.
    """

    contexts: tuple[str, ...]
    states: tuple[str, ...]
    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    shift_error: NDArray[np.float64]
    statistic: float
    degrees_of_freedom: int
    pvalue: float
    state_pvalue: NDArray[np.float64]
    state_adjusted: NDArray[np.float64]
    distances: NDArray[np.float64]
    distance_pvalues: NDArray[np.float64]
    replicates: int
    seed: int
    alpha: float

    @property
    def rejected(self) -> bool:
        """Whether one potential for all is rejected; False is not proof of one."""
        return self.pvalue <= self.alpha

    @property
    def moved(self) -> tuple[str, ...]:
        """The states that moved, at a false discovery rate of alpha."""
        pairs = zip(self.states, self.state_adjusted, strict=True)
        return tuple(state for state, pvalue in pairs if pvalue <= self.alpha)

    @property
    def shift(self) -> NDArray[np.float64]:
        """(m,) array: V in the last context less V in the first, each less its mean."""
        return np.asarray(self.values[-1] - self.values[0])

    def describe(self) -> str:
        """Say in one sentence what was found."""
        verb = "differ" if self.rejected else "show no difference"
        return (
            f"the potentials of {', '.join(self.contexts)} {verb} on {len(self.states)} common "
            f"states ({len(self.moved)} moved, p = {self.pvalue:.3g})"
        )

    def to_table(self) -> Table:
        """Return for each state its V and errors, the shift from the first context to the last."""
        place = np.argsort(self.state_pvalue, kind="stable")
        table: Table = {"state": [self.states[i] for i in place]}
        for name, values, errors in zip(self.contexts, self.values, self.errors, strict=True):
            table[f"potential in {name}"] = values[place].tolist()
            table[f"error in {name}"] = errors[place].tolist()
        table["shift"] = self.shift[place].tolist()
        table["error"] = self.shift_error[place].tolist()
        table["pvalue"] = self.state_pvalue[place].tolist()
        table["adjusted"] = self.state_adjusted[place].tolist()
        return table

    def distance_table(self) -> Table:
        """Return the columns first, second, distance and pvalue, one row for each pair."""
        return distance_table(self.contexts, self.distances, self.distance_pvalues)

    def _content(self) -> dict[str, Any]:
        names = ("contexts", "statistic", "degrees_of_freedom", "pvalue", "rejected", "moved")
        result = self._values(*names, "distances", "distance_pvalues")
        settings = self._values("replicates", "seed", "alpha")
        return {**result, "states": self.to_table(), "settings": settings}


def compare_potentials(
    a: Measured | Mapping[str, Measured],
    b: Measured | None = None,
    *,
    block: str | None = None,
    replicates: int = 0,
    alpha: float = 0.05,
    seed: int = 0,
    states: Iterable[str] | None = None,
    **settings: Any,
) -> PotentialComparison:
    """Test whether two contexts or more share one potential up to a constant.

    Null hypothesis: V(f) - V(g) is the same in all contexts, for all states f and g that every
    context joins both ways. The kernels may differ: it is the claim that V transcends models and
    prompts. Wald's test, with a covariance that is known in large samples only: where some moves
    were expected about once, it was seen to reject 8% to 13% of equal potentials at 5%.

    Parameters
    ----------
    a, b : Potential or CountsLike
        Each context, independent of the others; or `a` alone, a mapping from their names. Give
        runs where you can: their covariance is that of whole runs, which takes no two moves of
        one run for independent. From counts each move is independent of the others.
    block : str, optional
        For runs: what tells the block of each, ``"thread"`` or a label; by default the blocks of
        the tables, where they have any. Then the covariance is that of whole blocks, and a block
        of one name is one block in all contexts.
    replicates : int
        For runs: take the p-values from so many permutations of whole runs among the contexts;
        with blocks, of runs inside the blocks that several contexts have, and of the others as
        wholes. Exact where what is permuted has one distribution in all contexts; each permutation
        estimates again. With 50 runs in each context Wald's test by itself was seen to reject far
        too often.
    alpha : float
        Level of the verdict and false discovery rate of the states.
    seed : int
        Of the permutations.
    states : iterable of str, optional
        Compare on these alone, as far as all contexts join them both ways.
    **settings
        For `estimate_potential`, where runs or counts are given; attempts are "observed" for runs.

    Returns
    -------
    PotentialComparison
        Pairs of contexts included.

    Raises
    ------
    InsufficientDataError
        Where no two states are joined both ways in every context.
    InvalidInputError
        Where potentials have different beta, or there are fewer than two contexts.

    References
    ----------
    Song et al., arXiv:2512.10047, for the claim.

    Examples
    --------
    >>> a = TransitionCounts.from_edges([("x", "y", 80), ("x", None, 20), ("y", "x", 20)])
    >>> b = TransitionCounts.from_edges([("x", "y", 40), ("x", None, 60), ("y", "x", 10)])
    >>> comparison = compare_potentials(a, b, attempts=100)
    >>> comparison.shift.round(6).tolist(), comparison.rejected  # T(y<-x) / T(x<-y) = 4 in both
    ([0.0, 0.0], False)
    """
    found = {name: _Context.of(x, settings, block) for name, x in named_contexts(a, b).items()}
    names, contexts = tuple(found), tuple(found.values())
    if len({context.runs is None for context in contexts}) > 1:
        raise InvalidInputError("some contexts are runs and others are not; give one kind")
    tables = [context.runs for context in contexts if context.runs is not None]
    if not tables and (replicates or block is not None):
        option = "replicates= permutes runs" if replicates else "block= is of runs"
        raise InvalidInputError(f"{option}; give runs (read_runs)")
    joined = JoinedRuns.of(tables) if tables else None
    betas = {context.potential.violation.beta for context in contexts}
    if len(betas) > 1:
        raise InvalidInputError(f"potentials in units of different beta: {sorted(betas)}")
    common = _common_states([context.potential for context in contexts])
    if states is not None:
        asked = set(states)
        common = tuple(state for state in common if state in asked)
    if len(common) < 2:
        raise InsufficientDataError(
            f"no two states are joined both ways in every one of {', '.join(names)}: their "
            "potentials have no difference in common that is finite. Record more, or compare fewer"
        )
    blocks = None if joined is None else joined.blocks()
    values, spread, freedoms = _measure(contexts, common, blocks)
    statistic, freedom, pvalue = _wald(values, spread, freedoms)
    shuffle = partial(_permuted, settings=settings, replicates=replicates, seed=seed)
    if replicates and joined is not None:
        pvalue = shuffle(joined, pvalue, common)
    by_state = [
        _wald(values[:, [i]], spread[..., i : i + 1, i : i + 1], freedoms)
        for i in range(len(common))
    ]

    def measure(i: int, j: int) -> tuple[float, float]:
        pair = [i, j]
        between = spread[np.ix_(pair, pair)]
        explained = np.trace(_contrast(between))
        excess = ((values[i] - values[j]) ** 2).sum() - explained
        few = freedoms if isinstance(freedoms, int) else [freedoms[i], freedoms[j]]
        if len(names) == 2:
            return float(np.sqrt(max(excess, 0.0) / len(common))), pvalue
        *_, found = _wald(values[pair], between, few)
        if replicates and joined is not None:
            found = shuffle(joined.only(pair), found, common)
        return float(np.sqrt(max(excess, 0.0) / len(common))), found

    each = np.array([test[2] for test in by_state])
    return PotentialComparison(
        names,
        common,
        values,
        np.sqrt([np.maximum(np.diagonal(spread[i, i]), 0.0) for i in range(len(names))]),
        np.sqrt(
            np.maximum(np.diagonal(_contrast(spread[:: len(names) - 1, :: len(names) - 1])), 0)
        ),
        statistic,
        freedom,
        pvalue,
        each,
        np.asarray(false_discovery_control(each)),
        *pairwise_distances(len(names), measure),
        replicates,
        seed,
        alpha,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Context:
    """The potential of one context, and the (r, n * width) counts of its runs if it has them."""

    potential: Potential
    runs: RunTable | None = None
    run_counts: csr_array[Any, tuple[int, int]] | None = None
    width: int = 0

    @classmethod
    def of(cls, given: Any, settings: Mapping[str, Any], block: str | None = None) -> _Context:
        if isinstance(given, Potential):
            return cls(given)
        known, runs = read_recorded(given)
        if runs is None:
            return cls(estimate_potential(known, **settings))
        if block is not None:
            runs = runs.with_blocks(block)
        first = Paths.from_runs(runs)
        states, moves = first.states, first.counts().tocoo()
        counts = TransitionCounts.from_arrays((*states, END), moves.row, moves.col, moves.data)
        potential = estimate_potential(counts, **settings)
        # The states of the potential come first, and in its order.
        order = (*potential.states, *(s for s in states if s not in set(potential.states)))
        paths = Paths.from_runs(runs, states=order)
        return cls(potential, runs, paths.run_counts(), len(order) + 1)

    def values(self, states: tuple[str, ...]) -> NDArray[np.float64]:
        found = self.potential.relative_to(states[0])
        found = found[[self.potential.index(state) for state in states]]
        return np.asarray(found - found.mean())

    def covariance(self, states: tuple[str, ...]) -> NDArray[np.float64]:
        """(m, m) array: the covariance of V less its mean, where runs are not known."""
        m = len(states)
        found = np.zeros((m, m))
        found[1:, 1:] = self.potential.covariance(states[1:], states[0])
        centred = np.eye(m) - 1 / m
        return np.asarray(centred @ found @ centred)

    def influence(self, states: tuple[str, ...]) -> NDArray[np.float64]:
        """(r, m) array: what each run adds to V less its mean."""
        runs, width = self.run_counts, self.width
        runs = csr_array((0, width)) if runs is None else runs
        moves = self.potential.influence(states[1:], states[0], runs, width)
        found = np.column_stack([np.zeros(len(moves)), moves])
        return np.asarray(found - found.mean(axis=1, keepdims=True))


def _measure(
    contexts: Sequence[_Context],
    common: tuple[str, ...],
    blocks: Sequence[NDArray[np.int64]] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], int | list[int | None]]:
    """Return the (k, m) values less their mean, and the (k, k, m, m) covariances between contexts.

    And how many independent parts tell the covariance of each context; one number for all where
    contexts share blocks.
    """
    values = np.array([context.values(common) for context in contexts])
    k, m = values.shape
    spread = np.zeros((k, k, m, m))
    if blocks is None:
        for i, context in enumerate(contexts):
            spread[i, i] = context.covariance(common)
        return values, spread, [None] * k
    width = max((int(codes.max(initial=-1)) for codes in blocks), default=-1) + 1
    added = np.zeros((k, width, m))
    number = []
    for i, (context, codes) in enumerate(zip(contexts, blocks, strict=True)):
        np.add.at(added[i], codes, context.influence(common))
        number.append(n := len(np.unique(codes)))
        added[i] *= np.sqrt(n / max(n - 1, 1))
    spread = np.einsum("ibx,jby->ijxy", added, added, optimize=True)
    return values, spread, width if sum(number) > width else [*number]


def _permuted(
    joined: JoinedRuns,
    observed: float,
    common: tuple[str, ...],
    *,
    settings: Mapping[str, Any],
    replicates: int,
    seed: int,
) -> float:
    """Return the share of permutations of the runs with a p-value of Wald's test as small.

    A permutation that leaves fewer states in common is compared on these; one that leaves none
    counts as if it were as small.
    """
    rng = np.random.default_rng(seed)
    beyond = 0
    for drawn in joined.shuffled(replicates, rng):
        try:
            contexts = [_Context.of(table, settings) for table in drawn.tables()]
        except InsufficientDataError:
            beyond += 1
            continue
        shared = _common_states([context.potential for context in contexts])
        shared = tuple(state for state in shared if state in set(common))
        if len(shared) < 2:
            beyond += 1
            continue
        beyond += _wald(*_measure(contexts, shared, drawn.blocks()))[2] <= observed
    return (1 + beyond) / (replicates + 1)


def _common_states(potentials: Sequence[Potential]) -> tuple[str, ...]:
    """Return the largest set of states inside one component of every potential."""
    groups: dict[tuple[int, ...], list[str]] = {}
    places = [dict(zip(p.states, p.components.tolist(), strict=True)) for p in potentials]
    for state in potentials[0].states:
        if all(state in place for place in places):
            groups.setdefault(tuple(place[state] for place in places), []).append(state)
    return tuple(sorted(max(groups.values(), key=lambda group: len(list(group)), default=[])))


def _contrast(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariance of contexts less the first, of the (k, k, m, m) one of contexts."""
    inner = spread[1:, 1:] - spread[1:, :1] - spread[:1, 1:] + spread[:1, :1]
    size = inner.shape[0] * inner.shape[2]
    return np.asarray(inner.transpose(0, 2, 1, 3).reshape(size, size))


def _wald(
    values: NDArray[np.float64],
    spread: NDArray[np.float64],
    numbers: int | Sequence[int | None],
) -> tuple[float, int, float]:
    """Return Wald's statistic of equal rows of (k, m) values, its degrees of freedom and p."""
    covariance = _contrast(spread)
    variances, directions = np.linalg.eigh(covariance)
    kept = variances > NO_SPREAD * max(variances.max(), 1e-300)
    along = directions[:, kept].T @ (values[1:] - values[0]).ravel()
    statistic, freedom = float((along**2 / variances[kept]).sum()), int(kept.sum())
    if isinstance(numbers, int):
        return statistic, freedom, _upper(statistic, freedom, float(numbers - 1))
    known = []
    for i, n in enumerate(numbers):
        if n and n > 1:
            alone = np.zeros_like(spread)
            alone[i, i] = spread[i, i]
            known.append(_size(_contrast(alone)) / (n - 1))
    left = _size(covariance) / sum(known) if known else np.inf
    return statistic, freedom, _upper(statistic, freedom, left)


def _size(covariance: NDArray[Any]) -> float:
    return float((covariance**2).sum() + np.trace(covariance) ** 2)


def _upper(statistic: float, freedom: int, known: float) -> float:
    """Return the p-value; 1 where the sample shows no spread, or too few runs, to measure by.

    `known` is what Nel and van der Merwe make of the runs: the degrees of freedom of a covariance
    that is the sum of estimated ones (Welch's for a single state), for Hotelling's distribution.
    """
    if not freedom:
        return 1.0
    if np.isinf(known):
        return float(chi2.sf(statistic, freedom))
    left = known - freedom + 1
    return float(f.sf(statistic * left / known / freedom, freedom, left)) if left > 0 else 1.0
