"""Risk scores of a run in progress: the protocol, and the one learned from outcomes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from detailed_balance.analyzers.counts import END
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.repetition.walk import RepetitionTracker
from detailed_balance.analyzers.runs.trajectory import Trajectory

__all__ = ["OutcomeScore", "RunScore"]

_Move = tuple[str, str | None]

_FEATURES = 5  # how many have a weight in `OutcomeModel.weights`


class RunState(Protocol):
    """One run under a score. It may have ``reason() -> str`` too, a part of a sentence."""

    def update(self, source: str, target: str | None) -> float:
        """Add one move, and return the risk of the run so far: the higher the worse."""
        ...


@runtime_checkable
class RunScore(Protocol):
    """What rates a run in progress: any function of the moves so far, fitted or declared.

    The promise of `RunGuard` holds whatever the score is, as long as the risk depends on nothing
    but the moves so far of this one run. To be saved, it needs ``to_dict() -> dict`` as well.
    """

    def fit(self, runs: Sequence[Trajectory], seed: int = 0) -> RunScore:
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
    >>> failed, worked = [[("a", "b"), ("b", "a")]], [[("a", "c")]]
    >>> ratio = KernelRatio.fit(failed, worked)
    >>> ratio("a", "b") > 0 > ratio("a", "c"), ratio("z", "a")
    (True, 0.0)
    """

    moves: Mapping[_Move, float]
    unseen: Mapping[str, float]

    @classmethod
    def fit(
        cls,
        failed: Iterable[Iterable[_Move]],
        worked: Iterable[Iterable[_Move]],
        prior: float = 2.0,
    ) -> KernelRatio:
        """Count the moves of both kinds of runs; moves to END are left out."""
        bad, good = Counter(_inner(failed)), Counter(_inner(worked))
        both = bad + good
        from_bad, from_good, from_both = (_by_end(moves, 0) for moves in (bad, good, both))
        into, total = _by_end(both, 1), both.total()

        def log_ratio(source: str, target: str | None) -> float:
            share = into[target] / total
            pooled = (both[source, target] + prior * share) / (from_both[source] + prior)
            return math.log(
                (bad[source, target] + prior * pooled) * (from_good[source] + prior)
            ) - math.log((good[source, target] + prior * pooled) * (from_bad[source] + prior))

        moves = {move: log_ratio(*move) for move in sorted(both, key=str)}
        unseen = {
            str(source): math.log((from_good[source] + prior) / (from_bad[source] + prior))
            for source in sorted(from_both, key=str)
        }
        return cls(moves, unseen)

    def __call__(self, source: str, target: str | None) -> float:
        """Return the log ratio of one move."""
        known = self.moves.get((source, target))
        return self.unseen.get(source, 0.0) if known is None else known


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
        closings of the loop closed most, and of the longest oscillation.
    states : dict of str to float
        The weight of having visited each state; 0 for others.
    """

    ratio: KernelRatio
    intercept: float
    weights: tuple[float, ...]
    states: Mapping[str, float]

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
    escapes; how often the loop closed most was closed; the most visits in a row to at most two
    states; and which states were visited. It is trained on all prefixes of
    all runs, with weights by which each run counts once and both outcomes count the same, so 0
    means even odds. The kernel ratio of a training run comes from kernels fitted without it. The
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

    def fit(self, runs: Sequence[Trajectory], seed: int = 0) -> OutcomeScore:
        """Learn from runs of known success; runs without moves are left out.

        Raises
        ------
        InsufficientDataError
            Where no run failed, or none succeeded.
        """
        runs = [run for run in runs if run.moves]
        failed = np.array([not run.success for run in runs], dtype=bool)
        if failed.all() or not failed.any():
            raise InsufficientDataError(
                f"this score learns from failed and from successful runs, and was given "
                f"{failed.sum()} and {(~failed).sum()}; without failed runs, fit the guard with "
                f"a score of declared rules, such as StuckRules"
            )
        states = tuple(sorted({state for run in runs for state in _visited(run)}))
        features = self._features_out_of_fold(runs, failed, states, seed)
        sizes = np.array([len(rows) for rows in features])
        shares = np.where(failed, 0.5 / failed.sum(), 0.5 / (~failed).sum()) * len(runs)
        intercept, *fitted = _fit_ridge_logistic(
            np.concatenate(features),
            np.repeat(failed, sizes),
            np.repeat(shares / sizes, sizes),
            self.ridge,
        ).tolist()
        by_state = dict(zip(states, fitted[_FEATURES:], strict=True))
        model = OutcomeModel(
            self._kernel_ratio(runs), intercept, tuple(fitted[:_FEATURES]), by_state
        )
        return replace(self, model=model)

    def start(self) -> RunState:
        """Begin a run."""
        if self.model is None:
            raise InvalidInputError("this score is not fitted: call fit(runs) first")
        return _OutcomeState(self.model)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        model = self.model and self.model.to_dict()
        return {"ridge": self.ridge, "folds": self.folds, "prior": self.prior, "model": model}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OutcomeScore:
        """Return the score that `to_dict` has written."""
        return cls(**{**data, "model": data["model"] and OutcomeModel.from_dict(data["model"])})

    def _features_out_of_fold(
        self,
        runs: Sequence[Trajectory],
        failed: NDArray[np.bool_],
        states: Sequence[str],
        seed: int,
    ) -> list[NDArray[np.float64]]:
        """Return the features of all prefixes of each run, (steps, features) each."""
        fold = _folds(failed, self.folds, np.random.default_rng(seed))
        ratios = [
            self._kernel_ratio([run for run, part in zip(runs, fold, strict=True) if part != k])
            for k in range(self.folds)
        ]
        return [_features(run, ratios[k], states) for run, k in zip(runs, fold, strict=True)]

    def _kernel_ratio(self, runs: Sequence[Trajectory]) -> KernelRatio:
        failed = [run.moves for run in runs if not run.success]
        return KernelRatio.fit(failed, [run.moves for run in runs if run.success], self.prior)


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
    mean = np.average(features, axis=0, weights=weights)
    spread = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weights))
    scale = np.where(spread > 1e-12, spread, np.inf)
    design = np.column_stack([np.ones(len(features)), (features - mean) / scale])
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 0.0

    def loss(point: Any) -> tuple[float, Any]:
        odds = design @ point
        value = weights @ (np.logaddexp(0.0, odds) - labels * odds) + penalty @ point**2 / 2
        return float(value), design.T @ (weights * (expit(odds) - labels)) + penalty * point

    def curvature(point: Any) -> Any:
        chance = expit(design @ point)
        return (design.T * (weights * chance * (1 - chance))) @ design + np.diag(penalty)

    start = np.zeros(design.shape[1])
    settings: Any = {"jac": True, "hess": curvature, "method": "trust-exact"}
    found = minimize(loss, start, options={"gtol": 1e-8}, **settings).x
    slopes = found[1:] / scale
    return np.concatenate([[found[0] - slopes @ mean], slopes])


def _inner(runs: Iterable[Iterable[_Move]]) -> Iterator[_Move]:
    return (move for moves in runs for move in moves if move[1] != END)


def _by_end(moves: Counter[_Move], end: int) -> Counter[str | None]:
    sums: Counter[str | None] = Counter()
    for move, count in moves.items():
        sums[move[end]] += count
    return sums


def _folds(failed: NDArray[np.bool_], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Deal the runs of each outcome out at random, so that every part has its share of both."""
    parts = np.empty(len(failed), dtype=np.int64)
    for outcome in (True, False):
        (members,) = np.nonzero(failed == outcome)
        parts[rng.permutation(members)] = np.arange(len(members)) % folds
    return parts


def _visited(run: Trajectory) -> set[str]:
    repetition = RepetitionTracker()
    for move in run.moves:
        repetition.update(*move)
    return set(repetition.visited)


def _features(run: Trajectory, ratio: KernelRatio, states: Sequence[str]) -> NDArray[np.float64]:
    """Return the features of all prefixes of a run."""
    rows, evidence = [], _Evidence(ratio)
    for move in run.moves:
        evidence.update(*move)
        visited = evidence.repetition.visited
        rows.append([*evidence.values(), *(float(state in visited) for state in states)])
    return np.array(rows)


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
        counts = (seen.escapes, seen.closings, seen.longest_oscillation)
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
        terms = zip(self._model.weights, self._evidence.values(), strict=True)
        return self._model.intercept + self._visits + sum(w * value for w, value in terms)
