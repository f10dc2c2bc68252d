import numpy as np
import pytest
from hypothesis import given, strategies as st

from detailed_balance.analyzers import END, START, TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError, UnknownStateError
from tests.support.chains import count_matrices

edges = st.lists(st.tuples(st.text(max_size=3), st.none() | st.text(max_size=3), st.integers(0, 9)))


@given(edges)
def test_edges_add_up_to_what_a_dictionary_counts(triples):
    counts = TransitionCounts.from_edges(triples)
    expected, attempts = {}, {}
    for source, target, count in triples:
        attempts[source] = attempts.get(source, 0) + count
        if target is not None:
            expected[source, target] = expected.get((source, target), 0) + count
    dense = counts.counts.toarray()
    for i, source in enumerate(counts.states):
        assert counts.attempts[i] == attempts.get(source, 0)
        for j, target in enumerate(counts.states):
            assert dense[i, j] == expected.get((source, target), 0)


@given(count_matrices(), count_matrices())
def test_adding_counts_adds_every_edge_over_the_union_of_states(a, b):
    left = TransitionCounts.from_dense(a, [f"s{i}" for i in range(len(a))])
    right = TransitionCounts.from_dense(b, [f"s{i + 1}" for i in range(len(b))])
    total = left + right
    for source in total.states:
        for target in total.states:
            parts = [
                part.counts[part.index(source), part.index(target)]
                for part in (left, right)
                if source in part.states and target in part.states
            ]
            assert total.counts[total.index(source), total.index(target)] == sum(parts)
    assert total.attempts.sum() == a.sum() + b.sum()


def test_restricting_keeps_the_attempts_that_went_elsewhere():
    counts = TransitionCounts.from_edges([("a", "b", 3), ("a", "c", 2), ("b", "a", 1)])
    kept = counts.restrict(["b", "a"])
    assert kept.states == ("b", "a")
    assert kept.counts.toarray().tolist() == [[0, 1], [3, 0]]
    assert kept.attempts.tolist() == [1, 5]
    assert kept.escapes.tolist() == [0, 2]


def test_boundaries_are_dropped_and_moves_to_the_end_stay_attempts():
    counts = TransitionCounts.from_edges([(START, "a", 4), ("a", "b", 3), ("b", END, 3)])
    inner = counts.without_boundaries()
    assert inner.states == ("a", "b")
    assert inner.attempts.tolist() == [3, 3]
    assert inner.without_boundaries() is inner


def test_an_unknown_state_is_named_with_the_closest_ones():
    counts = TransitionCounts.from_edges([("search", "write", 1)])
    with pytest.raises(UnknownStateError, match=r"no state 'serch'.*did you mean 'search'"):
        counts.index("serch")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TransitionCounts.from_edges([("a", "b", -1)]), "0 or more; got -1"),
        (lambda: TransitionCounts.from_dense([[1, 0], [0, 1]], ["a", "a"]), "'a' is listed twice"),
        (lambda: TransitionCounts.from_dense([[1, 0], [0, 1]], ["a"]), "1 states need counts"),
        (
            lambda: TransitionCounts(
                ("a",), TransitionCounts.from_dense([[2]]).counts, np.array([1])
            ),
            "'a' has 1 attempts but more transitions",
        ),
    ],
)
def test_impossible_counts_are_refused(build, message):
    with pytest.raises(InvalidInputError, match=message):
        build()


MOST = 2**63 - 1


@pytest.mark.parametrize("count", [2**62, 2**63, 2**64, 10**30])
def test_counts_that_add_up_too_high_are_refused_with_their_sum_and_the_limit(count):
    edges = [("a", "b", count), ("b", "a", count)]
    with pytest.raises(InvalidInputError, match=f"up to {MOST}, .* make {2 * count}"):
        TransitionCounts.from_edges(edges)
    with pytest.raises(InvalidInputError, match=f"make {2 * count}"):
        TransitionCounts.from_arrays(("a", "b"), [0, 1], [1, 0], [count, count])
    with pytest.raises(InvalidInputError, match=f"make {2 * count}"):
        TransitionCounts.from_dense([[0, count], [count, 0]])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: TransitionCounts.from_edges([("a", "b", 1), ("b", "a", 2.5)]),
            "'b' -> 'a' has 2.5",
        ),
        (lambda: TransitionCounts.from_edges([("a", None, float("nan"))]), "an escape has nan"),
        (lambda: TransitionCounts.from_edges([("a", "b", "2")]), "'a' -> 'b' has 2"),
        (lambda: TransitionCounts.from_dense([[0, 1], [0.5, 0]]), "row 1, column 0 has 0.5"),
        (lambda: TransitionCounts.from_arrays(("a", "b"), [0], [1], [np.inf]), "'b' has inf"),
    ],
)
def test_fractions_are_refused_with_their_place(build, message):
    with pytest.raises(InvalidInputError, match=message):
        build()


def test_whole_numbers_may_be_floats():
    assert TransitionCounts.from_edges([("a", "b", 3.0)]).total == 3
    assert TransitionCounts.from_dense(np.array([[0.0, 2.0], [1.0, 0.0]])).total == 3


def test_counts_up_to_the_limit_are_exact():
    counts = TransitionCounts.from_edges([("a", "b", MOST - 2), ("b", None, 1), ("b", "a", 1)])
    assert (counts.total, counts.attempts.tolist()) == (MOST - 1, [MOST - 2, 2])
    with pytest.raises(InvalidInputError, match=f"make {MOST + 1}"):
        counts + TransitionCounts.from_edges([("a", "b", 1)])
    uint64 = np.array([2**63], dtype=np.uint64)
    with pytest.raises(InvalidInputError, match=f"make {2**63}"):
        TransitionCounts.from_arrays(("a",), [0], [0], uint64)


def test_a_data_frame_of_counts_gives_its_names() -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    values, names = [[0, 3], [1, 0]], ["x", "y"]
    expected = {("x", "y", 3), ("y", "x", 1)}
    for frame in (
        pandas.DataFrame(values, index=names, columns=names),
        pandas.DataFrame([[3, 0], [0, 1]], index=names, columns=["y", "x"]),
        pandas.DataFrame(values, index=names),
        pandas.DataFrame(values, columns=names),
        polars.DataFrame({"x": [0, 1], "y": [3, 0]}),
    ):
        table = TransitionCounts.from_dense(frame).to_table()
        assert set(zip(table["source"], table["target"], table["count"], strict=True)) == expected
    assert TransitionCounts.from_dense(pandas.DataFrame(values)).states == ("0", "1")
    assert TransitionCounts.from_dense(pandas.DataFrame(values), "ab").states == ("a", "b")
    with pytest.raises(InvalidInputError, match="have the same names; 'x' is not in both"):
        TransitionCounts.from_dense(pandas.DataFrame(values, index=["x", "y"], columns=["y", "z"]))
