"""`Finding`, one thing that is wrong: the same type on every surface."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import nan
from typing import Any, Literal, TypeAlias, get_args

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.results import Result
from detailed_balance.render.document import Statement
from detailed_balance.render.formatting import format_number, safe_run, safe_text
from detailed_balance.render.html import render_statement

__all__ = [
    "FINDING_KINDS",
    "Advice",
    "Cost",
    "Finding",
    "FindingKind",
    "Onset",
    "Severity",
    "finding_id",
]

FindingKind: TypeAlias = Literal[
    "loss",
    "limit",
    "failure",
    "repetition",
    "driven",
    "trap",
    "waiting",
    "drift",
    "cardinality",
]
"""What a finding is about, the worst first; see docs/reference/report.md."""

FINDING_KINDS: tuple[FindingKind, ...] = get_args(FindingKind)
"""All of them, in that order."""

Severity: TypeAlias = Literal["problem", "watch"]
"""A fact, or a test says that it is wrong; or it is worth a look."""

_ID_BYTES = 8
_NAMED = 6


def finding_id(kind: str, about: Sequence[str]) -> str:
    """Return the identity of a finding: the same for the same thing, in every process.

    Examples
    --------
    >>> finding_id("trap", ["a", "b"]) == finding_id("trap", ("a", "b"))
    True
    >>> finding_id("trap", ["a", "b"]) == finding_id("driven", ["a", "b"])
    False
    """
    text = json.dumps([kind, *about])  # ASCII, lone surrogates included
    return blake2b(text.encode("ascii"), digest_size=_ID_BYTES).hexdigest()


@dataclass(frozen=True, slots=True)
class Onset(Result):
    """Since when something is so, in the time of the record.

    Parameters
    ----------
    time : float
        When the first run after the change began, in seconds since 1970 (UTC).
    runs : (int, int)
        Between which runs the change is, the first one is 1.
    before, after : (int, int)
        How many runs did it, of how many, on both sides.
    """

    time: float
    runs: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Cost(Result):
    """What came after the runs of a finding had begun to repeat themselves.

    Parameters
    ----------
    moves, of_moves : int
        Moves from the onset of each run to its end, and all moves on record.
    tokens, of_tokens : float or None
        Likewise, in tokens; None where not known.
    money, of_money : float or None
        Likewise, in the unit of the record.
    """

    moves: int
    of_moves: int
    tokens: float | None = None
    of_tokens: float | None = None
    money: float | None = None
    of_money: float | None = None

    def describe(self) -> str:
        """Say it in a part of a sentence.

        Examples
        --------
        >>> Cost(347, 841, tokens=52_000, of_tokens=100_000).describe()
        '347 of 841 recorded moves (41%) and 52,000 of 100,000 tokens (52%)'
        """
        said = [_share(self.moves, self.of_moves, "recorded moves")]
        if self.tokens is not None and self.of_tokens is not None:
            said.append(_share(self.tokens, self.of_tokens, "tokens"))
        if self.money is not None and self.of_money is not None:
            said.append(_share(self.money, self.of_money, "of recorded cost"))
        return " and ".join(said)


def _share(part: float, whole: float, noun: str) -> str:
    shown = [f"{n:,.0f}" if n == round(n) else format_number(n) for n in (part, whole)]
    return f"{shown[0]} of {shown[1]} {noun} ({part / max(whole, 1e-300):.0%})"


@dataclass(frozen=True, slots=True)
class Advice(Result):
    """What to do, tried on the runs of the record.

    Parameters
    ----------
    text : str
        In words, safe to print.
    code : str
        A command of a shell that works when pasted, or Python to put where it belongs; empty where
        there is none.
    stopped : int or None
        How many runs of the finding it would have stopped; None where it stops no run.
    saved : int or None
        How many of their moves would not have been made.
    hurt : int or None
        How many runs of the record that succeeded it would have stopped.
    """

    text: str
    code: str = ""
    stopped: int | None = None
    saved: int | None = None
    hurt: int | None = None

    def describe(self) -> str:
        """Say it with its code first."""
        return ": ".join(filter(None, [self.code, self.text]))


@dataclass(frozen=True, slots=True)
class Finding(Result):
    """One thing that is wrong: where, in which runs, since when, at what cost, and what to do.

    Texts are safe to print; in HTML they must still be escaped. `place` and `runs` hold keys as
    recorded, which are not.

    Parameters
    ----------
    kind : FindingKind
        What it is about.
    severity : {"problem", "watch"}
        How much it should worry.
    title : str
        What is wrong, in one line.
    place : tuple of str
        The states concerned: one, two, or a loop in the order visited; empty where it has none.
    runs : tuple of str
        The keys of the runs concerned, worst first. Runs without a key are only counted.
    affected, total : int
        How many runs are concerned, of how many.
    also : tuple of FindingKind
        What else the same fault is: a loop that ends at a limit is a ``limit`` and a
        ``repetition``.
    graph : str
        The agent or graph that it is about; empty where the record has one alone.
    onset : Onset or None
        Since when; None where that is not known, or where it was so throughout.
    since : str
        The same in words, or that it was so throughout.
    cost : Cost or None
        What came after.
    differs : tuple of str
        What these runs do that successful runs do not.
    evidence : str
        What it rests on: the test with its p-value and number of runs, or the rule.
    pvalue : float
        Of the test, adjusted for all kinds; NaN for a fact and a rule.
    unsure : tuple of str
        What it cannot tell.
    advice : tuple of Advice
        What to do.
    show : str
        A command that shows the worst run; empty where there is none.

    Examples
    --------
    >>> finding = Finding("repetition", "problem", "2 of 9 runs stay in search", ("search",),
    ...                   ("t1", "t7"), 2, 9, show="detailed-balance show runs.db t1")
    >>> Finding.from_dict(finding.to_dict()) == finding
    True
    >>> print(finding)
    PROBLEM  2 of 9 runs stay in search
      runs     t1, t7; detailed-balance show runs.db t1
    """

    kind: FindingKind
    severity: Severity
    title: str
    place: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    affected: int = 0
    total: int = 0
    also: tuple[FindingKind, ...] = ()
    graph: str = ""
    onset: Onset | None = None
    since: str = ""
    cost: Cost | None = None
    differs: tuple[str, ...] = ()
    evidence: str = ""
    pvalue: float = field(default=nan, compare=False)
    unsure: tuple[str, ...] = ()
    advice: tuple[Advice, ...] = ()
    show: str = ""

    @property
    def id(self) -> str:
        """Its identity, 16 hexadecimal digits: the same for the same fault in every process."""
        return finding_id(self.kind, [self.graph, *self.place])

    @property
    def kinds(self) -> tuple[FindingKind, ...]:
        """All kinds that it is of, its own first."""
        return (self.kind, *self.also)

    @property
    def rank(self) -> tuple[int, int, int]:
        """What sorts findings, the worst first: severity, kind, and the number of runs."""
        return (
            get_args(Severity).index(self.severity),
            FINDING_KINDS.index(self.kind),
            -self.affected,
        )

    @property
    def headline(self) -> str:
        """The title, after the name of the agent where the record has several."""
        return f"{safe_text(self.graph, 40)}: {self.title}" if self.graph else self.title

    def __str__(self) -> str:
        return str(self.statement)

    def _repr_html_(self) -> str:
        return render_statement(self.statement)

    @property
    def statement(self) -> Statement:
        """Its title with all that stands under it."""
        return Statement(self.severity.upper(), self.headline, self.rows())

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Return what stands under the title, as labels and texts."""
        return tuple((label, text) for label, text in self._rows() if text)

    def _rows(self) -> Iterator[tuple[str, str]]:
        yield "runs", "; ".join(filter(None, [self._name_runs(), self.show]))
        yield "since", self.since
        if self.cost is not None and self.cost.moves:
            yield "cost", f"{self.cost.describe()} came after a run had begun to repeat itself"
        yield "differs", "; ".join(self.differs)
        for place, advice in enumerate(self.advice):
            yield "" if place else "do", advice.describe()
        yield "sure?", "; ".join(filter(None, [self.evidence, *self.unsure]))

    def _name_runs(self) -> str:
        shown = [safe_run(run) for run in self.runs[:_NAMED]]
        more = max(self.affected, len(self.runs)) - len(shown)
        if not shown:
            return ""
        return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")

    def _content(self) -> dict[str, Any]:
        return {"id": self.id, **self._fields()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Finding:
        """Restore what `to_dict` gave.

        Raises
        ------
        InvalidInputError
            Where it is something else.
        """
        try:
            return cls._restore(dict(state))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInputError(f"this is not a finding: {error!r}") from None

    @classmethod
    def _restore(cls, state: dict[str, Any]) -> Finding:
        state.pop("id", None)
        onset, cost, advice = (state.pop(name, None) for name in ("onset", "cost", "advice"))
        for name in ("place", "runs", "also", "differs", "unsure"):
            state[name] = _texts(state.get(name, ()))
        pvalue = state.pop("pvalue", None)
        found = cls(
            **state,
            pvalue=nan if pvalue is None else float(pvalue),
            onset=None if onset is None else _restore_onset(onset),
            cost=None if cost is None else Cost(**{k: _number(v) for k, v in cost.items()}),
            advice=tuple(Advice(**each) for each in advice or ()),
        )
        texts = (found.title, found.graph, found.since, found.evidence, found.show)
        if (
            not all(isinstance(text, str) for text in texts)
            or not set(found.kinds) <= set(FINDING_KINDS)
            or found.severity not in get_args(Severity)
            or not all(type(n) is int and n >= 0 for n in (found.affected, found.total))
        ):
            raise ValueError(repr(found)[:200])
        return found


def _texts(values: Iterable[Any]) -> tuple[Any, ...]:
    found = tuple(values)
    if isinstance(values, str) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"{values!r} are not texts")
    return found


def _number(value: Any) -> Any:
    if type(value) not in (int, float, type(None)):
        raise ValueError(f"{value!r} is not a number")
    return value


def _restore_onset(state: Mapping[str, Any]) -> Onset:
    pairs = {name: tuple(state[name]) for name in ("runs", "before", "after")}
    return Onset(**{**state, **pairs})
