"""Agents of many shapes, and what real tracers write of them, without a network."""

import asyncio
import contextlib
import json
import logging
from datetime import UTC, datetime

import pytest
from langchain.agents import create_agent
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt

from tests.support.agents import INPUT, ScriptedModel, State, build, chain, fail, loop, node, thread


@tool
def search(city: str = "") -> str:
    """Search."""
    return "found"


@tool
def read(city: str = "") -> str:
    """Read."""
    return "text"


ASK = {"messages": [("user", "hi")]}


def agent(*script, tools=(search, read), **options):
    """Return a real tool-calling agent whose model follows a script."""
    return create_agent(ScriptedModel(script=list(script)), list(tools), **options)


def one_tool(config):
    """Call one tool at a time, in a thread that comes twice."""
    runner = agent(["search"], ["read"], "done", name="helper", checkpointer=InMemorySaver())
    runner.invoke(ASK, {**config, **thread("T/1")})


def parallel_tools(config):
    """Call tools side by side."""
    agent(["search", "read"], ["read"], "done").invoke(ASK, config)


def failing_tool(config):
    """Fail in a tool."""

    @tool
    def broken() -> str:
        """Break."""
        raise ValueError("tool")

    with contextlib.suppress(ValueError):
        agent(["broken"], "done", tools=[broken]).invoke(ASK, config)


def agent_in_tool(config):
    """Run an agent inside of a tool of another."""

    @tool
    def delegate() -> str:
        """Delegate."""
        inner = agent(["search"], "inner done", name="inner")
        return inner.invoke(ASK)["messages"][-1].content

    agent(["delegate"], "done", tools=[delegate], name="outer").invoke(ASK, config)


def cycle(config):
    """Go round a conditional cycle."""
    loop(3).invoke(INPUT, config)


def async_cycle(config):
    """Do the same in an event loop."""
    asyncio.run(loop(2).ainvoke(INPUT, config))


def fan_out(config):
    """Run nodes side by side."""
    edges = [(START, "plan"), ("plan", "x"), ("plan", "y"), (["x", "y"], "join"), ("join", END)]
    names = ("plan", "x", "y", "join")
    build(edges, **{name: node(name) for name in names}).invoke(INPUT, config)


def send(config):
    """Send work to as many workers as there is."""
    graph = StateGraph(State)
    for name in ("plan", "worker", "join"):
        graph.add_node(name, node(name))
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", lambda state: [Send("worker", INPUT)] * 3)
    graph.add_edge("worker", "join")
    graph.compile().invoke(INPUT, config)


def subgraphs(config):
    """Run graphs inside of graphs, as a node and called by one."""
    inner = chain("p", "q")
    middle = chain("before", "inner", inner=inner)

    def call(state):
        return {"log": inner.invoke(INPUT)["log"]}

    chain("first", "middle", "call", middle=middle, call=call).invoke(INPUT, config)


def node_error(config):
    """Fail in a node."""
    with contextlib.suppress(ValueError):
        chain("a", "b", "c", b=fail).invoke(INPUT, config)


def branch_error(config):
    """Fail in one of two branches."""
    edges = [(START, "x"), (START, "y")]
    with contextlib.suppress(ValueError):
        build(edges, x=node("x"), y=fail).invoke(INPUT, config)


def retry(config):
    """Fail twice, then not."""
    left = [1, 1]

    def flaky(state):
        if left:
            left.pop()
            raise ValueError("flaky")
        return {"log": ["ok"]}

    graph = StateGraph(State)
    policy = RetryPolicy(initial_interval=0.001, max_attempts=3, retry_on=ValueError)
    graph.add_node("flaky", flaky, retry_policy=policy)
    graph.add_edge(START, "flaky")
    graph.compile().invoke(INPUT, config)


def goto(config):
    """Choose the next node by a command, and hand over to the parent graph."""
    inner = StateGraph(State)
    inner.add_node("leave", lambda state: Command(graph=Command.PARENT, goto="after"))
    inner.add_edge(START, "leave")
    graph = StateGraph(State)
    graph.add_node("choose", lambda state: Command(goto="inner"), destinations=("inner",))
    graph.add_node("inner", inner.compile(), destinations=("after",))
    graph.add_node("after", node("after"))
    graph.add_edge(START, "choose")
    graph.compile().invoke(INPUT, config)


