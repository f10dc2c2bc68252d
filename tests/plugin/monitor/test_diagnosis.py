"""The analyzer of runs: how often it is wrong, and what it says again or no more."""

import json
import random
import time
from types import SimpleNamespace
from typing import Any

import pytest
from scipy.stats import fisher_exact

from detailed_balance import Finding, RunTable
from detailed_balance.analyzers import Outcome, Trajectory, TransitionCounts
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.monitor import View
from detailed_balance.monitor.analysis import _diagnosis
from detailed_balance.monitor.analysis._diagnosis import DiagnosisAnalyzer
from detailed_balance.monitor.analysis.alerts import AlertRegistry, Event
from detailed_balance.monitor.analysis.restarting_tests import RestartingBalanceTest
from detailed_balance.sources.baseline import Baseline

ALPHA = 0.05


def make_run(number: int, *, failed: bool, state: str = "a") -> Trajectory:
    outcome = Outcome.FAILED if failed else Outcome.ENDED
    moves = (("__start__", state), (state, None if failed else "__end__"))
    return Trajectory(moves, f"t{number}", outcome, outcome.success, run=f"t{number}")


class Watched:
    """Runs that one analyzer looks at, and the alerts that follow."""

    def __init__(self, analyzer: DiagnosisAnalyzer | None = None) -> None:
        self.analyzer, self.registry = analyzer or DiagnosisAnalyzer(), AlertRegistry()
        self.runs: list[Trajectory] = []

    def look(self) -> list[Event]:
        counts = TransitionCounts.from_edges([])
        view = View(
            time.time(),
            ALPHA,
            2 * len(self.runs),
            2 * len(self.runs),
            RestartingBalanceTest(ALPHA),
            self.registry,
            lambda: (counts, counts),
            Baseline(),
            lambda: RunTable.of(self.runs),
            news=sum(len(run) + (run.outcome is not None) for run in self.runs),
        )
        return self.registry.record(list(self.analyzer.check(view)), now=time.time())


def report(*findings: Finding) -> Any:
    return SimpleNamespace(findings=tuple(f for f in findings if f.affected), verdict=None)


def find_failing(table: RunTable, kind: str, **more: Any) -> Finding:
    runs = tuple(run.name or "" for run in table if run.outcome is Outcome.FAILED)
    severity = more.pop("severity", "problem")
    return Finding(kind, severity, "they fail", ("a",), runs, len(runs), len(table), **more)  # type: ignore[arg-type]


def test_no_number_of_looks_raises_false_alarms_more_often_than_alpha(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    smallest = [1.0]

    def look_at(table: RunTable, view: View, alpha: float) -> Any:
        failed, in_b = table.success == 0, table.target[table.offsets[:-1]] == table.code("b")
        cells = [[(f & b).sum() for f in (failed, ~failed)] for b in (in_b, ~in_b)]
        pvalue = float(fisher_exact(cells).pvalue)
        smallest[0] = min(smallest[0], pvalue)
        return report(*[find_failing(table, "failure", pvalue=pvalue)] * (pvalue <= alpha))

    monkeypatch.setattr(_diagnosis, "_report", look_at)
    rng, raised, without = random.Random(0), 0, 0
    for _ in range(60):
        watched, smallest[0] = Watched(), 1.0
        for _ in range(15):
            first = len(watched.runs)
            watched.runs += [
                make_run(number, failed=rng.random() < 0.3, state=rng.choice("ab"))
                for number in range(first, first + 6)
            ]
            watched.look()
        raised += any(alert.finding.kind == "failure" for alert in watched.registry.alerts())
        without += smallest[0] <= ALPHA
    most = 7  # of 60, with probability 99% at a level of 5%
    assert raised <= most < without


def test_a_fact_is_raised_at_any_look_and_a_tested_finding_when_it_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for kind, pvalue, looks in (("limit", 1e-9, 1), ("repetition", 1e-9, 2)):
        monkeypatch.setattr(
            _diagnosis,
            "_report",
            lambda table, view, alpha, k=kind, p=pvalue: report(find_failing(table, k, pvalue=p)),
        )
        watched, taken = Watched(), 0
        while not watched.registry.alerts():
            first = len(watched.runs)
            watched.runs += [make_run(n, failed=n == 0) for n in range(first, first + 5)]
            watched.look()
            taken += 1
        assert taken == looks  # tests begin with ten runs


def test_what_is_over_comes_back_by_new_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        _diagnosis, "_report", lambda table, view, alpha: report(find_failing(table, "limit"))
    )
    watched, reported = Watched(), []
    for failed, runs in ((1, 10), (0, 49), (0, 1), (0, 100), (1, 1)):
        first = len(watched.runs)
        watched.runs += [make_run(first + n, failed=n < failed) for n in range(runs)]
        reported.append([event.what for event in watched.look()])
        state = json.loads(json.dumps(watched.analyzer.to_dict()))  # a restart changes nothing
        watched.analyzer = DiagnosisAnalyzer()
        watched.analyzer.restore(state)
    assert reported == [["raised"], [], ["resolved"], [], ["raised"]]


