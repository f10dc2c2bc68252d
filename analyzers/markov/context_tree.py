"""`ContextTree`: the next key by context-tree weighting, over all lengths of memory at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import exp, log
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import gammaln

from detailed_balance.analyzers.counts import START
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.runs.table import Runs, RunTable
from detailed_balance.analyzers.sparse import count_distinct, find_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ContextCounts", "ContextTree", "TreeState", "count_contexts"]

NOTHING = -1
"""Stands for the key before the first one of a run, or before a gap."""


class ContextCounts(NamedTuple):
    """How often each next key followed each context of up to d keys.

    Contexts are numbered by their length; the first is the empty one, which every move has. A
    context that reaches back to where a run begins ends with `NOTHING`, and has no longer ones.

    Parameters
    ----------
    states : tuple of str, length n
        The keys.
    parent, key, depth : (v,) arrays of int64
        Of each context: the same without its oldest key, that key, and how many there are.
    levels : tuple of d + 1 (m,) arrays of int64
        The context of each move at each length; -1 where it has none so long.
    owner, symbol, number : (e,) arrays of int64
        How often a next key (n is an escape) followed a context, sorted by context.
    """

    states: tuple[str, ...]
    parent: NDArray[np.int64]
    key: NDArray[np.int64]
    depth: NDArray[np.int64]
    levels: tuple[NDArray[np.int64], ...]
    owner: NDArray[np.int64]
    symbol: NDArray[np.int64]
    number: NDArray[np.int64]

    @property
    def total(self) -> NDArray[np.int64]:
        """(v,) array: the moves that each context came before."""
        return np.bincount(self.owner, self.number, len(self.parent)).astype(np.int64)

    def code_lengths(self, prior: float, alphabet: int) -> NDArray[np.float64]:
        """(v,) array: nats that the next keys of each context take by one Dirichlet estimator.

        With a prior of 1/2 a key that is the estimator of Krichevsky and Trofimov.
        """
        each = gammaln(self.number + prior) - gammaln(prior)
        found = np.bincount(self.owner, each, len(self.parent))
        whole = alphabet * prior
        return np.asarray(gammaln(self.total + whole) - gammaln(whole) - found)


def count_contexts(table: RunTable, depth: int) -> ContextCounts:
    """Count the next keys after the last 0 to `depth` keys; an escape adds no key to them.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> found = count_contexts(RunTable.of([Trajectory((("a", "b"), ("b", "a")))]), 2)
    >>> found.key.tolist(), found.parent.tolist(), found.total.tolist()
    ([-1, 0, 1, -1, 0], [-1, 0, 0, 1, 2], [2, 1, 1, 1, 1])
    """
    n, m = len(table.states), table.total
    before, escape = _moves_before(table), n
    symbol = np.where(table.target < 0, escape, table.target).astype(np.int64)
    node, older = np.zeros(m, dtype=np.int64), table.source.astype(np.int64)
    levels, parents, keys, depths = (
        [node],
        [np.full(1, -1)],
        [np.full(1, NOTHING)],
        [np.zeros(1, dtype=np.int64)],
    )
    number = 1
    for length in range(1, depth + 1):
        going = np.flatnonzero(node >= 0)
        pairs = node[going] * (n + 1) + older[going] + 1
        distinct, _ = count_distinct(pairs, number * (n + 1))
        node = np.full(m, -1)
        node[going] = number + find_places(pairs, distinct, number * (n + 1))
        levels.append(node)
        parents.append(distinct // (n + 1))
        keys.append(distinct % (n + 1) - 1)
        depths.append(np.full(len(distinct), length))
        number += len(distinct)
        node = np.where(older == NOTHING, -1, node)
        older = np.where(before < 0, NOTHING, older[before])
    counted = [
        count_distinct(level[level >= 0] * (n + 1) + symbol[level >= 0], number * (n + 1))
        for level in levels
    ]
    cells, number_of = (np.concatenate(each) for each in zip(*counted, strict=True))
    parent, key, length_of = (np.concatenate(each) for each in (parents, keys, depths))
    owner, after = cells // (n + 1), cells % (n + 1)
    return ContextCounts(
        table.states, parent, key, length_of, tuple(levels), owner, after, number_of
    )


def _moves_before(table: RunTable) -> NDArray[np.int64]:
    """(m,) array: the move by which a run came to where each move begins; -1 where none is known.

    Of a move after an escape it is that of the escape.
    """
    source, target, run = table.source, table.target, table.run_of_move
    stays = np.zeros(table.total, dtype=bool)  # the move before was an escape from the same state
    comes = stays.copy()
    same = run[1:] == run[:-1]
    stays[1:] = same & (target[:-1] < 0) & (source[1:] == source[:-1])
    comes[1:] = same & (source[1:] == target[:-1])
    first = np.maximum.accumulate(np.where(stays, 0, np.arange(table.total)))
    return np.where(comes[first], first - 1, -1)


class ContextTree:
    """Predict the next key from the last ones, weighted over all trees of contexts.

    Each context of up to `depth` keys has an estimator of the next key, with `prior` for each key
    of the alphabet (1/2 is that of Krichevsky and Trofimov), and the posterior probability that
    nothing older matters, half of it before any data. The prediction is the mean over all trees of
    contexts with their posterior probabilities. A context that was never seen says what the
    longest one that was seen says.

    The alphabet is all keys of the table, START apart, and one more, which stands for an escape
    and for any key that is not in the table. Two trees fitted to parts of one table share it, so
    that their probabilities may be compared.

    Parameters
    ----------
    states : tuple of str, length n
        The keys.
    depth : int
        The most keys that count.
    prior : float
        Of each key, in moves.
    code_length : float
        What the runs take, in nats, the tree included: minus the log of their probability.

    References
    ----------
    Willems, Shtarkov and Tjalkens, IEEE Transactions on Information Theory 41 (1995) 653;
    Kontoyiannis et al., Journal of the Royal Statistical Society B 84 (2022) 1287, for the
    posterior over trees.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> runs = [Trajectory((("a", "x"), ("x", "b"), ("b", "y"), ("y", "b"), ("b", "x")))] * 9
    >>> tree = ContextTree.fit(runs, depth=2)
    >>> state = tree.start()
    >>> [round(exp(state.update(*move)), 2) for move in runs[0].moves[:3]]
    [0.83, 0.83, 0.83]
    >>> max(tree.predict(["b", "y", "b"]).items(), key=lambda item: item[1])[0]
    'x'
    """

    def __init__(
        self,
        states: Sequence[str],
        depth: int,
        prior: float,
        *,
        children: Mapping[tuple[int, int], int],
        parent: Sequence[int],
        cells: Mapping[tuple[int, int], int],
        stop: Sequence[float],
        code_length: float,
    ) -> None:
        self.states, self.depth, self.prior = tuple(states), depth, prior
        self.code_length = code_length
        self._children, self._parent, self._stop = dict(children), list(parent), list(stop)
        self._cells, self._place = dict(cells), {state: i for i, state in enumerate(states)}
        self._alphabet = _alphabet(self.states)
        self._total = [0] * len(self._parent)
        for (node, _), count in self._cells.items():
            self._total[node] += count
        self._known: dict[tuple[int, int], float] = {}

    @classmethod
    def fit(cls, runs: Runs, depth: int = 3, prior: float = 0.5) -> ContextTree:
        """Count the next keys of runs, and weigh the contexts.

        Raises
        ------
        InvalidInputError
            Where `depth` is negative, or `prior` not above 0.
        InsufficientDataError
            Where there are no moves.
        """
        if depth < 0 or not 0 < prior < np.inf:
            raise InvalidInputError(
                f"depth={depth!r}, prior={prior!r}; the depth is 0 keys or more, and the prior of "
                "a key is worth more than 0 moves"
            )
        table = RunTable.of(runs)
        if not table.total:
            raise InsufficientDataError("there are no moves in these runs: nothing to predict from")
        counts = count_contexts(table, depth)
        stop, length = _weigh(counts, prior)
        pairs = zip(counts.parent.tolist(), counts.key.tolist(), strict=True)
        cells = zip(counts.owner.tolist(), counts.symbol.tolist(), strict=True)
        return cls(
            table.states,
            depth,
            prior,
            children={pair: node for node, pair in enumerate(pairs) if node},
            parent=counts.parent.tolist(),
            cells=dict(zip(cells, counts.number.tolist(), strict=True)),
            stop=stop.tolist(),
            code_length=length,
        )

    def __repr__(self) -> str:
        return (
            f"ContextTree(depth={self.depth}, prior={self.prior:g}, keys={len(self.states):,}, "
            f"contexts={len(self._parent):,}, moves={self._total[0]:,})"
        )

    def start(self) -> TreeState:
        """Begin a run."""
        return TreeState(self)

    def log_probabilities(self, runs: Runs) -> NDArray[np.float64]:
        """(m,) array: the log of the probability of each of the m moves of runs, in nats.

        To the last digit what `TreeState.update` returns; minus it is the surprisal.

        Examples
        --------
        >>> from detailed_balance.analyzers import Trajectory
        >>> runs = [Trajectory((("a", "b"), ("b", "a")))]
        >>> ContextTree.fit(runs, depth=0).log_probabilities(runs).round(3).tolist()  # 1.5 / 3.5
        [-0.847, -0.847]
        """
        table = RunTable.of(runs)
        n, width = len(table.states), len(self.states) + 1
        codes = [self._place.get(state, len(self.states)) for state in table.states]
        reached = np.array([*codes, len(self.states)])[np.where(table.target < 0, n, table.target)]
        nodes = self._find_nodes(table, codes)
        pairs, place = np.unique(nodes * width + reached, return_inverse=True)
        each = [self.log_probability(*divmod(pair, width)) for pair in pairs.tolist()]
        return np.array(each, dtype=np.float64)[place]

    def most_likely(self, runs: Runs) -> NDArray[np.object_]:
        """(m,) array of str or None: the most likely next key before each of the m moves of runs.

        None stands for an escape and for any key that the tree does not know. Of keys with the same
        probability it is the first by name.
        """
        table = RunTable.of(runs)
        codes = [self._place.get(state, len(self.states)) for state in table.states]
        nodes, place = np.unique(self._find_nodes(table, codes), return_inverse=True)
        best = np.empty(len(nodes), dtype=object)
        best[:] = [next(iter(self._predict_after(node))) for node in nodes.tolist()]
        return best[place]

    def _find_nodes(self, table: RunTable, codes: Sequence[int]) -> NDArray[np.int64]:
        """(m,) array: the longest context of each move that is known."""
        counts, own = count_contexts(table, self.depth), [0]
        for parent, key in zip(counts.parent[1:].tolist(), counts.key[1:].tolist(), strict=True):
            code = codes[key] if key >= 0 else NOTHING
            above = own[parent]
            own.append(self._children.get((above, code), -1) if above >= 0 else -1)
        known, deepest = np.array(own), np.zeros(table.total, dtype=np.int64)
        for level in counts.levels[1:]:
            found = np.where(level < 0, -1, known[level])
            deepest = np.where(found < 0, deepest, found)
        return deepest

    def predict(self, keys: Sequence[str]) -> dict[str | None, float]:
        """Return the probability of each next key after these, oldest first, the most likely first.

        None stands for an escape and for any key that the tree does not know.
        """
        state = self.start()
        for key in keys[-self.depth - 1 :] if self.depth else ():
            state.add(key)
        return self._predict_after(state.node)

    def _predict_after(self, node: int) -> dict[str | None, float]:
        symbols = [i for i, name in enumerate(self.states) if name != START]
        names = [*(self.states[i] for i in symbols), None]
        found = [exp(self.log_probability(node, i)) for i in (*symbols, len(self.states))]
        order = sorted(range(len(names)), key=lambda i: -found[i])
        return {names[i]: found[i] for i in order}

    def log_probability(self, node: int, symbol: int) -> float:
        """Return the log of the probability of a key after a context, both by their numbers."""
        known = self._known.get((node, symbol))
        if known is None:
            known = self._known[node, symbol] = log(self._mix(node, symbol))
        return known

    def _mix(self, node: int, symbol: int) -> float:
        """Return the probability of a key, weighted over all lengths of the context."""
        whole, found, weight = self._alphabet * self.prior, 0.0, 1.0
        path = list(self._path(node))
        for place in reversed(path):
            own = (self._cells.get((place, symbol), 0) + self.prior) / (self._total[place] + whole)
            share = 1.0 if place == node else self._stop[place]
            found += weight * share * own
            weight *= 1 - share
        return found

    def _path(self, node: int) -> Iterator[int]:
        while node >= 0:
            yield node
            node = self._parent[node]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "states": list(self.states),
            "depth": self.depth,
            "prior": self.prior,
            "children": [[*pair, node] for pair, node in self._children.items()],
            "parent": self._parent,
            "cells": [[*pair, count] for pair, count in self._cells.items()],
            "stop": self._stop,
            "code_length": self.code_length,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ContextTree:
        """Return the tree that `to_dict` has written."""
        given = dict(data)
        for name in ("children", "cells"):
            given[name] = {(one, other): value for one, other, value in data[name]}
        return cls(**given)


class TreeState:
    """One run under a `ContextTree`.

    Parameters
    ----------
    tree : ContextTree
        What predicts it.
    """

    __slots__ = ("_history", "_key", "_tree", "node")

    def __init__(self, tree: ContextTree) -> None:
        self._tree = tree
        self._key: str | None = None
        self._history: tuple[int, ...] = ()
        self.node = 0

    def update(self, source: str, target: str | None) -> float:
        """Add one move, and return the log of its probability by the moves before, in nats."""
        tree = self._tree
        if source != self._key:
            self._history = ()
            self.add(source)
        unknown = len(tree.states)
        symbol = unknown if target is None else tree._place.get(target, unknown)
        found = tree.log_probability(self.node, symbol)
        if target is not None:
            self.add(target)
        return found

    def add(self, key: str) -> None:
        """Go to a key, and find the longest context that is known."""
        tree = self._tree
        code = tree._place.get(key, len(tree.states))
        self._key = key
        self._history = (code, *self._history[: tree.depth - 1]) if tree.depth else ()
        node = 0
        path = self._history if len(self._history) == tree.depth else (*self._history, NOTHING)
        for code in path:
            child = tree._children.get((node, code))
            if child is None:
                break
            node = child
        self.node = node


def _alphabet(states: Sequence[str]) -> int:
    return len(states) + 1 - (START in states)


def _weigh(counts: ContextCounts, prior: float) -> tuple[NDArray[np.float64], float]:
    """Return the probability that nothing older matters for each context, and the code length.

    For a context with longer ones below it, P = (P_own + the product of their P) / 2; for others
    it is P_own.
    """
    own = -counts.code_lengths(prior, _alphabet(counts.states))
    below, weighted = np.zeros(len(own)), own.copy()
    has = np.bincount(counts.parent[1:], minlength=len(own)) > 0
    for depth in range(int(counts.depth.max()), -1, -1):
        here = np.flatnonzero(counts.depth == depth)
        inner = here[has[here]]
        weighted[inner] = np.logaddexp(own[inner], below[inner]) - log(2)
        if depth:
            np.add.at(below, counts.parent[here], weighted[here])
    stop = np.where(has, np.exp(own - log(2) - weighted), 1.0)
    return stop, -float(weighted[0])
