"""Where a monitor reports what it finds: log, file, Apprise, Prometheus, OpenTelemetry."""

import json
import logging
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs

import pytest

pytest.importorskip("apprise", reason="apprise is missing")
pytest.importorskip("prometheus_client", reason="prometheus-client is missing")

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from detailed_balance.analyzers.errors import DetailedBalanceError, InvalidInputError
from detailed_balance.diagnosis import FINDING_KINDS, Finding
from detailed_balance.diagnosis.finding import Severity
from detailed_balance.monitor import Alert, Analysis, Event, JsonLinesSink, LoggingSink, Status
from detailed_balance.monitor.sinks.notify import NotifySink
from detailed_balance.monitor.sinks.prometheus import MetricsServer, MonitorCollector

PATIENCE = 300
"""Seconds, on a machine with much to do."""

HOSTILE = '"}\\\n# HELP x\r\n<script>\u202e\x00'
FINDING = Finding("trap", "watch", "a <-> b", ("\ud800", HOSTILE))
ALERT = Alert("1f", FINDING, "open", 1.0, 2.0)
STATUS = Status("runs.db", (("model", HOSTILE),), 9, 1, 3, 3, 1, 0.0, 1.0, 0.01, 2, 0.05, 0.5, True)


def event(number: int = 0) -> Event:
    return Event("raised", replace(ALERT, id=str(number)), float(number))


def about(what: Any, **finding: Any) -> Event:
    over = "it is over" if what == "resolved" else ""
    return Event(what, replace(ALERT, finding=replace(FINDING, **finding), end=over), 1.0)


