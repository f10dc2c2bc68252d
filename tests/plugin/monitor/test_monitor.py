"""`Monitor`: what it finds in a record that grows, and how a finding begins and ends."""

import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph

from detailed_balance import Finding, Monitor, TransitionGraph, TransitionStore
from detailed_balance.analyzers import BalanceMartingale, Trajectory
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.callbacks import TransitionCallbackHandler
from detailed_balance.monitor import Event, Observation, View, default_analyzers
from detailed_balance.sources.source import read_runs
from tests.support.walkers import Walker

PATIENCE = 300  # seconds, on a machine with much to do


def open_kinds(monitor: Monitor) -> set[str]:
    return {finding.kind for finding in monitor.status().findings}


def record(graph: TransitionGraph, walker: Walker, steps: int, *, driven: bool = False) -> None:
    for move in walker.walk(steps, driven=driven):
        graph.record(move.source, move.target, trajectory=move.trajectory)


class _Seen(TypedDict):
    steps: int


def make_agent(rng: random.Random, broken: threading.Event) -> Any:
    """Return an agent of three nodes that goes to any of them, or, broken, round and round."""
    names = ["plan", "search", "read"]
    graph = StateGraph(_Seen)

    def choose(state: _Seen, here: int) -> str:
        if state["steps"] >= 20:
            return END
        if broken.is_set() and rng.random() < 0.8:
            return names[(here + 1) % 3]
        return names[(here + rng.choice([1, 2])) % 3]

    for here, name in enumerate(names):
        graph.add_node(name, lambda state: {"steps": state["steps"] + 1})
        graph.add_conditional_edges(name, lambda s, here=here: choose(s, here), [*names, END])
    graph.add_edge(START, "plan")
    return graph.compile()


def test_a_driven_loop_in_a_live_agent_is_alarmed_and_resolved_after_the_fix() -> None:
    broken, events = threading.Event(), []
    usual, handler = TransitionCallbackHandler(), TransitionCallbackHandler()
    agent = make_agent(random.Random(5), broken)
    for _ in range(60):
        agent.invoke({"steps": 0}, {"callbacks": [usual], "recursion_limit": 50})
    monitor = Monitor(handler, baseline=usual, window=600, sinks=[events.append])

    def work(runs: int) -> None:
        for run in range(runs):
            agent.invoke({"steps": 0}, {"callbacks": [handler], "recursion_limit": 50})
            if run % 10 == 9:
                monitor.poll()

    work(30)
    assert events == []
    broken.set()
    work(40)
    found = {finding.kind: finding for finding in monitor.status().findings}
    assert found["driven"].place == ("plan", "search", "read")
    assert found["driven"].severity == "problem"
    broken.clear()
    work(80)
    reported = [event.what for event in events if event.finding.kind == "driven"]
    assert (reported[0], reported[-1]) == ("raised", "resolved")
    assert "driven" not in open_kinds(monitor)
    monitor.stop()


def test_a_restart_loses_no_evidence_and_tells_nothing_twice(tmp_path: Path) -> None:
    url, state, walker = f"sqlite:///{tmp_path}/runs.db", tmp_path / "state.json", Walker(7)
    first: list[Event] = []
    second: list[Event] = []
    with TransitionStore(url) as store:
        store.append(walker.walk(1_000, driven=True))
        monitor = Monitor(url, sinks=[first.append], state=state, window=400)
        monitor.stop()
        before = monitor.status()
        assert [event.finding.kind for event in first] == ["driven"]
        again = Monitor(url, sinks=[second.append], state=state, window=400)
        again.poll()
        after = again.status()
        assert second == []
        assert after.log_e_value == before.log_e_value > 3.0
        assert after.transitions == before.transitions == 1_000
        store.append(walker.walk(500, driven=True))
        again.poll()
        assert again.status().transitions == 1_500
        assert again.status().log_e_value > before.log_e_value
        again.stop()


