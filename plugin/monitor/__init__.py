"""Watch a running agent: `Monitor`, what it finds, and where it tells of it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detailed_balance.monitor.analysis._registry import Observation
    from detailed_balance.monitor.analysis.base import View
    from detailed_balance.monitor.analysis.findings import Event, Finding, Kind, Severity
    from detailed_balance.monitor.analysis.status import Analysis, Status
    from detailed_balance.monitor.monitor import Monitor, default_analyzers
    from detailed_balance.monitor.sinks import JsonLinesSink, LoggingSink

__all__ = [
    "Analysis",
    "Event",
    "Finding",
    "JsonLinesSink",
    "Kind",
    "LoggingSink",
    "Monitor",
    "Observation",
    "Severity",
    "Status",
    "View",
    "default_analyzers",
]

_HOMES = {
    "Analysis": "analysis.status",
    "Event": "analysis.findings",
    "Finding": "analysis.findings",
    "JsonLinesSink": "sinks",
    "Kind": "analysis.findings",
    "LoggingSink": "sinks",
    "Monitor": "monitor",
    "Observation": "analysis._registry",
    "Severity": "analysis.findings",
    "Status": "analysis.status",
    "View": "analysis.base",
    "default_analyzers": "monitor",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
