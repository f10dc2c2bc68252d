"""Findings of runs that repeat themselves, or were stopped at a limit."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from detailed_balance.analyzers.repetition.result import FEWEST_GOOD
from detailed_balance.callbacks.names import REFUSED
from detailed_balance.diagnosis.finders._advice import advise_on_repetition, gate
from detailed_balance.diagnosis.finders._contrast import labels_differ, next_steps_differ
from detailed_balance.diagnosis.finders._onset import find_onset
from detailed_balance.diagnosis.finders._repeating_runs import RepeatingRuns, group_repeating
from detailed_balance.diagnosis.finding import Cost, Finding, FindingKind, Severity
from detailed_balance.diagnosis.words import count_of, say_place, say_progress, say_times
from detailed_balance.render.formatting import count_noun, format_pvalue, safe_text

if TYPE_CHECKING:
    from collections.abc import Set

    from detailed_balance.diagnosis.case import Case, Roots

__all__ = ["find_refused", "find_repetition_findings"]

_IN_A_ROW = 3
"""So many calls of a tool are several."""


def find_repetition_findings(case: Case) -> list[tuple[Finding, set[int]]]:
    """Return the findings of kind limit and repetition, each with its root runs."""
    return [(_finding(case, group), group.roots) for group in group_repeating(case)]


def find_refused(case: Case, explained: Set[int]) -> Iterator[Finding]:
    """Yield the tools of which a call was rejected after several in a row.

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
            f"in {many} a call of {safe_text(tool, 40)} was rejected after several in a row",
            (tool,),
            roots.names(places.tolist()),
            len(places),
            len(roots),
            graph=case.graph,
            onset=onset,
            since=since,
            evidence="by a rule: three or more calls of a tool, then one that was rejected",
            advice=tuple(gate(case, "limit")),
        )


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
        case.adjusted(group.test) if group.evidence == "contrast" else nan,
        advice=advise_on_repetition(case, group),
    )


def _worst_first(group: RepeatingRuns, roots: Roots) -> list[int]:
    """Return the root runs, those at the limit first, then by repeating moves."""

    def weight(place: int) -> tuple[Any, ...]:
        row = group.rows.get(place) or group.elsewhere.get(place)
        after = 0 if row is None else row.after or 0
        moves = int(roots.moves[place])
        return (place not in group.limited, -after, -moves, roots.order(place))

    return sorted(group.roots, key=weight)


def _title(group: RepeatingRuns, total: int) -> str:
    """Say it in one line."""
    number, limited = len(group.roots), len(group.limited)
    inside = f"inside {safe_text(group.inside, 40)}, " if group.inside else ""
    runs = f"{inside}{count_of(number, total)}"
    if not group.kind:
        return f"{runs} hit the recursion limit, and did not loop in one place"
    rows, one = list(group.rows.values()), number == 1
    via = f" through {safe_text(group.hub, 40)}" if group.hub else ""
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
    """Return what came while repeating, in root runs and what ran inside them."""
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
    found, study = group.found, case.study
    if found is None or study is None or (group.limited and found.evidence == "rule"):
        return "a limit that was reached needs no test"
    if found.evidence == "fact":
        lost = case.roots.failed[sorted(group.roots)].sum()
        who = "they" if lost == len(group.roots) else f"{lost:,} of them"
        return (
            f"{who} stopped while the same call got the same answer again and again, a fact that "
            "needs no test"
        )
    good, failed = found.compared
    if found.evidence == "rule":
        why = f"{count_noun(good, 'successful run')} are too few to compare with"
        if good >= FEWEST_GOOD:
            why = "these runs have not stopped"
        return f"by a rule ({study.repetition.rules.describe(found.kind)}); {why}"
    test = found.test
    adjusted = case.adjusted(group.test)
    have = "has" if failed == 1 else "have"
    return (
        f"{test.failed:,} of {count_noun(failed, 'failed run')} {have} more than {test.bound:.0f}, "
        f"and {test.good:,} of {good:,} successful ones (adjusted p {format_pvalue(adjusted)})"
    )
