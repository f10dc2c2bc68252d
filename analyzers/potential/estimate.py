"""The potential of least action: `estimate_potential` and its result, `Potential`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import networkx as nx
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.special import ndtri

from detailed_balance.analyzers._solver.edges import EdgeList
from detailed_balance.analyzers._solver.newton import minimize_action
from detailed_balance.analyzers.action import (
    Exponential,
    ViolationFunction,
    check_violation_function,
)
from detailed_balance.analyzers.convergence import Method, ProgressCallback, Residuals
from detailed_balance.analyzers.counts import BOUNDARIES, TransitionCounts, unknown_state_message
from detailed_balance.analyzers.errors import (
    ConvergenceError,
    InsufficientDataError,
    InvalidInputError,
    UnknownStateError,
)
from detailed_balance.analyzers.kernel import (
    Attempts,
    Kernel,
    KernelLike,
    estimate_kernel,
    read_chain,
)
from detailed_balance.analyzers.markov.context_names import warn_of_contexts
from detailed_balance.analyzers.potential._standard_errors import RunMoves, SandwichCovariance
from detailed_balance.analyzers.results import Table, TableResult, plain
from detailed_balance.analyzers.runs.clusters import FEWEST_CLUSTERS, MoveClusters
from detailed_balance.analyzers.runs.table import RunTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Potential", "estimate_potential"]

EXACT_ERRORS = 2_000
"""Up to so many standard errors are exact by default; more are sketched."""


@dataclass(frozen=True, slots=True, eq=False)
class Potential(TableResult):
    """The potential of least action: agents run from high V to low V.

    Only differences mean anything, and only inside a strongly connected component (a set of
    states that all reach each other) are they finite: between components the action has no
    minimum, so there is an order and no number.

    Parameters
    ----------
    states : tuple of str, length n
        The states, without START and END and without `Kernel.dropped`.
    heights : (n,) array of float
        V above the lowest state of the same component, in units of 1 / beta. Heights of two
        components do not compare: `values` do.
    components : (n,) array of int
        The strongly connected component of each state.
    residuals : Residuals
        How exactly the minimum was met.
    method : str
        What the Newton steps were solved with: "pcg", "banded", "lu", "amg", "spanning_tree" or
        "multiscale"; or "osborne".
    iterations, inner_iterations : int
        Newton steps (or sweeps), and the conjugate gradient iterations inside them.
    kernel : Kernel
        The kernel that was used, with its settings.
    violation : ViolationFunction
        K.
    tolerance : float
        The largest change of beta * V that one more step may make.
    runs : RunTable or None
        The runs that it was estimated from, which all errors are clustered by; None for counts.
    """

    states: tuple[str, ...]
    heights: NDArray[np.float64]
    components: NDArray[np.int64]
    residuals: Residuals
    method: str
    iterations: int
    inner_iterations: int
    kernel: Kernel
    violation: ViolationFunction
    tolerance: float
    runs: RunTable | None = field(default=None, repr=False)
    _sandwich: SandwichCovariance | None = field(default=None, init=False, repr=False)

    @property
    def values(self) -> NDArray[np.float64]:
        """(n,) array: V less that of the lowest state of the largest component, in 1 / beta.

        Infinite for states above that component and -inf below it, NaN beside it: see
        `relative_to`, which takes any other state for the zero.
        """
        return self.relative_to()

    @property
    def action(self) -> float:
        """S[V] over the moves inside components; those between cost nothing at the infimum."""
        edges = self.kernel.probabilities.tocoo()
        inner = (edges.row != edges.col) & (edges.data > 0)
        inner &= self.components[edges.row] == self.components[edges.col]
        drop = self.heights[edges.row[inner]] - self.heights[edges.col[inner]]
        return float(edges.data[inner] @ self.violation.value(drop))

    @property
    def normalized_action(self) -> float:
        """S[V] / n (paper eq. 8)."""
        return self.action / len(self.states)

    @property
    def residual(self) -> float:
        """Sum |in - out| / sum (in + out) of the flow T |K'|, 0 at the minimum."""
        return self.residuals.flow

    def index(self, state: str) -> int:
        """Return the place of `state`; raises `UnknownStateError` where there is none."""
        try:
            return self.states.index(state)
        except ValueError:
            hint = unknown_state_message(state, self.states)
            if state in self.kernel.dropped:
                hint = (
                    f"state {state!r} was dropped: it has fewer than {self.kernel.min_attempts} "
                    "attempts; record more, or lower min_attempts"
                )
            raise UnknownStateError(hint) from None

    def difference(self, f: str, g: str) -> float:
        """V(f) - V(g), in units of 1 / beta.

        Finite inside a component; +inf where f leads to g and not back; -inf where g leads to f;
        NaN where neither leads to the other.
        """
        return float(self.relative_to(g)[self.index(f)])

    def relative_to(self, reference: str | None = None) -> NDArray[np.float64]:
        """(n,) array: V minus V(reference), as `difference` gives it.

        The default is the lowest state of the largest component.
        """
        g = self._ground() if reference is None else self.index(reference)
        shifted = self.heights - self.heights[g]
        result = np.full(len(self.states), np.nan)
        result[_reached(self.kernel.probabilities, g)] = -np.inf
        result[_reached(self.kernel.probabilities.T.tocsr(), g)] = np.inf
        return np.where(self.components == self.components[g], shifted, result)

    def standard_error(self, f: str, g: str) -> float:
        """Return the standard error of V(f) - V(g), in units of 1 / beta.

        NaN where the difference is not finite, where all attempts from each state went one way,
        so that the sample shows no spread, and where fewer than 10 runs or blocks tell of it. See
        `standard_errors`.
        """
        return float(self.standard_errors(g, [f])[0])

    def standard_errors(
        self,
        reference: str | None = None,
        states: Iterable[str] | None = None,
        *,
        accuracy: float | None = None,
        seed: int = 0,
    ) -> NDArray[np.float64]:
        """Return the standard errors of V(state) - V(reference) for `states` (default: all).

        The sandwich formula: with H the Hessian of the action and M the covariance of its
        gradient, Var = (e_f - e_g)' H+ M H+ (e_f - e_g). M is by runs, or by blocks of runs, where
        the potential was estimated from runs (`cluster_errors`): moves of one run depend on each
        other, and runs differ. Else each row of the kernel is taken as multinomial in its
        attempts; where runs differ, such errors are too small (`describe_errors`). One sparse
        solve for each state; more than 2,000 states are sketched unless `accuracy` is 0.

        Parameters
        ----------
        accuracy : float
            The relative standard deviation of each sketched error, 0.05 costs 200 solves for any
            number of states; 0 for exact errors.

        Raises
        ------
        InsufficientDataError
            For a kernel without attempts, one that is known exactly.
        """
        g = self._ground() if reference is None else self.index(reference)
        asked = np.arange(len(self.states)) if states is None else self._indices(states)
        if accuracy is None:
            accuracy = 0.0 if len(asked) <= EXACT_ERRORS else 0.05
        inside = self.components[asked] == self.components[g]
        errors = np.full(len(asked), np.nan)
        if accuracy > 0:
            errors[inside] = self._errors().errors_to(g, accuracy, seed)[asked[inside]]
        else:
            errors[inside] = [self._errors().error(f, g) for f in asked[inside]]
        return errors

    def describe(self) -> str:
        """Say in one sentence what it is of.

        Examples
        --------
        >>> estimate_potential([[0.5, 0.5], [0.1, 0.9]]).describe()
        '2 states, lowest first; no errors: the kernel is taken as known'
        """
        parts = int(self.components.max()) + 1
        several = f" in {parts} components (∞ leads to the largest, and that leads to -∞)"
        states = f"{len(self.states)} states{several if parts > 1 else ''}"
        return f"{states}, lowest first; {self.describe_errors()}"

    def _preview(self) -> Table:
        return self.to_table(errors=len(self.states) <= EXACT_ERRORS)

    def describe_errors(self) -> str:
        """Say in one sentence what the standard errors take for independent.

        Examples
        --------
        >>> counts = TransitionCounts.from_edges([("a", "b", 10), ("b", "a", 90)])
        >>> estimate_potential(counts).describe_errors()
        'errors take each move for independent, and are too small where runs differ'
        """
        if self.kernel.attempts is None:
            return "no errors: the kernel is taken as known"
        found = self._run_moves()
        if found is None:
            return "errors take each move for independent, and are too small where runs differ"
        clusters = found.moves
        number = f"{len(clusters):,} {clusters.unit}{'s' * (len(clusters) != 1)}"
        if not clusters.enough:
            return f"no errors: {number} are too few, {FEWEST_CLUSTERS} are needed"
        return f"errors are those of {number}"

    def covariance(self, states: Iterable[str], reference: str) -> NDArray[np.float64]:
        """(m, m) array: the covariance of V(state) - V(reference) for m states of its component.

        By the sandwich formula of `standard_errors`; memory is m times the moves.
        """
        return self._errors().covariance(self._indices(states), self.index(reference))

    def influence(
        self,
        states: Iterable[str],
        reference: str,
        runs: csr_array[Any, tuple[int, int]],
        width: int,
    ) -> NDArray[np.float64]:
        """(r, m) array: what each of r runs adds to V(state) - V(reference) for m states.

        Column ``i * width + j`` of `runs`, (r, ...) counts, is the move from state i to j. The
        squares, added up over runs, are the variance where only runs are independent.
        """
        return self._errors().run_influence(
            self._indices(states), self.index(reference), runs, width
        )

    def pair_errors(
        self, *, accuracy: float = 0.05, seed: int = 0
    ) -> csr_array[Any, tuple[int, int]]:
        """(n, n) csr_array: the standard error of V(f) - V(g) for each move inside a component.

        All at once by a sketch; each has the relative standard deviation `accuracy`.
        """
        sandwich = self._errors()
        found = sandwich.pair_errors(accuracy, seed)
        errors = np.zeros(self.kernel.probabilities.nnz)
        for places in sandwich.pairs.places:
            errors[places[places >= 0]] = found[places >= 0]
        rates = self.kernel.probabilities
        return csr_array((errors, rates.indices, rates.indptr), shape=rates.shape)

    def confidence_interval(
        self,
        f: str,
        g: str,
        *,
        level: float = 0.95,
        method: Literal["normal", "bootstrap"] = "normal",
        replicates: int = 1_000,
        seed: int = 0,
    ) -> tuple[float, float]:
        """Return an interval for V(f) - V(g); NaN where the difference is not finite.

        "normal" takes the standard error, by runs with Student's t; "bootstrap" draws runs, or for
        counts each row of the kernel, again and takes one Newton step for each draw, which shows
        skewness where counts are small.
        """
        if not 0 < level < 1:
            raise InvalidInputError(f"level={level!r}; a confidence level lies between 0 and 1")
        if method not in {"normal", "bootstrap"}:
            raise InvalidInputError(f"method={method!r}; allowed are 'normal' and 'bootstrap'")
        here, there = self.index(f), self.index(g)
        if self.components[here] != self.components[there]:
            return float("nan"), float("nan")
        tails = np.array([0.5 - level / 2, 0.5 + level / 2])
        if method == "normal" and self._errors().clusters is not None:
            high = float(self._errors().clustered([here], there).half_widths(level)[0])
            low = -high
        elif method == "normal":
            low, high = ndtri(tails) * self._errors().error(here, there)
        else:
            changes = self._errors().bootstrap(here, there, replicates, seed)
            high, low = -np.quantile(changes, tails)
        difference = self.heights[here] - self.heights[there]
        return float(difference + low), float(difference + high)

    def order(self) -> nx.DiGraph[int]:
        """Return the partial order of the components: an edge leads downhill, from high to low.

        Node i has ``members``, the tuple of its states.
        """
        order: nx.DiGraph[int] = nx.DiGraph()
        ranking = np.argsort(self.components, kind="stable")
        ends = np.cumsum(np.bincount(self.components))[:-1]
        for component, members in enumerate(np.split(ranking, ends)):
            order.add_node(component, members=tuple(self.states[i] for i in members))
        edges = self.kernel.probabilities.tocoo()
        moves = self.components[np.stack((edges.row, edges.col), 1)]
        order.add_edges_from({(int(f), int(g)) for f, g in moves if f != g})
        return order

    def to_table(self, reference: str | None = None, *, errors: bool = True) -> Table:
        """Return the columns state, potential, component, error and attempts, lowest first.

        The errors of a million states take minutes; `errors` False leaves them out.
        """
        values = self.relative_to(reference)
        place = np.argsort(values, kind="stable")
        table = {
            "state": [self.states[i] for i in place],
            "potential": values[place].tolist(),
            "component": self.components[place].tolist(),
        }
        if self.kernel.attempts is not None:
            if errors:
                table["error"] = self.standard_errors(reference)[place].tolist()
            table["attempts"] = self.kernel.attempts[place].tolist()
        return table

    def to_dict(self, *, errors: bool = True) -> dict[str, Any]:
        """Return everything in types that JSON has, settings included; `errors` as above."""
        settings = {
            "violation": self.violation,
            "attempts": self.kernel.mode,
            "errors": self.describe_errors(),
            "min_attempts": self.kernel.min_attempts,
            "tolerance": self.tolerance,
        }
        names = ("action", "normalized_action", "residuals", "method", "iterations")
        result = {
            "states": self.to_table(errors=errors),
            "dropped": self.kernel.dropped,
            **self._values(*names, "inner_iterations"),
            "settings": settings,
        }
        return dict(plain(result))

    def _indices(self, states: Iterable[str]) -> NDArray[np.int64]:
        return np.array([self.index(state) for state in states], dtype=np.int64)

    def _errors(self) -> SandwichCovariance:
        """Return the covariance, made once: what it is solved with serves all questions."""
        if self.kernel.attempts is None:
            raise InsufficientDataError(
                "an exact kernel has no sampling error; estimate the potential from counts"
            )
        if self._sandwich is None:
            pairs = EdgeList.from_matrix(self.kernel.probabilities, self.components)
            made = SandwichCovariance(
                pairs, self.violation, self.heights, self.kernel.attempts, self._run_moves()
            )
            object.__setattr__(self, "_sandwich", made)
        assert self._sandwich is not None  # noqa: S101 - for the type checkers
        return self._sandwich

    def _run_moves(self) -> RunMoves | None:
        """Return the moves of the runs that are attempts; None where errors are not by runs."""
        if self.runs is None or self.kernel.mode not in {"observed", "transitions"}:
            return None
        place = {state: i for i, state in enumerate(self.states)}
        inner = [state not in BOUNDARIES for state in self.runs.states]
        places = np.array([*(place.get(state, -1) for state in self.runs.states), -1])
        made = self.runs.distinct_moves()
        source, target = places[made.source], places[made.target]
        kept = source >= 0
        if self.kernel.mode == "transitions":
            kept &= np.array([*inner, False])[made.target] & (made.source != made.target)
        return RunMoves(MoveClusters.from_runs(self.runs, kept), source[kept], target[kept])

    def _ground(self) -> int:
        """Return the lowest state of the largest component."""
        largest = np.argmax(np.bincount(self.components))
        members = np.flatnonzero(self.components == largest)
        return int(members[np.argmin(self.heights[members])])


