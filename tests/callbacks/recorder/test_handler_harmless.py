"""The handler never disturbs an agent, whatever happens, and however many run at once."""

import asyncio
import copy
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks import (
    NodeStates,
    Transition,
    TransitionCallbackHandler,
    TransitionGraph,
    record_transitions,
)
from detailed_balance.callbacks.recorder._run_tracker import RunTracker
from tests.support.agents import INPUT, KeptRecords, State


def build_loop(rounds):
    """a -> b|c -> a -> ... until a has run `rounds` times."""
    graph = StateGraph(State)
    graph.add_node("a", lambda state: {"n": state["n"] + 1, "log": ["a"]})
    graph.add_node("b", lambda state: {"log": ["b"]})
    graph.add_node("c", lambda state: {"log": ["c"]})
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda state: ["b", "c"] if state["n"] < rounds else END)
    graph.add_edge("b", "a")
    return graph.compile()


EDGES_OF_3 = {(START, "a"): 1, ("a", "b|c"): 2, ("b|c", "a"): 2, ("a", END): 1}


def edges(handler):
    return {(u, v): count for u, v, count in handler.graph.graph.edges(data="count")}


class FullDisk(TransitionGraph):
    def record(self, source, target, **labels):
        raise OSError("disk full")


def test_failing_graph_costs_neither_the_agent_nor_the_store_anything(caplog):
    store = KeptRecords()
    handler = TransitionCallbackHandler(graph=FullDisk(), store=store)
    expected = build_loop(3).invoke(INPUT)
    assert build_loop(3).invoke(INPUT, {"callbacks": [handler]}) == expected
    assert handler.faults == 6
    assert len(store.of(Transition)) == 6
    (record,) = caplog.records
    assert record.name == "detailed_balance"
    assert "disk full" in caplog.text


def test_failing_store_does_not_fail_the_block_that_records():
    class Gone(KeptRecords):
        def flush(self):
            raise ConnectionError("database gone")

    with record_transitions(store=Gone()) as handler:
        build_loop(1).invoke(INPUT)
    assert handler.faults == 1
    assert edges(handler) == {(START, "a"): 1, ("a", END): 1}


def test_failing_state_function_is_an_escape(caplog):
    def states(run):
        return 1 / 0 if run.name == "b" else run.name

    handler = TransitionCallbackHandler(states)
    expected = build_loop(3).invoke(INPUT)
    assert build_loop(3).invoke(INPUT, {"callbacks": [handler]}) == expected
    assert edges(handler) == {(START, "a"): 1, ("a", "c"): 2, ("c", "a"): 2, ("a", END): 1}
    assert handler.graph.graph.nodes["a"]["escapes"] == 2
    assert handler.faults == 2
    assert len(caplog.records) == 1


@pytest.mark.parametrize("key", [END, "", 1.5, object(), ["a", None], b"a"])
def test_key_that_is_no_state_is_an_escape(key):
    handler = TransitionCallbackHandler(lambda run: key)
    build_loop(1).invoke(INPUT, {"callbacks": [handler]})
    assert edges(handler) == {(START, END): 1}
    assert handler.graph.graph.nodes[START]["escapes"] == 1
    assert handler.faults == 1


def test_events_of_unknown_runs_are_ignored():
    handler = TransitionCallbackHandler()
    run, parent = uuid4(), uuid4()
    handler.on_chain_end({}, run_id=run)
    handler.on_chain_error(ValueError(), run_id=run)
    handler.on_tool_end("", run_id=run)
    handler.on_llm_error(ValueError(), run_id=run)
    node = {"langgraph_node": "a", "langgraph_step": 1, "langgraph_checkpoint_ns": "a:1"}
    handler.on_chain_start(
        None, {}, run_id=run, parent_run_id=parent, tags=["graph:step:1"], metadata=node
    )
    handler.on_chain_error(ValueError(), run_id=run)
    assert handler.faults == 0
    assert len(handler.graph) == 0
    assert len(handler._runs) == 0


def test_broken_event_is_a_fault_and_no_error():
    handler = TransitionCallbackHandler()
    handler.on_chain_start(None, {}, run_id="no uuid")
    assert handler.faults == 1


