"""Whatever a user holds is a source, and the same transitions give the same report."""

import io
import json
import random
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import replace
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from scipy.sparse import coo_array, csr_matrix

from detailed_balance import (
    RunTable,
    Transition,
    TransitionCounts,
    TransitionGraph,
    TransitionStore,
    analyze,
    compare,
    read_runs,
)
from detailed_balance.analyzers import END, START, Outcome, Trajectory, compare_runs
from detailed_balance.analyzers.errors import (
    InsufficientDataError,
    InvalidInputError,
    ReadError,
)
from detailed_balance.callbacks import Ending
from detailed_balance.sources import open_source

EDGES = {("plan", "search"): 3, ("search", "plan"): 1, ("search", "read"): 2, ("read", "plan"): 2}
STATES = ("plan", "read", "search")


def edges_of(counts):
    coo = counts.counts.tocoo()
    cells = zip(coo.row, coo.col, coo.data, strict=True)
    return {(counts.states[i], counts.states[j]): int(n) for i, j, n in cells if n}


def matrix_of(names=STATES, kind=np.int64):
    return np.array([[EDGES.get((f, g), 0) for g in names] for f in names], dtype=kind)


def make_graph(name, kind=nx.DiGraph):
    graph = kind()
    for (source, target), count in EDGES.items():
        graph.add_edge(source, target, **{name: count})
    return graph


def sources_of_counts():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    other = ("search", "plan", "read")
    square = pandas.DataFrame(matrix_of(), index=list(STATES), columns=list(STATES))
    columns = dict(zip(other, matrix_of(other).T.tolist(), strict=True))
    return {
        "counts": TransitionCounts.from_edges((*edge, n) for edge, n in EDGES.items()),
        "networkx count": make_graph("count"),
        "networkx weight": make_graph("weight"),
        "networkx floats": nx.DiGraph((f, g, {"weight": float(n)}) for (f, g), n in EDGES.items()),
        "networkx multigraph": make_graph("count", nx.MultiDiGraph),
        "pandas": square,
        "pandas, rows in another order": square.loc[list(other)],
        "polars": polars.DataFrame(columns),
        "polars with names": polars.DataFrame({"state": list(other), **columns}),
    }


def test_counts_of_every_kind_are_the_same_with_sorted_states() -> None:
    for name, source in sources_of_counts().items():
        opened = open_source(source)
        assert opened.runs() is None, name
        assert opened.counts().states == STATES, name
        assert edges_of(opened.counts()) == EDGES, name


