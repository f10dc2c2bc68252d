"""Each file form of spans gives the states, the moves and the outcome of the agent in it."""

import base64
import copy
import csv
import io
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from detailed_balance import analyze, read_runs
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.callbacks import Ending
from detailed_balance.readers import read_transitions
from detailed_balance.readers.tracers.langfuse import to_span as from_langfuse
from detailed_balance.readers.tracers.langsmith import to_span as from_langsmith

TRACE = "5b8efff798038103d269b633813fc60c"
DAY = 1735689600  # 2025-01-01, in seconds
ASKS = [{"message": {"role": "assistant", "tool_calls": [{"tool_call": {"id": "1"}}]}}]
ASKS[0]["message"]["tool_calls"][0]["tool_call"]["function"] = {"name": "search"}

# An agent: its spans as (id, parent, kind, name, from, to).
AGENT = [
    (1, 0, "AGENT", "agent", 0, 9),
    (2, 1, "LLM", "chat", 1, 2),
    (3, 1, "TOOL", "search", 3, 4),
    (4, 1, "LLM", "chat", 5, 6),
]
PATH = {("__start__", "search"): 1, ("search", "model"): 1, ("model", "__end__"): 1}
WITHOUT_REQUESTS = {
    ("__start__", "model"): 1,
    ("model", "search"): 1,
    ("search", "model"): 1,
    ("model", "__end__"): 1,
}


def hexadecimal(key):
    return f"{key:016x}" if key else None


def in_base64(digits):
    return digits and base64.b64encode(bytes.fromhex(digits)).decode()


def iso(seconds):
    return f"2025-01-01T00:00:{seconds:02}.000000Z"


def attributes_of(kind, name, number):
    """Return the attributes of OpenInference of a span; the first model asks for a tool."""
    found = {"openinference": {"span": {"kind": kind}}}
    if kind == "TOOL":
        found["tool"] = {"name": name}
        found["input"] = {"value": '{"q": 1}'}
        found["output"] = {"value": "nothing"}
    if kind == "LLM":
        found["llm"] = {"model_name": "m", "output_messages": ASKS if number == 2 else []}
    return found


def flat(attributes, prefix=""):
    """Return attributes as they are flat in OpenTelemetry."""
    found = {}
    parts = attributes.items() if isinstance(attributes, dict) else enumerate(attributes)
    for key, value in parts:
        if isinstance(value, dict | list):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def phoenix(*, nested=True):
    """Return spans as the API of Phoenix has them."""
    spans = []
    for key, above, kind, name, start, end in AGENT:
        attributes = attributes_of(kind, name, key)
        spans.append(
            {
                "id": f"U3Bhbjo{key}",
                "name": name,
                "context": {"trace_id": TRACE, "span_id": hexadecimal(key)},
                "span_kind": kind,
                "parent_id": hexadecimal(above),
                "start_time": iso(start),
                "end_time": iso(end),
                "status_code": "OK",
                "status_message": "",
                "attributes": attributes if nested else flat(attributes),
                "events": [],
            }
        )
    return spans


def phoenix_rows():
    """Return the rows of a spans dataframe of Phoenix, whose columns are flat up to messages."""
    rows = []
    for span, (_, _, kind, name, _, _) in zip(phoenix(), AGENT, strict=True):
        row = {f"context.{name}": value for name, value in span.pop("context").items()}
        attributes = span.pop("attributes")
        columns = {"openinference.span.kind": kind}
        if "tool" in attributes:
            columns |= {"tool.name": name, "input.value": '{"q": 1}', "output.value": "nothing"}
        if "llm" in attributes:
            columns |= {f"llm.{name}": value for name, value in attributes["llm"].items()}
        rows.append({**span, **row, **{f"attributes.{k}": v for k, v in columns.items()}})
        rows[-1].pop("id")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in names} for row in rows]


def console():
    """Return spans as OpenTelemetry's console exporter prints them."""
    return [
        {
            "name": name,
            "context": {
                "trace_id": f"0x{TRACE}",
                "span_id": f"0x{hexadecimal(key)}",
                "trace_state": "[]",
            },
            "kind": "SpanKind.INTERNAL",
            "parent_id": f"0x{hexadecimal(above)}" if above else None,
            "start_time": iso(start),
            "end_time": iso(end),
            "status": {"status_code": "UNSET"},
            "attributes": flat(attributes_of(kind, name, key)),
            "events": [],
            "links": [],
            "resource": {"attributes": {"service.name": "x"}, "schema_url": ""},
        }
        for key, above, kind, name, start, end in AGENT
    ]


