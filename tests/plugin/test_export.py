"""What is exported is read back by pandas, networkx and pyarrow to the same numbers."""

import csv
import json
import os

import networkx as nx
import pytest
from hypothesis import given, strategies as st
from typer.testing import CliRunner

from detailed_balance import analyze
from detailed_balance.analyzers.counts import END, START, TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.cli import app
from detailed_balance.export import export
from detailed_balance.render.formatting import (
    escape_text,
    guard_cell,
    unescape_text,
    unguard_cell,
)

pandas = pytest.importorskip("pandas")

A, B, C = "=cmd|' /C calc'!A0", "nul \0, tab\t\x1b[31m\ud800 line\n", '<b>&"\\x41"\u202eé名'
LOOP = [(A, B, 90), (B, C, 90), (C, A, 90), (B, A, 10), (C, B, 10), (A, C, 10)]
EDGES = [(START, A, 5), *LOOP, (A, None, 3), (A, A, 2), (C, END, 5), ("@only", None, 1)]
COUNTS = TransitionCounts.from_edges(EDGES)


@pytest.fixture(scope="module")
def report():
    return analyze(COUNTS)


def lossy(text):
    """A key as Parquet holds it."""
    return text.encode("utf-8", "backslashreplace").decode()


@given(st.text(st.characters(exclude_categories=())))
def test_an_escaped_text_and_a_guarded_cell_can_be_turned_back(text):
    assert unescape_text(escape_text(text)) == text
    assert unguard_cell(guard_cell(text)) == text
    assert escape_text(text).isprintable()


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t=", "\r=", "\n=", " =", "\uff1d", "'"])
def test_no_cell_begins_a_formula(first):
    cell = guard_cell(f"{first}1+1")
    assert cell.startswith(("'", "\\"))
    assert "\t" not in cell
    assert "\r" not in cell


def test_pandas_reads_the_same_counts_from_csv(tmp_path):
    [path] = export(COUNTS, tmp_path / "counts.csv", what="counts")
    table = pandas.read_csv(path, keep_default_na=False, encoding="utf-8")
    rows = table.itertuples(index=False, name=None)
    read = [(unguard_cell(f), unguard_cell(g) if g else None, n) for f, g, n in rows]
    assert sorted(read, key=str) == sorted(EDGES, key=str)


def test_every_cell_of_text_in_a_csv_is_guarded(tmp_path, report):
    for path in export(report, tmp_path / "all", format="csv"):
        with path.open(newline="", encoding="utf-8") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        texts = [c for c in cells if not c.lstrip("-").replace(".", "").replace("e", "").isdigit()]
        assert [c for c in texts if c[:1] in "=+@\t\r" and c not in ("", "-inf")] == []


def test_pandas_and_pyarrow_read_the_same_tables_from_parquet(tmp_path, report):
    parquet = pytest.importorskip("pyarrow.parquet")
    files = {path.stem: path for path in export(report, tmp_path / "all", format="parquet")}
    assert set(files) == {"counts", "potential", "violations"}
    table = pandas.read_parquet(files["counts"])
    rows = zip(*(table[name].tolist() for name in table), strict=True)
    read = [(f, g if isinstance(g, str) else None, n) for f, g, n in rows]
    expected = [(lossy(f), None if g is None else lossy(g), n) for f, g, n in EDGES]
    assert sorted(read, key=str) == sorted(expected, key=str)

    states = pandas.read_parquet(files["potential"]).set_index("state")
    for state, value in zip(report.potential.states, report.potential.values, strict=True):
        assert states.loc[lossy(state), "potential"] == value
        row = COUNTS.index(state)
        assert states.loc[lossy(state), "attempts"] == COUNTS.attempts[row]
        assert states.loc[lossy(state), "escapes"] == COUNTS.escapes[row]

    loops = parquet.read_table(files["violations"]).to_pylist()
    assert [row["loop"] for row in loops] == [
        [lossy(state) for state in violation.loop] for violation in report.balance.violations
    ]
    assert [row["affinity"] for row in loops] == [v.affinity for v in report.balance.violations]
    about = json.loads(parquet.read_schema(files["potential"]).metadata[b"detailed_balance"])
    assert about["table"] == "potential"
    assert about["version"]
    assert about["settings"]["min_attempts"] == 2


def test_json_holds_the_same_without_loss(tmp_path, report):
    [path] = export(report, tmp_path / "all.json")
    read = json.loads(path.read_text())
    table = pandas.DataFrame(read["counts"], dtype=object)  # str holds no half pairs
    edges = table.itertuples(index=False, name=None)
    assert sorted(edges, key=str) == sorted(EDGES, key=str)
    assert dict(zip(read["potential"]["state"], read["potential"]["potential"], strict=True)) == {
        state: float(value)
        for state, value in zip(report.potential.states, report.potential.values, strict=True)
    }
    assert read["violations"]["loop"] == [list(v.loop) for v in report.balance.violations]
    assert read["settings"]["violation"]["beta"] == 1.0


def test_networkx_reads_the_same_graph_from_graphml(tmp_path, report):
    [path] = export(report, tmp_path / "all.graphml")
    graph = nx.read_graphml(path)
    read = {
        (unescape_text(f), unescape_text(g)): data["count"] for f, g, data in graph.edges(data=True)
    }
    assert read == {(f, g): n for f, g, n in EDGES if g is not None}
    for state, value in zip(report.potential.states, report.potential.values, strict=True):
        node = graph.nodes[escape_text(state)]
        assert node["potential"] == value
        assert node["escapes"] == COUNTS.escapes[COUNTS.index(state)]
        assert node["label"] == escape_text(state)
    assert sum(data.get("violations", 0) for *_, data in graph.edges(data=True)) == 3


def test_our_own_reader_counts_the_graph_again(tmp_path):
    plain = [(source, target, n) for source, target, n in EDGES if source != B and target != B]
    counts = TransitionCounts.from_edges(plain)
    [path] = export(counts, tmp_path / "counts.graphml", what="counts")
    again = analyze(path).counts
    for state in counts.states:
        i, j = counts.index(state), again.index(escape_text(state))
        assert counts.attempts[i] == again.attempts[j]


def test_graphml_has_no_number_that_java_does_not_read(tmp_path, report):
    text = export(report, tmp_path / "g.graphml")[0].read_text().lower()
    assert ">nan<" not in text
    assert ">inf<" not in text


def test_a_name_without_a_format_and_an_unknown_part_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match=r"parquet, csv, graphml, json.*--to"):
        export(COUNTS, tmp_path / "out")
    with pytest.raises(InvalidInputError, match="counts, potential, violations, all; got 'edges'"):
        export(COUNTS, tmp_path / "out.csv", what="edges")
    with pytest.raises(InvalidInputError, match=r"out\.csv' is one file, .* one table: set what="):
        export(COUNTS, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_the_command_says_what_it_wrote(tmp_path):
    trace = tmp_path / "steps.csv"
    trace.write_text(
        "run,at,tool\n" + "".join(f"{r},{i},{'abc'[i % 3]}\n" for r in "xy" for i in range(9))
    )
    fields = ["--state-field", "tool", "--trajectory-field", "run", "--order-field", "at"]
    done = CliRunner().invoke(
        app, ["export", str(trace), str(tmp_path / "out"), *fields, "--to", "csv"]
    )
    assert done.exit_code == 0, done.output
    assert sorted(os.listdir(tmp_path / "out")) == ["counts.csv", "potential.csv", "violations.csv"]
    assert done.output.count("wrote ") == 3
    refused = CliRunner().invoke(app, ["export", str(trace), "x", "--to", "xlsx"])
    assert refused.exit_code == 1
