"""A plugin of pytest for `peers_tests.py`: writes the outcome of each test, one a line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

OUTCOMES = "DETAILED_BALANCE_BENCHMARK_OUTCOMES"
"""Names the file."""


def pytest_configure() -> None:
    """Make the recorder before any test: some watch what is opened inside of an event loop."""
    if os.environ.get("DETAILED_BALANCE_STORE"):
        from detailed_balance.callbacks.recorder.record import ProcessRecorder, install

        install()
        ProcessRecorder()


def pytest_runtest_logreport(report: Any) -> None:
    """Write the outcome of a call, and of a set-up or an end that did not pass."""
    if report.when == "call" or report.outcome != "passed":
        line = json.dumps([report.nodeid, report.when, report.outcome])
        with Path(os.environ[OUTCOMES]).open("a", encoding="ascii") as file:
            file.write(line + "\n")


def pytest_collectreport(report: Any) -> None:
    """Write which file could not be collected."""
    if report.failed:
        line = json.dumps([report.nodeid, "collect", report.outcome])
        with Path(os.environ[OUTCOMES]).open("a", encoding="ascii") as file:
            file.write(line + "\n")