def otlp_spans(encode=str):
    """Return spans as OTLP JSON has them, their ids as `encode` writes them."""
    return [
        {
            "traceId": encode(TRACE),
            "spanId": encode(hexadecimal(key)),
            "parentSpanId": encode(hexadecimal(above)) if above else "",
            "name": name,
            "startTimeUnixNano": str((DAY + start) * 10**9),
            "endTimeUnixNano": str((DAY + end) * 10**9),
            "attributes": [
                {"key": name, "value": {"stringValue": value}}
                for name, value in flat(attributes_of(kind, name, key)).items()
            ],
            "status": {},
        }
        for key, above, kind, name, start, end in AGENT
    ]


def as_protobuf(span):
    """Return a span of OTLP as the API of Phoenix writes it, each kind of value named."""
    span = {re.sub("([A-Z])", r"_\1", name).lower(): value for name, value in span.items()}
    for attribute in span["attributes"]:
        (text,) = attribute["value"].values()
        attribute["value"] = {"array_value": None, "int_value": None, "string_value": text}
    return span | {"events": None, "links": None}


def grouped(spans, *, scopes="scopeSpans"):
    return [{"resource": {"attributes": []}, scopes: [{"scope": {"name": "s"}, "spans": spans}]}]


def jaeger():
    """Return a trace of Jaeger."""
    spans = [
        {
            "traceID": TRACE,
            "spanID": hexadecimal(key),
            "operationName": name,
            "references": [
                {"refType": "FOLLOWS_FROM", "traceID": "ff", "spanID": "ff"},
                {"refType": "CHILD_OF", "traceID": TRACE, "spanID": hexadecimal(above)},
            ]
            if above
            else [],
            "startTime": (DAY + start) * 10**6,
            "duration": (end - start) * 10**6,
            "tags": [
                {"key": name, "type": "string", "value": value}
                for name, value in flat(attributes_of(kind, name, key)).items()
            ],
            "logs": [],
            "processID": "p1",
        }
        for key, above, kind, name, start, end in AGENT
    ]
    processes = {"p1": {"serviceName": "x", "tags": []}}
    return {"traceID": TRACE, "spans": spans, "processes": processes}


MLFLOW = {"AGENT": "AGENT", "LLM": "CHAT_MODEL", "TOOL": "TOOL"}


def mlflow_attributes(kind, name, key):
    attributes = {"mlflow.spanType": MLFLOW[kind], "mlflow.traceRequestId": "tr-1"}
    if kind == "TOOL":
        attributes |= {"mlflow.spanInputs": {"q": 1}, "mlflow.spanOutputs": "nothing"}
    if kind == "LLM":
        asked = [{"id": "1", "function": {"name": "search", "arguments": "{}"}}]
        message = {"role": "assistant", "content": "", "tool_calls": asked if key == 2 else None}
        attributes["mlflow.spanOutputs"] = {"choices": [{"message": message}]}
        attributes["mlflow.llm.model"] = "m"
    return {name: json.dumps(value) for name, value in attributes.items()}


def mlflow():
    """Return a trace of MLflow 3."""
    spans = [
        {
            "trace_id": in_base64(TRACE),
            "span_id": in_base64(hexadecimal(key)),
            "parent_span_id": in_base64(hexadecimal(above)),
            "name": name,
            "start_time_unix_nano": (DAY + start) * 10**9,
            "end_time_unix_nano": (DAY + end) * 10**9,
            "status": {"code": "STATUS_CODE_OK", "message": ""},
            "attributes": mlflow_attributes(kind, name, key),
            "events": [],
        }
        for key, above, kind, name, start, end in AGENT
    ]
    info = {"trace_id": "tr-1", "state": "OK", "trace_metadata": {}, "tags": {}}
    return {"info": info, "data": {"spans": spans}}


