"""Every analyzer takes counts in all the forms that people hold them in."""

import inspect

import networkx as nx
import numpy as np
import pytest
from scipy.sparse import coo_array, csr_matrix

from detailed_balance import analyzers
from detailed_balance.analyzers import Kernel, Trajectory, TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.results import plain

MATRIX = np.array([[0, 60, 9, 8], [20, 3, 70, 4], [8, 12, 0, 50], [40, 5, 30, 0]])
STATES = ("0", "1", "2", "3")
EDGES = [(f, g, int(MATRIX[int(f), int(g)])) for f in STATES for g in STATES]

FIRST = {
    name: str(next(iter(inspect.signature(function).parameters.values())).annotation)
    for name in analyzers.__all__
    if inspect.isfunction(function := getattr(analyzers, name))
    and inspect.signature(function).parameters
}
"""The type of the first argument of each public function."""

TAKE_COUNTS = [n for n, kind in FIRST.items() if "CountsLike" in kind or "Measured |" in kind]
TAKE_KERNELS = [name for name, kind in FIRST.items() if "KernelLike" in kind]
TAKE_RUNS = [n for n, kind in FIRST.items() if kind in ("Runs", "Runs | MeasuredRuns")]


def measure_size(state):
    return {"size": float(state)}


CALLS = {
    "calibrate_triplets": lambda call, x: call(x, replicates=19),
    "compare_counts": lambda call, x: call(x, MATRIX.T),
    "compare_kernels": lambda call, x: call(x, MATRIX.T),
    "compare_potentials": lambda call, x: call(x, MATRIX.T),
    "compare_with_popularity": lambda call, x: call(x, replicates=0),
    "entropy_production": lambda call, x: call(x, replicates=20),
    "evaluate_action": lambda call, x: call(x, np.arange(4.0)),
    "fit_explicit_potential": lambda call, x: call(x, measure_size, folds=2, penalty=0.1),
    "forecast_outcome": lambda call, x: call(x, success=["3"], replicates=9),
    "majority_vote_kernel": lambda call, x: call(x, 3, 2),
    "measure_action": lambda call, x: call(x, {"0": 2.0, "1": 1.0, "2": 0.5, "3": 0.0}),
    "score_directionality": lambda call, x: call(x, np.arange(4.0)),
}

RUNS_CALLS = {
    "compare_runs": lambda call, x: call(x, x),
    "contrast_loops": lambda call, x: call(x, [("a", "b", "c")]),
    "contrast_with_baseline": lambda call, x: call(x, x, [("a", "b", "c")]),
    "locate_loops": lambda call, x: call(x, [("a", "b", "c")]),
    "orientation_test": lambda call, x: call(x, [("a", "b", "c")]),
}


def as_graph(matrix, attribute, kind=nx.DiGraph):
    graph = kind()
    graph.add_nodes_from(STATES)
    rows, columns = np.nonzero(matrix)
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        graph.add_edge(STATES[i], STATES[j], **{attribute: matrix[i, j].item()})
    return graph


def forms_of(matrix):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    frame = pandas.DataFrame(matrix, index=STATES, columns=STATES)
    columns = dict(zip(STATES, matrix.T.tolist(), strict=True))
    return {
        "lists": matrix.tolist(),
        "array": matrix,
        "array of floats": matrix.astype(float),
        "sparse array": coo_array(matrix),
        "sparse matrix": csr_matrix(matrix),
        "pandas": frame,
        "pandas, rows in another order": frame.iloc[::-1],
        "polars": polars.DataFrame(columns),
        "polars with names": polars.DataFrame({"state": list(STATES), **columns}),
        "networkx count": as_graph(matrix, "count"),
        "networkx weight": as_graph(matrix, "weight"),
        "networkx multigraph": as_graph(matrix, "count", nx.MultiDiGraph),
    }


def outcome_of(name, source):
    call = CALLS.get(name, lambda call, x: call(x))
    return plain(call(getattr(analyzers, name), source))


