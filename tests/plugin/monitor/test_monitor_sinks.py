"""Where a monitor tells of what it finds: log, file, webhook, Prometheus, OpenTelemetry."""

import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.monitor import Event, Finding, JsonLinesSink, LoggingSink, Status
from detailed_balance.monitor.sinks.prometheus import MetricsServer, prometheus_text
from detailed_balance.monitor.sinks.webhook import WebhookSink, sign_body, verify_signature

HOSTILE = '"}\\\n# HELP x\r\n<script>\u202e\x00'
FINDING = Finding("1f", "trap", "open", "warning", "a <-> b", ("\ud800", HOSTILE), 1.0, 2.0)
STATUS = Status("runs.db", (("model", HOSTILE),), 9, 1, 3, 3, 1, 0.0, 1.0, 0.01, 2, 0.05, 0.5, True)


def event(number: int = 0) -> Event:
    return Event("raised", replace(FINDING, id=str(number)), float(number))


class Receiver(HTTPServer):
    """Answers with the given codes in turn, the last one for ever, and keeps what it was sent."""

    def __init__(self, *codes: int, wait: threading.Event | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.codes, self.wait = list(codes), wait
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.wait is not None:
            self.server.wait.wait(10)
        self.server.requests.append((self.path, dict(self.headers), body))
        codes = self.server.codes
        self.send_response(codes.pop(0) if len(codes) > 1 else codes[0])
        self.send_header("Location", self.server.url + "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - its name there

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
    deadline = time.monotonic() + 10
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_log_gets_each_event_at_the_level_of_its_severity(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    sink = LoggingSink("watching")
    for what, severity in [("raised", "alarm"), ("updated", "warning"), ("resolved", "alarm")]:
        sink.emit(Event(what, replace(FINDING, severity=severity), 1.0))  # type: ignore[arg-type]
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("ERROR", "trap raised: a <-> b"),
        ("WARNING", "trap updated: a <-> b"),
        ("INFO", "trap resolved: a <-> b"),
    ]


def test_a_json_lines_file_holds_each_event_in_one_line_of_ascii(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for number in range(2):  # a second process appends
        sink = JsonLinesSink(path)
        sink.emit(event(number))
        sink.close()
    lines = path.read_bytes().splitlines()
    assert all(line.isascii() for line in lines)
    assert [Finding.from_dict(json.loads(line)["finding"]).id for line in lines] == ["0", "1"]
    assert Finding.from_dict(json.loads(lines[0])["finding"]).states == FINDING.states


def test_a_webhook_that_fails_twice_gets_the_event_signed_and_once_accepted() -> None:
    with receiver(500, 429, 204) as server:
        sink = WebhookSink(server.url, secret="a secret", backoff=0.01)  # noqa: S106
        sink.emit(event())
        wait_until(lambda: sink.sent)
        sink.close()
    assert (len(server.requests), sink.sent, sink.lost) == (3, 1, 0)
    assert len({headers["X-Detailed-Balance-Event"] for _, headers, _ in server.requests}) == 1
    for _, headers, body in server.requests:
        assert json.loads(body) == event().to_dict()
        assert verify_signature(body, headers["X-Detailed-Balance-Signature"], "a secret")


def test_a_signature_tells_forgeries_and_replays() -> None:
    header = sign_body(b"body", "secret", 1_000)
    assert verify_signature(b"body", header, "secret", now=1_300)
    assert not verify_signature(b"body", header, "secret", now=1_301)
    assert not verify_signature(b"bodY", header, "secret", now=1_000)
    assert not verify_signature(b"body", header, "Secret", now=1_000)
    assert not verify_signature(b"body", header.replace("t=1000", "t=1001"), "secret", now=1_000)
    for wrong in ("", "t=", "v1=", "t=x,v1=y", "t=1000", "t=\u0661,v1=é"):
        assert not verify_signature(b"body", wrong, "secret", now=1_000)


@pytest.mark.parametrize("code", [301, 302, 307, 308, 400, 404, 410])
def test_a_webhook_follows_no_redirect_and_takes_a_refusal_for_final(code: int) -> None:
    with receiver(code) as server:
        sink = WebhookSink(server.url, backoff=0.01)
        sink.emit(event())
        wait_until(lambda: sink.lost)
        sink.close()
    assert [path for path, _, _ in server.requests] == ["/hook"]
    assert sink.sent == 0


def test_a_webhook_without_a_receiver_gives_up_and_says_so_without_the_path(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with receiver(200) as server:
        url = server.url
    sink = WebhookSink(f"{url}/very-secret", attempts=3, backoff=0.01)
    sink.emit(event())
    wait_until(lambda: sink.lost)
    sink.close()
    assert "not posted to http://127.0.0.1" in caplog.text
    assert "very-secret" not in caplog.text + repr(sink)


def test_a_slow_receiver_delays_nobody_and_the_oldest_events_are_lost() -> None:
    go_on = threading.Event()
    with receiver(200, wait=go_on) as server:
        sink = WebhookSink(server.url, capacity=3)
        sink.emit(event(0))
        wait_until(lambda: not sink._waiting)  # it is on its way
        for number in range(1, 6):
            sink.emit(event(number))
        go_on.set()
        wait_until(lambda: sink.sent == 4)
        sink.close()
    assert sink.lost == 2
    ids = [json.loads(body)["finding"]["id"] for _, _, body in server.requests]
    assert ids == ["0", "3", "4", "5"]


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://host/x", "file:///etc/passwd", "/hook", "http://", "https://user:pw@host/", ""),
        *("http://[", "http://host:99999/", "javascript:alert(1)"),
    ],
)
def test_only_http_without_credentials_is_a_webhook(url: str) -> None:
    with pytest.raises(InvalidInputError, match="a webhook has a URL like") as caught:
        WebhookSink(url)
    assert "pw" not in str(caught.value)


def test_the_metrics_are_what_prometheus_reads() -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus_client is missing")
    trap = replace(FINDING, id="2", severity="alarm", kind="alarm")
    over = replace(FINDING, id="3", status="resolved")
    text = prometheus_text(replace(STATUS, findings=(FINDING, trap, over)))
    families = {f.name: f for f in parser.text_string_to_metric_families(text)}
    (sample,) = families["detailed_balance_transitions"].samples
    assert (sample.value, sample.labels["source"]) == (9.0, "runs.db")
    assert "<script>" in sample.labels["context"]
    assert families["detailed_balance_log_e_value_threshold"].samples[0].value > 2.99
    opened = families["detailed_balance_open_findings"].samples
    assert sum(sample.value for sample in opened) == 2
    assert len(opened) == 18


def test_label_values_are_escaped_as_the_format_asks() -> None:
    text = prometheus_text(replace(STATUS, source='a"b\\c\nd', context=()))
    assert '{source="a\\"b\\\\c\\nd",context=""} 9\n' in text


def fetch(url: str, host: str | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, headers={} if host is None else {"Host": host})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def test_the_metrics_are_served_to_this_machine_under_its_own_names_alone() -> None:
    with MetricsServer(lambda: STATUS, 0) as server:
        root = f"http://127.0.0.1:{server.port}"
        assert fetch(f"{root}/metrics") == (200, prometheus_text(STATUS))
        assert fetch(f"{root}/metrics", host=f"localhost:{server.port}")[0] == 200
        assert fetch(f"{root}/metrics", host="[::1]")[0] == 200
        assert fetch(f"{root}/metrics", host="evil.example")[0] == 403
        assert fetch(f"{root}/metrics", host="127.0.0.1.evil.example:80")[0] == 403
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
    metrics.watch(lambda: replace(STATUS, context=labels, findings=(FINDING,)))
    metrics.emit(event())
    (resource,) = reader.get_metrics_data().resource_metrics
    (scope,) = resource.scope_metrics
    assert (scope.scope.name, scope.scope.schema_url) == ("detailed_balance", SCHEMA_URL)
    points = {metric.name: metric.data.data_points[0] for metric in scope.metrics}
    assert points["detailed_balance.transitions"].value == 9
    assert points["detailed_balance.findings.open"].value == 1
    assert points["detailed_balance.events"].value == 1
    assert points["detailed_balance.alarm"].attributes == {
        "detailed_balance.source": "runs.db",
        "gen_ai.agent.name": "writer",
        "gen_ai.request.model": "gpt-4o",
        "detailed_balance.context.version": "2",
    }
