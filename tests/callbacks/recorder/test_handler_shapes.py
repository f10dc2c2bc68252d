"""Real graphs of every shape, against the transitions that a person would write down."""

import asyncio

import pytest
from langgraph.checkpoint.memory import MemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, Send

from detailed_balance.callbacks import TransitionCallbackHandler
from tests.support.agents import (
    INPUT,
    ScriptedModel,
    State,
    Walks,
    build,
    chain,
    fail,
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


LOOP_OF_3 = path(START, "a", "b", "a", "b", "a", "b", END)


def test_conditional_cycle_is_walked_as_often_as_it_ran(handler):
    run(loop(3), handler)
    assert handler.graph.walk == LOOP_OF_3
    counts = handler.graph.snapshot()
    assert counts.counts[counts.index("a"), counts.index("b")] == 3
    assert counts.counts[counts.index("b"), counts.index("a")] == 2
    assert counts.escapes.sum() == 0


async def test_async_cycle_is_the_same(handler):
    await loop(3).ainvoke(INPUT, {"callbacks": [handler]})
    assert handler.graph.walk == LOOP_OF_3


@pytest.mark.parametrize("mode", ["values", "updates", "messages", "debug"])
async def test_streams_are_the_same(handler, mode):
    config = {"callbacks": [handler]}
    async for _ in loop(3).astream(INPUT, config, stream_mode=mode):
        pass
    for _ in loop(3).stream(INPUT, config, stream_mode=mode):
        pass
    assert list(handler.graph.walks.values()) == [LOOP_OF_3] * 2


def test_every_invocation_is_a_trajectory(handler):
    agent = loop(3)
    for _ in range(20):
        run(agent, handler)
    assert list(handler.graph.walks.values()) == [LOOP_OF_3] * 20


def test_batch_is_as_many_trajectories(handler):
    loop(3).batch([INPUT] * 5, {"callbacks": [handler]})
    assert list(handler.graph.walks.values()) == [LOOP_OF_3] * 5


def test_thread_is_one_trajectory_with_a_path_for_each_invocation(handler):
    agent = loop(1, MemorySaver())
    run(agent, handler, **thread("T"))
    run(agent, handler, **thread("T"))
    assert handler.graph.walks == {"T": path(START, "a", "b", END) * 2}


def test_same_handler_given_twice_counts_once(handler):
    run(loop(3).with_config(callbacks=[handler]), handler)
    assert handler.graph.walk == LOOP_OF_3


def test_fan_out_by_edges_is_one_composite_state(handler):
    edges = [(START, "plan"), ("plan", "x"), ("plan", "y"), ("x", "join"), ("y", "join")]
    agent = build(edges, **{name: node(name) for name in ("plan", "x", "y", "join")})
    run(agent, handler)
    assert handler.graph.walk == path(START, "plan", "x|y", "join", END)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_fan_out_by_send_names_equal_workers_once(handler, asynchronous):
    graph = StateGraph(State)
    for name in ("plan", "worker", "join"):
        graph.add_node(name, node(name))
    graph.add_edge(START, "plan")
    sends = [Send("worker", {"n": i, "log": []}) for i in range(3)]
    graph.add_conditional_edges("plan", lambda state: sends, ["worker"])
    graph.add_edge("worker", "join")
    agent, config = graph.compile(), {"callbacks": [handler]}
    if asynchronous:
        await agent.ainvoke(INPUT, config)
    else:
        agent.invoke(INPUT, config)
    assert handler.graph.walk == path(START, "plan", "worker", "join", END)


def test_command_goto_is_an_edge_like_any_other(handler):
    def route(state):
        return Command(update={"n": 1}, goto="there")

    agent = build([(START, "route")], route=route, there=node("there"))
    run(agent, handler)
    assert handler.graph.walk == path(START, "route", "there", END)


@pytest.mark.parametrize("checkpointer", [None, MemorySaver()])
def test_conditional_entry_is_no_state(handler, checkpointer):
    graph = StateGraph(State)
    graph.add_node("a", node("a"))
    graph.add_node("b", node("b"))
    graph.add_conditional_edges(START, lambda state: ["a", "b"], ["a", "b"])
    run(graph.compile(checkpointer=checkpointer), handler, **thread("T"))
    run(graph.compile(), handler)
    assert list(handler.graph.walks.values()) == [path(START, "a|b", END)] * 2
    assert handler.faults == 0


def test_model_that_a_conditional_entry_asks_is_no_state(handler):
    def choose(state, config):
        return ScriptedModel(script=["a"]).invoke("where to?", config).text

    graph = StateGraph(State)
    graph.add_node("a", node("a"))
    graph.add_conditional_edges(START, choose, ["a"])
    run(graph.compile(), handler)
    assert handler.graph.walk == path(START, "a", END)


def test_subgraph_as_node_is_a_trajectory_of_its_own(handler):
    run(chain("pre", "sub", "post", sub=chain("in1", "in2")), handler)
    outer, inner = split(handler.graph.walks)
    assert outer == path(START, "pre", "sub", "post", END)
    assert inner == {"sub": path(START, "in1", "in2", END)}


def test_subgraph_called_inside_a_node_is_the_same(handler):
    inner_agent = chain("in1", "in2")

    def call(state):
        inner_agent.invoke(INPUT)
        inner_agent.invoke(INPUT)
        return {"n": 1}

    run(chain("call", call=call), handler)
    *inner, outer = handler.graph.walks.values()
    assert outer == path(START, "call", END)
    assert inner == [path(START, "in1", "in2", END)] * 2


def test_subgraphs_nest(handler):
    run(chain("a", a=chain("b", b=chain("c"))), handler)
    walks = {key.count("|") + ("/" in key): walk for key, walk in handler.graph.walks.items()}
    expected = {0: "a", 1: "b", 2: "c"}
    assert walks == {depth: path(START, name, END) for depth, name in expected.items()}


def test_subgraphs_side_by_side_do_not_mix(handler):
    def call(state):
        return {"log": chain("in1", "in2").invoke(INPUT)["log"]}

    agent = build([(START, "x"), (START, "y"), ("x", END), ("y", END)], x=call, y=call)
    run(agent, handler)
    outer, walks = split(handler.graph.walks)
    assert outer == path(START, "x|y", END)
    assert walks == dict.fromkeys("xy", path(START, "in1", "in2", END))


def test_parent_command_ends_the_node_normally(handler):
    def hand_over(state):
        return Command(graph=Command.PARENT, goto="post", update={"log": ["x"]})

    sub = chain("in1", in1=hand_over)
    agent = build([(START, "sub")], sub=sub, post=node("post"))
    run(agent, handler)
    outer, inner = split(handler.graph.walks)
    assert outer == path(START, "sub", "post", END)
    assert inner == {"sub": path(START, "in1", END)}


def test_node_error_is_an_escape_without_end(handler):
    with pytest.raises(ValueError, match="boom"):
        run(chain("a", "b", b=fail), handler)
    assert handler.graph.walk == path(START, "a", None)


def test_error_in_one_branch_leaves_its_superstep_out(handler):
    agent = build([(START, "x"), (START, "y"), ("x", END), ("y", END)], x=node("x"), y=fail)
    with pytest.raises(ValueError, match="boom"):
        run(agent, handler)
    assert handler.graph.walk == path(START, None)


@since_1_2
def test_error_handler_is_the_state_after_the_escape(handler):
    graph = StateGraph(State)
    graph.add_node("bad", fail, error_handler=lambda state: Command(goto="after"))
    graph.add_node("after", node("after"))
    graph.add_edge(START, "bad")
    run(graph.compile(), handler)
    assert handler.graph.walk == path(START, None, "__error_handler__bad", "after", END)


def test_each_failed_attempt_of_a_retried_node_is_an_escape(handler):
    attempts = []

    def flaky(state):
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError("again")
        return {"n": 1}

    graph = StateGraph(State)
    retry = RetryPolicy(max_attempts=3, initial_interval=0.001, jitter=False)
    graph.add_node("flaky", flaky, retry_policy=retry)
    graph.add_edge(START, "flaky")
    run(graph.compile(), handler)
    assert handler.graph.walk == path(START, None, None, "flaky", END)


def test_recursion_limit_keeps_what_was_done_and_has_no_end(handler):
    with pytest.raises(GraphRecursionError):
        run(loop(99), handler, recursion_limit=3)
    assert handler.graph.walk == path(START, "a", "b", "a")


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_abandoned_stream_has_no_end(handler, asynchronous):
    config = {"callbacks": [handler]}
    if asynchronous:
        chunks = loop(9).astream(INPUT, config, stream_mode="updates")
        await anext(chunks)
        await chunks.aclose()
    else:
        stream = loop(9).stream(INPUT, config, stream_mode="updates")
        next(stream)
        stream.close()
    assert handler.graph.walk == path(START, "a")


async def test_cancelled_run_has_neither_end_nor_escape(handler):
    started = asyncio.Event()

    async def slow(state):
        started.set()
        await asyncio.sleep(60)

    agent = chain("a", "slow", slow=slow)
    task = asyncio.create_task(agent.ainvoke(INPUT, {"callbacks": [handler]}))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert handler.graph.walk == path(START, "a")


def test_context_labels_every_transition():
    handler = TransitionCallbackHandler(context={"version": "2"})
    run(loop(3), handler)
    assert handler.graph.contexts() == ((("version", "2"),),)


def test_everything_of_a_run_is_forgotten_at_its_end(handler):
    for agent in (loop(3), chain("sub", sub=chain("a"))):
        run(agent, handler)
    with pytest.raises(ValueError, match="boom"):
        run(chain("a", a=fail), handler)
    assert len(handler._runs) == 0
