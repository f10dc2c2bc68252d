"""What a monitor is made of: its counts, its findings, its evidence, its runs."""

import json
import random

import pytest

from detailed_balance import TransitionCounts, TransitionGraph
from detailed_balance.analyzers import BalanceMartingale, Outcome
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks import Ending
from detailed_balance.callbacks.states.cardinality import OTHER
from detailed_balance.monitor import Finding, Observation
from detailed_balance.monitor._run_assembler import RunAssembler
from detailed_balance.monitor._window_counts import WindowCounts
from detailed_balance.monitor.analysis.base import AlphaSpending
from detailed_balance.monitor.analysis.findings import FindingRegistry, finding_id
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


def test_a_finding_is_raised_once_updated_on_news_and_resolved_once() -> None:
    registry = FindingRegistry()
    reported = [
        [event.what for event in registry.record([seen], now=float(now))]
        for now, seen in enumerate(
            [
                Observation("trap", ("a",), "first"),
                Observation("trap", ("a",), "the numbers moved"),
                Observation("trap", ("a",), "worse", severity="alarm"),
                Observation("trap", ("a",), "other", severity="alarm", news="another kind"),
                Observation("trap", ("a",), gone=True),
                Observation("trap", ("a",), gone=True),
                Observation("trap", ("a",), "again"),
            ]
        )
    ]
    assert reported == [["raised"], [], ["updated"], ["updated"], ["resolved"], [], ["raised"]]
    (finding,) = registry.findings()
    assert (finding.raised, finding.updated, finding.sentence) == (6.0, 6.0, "again")


def test_the_identity_of_a_finding_is_the_same_in_every_process() -> None:
    assert finding_id("violation", ("a", "b", "\ud800")) == "bf9a3a8bf1fc517a"


def test_resolved_findings_are_kept_in_bounds_and_open_ones_all() -> None:
    registry = FindingRegistry()
    for i in range(300):
        registry.record([Observation("trap", (str(i),))], now=float(i))
        if i >= 50:
            registry.record([Observation("trap", (str(i),), gone=True)], now=float(i))
    found = registry.findings()
    assert [finding.is_open for finding in found] == [True] * 50 + [False] * 100
    assert min(finding.raised for finding in found[50:]) == 200.0


def test_a_ledger_survives_json_with_any_state_key() -> None:
    registry = FindingRegistry()
    keys = ("<script>", "\x1b[31m", "\ud800", "\x00", "\u202eevil")
    registry.record([Observation("violation", keys, "a sentence", states=keys)], now=1.0)
    state = json.loads(json.dumps(registry.to_dict()))
    assert FindingRegistry.from_dict(state).findings() == registry.findings()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "nonsense"},
        {"severity": 3},
        {"status": "closed"},
        {"states": [1]},
        {"raised": "now"},
        {"sentence": None},
        {"details": [1]},
        {"more": 1},
    ],
)
def test_what_is_no_finding_is_refused(change: dict[str, object]) -> None:
    finding = Finding("1f", "trap", "open", "info", "s", ("a",), 1.0, 1.0)
    with pytest.raises(InvalidInputError, match="no finding"):
        Finding.from_dict({**finding.to_dict(), **change})


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


def test_runs_are_put_together_with_what_became_of_them() -> None:
    runs = RunAssembler()
    moves = [
        ("__start__", "a", "one", (), 1, None),
        ("__start__", "a", "two", (), 1, None),
        ("a", "b", "one", (), 1, None),
        ("a", None, "two", (), 1, None),
        ("b", "__end__", "one", (), 1, None),
        ("x", "y", "its start was not seen", (), 1, None),
    ]
    (one,) = runs.append(moves, [])
    assert (one.name, one.states, one.success) == ("one", ("a", "b"), True)
    ending = Ending("two", Outcome.FAILED, error="ValueError")
    (two,) = runs.append([], [ending, Ending("one", success=False)])
    assert (two.moves, two.success, two.error) == (
        (("__start__", "a"), ("a", None)),
        False,
        "ValueError",
    )
    assert runs.finished["one"].success is False
    assert runs.append([], [Ending("its start was not seen", Outcome.ENDED)]) == []


def test_runs_of_one_trajectory_are_put_together_by_their_ids() -> None:
    runs = RunAssembler()
    moves = [
        ("__start__", "a", "thread", (), 1, "A"),
        ("__start__", "b", "thread", (), 1, "B"),
        ("a", "__end__", "thread", (), 1, "A"),
    ]
    (first,) = runs.append(moves, [])
    assert (first.run, first.name, first.states) == ("A", "thread", ("a",))
    (second,) = runs.append([], [Ending("thread", Outcome.FAILED, run="B")])
    assert (second.run, second.success) == ("B", False)
    assert runs.append([("b", "__end__", "thread", (), 1, "B")], []) == []
    retried = runs.finished["B"]
    assert (retried.outcome, retried.states, len(retried)) == (Outcome.ENDED, ("b",), 2)
    runs.append([], [Ending("thread", success=False)])
    assert runs.finished["B"].success is False
    assert runs.finished["A"].success is True


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
