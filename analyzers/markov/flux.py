"""Net fluxes: which way round the moves of a chain run in the long run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array, diags_array

from detailed_balance.analyzers._solver.edges import EdgeList
from detailed_balance.analyzers.balance.reversible_mle import strong_components
from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.analyzers.kernel import Kernel, KernelLike, read_chain
from detailed_balance.analyzers.markov.stationary import (
    DENSE_LIMIT,
    irreducible_law,
    move_kernel,
    stationary_distribution,
    stationary_vectors,
)
from detailed_balance.analyzers.results import Table, TableResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NetFluxes", "PairMoves", "dissipation", "net_fluxes", "pair_moves", "steady_flows"]


@dataclass(frozen=True, slots=True, eq=False)
class NetFluxes(TableResult):
    """The net flux of each linked pair of states, strongest first.

    Parameters
    ----------
    source, target : tuple of str, length m
        The pair, in the direction of its net flux.
    flux : (m,) array of float
        J = forward - backward, in moves per step, 0 or more.
    forward, backward : (m,) arrays of float
        The steady flows source -> target and back, in moves per step.
    untested_states : tuple of str
        States that lie on no directed loop, and have no steady flow.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    flux: NDArray[np.float64]
    forward: NDArray[np.float64]
    backward: NDArray[np.float64]
    untested_states: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.source)

    @property
    def affinity(self) -> NDArray[np.float64]:
        """(m,) array: log of forward over backward flow, in nats; inf where nothing came back."""
        with np.errstate(divide="ignore"):
            return np.log(self.forward) - np.log(self.backward)

    @property
    def dissipation(self) -> NDArray[np.float64]:
        """(m,) array: flux x affinity, what each pair adds to the entropy production."""
        return dissipation(self.forward, self.backward)

    def to_table(self) -> Table:
        """Return the columns source, target, flux, forward, backward, affinity, dissipation."""
        return {
            "source": list(self.source),
            "target": list(self.target),
            "flux": self.flux.tolist(),
            "forward": self.forward.tolist(),
            "backward": self.backward.tolist(),
            "affinity": self.affinity.tolist(),
            "dissipation": self.dissipation.tolist(),
        }

    def _content(self) -> dict[str, Any]:
        return {"pairs": self.to_table(), "untested_states": self.untested_states}


def net_fluxes(source: KernelLike) -> NetFluxes:
    """Return the net flux J = pi_f T(g<-f) - pi_g T(f<-g) of every linked pair.

    Under detailed balance all are 0. They flow in loops: as much net flux enters a state as
    leaves it.

    Parameters
    ----------
    source : KernelLike
        Of counts, the strongly connected parts, each with its own stationary distribution and with
        its share of the moves; of a kernel, its only closed class. START and END are left out, and
        rows are scaled to sum to 1, so that a step is a move that was made.

    Raises
    ------
    InsufficientDataError
        Where no state leads back to itself by way of another, or a kernel has no unique
        stationary distribution.

    References
    ----------
    Schnakenberg, Rev. Mod. Phys. 48, 571 (1976).

    Examples
    --------
    >>> ring = net_fluxes([[0, 0.9, 0.1], [0.1, 0, 0.9], [0.9, 0.1, 0]])
    >>> ring.source[0], ring.target[0], round(float(ring.flux[0]), 4)  # (0.9 - 0.1) / 3
    ('0', '1', 0.2667)
    """
    moves = pair_moves(read_chain(source)[0])
    there, back = (flow[0] for flow in steady_flows(moves, *moves.as_batch()))
    flux = there - back
    order = np.argsort(-np.abs(flux), kind="stable")
    turned = (flux < 0)[order]
    first, second = moves.pairs.first[order], moves.pairs.second[order]
    there, back = there[order], back[order]
    return NetFluxes(
        tuple(moves.states[i] for i in np.where(turned, second, first)),
        tuple(moves.states[i] for i in np.where(turned, first, second)),
        np.abs(flux[order]),
        np.where(turned, back, there),
        np.where(turned, there, back),
        moves.left_out,
    )


