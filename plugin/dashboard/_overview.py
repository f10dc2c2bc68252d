"""What each view of the page is sent: small, bounded, and without a raw state key."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.counts import BOUNDARIES
from detailed_balance.analyzers.results import plain
from detailed_balance.analyzers.runs.labels import Context
from detailed_balance.dashboard._ids import LABEL, label_name, loop_id, show_state, visible
from detailed_balance.monitor import Finding, Status
from detailed_balance.render import safe_text

Range: TypeAlias = tuple[float | None, float | None]
"""From when and until when, in seconds since 1970; None where it is open."""

FINDINGS_SHOWN = 200
POINTS_SHOWN = 400
TRAPS_SHOWN = 30
STATES_SHOWN = 12
LABELS_SHOWN, VALUES_SHOWN = 40, 100

_TEXT = 400


_NUMBERS = ("transitions", "escapes", "states", "edges", "trajectories")


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
        **show_findings(status.findings, within),
        "traps": [_show_trap(trap) for trap in status.traps[:TRAPS_SHOWN]],
        "more_traps": max(0, len(status.traps) - TRAPS_SHOWN),
        "analyses": [
            {"name": safe_text(a.name, 40), "ran": a.ran, "every": a.every}
            | {"seconds": a.seconds, "error": visible(a.error)[:_TEXT]}
            for a in status.analyses
        ],
    }
    return dict(plain(found))


def show_findings(findings: Sequence[Finding], within: Range = (None, None)) -> dict[str, Any]:
    """Return the findings of a range of time, in short, and how many are open."""
    chosen = list_findings(findings, within)
    return {
        "findings": [_in_short(finding) for finding in chosen[:FINDINGS_SHOWN]],
        "more_findings": max(0, len(chosen) - FINDINGS_SHOWN),
        "open": {
            severity: sum(f.is_open and f.severity == severity for f in chosen)
            for severity in ("alarm", "warning", "info")
        },
    }


def list_findings(findings: Sequence[Finding], within: Range) -> list[Finding]:
    """Return the findings that were open at some time in a range."""
    return [f for f in findings if _is_within(f.raised, _end(f), within)]


def is_loop(finding: Finding) -> bool:
    """Say whether a finding is about a driven loop."""
    return finding.kind in ("violation", "alarm") and len(finding.states) > 2


def show_finding(finding: Finding) -> dict[str, Any]:
    """Return everything about one finding."""
    details = {name: _show_detail(value) for name, value in finding.details.items()}
    rows = [
        {"name": safe_text(str(name), 40).replace("_", " "), "value": value}
        for name, value in details.items()
        if value
    ]
    return {**_in_short(finding, 200), "details": rows}


def _in_short(finding: Finding, most: int = STATES_SHOWN) -> dict[str, Any]:
    names = ("id", "kind", "status", "severity", "raised", "updated", "resolved")
    return {
        **{name: plain(getattr(finding, name)) for name in names},
        "sentence": visible(finding.sentence)[: 4 * _TEXT],
        "states": [show_state(state) for state in finding.states[:most]],
        "more_states": max(0, len(finding.states) - most),
        "loop": loop_id(finding.states) if is_loop(finding) else None,
    }


def _show_detail(value: Any) -> str:
    """Return a number, a text or a nested value of a finding's details in one line."""
    if isinstance(value, str):
        return safe_text(value, LABEL)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        pairs = [f"{safe_text(str(k), LABEL)} {_show_detail(v)}" for k, v in value.items()]
        return ", ".join(pairs)[:_TEXT]
    if isinstance(value, Sequence):
        mark = "; " if any(isinstance(item, Mapping) for item in value) else ", "
        return mark.join(_show_detail(item) for item in value[:STATES_SHOWN])[:_TEXT]
    return "" if value is None else str(value)


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


def _end(finding: Finding) -> float:
    return math.inf if finding.resolved is None else finding.resolved


def _is_within(first: float, last: float, within: Range) -> bool:
    since, until = within
    return (since is None or last >= since) and (until is None or first < until)


def _thin(points: Sequence[tuple[float, int, float]]) -> list[list[float]]:
    """Return up to 400 points as columns, the last one always among them."""
    stride = -(-len(points) // POINTS_SHOWN) if points else 1
    kept = points[::-stride][::-1]
    return [list(column) for column in zip(*kept, strict=True)] if kept else [[], [], []]
