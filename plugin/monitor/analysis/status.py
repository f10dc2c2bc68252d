"""`Status`, what a monitor knows at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detailed_balance.analyzers.results import Result
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.diagnosis.finding import Finding
from detailed_balance.monitor.analysis.alerts import Alert
from detailed_balance.render.document import Statement, Verdict
from detailed_balance.render.formatting import count_noun

__all__ = ["NOT_YET", "Analysis", "Status", "compose_verdict"]

_TOLD = 8
_WORDS = ("PROBLEM", "WATCH", "OK", "UNKNOWN", "")
_NOT_RAISED = "no finding was raised yet"

NOT_YET = Verdict("unknown", (Statement("UNKNOWN", "no run is known to have stopped yet"),))
"""The verdict before the first look."""


def compose_verdict(alerts: Sequence[Alert], last: Verdict | None) -> Verdict:
    """Return the first screen: the worst that is open, the others in a line each, and the rest.

    Parameters
    ----------
    alerts : sequence of Alert
        Open ones first, the worst first.
    last : Verdict or None
        That of the last report. It may tell of what is over, or was not raised yet.

    Examples
    --------
    >>> finding = Finding("trap", "watch", "3 of 9 runs stay in a", ("a",))
    >>> print(compose_verdict([Alert(finding.id, finding, "open", 1.0, 1.0)], None))
    WATCH    3 of 9 runs stay in a
    """
    last = last or NOT_YET
    found = [alert.finding for alert in alerts if alert.is_open]
    if not found and last.outcome in ("ok", "unknown"):
        return last
    rest = tuple(s for s in last.statements if s.word not in _WORDS)
    if not found:
        over = count_noun(len(alerts), "finding")
        said = f"nothing is wrong in the last runs; {over} over" if alerts else _NOT_RAISED
        return Verdict("ok", (Statement("OK", said), *rest))
    statements = [
        Statement(
            finding.severity.upper(),
            finding.headline,
            () if place else finding.rows(),
        )
        for place, finding in enumerate(found[:_TOLD])
    ]
    if len(found) > _TOLD:
        more = count_noun(len(found) - _TOLD, "more open finding")
        statements.append(Statement("", f"and {more}"))
    return Verdict(found[0].severity, (*statements, *rest), last.sentences)


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
        Runs begun, those of subgraphs included.
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
        Whether the live test has reached its line, and that is not over.
    evidence : tuple of (float, int, float)
        Time, moves (escapes included) and log e-value, thinned to about 1,000 points.
    alerts : tuple of Alert
        Open ones first, the worst first; then of resolved ones the last 100, the latest first.
    runs, failed, limited, repeating : int
        Root runs that have stopped, since the monitor began to read: all of them; those that failed
        or did not do their work, of these those at the recursion limit; and those that repeated
        themselves too much, by the rule of findings (`find_onsets`).
    verdict : Verdict
        The first screen of a report on the last runs: what is wrong, or that nothing is.
    undelivered : int
        Events that a sink has not taken.
    traps : tuple of mapping
        The traps now, where the source has no runs: states, stay, interval, visits, moves, exits.
    analyses : tuple of Analysis
        When each analyzer ran.
    unseen : tuple of str
        States to hide that have not come yet.

    Examples
    --------
    >>> status = Status("runs.db", (), 9, 0, 3, 3, 1, 0.0, 1.0, 0.01, 0, 0.05, 0.5, False)
    >>> status.to_dict()["transitions"], status.findings, status.verdict.outcome
    (9, (), 'unknown')
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
    alerts: tuple[Alert, ...] = ()
    runs: int = 0
    failed: int = 0
    limited: int = 0
    repeating: int = 0
    verdict: Verdict = NOT_YET
    undelivered: int = 0
    traps: tuple[Mapping[str, Any], ...] = ()
    analyses: tuple[Analysis, ...] = ()
    unseen: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong now, the worst first."""
        return tuple(alert.finding for alert in self.alerts if alert.is_open)
