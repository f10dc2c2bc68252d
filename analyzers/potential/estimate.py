"""`estimate_potential`: the potential of least action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np
from scipy.sparse.csgraph import connected_components

from detailed_balance.analyzers._solver.edges import Pairs
from detailed_balance.analyzers._solver.newton import minimize_action
from detailed_balance.analyzers._solver.progress import Method, ProgressCallback
from detailed_balance.analyzers.action import (
    Exponential,
    ViolationFunction,
    check_violation_function,
)
from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import (
    ConvergenceError,
    InsufficientDataError,
    InvalidInputError,
)
from detailed_balance.analyzers.kernel import Attempts, Kernel, estimate_kernel
from detailed_balance.analyzers.potential.potential import Potential

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Potential", "estimate_potential"]


def estimate_potential(
    counts: TransitionCounts | Kernel,
    *,
    violation: ViolationFunction | None = None,
    attempts: Attempts = "observed",
    min_attempts: int = 2,
    initial: Potential | Mapping[str, float] | None = None,
    method: Method = "auto",
    tolerance: float = 1e-6,
    max_iterations: int = 500,
    progress: ProgressCallback | None = None,
) -> Potential:
    """Estimate the potential V that minimises the action.

    Parameters
    ----------
    counts : TransitionCounts or Kernel
        What was recorded, or a kernel that is known. START and END are left out.
    violation : ViolationFunction
        K, `Exponential()` by default.
    attempts, min_attempts
        As for `estimate_kernel`; ignored for a kernel.
    initial : Potential or mapping of state to value
        Where to start; states that it does not name start at 0.
    method : str
        "auto" chooses by the graph; "newton" leaves only the linear solver to choose; "pcg",
        "banded", "lu", "amg", "cuts" and "layers" force that; "osborne" is for `Exponential` alone.
    tolerance : float
        Stop when another full Newton step would move no difference by more than this / beta.
    max_iterations : int
        Give up after so many Newton steps.
    progress : callable
        Called with a `Progress` after each step. Where it raises StopIteration, or on Ctrl-C,
        the estimate so far is that of the `ConvergenceError`.

    Returns
    -------
    Potential
        With one free constant for each strongly connected component.

    Raises
    ------
    InsufficientDataError
        Where fewer than two states are left.
    ViolationFunctionError
        Where K is not convex or lacks its symmetry.
    ConvergenceError
        Where the criteria were not met; its `estimate` is the last `Potential`.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 1 to 3 and 8.

    Examples
    --------
    >>> counts = TransitionCounts.from_edges([("a", "b", 10), ("b", "a", 90), ("b", "c", 10)])
    >>> potential = estimate_potential(counts, attempts=100)
    >>> round(potential.difference("b", "a"), 4)  # log(0.9 / 0.1)
    2.1972
    >>> potential.difference("c", "a")  # nothing comes back from c
    -inf
    """
    violation = violation if violation is not None else Exponential()
    check_violation_function(violation)
    if not 0 < tolerance < 1:
        raise InvalidInputError(f"tolerance={tolerance!r}; a tolerance lies between 0 and 1")
    if method not in get_args(Method):
        raise InvalidInputError(f"method={method!r}; allowed are {', '.join(get_args(Method))}")
    kernel = _kernel(counts, attempts, min_attempts)
    _, labels = connected_components(kernel.probabilities, connection="strong")
    pairs = Pairs.from_matrix(kernel.probabilities, labels.astype(np.int64))
    solution = minimize_action(
        pairs,
        violation,
        method=method,
        tolerance=tolerance,
        max_iterations=max_iterations,
        progress=progress,
        initial=_initial_values(kernel.states, initial),
    )
    potential = Potential(
        kernel.states,
        solution.values,
        pairs.components,
        solution.residuals,
        solution.method,
        solution.iterations,
        solution.inner_iterations,
        kernel,
        violation,
        tolerance,
    )
    if not solution.converged:
        reason = "the solve was interrupted" if solution.interrupted else "no minimum was reached"
        message = _not_converged(potential, reason)
        raise ConvergenceError(message, potential, interrupted=solution.interrupted)
    return potential


def _kernel(counts: TransitionCounts | Kernel, attempts: Attempts, min_attempts: int) -> Kernel:
    if isinstance(counts, Kernel):
        kernel = counts
    else:
        counts = counts.without_boundaries()
        kernel = estimate_kernel(counts, attempts=attempts, min_attempts=min_attempts)
    if len(kernel.states) < 2:
        dropped = f" ({len(kernel.dropped)} dropped for too few attempts)" if kernel.dropped else ""
        left = repr(kernel.states[0]) if kernel.states else "none"
        raise InsufficientDataError(
            f"a potential needs two states or more; there is {left}{dropped}. "
            "Record more, or tell states apart more finely with another state function"
        )
    if not kernel.probabilities.has_canonical_format:
        tidy = kernel.probabilities.copy()
        tidy.sum_duplicates()
        kernel = replace(kernel, probabilities=tidy)
    return kernel


def _initial_values(
    states: tuple[str, ...], initial: Potential | Mapping[str, float] | None
) -> NDArray[np.float64] | None:
    """(n,) array: where to start; None for nowhere in particular."""
    if initial is None:
        return None
    if isinstance(initial, Potential):
        if initial.states == states:
            return initial.values
        initial = dict(zip(initial.states, initial.values.tolist(), strict=True))
    values = np.array([initial.get(state, 0.0) for state in states], dtype=np.float64)
    if not np.all(np.isfinite(values)):
        worst = states[int(np.argmin(np.isfinite(values)))]
        raise InvalidInputError(f"initial[{worst!r}] = {initial[worst]!r}; start values are finite")
    return values


def _not_converged(potential: Potential, reason: str) -> str:
    residuals = potential.residuals
    return (
        f"the action was not minimised in {potential.iterations} steps, {reason}: flow residual "
        f"{residuals.flow:.2g} (1e-10 wanted), next step {residuals.step:.2g} "
        f"({potential.tolerance / potential.violation.beta:.2g} wanted), decrement "
        f"{residuals.decrement:.2g} (1e-12 wanted). The last estimate is this error's `estimate`"
    )
