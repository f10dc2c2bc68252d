"""`find_contexts`: states with as much memory as the runs show, which forecasts need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import lgamma, log
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from scipy.special import gammaln

from detailed_balance.analyzers.counts import END
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.markov.context_names import join_keys, split_name
from detailed_balance.analyzers.markov.context_tree import (
    NOTHING,
    ContextCounts,
    count_contexts,
)
from detailed_balance.analyzers.markov.order import (
    MarkovOrderTest,
    Strata,
    StrataLike,
    find_strata,
    order_test,
)
from detailed_balance.analyzers.results import Table, TableResult, safe_name
from detailed_balance.analyzers.runs.arrays import Paths
from detailed_balance.analyzers.runs.table import Runs, RunTable
from detailed_balance.analyzers.sparse import count_distinct, find_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ContextState", "Contexts", "find_contexts"]

Word: TypeAlias = tuple[str, ...]
"""The last keys of a run, the newest first."""


@dataclass(frozen=True, slots=True, eq=False)
class Contexts(TableResult):
    """Contexts: the last keys of a run, as many as tell of the next one.

    The state of a run is the longest context that its last keys begin with. The set is closed: what
    remains of a context without its newest key is a context too. So the next state depends on the
    state and the next key alone.

    Parameters
    ----------
    words : tuple of tuple of str
        The contexts, sorted; the keys of each, the newest first.
    moves : tuple of int
        The moves that were recorded from each.
    order : MarkovOrderTest or None
        The test of order 1 on these states, in the runs they were found in: it says what is left.
        None where they were not refined, or there was too little to test.
    rounds : int
        How often contexts were lengthened after a test.
    depth, prior, refine, alpha, replicates, min_count, max_depth, strata, seed
        The settings.
    """

    words: tuple[Word, ...]
    moves: tuple[int, ...]
    order: MarkovOrderTest | None
    rounds: int
    depth: int
    prior: float
    refine: bool
    alpha: float
    replicates: int
    min_count: int
    max_depth: int
    strata: str
    seed: int
    _places: dict[Word, int] = field(default_factory=dict, repr=False)
    _follow: dict[tuple[int, str], int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._places.update({word: i for i, word in enumerate(self.words)})

    def __len__(self) -> int:
        return len(self.words)

    @property
    def longest(self) -> int:
        """The keys of the longest context."""
        return max(map(len, self.words), default=0)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the contexts, such as ``respond<get_user_details``."""
        return tuple(map(join_keys, self.words))

    def describe(self) -> str:
        """Say in one sentence what was found, and whether these states are enough."""
        longer = [name for name, word in zip(self.names, self.words, strict=True) if len(word) > 1]
        if not longer:
            found = "the last key is all that counts"
        else:
            shown = ", ".join(map(safe_name, longer[:3]))
            more = f" and {len(longer) - 3:,} more" if len(longer) > 3 else ""
            found = f"what came before counts in {shown}{more}"
        return found if self.order is None else f"{found}; {self.order.describe()}"

    def start(self) -> ContextState:
        """Begin to follow a run.

        Examples
        --------
        >>> from detailed_balance.analyzers import Trajectory
        >>> run = Trajectory((("a", "x"), ("x", "b"), ("b", "y"), ("y", "a")))
        >>> state = find_contexts([run] * 9, refine=False).start()
        >>> [state.update(*move) for move in run.moves]
        ['x', 'b', 'y', 'a']
        """
        return ContextState(self)

    def rename(self, runs: Runs) -> RunTable:
        """Return runs with contexts for states; a key that is not known is a state by itself.

        Parameters
        ----------
        runs : RunTable or iterable of Trajectory
            With the keys that the contexts are made of.
        """
        table = RunTable.of(runs)
        counts = count_contexts(table, self.longest)
        own = [-1]  # the context of each node of the tree
        keys = [join_keys([state]) for state in table.states]
        alone = {state: len(self) + i for i, state in enumerate(table.states)}
        words: list[Word] = [()]
        for parent, key in zip(counts.parent[1:].tolist(), counts.key[1:].tolist(), strict=True):
            word = (*words[parent], table.states[key]) if key != NOTHING else ()
            known = self._places.get(word, -1) if word else -1
            if known < 0 and len(word) == 1:
                known = alone[word[0]]
            words.append(word)
            own.append(known)
        source = np.full(table.total, -1)
        for level in counts.levels[1:]:
            found = np.where(level < 0, -1, np.array(own)[level])
            source = np.where(found < 0, source, found)
        names = [*self.names, *keys]
        n, target = len(table.states), table.target
        pairs = source.astype(np.int64) * n + target
        goes = np.flatnonzero(target >= 0)
        distinct, _ = count_distinct(pairs[goes], len(names) * n)
        after = np.array([self._after(pair, table.states, alone) for pair in distinct.tolist()])
        reached = np.full(table.total, -1)
        if len(goes):
            reached[goes] = after[find_places(pairs[goes], distinct, len(names) * n)]
        same = {name: i for i, name in reversed(list(enumerate(names)))}
        first = np.array([*(same[name] for name in names), -1])
        return RunTable.from_codes(
            names,
            first[source],
            first[reached],
            table.offsets,
            table.runs,
            contexts=table.contexts,
            blocks=table.blocks,
            costs=table.costs,
            facts=table.facts,
        )

    def restore(self, runs: Runs) -> RunTable:
        """Return runs that `rename` has renamed with their keys for states, as before.

        Examples
        --------
        >>> from detailed_balance.analyzers import Trajectory
        >>> runs = [Trajectory((("a<b", "x"), ("x", "a<b"))), Trajectory((("b", "x"), ("x", "b")))]
        >>> contexts = find_contexts(runs * 20, refine=False)
        >>> list(contexts.restore(contexts.rename(runs))) == runs
        True
        """
        return RunTable.of(runs).merge(lambda state: split_name(state)[0])

    def _after(self, pair: int, states: Sequence[str], alone: Mapping[str, int]) -> int:
        place, key = divmod(pair, len(states))
        found = self.follow(place, states[key])
        return alone[states[key]] if found < 0 else found

    def follow(self, place: int, key: str) -> int:
        """Return the place of the context after a key, at a context by its place.

        -1, or anything that is not a place of a context, stands for none; -1 comes back where the
        key is not known. A context that is not known yet takes at most `max_depth` look-ups.
        """
        found = self._follow.get((place, key))
        if found is None:
            word = (key, *self.words[place]) if 0 <= place < len(self.words) else (key,)
            while len(word) > 1 and word not in self._places:
                word = word[:-1]
            found = self._places.get(word, -1)
            if found >= 0:  # others have no bound
                self._follow[place, key] = found
        return found

    def to_table(self) -> Table:
        """Return the columns context, last key, keys before it, and moves; most moves first."""
        order = sorted(range(len(self)), key=lambda i: (-self.moves[i], self.words[i]))
        return {
            "context": [join_keys(self.words[i]) for i in order],
            "key": [self.words[i][0] for i in order],
            "before": [len(self.words[i]) - 1 for i in order],
            "moves": [self.moves[i] for i in order],
        }

    def _content(self) -> dict[str, Any]:
        settings = ("depth", "prior", "refine", "alpha", "replicates")
        more = ("min_count", "max_depth", "strata", "seed")
        return {
            "words": self.words,
            "moves": self.moves,
            "order": self.order,
            "rounds": self.rounds,
            "settings": self._values(*settings, *more),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Contexts:
        """Return the contexts that `to_dict` has written; the test of order is left out.

        Raises
        ------
        InvalidInputError
            Where these are not contexts, or the set is not closed.

        Examples
        --------
        >>> from detailed_balance.analyzers import Trajectory
        >>> found = find_contexts([Trajectory((("a", "b"), ("b", "a")))], refine=False)
        >>> Contexts.from_dict(found.to_dict()).words
        (('a',), ('b',))
        """
        try:
            words = tuple(tuple(map(str, word)) for word in data["words"])
            moves, rounds = tuple(map(int, data["moves"])), int(data["rounds"])
            settings = dict(data["settings"])
            if len(moves) != len(words) or set(words) != close_words(words) or () in words:
                raise InvalidInputError(
                    "the set of contexts is not closed, or has no moves for some"
                )
            return cls(words, moves, None, rounds, **settings)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(
                f"these are not contexts as Contexts.to_dict writes them: {error!r}"
            ) from None


class ContextState:
    """The state of one run as it goes on; see `Contexts.start`.

    Parameters
    ----------
    contexts : Contexts
        The contexts that there are.
    """

    __slots__ = ("_contexts", "_key", "_names", "_place")

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts
        self._names = contexts.names
        self._key: str | None = None
        self._place = -1

    @property
    def name(self) -> str | None:
        """The name of the state; None before the first move."""
        if self._place >= 0:
            return self._names[self._place]
        return None if self._key is None else join_keys([self._key])

    def update(self, source: str, target: str | None) -> str:
        """Add one move, and return the name of the state that it leads to."""
        if source != self._key:
            self._place = -1
            self.add(source)
        if target is not None:
            self.add(target)
        return self._names[self._place] if self._place >= 0 else join_keys([self._key or ""])

    def add(self, key: str) -> None:
        """Go on to a key."""
        self._key, self._place = key, self._contexts.follow(self._place, key)


def find_contexts(
    runs: Runs,
    depth: int = 3,
    prior: float = 0.5,
    refine: bool = True,
    alpha: float = 0.05,
    replicates: int = 99,
    min_count: int = 8,
    max_depth: int = 6,
    *,
    strata: StrataLike = None,
    seed: int = 0,
) -> Contexts:
    """Find states with memory: as many of the last keys as tell of the next one.

    Agents are rarely a chain of order 1 in the names of tools. The next key is counted after the
    last 1 to `depth` keys. A longer context is kept where the code of the next keys gets shorter
    with an estimator of its own: the code length of Krichevsky and Trofimov, and log 2 for the
    context, in nats. The set is closed. Then, while `markov_order_test` rejects order 1, the states
    in which the state before still counts are lengthened by one key, as long as they can be.

    The states are for forecasts. Potentials and tests of balance need keys that have a way back:
    a move from ``b<a`` to ``c<b`` never has one.

    Parameters
    ----------
    runs : RunTable or iterable of Trajectory
        The runs. An escape adds no key.
    depth : int
        The most keys of a context before the refinement.
    prior : float
        Of each next key that was seen after the newest key, in moves.
    refine : bool
        Whether to lengthen what the test of order names.
    alpha : float
        Level of that test, and of the states that it names.
    replicates : int
        How often it reshuffles the runs.
    min_count : int
        The fewest moves after a context that is longer than one key.
    max_depth : int
        The most keys of any context.
    strata : str or (r,) array, optional
        The stratum of each run in the test, as for `markov_order_test`. By default all runs are
        taken together: what a mixture of tasks adds is memory too, as far as it predicts.
    seed : int
        Of the shuffles.

    Returns
    -------
    Contexts
        Which rename runs, and follow a run as it goes on.

    Raises
    ------
    InsufficientDataError
        Where there are no moves.
    InvalidInputError
        Where a setting has a value that is not allowed.

    References
    ----------
    Rissanen, IEEE Transactions on Information Theory 29 (1983) 656, for contexts; Martin, Seroussi
    and Weinberger, IEEE Transactions on Information Theory 50 (2004) 1442, for closed sets of them.

    Examples
    --------
    >>> from detailed_balance.analyzers import Trajectory
    >>> runs = [Trajectory((("a", "x"), ("x", "a"))), Trajectory((("b", "x"), ("x", "b")))]
    >>> found = find_contexts(runs * 20)  # x goes back to where it was entered from
    >>> [name for name in found.names if "<" in name]
    ['x<a']
    """
    _check(depth, prior, replicates, min_count, max_depth)
    table = RunTable.of(runs)
    if not table.total:
        raise InsufficientDataError("there are no moves in these runs: no contexts to find")
    groups = find_strata(table, strata)
    order = table.order()
    table, groups = table.select(order), groups.select(order)
    counts = count_contexts(table, max_depth if refine else depth)
    tree = _Tree(counts, prior, min_count)
    words = close_words(tree.grow(depth))
    settings: dict[str, Any] = {
        "depth": depth,
        "prior": prior,
        "refine": refine,
        "alpha": alpha,
        "replicates": replicates,
        "min_count": min_count,
        "max_depth": max_depth,
        "strata": groups.name,
        "seed": seed,
    }
    found, test, rounds = _number(table, words, settings), None, 0
    while refine:
        test = _test(found, table, groups, settings)
        if test is None or not test.rejected:
            break
        longer = tree.lengthen(words, test, max_depth)
        if longer == words:
            break
        words, rounds = longer, rounds + 1
        found = _number(table, words, settings)
    return Contexts(found.words, found.moves, test, rounds, **settings)


def _check(depth: int, prior: float, replicates: int, min_count: int, max_depth: int) -> None:
    if not 1 <= depth <= max_depth:
        raise InvalidInputError(
            f"depth={depth!r}, max_depth={max_depth!r}; a context has 1 key or more, and max_depth "
            "is no less than depth"
        )
    if not 0 < prior < np.inf or min_count < 1 or replicates < 1:
        raise InvalidInputError(
            f"prior={prior!r}, min_count={min_count!r}, replicates={replicates!r}; the prior is "
            "above 0, and the others are 1 or more"
        )


def close_words(words: Iterable[Word]) -> set[Word]:
    """Return words with all that is left of them without their newest, or their oldest, keys.

    Examples
    --------
    >>> sorted(close_words([("c", "b", "a")]))
    [('a',), ('b',), ('b', 'a'), ('c',), ('c', 'b'), ('c', 'b', 'a')]
    """
    left = list(words)
    closed = set(left)
    while left:
        word = left.pop()
        for part in (word[1:], word[:-1]):
            if part and part not in closed:
                closed.add(part)
                left.append(part)
    return closed


class _Tree(NamedTuple):
    """The contexts that were counted, and which of them count."""

    counts: ContextCounts
    prior: float
    min_count: int

    def word(self, node: int) -> Word:
        keys = []
        while node > 0:
            keys.append(self.counts.states[int(self.counts.key[node])])
            node = int(self.counts.parent[node])
        return tuple(reversed(keys))

    def grow(self, depth: int) -> set[Word]:
        """Return the last keys, and the longer contexts for which the code gets shorter.

        From the longest to the shortest, and for one context the longer ones that gain most first:
        each takes its moves out of those that are left to the shorter one.
        """
        counts, total = self.counts, self.counts.total
        newest = self._newest()
        seen = np.bincount(counts.owner, minlength=len(total))
        alphabet = seen[newest]
        own = _code_lengths(counts, total, self.prior, alphabet)
        rest, below, kept = own.copy(), np.zeros(len(total)), np.zeros(len(total), dtype=bool)
        for length in range(min(depth, int(counts.depth.max())), 1, -1):
            able = (counts.depth == length) & (total >= self.min_count) & (counts.key != NOTHING)
            code = rest + below + log(2)
            gain = own[counts.parent] - self._without(total, alphabet, own) - code
            nodes = np.flatnonzero(able & (gain > 0))
            for group in _groups(nodes, counts.parent, gain):
                self._split(group, code, alphabet, own, (rest, below, kept))
        chosen = set()
        for node in np.flatnonzero(kept | ((counts.depth == 1) & (counts.key != NOTHING))).tolist():
            path = node
            while path > 0 and (kept[path] or counts.depth[path] == 1):
                path = int(counts.parent[path])
            if path <= 0:  # its shorter ones are kept too
                chosen.add(self.word(node))
        return chosen | {(state,) for state in counts.states if state != END}

    def _split(
        self,
        group: list[int],
        code: NDArray[np.float64],
        alphabet: NDArray[np.int64],
        own: NDArray[np.float64],
        found: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]],
    ) -> None:
        """Decide which of some contexts with one parent are kept."""
        rest, below, kept = found
        parent = int(self.counts.parent[group[0]])
        left, size, prior = dict(self._row(parent)), int(alphabet[parent]), self.prior
        total, now = sum(left.values()), float(own[parent])
        for node in group:
            row = self._row(node)
            moves = sum(number for _, number in row)
            change = _log_rising(total, moves, size * prior)
            change -= sum(_log_rising(left[symbol], number, prior) for symbol, number in row)
            # `change` is what the moves of this context took; the rest takes now - change.
            if change <= float(code[node]):
                continue
            now, total, kept[node] = now - change, total - moves, True
            below[parent] += float(code[node])
            for symbol, number in row:
                left[symbol] -= number
        rest[parent] = now

    def _row(self, node: int) -> list[tuple[int, int]]:
        counts = self.counts
        begin, end = np.searchsorted(counts.owner, [node, node + 1])
        return list(
            zip(counts.symbol[begin:end].tolist(), counts.number[begin:end].tolist(), strict=True)
        )

    def _newest(self) -> NDArray[np.int64]:
        """(v,) array: the context of the newest key of each; the empty one for itself."""
        counts = self.counts
        newest = np.arange(len(counts.parent))
        for length in range(2, int(counts.depth.max()) + 1):
            here = counts.depth == length
            newest[here] = newest[counts.parent[here]]
        return newest

    def _without(
        self, total: NDArray[np.int64], alphabet: NDArray[np.int64], own: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(v,) array: the code length of the moves of the parent that are not of the context."""
        counts, prior = self.counts, self.prior
        width = len(counts.states) + 1
        cells = counts.owner * width + counts.symbol
        above = np.maximum(counts.parent[counts.owner], 0) * width + counts.symbol
        both = counts.number[np.searchsorted(cells, above)]
        change = gammaln(both + prior) - gammaln(both - counts.number + prior)
        parent = np.maximum(counts.parent, 0)
        whole = prior * alphabet[parent]
        left = total[parent] - total
        taken = gammaln(total[parent] + whole) - gammaln(left + whole)
        spent = taken - np.bincount(counts.owner, change, len(total))
        return np.asarray(own[parent] - spent)

    def lengthen(self, words: set[Word], test: MarkovOrderTest, max_depth: int) -> set[Word]:
        """Return closed words, those that the test names lengthened by one key."""
        counts, total = self.counts, self.counts.total
        often = (counts.depth > 1) & (total >= self.min_count) & (counts.key != NOTHING)
        longer: dict[Word, list[Word]] = {}
        for node in np.flatnonzero(often & (counts.depth <= max_depth)).tolist():
            word = self.word(node)
            longer.setdefault(word[:-1], []).append(word)
        named = [split_name(state) for state in test.states]
        clear = [word for word, p in zip(named, test.state_pvalue, strict=True) if p <= test.alpha]
        return close_words([*words, *(each for word in clear for each in longer.get(word, ()))])


def _code_lengths(
    counts: ContextCounts, total: NDArray[np.int64], prior: float, alphabet: NDArray[np.int64]
) -> NDArray[np.float64]:
    whole = prior * alphabet
    each = gammaln(counts.number + prior) - gammaln(prior)
    found = np.bincount(counts.owner, each, len(total))
    return np.asarray(gammaln(total + whole) - gammaln(whole) - found)


def _log_rising(count: int, taken: int, prior: float) -> float:
    """Return log of (count - taken + prior) ... (count - 1 + prior)."""
    return lgamma(count + prior) - lgamma(count - taken + prior)


def _groups(
    nodes: NDArray[np.int64], parent: NDArray[np.int64], gain: NDArray[np.float64]
) -> list[list[int]]:
    """Return nodes by parent, those that gain most first."""
    groups: dict[int, list[int]] = {}
    for node in nodes[np.lexsort((nodes, -gain[nodes]))].tolist():
        groups.setdefault(int(parent[node]), []).append(node)
    return list(groups.values())


def _number(table: RunTable, words: Iterable[Word], settings: Mapping[str, Any]) -> Contexts:
    """Return contexts with the moves from each."""
    ordered = tuple(sorted(words))
    found = Contexts(ordered, (0,) * len(ordered), None, 0, **settings)
    renamed = found.rename(table)
    number = np.bincount(renamed.source, minlength=len(renamed.states)).tolist()
    moves = dict(zip(renamed.states, number, strict=True))
    return Contexts(ordered, tuple(moves.get(n, 0) for n in found.names), None, 0, **settings)


def _test(
    found: Contexts, table: RunTable, strata: Strata, settings: Mapping[str, Any]
) -> MarkovOrderTest | None:
    names = ("replicates", "alpha", "seed")
    paths = Paths.from_runs(found.rename(table))
    try:
        return order_test(paths, strata, **{name: settings[name] for name in names})
    except InsufficientDataError:
        return None