def test_arrays_and_sparse_matrices_name_states_by_their_places() -> None:
    numbered = {(str(STATES.index(f)), str(STATES.index(g))): n for (f, g), n in EDGES.items()}
    dense = matrix_of()
    for source in (dense, dense.astype(float), coo_array(dense), csr_matrix(dense)):
        assert edges_of(open_source(source).counts()) == numbered


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.array([[0, 0.5], [1, 0]]), "row 0, column 1 has 0.5"),
        (csr_matrix(np.array([[0, 0.5], [1, 0]])), "has 0.5"),
        (np.zeros((2, 3)), r"square.*\(2, 3\)"),
        (np.zeros(3), r"square.*\(3,\)"),
        (object(), "a object holds no transitions; allowed are a TransitionCallbackHandler"),
        (7, "a int holds no transitions"),
        ([], "a list holds no transitions"),
        ([("a", "b")], "a list of tuple holds no transitions"),
        (["a.csv", 3], "a list of int, str holds no transitions"),
    ],
)
def test_what_holds_no_counts_is_refused_with_the_reason(source, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        open_source(source).counts()


def test_an_edge_with_a_fraction_is_named() -> None:
    graph = nx.DiGraph([("plan", "read", {"weight": 1}), ("read", "search", {"weight": 0.25})])
    with pytest.raises(ReadError, match=r"edge 'read' -> 'search'.*'weight'.*0\.25"):
        open_source(graph).counts()


def test_the_attribute_with_the_count_can_be_named_and_none_counts_once() -> None:
    graph = make_graph("times")
    assert edges_of(open_source(graph).counts()) == dict.fromkeys(EDGES, 1)
    assert edges_of(open_source(graph, weight="times").counts()) == EDGES


# Runs

PATHS = {
    "r1": ("ab", Outcome.ENDED, 100.0, (("model", "x"),)),
    "r2": ("abab", Outcome.FAILED, 200.0, (("model", "x"),)),
    "r3": ("acb", Outcome.ENDED, 300.0, (("model", "y"),)),
}


def moves_of(path):
    return [*pairwise((START, *path, END))]


def make_runs():
    return [
        Trajectory(
            tuple(moves_of(path)), name, outcome, outcome.success, context=labels, started=began
        )
        for name, (path, outcome, began, labels) in PATHS.items()
    ]


def fill(store):
    for name, (path, outcome, began, labels) in PATHS.items():
        moves = moves_of(path)
        store.append(
            Transition(f, g, name, labels, time=began + i) for i, (f, g) in enumerate(moves)
        )
        store.append([Ending(name, outcome, context=labels, time=began + len(moves))])
    return store


def rows_of_moves():
    return [
        {
            "source": f,
            "target": g,
            "trajectory": name,
            "time": began + i,
            "model": labels[0][1],
            "outcome": str(outcome),
        }
        for name, (path, outcome, began, labels) in PATHS.items()
        for i, (f, g) in enumerate(moves_of(path))
    ]


FIELDS = {"context_fields": ["model"], "success_field": "outcome"}


@pytest.fixture
def sources_of_runs(tmp_path):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    rows = rows_of_moves()
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    for name in PATHS:
        part = tmp_path / "parts" / f"{name}.jsonl"
        part.parent.mkdir(exist_ok=True)
        lines = [json.dumps(row) for row in rows if row["trajectory"] == name]
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with fill(TransitionStore(f"sqlite:///{tmp_path}/runs.db")):
        pass
    return {
        "trajectories": (make_runs(), {}),
        "table": (RunTable.of(make_runs()), {}),
        "file": (file, FIELDS),
        "folder": (tmp_path / "parts", FIELDS),
        "pattern": (f"{tmp_path}/parts/*.jsonl", FIELDS),
        "list of paths": ([tmp_path / "parts" / f"{name}.jsonl" for name in PATHS], FIELDS),
        "store": (tmp_path / "runs.db", {}),
        "URL": (f"sqlite:///{tmp_path}/runs.db", {}),
        "pandas": (pandas.DataFrame(rows), FIELDS),
        "polars": (polars.DataFrame(rows), FIELDS),
    }


def seen(runs):
    return [
        (run.name, run.moves, run.outcome, run.success, run.context, run.started) for run in runs
    ]


def test_runs_of_every_kind_are_the_same(sources_of_runs) -> None:
    expected = seen(make_runs())
    for name, (source, options) in sources_of_runs.items():
        opened = open_source(source, **options)
        assert seen(opened.runs()) == expected, name
        assert edges_of(opened.counts()) == edges_of(RunTable.of(make_runs()).counts()), name
        assert opened.counts().states == (END, START, "a", "b", "c"), name
        assert opened.info.trajectories == 3, name
        assert opened.info.outcomes == {Outcome.ENDED: 2, Outcome.FAILED: 1}, name


def test_runs_are_chosen_and_the_counts_are_theirs(sources_of_runs) -> None:
    for name, (source, options) in sources_of_runs.items():
        for wanted, chosen in [
            ({"context": {"model": "x"}}, "r1 r2"),
            ({"since": 200}, "r2 r3"),
            ({"until": 300}, "r1 r2"),
            ({"since": "1970-01-01T00:03:20", "context": {"model": "x"}}, "r2"),
        ]:
            opened = open_source(source, **options, **wanted)
            runs = [run for run in make_runs() if run.name in chosen.split()]
            assert seen(opened.runs()) == seen(runs), (name, wanted)
            assert edges_of(opened.counts()) == edges_of(RunTable.of(runs).counts()), (name, wanted)


def test_last_counts_back_from_now() -> None:
    now = time.time()
    runs = [
        Trajectory((("a", "b"),), name, started=now - age)
        for name, age in [("old", 8 * 86_400), ("new", 6 * 86_400)]
    ]
    assert [run.name for run in read_runs(runs, last="7d")] == ["new"]
    assert len(read_runs(runs, last="2w")) == 2
    with pytest.raises(InsufficientDataError, match="the newest began 20"):
        read_runs(runs, last="1h")
    with pytest.raises(InvalidInputError, match="'7 days' is not a length of time; write 90s, 30m"):
        read_runs(runs, last="7 days")
    with pytest.raises(InvalidInputError, match="either last= or since="):
        read_runs(runs, last="7d", since=0)


def test_an_empty_window_names_the_newest_run() -> None:
    with pytest.raises(InsufficientDataError, match="newest began 1970-01-01 00:05:00 UTC"):
        analyze(make_runs(), since=400)


def test_states_are_merged_by_name_and_by_pattern_and_then_hidden() -> None:
    runs = [Trajectory(tuple(pairwise(["web_1", "web_2", "hub", "docs", "web_1"])))]
    merged = read_runs(runs, merge={"web_*": "search", "web_2": "second"})
    assert merged[0].states == ("search", "second", "hub", "docs", "search")
    hidden = read_runs(runs, merge={"web_*": "search"}, hide=["hub"])
    assert hidden[0].states == ("search", "search", "docs", "search")
    assert read_runs(runs, merge=str.upper)[0].states[0] == "WEB_1"
    with pytest.raises(InvalidInputError, match="no state 'web_1'"):
        read_runs(runs, merge={"web_*": "search"}, hide=["web_1"])


def test_merging_counts_adds_them_up_and_keeps_their_attempts() -> None:
    edges = [("a", "b", 2), ("b", "c", 3), ("c", "a", 1), ("c", None, 4)]
    counts = TransitionCounts.from_edges(edges)
    merged = open_source(counts, merge={"b": "c"}).counts()
    assert edges_of(merged) == {("a", "c"): 2, ("c", "c"): 3, ("c", "a"): 1}
    assert merged.attempts.tolist() == [2, 8]


@pytest.mark.parametrize(
    "wanted", [{"since": 0}, {"until": 9}, {"last": "1d"}, {"hide": ["plan"]}, {"block": "thread"}]
)
def test_what_needs_runs_is_refused_of_counts(wanted) -> None:
    (name,) = wanted
    graph = TransitionGraph()
    graph.record("plan", "search")
    for source in (graph, make_graph("count"), matrix_of(), graph.snapshot()):
        with pytest.raises(InvalidInputError, match=f"{name}= needs runs"):
            analyze(source, **wanted)


def test_blocks_are_told_by_a_label_or_a_field(tmp_path) -> None:
    runs = read_runs(make_runs(), block="model")
    assert [runs.blocks[code] for code in runs.runs.block] == ["x", "x", "y"]
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join(map(json.dumps, rows_of_moves())), encoding="utf-8")
    by_field = read_runs(file, block_field="model")
    assert [by_field.blocks[code] for code in by_field.runs.block] == ["x", "x", "y"]
    with pytest.raises(InvalidInputError, match="no run has a label 'task'"):
        read_runs(make_runs(), block="task")


