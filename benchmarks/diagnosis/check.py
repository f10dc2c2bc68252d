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
    """What was said of a case, and whether word, kind, place and runs are right.

    Parameters
    ----------
    verdict : Verdict
        The first screen.
    findings : tuple of Finding
        All that was found.
    what : frozenset
        The same by kind, states and runs, which should not depend on the surface.
    word, kind, place, runs : bool
        Whether they are right, the last three for the first finding.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    what: frozenset[tuple[str, frozenset[str], frozenset[str]]]
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


def check(case: Case, surface: str = "store") -> Answer | None:
    """Play a case, and hold what is said first against what should be said.

    None where the surface holds nothing of it: messages of agents that write none.
    """
    with record(case, surface) as recorded:
        if recorded.is_silent:
            return None
        verdict, findings = ask(recorded, surface)
        return judge(case, recorded, verdict, findings)


def ask(recorded: Recorded, surface: str) -> tuple[Verdict, tuple[Finding, ...]]:
    """Return the first screen and the findings."""
    if surface == "monitor":
        recorded.source.poll()
        status = recorded.source.status()
        return status.verdict, status.findings
    report = analyze(recorded.source, **recorded.options)
    return report.verdict, report.findings


def judge(case: Case, recorded: Recorded, verdict: Verdict, findings: Sequence[Finding]) -> Answer:
    """Return what was said, and whether it is right."""
    word = verdict.outcome.upper() in case.words
    named = [(finding, frozenset(map(recorded.root_of, finding.runs))) for finding in findings]

    def place_of(finding: Finding) -> frozenset[str]:
        return frozenset(map(recorded.state_of, finding.place))

    what = frozenset((found.kind, place_of(found), runs) for found, runs in named)
    kind = place = named_runs = case.healthy
    if case.healthy:
        word &= all(finding.severity == "watch" for finding in findings)
    elif named:
        first, runs = named[0]
        kind = not set(case.kinds).isdisjoint(first.kinds)
        place = case.any_runs or place_of(first) in case.places
        named_runs = case.any_runs or runs == recorded.faulty
    return Answer(verdict, tuple(findings), what, word, kind, place, named_runs)