def test_a_monitor_that_died_goes_on_from_the_last_state_it_wrote(tmp_path: Path) -> None:
    url, state, walker = f"sqlite:///{tmp_path}/runs.db", tmp_path / "state.json", Walker(8)
    with TransitionStore(url) as store:
        store.append(walker.walk(600, driven=True))
        dead = Monitor(url, state=state)
        dead.poll()  # an event: the state is written
        store.append(walker.walk(600, driven=True))
        dead.poll()  # no event, so what was read is not in the state
        events: list[Event] = []
        again = Monitor(url, state=state, sinks=[events.append])
        again.poll()
        assert [event.what for event in events] in ([], ["updated"])
        assert again.status().log_e_value == dead.status().log_e_value
        assert again.counts().total == dead.counts().total
        dead.stop()
        again.stop()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"format": 99}', "format is 99"),
        ('{"format": 1}', "does not fit"),
        ("[1]", "format is None"),
        ('{"format": 1, "source": "other", "context": []}', "its source is 'other'"),
    ],
)
def test_a_file_that_is_no_state_is_refused_with_a_reason(
    tmp_path: Path, text: str, message: str
) -> None:
    state = tmp_path / "state.json"
    state.write_text(text)
    with pytest.raises((ReadError, InvalidInputError), match=message):
        Monitor(TransitionGraph(), state=state)


def test_a_state_with_one_wrong_value_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    graph = TransitionGraph()
    record(graph, Walker(9), 200)
    monitor = Monitor(graph, state=state)
    monitor.stop()
    good = json.loads(state.read_text())
    for name in ("evidence", "registry", "window", "cursor"):
        for wrong in (None, 5, [], {}, {"main": 1}, {"findings": 3}, {"states": [1], "moves": []}):
            if name == "cursor" and wrong is None:
                continue
            state.write_text(json.dumps({**good, name: wrong}))
            with pytest.raises(InvalidInputError, match="does not fit"):
                Monitor(graph, state=state)


def test_the_moves_of_a_store_reach_the_test_in_the_order_of_each_run(tmp_path: Path) -> None:
    url, alone = f"sqlite:///{tmp_path}/runs.db", BalanceMartingale(0.05)
    moves = list(Walker(10, runs=7, ending=0.05).walk(3_000, driven=True))
    with TransitionStore(url) as store:
        monitor = Monitor(store)
        for start in range(0, len(moves), 170):
            store.append(moves[start : start + 170])
            monitor.poll()
        for move in moves:
            alone.update(str(move.trajectory), move.source, move.target)
        assert monitor.status().log_e_value == alone.log_e_value
        assert (monitor.counts().counts != store.counts().counts).nnz == 0
        monitor.stop()


def test_only_moves_with_the_labels_are_followed() -> None:
    graph = TransitionGraph()
    graph.record("a", "b", context={"model": "x"})
    monitor = Monitor(graph, context={"model": "x"})
    graph.record("b", "a", context={"model": "x", "version": "1"})
    graph.record("b", "c", context={"model": "y"})
    monitor.poll()
    assert monitor.status().transitions == 2
    assert monitor.status().context == (("model", "x"),)
    monitor.stop()


def test_a_trap_is_entered_and_left() -> None:
    graph, walker, events = TransitionGraph(), Walker(11), []
    monitor = Monitor(graph, window=500, sinks=[events.append])
    record(graph, walker, 400)
    monitor.poll()
    assert "trap" not in open_kinds(monitor)
    for _ in range(240):
        graph.record("read", "search", trajectory="stuck")
        graph.record("search", "read", trajectory="stuck")
    monitor.poll()
    (trap,) = [f for f in monitor.status().findings if f.kind == "trap"]
    assert trap.place == ("read", "search")
    assert monitor.status().traps[0]["states"] == ["read", "search"]
    for _ in range(4):
        record(graph, walker, 200)
        monitor.poll()
    reported = [event.what for event in events if event.finding.kind == "trap"]
    assert reported == ["raised", "resolved"]
    monitor.stop()


def test_an_id_in_the_state_key_is_named_as_the_mistake() -> None:
    graph = TransitionGraph()
    monitor = Monitor(graph)
    for i in range(400):
        graph.record(f"search 0000-{i:08d}", f"search 0000-{i + 1:08d}", trajectory="run")
    monitor.poll()
    (finding,) = [f for f in monitor.status().findings if f.kind == "cardinality"]
    assert "a timestamp or a long number seems to be in the keys" in finding.title
    monitor.stop()


