"""`TransitionGraph`, the live graph that every recorder counts into, and who subscribes to it."""

from __future__ import annotations

import operator
import threading
from array import array
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import networkx as nx
import numpy as np

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.labels import (
    Context,
    ContextLike,
    is_context,
    make_context,
    matches_context,
)
from detailed_balance.callbacks.isolation import renew_after_fork

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from numpy.typing import NDArray

    from detailed_balance.analyzers import TransitionCounts

__all__ = ["Move", "TransitionGraph"]

_MOST_COUNTED = 2**63 - 1
"""What counts may add up to."""

Move: TypeAlias = tuple[str, str | None, str | None, Context, int, str | None]
"""Source, target (None for an escape), trajectory, context, count, and the id of the run."""

_Key: TypeAlias = tuple[str, str | None, Context]
_Slot: TypeAlias = tuple[int, dict[str, Any], str]


class Subscription:
    """The moves of a `TransitionGraph` since it was subscribed to; see `TransitionGraph.subscribe`.

    Parameters
    ----------
    before : TransitionCounts
        What was counted before the first move.
    capacity : int
        How many moves are kept until `pop`; beyond it the oldest are lost.
    lock : RLock
        The lock of the graph, which it holds when it appends.
    leave : callable
        Called to end the subscription.
    """

    def __init__(
        self,
        before: TransitionCounts,
        capacity: int,
        lock: threading.RLock,
        leave: Callable[[Subscription], object],
    ) -> None:
        self.before = before
        self._moves: deque[Move] = deque(maxlen=capacity)
        self._appended = self._popped = 0
        self._lock, self._leave = lock, leave

    def append(self, move: Move) -> None:
        """Keep a move; the graph, which calls this, holds its lock."""
        self._moves.append(move)
        self._appended += 1

    def pop(self) -> Sequence[Move]:
        """Return the moves that came since the last call."""
        fresh: deque[Move] = deque(maxlen=self._moves.maxlen)
        with self._lock:
            moves, self._moves = self._moves, fresh
            self._popped += len(moves)
        return moves

    @property
    def lost(self) -> int:
        """How many moves were pushed out by later ones before `pop`."""
        with self._lock:
            return self._appended - self._popped - len(self._moves)

    def close(self) -> None:
        """End the subscription."""
        self._leave(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class TransitionGraph:
    """Count transitions, from many threads at once, in a live networkx graph.

    Notes
    -----
    `snapshot` reads columns that `record` keeps beside the networkx graph, so it sees what was
    recorded, and not what was changed in `graph` by other means; take those in by `from_networkx`.

    Examples
    --------
    >>> graph = TransitionGraph()
    >>> graph.record("plan", "search")
    >>> graph.record("search", "plan", context={"model": "gpt-4o"})
    >>> graph.record("search", None)
    >>> graph.snapshot().counts.toarray().tolist()
    [[0, 1], [1, 0]]
    >>> graph.snapshot().attempts.tolist()
    [1, 2]
    >>> graph.snapshot(context={"model": "gpt-4o"}).states
    ('plan', 'search')
    >>> list(graph.graph.edges(keys=True, data="count"))
    [('plan', 'search', (), 1), ('search', 'plan', (('model', 'gpt-4o'),), 1)]
    """

    def __init__(self) -> None:
        self._graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        self._after_fork()
        renew_after_fork(self)
        self._waiting: list[tuple[_Key, int]] = []
        self._slots: dict[_Key, _Slot] = {}
        self._indices: dict[str, int] = {}
        self._contexts: dict[Context, int] = {}
        # One row per slot: the source, the target (-1 for an escape) and the context by index.
        self._rows = array("i")
        self._states: list[str] = []
        self._counts = array("q")
        self._added = 0  # of counts that are more than one
        self._outcomes: Counter[tuple[Outcome, Context]] = Counter()

    def _after_fork(self) -> None:
        # Re-entrant: the garbage collector may run, in the midst of record(), the finaliser of an
        # abandoned agent run, which records in its turn.
        self._lock = threading.RLock()
        self._adding = False
        self._subscriptions: tuple[Subscription, ...] = ()  # of threads that the parent has

    @property
    def graph(self) -> nx.MultiDiGraph[str]:
        """The live graph: its edge keys are contexts, with ``count``; its nodes have ``escapes``.

        Only read it, and where other threads are still recording, take a `snapshot` instead.
        """
        return self._graph

    def __len__(self) -> int:
        return len(self._states)

    def contexts(self) -> tuple[Context, ...]:
        """Return the contexts seen so far, in the order in which they came."""
        with self._lock:
            return tuple(self._contexts)

    def record(
        self,
        source: str,
        target: str | None,
        *,
        trajectory: str | None = None,
        context: ContextLike = None,
        count: int = 1,
        run: str | None = None,
    ) -> None:
        """Count one move.

        Parameters
        ----------
        source : str
            The state that was left.
        target : str or None
            The state that was reached; None for an escape.
        trajectory : str, optional
            Passed on to subscribers and not kept: the graph adds up all trajectories.
        context : mapping or Context, optional
            The labels of the move.
        count : int
            How many such moves to count, at least 1.
        run : str, optional
            The id of the run; passed on to subscribers, as the trajectory is.

        Raises
        ------
        InvalidInputError
            Where a state is not a str, a context not labels, the count less than 1, or all that
            were added at once make more than 2**63 - 1.
        """
        if count != 1 or type(count) is not int:
            count = _whole_number(count, f"the count of {source!r} -> {target!r}", least=1)
            self._check_total(count)
        key = (source, target, context if type(context) is tuple else make_context(context))
        with self._lock:
            self._add(key, count)
            for subscription in self._subscriptions:
                subscription.append((source, target, trajectory, key[2], count, run))

    def subscribe(self, *, capacity: int = 100_000, context: ContextLike = None) -> Subscription:
        """Return what was counted up to now, and from here on every move in order.

        Parameters
        ----------
        capacity : int
            How many moves are kept until they are popped; beyond it the oldest are lost.
        context : mapping or Context, optional
            For the counts; the moves are all that come.

        Examples
        --------
        >>> graph = TransitionGraph()
        >>> graph.record("plan", "search")
        >>> with graph.subscribe() as subscription:
        ...     graph.record("search", "plan", trajectory="thread 1", run="b7")
        ...     subscription.before.total, list(subscription.pop())
        (1, [('search', 'plan', 'thread 1', (), 1, 'b7')])
        """
        with self._lock:
            subscription = Subscription(self.snapshot(context), capacity, self._lock, self._leave)
            self._subscriptions += (subscription,)
        return subscription

    def _leave(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)

    def record_outcome(
        self,
        outcome: Outcome,
        *,
        context: ContextLike = None,
        replaces: tuple[Outcome, Context] | None = None,
    ) -> None:
        """Count how one run stopped.

        Parameters
        ----------
        outcome : Outcome
            Its outcome.
        context : mapping or Context, optional
            Its labels.
        replaces : (Outcome, Context), optional
            How it had stopped before it went on, which no longer counts.
        """
        key = (Outcome(outcome), make_context(context))
        with self._lock:
            self._outcomes[key] += 1
            if replaces is not None and self._outcomes[replaces] > 0:
                self._outcomes[replaces] -= 1

    def outcomes(self, context: ContextLike = None) -> dict[Outcome, int]:
        """Return how many runs stopped in which way; those of subgraphs count too.

        A run that was interrupted and resumed counts once, as it stopped last.

        Parameters
        ----------
        context : mapping or Context, optional
            Only trajectories that carry all these labels.

        Examples
        --------
        >>> graph = TransitionGraph()
        >>> graph.record_outcome(Outcome.ENDED)
        >>> {str(outcome): n for outcome, n in graph.outcomes().items()}
        {'ended': 1}
        """
        with self._lock:
            outcomes = tuple(self._outcomes.items())
        found: Counter[Outcome] = Counter()
        for (outcome, labels), count in outcomes:
            if count and matches_context(labels, context):
                found[outcome] += count
        return dict(found)

    def snapshot(self, context: ContextLike = None) -> TransitionCounts:
        """Return what was counted up to now.

        Parameters
        ----------
        context : mapping or Context, optional
            Keep only the moves that carry all these labels, and only the states they touch.

        Returns
        -------
        TransitionCounts
            States in the order in which they were first recorded.
        """
        from detailed_balance.analyzers import TransitionCounts  # loads SciPy

        # Ones, not empty: memory that was touched before is copied into many times faster.
        room = 9 * len(self._counts) // 8 + 1024
        rows, counts = np.ones(3 * room, dtype=np.int32), np.ones(room, dtype=np.int64)
        with self._lock:
            rows, counts = _copy_into(rows, self._rows), _copy_into(counts, self._counts)
            n = len(self._indices)
            contexts = tuple(self._contexts) if context is not None else ()
        states = tuple(self._states[:n])  # only ever grows at the end
        source, target, label = rows[: 3 * len(counts)].reshape(-1, 3).T
        if context is None:
            return TransitionCounts.from_arrays(states, source, target, counts)
        wanted = np.array([matches_context(labels, context) for labels in contexts], dtype=bool)
        chosen = wanted[label]
        source, target = source[chosen], target[chosen]
        touched = np.union1d(source, target[target >= 0])
        found = TransitionCounts.from_arrays(states, source, target, counts[chosen])
        return found.restrict([states[i] for i in touched])

    @classmethod
    def from_networkx(cls, graph: nx.Graph[Any], *, count: str = "count") -> TransitionGraph:
        """Take a directed networkx graph, such as `TransitionGraph.graph` or a file holds.

        Parameters
        ----------
        graph : networkx.DiGraph or networkx.MultiDiGraph
            Nodes are turned into str; their attribute ``escapes`` counts escapes, without
            context. An edge key that is a `Context` is kept; all others stand for no context.
        count : str
            The edge attribute that holds the count; an edge without it counts once.

        Raises
        ------
        InvalidInputError
            Where the graph is undirected, a count is not a whole number of 0 or more, or two nodes
            become one str.

        Examples
        --------
        >>> import networkx as nx
        >>> walked = nx.DiGraph()
        >>> walked.add_edge("a", "b", visits=3)
        >>> TransitionGraph.from_networkx(walked, count="visits").snapshot().total
        3
        """
        if not graph.is_directed():
            raise InvalidInputError(
                "an undirected graph does not say which way it was taken; build a DiGraph, or "
                "call graph.to_directed() if each edge was taken equally often both ways"
            )
        result = cls()
        names = _name_nodes(graph)
        for name in names.values():
            result._index(name)
        for node, escapes in graph.nodes(data="escapes", default=0):
            result._add_whole((names[node], None, ()), escapes, f"escapes of node {node!r}")
        for source, target, key, data in _keyed_edges(graph):
            edge = (names[source], names[target], key if is_context(key) else ())
            where = f"attribute {count!r} of edge {source!r} -> {target!r}"
            result._add_whole(edge, data.get(count, 1), where)
        return result

    @classmethod
    def from_counts(cls, counts: TransitionCounts, context: ContextLike = None) -> TransitionGraph:
        """Take what was counted before, all of it under one context.

        Examples
        --------
        >>> from detailed_balance.analyzers import TransitionCounts
        >>> counts = TransitionCounts.from_edges([("a", "b", 3), ("b", None, 1)])
        >>> TransitionGraph.from_counts(counts).snapshot().attempts.tolist()
        [3, 1]
        """
        result = cls()
        labels = make_context(context)
        for state in counts.states:
            result._index(state)
        edges = counts.counts.tocoo()
        for i, j, n in zip(edges.row, edges.col, edges.data.tolist(), strict=True):
            result._add_whole((counts.states[i], counts.states[j], labels), n, "count")
        for state, n in zip(counts.states, counts.escapes.tolist(), strict=True):
            result._add_whole((state, None, labels), n, "escapes")
        return result

    def _add_whole(self, key: _Key, count: object, where: str) -> None:
        """Add a count that comes from elsewhere; 0 adds nothing."""
        if number := _whole_number(count, where, least=0):
            self._check_total(number)
            self._add(key, number)

    def _check_total(self, count: int) -> None:
        """Refuse what would make a count of more than 63 bits; ones never do."""
        with self._lock:
            if self._added + count > _MOST_COUNTED:
                raise InvalidInputError(
                    f"counts may add up to {_MOST_COUNTED}, that is 2**63 - 1; {count} more than "
                    f"{self._added} are too many"
                )
            self._added += count

    def _add(self, key: _Key, count: int) -> None:
        """Add to the slot of `key`; the caller holds the lock."""
        try:
            entry = self._slots.get(key)
        except TypeError:  # not hashable, so no state; _add_new says so
            entry = None
        if entry is None:
            self._add_new(key, count)
        else:
            slot, data, name = entry
            self._counts[slot] += count
            data[name] += count

    def _add_new(self, key: _Key, count: int) -> None:
        """Make the slot of `key` and add to it; a call within this call puts itself in line."""
        _check_key(*key)
        self._waiting.append((key, count))
        while self._waiting and not self._adding:
            self._adding = True
            try:
                waiting, self._waiting = self._waiting, []
                for key, count in waiting:
                    if key not in self._slots:
                        self._slots[key] = self._make_slot(*key)
                    self._add(key, count)
            finally:
                self._adding = False

    def _make_slot(self, source: str, target: str | None, context: Context) -> _Slot:
        """Give the edge its row, and say where its count is kept."""
        i = self._index(source)
        j = -1 if target is None else self._index(target)
        k = self._contexts.setdefault(context, len(self._contexts))
        slot = len(self._counts)
        # A slice, not append: it overwrites what an interrupted call (Ctrl-C) may have left.
        self._rows[3 * slot :] = array("i", (i, j, k))
        self._counts.append(0)
        if target is None:
            return slot, self._graph.nodes[source], "escapes"
        self._graph.add_edge(source, target, key=context, count=0)
        return slot, self._graph.get_edge_data(source, target, context), "count"

    def _index(self, state: str) -> int:
        """Return the place of `state`, a new one where it is new."""
        index = self._indices.get(state)
        if index is None:
            self._graph.add_node(state, escapes=0)
            index = len(self._indices)
            self._states[index:] = [state]
            self._indices[state] = index
        return index


def _copy_into(room: NDArray[Any], values: array[int]) -> NDArray[Any]:
    """Copy `values` into the front of `room`, or into a new place where they outgrew it."""
    m = len(values)
    kept = room[:m] if m <= len(room) else np.empty(m, dtype=room.dtype)
    kept[:] = values
    return kept


def _check_key(source: object, target: object, context: object) -> None:
    """Refuse what is not a state, or not a context."""
    if not isinstance(source, str):
        raise InvalidInputError(f"source must be a str; got {source!r}")
    if target is not None and not isinstance(target, str):
        raise InvalidInputError(f"target must be a str, or None for an escape; got {target!r}")
    if context and not is_context(context):
        raise InvalidInputError(
            "context must be a mapping of labels, or a tuple of (name, value) pairs of str sorted "
            f"by name; got {context!r}"
        )


def _whole_number(value: Any, where: str, *, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise InvalidInputError(f"{where} must be a whole number, {least} or more; got {value!r}")
    return number


def _name_nodes(graph: nx.Graph[Any]) -> dict[Any, str]:
    """Turn the nodes into state keys, all different."""
    names = {node: str(node) for node in graph.nodes}
    nodes: dict[str, Any] = {}
    for node, name in names.items():
        if nodes.setdefault(name, node) != node:
            raise InvalidInputError(
                f"nodes {nodes[name]!r} and {node!r} would both become the state {name!r}; "
                "rename one (networkx.relabel_nodes)"
            )
    return names


def _keyed_edges(graph: nx.Graph[Any]) -> Iterable[tuple[Any, Any, Any, dict[str, Any]]]:
    """Return (source, target, key, data) of each edge; the key is None where the graph has none."""
    if isinstance(graph, nx.MultiDiGraph):
        return graph.edges(keys=True, data=True)
    return ((source, target, None, data) for source, target, data in graph.edges(data=True))
