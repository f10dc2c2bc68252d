"""Newton's method from near the minimum: a potential that is followed as its rates change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers._solver.flows import pair_action, pair_flows
from detailed_balance.analyzers._solver.laplacian import LaplacianSolver
from detailed_balance.analyzers._solver.newton import Minimizer, Point

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers._solver.edges import Pairs

__all__ = ["WarmMinimizer"]

FAR, FEW, ROUNDS = (5e-5, 2e-4, 1e-3), 5e-3, 16
"""States that would move by more than the first of these, in units of 1 / beta, for which they are
only this share, are relaxed, so many times at most."""


class WarmMinimizer(Minimizer):
    """A minimisation that may begin near the minimum, and go on when rates change."""

    def start(self, initial: NDArray[np.float64] | None = None) -> None:
        """Begin at an (n,) V, where one is given."""
        if initial is None or self.asked == "osborne":
            super().start(initial)
        else:
            self._follow(self._at(initial.astype(np.float64)))

    @property
    def can_reweigh(self) -> bool:
        """Whether sums over states keep all digits, so that they can be added to."""
        return isinstance(self.linear, LaplacianSolver)

    def reweigh(
        self, sources: NDArray[Any], targets: NDArray[Any], rates: NDArray[np.float64]
    ) -> None:
        """Go on from the minimum after (k,) rates changed: what they move is added up alone."""
        pairs = self.pairs
        pair_of, listed = pairs.find(sources, targets)
        which, place = np.unique(pair_of[listed], return_inverse=True)
        new, back = pairs.some(which), (sources > targets)[listed]
        weights = (rates * pairs.scale[pairs.components[sources]])[listed]
        new.forward[place[~back]], new.backward[place[back]] = weights[~back], weights[back]
        flows = replace(self.point.flows, pull=self.linear.left.copy())
        point = Point(self.values + self.step, flows, np.empty(0))
        self.drift += self.step
        self.action -= self.energy
        self._change(point, which, new, point.values)
        self.warm = True
        self._settle(point, [which])

    def grow(
        self,
        sources: NDArray[Any],
        targets: NDArray[Any],
        components: NDArray[Any],
        values: NDArray[np.float64],
    ) -> None:
        """Take more moves and states, as `Pairs.grown`; `values` are V of all states.

        The new rates are 0 until `reweigh` is told of them.
        """
        assert isinstance(self.linear, LaplacianSolver)  # noqa: S101 - see `can_reweigh`
        old, linear = self.pairs, self.linear
        self.pairs, before = old.grown(sources, targets, components)
        more = self.pairs.n_states - old.n_states
        self.linear = linear.grown(self.pairs, before)
        self.drift = np.pad(self.drift + self.step, (0, more))
        self.strain, self.seen = np.pad(self.strain, (0, more)), np.pad(self.seen, (0, more))
        self.values, self.step = values, np.zeros_like(values)
        through = self.point.flows.through
        self.point.flows.through = np.pad(through, (0, self.pairs.n_components - len(through)))

    def _follow(self, point: Point) -> None:
        """Begin near the minimum; states that are far from balance are seen to first."""
        self.warm, self.action = True, self._action(point)
        self._take_weights(point)
        if self.can_reweigh:
            self._settle(point, [])
        else:
            self._look(point)

    def _settle(self, point: Point, changed: list[NDArray[Any]]) -> None:
        """Relax states, a few times, and look at the step; some pairs have changed already."""
        while len(changed) <= ROUNDS:
            changed.append(self._relax(point))
            if not len(changed[-1]):
                break
        point.imbalance = point.flows.imbalance(self.pairs)
        self._look(point, np.unique(np.concatenate(changed)))

    def _relax(self, point: Point) -> NDArray[Any]:
        """Balance states by themselves where only a few are far from it; return their pairs.

        What is not linear about a change is near to it; Newton's steps need not see it.
        """
        assert isinstance(self.linear, LaplacianSolver)  # noqa: S101 - see `can_reweigh`
        step = point.flows.pull / self.linear.degree
        size, most = np.abs(step), max(FEW * len(step), 1)
        found = (np.flatnonzero(size > far / self.violation.beta) for far in FAR)
        far = next((states for states in found if len(states) <= most), np.arange(0))
        step[far] = np.sign(step[far]) * np.log1p(self.violation.beta * np.abs(step[far]))
        values = point.values.copy()
        values[far] += 0.7 / self.violation.beta * step[far]
        which = self.pairs.touching(far)
        self._change(point, which, self.pairs.some(which), values)
        return which

    def _change(
        self, point: Point, which: NDArray[Any], new: Pairs, values: NDArray[np.float64]
    ) -> None:
        """Move to new weights and values, in place; all that they change is in these pairs."""
        assert isinstance(self.linear, LaplacianSolver)  # noqa: S101 - see `can_reweigh`
        old, flows = self.pairs.some(which), point.flows
        drops = old.drop(point.values), new.drop(values)
        before = pair_flows(self.violation, old, drops[0])
        after = pair_flows(self.violation, new, drops[1])
        self.pairs.forward[which], self.pairs.backward[which] = new.forward, new.backward
        net, stiffness = after.net - before.net, after.stiffness - self.linear.stiffness[which]
        total = 2 * (after.total - before.total)
        np.add.at(flows.through, self.pairs.components[new.first], total)
        self.action += pair_action(self.violation, new, drops[1])
        self.action -= pair_action(self.violation, old, drops[0])
        point.values = values
        for ends, sign in ((new.first, 1.0), (new.second, -1.0)):
            np.add.at(flows.pull, ends, sign * net)
            np.add.at(self.linear.degree, ends, stiffness)
        self.linear.stiffness[which] = after.stiffness
