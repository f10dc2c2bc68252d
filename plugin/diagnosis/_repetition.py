"""Findings of runs that repeat themselves, or were stopped at a limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from detailed_balance.analyzers.multiplicity import adjust_holm
from detailed_balance.callbacks.names import REFUSED
from detailed_balance.diagnosis._advice import advise_on_repetition, gate
from detailed_balance.diagnosis._contrast import labels_differ, next_steps_differ
from detailed_balance.diagnosis._onset import find_onset
from detailed_balance.diagnosis.finding import Cost, Finding, FindingKind, Severity
from detailed_balance.diagnosis.words import count_of, say_place, say_progress, say_times
from detailed_balance.render.formatting import count_noun, format_pvalue, safe_text

if TYPE_CHECKING:
    from collections.abc import Set

    from detailed_balance.analyzers import RepeatingRun, RepetitionFinding
    from detailed_balance.diagnosis.case import Case, Roots
    from detailed_balance.diagnosis.study import RunStudy

_IN_A_ROW = 3
"""So many calls of a tool are several."""

_PLACES_TOLD = 2
_STRENGTH = ("fact", "contrast", "rule", "")


@dataclass(slots=True)
class RepeatingRuns:
    """Runs that repeat the same, or hit a limit while they did.

    Attributes
    ----------
    inside : str
        The subgraph in which they do; empty for the graph that was called.
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
            inside = f"inside {safe_text(other.inside, 40)} " if other.inside else ""
            if len(other.roots) < len(self.roots):
                self.within.append(_say_within(other))
            else:
                self.within.append(f"{inside}they {say_place(other.kind, other.states)}")
        if _STRENGTH.index(other.evidence) < _STRENGTH.index(self.evidence):
            self.found = other.found


def find_repetition_findings(case: Case) -> list[tuple[Finding, set[int]]]:
    """Return the findings of kind limit and repetition, each with its root runs."""
    if case.study is None:
        return []
    groups = list(_groups(case, case.study, "repetition"))
    if case.hidden is not None and case.hidden.study is not None:
        groups += _groups(case, case.hidden.study, "repetition, hidden", case.hub)
    groups = _gather(_merge(groups, case.hub))
    groups.sort(key=lambda g: (not g.limited, -len(g.roots), g.inside, g.states))
    return [(_finding(case, group), group.roots) for group in groups]


def _gather(groups: list[RepeatingRuns]) -> list[RepeatingRuns]:
    """Put places that rest on the same evidence together where there are more than can be told."""
    kept = [group for group in groups if group.limited or group.evidence == "fact"]
    for evidence in ("contrast", "rule"):
        same = [group for group in groups if group not in kept and group.evidence == evidence]
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


def _say_within(group: RepeatingRuns) -> str:
    inside = f"inside {safe_text(group.inside, 40)} " if group.inside else ""
    number = len(group.roots)
    return f"{inside}{number:,} of them {say_place(group.kind, group.states, one=number == 1)}"


def find_refused(case: Case, explained: Set[int]) -> Iterator[Finding]:
    """Yield the tools of which a call was turned down after several in a row.

    A middleware that limits calls does that; a person may turn down any call.
    """
    if case.study is None:
        return
    roots, table = case.roots, case.roots.table
    run = table.run_of_move
    for state in table.states:
        tool = state.removesuffix(REFUSED)
        if tool == state or table.code(tool) < 0:
            continue
        step = table.source == table.code(tool)
        again = step & (table.target == table.code(tool))
        refused = np.flatnonzero(step & (table.target == table.code(state)))
        refused = refused[refused >= _IN_A_ROW - 1]
        for back in range(1, _IN_A_ROW):
            refused = refused[again[refused - back] & (run[refused - back] == run[refused])]
        places = np.setdiff1d(roots.root[run[refused]], sorted(explained))
        if not len(places):
            continue
        affected = roots.mark(places.tolist())
        onset, since = find_onset(case, affected)
        many = count_of(len(places), len(roots))
        yield Finding(
            "limit",
            "watch",
            f"in {many} a call of {safe_text(tool, 40)} was turned down after several in a row",
            (tool,),
            roots.names(places.tolist()),
            len(places),
            len(roots),
            graph=case.graph,
            onset=onset,
            since=since,
            evidence="by a rule: three or more calls of a tool, then one that was turned down",
            advice=tuple(gate(case, "limit")),
        )


def _groups(case: Case, study: RunStudy, test: str, hub: str = "") -> list[RepeatingRuns]:
    """Return the runs that repeat the same, place by place, by the tests of that name."""
    inside = {place: name for name, places in study.inside.items() for place in places.tolist()}
    found: dict[tuple[str, frozenset[str]], RepeatingRuns] = {}

    def group_of(run: RepeatingRun) -> RepeatingRuns:
        where = inside.get(run.place, "")
        group = found.setdefault((where, frozenset(run.states)), RepeatingRuns(where, hub))
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


