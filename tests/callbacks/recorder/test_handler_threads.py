"""Threads that go on: errors, edits, replays, forks, caches, restarts."""

import contextlib

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import CachePolicy, Command, interrupt

from detailed_balance.callbacks import TransitionCallbackHandler, record_transitions
from tests.support.agents import (
    INPUT,
    State,
    Walks,
    chain,
    loop,
    node,
    path,
    run,
    since_1_2,
    thread,
)


@pytest.fixture
def handler():
    return TransitionCallbackHandler(graph=Walks())


def ask(state):
    return {"log": [interrupt("?")]}


def flaky(failures):
    """Return a node that fails so many times, and then does its work."""
    left = [True] * failures

    def work(state):
        if left and left.pop():
            raise ConnectionError("again")
        return {"log": ["work"]}

    return work


def test_thread_that_goes_on_after_an_error_goes_on_where_it_failed(handler):
    agent = chain("a", "b", "c", b=flaky(1), checkpointer=MemorySaver())
    with pytest.raises(ConnectionError):
        run(agent, handler, **thread("T"))
    agent.invoke(None, {"callbacks": [handler], **thread("T")})
    assert handler.graph.walks == {"T": path(START, "a", None, "b", "c", END)}


def test_branch_that_had_finished_stays_in_the_superstep_of_the_one_that_failed(handler):
    graph = StateGraph(State)
    for name, work in {"x": node("x"), "y": flaky(1), "z": node("z")}.items():
        graph.add_node(name, work)
    for source, target in [(START, "x"), (START, "y"), ("x", "z"), ("y", "z")]:
        graph.add_edge(source, target)
    agent = graph.compile(checkpointer=MemorySaver())
    with pytest.raises(ConnectionError):
        run(agent, handler, **thread("T"))
    agent.invoke(None, {"callbacks": [handler], **thread("T")})
    assert handler.graph.walks["T"][-2:] == [("x|y", "z"), ("z", END)]
    assert ("z", None) not in handler.graph.walks["T"]


def test_subgraph_that_failed_goes_on_where_it_failed(handler):
    sub = chain("in1", "in2", in2=flaky(1))
    agent = chain("sub", sub=sub, checkpointer=MemorySaver())
    with pytest.raises(ConnectionError):
        run(agent, handler, **thread("T"))
    agent.invoke(None, {"callbacks": [handler], **thread("T")})
    (inner,) = (walk for key, walk in handler.graph.walks.items() if "/" in key)
    assert inner == path(START, "in1", None, "in2", END)
    assert handler.graph.walks["T"] == path(START, None, "sub", END)


def test_recursion_limit_can_be_lifted_and_the_path_goes_on(handler):
    agent = loop(3, MemorySaver())
    with contextlib.suppress(RecursionError):
        run(agent, handler, recursion_limit=2, **thread("T"))
    agent.invoke(None, {"callbacks": [handler], **thread("T")})
    assert handler.graph.walks == {"T": path(START, "a", "b", "a", "b", "a", "b", END)}


def test_restarted_process_invents_no_start(handler):
    agent = chain("a", "ask", "z", ask=ask, checkpointer=MemorySaver())
    run(agent, TransitionCallbackHandler(), **thread("T"))
    run(agent, handler, Command(resume="yes"), **thread("T"))
    assert handler.graph.walks == {"T": path("ask", "z", END)}


def test_replay_begins_at_its_checkpoint(handler):
    agent = chain("a", "b", "c", checkpointer=MemorySaver())
    run(agent, handler, **thread("T"))
    after_a = next(s for s in agent.get_state_history(thread("T")) if s.next == ("b",))
    agent.invoke(None, {"callbacks": [handler], **after_a.config})
    assert handler.graph.walks == {"T": path(START, "a", "b", "c", END) + path("b", "c", END)}


@since_1_2
def test_replay_from_the_start_begins_with_the_first_state_that_is_seen(handler):
    agent = chain("a", "b", checkpointer=MemorySaver())
    run(agent, handler, **thread("T"))
    first = next(s for s in agent.get_state_history(thread("T")) if s.next == ("a",))
    agent.invoke(None, {"callbacks": [handler], **first.config})
    assert handler.graph.walks == {"T": path(START, "a", "b", END) + path("a", "b", END)}


def test_fork_with_an_edited_state_begins_at_its_checkpoint(handler):
    agent = chain("a", "b", "c", checkpointer=MemorySaver())
    run(agent, handler, **thread("T"))
    after_a = next(s for s in agent.get_state_history(thread("T")) if s.next == ("b",))
    fork = agent.update_state(after_a.config, {"n": 7}, as_node="a")
    agent.invoke(None, {"callbacks": [handler], **fork})
    assert handler.graph.walks["T"][-2:] == path("b", "c", END)
    assert len(handler.graph.walks["T"]) == 6


def test_cached_node_is_a_gap_and_no_move_is_drawn_across_it(handler):
    graph = StateGraph(State)
    graph.add_node("a", node("a"))
    graph.add_node("cached", node("cached"), cache_policy=CachePolicy(key_func=lambda _: "k"))
    graph.add_node("z", node("z"))
    for source, target in [(START, "a"), ("a", "cached"), ("cached", "z")]:
        graph.add_edge(source, target)
    agent = graph.compile(cache=InMemoryCache())
    run(agent, handler)
    run(agent, handler)
    first, second = handler.graph.walks.values()
    assert first == path(START, "a", "cached", "z", END)
    assert second == [(START, "a"), ("z", END)]


@since_1_2
def test_static_interrupt_is_seen_by_a_block_that_records():
    agent = loop(1, MemorySaver())
    with record_transitions(graph=Walks()) as handler:
        agent.invoke(INPUT, thread("T"), interrupt_before=["b"])
        agent.invoke(None, {"callbacks": [], **thread("T")})
    assert handler.graph.walks == {"T": path(START, "a", "b", END)}


def test_two_questions_in_one_node_are_one_visit(handler):
    def ask_twice(state):
        return {"log": [interrupt("first?"), interrupt("second?")]}

    agent = chain("ask", ask=ask_twice, checkpointer=MemorySaver())
    run(agent, handler, **thread("T"))
    for answer in ("yes", "no"):
        run(agent, handler, Command(resume=answer), **thread("T"))
    assert handler.graph.walks == {"T": path(START, "ask", END)}


def test_checkpointed_subgraph_is_one_path_for_each_visit(handler):
    sub = chain("in1", "in2", checkpointer=True)
    agent = chain("sub", sub=sub, checkpointer=MemorySaver())
    for _ in range(2):
        run(agent, handler, **thread("T"))
    walks = [move for key, walk in handler.graph.walks.items() if "/" in key for move in walk]
    assert walks == path(START, "in1", "in2", END) * 2
