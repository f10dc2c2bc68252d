"""`OpenTelemetryMetrics`: what a monitor knows, as OpenTelemetry metrics, through the API alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from detailed_balance.analyzers.errors import DetailedBalanceError
from detailed_balance.monitor.analysis.alerts import Event
from detailed_balance.monitor.analysis.status import Status

__all__ = ["OpenTelemetryMetrics"]

SCHEMA_URL = "https://opentelemetry.io/schemas/1.37.0"
"""The release of the semantic conventions that the ``gen_ai.*`` names are those of."""

GEN_AI_NAMES = {"model": "gen_ai.request.model", "agent": "gen_ai.agent.name"}
"""Labels that the conventions name; every other one is ``detailed_balance.context.*``."""

_Read = Callable[[Status], float]
_GAUGES: tuple[tuple[str, str, str, _Read], ...] = (
    ("states", "{state}", "Different states", lambda s: s.states),
    (
        "log_e_value",
        "1",
        "Log e-value of the live test against balance, in nats",
        lambda s: s.log_e_value,
    ),
    ("alarm", "1", "1 where there is an open alarm", lambda s: int(s.alarm)),
    ("read.duration", "s", "How long the last reading took", lambda s: s.lag),
)
_COUNTERS: tuple[tuple[str, str, str, _Read], ...] = (
    ("transitions", "{transition}", "Moves recorded", lambda s: s.transitions),
    ("escapes", "{attempt}", "Attempts that reached no state", lambda s: s.escapes),
    ("trajectories", "{run}", "Runs begun", lambda s: s.trajectories),
    ("runs", "{run}", "Root runs that have stopped", lambda s: s.runs),
    ("runs.failed", "{run}", "Of them, those that did not do their work", lambda s: s.failed),
    ("runs.limited", "{run}", "Of them, those at the recursion limit", lambda s: s.limited),
    ("runs.repeating", "{run}", "Of them, those that repeated themselves", lambda s: s.repeating),
    ("events.undelivered", "{event}", "Events that a sink has not taken", lambda s: s.undelivered),
    ("lost", "{transition}", "Moves known to be missing", lambda s: s.lost),
)


class OpenTelemetryMetrics:
    """Give the numbers of a monitor to whatever OpenTelemetry is set up in this process.

    It is a sink too: given to a monitor as well, it counts the events as they come, as
    ``detailed_balance.events``.

    Parameters
    ----------
    provider : opentelemetry.metrics.MeterProvider, optional
        By default the one that is set for the process.

    Raises
    ------
    DetailedBalanceError
        Where opentelemetry-api is not installed.

    Notes
    -----
    Names of metrics begin with ``detailed_balance.``; labels of the context become attributes,
    ``model`` and ``agent`` by the names of the semantic conventions for generative AI 1.37.
    """

    def __init__(self, provider: Any = None) -> None:
        self._api = _import_api()
        meter = self._api.get_meter(
            "detailed_balance", meter_provider=provider, schema_url=SCHEMA_URL
        )
        self._meter = meter
        self._statuses: list[Callable[[], Status]] = []
        for name, unit, about, read in _GAUGES:
            self._create(meter.create_observable_gauge, name, unit, about, read)
        for name, unit, about, read in _COUNTERS:
            self._create(meter.create_observable_counter, name, unit, about, read)
        meter.create_observable_gauge(
            "detailed_balance.findings.open", [self._observe_findings], "{finding}", "Open findings"
        )
        self._events = meter.create_counter("detailed_balance.events", "{event}", "Events emitted")

    def watch(self, status: Callable[[], Status]) -> None:
        """Give the numbers of one more monitor, by its `Monitor.status`."""
        self._statuses.append(status)

    def emit(self, event: Event) -> None:
        """Count one event."""
        finding = event.finding
        prefix = "detailed_balance."
        self._events.add(
            1,
            {
                f"{prefix}event": event.what,
                f"{prefix}kind": finding.kind,
                f"{prefix}severity": finding.severity,
            },
        )

    def _create(self, create: Any, name: str, unit: str, about: str, read: _Read) -> None:
        def observe(options: object) -> Iterable[Any]:
            for status in [ask() for ask in self._statuses]:
                yield self._api.Observation(read(status), _attributes(status))

        create(f"detailed_balance.{name}", [observe], unit, about)

    def _observe_findings(self, options: object) -> Iterable[Any]:
        for status in [ask() for ask in self._statuses]:
            found = Counter((f.kind, f.severity) for f in status.findings)
            for (kind, severity), count in found.items():
                own = {"detailed_balance.kind": kind, "detailed_balance.severity": severity}
                yield self._api.Observation(count, {**_attributes(status), **own})


def _attributes(status: Status) -> Mapping[str, str]:
    named = {
        GEN_AI_NAMES.get(name, f"detailed_balance.context.{name}"): value
        for name, value in status.context
    }
    return {"detailed_balance.source": status.source, **named}


def _import_api() -> Any:
    try:
        return import_module("opentelemetry.metrics")
    except ImportError:
        raise DetailedBalanceError(
            "opentelemetry-api is not installed: pip install 'detailed-balance[otel]'"
        ) from None
