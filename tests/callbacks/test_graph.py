"""The live graph counts exactly, whatever records into it at the same time."""

import itertools
import sys
import threading
from collections import Counter

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, strategies as st

from detailed_balance.analyzers.counts import TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks import TransitionGraph

STATES = st.sampled_from(["a", "b", "c", "d", "with space", "", "\x00", "\ud800", "__end__"])
EDGES = st.lists(st.tuples(STATES, st.none() | STATES, st.integers(1, 9)), max_size=30)


def assert_same(found, expected):
    assert found.states == expected.states
    assert found.counts.toarray().tolist() == expected.counts.toarray().tolist()
    assert found.attempts.tolist() == expected.attempts.tolist()


def recorded(edges, context=None):
    graph = TransitionGraph()
    for source, target, count in edges:
        graph.record(source, target, count=count, context=context)
    return graph


@given(EDGES)
def test_snapshot_counts_what_was_recorded(edges):
    assert_same(recorded(edges).snapshot(), TransitionCounts.from_edges(edges))


@given(EDGES, EDGES)
def test_a_context_selects_its_moves_and_their_states(first, second):
    graph = recorded(first, {"model": "m1", "version": "1"})
    for source, target, count in second:
        graph.record(source, target, count=count, context={"version": "1", "model": "m2"})
    chosen = TransitionCounts.from_edges(second)
    found = graph.snapshot({"model": "m2"})
    assert_same(found, chosen.restrict([s for s in graph.snapshot().states if s in chosen.states]))
    assert_same(graph.snapshot({"version": "1"}), TransitionCounts.from_edges(first + second))
    assert_same(graph.snapshot({"version": "2"}), TransitionCounts.from_edges([]))


def test_contexts_are_listed_as_they_came():
    graph = TransitionGraph()
    graph.record("a", "b", context={"model": "m2"})
    graph.record("a", "b")
    graph.record("a", None, context=(("model", "m1"),))
    assert graph.contexts() == ((("model", "m2"),), (), (("model", "m1"),))


def test_the_live_graph_holds_counts_by_context_and_escapes_by_node():
    graph = TransitionGraph()
    graph.record("a", "b", count=2)
    graph.record("a", "b", context={"model": "m"})
    graph.record("a", None, context={"model": "m"}, count=3)
    graph.record("a", None)
    edges = list(graph.graph.edges(keys=True, data="count"))
    assert edges == [("a", "b", (), 2), ("a", "b", (("model", "m"),), 1)]
    assert dict(graph.graph.nodes(data="escapes")) == {"a": 4, "b": 0}
    assert len(graph) == 2


@given(EDGES)
def test_a_networkx_graph_and_its_copy_count_the_same(edges):
    graph = recorded(edges, {"model": "m"})
    copy = TransitionGraph.from_networkx(graph.graph)
    assert_same(copy.snapshot(), graph.snapshot())
    assert dict(copy.graph.edges) == dict(graph.graph.edges)


@given(EDGES)
def test_counts_come_back_as_they_were(edges):
    counts = TransitionCounts.from_edges(edges)
    graph = TransitionGraph.from_counts(counts, {"model": "m"})
    assert_same(graph.snapshot(), counts)


def test_states_without_moves_are_kept():
    counts = TransitionCounts.from_dense([[0, 0], [0, 2]], ["idle", "busy"])
    assert_same(TransitionGraph.from_counts(counts).snapshot(), counts)


def test_a_plain_digraph_is_counted_by_the_attribute_named():
    walked = nx.DiGraph()
    walked.add_edge(1, 2, visits=np.int64(3))
    walked.add_edge(2, 1)
    walked.add_edge(2, 2, visits=0)
    walked.nodes[2]["escapes"] = 4
    found = TransitionGraph.from_networkx(walked, count="visits").snapshot()
    assert_same(found, TransitionCounts.from_edges([("1", "2", 3), ("2", "1", 1), ("2", None, 4)]))


def test_parallel_edges_without_context_add_up():
    walked = nx.MultiDiGraph([("a", "b"), ("a", "b"), ("b", "a")])
    assert TransitionGraph.from_networkx(walked).snapshot().counts.toarray().tolist() == [
        [0, 2],
        [1, 0],
    ]


@pytest.mark.parametrize("count", [-1, 1.5, "3", None])
def test_a_count_that_is_no_whole_number_is_refused_with_its_edge(count):
    walked = nx.DiGraph()
    walked.add_edge("a", "b", count=count)
    with pytest.raises(InvalidInputError, match=r"edge 'a' -> 'b' must be a whole number"):
        TransitionGraph.from_networkx(walked)


def test_escapes_that_are_no_whole_number_are_refused_with_their_node():
    walked = nx.DiGraph()
    walked.add_node("a", escapes=-2)
    with pytest.raises(InvalidInputError, match=r"escapes of node 'a'.*got -2"):
        TransitionGraph.from_networkx(walked)


def test_an_undirected_graph_is_refused_with_what_to_do():
    with pytest.raises(InvalidInputError, match="to_directed"):
        TransitionGraph.from_networkx(nx.Graph([("a", "b")]))


def test_nodes_that_would_become_one_state_are_refused():
    with pytest.raises(InvalidInputError, match=r"nodes 1 and '1'"):
        TransitionGraph.from_networkx(nx.DiGraph([(1, "1")]))