def test_a_finding_that_gets_worse_by_a_test_waits_for_a_look_that_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    severity = ["watch"]

    def look_at(table: RunTable, view: View, alpha: float) -> Any:
        pvalue = {} if severity[0] == "watch" else {"pvalue": 1e-9}
        return report(find_failing(table, "failure", severity=severity[0], **pvalue))

    monkeypatch.setattr(_diagnosis, "_report", look_at)
    watched, seen = Watched(), []
    for runs in (20, 1, 9):  # the first and the last look are due
        first = len(watched.runs)
        watched.runs += [make_run(n, failed=n % 3 == 0) for n in range(first, first + runs)]
        watched.look()
        seen.append(watched.registry.alerts()[0].finding.severity)
        severity[0] = "problem"
    assert seen == ["watch", "watch", "problem"]


def test_an_open_run_that_gets_nowhere_is_raised_while_it_goes_on() -> None:
    watched, reported = Watched(), []
    watched.runs = [make_run(n, failed=False) for n in range(25)]
    for idle, stopped in ((4, False), (9, False), (14, False), (14, False), (20, True)):
        watched.runs[25:] = [make_polling_run("stuck", idle, new=False, stopped=stopped)]
        watched.runs[26:] = [make_polling_run("works", idle, new=True, stopped=stopped)]
        reported += [(event.what, event.finding) for event in watched.look()]
    assert [what for what, _ in reported] == ["raised", "updated", "updated"]
    early, raised, limit = (finding for _, finding in reported)
    assert (early.severity, early.runs) == ("watch", ("stuck",))  # by the rule of 10 visits
    assert (raised.kind, raised.place, raised.runs) == ("repetition", ("bash",), ("stuck",))
    assert raised.severity == "problem"
    assert raised.title.startswith("1 of 2 open runs gets nowhere now in bash: the last 14 steps")
    assert limit.kinds == ("limit", "repetition")


def test_an_open_run_that_recovers_is_resolved_and_one_that_is_dead_is_not_raised() -> None:
    watched, reported = Watched(), []
    for idle, new in ((4, False), (14, False), (14, True)):
        watched.runs = [
            make_polling_run("stuck", idle, new=new, stopped=False),
            make_polling_run("dead", 30, new=False, stopped=False),
        ]
        reported += [(event.what, event.finding.runs) for event in watched.look()]
    assert reported == [("raised", ("stuck",)), ("resolved", ("stuck",))]


def make_polling_run(name: str, idle: int, *, new: bool, stopped: bool) -> Trajectory:
    moves = (("__start__", "plan"), ("plan", "bash"), *[("bash", "bash")] * idle)
    stale = StepFacts(call=1, answer=1, repeats=True, stale=True)
    facts = [StepFacts(), StepFacts(call=1, answer=1), *[stale] * idle]
    if new:
        facts[-1] = StepFacts(call=9, answer=9)
    outcome = Outcome.RECURSION_LIMIT if stopped and not new else Outcome.ENDED
    how = (outcome, outcome.success) if stopped else (None, None)
    return Trajectory(moves, name, *how, run=name, facts=tuple(facts))