def mlflow_2():
    """Return a trace of MLflow 2, which numbers spans of one name."""
    numbers = Counter()
    spans = []
    for key, above, kind, name, start, end in AGENT:
        numbers[name] += 1
        spans.append(
            {
                "name": f"{name}_{numbers[name]}" if name == "chat" else name,
                "context": {"trace_id": TRACE, "span_id": hexadecimal(key)},
                "parent_id": hexadecimal(above),
                "start_time": (DAY + start) * 10**9,
                "end_time": (DAY + end) * 10**9,
                "status_code": "OK",
                "status_message": "",
                "attributes": mlflow_attributes(kind, name, key),
                "events": [],
            }
        )
    info = {"request_id": "tr-1", "status": "OK", "request_metadata": {}, "tags": {}}
    return {"info": info, "data": {"spans": spans, "request": "q", "response": "a"}}


RUNS = {"AGENT": "chain", "LLM": "llm", "TOOL": "tool"}
REQUEST = {"role": "assistant", "content": "", "tool_calls": [{"name": "search", "id": "1"}]}


def outputs(kind, key):
    reply = REQUEST if key == 2 else {"role": "assistant", "content": "done"}
    return {"messages": [reply]} if kind == "LLM" else {"output": "nothing"}


def langsmith(*, name_of_id="id"):
    """Return runs of LangSmith."""
    return [
        {
            name_of_id: str(key),
            "trace_id": "1",
            "parent_run_id": str(above) if above else None,
            "name": name,
            "run_type": RUNS[kind],
            "start_time": iso(start).rstrip("Z"),
            "end_time": iso(end).rstrip("Z"),
            "inputs": {"q": 1},
            "outputs": outputs(kind, key),
        }
        for key, above, kind, name, start, end in AGENT
    ]


def nested_runs():
    """Return a run of LangSmith with those inside of it, which leave out what it says."""
    root, *inner = langsmith()
    for run in inner:
        del run["trace_id"], run["parent_run_id"]
    return {**root, "child_runs": inner}


OBSERVATIONS = {"AGENT": "AGENT", "LLM": "GENERATION", "TOOL": "TOOL"}


def langfuse():
    """Return observations of Langfuse."""
    return [
        {
            "id": hexadecimal(key),
            "traceId": TRACE,
            "parentObservationId": hexadecimal(above),
            "type": OBSERVATIONS[kind],
            "name": name,
            "startTime": iso(start),
            "endTime": iso(end),
            "level": "DEFAULT",
            "input": {"q": 1},
            "output": outputs(kind, key),
            "metadata": {},
        }
        for key, above, kind, name, start, end in AGENT
    ]


def langfuse_spans():
    """Return observations that only the attributes in their metadata tell from spans."""
    found = langfuse()
    for observation, (_, _, kind, name, _, _) in zip(found, AGENT, strict=True):
        if kind != "LLM":
            told = {"openinference.span.kind": kind, "tool.name": name}
            observation |= {"type": "SPAN", "name": "x", "metadata": {"attributes": told}}
    return found


def by_columns(rows):
    """Return a table as `DataFrame.to_json` writes it."""
    return {name: {str(n): row[name] for n, row in enumerate(rows)} for name in rows[0]}


def lines(records):
    return "\n".join(map(json.dumps, records))


def to_csv(rows):
    text = io.StringIO()
    table = csv.DictWriter(text, rows[0])
    table.writeheader()
    for row in rows:
        values = row.items()
        table.writerow({k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in values})
    return text.getvalue()


def search_traces(trace):
    """Return the row of MLflow's `search_traces` for a trace."""
    return {
        "trace_id": "tr-1",
        "trace": json.dumps(trace),
        "state": "OK",
        "trace_metadata": {},
        "tags": {},
        "spans": trace["data"]["spans"],
        "assessments": [],
    }


def without_observations_id(trace):
    return [{k: v for k, v in found.items() if k != "traceId"} for found in trace]