def test_as_many_states_as_an_agent_has_are_no_explosion() -> None:
    graph, rng = TransitionGraph(), random.Random(1)
    monitor = Monitor(graph)
    for _ in range(5_000):
        graph.record(f"s{rng.randrange(400)}", f"s{rng.randrange(400)}", trajectory="run")
    monitor.poll()
    assert "cardinality" not in open_kinds(monitor)
    monitor.stop()


def test_losses_of_the_recorder_are_told() -> None:
    def fail(run: object) -> str:
        raise ValueError("no name for it")

    handler = TransitionCallbackHandler(states=fail)
    monitor = Monitor(handler)
    agent = make_agent(random.Random(5), threading.Event())
    agent.invoke({"steps": 10}, {"callbacks": [handler], "recursion_limit": 50})
    monitor.poll()
    (finding,) = [f for f in monitor.status().findings if f.kind == "loss"]
    assert "errors in the recorder" in finding.title
    assert monitor.status().lost == handler.faults > 0
    monitor.stop()


def test_a_source_that_goes_away_is_told_and_followed_again_when_it_is_back(
    tmp_path: Path,
) -> None:
    path, events = tmp_path / "runs.db", []
    with TransitionStore(f"sqlite:///{path}") as store:
        store.append(Walker(12).walk(100))
    monitor = Monitor(str(path), sinks=[events.append])
    monitor.poll()
    path.rename(tmp_path / "away.db")
    monitor.poll()
    monitor.poll()
    with TransitionStore(f"sqlite:///{path}") as store:  # another one in its place
        store.append(Walker(13).walk(50))
    monitor.poll()
    assert [(e.what, e.finding.kind) for e in events] == [("raised", "loss"), ("resolved", "loss")]
    assert "there is no store" in events[0].finding.title
    assert monitor.status().transitions == 150
    monitor.stop()


def test_a_state_of_a_store_that_was_made_anew_is_no_obstacle(tmp_path: Path) -> None:
    path, state = tmp_path / "runs.db", tmp_path / "state.json"
    for steps in (100, 40):  # the second time with fewer rows than the cursor says
        with TransitionStore(f"sqlite:///{path}") as store:
            store.append(Walker(12).walk(steps))
        monitor = Monitor(str(path), state=state)
        monitor.stop()
        assert monitor.status().transitions == steps
        assert open_kinds(monitor) == set()
        path.unlink()


def test_a_monitor_is_stopped_once_and_not_started_again() -> None:
    calls: list[str] = []

    class Sink:
        def emit(self, event: Event) -> None: ...

        def close(self) -> None:
            calls.append("closed")

    with Monitor(TransitionGraph(), sinks=[Sink()]) as monitor:
        pass
    monitor.stop()
    assert calls == ["closed"]
    with pytest.raises(InvalidInputError, match="started before"):
        monitor.start()


def test_another_kind_of_run_is_a_drift_and_the_usual_kind_again_ends_it(tmp_path: Path) -> None:
    usual = Walker(14, ending=0.2)
    with TransitionStore("sqlite://") as store:
        store.append(usual.walk(4_000))
        baseline = read_runs(store)
    graph, events = TransitionGraph(), []
    monitor = Monitor(graph, baseline=baseline, window=500, sinks=[events.append])
    record(graph, Walker(15, ending=0.2), 1_000)
    monitor.poll()
    assert "drift" not in open_kinds(monitor)
    record(graph, Walker(16, ending=0.02), 3_000, driven=True)
    monitor.poll()
    assert "drift" in open_kinds(monitor)
    for seed in range(6):
        record(graph, Walker(20 + seed, ending=0.2), 1_000)
        monitor.poll()
    reported = [(e.what, e.finding.severity) for e in events if e.finding.kind == "drift"]
    assert ("raised", "problem") in reported
    assert "drift" not in open_kinds(monitor)
    monitor.stop()


