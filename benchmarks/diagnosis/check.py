"""What is said of a case, held against what should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.diagnosis.agents import Case
from benchmarks.diagnosis.surfaces import Recorded, record
from detailed_balance import Finding, analyze
from detailed_balance.render.document import Verdict

__all__ = ["Answer", "check"]


@dataclass(frozen=True)
class Answer:
    """What was said of a case, and whether word, kind, place and runs are right."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    word: bool
    kind: bool
    place: bool
    runs: bool

    @property
    def right(self) -> bool:
        """Whether all of it is."""
        return self.word and self.kind and self.place and self.runs

    def marks(self) -> list[str]:
        """Return a yes or a no for each."""
        return ["yes" if good else "no" for good in (self.word, self.kind, self.place, self.runs)]


def check(case: Case, surface: str = "store") -> Answer:
    """Play a case, and hold what is said first against what should be said."""
    with record(case, surface) as recorded:
        verdict, findings = ask(recorded, surface)
        return judge(case, recorded, verdict, findings)


def ask(recorded: Recorded, surface: str) -> tuple[Verdict, tuple[Finding, ...]]:
    """Return the first screen and the findings."""
    if surface == "monitor":
        from detailed_balance import Monitor

        with Monitor(recorded.source) as monitor:
            monitor.poll()
            status = monitor.status()
            return status.verdict, status.findings
    report = analyze(recorded.source, **recorded.options)
    return report.verdict, report.findings


def judge(case: Case, recorded: Recorded, verdict: Verdict, findings: Sequence[Finding]) -> Answer:
    """Return what was said, and whether it is right."""
    said = verdict.outcome.upper() in case.words
    if case.healthy:
        problems = any(finding.severity == "problem" for finding in findings)
        return Answer(verdict, tuple(findings), said, not problems, True, True)
    if not findings:
        return Answer(verdict, (), said, False, False, False)
    first = findings[0]
    runs = {recorded.root_of(run) for run in first.runs}
    return Answer(
        verdict,
        tuple(findings),
        word=said,
        kind=not set(case.kinds).isdisjoint(first.kinds),
        place=frozenset(first.place) in case.places,
        runs=case.any_runs or runs == recorded.faulty,
    )
