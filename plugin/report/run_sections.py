"""The tables of a report that are about single runs."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

from detailed_balance.analyzers import Change, ClassifiedRun, Outcome
from detailed_balance.analyzers.comparison.result import REPEAT
from detailed_balance.analyzers.repetition.classify import KINDS, KindSummary
from detailed_balance.diagnosis.words import say_place, say_times
from detailed_balance.render.document import Section
from detailed_balance.render.formatting import (
    count_noun,
    format_number,
    format_pvalue,
    join_states,
    safe_run,
    safe_text,
    shorten_states,
)

if TYPE_CHECKING:
    from detailed_balance.analyzers import RepetitionFinding
    from detailed_balance.diagnosis.study import RunStudy

__all__ = [
    "OUTCOMES",
    "change_rows",
    "contrast_section",
    "kind_section",
    "limit_section",
    "loop_place_section",
    "repetition_section",
    "run_section",
    "show_change",
]

OUTCOMES = {
    Outcome.ENDED: "ended",
    Outcome.INTERRUPTED: "interrupted",
    Outcome.FAILED: "failed",
    Outcome.RECURSION_LIMIT: "at the recursion limit",
    Outcome.CANCELLED: "cancelled",
    Outcome.ABANDONED: "abandoned",
}
"""How runs stopped, in words."""

PLACES_SHOWN, PLACES_PRINTED = 50, 8
CHANGES_SHOWN, CHANGES_PRINTED, UNCHANGED_SHOWN = 20, 8, 5
RUNS_PRINTED, LOOPS_PRINTED = 8, 10
"""How many rows there are on a page, and how many of them in a terminal."""

_JUDGED = {True: "yes", False: "no", None: "-"}


def kind_section(runs: RunStudy) -> Section:
    """Return how many root runs did what, and under them those of subgraphs, by name."""
    report = runs.report
    named: list[tuple[str, KindSummary]] = [(kind.kind, kind) for kind in report.kinds]
    for name, child in runs.children.items():
        named += [(f"{safe_text(name, 16)}: {kind.kind}", kind) for kind in child.kinds]
    costs = any(kind.cost_after is not None for _, kind in named)
    rows = tuple(
        (
            name,
            f"{kind.runs:,}",
            f"{kind.succeeded:,}",
            f"{kind.failed:,}",
            format_number(kind.steps),
            f"{kind.after:,}" if kind.after else "-",
            *([_show_cost(kind.cost_after)] if costs else []),
        )
        for name, kind in named
    )
    columns = ("kind", "runs", "succeeded", "failed", "median moves", "repeating moves")
    seen = {kind.kind for _, kind in named}
    rules = "; ".join(f"{kind}: {report.rules.describe(kind)}" for kind in KINDS if kind in seen)
    note = f"{rules}. repeating moves: from where a run started repeating to its end."
    if runs.children:
        note += " Runs of subgraphs are listed under the runs they are part of, by name."
    return Section("What the runs did", (*columns, *(["cost after"] if costs else [])), rows, note)


def run_section(runs: RunStudy) -> Section | None:
    """Return the runs that matter, worst first; None where all is well."""
    report = runs.report
    if not report.rows:
        return None
    table = [_run_cells(row) for row in report.rows]
    if all(row.cost_after is None for row in report.rows):
        for cells in table:
            del cells["cost after"]
    note = (
        "Runs that repeat themselves first, then others that failed. from: moves before it started "
        "repeating; after: moves from there to its end. successful runs like this: other runs that "
        "repeated as much or more, and succeeded."
    )
    rows = tuple(tuple(cells.values()) for cells in table)
    return Section(
        "The runs that matter",
        tuple(table[0]),
        rows,
        note,
        ("kind", "where", "stopped", "success"),
        "run",
        report.left_out,
        RUNS_PRINTED,
        ("moves", "successful runs like this", "stopped"),
    )


def _run_cells(row: ClassifiedRun) -> dict[str, str]:
    return {
        "run": "-" if row.name is None else safe_run(row.name),
        "kind": row.kind,
        "where": _where(row),
        "from": "-" if row.onset is None else f"{row.onset:,}",
        "after": "-" if row.after is None else f"{row.after:,}",
        "cost after": _show_cost(row.cost_after),
        "moves": f"{row.steps:,}",
        "successful runs like this": "-" if row.onset is None else f"{row.similar_successes:,}",
        "stopped": "-" if row.outcome is None else OUTCOMES[row.outcome],
        "success": _JUDGED[row.success],
    }


def _where(row: ClassifiedRun) -> str:
    if not row.states:
        return "-"
    names = shorten_states(row.states, 40 if len(row.states) < 3 else 24)
    if row.kind == "cycle":
        return f"{' → '.join(names)}, {count_noun(row.times, 'round')}"
    if row.kind == "shuttle":
        return f"{' ↔ '.join(names)}, {count_noun(row.times, 'change')}"
    return f"{' ↔ '.join(names)}, {count_noun(row.times, 'visit')}"


def _show_cost(cost: float | None) -> str:
    return "-" if cost is None else format_number(cost)


def repetition_section(runs: RunStudy) -> Section | None:
    """Return where runs repeat themselves too much; None where none does."""
    found = runs.repetition
    if not found.findings:
        return None
    rows = tuple(
        (
            say_place(finding.kind, finding.states),
            f"{len(finding.runs):,}",
            say_times(finding.kind, max(run.times for run in finding.runs)),
            f"{finding.test.bound:.0f}" if found.good else "-",
            f"{sum(run.after or 0 for run in finding.runs):,}",
            _show_evidence(finding),
        )
        for finding in found.findings[:PLACES_SHOWN]
    )
    more = len(found.findings) - len(rows)
    good = (
        f"allowed: the most that {found.content:.0%} of successful runs do, with "
        f"{found.confidence:.0%} confidence, from {count_noun(found.units, 'run')} (or blocks). "
    )
    note = (
        f"{good if found.good else ''}after: moves after they started repeating. fact: runs "
        "that failed or hit the limit while the same call got the same answer. rule: a fixed "
        "limit, where there are too few successful runs to compare with. p: failed runs against "
        "successful ones."
    )
    columns = ("runs that", "runs", "up to", "allowed", "after", "evidence")
    words = ("runs that", "evidence")
    title = "Where runs repeat themselves too much"
    return Section(title, columns, rows, note, words, "place", more, PLACES_PRINTED)


def _show_evidence(finding: RepetitionFinding) -> str:
    if finding.evidence != "contrast":
        return finding.evidence
    return f"p {format_pvalue(finding.test.pvalue)}"


def loop_place_section(runs: RunStudy) -> Section | None:
    """Return where the driven loops were taken; None where there are none."""
    if not runs.loops:
        return None
    rows = tuple(
        (
            join_states(seen.loop),
            f"{seen.runs:,}",
            f"{seen.failed:,}",
            f"{seen.rounds:,}",
            f"{seen.back:,}",
            "-" if isnan(seen.onset) else f"{seen.onset:,.0f}",
            ", ".join(safe_run(name) for name in seen.examples) or "-",
        )
        for seen in runs.loops
    )
    note = (
        "Detours are left out. reverse: rounds in the other direction. starts: moves before the "
        "first round, in the median run that took it. examples: the runs with the most rounds."
    )
    return Section(
        "Where the driven loops are taken",
        ("loop", "runs", "failed", "rounds", "reverse", "starts", "examples"),
        rows,
        note,
        ("examples",),
        "loop",
        printed=LOOPS_PRINTED,
        wide=("failed", "reverse"),
    )


def contrast_section(runs: RunStudy) -> Section | None:
    """Return how runs that succeeded differ from those that failed."""
    found = runs.contrast
    if found is None:
        return None
    changed = sorted(found.changes, key=lambda change: change.pvalue)
    shown = changed or sorted(
        (c for test in found.tests for c in test.changes), key=lambda change: change.pvalue
    )
    rows = change_rows(shown[: CHANGES_SHOWN if changed else UNCHANGED_SHOWN])
    good, bad = found.runs
    if changed:
        title = "How failed runs differ from successful ones"
        note = f"{found.describe()}."
    else:
        title = "No difference found between failed and successful runs"
        note = f"The smallest p-values, none of them significant. {found.describe()}."
    if found.blocks is not None and not found.too_few:
        unit = found.describe_unit()
        note += f" {unit[0].upper()}{unit[1:]}."
    columns = ("what", f"in {good:,} successful", f"in {bad:,} failed", "difference", "adjusted p")
    more = len(shown) - len(rows) if changed else 0
    return Section(title, columns, rows, note, (), "difference", more, CHANGES_PRINTED)


def change_rows(changes: list[Change] | tuple[Change, ...]) -> tuple[tuple[str, ...], ...]:
    """Return what was compared, its two values, the difference with its error, and adjusted p."""
    return tuple(
        (
            _show_trait(change),
            _show_value(change, change.before),
            _show_value(change, change.after),
            _show_difference(change),
            format_pvalue(change.adjusted),
        )
        for change in changes
    )


def _show_trait(change: Change) -> str:
    """Return what was compared, safe to print."""
    names = ["(no state reached)" if name is None else name for name in change.what]
    if change.question == "loops":
        return f"rounds of {join_states([*names, names[0]], 24)}"
    if change.question == "moves":
        return join_states(names, 32)
    if change.question == "stays" and len(names) > 1:
        return f"visits in a row to {' ↔ '.join(shorten_states(names, 24))}"
    return safe_text(names[0], 60)


def show_change(change: Change, sides: tuple[str, str] = ("A", "B")) -> str:
    """Return what changed from what to what, in a part of a sentence that is safe to print."""
    if isnan(change.difference):
        return f"{_show_trait(change)} (comparable in one of them only)"
    before, after = (_show_value(change, value) for value in (change.before, change.after))
    what, (one, other) = _show_trait(change), sides
    return f"{what}: {before} in {one}, {after} in {other} ({_show_difference(change)})"


def _is_share(change: Change) -> bool:
    return change.question in ("moves", "success", "limit") or change.what == (REPEAT,)


def _show_value(change: Change, value: float) -> str:
    if isnan(value):
        return "-"
    return f"{value:.1%}" if _is_share(change) else format_number(value)


def _show_difference(change: Change) -> str:
    if isnan(change.difference):
        return "-"
    if _is_share(change):
        return f"{100 * change.difference:+.1f} ± {100 * change.error:.1f} points"
    return f"{change.difference:+.2f} ± {change.error:.2f}"


def limit_section(runs: RunStudy) -> Section | None:
    """Return the limit of steps that the successful runs suggest."""
    limit = runs.limit
    if limit is None:
        return None
    if runs.limit_unit == "supersteps":
        unit = f'in supersteps, as LangGraph counts them: {{"recursion_limit": {limit.limit}}}'
    else:
        unit = (
            "in moves: lower the step limit of your framework (LangGraph counts supersteps, two "
            "for each tool call of create_agent, and wants one more)"
        )
    trust = f"at most {1 - limit.share:.1%} of the runs that would succeed are stopped"
    rows = [
        ("suggested limit", f"{limit.limit:,}, {unit}"),
        ("guarantee", f"{trust}, with confidence {limit.confidence:.0%}"),
        ("based on", f"{count_noun(limit.runs, 'successful run')}, the longest {limit.longest:,}"),
    ]
    if not limit.enough:
        rows.append(
            (
                "too few runs",
                f"a guarantee of {1 - limit.asked:.0%} takes {limit.needed:,} successful runs",
            )
        )
    note = (
        "An order statistic of the steps of successful runs. It holds for any distribution, if "
        "future runs are independent and like these."
    )
    return Section("How many steps to allow", ("", ""), tuple(rows), note, ("",))
