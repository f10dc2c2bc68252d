"""Standard errors of a potential: exact ones by one solve each, all at once by a sketch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from detailed_balance.analyzers._solver.edges import add_at
from detailed_balance.analyzers._solver.laplacian import DIRECT_LIMIT, LaplacianSolver
from detailed_balance.analyzers.sparse import lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detailed_balance.analyzers._solver.edges import EdgeList
    from detailed_balance.analyzers.action import ViolationFunction
    from detailed_balance.analyzers.runs.clusters import ClusterErrors, MoveClusters


class RunMoves(NamedTuple):
    """The k moves of clusters that are attempts of the kernel.

    Parameters
    ----------
    moves : MoveClusters
        How often each cluster made each.
    source, target : (k,) arrays of int
        Places among the states of the potential; -1 for none of them.
    """

    moves: MoveClusters
    source: NDArray[np.int64]
    target: NDArray[np.int64]


def sketch_size(accuracy: float) -> int:
    """Return how many projections give each error to a relative standard deviation `accuracy`.

    A squared error is estimated by the mean of R squared normal numbers, so the error itself has
    the relative standard deviation 1 / sqrt(2 R).
    """
    return max(1, int(np.ceil(0.5 / accuracy**2)))


class SandwichCovariance:
    """The covariance H+ M H+ of a potential, in ways that never form it.

    H is the Hessian of the action, M the covariance of its gradient: each row of the kernel is
    multinomial in its attempts. One solver of H serves all questions, so that its preconditioner
    is made once.

    Parameters
    ----------
    pairs : EdgeList
        The pairs inside components.
    violation : ViolationFunction
        K.
    values : (n,) array of float
        The potential.
    attempts : (n,) array of float
        N0 of each state.
    clusters : RunMoves, optional
        The moves of runs, which alone are independent then; else each attempt is.
    """

    def __init__(
        self,
        pairs: EdgeList,
        violation: ViolationFunction,
        values: NDArray[np.float64],
        attempts: NDArray[np.float64],
        clusters: RunMoves | None = None,
    ) -> None:
        drop, a, b = pairs.drop(values), pairs.forward, pairs.backward
        self.pairs, self.attempts = pairs, attempts
        self._slope, self._back_slope = violation.derivative(drop), -violation.derivative(-drop)
        self._solver = LaplacianSolver(pairs, "lu" if len(values) <= DIRECT_LIMIT else "auto")
        curvature = violation.second_derivative
        self._solver.refresh(a * curvature(drop) + b * curvature(-drop))
        # The pairs are scaled per component; the multinomial needs the probabilities.
        self._scale = pairs.scale[pairs.components]
        unit = 1 / self._scale[pairs.first]
        self._rate, self._back_rate = a * unit, b * unit
        self.clusters = None if clusters is None else clusters.moves
        self._pair = np.empty(0, dtype=np.int64)
        if clusters is not None:
            self._pair = self._find_pairs(clusters.source, clusters.target)

    def error(self, f: int, g: int) -> float:
        """Return the standard error of V(f) - V(g), two states of one component.

        NaN where the sample shows no spread, since all attempts from each state went one way, and
        where there are too few runs.
        """
        if self.clusters is not None:
            return float(self.clustered([f], g).errors[0])
        there, back = self.influence(f, g)
        mean = self._by_source(self._rate * there, self._back_rate * back)
        square = self._by_source(self._rate * there**2, self._back_rate * back**2)
        variance = float(((square - mean**2) / self.attempts).sum())
        # Nothing but rounding is left: that is not evidence of an error of 0.
        if f != g and variance <= 1e-12 * float((square / self.attempts).sum()):
            return float("nan")
        return float(np.sqrt(max(variance, 0.0)))

    def influence(self, f: int, g: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what one more unit of T of each move, both ways, adds to -(V(f) - V(g))."""
        contrast = np.zeros(self.pairs.n_states)
        contrast[f] += 1
        contrast[g] -= 1
        # H of the scaled pairs is that of the kernel times the scale.
        drop = self.pairs.drop(self._scale * self._solver.solve(contrast, 1e-10))
        return self._slope * drop, self._back_slope * drop

    def covariance(self, members: NDArray[Any], g: int) -> NDArray[np.float64]:
        """(m, m) array: the covariance of V(f) - V(g) for the m states f of `members`."""
        if self.clusters is not None:
            return self.clustered(members, g).covariance
        pairs = self.pairs
        moves = [self.influence(int(f), g) for f in members]
        there, back = (np.array(parts) for parts in zip(*moves, strict=True))
        means = [self._by_source(self._rate * x, self._back_rate * y) for x, y in moves]
        mean = np.array(means)
        found = (there * (self._rate / self.attempts[pairs.first])) @ there.T
        found += (back * (self._back_rate / self.attempts[pairs.second])) @ back.T
        return np.asarray(found - (mean / self.attempts) @ mean.T)

    def run_influence(
        self, members: NDArray[Any], g: int, runs: csr_array[Any, tuple[int, int]], width: int
    ) -> NDArray[np.float64]:
        """(r, m) array: what each run adds to V(f) - V(g), up to a sign; `Potential.influence`."""
        n = self.pairs.n_states
        moves = np.unique(runs.indices)
        source, target = np.divmod(moves, width)
        kept = source < n
        moves, source, target = moves[kept], source[kept], target[kept]
        pair = self._find_pairs(source, np.where(target < n, target, -1))
        weights = np.empty((len(moves), len(members)))
        for i, f in enumerate(members):
            there, back = self.influence(int(f), g)
            mean = self._by_source(self._rate * there, self._back_rate * back)
            weights[:, i] = np.concatenate([[0.0], there, back])[pair] - mean[source]
        return np.asarray(runs[:, moves] @ (weights / self.attempts[source][:, None]))

    def clustered(self, members: Sequence[int] | NDArray[Any], g: int) -> ClusterErrors:
        """Return the errors of V(f) - V(g) for the m states f of `members`, by runs."""
        assert self.clusters is not None  # noqa: S101 - for the type checkers
        return self.clusters.errors(self._slopes(members, g, self._pair))

    def _slopes(
        self, members: Sequence[int] | NDArray[Any], g: int, pair: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """(k, m) array: `influence` of each of k moves, by their places among the pairs."""
        found = [np.concatenate([[0.0], *self.influence(int(f), g)])[pair] for f in members]
        return np.array(found).reshape(len(members), len(pair)).T

    def _find_pairs(self, source: NDArray[Any], target: NDArray[Any]) -> NDArray[np.int64]:
        """(k,) array: 1 + place of each move among all pairs, both ways; 0 for others."""
        n, pairs = self.pairs.n_states, self.pairs
        ends = np.concatenate([[pairs.first, pairs.second], [pairs.second, pairs.first]], axis=1)
        number = csr_array((np.arange(1, ends.shape[1] + 1), tuple(ends)), shape=(n, n))
        inside = np.flatnonzero((source >= 0) & (target >= 0))
        found = np.zeros(len(source), dtype=np.int64)
        found[inside] = lookup(number, source[inside], target[inside])
        return found

    def projections(self, accuracy: float, seed: int) -> Iterator[NDArray[np.float64]]:
        """Yield (n,) arrays z, normal with the covariance H+ M H+ up to a constant.

        The mean of (z[f] - z[g])**2 over `sketch_size(accuracy)` of them estimates the variance
        of V(f) - V(g), for all pairs at once.
        """
        rng = np.random.default_rng(seed)
        for _ in range(sketch_size(accuracy)):
            there, back = self._random_rows(rng)
            pull = self.pairs.outflow(self._slope * there + self._back_slope * back)
            # Rounding in the solve is not a concern far below the accuracy of the sketch.
            yield self._solver.solve(self._scale * pull, 0.02 * accuracy)

    def pair_errors(self, accuracy: float, seed: int) -> NDArray[np.float64]:
        """(m,) array: the standard errors of V(first) - V(second), from a sketch."""
        total = np.zeros(len(self.pairs))
        for z in self.projections(accuracy, seed):
            total += self.pairs.drop(z) ** 2
        total[~self._shows_spread()[self.pairs.first]] = np.nan
        return np.sqrt(total / sketch_size(accuracy))

    def errors_to(self, g: int, accuracy: float, seed: int) -> NDArray[np.float64]:
        """(n,) array: the standard errors of V - V(g), from a sketch."""
        total = np.zeros(self.pairs.n_states)
        for z in self.projections(accuracy, seed):
            total += (z - z[g]) ** 2
        total[~self._shows_spread()] = np.nan
        total[g] = 0.0
        return np.sqrt(total / sketch_size(accuracy))

    def _shows_spread(self) -> NDArray[np.bool_]:
        """(n,) array: whether attempts from any state of the component went several ways.

        What a sketch shows of other components is rounding: no evidence of an error of 0.
        """
        if self.clusters is not None and not self.clusters.enough:
            return np.zeros(self.pairs.n_states, dtype=bool)
        rate, back = self._rate, self._back_rate
        several = self._by_source(rate * (1 - rate), back * (1 - back)) > 1e-12
        spread = self.pairs.component_sums(several.astype(np.float64)) > 0
        return np.asarray(spread[self.pairs.components])

    def bootstrap(self, f: int, g: int, replicates: int, seed: int) -> NDArray[np.float64]:
        """(replicates,) array: changes of V(f) - V(g), runs or rows of the kernel drawn again.

        One Newton step from the estimate, with its Hessian: the step is linear in the drawn
        counts, so a single solve serves all replicates.
        """
        rng = np.random.default_rng(seed)
        if self.clusters is not None:
            if not self.clusters.enough:
                return np.full(replicates, np.nan)
            return -self.clusters.redraw(self._slopes([f], g, self._pair)[:, 0], rng, replicates)
        there, back = self.influence(f, g)
        rest = np.maximum(1 - self._by_source(self._rate, self._back_rate), 0.0) * self.attempts
        first, second = self.pairs.first, self.pairs.second
        means = self._rate * self.attempts[first], self._back_rate * self.attempts[second]
        changes = np.empty(replicates)
        for k in range(replicates):
            # Poisson counts given their sum are multinomial.
            one, other = rng.poisson(means[0]), rng.poisson(means[1])
            drawn = self._by_source(one, other) + rng.poisson(rest)
            moved = self._by_source(one * there, other * back)
            changes[k] = -(moved / np.maximum(drawn, 1)).sum()
        return changes

    def _random_rows(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return normal deviations of the rates with the covariance of runs, or of rows."""
        if self.clusters is not None:
            m, noise = len(self.pairs), self.clusters.noise(rng)
            found = np.bincount(self._pair, noise, 2 * m + 1).astype(np.float64)
            return found[1 : m + 1], found[m + 1 :]
        root, back_root = np.sqrt(self._rate), np.sqrt(self._back_rate)
        one, other = rng.standard_normal(len(root)), rng.standard_normal(len(root))
        rest = np.maximum(1 - self._by_source(self._rate, self._back_rate), 0.0)
        shared = self._by_source(root * one, back_root * other)
        shared += np.sqrt(rest) * rng.standard_normal(len(rest))
        noise = 1 / np.sqrt(self.attempts)
        first, second = self.pairs.first, self.pairs.second
        there = root * (one - root * shared[first]) * noise[first]
        back = back_root * (other - back_root * shared[second]) * noise[second]
        return there, back

    def _by_source(self, there: NDArray[Any], back: NDArray[Any]) -> NDArray[np.float64]:
        """(n,) array: moves first -> second and second -> first, added up where they begin."""
        n = self.pairs.n_states
        return add_at(self.pairs.first, there, n) + add_at(self.pairs.second, back, n)
