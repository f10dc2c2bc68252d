import math

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from scipy.sparse import csr_array

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.balance import cycle_search
from detailed_balance.analyzers.balance.cycle_search import find_triangles, fundamental_cycles
from detailed_balance.analyzers.balance.loops import find_loops
from tests.support.chains import count_matrices


def pair_totals(matrix):
    totals = matrix + matrix.T
    np.fill_diagonal(totals, 0)
    return csr_array(totals)


def driven_ring(n, forward, backward):
    edges = [(str(i), str((i + 1) % n), forward) for i in range(n)]
    return TransitionCounts.from_edges(edges + [(g, f, backward) for f, g, _ in edges])


@given(count_matrices(max_states=9))
def test_triangles_are_those_that_networkx_lists(matrix):
    totals = pair_totals(matrix)
    graph = nx.from_scipy_sparse_array(totals)
    expected = sorted(tuple(sorted(c)) for c in nx.enumerate_all_cliques(graph) if len(c) == 3)
    assert sorted(tuple(sorted(t)) for t in find_triangles(totals)) == expected


def test_triangles_found_in_small_batches_are_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    totals = pair_totals(rng.integers(0, 5, (40, 40)) * (rng.random((40, 40)) < 0.3))
    whole = find_triangles(totals)
    monkeypatch.setattr(cycle_search, "WEDGES_AT_ONCE", 7)
    assert find_triangles(totals) == whole
    assert len(whole) > 100


@given(count_matrices(max_states=9))
def test_each_edge_outside_a_spanning_forest_closes_one_cycle(matrix):
    totals = pair_totals(matrix)
    graph = nx.from_scipy_sparse_array(totals)
    rank = graph.number_of_edges() - len(graph) + nx.number_connected_components(graph)
    basis = fundamental_cycles(totals)
    assert len(basis) <= rank
    for cycle in basis:
        assert len(set(cycle)) == len(cycle) > 3
        assert all(graph.has_edge(f, g) for f, g in zip(cycle, cycle[1:] + cycle[:1], strict=True))


def test_a_ring_without_chords_is_its_own_cycle_basis():
    totals = pair_totals(driven_ring(6, 4, 2).counts.toarray())
    (cycle,) = fundamental_cycles(totals)
    assert set(cycle) == set(range(6))


def test_the_p_value_of_a_loop_is_two_sided_of_its_log_ratio():
    table = find_loops(driven_ring(3, 60, 40))
    z = 3 * math.log(60 / 40) / math.sqrt(3 * (1 / 60 + 1 / 40))
    assert table.pvalue.tolist() == pytest.approx([math.erfc(z / math.sqrt(2))])


@pytest.mark.parametrize("length", [3, 4, 7])
def test_affinity_and_error_are_those_computed_by_hand(length):
    table = find_loops(driven_ring(length, 90, 30))
    assert len(table) == 1
    assert table.names(0) == tuple(map(str, range(length)))
    assert table.affinity[0] == pytest.approx(length * np.log(3))
    assert table.error[0] == pytest.approx(np.sqrt(length * (1 / 90 + 1 / 30)))
    assert (table.forward[0], table.backward[0]) == (90, 30)


def test_a_loop_never_walked_back_counts_a_half_for_zero():
    table = find_loops(driven_ring(3, 50, 0))
    assert table.affinity[0] == pytest.approx(3 * np.log(50.5 / 0.5))
    assert table.error[0] == pytest.approx(np.sqrt(3 * (1 / 50.5 + 1 / 0.5)))


@given(count_matrices(min_states=3))
def test_reversing_time_turns_every_loop_round(matrix):
    table = find_loops(TransitionCounts.from_dense(matrix))
    back = find_loops(TransitionCounts.from_dense(matrix.T))

    def by_states(found):
        return {
            frozenset(names): (a, names)
            for names, a in zip(found.to_table()["loop"], found.affinity, strict=True)
            if len(names) == 3
        }

    there, again = by_states(table), by_states(back)
    assert there.keys() == again.keys()
    for states, (affinity, names) in there.items():
        assert again[states][0] == pytest.approx(affinity)
        if affinity > 1e-9:
            turned = names[:1] + names[:0:-1]
            assert again[states][1] == turned


@given(count_matrices(min_states=3))
def test_attempts_and_self_loops_leave_affinities_alone(matrix):
    stays = matrix + np.diag(np.arange(len(matrix)) * 100)
    one = find_loops(TransitionCounts.from_dense(matrix)).to_table()
    assert find_loops(TransitionCounts.from_dense(stays)).to_table() == one


def test_a_triangle_that_cannot_be_walked_round_is_no_loop():
    counts = TransitionCounts.from_edges([("a", "b", 50), ("a", "c", 50), ("c", "b", 50)])
    table = find_loops(counts)
    assert len(table) == 0
    assert table.untested == 0


def test_loops_walked_too_rarely_are_counted_as_untested():
    table = find_loops(driven_ring(3, 3, 1))
    assert len(table) == 0
    assert table.untested == 1
