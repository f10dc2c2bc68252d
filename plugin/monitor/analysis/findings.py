"""`Finding`, something that a monitor found, its events, and the registry of all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Literal, TypeAlias, get_args

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.results import Result, plain

__all__ = ["Event", "Finding", "FindingRegistry", "Kind", "Observation", "Severity", "finding_id"]

Kind: TypeAlias = Literal["violation", "alarm", "trap", "drift", "states", "loss"]
"""What a finding is about; see docs/monitor.md."""

Severity: TypeAlias = Literal["info", "warning", "alarm"]
"""How much it should worry: known and expected, worth a look, look now."""

_ID_BYTES = 8

RESOLVED_KEPT = 100
"""So many findings that are over are remembered."""


def finding_id(kind: str, about: Sequence[str]) -> str:
    """Return the identity of a finding: the same for the same thing, in every process.

    Examples
    --------
    >>> finding_id("trap", ["a", "b"]) == finding_id("trap", ("a", "b"))
    True
    >>> finding_id("trap", ["a", "b"]) == finding_id("violation", ["a", "b"])
    False
    """
    text = json.dumps([kind, *about])  # ASCII, lone surrogates included
    return blake2b(text.encode("ascii"), digest_size=_ID_BYTES).hexdigest()


@dataclass(frozen=True, slots=True)
class Finding(Result):
    """Something that a monitor found.

    Parameters
    ----------
    id : str
        Its identity, 16 hexadecimal digits: it stays the same over restarts.
    kind : Kind
        What it is about.
    status : {"open", "resolved"}
        Whether it is so now.
    severity : {"info", "warning", "alarm"}
        How much it should worry.
    sentence : str
        What was found, in one sentence that is safe to print; in HTML it must still be escaped.
    states : tuple of str
        The state keys concerned, as recorded: those of a loop in the order walked, those of a trap.
    raised, updated : float
        When it was found, and when it was last seen to be so, in seconds since 1970 (UTC).
    resolved : float or None
        When it was found to be over.
    details : mapping
        The numbers, in types that JSON has.

    Examples
    --------
    >>> finding = Finding("1f", "trap", "open", "warning", "a <-> b", ("a", "b"), 1.0, 2.0)
    >>> Finding.from_dict(finding.to_dict()) == finding
    True
    """

    id: str
    kind: Kind
    status: Literal["open", "resolved"]
    severity: Severity
    sentence: str
    states: tuple[str, ...]
    raised: float
    updated: float
    resolved: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether it is so now."""
        return self.status == "open"

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Finding:
        """Restore what `to_dict` gave.

        Raises
        ------
        InvalidInputError
            Where it is something else.
        """
        try:
            found = cls(**{**state, "states": tuple(state["states"])})
        except (KeyError, TypeError) as error:
            raise InvalidInputError(f"this is no finding: {error!r}") from None
        _check(found)
        return found


@dataclass(frozen=True, slots=True)
class Event(Result):
    """What changed in a finding.

    Parameters
    ----------
    what : {"raised", "updated", "resolved"}
        Raised comes once; updated only where something changed that one would want to know.
    finding : Finding
        As it is now.
    time : float
        Seconds since 1970 (UTC).
    """

    what: Literal["raised", "updated", "resolved"]
    finding: Finding
    time: float

    def _content(self) -> dict[str, Any]:
        return self._values("what", "time", "finding")


@dataclass(frozen=True, slots=True)
class Observation:
    """What an analyzer sees now; of what it does not mention, nothing changes.

    Parameters
    ----------
    kind : Kind
        What it is about.
    about : tuple of str
        What makes it the same finding when it is seen again, such as the states of a loop.
    sentence : str
        What is seen, in one sentence that is safe to print.
    severity : Severity
        How much it should worry.
    states : tuple of str
        The state keys concerned, as recorded.
    details : mapping
        The numbers.
    news : str
        Where this, or the severity, has changed, an event says so.
    gone : bool
        Whether it is seen to be over.
    """

    kind: Kind
    about: tuple[str, ...]
    sentence: str = ""
    severity: Severity = "warning"
    states: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    news: str = ""
    gone: bool = False

    @property
    def id(self) -> str:
        """The identity of the finding."""
        return finding_id(self.kind, self.about)


