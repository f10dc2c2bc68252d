"""A comparison as JUnit's XML: each question is a test, which fails where something changed."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detailed_balance.analyzers.comparison.result import QUESTIONS, QuestionTest
from detailed_balance.render.formatting import count_noun, format_pvalue, join_states
from detailed_balance.report.run_sections import show_change

if TYPE_CHECKING:
    from detailed_balance.comparison.comparison import Comparison, Condition

__all__ = ["render_junit"]

_SUITE = "detailed-balance"


@dataclass(frozen=True, slots=True)
class _Case:
    condition: str
    name: str
    failure: str = ""
    details: tuple[str, ...] = ()
    skipped: str = ""


def render_junit(comparison: Comparison, conditions: Collection[Condition]) -> bytes:
    """Return the tests of some conditions as XML in UTF-8; all texts are safe to print."""
    comparison.failures(conditions)  # refuses unknown ones
    cases = [case for case in _cases(comparison) if case.condition in conditions]
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


def _cases(comparison: Comparison) -> Iterator[_Case]:
    for question, words in QUESTIONS.items():
        test = comparison.differences.ask(question)
        if test is None:
            skipped = "it could not be asked: too little data, or nothing that varies"
            yield _Case("drift", words, skipped=skipped)
        else:
            yield _Case("drift", words, *_failure(test))
    new = comparison.new_violations
    loops = tuple(join_states((*violation.loop, violation.loop[0])) for violation in new)
    driven = f"{count_noun(len(new), 'driven loop')} walked more than before" if new else ""
    yield _Case("violation", "no driven loop is walked more than before", driven, loops)
    stays = comparison.longer_stays
    longer = f"{count_noun(len(stays), 'stay')} longer than before" if stays else ""
    name = "runs stay nowhere longer than before"
    yield _Case("trap", name, longer, tuple(map(show_change, stays)))


def _failure(test: QuestionTest) -> tuple[str, tuple[str, ...]]:
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
