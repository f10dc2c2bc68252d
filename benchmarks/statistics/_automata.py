"""Two other forms of memory to hold contexts against: merged automata and trees of predicates."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from scipy.special import gammaln

from detailed_balance import RunTable

__all__ = ["MergedAutomaton", "PredicateTree", "read_paths"]

Path = list[str | None]


def read_paths(table: RunTable) -> list[Path]:
    """Return the keys that each run came to; None for an escape."""
    return [[target for _, target in run.moves] for run in table]


@dataclass(frozen=True)
class MergedAutomaton:
    """A probabilistic automaton, from the prefix tree of runs by merging states.

    ALERGIA of Carrasco and Oncina (1994): a state is merged with the first earlier one where the
    shares of all next keys, after it and after each common sequence of keys, differ by less than
    Hoeffding's bound at `alpha`. With `same_key` only states that the same key leads to are merged.
    A key that never left a state leads to the state where it mostly led to.

    Examples
    --------
    >>> found = MergedAutomaton.fit([["a", "b"] * 30] * 50, alpha=0.05)
    >>> len(found.counts), found.log_probability([["a", "b"]], size=2, prior=0.1) > -0.01
    (2, True)
    """

    counts: list[Counter[str | None]]
    children: list[dict[str | None, int]]
    default: dict[str | None, int]

    @classmethod
    def fit(
        cls, paths: Sequence[Path], alpha: float = 0.05, same_key: bool = False
    ) -> MergedAutomaton:
        """Merge the states of the prefix tree."""
        counts: list[Counter[str | None]] = [Counter()]
        children: list[dict[str | None, int]] = [{}]
        came_by: list[str | None] = ["__start__"]
        for path in paths:
            node = 0
            for key in path:
                counts[node][key] += 1
                if key not in children[node]:
                    children[node][key] = len(counts)
                    counts.append(Counter())
                    children.append({})
                    came_by.append(key)
                node = children[node][key]
        kept, waiting = [0], deque((0, key) for key in children[0])
        while waiting:
            parent, key = waiting.popleft()
            state = children[parent][key]
            if state in kept:
                continue
            for other in kept:
                alike = not same_key or came_by[other] == came_by[state]
                if alike and _compatible(counts, children, other, state, alpha):
                    children[parent][key] = other
                    _fold(counts, children, other, state)
                    waiting.extend((s, k) for s in kept for k in children[s])
                    break
            else:
                kept.append(state)
                waiting.extend((state, k) for k in children[state])
        place = {state: i for i, state in enumerate(kept)}
        into: dict[str | None, Counter[int]] = {}
        for state in kept:
            for key, child in children[state].items():
                into.setdefault(key, Counter())[place[child]] += counts[state][key]
        return cls(
            [counts[s] for s in kept],
            [{key: place[child] for key, child in children[s].items()} for s in kept],
            {key: states.most_common(1)[0][0] for key, states in into.items()},
        )

    def log_probability(self, paths: Sequence[Path], size: int, prior: float) -> float:
        """Return the mean log probability of a move; `size` keys have the prior each."""
        total, moves = 0.0, 0
        for path in paths:
            state = 0
            for key in path:
                seen = self.counts[state]
                total += log((seen[key] + prior) / (seen.total() + size * prior))
                state = self.children[state].get(key, self.default.get(key, 0))
            moves += len(path)
        return total / moves


def _compatible(
    counts: list[Counter[str | None]],
    children: list[dict[str | None, int]],
    one: int,
    other: int,
    alpha: float,
) -> bool:
    """Whether Hoeffding's bound holds for all next keys, after both states and below them."""
    bound, pairs = sqrt(log(2 / alpha) / 2), [(one, other)]
    while pairs:
        a, b = pairs.pop()
        n, m = counts[a].total(), counts[b].total()
        if not n or not m:
            continue
        allowed = bound * (1 / sqrt(n) + 1 / sqrt(m))
        if any(
            abs(counts[a][k] / n - counts[b][k] / m) > allowed for k in {*counts[a], *counts[b]}
        ):
            return False
        pairs += [(children[a][k], c) for k, c in children[b].items() if k in children[a]]
    return True


