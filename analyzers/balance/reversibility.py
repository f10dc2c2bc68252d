"""Test whether the recorded chain is reversible: all loops at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from scipy.special import xlogy
from scipy.stats import chi2

from detailed_balance.analyzers.balance._besag_clifford import sample_reversible_tables
from detailed_balance.analyzers.balance.reversible_mle import ReversibleFit, fit_reversible
from detailed_balance.analyzers.convergence import StepsCallback
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.inputs import CountsLike, read_counts
from detailed_balance.analyzers.kernel import Kernel
from detailed_balance.analyzers.markov.context_names import warn_of_contexts
from detailed_balance.analyzers.multiplicity import check_replicates
from detailed_balance.analyzers.results import Table, TableResult, times

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ReversibilityResult", "reversibility_test"]

PvalueMethod: TypeAlias = Literal["auto", "chi2", "bootstrap"]
"""Where the p-value comes from; see `reversibility_test`."""

LARGEST_SHIFT = 0.05
"""The chi-square distribution is used where small counts shift the statistic by at most so many of
its standard deviations: a test at 5% then rejects in about 5.5% of cases."""


@dataclass(frozen=True, slots=True, eq=False)
class ReversibilityResult(TableResult):
    """What `reversibility_test` found.

    Parameters
    ----------
    statistic : float
        Twice the log likelihood ratio of the unrestricted kernel over the best reversible one.
    degrees_of_freedom : int
        E - n + c for E linked pairs, n states and c components: the independent loops.
    pvalue : float
        Of the null hypothesis that the chain is reversible; NaN where there is no loop.
    method : {"chi2", "bootstrap"}
        Where it comes from.
    small_count_shift : float
        How far small counts push the statistic up, in standard deviations of the chi-square
        distribution.
    fit : ReversibleFit
        The reversible kernel of greatest likelihood, with what was fitted.
    moves : int
        The moves that were tested.
    one_way_pairs : int
        Tested pairs that were seen in one direction only; they are evidence like the others.
    untested_states : tuple of str
        States that lie on no directed loop.
    untested_moves : int
        Moves that lead out of a component for good; self-loops and boundaries are not counted.
    replicates, sweeps : int
        Of the bootstrap; 0 where it was not needed.
    seed : int
        Of the bootstrap.
    """

    statistic: float
    degrees_of_freedom: int
    pvalue: float
    method: str
    small_count_shift: float
    fit: ReversibleFit
    moves: int
    one_way_pairs: int
    untested_states: tuple[str, ...]
    untested_moves: int
    replicates: int
    sweeps: int
    seed: int

    @property
    def states(self) -> tuple[str, ...]:
        """The n tested states."""
        return self.fit.counts.states

    @property
    def kernel(self) -> Kernel:
        """The reversible kernel of greatest likelihood; rows sum to 1, self-loops as observed."""
        return self.fit.kernel()

    @property
    def stationary(self) -> NDArray[np.float64]:
        """(n,) array: its stationary distribution, which sums to 1 in each component."""
        return self.fit.stationary()

    def to_table(self) -> Table:
        """Return the tested pairs, the strongest evidence against reversibility first.

        The columns are source, target (the direction seen more often than expected), forward,
        backward, expected (forward) and deviance, which add up to the statistic.
        """
        fit, deviance = self.fit, self.fit.deviance()
        there, back = fit.expected()
        turned = fit.forward < there
        order = np.argsort(-deviance, kind="stable")
        ends = np.where(
            turned, [fit.pairs.second, fit.pairs.first], [fit.pairs.first, fit.pairs.second]
        )
        return {
            "source": [self.states[i] for i in ends[0][order]],
            "target": [self.states[i] for i in ends[1][order]],
            "forward": np.where(turned, fit.backward, fit.forward)[order].tolist(),
            "backward": np.where(turned, fit.forward, fit.backward)[order].tolist(),
            "expected": np.where(turned, back, there)[order].tolist(),
            "deviance": deviance[order].tolist(),
        }

    def _content(self) -> dict[str, Any]:
        test = ("statistic", "degrees_of_freedom", "pvalue", "small_count_shift")
        rest = ("moves", "one_way_pairs", "untested_states", "untested_moves")
        return {
            "pairs": self.to_table(),
            **self._values(*test, "states", "stationary"),
            "components": self.fit.pairs.components,
            **self._values(*rest),
            "settings": self._values("method", "replicates", "sweeps", "seed"),
        }

    def describe(self) -> str:
        """Say in one sentence what was found."""
        how = f"{self.replicates:,} replicates" if self.replicates else "chi-square distribution"
        return (
            f"reversible? p = {self.pvalue:.2g} ({how}): {self.moves:,} moves over "
            f"{len(self.fit.pairs)} pairs, {self.one_way_pairs} of them seen in one direction "
            f"only, "
            f"{self.degrees_of_freedom} independent loops; {len(self.untested_states)} states and "
            f"{self.untested_moves:,} moves on no loop were left out"
        )


def reversibility_test(
    counts: CountsLike,
    *,
    method: PvalueMethod = "auto",
    replicates: int = 999,
    sweeps: int = 10,
    seed: int = 0,
    progress: StepsCallback | None = None,
) -> ReversibilityResult:
    """Test whether the recorded moves are those of a reversible Markov chain.

    The unrestricted kernel is held against the reversible kernel of greatest likelihood. START
    and END never enter; self-loops, escapes and moves out of a strongly connected component say
    nothing about detailed balance, and cancel. Pairs seen in one direction only inside a component
    count in full.

    Parameters
    ----------
    counts : CountsLike
        What was recorded.
    method : {"auto", "chi2", "bootstrap"}
        "chi2" takes the distribution of large counts, which with small ones rejects far too often.
        "bootstrap" compares with tables drawn from the reversible chain, given how often each
        pair was taken and each state left; given these the chain's kernel drops out, so the
        p-value holds for counts of any size. "auto" takes chi2 where small counts shift the
        statistic by at most 0.05 of its standard deviation (sum over pairs of (1/a + 1/b -
        1/(a+b)) / 6 for expected counts a and b, over the root of twice the degrees of freedom).
    replicates : int
        Tables drawn; the smallest p-value is 1 / (replicates + 1).
    sweeps : int
        Steps between tables, for each degree of freedom. Few cost power, never validity.
    seed : int
        Equal seeds give equal p-values.
    progress : callable
        Called with the steps done and the steps in all.

    Returns
    -------
    ReversibilityResult
        The statistic, the p-value, the reversible kernel, and what was left out.

    Raises
    ------
    InsufficientDataError
        Where no loop of three or more states can be taken; its `partial` is the result without
        a p-value.
    InvalidInputError
        Where a setting has a value that is not allowed.

    Notes
    -----
    It cannot see driving without a loop, and takes the chain to be of first order, with the same
    kernel in all runs: short runs of two reversible agents, pooled, need not look reversible.

    References
    ----------
    Billingsley, Ann. Math. Statist. 32, 12 (1961); Besag and Mondal, Biometrics 69, 488 (2013).

    Examples
    --------
    >>> from detailed_balance.analyzers import TransitionCounts
    >>> driven = TransitionCounts.from_dense([[0, 30, 10], [10, 0, 30], [30, 10, 0]])
    >>> result = reversibility_test(driven)
    >>> result.method, result.degrees_of_freedom, round(result.statistic, 2)
    ('chi2', 1, 31.39)
    >>> reversibility_test(driven, method="bootstrap").pvalue
    0.001
    """
    _check_settings(method, replicates, sweeps)
    counts = read_counts(counts)
    warn_of_contexts(counts.states)
    counts = counts.without_boundaries()
    fit = fit_reversible(counts)
    freedom = fit.degrees_of_freedom
    shift = _small_count_shift(fit)
    if method == "auto":
        method = "chi2" if shift <= LARGEST_SHIFT else "bootstrap"
    statistic = float(fit.deviance().sum())
    drawn = freedom > 0 and method == "bootstrap"
    pvalue = float(chi2.sf(statistic, freedom)) if freedom else float("nan")
    if drawn:
        rng, ordered = np.random.default_rng(seed), fit_reversible(counts.sorted())
        tables = sample_reversible_tables(
            ordered, replicates=replicates, sweeps=sweeps, rng=rng, progress=progress
        )
        pvalue = (1 + sum(_as_extreme(ordered, table) for table in tables)) / (replicates + 1)
    tested = int(fit.totals.sum())
    result = ReversibilityResult(
        statistic,
        freedom,
        pvalue,
        method,
        shift,
        fit,
        tested,
        int(np.count_nonzero(np.minimum(fit.forward, fit.backward) == 0)),
        tuple(sorted(set(counts.states) - set(fit.counts.states))),
        counts.total - int(counts.counts.diagonal().sum()) - tested,
        replicates if drawn else 0,
        sweeps if drawn else 0,
        seed,
    )
    if not freedom:
        raise InsufficientDataError(_no_loop(result), result)
    return result


def _check_settings(method: str, replicates: int, sweeps: int) -> None:
    if method not in get_args(PvalueMethod):
        raise InvalidInputError(
            f"method={method!r}; allowed are {', '.join(get_args(PvalueMethod))}"
        )
    check_replicates(replicates)
    if sweeps < 1:
        raise InvalidInputError(f"sweeps={sweeps!r}; at least one is needed")


def _small_count_shift(fit: ReversibleFit) -> float:
    """Return the bias of the statistic over its standard deviation (Williams 1976)."""
    there, back = fit.expected()
    with np.errstate(divide="ignore", over="ignore"):
        bias = float((1 / there + 1 / back - 1 / fit.totals).sum()) / 6
    return bias / float(np.sqrt(2 * max(1, fit.degrees_of_freedom)))


def _as_extreme(fit: ReversibleFit, tables: NDArray[np.int64]) -> int:
    """Count the tables at least as unlikely under the fit as the one observed.

    The fit depends only on what all tables share, so that what is left of the likelihood ratio
    is sum k log k over all counts k.
    """
    observed = (xlogy(fit.forward, fit.forward) + xlogy(fit.backward, fit.backward)).sum()
    back = fit.totals[:, None] - tables
    drawn = (xlogy(tables, tables) + xlogy(back, back)).sum(axis=0)
    # Tables that are equally likely must count, however their sums were rounded.
    return int(np.count_nonzero(drawn >= observed * (1 - 1e-12)))


def _no_loop(result: ReversibilityResult) -> str:
    moves = result.moves + result.untested_moves
    return (
        f"reversibility cannot be tested: among {len(result.states)} states that lead back to "
        f"themselves there is no loop of three or more, so that any counts agree with it (moves "
        f"were recorded {times(moves)}). A pipeline has none; a finer state function may show one"
    )
