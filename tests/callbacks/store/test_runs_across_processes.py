"""Recorders that know nothing of each other, as in several processes, record one run in a store."""

import itertools
import operator
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import StateGraph
from langgraph.types import Command, interrupt

from detailed_balance.analyzers import Outcome
from detailed_balance.callbacks import TransitionCallbackHandler, TransitionStore
from detailed_balance.sources.source import read_runs
from tests.callbacks.store.test_store import file_url

THREAD = {"thread_id": "T"}


class State(TypedDict):
    done: Annotated[list[Any], operator.add]


def build(edges, nodes, **settings):
    builder = StateGraph(State)
    for name, work in nodes.items():
        builder.add_node(name, lambda state, name=name, work=work: {"done": [work(name)]})
    for edge in edges:
        builder.add_edge(*edge)
    return builder.compile(checkpointer=InMemorySaver(), **settings)


@pytest.fixture
def store(tmp_path):
    with TransitionStore(file_url(tmp_path)) as opened:
        yield opened


def invoke(graph, given, store):
    """Invoke a graph with a recorder of its own."""
    handler = TransitionCallbackHandler(store=store)
    try:
        return graph.invoke(given, {"configurable": THREAD, "callbacks": [handler]})
    finally:
        store.flush()


def test_parallel_interrupts_answered_one_by_one_are_one_superstep(store):
    nodes = {"plan": str, "a": interrupt, "b": interrupt, "c": str, "join": str}
    edges = [("__start__", "plan"), *(("plan", name) for name in "abc"), (["a", "b", "c"], "join")]
    graph = build(edges, nodes)
    invoke(graph, {"done": []}, store)
    for _ in range(2):
        question = graph.get_state({"configurable": THREAD}).interrupts[0]
        invoke(graph, Command(resume={question.id: "yes"}), store)
    (run,) = read_runs(store)
    assert run.states == ("plan", "a|b|c", "join")
    assert (run.outcome, run.attempts) == (Outcome.ENDED, 1)


def test_a_run_that_failed_and_was_tried_again_is_one(store):
    attempts = []

    def fail_once(name):
        attempts.append(name)
        if len(attempts) == 1:
            raise ValueError(name)
        return name

    chain = ["__start__", "a", "b", "c", "__end__"]
    graph = build(itertools.pairwise(chain), {"a": str, "b": fail_once, "c": str})
    with pytest.raises(ValueError, match="b"):
        invoke(graph, {"done": []}, store)
    invoke(graph, None, store)
    (run,) = read_runs(store)
    assert run.moves == (
        ("__start__", "a"),
        ("a", None),
        ("a", "b"),
        ("b", "c"),
        ("c", "__end__"),
    )
    assert (run.outcome, run.attempts, run.success) == (Outcome.ENDED, 2, True)


def test_a_run_that_waits_between_supersteps_goes_on_and_a_new_turn_does_not(store):
    chain = ["__start__", "a", "b", "__end__"]
    edges = itertools.pairwise(chain)
    graph = build(edges, {"a": str, "b": str}, interrupt_before=["b"])
    for given in ({"done": []}, None, {"done": []}, None):
        invoke(graph, given, store)
    runs = read_runs(store)
    assert [run.states for run in runs] == [("a", "b")] * 2
    assert len({run.run for run in runs}) == 2
    assert store.outcomes() == {Outcome.ENDED: 2}