FORMS = {
    "phoenix.json": lambda: json.dumps(phoenix()),
    "phoenix-flat.json": lambda: json.dumps(phoenix(nested=False), indent=2),
    "phoenix-page.json": lambda: json.dumps({"data": phoenix(), "next_cursor": None}),
    "phoenix-traces.json": lambda: json.dumps(
        {
            "data": [
                {
                    "trace_id": TRACE,
                    "spans": [
                        {**span, "span_id": span.pop("context")["span_id"]} for span in phoenix()
                    ],
                }
            ]
        }
    ),
    "phoenix.jsonl": lambda: lines(phoenix_rows()),
    "phoenix-columns.json": lambda: json.dumps(by_columns(phoenix_rows())),
    "phoenix.csv": lambda: to_csv(phoenix_rows()),
    "console.json": lambda: "\n".join(json.dumps(span, indent=4) for span in console()),
    "console.jsonl": lambda: lines(console()),
    "console.log": lambda: json.dumps(console()),
    "otlp.json": lambda: json.dumps({"resourceSpans": grouped(otlp_spans())}),
    "otlp.jsonl": lambda: lines(
        [
            {"resourceSpans": grouped(otlp_spans()[:2])},
            {"resource_spans": grouped(otlp_spans()[2:])},
        ]
    ),
    "otlp-spans.jsonl": lambda: lines(otlp_spans()),
    "phoenix-otlp.json": lambda: json.dumps({"data": list(map(as_protobuf, otlp_spans()))}),
    "tempo.json": lambda: json.dumps({"batches": grouped(otlp_spans(in_base64))}),
    "tempo-old.json": lambda: json.dumps(
        {"batches": grouped(otlp_spans(), scopes="instrumentationLibrarySpans")}
    ),
    "tempo-2.json": lambda: json.dumps(
        {"trace": {"resourceSpans": grouped(otlp_spans(in_base64))}, "metrics": {}}
    ),
    "jaeger-3.json": lambda: json.dumps({"result": {"resourceSpans": grouped(otlp_spans())}}),
    "jaeger.json": lambda: json.dumps({"data": [jaeger()], "total": 0, "errors": None}),
    "jaeger-trace.json": lambda: json.dumps(jaeger(), indent=2),
    "mlflow.json": lambda: json.dumps(mlflow()),
    "mlflow.jsonl": lambda: lines([mlflow()]),
    "mlflow-2.json": lambda: json.dumps(mlflow_2(), indent=2),
    "mlflow-data.json": lambda: json.dumps(mlflow()["data"]),
    "mlflow-table.json": lambda: json.dumps(by_columns([search_traces(mlflow())])),
    "mlflow-table.csv": lambda: to_csv([search_traces(mlflow())]),
    "langsmith.jsonl": lambda: lines(langsmith()),
    "langsmith-cli.json": lambda: json.dumps(
        [{"trace_id": "1", "run_count": 4, "runs": langsmith(name_of_id="run_id")}]
    ),
    "langsmith-child-runs.json": lambda: json.dumps(nested_runs()),
    "langsmith-child-runs.jsonl": lambda: lines([nested_runs()]),
    "langsmith.csv": lambda: to_csv(langsmith()),
    "langsmith-columns.json": lambda: json.dumps(by_columns(langsmith())),
    "langfuse.json": lambda: json.dumps(langfuse()),
    "langfuse.csv": lambda: to_csv(langfuse()),
    "langfuse-page.json": lambda: json.dumps({"data": langfuse(), "meta": {"page": 1}}),
    "langfuse-trace.json": lambda: json.dumps(
        {"id": TRACE, "observations": without_observations_id(langfuse())}
    ),
    "langfuse-traces.json": lambda: json.dumps(
        [{"trace": {"id": TRACE}, "observations": without_observations_id(langfuse())}]
    ),
    "langfuse-spans.json": lambda: json.dumps(langfuse_spans()),
}


def describe(path, **options):
    """Return the moves with their counts, the endings and the account of a file."""
    reader = read_transitions(path, **options)
    records = list(reader.records())
    moves = [record for record in records if not isinstance(record, Ending)]
    endings = [record for record in records if isinstance(record, Ending)]
    account = (reader.read_count, reader.skipped_count, reader.duplicate_count)
    return Counter((move.source, move.target) for move in moves), endings, account, moves


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_moves_and_outcome(tmp_path, name):
    path = tmp_path / name
    path.write_text(FORMS[name]())
    moves, endings, account, found = describe(path)
    assert moves == PATH
    assert [ending.outcome for ending in endings] == [Outcome.ENDED]
    assert account == (len(AGENT), 0, 0)
    assert found[0].trajectory in (TRACE, "tr-1", "1")


@pytest.mark.parametrize("name", FORMS)
def test_a_long_text_before_the_telling_field_does_not_hide_the_form(tmp_path, name):
    if name.endswith((".csv", "columns.json", "table.json")):
        pytest.skip("the columns of a table are named first")
    text = FORMS[name]()
    begin = text.index("{") + 1
    path = tmp_path / name
    path.write_text(f'{text[:begin]}"aaa": "{"x" * 70_000}", {text[begin:]}')
    assert describe(path)[0] == PATH


