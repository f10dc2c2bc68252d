"""`Alert`, a finding that is open or was; its events, and the registry of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.results import Result
from detailed_balance.diagnosis.finding import Finding, finding_id

__all__ = ["Alert", "AlertRegistry", "Event", "Observation", "is_same_fault"]

RESOLVED_KEPT = 100
"""So many alerts that are over are remembered."""


def is_same_fault(one: Finding, other: Finding) -> bool:
    """Say whether two findings are one fault, which may have got another kind or a place since.

    Examples
    --------
    >>> before = Finding("repetition", "watch", "3 runs", ("a", "b"))
    >>> now = Finding("limit", "problem", "1 run", ("b", "a"), also=("repetition",))
    >>> is_same_fault(before, now), is_same_fault(before, Finding("trap", "watch", "", ("a", "b")))
    (True, False)
    """
    if one.graph != other.graph or not set(one.kinds) & set(other.kinds):
        return False
    if one.kind == other.kind == "failure":
        return True  # there is one of each agent
    return bool(one.place) and sorted(one.place) == sorted(other.place)


@dataclass(frozen=True, slots=True)
class Alert(Result):
    """A finding that a monitor has raised.

    Parameters
    ----------
    id : str
        Its identity, 16 hexadecimal digits: that of the finding when it was raised. It stays the
        same over restarts, and where a repetition becomes a limit.
    finding : Finding
        What it is about, as it was last seen.
    status : {"open", "resolved"}
        Whether it is so now.
    raised, updated : float
        When it was found, and when it was last seen to be so, in seconds since 1970 (UTC).
    resolved : float or None
        When it was found to be over.
    end : str
        Why it is over, in one sentence that is safe to print; empty while it is open.

    Examples
    --------
    >>> alert = Alert("1f", Finding("trap", "watch", "stuck in a", ("a",)), "open", 1.0, 2.0)
    >>> Alert.from_dict(alert.to_dict()) == alert
    True
    """

    id: str
    finding: Finding
    status: Literal["open", "resolved"]
    raised: float
    updated: float
    resolved: float | None = None
    end: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it is so now."""
        return self.status == "open"

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Alert:
        """Restore what `to_dict` gave.

        Raises
        ------
        InvalidInputError
            Where it is something else.
        """
        try:
            found = cls(**{**state, "finding": Finding.from_dict(state["finding"])})
        except (KeyError, TypeError) as error:
            raise InvalidInputError(f"this is not an alert: {error!r}") from None
        times = (found.raised, found.updated, found.resolved or 0.0)
        if (
            not isinstance(found.id, str)
            or not isinstance(found.end, str)
            or found.status not in ("open", "resolved")
            or not all(type(time) in (int, float) for time in times)
        ):
            raise InvalidInputError(f"this is not an alert: {repr(found)[:200]}")
        return found


@dataclass(frozen=True, slots=True)
class Event(Result):
    """What changed in an alert.

    Parameters
    ----------
    what : {"raised", "updated", "resolved"}
        Raised comes once; updated only where something changed that one would want to know: its
        severity, what else it is, or twice as many runs.
    alert : Alert
        As it is now.
    time : float
        Seconds since 1970 (UTC).
    """

    what: Literal["raised", "updated", "resolved"]
    alert: Alert
    time: float

    @property
    def finding(self) -> Finding:
        """What it is about."""
        return self.alert.finding

    def describe(self) -> str:
        """Say it in one line, with the runs that are concerned.

        Examples
        --------
        >>> finding = Finding("limit", "problem", "2 of 9 runs hit the limit", runs=("t1", "t2"))
        >>> Event("raised", Alert(finding.id, finding, "open", 1.0, 1.0), 1.0).describe()
        '2 of 9 runs hit the limit; runs t1, t2'
        """
        if self.what == "resolved":
            return self.alert.end
        rows = dict(self.finding.rows())
        runs = rows.get("runs", "").partition(";")[0]
        return self.finding.headline + (f"; runs {runs}" if runs else "")

    def describe_whole(self) -> str:
        """Say it in several lines: what is wrong, since when, what it costs and what to do."""
        if self.what == "resolved":
            return self.alert.end
        rows = (f"{label}: {text}" for label, text in self.finding.rows())
        return "\n".join((self.finding.headline, *rows))

    def __str__(self) -> str:
        return f"{self.what}: {self.describe_whole()}"

    def _content(self) -> dict[str, Any]:
        return self._values("what", "time", "alert")