@dataclass(frozen=True, slots=True, eq=False)
class PairMoves:
    """A chain as its linked pairs: n states in components, m pairs inside them.

    Parameters
    ----------
    states : tuple of str
        The n states.
    pairs : EdgeList
        The pairs.
    forward, backward : (m,) arrays of float
        Moves first -> second and back: counts, or probabilities.
    stays : (n,) array of float
        Self-loops, in the same unit.
    left_out : tuple of str
        States that lie on no directed loop.
    """

    states: tuple[str, ...]
    pairs: EdgeList
    forward: NDArray[np.float64]
    backward: NDArray[np.float64]
    stays: NDArray[np.float64]
    left_out: tuple[str, ...]

    @property
    def one_way(self) -> NDArray[np.bool_]:
        """(m,) array: whether a pair was seen in one direction only."""
        return np.asarray(np.minimum(self.forward, self.backward) == 0)

    def as_batch(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return forward, backward and stays as a batch of one."""
        return self.forward[None], self.backward[None], self.stays[None]


def pair_moves(source: TransitionCounts | Kernel) -> PairMoves:
    """Take the strongly connected parts of counts, or the only closed class of a kernel."""
    if isinstance(source, TransitionCounts):
        counts = source.without_boundaries()
        kept, components = strong_components(counts)
        states, matrix = counts.states, csr_array(counts.counts.astype(np.float64))
    else:
        states, matrix = move_kernel(source)
        kept = np.flatnonzero(stationary_distribution(source).probabilities)
        components = np.zeros(len(states), dtype=np.int64)
    if len(kept) < 2:
        raise InsufficientDataError(
            f"there is no steady flow: no two of the {len(states)} states lead to each other and "
            "back. A pipeline has none; a finer state function may show one"
        )
    block = csr_array(matrix[kept, :][:, kept])
    block.sum_duplicates()
    pairs = EdgeList.from_matrix(block, components[kept])
    forward, backward = np.append(block.data, 0.0)[pairs.places]
    names = tuple(states[i] for i in kept)
    left_out = tuple(sorted(set(states) - set(names)))
    return PairMoves(names, pairs, forward, backward, block.diagonal(), left_out)


def steady_flows(
    moves: PairMoves,
    forward: NDArray[np.float64],
    backward: NDArray[np.float64],
    stays: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the (b, m) steady flows forward and backward, in moves per step.

    `forward`, `backward` (b, m) and `stays` (b, n) take the place of those of `moves`. Each
    component counts with its share of all moves.
    """
    pairs = moves.pairs
    there, back = np.zeros_like(forward), np.zeros_like(backward)
    for c in range(pairs.n_components):
        members = np.flatnonzero(pairs.components == c)
        chosen = np.flatnonzero(pairs.components[pairs.first] == c)
        i = np.searchsorted(members, pairs.first[chosen])
        j = np.searchsorted(members, pairs.second[chosen])
        f, b, s = forward[:, chosen], backward[:, chosen], stays[:, members]
        weight = _visits(i, j, f, b, s)
        there[:, chosen] = weight[:, i] * f
        back[:, chosen] = weight[:, j] * b
    total = forward.sum(axis=1) + backward.sum(axis=1) + stays.sum(axis=1)
    return there / total[:, None], back / total[:, None]


def _visits(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    forward: NDArray[np.float64],
    backward: NDArray[np.float64],
    stays: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(b, n) array: steady over recorded moves from each state; 1 where counts are steady."""
    n = stays.shape[1]
    if n > DENSE_LIMIT:
        rows = zip(forward, backward, stays, strict=True)
        return np.array([_sparse_visits(first, second, *row) for row in rows])
    dense = np.zeros((len(stays), n, n))
    dense[:, first, second], dense[:, second, first] = forward, backward
    moves = dense.sum(axis=2) + stays
    law = stationary_vectors(dense / moves[:, :, None])
    return np.asarray(law / moves * moves.sum(axis=1, keepdims=True))


def _sparse_visits(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    forward: NDArray[np.float64],
    backward: NDArray[np.float64],
    stays: NDArray[np.float64],
) -> NDArray[np.float64]:
    n, both = len(stays), np.concatenate([forward, backward])
    places = (np.concatenate([first, second]), np.concatenate([second, first]))
    matrix = csr_array(csr_array((both, places), shape=(n, n)) + diags_array(stays))
    moves = np.asarray(matrix.sum(axis=1))
    law = irreducible_law(csr_array(diags_array(1 / moves) @ matrix))
    return np.asarray(law / moves * moves.sum())


def dissipation(there: NDArray[np.float64], back: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (a - b) log(a / b) of flows there and back; inf where one is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (there - back) * (np.log(there) - np.log(back))
    return np.asarray(np.where(there == back, 0.0, value))
