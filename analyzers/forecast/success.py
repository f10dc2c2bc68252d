"""`forecast_success`: the probability that a run succeeds, from a calibrated risk score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from detailed_balance.analyzers.counts import END
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.forecast.calibration import (
    BINS,
    brier_score,
    calibration_error,
    rank_bins,
)
from detailed_balance.analyzers.forecast.result import Verdict
from detailed_balance.analyzers.forecast.scaling import StateOdds, SuccessScaling
from detailed_balance.analyzers.guard.scores import OutcomeScore, RunScore, RunState
from detailed_balance.analyzers.guard.watch import run_risks
from detailed_balance.analyzers.results import Table, TableResult
from detailed_balance.analyzers.runs.clusters import bootstrap_tails, cluster_codes
from detailed_balance.analyzers.runs.table import Runs, RunTable
from detailed_balance.analyzers.runs.trajectory import StepFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SuccessForecast", "SuccessState", "forecast_success"]

FEWEST_RUNS = 20
SMALLEST_GAIN = 0.0005
"""Of a Brier score, half of the last digit that is shown. Shrinking the share of successes to 1/2
gains less than that, and is no forecast."""
_Pair: TypeAlias = tuple[float, float]
_Texts: TypeAlias = Mapping[str, Sequence[str | None]]


class _Quality(NamedTuple):
    """How good the probabilities of one moment are."""

    brier: float
    base: float
    gain: _Pair
    error: float
    perfect: float
    pvalue: float


@dataclass(frozen=True, slots=True, eq=False)
class SuccessForecast(TableResult):
    """The probability that a run succeeds, after any of its moves, and how good that is.

    What is said of its quality is of runs that neither the score nor the scaling has seen, at two
    moments that an observer can name: after half as many moves as the median run makes, of the runs
    that go on then, and after the last move of all runs. (The middle of each run is no such moment:
    it is known only afterwards, and where failed runs are long it gives away how they end.)

    Parameters
    ----------
    score : RunScore
        The risk, fitted to all runs.
    scaling : SuccessScaling
        From a risk to a probability, fitted to out-of-fold risks.
    base_rate : float
        The share of runs that succeeded.
    half : int
        Half the moves of the median run.
    runs_half : int
        How many runs go on after so many moves.
    brier_base_half, brier_base : float
        The Brier score of a forecast that always says the share of successes in the runs it was
        fitted to; half-way, in those that go on after so many moves.
    brier_half, brier_end : float
        The Brier score half-way, and at the end: the mean squared error, the lower the better.
    gain_half, gain_end : (float, float)
        Interval of how much less that is than the base, by runs, or blocks, drawn again.
    error_half, error_end : float
        Expected calibration error.
    perfect_half, perfect_end : float
        That of a perfect forecast: outcomes are drawn with the probabilities that were given.
    error_pvalue : (float, float)
        Share of these draws with an error as large, half-way and at the end.
    probability : (r, 2) array of float
        The out-of-fold probability of each run, half-way (NaN where it was over) and at the end.
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
    scaling: SuccessScaling
    base_rate: float
    half: int
    runs_half: int
    brier_base_half: float
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
        if self.gain_end[0] <= SMALLEST_GAIN:
            found.append(
                f"for new runs it is no better than the share of successes: "
                f"Brier score {self.brier_end:.3f} at the end, {self.brier_base:.3f} by the share "
                f"alone"
            )
        for where, error, perfect, pvalue in (
            (
                f"after {self.half:,} moves",
                self.error_half,
                self.perfect_half,
                self.error_pvalue[0],
            ),
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
            f"{self.brier_end:.3f} at the end ({self.brier_base:.3f} by the share of successes, "
            f"{self.base_rate:.0%} of {self.runs:,} runs) and {self.brier_half:.3f} after "
            f"{self.half:,} moves ({self.brier_base_half:.3f}; {self.runs_half:,} runs go on); "
            f"calibration error {self.error_end:.3f} and {self.error_half:.3f}, of a perfect "
            f"forecast {self.perfect_end:.3f} and {self.perfect_half:.3f}"
        )
        within = "" if self.within is None else f"for more runs of the same: {self.within.verdict}"
        return "; ".join(part for part in (said, *self.reasons, within) if part)

    def probabilities(self, runs: Runs, *, texts: _Texts | None = None) -> NDArray[np.float64]:
        """(m,) array: the probability of success after each of the m moves of runs.

        Give `texts` where the score reads what the agent wrote.
        """
        table = RunTable.of(runs)
        return self.scaling(table, run_risks(self.score, table, texts))

    def start(self) -> SuccessState:
        """Begin to forecast a run."""
        reads_steps = bool(getattr(self.score, "reads_steps", False))
        return SuccessState(self.score.start(), self.scaling, reads_steps)

    def to_table(self) -> Table:
        """Return the out-of-fold forecasts in ten bins: runs, mean probability, share."""
        table: Table = {"when": [], "runs": [], "forecast": [], "succeeded": []}
        for column, when in enumerate(("half-way", "end")):
            order = np.argsort(self.probability[:, column], kind="stable")  # NaN last
            order = order[: np.isfinite(self.probability[:, column]).sum()]
            for part in np.array_split(order, min(10, len(order))):
                table["when"].append(when)
                table["runs"].append(len(part))
                table["forecast"].append(float(self.probability[part, column].mean()))
                table["succeeded"].append(float(self.success[part].mean()))
        return table

    def _content(self) -> dict[str, Any]:
        names = ("scaling", "base_rate", "half", "runs_half", "brier_base_half", "brier_base")
        scores = ("brier_half", "brier_end", "gain_half")
        more = ("gain_end", "error_half", "error_end", "perfect_half", "perfect_end")
        settings = ("folds", "level", "alpha", "replicates", "seed")
        return {
            **self._values(
                "verdict", "reasons", *names, *scores, *more, "error_pvalue", "runs", "unit"
            ),
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
    scaling : SuccessScaling
        From its risk to a probability.
    reads_steps : bool
        Whether the score is given the facts of steps.
    """

    __slots__ = ("_moves", "_reads_steps", "_scaling", "_state")

    def __init__(self, state: RunState, scaling: SuccessScaling, reads_steps: bool = False) -> None:
        self._state: Any = state
        self._scaling, self._reads_steps = scaling, reads_steps
        self._moves = 0

    def update(
        self,
        source: str,
        target: str | None,
        facts: StepFacts | None = None,
        text: str | None = None,
    ) -> float:
        """Add one move, and return the probability that the run succeeds.

        Give the facts of the step where the runs that were learned from have them, and what the
        agent wrote where the score reads it.
        """
        more = {"facts": facts, "text": text} if self._reads_steps else {}
        self._moves += 1
        risk = self._state.update(source, target, **more)
        return self._scaling.of_move(risk, source, target, self._moves)


def forecast_success(
    runs: Runs,
    *,
    score: RunScore | None = None,
    texts: _Texts | None = None,
    folds: int = 5,
    level: float = 0.95,
    alpha: float = 0.05,
    replicates: int = 999,
    seed: int = 0,
) -> SuccessForecast:
    """Forecast whether a run succeeds, from the risk of what it has done so far.

    A risk score is fitted to a part of the runs at a time and gives the risks of the others. The
    probability is a logistic function of these out-of-fold risks: of the risk alone when a run is
    over (Platt scaling), and while it goes on, of how runs in the same state end and of the moves
    so far as well. What is said of its quality is of out-of-fold forecasts too: the scaling of a
    run comes from runs of other parts. A chain of states says less of success than such a score;
    *when* a run ends and *what* comes next it says better: `forecast_outcome`.

    Parameters
    ----------
    runs : RunTable or iterable of Trajectory
        Recorded runs; those of which nobody knows whether they succeeded are left out. Blocks of
        the table stay together, so that the quality is that for new blocks.
    score : RunScore, optional
        The risk; by default `OutcomeScore`.
    texts : mapping of str to sequence of (str or None)
        What the agent wrote in each move, by the name of the run, for a score that reads it.
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
    more: Any = {"texts": texts} if getattr(score, "reads_steps", False) else {}
    rng = np.random.default_rng(seed)
    fold = deal_out(good, units, folds, rng)
    risks, odds = np.empty(table.total), np.empty(table.total)
    of_move = fold[table.run_of_move]
    for part in range(folds):
        others, here = table.select(fold != part), table.select(fold == part)
        risks[of_move == part] = run_risks(score.fit(others, seed, **more), here, texts)
        odds[of_move == part] = StateOdds.fit(others).of_moves(here)
    half, at_half = half_way(table)
    after = np.empty(table.total)
    base = np.empty((len(table), 2))
    for part in range(folds):
        others, here, moves = fold != part, fold == part, of_move == part
        scaling = SuccessScaling.fit(table.select(others), risks[~moves], odds[~moves])
        after[moves] = scaling(table.select(here), risks[moves])
        goes_on = others & (at_half >= 0)
        base[here] = good[goes_on if goes_on.any() else others].mean(), good[others].mean()
    tails = bootstrap_tails(level, number)
    seen, probability = [], np.full((len(table), 2), np.nan)
    moments = ((at_half, at_half >= 0), (last_moves(table), np.ones(len(table), dtype=bool)))
    for column, (at, there) in enumerate(moments):
        probability[there, column] = said = after[at[there]]
        brier, brier_base = (brier_score(p, good[there]) for p in (said, base[there, column]))
        error = calibration_error(said, good[there], parts=fold[there])
        perfect = _perfect_errors(said, fold[there], replicates, rng)
        seen.append(
            _Quality(
                brier=float(brier.mean()),
                base=float(brier_base.mean()),
                gain=_gain(brier_base - brier, units[there], number, tails, replicates, rng),
                error=error,
                perfect=float(perfect.mean()),
                pvalue=(1 + int((perfect >= error).sum())) / (replicates + 1),
            )
        )
    midway, end = seen
    blocks = bool((table.block_codes() >= 0).any())
    found = SuccessForecast(
        score=score.fit(table, seed, **more),
        scaling=SuccessScaling.fit(table, risks, odds),
        base_rate=float(good.mean()),
        half=half,
        runs_half=int((at_half >= 0).sum()),
        brier_base_half=midway.base,
        brier_base=end.base,
        brier_half=midway.brier,
        brier_end=end.brier,
        gain_half=midway.gain,
        gain_end=end.gain,
        error_half=midway.error,
        error_end=end.error,
        perfect_half=midway.perfect,
        perfect_end=end.perfect,
        error_pvalue=(midway.pvalue, end.pvalue),
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
    within = forecast_success(each, score=score, texts=texts, folds=folds, **settings)
    return replace(found, within=within)


def half_way(table: RunTable) -> tuple[int, NDArray[np.int64]]:
    """Return half the moves of the median run, and (r,) the move by which a run has made as many.

    The move is -1 where the run was over by then. Half a run's own moves would be known only
    afterwards. There is always a run that goes on, unless all runs move to END at once.
    """
    half = max(int(np.median(table.lengths)) // 2, 1)
    at = table.offsets[:-1] + np.minimum(half, table.lengths) - 1
    over = (table.lengths < half) | (table.target[at] == table.code(END))
    return half, np.where(over, -1, at)


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


def _gain(
    gain: NDArray[np.float64],
    units: NDArray[np.int64],
    number: int,
    tails: _Pair,
    replicates: int,
    rng: np.random.Generator,
) -> _Pair:
    """Return the interval of the mean of (k,) gains, all the units drawn again."""
    sums, sizes = np.bincount(units, gain, number), np.bincount(units, minlength=number)
    drawn = rng.integers(number, size=(replicates, number))
    means = sums[drawn].sum(axis=1) / np.maximum(sizes[drawn].sum(axis=1), 1)
    low, high = np.quantile(means, tails)
    return float(low), float(high)


def _perfect_errors(
    probability: NDArray[np.float64],
    parts: NDArray[np.int64],
    replicates: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(replicates,) array: calibration errors of outcomes drawn with these probabilities."""
    drawn = rng.random((replicates, len(probability))) < probability
    bins = rank_bins(probability, parts)
    each = [(drawn[:, bins == i] - probability[bins == i]).sum(axis=1) for i in range(BINS)]
    return np.asarray(np.abs(each).sum(axis=0) / len(probability))
