"""What a monitor is made of: its counts, its findings, its evidence, its runs."""

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from detailed_balance import Finding, RunTable, TransitionCounts, TransitionGraph
from detailed_balance.analyzers import BalanceMartingale, Outcome, Trajectory
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.callbacks.states.cardinality import OTHER
from detailed_balance.monitor import Alert, Observation
from detailed_balance.monitor._window_counts import WindowCounts
from detailed_balance.monitor.analysis._root_runs import RootRuns, RunFollower
from detailed_balance.monitor.analysis._run_rates import RunRates
from detailed_balance.monitor.analysis.alerts import AlertRegistry
from detailed_balance.monitor.analysis.base import AlphaSpending
from detailed_balance.monitor.analysis.restarting_tests import RestartingBalanceTest
from tests.support.walkers import Walker


def as_edges(counts: TransitionCounts) -> dict[tuple[str, str | None], int]:
    edges = counts.counts.tocoo()
    names = counts.states
    rows = zip(edges.row, edges.col, edges.data, strict=True)
    found: dict[tuple[str, str | None], int] = {(names[i], names[j]): int(n) for i, j, n in rows}
    escapes = zip(names, counts.escapes.tolist(), strict=True)
    return found | {(name, None): n for name, n in escapes if n}


def test_window_counts_hold_all_and_the_last_moves_whatever_the_increments() -> None:
    rng = random.Random(0)
    counter, moves = WindowCounts(window=37), []
    for _ in range(40):
        new = [
            (rng.choice("abcdef"), rng.choice(["a", "b", None])) for _ in range(rng.randrange(60))
        ]
        counter.add(new)
        moves += new
        assert as_edges(counter.counts()) == as_edges(count(moves))
        assert as_edges(counter.counts(recent=True)) == as_edges(count(moves[-37:]))
        assert counter.window_moves() == moves[-37:]


def count(moves: list[tuple[str, str | None]]) -> TransitionCounts:
    return TransitionCounts.from_edges((source, target, 1) for source, target in moves)


def test_the_window_is_the_same_after_a_restart() -> None:
    counter = WindowCounts(window=5)
    counter.add([("a", "b"), ("b", None), ("b", "c")])
    again = WindowCounts(window=5)
    again.start(counter.counts())
    again.fill_window(counter.window_moves())
    for recent in (False, True):
        assert as_edges(again.counts(recent=recent)) == as_edges(counter.counts(recent=recent))