def test_the_values_that_mean_success_can_be_named(tmp_path) -> None:
    states = {"r1": "Resolved", "r2": "open", "r3": ""}
    rows = [{**row, "status": states[row["trajectory"]]} for row in rows_of_moves()]
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    options = {"success_field": "status", "success_values": ["resolved"]}
    for source in (file, rows_frame(rows)):
        assert [run.success for run in read_runs(source, **options)] == [True, False, None]
    with pytest.raises(ReadError, match="'status' must be one of"):
        read_runs(file, success_field="status")
    with pytest.raises(InvalidInputError, match="name that field with success_field="):
        read_runs(file, success_values=["resolved"])


def rows_frame(rows):
    return pytest.importorskip("pandas").DataFrame(rows)


def test_the_standard_input_is_read_as_a_file(sources_of_runs, monkeypatch) -> None:
    for name in ("file", "store"):
        source, options = sources_of_runs[name]
        stdin = type("Stdin", (), {"buffer": io.BytesIO(source.read_bytes())})
        monkeypatch.setattr(sys, "stdin", stdin)
        opened = open_source("-", **options)
        assert seen(opened.runs()) == seen(make_runs())
        assert opened.description == "standard input"


def test_a_handler_with_a_store_is_read_by_its_store() -> None:
    with fill(TransitionStore("sqlite://")) as store:
        handler = type("Handler", (), {"graph": TransitionGraph(), "store": store, "faults": 2})()
        report = analyze(handler)
    assert report.source.faults == 2
    assert edges_of(report.counts) == edges_of(RunTable.of(make_runs()).counts())
    assert report.runs is not None