def estimate_potential(
    counts: KernelLike,
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
    counts : KernelLike
        What was recorded, or a kernel that is known. START and END are left out. Give runs where
        you can: only then are errors by runs, or by the blocks that the table has.
    violation : ViolationFunction
        K, `Exponential()` by default.
    attempts, min_attempts
        As for `estimate_kernel`; ignored for a kernel. An array follows the states without START
        and END, in order; with a number or an array, errors are not by runs.
    initial : Potential or mapping of state to value
        Where to start; states that it does not name start at 0.
    method : str
        "auto" chooses by the graph; "newton" leaves only the linear solver to choose; "pcg",
        "banded", "lu", "amg", "spanning_tree" and "multiscale" force that; "osborne" is for
        `Exponential` alone.
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
    >>> from detailed_balance.analyzers import Trajectory
    >>> runs = [Trajectory((("a", "b"), ("b", "a"), ("a", goal))) for goal in "bbbbbbbccccc"]
    >>> estimate_potential(runs).describe_errors()
    'errors are those of 12 runs'
    """
    violation = violation if violation is not None else Exponential()
    check_violation_function(violation)
    if not 0 < tolerance < 1:
        raise InvalidInputError(f"tolerance={tolerance!r}; a tolerance lies between 0 and 1")
    if method not in get_args(Method):
        raise InvalidInputError(f"method={method!r}; allowed are {', '.join(get_args(Method))}")
    chain, runs = read_chain(counts)
    kernel = _kernel(chain, attempts, min_attempts)
    warn_of_contexts(kernel.states)
    _, labels = connected_components(kernel.probabilities, connection="strong")
    pairs = EdgeList.from_matrix(kernel.probabilities, labels.astype(np.int64))
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
        runs,
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
            "Record more, or distinguish states more finely with another state function"
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
            return initial.heights
        initial = dict(zip(initial.states, initial.heights.tolist(), strict=True))
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


def _reached(matrix: Any, start: int) -> NDArray[Any]:
    """Return the nodes that can be reached from `start`, itself included."""
    return np.asarray(breadth_first_order(matrix, start, return_predecessors=False))
