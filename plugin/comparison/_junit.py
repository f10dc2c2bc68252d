"""A comparison as tests: each question is one, which fails where something changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from detailed_balance.analyzers import Change, ComparisonTest, RunComparison, Violation
from detailed_balance.analyzers.comparison.result import QUESTIONS
from detailed_balance.diagnosis.finding import Finding
from detailed_balance.render.document import Verdict
from detailed_balance.render.formatting import count_noun, format_pvalue, join_states
from detailed_balance.render.junit import JUnitTest
from detailed_balance.report.run_sections import show_change

_KINDS = {
    "failure": "no fewer runs succeed",
    "limit": "no more runs reach the recursion limit",
    "repetition": "runs repeat themselves no more than before",
}
"""The kinds of findings that have a test of their own."""


def list_tests(
    found: RunComparison,
    verdict: Verdict,
    findings: Sequence[Finding],
    walked_more: Sequence[Violation],
    longer_stays: Sequence[Change],
    conditions: Collection[str],
) -> list[JUnitTest]:
    """Return the tests of some conditions; all texts are safe to print."""
    cases = [
        _problem_case(verdict),
        *_drift_cases(found),
        *(_kind_case(kind, words, findings) for kind, words in _KINDS.items()),
        _violation_case(walked_more),
        _trap_case(longer_stays),
    ]
    return [case for case in cases if case.condition in conditions]


def _problem_case(verdict: Verdict) -> JUnitTest:
    failure = verdict.statements[0].text if verdict.outcome == "worse" else ""
    return JUnitTest("problem", "B is not worse than A", failure)


def _kind_case(kind: str, words: str, findings: Sequence[Finding]) -> JUnitTest:
    titles = tuple(finding.title for finding in findings if kind in finding.kinds)
    return JUnitTest(kind, words, titles[0] if titles else "", titles[1:])


def _drift_cases(found: RunComparison) -> Iterator[JUnitTest]:
    for question, words in QUESTIONS.items():
        test = found.test(question)
        if test is None:
            skipped = "not tested: too little data, or nothing varies"
            yield JUnitTest("drift", words, skipped=skipped)
        else:
            yield JUnitTest("drift", words, *_failure(test))


def _violation_case(walked_more: Sequence[Violation]) -> JUnitTest:
    loops = tuple(join_states((*violation.loop, violation.loop[0])) for violation in walked_more)
    count = count_noun(len(loops), "driven loop")
    failure = f"{count} taken more than before" if loops else ""
    return JUnitTest("violation", "no driven loop is taken more than before", failure, loops)


def _trap_case(longer_stays: Sequence[Change]) -> JUnitTest:
    stays = tuple(map(show_change, longer_stays))
    failure = f"{count_noun(len(stays), 'stay')} longer than before" if stays else ""
    return JUnitTest("trap", "runs stay nowhere longer than before", failure, stays)


def _failure(test: ComparisonTest) -> tuple[str, tuple[str, ...]]:
    if not test.changed:
        return "", ()
    changed = [change for change in test.changes if change.changed]
    what = count_noun(len(changed), "thing") if changed else "no single change, but the whole"
    return f"{what} changed, adjusted p {format_pvalue(test.adjusted)}", tuple(
        map(show_change, changed)
    )