@pytest.mark.parametrize("form", [phoenix_rows, langsmith, langfuse])
def test_tables_are_read_from_parquet(tmp_path, form):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = form()
    for row in rows:
        for key, value in row.items():
            if isinstance(value, dict) and not value:
                row[key] = None
    path = tmp_path / "spans.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert describe(path)[0] == PATH


FAILED = {
    "console": lambda: [
        span | {"status": {"status_code": "ERROR", "description": "ValueError: x"}}
        if span["name"] == "search"
        else span
        for span in console()
    ],
    "phoenix": lambda: [
        span | {"status_code": "ERROR", "status_message": "ValueError: x"}
        if span["name"] == "search"
        else span
        for span in phoenix()
    ],
}


def fail_jaeger(trace):
    span = trace["spans"][2]
    fields = [{"key": "event", "value": "exception"}]
    fields.append({"key": "exception.type", "type": "string", "value": "ValueError"})
    span["tags"].append({"key": "error", "type": "bool", "value": True})
    span["logs"] = [{"timestamp": 1, "fields": fields}]
    return trace


def fail_mlflow(trace):
    span = trace["data"]["spans"][2]
    span["status"] = {"code": "STATUS_CODE_ERROR", "message": "ValueError: x"}
    event = {"exception.type": "ValueError", "exception.message": "x"}
    span["events"] = [{"name": "exception", "time_unix_nano": 1, "attributes": event}]
    return trace


FAILED |= {"jaeger": lambda: fail_jaeger(jaeger()), "mlflow": lambda: fail_mlflow(mlflow())}


@pytest.mark.parametrize("form", FAILED)
def test_a_tool_that_failed_is_a_failed_step_in_every_form(tmp_path, form):
    path = tmp_path / "spans.json"
    path.write_text(json.dumps(FAILED[form]()))
    _, endings, _, moves = describe(path)
    assert [move.facts.failed for move in moves if move.facts].count(True) == 1
    assert [ending.outcome for ending in endings] == [Outcome.ENDED]


def test_the_trace_of_mlflow_says_that_it_failed_where_its_root_does_not(tmp_path):
    trace = mlflow()
    trace["info"]["state"] = "ERROR"
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(trace))
    assert [ending.outcome for ending in describe(path)[1]] == [Outcome.FAILED]


def test_numbers_that_mlflow_2_gave_to_equal_names_are_taken_off(tmp_path):
    trace = mlflow_2()
    spans = trace["data"]["spans"]
    again = copy.deepcopy(spans[2])
    again |= {"name": "search_2", "context": {"trace_id": TRACE, "span_id": hexadecimal(9)}}
    again |= {"start_time": (DAY + 4) * 10**9, "end_time": (DAY + 5) * 10**9}
    spans[2]["name"] = "search_1"
    spans.append(again)
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(trace))
    moves, _, _, found = describe(path)
    assert moves == PATH | {("search", "search"): 1}
    assert [move.facts.stale for move in found if move.facts][:2] == [False, True]


def test_the_index_of_phoenix_may_be_a_column_too(tmp_path):
    header, *rows = to_csv(phoenix_rows()).splitlines()
    path = tmp_path / "spans.csv"
    doubled = [f"context.span_id,{header}"]
    doubled += [f"{hexadecimal(n)},{row}" for n, row in enumerate(rows, 1)]
    path.write_text("\n".join(doubled))
    assert describe(path)[0] == PATH
    rows = {row.pop("context.span_id"): row for row in phoenix_rows()}
    names = next(iter(rows.values()))
    columns = {name: {own: row[name] for own, row in rows.items()} for name in names}
    path = tmp_path / "spans.json"
    path.write_text(json.dumps(columns))
    assert describe(path)[0] == PATH


def vercel_attributes(kind, name, key):
    """Return the attributes that the AI SDK of Vercel gives to a span."""
    operation = {"AGENT": "ai.generateText", "TOOL": "ai.toolCall"}.get(kind)
    operation = operation or "ai.generateText.doGenerate"
    found = {"ai.operationId": operation, "operation.name": f"{operation} my-function"}
    if kind == "TOOL":
        found |= {"ai.toolCall.name": name, "ai.toolCall.args": '{"q":1}'}
        found["ai.toolCall.result"] = '"nothing"'
    elif kind == "LLM":
        found |= {"gen_ai.request.model": "m", "ai.usage.promptTokens": 10}
        found |= {"ai.usage.completionTokens": 5}
        found["ai.response.finishReason"] = "tool-calls" if key == 2 else "stop"
        if key == 2:
            found["ai.response.toolCalls"] = '[{"toolName":"search","toolCallId":"1"}]'
    return found


