"""The tables of a comparison, ready to be shown in a terminal or on a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import shorten

from detailed_balance.analyzers import (
    Change,
    ComparisonTest,
    RunComparison,
    StateForecast,
    Violation,
)
from detailed_balance.analyzers.comparison.result import QUESTIONS
from detailed_balance.analyzers.loop import Loop
from detailed_balance.comparison._figures import Figure
from detailed_balance.comparison._sides import Side
from detailed_balance.render.document import Section, Surface
from detailed_balance.render.formatting import (
    count_noun,
    format_number,
    format_pvalue,
    join_states,
    shorten_states,
)
from detailed_balance.report.run_sections import change_rows

_SHOWN, _PRINTED = 40, 8

UNCHANGED_SHOWN = 3
"""How many things are shown of a question without a change."""

_TITLES = {
    "moves": "Moves: where each state leads, in shares",
    "potential": "States: V less its mean over the common states, in 1/β",
    "loops": "Loops: rounds in each run, detours left out",
    "stays": "Stays: visits or changes in a row, the longest of each run",
    "success": "Success",
    "limit": "Runs at the recursion limit",
    "length": "Length and cost of a run",
}


def side_section(a: Side, b: Side, figures: Sequence[Figure]) -> Section:
    """Return what A and B are, in numbers, and what each says by itself."""
    rows = [_side_rows(side) for side in (a, b)]
    table = [(name, rows[0][name], rows[1][name]) for name in rows[0]]
    shown = [(f.name, f.show(f.before), f.show(f.after)) for f in figures if f.name != "success"]
    table[-1:-1] = shown
    return Section("A is before, B is after", ("", "A", "B"), tuple(table), "", ("A", "B"))


def _side_rows(side: Side) -> dict[str, str]:
    counts = side.report.counts.without_boundaries()
    good, judged = side.judged
    return {
        "what": side.label,
        "runs": "not known" if side.runs is None else f"{len(side.roots):,}",
        "succeeded": f"{good:,} of {judged:,}" if judged else "not judged",
        "transitions": f"{counts.total:,} between {count_noun(len(counts), 'state')}",
        "on its own": shorten(side.report.verdict.headline, 60, placeholder=" ..."),
    }


def question_section(found: RunComparison) -> Section:
    """Return the questions and their answers."""
    rows = tuple(
        (
            QUESTIONS[test.question],
            "no, changed" if test.changed else "no change found",
            format_pvalue(test.adjusted),
            f"{len(test.changes):,}",
            f"{sum(change.changed for change in test.changes):,}",
        )
        for test in found.tests
    )
    note = f"{found.describe()}."
    if missing := [name for name in QUESTIONS if found.test(name) is None]:
        note += f" Not tested, because data are too few or nothing varies: {', '.join(missing)}."
    columns = ("question", "answer", "adjusted p", "tested", "changed")
    return Section("What was tested", columns, rows, note, ("answer",))


def change_sections(found: RunComparison) -> Iterator[Section]:
    """Yield what changed, question by question, or else the smallest p-values."""
    for test in found.tests:
        yield _change_section(test)


def _change_section(test: ComparisonTest) -> Section:
    changed = [change for change in test.changes if change.changed]
    shown: list[Change] = changed[:_SHOWN] or list(test.changes[:UNCHANGED_SHOWN])
    title = _TITLES[test.question]
    if not changed:
        note = "None of them changed significantly; these have the smallest p-values."
    else:
        note = f"{len(changed):,} of {len(test.changes):,} changed."
    more = max(0, len(changed) - _SHOWN)
    columns = ("what", "A", "B", "B minus A", "adjusted p")
    told = test.changed or test.question in ("success", "limit", "length")
    on: tuple[Surface, ...] = ("terminal", "page") if told else ("page",)
    rows = change_rows(shown)
    return Section(title, columns, rows, note, (), "change", more, _PRINTED, on=on)


def loop_section(a: Side, b: Side, walked_more: Sequence[Violation]) -> Section | None:
    """Return the loops that drive A or B; None where there are none."""
    driven = [_by_name(side) for side in (a, b)]
    names = sorted({**driven[0], **driven[1]}, key=lambda name: (name in driven[0], name))
    new = {Loop(violation.loop) for violation in walked_more}
    if not names:
        return None
    rows = tuple(
        (
            join_states(name),
            *(_affinity(found.get(name)) for found in driven),
            _where_found(name in driven[0], name in driven[1], name in new),
        )
        for name in names[:_SHOWN]
    )
    note = (
        "Affinity in nats: the log of the counts along the loop over those in reverse (1 nat: a "
        "factor of 2.7). A loop found in one side only is not proof of a change; the test is under "
        "Loops."
    )
    columns, more = ("loop", "A", "B", "found"), len(names) - len(rows)
    return Section(
        *("Driven loops of each side", columns, rows, note),
        *(("found",), "loop", more, _PRINTED),
        on=("terminal", "page"),
    )


def _by_name(side: Side) -> dict[tuple[str, ...], Violation]:
    balance = side.report.balance
    return {} if balance is None else {Loop(each.loop): each for each in balance.violations}


def _affinity(violation: Violation | None) -> str:
    return "-" if violation is None else f"{violation.affinity:.2f} ± {violation.error:.2f}"


def _where_found(before: bool, after: bool, walked_more: bool) -> str:
    found = "in both" if before and after else "in A only" if before else "in B only"
    return f"{found}, taken more" if walked_more else found


def trap_section(a: Side, b: Side) -> Section | None:
    """Return the traps of A and B; None where there are none."""
    held = [{trap.states: trap for trap in side.report.traps.traps} for side in (a, b)]
    names = sorted({**held[0], **held[1]})
    if not names:
        return None
    rows = tuple(
        (
            " ↔ ".join(shorten_states(name)),
            *(format_number(found[name].stay) if name in found else "-" for found in held),
        )
        for name in names[:_SHOWN]
    )
    note = "Moves before the agent leaves the trap, on average, for each side on its own."
    columns, more = ("trap", "A", "B"), len(names) - len(rows)
    return Section(
        "Traps of each side",
        columns,
        rows,
        note,
        noun="trap",
        more=more,
        printed=_PRINTED,
        on=("terminal", "page"),
    )


def forecast_section(a: Side, b: Side) -> Section | None:
    """Return what is to be expected of a run before its first move; None where not known."""
    reports = [a.forecast, b.forecast]
    if all(report is None for report in reports):
        return None
    forecasts = [None if report is None else report.after() for report in reports]
    trust = [
        "-" if f is None or f.fit is None else "yes" if f.fit.trusted else "no" for f in reports
    ]
    rows = (
        ("success", *(_success(forecast) for forecast in forecasts)),
        ("moves to the end", *(_steps(forecast) for forecast in forecasts)),
        ("reliable", *trust),
    )
    note = (
        "By a Markov chain of order 1, with 95% intervals; the last row says whether it fits. What "
        "was seen, and whether it changed, is under Success and Length."
    )
    title, columns = "Forecast before the first move", ("", "A", "B")
    return Section(title, columns, rows, note, ("A", "B"), on=("terminal", "page"))


def _success(forecast: StateForecast | None) -> str:
    if forecast is None:
        return "-"
    low, high = forecast.success_interval
    return f"{forecast.success:.0%} ({low:.0%} to {high:.0%})"


def _steps(forecast: StateForecast | None) -> str:
    if forecast is None:
        return "-"
    low, high = map(format_number, forecast.steps_interval)
    return f"{format_number(forecast.steps)} ({low} to {high})"


def settings_section(found: RunComparison, a: Side) -> Section:
    """Return how it was computed: every setting."""
    balance = a.report.balance
    correction = "bh" if balance is None else balance.correction
    if found.unit != "moves":
        how = f"{found.replicates:,} permutations of whole runs (seed {found.seed})"
        how += "" if found.blocks is None else f"; {found.describe_unit()}"
        family = "rank of the smallest p-value of all questions (Westfall and Young)"
    else:
        how = f"moves as independent; {found.replicates:,} permutations (seed {found.seed})"
        family = "Holm"
    rows = (
        ("test", how),
        ("over questions", family),
        ("inside a question", "false discovery rate (Benjamini and Hochberg)"),
        ("alpha", f"{found.alpha:g}"),
        ("traps", f"{a.report.traps.min_visits:g} visits or more to each state"),
        ("loops of a side", f"alpha {a.report.alpha:g}, correction {correction}"),
    )
    return Section("How it was computed", ("", ""), rows, "Every setting.", ("",))
