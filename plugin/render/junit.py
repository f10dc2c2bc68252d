"""Tests as JUnit's XML, which pipelines show."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["JUnitTest", "render_junit"]

_SUITE = "detailed-balance"


@dataclass(frozen=True, slots=True)
class JUnitTest:
    """One test of a suite.

    Parameters
    ----------
    condition : str
        What it belongs to, as a gate calls it.
    name : str
        What it claims.
    failure : str
        Why it does not hold, in one line; empty where it does.
    details : tuple of str
        More lines.
    skipped : str
        Why it was not made; empty where it was.
    """

    condition: str
    name: str
    failure: str = ""
    details: tuple[str, ...] = ()
    skipped: str = ""


def render_junit(tests: Sequence[JUnitTest]) -> bytes:
    """Return tests as XML in UTF-8; their texts must be safe to print.

    Examples
    --------
    >>> print(render_junit([JUnitTest("limit", "no limit is reached")]).decode())
    <?xml version='1.0' encoding='utf-8'?>
    <testsuites name="detailed-balance" tests="1" failures="0" errors="0" skipped="0" time="0">
      <testsuite name="detailed-balance" tests="1" failures="0" errors="0" skipped="0" time="0">
        <testcase classname="detailed-balance.limit" name="no limit is reached" time="0" />
      </testsuite>
    </testsuites>
    <BLANKLINE>
    """
    numbers = {
        "tests": str(len(tests)),
        "failures": str(sum(bool(test.failure) for test in tests)),
        "errors": "0",
        "skipped": str(sum(bool(test.skipped) for test in tests)),
        "time": "0",
    }
    root = ET.Element("testsuites", {"name": _SUITE, **numbers})
    suite = ET.SubElement(root, "testsuite", {"name": _SUITE, **numbers})
    for test in tests:
        _add(suite, test)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _add(suite: ET.Element, test: JUnitTest) -> None:
    names = {"classname": f"{_SUITE}.{test.condition}", "name": test.name, "time": "0"}
    element = ET.SubElement(suite, "testcase", names)
    if test.skipped:
        ET.SubElement(element, "skipped", {"message": test.skipped})
    elif test.failure:
        failure = ET.SubElement(
            element, "failure", {"message": test.failure, "type": test.condition}
        )
        failure.text = "\n".join((test.failure, *test.details))
