"""`Status`, what a monitor knows at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from detailed_balance.analyzers.results import Result
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.monitor.analysis.findings import Finding

__all__ = ["Analysis", "Status"]


@dataclass(frozen=True, slots=True)
class Analysis:
    """When one analyzer ran.

    Parameters
    ----------
    name : str
        Which.
    ran : float or None
        When it last ended, in seconds since 1970; None before the first time.
    seconds : float
        How long it took.
    every : float
        Seconds until it runs again: its period, or longer where it takes long.
    error : str
        What went wrong the last time; empty if nothing did.
    """

    name: str
    ran: float | None
    seconds: float
    every: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Status(Result):
    """What a monitor knows at one moment; nothing is computed to make it.

    Parameters
    ----------
    source : str
        What is watched, in words that are safe to print.
    context : Context
        The labels that a move had to carry.
    transitions, escapes : int
        Moves, and attempts that reached no state.
    states, edges : int
        How many different ones.
    trajectories : int
        Runs begun.
    started, updated : float
        When the monitor began, and when it last could read, in seconds since 1970 (UTC).
    lag : float
        How many seconds the last reading took.
    lost : int
        Moves that are known to be missing.
    alpha : float
        The level of the alarm.
    log_e_value : float
        The evidence of the live test now, in nats; the alarm line is log(1 / alpha).
    alarm : bool
        Whether there is an open alarm.
    evidence : tuple of (float, int, float)
        Time, moves (escapes included) and log e-value, thinned to about 1,000 points.
    findings : tuple of Finding
        Open ones first, newest first; of resolved ones the last 100.
    traps : tuple of mapping
        The traps now: states, stay, interval, visits, moves, exits.
    analyses : tuple of Analysis
        When each analyzer ran.

    Examples
    --------
    >>> status = Status("runs.db", (), 9, 0, 3, 3, 1, 0.0, 1.0, 0.01, 0, 0.05, 0.5, False)
    >>> status.to_dict()["transitions"], status.open_findings
    (9, ())
    """

    source: str
    context: Context
    transitions: int
    escapes: int
    states: int
    edges: int
    trajectories: int
    started: float
    updated: float
    lag: float
    lost: int
    alpha: float
    log_e_value: float
    alarm: bool
    evidence: tuple[tuple[float, int, float], ...] = ()
    findings: tuple[Finding, ...] = ()
    traps: tuple[Mapping[str, Any], ...] = ()
    analyses: tuple[Analysis, ...] = ()

    @property
    def open_findings(self) -> tuple[Finding, ...]:
        """The findings that are so now."""
        return tuple(finding for finding in self.findings if finding.is_open)