class Receiver(HTTPServer):
    """Answers with the given codes in turn, the last one for ever, and keeps what it was sent."""

    def __init__(self, *codes: int, wait: threading.Event | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.codes, self.wait = list(codes), wait
        self.asked = threading.Event()
        self.requests: list[tuple[str, bytes]] = []
        self.place = f"127.0.0.1:{self.server_address[1]}/hook"

    def url(self, kind: str = "json") -> str:
        return f"{kind}://{self.place}?cto={PATIENCE}&rto={PATIENCE}"


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.set()
        if self.server.wait is not None:
            self.server.wait.wait(PATIENCE)
        self.server.requests.append((self.path, body))
        codes = self.server.codes
        self.send_response(codes.pop(0) if len(codes) > 1 else codes[0])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@contextmanager
def receiver(*codes: int, wait: threading.Event | None = None) -> Iterator[Receiver]:
    server = Receiver(*codes, wait=wait)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def wait_until(claim: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_log_gets_each_event_at_the_level_of_its_severity(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    sink = LoggingSink("watching")
    for what, severity in [("raised", "problem"), ("updated", "watch"), ("resolved", "problem")]:
        sink.emit(about(what, severity=severity, runs=("t1",)))
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("ERROR", "trap raised: a <-> b; runs t1"),
        ("WARNING", "trap updated: a <-> b; runs t1"),
        ("INFO", "trap resolved: it is over"),
    ]


def test_a_json_lines_file_holds_each_event_in_one_line_of_ascii(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for number in range(2):  # a second process appends
        sink = JsonLinesSink(path)
        sink.emit(event(number))
        sink.close()
    lines = path.read_bytes().splitlines()
    assert all(line.isascii() for line in lines)
    assert [Alert.from_dict(json.loads(line)["alert"]).id for line in lines] == ["0", "1"]
    assert Alert.from_dict(json.loads(lines[0])["alert"]).finding == FINDING


def test_a_json_webhook_gets_the_whole_event() -> None:
    with receiver(204) as server:
        sink = NotifySink(server.url())
        sink.emit(event())
        wait_until(lambda: sink.sent)
        sink.close()
    assert (len(server.requests), sink.sent, sink.undelivered) == (1, 1, 0)
    ((path, body),) = server.requests
    assert path == "/hook"
    sent = json.loads(body)
    assert (sent["title"], sent["type"]) == ("detailed-balance: trap raised", "warning")
    assert json.loads(sent["message"]) == event().to_dict()


@pytest.mark.parametrize(
    ("what", "severity", "kind"),
    [
        ("raised", "watch", "warning"),
        ("updated", "problem", "failure"),
        ("resolved", "problem", "success"),
    ],
)
def test_any_other_service_gets_a_sentence_that_calls_nobody(
    what: Any, severity: Any, kind: str
) -> None:
    sentence = "plan <-> <!channel> <@U1> @everyone"
    with receiver(200) as server:
        sink = NotifySink(server.url("form"))
        one = about(what, title=sentence, severity=severity, since=sentence)
        sink.emit(replace(one, alert=replace(one.alert, end=sentence)))
        wait_until(lambda: sink.sent)
        sink.close()
    ((_, body),) = server.requests
    sent = parse_qs(body.decode())
    quiet = "plan <-> \u2039!channel> \u2039\uff20U1> \uff20everyone"
    whole = quiet if what == "resolved" else f"{quiet}\nsince: {quiet}"
    assert sent["message"] == [whole]
    assert (sent["title"], sent["type"]) == ([f"detailed-balance: trap {what}"], [kind])


@pytest.mark.parametrize("code", [400, 404, 410, 429, 500, 503])
def test_an_event_that_is_refused_is_counted_and_logged_each_time(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    with receiver(code) as server:
        sink = NotifySink(server.url())
        for number in range(2):
            sink.emit(event(number))
        wait_until(lambda: sink.undelivered == 2)
        sink.close()
    assert [path for path, _ in server.requests] == ["/hook", "/hook"]
    assert sink.sent == 0
    assert caplog.text.count("an event was not delivered to json://127.0.0.1") == 2


def test_a_service_that_is_away_is_named_without_its_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with receiver(200) as server:
        place = server.place
    sink = NotifySink(f"json://user:pass-word@{place}/very-secret?+X-Key=token")
    sink.emit(event())
    wait_until(lambda: sink.undelivered)
    sink.close()
    assert f"not delivered to json://{place.partition('/')[0]}: " in caplog.text
    for secret in ("pass-word", "very-secret", "token"):
        assert secret not in caplog.text + repr(sink)


def test_a_slow_service_delays_nobody_and_the_oldest_events_are_given_up() -> None:
    go_on = threading.Event()
    with receiver(200, wait=go_on) as server:
        sink = NotifySink(server.url(), capacity=3)
        sink.emit(event(0))
        assert server.asked.wait(PATIENCE)  # it is on its way
        for number in range(1, 6):
            sink.emit(event(number))
        go_on.set()
        wait_until(lambda: sink.sent == 4)
        sink.close()
    assert sink.undelivered == 2
    events = [json.loads(json.loads(body)["message"]) for _, body in server.requests]
    assert [sent["alert"]["id"] for sent in events] == ["0", "3", "4", "5"]


def test_what_a_sink_has_no_time_left_for_is_undelivered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    go_on = threading.Event()
    with receiver(200, wait=go_on) as server:
        sink = NotifySink(server.url())
        for number in range(3):
            sink.emit(event(number))
        assert server.asked.wait(PATIENCE)
        sink.close(timeout=0.01)
        go_on.set()
        sink.close()
    assert (sink.sent, sink.undelivered) == (0, 3)
    assert caplog.text.count("there was no time left") == 3


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://host/x", "file:///etc/passwd", "/hook", "json://", "https://user:pw@host/", ""),
        *("http://[", "https://example.com/pw", "javascript:alert(1)"),
    ],
)
def test_only_what_apprise_knows_is_a_service(url: str) -> None:
    with pytest.raises(InvalidInputError, match="apprise has no service for this URL") as caught:
        NotifySink(url)
    assert "pw" not in str(caught.value)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(DetailedBalanceError, match=r"detailed-balance\[notify\]"):
        NotifySink("json://127.0.0.1")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "detailed_balance.monitor.sinks.prometheus")
    with pytest.raises(DetailedBalanceError, match=r"detailed-balance\[prometheus\]"):
        import_module("detailed_balance.monitor.sinks.prometheus")


def text_of(status: Status) -> str:
    registry = CollectorRegistry()
    registry.register(MonitorCollector(lambda: status))
    return generate_latest(registry).decode()


def test_the_metrics_are_what_prometheus_reads() -> None:
    limit = replace(ALERT, id="2", finding=replace(FINDING, severity="problem", kind="limit"))
    over = replace(ALERT, id="3", status="resolved")
    runs = {"runs": 40, "failed": 7, "limited": 3, "repeating": 5, "undelivered": 2}
    text = text_of(replace(STATUS, alerts=(ALERT, limit, over), **runs))
    families = {f.name: f for f in text_string_to_metric_families(text)}
    (sample,) = families["detailed_balance_transitions"].samples
    assert (sample.name, sample.value) == ("detailed_balance_transitions_total", 9.0)
    assert sample.labels["source"] == "runs.db"
    assert "<script>" in sample.labels["context"]
    assert families["detailed_balance_log_e_value_threshold"].samples[0].value > 2.99
    opened = families["detailed_balance_open_findings"].samples
    assert sum(sample.value for sample in opened) == 2
    assert len(opened) == len(FINDING_KINDS) * len(get_args(Severity)) == 18
    counted = ("runs", "failed_runs", "limited_runs", "repeating_runs", "undelivered_events")
    values = [families[f"detailed_balance_{name}"].samples[0].value for name in counted]
    assert values == [40, 7, 3, 5, 2]


def test_the_metrics_have_the_names_that_alerts_are_written_for() -> None:
    done = Analysis("traps", 1.0, 0.25, 5.0)
    text = text_of(replace(STATUS, analyses=(done,)))
    names = ["transitions", "escapes", "trajectories", "lost", "runs", "failed_runs"]
    names += ["limited_runs", "repeating_runs", "undelivered_events"]
    counters = {f"detailed_balance_{name}": "counter" for name in names}
    names = ["states", "edges", "log_e_value", "log_e_value_threshold", "alarm", "traps"]
    names += ["last_read_timestamp_seconds", "read_seconds", "open_findings", "analysis_seconds"]
    gauges = {f"detailed_balance_{name}": "gauge" for name in names}
    families = list(text_string_to_metric_families(text))
    assert {family.name: family.type for family in families} == counters | gauges
    (took,) = [s for f in families for s in f.samples if "analyzer" in s.labels]
    assert (took.labels["analyzer"], took.value) == ("traps", 0.25)


def test_label_values_are_escaped_as_the_format_asks() -> None:
    text = text_of(replace(STATUS, source='a"b\\c\nd', context=()))
    assert '{context="",source="a\\"b\\\\c\\nd"} 9.0\n' in text


def fetch(url: str, host: str | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, headers={} if host is None else {"Host": host})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def test_the_metrics_are_served_to_this_machine_under_its_own_names_alone() -> None:
    with MetricsServer(lambda: STATUS, 0) as server:
        root = f"http://127.0.0.1:{server.port}"
        assert fetch(f"{root}/metrics") == (200, text_of(STATUS))
        assert fetch(f"{root}/metrics", host=f"localhost:{server.port}")[0] == 200
        assert fetch(f"{root}/metrics", host="[::1]")[0] == 200
        assert fetch(f"{root}/metrics", host="evil.example")[0] == 403
        assert fetch(f"{root}/metrics", host="127.0.0.1.evil.example:80")[0] == 403
        assert fetch(f"{root}/metrics", host="[::1")[0] == 403
        assert fetch(f"{root}/metrics", host="127.0.0.1@evil.example")[0] == 403
        assert fetch(f"{root}/../etc/passwd")[0] == 404
        assert server._server.server_address[0] == "127.0.0.1"


def test_opentelemetry_gets_the_numbers_by_the_conventions_names() -> None:
    pytest.importorskip("opentelemetry.sdk.metrics", reason="opentelemetry-sdk is missing")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from detailed_balance.monitor.sinks.opentelemetry import (
        SCHEMA_URL,
        OpenTelemetryMetrics,
    )

    reader = InMemoryMetricReader()
    metrics = OpenTelemetryMetrics(MeterProvider([reader]))
    labels = (("agent", "writer"), ("model", "gpt-4o"), ("version", "2"))
    metrics.watch(lambda: replace(STATUS, context=labels, alerts=(ALERT,), failed=7))
    metrics.emit(event())
    (resource,) = reader.get_metrics_data().resource_metrics
    (scope,) = resource.scope_metrics
    assert (scope.scope.name, scope.scope.schema_url) == ("detailed_balance", SCHEMA_URL)
    points = {metric.name: metric.data.data_points[0] for metric in scope.metrics}
    assert points["detailed_balance.transitions"].value == 9
    assert points["detailed_balance.findings.open"].value == 1
    assert points["detailed_balance.runs.failed"].value == 7
    assert points["detailed_balance.events"].value == 1
    assert points["detailed_balance.alarm"].attributes == {
        "detailed_balance.source": "runs.db",
        "gen_ai.agent.name": "writer",
        "gen_ai.request.model": "gpt-4o",
        "detailed_balance.context.version": "2",
    }
