"""`evaluate_guard`: what a guard would have stopped in recorded runs that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.guard._groups import Groups, group_runs
from detailed_balance.analyzers.guard._ridge import deal_folds
from detailed_balance.analyzers.guard._texts import Texts
from detailed_balance.analyzers.guard.guard import RunGuard
from detailed_balance.analyzers.guard.scores import OutcomeScore, RunScore, StepCount
from detailed_balance.analyzers.guard.watch import run_risks
from detailed_balance.analyzers.results import Result, Table, TableResult
from detailed_balance.analyzers.runs.clusters import cluster_codes
from detailed_balance.analyzers.runs.table import Runs, RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GuardEvaluation", "GuardTrial", "evaluate_guard", "risk_area"]


@dataclass(frozen=True, slots=True)
class GuardTrial(Result):
    """What a score caught on runs that it was not fitted to.

    Parameters
    ----------
    caught : float
        Share of the failed runs that were stopped; NaN where no guard had a threshold.
    good_stopped : float
        Share of the successful runs that were.
    saved : float
        Share of the moves of failed runs that came after the stop.
    area_end, area_half : float
        Probability that a failed run has the higher risk of the two, of a failed and a successful
        one (AUC), after the last move and after half of them.
    """

    caught: float
    good_stopped: float
    saved: float
    area_end: float
    area_half: float

    def describe(self) -> str:
        """Say it in one line."""
        areas = f"AUC {self.area_end:.2f} at the end, {self.area_half:.2f} half-way"
        if np.isnan(self.caught):
            return f"no threshold in these parts of the runs; {areas}"
        return (
            f"stops {self.caught:.0%} of the failed runs, saving {self.saved:.0%} of their moves, "
            f"and {self.good_stopped:.0%} of the successful ones; {areas}"
        )


@dataclass(frozen=True, slots=True)
class GuardEvaluation(TableResult):
    """A guard of all runs, and what such guards did on runs that they had not seen.

    Parameters
    ----------
    guard : RunGuard
        The guard, fitted to all runs.
    found : GuardTrial
        What guards caught that were fitted to the other parts of the runs.
    steps : GuardTrial
        What counting steps catches in their place.
    failed, worked : int
        The runs that failed, and those that succeeded.
    runs : tuple of str
        The runs, by name; those of the same name, or of none, are told by their place.
    success : tuple of bool
        Whether each succeeded.
    stopped : tuple of float
        The share of repetitions in which each was stopped.
    folds, repetitions, seed : int
        Into how many parts the runs were dealt, how often, and the seed.
    """

    guard: RunGuard
    found: GuardTrial
    steps: GuardTrial
    failed: int
    worked: int
    runs: tuple[str, ...] = field(repr=False)
    success: tuple[bool, ...] = field(repr=False)
    stopped: tuple[float, ...] = field(repr=False)
    folds: int = 5
    repetitions: int = 4
    seed: int = 0

    def describe(self) -> str:
        """Say what the guard would have done, beside counting steps, and what it promises."""
        held = "other tasks" if self.guard.block is not None else "other runs"
        alpha, stopped = self.guard.alpha or 0.0, self.found.good_stopped
        over = (
            f" ({stopped:.1%} is over {alpha:.0%}: the promise is an average over records, and "
            f"this is one)"
        )
        return (
            f"{self.failed:,} failed and {self.worked:,} successful runs, each tried by guards "
            f"fitted to {held}:\n"
            f"  guard           {self.found.describe()}{over if stopped > alpha else ''}\n"
            f"  counting steps  {self.steps.describe()}\n"
            f"  promise         {self.guard.promise or 'none'}"
        )

    def to_table(self) -> Table:
        """Return the runs as columns: name, success, and how often each was stopped."""
        return {
            "run": list(self.runs),
            "success": list(self.success),
            "stopped": list(self.stopped),
        }

    def _content(self) -> dict[str, Any]:
        names = ("found", "steps", "failed", "worked", "folds", "repetitions", "seed")
        guard = {
            "promise": self.guard.promise,
            "alpha": self.guard.alpha,
            "threshold": self.guard.threshold,
            "calibration": self.guard.calibration,
            "groups": self.guard.block,
        }
        return {**self._values(*names), "guard": guard, "runs": self.to_table()}


def evaluate_guard(
    runs: Runs,
    alpha: float = 0.1,
    score: RunScore | None = None,
    *,
    groups: Groups = None,
    texts: Texts | None = None,
    folds: int = 5,
    repetitions: int = 4,
    seed: int = 0,
) -> GuardEvaluation:
    """Fit a guard, and try guards of its kind on runs that they have not seen.

    The runs are dealt into `folds` parts, whole groups together where there are groups. A guard
    that is fitted to all parts but one, as `RunGuard.fit` does, is tried on that one; so every run
    is tried once a repetition. Beside it stand guards that count steps, fitted in the same way.

    Parameters
    ----------
    runs, alpha, score, groups, texts, seed
        As for `RunGuard.fit`.
    folds : int
        Parts, at least 2.
    repetitions : int
        How often they are dealt again, at least 1.

    Raises
    ------
    InsufficientDataError
        As from `RunGuard.fit`, for the guard of all runs.
    InvalidInputError
        As from `RunGuard.fit`, and where folds or repetitions are too few.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> stuck = Trajectory((("__start__", "a"), *20 * [("a", "b"), ("b", "a")]), success=False)
    >>> fine = Trajectory((("__start__", "a"), ("a", "b"), ("b", "c")), success=True)
    >>> tried = evaluate_guard(30 * [stuck, fine])
    >>> tried.found.caught, tried.found.good_stopped, tried.steps.area_end
    (1.0, 0.0, 1.0)
    """
    if folds < 2 or repetitions < 1:
        raise InvalidInputError(
            f"folds={folds}, repetitions={repetitions}; give at least 2 folds and 1 repetition"
        )
    table = group_runs(RunTable.of(runs), groups)
    score = OutcomeScore() if score is None else score
    settings: dict[str, Any] = {"groups": groups, "texts": texts, "seed": seed}
    guard = RunGuard.fit(runs, alpha, score, **settings)
    table = table.select((table.success >= 0) & (table.lengths > 0))
    table = table.select(table.order())
    failed, unit = table.success == 0, cluster_codes(table)[0]
    rng = np.random.default_rng(seed)
    dealt = [_deal(failed, unit, folds, rng) for _ in range(repetitions)]
    tried = {
        name: [_try(table, each, alpha, part, seed, texts) for part in dealt]
        for name, each in (("found", score), ("steps", StepCount()))
    }
    last = table.offsets[1:] - 1
    half = table.offsets[:-1] + np.maximum(table.lengths // 2, 1) - 1
    trials = {}
    for name, parts in tried.items():
        each = [
            (
                *_shares(stops, failed, table.lengths),
                risk_area(risks[last], failed),
                risk_area(risks[half], failed),
            )
            for risks, stops in parts
        ]
        trials[name] = GuardTrial(*np.mean(each, axis=0).tolist())
    stopped = np.mean([stops >= 0 for _, stops in tried["found"]], axis=0)
    names = [
        name or run or f"run {i}"
        for i, (name, run) in enumerate(
            zip(table.runs.name.tolist(), table.runs.run.tolist(), strict=True), 1
        )
    ]
    return GuardEvaluation(
        guard,
        **trials,
        failed=int(failed.sum()),
        worked=int((~failed).sum()),
        runs=tuple(names),
        success=tuple((~failed).tolist()),
        stopped=tuple(stopped.tolist()),
        folds=folds,
        repetitions=repetitions,
        seed=seed,
    )


def risk_area(risks: NDArray[np.float64], failed: NDArray[np.bool_]) -> float:
    """Return the probability that a failed run has a higher risk than a successful one (AUC).

    Equal risks count half. NaN where no run failed, or none succeeded.

    Examples
    --------
    >>> risk_area(np.array([3.0, 1.0, 1.0]), np.array([True, True, False]))
    0.75
    """
    bad, good = int(failed.sum()), int((~failed).sum())
    if not bad or not good:
        return float("nan")
    ranks = rankdata(risks)
    return float((ranks[failed].sum() - bad * (bad + 1) / 2) / (bad * good))


def _deal(
    failed: NDArray[np.bool_], unit: NDArray[np.int64], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(r,) array: the part of each run; runs of one unit are in one part."""
    units, place = np.unique(unit, return_inverse=True)
    return deal_folds(np.bincount(place, failed, len(units)) > 0, folds, rng)[place]