def test_inputs_and_outputs_are_neither_changed_nor_kept():
    class Output(dict):
        alive = 0

        def __init__(self):
            super().__init__(n=1, log=[])
            Output.alive += 1

        def __del__(self):
            Output.alive -= 1

    graph = StateGraph(State)
    graph.add_node("a", lambda state: Output())
    graph.set_entry_point("a")
    handler = TransitionCallbackHandler(NodeStates())
    graph.compile().invoke(INPUT, {"callbacks": [handler]})
    assert Output.alive == 0
    assert INPUT == {"n": 0, "log": []}


def test_runs_that_never_end_are_bounded_by_number():
    runs = RunTracker(max_roots=10)
    for root in range(1000):
        runs.start(2 * root + 1, None)
        runs.start(2 * root + 2, 2 * root + 1)
    assert len(runs) == 20
    runs.start_tool(99_999, 1, "late")  # its root was forgotten: a root of its own
    assert len(runs) == 19


def test_interrupted_threads_that_are_never_resumed_are_bounded_by_number():
    graph = StateGraph(State)
    graph.add_node("ask", lambda state: {"log": [interrupt("?")]})
    graph.set_entry_point("ask")
    agent = graph.compile(checkpointer=MemorySaver())
    handler = TransitionCallbackHandler()
    handler._runs = RunTracker(max_stopped=5)
    for i in range(20):
        thread = {"configurable": {"thread_id": str(i)}}
        agent.invoke(INPUT, {"callbacks": [handler], **thread})
    assert len(handler._runs._stopped) == 5
    assert len(handler._runs) == 0


def test_copies_are_the_handler_itself():
    handler = TransitionCallbackHandler()
    assert copy.copy(handler) is handler
    assert copy.deepcopy({"callbacks": [handler]})["callbacks"][0] is handler


def test_pickled_handler_has_the_same_settings():
    handler = TransitionCallbackHandler(NodeStates(), context={"version": "2"})
    again = pickle.loads(pickle.dumps(handler))  # noqa: S301 - our own bytes
    assert again.states == NodeStates()
    assert again.context == (("version", "2"),)
    build_loop(3).invoke(INPUT, {"callbacks": [again]})
    assert edges(again) == EDGES_OF_3


def test_states_that_are_no_state_function_are_refused():
    with pytest.raises(InvalidInputError, match="ActionStates"):
        TransitionCallbackHandler(states="tools")


def test_store_has_the_order_the_step_and_the_time():
    store = KeptRecords()
    handler = TransitionCallbackHandler(store=store, context={"version": "2"})
    before = time.time()
    thread = {"configurable": {"thread_id": "T"}}
    build_loop(2).invoke(INPUT, {"callbacks": [handler], **thread})
    moves = [(move.source, move.target, move.step) for move in store.of(Transition)]
    assert moves == [(START, "a", 1), ("a", "b|c", 2), ("b|c", "a", 3), ("a", END, 4)]
    assert {move.trajectory for move in store.of(Transition)} == {"T"}
    assert {move.context for move in store.of(Transition)} == {(("version", "2"),)}
    assert all(before <= move.time <= time.time() for move in store.of(Transition))


def test_64_threads_at_once_give_exactly_the_truth():
    handler, agent = TransitionCallbackHandler(), build_loop(3)

    def work(thread):
        for _ in range(5):
            agent.invoke(INPUT, {"callbacks": [handler]})

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(work, range(64)))
    assert edges(handler) == {edge: 320 * count for edge, count in EDGES_OF_3.items()}
    assert handler.graph.snapshot().escapes.sum() == 0
    assert handler.faults == 0
    assert len(handler._runs) == 0


async def test_1000_tasks_at_once_give_exactly_the_truth():
    handler = TransitionCallbackHandler()
    graph = StateGraph(State)

    async def wait(state):
        await asyncio.sleep(0)
        return {"n": state["n"] + 1}

    graph.add_sequence([("a", wait), ("b", wait)])
    graph.set_entry_point("a")
    agent = graph.compile()
    config = {"callbacks": [handler]}
    await asyncio.gather(*(agent.ainvoke(INPUT, config) for _ in range(1000)))
    assert edges(handler) == {(START, "a"): 1000, ("a", "b"): 1000, ("b", END): 1000}
    assert handler.faults == 0
    assert len(handler._runs) == 0


def test_plain_chains_leave_no_trace():
    handler = TransitionCallbackHandler()
    chain = RunnableLambda(lambda x: x + 1) | RunnableLambda(lambda x: x * 2)
    assert chain.invoke(1, {"callbacks": [handler]}) == 4
    assert len(handler.graph) == 0
    assert len(handler._runs) == 0