def test_a_source_is_read_once(sources_of_runs, monkeypatch) -> None:
    read = []
    from detailed_balance.sources import _contents

    whole = _contents.read_recording

    def record(*arguments, **options):
        read.append(arguments)
        return whole(*arguments, **options)

    monkeypatch.setattr(_contents, "read_recording", record)
    source, options = sources_of_runs["file"]
    opened = open_source(source, **options)
    assert read == []
    assert opened.runs() is opened.runs()
    assert opened.counts() is opened.counts()
    assert opened.info.trajectories == 3
    assert len(read) == 1


def test_folders_and_patterns_without_files_are_errors(tmp_path) -> None:
    with pytest.raises(ReadError, match=r"no file in .* has a name of a trace"):
        open_source(tmp_path)
    with pytest.raises(ReadError, match="no file matches"):
        open_source(f"{tmp_path}/*.csv")
    with pytest.raises(ReadError, match="there is no file"):
        open_source(tmp_path / "runs.csv").counts()


def test_a_store_and_a_file_together_are_one_source(sources_of_runs, tmp_path) -> None:
    rows = [row for row in rows_of_moves() if row["trajectory"] == "r1"]
    early = [row | {"trajectory": "r0", "time": row["time"] - 50} for row in rows]
    file = tmp_path / "early.jsonl"
    file.write_text("\n".join(map(json.dumps, early)), encoding="utf-8")
    opened = open_source([tmp_path / "runs.db", file])
    assert [run.name for run in opened.runs()] == ["r0", "r1", "r2", "r3"]
    assert opened.counts().total == 3 + 3 + 5 + 4


def test_both_sides_of_a_comparison_take_the_same_options() -> None:
    runs = [replace(run, name=f"{run.name}-{i}") for run in make_runs() for i in range(20)]
    found = compare(runs, context_a={"model": "x"}, context_b={"model": "y"}, merge={"c": "b"})
    assert "c" not in {*found.a.report.counts.states, *found.b.report.counts.states}
    assert (len(found.a.roots), len(found.b.roots)) == (40, 20)
    hidden = compare(runs, context_a={"model": "x"}, context_b={"model": "y"}, hide=["c"])
    assert hidden.b.report.counts.states == (END, START, "a", "b")  # A has no state c
    with pytest.raises(InvalidInputError, match="no state 'zebra'"):
        compare(runs, context_a={"model": "x"}, context_b={"model": "y"}, hide=["zebra"])
    table = read_runs(runs)
    assert compare_runs(table[:30], table[30:], replicates=99).runs == (30, 30)


# Order


def shuffled_report(lines, path, seed):
    random.Random(seed).shuffle(lines)
    path.write_text("\n".join(lines), encoding="utf-8")
    report = analyze(path, state_field="tool", trajectory_field="run", success_field="outcome")
    return str(report), report.to_dict()


def test_the_order_of_rows_changes_no_number_and_no_word(tmp_path) -> None:
    dice = random.Random(5)
    lines = []
    for number in range(40):
        good, here = number % 3 > 0, "plan"
        path = [here]
        for _ in range(dice.randrange(3, 12)):
            here = dice.choice([s for s in ("plan", "search", "read", "write") if s != here])
            path.append(here)
        for step, tool in enumerate(path if good else [*path, "search", "read", "search", "read"]):
            row = {"run": f"run {number}", "time": 1e9 + 3_600 * number + 7 * step, "tool": tool}
            lines.append(json.dumps(row | {"outcome": "ended" if good else "failed"}))
    path = tmp_path / "steps.jsonl"
    expected = shuffled_report(lines[:], path, None)
    for seed in range(6):
        assert shuffled_report(lines[:], path, seed) == expected


def test_the_order_of_edges_changes_no_number_and_no_word() -> None:
    edges = [(f, g, n * 40) for (f, g), n in EDGES.items()]
    edges += [(g, f, 3) for f, g, _ in edges if (g, f) not in EDGES]
    reports = set()
    for seed in range(20):
        random.Random(seed).shuffle(edges)
        graph = nx.DiGraph((f, g, {"count": n}) for f, g, n in edges)
        for source in (TransitionCounts.from_edges(edges), graph):
            report = analyze(source)
            told = report.to_dict()
            del told["source"]["description"]
            text = str(report).replace("networkx graph", "TransitionCounts")
            reports.add((text, json.dumps(told, default=str)))
    assert len(reports) == 1


