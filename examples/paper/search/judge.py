"""`Judge`, which gives a program its score: the sandbox, then the fit, then the held-out moves."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detailed_balance.analyzers import (
    ExplicitPotential,
    Kernel,
    ViolationFunction,
    fit_explicit_potential,
    make_features,
)
from detailed_balance.analyzers.errors import DetailedBalanceError, InsufficientDataError
from detailed_balance.analyzers.potential.features import FeatureFunction
from detailed_balance.analyzers.potential.lasso import ActionProblem
from examples.paper.search.proposals import Proposal
from examples.paper.search.sandbox import Limits, SandboxedFeatures, run_candidate

__all__ = ["Judge"]


@dataclass(frozen=True, slots=True)
class _Known:
    """A feature function that was evaluated already."""

    rows: Mapping[str, Mapping[str, float]]

    def __call__(self, state: str) -> Mapping[str, float]:
        return self.rows[state]


class Judge:
    """What a program is measured by.

    Parameters
    ----------
    kernel : Kernel
        T.
    violation : ViolationFunction
        K.
    folds, penalties : int
        As for `fit_explicit_potential`.
    reserve : float
        The share of the states whose moves no score depends on.
    seed : int
        Of both divisions.
    limits : Limits
        Of the sandbox.

    Raises
    ------
    InsufficientDataError
        Where too few states are left to hold some out.
    """

    def __init__(
        self,
        kernel: Kernel,
        violation: ViolationFunction,
        *,
        folds: int,
        penalties: int,
        reserve: float,
        seed: int,
        limits: Limits,
    ) -> None:
        self.kernel, self.limits = kernel, limits
        self._violation = violation
        self._best: tuple[Proposal, _Known] | None = None
        self._fit_options: dict[str, Any] = {
            "violation": violation,
            "folds": folds,
            "penalties": penalties,
            "seed": seed,
        }
        count = len(kernel.states)
        self.reserved = np.zeros(count, dtype=bool)
        order = np.random.default_rng([seed, count]).permutation(count)
        self.reserved[order[: round(reserve * count)]] = True
        own = kernel.probabilities.multiply(~self.reserved[:, None]).tocsr()
        own.eliminate_zeros()
        self.open = replace(kernel, probabilities=own)
        if count - self.reserved.sum() < folds or not own.nnz:
            raise InsufficientDataError(
                f"{count} states, of which {self.reserved.sum()} are reserved, are too few to hold "
                f"out one part in {folds}; record more, or reserve and fold less"
            )

    def judge(self, proposal: Proposal) -> Proposal:
        """Return the proposal with its verdict."""
        begun = time.monotonic()
        states = self.kernel.states
        run = run_candidate(proposal.program, states, self.limits)
        judged = replace(proposal, status=run.status, reason=run.reason, filtered=run.filtered)
        if run.features is not None:
            known = _Known(dict(zip(states, run.features, strict=True)))
            judged = self._score(judged, known)
            if self._best is None or judged.rank < self._best[0].rank:
                self._best = judged, known
        return replace(judged, seconds=time.monotonic() - begun)

    def finish(self, program: str) -> tuple[ExplicitPotential, float]:
        """Fit a program to all moves; return the action of the reserved ones without them, too."""
        sandboxed = SandboxedFeatures(program, self.limits)
        if self._best is not None and self._best[0].program == program:
            known = self._best[1]
        else:  # it was judged before the search was cut
            rows = sandboxed.for_states(self.kernel.states)
            known = _Known(dict(zip(self.kernel.states, rows, strict=True)))
        potential = replace(self._fit(self.kernel, known), features=sandboxed)
        return potential, self._reserved_action(known)

    def examples(self, count: int, seed: int) -> list[tuple[str, str]]:
        """Draw moves from states that are not reserved, probable ones more often."""
        edges = self.open.probabilities.tocoo()
        moves = np.flatnonzero((edges.row != edges.col) & (edges.data > 0))
        if not len(moves):
            return []
        chances = edges.data[moves] / edges.data[moves].sum()
        random = np.random.default_rng(seed)
        chosen = random.choice(moves, min(count, len(moves)), replace=False, p=chances)
        states = self.kernel.states
        return [(states[edges.row[i]], states[edges.col[i]]) for i in chosen]

    def _score(self, proposal: Proposal, known: FeatureFunction) -> Proposal:
        try:
            with np.errstate(all="ignore"):  # of features that differ by many orders of magnitude
                fit = self._fit(self.open, known)
        except (DetailedBalanceError, np.linalg.LinAlgError) as error:
            return replace(proposal, status="unfit", reason=str(error))
        if not np.isfinite(fit.held_out_action):
            return replace(proposal, status="unfit", reason="its held-out action is not finite")
        return replace(proposal, score=fit.held_out_action, features=len(fit.names))

    def _fit(self, kernel: Kernel, features: FeatureFunction) -> ExplicitPotential:
        return fit_explicit_potential(kernel, features, **self._fit_options)

    def _reserved_action(self, features: FeatureFunction) -> float:
        if not self.reserved.any():
            return float("nan")
        fit = self._fit(self.open, features)
        table = make_features(self.kernel.states, features, names=fit.names)
        problem = ActionProblem.from_kernel(self.kernel, table.values, self._violation)
        return problem.restrict(self.reserved).action(fit.theta)