@pytest.mark.parametrize(
    ("move", "settings", "message"),
    [
        ((1, "b"), {}, "source must be a str; got 1"),
        ((None, "b"), {}, "source must be a str; got None"),
        ((["a"], "b"), {}, r"source must be a str; got \['a'\]"),
        (("a", b"b"), {}, "target must be a str, or None for an escape; got b'b'"),
        (("a", "b"), {"count": 0}, "'a' -> 'b' must be a whole number, 1 or more; got 0"),
        (("a", "b"), {"count": 1.0}, "got 1.0"),
        (("a", "b"), {"count": "1"}, "got '1'"),
        (("a", "b"), {"context": (("model", 4),)}, "context must be a mapping of labels"),
        (("a", "b"), {"context": (("b", "1"), ("a", "2"))}, "sorted by name"),
        (("a", "b"), {"context": ("model",)}, "context must be a mapping of labels"),
    ],
)
def test_what_is_no_move_is_refused_and_leaves_nothing_behind(move, settings, message):
    graph = TransitionGraph()
    with pytest.raises(InvalidInputError, match=message):
        graph.record(*move, **settings)
    assert len(graph) == 0
    assert graph.contexts() == ()
    graph.record("a", "b", count=np.int64(2))
    assert graph.snapshot().total == 2


def test_64_threads_lose_no_count():
    graph, barrier = TransitionGraph(), threading.Barrier(64)

    def walk(number):
        barrier.wait()
        for step in range(500):
            graph.record(f"s{step % 7}", f"s{(step + number) % 11}", context={"run": str(step % 3)})
            if step % 5 == 0:
                graph.record(f"s{step % 7}", None)

    threads = [threading.Thread(target=walk, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    truth = np.zeros((11, 11), dtype=int)
    escapes = np.zeros(11, dtype=int)
    for number in range(64):
        for step in range(500):
            truth[step % 7, (step + number) % 11] += 1
            escapes[step % 7] += step % 5 == 0
    found = graph.snapshot().restrict([f"s{i}" for i in range(11)])
    assert (found.counts.toarray() == truth).all()
    assert (found.escapes == escapes).all()
    assert sum(graph.snapshot({"run": str(k)}).total for k in range(3)) == truth.sum()
    assert sum(n for *_, n in graph.graph.edges(data="count")) == truth.sum()


def test_snapshots_taken_while_recording_hold_exactly_a_first_part():
    graph, finished = TransitionGraph(), threading.Event()

    def walk():
        for step in range(20_000):
            graph.record(str(step), str(step + 1))
        finished.set()

    thread = threading.Thread(target=walk)
    thread.start()
    lengths = []
    while not finished.is_set():
        found = graph.snapshot()
        n = len(found)
        assert found.states == tuple(map(str, range(n)))
        path = found.counts.tocoo()
        assert path.row.tolist() == list(range(n - 1))
        assert path.col.tolist() == list(range(1, n))
        assert found.total == max(n - 1, 0)
        lengths.append(n)
    thread.join()
    assert lengths == sorted(lengths)
    assert graph.snapshot().total == 20_000


@pytest.mark.parametrize("every", [1, 2, 3, 5, 7, 11, 13, 17])
def test_a_finaliser_that_records_within_record_neither_blocks_nor_spoils_the_counts(every):
    """The garbage collector may run one at any line; here one runs at every few lines."""
    graph, lines, truth = TransitionGraph(), itertools.count(), Counter()

    def record(source):
        truth[source] += 1
        graph.record(source, "b", context={"source": source})

    def record_late(*_):
        if (line := next(lines)) % every == 0 and line < 2000:
            record(f"late {line}")
            record(f"late {line}")
            record("again")
        return record_late

    before = sys.gettrace()
    sys.settrace(record_late)
    try:
        for step in range(20):
            record(str(step))
            record("again")
    finally:
        sys.settrace(before)

    found = graph.snapshot()
    assert dict(zip(found.states, found.attempts.tolist(), strict=True)) == truth | {"b": 0}
    assert {source: n for source, _, n in graph.graph.edges(data="count")} == truth


def test_changes_to_the_live_graph_by_others_are_taken_in_by_from_networkx_alone():
    graph = recorded([("a", "b", 1)])
    graph.graph.add_edge("b", "c", count=5)
    assert graph.snapshot().states == ("a", "b")
    assert TransitionGraph.from_networkx(graph.graph).snapshot().total == 6


MOST = 2**63 - 1


def test_counts_that_add_up_too_high_are_refused_where_they_enter():
    graph = TransitionGraph()
    graph.record("a", "b", count=MOST - 5)
    with pytest.raises(InvalidInputError, match=f"{MOST}.*; 6 more than {MOST - 5} are too many"):
        graph.record("b", "c", count=6)
    graph.record("a", None, count=5)
    assert graph.snapshot().attempts.sum() == MOST


def test_counts_of_a_networkx_graph_that_add_up_too_high_are_refused():
    drawn = nx.DiGraph([("a", "b"), ("b", "a")])
    nx.set_edge_attributes(drawn, 2**62, "count")
    with pytest.raises(InvalidInputError, match="are too many"):
        TransitionGraph.from_networkx(drawn)