def resumed(config):
    """Stop for a question, go on, and come again."""

    def ask(state):
        return {"log": [interrupt("ok?")]}

    graph = chain("a", "ask", "b", ask=ask, checkpointer=InMemorySaver())
    config = {**config, **thread("resumed")}
    graph.invoke(INPUT, config)
    graph.invoke(Command(resume="yes"), config)
    graph.invoke(INPUT, config)


def limit(config):
    """Run into the recursion limit."""
    with contextlib.suppress(Exception):
        loop(100).invoke(INPUT, {**config, "recursion_limit": 4})


def abandoned(config):
    """Drop a stream."""
    stream = loop(9).stream(INPUT, config)
    next(stream)
    stream.close()


def workflow(config):
    """Run a functional workflow."""

    @task
    def draft(text):
        return text

    @task
    def review(text):
        return text

    @entrypoint()
    def write(text):
        return review(draft(text).result()).result()

    write.invoke("x", config)


def no_graph(config):
    """Call models and tools without a graph."""
    model = ScriptedModel(script=[["search"], "done"])

    def work(text, config):
        reply = model.invoke(text, config)
        search.invoke({"city": "Paris"}, config)
        return model.invoke([("user", text), reply], config)

    RunnableLambda(work).invoke("hi", config)


def conditional_entry(config):
    """Choose where to begin."""
    graph = StateGraph(State)
    graph.add_node("a", node("a"))
    graph.add_node("b", node("b"))
    graph.add_conditional_edges(START, lambda state: "b")
    graph.compile().invoke(INPUT, config)


SHAPES = [
    one_tool,
    parallel_tools,
    failing_tool,
    agent_in_tool,
    cycle,
    async_cycle,
    fan_out,
    send,
    subgraphs,
    node_error,
    branch_error,
    retry,
    goto,
    resumed,
    limit,
    abandoned,
    workflow,
    no_graph,
    conditional_entry,
]


def langsmith_runs(shape, *handlers):
    """Return the runs that LangSmith's own tracer sends of an agent, as its export has them.

    The service puts what is posted and what is patched later into one run; so does this.
    """
    import requests
    from langchain_core.tracers.langchain import LangChainTracer
    from langsmith import Client

    class Session(requests.Session):
        def request(self, method, url, **request):
            run = json.loads(request["data"])
            runs.setdefault(run["id"], {}).update(run)
            response = requests.Response()
            response.status_code, response._content = 200, b"{}"
            return response

    runs = {}
    client = Client("http://localhost:1", api_key="x", session=Session(), auto_batch_tracing=False)
    tracer = LangChainTracer(client=client, project_name="test")
    shape({"callbacks": [tracer, *handlers]})
    tracer.wait_for_futures()
    return list(runs.values())


def openinference_spans(shape, *handlers):
    """Return the spans that OpenInference's instrumentor makes of an agent."""
    instrumentation = pytest.importorskip("openinference.instrumentation.langchain")
    exporter, provider = _tracing()
    provider.add_span_processor(_processor(exporter))
    instrumentor = instrumentation.LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        shape({"callbacks": list(handlers)})
    finally:
        instrumentor.uninstrument()
    return exporter.get_finished_spans()


def langfuse_spans(shape, *handlers):
    """Return the spans that Langfuse's own handler makes of an agent, as OpenTelemetry has them."""
    langfuse = pytest.importorskip("langfuse")
    from langfuse.langchain import CallbackHandler

    exporter, provider = _tracing()
    logging.getLogger("langfuse").setLevel(logging.CRITICAL)
    client = langfuse.Langfuse(
        public_key=f"pk-{id(exporter)}",
        secret_key="sk",  # noqa: S106 - nothing is sent
        host="http://127.0.0.1:1",
        span_exporter=exporter,
        tracer_provider=provider,
    )
    shape({"callbacks": [CallbackHandler(public_key=f"pk-{id(exporter)}"), *handlers]})
    client.flush()
    return exporter.get_finished_spans()


def _tracing():
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    return InMemorySpanExporter(), trace.TracerProvider()


def _processor(exporter):
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    return SimpleSpanProcessor(exporter)


def to_otlp(span, **options):
    """Return the OTLP document of a span, by OpenTelemetry's own encoder."""
    encoder = pytest.importorskip("opentelemetry.exporter.otlp.proto.common.trace_encoder")
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(encoder.encode_spans([span]), **options)