def test_a_loop_that_the_baseline_walks_as_often_is_no_finding() -> None:
    with TransitionStore("sqlite://") as store:
        store.append(Walker(17).walk(6_000, driven=True))
        counts = store.counts()
    graph = TransitionGraph()
    monitor = Monitor(graph, baseline=counts)
    record(graph, Walker(18), 2_000, driven=True)
    monitor.poll()
    assert monitor.status().alarm  # the live test knows no baseline
    assert open_kinds(monitor) == set()
    monitor.stop()


def test_an_analyzer_of_ones_own_is_run_and_a_broken_one_is_told() -> None:
    class Long:
        name, every = "long", 60.0

        def check(self, view: View) -> Iterator[Observation]:
            yield Observation(Finding("cardinality", "watch", f"{view.total} moves"))

    class Broken:
        name, every = "broken", 1.0

        def check(self, view: View) -> Iterator[Observation]:
            raise RuntimeError("\x1b[31mno")

    def sink(event: Event) -> None:
        raise OSError("a sink that fails")

    events: list[Event] = []
    graph = TransitionGraph()
    analyzers = [Broken(), Long(), *default_analyzers()]
    monitor = Monitor(graph, analyzers=analyzers, sinks=[sink, events.append])
    graph.record("a", "b")
    monitor.poll()
    assert [event.finding.title for event in events] == ["1 moves"]
    broken, long, *_ = monitor.status().analyses
    assert (broken.error, long.error) == ("RuntimeError: \\x1b[31mno", "")
    monitor.stop()


def test_an_analysis_that_takes_long_is_run_less_often_and_does_not_stop_the_reading() -> None:
    started, go_on = threading.Event(), threading.Event()

    class Slow:
        name, every = "slow", 0.01

        def check(self, view: View) -> Iterator[Observation]:
            started.set()
            go_on.wait(PATIENCE)
            yield from ()

    graph = TransitionGraph()
    graph.record("a", "b")
    with Monitor(graph, analyzers=[Slow()], every=0.01) as monitor:
        assert started.wait(PATIENCE)
        graph.record("b", "c")
        wait_until(lambda: monitor.status().transitions == 2)
        go_on.set()
        wait_until(lambda: monitor.status().analyses[0].ran is not None)
        (slow,) = monitor.status().analyses
        assert slow.every == max(0.01, 10 * slow.seconds)


def test_nothing_is_said_of_a_source_before_all_that_was_there_has_been_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    ran = threading.Event()

    class Seen:
        name, every = "seen", 0.05

        def check(self, view: View) -> Iterator[Observation]:
            seen.append(view.total)
            ran.set()
            yield from ()

    with TransitionStore("sqlite://") as store:
        store.append(Walker(19).walk(300))
        read_new = store.read_new

        def read_slowly(*args: Any, **kwargs: Any) -> Any:
            ran.wait(0.5)  # long enough for whatever does not wait for the first reading
            return read_new(*args, **kwargs)

        monkeypatch.setattr(store, "read_new", read_slowly)
        with Monitor(store, analyzers=[Seen()], every=0.05):
            assert ran.wait(PATIENCE)
    assert seen[0] == 300


