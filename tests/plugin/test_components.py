"""Between components there is an order and no number, wherever a potential is shown.

The chain, solved by hand: ``a <-> b`` leads to ``c <-> d <-> e``, the largest component, which
leads to ``x``; ``b`` leads to ``z`` too, which has nothing to do with the largest component.
Inside it V falls by log 2 from c to d, and d and e are equal.
"""

import csv
import json
import re
from math import inf, isnan, log, nan

import networkx as nx
import pytest

from detailed_balance import TransitionCounts, analyze
from detailed_balance.analyzers import (
    RepetitionLimits,
    estimate_potential,
    find_attractors,
    hodge_decomposition,
    score_directionality,
)
from detailed_balance.dashboard._csv_tables import states_table
from detailed_balance.dashboard._details import list_states, show_state_page
from detailed_balance.dashboard._landscape import draw_landscape
from detailed_balance.dashboard._monitors import take_snapshot
from detailed_balance.export import export
from detailed_balance.plots import plot_landscape

EDGES = [
    ("a", "b", 40),
    ("b", "a", 10),
    ("b", "c", 10),
    ("b", "z", 20),
    ("c", "d", 40),
    ("d", "c", 10),
    ("d", "e", 10),
    ("e", "d", 10),
    ("e", "x", 10),
    ("x", None, 5),
    ("z", None, 5),
]
COUNTS = TransitionCounts.from_edges(EDGES)
BY_HAND = {"a": inf, "b": inf, "c": log(2), "d": 0.0, "e": 0.0, "x": -inf, "z": nan}


def assert_by_hand(values):
    assert values == pytest.approx(BY_HAND, nan_ok=True, abs=1e-6)


def number(cell):
    """Read what JSON and CSV hold."""
    return nan if cell in (None, "") else float(cell)


def column(table, name="potential"):
    return dict(zip(table["state"], map(number, table[name]), strict=True))


def test_values_differences_and_tables_of_a_potential():
    potential = estimate_potential(COUNTS)
    assert_by_hand(dict(zip(potential.states, potential.values, strict=True)))
    assert_by_hand({state: potential.difference(state, "d") for state in potential.states})
    assert_by_hand(column(potential.to_table()))
    assert_by_hand(column(potential.to_dict()["states"]))
    pytest.importorskip("pandas")
    assert_by_hand(potential.to_frame().set_index("state")["potential"].to_dict())


def test_heights_are_those_inside_each_component():
    potential = estimate_potential(COUNTS)
    heights = dict(zip(potential.states, potential.heights, strict=True))
    assert heights["a"] - heights["b"] == pytest.approx(log(40 / 40) - log(10 / 40))
    assert [heights[state] for state in "bdxz"] == pytest.approx([0, 0, 0, 0], abs=1e-6)


@pytest.mark.parametrize("kind", ["csv", "json", "parquet", "graphml"])
def test_exported_files(tmp_path, kind):
    [path] = export(COUNTS, tmp_path / f"potential.{kind}", what="potential")
    if kind == "csv":
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        table = {name: [row[name] for row in rows] for name in rows[0]}
    elif kind == "json":
        refuse = pytest.fail  # Infinity and NaN are no JSON
        table = json.loads(path.read_text(), parse_constant=refuse)["potential"]
    elif kind == "parquet":
        table = pytest.importorskip("pyarrow.parquet").read_table(path).to_pydict()
    else:
        nodes = nx.read_graphml(path).nodes(data="potential")
        table = {"state": [node for node, _ in nodes], "potential": [value for _, value in nodes]}
        assert {"Infinity", "-Infinity", "NaN"} <= set(
            re.findall(r">([-\w]+)</data>", path.read_text())
        )
    assert_by_hand(column(table))


def test_a_report_shows_the_order(tmp_path):
    report = analyze(COUNTS)
    shown = {"a": "∞ + 1.39", "b": "∞", "c": "0.69", "x": "-∞", "z": "?"}
    report.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for state, cell in shown.items():
        assert re.search(rf"<td>{state}</td><td[^>]*>{re.escape(cell)}", page), state
    states = column(report.to_dict()["potential"]["states"])
    assert_by_hand(states)


def test_dashboard():
    snapshot = take_snapshot(COUNTS)
    rows = {row["label"]: number(row["potential"]) for row in list_states(snapshot, 10)}
    assert_by_hand(rows)
    pages = {state: show_state_page(snapshot, state)["potential"] for state in COUNTS.states}
    assert_by_hand({state: number(value) for state, value in pages.items()})
    assert_by_hand({row[0]: row[1] for row in states_table(snapshot, None)})
    nodes = draw_landscape(snapshot, {})["nodes"]
    assert_by_hand({node["label"]: number(node["potential"]) for node in nodes})


def test_a_group_of_other_states_has_no_potential_of_its_own():
    nodes = draw_landscape(take_snapshot(COUNTS), {}, top=2)["nodes"]
    assert {node["potential"] for node in nodes if node["group"]} == {None}


def test_a_landscape_has_a_scale_for_each_level_of_the_order():
    figure = plot_landscape(estimate_potential(COUNTS), COUNTS)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert any(label.startswith("∞") for label in labels)
    assert "-∞" in labels


def test_attractors_and_parts_of_a_hodge_decomposition():
    found = {each.state: each.value for each in find_attractors(COUNTS).attractors}
    assert found["b"] == inf
    assert found["x"] == -inf
    parts = hodge_decomposition(COUNTS)
    values = dict(zip(parts.states, parts.potential, strict=True))
    assert {state for state in values if isnan(values[state])} == set("abxz")
    assert values["c"] - values["d"] == pytest.approx(log(2))


def test_moves_between_components_go_down():
    potential = estimate_potential(COUNTS)
    found = score_directionality(COUNTS, potential)
    assert (found.down, found.up, found.flat) == (5, 2, 2)


def test_a_limit_on_standing_still_counts_a_lower_component_as_progress():
    limits = RepetitionLimits(max_stall=3, potential=estimate_potential(COUNTS))
    state = limits.start()
    shares = [state.update(f, g) for f, g in ["ab", "bc", "cd", "dc"]]
    assert shares == pytest.approx([0, 0, 0, 1 / 3])
