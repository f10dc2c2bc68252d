"""`Finding`, something that a monitor found, and `Event`, what became of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal, TypeAlias, get_args

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.results import Result

__all__ = ["Event", "Finding", "Kind", "Severity", "finding_id"]

Kind: TypeAlias = Literal["violation", "alarm", "trap", "drift", "states", "loss"]
"""What a finding is about; see docs/monitor.md."""

Severity: TypeAlias = Literal["info", "warning", "alarm"]
"""How much it should worry: known and expected, worth a look, look now."""

_ID_BYTES = 8


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
    kind : {"violation", "alarm", "trap", "drift", "states", "loss"}
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
    """What became of a finding.

    Parameters
    ----------
    what : {"raised", "updated", "resolved"}
        Raised is told once; updated only where something changed that one would want to know.
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
