"""`DriftMartingale`: do the runs of an agent still look like those of before, at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import isnan, log
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.multiplicity import check_level
from detailed_balance.analyzers.runs.clusters import cluster_codes
from detailed_balance.analyzers.runs.table import Runs, RunTable
from detailed_balance.analyzers.runs.trajectory import Trajectory
from detailed_balance.analyzers.sequential._run_scores import SCORES, RunScorer
from detailed_balance.analyzers.sequential.conformal_betting import (
    BlockRanks,
    ConformalMartingale,
    InsideRanks,
    NewRun,
    RankedScores,
    RunEvidence,
    ScoreTest,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DriftMartingale"]

FEWEST = 10
"""Each half of the baseline needs so many runs."""

MOST_BLOCKS = 100_000
"""So many blocks are known by name; of more, the one seen first is new when it comes again."""

_SETTINGS = ("alpha", "seed", "block", "by_blocks", "runs", "units", "alarmed_at")
_VERSION = 2


class _OpenRun(NamedTuple):
    """A new run that is to be bet on."""

    name: str | None
    number: int
    scores: Mapping[str, float | None]
    show: Callable[[], NewRun]

    @property
    def order(self) -> tuple[str, float, int]:
        """Where it stands in its block, whatever the order in which the runs of it ended."""
        return self.name or "", self.scores["length"] or 0.0, self.number

    def to_list(self) -> list[Any]:
        """Return it in types that JSON has."""
        return [dict(self.scores), *self.show()]

    @classmethod
    def from_list(cls, state: Sequence[Any]) -> _OpenRun:
        """Restore what `to_list` returned."""
        scores, name, number, moves = state
        run = NewRun(name, int(number), tuple((f, g, float(nats)) for f, g, nats in moves))
        return cls(name, int(number), scores, lambda: run)


class DriftMartingale:
    """Say, after each finished run, whether the agent still behaves as it did.

    Some of the baseline runs, drawn by chance, say what is usual (`RunScorer`). The rest, the
    calibration runs, and all new runs as they end are scored by that. The p-value of a new run is
    its rank among the calibration runs and the new runs before it, ties broken by chance, and E is
    the capital of bets on these p-values, one capital for each score.

    Blocks
        Runs of one task, customer or batch resemble each other. Where runs have blocks, a block is
        what counts: a new block is bet on once, when it is over, which is when a run of another
        block comes, or `flush` is called. Each of its runs gets the p-value of its rank among the
        runs of all blocks before, each block of the same weight, and the bets on its runs are
        averaged. A run of a block that was seen before, in the baseline or later, is ranked among
        the earlier runs of that block, with a capital of its own for each score. So twenty new
        runs of one task are not evidence that the agent has changed, and longer runs of a known
        task are.

    The null hypothesis
        The calibration runs and the new runs are exchangeable: every order of them is as probable
        as any other. Nothing is assumed about a run, neither Markov steps nor stationarity. With
        blocks: the calibration blocks and the new blocks are exchangeable, with all their runs,
        and so are the runs of one block.

    The promise
        Under the null hypothesis there is ever an alarm with probability at most alpha, however
        often one looks and however long it goes on. With K scores, E is 1 / K times the largest of
        the K capitals. (Their mean would be larger, but is not covered: each capital is fair given
        the past p-values of its own score, and need not be given those of the others.) With
        blocks of several runs there are 2 K capitals. Those inside blocks keep this promise; for
        those of new blocks it is proved for any one look (the capital is 1 in the mean after any
        number of blocks), and over all looks it is measured:
        docs/explanation/statistics-measured.md.

    What rejection means
        New runs differ from the baseline as a whole: by another model, prompt, tool or environment,
        or only by other tasks or users. The test does not say which, nor whether it is for the
        worse: see `describe`.

    What breaks it
        A baseline that was chosen by its looks; runs that come in related batches or depend on one
        another, without `block`; runs taken in the order of their length, as the short ones of a
        batch end first (update in the order in which they began where that matters; inside an open
        block the order does not matter).

    What it cannot see
        A change that moves none of the scores, and a change that is older than the baseline. One
        that is slow looks usual by the time it is large, since new runs join the comparison.

    Parameters
    ----------
    baseline : RunTable, or iterable of Trajectory
        Finished runs of the usual behaviour, at least 20, or runs of 20 blocks; 200 find much
        smaller changes than 50. Their order does not matter.
    alpha : float
        Probability of a false alarm, over all time.
    block : str, optional
        What tells the block of a run: ``"thread"``, or a label; by default the blocks of the
        baseline, where it has any. A run of no block is a block by itself.
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
        block: str | None = None,
        scores: Iterable[str] | None = None,
        seed: int = 0,
        max_runs: int = 10_000,
    ) -> None:
        chosen = None if scores is None else tuple(dict.fromkeys(scores))
        _check_settings(alpha, chosen, seed, max_runs)
        table = RunTable.of(baseline)
        table = table if block is None else table.with_blocks(block)
        names = [None if code < 0 else table.blocks[code] for code in table.block_codes().tolist()]
        self.block, self.by_blocks = block, any(name is not None for name in names)
        self.alpha, self.seed = alpha, seed
        self.runs = self.units = 0
        self.alarmed_at: int | None = None
        units = _find_units(table)
        fitted, held = split_baseline(len(units), seed, "blocks" if self.by_blocks else "runs")
        self._scorer = RunScorer(table.select([i for unit in fitted for i in units[unit]]))
        calibration = [units[unit] for unit in held]
        found = self._scorer.score_runs(table)
        known = {
            name: [values[unit][~np.isnan(values[unit])].tolist() for unit in calibration]
            for name, values in found.items()
        }
        known = {name: [unit for unit in values if unit] for name, values in known.items()}
        if chosen is None:
            chosen = tuple(name for name in SCORES if len(known[name]) >= FEWEST)
        for name in chosen:
            _check_calibration(name, len(known[name]))
        self._known = dict.fromkeys(name for name in names if name is not None)
        self._open: tuple[str | None, list[_OpenRun]] = (None, [])
        self._tests: dict[str, ScoreTest] = {}
        self._inside: dict[str, ScoreTest] = {}
        for name in chosen:
            values = [value for unit in known[name] for value in unit]
            usual = median(values)
            ranks = BlockRanks(known[name], max_runs) if self.by_blocks else None
            self._tests[name] = ScoreTest(
                name, usual, ranks or RankedScores(values, max_runs), ConformalMartingale()
            )
            if self.by_blocks:
                inside = {
                    block_name: [v for v in found[name][unit].tolist() if not isnan(v)]
                    for unit in calibration
                    if (block_name := names[int(unit[0])]) is not None
                }
                ranked = InsideRanks(inside)
                self._inside[name] = ScoreTest(name, usual, ranked, ConformalMartingale())
        self._pvalues: dict[str, float | None] = dict.fromkeys(chosen)

    def update(self, run: Trajectory, block: str | None = None) -> None:
        """Add the next finished run.

        A score that the run does not determine is not bet on this time; `failure`, for example,
        where the run was not judged.

        Parameters
        ----------
        run : Trajectory
            The run.
        block : str, optional
            Its block, where it is not its thread or label.

        Raises
        ------
        InvalidInputError
            Where a block is given, and the baseline has none.
        """
        if block is not None and not self.by_blocks:
            raise InvalidInputError(
                f"block={block!r}, and the baseline has no blocks; name the label that tells them: "
                "DriftMartingale(baseline, block=...)"
            )
        if block is None and self.block is not None:
            block = run.thread if self.block == "thread" else dict(run.context).get(self.block)
        self._add(block, run.name, self._scorer.score(run), lambda: run)

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
        if self.block is not None:
            table = table.with_blocks(self.block)
        scores, codes = self._scorer.score_runs(table), table.block_codes().tolist()
        for i, row in enumerate(zip(*(v.tolist() for v in scores.values()), strict=True)):
            known = {name: None if isnan(v) else v for name, v in zip(scores, row, strict=True)}
            block = None if codes[i] < 0 else table.blocks[codes[i]]
            self._add(block, table.runs.name[i], known, partial(table.__getitem__, i))

    def flush(self) -> None:
        """Bet on the runs of the open block now; those that come after it are of a known block."""
        block, runs = self._open
        self._open = (None, [])
        if runs:
            self._bet(block, sorted(runs, key=lambda each: each.order))

    def _add(
        self,
        block: str | None,
        name: str | None,
        scores: Mapping[str, float | None],
        run: Callable[[], Trajectory],
    ) -> None:
        self.runs += 1
        number = self.runs
        new = _OpenRun(name, number, scores, lambda: NewRun.of(run(), number, self._scorer))
        if not self.by_blocks:
            self._bet(None, [new])
            return
        if block is None or block != self._open[0]:
            self.flush()
        self._open = (block, [*self._open[1], new])
        if block is None:
            self.flush()

    def _bet(self, block: str | None, runs: Sequence[_OpenRun]) -> None:
        self.units += 1
        # A stream of its own for each unit: the seed and the number of units are all its state.
        rng = np.random.default_rng((self.seed, self.units))
        known = block in self._known
        for name, test in (self._inside if known else self._tests).items():
            there = [(each.scores[name], each.show) for each in runs]
            values = [value for value, _ in there if value is not None]
            shown = [show for value, show in there if value is not None]
            self._pvalues[name] = test.update(block, values, shown, rng) if values else None
            if not known and block is not None:
                ranks = self._inside[name].ranks
                if isinstance(ranks, InsideRanks):
                    ranks.remember(block, values)
        if block is not None:
            self._known[block] = None
            self._forget_oldest()
        if self.alarmed_at is None and self.log_e_value >= self.threshold:
            self.alarmed_at = self.runs

    def _forget_oldest(self) -> None:
        while len(self._known) > MOST_BLOCKS:
            oldest = next(iter(self._known))
            del self._known[oldest]
            for test in self._inside.values():
                if isinstance(test.ranks, InsideRanks):
                    test.ranks.inside.pop(oldest, None)

    @property
    def log_e_value(self) -> float:
        """The log of E, in nats; there is an alarm when it reaches `threshold`."""
        return self._leading.martingale.log_e_value - log(len(self._all_tests))

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
        """The p-value of the last run for each score; None for an unknown score.

        With blocks, that of the run of the last block that showed most.
        """
        return dict(self._pvalues)

    @property
    def log_e_values(self) -> dict[str, float]:
        """The log of the capital of each score, in nats; log K above its share in E.

        With blocks the larger of two, and log 2 K above.
        """
        return {
            name: max(
                each[name].martingale.log_e_value
                for each in (self._tests, self._inside)
                if name in each
            )
            for name in self._tests
        }

    @property
    def evidence(self) -> tuple[RunEvidence, ...]:
        """The runs that added most to the leading score, at most 10, the most first."""
        return self._leading.evidence

    @property
    def _all_tests(self) -> list[ScoreTest]:
        return [*self._tests.values(), *self._inside.values()]

    @property
    def _leading(self) -> ScoreTest:
        return max(self._all_tests, key=lambda test: test.martingale.log_e_value)

    def describe(self) -> str:
        """Say in one sentence what was found, and which run and move show it best."""
        after = f"{self.runs:,} new runs (log e-value {self.log_e_value:.1f})"
        if not self.alarm:
            needed = f"an alarm needs a log e-value of {self.threshold:.1f}"
            left = len(self._open[1])
            rest = f"; {left:,} of an open block are not counted yet" if left else ""
            return f"no evidence of a change after {after}; {needed}{rest}"
        score = self._leading.score
        leading = self._leading in self._inside.values()
        inside = ", against earlier runs of the same block" if leading else ""
        shown = f"; most by {self.evidence[0].describe()}" if self.evidence else ""
        return (
            f"the runs have changed, detected after {self.alarmed_at:,} of {after}, most of all "
            f"in {score}, {SCORES[score]}{inside}{shown}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state in types that JSON has."""
        state = {name: getattr(self, name) for name in _SETTINGS}
        tests = [test.to_dict() for test in self._all_tests]
        block, runs = self._open
        waiting = {"block": block, "runs": [each.to_list() for each in runs]}
        rest = {"pvalues": self.pvalues, "scorer": self._scorer.to_dict(), "tests": tests}
        blocks = {"known": list(self._known), "open": waiting}
        return {"version": _VERSION, **state, **rest, **blocks}

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
            tests = [ScoreTest.from_dict(test) for test in state["tests"]]
            inside = [test for test in tests if isinstance(test.ranks, InsideRanks)]
            drift._inside = {test.score: test for test in inside}
            drift._tests = {test.score: test for test in tests if test not in inside}
            drift._known = dict.fromkeys(state["known"])
            waiting = state["open"]
            drift._open = (waiting["block"], [_OpenRun.from_list(x) for x in waiting["runs"]])
            drift._pvalues = dict(state["pvalues"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"not a state of a DriftMartingale: {error!r}") from None
        return drift


def _find_units(table: RunTable) -> list[NDArray[np.int64]]:
    """Return the places of the runs of each block, or each run of none, in the order of names."""
    order, unit = table.order(), cluster_codes(table)[0]
    places = order[np.argsort(unit[order], kind="stable")]
    return np.split(places, np.flatnonzero(np.diff(unit[places])) + 1) if len(table) else []


def split_baseline(count: int, seed: int, what: str = "runs") -> tuple[list[int], list[int]]:
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
            f"{count} baseline {what}; at least {2 * FEWEST} are needed, {FEWEST} to say what is "
            f"usual and {FEWEST} to compare with. 200 find much smaller changes than 50"
        )
    order = np.random.default_rng((seed, 0)).permutation(count).tolist()
    return sorted(order[: count // 2]), sorted(order[count // 2 :])


def _check_calibration(score: str, known: int) -> None:
    if known < FEWEST:
        raise InsufficientDataError(
            f"{known} calibration runs have a value of {score!r}; at least {FEWEST} are needed. "
            "Judge more of the baseline runs, or leave this score out"
        )


def _check_settings(alpha: float, scores: tuple[str, ...] | None, seed: int, max_runs: int) -> None:
    check_level(alpha)
    if scores is not None and (not scores or not set(scores) <= set(SCORES)):
        raise InvalidInputError(f"scores={scores!r}; allowed are one or more of {tuple(SCORES)}")
    if seed < 0:
        raise InvalidInputError(f"seed={seed!r}; it is 0 or more")
    if max_runs < 2 * FEWEST:
        raise InvalidInputError(f"max_runs={max_runs!r}; it is at least {2 * FEWEST}")
