"""Interrupted and resumed graphs, against the transitions that a person would write down."""

import pytest
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START
from langgraph.types import Command, interrupt

from detailed_balance.callbacks import TransitionCallbackHandler
from tests.support.agents import (
    INPUT,
    Walks,
    build,
    chain,
    loop,
    node,
    path,
    run,
    since_1_2,
    split,
    thread,
)


@pytest.fixture
def handler():
    return TransitionCallbackHandler(graph=Walks())


def ask(state):
    return {"log": [interrupt("really?")]}


def test_interrupt_and_resume_is_one_path(handler):
    agent = chain("a", "ask", "z", ask=ask, checkpointer=MemorySaver())
    run(agent, handler, **thread("T"))
    assert handler.graph.walks == {"T": path(START, "a")}
    run(agent, handler, Command(resume="yes"), **thread("T"))
    assert handler.graph.walks == {"T": path(START, "a", "ask", "z", END)}


def test_interrupted_thread_that_is_given_new_input_starts_anew(handler):
    agent = chain("a", "ask", ask=ask, checkpointer=MemorySaver())
    run(agent, handler, **thread("T"))
    run(agent, handler, **thread("T"))
    assert handler.graph.walks == {"T": path(START, "a") * 2}


def test_branches_beside_an_interrupt_stay_one_superstep(handler):
    edges = [(START, "ask"), (START, "x"), ("ask", "join"), ("x", "join")]
    nodes = {"ask": ask, "x": node("x"), "join": node("join")}
    agent = build(edges, MemorySaver(), **nodes)
    run(agent, handler, **thread("T"))
    run(agent, handler, Command(resume="yes"), **thread("T"))
    assert handler.graph.walks == {"T": path(START, "ask|x", "join", END)}


def test_interrupt_in_a_subgraph_leaves_both_paths_open(handler):
    sub = chain("in1", "ask", ask=ask)
    agent = chain("sub", "z", sub=sub, checkpointer=MemorySaver())
    run(agent, handler, **thread("T"))
    run(agent, handler, Command(resume="yes"), **thread("T"))
    outer, inner = split(handler.graph.walks)
    assert outer == path(START, "sub", "z", END)
    assert inner == {"sub": path(START, "in1", "ask", END)}


@since_1_2
@pytest.mark.parametrize("where", [{"interrupt_before": ["b"]}, {"interrupt_after": ["a"]}])
def test_static_interrupt_and_resume_is_one_path(handler, where):
    agent, config = loop(1, MemorySaver()), {"callbacks": [handler], **thread("T")}
    agent.invoke(INPUT, config, **where)
    assert handler.graph.walks == {"T": path(START, "a")}
    agent.invoke(None, config)
    assert handler.graph.walks == {"T": path(START, "a", "b", END)}


def test_threads_are_told_apart(handler):
    agent = chain("a", "ask", ask=ask, checkpointer=MemorySaver())
    for name in ("T1", "T2"):
        run(agent, handler, **thread(name))
    run(agent, handler, Command(resume="yes"), **thread("T2"))
    assert handler.graph.walks == {
        "T1": path(START, "a"),
        "T2": path(START, "a", "ask", END),
    }
