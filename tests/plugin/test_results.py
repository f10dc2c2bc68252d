"""Results in a shell, in a notebook, as tables and as JSON, whatever their states are called."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.sparse import csr_array

from detailed_balance import Finding, RunTable, TransitionCounts, analyze, analyzers, compare
from detailed_balance.analyzers import Kernel, Trajectory
from detailed_balance.analyzers.results import Result, TableResult, _fill_lines

HOSTILE = ["<script>alert(1)</script>", "a\nb\x1b[31m", "=cmd|'/c calc'!A1", "\u202eevil", "<b>"]
MATRIX = np.array(
    [[0, 60, 9, 8, 3], [20, 3, 70, 4, 5], [8, 12, 0, 50, 9], [40, 5, 30, 0, 6], [9, 9, 9, 9, 0]]
)
COUNTS = TransitionCounts.from_dense(MATRIX, HOSTILE)
MIRRORED = TransitionCounts.from_dense(MATRIX.T, HOSTILE)


def subclasses(kind):
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


def public_dataclasses():
    modules = [analyzers, *map(__import__, ["detailed_balance"])]
    for module in modules:
        for name in module.__all__:
            kind = getattr(module, name)
            if isinstance(kind, type) and dataclasses.is_dataclass(kind):
                yield kind


INPUTS = {
    "CustomViolation",
    "Exponential",
    "OutcomeScore",
    "Progress",
    "RepetitionLimits",
    "RepetitionRules",
    "RunTable",
    "Softplus",
    "StepCount",
    "Trajectory",
    "Transition",
}
"""The public dataclasses that are no results."""


def test_every_public_dataclass_that_is_no_input_is_a_result():
    assert {k.__name__ for k in public_dataclasses() if not issubclass(k, Result)} == INPUTS


LARGE = [
    np.arange(10_000.0),
    np.ones((300, 300)),
    csr_array(np.ones((30, 30))),
    tuple(HOSTILE * 1_000),
    "x\n" * 10_000,
    {name: tuple(HOSTILE) for name in HOSTILE},
    (COUNTS, COUNTS),
    COUNTS,
    1.5,
]


@pytest.mark.parametrize("kind", sorted({*subclasses(Result)} - {TableResult}, key=str))
def test_a_repr_has_at_most_ten_lines_whatever_it_holds(kind):
    analyze(COUNTS)  # so that all rooms are loaded
    for first in range(len(LARGE)):
        result = object.__new__(kind)
        for place, each in enumerate(dataclasses.fields(kind)):
            object.__setattr__(result, each.name, LARGE[(first + place) % len(LARGE)])
        lines = repr(result).split("\n")
        assert len(lines) <= 10
        assert max(map(len, lines)) <= 120
        assert all(line.isprintable() for line in lines)
        assert lines[0].startswith(kind.__name__)


def test_a_short_repr_is_that_of_a_dataclass():
    @dataclasses.dataclass(frozen=True, slots=True)
    class Small(Result):
        name: str
        share: float

    assert repr(Small("a", 0.25)) == "Small(name='a', share=0.25)"
    assert _fill_lines(["x" * 70] * 20).count("\n") == 7


TABLES = {
    "counts": lambda: COUNTS,
    "kernel": lambda: analyzers.estimate_kernel(COUNTS),
    "potential": lambda: analyzers.estimate_potential(COUNTS),
    "balance": lambda: analyzers.check_balance(COUNTS),
    "traps": lambda: analyzers.find_traps(COUNTS),
    "attractors": lambda: analyzers.find_attractors(COUNTS),
    "fluxes": lambda: analyzers.net_fluxes(COUNTS),
    "hodge": lambda: analyzers.hodge_decomposition(COUNTS),
    "law": lambda: analyzers.stationary_distribution(COUNTS),
    "reversibility": lambda: analyzers.reversibility_test(COUNTS),
    "triplets": lambda: analyzers.measure_triplets(COUNTS),
    "one way": lambda: analyzers.check_one_way(COUNTS),
    "kernels": lambda: analyzers.compare_kernels(COUNTS, MIRRORED),
    "features": lambda: analyzers.make_features(HOSTILE, analyzers.text_features),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_a_frame_json_and_harmless_html(name):
    result = TABLES[name]()
    assert isinstance(result, TableResult)
    table = result.to_table()
    assert len({len(column) for column in table.values()}) == 1
    json.dumps(result.to_dict(), allow_nan=False)
    pytest.importorskip("pandas")
    frame = result.to_frame()
    assert list(frame.columns) == list(table)
    shown = result._repr_html_()
    assert "<table>" in shown
    assert shown.count("<tr>") <= 11
    for raw in ("<script", "<b>\n", "\x1b", "\u202e", "<td><b>"):
        assert raw not in shown


def test_a_notebook_shows_the_first_rows_and_how_many_more_there_are():
    shown = COUNTS._repr_html_()
    assert shown.count("<tr>") == 11
    assert f"{np.count_nonzero(MATRIX) - 10} more rows" in shown
    potential = analyzers.estimate_potential(COUNTS)._repr_html_()
    assert "5 states, lowest first" in potential
    assert "<td>0</td>" in potential
    assert "driven loops: " in analyzers.check_balance(COUNTS)._repr_html_()


def test_a_state_below_another_component_is_shown_with_infinity():
    shown = analyzers.estimate_potential([[0, 9, 0], [5, 0, 4], [0, 0, 3]])._repr_html_()
    assert "<td>-∞</td>" in shown


def test_findings_reports_pages_and_comparisons_are_harmless_in_a_notebook():
    moves = tuple(zip(HOSTILE, [*HOSTILE[1:], HOSTILE[0]], strict=True))
    runs = RunTable.of(
        Trajectory(moves * (6 if i < 4 else 1), f"<i>{i}", success=i > 3) for i in range(20)
    )
    finding = Finding("repetition", "problem", "<script>1</script>", ("<b>",), ("<b>t1",), 1, 9)
    report = analyze(runs)
    shown = [
        finding._repr_html_(),
        report._repr_html_(),
        report.show("<i>0")._repr_html_(),
        compare(runs, runs)._repr_html_(),
    ]
    for page in shown:
        assert "<script" not in page
        assert "<i>" not in page
        assert "<b>t1" not in page
    assert 'class="statement problem"' in shown[0]
    for result in (report, compare(runs, runs), report.show("<i>0"), finding):
        assert repr(result).count("\n") < 10
        json.dumps(result.to_dict(), allow_nan=False)


def test_columns_of_counts_are_those_of_an_export():
    counts = TransitionCounts.from_edges([("a", "b", 3), ("a", None, 1)])
    assert counts.to_table() == {"source": ["a", "a"], "target": ["b", None], "count": [3, 1]}
    assert repr(Kernel.from_matrix([[0.0]])).startswith("Kernel(")
