"""`RunGuard`: when to stop a run, with a promise about the runs that would have succeeded."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.guard.rules import RepetitionLimits
from detailed_balance.analyzers.guard.scores import OutcomeScore, RunScore
from detailed_balance.analyzers.guard.watch import RunWatch
from detailed_balance.analyzers.runs.clusters import cluster_codes
from detailed_balance.analyzers.runs.table import Runs, RunTable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from detailed_balance.analyzers.potential.estimate import Potential

__all__ = ["RunGuard"]

_SCORES: dict[str, type[OutcomeScore] | type[RepetitionLimits]] = {
    "outcome": OutcomeScore,
    "rules": RepetitionLimits,
}
_VERSION = 1
_NAMED = 5
_FEWEST_MOVES = 5
_SETTINGS = ("alpha", "calibration", "block", "ignored", "max_runs")
OWN_BLOCKS = "block"
"""What the blocks of a table are called that has them without a label."""


class RunGuard:
    """Stop runs that are going wrong, and few of those that would have succeeded.

    The promise
        With the threshold of `fit`, a run that would have succeeded is stopped with probability at
        most alpha: before the guard is fitted, for one new run that is exchangeable with the
        successful runs it was calibrated on, whatever the score. Over many guards the share is
        that; of one guard the share varies, with m calibration runs by about
        sqrt(alpha (1 - alpha) / m).

    Blocks
        Runs of one task, customer or batch resemble each other. A guard that was fitted on some
        runs of a task knows how its runs go, so that the promise does not hold for a task that it
        has not seen. With blocks it does: whole blocks set the threshold, of which the score has
        seen no run, each with the same weight, and m is their number. Then the promise is about a
        run of a new block.

    What breaks it
        Another model, another prompt, other tools or tasks: runs that are not exchangeable with
        the recorded ones. Fit again after such a change. The successes must be judged in the same
        way. A guard whose stops change what runs do (a message in place of an end) keeps its
        promise up to the first stop of a run. The promise is about successful runs only: how many
        failed ones are caught depends on the score, and is not promised.

    Methods may be called from several threads, one at a time for one run. Over more than
    `max_runs` unfinished runs, the one that has moved least recently is dropped; if it moves again
    it begins anew.

    Parameters
    ----------
    score : RunScore
        The score, fitted or declared.
    threshold : float or None
        Risk above which a run is stopped; None stops none.
    alpha : float or None
        Largest share of successful runs stopped; None where none is promised.
    calibration : int
        Successful runs, or blocks with such, that the threshold came from.
    block : str or None
        What told the blocks; None where single runs set the threshold.
    ignored : int
        Runs left out of `fit` because it is not known whether they succeeded.
    max_runs : int
        Runs followed at the same time.
    moves : iterable of (str, str or None)
        The moves of the runs it was fitted on; empty where that is not known.

    References
    ----------
    V. Vovk, A. Gammerman and G. Shafer, *Algorithmic Learning in a Random World*, 2005 (split
    conformal prediction); applied here to the maximum over a run.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> stuck = Trajectory((("__start__", "a"), *20 * [("a", "b"), ("b", "a")]), success=False)
    >>> fine = Trajectory((("__start__", "a"), ("a", "b"), ("b", "c")), success=True)
    >>> guard = RunGuard.fit(20 * [stuck, fine])
    >>> for source, target in stuck.moves:
    ...     risk = guard.update("thread-1", source, target)
    >>> guard.stopped("thread-1"), guard.calibration
    (True, 9)
    >>> print(RunGuard.from_rules(max_stay=3).promise)
    None
    """

    def __init__(
        self,
        score: RunScore,
        threshold: float | None,
        *,
        alpha: float | None = None,
        calibration: int = 0,
        block: str | None = None,
        ignored: int = 0,
        max_runs: int = 10_000,
        moves: Iterable[tuple[str, str | None]] = (),
    ) -> None:
        self.moves = frozenset(moves)
        self.score = score
        self.threshold = threshold
        self.alpha = alpha
        self.calibration = calibration
        self.block = block
        self.ignored = ignored
        self.max_runs = max_runs
        self._watches: OrderedDict[str, RunWatch] = OrderedDict()
        self._lock = threading.RLock()

    @classmethod
    def fit(
        cls,
        runs: Runs,
        alpha: float = 0.1,
        score: RunScore | None = None,
        *,
        block: str | None = None,
        calibration_share: float = 1 / 3,
        seed: int = 0,
        max_runs: int = 10_000,
    ) -> RunGuard:
        """Fit the score to one part of the runs, and the threshold to successful runs of the other.

        About `calibration_share` of the successful runs, drawn at random, set the threshold: of
        such numbers the largest m for which (m + 1) alpha is next to a whole number, for which the
        promise is the tightest, and at least the fewest that give a threshold. All other runs,
        and all that failed, fit the score.

        Where runs have blocks, about that share of the blocks with a successful run set the
        threshold, by all their successful runs, and no run of these fits the score. Each block has
        the same weight: the threshold is exceeded by a run of a new block, drawn from those that
        would have succeeded, with probability at most alpha, whatever the runs of a block have in
        common.

        Parameters
        ----------
        runs : RunTable, or iterable of Trajectory
            Recorded runs; those of which nobody knows whether they succeeded are ignored, and
            counted.
        alpha : float
            Largest share of successful runs stopped, over 0 and under 1.
        score : RunScore or None
            The score to fit; None is `OutcomeScore`, which needs failed runs as well.
        block : str, optional
            What tells the block of a run: ``"thread"``, or a label; by default the blocks of the
            table, where it has any. A run of no block is a block by itself.
        calibration_share : float
            Share of the successful runs, or of the blocks with such, for the threshold, over 0 and
            under 1.
        seed : int
            Seed of the split, drawn from the names of runs or blocks in order.
        max_runs : int
            Runs followed at the same time.

        Raises
        ------
        InsufficientDataError
            Where there are too few successful runs for a threshold, saying how many it takes; the
            guard without a threshold is attached, where its score could be fitted.
        InvalidInputError
            Where alpha or the share is out of its range, or no run has the label `block`.

        References
        ----------
        Y. Lee, R. F. Barber and R. Willett, *Distribution-free inference with hierarchical data*,
        2023, arXiv:2306.06342, for blocks of the same weight.

        Examples
        --------
        >>> from detailed_balance.analyzers import Trajectory
        >>> run = Trajectory((("__start__", "a"),), success=True)
        >>> guard = RunGuard.fit(10 * [run], alpha=0.2, score=RepetitionLimits(max_stay=5))
        >>> guard.calibration, guard.threshold
        (4, 0.2)
        """
        _check_share("alpha", alpha)
        _check_share("calibration_share", calibration_share)
        recorded = RunTable.of(runs)
        recorded = recorded if block is None else recorded.with_blocks(block)
        table = recorded.select(recorded.success >= 0).merge({})  # without states of others
        table = table.select(table.order())  # what is drawn must not depend on that of a record
        by_blocks, unit = bool((table.block_codes() >= 0).any()), cluster_codes(table)[0]
        worked = np.flatnonzero(table.success == 1)
        settings: dict[str, Any] = {"alpha": alpha, "max_runs": max_runs}
        settings["moves"] = _different_moves(table)
        settings["ignored"] = len(recorded) - len(table)
        settings["block"] = (block or OWN_BLOCKS) if by_blocks else None
        score = OutcomeScore() if score is None else score
        units = np.unique(unit[worked])
        m = calibration_size(len(units), alpha, calibration_share)
        if m is None:
            partial = None
            with suppress(InsufficientDataError):
                partial = cls(score.fit(table, seed), None, **settings)
            what = "blocks with a successful run" if by_blocks else "successful runs"
            raise InsufficientDataError(_say_too_few(len(units), alpha, what), partial)
        held = units[np.random.default_rng(seed).permutation(len(units))[:m]]
        apart = np.isin(unit, held)
        fitted = score.fit(table.select(~apart), seed)
        calibration = worked[apart[worked]]
        maxima = _run_maxima(fitted, table.select(calibration))
        threshold = conformal_threshold(maxima, alpha, unit[calibration])
        return cls(fitted, threshold, calibration=m, **settings)

    @classmethod
    def from_rules(
        cls,
        *,
        max_stay: int | None = None,
        max_shuttle: int | None = None,
        max_rounds: int | None = None,
        max_stall: int | None = None,
        potential: Potential | Mapping[str, float] | None = None,
        max_runs: int = 10_000,
        max_dwell: int | None = None,
    ) -> RunGuard:
        """Declare what stops a run, without outcomes; there is no promise.

        The limits are those of `RepetitionLimits`: one more than the limit stops the run.
        `max_dwell` is the former name of `max_stay`.

        Raises
        ------
        InvalidInputError
            Where no limit is given, or one that cannot be.

        Examples
        --------
        >>> guard = RunGuard.from_rules(max_rounds=2)
        >>> for move in 4 * [("search", "read"), ("read", "search")]:
        ...     risk = guard.update("thread-1", *move)
        >>> guard.describe("thread-1")  # doctest: +NORMALIZE_WHITESPACE
        'stopped at step 6: risk 1.5 above the threshold 1 (3 rounds of the same loop, at most 2
        allowed) by a rule, without a promise; it went search -> read -> search 3 times'
        """
        max_stay = max_dwell if max_stay is None else max_stay
        rules = RepetitionLimits(max_stay, max_shuttle, max_rounds, max_stall, potential)
        return cls(rules, 1.0, max_runs=max_runs)

    @property
    def promise(self) -> str | None:
        """What is promised, in one sentence; None for rules, or without a threshold."""
        if self.alpha is None or self.threshold is None:
            return None
        most = f"stopped with probability at most {self.alpha:g}"
        if self.block is not None:
            return (
                f"a run of a new {self.block} that would have succeeded is {most}, where that is "
                f"exchangeable with the {self.calibration} others whose successful runs set the "
                f"threshold"
            )
        return (
            f"a run that would have succeeded is {most}, where it is exchangeable with the "
            f"{self.calibration} successful runs that set the threshold (a run of a task that "
            f"none of them is of may not be)"
        )

    def watch(self, moves: Iterable[tuple[str, str | None]] = ()) -> RunWatch:
        """Begin to watch a run apart from those that `update` follows, after these moves.

        Examples
        --------
        >>> RunGuard.from_rules(max_stay=1).watch([("a", "b"), ("b", "b")]).stopped_at
        2
        """
        watch = RunWatch(self.score, self.threshold, self.promise)
        for move in moves:
            watch.update(*move)
        return watch

    def update(self, trajectory: str, source: str, target: str | None) -> float:
        """Add one move of a run, and return its risk; a name not known begins a run."""
        with self._lock:
            watch = self._watches.get(trajectory)
            if watch is None:
                watch = self._watches[trajectory] = self.watch()
                if len(self._watches) > self.max_runs:
                    self._watches.popitem(last=False)
            else:
                self._watches.move_to_end(trajectory)
        return watch.update(source, target)

    def stopped(self, trajectory: str) -> bool:
        """Say whether a run is to be stopped: its risk has exceeded the threshold at some step."""
        watch = self._watches.get(trajectory)
        return watch is not None and watch.stopped

    def describe(self, trajectory: str) -> str:
        """Say in one sentence why and where a run was stopped, or how it stands.

        Raises
        ------
        InvalidInputError
            Where no run of this name is followed.
        """
        watch = self._watches.get(trajectory)
        if watch is None:
            raise InvalidInputError(
                f"no run {trajectory!r} is followed: it has not moved, was forgotten, or was "
                f"dropped as the oldest of more than {self.max_runs}"
            )
        return watch.describe()

    def forget(self, trajectory: str) -> None:
        """Drop a run that has ended; a name not known is no error."""
        with self._lock:
            self._watches.pop(trajectory, None)

    @property
    def states(self) -> frozenset[str]:
        """The states of the runs it was fitted on; empty where that is not known."""
        return frozenset(state for move in self.moves for state in move if state)

    def find_unknown(self, moves: Sequence[tuple[str, str | None]]) -> str:
        """Say what a run has that none of the runs did on which the guard was fitted.

        Names that a model invented for tools (``name!unknown``) do not count. Single new moves
        between states that are known do not either, as long as they are not most of the run.

        Parameters
        ----------
        moves : sequence of (str, str or None)
            The moves of the run.

        Returns
        -------
        str
            A part of a sentence; empty where there is nothing, or nothing is known of the fit.

        Examples
        --------
        >>> guard = RunGuard(RepetitionLimits(max_stay=3), 1.0, moves=[("__start__", "search")])
        >>> guard.find_unknown([("__start__", "find"), ("find", "read"), ("read", "search")])
        "the states 'find' and 'read' were in none of the runs it was fitted on"
        >>> guard.find_unknown([("__start__", "search")])
        ''
        """
        if not self.moves:
            return ""
        known = self.states | BOUNDARIES
        there = dict.fromkeys(state for move in moves for state in move if state)
        strange = [s for s in there if s not in known and not s.endswith("!unknown")]
        if strange:
            *most, last = [repr(name[:80]) for name in strange[:_NAMED]]
            more = f" and {len(strange) - _NAMED} more" if len(strange) > _NAMED else ""
            names = (
                f"{', '.join(most)} and {last}" if most and not more else ", ".join([*most, last])
            )
            states, were = ("state", "was") if len(strange) == 1 else ("states", "were")
            return f"the {states} {names}{more} {were} in none of the runs it was fitted on"
        new = sum(move not in self.moves for move in moves)
        if len(moves) >= _FEWEST_MOVES and 2 * new > len(moves):
            return (
                f"{new} of the first {len(moves)} moves were in none of the runs it was fitted on"
            )
        return ""

    @property
    def followed(self) -> int:
        """The number of runs that `update` follows now."""
        return len(self._watches)

    def to_dict(self) -> dict[str, Any]:
        """Return the guard as JSON can hold it, without the runs that it follows.

        Raises
        ------
        InvalidInputError
            Where the score is one of yours and has no ``to_dict``.

        Examples
        --------
        >>> import json
        >>> text = json.dumps(RunGuard.from_rules(max_stay=3).to_dict())
        >>> RunGuard.from_dict(json.loads(text)).score.max_stay
        3
        """
        write = getattr(self.score, "to_dict", None)
        if write is None:
            raise InvalidInputError(f"the score has no to_dict(), so it stays here: {self.score!r}")
        kinds = [kind for kind, home in _SCORES.items() if type(self.score) is home]
        return {
            "version": _VERSION,
            "score": {"kind": kinds[0] if kinds else "custom", **write()},
            **{name: getattr(self, name) for name in ("threshold", *_SETTINGS)},
            "moves": [list(move) for move in sorted(self.moves, key=str)],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], score: RunScore | None = None) -> RunGuard:
        """Return the guard that `to_dict` has written; give the score where it is one of yours.

        Raises
        ------
        InvalidInputError
            Where the version or the kind of score is unknown.
        """
        if data.get("version") != _VERSION:
            raise InvalidInputError(
                f"this is no guard of version {_VERSION}: version {data.get('version')!r}; "
                f"fit it again, or read it with the release that wrote it"
            )
        settings: dict[str, Any] = {name: data.get(name) for name in _SETTINGS}
        moves = [(source, target) for source, target in data.get("moves", ())]
        return cls(score or _read_score(data["score"]), data["threshold"], **settings, moves=moves)


def _read_score(data: Mapping[str, Any]) -> RunScore:
    fields = dict(data)
    kind = fields.pop("kind", None)
    if kind not in _SCORES:
        raise InvalidInputError(
            f"the score is of the kind {kind!r}, not one of {', '.join(_SCORES)}: restore it "
            f"yourself, and give it as from_dict(data, score=...)"
        )
    return _SCORES[kind].from_dict(fields)


def _different_moves(table: RunTable) -> set[tuple[str, str | None]]:
    moves, names = table.distinct_moves(), (*table.states, None)
    pairs = zip(moves.source.tolist(), moves.target.tolist(), strict=True)
    return {(table.states[f], names[g]) for f, g in pairs}


def _run_maxima(score: RunScore, table: RunTable) -> list[float]:
    """Return the highest risk of each run; -inf for one without moves."""
    risks = getattr(score, "risks", None)
    if risks is None:
        starts = [(score.start(), run.moves) for run in table]
        return [
            max((float(state.update(*move)) for move in moves), default=-math.inf)
            for state, moves in starts
        ]
    moved, maxima = np.flatnonzero(table.lengths), np.full(len(table), -np.inf)
    if len(moved):
        maxima[moved] = np.maximum.reduceat(risks(table), table.offsets[moved])
    return maxima.tolist()


def _say_too_few(worked: int, alpha: float, what: str) -> str:
    fewest = fewest_runs(alpha)
    return (
        f"to stop at most a share {alpha:g} of the successful runs takes at least {fewest + 1} "
        f"{what} on record ({fewest} for the threshold, the others for the score), and there are "
        f"{worked}; record more, allow a larger alpha, or declare rules: RunGuard.from_rules(...)"
    )


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise InvalidInputError(f"{name} must be over 0 and under 1, and is {value}")


def conformal_threshold(
    maxima: Sequence[float], alpha: float, blocks: ArrayLike | None = None
) -> float | None:
    """Return the ceil((m + 1)(1 - alpha))-th smallest of m run maxima, None where m is too small.

    One more run, exchangeable with those, has a greater maximum with probability at most alpha.
    With blocks, m is the number of these, and each of the n runs of one counts for 1 / n.

    Examples
    --------
    >>> conformal_threshold([5.0, 1.0, 2.0, 4.0, 3.0, 6.0, 9.0, 7.0, 8.0], 0.1)
    9.0
    >>> conformal_threshold([1.0, 2.0, 3.0], 0.1) is None
    True
    >>> conformal_threshold([1.0, 5.0, 2.0, 3.0], 0.4, [0, 0, 1, 1])
    5.0
    """
    blocks = np.arange(len(maxima)) if blocks is None else np.asarray(blocks)
    _, block, runs = np.unique(blocks, return_inverse=True, return_counts=True)
    left = _exactly(alpha) * (len(runs) + 1) - 1  # so much may lie above, besides the new one
    threshold = None
    for place in np.argsort(-np.asarray(maxima), kind="stable").tolist():
        if left < 0:
            break
        threshold = float(maxima[place])
        left -= Fraction(1, int(runs[block[place]]))
    return threshold


def _allowed_above(m: int, alpha: float) -> int:
    return math.floor((m + 1) * _exactly(alpha))


def _exactly(alpha: float) -> Fraction:
    """Return alpha as the decimal that it was written as: 30 * 0.1 is over 3, as floats go."""
    return Fraction(str(float(alpha)))


def fewest_runs(alpha: float) -> int:
    """Return the fewest run maxima that give a threshold.

    Examples
    --------
    >>> fewest_runs(0.1), fewest_runs(0.05)
    (9, 19)
    """
    return math.ceil(1 / _exactly(alpha)) - 1


def calibration_size(worked: int, alpha: float, share: float) -> int | None:
    """Return how many of the successful runs set the threshold; None where they are too few.

    The share of successful runs stopped is floor((m + 1) alpha) / (m + 1) on average, so the
    numbers m at which the floor jumps up waste none of alpha.

    Examples
    --------
    >>> [calibration_size(worked, 0.1, 0.5) for worked in (9, 10, 30, 40, 100)]
    [None, 9, 9, 19, 49]
    """
    above = max(1, _allowed_above(math.floor(share * worked), alpha))
    m = math.ceil(above / _exactly(alpha)) - 1
    return m if m < worked else None
