"""Newton's method for the least action, on sparse graphs of any shape."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers._solver.edges import EdgeList
from detailed_balance.analyzers._solver.flows import (
    StateFlows,
    balanced_drops,
    edge_action,
    edge_flows,
    state_flows,
)
from detailed_balance.analyzers._solver.laplacian import LaplacianSolver
from detailed_balance.analyzers._solver.multiscale import MultiscaleSolver
from detailed_balance.analyzers._solver.osborne import balance_by_sweeps
from detailed_balance.analyzers._solver.spanning_tree import (
    TREE_LIMIT,
    SpanningTreeSolver,
    is_wide,
    potential_on_tree,
)
from detailed_balance.analyzers.action import Exponential
from detailed_balance.analyzers.convergence import (
    BALANCED,
    Method,
    Progress,
    ProgressCallback,
    Residuals,
)
from detailed_balance.analyzers.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers.action import ViolationFunction

ROUNDING = 1e-15
"""A solve from nothing ends where this share of the flow is out of balance, or where the imbalance
could not move V any further across the weakest edge: in a bottleneck a tiny flow moves V far."""

MARGIN = 0.5
"""A solve from a given V goes on to this share of `BALANCED`; the rest is left for rounding."""

SHORT, SHORTER = 0.01, 2e-5
"""Steps as short as this, in units of 1 / beta, tell what error they leave, if their linear system
was solved to the end: the first from a given V, the second from nothing."""

FAR, FEW, ROUNDS = (5e-5, 2e-4, 1e-3), 5e-3, 17
"""States that are far from balance are balanced one by one, in so many rounds at most: those that
would move by more than one of `FAR`, in units of 1 / beta, the first for which they are at most a
share `FEW` of all."""

PATIENCE = 50
"""After so many steps that bring the minimum no nearer, only rounding is left."""


def minimize_action(
    edges: EdgeList,
    violation: ViolationFunction,
    *,
    method: Method = "auto",
    tolerance: float = 1e-6,
    max_iterations: int = 500,
    progress: ProgressCallback | None = None,
    initial: NDArray[np.float64] | None = None,
) -> Solution:
    """Minimise S[V] by damped inexact Newton steps, all components at once.

    Begins at the (n,) V `initial`, where one is given. Stops when a full step would move no
    difference by more than ``tolerance / beta``, the squared decrement is at most 1e-12 of the
    action, and the flow is balanced to 1e-10.
    """
    return Minimizer(edges, violation, method, tolerance, progress).run(initial, max_iterations)


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Where the solver stopped: (n,) values, lowest 0 in each component, and how it got there."""

    values: NDArray[np.float64]
    residuals: Residuals
    method: str
    iterations: int
    inner_iterations: int
    converged: bool
    interrupted: bool


@dataclass(slots=True, eq=False)
class Point:
    """A place on the way, with the flows there."""

    values: NDArray[np.float64]
    flows: StateFlows
    imbalance: NDArray[np.float64]

    @property
    def worst(self) -> float:
        """The imbalance of the component where it is largest."""
        return float(self.imbalance.max(initial=0.0))


