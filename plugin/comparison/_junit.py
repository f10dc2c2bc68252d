"""A comparison as JUnit's XML: each question is a test, which fails where something changed."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from detailed_balance.analyzers import Change, ComparisonTest, RunComparison, Violation
from detailed_balance.analyzers.comparison.result import QUESTIONS
from detailed_balance.diagnosis.finding import Finding
from detailed_balance.render.document import Verdict
from detailed_balance.render.formatting import count_noun, format_pvalue, join_states
from detailed_balance.report.run_sections import show_change

_SUITE = "detailed-balance"

_KINDS = {
    "failure": "no fewer runs succeed",
    "limit": "no more runs reach the recursion limit",
    "repetition": "runs repeat themselves no more than before",
}
"""The kinds of findings that have a test of their own."""


@dataclass(frozen=True, slots=True)
class _Case:
    condition: str
    name: str
    failure: str = ""
    details: tuple[str, ...] = ()
    skipped: str = ""


def render_junit(
    found: RunComparison,
    verdict: Verdict,
    findings: Sequence[Finding],
    walked_more: Sequence[Violation],
    longer_stays: Sequence[Change],
    conditions: Collection[str],
) -> bytes:
    """Return the tests of some conditions as XML in UTF-8; all texts are safe to print."""
    cases = [
        _problem_case(verdict),
        *_drift_cases(found),
        *(_kind_case(kind, words, findings) for kind, words in _KINDS.items()),
        _violation_case(walked_more),
        _trap_case(longer_stays),
    ]
    cases = [case for case in cases if case.condition in conditions]
    numbers = {
        "tests": str(len(cases)),
        "failures": str(sum(bool(case.failure) for case in cases)),
        "errors": "0",
        "skipped": str(sum(bool(case.skipped) for case in cases)),
        "time": "0",
    }
    root = ET.Element("testsuites", {"name": _SUITE, **numbers})
    suite = ET.SubElement(root, "testsuite", {"name": _SUITE, **numbers})
    for case in cases:
        _add(suite, case)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _problem_case(verdict: Verdict) -> _Case:
    failure = verdict.statements[0].text if verdict.outcome == "worse" else ""
    return _Case("problem", "B is not worse than A", failure)


def _kind_case(kind: str, words: str, findings: Sequence[Finding]) -> _Case:
    titles = tuple(finding.title for finding in findings if kind in finding.kinds)
    return _Case(kind, words, titles[0] if titles else "", titles[1:])


def _drift_cases(found: RunComparison) -> Iterator[_Case]:
    for question, words in QUESTIONS.items():
        test = found.test(question)
        if test is None:
            skipped = "it could not be asked: too little data, or nothing that varies"
            yield _Case("drift", words, skipped=skipped)
        else:
            yield _Case("drift", words, *_failure(test))


def _violation_case(walked_more: Sequence[Violation]) -> _Case:
    loops = tuple(join_states((*violation.loop, violation.loop[0])) for violation in walked_more)
    count = count_noun(len(loops), "driven loop")
    failure = f"{count} walked more than before" if loops else ""
    return _Case("violation", "no driven loop is walked more than before", failure, loops)


def _trap_case(longer_stays: Sequence[Change]) -> _Case:
    stays = tuple(map(show_change, longer_stays))
    failure = f"{count_noun(len(stays), 'stay')} longer than before" if stays else ""
    return _Case("trap", "runs stay nowhere longer than before", failure, stays)


def _failure(test: ComparisonTest) -> tuple[str, tuple[str, ...]]:
    if not test.changed:
        return "", ()
    changed = [change for change in test.changes if change.changed]
    what = count_noun(len(changed), "thing") if changed else "nothing single, but the whole"
    return f"{what} changed, adjusted p {format_pvalue(test.adjusted)}", tuple(
        map(show_change, changed)
    )


def _add(suite: ET.Element, case: _Case) -> None:
    names = {"classname": f"{_SUITE}.{case.condition}", "name": case.name, "time": "0"}
    element = ET.SubElement(suite, "testcase", names)
    if case.skipped:
        ET.SubElement(element, "skipped", {"message": case.skipped})
    elif case.failure:
        failure = ET.SubElement(
            element, "failure", {"message": case.failure, "type": case.condition}
        )
        failure.text = "\n".join((case.failure, *case.details))
