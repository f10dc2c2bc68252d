"""What each view of the page is sent: small, bounded, and without a raw state key."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.results import plain
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.dashboard._ids import label_name, loop_id, show_run_key, show_state, visible
from detailed_balance.monitor import Alert, Status
from detailed_balance.render import safe_text

Range: TypeAlias = tuple[float | None, float | None]
"""From when and until when, in seconds since 1970; None where it is open."""

FINDINGS_SHOWN = 200
POINTS_SHOWN = 400
TRAPS_SHOWN = 30
STATES_SHOWN = 12
RUNS_SHOWN, _RUNS_OF_ONE = 6, 100
LABELS_SHOWN, VALUES_SHOWN = 40, 100

_TEXT = 400


_NUMBERS = ("transitions", "escapes", "states", "edges", "trajectories")
_OF_RUNS = ("runs", "failed", "limited", "repeating")


def label_choices(contexts: Sequence[Context]) -> list[dict[str, Any]]:
    """Return the labels that one may choose by, with what stands for each in a URL.

    Examples
    --------
    >>> label_choices([(("model", "a"),), (("model", "b"),)])[0]["values"][1]
    {'query': 'model=b', 'label': 'b'}
    """
    values: dict[str, dict[str, None]] = {}
    for context in contexts:
        for name, value in context:
            values.setdefault(name, {})[value] = None
    return [
        {
            "name": safe_text(name, 40),
            "values": [
                {"query": label_name(name, value), "label": safe_text(value, 60)}
                for value in list(found)[:VALUES_SHOWN]
            ],
            "more": max(0, len(found) - VALUES_SHOWN),
        }
        for name, found in sorted(values.items())[:LABELS_SHOWN]
    ]


def show_overview(
    status: Status,
    source: str,
    within: Range = (None, None),
    counts: TransitionCounts | None = None,
) -> dict[str, Any]:
    """Return the numbers, the evidence over time, the findings and the traps.

    Of a range of time, `counts` has its moves; runs are not distinguished in it.
    """
    points = [p for p in status.evidence if _is_within(p[0], p[0], within)]
    # At the end of a range the evidence was what it was then.
    now = status.log_e_value if within[1] is None else points[-1][2] if points else 0.0
    line = math.log(1 / status.alpha)
    found = {
        **({name: getattr(status, name) for name in _NUMBERS} if counts is None else _sum(counts)),
        **{name: getattr(status, name) for name in _OF_RUNS},
        "verdict": [] if within != (None, None) else _show_verdict(status),
        "lost": status.lost,
        "alarm": status.alarm if within[1] is None else now >= line,
        "source": source,
        "labels": [
            {"query": label_name(*label), "label": _show_label(*label)} for label in status.context
        ],
        "started": status.started,
        "updated": status.updated,
        "lag": status.lag,
        "alpha": status.alpha,
        "line": line,
        "log_e_value": now,
        "evidence": _thin(points),
        **show_findings(status.alerts, within),
        "traps": [_show_trap(trap) for trap in status.traps[:TRAPS_SHOWN]],
        "more_traps": max(0, len(status.traps) - TRAPS_SHOWN),
        "analyses": [
            {"name": safe_text(a.name, 40), "ran": a.ran, "every": a.every}
            | {"seconds": a.seconds, "error": visible(a.error)[:_TEXT]}
            for a in status.analyses
        ],
    }
    return dict(plain(found))


def show_findings(alerts: Sequence[Alert], within: Range = (None, None)) -> dict[str, Any]:
    """Return the findings of a range of time, in short, and how many are open."""
    chosen = list_findings(alerts, within)
    return {
        "findings": [_in_short(alert) for alert in chosen[:FINDINGS_SHOWN]],
        "more_findings": max(0, len(chosen) - FINDINGS_SHOWN),
        "open": {
            severity: sum(a.is_open and a.finding.severity == severity for a in chosen)
            for severity in ("problem", "watch")
        },
    }


def list_findings(alerts: Sequence[Alert], within: Range) -> list[Alert]:
    """Return the findings that were so at some time in a range, in the time of the record.

    Where a finding does not say since when it is so, it may have been so always.
    """
    return [alert for alert in alerts if _is_within(_begin(alert), _end(alert), within)]


def is_loop(alert: Alert) -> bool:
    """Say whether a finding is about a driven loop."""
    return alert.finding.kind == "driven" and len(alert.finding.place) > 2


def show_finding(alert: Alert) -> dict[str, Any]:
    """Return everything about one finding."""
    return _in_short(alert, 200, _RUNS_OF_ONE)


def _in_short(alert: Alert, most: int = STATES_SHOWN, runs: int = RUNS_SHOWN) -> dict[str, Any]:
    finding, place = alert.finding, alert.finding.place
    rows = [(label, text) for label, text in finding.rows() if label not in ("runs", "")]
    return {
        **{name: getattr(alert, name) for name in ("id", "status", "raised", "updated")},
        **{name: getattr(finding, name) for name in ("kind", "severity")},
        "resolved": alert.resolved,
        "sentence": visible(alert.end or finding.headline)[: 4 * _TEXT],
        "states": [show_state(state) for state in place[:most]],
        "more_states": max(0, len(place) - most),
        "loop": loop_id(place) if is_loop(alert) else None,
        "runs": [show_run_key(run) for run in finding.runs[:runs]],
        "more_runs": max(finding.affected, len(finding.runs)) - len(finding.runs[:runs]),
        "rows": [{"name": label, "value": visible(text)[: 4 * _TEXT]} for label, text in rows],
        "advice": [
            {name: visible(getattr(each, name))[: 4 * _TEXT] for name in ("code", "text")}
            for each in finding.advice
        ],
    }


def _show_verdict(status: Status) -> list[dict[str, str]]:
    """Return what the last look at the runs says, besides the findings."""
    return [
        {"word": each.word, "text": visible(each.text)[: 4 * _TEXT]}
        for each in status.verdict.statements
        if each.word not in ("PROBLEM", "WATCH")
    ]


def _show_trap(trap: Mapping[str, Any]) -> dict[str, Any]:
    states = [str(state) for state in trap.get("states", ())]
    return {
        "states": [show_state(state) for state in states[:STATES_SHOWN]],
        "more_states": max(0, len(states) - STATES_SHOWN),
        **{name: trap.get(name) for name in ("stay", "interval", "visits", "moves", "exits")},
    }


def _sum(counts: TransitionCounts) -> dict[str, Any]:
    return {
        "transitions": counts.total,
        "escapes": int(counts.escapes.sum()),
        "states": sum(state not in BOUNDARIES for state in counts.states),
        "edges": counts.counts.nnz,
        "trajectories": None,
    }


def _show_label(name: str, value: str) -> str:
    return f"{safe_text(name, 40)}={safe_text(value, 60)}"


def _begin(alert: Alert) -> float:
    return -math.inf if alert.finding.onset is None else alert.finding.onset.time


def _end(alert: Alert) -> float:
    return math.inf if alert.resolved is None else alert.resolved


def _is_within(first: float, last: float, within: Range) -> bool:
    since, until = within
    return (since is None or last >= since) and (until is None or first < until)


def _thin(points: Sequence[tuple[float, int, float]]) -> list[list[float]]:
    """Return up to 400 points as columns, the last one always among them."""
    stride = -(-len(points) // POINTS_SHOWN) if points else 1
    kept = points[::-stride][::-1]
    return [list(column) for column in zip(*kept, strict=True)] if kept else [[], [], []]
