"""`fit_explicit_potential`: a potential as a weighted sum of features of the state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.action import (
    Exponential,
    ViolationFunction,
    check_violation_function,
)
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.kernel import (
    Attempts,
    Kernel,
    KernelLike,
    estimate_kernel,
    read_chain,
)
from detailed_balance.analyzers.potential.directionality import Directionality, score_directionality
from detailed_balance.analyzers.potential.features import FeatureFunction, make_features
from detailed_balance.analyzers.potential.lasso import ActionProblem, fit_path
from detailed_balance.analyzers.results import Table, TableResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ExplicitPotential", "fit_explicit_potential"]

_FEWEST_FOLDS = 2


@dataclass(frozen=True, slots=True, eq=False)
class ExplicitPotential(TableResult):
    """V(f) = theta . phi(f), a potential that has a value for states never seen.

    Parameters
    ----------
    names : tuple of str, length p
        The features phi.
    theta : (p,) array of float
        Their weights, in units of 1 / beta per unit of the feature; 0 where one is not used.
    penalty : float
        The L1 penalty that was chosen, on weights per standard deviation of the feature.
    penalties : (k,) array of float
        Those that were tried, the largest first.
    held_out_actions : (folds, k) array of float
        For each part held out and each penalty, the action of the moves from the states held out,
        as a share of what they have without any potential: below 1 the features predict.
    action : float
        The action of all moves, as such a share.
    directionality : Directionality or None
        Which way the moves above 0.05 go; None where there are none.
    held_out_directionality : Directionality or None
        The same of the moves from each state on the potential fitted without it.
    features : callable or tuple of callable
        What computes phi.
    violation : ViolationFunction
        K.
    """

    names: tuple[str, ...]
    theta: NDArray[np.float64]
    penalty: float
    penalties: NDArray[np.float64]
    held_out_actions: NDArray[np.float64]
    action: float
    directionality: Directionality | None
    held_out_directionality: Directionality | None
    features: FeatureFunction | tuple[FeatureFunction, ...]
    violation: ViolationFunction

    @property
    def held_out_action(self) -> float:
        """The mean of `held_out_actions` at the penalty chosen."""
        chosen = int(np.argmin(np.abs(self.penalties - self.penalty)))
        return float(self.held_out_actions[:, chosen].mean())

    def predict(self, states: Sequence[str]) -> NDArray[np.float64]:
        """Return V of any states, (n,) array; only differences mean anything.

        Raises
        ------
        InvalidInputError
            Where a feature cannot be computed.
        """
        return make_features(states, self.features, names=self.names).values @ self.theta

    def to_table(self) -> Table:
        """Return the columns feature and theta of the features in use, the heaviest first."""
        used = np.flatnonzero(self.theta)
        order = used[np.argsort(-np.abs(self.theta[used]), kind="stable")]
        return {"feature": [self.names[i] for i in order], "theta": self.theta[order].tolist()}

    def _content(self) -> dict[str, Any]:
        names = ("penalty", "penalties", "held_out_actions", "held_out_action", "action")
        return {
            "weights": self.to_table(),
            **self._values(*names, "directionality", "held_out_directionality"),
            "settings": {"violation": self.violation, "features": len(self.names)},
        }


def fit_explicit_potential(
    counts: KernelLike,
    features: FeatureFunction | Iterable[FeatureFunction],
    *,
    violation: ViolationFunction | None = None,
    attempts: Attempts = "observed",
    min_attempts: int = 2,
    penalty: float | None = None,
    penalties: int = 20,
    folds: int = 5,
    min_states: int = 2,
    seed: int = 0,
) -> ExplicitPotential:
    """Fit V(f) = theta . phi(f) by least action.

    The action is convex in theta. An L1 penalty keeps the features that earn their place; it is
    chosen by the action of the moves from states that were held out.

    Parameters
    ----------
    counts : TransitionCounts or Kernel
        What was recorded, or a kernel that is known. START and END are left out.
    features : callable or several
        Each from a state to a mapping of name to number, as `ngrams()` gives.
    violation, attempts, min_attempts
        As for `estimate_potential`.
    penalty : float, optional
        The L1 penalty, as a share of the action without a potential for each standard deviation
        of a feature; by default the best of `penalties` values.
    penalties : int
        How many are tried, from the least that leaves no feature down to a hundredth of it.
    folds : int
        Into how many parts the states are divided; each is held out once.
    min_states : int
        Features that fewer states have are left out.
    seed : int
        Of the division.

    Raises
    ------
    InsufficientDataError
        Where there are fewer states than folds, no moves, or no feature that differs anywhere.
    InvalidInputError
        Where a feature cannot be computed, or an argument is not allowed.
    ViolationFunctionError
        Where K is not convex or lacks its symmetry.

    References
    ----------
    Song et al., arXiv:2512.10047, supplement E.

    Examples
    --------
    >>> from detailed_balance.analyzers import TransitionCounts
    >>> names = ["a" * n for n in range(1, 12)]
    >>> edges = [(f, f[1:], 90) for f in names[1:]] + [(f, f + "a", 10) for f in names[:-1]]
    >>> counts = TransitionCounts.from_edges(edges)
    >>> fit = fit_explicit_potential(counts, lambda s: {"length": len(s)}, attempts=100)
    >>> round(float(fit.theta[0]), 1), round(fit.held_out_action, 2)  # log(0.9 / 0.1) a letter
    (2.2, 0.6)
    """
    violation = violation if violation is not None else Exponential()
    check_violation_function(violation)
    functions = features if callable(features) else tuple(features)
    kernel = _kernel(counts, attempts, min_attempts)
    if not folds >= _FEWEST_FOLDS:
        raise InvalidInputError(f"folds={folds!r}; at least {_FEWEST_FOLDS} parts are held out")
    if len(kernel.states) < folds:
        raise InsufficientDataError(
            f"{len(kernel.states)} states cannot be divided into {folds} parts; record more, or "
            "ask for fewer folds"
        )
    table = make_features(kernel.states, functions, min_states=min_states)
    problem = ActionProblem.from_kernel(kernel, table.values, violation)
    path = problem.penalties(penalties) if penalty is None else np.array([float(penalty)])
    part = np.random.default_rng(seed).permutation(len(kernel.states)) % folds
    held_out, predicted = [], []
    for fold in range(folds):
        fits = fit_path(problem.restrict(part != fold), path)
        held_out.append([problem.restrict(part == fold).action(theta) for theta in fits])
        predicted.append(fits)
    actions = np.array(held_out)
    best = int(np.argmin(actions.mean(axis=0)))
    theta = fit_path(problem, path[: best + 1])[-1]
    own = np.array([table.values @ fits[best] for fits in predicted])  # (folds, n)
    return ExplicitPotential(
        table.names,
        theta,
        float(path[best]),
        path,
        actions,
        problem.action(theta),
        _score(kernel, table.values @ theta),
        _score_held_out(kernel, own, part),
        functions,
        violation,
    )


def _kernel(source: KernelLike, attempts: Attempts, min_attempts: int) -> Kernel:
    chain = read_chain(source)[0]
    if isinstance(chain, Kernel):
        return chain
    known = chain.without_boundaries()
    return estimate_kernel(known, attempts=attempts, min_attempts=min_attempts)


def _score(kernel: Kernel, values: NDArray[np.float64]) -> Directionality | None:
    try:
        return score_directionality(kernel, values)
    except InsufficientDataError:  # no move is probable enough to have a say
        return None


def _score_held_out(
    kernel: Kernel, values: NDArray[np.float64], part: NDArray[np.int64]
) -> Directionality | None:
    """Score the moves from each state on the potential that was fitted without it."""
    scores = []
    for fold, heights in enumerate(values):
        own = kernel.probabilities.multiply((part == fold)[:, None].astype(float)).tocsr()
        if (score := _score(Kernel(kernel.states, own), heights)) is not None:
            scores.append(score)
    if not scores:
        return None
    return replace(
        scores[0],
        down=sum(score.down for score in scores),
        up=sum(score.up for score in scores),
        flat=sum(score.flat for score in scores),
    )