def assert_alike(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_alike(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for pair in zip(found, expected, strict=True):
            assert_alike(*pair)
    else:
        numeric = isinstance(expected, float)
        assert found == (pytest.approx(expected, abs=1e-9) if numeric else expected)


@pytest.mark.parametrize("name", TAKE_COUNTS + TAKE_KERNELS)
def test_counts_of_every_form_give_the_same_result(name):
    expected = outcome_of(name, TransitionCounts.from_edges(EDGES))
    for form, source in forms_of(MATRIX).items():
        assert_alike(outcome_of(name, source), expected), form


@pytest.mark.parametrize("name", TAKE_KERNELS)
def test_a_matrix_of_fractions_is_a_known_kernel(name):
    matrix = MATRIX / (MATRIX.sum(axis=1, keepdims=True) + 10.0)
    expected = outcome_of(name, Kernel.from_matrix(matrix))
    forms = forms_of(matrix)
    del forms["networkx count"], forms["networkx multigraph"]
    for source in forms.values():
        assert_alike(outcome_of(name, source), expected)


@pytest.mark.parametrize("name", TAKE_COUNTS + TAKE_KERNELS)
def test_what_holds_no_counts_is_named_with_what_is_allowed(name):
    pandas = pytest.importorskip("pandas")
    steps = pandas.DataFrame({"run": ["r1", "r1"], "state": ["a", "b"]})
    for source in (object(), "counts.csv", steps, [("a", "b", 3)]):
        said = rf"a {type(source).__name__} holds no counts; allowed are .*open_source"
        with pytest.raises(InvalidInputError, match=said):
            outcome_of(name, source)


@pytest.mark.parametrize("name", TAKE_RUNS)
def test_counts_are_refused_where_runs_are_needed(name):
    call = RUNS_CALLS.get(name, lambda call, x: call(x))
    for source in (TransitionCounts.from_edges(EDGES), MATRIX, "runs.db", 7):
        with pytest.raises(InvalidInputError, match=r"an iterable of Trajectory; got .*read_runs"):
            call(getattr(analyzers, name), source)


def test_every_analyzer_of_counts_takes_all_forms():
    bare = [name for name, kind in FIRST.items() if kind in ("TransitionCounts", "Kernel")]
    assert not bare
    assert len(TAKE_COUNTS) + len(TAKE_KERNELS) >= 20
    assert len(TAKE_RUNS) >= 10


def test_runs_given_as_counts_are_used_as_runs():
    runs = [Trajectory((("a", "b"), ("b", "c"), ("c", "a"), ("a", "b"))) for _ in range(30)]
    runs += [Trajectory((("a", "c"), ("c", "b"), ("b", "a"))) for _ in range(4)]
    counts = analyzers.RunTable.of(runs).counts()
    expected = analyzers.check_balance(counts, runs=runs, replicates=19).to_dict()
    assert_alike(analyzers.check_balance(iter(runs), replicates=19).to_dict(), expected)
    assert expected["violations"] != analyzers.check_balance(counts).to_dict()["violations"]


def test_an_undirected_graph_and_an_edge_without_a_number_are_refused():
    with pytest.raises(InvalidInputError, match="undirected"):
        analyzers.check_balance(nx.Graph([("a", "b")]))
    with pytest.raises(InvalidInputError, match="count='many' of the edge 'a' -> 'b'"):
        analyzers.check_balance(nx.DiGraph([("a", "b", {"count": "many"})]))
    with pytest.raises(InvalidInputError, match="rows of an array differ in length"):
        analyzers.check_balance([[1, 2], [3]])
    with pytest.raises(InvalidInputError, match=r"square.*\(2, 3\)"):
        analyzers.estimate_potential(np.ones((2, 3)))
    with pytest.raises(InvalidInputError, match=r"row 0, column 1 has 0\.5"):
        analyzers.check_balance([[0, 0.5], [1, 0]])


def test_escapes_of_a_graph_are_attempts():
    graph = nx.DiGraph([("a", "b", {"count": 3}), ("b", "a", {"count": 1})])
    graph.nodes["a"]["escapes"] = 1
    assert analyzers.estimate_kernel(graph, min_attempts=0).probabilities.toarray().tolist() == [
        [0, 0.75],
        [1, 0],
    ]