class FindingRegistry:
    """The findings by their identity: each is raised once, updated, resolved once.

    Examples
    --------
    >>> registry, seen = FindingRegistry(), Observation("trap", ("a", "b"), "a <-> b")
    >>> [event.what for event in registry.record([seen], now=1.0)]
    ['raised']
    >>> registry.record([seen], now=2.0)
    []
    >>> [event.what for event in registry.record([replace(seen, gone=True)], now=3.0)]
    ['resolved']
    """

    def __init__(self) -> None:
        self._findings: dict[str, Finding] = {}
        self._news: dict[str, str] = {}

    def __getitem__(self, key: str) -> Finding:
        return self._findings[key]

    def get(self, key: str) -> Finding | None:
        """Return the finding of an identity, None where there is none."""
        return self._findings.get(key)

    def findings(self) -> tuple[Finding, ...]:
        """Return the open ones first, of each the newest first."""
        return tuple(sorted(self._findings.values(), key=lambda f: (not f.is_open, -f.raised)))

    def record(self, observations: Iterable[Observation], *, now: float) -> list[Event]:
        """Return what the observations change that one would want to know."""
        found = [self._record(observation, now) for observation in observations]
        self._forget()
        return [event for event in found if event is not None]

    def _record(self, seen: Observation, now: float) -> Event | None:
        known = self._findings.get(seen.id)
        is_open = known is not None and known.is_open
        if seen.gone:
            if known is None or not is_open:
                return None
            over = replace(known, status="resolved", updated=now, resolved=now)
            over = replace(over, sentence=seen.sentence or known.sentence)
            over = replace(over, details={**known.details, **plain(dict(seen.details))})
            self._findings[seen.id] = over
            return Event("resolved", over, now)
        raised = known.raised if known is not None and is_open else now
        finding = Finding(
            seen.id,
            seen.kind,
            "open",
            seen.severity,
            seen.sentence,
            seen.states,
            raised,
            now,
            details=plain(dict(seen.details)),
        )
        emitted, self._news[seen.id] = self._news.get(seen.id), seen.news
        self._findings[seen.id] = finding
        if not is_open:
            return Event("raised", finding, now)
        changed = emitted != seen.news or (known is not None and known.severity != seen.severity)
        return Event("updated", finding, now) if changed else None

    def _forget(self) -> None:
        over = [finding for finding in self.findings() if not finding.is_open]
        for finding in sorted(over, key=lambda f: -(f.resolved or 0.0))[RESOLVED_KEPT:]:
            del self._findings[finding.id]
            self._news.pop(finding.id, None)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state in types that JSON has."""
        return {"findings": [f.to_dict() for f in self.findings()], "news": dict(self._news)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> FindingRegistry:
        """Restore what `to_dict` gave.

        Raises
        ------
        InvalidInputError
            Where it is something else.
        """
        registry = cls()
        try:
            found = [Finding.from_dict(finding) for finding in state["findings"]]
            registry._news = {str(key): str(news) for key, news in state["news"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(f"these are no findings: {error!r}") from None
        registry._findings = {finding.id: finding for finding in found}
        return registry


def _check(found: Finding) -> None:
    """Refuse what a hostile file may hold in place of a finding."""
    texts = (found.id, found.sentence, *found.states)
    times = (found.raised, found.updated, found.resolved or 0.0)
    if (
        not all(isinstance(text, str) for text in texts)
        or not all(type(time) in (int, float) for time in times)
        or found.kind not in get_args(Kind)
        or found.severity not in get_args(Severity)
        or found.status not in ("open", "resolved")
        or not isinstance(found.details, Mapping)
    ):
        raise InvalidInputError(f"this is no finding: {str(found)[:200]!r}")