# Hostile databases

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT {} FROM n"


@pytest.mark.parametrize("table", ["transitions", "versions", "states"])
def test_a_view_in_the_place_of_a_table_is_refused(tmp_path, table) -> None:
    with fill(TransitionStore(f"sqlite:///{tmp_path}/runs.db")):
        pass
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        names = [
            row[1] for row in connection.execute(f"PRAGMA table_info(detailed_balance_{table})")
        ]
        endless = ENDLESS.format(", ".join(f"x AS {name}" for name in names))
        connection.execute(f"DROP TABLE detailed_balance_{table}")
        connection.execute(f"CREATE VIEW detailed_balance_{table} AS {endless}")
    with pytest.raises(ReadError, match=f"detailed_balance_{table} is a view and not a table"):
        analyze(tmp_path / "runs.db")
    with pytest.raises(ReadError, match="is a view and not a table"):
        open_source(f"sqlite:///{tmp_path}/runs.db").counts()


@pytest.mark.parametrize("table", ["checkpoints", "writes"])
def test_a_view_in_the_place_of_checkpoints_is_refused(tmp_path, table) -> None:
    names = ["thread_id", "checkpoint_ns", "checkpoint_id", "type"]
    columns = {
        "checkpoints": [*names, "parent_checkpoint_id", "checkpoint", "metadata"],
        "writes": [*names, "task_id", "idx", "channel", "value"],
    }
    with closing(sqlite3.connect(tmp_path / "saved.db")) as connection:
        for name, there in columns.items():
            endless = ENDLESS.format(", ".join(f"x AS {column}" for column in there))
            made = f"VIEW {name} AS {endless}" if name == table else f"TABLE {name} ({there[0]})"
            connection.execute(f"CREATE {made}")
    with pytest.raises(ReadError, match=f"{table} is a view and not a table"):
        analyze(tmp_path / "saved.db", format="langgraph")
    with pytest.raises(ReadError, match="holds no recorded transitions"):
        analyze(tmp_path / "saved.db")


def test_values_of_wrong_types_in_a_store_are_an_error(tmp_path) -> None:
    with fill(TransitionStore(f"sqlite:///{tmp_path}/runs.db")):
        pass
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        connection.execute("UPDATE detailed_balance_transitions SET time = 'noon' WHERE id = 3")
        connection.commit()
    with pytest.raises(ReadError, match="holds values of wrong types"):
        analyze(tmp_path / "runs.db")


@pytest.mark.parametrize("bad", ["", "T,a,b,x\n"])
def test_counts_for_more_moves_than_a_table_holds_stay_counts(tmp_path, bad):
    path, huge = tmp_path / "moves.csv", 10**15
    path.write_text(f"trajectory,source,target,count\nT,a,b,{huge}\nT,b,a,1\n{bad}")
    source = open_source(path, skip_bad_lines=True)
    assert source.runs() is None
    assert source.counts().total == huge + 1


def test_a_store_of_such_counts_is_counted(tmp_path):
    with TransitionStore(f"sqlite:///{tmp_path / 'runs.db'}") as store:
        store.append([Transition("a", "b", "T", count=10**15), Transition("b", "a", "T")])
        source = open_source(store)
        assert source.runs() is None
        assert source.counts().total == 10**15 + 1


def test_a_limit_of_memory_that_is_none_is_refused(tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text("trajectory,tool\nT,a\nT,b\n")
    with pytest.raises(InvalidInputError, match="memory_limit='banana' is not an amount of memory"):
        open_source(path, state_field="tool", memory_limit="banana").runs()


@pytest.mark.parametrize("source", [TransitionGraph(), "moves.csv"])
def test_an_option_of_an_unknown_name_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "moves.csv").write_text("source,target\na,b\n")
    with pytest.raises(InvalidInputError, match="unknown option state_fild=; is it state_field"):
        open_source(source, state_fild="tool")
    with pytest.raises(InvalidInputError, match="unknown option interval=; allowed are answer_fi"):
        open_source(source, interval=1)


def test_probabilities_are_refused_with_what_takes_them() -> None:
    for known in (np.array([[0.1, 0.9], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.25, 0.0]])):
        with pytest.raises(InvalidInputError, match=r"analyzers\.estimate_potential\(matrix\)"):
            analyze(known)
