"""Runs that wait for a person, that were abandoned, or of which calls were turned down."""

from itertools import pairwise

import pytest

from detailed_balance import analyze
from detailed_balance.analyzers import END, START, Outcome, Trajectory

HOUR = 3600.0


def make_run(name, states, outcome=Outcome.ENDED, started=None, took=60.0):
    path = [START, *states, *([END] if outcome is Outcome.ENDED else [])]
    ended = None if started is None else started + took
    moves = tuple(pairwise(path))
    return Trajectory(moves, name, outcome, outcome.success, run=name, started=started, ended=ended)


def waiting(number, states=("draft",), **settings):
    return [make_run(f"w{i}", states, Outcome.INTERRUPTED, **settings) for i in range(number)]


def found(runs, kind):
    return [finding for finding in analyze(runs).findings if finding.kind == kind]


def test_five_runs_that_nobody_answers_are_found_and_four_are_not():
    (finding,) = found(waiting(5), "waiting")
    assert (finding.severity, finding.place, finding.affected) == ("watch", ("draft",), 5)
    assert "nobody has answered one" in finding.title
    assert found(waiting(4), "waiting") == []


def test_a_conversation_waits_for_its_next_question():
    assert found(waiting(9, ("human", "bot", "human", "bot")), "waiting") == []
    assert found([*waiting(9, ("bot",)), *waiting(1, ("bot", "bot"))], "waiting") == []


def test_where_others_went_on_only_those_count_that_wait_longer():
    answered = [
        make_run(f"a{i}", ("draft", "send"), started=i * HOUR, took=HOUR) for i in range(10)
    ]
    early, late = waiting(5, started=0.0), waiting(5, started=9.5 * HOUR)
    (finding,) = found([*answered, *early], "waiting")
    assert {*finding.runs} == {run.name for run in early}
    assert "longer than any other took" in finding.title
    assert found([*answered, *late], "waiting") == []
    assert found([*answered, *waiting(5)], "waiting") == []  # nobody knows how long


@pytest.mark.parametrize(("abandoned", "of", "said"), [(5, 100, 1), (4, 20, 0), (5, 101, 0)])
def test_five_abandoned_runs_that_are_a_twentieth_of_all_are_found(abandoned, of, said):
    runs = [make_run(f"r{i}", ("search", "read")) for i in range(of - abandoned)]
    runs += [make_run(f"x{i}", ("search",), Outcome.ABANDONED) for i in range(abandoned)]
    findings = found(runs, "failure")
    assert [finding.affected for finding in findings] == [abandoned] * said
    assert [finding.place for finding in findings] == [("search",)] * said


def test_a_call_turned_down_after_several_in_a_row_is_a_limit_and_a_single_one_is_not():
    good = [make_run(f"r{i}", ("search", "model")) for i in range(20)]
    cut = make_run("cut", ("search",) * 3 + ("search!refused", "model"))
    (finding,) = found([*good, cut], "limit")
    assert (finding.severity, finding.place, finding.runs) == ("watch", ("search",), ("cut",))
    asked = make_run("asked", ("read", "search", "search", "search!refused", "model"))
    assert found([*good, asked], "limit") == []
