"""Formats of other programs, written by those programs where they are installed."""

import gzip
import json
import os
import sys
import warnings
from collections import Counter
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from detailed_balance import analyze, read_runs
from detailed_balance.analyzers.counts import END, START
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.callbacks import TransitionGraph
from detailed_balance.callbacks.transition import Transition
from detailed_balance.readers import read_transitions


def pairs(moves):
    return [(move.source, move.target) for move in moves]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def walk(*states):
    """Return the moves of a path from START to END."""
    return list(zip((START, *states), (*states, END), strict=True))


# Parquet


@pytest.fixture
def arrow():
    return pytest.importorskip("pyarrow", reason="pyarrow is not installed")


def write_parquet(path, rows, **options):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), path, **options)
    return path


def test_parquet_of_moves_gives_every_field(tmp_path, arrow):
    row = {"source": "a", "target": "b", "trajectory": "T", "step": 4, "time": 1.5, "count": 3}
    rows = [{**row, "model": "m", "big": "x" * 1_000}, {**row, "target": None, "model": None}]
    path = write_parquet(tmp_path / "t.parquet", rows)
    assert list(read_transitions(path, context_fields=["model"])) == [
        Transition("a", "b", "T", (("model", "m"),), 4, 1.5, 3),
        Transition("a", None, "T", (), 4, 1.5, 3),
    ]


