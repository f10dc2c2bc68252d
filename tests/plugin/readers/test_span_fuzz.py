"""Traces of spans that are broken, hostile or odd: a clear error or a full account, never a crash.

``DETAILED_BALANCE_TEST_FUZZ=100000`` mutates so many traces in all.
"""

import copy
import gzip
import json
import os
import random

import pytest

import tests.support.tracers as tracers
from detailed_balance.analyzers.counts import END, START
from detailed_balance.analyzers.errors import DetailedBalanceError, ReadError
from detailed_balance.callbacks.states import ToolStates
from detailed_balance.readers import read_transitions
from tests.plugin.readers.test_span_readers import AGENT, EXPORTS, moves, otlp, read, traced

ROUNDS = int(os.environ.get("DETAILED_BALANCE_TEST_FUZZ", "800")) // (2 * len(EXPORTS))


def unwrap(document):
    """Return the only span of an OTLP document."""
    return document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]


def wrap(span):
    """Return an OTLP document of one span."""
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


def unwrap_trace(document):
    """Return the only span of a document of Jaeger."""
    return document["data"][0]["spans"][0]


def unwrap_mlflow(document):
    """Return the only span of a trace of MLflow."""
    return document["data"]["spans"][0]


def wrap_trace(span):
    """Return a trace of Jaeger of one span."""
    return {"data": [{"spans": [span], "processes": {}}]}


def wrap_mlflow(span):
    """Return a trace of MLflow of one span."""
    return {"info": {"trace_id": "t"}, "data": {"spans": [span]}}


FORMATS = {
    "console": ("console", dict),
    "jaeger": ("jaeger", wrap_trace),
    "mlflow": ("mlflow", wrap_mlflow),
    "phoenix": ("phoenix", dict),
    "langsmith": ("langsmith", dict),
    "langfuse": ("langfuse", dict),
    "langfuse-otlp": ("otlp", wrap),
    "openinference": ("otlp", wrap),
}
HOSTILE = [
    None,
    True,
    "",
    "\0",
    "__start__",
    "__end__",
    "\x1b[2J<script>",
    "\ud83d",
    "a|b/c:d",
    "x" * 20_000,
    -1,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    [],
    {},
    [[[[]]]],
    {"a": {"b": [None]}},
    json.loads("[" * 400 + "]" * 400),
    "[" * 5_000,
    '{"langgraph_step": 1}',
    "0" * 32,
    "1970-01-01T00:00:00",
    "9999-12-31T23:59:59Z",
    "0001-01-01",
]


