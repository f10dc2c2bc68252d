"""What a handler without a store knows of the runs that stopped last."""

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from detailed_balance import read_runs
from detailed_balance.callbacks import Ending, Transition, TransitionCallbackHandler
from detailed_balance.callbacks.recorder.recent_runs import RecentRuns
from detailed_balance.callbacks.recorder.trajectory_builder import TrajectoryStep
from tests.support.agents import INPUT, chain, thread


def move(recent, run):
    recent.record_move(TrajectoryStep("T", "a", "b", 1, run=run), 0.5)


def runs_of(recent):
    return list(dict.fromkeys(record.run for record in recent.records()))


def test_the_run_that_stopped_first_is_forgotten_first_and_open_ones_never():
    recent = RecentRuns(most_runs=2)
    move(recent, "open")
    for run in "1234":
        move(recent, run)
        recent.record(Ending(None, run=run))
    assert runs_of(recent) == ["3", "4", "open"]


def test_the_records_of_stopped_runs_are_bounded_too():
    recent = RecentRuns(most_records=10)
    for run in "123":
        for _ in range(4):
            move(recent, run)
        recent.record(Ending(None, run=run))
    assert runs_of(recent) == ["2", "3"]


def test_a_run_that_goes_on_keeps_its_records_together():
    recent = RecentRuns()
    move(recent, "1")
    for run in "12":
        recent.record(Ending(None, run=run))
    move(recent, "1")
    assert [record.run for record in recent.records()] == ["2", "1", "1", "1"]


def test_a_handler_without_a_store_keeps_its_runs_and_one_with_a_store_does_not():
    without, within = TransitionCallbackHandler(), TransitionCallbackHandler(store="sqlite://")
    for handler in (without, within):
        chain("a", "b").invoke(INPUT, {"callbacks": [handler]})
    assert len([r for r in without.recent.records() if isinstance(r, Transition)]) == 3
    assert list(within.recent.records()) == []


def test_the_runs_of_a_handler_are_the_same_with_and_without_a_store():
    without, within = TransitionCallbackHandler(), TransitionCallbackHandler(store="sqlite://")
    agent = chain(
        "a", "ask", ask=lambda state: {"log": [interrupt("?")]}, checkpointer=InMemorySaver()
    )
    config = {"callbacks": [without, within], **thread("T")}
    agent.invoke(INPUT, config)
    agent.invoke(Command(resume="y"), config)
    agent.invoke(INPUT, config)
    (first, second), stored = read_runs(without), read_runs(within)
    assert [(run.moves, run.outcome, run.facts) for run in (first, second)] == [
        (run.moves, run.outcome, run.facts) for run in stored
    ]
    assert (first.outcome, second.outcome) == ("ended", "interrupted")
