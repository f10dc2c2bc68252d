"""`PrefixTree`: token sequences of which each shared beginning is there once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["PrefixTree"]


@dataclass(frozen=True, slots=True, eq=False)
class PrefixTree:
    """Token sequences as a tree; a node is a prefix of some of them, and node 0 the empty one.

    Parameters
    ----------
    tokens : (n,) array of int
        The last token of each node's prefix; -1 at the root.
    parents : (n,) array of int
        The node one token shorter; it comes before its children. -1 at the root.
    depths : (n,) array of int
        How many tokens each prefix has.
    leaves : (m,) array of int
        The node of each whole sequence, in the order in which they were given.

    Examples
    --------
    >>> tree = PrefixTree.from_sequences([(5, 6), (5, 7), (8,)])
    >>> tree.tokens.tolist(), tree.parents.tolist()
    ([-1, 5, 6, 7, 8], [-1, 0, 1, 1, 0])
    >>> tree.leaves.tolist()
    [2, 3, 4]
    """

    tokens: NDArray[np.int64]
    parents: NDArray[np.int64]
    depths: NDArray[np.int64]
    leaves: NDArray[np.int64]

    @classmethod
    def from_sequences(cls, sequences: Iterable[Sequence[int]]) -> PrefixTree:
        """Lay the tree of `sequences`, of at least one token each.

        Raises
        ------
        InvalidInputError
            Where a sequence is empty.
        """
        places: dict[tuple[int, int], int] = {}
        leaves = []
        for sequence in sequences:
            if not len(sequence):
                raise InvalidInputError("an empty sequence of tokens; give at least one token")
            node = 0
            for token in sequence:
                node = places.setdefault((node, int(token)), len(places) + 1)
            leaves.append(node)
        edges = np.array([(-1, -1), *places], dtype=np.int64)
        depths = np.zeros(len(edges), dtype=np.int64)
        for node in range(1, len(edges)):
            depths[node] = depths[edges[node, 0]] + 1
        return cls(edges[:, 1], edges[:, 0], depths, np.array(leaves, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.tokens)

    def ancestors(self) -> NDArray[np.bool_]:
        """Return the (n, n) array that says whether column's prefix begins row's, itself included.

        Examples
        --------
        >>> PrefixTree.from_sequences([(5, 6), (7,)]).ancestors().astype(int).tolist()
        [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 1]]
        """
        found = np.eye(len(self), dtype=bool)
        for node in range(1, len(self)):
            found[node] |= found[self.parents[node]]
        return found

    def prefix(self, node: int) -> tuple[int, ...]:
        """Return the tokens of a node's prefix.

        Examples
        --------
        >>> PrefixTree.from_sequences([(5, 6), (5, 7)]).prefix(3)
        (5, 7)
        """
        tokens: list[int] = []
        while node:
            tokens.append(int(self.tokens[node]))
            node = int(self.parents[node])
        return tuple(reversed(tokens))

    def add_along(self, steps: ArrayLike) -> NDArray[np.float64]:
        """Return for each node the sum of `steps` from the root to it, the root's left out.

        Parameters
        ----------
        steps : (n,) array of float
            What the last token of each node adds, such as its log-probability.

        Examples
        --------
        >>> tree = PrefixTree.from_sequences([(5, 6), (7,)])
        >>> tree.add_along([0, -1, -2, -4]).tolist()
        [0.0, -1.0, -3.0, -4.0]
        """
        totals = np.array(steps, dtype=np.float64)
        totals[0] = 0.0
        for node in range(1, len(self)):
            totals[node] += totals[self.parents[node]]
        return totals