def test_parquet_of_steps_gives_paths(tmp_path, arrow):
    rows = [{"run": 1 + i % 2, "node": "abc"[i // 2], "step": i} for i in range(6)]
    path = write_parquet(tmp_path / "t.pq", rows, row_group_size=2)
    reader = read_transitions(path, state_field="node", trajectory_field="run")
    assert pairs(reader) == walk("a", "b", "c") * 2
    states = read_transitions(path, states=lambda row: f"{row['run']}", trajectory_field="run")
    assert pairs(states) == walk("1", "1", "1") + walk("2", "2", "2")


def test_a_parquet_column_that_is_missing_is_named(tmp_path, arrow):
    path = write_parquet(tmp_path / "t.parquet", [{"from": "a", "target": "b"}])
    with pytest.raises(ReadError, match=r"no field 'source'; the fields are 'from', 'target'"):
        list(read_transitions(path))


def test_a_parquet_file_that_is_cut_is_an_error(tmp_path, arrow):
    path = write_parquet(tmp_path / "t.parquet", [{"source": "a", "target": "b"}])
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ReadError, match="cannot be read as Parquet"):
        list(read_transitions(path))


def test_without_pyarrow_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidInputError, match=r"detailed-balance\[parquet\]"):
        list(read_transitions(write(tmp_path / "t.parquet", "PAR1")))


# Event logs of process mining

XES = """<?xml version="1.0" encoding="utf-8"?>
<log xes.version="1849-2016" xmlns="http://www.xes-standard.org/">
  <string key="origin" value="by hand"/>
  <trace>
    <string key="concept:name" value="case 1"/> <string key="team" value="red"/>
    <event>
      <string key="concept:name" value="plan"><string key="concept:name" value="deeper"/></string>
      <date key="time:timestamp" value="2024-01-01T00:00:00.000+00:00"/>
    </event>
    <event>
      <date key="time:timestamp" value="2024-01-01T00:01:00.000+01:00"/>
      <string key="concept:name" value="&lt;search&gt;"/>
    </event>
  </trace>
  <trace><event><string key="concept:name" value="alone"/></event></trace>
</log>"""


def test_xes_without_times_is_in_the_order_of_the_file(tmp_path):
    case = '<trace><string key="concept:name" value="{}"/>{}</trace>'
    event = '<event><string key="concept:name" value="{}"/></event>'
    cases = [case.format(name, "".join(map(event.format, name))) for name in ("ba", "zab")]
    path = write(tmp_path / "t.xes", f"<log>{''.join(cases)}</log>")
    runs = read_runs(path)
    assert [run.states for run in runs] == [("b", "a"), ("z", "a", "b")]
    assert np.isnan(runs.runs.started).all()


@pytest.mark.parametrize("name", ["t.xes", "t.xes.gz", "t.xml"])
def test_xes_gives_a_path_for_each_case_in_the_order_of_its_clock(tmp_path, name):
    content = gzip.compress(XES.encode()) if name.endswith("gz") else XES
    reader = read_transitions(write(tmp_path / name, content))
    moves = list(reader)
    assert pairs(moves) == [*walk("alone"), *walk("<search>", "plan")]
    assert [move.trajectory for move in moves] == ["2"] * 2 + ["case 1"] * 3
    assert (reader.read_count, reader.reordered_count) == (3, 1)


def test_attributes_of_a_trace_and_of_an_event_can_be_labels_and_states(tmp_path):
    path = write(tmp_path / "t.xes", XES.partition("<trace><event>")[0] + "</log>")
    options = {"state_field": "{case:team}/{concept:name}", "context_fields": ["case:team"]}
    first, *_ = read_transitions(path, **options)
    assert (first.target, first.context) == ("red/<search>", (("case:team", "red"),))


@pytest.mark.parametrize("declared", ['<!DOCTYPE log SYSTEM "file:///etc/hostname">', "ENTITY"])
def test_xes_that_declares_a_type_is_refused(tmp_path, declared):
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
    text = XES.replace("<log ", (bomb if declared == "ENTITY" else declared) + "<log ", 1)
    with pytest.raises(ReadError, match="declares a document type"):
        list(read_transitions(write(tmp_path / "t.xes", text)))


def test_xes_that_breaks_off_gives_what_came_before(tmp_path):
    path = write(tmp_path / "t.xes", XES[: XES.index("<trace><event>")])
    reader = read_transitions(path, skip_bad_lines=True)
    assert len(list(reader)) == 3
    assert (reader.read_count, reader.skipped_count) == (2, 1)
    with pytest.raises(ReadError, match="invalid XES, nothing after here is read"):
        list(read_transitions(path))


def test_logs_that_pm4py_wrote_give_the_moves_that_it_finds(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(os.environ, "PM4PY_SHOW_INTERNAL_WARNINGS", "False")
    pm4py = pytest.importorskip("pm4py", reason="pm4py is not installed")
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    rows = [
        {
            "case:concept:name": f"c{i % 7}",
            "concept:name": "abcd"[i * i % 11 % 4],
            "time:timestamp": i,
        }
        for i in range(200)
    ]
    frame = pandas.DataFrame(rows)
    frame["time:timestamp"] = pandas.to_datetime(frame["time:timestamp"], unit="s", utc=True)
    with warnings.catch_warnings(action="ignore"):
        found, first, last = pm4py.discover_dfg(frame)
        pm4py.write_xes(frame, str(tmp_path / "log.xes"))
        frame.to_csv(tmp_path / "log.csv", index=False)
        frame.to_parquet(tmp_path / "log.parquet")
    expected = Counter(dict(found))
    expected.update({(START, state): n for state, n in first.items()})
    expected.update({(state, END): n for state, n in last.items()})
    for name in ("log.xes", "log.csv", "log.parquet"):
        assert Counter(pairs(read_transitions(tmp_path / name))) == expected


# Messages


def ask(*names):
    calls = [
        {"id": f"{i}", "type": "function", "function": {"name": n}} for i, n in enumerate(names)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


SAY, HEAR = {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Hi"}
RESULT = {"role": "tool", "name": "search", "content": "found"}
TALK = [{"role": "system", "content": "Be kind"}, HEAR, SAY, HEAR, ask("search"), RESULT]
TALK += [ask("search", "book"), RESULT, RESULT, SAY]
STATES = ("respond", "search", "book|search", "respond")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.json", json.dumps([{"task_id": 4, "trial": 1, "reward": 1.0, "traj": TALK}], indent=1)),
        ("t.jsonl", json.dumps({"id": "4-1", "reward": 1, "messages": TALK}) + "\n"),
        ("t.json", json.dumps({"id": "4-1", "reward": 1, "messages": TALK})),
    ],
)
def test_what_the_assistant_did_is_the_path(tmp_path, name, content):
    reader = read_transitions(write(tmp_path / name, content))
    assert pairs(reader) == walk(*STATES)
    (run,) = read_runs(tmp_path / name)
    assert (run.name, run.success, run.outcome) == ("4-1", True, Outcome.ENDED)
    assert reader.read_count == len(TALK)


def test_one_conversation_may_be_the_whole_file(tmp_path):
    path = write(tmp_path / "t.json", json.dumps(TALK))
    assert pairs(read_transitions(path)) == walk(*STATES)


@pytest.mark.parametrize(
    ("message", "state"),
    [
        ({"role": "assistant", "function_call": {"name": "old"}}, "old"),
        ({"role": "assistant", "content": [{"type": "tool_use", "name": "block"}]}, "block"),
        ({"role": "assistant", "tool_calls": [{"name": "flat", "arguments": {}}]}, "flat"),
        ({"type": "ai", "content": "", "tool_calls": [{"name": "chain"}]}, "chain"),
        ({"role": "assistant", "content": ""}, "respond"),
    ],
)
def test_tool_calls_are_known_in_every_spelling(tmp_path, message, state):
    path = write(tmp_path / "t.json", json.dumps([{"messages": [message]}]))
    assert pairs(read_transitions(path)) == walk(state)


def test_a_state_function_sees_each_message_with_what_is_said_of_its_run(tmp_path):
    path = write(tmp_path / "t.json", json.dumps([{"task_id": 1, "model": "m", "traj": TALK}]))
    moves = read_transitions(
        path, states=lambda m: m["role"] if m["model"] == "m" else None, context_fields="task_id"
    )
    assert [(m.target, m.context) for m in moves][:2] == [
        ("system", (("task_id", "1"),)),
        ("user", (("task_id", "1"),)),
    ]


def test_a_tau_run_that_raised_has_failed(tmp_path):
    runs = [
        {"task_id": 1, "trial": 0, "reward": 0.0, "traj": [SAY], "info": {"error": "boom"}},
        {"task_id": 2, "trial": 0, "reward": 0.5, "traj": [SAY], "info": {}},
    ]
    failed, partly = read_runs(write(tmp_path / "t.json", json.dumps(runs)))
    assert (failed.outcome, failed.success) == (Outcome.FAILED, False)
    assert failed.moves == ((START, "respond"),)
    assert (partly.outcome, partly.success) == (Outcome.ENDED, False)


def test_results_that_tau2_wrote_are_read(tmp_path):
    tau2 = pytest.importorskip("tau2.data_model.simulation", reason="tau2 is not installed")
    message = pytest.importorskip("tau2.data_model.message")
    environment = pytest.importorskip("tau2.environment.environment")
    say = message.AssistantMessage(role="assistant", content="Hello")
    call = message.ToolCall(id="1", name="search", arguments={}, requestor="assistant")
    asks = message.AssistantMessage(role="assistant", content=None, tool_calls=[call])
    result = message.ToolMessage(id="1", role="tool", content="found", requestor="assistant")
    runs = [
        tau2.SimulationRun(
            id=f"run-{reason}",
            task_id="7",
            timestamp="2025-01-01T00:00:00",
            start_time="2025-01-01T00:00:00",
            end_time="2025-01-01T00:01:00",
            duration=60.0,
            termination_reason=reason,
            reward_info=tau2.RewardInfo(reward=reward),
            messages=[say, asks, result, say],
            trial=0,
        )
        for reason, reward in (("user_stop", 1.0), ("max_steps", 0.0), ("too_many_errors", 0.0))
    ]
    info = tau2.Info(
        git_commit="0",
        num_trials=1,
        max_steps=30,
        max_errors=10,
        user_info=tau2.UserInfo(implementation="user_simulator"),
        agent_info=tau2.AgentInfo(implementation="llm_agent", llm="gpt-4o"),
        environment_info=environment.EnvironmentInfo(domain_name="airline", policy="Be kind"),
    )
    path = tmp_path / "results.json"
    tau2.Results(info=info, tasks=[], simulations=runs).save(path)
    found = read_runs(path, context_fields=["model", "domain"])
    assert [(run.name, run.outcome, run.success) for run in found] == [
        ("run-user_stop", Outcome.ENDED, True),
        ("run-max_steps", Outcome.RECURSION_LIMIT, False),
        ("run-too_many_errors", Outcome.FAILED, False),
    ]
    assert found[0].states == ("respond", "search", "respond")
    assert found[0].context == (("domain", "airline"), ("model", "gpt-4o"))


def test_broken_messages_are_named_and_the_others_read(tmp_path):
    broken = [5, {"role": "assistant", "tool_calls": [{"name": ["x"]}]}]
    runs = [{"messages": [SAY, *broken, SAY]}, "no run", {"messages": "none"}]
    path = write(tmp_path / "t.json", json.dumps(runs))
    with pytest.raises(ReadError, match=r"run 1, message 2: a message is an object"):
        list(read_transitions(path))
    reader = read_transitions(path, skip_bad_lines=True)
    assert pairs(reader) == walk("respond", "respond")
    assert [skipped.line for skipped in reader.skipped] == [
        "run 1, message 2",
        "run 1, message 3",
        "run 2",
        "run 3",
    ]
    assert reader.read_count == 2


# Node-link graphs


def test_node_link_json_gives_what_the_graph_gives(tmp_path):
    graph = TransitionGraph()
    graph.record("a", "b", count=3)
    graph.record("a", "b", context={"model": "m"})
    graph.record("b", None, count=2)
    with warnings.catch_warnings(action="ignore"):
        path = write(tmp_path / "t.json", json.dumps(nx.node_link_data(graph.graph)))
    assert list(read_transitions(path)) == list(read_transitions(graph.graph))


@pytest.mark.parametrize("edges", ["edges", "links"])
def test_edges_of_either_name_are_read_and_none_replaces_another(tmp_path, edges):
    graph = {"directed": True, "multigraph": True, "nodes": [{"id": "a", "escapes": 2}, 5]}
    graph[edges] = [{"source": "a", "target": "b", "key": 0, "n": 2}] * 2 + [7]
    path = write(tmp_path / "t.json", json.dumps(graph))
    reader = read_transitions(path, count_field="n", skip_bad_lines=True)
    move = Transition("a", "b", count=2)
    assert list(reader) == [move, move, Transition("a", None, count=2)]
    assert [skipped.line for skipped in reader.skipped] == ["edge 3", "node 2"]


def test_an_undirected_node_link_graph_is_an_error(tmp_path):
    path = write(tmp_path / "t.json", json.dumps({"multigraph": False, "nodes": [], "edges": []}))
    with pytest.raises(ReadError, match="not a directed node-link graph"):
        list(read_transitions(path))


# All of them


def test_a_wrong_suffix_does_not_hide_what_a_file_is(tmp_path, arrow):
    write_parquet(tmp_path / "t.dat", [{"source": "a", "target": "b"}])
    write(tmp_path / "u.log", '{"source": "a", "target": "b"}')
    write(tmp_path / "v.csv", '{"source": "a", "target": "b"}')
    write(tmp_path / "w", "source;target\na;b\n")
    for name in ("t.dat", "u.log", "v.csv", "w"):
        assert pairs(read_transitions(tmp_path / name)) == [("a", "b")]


@pytest.mark.parametrize("name", ["t.json", "t.xes", "t.parquet", "t.jsonl", "t.csv", "t.db"])
@pytest.mark.parametrize("content", [b"", b"\n", b"\x00" * 100, b"[]", b"{}", b"null"])
def test_files_without_content_are_clear_errors(tmp_path, name, content):
    with pytest.raises(ReadError):
        list(read_transitions(write(tmp_path / name, content)))


def test_an_analysis_takes_any_of_them(tmp_path):
    path = write(tmp_path / "t.json", json.dumps([{"messages": TALK}] * 9))
    report = analyze(path)
    assert set(report.potential.states) == {"respond", "search", "book|search"}


def test_names_of_files_stay_paths():
    with pytest.raises(ReadError, match="there is no file"):
        read_transitions(Path("absent.xes"))
