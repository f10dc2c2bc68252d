"""What `find_repetition` found, in the words of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from detailed_balance.render.document import Section
from detailed_balance.render.formatting import (
    count_noun,
    format_pvalue,
    join_states,
    safe_text,
    shorten_states,
)

if TYPE_CHECKING:
    from detailed_balance.analyzers import RepetitionFinding, RepetitionReport

_TOLD = 3
_UNITS = {"stay": "visit", "shuttle": "change", "cycle": "round"}


def count_repeating(found: RepetitionReport, finding: RepetitionFinding) -> str:
    """Say how many runs do what, in a part of a sentence that is safe to print."""
    how = _describe_place(finding.kind, finding.states)
    return f"{len(finding.runs):,} of {count_noun(found.runs, 'run')} {how}"


def describe_limits(found: RepetitionReport) -> str:
    """Say how many runs hit the recursion limit, and what most of them repeated."""
    said = f"{len(found.limits):,} of {count_noun(found.runs, 'run')} hit the recursion limit"
    places = Counter((run.kind, run.states) for run in found.limits if run.kind is not None)
    if not places:
        return said
    (kind, states), number = places.most_common(1)[0]
    return f"{said}: {number:,} of them {_describe_place(str(kind), states)}"


def _describe_place(kind: str, states: tuple[str, ...]) -> str:
    if kind == "stay":
        return f"stay in {safe_text(states[0], 40)}"
    if kind == "shuttle":
        return f"go back and forth between {' and '.join(shorten_states(states, 40))}"
    return f"go round {join_states((*states, states[0]))}"


def about_repetition(found: RepetitionReport) -> Iterator[str]:
    """Yield a sentence for each of the first findings, or one that says that there is none."""
    for finding in found.findings[:_TOLD]:
        names = (run.name if run.name is None else safe_text(run.name, 40) for run in finding.runs)
        runs = (replace(run, name=name) for run, name in zip(finding.runs, names, strict=True))
        safe = replace(finding, states=shorten_states(finding.states), runs=tuple(runs))
        yield f"{safe.describe()}."
    if not found.findings and found.good and found.failed:
        yield replace(found, limits=()).describe()


def repetition_section(found: RepetitionReport) -> Section | None:
    """Return where runs repeat themselves too much; None where none does."""
    if not found.findings:
        return None
    rows = tuple(
        (
            _describe_place(finding.kind, finding.states),
            f"{len(finding.runs):,}",
            count_noun(max(run.times for run in finding.runs), _UNITS[finding.kind]),
            f"{finding.test.bound:.0f}",
            f"{sum(run.after or 0 for run in finding.runs):,}",
            _show_evidence(finding),
        )
        for finding in found.findings
    )
    note = (
        f"good: what {found.content:.0%} of good runs keep to, with confidence "
        f"{found.confidence:.0%}, from {count_noun(found.units, 'run or block')}. after: moves "
        "after the onset. fact: runs that stopped failed or at the limit while the same call got "
        "the same answer. rule: a stated limit, for there are too few good runs to compare with."
    )
    columns = ("runs that", "runs", "up to", "good", "after", "evidence")
    words = ("runs that", "evidence")
    return Section("Where runs repeat themselves too much", columns, rows, note, words)


def _show_evidence(finding: RepetitionFinding) -> str:
    if finding.evidence != "contrast":
        return finding.evidence
    return f"p {format_pvalue(finding.test.pvalue)}"
