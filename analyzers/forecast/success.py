"""`forecast_success`: the probability that a run succeeds, from a calibrated risk score."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.forecast.calibration import (
    PlattScaling,
    brier_score,
    calibration_error,
)
from detailed_balance.analyzers.forecast.result import Verdict
from detailed_balance.analyzers.guard.scores import OutcomeScore, RunScore, RunState
from detailed_balance.analyzers.results import Table, TableResult
from detailed_balance.analyzers.runs.clusters import bootstrap_tails, cluster_codes
from detailed_balance.analyzers.runs.table import Runs, RunTable
from detailed_balance.analyzers.runs.trajectory import StepFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SuccessForecast", "SuccessState", "forecast_success"]

FEWEST_RUNS = 20
_Pair: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class SuccessForecast(TableResult):
    """The probability that a run succeeds, after any of its moves, and how good that is.

    What is said of its quality is of runs that neither the score nor the scaling has seen: half-way
    through them, and at their ends before they are over.

    Parameters
    ----------
    score : RunScore
        The risk, fitted to all runs.
    scaling : PlattScaling
        From a risk to a probability, fitted to out-of-fold risks.
    base_rate : float
        The share of runs that succeeded.
    brier_base : float
        The Brier score of a forecast that always says the share of the runs it was fitted to.
    brier_half, brier_end : float
        The Brier score half-way, and at the end: the mean squared error, the lower the better.
    gain_half, gain_end : (float, float)
        Interval of how much less that is than `brier_base`, by runs, or blocks, drawn again.
    error_half, error_end : float
        Expected calibration error.
    perfect_half, perfect_end : float
        That of a perfect forecast: outcomes are drawn with the probabilities that were given.
    error_pvalue : (float, float)
        Share of these draws with an error as large, half-way and at the end.
    probability : (r, 2) array of float
        The out-of-fold probability of each run, half-way and at the end.
    success : (r,) array of bool
        What happened.
    runs : int
        How many judged runs there are.
    unit : str
        What is never in two parts of the runs, and is drawn again: "run", or "block".
    folds, level, alpha, replicates, seed
        The settings.
    within : SuccessForecast or None
        Where it is not reliable for new blocks: the same for new runs of the blocks that it knows.
    """

    score: RunScore = field(repr=False)
    scaling: PlattScaling
    base_rate: float
    brier_base: float
    brier_half: float
    brier_end: float
    gain_half: _Pair
    gain_end: _Pair
    error_half: float
    error_end: float
    perfect_half: float
    perfect_end: float
    error_pvalue: _Pair
    probability: NDArray[np.float64] = field(repr=False)
    success: NDArray[np.bool_] = field(repr=False)
    runs: int
    unit: str
    folds: int
    level: float
    alpha: float
    replicates: int
    seed: int
    within: SuccessForecast | None = field(default=None, repr=False)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the forecast is not reliable, in words; empty where nothing was found against it."""
        found = []
        if self.gain_end[0] <= 0:
            found.append(
                f"it is not better than the share of successes for runs that it has not seen: "
                f"Brier score {self.brier_end:.3f} at the end, {self.brier_base:.3f} by the share "
                f"alone"
            )
        for where, error, perfect, pvalue in (
            ("half-way", self.error_half, self.perfect_half, self.error_pvalue[0]),
            ("at the end", self.error_end, self.perfect_end, self.error_pvalue[1]),
        ):
            if pvalue <= self.alpha / 2:
                found.append(
                    f"its probabilities {where} are off by {error:.0%} on average, where a perfect "
                    f"forecast is off by {perfect:.0%} (p = {pvalue:.2g})"
                )
        return tuple(found)

    @property
    def verdict(self) -> Verdict:
        """Whether the forecast is reliable; for blocks that it knows where it says "within tasks".

        With few runs little can be found against it.
        """
        if not self.reasons:
            return "reliable"
        within = self.within is not None and not self.within.reasons
        return "reliable within tasks" if within else "not reliable"

    def describe(self) -> str:
        """Say in a few sentences how good the forecast is."""
        unit = "runs" if self.unit == "run" else "blocks"
        said = (
            f"{'not ' if self.reasons else ''}reliable for new {unit}: Brier score "
            f"{self.brier_half:.3f} half-way and {self.brier_end:.3f} at the end, "
            f"{self.brier_base:.3f} by the share of successes ({self.base_rate:.0%} of "
            f"{self.runs:,} runs); calibration error {self.error_half:.3f} and "
            f"{self.error_end:.3f}, of a perfect forecast "
            f"{self.perfect_half:.3f} and {self.perfect_end:.3f}"
        )
        within = "" if self.within is None else f"for more runs of the same: {self.within.verdict}"
        return "; ".join(part for part in (said, *self.reasons, within) if part)

    def probabilities(self, runs: Runs) -> NDArray[np.float64]:
        """(m,) array: the probability of success after each of the m moves of runs."""
        return self.scaling(find_risks(self.score, RunTable.of(runs)))

    def start(self) -> SuccessState:
        """Begin to forecast a run."""
        reads_steps = bool(getattr(self.score, "reads_steps", False))
        return SuccessState(self.score.start(), self.scaling, reads_steps)

    def to_table(self) -> Table:
        """Return the out-of-fold forecasts in ten bins: runs, mean probability, share."""
        table: Table = {"when": [], "runs": [], "forecast": [], "succeeded": []}
        for column, when in enumerate(("half-way", "end")):
            order = np.argsort(self.probability[:, column], kind="stable")
            for part in np.array_split(order, min(10, len(order))):
                table["when"].append(when)
                table["runs"].append(len(part))
                table["forecast"].append(float(self.probability[part, column].mean()))
                table["succeeded"].append(float(self.success[part].mean()))
        return table

    def _content(self) -> dict[str, Any]:
        names = ("scaling", "base_rate", "brier_base", "brier_half", "brier_end", "gain_half")
        more = ("gain_end", "error_half", "error_end", "perfect_half", "perfect_end")
        settings = ("folds", "level", "alpha", "replicates", "seed")
        return {
            **self._values("verdict", "reasons", *names, *more, "error_pvalue", "runs", "unit"),
            "bins": self.to_table(),
            "within": self.within,
            "settings": self._values(*settings),
        }


