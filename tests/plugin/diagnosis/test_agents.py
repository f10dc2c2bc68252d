"""Each scripted agent is told what is wrong with it, or that nothing is, however it is recorded."""

from functools import cache

import pytest

from benchmarks.diagnosis.check import check
from benchmarks.diagnosis.faults import FAULTS
from benchmarks.diagnosis.healthy import HEALTHY
from benchmarks.diagnosis.later import LATER_FAULTS, LATER_HEALTHY

SAMPLE = [FAULTS[i] for i in (0, 2, 6, 11, 13, 15, 19, 23, 27)] + HEALTHY[2::6]
"""Some of each kind, but for runs that repeat themselves: where spans are written, shorter ones."""

each = pytest.mark.parametrize


check = cache(check)


def name(case):
    return case.name


@each("case", [*FAULTS, *LATER_FAULTS], ids=name)
def test_a_fault_is_named_first_with_its_place_and_its_runs(case):
    answer = check(case)
    assert answer.right, f"{answer.marks()}\n{answer.verdict}\n{answer.findings}"


@each("case", [*HEALTHY, *LATER_HEALTHY], ids=name)
def test_a_healthy_agent_is_no_problem(case):
    answer = check(case)
    assert answer.right, f"{answer.marks()}\n{answer.verdict}"


@each("surface", ["handler", "jsonl", "monitor"])
@each("case", [*SAMPLE, FAULTS[4]], ids=name)
def test_the_same_is_found_however_the_agent_is_recorded(case, surface):
    expected, found = check(case), check(case, surface)
    assert found.what == expected.what, f"{found.verdict}\n\n{expected.verdict}"


CANNOT_TELL = {
    "messages": {
        "an inner agent at its limit, the outer one goes on",
        "a tool that raises in 10 of 40 runs",
        "runs cancelled by a timeout",
        "states named by all arguments",
        "a function of states that fails",
    },
    "spans": {
        "an inner agent at its limit, the outer one fails",
        "states named by all arguments",
        "a function of states that fails",
    },
}
"""What a form of files does not hold: runs inside of others, calls that broke off, other names."""


@each("surface", CANNOT_TELL)
@each("case", [*SAMPLE, FAULTS[20]], ids=name)
def test_the_same_is_found_in_what_others_write(case, surface):
    expected, found = check(case), check(case, surface)
    if found is None:
        pytest.skip("this agent writes no messages")
    same = found.what == expected.what
    assert same is (case.name not in CANNOT_TELL[surface]), f"{found}\n\n{expected.verdict}"


def test_the_label_of_the_faulty_runs_is_named():
    (case,) = (case for case in FAULTS if case.name == "a new version that loops")
    differs = check(case).findings[0].differs
    assert "12 of the 30 runs with version=2, none of the 30 others" in differs


def test_there_are_30_faults_and_15_healthy_agents():
    assert (len(FAULTS), len(HEALTHY)) == (30, 15)
    assert len({case.name for case in [*FAULTS, *HEALTHY]}) == 45
