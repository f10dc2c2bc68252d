"""From counts to the kernel T(g<-f), the estimated transition probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from scipy.sparse import csr_array, issparse

from detailed_balance.analyzers.action import Exponential, ViolationFunction
from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.inputs import (
    CountsLike,
    find_matrix,
    read_counts,
    read_recorded,
)
from detailed_balance.analyzers.results import Table, TableResult
from detailed_balance.analyzers.runs.table import RunTable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import sparray, spmatrix

__all__ = [
    "Attempts",
    "Kernel",
    "KernelLike",
    "estimate_kernel",
    "evaluate_action",
    "read_chain",
    "read_kernel",
    "resolve_attempts",
]

Attempts: TypeAlias = "Literal['observed', 'transitions'] | float | ArrayLike"
"""What counts as the attempts N0(f); see `estimate_kernel`."""

KernelLike: TypeAlias = "Kernel | CountsLike"
"""A kernel, or counts to estimate one from; a matrix of fractions is a known kernel."""


@dataclass(frozen=True, slots=True, eq=False)
class Kernel(TableResult):
    """Transition probabilities between states; rows may sum to less than 1.

    Parameters
    ----------
    states : tuple of str, length n
        The state keys.
    probabilities : (n, n) csr_array of float
        ``probabilities[i, j]`` is T(states[j] <- states[i]); self-loops are kept here and left
        out of the action.
    attempts : (n,) array of float, or None
        N0, the attempts behind each row; None for a kernel that is known exactly.
    mode : str
        How N0 was chosen: "observed", "transitions", "number", "array" or "exact".
    dropped : tuple of str
        States left out because they had fewer than `min_attempts` attempts.
    min_attempts : int
        The attempts that a state needed to be kept.
    """

    states: tuple[str, ...]
    probabilities: csr_array[Any, tuple[int, int]]
    attempts: NDArray[np.float64] | None = None
    mode: str = "exact"
    dropped: tuple[str, ...] = ()
    min_attempts: int = 0

    @classmethod
    def from_matrix(
        cls, matrix: ArrayLike | sparray | spmatrix, states: tuple[str, ...] | None = None
    ) -> Kernel:
        """Take an (n, n) array or sparse matrix of known probabilities, row = source.

        A DataFrame whose index has the names of its columns names the states.

        Raises
        ------
        InvalidInputError
            Where the matrix is not square, or an entry or a row's sum is outside [0, 1].

        Examples
        --------
        >>> Kernel.from_matrix([[0.5, 0.5], [0.2, 0.7]], ("a", "b")).mode
        'exact'
        """
        named = find_matrix(matrix) if states is None and hasattr(matrix, "columns") else None
        if named is not None:
            matrix, states = named.matrix, named.states
        given: Any = matrix if issparse(matrix) else np.asarray(matrix, dtype=np.float64)
        if len(given.shape) != 2 or given.shape[0] != given.shape[1]:
            raise InvalidInputError(f"a kernel is a square matrix; got shape {given.shape}")
        rates: Any = csr_array(given, dtype=np.float64)
        rates.sum_duplicates()
        sums = rates.sum(axis=1)
        negative = np.diff(np.r_[0, np.cumsum(rates.data < 0)][rates.indptr]) > 0
        # Rounding of normalised rows may pass 1 by a little.
        if negative.any() or not np.all(sums <= 1 + 1e-9):
            worst = int(np.argmax(np.where(negative, np.inf, sums)))
            raise InvalidInputError(
                f"row {worst} is not a probability distribution: smallest entry "
                f"{rates[[worst]].min():g}, sum {sums[worst]:g}; entries lie in [0, 1] and a row "
                "sums to at most 1. To start from counts, use TransitionCounts.from_dense"
            )
        names = states if states is not None else tuple(map(str, range(len(sums))))
        if len(names) != len(sums):
            raise InvalidInputError(f"{len(names)} states for a matrix of shape {rates.shape}")
        return cls(names, rates)

    @property
    def escape(self) -> NDArray[np.float64]:
        """(n,) array: what each row lacks to 1, the probability of leaving the states.

        Examples
        --------
        >>> Kernel.from_matrix([[0.5, 0.25], [0.0, 1.0]]).escape.tolist()
        [0.25, 0.0]
        """
        return np.asarray(np.maximum(1.0 - self.probabilities.sum(axis=1), 0.0))

    def to_table(self) -> Table:
        """Return the columns source, target and probability, for the entries above 0."""
        entries = self.probabilities.tocoo()
        return {
            "source": [self.states[i] for i in entries.row],
            "target": [self.states[i] for i in entries.col],
            "probability": entries.data.tolist(),
        }

    def _content(self) -> dict[str, Any]:
        settings = {"attempts": self.mode, "min_attempts": self.min_attempts}
        values = self._values("states", "attempts", "dropped")
        return {"transitions": self.to_table(), **values, "settings": settings}


def estimate_kernel(
    counts: CountsLike, *, attempts: Attempts = "observed", min_attempts: int = 2
) -> Kernel:
    """Estimate T(g<-f) = min(1, N(g<-f) / N0(f)).

    Parameters
    ----------
    counts : CountsLike
        The counts N(g<-f) and the observed attempts.
    attempts : {"observed", "transitions"}, float or (n,) array
        N0. "observed": every attempt from f, self-loops and escapes included. "transitions": the
        moves from f to other states, the paper's estimate where hardly any answer is rejected.
        A number: the same for every state, the paper's estimate where most answers are rejected
        (budget / number of states). An array: one number for each state of `counts`.
    min_attempts : int
        States with fewer attempts are dropped; `Kernel.dropped` names them.

    Returns
    -------
    Kernel
        The kept states and their kernel.

    Raises
    ------
    InvalidInputError
        Where `attempts` is none of the above, or not positive.

    References
    ----------
    Song et al., arXiv:2512.10047, eq. 6, 18 and 24.

    Examples
    --------
    >>> counts = TransitionCounts.from_edges([("a", "b", 3), ("a", "a", 1), ("b", "a", 2)])
    >>> estimate_kernel(counts).probabilities.toarray().tolist()
    [[0.25, 0.75], [1.0, 0.0]]
    >>> estimate_kernel(counts, attempts="transitions").probabilities.toarray()[0].tolist()
    [0.3333333333333333, 1.0]
    """
    counts = read_counts(counts)
    n0, mode = resolve_attempts(counts, attempts)
    kept = np.flatnonzero((n0 >= min_attempts) & (n0 > 0))
    dropped = tuple(counts.states[i] for i in np.flatnonzero(n0 < max(min_attempts, 1e-300)))
    if len(kept) == len(counts):  # nothing to cut out, which would cost more than the rest
        block, states = counts.counts.astype(np.float64), counts.states
    else:
        block = counts.counts[kept, :][:, kept].tocsr().astype(np.float64)
        states = tuple(counts.states[i] for i in kept)
    block.data = np.minimum(1.0, block.data / np.repeat(n0[kept], np.diff(block.indptr)))
    return Kernel(states, block, n0[kept], mode, dropped, min_attempts)


def read_chain(source: KernelLike) -> tuple[TransitionCounts | Kernel, RunTable | None]:
    """Return counts or a known kernel, and the runs that the counts are of.

    Raises
    ------
    InvalidInputError
        Where `source` is none of `KernelLike`.

    Examples
    --------
    >>> read_chain([[0, 2], [1, 0]])[0].total, read_chain([[0.5, 0.5], [1, 0]])[0].mode
    (3, 'exact')
    """
    if isinstance(source, Kernel):
        return source, None
    found = find_matrix(source)
    if found is not None and found.has_fractions:
        return Kernel.from_matrix(found.matrix, found.states), None
    return read_recorded(source)


def read_kernel(source: KernelLike) -> Kernel:
    """Return a kernel as it is, or else as `estimate_kernel` makes it of counts."""
    chain = read_chain(source)[0]
    return chain if isinstance(chain, Kernel) else estimate_kernel(chain)


def evaluate_action(
    kernel: KernelLike, values: ArrayLike, violation: ViolationFunction | None = None
) -> float:
    """S[V] = sum over f != g of T(g<-f) K(V(f) - V(g)) (paper eq. 1).

    Parameters
    ----------
    kernel : KernelLike
        The n states and their kernel, or counts, of which `estimate_kernel` makes one.
    values : (n,) array of float
        The potential V, in the order of ``kernel.states``.
    violation : ViolationFunction
        K, `Exponential()` by default.

    Examples
    --------
    >>> evaluate_action([[0.0, 0.4], [0.1, 0.0]], np.zeros(2))
    0.5
    """
    edges, values = read_kernel(kernel).probabilities.tocoo(), np.asarray(values)
    moves = edges.row != edges.col
    drop = values[edges.row[moves]] - values[edges.col[moves]]
    return float(edges.data[moves] @ (violation or Exponential()).value(drop))


def resolve_attempts(
    counts: TransitionCounts, attempts: Attempts
) -> tuple[NDArray[np.float64], str]:
    """Return N0 of each state, (n,) array of float, and the name of how it was chosen."""
    if isinstance(attempts, str):
        if attempts == "observed":
            return counts.attempts.astype(np.float64), "observed"
        if attempts == "transitions":
            moves = counts.counts.sum(axis=1) - counts.counts.diagonal()
            return np.asarray(moves, dtype=np.float64), "transitions"
        raise InvalidInputError(
            f"attempts={attempts!r}; allowed are 'observed', 'transitions', a number or an array"
        )
    given = np.asarray(attempts, dtype=np.float64)
    if given.ndim > 1 or (given.ndim == 1 and given.shape != (len(counts),)):
        raise InvalidInputError(
            f"attempts has shape {given.shape}; it must be a number or one for each of the "
            f"{len(counts)} states, in the order of counts.states"
        )
    if not (np.all(np.isfinite(given)) and np.all(given >= 0) and (given.ndim or given > 0)):
        raise InvalidInputError(f"attempts={attempts!r}; attempts are finite and positive")
    mode = "array" if given.ndim else "number"
    return np.broadcast_to(given, (len(counts),)).astype(np.float64), mode
