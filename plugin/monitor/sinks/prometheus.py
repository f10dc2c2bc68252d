"""What a monitor knows, for Prometheus to fetch: `prometheus_text`, and `MetricsServer`."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import isfinite, log
from typing import TYPE_CHECKING, Self, cast, get_args
from urllib.parse import urlsplit

from detailed_balance.monitor.analysis.findings import Kind, Severity
from detailed_balance.monitor.analysis.status import Status
from detailed_balance.sources.source import show_context

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["CONTENT_TYPE", "MetricsServer", "prometheus_text"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of the text exposition format."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SECONDS = 10.0


def prometheus_text(status: Status) -> str:
    """Return a status in the text exposition format, version 0.0.4.

    State keys are in none of it: there may be any number of them.

    Examples
    --------
    >>> status = Status("runs.db", (), 9, 0, 3, 3, 1, 0.0, 1.0, 0.01, 0, 0.05, 0.5, False)
    >>> print(prometheus_text(status).splitlines()[2])
    detailed_balance_transitions_total{source="runs.db",context=""} 9
    """
    common = {"source": status.source, "context": show_context(status.context)}
    lines: list[str] = []
    for name, kind, about, samples in _metrics(status):
        name = f"detailed_balance_{name}"
        lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{_labels({**common, **own})} {_number(x)}" for own, x in samples]
    return "\n".join(lines) + "\n"


_Samples = list[tuple[Mapping[str, str], float]]


def _metrics(status: Status) -> Iterator[tuple[str, str, str, _Samples]]:
    """Yield name, type, help and samples of each metric."""
    counters: list[tuple[str, str, float]] = [
        ("transitions_total", "Moves recorded.", status.transitions),
        ("escapes_total", "Attempts that reached no state.", status.escapes),
        ("trajectories_total", "Runs begun.", status.trajectories),
        ("lost_total", "Moves that are known to be missing.", status.lost),
    ]
    gauges = [
        ("states", "Different states.", status.states),
        ("edges", "Different moves.", status.edges),
        ("log_e_value", "Evidence of the live test, in nats.", status.log_e_value),
        ("log_e_value_threshold", "The alarm line, in nats.", -log(status.alpha)),
        ("alarm", "1 where there is an open alarm.", float(status.alarm)),
        ("last_read_timestamp_seconds", "When the source was last read.", status.updated),
        ("read_seconds", "How long the last reading took.", status.lag),
        ("traps", "Traps in the window.", len(status.traps)),
    ]
    for name, about, value in counters:
        yield name, "counter", about, [({}, value)]
    for name, about, value in gauges:
        yield name, "gauge", about, [({}, value)]
    yield "open_findings", "gauge", "Findings that are so now.", _count_findings(status)
    took = [({"analyzer": done.name}, done.seconds) for done in status.analyses]
    yield "analysis_seconds", "gauge", "How long an analysis took.", list(took)


def _count_findings(status: Status) -> _Samples:
    """Return the number of each kind and severity, 0 as well: a series that is missing is no 0."""
    found = Counter((finding.kind, finding.severity) for finding in status.open_findings)
    return [
        ({"kind": kind, "severity": severity}, found[kind, severity])
        for kind in get_args(Kind)
        for severity in get_args(Severity)
    ]


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    if isfinite(value):
        return repr(value)
    return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"


class MetricsServer:
    """Answer ``GET /metrics`` from a thread, on this machine alone unless told otherwise.

    Parameters
    ----------
    status : callable
        Such as `Monitor.status`.
    port : int
        0 takes a free one; see `port`.
    host : str
        The address to listen at. There is no password: anything but a loopback address lets the
        network read the numbers, and the name of the source.

    Raises
    ------
    OSError
        Where the address is taken.
    """

    def __init__(
        self, status: Callable[[], Status], port: int = 9464, host: str = "127.0.0.1"
    ) -> None:
        self._server = _Server((host, port), _Handler)
        self._server.status = status
        self._server.hosts = _LOOPBACK if host in _LOOPBACK else ()
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    status: Callable[[], Status]
    hosts: tuple[str, ...]


class _Handler(BaseHTTPRequestHandler):
    timeout = _SECONDS
    server_version, sys_version = "detailed-balance", ""

    def do_GET(self) -> None:
        served = cast("_Server", self.server)
        if _is_foreign(self.headers.get("Host", ""), served.hosts):
            self.send_error(403)
        elif self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
        else:
            body = prometheus_text(served.status()).encode("utf-8", "backslashreplace")
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing of requests."""


def _is_foreign(host: str, allowed: Collection[str]) -> bool:
    """Say whether a page made a browser ask under another name for this machine."""
    name = urlsplit(f"//{host}").hostname
    return bool(allowed) and name not in allowed