def vercel(span, form):
    """Give a span of this form, and of `AGENT`, the attributes of Vercel's SDK."""
    key, _, kind, name, _, _ = AGENT[int(str(span.get("spanId", span.get("id")))[-1]) - 1]
    attributes = vercel_attributes(kind, name, key)
    if form == "langfuse":
        kind = "GENERATION" if kind == "LLM" else "SPAN"
        told = {"metadata": {"attributes": attributes}, "output": None, "input": None}
        return span | told | {"type": kind, "name": attributes["ai.operationId"]}
    values = {
        k: {"intValue" if isinstance(v, int) else "stringValue": v} for k, v in attributes.items()
    }
    listed = [{"key": key, "value": value} for key, value in values.items()]
    return span | {"attributes": listed, "name": attributes["ai.operationId"]}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("form", ["otlp", "langfuse"])
def test_spans_of_the_sdk_of_vercel_are_an_agent_with_its_tools(tmp_path, form, inside):
    if form == "langfuse":
        written = [vercel(span, form) for span in langfuse()]
    else:
        written = [vercel(span, form) for span in otlp_spans()]
    if inside:  # streaming runs tools while the call of the model is open
        above = "parentObservationId" if form == "langfuse" else "parentSpanId"
        end = "endTime" if form == "langfuse" else "endTimeUnixNano"
        written[2][above] = hexadecimal(2)
        written[1][end] = written[2][end]
    path = tmp_path / "spans.json"
    document = written if form == "langfuse" else {"resourceSpans": grouped(written)}
    path.write_text(json.dumps(document))
    moves, endings, account, found = describe(path)
    assert (moves, account) == (PATH, (len(AGENT), 0, 0))
    assert [ending.outcome for ending in endings] == [Outcome.ENDED]
    assert [move.target for move in found if move.facts and move.facts.call] == ["search"]
    if form == "otlp":
        assert sum(move.facts.tokens or 0 for move in found if move.facts) == 30


def test_scores_and_judgements_are_the_success_of_a_run(tmp_path):
    path = tmp_path / "trace.json"
    scores = [{"name": "right", "value": 0, "dataType": "BOOLEAN"}]
    scores.append({"name": "tone", "stringValue": "good", "value": None})
    scores.append({"name": "right", "value": 1, "observationId": "of another"})
    path.write_text(json.dumps({"id": TRACE, "observations": langfuse(), "scores": scores}))
    assert [run.success for run in read_runs(path, success_field="scores.right")] == [False]
    tone = {"success_field": "scores.tone", "success_values": ["good"]}
    assert [run.success for run in read_runs(path, **tone)] == [True]

    trace = mlflow()
    judged = {"assessment_name": "correct", "feedback": {"value": True}}
    trace["info"]["assessments"] = [judged]
    path.write_text(json.dumps(trace))
    assert [run.success for run in read_runs(path, success_field="assessments.correct")] == [True]

    path = tmp_path / "runs.csv"
    root, *inner = langsmith()
    feedback = {"feedback_stats": {"correct": {"n": 1, "avg": 0.0}}}
    path.write_text(to_csv([root | feedback, *(run | {"feedback_stats": None} for run in inner)]))
    found = read_runs(path, success_field="feedback_stats.correct.avg")
    assert [run.success for run in found] == [False]


TRACES = [
    {"id": "t", "timestamp": iso(0), "name": "agent", "sessionId": "s", "userId": None},
    {"id": "t", "timestamp": iso(0), "observations": ["o1", "o2"], "latency": 1.0, "scores": []},
    {"id": "t", "timestamp": iso(0), "session_id": "s", "user_id": "u", "metadata": {}},
]


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
def test_traces_of_langfuse_without_observations_are_refused(tmp_path, trace, suffix):
    path = tmp_path / f"traces.{suffix}"
    path.write_text(to_csv([trace]) if suffix == "csv" else json.dumps(trace))
    with pytest.raises(ReadError, match="export the table of observations"):
        list(read_transitions(path))