def _finding(case: Case, group: RepeatingRuns) -> Finding:
    roots = case.roots
    order = _worst_first(group, roots)
    affected = roots.mark(order)
    onset, since = find_onset(case, affected)
    limited = bool(group.limited)
    kind: FindingKind = "limit" if limited else "repetition"
    also: tuple[FindingKind, ...] = ("repetition",) if limited and group.kind else ()
    severity: Severity = "watch" if group.evidence == "rule" and not limited else "problem"
    differs = [*next_steps_differ(case, group, affected), *labels_differ(case, affected)]
    differs += [*_from_where(group), *group.within[:2]]
    return Finding(
        kind,
        severity,
        _title(group, len(roots)),
        group.states,
        roots.names(order),
        len(order),
        len(roots),
        also,
        case.graph,
        onset,
        since,
        _cost(case, group),
        tuple(differs),
        _evidence(case, group),
        case.adjusted("repetition") if group.evidence == "contrast" else nan,
        advice=advise_on_repetition(case, group),
    )


def _worst_first(group: RepeatingRuns, roots: Roots) -> list[int]:
    """Return the root runs, those at the limit first, then by moves after the onset."""

    def weight(place: int) -> tuple[bool, int, int, str]:
        row = group.rows.get(place) or group.elsewhere.get(place)
        after = 0 if row is None else row.after or 0
        key = roots.name(place) or ""
        return (place not in group.limited, -after, -int(roots.moves[place]), key)

    return sorted(group.roots, key=weight)


def _title(group: RepeatingRuns, total: int) -> str:
    """Say it in one line."""
    number, limited = len(group.roots), len(group.limited)
    inside = f"inside {safe_text(group.inside, 40)}, " if group.inside else ""
    runs = f"{inside}{count_of(number, total)}"
    if not group.kind:
        return f"{runs} hit the recursion limit, and did not go round in one place"
    rows, one = list(group.rows.values()), number == 1
    via = f" by way of {safe_text(group.hub, 40)}" if group.hub else ""
    times = say_times(group.kind, max(row.times for row in rows))
    brought = say_progress(rows)
    how = f"{via}, {'' if one else 'up to '}{times}{brought and f', {brought}'}"
    if group.places > 1:
        most = f"{len(rows):,} of them {say_place(group.kind, group.states, one=len(rows) == 1)}"
        return f"{runs} repeat themselves, in {group.places:,} places: {most}{how}"
    if limited < number:
        hit = f"; {limited:,} hit the recursion limit" if limited else ""
        return f"{runs} {say_place(group.kind, group.states, one=one)}{how}{hit}"
    if len(rows) == number:
        who = "it" if one else "they"
        return (
            f"{runs} hit the recursion limit: {who} {say_place(group.kind, group.states, one=one)}"
            f"{how}"
        )
    some = f"{len(rows):,} of them {say_place(group.kind, group.states, one=len(rows) == 1)}"
    return f"{runs} hit the recursion limit: {some}{how}"


def _from_where(group: RepeatingRuns) -> Iterator[str]:
    """Yield from which move on the runs repeat themselves."""
    onset = [row.onset for row in group.rows.values() if row.onset is not None]
    if onset:
        median = int(np.median(onset))
        yield f"it begins with move {median + 1:,}{' (median)' if len(onset) > 1 else ''}"


def _cost(case: Case, group: RepeatingRuns) -> Cost:
    """Return what came after the onset, in root runs and what ran inside them."""
    roots, table = case.roots, case.roots.table
    started = np.full(len(table), -1)
    for row in (*group.rows.values(), *group.elsewhere.values()):
        if row.onset is not None:
            started[row.place] = row.onset
    run = table.run_of_move
    seen = table.target != table.code(group.hub)  # the onset does not count moves to the hub
    before = np.append(0, np.cumsum(seen))
    number = before[:-1] - before[table.offsets[run]]
    after = (started[run] >= 0) & (number >= started[run])

    def sums(values: object) -> tuple[float | None, float | None]:
        if not isinstance(values, np.ndarray):
            return None, None
        return float(np.nansum(values[after])), float(np.nansum(values))

    tokens, of_tokens = sums(roots.tokens)
    money, of_money = sums(roots.money)
    return Cost(
        int(after.sum()),
        table.total,
        tokens=tokens,
        of_tokens=of_tokens,
        money=money,
        of_money=of_money,
    )


def _evidence(case: Case, group: RepeatingRuns) -> str:
    """Say what the finding rests on."""
    found = group.found
    if found is None or (group.limited and found.evidence == "rule"):
        return "a limit that was reached needs no test"
    if found.evidence == "fact":
        lost = case.roots.failed[sorted(group.roots)].sum()
        who = "they" if lost == len(group.roots) else f"{lost:,} of them"
        return (
            f"{who} stopped while the same call got the same answer again and again, which needs "
            "no test"
        )
    good, failed = found.compared
    if found.evidence == "rule":
        few = f"{count_noun(good, 'good run')} are too few to compare with"
        return f"by a rule ({case.study.repetition.rules.describe(found.kind)}); {few}"  # type: ignore[union-attr]
    test = found.test
    adjusted = adjust_holm(case.pvalues).get("repetition", test.pvalue)
    return (
        f"{test.failed:,} of {count_noun(failed, 'failed run')} have more than {test.bound:.0f}, "
        f"and {test.good:,} of {good:,} good ones (adjusted p {format_pvalue(adjusted)})"
    )
