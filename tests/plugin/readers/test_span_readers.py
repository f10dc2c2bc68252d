"""What tracers wrote of an agent gives the transitions that the live handler records of it."""

import copy
import csv
import itertools
import json
import random
import re
from collections import defaultdict
from datetime import UTC, datetime
from functools import cache

import pytest

import tests.support.tracers as tracers
from detailed_balance import read_runs
from detailed_balance.analyzers.counts import END, START
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.callbacks import Ending, TransitionCallbackHandler, TransitionStore
from detailed_balance.callbacks.states import NodeStates, PromptStates, ToolStates
from detailed_balance.readers import read_transitions
from tests.support.agents import names_agents
from tests.support.tracers import (
    SHAPES,
    to_console,
    to_jaeger,
    to_mlflow,
    to_observation,
    to_otlp,
    to_phoenix,
)

EXPORTS = {
    "langsmith": (tracers.langsmith_runs, copy.deepcopy),
    "openinference": (tracers.openinference_spans, to_otlp),
    "langfuse-otlp": (tracers.langfuse_spans, to_otlp),
    "langfuse": (tracers.langfuse_spans, to_observation),
    "console": (tracers.openinference_spans, to_console),
    "jaeger": (tracers.openinference_spans, to_jaeger),
    "mlflow": (tracers.openinference_spans, to_mlflow),
    "phoenix": (tracers.openinference_spans, to_phoenix),
}


@cache
def run(tracer, shape):
    """Run an agent under a tracer; return what it wrote and what the live handler recorded."""
    with TransitionStore("sqlite://") as store:
        handler = TransitionCallbackHandler(store=store)
        spans = tracer(shape, handler)
        handler.flush()
        return spans, [*store.read(), *store.endings()]


def traced(export, shape):
    tracer, write = EXPORTS[export]
    spans, live = run(tracer, shape)
    return [write(span) for span in spans], live


def read(tmp_path, records, **options):
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    return list(read_transitions(path, **options).records())


def describe(records, *, names=True, errors=True):
    """Return paths and endings without their times; a run without a thread has many names."""
    walks, endings = defaultdict(list), []
    for record in records:
        name = record.trajectory if names else record.trajectory.partition("/")[2]
        if isinstance(record, Ending):
            ending = (record.outcome, record.error) if errors else record.outcome is Outcome.ENDED
            endings.append((name, ending, record.success, record.context))
        else:
            move = (record.source, record.target, record.step, record.context)
            walks[record.trajectory].append((name, *move))
    return sorted(walks.values(), key=str), sorted(endings, key=str)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_langsmith_runs_are_what_was_recorded_live(tmp_path, shape):
    runs, live = traced("langsmith", shape)
    assert len(live) > 1
    assert describe(read(tmp_path, runs)) == describe(live)


@pytest.mark.parametrize("export", ["openinference", "console", "jaeger", "mlflow", "phoenix"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_openinference_spans_are_what_was_recorded_live(tmp_path, shape, export):
    spans, live = traced(export, shape)
    assert describe(read(tmp_path, spans), names=False) == describe(live, names=False)


@pytest.mark.parametrize("export", ["langfuse", "langfuse-otlp"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_langfuse_tells_the_same_but_not_the_types_of_errors(tmp_path, shape, export):
    records, live = traced(export, shape)
    found = describe(read(tmp_path, records), names=False, errors=False)
    assert found == describe(live, names=False, errors=False)


@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize("shape", [tracers.subgraphs, tracers.resumed, tracers.send])
def test_order_in_the_file_and_duplicates_do_not_matter(tmp_path, shape, export):
    records, _ = traced(export, shape)
    shuffled = records * 2
    random.Random(1).shuffle(shuffled)
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(map(json.dumps, shuffled)))
    reader = read_transitions(path)
    assert list(reader.records()) == read(tmp_path / "..", records)
    assert (reader.read_count, reader.duplicate_count) == (len(records), len(records))


# What the formats have besides


def langsmith(*runs):
    return [
        {"id": key, "trace_id": "t", "parent_run_id": above, "run_type": kind, "name": name}
        | {"start_time": start, "end_time": end}
        for key, above, kind, name, start, end in runs
    ]


AGENT = langsmith(
    ("1", None, "chain", "agent", "2025-01-01T00:00:00", "2025-01-01T00:00:09"),
    ("2", "1", "tool", "search", "2025-01-01T00:00:01", "2025-01-01T00:00:02"),
    ("3", "1", "tool", "read", "2025-01-01T00:00:03", "2025-01-01T00:00:04"),
)


def moves(records):
    return [(r.source, r.target) for r in records if not isinstance(r, Ending)]


def endings(records):
    return [record for record in records if isinstance(record, Ending)]


def test_bulk_export_of_langsmith_is_parquet_with_json_in_its_columns(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    runs, live = traced("langsmith", tracers.parallel_tools)
    for run in runs:
        for name in ("inputs", "outputs", "extra"):
            run[name] = json.dumps(run.get(name))
        run["start_time"] = datetime.fromisoformat(run["start_time"])
        run["end_time"] = datetime.fromisoformat(run["end_time"])
    names = ("id", "trace_id", "parent_run_id", "name", "run_type", "start_time", "end_time")
    columns = (*names, "inputs", "outputs", "extra", "tags", "error")
    table = pyarrow.table({name: [run.get(name) for run in runs] for name in columns})
    parquet.write_table(table, tmp_path / "runs.parquet")
    found = read_transitions(tmp_path / "runs.parquet").records()
    assert describe(found) == describe(live)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_exports_of_langfuse_to_storage_write_their_own_names_and_texts(tmp_path, suffix):
    observations, live = traced("langfuse", tracers.parallel_tools)
    rows = []
    for found in observations:
        row = {re.sub("([A-Z])", r"_\1", name).lower(): value for name, value in found.items()}
        for name in ("input", "output", "metadata"):
            row[name] = json.dumps(row[name])
        row["start_time"] = row["start_time"].replace("T", " ").rstrip("Z")
        rows.append(row)
    path = tmp_path / f"observations.{suffix}"
    with path.open("w", newline="") as file:
        if suffix == "csv":
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    found = read_transitions(path).records()
    assert describe(found, names=False) == describe(live, names=False)


@pytest.mark.parametrize("export", EXPORTS)
def test_one_document_or_list_is_read_as_lines_are(tmp_path, export):
    records, _ = traced(export, tracers.parallel_tools)
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(records, indent=2))
    found = list(read_transitions(path).records())
    assert found == read(tmp_path, records)
    path.write_text("\n".join(json.dumps(record, indent=2) for record in records))
    assert list(read_transitions(path).records()) == found


def test_a_trace_of_langfuse_holds_its_observations(tmp_path):
    observations, live = traced("langfuse", tracers.parallel_tools)
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"id": observations[0]["traceId"], "observations": observations}))
    found = read_transitions(path).records()
    assert describe(found, names=False) == describe(live, names=False)


