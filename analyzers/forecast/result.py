"""Results of a forecast: from each state, over time, and how well the chain fits the runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from detailed_balance.analyzers.counts import END, START, unknown_state_message
from detailed_balance.analyzers.errors import InvalidInputError, UnknownStateError
from detailed_balance.analyzers.forecast._absorbing_chain import (
    AbsorbingChain,
    Absorption,
    ChainSampler,
)
from detailed_balance.analyzers.markov.context_names import split_name
from detailed_balance.analyzers.results import Result, Table, TableResult
from detailed_balance.analyzers.runs.trajectory import Trajectory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.markov.contexts import Contexts
    from detailed_balance.analyzers.markov.order import MarkovOrderTest

__all__ = [
    "CumulativeIncidence",
    "FitCheck",
    "Forecast",
    "Intervals",
    "StateForecast",
    "Verdict",
    "absorption_intervals",
]

Intervals: TypeAlias = Literal["auto", "bootstrap", "dirichlet"]
"""Where intervals come from: runs drawn again, or a posterior of each row; or as fits."""

LONGEST_CURVE = 1_000
"""A curve stops here, or where fewer than 1% of runs are still going."""

Where: TypeAlias = "str | Sequence[str] | Trajectory | None"

Verdict: TypeAlias = Literal["reliable", "reliable within tasks", "not reliable"]
"""What checks of a forecast amount to."""


@dataclass(frozen=True, slots=True)
class StateForecast(Result):
    """What is to be expected of a run.

    Parameters
    ----------
    state : str or None
        Where it is; None before its first move.
    moves : int
        The moves recorded from there.
    success, failure : float
        The probability to end well, and badly.
    unknown : float
        The probability to get where the record shows no way to an end.
    steps : float
        Mean number of moves to the end, the last one included; inf where `unknown` is above 0.
    cost : float or None
        Mean cost of these moves, where costs were given.
    success_interval, steps_interval, cost_interval : (float, float)
        NaN where no intervals were asked for.
    """

    state: str | None
    moves: int
    success: float
    failure: float
    unknown: float
    steps: float
    cost: float | None
    success_interval: tuple[float, float]
    steps_interval: tuple[float, float]
    cost_interval: tuple[float, float] | None

    def describe(self) -> str:
        """Say in one sentence what is to be expected."""
        low, high = self.success_interval
        where = "before its first move" if self.state is None else f"at {self.state}"
        return (
            f"{where} a run ends in success with probability {self.success:.0%} ({low:.0%} to "
            f"{high:.0%}), after {self.steps:.1f} moves on average"
        )


@dataclass(frozen=True, slots=True, eq=False)
class CumulativeIncidence(TableResult):
    """The distribution of the time to the end; arrays have one row for each step, from 0.

    Parameters
    ----------
    success, failure : (t,) array of float
        The share of runs that have ended well, and badly, by each step.
    success_interval, failure_interval, going_interval : (t, 2) array of float
        For each step by itself; NaN where no intervals were asked for.
    """

    success: NDArray[np.float64]
    failure: NDArray[np.float64]
    success_interval: NDArray[np.float64]
    failure_interval: NDArray[np.float64]
    going_interval: NDArray[np.float64]

    @property
    def going(self) -> NDArray[np.float64]:
        """(t,) array: the share of runs that are still going after each step."""
        return np.asarray(1 - self.success - self.failure)

    def to_table(self) -> Table:
        """Return step, success, failure and going, the first and last with their intervals."""
        return {
            "step": list(range(len(self.success))),
            "success": self.success.tolist(),
            "success_low": self.success_interval[:, 0].tolist(),
            "success_high": self.success_interval[:, 1].tolist(),
            "failure": self.failure.tolist(),
            "going": self.going.tolist(),
            "going_low": self.going_interval[:, 0].tolist(),
            "going_high": self.going_interval[:, 1].tolist(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class FitCheck(Result):
    """Evidence against the chain behind a forecast.

    Parameters
    ----------
    order : MarkovOrderTest or None
        Whether the state before helps to predict the next move or the end; None where too little
        was recorded to say.
    distance : float
        Kolmogorov and Smirnov's: the largest difference, over all steps, between the share of runs
        that the chain says have ended well (or badly) by then and the share that had.
    pvalue : float
        Share of sets of runs simulated from the chain, each with a chain fitted to it, that lie
        as far off. (The textbook distribution of the distance knows neither of fitting nor of
        steps.)
    runs : int
        The runs that the distribution was held against.
    held_out : bool
        Whether these are other runs than those that were fitted.
    alpha : float
        The forecast is trusted where neither p-value is below half of this.
    """

    order: MarkovOrderTest | None
    distance: float
    pvalue: float
    runs: int
    held_out: bool
    alpha: float

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the forecast is not reliable, in words; empty where nothing was found against it."""
        found = []
        if self.order is not None and self.order.pvalue <= self.alpha / 2:
            found.append(self.order.describe())
        if self.pvalue <= self.alpha / 2:
            kind = "held-out" if self.held_out else "recorded"
            found.append(
                f"{kind} runs end at different times than the chain predicts: the shares differ by "
                f"up to "
                f"{self.distance:.0%} (p = {self.pvalue:.3g})"
            )
        return tuple(found)

    @property
    def trusted(self) -> bool:
        """Whether nothing was found against the forecast; with few runs little can be found."""
        return not self.reasons

    def describe(self) -> str:
        """Say in one sentence whether the forecast is reliable."""
        if self.trusted:
            return f"no evidence against this forecast in {self.runs} runs"
        return "; ".join(self.reasons)

    def _content(self) -> dict[str, Any]:
        names = ("distance", "pvalue", "runs", "held_out", "alpha", "trusted", "reasons")
        return self._values(*names, "order")


