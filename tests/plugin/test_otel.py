"""Spans that an application ends become the moves that its exported trace gives."""

import json
import os
import threading
import time

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.trace import Link, SpanContext, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from detailed_balance import TransitionStore, analyze, read_runs
from detailed_balance.analyzers.counts import END, START
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.callbacks import Ending, Transition
from detailed_balance.otel import TransitionSpanExporter
from detailed_balance.readers import read_transitions
from detailed_balance.readers.tracers.otlp import plain_span, unfold
from tests.plugin.readers.test_span_frameworks import CASES, load_cases
from tests.support.spans import agent, chain, document, foreign, model, tool

SPANS = load_cases("spans")


def to_live(found):
    """Return a span of OTLP JSON as the SDK hands it to an exporter: with tuples for lists."""
    span, resource = found
    plain = plain_span(span, resource)

    def context(trace, own):
        return SpanContext(int(trace, 16), int(own, 16), is_remote=False, trace_flags=TraceFlags(1))

    def freeze(values):
        return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}

    status = plain["status"] or {}
    code = str(status.get("code", "UNSET")).removeprefix("STATUS_CODE_")
    above = plain["parentSpanId"]
    events = [{**event} for event in plain["events"]]
    return ReadableSpan(
        name=plain["name"],
        context=context(plain["traceId"], plain["spanId"]),
        parent=context(plain["traceId"], above) if above else None,
        attributes=freeze(plain["attributes"]),
        events=[Event(event.pop("name"), freeze(event)) for event in events],
        links=[Link(context(x["traceId"], x["spanId"])) for x in plain.get("links") or ()],
        status=Status(StatusCode[code], status.get("message") if code == "ERROR" else None),
        start_time=int(plain["startTimeUnixNano"]),
        end_time=int(plain["endTimeUnixNano"]),
    )


def play(exporter, documents):
    """Hand spans to an exporter in the order in which they ended, one at a time."""
    spans = [to_live(found) for document in documents for found in unfold(document)]
    for span in sorted(spans, key=lambda span: span.end_time):
        assert exporter.export([span]) is SpanExportResult.SUCCESS


def describe(records):
    """Return the moves with all that is known of them, and the endings, without ids of runs."""
    moves = [
        (r.trajectory, r.source, r.target, r.step, r.time, r.context, r.facts)
        for r in records
        if isinstance(r, Transition)
    ]
    endings = [
        (r.trajectory, r.outcome, r.error, r.context) for r in records if isinstance(r, Ending)
    ]
    return moves, endings


@pytest.mark.skipif(not SPANS, reason="../shared/cases/spans is not beside this checkout")
@pytest.mark.parametrize("case", SPANS, ids=lambda case: case["file"])
def test_a_live_run_is_what_its_exported_trace_is(case):
    path = CASES / "spans" / case["file"]
    exporter = TransitionSpanExporter()
    play(exporter, [json.loads(path.read_text())])
    exporter.force_flush()
    assert describe(exporter.recent.records()) == describe(read_transitions(path).records())
    assert exporter.faults == 0


RUN = agent(model(), tool("find"), model(), tool("read"), model())
PATH = [(START, "find"), ("find", "read"), ("read", "model"), ("model", END)]


def moves(exporter):
    return [(r.source, r.target) for r in exporter.recent.records() if isinstance(r, Transition)]


def outcomes(exporter):
    return [r.outcome for r in exporter.recent.records() if isinstance(r, Ending)]


def wait_for(done):
    """Wait until something is true, at most for a minute."""
    for _ in range(6_000):
        if done():
            return True
        time.sleep(0.01)
    return False


def test_a_run_is_recorded_by_itself_when_its_topmost_span_has_ended():
    exporter = TransitionSpanExporter(delay=0.0)
    play(exporter, [document(RUN)])
    assert wait_for(lambda: outcomes(exporter) == [Outcome.ENDED])
    assert moves(exporter) == PATH


