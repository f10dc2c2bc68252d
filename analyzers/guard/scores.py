"""Risk scores of a run in progress: the protocol, and the one learned from outcomes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import expit

from detailed_balance.analyzers.counts import END
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.repetition.prefixes import (
    PrefixColumns,
    measure_prefixes,
    sum_so_far,
)
from detailed_balance.analyzers.repetition.walk import RepetitionTracker
from detailed_balance.analyzers.runs.table import Runs, RunTable

__all__ = ["OutcomeScore", "RunScore"]

_Move = tuple[str, str | None]

_Number = TypeVar("_Number", float, NDArray[np.float64])

_FEATURES = 5  # how many have a weight in `OutcomeModel.weights`

_UNIT = 2.0**-30
"""What is added up over a run is a multiple of this, so that no order of adding changes the sum."""


class RunState(Protocol):
    """One run under a score. It may have ``reason() -> str`` too, a part of a sentence."""

    def update(self, source: str, target: str | None) -> float:
        """Add one move, and return the risk of the run so far: the higher the worse."""
        ...


@runtime_checkable
class RunScore(Protocol):
    """What rates a run in progress: any function of the moves so far, fitted or declared.

    The promise of `RunGuard` holds whatever the score is, as long as the risk depends on nothing
    but the moves so far of this one run. To be saved, it needs ``to_dict() -> dict`` as well. With
    ``risks(runs) -> (m,) array``, the risk after each of the m moves of a `RunTable`, exactly as
    `start` gives it, `RunGuard.fit` is faster.
    """

    def fit(self, runs: RunTable, seed: int = 0) -> RunScore:
        """Return the score fitted to runs of known success, as a new object."""
        ...

    def start(self) -> RunState:
        """Begin a run."""
        ...


@dataclass(frozen=True)
class KernelRatio:
    """log of the kernel of failed runs over that of successful ones, per move.

    Each of the two kernels is shrunk to the pooled kernel, as if `prior` moves from each state had
    gone as that says, and the pooled kernel in the same way to the pooled share of each target.
    An escape is a target like any other; a move never seen says what its source says.

    Parameters
    ----------
    moves : dict of (str, str or None) to float
        The log ratio of each move that was seen, in nats.
    unseen : dict of str to float
        The log ratio of any other move, by its source; 0 from a source never seen.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> failed = Trajectory((("a", "b"), ("b", "a")), success=False)
    >>> worked = Trajectory((("a", "c"),), success=True)
    >>> ratio = KernelRatio.fit([failed, worked])
    >>> ratio("a", "b") > 0 > ratio("a", "c"), ratio("z", "a")
    (True, 0.0)
    """

    moves: Mapping[_Move, float]
    unseen: Mapping[str, float]

    @classmethod
    def fit(cls, runs: Runs, prior: float = 2.0) -> KernelRatio:
        """Count the moves of failed and of successful runs; moves to END are left out."""
        table = RunTable.of(runs)
        return cls.of_success(table, table.by_run(), table.success, prior)

    @classmethod
    def of_success(
        cls, table: RunTable, counts: csr_array[Any, Any], success: NDArray[Any], prior: float
    ) -> KernelRatio:
        """Take the moves of runs, `counts`, of which `success`, (r,), is 0, 1, or else -1."""
        states, moves = table.states, table.distinct_moves()
        inner = np.array([state != END for state in (*states, None)])[moves.target]
        source, target = moves.source[inner], moves.target[inner]
        bad, good = (
            np.asarray(counts.T @ (success == kind).astype(np.int64))[inner] for kind in (0, 1)
        )
        both, n = bad + good, len(states)
        from_bad, from_good = (np.bincount(source, counts, n) for counts in (bad, good))
        left, into = from_bad + from_good, np.bincount(target + 1, both, n + 1)[target + 1]
        pooled = (both + prior * into / max(both.sum(), 1)) / (left + prior)[source]
        failing = (bad + prior * pooled) / (from_bad + prior)[source]
        working = (good + prior * pooled) / (from_good + prior)[source]
        seen = np.flatnonzero(both)
        ratio = _on_grid(np.log(failing[seen] / working[seen]))
        names = (*states, None)
        pairs = zip(source[seen].tolist(), target[seen].tolist(), ratio.tolist(), strict=True)
        unseen = _on_grid(np.log((from_good + prior) / (from_bad + prior))).tolist()
        return cls(
            {(states[f], names[g]): value for f, g, value in pairs},
            {states[f]: unseen[f] for f in np.flatnonzero(left).tolist()},
        )

    def __call__(self, source: str, target: str | None) -> float:
        """Return the log ratio of one move."""
        known = self.moves.get((source, target))
        return self.unseen.get(source, 0.0) if known is None else known

    def of_moves(self, table: RunTable) -> NDArray[np.int64]:
        """(k,) array: the log ratio of the distinct moves, in units; that of one to END is 0."""
        states, moves = table.states, table.distinct_moves()
        names = (*states, None)
        pairs = zip(moves.source.tolist(), moves.target.tolist(), strict=True)
        return _in_units([0.0 if names[g] == END else self(states[f], names[g]) for f, g in pairs])


@dataclass(frozen=True)
class OutcomeModel:
    """The log odds of failure as a linear function of what a run has done so far.

    Parameters
    ----------
    ratio : KernelRatio
        The log ratio of the kernels of failed and successful runs.
    intercept : float
        Log odds where all else is 0.
    weights : tuple of float
        Those of log(1 + steps), the summed log ratio, and log(1 + count) of the escapes, of the
        rounds of the loop closed most, and of the longest stay or shuttle.
    states : dict of str to float
        The weight of having visited each state; 0 for others.
    """

    ratio: KernelRatio
    intercept: float
    weights: tuple[float, ...]
    states: Mapping[str, float]

    def weigh(self, visits: _Number, evidence: Sequence[_Number]) -> _Number:
        """Return the log odds, by the summed weights of the states visited and the five numbers.

        Added up one by one, so that numbers and arrays give the same.
        """
        odds = self.intercept + visits
        for weight, value in zip(self.weights, evidence, strict=True):
            odds = odds + weight * value
        return odds

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "moves": [[*move, value] for move, value in self.ratio.moves.items()],
            "unseen": dict(self.ratio.unseen),
            "intercept": self.intercept,
            "weights": list(self.weights),
            "states": dict(self.states),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OutcomeModel:
        """Return the model that `to_dict` has written."""
        moves = {(source, target): value for source, target, value in data["moves"]}
        ratio = KernelRatio(moves, data["unseen"])
        return cls(ratio, data["intercept"], tuple(data["weights"]), data["states"])


@dataclass(frozen=True)
class OutcomeScore:
    """The log odds of failure given the moves so far, learned from failed and successful runs.

    A ridge logistic model of: the number of steps; the log ratio of the two kernels, summed; the
    escapes; how often the loop closed most was closed; the longest stay, in visits, or shuttle, in
    changes, whichever is more; and which states were visited. It is trained on all prefixes of all
    runs, with weights by which each run counts once and both outcomes count the same, so 0 means
    even odds. The kernel ratio of a training run comes from kernels fitted without it. The
    move to END changes nothing.

    Parameters
    ----------
    ridge : float
        Strength of the penalty on standardised weights, in runs.
    folds : int
        Parts for the kernel ratios of the training runs.
    prior : float
        Moves from each state that the pooled kernel is worth, see `KernelRatio`.
    model : OutcomeModel or None
        What `fit` has learned.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> stuck = Trajectory((("__start__", "a"), *9 * [("a", "a")]), success=False)
    >>> fine = Trajectory((("__start__", "a"), ("a", "b")), success=True)
    >>> state = OutcomeScore().fit(5 * [stuck, fine]).start()
    >>> risks = [state.update(*move) for move in stuck.moves]
    >>> risks == sorted(risks), risks[-1] > 0
    (True, True)
    """

    ridge: float = 100.0
    folds: int = 5
    prior: float = 2.0
    model: OutcomeModel | None = None

    def fit(self, runs: Runs, seed: int = 0) -> OutcomeScore:
        """Learn from runs of known success; others, and runs without moves, are left out.

        Raises
        ------
        InsufficientDataError
            Where no run failed, or none succeeded.
        """
        table = RunTable.of(runs)
        table = table.select((table.lengths > 0) & (table.success >= 0))
        failed = table.success == 0
        if failed.all() or not failed.any():
            raise InsufficientDataError(
                f"this score learns from failed and from successful runs, and was given "
                f"{failed.sum()} and {(~failed).sum()}; without failed runs, fit the guard with "
                f"a score of declared rules, such as RepetitionLimits"
            )
        prefixes, counts = measure_prefixes(table), table.by_run()
        ratio = self._ratios_out_of_fold(table, counts, failed, seed)
        evidence = _evidence(table, prefixes, ratio)
        visited, states = _visited_so_far(table, prefixes)
        run, shares = table.run_of_move, np.where(failed, 0.5 / failed.sum(), 0.5 / (~failed).sum())
        intercept, *fitted = _fit_ridge_logistic(
            np.column_stack([*evidence, visited]),
            failed[run],
            (shares * len(table) / table.lengths)[run],
            self.ridge,
        ).tolist()
        by_state = dict(zip(states, _on_grid(fitted[_FEATURES:]).tolist(), strict=True))
        success = table.success
        kernels = KernelRatio.of_success(table, counts, success, self.prior)
        model = OutcomeModel(kernels, intercept, tuple(fitted[:_FEATURES]), by_state)
        return replace(self, model=model)

    def risks(self, runs: Runs) -> NDArray[np.float64]:
        """(m,) array: the log odds of failure after each of the m moves of runs, as live.

        Examples
        --------
        >>> from detailed_balance.analyzers import Trajectory
        >>> stuck = Trajectory((("a", "a"),) * 4, success=False)
        >>> fine = Trajectory((("a", "b"),), success=True)
        >>> score = OutcomeScore().fit([stuck, fine] * 5)
        >>> state = score.start()
        >>> score.risks([stuck]).tolist() == [state.update(*move) for move in stuck.moves]
        True
        """
        model, table = self._fitted(), RunTable.of(runs)
        prefixes = measure_prefixes(table)
        new = np.zeros(table.total, dtype=np.int64)
        weights = _in_units([model.states.get(state, 0.0) for state in table.states])
        np.add.at(new, prefixes.new_move, weights[prefixes.new_state])
        ratio = model.ratio.of_moves(table)[_numbers(table)]
        evidence = _evidence(table, prefixes, ratio)
        return model.weigh(_from_units(sum_so_far(new, table.offsets)), evidence)

    def start(self) -> RunState:
        """Begin a run."""
        return _OutcomeState(self._fitted())

    def _fitted(self) -> OutcomeModel:
        if self.model is None:
            raise InvalidInputError("this score is not fitted: call fit(runs) first")
        return self.model

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        model = self.model and self.model.to_dict()
        return {"ridge": self.ridge, "folds": self.folds, "prior": self.prior, "model": model}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OutcomeScore:
        """Return the score that `to_dict` has written."""
        return cls(**{**data, "model": data["model"] and OutcomeModel.from_dict(data["model"])})

    def _ratios_out_of_fold(
        self, table: RunTable, counts: csr_array[Any, Any], failed: NDArray[np.bool_], seed: int
    ) -> NDArray[np.int64]:
        """(m,) array: the log ratio of each move by kernels fitted without its part, in units."""
        fold = _folds(failed, self.folds, np.random.default_rng(seed))
        ratios = []
        for k in range(self.folds):
            success = np.where(fold == k, -1, ~failed)
            kernels = KernelRatio.of_success(table, counts, success, self.prior)
            ratios.append(kernels.of_moves(table))
        return np.array(ratios)[fold[table.run_of_move], _numbers(table)]


def _fit_ridge_logistic(
    features: NDArray[np.float64],
    labels: NDArray[np.bool_],
    weights: NDArray[np.float64],
    ridge: float,
) -> NDArray[np.float64]:
    """Fit the log odds of True: the intercept, and the weights of the (n, p) features.

    The penalty is ridge / 2 times the squared weights of the features when each is standardised
    (with `weights`); the intercept is free. A feature that does not vary gets the weight 0.
    """
    share = weights / weights.sum()
    mean = share @ features
    design = np.column_stack([np.ones(len(features)), features - mean])
    spread = np.sqrt(share @ design[:, 1:] ** 2)
    scale = np.where(spread > 1e-12, spread, np.inf)
    design[:, 1:] /= scale
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 0.0

    def loss(point: Any) -> tuple[float, Any]:
        odds = design @ point
        value = weights @ (np.logaddexp(0.0, odds) - labels * odds) + penalty @ point**2 / 2
        return float(value), design.T @ (weights * (expit(odds) - labels)) + penalty * point

    def curvature(point: Any) -> Any:
        chance = expit(design @ point)
        root = design * np.sqrt(weights * chance * (1 - chance))[:, None]
        return root.T @ root + np.diag(penalty)

    start = np.zeros(design.shape[1])
    settings: Any = {"jac": True, "hess": curvature, "method": "trust-exact"}
    found = minimize(loss, start, options={"gtol": 1e-8}, **settings).x
    slopes = found[1:] / scale
    return np.concatenate([[found[0] - slopes @ mean], slopes])


def _folds(failed: NDArray[np.bool_], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Deal the runs of each outcome out at random, so that every part has its share of both."""
    parts = np.empty(len(failed), dtype=np.int64)
    for outcome in (True, False):
        (members,) = np.nonzero(failed == outcome)
        parts[rng.permutation(members)] = np.arange(len(members)) % folds
    return parts


