"""`Monitor` and runs: what it raises at once, by tests and by rates, and when that is over."""

import json
import random
import time
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import StructuredTool, ToolException
from langgraph.errors import GraphRecursionError

from detailed_balance import Monitor, Transition, TransitionGraph, TransitionStore
from detailed_balance.analyzers import Outcome
from detailed_balance.callbacks import Ending, TransitionCallbackHandler
from detailed_balance.monitor import Event


class Agent:
    """Writes runs to a store, one a minute: most do their work, some fail, some shuttle."""

    def __init__(self, store: TransitionStore, seed: int, *, failing: float = 0.05) -> None:
        self.store, self.rng, self.failing = store, random.Random(seed), failing
        self.number = 0

    def work(self, runs: int, *, stuck: float = 0.0, at_limit: bool = False) -> None:
        for _ in range(runs):
            self._run(stuck=self.rng.random() < stuck, at_limit=at_limit)

    def _run(self, *, stuck: bool, at_limit: bool) -> None:
        name, began = f"t{self.number}", time.time() - 1e6 + 60 * self.number
        self.number += 1
        states = ["__start__", *self.rng.choices("abc", k=self.rng.randrange(3, 9))]
        outcome = Outcome.FAILED if self.rng.random() < self.failing else Outcome.ENDED
        if stuck:
            states += ["a", "b"] * 9
            outcome = Outcome.RECURSION_LIMIT if at_limit else Outcome.FAILED
        if outcome is Outcome.ENDED:
            states.append("__end__")
        self.store.append(
            Transition(f, g, name, (), step, began + step, run=name)
            for step, (f, g) in enumerate(pairwise(states))
        )
        self.store.append([Ending(name, outcome, time=began + 50, run=name)])


def test_a_run_at_the_limit_is_raised_at_once_with_its_name(tmp_path: Path) -> None:
    events: list[Event] = []
    with TransitionStore("sqlite://") as store:
        agent = Agent(store, 1, failing=0.0)
        with_state = {"state": tmp_path / "state.json", "sinks": [events.append]}
        monitor = Monitor(store, **with_state)
        agent.work(5)
        monitor.poll()
        assert events == []
        assert monitor.status().verdict.outcome in ("ok", "unknown")
        agent.work(1, stuck=1.0, at_limit=True)
        monitor.poll()
        ((what, finding),) = [(e.what, e.finding) for e in events]
        assert (what, finding.kinds) == ("raised", ("limit", "repetition"))
        assert (finding.runs, finding.affected, finding.total) == (("t5",), 1, 6)
        assert finding.place == ("a", "b")
        status = monitor.status()
        assert (status.runs, status.failed, status.limited, status.repeating) == (6, 1, 1, 1)
        assert status.verdict.headline.startswith("PROBLEM: 1 of 6 runs hit the recursion limit")
        monitor.stop()
        again = Monitor(store, **with_state)
        again.poll()
        agent.work(60)
        again.poll()
        assert [(e.what, e.alert.id) for e in events] == [
            ("raised", finding.id),
            ("resolved", finding.id),
        ]
        assert events[1].alert.end.startswith("none of the last 60 runs did it; it was: 1 of ")
        assert again.status().runs == 66
        assert again.status().verdict.outcome == "ok"
        again.stop()


def test_runs_that_shuttle_and_fail_are_raised_with_their_names_and_resolved() -> None:
    events: list[Event] = []
    with TransitionStore("sqlite://") as store:
        agent, monitor = Agent(store, 2), Monitor(store, sinks=[events.append])
        for runs, stuck in [(15, 0.0)] * 4 + [(15, 0.4)] * 4 + [(15, 0.0)] * 8:
            agent.work(runs, stuck=stuck)
            monitor.poll()
        monitor.stop()
    told = [event for event in events if event.finding.severity == "problem"]
    assert len({event.alert.id for event in told}) == 1  # one fault is one finding
    first, last = told[0].finding, told[-1]
    assert (first.kind, first.place, last.what) == ("repetition", ("a", "b"), "resolved")
    assert all(60 <= int(name[1:]) < 120 for name in first.runs)
    assert first.affected == len(first.runs) >= 4
    assert {f.severity for f in monitor.status().findings} <= {"watch"}


def test_a_rate_that_rises_belongs_to_the_finding_of_the_same_runs() -> None:
    events: list[Event] = []
    with TransitionStore("sqlite://") as store:
        agent, monitor = Agent(store, 3), Monitor(store, sinks=[events.append])
        agent.work(120)
        monitor.poll()
        agent.failing = 0.6
        agent.work(60)
        monitor.poll()
        (finding,) = monitor.status().findings
        monitor.stop()
    assert (finding.severity, finding.kinds) == ("problem", ("failure", "drift"))
    assert "runs that fail: " in finding.evidence


def test_looks_at_runs_that_fail_at_random_raise_no_problem() -> None:
    with TransitionStore("sqlite://") as store:
        agent, monitor = Agent(store, 1, failing=0.2), Monitor(store)
        for _ in range(20):
            agent.work(6)
            monitor.poll()
            assert monitor.status().verdict.outcome != "problem"
        monitor.stop()


def test_runs_of_a_file_and_a_graph_are_counted_alike(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    graph = TransitionGraph()
    monitors = [Monitor(graph), Monitor(str(path.touch() or path))]
    lines = []
    for number in range(30):
        states = ["__start__", *"abab" * (1 if number else 9), "__end__"]
        for move in pairwise(states):
            graph.record(*move, trajectory=f"t{number}")
            lines.append({"source": move[0], "target": move[1], "trajectory": f"t{number}"})
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    for monitor in monitors:
        monitor.poll()
        # One run repeats itself, and ends well: no finding, so that it is not counted.
        assert (monitor.status().runs, monitor.status().repeating) == (30, 0)
        monitor.stop()


def test_an_agent_that_calls_a_failing_tool_for_ever_is_raised_before_its_limit() -> None:
    handler, events = TransitionCallbackHandler(), []
    monitor = Monitor(handler, sinks=[events.append])

    def refuse(query: str) -> str:
        """Be a tool that is away; now and then the monitor looks."""
        monitor.poll()
        raise ToolException("no connection")

    tool = StructuredTool.from_function(refuse, name="lookup", handle_tool_error=True)
    call = {"name": "lookup", "args": {"query": "x"}}
    calls = (AIMessage("", tool_calls=[{**call, "id": str(number)}]) for number in count())
    model = FakeModel(messages=calls)
    with pytest.raises(GraphRecursionError):
        create_agent(model, [tool]).invoke(
            {"messages": [("user", "hello")]}, {"callbacks": [handler], "recursion_limit": 60}
        )
    assert [(e.what, e.finding.kind, e.finding.place) for e in events] == [
        ("raised", "repetition", ("lookup",))
    ]
    assert "1 of 1 open run gets nowhere now in lookup: the last 10 steps" in events[0].describe()
    monitor.poll()
    assert (events[-1].what, events[-1].finding.kinds) == ("updated", ("limit", "repetition"))
    monitor.stop()


class FakeModel(GenericFakeChatModel):
    """Says what it is given, whatever tools there are."""

    def bind_tools(self, tools: Any, **settings: Any) -> Any:
        return self
