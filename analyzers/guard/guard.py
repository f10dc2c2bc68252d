"""`RunGuard`: when to stop a run, with a promise about the runs that would have succeeded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.guard._files import (
    check_keys,
    load_guard,
    read_score,
    save_guard,
    write_score,
)
from detailed_balance.analyzers.guard._groups import Groups, find_task_label, group_runs
from detailed_balance.analyzers.guard._texts import Embedder, Texts
from detailed_balance.analyzers.guard.conformal import (
    calibration_size,
    conformal_threshold,
    fewest_runs,
    fit_jackknife,
)
from detailed_balance.analyzers.guard.rules import RepetitionLimits
from detailed_balance.analyzers.guard.scores import OutcomeScore, RunScore
from detailed_balance.analyzers.guard.watch import RunWatch, run_maxima
from detailed_balance.analyzers.results import safe_name
from detailed_balance.analyzers.runs.clusters import cluster_codes
from detailed_balance.analyzers.runs.table import Runs, RunTable

if TYPE_CHECKING:
    from detailed_balance.analyzers.potential.estimate import Potential
    from detailed_balance.analyzers.runs.trajectory import StepFacts

__all__ = ["RunGuard"]

_VERSION = 3
_NAMED = 5
_FEWEST_MOVES = 5
_SETTINGS = ("alpha", "calibration", "block", "task_label", "ignored", "max_runs")
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

    New tasks
        Runs of one task, customer or batch resemble each other. A guard that was fitted on some
        runs of a task knows how its runs go, so that the promise does not hold for a task that it
        has not seen. With `groups` it does: whole tasks set the threshold, of which the score has
        seen no run, each by one run drawn at random, and m is their number. Then the promise is
        about a run of a new task.

    Small records
        Where m is the smallest number that gives a threshold, each of these runs, or tasks, is left
        out of one of m scores, and a run is stopped where each of them has it above the one that
        it left out. The promise is the same.

    What breaks it
        Another model, another prompt, other tools or tasks: runs that are not exchangeable with
        the recorded ones. Fit again after such a change. The successes must be judged in the same
        way. A guard whose stops change what runs do (a message in place of an end) keeps its
        promise up to the first stop of a run. The promise is about successful runs only: how many
        failed ones are caught depends on the score, and is not promised.

    Methods may be called from several threads, one at a time for one run. Over more than
    `max_runs` unfinished runs, the one that has moved least recently is dropped; if it moves again
    it starts again.

    Parameters
    ----------
    score : RunScore
        The score, fitted or declared.
    threshold : float or None
        Risk above which a run is stopped; None stops none.
    alpha : float or None
        Largest share of successful runs stopped; None where none is promised.
    calibration : int
        Successful runs, one of each group where there are groups, that set the threshold.
    block : str or None
        What told the groups; None where single runs set the threshold.
    task_label : str or None
        A label of the runs that looks like a task, where single runs set the threshold.
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
        task_label: str | None = None,
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
        self.task_label = task_label
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
        groups: Groups = None,
        texts: Texts | None = None,
        calibration_share: float = 1 / 3,
        seed: int = 0,
        max_runs: int = 10_000,
        block: str | None = None,
    ) -> RunGuard:
        """Fit the score to one part of the runs, and the threshold to successful runs of the other.

        About `calibration_share` of the successful runs, drawn at random, set the threshold: of
        such numbers the largest m for which (m + 1) alpha is next to a whole number, for which the
        promise is the tightest, and at least the fewest that give a threshold. All other runs,
        and all that failed, fit the score. Where these m are the fewest that give a threshold, as
        in a small record, a score is fitted without each of them, to all other runs, and the guard
        is a `JackknifeScore` of these m scores with the threshold 0. A score that learns nothing,
        or asks embeddings, is one score still.

        With `groups`, one run of each group is drawn at random. The drawn runs that succeeded are
        what a successful run of a new group is exchangeable with: a group where few runs succeed
        is as rare among them as it is among the successful runs to come. As many of them as are
        about that share of the groups with a successful run set the threshold, and no run of their
        groups fits the score.

        Parameters
        ----------
        runs : RunTable, or iterable of Trajectory
            Recorded runs; those of which nobody knows whether they succeeded are ignored, and
            counted.
        alpha : float
            Largest share of successful runs stopped, over 0 and under 1.
        score : RunScore or None
            The score to fit; None is `OutcomeScore`, which needs failed runs as well.
        groups : str, sequence, False or None
            What tells the task of a run: ``"thread"``, the name of a label, or a value for each
            run. None takes the blocks of the table, where it has any. False takes single runs all
            the same. A run of no group is a group by itself.
        texts : mapping of str to sequence of (str or None)
            What the agent wrote in each move, by the name of the run, for a score that reads it;
            see `read_texts` of the readers.
        calibration_share : float
            Share of the successful runs, or of the groups with such, for the threshold, over 0 and
            under 1.
        seed : int
            Seed of the split, drawn from the names of runs or groups in order.
        max_runs : int
            Runs followed at the same time.
        block : str, optional
            The former name of `groups`.

        Raises
        ------
        InsufficientDataError
            Where there are too few successful runs for a threshold, saying how many it takes; the
            guard without a threshold is attached, where its score could be fitted.
        InvalidInputError
            Where alpha or the share is out of its range, no run has the label `groups`, or there
            is not one value of it for each run.

        References
        ----------
        R. Dunn, L. Wasserman and A. Ramdas, *Distribution-free prediction sets for two-layer
        hierarchical models*, Journal of the American Statistical Association 118 (2023) 2491
        ("subsampling once"), for one run of a group; here drawn before its success is looked at.
        R. F. Barber, E. J. Candes, A. Ramdas and R. J. Tibshirani, *Predictive inference with the
        jackknife+*, Annals of Statistics 49 (2021) 486: at most one run is above all others.

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
        groups = block if groups is None else groups
        recorded = group_runs(RunTable.of(runs), groups)
        table = recorded.select(recorded.success >= 0).merge({})  # without states of others
        table = table.select(table.order())  # what is drawn must not depend on that of a record
        grouped, unit = bool((table.block_codes() >= 0).any()), cluster_codes(table)[0]
        settings: dict[str, Any] = {"alpha": alpha, "max_runs": max_runs}
        settings["moves"] = _different_moves(table)
        settings["ignored"] = len(recorded) - len(table)
        settings["block"] = (groups if isinstance(groups, str) else OWN_BLOCKS) if grouped else None
        settings["task_label"] = find_task_label(table) if groups is None else None
        score = OutcomeScore() if score is None else score
        more: dict[str, Any] = {"texts": texts} if getattr(score, "reads_steps", False) else {}
        # One run of each unit, drawn before it is looked at whether it succeeded.
        rng = np.random.default_rng(seed)
        order = rng.spawn(1)[0].permutation(len(table))
        drawn = order[np.unique(unit[order], return_index=True)[1]]
        worked = drawn[table.success[drawn] == 1]
        units = len(np.unique(unit[table.success == 1]))  # one of them is left for the score
        most = int(calibration_share * units)
        m = calibration_size(min(len(worked), units - 1), alpha, most)
        if m is None:
            partial = None
            with suppress(InsufficientDataError):
                partial = cls(score.fit(table, seed, **more), None, **settings)
            few = _say_too_few(len(worked), alpha, len(drawn) if grouped else None)
            raise InsufficientDataError(few, partial)
        held = worked[rng.permutation(len(worked))[:m]]
        fitted = score.fit(table.select(~np.isin(unit, unit[held])), seed, **more)
        learns = fitted is not score and getattr(score, "embeddings", None) is None
        if m == fewest_runs(alpha) and learns:
            jackknife = fit_jackknife(score, table, unit, held, seed, texts)
            return cls(jackknife, 0.0, calibration=m, **settings)
        maxima = run_maxima(fitted, table.select(held), texts)
        return cls(fitted, conformal_threshold(maxima, alpha), calibration=m, **settings)

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
                f"exchangeable with those on record, of which {self.calibration} set the threshold "
                f"by one run each"
            )
        label = self.task_label and safe_name(self.task_label)
        new = f'; for a new {label} give groups="{label}"' if label else ""
        return (
            f"a run that would have succeeded is {most}, where it is exchangeable with the "
            f"{self.calibration} successful runs that set the threshold (a run of a task that "
            f"none of them is of may not be{new})"
        )

    def __repr__(self) -> str:
        threshold = "none" if self.threshold is None else f"{self.threshold:.3g}"
        promise = self.promise or "nothing is promised"
        return f"RunGuard({type(self.score).__name__}, threshold {threshold}: {promise})"

    def watch(
        self,
        moves: Iterable[tuple[str, str | None]] = (),
        facts: Iterable[StepFacts | None] = (),
        texts: Iterable[str | None] = (),
    ) -> RunWatch:
        """Begin to watch a run apart from those that `update` follows, after these moves.

        Parameters
        ----------
        moves : iterable of (str, str or None)
            The moves so far.
        facts, texts : iterable
            What is known of each of them, and what the agent wrote; moves beyond the last have
            none.

        Examples
        --------
        >>> RunGuard.from_rules(max_stay=1).watch([("a", "b"), ("b", "b")]).stopped_at
        2
        """
        watch = RunWatch(self.score, self.threshold, self.promise)
        known, written = iter(facts), iter(texts)
        for move in moves:
            watch.update(*move, next(known, None), next(written, None))
        return watch

    def update(
        self,
        trajectory: str,
        source: str,
        target: str | None,
        facts: StepFacts | None = None,
        text: str | None = None,
    ) -> float:
        """Add one move of a run, and return its risk; a name not known begins a run."""
        with self._lock:
            watch = self._watches.get(trajectory)
            if watch is None:
                watch = self._watches[trajectory] = self.watch()
                if len(self._watches) > self.max_runs:
                    self._watches.popitem(last=False)
            else:
                self._watches.move_to_end(trajectory)
        return watch.update(source, target, facts, text)

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
        """Drop a run that has ended; a name not known is not an error."""
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

    @property
    def reads_facts(self) -> bool:
        """Whether its score was fitted to runs with facts of their steps, and weighs them."""
        return bool(getattr(self.score, "weighs_facts", False))

    @property
    def reads_text(self) -> bool:
        """Whether its score reads what the agent writes."""
        return getattr(self.score, "text", None) is not None

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
        return {
            "version": _VERSION,
            "score": write_score(self.score),
            **{name: getattr(self, name) for name in ("threshold", *_SETTINGS)},
            "moves": [list(move) for move in sorted(self.moves, key=str)],
        }

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, Any],
        score: RunScore | None = None,
        *,
        embeddings: Embedder | None = None,
    ) -> RunGuard:
        """Return the guard that `to_dict` has written.

        Parameters
        ----------
        data : mapping
            What `to_dict` has written.
        score : RunScore, optional
            The score, where it is one of yours.
        embeddings : Embeddings, optional
            Those that the score was fitted with, where it reads texts by embeddings.

        Raises
        ------
        InvalidInputError
            Where the version, the kind of score or a key is unknown, or something is missing or of
            the wrong type.
        """
        if data.get("version") != _VERSION:
            raise InvalidInputError(
                f"this is not a guard of version {_VERSION}: version {data.get('version')!r}; "
                f"fit it again, or read it with the release that wrote it"
            )
        check_keys(data, {"version", "score", "threshold", "moves", *_SETTINGS})
        try:
            threshold = data["threshold"]
            settings: dict[str, Any] = {name: data[name] for name in _SETTINGS}
            moves = [(source, target) for source, target in data["moves"]]
            score = score or read_score(data["score"], embeddings)
            return cls(
                score, None if threshold is None else float(threshold), **settings, moves=moves
            )
        except InvalidInputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInputError(
                f"the guard is damaged ({type(error).__name__}: {str(error)[:200]}); fit it again"
            ) from error

    def save(self, path: str | PathLike[str]) -> None:
        """Write the guard to a file of JSON, as a whole or not at all.

        It holds names of states, weights and, where texts are read, weights of hashed n-grams; no
        text and no run.

        Raises
        ------
        InvalidInputError
            As `to_dict`.
        """
        save_guard(self.to_dict(), Path(path))

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        score: RunScore | None = None,
        *,
        embeddings: Embedder | None = None,
    ) -> RunGuard:
        """Return the guard that `save` wrote; nothing in the file is run.

        Raises
        ------
        InvalidInputError
            Where the file is not a saved guard, was cut or changed, or is of another version.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     RunGuard.from_rules(max_stay=3).save(f"{folder}/guard.json")
        ...     RunGuard.load(f"{folder}/guard.json").score.max_stay
        3
        """
        try:
            return cls.from_dict(load_guard(Path(path)), score, embeddings=embeddings)
        except InvalidInputError as error:
            raise InvalidInputError(f"{path}: {error}") from error


def _different_moves(table: RunTable) -> set[tuple[str, str | None]]:
    moves, names = table.distinct_moves(), (*table.states, None)
    pairs = zip(moves.source.tolist(), moves.target.tolist(), strict=True)
    return {(table.states[f], names[g]) for f, g in pairs}


def _say_too_few(worked: int, alpha: float, groups: int | None) -> str:
    fewest = fewest_runs(alpha)
    if groups is None:
        takes = f"{fewest + 1} successful runs on record ({fewest} for the threshold, the others"
        there, less = f"there are {worked}", ""
    else:
        takes = f"{fewest} groups of which one run, drawn at random, succeeded (and another group"
        there, less = f"there are {worked} of {groups}", ", calibrate by single runs (groups=False)"
    return (
        f"to stop at most a share {alpha:g} of the successful runs takes at least {takes} for the "
        f"score), and {there}; record more, allow a larger alpha{less}, or declare rules: "
        f"RunGuard.from_rules(...)"
    )


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise InvalidInputError(f"{name} must be over 0 and under 1, and is {value}")
