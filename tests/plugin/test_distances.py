"""The heat map shows the distances of a comparison, whatever the contexts are called."""

import pytest

from detailed_balance.analyzers import (
    KernelComparison,
    TransitionCounts,
    compare_kernels,
    compare_potentials,
)
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.plots import plot_distances

HOSTILE = "\x1b[31m$\\frac{"


def context(n: int) -> TransitionCounts:
    back = [("search", "plan", 50), ("search", "answer", 50)]
    return TransitionCounts.from_edges([("plan", "search", n), ("plan", "answer", 100 - n), *back])


def compare(*names: str) -> KernelComparison:
    return compare_kernels({name: context(90 - 30 * i) for i, name in enumerate(names)})


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_two_contexts_are_written_in_the_format_of_the_suffix(tmp_path, suffix, start) -> None:
    path = tmp_path / f"distances{suffix}"
    plot_distances(compare("old", "new"), path)
    assert path.read_bytes().startswith(start)


def test_each_cell_holds_the_distance_of_its_contexts_with_a_mark_where_they_differ() -> None:
    comparison = compare("first", "second", "third")
    cells = {t.get_position(): t.get_text() for t in plot_distances(comparison).axes[0].texts[:6]}
    assert set(cells) == {(j, i) for i in range(3) for j in range(3) if i != j}
    for (j, i), text in cells.items():
        assert float(text.rstrip("*")) == pytest.approx(comparison.distances[i, j], rel=0.06)
        assert text.endswith("*") == (comparison.distance_pvalues[i, j] <= 0.05)
    assert cells[2, 0].endswith("*")  # 90% against 30%


def test_names_of_contexts_are_written_as_the_text_that_they_are(tmp_path) -> None:
    figure = plot_distances(compare("plain", HOSTILE), tmp_path / "hostile.svg")
    ax = figure.axes[0]
    expected = ["plain", "\\x1b[31m$\\\\frac{"]
    assert [label.get_text() for label in ax.get_xticklabels()] == expected
    assert [label.get_text() for label in ax.get_yticklabels()] == expected
    assert not any(label.get_parse_math() for label in ax.get_xticklabels())


def test_distances_of_potentials_are_in_their_own_unit() -> None:
    figure = plot_distances(compare_potentials({"a": context(60), "b": context(20)}))
    assert "1/β" in figure.axes[1].get_ylabel()


def test_what_is_no_comparison_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="is a list; give what compare_kernels"):
        plot_distances([[0, 1], [1, 0]])


def test_contexts_that_share_no_state_get_a_dash() -> None:
    other = TransitionCounts.from_edges([("write", "test", 9), ("write", "send", 9)])
    contexts = {"old": context(60), "new": context(20), "other": other}
    cells = plot_distances(compare_kernels(contexts)).axes[0].texts[:6]
    dashes = {text.get_position() for text in cells if text.get_text() == "-"}
    assert dashes == {(2, 0), (2, 1), (0, 2), (1, 2)}