@dataclass(frozen=True, slots=True, eq=False)
class Forecast(TableResult):
    """What becomes of a run from each state, by an absorbing chain of order 1.

    Parameters
    ----------
    states : tuple of str, length n
        START included where runs have it.
    moves : (n,) array of int
        Moves recorded from each.
    estimate, low, high : Absorption
        Rows of n + 1: the states, and last a run before its first move (NaN where it is not known
        how runs begin).
    succeeded, failed, open : int
        How the recorded runs ended; an open one counts with its moves, and with no end. From
        counts: the moves to each end, and 0.
    fit : FitCheck or None
        Evidence against the forecast; None where it was made from counts alone.
    fit_within : FitCheck or None
        The same where each stratum has a chain of its own; None without strata.
    contexts : Contexts or None
        The contexts that are its states; None where its states are keys.
    has_cost : bool
        Whether costs were given.
    clusters : int
        The runs or blocks that were drawn for the intervals; 0 for "dirichlet".
    intervals, level, replicates, prior, seed
        The settings.
    """

    states: tuple[str, ...]
    moves: NDArray[np.int64]
    estimate: Absorption
    low: Absorption
    high: Absorption
    succeeded: int
    failed: int
    open: int
    fit: FitCheck | None
    fit_within: FitCheck | None
    contexts: Contexts | None
    has_cost: bool
    intervals: Intervals
    clusters: int
    level: float
    replicates: int
    prior: float
    seed: int
    _chain: AbsorbingChain
    _sampler: ChainSampler
    _start: NDArray[np.float64]
    _tails: tuple[float, float]

    def after(self, where: Where = None) -> StateForecast:
        """Forecast a run that is at a state, or has gone a path.

        A chain of order 1 knows the last state of a path only; on contexts it knows as many of the
        last keys as its contexts hold. The default is a run before its first move.
        """
        row = self._row(where)
        found = self.estimate.at(row)
        success, _, _, steps, cost = zip(self.low.at(row), self.high.at(row), strict=True)
        begun = row < len(self.states)
        return StateForecast(
            self.states[row] if begun else None,
            int(self.moves[row]) if begun else 0,
            *found[:4],
            found[4] if self.has_cost else None,
            success,
            steps,
            cost if self.has_cost else None,
        )

    def next_keys(self, where: Where = None) -> dict[str, float]:
        """Return the probability of each next key, the most likely first; END for both ends.

        Parameters
        ----------
        where : str, path or None
            As for `after`.

        Raises
        ------
        InvalidInputError
            Where it is not known how runs begin, and `where` does not say.
        """
        row, n = self._row(where), len(self.states)
        if row == n:
            begun = np.flatnonzero(self._start)
            if len(begun) != 1:
                raise InvalidInputError(
                    "runs begin in several states, or it is not known how: say where= the run is"
                )
            row = int(begun[0])
        chances = (
            np.asarray(self._chain.moves[[row], :].toarray())[0]
            if not isinstance(self._chain.moves, np.ndarray)
            else self._chain.moves[row]
        )
        found: dict[str, float] = {}
        for place in np.flatnonzero(chances).tolist():
            key = END if place >= n else self.states[place]
            if self.contexts is not None and place < n:
                key = split_name(key)[0]
            found[key] = found.get(key, 0.0) + float(chances[place])
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @property
    def verdict(self) -> Verdict:
        """Whether the forecast is reliable, as far as the record can tell.

        "reliable within tasks": a chain for each stratum fits, one for all runs does not. Then the
        forecast is right on average over the strata, and not for each.
        """
        if self.fit is None or self.fit.trusted:
            return "reliable"
        within = self.fit_within is not None and self.fit_within.trusted
        return "reliable within tasks" if within else "not reliable"

    def curve(self, where: Where = None, *, steps: int | None = None) -> CumulativeIncidence:
        """Return the shares of runs that have ended well, and are still going, by each step.

        Parameters
        ----------
        where : str, path or None
            As for `after`.
        steps : int, optional
            How far; by default to where fewer than 1% are still going, at most 1,000.
        """
        row = self._row(where)
        start = self._start if row == len(self.states) else np.eye(1, len(self.states), row)[0]
        if steps is None:
            ended = self._chain.cumulative_incidence(start, LONGEST_CURVE)
            over = ended.sum(axis=1) > 1 - 0.01
            ended = ended[: int(np.argmax(over)) + 1] if over.any() else ended
        else:
            ended = self._chain.cumulative_incidence(start, steps)
        rng, horizon = np.random.default_rng(self.seed), len(ended) - 1
        drawn = [
            self._sampler(rng).cumulative_incidence(start, horizon) for _ in range(self.replicates)
        ]
        shares = np.array(drawn).reshape(-1, horizon + 1, 2)
        bands = [
            _band(sample, found, self._tails)
            for sample, found in [
                (shares[..., 0], ended[:, 0]),
                (shares[..., 1], ended[:, 1]),
                (1 - shares.sum(axis=2), 1 - ended.sum(axis=1)),
            ]
        ]
        return CumulativeIncidence(
            ended[:, 0], ended[:, 1], *(np.stack(band, axis=1) for band in bands)
        )

    def describe(self) -> str:
        """Say in a few sentences what is to be expected, and whether that is reliable."""
        ended = f"{self.succeeded} runs succeeded, {self.failed} failed, {self.open} are open"
        warning = "" if self.fit is None else f"; {self.verdict}: {self.fit.describe()}"
        if self.fit_within is not None:
            warning += f"; with a chain for each stratum: {self.fit_within.describe()}"
        return f"{self.after().describe()}; {ended}{warning}"

    def to_table(self) -> Table:
        """Return state, moves, success, failure, unknown, steps, their intervals, and cost."""
        n, found = len(self.states), self.estimate
        table: Table = {"state": list(self.states), "moves": self.moves.tolist()}
        names = ["success", "failure", "unknown", "steps", "cost"]
        for name in names if self.has_cost else names[:-1]:
            table[name] = getattr(found, name)[:n].tolist()
            if name not in {"failure", "unknown"}:
                table[f"{name}_low"] = getattr(self.low, name)[:n].tolist()
                table[f"{name}_high"] = getattr(self.high, name)[:n].tolist()
        return table

    def _content(self) -> dict[str, Any]:
        names = ("intervals", "clusters", "level", "replicates", "prior", "seed")
        return {
            "states": self.to_table(),
            "start": self.after(),
            "runs": {"succeeded": self.succeeded, "failed": self.failed, "open": self.open},
            "fit": self.fit,
            "fit_within": self.fit_within,
            "verdict": self.verdict,
            "settings": self._values(*names),
        }

    def _row(self, where: Where) -> int:
        """Return the row of a state, of the last state of a path, or of the beginning."""
        if isinstance(where, Trajectory):
            where = where.states or START
        if where is not None and not isinstance(where, str):
            where = self._last_state(where) if len(where) else None
        if where is None:
            return len(self.states)
        if where == END:
            raise InvalidInputError("a run at END is over: there is nothing left to forecast")
        if where not in self.states:
            raise UnknownStateError(unknown_state_message(where, self.states))
        return self.states.index(where)

    def _last_state(self, path: Sequence[str]) -> str:
        """Return the state of a run that has gone a path of keys."""
        if self.contexts is None:
            return path[-1]
        state = self.contexts.start()
        for key in path:
            state.add(key)
        return state.name or path[-1]