def _in_units(values: ArrayLike) -> NDArray[np.int64]:
    return np.rint(np.asarray(values, dtype=np.float64) / _UNIT).astype(np.int64)


def _from_units(values: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(values * _UNIT, dtype=np.float64)


def _on_grid(values: ArrayLike) -> NDArray[np.float64]:
    """Return values as multiples of `_UNIT`."""
    return _from_units(_in_units(values))


def _numbers(table: RunTable) -> NDArray[np.int64]:
    """(m,) array: which of the distinct moves each move is."""
    moves, width = table.distinct_moves(), len(table.states) + 1
    known = moves.source * width + moves.target + 1
    return np.searchsorted(known, table.source.astype(np.int64) * width + table.target + 1)


def _evidence(
    table: RunTable, prefixes: PrefixColumns, ratio: NDArray[np.int64]
) -> tuple[NDArray[np.float64], ...]:
    """Return what `_Evidence.values` does after each move; `ratio` is that of each, in units."""
    longest = np.maximum(prefixes.longest_stay, prefixes.longest_shuttle)
    counts = (prefixes.steps, prefixes.escapes, prefixes.rounds, longest)
    # The same function as live, to the last digit.
    logs = np.array([math.log1p(i) for i in range(int(prefixes.steps.max(initial=0)) + 2)])
    steps, *others = (logs[count] for count in counts)
    return steps, _from_units(sum_so_far(ratio, table.offsets)), *others


def _visited_so_far(
    table: RunTable, prefixes: PrefixColumns
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the (m, s) marks of the states that a run has visited after each move, and their s."""
    seen, column = np.unique(prefixes.new_state, return_inverse=True)
    visited = np.zeros((table.total, len(seen)))
    visited[prefixes.new_move, column] = 1.0
    np.cumsum(visited, axis=0, out=visited)
    before = np.vstack([np.zeros(len(seen)), visited])[table.offsets[:-1]]
    visited -= np.repeat(before, table.lengths, axis=0)
    return visited, tuple(table.states[i] for i in seen.tolist())


class _Evidence:
    """What a run has done so far, as the numbers that `OutcomeModel.weights` weigh."""

    def __init__(self, ratio: KernelRatio) -> None:
        self.repetition = RepetitionTracker()
        self._ratio = ratio
        self._sum = 0.0

    def update(self, source: str, target: str | None) -> None:
        self.repetition.update(source, target)
        if target != END:
            self._sum += self._ratio(source, target)

    def values(self) -> tuple[float, ...]:
        seen = self.repetition
        longest = max(seen.longest_stay.times, seen.longest_shuttle.times)
        counts = (seen.escapes, seen.rounds, longest)
        return (math.log1p(seen.steps), self._sum, *map(math.log1p, counts))


class _OutcomeState:
    """One run under an `OutcomeScore`."""

    def __init__(self, model: OutcomeModel) -> None:
        self._model = model
        self._evidence = _Evidence(model.ratio)
        self._visits = 0.0

    def update(self, source: str, target: str | None) -> float:
        """Add one move, and return the log odds of failure."""
        visited = self._evidence.repetition.visited
        new = [end for end in dict.fromkeys((source, target)) if end and end not in visited]
        self._evidence.update(source, target)
        self._visits += sum(self._model.states.get(end, 0.0) for end in new if end in visited)
        return self._model.weigh(self._visits, self._evidence.values())
