"""What `find_repetition` found, in the words of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
    import numpy as np
    from numpy.typing import NDArray

    from detailed_balance.analyzers import RepetitionFinding, RepetitionReport

_TOLD = 3
_UNITS = {"stay": "visit", "shuttle": "change", "cycle": "round"}


def count_repeating(found: RepetitionReport, finding: RepetitionFinding) -> str:
    """Say how many runs do what, in a part of a sentence that is safe to print."""
    number = len(finding.runs)
    how = _describe_place(finding.kind, finding.states, "" if number > 1 else _ONE[finding.kind])
    return f"{number:,} of {count_noun(found.runs, 'run')} {how}"


@dataclass(frozen=True, slots=True)
class LimitedRuns:
    """Runs that were stopped at the recursion limit, and what most of them repeated.

    Parameters
    ----------
    stopped, runs : int
        How many, of how many.
    kind : {"stay", "shuttle", "cycle"} or None
        What half of them or more did over and over, by the rules; None where there is no such
        thing.
    states : tuple of str
        Where.
    repeating : int
        How many did that.
    """

    stopped: int
    runs: int
    kind: str | None = None
    states: tuple[str, ...] = ()
    repeating: int = 0

    @classmethod
    def count(cls, found: RepetitionReport, places: NDArray[np.int64]) -> LimitedRuns:
        """Count those of some runs, by their places."""
        own = set(places.tolist())
        hit = [run for run in found.limits if run.place in own]
        repeated = Counter((run.kind, run.states) for run in hit if run.kind is not None)
        most = min(repeated.items(), key=lambda place: (-place[1], place[0]), default=None)
        if most is None or 2 * most[1] < len(hit):
            return cls(len(hit), len(own))
        (kind, states), number = most
        return cls(len(hit), len(own), kind, states, number)


def describe_stopped(found: LimitedRuns) -> str:
    """Say how many runs hit the recursion limit, and what most of them repeated."""
    said = f"{found.stopped:,} of {count_noun(found.runs, 'run')} hit the recursion limit"
    if found.kind is None:
        return said
    return f"{said}, {found.repeating:,} of them {_describe_place(found.kind, found.states, 'ing')}"


_ONE = {"stay": "s", "shuttle": "es", "cycle": "es"}
_VERBS = {"stay": "stay", "shuttle": "go", "cycle": "go"}


def _describe_place(kind: str, states: tuple[str, ...], ending: str = "") -> str:
    verb = f"{_VERBS[kind]}{ending}"
    if kind == "stay":
        return f"{verb} in {safe_text(states[0], 40)}"
    if kind == "shuttle":
        return f"{verb} back and forth between {' and '.join(shorten_states(states, 40))}"
    return f"{verb} round {join_states((*states, states[0]))}"


def about_repetition(found: RepetitionReport) -> Iterator[str]:
    """Yield a sentence for each of the first findings, or one that says that there is none."""
    for finding in found.findings[:_TOLD]:
        names = (run.name if run.name is None else safe_text(run.name, 40) for run in finding.runs)
        runs = (replace(run, name=name) for run, name in zip(finding.runs, names, strict=True))
        safe = replace(finding, states=shorten_states(finding.states), runs=tuple(runs))
        yield f"{safe.describe()}."
    if not found.findings and found.good and found.failed:
        yield replace(found, limits=()).describe()


def repetition_section(found: RepetitionReport, *, limit: int) -> Section | None:
    """Return where runs repeat themselves too much; None where none does."""
    if not found.findings:
        return None
    rows = tuple(
        (
            _describe_place(finding.kind, finding.states),
            f"{len(finding.runs):,}",
            count_noun(max(run.times for run in finding.runs), _UNITS[finding.kind]),
            f"{finding.test.bound:.0f}" if found.good else "-",
            f"{sum(run.after or 0 for run in finding.runs):,}",
            _show_evidence(finding),
        )
        for finding in found.findings[:limit]
    )
    more = len(found.findings) - len(rows)
    good = (
        f"good: what {found.content:.0%} of good runs keep to, with confidence "
        f"{found.confidence:.0%}, from {count_noun(found.units, 'run')} (or blocks of runs). "
    )
    note = (
        f"{good if found.good else ''}after: moves after the onset. fact: runs that stopped failed "
        "or at the limit while the same call got the same answer. rule: a stated limit, for there "
        "are too few good runs to compare with."
    )
    note += f" And {count_noun(more, 'more place')}." * (more > 0)
    columns = ("runs that", "runs", "up to", "good", "after", "evidence")
    words = ("runs that", "evidence")
    return Section("Where runs repeat themselves too much", columns, rows, note, words)


def _show_evidence(finding: RepetitionFinding) -> str:
    if finding.evidence != "contrast":
        return finding.evidence
    return f"p {format_pvalue(finding.test.pvalue)}"