@dataclass(frozen=True, slots=True)
class Observation:
    """What an analyzer sees now; of what it does not mention, nothing changes.

    Parameters
    ----------
    finding : Finding
        What is seen.
    end : str
        Why it is over, where it is seen to be over.
    about : tuple of str
        What makes it the same finding when it is seen again, where that is not a place.
    size : int
        How large it is; where that has doubled since it was last reported, an event says so. By
        default the runs affected.
    """

    finding: Finding
    end: str = ""
    about: tuple[str, ...] = ()
    size: int = 0

    @property
    def id(self) -> str:
        """The identity of its alert, where no open one is of the same fault."""
        finding = self.finding
        return finding_id(finding.kind, self.about) if self.about else finding.id

    @property
    def news(self) -> tuple[str, tuple[str, ...], int]:
        """What an event reports: another severity, one more kind, twice the number."""
        finding = self.finding
        return finding.severity, finding.kinds, self.size or finding.affected


class AlertRegistry:
    """The alerts by their identity: each is raised once, updated, resolved once.

    Examples
    --------
    >>> registry, seen = AlertRegistry(), Observation(Finding("trap", "watch", "stuck", ("a",)))
    >>> [event.what for event in registry.record([seen], now=1.0)]
    ['raised']
    >>> registry.record([seen], now=2.0)
    []
    >>> [event.what for event in registry.record([replace(seen, end="it left")], now=3.0)]
    ['resolved']
    """

    def __init__(self) -> None:
        self._alerts: dict[str, Alert] = {}
        self._told: dict[str, tuple[str, tuple[str, ...], int]] = {}

    def find(self, seen: Observation) -> Alert | None:
        """Return the alert that an observation is of: an open one first; None without any."""
        known = self._alerts.get(seen.id)
        if (known is not None and known.is_open) or seen.about:
            return known
        same = (a for a in self._alerts.values() if is_same_fault(a.finding, seen.finding))
        return min(same, key=lambda alert: not alert.is_open, default=known)

    def __getitem__(self, key: str) -> Alert:
        return self._alerts[key]

    def alerts(self) -> tuple[Alert, ...]:
        """Return the open ones first, the worst first; then the others, the latest first."""
        every = sorted(self._alerts.values(), key=lambda alert: -(alert.resolved or alert.raised))
        found = sorted((a for a in every if a.is_open), key=lambda alert: alert.finding.rank)
        return (*found, *(alert for alert in every if not alert.is_open))

    def record(self, observations: Iterable[Observation], *, now: float) -> list[Event]:
        """Return what the observations change that one would want to know."""
        found = [self._record(observation, now) for observation in observations]
        self._forget()
        return [event for event in found if event is not None]

    def _record(self, seen: Observation, now: float) -> Event | None:
        known, finding = self.find(seen), seen.finding
        if seen.end:
            if known is None or not known.is_open:
                return None
            over = replace(known, status="resolved", updated=now, resolved=now, end=seen.end)
            self._alerts[over.id] = over
            return Event("resolved", over, now)
        if known is None or not known.is_open:
            name = seen.id if known is None else known.id
            alert = self._alerts[name] = Alert(name, finding, "open", now, now)
            self._told[name] = seen.news
            return Event("raised", alert, now)
        alert = self._alerts[known.id] = replace(known, finding=finding, updated=now)
        severity, kinds, size = seen.news
        severity_told, kinds_told, size_told = self._told.get(known.id, ("", (), 0))
        more = tuple(kind for kind in kinds if kind not in kinds_told)
        if severity == severity_told and not more and size < max(1, 2 * size_told):
            return None
        self._told[known.id] = severity, (*kinds_told, *more), max(size, size_told)
        return Event("updated", alert, now)

    def _forget(self) -> None:
        for alert in [a for a in self.alerts() if not a.is_open][RESOLVED_KEPT:]:
            del self._alerts[alert.id]
            self._told.pop(alert.id, None)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state in types that JSON has."""
        return {"alerts": [a.to_dict() for a in self.alerts()], "told": dict(self._told)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> AlertRegistry:
        """Restore what `to_dict` gave.

        Raises
        ------
        InvalidInputError
            Where it is something else.
        """
        registry = cls()
        try:
            found = [Alert.from_dict(alert) for alert in state["alerts"]]
            registry._told = {
                str(name): (str(severity), tuple(map(str, kinds)), int(size))
                for name, (severity, kinds, size) in state["told"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInputError(f"these are not alerts: {error!r}") from None
        registry._alerts = {alert.id: alert for alert in found}
        return registry