def test_runs_without_a_graph_are_a_path_of_models_and_tools(tmp_path):
    found = read(tmp_path, AGENT)
    assert moves(found) == [(START, "search"), ("search", "read"), ("read", END)]
    assert {record.trajectory for record in found} == {"t"}
    assert [move.time for move in found[:1]] == [
        datetime(2025, 1, 1, 0, 0, 3, tzinfo=UTC).timestamp()
    ]


def test_parents_that_are_not_in_the_file_leave_the_path_open(tmp_path):
    found = read(tmp_path, AGENT[1:])
    assert moves(found) == [(START, "search"), ("search", "read")]
    assert [ending.outcome for ending in endings(found)] == [Outcome.ABANDONED]


def test_a_run_whose_end_was_not_seen_is_abandoned(tmp_path):
    found = read(tmp_path, [{**AGENT[0], "end_time": None}, *AGENT[1:]])
    assert moves(found) == [(START, "search"), ("search", "read")]
    assert [ending.outcome for ending in endings(found)] == [Outcome.ABANDONED]


def test_an_export_of_a_run_that_has_ended_wins_over_one_of_before(tmp_path):
    open_ = [{**run, "end_time": None} for run in AGENT]
    assert read(tmp_path, [*open_, *AGENT]) == read(tmp_path, AGENT)


def test_a_node_whose_own_span_is_missing_is_an_error(tmp_path):
    runs, _ = traced("langsmith", tracers.parallel_tools)
    tools = [run for run in runs if run["run_type"] == "tool"]
    with pytest.raises(ReadError, match="node 'tools', whose own span is not in the trace"):
        read(tmp_path, tools)
    path = tmp_path / "trace.jsonl"
    reader = read_transitions(path, skip_bad_lines=True)
    assert list(reader) == []
    assert (reader.read_count, reader.skipped_count) == (0, len(tools))


def test_feedback_is_the_success_of_a_run(tmp_path):
    judged = {**AGENT[0], "feedback_stats": {"correct": {"n": 1, "avg": 1.0}}}
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(map(json.dumps, [judged, *AGENT[1:]])))
    (run,) = read_runs(path, success_field="feedback_stats.correct.avg")
    assert (run.success, run.outcome) == (True, Outcome.ENDED)
    with pytest.raises(ReadError, match="'the outcome' must be one of"):
        read_runs(path, success_field="run_type")


@names_agents
def test_metadata_tags_and_agent_become_labels(tmp_path):
    runs, _ = traced("langsmith", tracers.one_tool)
    for run in runs:
        run["extra"]["metadata"] |= {"tier": "gold", "ls_model_name": "m"}
        run["tags"] = [*(run["tags"] or ()), "mine"]
    found = read(tmp_path, runs, context_fields=["tier", "agent", "tags"])
    assert dict(found[0].context) == {
        "agent": "helper",
        "graph": "helper",
        "model": "m",
        "tags": "mine",
        "tier": "gold",
    }


