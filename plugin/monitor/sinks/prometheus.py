"""What a monitor knows, for Prometheus to fetch: `MonitorCollector`, and `MetricsServer`."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from math import log
from typing import Any, get_args
from wsgiref.simple_server import WSGIRequestHandler, make_server

from detailed_balance.analyzers.errors import DetailedBalanceError
from detailed_balance.diagnosis.finding import FINDING_KINDS, Severity
from detailed_balance.monitor.analysis.status import Status
from detailed_balance.render.formatting import show_context

try:
    from prometheus_client import CollectorRegistry, Metric, make_wsgi_app
    from prometheus_client.exposition import ThreadingWSGIServer
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "prometheus_client":
        raise
    raise DetailedBalanceError(
        "prometheus-client is not installed: pip install 'detailed-balance[prometheus]'"
    ) from None

__all__ = ["MetricsServer", "MonitorCollector"]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class MonitorCollector:
    """The numbers of a monitor, for a registry: ``REGISTRY.register(MonitorCollector(...))``.

    State keys are in none of them: there may be any number of those.

    Parameters
    ----------
    status : callable
        Such as `Monitor.status`.

    Examples
    --------
    >>> status = Status("runs.db", (), 9, 0, 3, 3, 1, 0.0, 1.0, 0.01, 0, 0.05, 0.5, False)
    >>> next(MonitorCollector(lambda: status).collect()).samples[0].value
    9
    """

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        status = self._status()
        common = {"source": status.source, "context": show_context(status.context)}
        for name, kind, about, samples in _metrics(status):
            metric = Metric(f"detailed_balance_{name}", about, kind)
            for own, value in samples:
                suffix = "_total" if kind == "counter" else ""
                metric.add_sample(f"{metric.name}{suffix}", {**common, **own}, value)
            yield metric


def _metrics(s: Status) -> Iterator[tuple[str, str, str, list[tuple[dict[str, str], float]]]]:
    """Yield name, type, help and samples of each metric."""
    yield "transitions", "counter", "Moves recorded.", [({}, s.transitions)]
    yield "escapes", "counter", "Attempts that reached no state.", [({}, s.escapes)]
    yield "trajectories", "counter", "Runs begun.", [({}, s.trajectories)]
    yield "runs", "counter", "Root runs that have stopped.", [({}, s.runs)]
    yield "failed_runs", "counter", "Of them, those that did not do their work.", [({}, s.failed)]
    yield "limited_runs", "counter", "Of them, those at the recursion limit.", [({}, s.limited)]
    yield "repeating_runs", "counter", "Of them, those that repeat themselves.", [({}, s.repeating)]
    yield "undelivered_events", "counter", "Events no sink has taken.", [({}, s.undelivered)]
    yield "lost", "counter", "Moves that are known to be missing.", [({}, s.lost)]
    yield "states", "gauge", "Different states.", [({}, s.states)]
    yield "edges", "gauge", "Different moves.", [({}, s.edges)]
    yield (
        "log_e_value",
        "gauge",
        "Log e-value of the live test against balance, in nats.",
        [({}, s.log_e_value)],
    )
    yield (
        "log_e_value_threshold",
        "gauge",
        "Log e-value at which the alarm comes, in nats.",
        [({}, -log(s.alpha))],
    )
    yield "alarm", "gauge", "1 where there is an open alarm.", [({}, s.alarm)]
    yield "last_read_timestamp_seconds", "gauge", "When it was last read.", [({}, s.updated)]
    yield "read_seconds", "gauge", "How long the last reading took.", [({}, s.lag)]
    yield "traps", "gauge", "Traps in the window.", [({}, len(s.traps))]
    found = Counter((finding.kind, finding.severity) for finding in s.findings)
    # Those that are 0 as well: a series that is missing is no 0.
    pairs = [(kind, severity) for kind in FINDING_KINDS for severity in get_args(Severity)]
    opened = [({"kind": k, "severity": v}, float(found[k, v])) for k, v in pairs]
    yield "open_findings", "gauge", "Findings that are so now.", opened
    took = [({"analyzer": done.name}, done.seconds) for done in s.analyses]
    yield "analysis_seconds", "gauge", "How long an analysis took.", took


class MetricsServer(AbstractContextManager["MetricsServer"]):
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
        registry = CollectorRegistry()
        registry.register(MonitorCollector(status))
        metrics = make_wsgi_app(registry)

        def app(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
            # A page of another site that is led to this machine asks under its own name.
            name = re.sub(r":\d*$", "", environ.get("HTTP_HOST", "")).strip("[]").lower()
            foreign = host in _LOOPBACK and name not in _LOOPBACK
            if foreign or environ["PATH_INFO"] != "/metrics":
                start("403 Forbidden" if foreign else "404 Not Found", [])
                return []
            return metrics(environ, start)

        self._server = make_server(host, port, app, ThreadingWSGIServer, _Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return self._server.server_port

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __exit__(self, *error: object) -> None:
        self.close()


class _Handler(WSGIRequestHandler):
    timeout = 10.0

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Say nothing of requests."""