class Minimizer:
    """The state of a minimisation: it can be left at any time with an estimate in hand."""

    def __init__(
        self,
        edges: EdgeList,
        violation: ViolationFunction,
        method: Method,
        tolerance: float,
        progress: ProgressCallback | None,
    ) -> None:
        self.edges, self.violation = edges, violation
        self.tolerance = tolerance / violation.beta
        self.progress, self.method = progress, method
        self.linear = _linear_solver(edges, method)
        self.iterations, self.sweeps, self.interrupted = 0, 0, False
        self.values = np.zeros(edges.n_states)
        self.residuals = Residuals(np.inf, np.inf, np.inf)
        self.nearest, self.lowest, self.stalls = np.inf, np.inf, 0
        # A lower bound of the action, and by how much the next step would lower it if the action
        # were linear.
        self.action, self.energy = 0.0, 0.0
        # Since the weights were set: the change of V, the root of its energy, and the energy that
        # the current flows include.
        self.drift = np.empty(0)
        self.strain, self.seen = np.zeros(edges.n_states), np.zeros(edges.n_states)
        self.warm, self.exact, self.predicted_error = False, False, np.inf

    def run(self, initial: NDArray[np.float64] | None, max_iterations: int) -> Solution:
        """Begin at an (n,) V, where one is given, and step until it is over."""
        try:
            self.start(initial)
            while not self.is_over(max_iterations):
                self.advance()
        except (KeyboardInterrupt, StopIteration):
            self.interrupted = True
        return self.solution()

    def start(self, initial: NDArray[np.float64] | None) -> None:
        """Go to where the Newton steps begin, and find the first."""
        if initial is not None:
            initial = initial.astype(np.float64)
        if self.method == "osborne":
            self.values = self.values if initial is None else initial
            self._sweep()
            point = self._at(self.values)
            self.action = self._action(point)
            self.predicted_error = 0.0  # the sweeps went to the end
            self._find_step(point)
        elif initial is not None:
            self._start_near(self._at(initial))
        else:
            self._find_step(self._initial_guess())

    def is_over(self, max_iterations: int) -> bool:
        """Return whether the minimum is reached, or will not be."""
        done = self.has_converged
        lost = self.stalls > PATIENCE or not np.isfinite(self.residuals.step)
        return done or lost or self.iterations >= max_iterations

    @property
    def has_converged(self) -> bool:
        """Whether the criteria are met, by a step that was solved for to the end."""
        return self.exact and self.residuals.are_small(self.tolerance)

    def advance(self) -> None:
        """Take the step, and find the next."""
        point = self._after_step()
        self.iterations += 1
        self.drift += point.values - self.values
        known = replace(self.residuals, flow=point.worst)
        if self.warm and known.are_small(self.tolerance):  # what the step leaves was known
            self.values, self.residuals = point.values, known
            self.step = np.zeros_like(point.values)
        else:
            self._find_step(point)

    def solution(self) -> Solution:
        """Return the estimate as it is now."""
        converged = self.has_converged
        # The last step is the estimated distance to the minimum; it is now also taken.
        values = self.values + self.step if converged else self.values
        values = values - self.edges.spread(self.edges.lowest(values))
        return Solution(
            values,
            self.residuals,
            self._name(),
            self.sweeps + self.iterations,
            self.linear.iterations,
            converged,
            self.interrupted and not converged,
        )

    def _find_step(self, point: Point, changed: NDArray[Any] | None = None) -> None:
        """Solve for the next Newton step, and measure how far it is to the minimum.

        `changed` lists the edges whose weights changed since the last step, where they are few.
        """
        self.point, self.values = point, point.values
        if not len(self.drift):
            self._set_weights(point)
        net_outflow, self.precision = self._right_hand_side()
        if changed is not None and isinstance(self.linear, LaplacianSolver):
            self.linear.change(changed)
        elif self._weights_are_stale():
            self._set_weights(point)
        self.step = self._solve(net_outflow, self.precision)
        self.linear.residual += point.flows.net_outflow - net_outflow
        self.residuals = self._measure()
        self._count_stalls()
        self._report(self.residuals)

    def _weights_are_stale(self) -> bool:
        """Return whether the weights are less exact than the next step is to be."""
        return self.violation.beta * self.edges.largest_move(self.drift) > self.precision

    def _set_weights(self, point: Point) -> None:
        stiffness = point.flows.stiffness()
        plain = isinstance(self.linear, LaplacianSolver)
        if plain and self.method == "auto" and is_wide(stiffness):
            self.linear = _wide_solver(self.edges)
        if isinstance(self.linear, LaplacianSolver):
            self.linear.refresh(stiffness, point.flows.degree)
        else:
            self.linear.refresh(stiffness)
        self.drift = np.zeros_like(point.values)
        self.strain[:], self.seen[:] = 0.0, 0.0

    def _right_hand_side(self) -> tuple[NDArray[np.float64], float]:
        """Return the net outflow that the next step is to undo, and how exactly."""
        point, flows = self.point, self.point.flows
        near = self.predicted_error <= SHORTER / self.violation.beta
        self.exact = self.warm or near or not isinstance(self.linear, LaplacianSolver)
        if not self.warm:
            return flows.net_outflow, _precision(point.worst, self._floor(), exact=self.exact)
        # Components that are balanced stay as they are, and the rest goes by all of the rest.
        settled = self.edges.spread(point.imbalance <= MARGIN * BALANCED)
        net_outflow = np.where(settled, 0.0, flows.net_outflow)
        imbalance = np.abs(net_outflow).sum() / max(flows.total.sum(), np.finfo(float).tiny)
        return net_outflow, _precision(float(imbalance), MARGIN * BALANCED)

    def _floor(self) -> float:
        """Return what share of the flow may be out of balance in the end."""
        if not (self.exact and isinstance(self.linear, LaplacianSolver)):
            return ROUNDING
        weakest = float(self.linear.stiffness.min(initial=np.inf))
        total = max(float(self.point.flows.total.sum()), np.finfo(float).tiny)
        return min(ROUNDING, weakest * self.tolerance / total)

    def _solve(self, net_outflow: NDArray[np.float64], precision: float) -> NDArray[np.float64]:
        if isinstance(self.linear, LaplacianSolver):
            return self.linear.solve(net_outflow, precision, in_sum=self.exact)
        # Far from the minimum steps are cut short anyway, and need be right to a tenth only. The
        # imbalance does not say how far it is: weak edges hardly show in it.
        away = min(self.violation.beta * self.residuals.step, 1.0)
        return self.linear.solve_flow(self.point.flows.net(), float(np.clip(away**2, 1e-7, 0.1)))

    def _measure(self) -> Residuals:
        """Return how far the minimum is; where the step is short, how far it is behind the step.

        The third derivative of K is at most beta times the second: of a step d, in units of
        1 / beta, a share of about d / 2 remains, and a share D where V moved by D since the weights
        were set, beside what its linear solve left; and it puts about half of beta times its
        energy, net_outflow @ step, out of balance.
        """
        point, flows, beta = self.point, self.point.flows, self.violation.beta
        energy = np.maximum(flows.net_outflow * self.step, 0.0)
        self.energy = float(energy.sum())
        decrement = self.energy / self.action if self.action > 0 else 0.0
        self.strain += np.sqrt(energy)  # of all steps since the weights were set
        here = Residuals(point.worst, self.edges.largest_move(self.step), decrement)
        # Beyond 1e100 it is lost, and squares would overflow.
        d, before = (
            np.minimum(np.abs(self.edges.centred(x)), 1e100) for x in (self.step, self.drift)
        )
        self.predicted_error = (
            beta * float((d * (d / 2 + before)).max(initial=0.0)) + self.precision * here.step
        )
        short = (SHORT if self.warm else SHORTER) / beta
        if not isinstance(self.linear, LaplacianSolver):
            short = self.tolerance
        if not self.exact or here.step > short:
            return here
        behind = np.abs(self.linear.residual) + beta / 2 * (self.strain**2 - self.seen)
        after = replace(flows, net_outflow=behind).imbalance(self.edges)
        flow = min(here.flow, float(after.max(initial=0.0)))
        share = self.predicted_error / max(here.step, np.finfo(float).tiny)
        return Residuals(flow, self.predicted_error, share**2 * decrement)

    def _after_step(self) -> Point:
        """Take the step, shortened until the action falls enough (Armijo)."""
        if not isinstance(self.linear, LaplacianSolver):  # the action is blind to weak edges
            there = self._at(self.values + self._safe_length() * self.step)
            self.action = self._action(there)
            return there
        near = self.violation.beta * self.edges.largest_move(self.step) <= 1
        if near and self.energy <= self.action / 2:
            # So short a step lowers the action, by its convexity by no more than its energy.
            self.action -= self.energy
            return self._at(self.values + self.step)
        here, length = self._action(self.point), 1.0
        while True:
            there = self._at(self.values + length * self.step)
            self.action = self._action(there)
            fallen = self.action <= here - 1e-4 * length * self.energy
            # In the end full steps converge quadratically, and rounding blurs the comparison.
            if fallen or self.energy <= 1e-8 * here or length < 1e-10:
                return there
            length = min(length / 2, self._safe_length())

    def _action(self, point: Point) -> float:
        known = point.flows.action
        if known is not None:
            return known
        return edge_action(self.violation, self.edges, self.edges.drop(point.values))

    def _safe_length(self) -> float:
        """Return a share of the step that lowers the action, whatever the weights.

        The third derivative of K is at most beta times the second, which makes log(1 + d) / d
        such a share, d being the largest change of beta times a drop (Sun and Tran-Dinh,
        generalized self-concordant functions, 2019).
        """
        d = self.violation.beta * float(np.abs(self.edges.drop(self.step)).max(initial=0.0))
        return float(np.log1p(d) / d) if d > 0 else 1.0

    def _initial_guess(self) -> Point:
        """Expand each edge about the drop that balances it alone, and solve that once.

        One linear solve finds a V of any spread where the chain is nearly reversible; where the
        weights are too wide for it, the drops along the strongest spanning tree are taken as they
        are. V = 0 is taken where its action is lower.
        """
        edges = self.edges
        balanced = balanced_drops(edges, self.violation.beta)
        flows = edge_flows(self.violation, edges, balanced)
        wide = is_wide(flows.stiffness)
        if wide and self.method == "auto":
            self.linear = _wide_solver(edges)
        if wide and not isinstance(self.linear, SpanningTreeSolver):
            guess = potential_on_tree(edges, flows.stiffness, balanced)
        else:
            self.linear.refresh(flows.stiffness)
            net = flows.net
            net += np.multiply(balanced, flows.stiffness, out=balanced)
            guess = (
                self.linear.solve(edges.outflow(net), 1e-2)
                if isinstance(self.linear, LaplacianSolver)
                else self.linear.solve_flow(net, 1e-2)
            )
        flat = float(self.violation.value(np.zeros(1))[0])
        flat *= float(edges.forward.sum() + edges.backward.sum())
        point = self._at(guess)
        self.action = self._action(point)
        if self.action <= flat:
            return point
        self.action = flat
        return self._at(np.zeros(edges.n_states))

    def _start_near(self, point: Point) -> None:
        """Begin near the minimum; the states that are far from balance are balanced first."""
        self.warm, self.action = True, self._action(point)
        self._set_weights(point)
        if not isinstance(self.linear, LaplacianSolver):  # sums over states would lose digits
            self._find_step(point)
            return
        changed = [np.empty(0, dtype=np.int64)]
        for _ in range(ROUNDS):
            changed.append(self._relax(point, self.linear))
            if not len(changed[-1]):
                break
        point.imbalance = point.flows.imbalance(self.edges)
        self._find_step(point, np.unique(np.concatenate(changed)))

    def _relax(self, point: Point, linear: LaplacianSolver) -> NDArray[Any]:
        """Balance states by themselves where only a few are far from it; return their edges.

        The part of a change that is not linear stays near it, so Newton steps are spared for it.
        """
        beta = self.violation.beta
        step = point.flows.net_outflow / linear.degree
        size, most = np.abs(step), max(FEW * len(step), 1)
        found = (np.flatnonzero(size > far / beta) for far in FAR)
        far = next((states for states in found if len(states) <= most), np.arange(0))
        values = point.values.copy()
        values[far] += 0.7 / beta * np.sign(step[far]) * np.log1p(beta * size[far])
        which = self.edges.touching(far)
        self._move(point, linear, which, values)
        return which

    def _move(
        self,
        point: Point,
        linear: LaplacianSolver,
        which: NDArray[Any],
        values: NDArray[np.float64],
    ) -> None:
        """Go to new values, in place; all that they change is in the edges `which`."""
        edges, flows = self.edges.some(which), point.flows
        drops = edges.drop(point.values), edges.drop(values)
        before, after = (edge_flows(self.violation, edges, drop) for drop in drops)
        net, stiffness = after.net - before.net, after.stiffness - linear.stiffness[which]
        total = 2 * (after.total - before.total)
        np.add.at(flows.total, edges.components[edges.first], total)
        self.action += edge_action(self.violation, edges, drops[1])
        self.action -= edge_action(self.violation, edges, drops[0])
        point.values = values
        for ends, sign in ((edges.first, 1.0), (edges.second, -1.0)):
            np.add.at(flows.net_outflow, ends, sign * net)
            np.add.at(linear.degree, ends, stiffness)
        linear.stiffness[which] = after.stiffness

    def _sweep(self) -> None:
        if not isinstance(self.violation, Exponential):
            raise InvalidInputError("method='osborne' balances flows of Exponential() only")
        for self.values, imbalance in balance_by_sweeps(  # noqa: B020 - kept where it is left
            self.edges, self.violation.beta, self.values
        ):
            self.sweeps += 1
            self._report(Residuals(imbalance, np.inf, np.inf))

    def _count_stalls(self) -> None:
        self.stalls += 1
        if self.residuals.step < 0.9 * self.nearest or self.action < self.lowest:
            self.stalls = 0
        self.nearest = min(self.nearest, self.residuals.step)
        self.lowest = min(self.lowest, 0.999 * self.action)

    def _report(self, residuals: Residuals) -> None:
        if self.progress is not None:
            done = self.sweeps + self.iterations
            self.progress(Progress(self._name(), done, self.linear.iterations, residuals))

    def _name(self) -> str:
        return "osborne" if self.sweeps and not self.iterations else self.linear.method

    def _at(self, values: NDArray[np.float64]) -> Point:
        self.seen = self.strain**2
        # Where this may be the last step, V is to be as exact as it can be.
        last = not self.warm and self.violation.beta * self.predicted_error <= SHORT
        flows = state_flows(self.violation, self.edges, values, exactly=last)
        return Point(values, flows, flows.imbalance(self.edges))


def _wide_solver(edges: EdgeList) -> SpanningTreeSolver | MultiscaleSolver:
    return SpanningTreeSolver(edges) if edges.n_states <= TREE_LIMIT else MultiscaleSolver(edges)


def _linear_solver(
    edges: EdgeList, method: Method
) -> LaplacianSolver | SpanningTreeSolver | MultiscaleSolver:
    if method == "spanning_tree":
        return SpanningTreeSolver(edges)
    if method == "multiscale":
        return MultiscaleSolver(edges)
    return LaplacianSolver(edges, "auto" if method in {"newton", "osborne"} else method)


def _precision(imbalance: float, floor: float, *, exact: bool = False) -> float:
    """Return how exactly a step is worth solving for (Eisenstat and Walker's forcing term).

    Early steps need little; the power keeps the convergence superlinear. The floor ends it, and
    is where an exact step goes at once.
    """
    best = floor / max(imbalance, floor)
    worth = best if exact else max(imbalance**0.75, best)
    return float(np.clip(worth, 1e-13 if exact else 1e-7, 0.1))
