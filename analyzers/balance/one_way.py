"""`check_one_way`: what a move that was never seen says about the potential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.balance.pairs import attempts_like, list_moves, one_way_moves
from detailed_balance.analyzers.inputs import CountsLike, read_counts
from detailed_balance.analyzers.multiplicity import check_level
from detailed_balance.analyzers.potential.estimate import Potential, estimate_potential
from detailed_balance.analyzers.results import Table, TableResult

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["OneWayCheck", "check_one_way", "unseen_bound"]


@dataclass(frozen=True, slots=True, eq=False)
class OneWayCheck(TableResult):
    """The m pairs of states seen in one direction only, held against the potential (paper Fig. 10).

    Parameters
    ----------
    source, target : tuple of str, length m
        The direction seen.
    count : (m,) array of int
        How often.
    attempts : (m,) array of float
        The attempts from `target`, none of which led back.
    bound : (m,) array of float
        The upper confidence bound of T(source <- target), see `unseen_bound`.
    least : (m,) array of float
        log of T(target <- source) / `bound`, in nats: what beta (V(source) - V(target)) is at
        least, by inequality (25).
    difference : (m,) array of float
        beta (V(source) - V(target)) of the potential; inf between two components.
    pvalue : (m,) array of float
        Of detailed balance with this difference; exact in the limit of rare moves, conservative
        otherwise.
    pairs_tested : int
        Pairs taken at all, either way: each of them could have been seen one way only.
    alpha : float
        The level of `bound` and of `violations`.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    count: NDArray[np.int64]
    attempts: NDArray[np.float64]
    bound: NDArray[np.float64]
    least: NDArray[np.float64]
    difference: NDArray[np.float64]
    pvalue: NDArray[np.float64]
    pairs_tested: int
    alpha: float

    def __len__(self) -> int:
        return len(self.source)

    @property
    def holds(self) -> NDArray[np.bool_]:
        """(m,) array: whether inequality (25) holds, as it stands and each pair for itself."""
        return self.difference >= self.least

    @property
    def adjusted(self) -> NDArray[np.float64]:
        """(m,) array: the p-values times `pairs_tested` (Bonferroni), at most 1."""
        return np.minimum(1.0, self.pairs_tested * self.pvalue)

    @property
    def violations(self) -> tuple[tuple[str, str], ...]:
        """The pairs whose adjusted p-value is at most alpha, strongest first.

        In detailed balance there is any at all with probability alpha at most.
        """
        order = np.argsort(self.pvalue, kind="stable")
        found = order[self.adjusted[order] <= self.alpha]
        return tuple((self.source[i], self.target[i]) for i in found)

    def to_table(self) -> Table:
        """Return a column for each field of the pairs, and `adjusted` and `holds`."""
        return {
            "source": list(self.source),
            "target": list(self.target),
            "count": self.count.tolist(),
            "attempts": self.attempts.tolist(),
            "bound": self.bound.tolist(),
            "least": self.least.tolist(),
            "difference": self.difference.tolist(),
            "pvalue": self.pvalue.tolist(),
            "adjusted": self.adjusted.tolist(),
            "holds": self.holds.tolist(),
        }

    def _content(self) -> dict[str, Any]:
        found = {"violations": self.violations, "pairs_tested": self.pairs_tested}
        return {"pairs": self.to_table(), **found, "settings": {"alpha": self.alpha}}


def unseen_bound(attempts: ArrayLike, alpha: float = 0.05) -> NDArray[np.float64]:
    """Return the upper confidence bound of a probability after attempts without a success.

    Clopper and Pearson's, 1 - alpha^(1 / n): the largest T with (1 - T)^n >= alpha. At 95% it is
    about 3 / n.

    Parameters
    ----------
    attempts : array_like of float
        n; 0 attempts bound nothing, and give 1.
    alpha : float
        One less the confidence.

    Examples
    --------
    >>> unseen_bound([1, 10, 1000]).round(4).tolist()
    [0.95, 0.2589, 0.003]
    """
    check_level(alpha)
    with np.errstate(divide="ignore"):
        bound: NDArray[np.float64] = -np.expm1(np.log(alpha) / np.asarray(attempts, np.float64))
    return bound


def check_one_way(
    counts: CountsLike, potential: Potential | None = None, *, alpha: float = 0.05
) -> OneWayCheck:
    r"""Hold the pairs of states that were seen in one direction only against the potential.

    Of N(g) attempts from g none led to f, so that T(f<-g) <= u = 1 - alpha^(1 / N(g)), and under
    detailed balance beta (V(f) - V(g)) = log T(g<-f) / T(f<-g) >= log T(g<-f) / u, which is
    inequality (25). It takes the T(g<-f) that was counted for the true one: where that is one
    move or two, it fails too often, and of many pairs some fail by chance.

    The p-values mend both. Given the n moves between f and g, each went from f to g with
    probability q = N(f) / (N(f) + N(g) exp(-beta (V(f) - V(g)))) if detailed balance holds, which
    no longer has T in it. All went that way with probability q^n, doubled because it might have
    been the other way. Pairs seen in both directions have p = 1 and count in the correction.

    Parameters
    ----------
    counts : CountsLike
        What was recorded; START and END are left out.
    potential : Potential
        What the differences are taken from; by default the one of least action for these counts.
        That one leans towards each of them, which hides violations and makes none.
    alpha : float
        The level.

    Returns
    -------
    OneWayCheck
        The pairs, the bound of each, and the violations.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 25 and Fig. 10; Clopper and Pearson, Biometrika 26 (1934)
    404; Przyborowski and Wilenski, Biometrika 31 (1940) 313 (two rates, given the sum).

    Examples
    --------
    >>> from detailed_balance.analyzers import TransitionCounts
    >>> edges = [("a", "b", 40), ("b", "c", 40), ("c", "a", 40)]  # round and round
    >>> check = check_one_way(TransitionCounts.from_edges(edges))
    >>> check.difference.tolist(), check.holds.tolist()
    ([0.0, 0.0, 0.0], [False, False, False])
    >>> check.violations
    (('a', 'b'), ('b', 'c'), ('c', 'a'))
    """
    bare = read_counts(counts).without_boundaries().sorted()
    potential = potential if potential is not None else estimate_potential(bare)
    kept = bare.restrict(potential.states)
    f, g, n, drop = one_way_moves(kept, potential)
    pairs_tested = (len(list_moves(kept)[0]) + len(f)) // 2
    attempts = attempts_like(kept, potential.kernel)
    bound = unseen_bound(attempts[g], alpha)
    with np.errstate(divide="ignore"):  # no attempts from g: q is 1
        log_q = -np.logaddexp(0.0, np.log(attempts[g] / attempts[f]) - drop)
    return OneWayCheck(
        tuple(potential.states[i] for i in f),
        tuple(potential.states[i] for i in g),
        n.astype(np.int64),
        attempts[g],
        bound,
        np.log(np.minimum(1.0, n / attempts[f]) / bound),
        drop,
        np.minimum(1.0, 2 * np.exp(n * log_q)),
        pairs_tested,
        alpha,
    )
