import itertools
import json

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

from detailed_balance.analyzers import (
    Kernel,
    TransitionCounts,
    estimate_potential,
    find_attractors,
)
from detailed_balance.analyzers.errors import InvalidInputError, UnknownStateError
from tests.support.chains import count_matrices


def landscape(heights, links):
    """Return a reversible kernel with these heights, linked as told."""
    n = len(heights)
    kernel = np.zeros((n, n))
    for i, j in links:
        kernel[i, j] = np.exp((heights[i] - heights[j]) / 2)
        kernel[j, i] = np.exp((heights[j] - heights[i]) / 2)
    return Kernel.from_matrix(kernel / (kernel.sum(axis=1).max() * 1.01))


def path(*heights):
    return landscape(heights, list(itertools.pairwise(range(len(heights)))))


# A path with valleys of height 1, 0 and 2 at places 0, 3 and 5.
PATH = path(1.0, 4.0, 2.0, 0.0, 3.0, 2.0)


def found(report):
    return [(a.state, round(a.depth, 6), a.saddle, a.into) for a in report.attractors]


def test_valleys_of_a_path_are_solved_by_hand():
    report = find_attractors(PATH)
    assert found(report) == [
        ("3", float("inf"), None, None),
        ("0", 3.0, "1", "3"),
        ("5", 1.0, "4", "3"),
    ]
    assert [round(a.value, 6) for a in report.attractors] == [0, 1, 2]


def test_states_run_down_to_their_lowest_neighbour():
    report = find_attractors(PATH)
    basins = {a.state: a.basin for a in report.attractors}
    # State 1 stands between heights 1 and 2, state 4 between 0 and 2.
    assert basins == {"0": ("0", "1"), "3": ("2", "3", "4"), "5": ("5",)}
    assert report.basin_of("4").state == "3"


def test_barriers_are_climbs_and_not_symmetric():
    report = find_attractors(PATH)
    assert report.barrier("0", "3") == pytest.approx(3)
    assert report.barrier("3", "0") == pytest.approx(4)
    assert report.barrier("5", "0") == pytest.approx(2)
    assert report.barrier("4", "3") == pytest.approx(0)
    assert report.barrier("2", "2") == 0


def test_the_lower_of_two_passes_counts():
    # A ring: from 0 to 2 over a pass of 5 or of 3.
    report = find_attractors(landscape([1, 5, 0, 3], [(0, 1), (1, 2), (2, 3), (3, 0)]))
    assert report.barrier("0", "2") == pytest.approx(2)
    assert report.attractors[1].saddle == "3"


def test_shallow_valleys_are_joined_to_the_deepest_behind_their_pass():
    report = find_attractors(PATH, min_depth=2)
    assert [a.state for a in report.attractors] == ["3", "0"]
    assert report.shallow == 1
    assert report.basin_of("5").state == "3"
    assert find_attractors(PATH, min_depth=100).attractors[0].basin == tuple("012345")


def test_a_valley_floor_of_equal_height_is_one_attractor():
    kernel = np.full((4, 4), 0.25)
    report = find_attractors(Kernel.from_matrix(kernel))
    assert len(report) == 1
    assert report.attractors[0].basin == ("0", "1", "2", "3")


def test_components_have_attractors_of_their_own_and_no_barrier_between():
    edges = [("a", "b", 8), ("b", "a", 4), ("b", "c", 1), ("c", "d", 6), ("d", "c", 3)]
    edges += [("x", "a", 5)]
    report = find_attractors(TransitionCounts.from_edges(edges))
    by_state = {a.basin: a for a in report.attractors}
    assert set(by_state) == {("a", "b"), ("c", "d")}
    assert [by_state["a", "b"].final, by_state["c", "d"].final] == [False, True]
    assert np.isnan(report.barrier("a", "c"))
    assert report.basin_of("x") is None
    with pytest.raises(UnknownStateError):
        report.basin_of("nowhere")


@settings(deadline=None, max_examples=60)
@given(count_matrices(min_states=3, max_count=20), st.sampled_from([0.0, 0.3, 1.0]))
def test_attractors_agree_with_all_paths_of_small_graphs(matrix, min_depth):
    assume(np.count_nonzero(matrix.sum(axis=1) > 1) >= 2)
    counts = TransitionCounts.from_dense(matrix)
    potential = estimate_potential(counts)
    report = find_attractors(potential, min_depth=min_depth)
    values, kernel = potential.heights, potential.kernel.probabilities.toarray()
    graph = nx.Graph()
    graph.add_nodes_from(range(len(values)))
    for i, j in zip(*np.nonzero(kernel), strict=True):
        if i != j and potential.components[i] == potential.components[j]:
            graph.add_edge(int(i), int(j))
    names = potential.states

    def climb(f, g):
        ways = nx.all_simple_paths(graph, f, g) if f != g else [[f]]
        return min((max(values[list(way)]) - values[f] for way in ways), default=np.nan)

    for f, g in itertools.permutations(range(len(values)), 2):
        assert report.barrier(names[f], names[g]) == pytest.approx(climb(f, g), nan_ok=True)
    for attractor in report.attractors:
        low = names.index(attractor.state)
        assert all(values[low] <= values[k] for k in graph[low])
        deeper = [climb(low, g) for g in graph if (values[g], g) < (values[low], low)]
        least = np.nanmin([*deeper, np.inf])
        assert attractor.depth == pytest.approx(least)
        assert attractor.depth >= min_depth
    basins = [state for attractor in report.attractors for state in attractor.basin]
    assert len(set(basins)) == len(basins)
    assert all(len(graph[names.index(s)]) == 0 for s in set(names) - set(basins))


def test_the_table_and_the_dictionary_are_json():
    report = find_attractors(PATH, min_depth=0.5)
    result = json.loads(json.dumps(report.to_dict()))
    assert result["attractors"]["state"] == ["3", "0", "5"]
    assert result["attractors"]["depth"][0] == "inf"
    assert result["settings"] == {"min_depth": 0.5}
    assert report.describe().startswith("3 attracts 2 other states and is the lowest")


@pytest.mark.parametrize("depth", [-1.0, float("nan")])
def test_a_negative_depth_is_refused(depth):
    with pytest.raises(InvalidInputError, match="min_depth="):
        find_attractors(PATH, min_depth=depth)