def name_span(record):
    return record.get("name") or record["operationName"]


PAIRS = ["model/", "tools/read|tools/search", "model/", "tools/read", "model/"]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, ["read|search", "read", "model"]),
        ({"states": NodeStates()}, ["model", "tools"] * 2 + ["model"]),
        ({"states": ToolStates()}, ["read|search", "read"]),
        ({"states": name_span}, ["model", "tools"] * 2 + ["model"]),
        (
            {"state_field": "{node}/{tool}"},
            PAIRS,
        ),
    ],
)
@pytest.mark.parametrize("export", EXPORTS)
def test_states_are_named_as_live_or_by_the_record(tmp_path, export, options, path):
    records, _ = traced(export, tracers.parallel_tools)
    found = moves(read(tmp_path, records, **options))
    assert found == list(itertools.pairwise([START, *path, END]))


def test_states_of_model_calls_are_read_too(tmp_path):
    runs, _ = traced("langsmith", tracers.no_graph)
    states = PromptStates(
        prompt=lambda messages: messages[-1].type, answer=lambda m: m.content or "asks"
    )
    assert moves(read(tmp_path, runs, states=states)) == [("human", "asks"), ("ai", "done")]


def test_a_state_function_that_fails_is_told_with_its_span(tmp_path):
    with pytest.raises(ReadError, match=r"span 'search': the state function failed \(KeyError"):
        read(tmp_path, AGENT, states=lambda record: record["missing"])


# OpenTelemetry without LangChain


def otlp(*spans):
    """Return a document of spans: id, parent, name, from, to, attributes."""
    listed = [
        {
            "traceId": "5b8efff798038103d269b633813fc60c",
            "spanId": f"{key:016x}",
            "parentSpanId": f"{above:016x}" if above else "",
            "name": name,
            "startTimeUnixNano": str(start * 10**9),
            "endTimeUnixNano": str(end * 10**9),
            "attributes": [{"key": k, "value": _any(v)} for k, v in attributes.items()],
        }
        for key, above, name, start, end, attributes in spans
    ]
    return {"resourceSpans": [{"scopeSpans": [{"spans": listed}]}]}


def _any(value):
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any(part) for part in value]}}
    return {"stringValue": value}


def test_conventions_for_generative_ai_tell_models_tools_and_conversations(tmp_path):
    chat = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.conversation.id": "C",
    }
    asks = {**chat, "gen_ai.response.finish_reasons": ["tool_calls"]}
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
    document = otlp(
        (1, 0, "invoke_agent helper", 0, 9, {"gen_ai.operation.name": "invoke_agent"}),
        (2, 1, "chat m", 1, 2, asks),
        (3, 1, "execute_tool search", 3, 4, tool),
        (4, 1, "chat m", 5, 6, chat),
    )
    found = read(tmp_path, [document])
    assert moves(found) == [(START, "search"), ("search", "model"), ("model", END)]
    assert found[-1].trajectory == "C"
    assert dict(found[-1].context)["model"] == "m"


def test_nodes_of_openinference_are_states_side_by_side_where_they_overlap(tmp_path):
    def node(key, start, end, name, after=""):
        attributes = {"graph.node.id": name, "graph.node.parent_id": after}
        return key, 1, name, start, end, attributes

    document = otlp(
        (1, 0, "crew", 0, 9, {"openinference.span.kind": "CHAIN"}),
        node(2, 1, 2, "plan"),
        node(3, 3, 5, "x", "plan"),
        node(4, 4, 6, "y", "plan"),
        node(5, 6, 7, "z", "plan"),  # after x and y, but not because of them
        node(6, 8, 9, "plan", "z"),
    )
    found = moves(read(tmp_path, [document]))
    assert found == list(itertools.pairwise([START, "plan", "x|y|z", "plan", END]))


def test_a_failed_status_is_the_error_of_the_run(tmp_path):
    document = otlp(
        (1, 0, "agent", 0, 9, {}), (2, 1, "t", 1, 2, {"openinference.span.kind": "TOOL"})
    )
    spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    for span in spans:
        span["status"] = {"code": 2, "message": "ValueError('x')"}
    found = read(tmp_path, [document])
    assert moves(found) == [(START, None)]
    assert [(e.outcome, e.error) for e in endings(found)] == [(Outcome.FAILED, "ValueError in t")]


def test_names_that_protobuf_gives_and_ids_in_base64_are_understood(tmp_path):
    spans, _ = run(tracers.openinference_spans, tracers.parallel_tools)
    plain = read(tmp_path, [to_otlp(span) for span in spans])
    renamed = read(tmp_path, [to_otlp(span, preserving_proto_field_name=True) for span in spans])
    assert renamed == plain
    assert plain[0].trajectory == f"{spans[0].context.trace_id:032x}"
