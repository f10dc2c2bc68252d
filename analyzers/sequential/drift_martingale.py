"""`DriftMartingale`: do the runs of an agent still look like those of before, at every look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isnan, log
from typing import Any

import numpy as np

from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.runs.table import Runs, RunTable
from detailed_balance.analyzers.runs.trajectory import Trajectory
from detailed_balance.analyzers.sequential._run_scores import SCORES, RunScorer
from detailed_balance.analyzers.sequential.conformal_betting import RunEvidence, ScoreTest

__all__ = ["DriftMartingale"]

FEWEST = 10
"""Each half of the baseline needs so many runs."""

_SETTINGS = ("alpha", "seed", "runs", "alarmed_at")
_VERSION = 1


class DriftMartingale:
    """Say, after each finished run, whether the agent still behaves as it did.

    Some of the baseline runs, drawn by chance, say what is usual (`RunScorer`). The rest, the
    calibration runs, and all new runs as they end are scored by that. The p-value of a new run is
    its rank among the calibration runs and the new runs before it, ties broken by chance, and E is
    the capital of bets on these p-values, one capital for each score.

    The null hypothesis
        The calibration runs and the new runs are exchangeable: every order of them is as probable
        as any other. Nothing is assumed about a run, neither Markov steps nor stationarity.

    The promise
        Under the null hypothesis there is ever an alarm with probability at most alpha, however
        often one looks and however long it goes on. With K scores, E is 1 / K times the largest of
        the K capitals. (Their mean would be larger, but is not covered: each capital is fair given
        the past p-values of its own score, and need not be given those of the others.)

    What rejection means
        New runs differ from the baseline as a whole: by another model, prompt, tool or environment,
        or only by other tasks or users. The test does not tell which, nor whether it is for the
        worse: see `describe`.

    What breaks it
        A baseline that was chosen by its looks; runs that come in related batches or depend on one
        another; runs taken in the order of their length, as the short ones of a batch end first
        (update in the order in which they began where that matters).

    What it cannot see
        A change that moves none of the scores, and a change that is older than the baseline. One
        that is slow looks usual by the time it is large, since new runs join the comparison.

    Parameters
    ----------
    baseline : RunTable, or iterable of Trajectory
        Finished runs of the usual behaviour, at least 20; 200 find much smaller changes than 50.
        Their order matters only for which of them the seed draws.
    alpha : float
        Probability of a false alarm, over all time.
    scores : iterable of str, optional
        Which of `SCORES` to use; by default those that enough calibration runs determine. Each
        one costs: with K of them the capital of one must reach K / alpha.
    seed : int
        For the split of the baseline and for breaking ties; 0 or more.
    max_runs : int
        Runs that a score is compared with. Beyond that, one drawn by chance is forgotten at a
        time, which keeps the p-values exact, and the calibration runs fade.

    Raises
    ------
    InsufficientDataError
        Where the baseline is too small, or has too few runs with a score that was asked for.
    InvalidInputError
        Where another argument is not allowed.

    References
    ----------
    V. Vovk, I. Nouretdinov and A. Gammerman, *Testing exchangeability on-line*, ICML 2003.
    Y. J. Choe and A. Ramdas, *Combining evidence across filtrations*, arXiv:2402.09698: why the
    capitals are not averaged.

    Examples
    --------
    >>> usual = Trajectory((("__start__", "plan"), ("plan", "search"), ("search", "__end__")))
    >>> other = Trajectory((("__start__", "plan"), ("plan", "plan"), ("plan", "__end__")), "run-1")
    >>> drift = DriftMartingale([usual] * 40)
    >>> for run in [usual] * 5 + [other] * 20:
    ...     drift.update(run)
    >>> drift.alarm, drift.runs, drift.alarmed_at
    (True, 25, 11)
    """

    def __init__(
        self,
        baseline: Runs,
        alpha: float = 0.05,
        *,
        scores: Iterable[str] | None = None,
        seed: int = 0,
        max_runs: int = 10_000,
    ) -> None:
        chosen = None if scores is None else tuple(dict.fromkeys(scores))
        _check_settings(alpha, chosen, seed, max_runs)
        table = RunTable.of(baseline)
        fitted, calibration = split_baseline(len(table), seed)
        self.alpha, self.seed = alpha, seed
        self.runs = 0
        self.alarmed_at: int | None = None
        self._scorer = RunScorer(table.select(fitted))
        found = self._scorer.score_runs(table.select(calibration))
        known = {name: values[~np.isnan(values)].tolist() for name, values in found.items()}
        if chosen is None:
            chosen = tuple(name for name in SCORES if len(known[name]) >= FEWEST)
        for name in chosen:
            _check_calibration(name, len(known[name]))
        self._tests = {name: ScoreTest.start(name, known[name], max_runs) for name in chosen}
        self._pvalues: dict[str, float | None] = dict.fromkeys(chosen)

    def update(self, run: Trajectory) -> None:
        """Add the next finished run.

        A score that the run does not determine is not bet on this time; `failure`, for example,
        where the run was not judged.
        """
        self._bet([run], 0, self._scorer.score(run))

    def update_runs(self, runs: Runs) -> None:
        """Add finished runs in their order: the same as `update` of each, and faster.

        Examples
        --------
        >>> usual = Trajectory((("plan", "search"), ("search", "answer")))
        >>> drift = DriftMartingale([usual] * 40)
        >>> drift.update_runs([Trajectory((("plan", "plan"),) * 9)] * 20)
        >>> drift.runs, drift.alarm
        (20, True)
        """
        table = RunTable.of(runs)
        scores = self._scorer.score_runs(table)
        for i, row in enumerate(zip(*(v.tolist() for v in scores.values()), strict=True)):
            known = {name: None if isnan(v) else v for name, v in zip(scores, row, strict=True)}
            self._bet(table, i, known)

    def _bet(
        self, runs: Sequence[Trajectory], place: int, values: Mapping[str, float | None]
    ) -> None:
        self.runs += 1
        # A stream of its own for each run: the seed and the number of runs are all its state.
        rng = np.random.default_rng((self.seed, self.runs))
        for name, test in self._tests.items():
            self._pvalues[name] = None
            if (value := values[name]) is not None:
                self._pvalues[name] = test.update(runs, place, value, self.runs, self._scorer, rng)
        if self.alarmed_at is None and self.log_e_value >= self.threshold:
            self.alarmed_at = self.runs

    @property
    def log_e_value(self) -> float:
        """The log of E, in nats; there is an alarm when it reaches `threshold`."""
        return self._leading.martingale.log_e_value - log(len(self._tests))

    @property
    def threshold(self) -> float:
        """log(1 / alpha), in nats."""
        return -log(self.alpha)

    @property
    def alarm(self) -> bool:
        """Whether E has reached 1 / alpha, now or before."""
        return self.alarmed_at is not None

    @property
    def pvalues(self) -> dict[str, float | None]:
        """The p-value of the last run for each score; None for an unknown score."""
        return dict(self._pvalues)

    @property
    def log_e_values(self) -> dict[str, float]:
        """The log of the capital of each score, in nats; log K above its share in E."""
        return {name: test.martingale.log_e_value for name, test in self._tests.items()}

    @property
    def evidence(self) -> tuple[RunEvidence, ...]:
        """The runs that added most to the leading score, at most 10, the most first."""
        return self._leading.evidence

    @property
    def _leading(self) -> ScoreTest:
        return max(self._tests.values(), key=lambda test: test.martingale.log_e_value)

    def describe(self) -> str:
        """Say in one sentence what was found, and which run and move show it best."""
        after = f"{self.runs:,} new runs (log E = {self.log_e_value:.1f})"
        if not self.alarm:
            return f"no sign of a change after {after}; an alarm needs log E = {self.threshold:.1f}"
        score = self._leading.score
        shown = f"; most by {self.evidence[0].describe()}" if self.evidence else ""
        return (
            f"the runs have changed, as was clear after {self.alarmed_at:,} of {after}, above all "
            f"in {score}, {SCORES[score]}{shown}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state in types that JSON has."""
        state = {name: getattr(self, name) for name in _SETTINGS}
        tests = [test.to_dict() for test in self._tests.values()]
        rest = {"pvalues": self.pvalues, "scorer": self._scorer.to_dict(), "tests": tests}
        return {"version": _VERSION, **state, **rest}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> DriftMartingale:
        """Go on from what `to_dict` returned; the numbers to come are the same.

        Raises
        ------
        InvalidInputError
            Where it is something else.
        """
        version = state.get("version")
        if version != _VERSION:
            raise InvalidInputError(
                f"version {version!r} of a DriftMartingale; this release reads {_VERSION}"
            )
        drift = cls.__new__(cls)
        try:
            for name in _SETTINGS:
                setattr(drift, name, state[name])
            drift._scorer = RunScorer.from_dict(state["scorer"])
            drift._tests = {test["score"]: ScoreTest.from_dict(test) for test in state["tests"]}
            drift._pvalues = dict(state["pvalues"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"this is no state of a DriftMartingale: {error!r}") from None
        return drift


def split_baseline(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Draw which of `count` baseline runs say what is usual, and which are calibration runs.

    Raises
    ------
    InsufficientDataError
        Where there are fewer than 20.

    Examples
    --------
    >>> [len(part) for part in split_baseline(25, seed=0)]
    [12, 13]
    """
    if count < 2 * FEWEST:
        raise InsufficientDataError(
            f"{count} baseline runs; at least {2 * FEWEST} are needed, {FEWEST} to say what is "
            f"usual and {FEWEST} to compare with. 200 find much smaller changes than 50"
        )
    order = np.random.default_rng((seed, 0)).permutation(count).tolist()
    return sorted(order[: count // 2]), sorted(order[count // 2 :])


def _check_calibration(score: str, known: int) -> None:
    if known < FEWEST:
        raise InsufficientDataError(
            f"{known} calibration runs tell {score!r}; at least {FEWEST} are needed. Judge more of "
            "the baseline runs, or leave this score out"
        )


def _check_settings(alpha: float, scores: tuple[str, ...] | None, seed: int, max_runs: int) -> None:
    if not 0 < alpha < 1:
        raise InvalidInputError(f"alpha={alpha!r}; it is a probability between 0 and 1")
    if scores is not None and (not scores or not set(scores) <= set(SCORES)):
        raise InvalidInputError(f"scores={scores!r}; allowed are one or more of {tuple(SCORES)}")
    if seed < 0:
        raise InvalidInputError(f"seed={seed!r}; it is 0 or more")
    if max_runs < 2 * FEWEST:
        raise InvalidInputError(f"max_runs={max_runs!r}; it is at least {2 * FEWEST}")