ROOTS = {
    "langsmith": (langsmith, "export the runs inside of each root too"),
    "langfuse": (langfuse, "export all observations of each trace"),
    "console": (console, "export whole traces"),
    "phoenix": (phoenix, "export whole traces"),
}


@pytest.mark.parametrize("form", ROOTS)
def test_roots_without_what_ran_inside_are_refused(tmp_path, form):
    make, remedy = ROOTS[form]
    # An agent that did nothing is a step; what is of no kind is none.
    of_no_kind = {"type": "SPAN", "span_kind": "CHAIN", "attributes": {}}
    path = tmp_path / "roots.json"
    path.write_text(json.dumps([make()[0] | of_no_kind]))
    found = rf"no move was found .*1 read, 0 skipped.*'agent'.*{remedy}"
    with pytest.raises(ReadError, match=found):
        list(read_transitions(path))
    with pytest.raises(ReadError, match=found):
        read_runs(path)


def test_what_models_take_is_known_and_not_added_up():
    took = {"total_tokens": 15, "total_cost": "0.5"}
    spans = [from_langsmith(run | took) for run in langsmith()]
    assert [span.tokens for span in spans] == [None, 15, None, 15]
    assert [span.cost for span in spans] == [None, 0.5, None, 0.5]
    cli = {"token_usage": {"total_tokens": 15}, "costs": {"total_cost": 0.5}}
    assert [from_langsmith(run | cli).tokens for run in langsmith()] == [None, 15, None, 15]
    took = {"usageDetails": {"input": 10, "total": 15}, "costDetails": {"total": 0.5}}
    spans = [from_langfuse(each | took) for each in langfuse()]
    assert [(span.tokens, span.cost) for span in spans] == [(None, None), (15, 0.5)] * 2
    old = {"usage": {"totalTokens": "15", "totalCost": float("nan")}}
    spans = [from_langfuse(each | old) for each in langfuse()]
    assert [(span.tokens, span.cost) for span in spans] == [(None, None), (15, None)] * 2


@pytest.mark.parametrize(
    ("at", "fails"), [(0, True), (1, True), (2, False)], ids=["root", "model", "tool"]
)
def test_langfuse_an_error_with_an_output_is_a_failure_but_of_a_tool(at, fails):
    """A program may give an observation its output and the level ERROR, both."""
    found = langfuse()[at] | {"level": "ERROR", "output": "the budget was spent"}
    assert (from_langfuse(found).error is not None) == fails
    if not found["parentObservationId"] or not fails:
        assert (from_langfuse(found | {"type": "SPAN"}).error is not None) == fails
    assert from_langfuse(found | {"output": None}).error is not None


def test_every_record_of_a_form_is_accounted_for(tmp_path):
    broken = {
        "phoenix": [*phoenix(), {"context": {}, "span_kind": "LLM"}, 7],
        "console": [*console(), {"context": {}, "parent_id": None}, 7],
        "jaeger": [jaeger() | {"spans": [*jaeger()["spans"], {"spanID": "x"}, 7]}],
        "langsmith": [*langsmith(), {"run_type": "llm"}, 7],
        "langfuse": [*langfuse(), {"traceId": "x"}, 7],
    }
    trace = mlflow()
    trace["data"]["spans"] += [{"name": "x"}, 7]
    broken["mlflow"] = [trace]
    spans = [*otlp_spans(), {"name": "x"}, 7]
    broken["otlp"] = [{"resourceSpans": grouped(spans)}]
    path = tmp_path / "spans.json"
    for form, records in broken.items():
        path.write_text(json.dumps(records))
        moves, _, account, _ = describe(path, skip_bad_lines=True)
        assert (form, moves, account) == (form, PATH, (len(AGENT), 2, 0))
        with pytest.raises(ReadError, match="skip_bad_lines"):
            list(read_transitions(path))


CASES = Path(__file__).parents[4] / "shared" / "cases" / "traces"
ANSWERS = CASES / "answers.jsonl"
OURS = ("phoenix_", "otel_", "langfuse_", "langsmith_", "mlflow_")


def read_answers():
    if not ANSWERS.exists():
        return []
    answers = map(json.loads, ANSWERS.read_text().splitlines())
    return [answer for answer in answers if answer["file"].startswith(OURS)]