def to_observation(span):
    """Return a span of Langfuse's handler as an observation, by the documented schema of the API.

    The service makes observations of spans; there is no program of Langfuse to do it offline.
    """
    prefix = "langfuse.observation."
    attributes = {key.removeprefix(prefix): value for key, value in span.attributes.items()}
    metadata = {k: _plain(value) for k, value in attributes.items() if k.startswith("metadata.")}
    return {
        "id": f"{span.context.span_id:016x}",
        "traceId": f"{span.context.trace_id:032x}",
        "parentObservationId": f"{span.parent.span_id:016x}" if span.parent else None,
        "type": attributes["type"].upper(),
        "name": span.name,
        "startTime": _iso(span.start_time),
        "endTime": _iso(span.end_time),
        "metadata": {key.removeprefix("metadata."): value for key, value in metadata.items()},
        "model": attributes.get("model.name"),
        "level": attributes.get("level", "DEFAULT"),
        "statusMessage": attributes.get("status_message"),
        "input": _plain(attributes.get("input")),
        "output": _plain(attributes.get("output")),
    }


def to_console(span):
    """Return a span as OpenTelemetry's ``ConsoleSpanExporter`` prints it."""
    return json.loads(span.to_json())


def to_phoenix(span):
    """Return a span as the API of Phoenix has it, by its schema."""
    printed = to_console(span)
    attributes = printed["attributes"]
    if "metadata" in attributes:
        attributes["metadata"] = json.loads(attributes["metadata"])
    return {
        "id": "U3Bhbjox",
        "name": span.name,
        "context": {key: printed["context"][key][2:] for key in ("trace_id", "span_id")},
        "span_kind": attributes.get("openinference.span.kind", "UNKNOWN"),
        "parent_id": printed["parent_id"] and printed["parent_id"][2:],
        "start_time": printed["start_time"],
        "end_time": printed["end_time"],
        "status_code": printed["status"]["status_code"],
        "status_message": printed["status"].get("description", ""),
        "attributes": attributes,
        "events": printed["events"],
    }


def to_jaeger(span):
    """Return the trace of Jaeger that holds this span, by its documented JSON."""
    trace, own = f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"
    tags = dict(span.attributes)
    if span.status.status_code.name != "UNSET":
        tags["otel.status_code"] = span.status.status_code.name
    if span.status.status_code.name == "ERROR":
        tags |= {"error": True, "otel.status_description": span.status.description or ""}
    above = span.parent and {"refType": "CHILD_OF", "traceID": trace}
    written = {
        "traceID": trace,
        "spanID": own,
        "operationName": span.name,
        "references": [above | {"spanID": f"{span.parent.span_id:016x}"}] if above else [],
        "startTime": span.start_time // 1000,
        "duration": (span.end_time - span.start_time) // 1000,
        "tags": _to_tags(tags),
        "logs": [
            {"timestamp": event.timestamp // 1000}
            | {"fields": _to_tags({"event": event.name, **event.attributes})}
            for event in span.events
        ],
        "processID": "p1",
    }
    processes = {"p1": {"serviceName": "agent", "tags": []}}
    return {"data": [{"traceID": trace, "spans": [written], "processes": processes}]}


def _to_tags(attributes):
    kinds = {bool: "bool", int: "int64", float: "float64"}
    return [
        {"key": key, "type": kinds.get(type(value), "string")}
        | {"value": json.dumps(value) if isinstance(value, tuple) else value}
        for key, value in attributes.items()
    ]


def to_mlflow(span):
    """Return the trace of MLflow that holds this span, by the schema of its version 3."""
    written = to_otlp(span)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    trace = f"tr-{span.context.trace_id:032x}"
    attributes = {key: json.dumps(value) for key, value in span.attributes.items()}
    return {
        "info": {"trace_id": trace, "state": "OK", "trace_metadata": {}, "tags": {}},
        "data": {
            "spans": [
                {
                    "trace_id": written["traceId"],
                    "span_id": written["spanId"],
                    "parent_span_id": written.get("parentSpanId"),
                    "name": span.name,
                    "start_time_unix_nano": span.start_time,
                    "end_time_unix_nano": span.end_time,
                    "events": to_console(span)["events"],
                    "status": written["status"],
                    "attributes": attributes | {"mlflow.traceRequestId": json.dumps(trace)},
                }
            ]
        },
    }


def _plain(value):
    with contextlib.suppress(TypeError, ValueError):
        return json.loads(value)
    return value


def _iso(nanoseconds):
    moment = datetime.fromtimestamp(nanoseconds / 1e9, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