def _fold(
    counts: list[Counter[str | None]], children: list[dict[str | None, int]], one: int, other: int
) -> None:
    """Add the tree below `other` to what is below `one`."""
    pairs = [(one, other)]
    while pairs:
        a, b = pairs.pop()
        counts[a].update(counts[b])
        for key, child in children[b].items():
            if key in children[a]:
                pairs.append((children[a][key], child))
            else:
                children[a][key] = child


@dataclass(frozen=True)
class PredicateTree:
    """A decision tree on what a run has done, with a Dirichlet estimator in each leaf.

    A node asks one question about one key k: is it the last key, the second or third last, was it
    among the last five, was it seen, was it seen twice? Nodes are split by the question that saves
    most, while that is more than the log of the number of questions and log 2.

    Examples
    --------
    >>> found = PredicateTree.fit([["a", "b"] * 30] * 20, prior=0.1)
    >>> found.log_probability([["a", "b"]], size=2, prior=0.1) > -0.02
    True
    """

    keys: tuple[str, ...]
    questions: list[int]
    branches: list[tuple[int, int]]
    counts: list[Counter[str | None]]

    @classmethod
    def fit(cls, paths: Sequence[Path], prior: float) -> PredicateTree:
        """Split greedily."""
        keys = tuple(sorted({key for path in paths for key in path if key is not None}))
        asked = _answers(paths, keys)
        symbol = [key for path in paths for key in path]
        names = sorted(set(symbol), key=str)
        place = {key: i for i, key in enumerate(names)}
        one_hot = np.eye(len(names))[[place[key] for key in symbol]]
        tree = cls(keys, [], [], [])
        waiting: list[tuple[np.ndarray, int, int]] = [(np.arange(len(symbol)), -1, 0)]
        price = log(asked.shape[1]) + log(2)
        while waiting:
            moves, parent, side = waiting.pop()
            node, whole = len(tree.questions), one_hot[moves].sum(axis=0)
            if parent >= 0:
                low, high = tree.branches[parent]
                tree.branches[parent] = (node, high) if side == 0 else (low, node)
            yes = asked[moves].T @ one_hot[moves]
            saved = _length(whole, prior) - _length(yes, prior) - _length(whole - yes, prior)
            best = int(np.argmax(saved))
            split = saved[best] > price
            tree.questions.append(best if split else -1)
            tree.branches.append((0, 0))
            tree.counts.append(Counter(dict(zip(names, whole.tolist(), strict=True))))
            if split:
                answer = asked[moves, best] > 0
                waiting += [(moves[~answer], node, 0), (moves[answer], node, 1)]
        return tree

    def log_probability(self, paths: Sequence[Path], size: int, prior: float) -> float:
        """Return the mean log probability of a move; `size` keys have the prior each."""
        answers, total = _answers(paths, self.keys), 0.0
        symbol = [key for path in paths for key in path]
        for key, answer in zip(symbol, answers, strict=True):
            node = 0
            while self.questions[node] >= 0:
                node = self.branches[node][int(answer[self.questions[node]])]
            seen = self.counts[node]
            total += log((seen[key] + prior) / (seen.total() + size * prior))
        return total / len(symbol)


def _answers(paths: Sequence[Path], keys: Sequence[str]) -> np.ndarray:
    """(m, 6 n) array: before each move the answers of six questions about n keys."""
    place = {key: i for i, key in enumerate(keys)}
    rows = []
    for path in paths:
        seen = np.zeros(len(keys))
        past: list[int] = []
        for key in path:
            row = np.zeros((6, len(keys)))
            for lag, code in enumerate(past[:3]):
                row[lag, code] = 1
            row[3, past[:5]] = 1
            row[4], row[5] = seen >= 1, seen >= 2
            rows.append(row.ravel())
            if key in place:
                past.insert(0, place[key])
                seen[place[key]] += 1
    return np.array(rows)


def _length(counts: np.ndarray, prior: float) -> np.ndarray:
    """(...,) array: nats of a Dirichlet estimator for (..., k) counts."""
    whole = counts.shape[-1] * prior
    each = (gammaln(counts + prior) - gammaln(prior)).sum(axis=-1)
    return np.asarray(gammaln(counts.sum(axis=-1) + whole) - gammaln(whole) - each)