def test_the_shared_cases_are_there():
    if not ANSWERS.exists():
        pytest.skip("../shared/cases is not beside the checkout")
    assert len(read_answers()) >= 6


@pytest.mark.parametrize("answer", read_answers(), ids=lambda answer: answer["file"])
def test_the_shared_cases_are_read_as_their_answers_say(answer):
    path = CASES / answer["file"]
    if not answer["states"]:
        with pytest.raises(ReadError, match="export the table of observations"):
            list(read_transitions(path))
        return
    moves, endings, _, _ = describe(path)
    states = {state for move in moves for state in move if not state.startswith("__")}
    assert states == set(answer["states"])
    said = answer["moves"].partition("(")[0].split(",")
    assert [ending.outcome for ending in endings] == [Outcome.ENDED]
    if "(or" not in answer["moves"]:
        written = {f"{source}>{target} {n}" for (source, target), n in moves.items()}
        assert written == {each.strip() for each in said if each.strip()}


def test_several_scores_without_a_field_are_told_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    scores = [score("right", 1), score("tone", 0)]
    path.write_text(json.dumps({"id": TRACE, "observations": langfuse(), "scores": scores}))
    told = "several scores (right, tone), so none says whether a run succeeded"
    assert [told in warning for warning in analyze(path).warnings].count(True) == 1
    assert not any("scores" in w for w in analyze(path, success_field="right").warnings)
    path.write_text(json.dumps({"id": TRACE, "observations": langfuse(), "scores": scores[:1]}))
    assert not any("scores" in warning for warning in analyze(path).warnings)


@pytest.mark.parametrize("place", ["fields", "attributes"])
def test_a_span_of_langfuse_that_is_a_tool_tells_its_call_and_its_answer(tmp_path, place) -> None:
    agent = {"id": hexadecimal(99), "traceId": TRACE, "type": "AGENT", "name": "agent"}
    agent |= {"startTime": iso(0), "endTime": iso(9)}
    told = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
    content: dict[str, object] = {"input": {"city": "Paris"}, "output": "sunny"}
    if place == "attributes":
        content = {}
        told |= {"gen_ai.tool.call.arguments": '{"city": "Paris"}'}
        told |= {"gen_ai.tool.call.result": "sunny"}
    call = {"traceId": TRACE, "parentObservationId": agent["id"], "type": "SPAN", "name": "x"}
    call |= {"metadata": {"attributes": told}, **content}
    calls = [
        call | {"id": f"{number:016x}", "startTime": iso(number), "endTime": iso(number + 1)}
        for number in (1, 3)
    ]
    path = tmp_path / "observations.json"
    path.write_text(json.dumps([agent, *calls]))
    facts = [each for run in read_runs(path) for each in run.facts if each is not None]
    assert [(each.repeats, each.stale) for each in facts] == [(False, False), (True, True)]


def score(name: str, value: object) -> dict[str, object]:
    return {"name": name, "value": value}


@pytest.mark.parametrize(
    ("scores", "options", "success"),
    [
        ([score("right", 0)], {}, False),
        ([score("right", True)], {}, True),
        ([score("right", 0.7)], {}, None),  # it takes a word from which value on it is good
        ([score("right", 1), score("tone", 0)], {}, None),  # which of them?
        ([score("right", 1), score("tone", 0)], {"success_field": "tone"}, False),
        ([score("tone", 0.7)], {"success_field": "tone", "success_values": [">=0.7"]}, True),
        ([score("tone", 0.7)], {"success_field": "tone", "success_values": [">=0.8"]}, False),
    ],
)
def test_one_clear_score_is_the_success_and_another_is_chosen_by_its_name(
    tmp_path, scores, options, success
):
    path = tmp_path / "langfuse.json"
    path.write_text(json.dumps({"id": TRACE, "observations": langfuse(), "scores": scores}))
    (run,) = read_runs(path, **options)
    assert run.judged == (success is not None)
    assert not run.judged or run.success == success
    (root, *inner), means = langsmith(), {each["name"]: each["value"] for each in scores}
    root = root | {"feedback_stats": {n: {"n": 1, "avg": mean} for n, mean in means.items()}}
    path = tmp_path / "langsmith.json"
    path.write_text(json.dumps([root, *inner]))
    (run,) = read_runs(path, **options)
    assert run.judged == (success is not None)
    assert not run.judged or run.success == success