def places(value, path=()):
    """Yield where the values of a JSON value stand."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in parts:
        yield (*path, key)
        if isinstance(part, dict | list) and len(path) < 12:
            yield from places(part, (*path, key))


def spoil(records, noise):
    """Put something else in a few places of records, and mix them."""
    records = copy.deepcopy(records)
    for _ in range(noise.randint(1, 4)):
        record = noise.choice(records)
        *path, last = noise.choice(list(places(record)) or [("new",)])
        for key in path:
            record = record[key]
        if isinstance(record, dict) and noise.random() < 0.3:
            record.pop(last, None)
        else:
            other = noise.choice(records)
            value = noise.choice([noise.choice(HOSTILE), *other.values()])
            record[last] = copy.deepcopy(value)
    noise.shuffle(records)
    return records


@pytest.mark.parametrize("export", EXPORTS)
def test_no_value_crashes_a_reader_or_loses_a_span_unsaid(tmp_path, export):
    noise = random.Random(export)
    shapes = [tracers.parallel_tools, tracers.subgraphs, tracers.retry, tracers.no_graph]
    corpus = [traced(export, shape)[0] for shape in shapes]
    format_, write = FORMATS[export]
    unwrap_ = {"otlp": unwrap, "jaeger": unwrap_trace, "mlflow": unwrap_mlflow}.get(format_, dict)
    corpus = [[unwrap_(document) for document in documents] for documents in corpus]
    path = tmp_path / "trace.jsonl"
    for _ in range(ROUNDS):
        records = spoil(noise.choice(corpus), noise)
        path.write_text("\n".join(json.dumps(write(record)) for record in records))
        reader = read_transitions(path, format=format_, skip_bad_lines=True)
        for record in reader.records():
            record.trajectory.encode()
            assert record.trajectory
        reported = reader.read_count + reader.skipped_count + reader.duplicate_count
        assert reported == len(records)
        assert min(reader.read_count, reader.skipped_count, reader.duplicate_count) >= 0


@pytest.mark.parametrize("export", EXPORTS)
def test_no_bytes_crash_a_reader(tmp_path, export):
    noise = random.Random(export)
    records, _ = traced(export, tracers.parallel_tools)
    lines = "\n".join(map(json.dumps, records)).encode()
    whole = json.dumps(records, indent=1).encode()
    path = tmp_path / "trace.json"
    read = refused = 0
    for _ in range(ROUNDS):
        text = bytearray(noise.choice([lines, whole]))
        for _ in range(noise.randint(1, 5)):
            start = noise.randrange(len(text))
            text[start : start + noise.randint(0, 9)] = noise.randbytes(noise.randint(0, 4))
        if noise.random() < 0.3:
            text = gzip.compress(text)[: noise.randrange(20, 5_000)]
        path.write_bytes(text)
        for skip in (True, False):
            try:
                read += len(list(read_transitions(path, skip_bad_lines=skip).records()))
            except DetailedBalanceError:
                refused += 1
    assert read > 0
    assert refused > 0


def test_hostile_names_are_states_or_are_refused(tmp_path):
    tools = [{**AGENT[1], "name": name} for name in ("\x1b[2J", "a|b", "\ud83d", "<script>")]
    for tool in tools:
        (_, target), *_ = moves(read(tmp_path, [AGENT[0], tool]))
        target.encode()
    for name in (START, END):
        with pytest.raises(ReadError, match="not a name of a state"):
            read(tmp_path, [AGENT[0], {**AGENT[1], "name": name}])
    with pytest.raises(ReadError, match="longer than 10000 characters"):
        read(tmp_path, [AGENT[0], {**AGENT[1], "name": "x" * 20_000}])


def test_parents_in_a_ring_are_cut(tmp_path):
    ring = [{**AGENT[1], "parent_run_id": "3"}, {**AGENT[2], "parent_run_id": "2"}]
    assert len(moves(read(tmp_path, [AGENT[0], *ring, {**AGENT[1], "id": "4"}]))) > 1


def test_clocks_that_disagree_do_not_turn_the_tree_around(tmp_path):
    root = {**AGENT[0], "start_time": "2025-01-01T00:00:05", "end_time": "2025-01-01T00:00:01"}
    assert moves(read(tmp_path, [*AGENT[1:], root])) == moves(read(tmp_path, AGENT))


def test_what_happens_in_one_moment_keeps_the_order_of_the_file(tmp_path):
    at_once = {"start_time": "2025-01-01", "end_time": "2025-01-01"}
    assert moves(read(tmp_path, [run | at_once for run in AGENT])) == moves(read(tmp_path, AGENT))


@pytest.mark.parametrize("time", ["2025-01-01T00:00:00.5Z", "1735689600500", 1735689600.5])
def test_times_may_be_dates_seconds_or_less(tmp_path, time):
    found = read(tmp_path, [{**AGENT[0], "start_time": time, "end_time": None}, *AGENT[1:]])
    assert moves(found) == [(START, "search"), ("search", "read")]


def test_a_trace_ten_thousand_levels_deep_is_read(tmp_path):
    chain = [{**AGENT[0], "id": str(n), "parent_run_id": str(n - 1)} for n in range(1, 10_000)]
    deep = [{**AGENT[0], "id": "0"}, *chain, {**AGENT[1], "id": "x", "parent_run_id": "9999"}]
    assert moves(read(tmp_path, deep)) == [(START, "search"), ("search", END)]


def test_huge_and_deep_attributes_do_no_harm(tmp_path):
    deep = json.loads('{"a":' * 900 + "1" + "}" * 900)
    runs = [{**AGENT[0], "outputs": deep, "inputs": {"x": "y" * 10**6}}, *AGENT[1:]]
    assert moves(read(tmp_path, runs)) == moves(read(tmp_path, AGENT))
    attribute = {"key": "deep", "value": {}}
    inner = attribute["value"]
    for _ in range(200):
        inner["arrayValue"] = {"values": [{}]}
        inner = inner["arrayValue"]["values"][0]
    document = otlp((1, 0, "agent", 0, 9, {}))
    unwrap(document)["attributes"] = [attribute]
    with pytest.raises(ReadError, match=r"no move was found .*1 read, 0 skipped"):
        read(tmp_path, [document])


def test_a_file_that_holds_other_things_is_refused(tmp_path):
    path = tmp_path / "trace.jsonl"
    for text in ('{"resourceMetrics": []}', '{"resourceSpans": 5}', '{"resourceSpans": [[]]}'):
        path.write_text(text)
        with pytest.raises(ReadError, match=r"a list 'resourceSpans'|another value"):
            list(read_transitions(path, format="otlp"))
    path.write_text("\n")
    with pytest.raises(ReadError, match="holds no spans"):
        list(read_transitions(path, format="langsmith"))
    path.write_text('{"id": 1}\n')
    for format_, field in (("langsmith", "run_type"), ("langfuse", "traceId")):
        with pytest.raises(ReadError, match=field):
            list(read_transitions(path, format=format_))


def test_nothing_in_a_trace_names_a_class_to_make(tmp_path):
    made = {"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {"command": "exit 3"}}
    runs, _ = traced("langsmith", tracers.parallel_tools)
    for run in runs:
        run["outputs"] = {"messages": [made], "output": made}
    found = moves(read(tmp_path, runs, states=ToolStates()))
    assert found[0] == (START, "read|search")


def test_interleaved_traces_are_put_together(tmp_path):
    many = [
        {**run, "id": f"{n}-{run['id']}", "trace_id": f"t{n}"}
        | {"parent_run_id": run["parent_run_id"] and f"{n}-{run['parent_run_id']}"}
        for run in AGENT
        for n in range(500)
    ]
    assert len(moves(read(tmp_path, many))) == 1_500