def wait_until(claim: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_status_is_consistent_while_others_record() -> None:
    graph = TransitionGraph()
    done = threading.Event()

    def work(name: str) -> None:
        walker = Walker(1)
        while not done.is_set():
            for move in walker.walk(50):
                graph.record(move.source, move.target, trajectory=f"{name} {move.trajectory}")

    threads = [threading.Thread(target=work, args=(str(i),)) for i in range(3)]
    with Monitor(graph, every=0.01) as monitor:
        for thread in threads:
            thread.start()
        totals = []
        for _ in range(100):
            status = monitor.status()
            totals.append(status.transitions)
            assert status.escapes == 0
            assert status.edges <= status.states**2
            time.sleep(0.005)
        done.set()
        for thread in threads:
            thread.join()
    assert totals == sorted(totals)
    counted = graph.snapshot().total
    assert monitor.status().transitions + monitor.status().lost == counted


def test_a_growing_file_is_followed_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text('{"source": "a", "target": "b", "trajectory": "1"}\n{"source": "b", "tar')
    monitor = Monitor(str(path))
    monitor.poll()
    assert monitor.status().transitions == 1
    with path.open("a") as file:
        file.write('get": null}\nno line\n[1]\n{"source": "b", "target": "c", "count": 3}\n')
    monitor.poll()
    status = monitor.status()
    assert (status.transitions, status.escapes, status.lost) == (4, 1, 2)
    path.write_text('{"source": "x", "target": "y"}\n')
    monitor.poll()
    assert monitor.status().transitions == 5
    monitor.stop()


def test_the_fields_of_a_file_that_grows_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "moves.jsonl"
    path.write_text('{"from": "x", "to": "y", "model": "a"}\n{"from": "y", "to": "go"}\n')
    fields = {"source_field": "from", "target_field": "to", "context_fields": ["model"]}
    monitor = Monitor(path, context={"model": "a"}, **fields)
    monitor.poll()
    assert monitor.counts().states == ("x", "y")
    with pytest.raises(InvalidInputError, match="state_field cannot be used with a file"):
        Monitor(path, state_field="from")


@pytest.mark.parametrize("source", [5, object(), [("a", "b")]])
def test_what_does_not_grow_cannot_be_watched(source: object) -> None:
    with pytest.raises(InvalidInputError, match="holds no transitions; allowed are"):
        Monitor(source)


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"every": 0}, {"window": 0}, {"window": 1.5}, {"alpha": 1.0}):
        with pytest.raises(InvalidInputError):
            Monitor(TransitionGraph(), **wrong)


def test_the_evidence_of_what_was_recorded_before_is_shown_at_the_time_it_grew(
    tmp_path: Path,
) -> None:
    began = time.time() - 10_000
    with TransitionStore(f"sqlite:///{tmp_path / 'runs.db'}") as store:
        quiet, driven = Walker(3).walk(5_000), Walker(4).walk(5_000, driven=True)
        walks = [(move, "quiet") for move in quiet] + [(move, "driven") for move in driven]
        store.append(
            replace(move, trajectory=f"{name} {move.trajectory}", time=began + step)
            for step, (move, name) in enumerate(walks)
        )
        monitor = Monitor(store)
        monitor.poll()
        evidence = monitor.status().evidence
        monitor.stop()
    times = [moment for moment, _, _ in evidence]
    assert times == sorted(times)
    assert len([moment for moment in times if began < moment < began + 10_000]) > 50
    before = [value for moment, _, value in evidence if moment < began + 5_000]
    assert max(before) < 3 < evidence[-1][2]
    assert evidence[-1][1] == 10_000


def test_batches_of_runs_of_one_task_are_no_drift_where_the_block_is_named(tmp_path: Path) -> None:
    rng = random.Random(0)

    def batches(prefix: str, number: int) -> list[Trajectory]:
        found = []
        for task in range(number):
            steps = rng.randrange(2, 60)
            moves = (("__start__", "plan"), *[("plan", "plan")] * steps, ("plan", "__end__"))
            labels = (("task", f"{prefix}{task}"),)
            names = [f"{prefix}{task}-{i}" for i in range(12)]
            found += [Trajectory(moves, name, run=name, context=labels) for name in names]
        return found

    usual, new = batches("a", 30), batches("b", 30)
    graph = TransitionGraph()
    monitors = [
        Monitor(graph, baseline=usual, block=block, state=tmp_path / f"{block}.json")
        for block in ("task", None)
    ]
    for run in new:
        for move in run.moves:
            graph.record(*move, trajectory=run.name, run=run.run, context=dict(run.context))
    kinds = []
    for monitor in monitors:
        monitor.poll()
        kinds.append("drift" in open_kinds(monitor))
        monitor.stop()
    assert kinds == [False, True]
    with pytest.raises(InvalidInputError, match="its block is 'task'"):
        Monitor(graph, baseline=usual, state=tmp_path / "task.json")
    with pytest.raises(InvalidInputError, match="no run has a label 'job'"):
        Monitor(graph, baseline=usual, block="job")