def test_a_run_whose_topmost_span_never_ends_is_abandoned_after_the_timeout():
    exporter = TransitionSpanExporter(delay=0.0, timeout=0.0)
    cut = document(RUN)
    del cut["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    exporter._timeout = 0.2
    play(exporter, [cut])
    assert wait_for(lambda: outcomes(exporter) == [Outcome.ABANDONED])
    assert moves(exporter) == PATH[:-1]


def test_spans_of_a_run_that_goes_on_wait_beside_one_that_has_ended():
    """Two agents below a span of another process: the second has not ended yet."""
    exporter = TransitionSpanExporter(delay=0.0)
    spans = [to_live(found) for found in unfold(document(chain(RUN, RUN)))]
    remote = SpanContext(spans[0].context.trace_id, 7, is_remote=True, trace_flags=TraceFlags(1))
    tops = [span for span in spans if span.name == "agent run"]
    for top in tops:
        top._parent = remote
    inside = sorted((s for s in spans[1:] if s is not tops[1]), key=lambda s: s.end_time)
    exporter.export(inside)
    assert wait_for(lambda: moves(exporter) == PATH)
    exporter.export([tops[1]])
    assert wait_for(lambda: moves(exporter) == PATH * 2)


def test_a_store_keeps_the_runs_and_reports_read_the_exporter_as_they_do_a_handler(tmp_path):
    with TransitionStore(f"sqlite:///{tmp_path / 'runs.db'}") as store:
        exporter = TransitionSpanExporter(store=store, context={"version": "2"})
        play(exporter, [document(*[RUN] * 3)])
        exporter.force_flush()
        runs = read_runs(exporter)
        assert [run.states for run in runs] == [("find", "read", "model")] * 3
        assert len({run.run for run in runs}) == 3
        assert dict(runs[0].context)["version"] == "2"
    exporter = TransitionSpanExporter()
    play(exporter, [document(*[RUN] * 3)])
    exporter.force_flush()
    assert analyze(exporter).verdict is not None
    assert len(read_runs(exporter)) == 3
    assert exporter.graph.outcomes() == {Outcome.ENDED: 3}


def test_the_url_of_a_store_is_opened_and_closed(tmp_path):
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    exporter = TransitionSpanExporter(store=url)
    play(exporter, [document(RUN)])
    exporter.shutdown()
    assert len(read_runs(url)) == 1


def test_spans_beyond_the_bound_are_counted_as_a_loss():
    exporter = TransitionSpanExporter(max_spans=4)
    play(exporter, [document(RUN)])
    play(exporter, [document(foreign("x"), agent(model()))])
    exporter.force_flush()
    assert exporter.dropped == exporter.faults == 6 + 1  # the one is of the same trace
    assert moves(exporter) == [(START, "model"), ("model", END)]
    assert any(finding.kind == "loss" for finding in analyze(exporter).findings)


def test_a_span_that_comes_after_its_run_was_recorded_is_counted():
    exporter = TransitionSpanExporter()
    spans = [to_live(found) for found in unfold(document(RUN))]
    exporter.export([span for span in spans if span.name != "execute_tool read"])
    exporter.force_flush()
    exporter.export([span for span in spans if span.name == "execute_tool read"])
    exporter.force_flush()
    assert exporter.dropped == 1
    assert moves(exporter) == [
        (START, "find"),
        ("find", "model"),
        ("model", "model"),
        ("model", END),
    ]


def test_nothing_is_raised_into_the_application(caplog):
    def fails(run):
        raise RuntimeError("mine")

    exporter = TransitionSpanExporter(states=fails)
    assert exporter.export([object(), None]) is SpanExportResult.SUCCESS
    play(exporter, [document(RUN)])
    assert exporter.force_flush()
    exporter.shutdown()
    assert exporter.export([]) is SpanExportResult.SUCCESS
    assert exporter.faults > 2


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(InvalidInputError, match="states must be callable"):
        TransitionSpanExporter(states=3)
    with pytest.raises(InvalidInputError, match="max_spans at least 1"):
        TransitionSpanExporter(max_spans=0)


def test_many_threads_record_into_one_exporter():
    exporter = TransitionSpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")

    def work():
        for _ in range(20):
            with tracer.start_as_current_span(
                "run", attributes={"openinference.span.kind": "AGENT"}
            ):
                for name in ("find", "read"):
                    attributes = {"openinference.span.kind": "TOOL", "tool.name": name}
                    tracer.start_span(name, attributes=attributes).end()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    provider.shutdown()
    assert sorted(set(moves(exporter))) == [(START, "find"), ("find", "read"), ("read", END)]
    assert exporter.graph.outcomes() == {Outcome.ENDED: 160}
    assert exporter.faults == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_records_its_own_spans_only(tmp_path):
    exporter = TransitionSpanExporter(store=f"sqlite:///{tmp_path / 'runs.db'}")
    spans = [to_live(found) for found in unfold(document(RUN))]
    exporter.export(spans[1:])  # the agent has not ended
    child = os.fork()
    if not child:
        play(exporter, [document(RUN, RUN)])
        exporter.shutdown()
        os._exit(0)
    os.waitpid(child, 0)
    exporter.export(spans[:1])
    exporter.shutdown()
    assert len(read_runs(f"sqlite:///{tmp_path / 'runs.db'}")) == 3
