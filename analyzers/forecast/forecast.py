"""`forecast_outcome`: whether a run will end well, how soon, and at what cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers.counts import END, START, TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.forecast._absorbing_chain import (
    bootstrap_sampler,
    fit_chain,
    posterior_sampler,
)
from detailed_balance.analyzers.forecast._goodness_of_fit import check_fit
from detailed_balance.analyzers.forecast.result import Forecast, Intervals, absorption_intervals
from detailed_balance.analyzers.inputs import CountsLike, read_recorded
from detailed_balance.analyzers.markov.order import Strata, StrataLike, find_strata
from detailed_balance.analyzers.runs.arrays import Paths
from detailed_balance.analyzers.runs.clusters import (
    FEWEST_CLUSTERS,
    bootstrap_tails,
    cluster_codes,
    sum_clusters,
)
from detailed_balance.analyzers.runs.table import Runs, RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.markov.contexts import Contexts

__all__ = ["forecast_outcome"]

Cost: TypeAlias = (
    "Mapping[str, float] | Mapping[tuple[str, str], float] | Callable[[str, str], float]"
)
"""What a move costs: by its source, by (source, target), or a function of both."""


def forecast_outcome(
    runs: CountsLike,
    *,
    success: Iterable[str] | None = None,
    failure: Iterable[str] = (),
    cost: Cost | None = None,
    intervals: Intervals = "auto",
    strata: StrataLike = None,
    contexts: Contexts | None = None,
    level: float = 0.95,
    replicates: int = 500,
    prior: float = 1.0,
    held_out: Runs | None = None,
    fit_replicates: int = 199,
    alpha: float = 0.05,
    seed: int = 0,
) -> Forecast:
    """Forecast from each state how a run ends, how soon, and what it costs until then.

    Parameters
    ----------
    runs : CountsLike
        What was recorded. Runs end in success or in failure, as `Trajectory.success` or else its
        outcome says, by the move to END or, without one, by one more move from where they
        stopped. A run with neither is open: it counts with its moves, and its end is taken to be
        hidden for a reason that has nothing to do with how it would have ended.
    success, failure : iterable of str
        For counts only: the states that are ends. By default END is success.
    cost : mapping or callable, optional
        What a move costs (tokens, money, seconds), by source, by (source, target) or as a
        function of both; the last move has the target END.
    intervals : {"auto", "bootstrap", "dirichlet"}
        "bootstrap": from runs drawn again (or from their blocks, where the table has any), as wide
        as Student's t would have it for so many. "dirichlet": from a posterior of each row of the
        chain, whose moves it takes for independent, too narrow where runs differ. "auto": the
        first for 10 runs or blocks and more, else the second.
    strata : str or array, optional
        For a second check of fit: what tells the kind or task of a run, as for
        `markov_order_test`. It asks whether each stratum is a chain of order 1, and whether
        runs end as these chains together say. The forecast is of all runs all the same.
    contexts : Contexts, optional
        What `find_contexts` has found: the states are these then, and not single keys, so that
        the chain knows as much of the past as they hold.
    level : float
        Of the intervals.
    replicates : int
        How many chains are drawn for them; 0 for no intervals.
    prior : float
        How many moves the prior of a row is worth, for what was never seen; they go where all
        moves go.
    held_out : RunTable or iterable of Trajectory, optional
        Runs to hold the forecast against; by default those that it was made from.
    fit_replicates : int
        How many sets of runs are simulated for the check of fit; 0 for no check.
    alpha : float
        Level of the check of fit.
    seed : int
        Of all that is drawn.

    Returns
    -------
    Forecast
        Look at `Forecast.verdict` before you rely on it.

    Raises
    ------
    InsufficientDataError
        Where no run has ended.
    InvalidInputError
        Where an argument has a value that is not allowed; where `strata` and `held_out` are given
        together.

    References
    ----------
    Kemeny and Snell, Finite Markov Chains, chapter 3; arXiv:2604.24579 for agent runs.

    Examples
    --------
    >>> edges = [("plan", "search", 3), ("plan", "give up", 1), ("search", "answer", 1)]
    >>> edges += [("search", "plan", 1)]
    >>> counts = TransitionCounts.from_edges(edges)
    >>> forecast = forecast_outcome(counts, success=["answer"], failure=["give up"])
    >>> at_plan = forecast.after("plan")  # success = 3/4 (1/2 + 1/2 success)
    >>> round(at_plan.success, 4), round(at_plan.steps, 4)
    (0.6, 2.8)
    """
    _check(intervals, level, replicates, prior)
    counts, table = read_recorded(runs)
    if table is None:
        _refuse_for_counts(intervals, held_out, strata, contexts)
        record = _from_counts(counts, (END,) if success is None else tuple(success), tuple(failure))
    else:
        if success is not None or failure:
            raise InvalidInputError("success= and failure= are for counts; runs say how they ended")
        if strata is not None and held_out is not None:
            raise InvalidInputError("strata= and held_out= do not go together; give one of them")
        if contexts is not None:
            table = contexts.rename(table)
            held_out = None if held_out is None else contexts.rename(held_out)
        record = _from_runs(table, strata)
    if not record.counts[:, record.ends].sum():
        raise InsufficientDataError(
            "no run has ended in success or failure: judge runs (TransitionStore.judge), or name "
            "the states that are ends"
        )
    each = _costs(cost, record)
    chain = fit_chain(record.counts, each)
    if intervals == "auto":
        intervals = "bootstrap" if record.clusters >= FEWEST_CLUSTERS else "dirichlet"
    if intervals == "dirichlet":
        tails = (0.5 - level / 2, 0.5 + level / 2)
        sampler = posterior_sampler(record.counts, each, prior)
    else:
        tails = bootstrap_tails(level, record.clusters)
        sampler = bootstrap_sampler(record.cluster_counts(), record.counts, each, prior)
    fit = fit_within = None
    if record.runs is not None and record.paths is not None and fit_replicates:
        other = None if held_out is None else Paths.from_runs(held_out, judged=True)
        check = partial(check_fit, replicates=fit_replicates, alpha=alpha, seed=seed)
        fit = check(record.paths, find_strata(record.runs, None), [record.paths], other)
        if strata is not None:
            fit_within = check(*record.in_strata(), None)
    return Forecast(
        record.states,
        record.counts.sum(axis=1).astype(np.int64),
        *absorption_intervals(
            chain, record.start, sampler, replicates=replicates, tails=tails, seed=seed
        ),
        *record.endings,
        fit,
        fit_within,
        contexts,
        cost is not None,
        intervals,
        record.clusters if intervals == "bootstrap" else 0,
        level,
        replicates,
        prior,
        seed,
        chain,
        sampler,
        record.start,
        tails,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Record:
    """What was recorded: (n, n + 2) counts, where runs begin, and how many ended how."""

    states: tuple[str, ...]
    counts: csr_array[Any, tuple[int, int]]
    start: NDArray[np.float64]
    endings: tuple[int, int, int]
    runs: RunTable | None = None
    paths: Paths | None = None
    strata: Strata | None = None

    @property
    def ends(self) -> list[int]:
        return [len(self.states), len(self.states) + 1]

    @property
    def clusters(self) -> int:
        return 0 if self.runs is None else cluster_codes(self.runs)[1]

    def cluster_counts(self) -> csr_array[Any, tuple[int, int]]:
        """(g, n * (n + 2)) csr_array: the counts of each run, or of each block."""
        assert self.runs is not None and self.paths is not None  # noqa: S101, PT018
        return sum_clusters(self.paths.run_counts(), *cluster_codes(self.runs))

    def in_strata(self) -> tuple[Paths, Strata, list[Paths]]:
        """Return all paths, the strata, and the paths of each."""
        assert self.runs is not None and self.paths is not None  # noqa: S101, PT018
        assert self.strata is not None  # noqa: S101
        parts = []
        for code in range(self.strata.number):
            some = self.runs.select(self.strata.code == code)
            with suppress(InsufficientDataError):  # of runs without moves
                parts.append(Paths.from_runs(some, judged=True, states=self.states))
        return self.paths, self.strata, parts


def _check(intervals: str, level: float, replicates: int, prior: float) -> None:
    if intervals not in get_args(Intervals):
        raise InvalidInputError(
            f"intervals={intervals!r}; allowed are {', '.join(get_args(Intervals))}"
        )
    if not 0 < level < 1:
        raise InvalidInputError(f"level={level!r}; a confidence level lies between 0 and 1")
    if replicates < 0 or not 0 < prior < np.inf:
        raise InvalidInputError(
            f"replicates={replicates!r}, prior={prior!r}; replicates are 0 or more, and a prior "
            "is worth more than 0 moves"
        )


def _refuse_for_counts(intervals: str, *of_runs: object) -> None:
    if intervals == "bootstrap" or any(each is not None for each in of_runs):
        raise InvalidInputError(
            "counts do not distinguish runs: give runs (read_runs), or take intervals='dirichlet' "
            "and none of held_out, strata and contexts"
        )


def _from_runs(table: RunTable, strata: StrataLike) -> _Record:
    order = table.order()
    groups, table = find_strata(table, strata).select(order), table.select(order)
    paths = Paths.from_runs(table, judged=True)
    first, _, end = paths.whole_runs()
    start = np.bincount(first, minlength=len(paths.states)) / len(first)
    good, bad, open_ = (int((end == kind).sum()) for kind in (0, 1, -1))
    return _Record(paths.states, paths.counts(), start, (good, bad, open_), table, paths, groups)


def _from_counts(
    counts: TransitionCounts, success: tuple[str, ...], failure: tuple[str, ...]
) -> _Record:
    """Make ends of states; the moves out of them are left out, escapes stay where they are."""
    both = set(success) & set(failure)
    if both:
        raise InvalidInputError(f"{sorted(both)} cannot be both success and failure")
    ends = {counts.index(state) for state in (*success, *failure)}
    inner = [i for i in range(len(counts)) if i not in ends]
    n = len(inner)
    kind = np.empty(len(counts), dtype=np.int64)
    kind[inner] = np.arange(n)
    kind[[counts.index(state) for state in success]] = n
    kind[[counts.index(state) for state in failure]] = n + 1
    edges = counts.counts.tocoo()
    kept = (kind[edges.row] < n) & (edges.data > 0)
    stays = np.flatnonzero((counts.escapes > 0) & (kind < n))
    data = np.concatenate([edges.data[kept], counts.escapes[stays]]).astype(np.float64)
    rows = np.concatenate([kind[edges.row[kept]], kind[stays]])
    columns = np.concatenate([kind[edges.col[kept]], kind[stays]])
    states = tuple(counts.states[i] for i in inner)
    matrix = csr_array((data, (rows, columns)), shape=(n, n + 2))
    start = np.array([float(state == START) for state in states])
    good, bad = matrix[:, [n, n + 1]].sum(axis=0).astype(int).tolist()
    return _Record(states, matrix, start, (good, bad, 0))


def _costs(cost: Cost | None, record: _Record) -> NDArray[np.float64]:
    """(m,) array: the cost of each entry of the counts."""
    if cost is None:
        return np.zeros(record.counts.nnz)
    names = (*record.states, END, END)
    edges = record.counts.tocoo()
    pairs = zip(edges.row.tolist(), edges.col.tolist(), strict=True)
    found = [_cost_of(cost, names[i], names[j]) for i, j in pairs]
    return np.array(found, dtype=np.float64)


def _cost_of(cost: Cost, source: str, target: str) -> float:
    if callable(cost):
        value = cost(source, target)
    else:
        table: Mapping[Any, float] = cost
        value = table.get((source, target), table.get(source, np.nan))
    if not np.isfinite(value):
        raise InvalidInputError(
            f"the cost of a move {source!r} -> {target!r} is {value!r}; it must be given, by "
            "(source, target) or by source, and finite"
        )
    return float(value)