def test_states_beyond_the_limit_are_counted_as_one() -> None:
    counter = WindowCounts(window=10, max_states=3)
    counter.add([("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "a")])
    assert as_edges(counter.counts()) == {
        ("a", "b"): 1,
        ("b", "c"): 1,
        ("c", OTHER): 1,
        (OTHER, OTHER): 1,
        (OTHER, "a"): 1,
    }


def see(title: str = "", *, end: str = "", affected: int = 1, **more: Any) -> Observation:
    finding = Finding("repetition", "watch", title, ("a", "b"), affected=affected, total=9)
    return Observation(replace(finding, **more), end)


def test_a_finding_is_raised_once_updated_on_news_and_resolved_once() -> None:
    registry = AlertRegistry()
    reported = [
        [event.what for event in registry.record([seen], now=float(now))]
        for now, seen in enumerate(
            [
                see("first", affected=3),
                see("one run more", affected=4),
                see("twice as many", affected=6),
                see("worse", affected=6, severity="problem"),
                see("a limit too", affected=6, severity="problem", also=("limit",)),
                see("no limit now", affected=6, severity="problem"),
                see(end="it is over"),
                see(end="it is over"),
                see("again"),
            ]
        )
    ]
    news = [["updated"], ["updated"], ["updated"], []]
    assert reported == [["raised"], [], *news, ["resolved"], [], ["raised"]]
    (alert,) = registry.alerts()
    assert (alert.raised, alert.updated, alert.finding.title) == (8.0, 8.0, "again")


def test_a_repetition_that_becomes_a_limit_is_the_same_alert() -> None:
    registry = AlertRegistry()
    (raised,) = registry.record([see("3 runs")], now=1.0)
    limit = Finding("limit", "problem", "1 run", ("b", "a"), also=("repetition",))
    (updated,) = registry.record([Observation(limit)], now=2.0)
    assert (updated.what, updated.alert.id) == ("updated", raised.alert.id)
    (over,) = registry.record([Observation(limit, "it is over")], now=3.0)
    assert (over.what, over.alert.id, over.alert.raised) == ("resolved", raised.alert.id, 1.0)


def test_findings_of_two_agents_are_two_alerts() -> None:
    registry = AlertRegistry()
    events = registry.record([see("x", graph="one"), see("x", graph="two")], now=1.0)
    assert [event.what for event in events] == ["raised", "raised"]


def test_resolved_alerts_are_kept_in_bounds_and_open_ones_all() -> None:
    registry = AlertRegistry()
    for i in range(300):
        place = (str(i),)
        registry.record([see(place=place)], now=float(i))
        if i >= 50:
            registry.record([see(place=place, end="over")], now=float(i))
    found = registry.alerts()
    assert [alert.is_open for alert in found] == [True] * 50 + [False] * 100
    assert min(alert.raised for alert in found[50:]) == 200.0


def test_the_registry_survives_json_with_any_state_key() -> None:
    registry = AlertRegistry()
    keys = ("<script>", "\x1b[31m", "\ud800", "\x00", "\u202eevil")
    registry.record([see("a title", place=keys, runs=keys)], now=1.0)
    again = AlertRegistry.from_dict(json.loads(json.dumps(registry.to_dict())))
    assert again.alerts() == registry.alerts()
    assert again.record([see("a title", place=keys, runs=keys)], now=2.0) == []


@pytest.mark.parametrize(
    "change",
    [
        {"id": 3},
        {"status": "closed"},
        {"raised": "now"},
        {"end": None},
        {"more": 1},
        {"finding": None},
        {"finding": {"kind": "nonsense", "severity": "watch", "title": ""}},
    ],
)
def test_what_is_no_alert_is_refused(change: dict[str, object]) -> None:
    alert = Alert("1f", Finding("trap", "watch", "s", ("a",)), "open", 1.0, 1.0)
    with pytest.raises(InvalidInputError, match="this is not a"):
        Alert.from_dict({**alert.to_dict(), **change})


def test_the_levels_of_all_looks_add_up_to_alpha() -> None:
    looks, spent, total = AlphaSpending(), 0.0, 0
    while looks.number < 2_000:
        total += 50
        if looks.due(total, held=min(total, 1_000)):
            spent += looks.level(0.05)
    assert 0.0499 < spent < 0.05


def test_the_evidence_is_that_of_the_martingale_fed_in_the_same_order() -> None:
    evidence, alone = RestartingBalanceTest(0.05), BalanceMartingale(0.05)
    for _ in range(5):
        moves = [(m.trajectory, m.source, m.target) for m in Walker(1).walk(300, driven=True)]
        evidence.update(moves)
        for move in moves:
            alone.update(*move)
    assert evidence.log_e_value == alone.log_e_value != 0.0


def feed(evidence: RestartingBalanceTest, walker: Walker, steps: int, *, driven: bool) -> None:
    evidence.update((m.trajectory, m.source, m.target) for m in walker.walk(steps, driven=driven))


def test_a_second_test_is_quiet_only_when_the_agent_is_driven_no_more() -> None:
    evidence, walker, total = RestartingBalanceTest(0.05), Walker(2), 0
    quiet = []
    for driven in (False,) * 10 + (True,) * 40 + (False,) * 80:
        feed(evidence, walker, 50, driven=driven)
        total += 50
        evidence.check(float(total), total)
        quiet.append(evidence.alarm and evidence.quiet)
    assert evidence.alarm
    assert evidence.renewed >= 2
    assert not any(quiet[:50])
    assert quiet[-1]
    evidence.take_over()
    assert not evidence.alarm


def test_the_evidence_goes_on_after_a_restart_as_if_nothing_had_happened() -> None:
    evidence, walker = RestartingBalanceTest(0.05), Walker(3)
    feed(evidence, walker, 1_000, driven=True)
    evidence.check(1.0, 1_000)
    again = RestartingBalanceTest.from_dict(json.loads(json.dumps(evidence.to_dict())))
    moves = list(walker.walk(500, driven=True))
    for one in (evidence, again):
        one.update((m.trajectory, m.source, m.target) for m in moves)
        one.check(2.0, 1_500)
    assert again.to_dict() == evidence.to_dict()
    assert again.points()[-1] == (2.0, 1_500, evidence.log_e_value)


def test_the_points_of_the_evidence_stay_in_bounds() -> None:
    evidence = RestartingBalanceTest(0.05)
    for i in range(10_000):
        evidence.check(float(i), i)
    times = [time for time, _, _ in evidence.points()]
    assert 400 <= len(times) <= 1_000
    assert times == sorted(times)
    assert times[0] < 100 < 9_900 < times[-1]


def make_run(name: str, outcome: Outcome | None, *states: str, **more: Any) -> Trajectory:
    success = None if outcome is None else outcome.success
    moves = tuple(zip(("__start__", *states), states, strict=False))
    return Trajectory(moves, name, outcome, success, run=name, **more)


def look(*runs: Trajectory) -> RootRuns:
    return RootRuns.of(RunTable.of(runs))


def test_each_run_that_stops_is_told_once_in_the_order_in_which_they_began() -> None:
    stopped = RunFollower()
    one, two = make_run("1", None, "a"), make_run("2", Outcome.FAILED, "a")
    assert stopped.update(look(one, two)).tolist() == []  # the first may fail later too
    ended = make_run("1", Outcome.ENDED, "a")
    assert stopped.update(look(ended, two)).tolist() == [0, 1]
    again = RunFollower()
    again.restore(json.loads(json.dumps(stopped.to_dict())))
    assert again.update(look(ended, two)).tolist() == []
    late = [make_run(str(i), Outcome.ENDED, "a") for i in range(3, 23)]
    assert stopped.update(look(ended, two, make_run("x", None, "a"), *late)).tolist() == [
        *range(3, 23)
    ]  # it holds up no more than 20


def test_root_runs_are_counted_with_what_ran_inside_them() -> None:
    outer = make_run("1", Outcome.ENDED, "a")
    inner = make_run("2", Outcome.RECURSION_LIMIT, *"bc" * 8, parent="1")
    waiting = make_run("3", Outcome.INTERRUPTED, "a")
    found = look(outer, inner, waiting)
    assert found.places.tolist() == [0, 2]
    assert found.stopped[found.places].tolist() == [True, False]
    assert found.repeating[found.places].tolist() == [True, False]
    assert not found.limited[0]  # it was the limit of the graph inside


def test_steps_that_bring_something_new_are_no_repetition() -> None:
    work = tuple(StepFacts(call=i, answer=i) for i in range(30))
    stuck = tuple(StepFacts(call=0, answer=0, repeats=i > 0, stale=i > 0) for i in range(30))
    runs = [
        make_run(str(i), Outcome.ENDED, *"a" * 30, facts=f) for i, f in enumerate((work, stuck))
    ]
    assert look(*runs).repeating.tolist() == [False, True]


def outcomes(rng: random.Random, number: int, rate: float, prefix: str) -> RootRuns:
    return look(
        *(
            make_run(f"{prefix}{i}", Outcome.FAILED if rng.random() < rate else Outcome.ENDED, "a")
            for i in range(number)
        )
    )


def test_a_rate_that_rises_is_seen_and_its_end_too_against_a_baseline() -> None:
    rng = random.Random(1)
    rates = RunRates(0.05, outcomes(rng, 200, 0.05, "usual"), None)
    seen = []
    for phase, rate in enumerate((0.05, 0.4, 0.05)):
        found = outcomes(rng, 120, rate, f"{phase}-")
        rates.update(found, found.places)
        rates = again(rates)
        seen.append([what for what, _, _ in rates.alarms()])
        if phase == 1:
            ((_, _, test),) = rates.alarms()
            assert test.describe("failed").startswith("runs that fail: ")
            assert test.describe("failed").endswith("at most 13% before")
    assert seen == [[], ["failed"], []]


def again(rates: RunRates) -> RunRates:
    """Return them after a restart."""
    restored = RunRates(0.05, None, None)
    restored.restore(json.loads(json.dumps(rates.to_dict())))
    return restored


def test_a_rate_that_stays_is_no_alarm_more_often_than_alpha() -> None:
    rng, alarms = random.Random(2), 0
    for _ in range(100):
        rates, found = RunRates(0.05, None, None), outcomes(rng, 400, 0.1, "")
        rates.update(found, found.places)
        alarms += any(test.main.alarm for test in rates.tests.values())
    assert alarms <= 10  # with probability 99% or more at a level of 5%


def test_a_subscriber_hears_every_move_in_order_and_others_cost_nothing() -> None:
    graph = TransitionGraph()
    graph.record("a", "b")
    with graph.subscribe(context={"v": "1"}) as subscription:
        assert len(subscription.before) == 0
        for i in range(5):
            graph.record(f"s{i}", f"s{i + 1}", trajectory="run", context={"v": "1"})
        assert [move[:3] for move in subscription.pop()] == [
            (f"s{i}", f"s{i + 1}", "run") for i in range(5)
        ]
    graph.record("b", "c")
    assert list(subscription.pop()) == []


def test_moves_that_nobody_takes_in_time_are_counted_as_lost() -> None:
    graph = TransitionGraph()
    subscription = graph.subscribe(capacity=3)
    for i in range(5):
        graph.record(f"s{i}", "end")
    assert [move[0] for move in subscription.pop()] == ["s2", "s3", "s4"]
    assert subscription.lost == 2