def _try(
    table: RunTable,
    score: RunScore,
    alpha: float,
    part: NDArray[np.int64],
    seed: int,
    texts: Texts | None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the (m,) risks, and the (r,) moves of each run up to its stop.

    -1 is a run without a stop, -2 one that was tried by a guard without a threshold.
    """
    risks, stops = np.full(table.total, np.nan), np.full(len(table), -2, dtype=np.int64)
    for k in np.unique(part).tolist():
        try:
            guard = RunGuard.fit(table.select(part != k), alpha, score, texts=texts, seed=seed)
        except InsufficientDataError as error:
            if error.partial is None:
                raise
            guard = error.partial
        (moves,) = np.nonzero(part[table.run_of_move] == k)
        tried = table.select(part == k)
        risks[moves] = run_risks(guard.score, tried, texts)
        if guard.threshold is not None:
            stops[part == k] = _first_over(risks[moves] > guard.threshold, tried)
    return risks, stops


def _first_over(over: NDArray[np.bool_], table: RunTable) -> NDArray[np.int64]:
    """(r,) array: the moves of each run up to the first that is over; -1 where none is."""
    run = table.run_of_move[over]
    first = np.full(len(table), -1, dtype=np.int64)
    stopped, place = np.unique(run, return_index=True)
    first[stopped] = (np.flatnonzero(over) - table.offsets[table.run_of_move[over]] + 1)[place]
    return first


def _shares(
    stops: NDArray[np.int64], failed: NDArray[np.bool_], lengths: NDArray[np.int64]
) -> tuple[float, float, float]:
    """Return the shares of failed runs caught, of good ones stopped, and of failed moves saved."""
    known = stops > -2
    if not (known & failed).any() or not (known & ~failed).any():
        return float("nan"), float("nan"), float("nan")
    caught, saved = stops >= 0, np.where(stops >= 0, lengths - stops, 0)
    return (
        float(caught[known & failed].mean()),
        float(caught[known & ~failed].mean()),
        float(saved[known & failed].sum() / lengths[known & failed].sum()),
    )