class SuccessState:
    """One run under a `SuccessForecast`.

    Parameters
    ----------
    state : RunState
        The run under the score.
    scaling : PlattScaling
        From its risk to a probability.
    reads_steps : bool
        Whether the score is given the facts of steps.
    """

    __slots__ = ("_reads_steps", "_scaling", "_state")

    def __init__(self, state: RunState, scaling: PlattScaling, reads_steps: bool = False) -> None:
        self._state: Any = state
        self._scaling, self._reads_steps = scaling, reads_steps

    def update(self, source: str, target: str | None, facts: StepFacts | None = None) -> float:
        """Add one move, and return the probability that the run succeeds.

        Give the facts of the step where the runs that were learned from have them.
        """
        more = {"facts": facts} if self._reads_steps else {}
        return float(self._scaling([self._state.update(source, target, **more)])[0])


def forecast_success(
    runs: Runs,
    *,
    score: RunScore | None = None,
    folds: int = 5,
    level: float = 0.95,
    alpha: float = 0.05,
    replicates: int = 999,
    seed: int = 0,
) -> SuccessForecast:
    """Forecast whether a run succeeds, from the risk of what it has done so far.

    A risk score is fitted to a part of the runs at a time and gives the risks of the others; a
    logistic function of these out-of-fold risks, half-way through each run and at its end, is the
    probability (Platt scaling). What is said of its quality is of out-of-fold forecasts too: the
    scaling of a run comes from runs of other parts. A chain of
    states says less of success than such a score; *when* a run ends and *what* comes next it says
    better: `forecast_outcome`.

    Parameters
    ----------
    runs : RunTable or iterable of Trajectory
        Recorded runs; those of which nobody knows whether they succeeded are left out. Blocks of
        the table stay together, so that the quality is that for new blocks.
    score : RunScore, optional
        The risk; by default `OutcomeScore`.
    folds : int
        How many parts.
    level : float
        Of the intervals.
    alpha : float
        Level of the verdict.
    replicates : int
        Of the intervals and of the perfect forecast.
    seed : int
        Of all that is drawn.

    Raises
    ------
    InsufficientDataError
        Where there are fewer than 20 judged runs, or too few of one outcome.
    InvalidInputError
        Where a setting has a value that is not allowed.

    References
    ----------
    Platt, in Advances in Large Margin Classifiers (1999) 61; Brier, Monthly Weather Review 78
    (1950) 1; Bröcker and Smith, Weather and Forecasting 22 (2007) 651, for errors of a perfect
    forecast.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> stuck = Trajectory((("__start__", "a"), *9 * [("a", "a")]), success=False)
    >>> fine = Trajectory((("__start__", "a"), ("a", "b")), success=True)
    >>> forecast = forecast_success(20 * [stuck, fine])
    >>> forecast.verdict, round(forecast.brier_base, 2), forecast.brier_end < 0.05
    ('reliable', 0.25, True)
    >>> state = forecast.start()
    >>> [state.update(*move) > 0.5 for move in stuck.moves][-1]
    False
    """
    if folds < 2 or not 0 < level < 1 or replicates < 1:
        raise InvalidInputError(
            f"folds={folds!r}, level={level!r}, replicates={replicates!r}; it takes 2 folds or "
            "more, a level between 0 and 1, and 1 replicate or more"
        )
    table = RunTable.of(runs)
    table = table.select((table.success >= 0) & (table.lengths > 0))
    table = table.select(table.order())
    good = table.success == 1
    units, number = cluster_codes(table)
    if len(table) < FEWEST_RUNS or number < folds:
        raise InsufficientDataError(
            f"there are {len(table)} runs, in {number} blocks, of which it is known whether they "
            f"succeeded; a forecast takes {FEWEST_RUNS} runs or more, in {folds} blocks or more"
        )
    score = OutcomeScore() if score is None else score
    rng = np.random.default_rng(seed)
    fold = deal_out(good, units, folds, rng)
    risks = np.empty(table.total)
    of_move = fold[table.run_of_move]
    for part in range(folds):
        fitted = score.fit(table.select(fold != part), seed)
        risks[of_move == part] = find_risks(fitted, table.select(fold == part))
    at = np.stack([middle_moves(table), last_moves(table)], axis=1)
    success = np.stack([good, good], axis=1)
    probability, base = np.empty((len(table), 2)), np.empty(len(table))
    for part in range(folds):
        others, here = fold != part, fold == part
        scaling = PlattScaling.fit(risks[at[others]].ravel(), success[others].ravel())
        probability[here] = scaling(risks[at[here]])
        base[here] = good[others].mean()
    brier = brier_score(probability, good[:, None])
    brier_base = brier_score(base, good)
    tails = bootstrap_tails(level, number)
    gains = _gains(brier_base[:, None] - brier, units, number, tails, replicates, rng)
    errors = [calibration_error(probability[:, k], good) for k in (0, 1)]
    perfect = [_perfect_errors(probability[:, k], replicates, rng) for k in (0, 1)]
    pvalues = [
        (1 + int((p >= e).sum())) / (replicates + 1) for p, e in zip(perfect, errors, strict=True)
    ]
    blocks = bool((table.block_codes() >= 0).any())
    found = SuccessForecast(
        score=score.fit(table, seed),
        scaling=PlattScaling.fit(risks[at].ravel(), success.ravel()),
        base_rate=float(good.mean()),
        brier_base=float(brier_base.mean()),
        brier_half=float(brier[:, 0].mean()),
        brier_end=float(brier[:, 1].mean()),
        gain_half=gains[0],
        gain_end=gains[1],
        error_half=errors[0],
        error_end=errors[1],
        perfect_half=float(perfect[0].mean()),
        perfect_end=float(perfect[1].mean()),
        error_pvalue=(pvalues[0], pvalues[1]),
        probability=probability,
        success=good,
        runs=len(table),
        unit="block" if blocks else "run",
        folds=folds,
        level=level,
        alpha=alpha,
        replicates=replicates,
        seed=seed,
    )
    if not blocks or not found.reasons:
        return found
    alone = table.runs._replace(block=np.full(len(table), -1))
    settings: Any = {"level": level, "alpha": alpha, "replicates": replicates, "seed": seed}
    each = replace(table, runs=alone, blocks=())
    return replace(found, within=forecast_success(each, score=score, folds=folds, **settings))