def absorption_intervals(
    chain: AbsorbingChain,
    start: NDArray[np.float64],
    sampler: ChainSampler,
    *,
    replicates: int,
    tails: tuple[float, float],
    seed: int,
) -> tuple[Absorption, Absorption, Absorption]:
    """Return what a chain says of each state and of a new run, and the ends of the intervals."""
    rng = np.random.default_rng(seed)
    found = _with_start(chain, start)
    drawn = [_with_start(sampler(rng), start) for _ in range(replicates)]
    sample = np.array(drawn).reshape(-1, *found.shape)
    low, high = _band(sample, found, tails)
    return Absorption(*found), Absorption(*low), Absorption(*high)


def _with_start(chain: AbsorbingChain, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """(5, n + 1) array: the absorption from each state, and from where runs begin."""
    found = chain.absorption()
    table = np.stack([getattr(found, field.name) for field in fields(found)])
    begun = np.flatnonzero(start)
    whole = table[:, begun] @ start[begun] if len(begun) else np.full(len(table), np.nan)
    return np.column_stack([table, whole])


def _band(
    sample: NDArray[np.float64], found: NDArray[np.float64], tails: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the quantiles of a (b, ...) sample, widened to hold what was found."""
    if not len(sample):
        return np.full(found.shape, np.nan), np.full(found.shape, np.nan)
    low, high = np.quantile(sample, tails, axis=0, method="inverted_cdf")
    return np.minimum(low, found), np.maximum(high, found)
