"""`RepeatingRuns`: which runs repeat the same, so that one fault is one finding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detailed_balance.diagnosis.words import say_place
from detailed_balance.render.formatting import safe_text

if TYPE_CHECKING:
    from detailed_balance.analyzers import RepeatingRun, RepetitionFinding
    from detailed_balance.diagnosis.case import Case
    from detailed_balance.diagnosis.study import RunStudy

_PLACES_TOLD = 2
_STRENGTH = ("fact", "contrast", "rule", "")


@dataclass(slots=True)
class RepeatingRuns:
    """Runs that repeat the same, or hit a limit while they did.

    Attributes
    ----------
    inside : str
        The subgraph in which they do; empty for the graph that was called.
    test : str
        The name of the test among `Case.pvalues`.
    hub : str
        The state by way of which they do, which is left out of `states`; empty where there is none.
    kind, states : str, tuple of str
        What they repeat; empty where that differs from run to run.
    rows : dict of int to RepeatingRun
        The runs by the place of their root run.
    limited : set of int
        The root runs that were stopped at a limit, or in which a subgraph was.
    found : RepetitionFinding or None
        Why that is too much; None where the limit alone says so.
    """

    inside: str
    test: str
    hub: str = ""
    kind: str = ""
    states: tuple[str, ...] = ()
    rows: dict[int, RepeatingRun] = field(default_factory=dict)
    limited: set[int] = field(default_factory=set)
    found: RepetitionFinding | None = None
    within: list[str] = field(default_factory=list)
    """What else the same runs repeat."""
    elsewhere: dict[int, RepeatingRun] = field(default_factory=dict)
    """Runs that repeat themselves in other places, where these are too many to tell apart."""
    places: int = 1

    @property
    def evidence(self) -> str:
        return "" if self.found is None else self.found.evidence

    @property
    def roots(self) -> set[int]:
        return {*self.rows, *self.limited, *self.elsewhere}

    def absorb(self, other: RepeatingRuns) -> None:
        """Take in runs that are all among these."""
        self.limited |= other.limited
        if other.kind and not {*other.states} <= {*self.states, self.hub}:
            self.within.append(_say_within(other, of=len(self.roots)))
        if _STRENGTH.index(other.evidence) < _STRENGTH.index(self.evidence):
            self.found = other.found


def group_repeating(case: Case) -> list[RepeatingRuns]:
    """Return the runs that repeat the same or hit a limit, those at a limit first."""
    if case.study is None:
        return []
    groups = _groups(case, case.study, "repetition")
    if case.hidden is not None and case.hidden.study is not None:
        groups += _groups(case, case.hidden.study, "repetition, hidden", case.hub)
    groups = _gather(_merge(groups, case.hub))
    return sorted(groups, key=lambda g: (not g.limited, -len(g.roots), g.inside, g.states))


def _gather(groups: list[RepeatingRuns]) -> list[RepeatingRuns]:
    """Put places that rest on the same evidence together where there are more than can be told."""
    kept = [group for group in groups if group.limited or group.evidence == "fact"]
    for evidence in ("contrast", "rule"):
        same = [group for group in groups if not group.limited and group.evidence == evidence]
        same.sort(key=lambda group: (-len(group.roots), group.inside, group.states))
        if len(same) > _PLACES_TOLD:
            first, *others = same
            for other in others:
                for place, row in other.rows.items():
                    first.elsewhere.setdefault(place, row)
            first.within += [_say_within(other) for other in others[:_PLACES_TOLD]]
            first.places, same = len(same), [first]
        kept += same
    return kept


def _say_within(group: RepeatingRuns, of: int | None = None) -> str:
    """Say what runs of a finding do besides: all of them, where there are `of`, or some."""
    inside = f"inside {safe_text(group.inside, 40)} " if group.inside else ""
    number = len(group.roots)
    if number == of:
        return f"{inside}they {say_place(group.kind, group.states)}"
    return f"{inside}{number:,} of them {say_place(group.kind, group.states, one=number == 1)}"


def _groups(case: Case, study: RunStudy, test: str, hub: str = "") -> list[RepeatingRuns]:
    """Return the runs that repeat the same, place by place, by the tests of that name."""
    inside = {place: name for name, places in study.inside.items() for place in places.tolist()}
    found: dict[tuple[str, frozenset[str]], RepeatingRuns] = {}

    def group_of(run: RepeatingRun) -> RepeatingRuns:
        where = inside.get(run.place, "")
        group = found.setdefault((where, frozenset(run.states)), RepeatingRuns(where, test, hub))
        if run.kind is not None:
            root = int(study.root[run.place])
            group.rows.setdefault(root, run)
            if not group.kind:
                group.kind, group.states = run.kind, tuple(run.states)
        return group

    for finding in study.repetition.findings:
        if finding.evidence == "contrast" and not case.supports(test):
            continue
        for run in finding.runs:
            group = group_of(run)
            if group.found is None:
                group.found = finding
    for run in study.repetition.limits:
        group_of(run).limited.add(int(study.root[run.place]))
    return _join_vague(found.values())


def _join_vague(groups: Iterable[RepeatingRuns]) -> list[RepeatingRuns]:
    """Add runs at a limit that repeat nothing to those that do, where these are half or more."""
    every = list(groups)
    vague = {group.inside: group for group in every if not group.kind}
    for where, group in vague.items():
        others = [g for g in every if g.inside == where and g.kind and g.limited]
        most = max(others, key=lambda g: (len(g.limited), g.states), default=None)
        limited = group.limited.union(*(g.limited for g in others))
        if most is not None and 2 * len(most.limited) >= len(limited):
            most.limited |= group.limited
            every.remove(group)
        else:
            group.limited = limited  # all of them; the others are among these
    return every


def _merge(groups: Sequence[RepeatingRuns], hub: str) -> list[RepeatingRuns]:
    """Put groups of the same runs together: one fault is one finding.

    The one that is kept is of more runs; of as many, it is one without the hub, then the one with
    the most states and the most moves.
    """

    def weight(group: RepeatingRuns) -> tuple[int, bool, int, int, str, tuple[str, ...]]:
        after = sum(row.after or 0 for row in group.rows.values())
        size = -len(group.states)
        return (-len(group.roots), hub in group.states, size, -after, group.inside, group.states)

    kept: list[RepeatingRuns] = []
    for group in sorted(groups, key=weight):
        larger = next((other for other in kept if group.roots <= other.roots), None)
        if larger is None:
            kept.append(group)
        else:
            larger.absorb(group)
    return kept