def find_risks(score: RunScore, table: RunTable) -> NDArray[np.float64]:
    """(m,) array: the risk after each move of runs."""
    at_once = getattr(score, "risks", None)
    if at_once is not None:
        return np.asarray(at_once(table), dtype=np.float64)
    found = []
    for run in table:
        state = score.start()
        found += [state.update(*move) for move in run.moves]
    return np.array(found, dtype=np.float64)


def middle_moves(table: RunTable) -> NDArray[np.int64]:
    """(r,) array: the move in the middle of each run, the first of a run of one."""
    return table.offsets[:-1] + np.maximum(table.lengths // 2, 1) - 1


def last_moves(table: RunTable) -> NDArray[np.int64]:
    """(r,) array: the last move of each run."""
    return table.offsets[1:] - 1


def deal_out(
    good: NDArray[np.bool_], units: NDArray[np.int64], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(r,) array: the part of each run; units stay together, with as even a share as they allow.

    Examples
    --------
    >>> parts = deal_out(np.array([True, False] * 4), np.arange(8), 2, np.random.default_rng(0))
    >>> np.bincount(parts[::2]).tolist(), np.bincount(parts[1::2]).tolist()
    ([2, 2], [2, 2])
    """
    number = int(units.max()) + 1
    share = np.bincount(units, good, number) / np.maximum(np.bincount(units, minlength=number), 1)
    order = np.lexsort((rng.random(number), share))
    part = np.empty(number, dtype=np.int64)
    part[order] = np.arange(number) % folds
    return part[units]


def _gains(
    gain: NDArray[np.float64],
    units: NDArray[np.int64],
    number: int,
    tails: _Pair,
    replicates: int,
    rng: np.random.Generator,
) -> list[_Pair]:
    """Return the intervals of the mean of the columns of (r, k) gains, units drawn again."""
    sums = np.stack([np.bincount(units, each, number) for each in gain.T], axis=1)
    sizes = np.bincount(units, minlength=number)
    drawn = rng.integers(number, size=(replicates, number))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)[:, None]
    low, high = np.quantile(means, tails, axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _perfect_errors(
    probability: NDArray[np.float64], replicates: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(replicates,) array: calibration errors of outcomes drawn with these probabilities."""
    drawn = rng.random((replicates, len(probability))) < probability
    return np.array([calibration_error(probability, each) for each in drawn])
