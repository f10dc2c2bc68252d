"""A handler may be copied, pickled, forked and spawned, and keeps nothing of what it was shown."""

import copy
import gc
import multiprocessing
import os
import pickle
import signal
import threading
import weakref
from typing import Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.runnables.config import merge_configs
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from detailed_balance.callbacks import (
    NodeStates,
    PromptStates,
    TransitionCallbackHandler,
    TransitionGraph,
    TransitionStore,
)
from tests.callbacks.store.test_store import file_url
from tests.support.agents import INPUT, chain, loop, thread

MOVES = 5
EXPECTED = loop(2).invoke(INPUT)
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def run(handler, name=None):
    config: RunnableConfig = {"callbacks": [handler], **(thread(name) if name else {})}
    assert loop(2).invoke(INPUT, config) == EXPECTED


def total(handler):
    return handler.graph.snapshot().total


def run_and_flush(handler, name):
    """Be the work of another process."""
    run(handler, name)
    handler.flush()
    assert handler.faults == 0


def finish(process):
    process.join(300)
    if process.is_alive():
        process.kill()
        pytest.fail("the other process hangs")
    assert process.exitcode == 0


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_handler_goes_with_its_agent_into_another_process(tmp_path, method):
    store = TransitionStore(file_url(tmp_path))
    handler = TransitionCallbackHandler(store=store)
    run(handler, "parent before")
    context = multiprocessing.get_context(method)
    process = context.Process(target=run_and_flush, args=(handler, "child"))
    process.start()
    run(handler, "parent meanwhile")
    finish(process)
    store.flush()
    names = ("child", "parent before", "parent meanwhile")
    assert store.trajectories() == names
    assert [store.counts(trajectory=name).total for name in names] == [MOVES] * 3
    assert total(handler) == 2 * MOVES
    store.close()


def in_child(work):
    """Do `work` in a fork of this process, and say how that ended; at most 20 s."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


LOCKS = {
    "the tracker of runs": lambda handler: handler._runs._lock,
    "the graph": lambda handler: handler.graph._lock,
    "the faults": lambda handler: handler._faults._lock,
    "the store in memory": lambda handler: handler.store._lock,
    "the queue of the store": lambda handler: handler.store._writer._changed,
}


@forks
@pytest.mark.parametrize("name", LOCKS)
def test_a_fork_in_the_midst_of_another_threads_work_does_not_hang(name):
    handler = TransitionCallbackHandler(store=TransitionStore("sqlite://"))
    held, enough = threading.Event(), threading.Event()

    def hold():
        with LOCKS[name](handler):
            held.set()
            enough.wait()

    def work():
        run(handler)
        handler._record_move(None)  # a fault
        handler.flush()
        assert handler.faults == 1
        assert handler.store.lost == 0

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    ended = in_child(work)
    enough.set()
    holder.join()
    assert ended == 0
    handler.store.close()


@forks
def test_a_fork_while_a_new_edge_is_made_counts_on():
    graph = TransitionGraph()
    inside, enough = threading.Event(), threading.Event()

    class Slow(str):
        """A state that another process forks in the midst of."""

        __slots__ = ()

        def __hash__(self):
            if threading.current_thread() is not threading.main_thread() and graph._adding:
                inside.set()
                enough.wait()
            return super().__hash__()

    other = threading.Thread(target=graph.record, args=(Slow("a"), "b"))
    other.start()
    inside.wait()

    def work():
        graph.record("c", "d")
        assert graph.snapshot().index("d") >= 0
        assert graph.graph["c"]["d"][()]["count"] == 1

    ended = in_child(work)
    enough.set()
    other.join()
    assert ended == 0
    assert graph.snapshot().total == 1


def assert_copy(copied, handler):
    """Take a pickled copy for one that records the same way, in a graph of its own."""
    assert (copied.states, copied.context) == (handler.states, handler.context)
    assert copied.graph is not handler.graph
    run(copied)
    assert total(copied) == MOVES
    assert copied.faults == 0


HANDLERS = {
    "plain": TransitionCallbackHandler,
    "nodes": lambda: TransitionCallbackHandler(NodeStates(), context={"version": "2"}),
}


@pytest.mark.parametrize("make", HANDLERS.values(), ids=HANDLERS)
def test_a_configuration_survives_copies_and_pickles(make):
    handler = make()
    config: RunnableConfig = {"callbacks": [handler], "tags": ["x"], **thread("T")}
    run(handler)
    assert copy.copy(config)["callbacks"][0] is handler
    assert copy.deepcopy(config)["callbacks"][0] is handler
    assert merge_configs(config, {"tags": ["y"]})["callbacks"][0] is handler
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(config, protocol))  # noqa: S301 - our own bytes
        assert_copy(again["callbacks"][0], handler)
    assert total(handler) == MOVES


def test_a_handler_survives_cloudpickle_with_a_state_function_of_its_own():
    cloudpickle = pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
    handler = TransitionCallbackHandler(lambda run: run.name.upper())
    again = cloudpickle.loads(cloudpickle.dumps({"callbacks": [handler]}))["callbacks"][0]
    run(again)
    assert sorted(again.graph.graph) == ["A", "B", "__end__", "__start__"]


def test_a_pickled_handler_opens_its_store_again(tmp_path):
    handler = TransitionCallbackHandler(store=file_url(tmp_path))
    again = pickle.loads(pickle.dumps(handler))  # noqa: S301 - our own bytes
    run(handler, "one")
    run(again, "two")
    handler.close()
    again.close()
    with TransitionStore(file_url(tmp_path), create=False) as store:
        assert store.trajectories() == ("one", "two")


def test_copied_callbacks_inside_a_node_record_in_the_same_graph():
    inner = chain("x", "y")

    def call(state, config):
        inner.invoke(INPUT, {"callbacks": copy.deepcopy(config["callbacks"])})
        return {"log": ["call"]}

    agent = chain("call", call=call)
    handler = TransitionCallbackHandler()
    assert agent.invoke(INPUT, {"callbacks": [handler]}) == agent.invoke(INPUT)
    assert {("x", "y"), ("__start__", "call")} <= set(handler.graph.graph.edges())
    assert handler.faults == 0


class Big:
    """A value in the state whose end can be seen."""

    def __deepcopy__(self, memo):
        raise AssertionError("a state was copied")

    def __repr__(self):
        raise AssertionError("a state was written out")

    __str__ = __eq__ = __reduce__ = __repr__
    __hash__ = None


class Carrying(TypedDict, total=False):
    value: Any
    answer: Any


def carry(handler, ends):
    """Run an agent through success, failure, cancellation and interrupt; watch its values end."""

    def work(state):
        value = Big()
        ends.append(weakref.ref(value))
        return {"value": value}

    def stop(state):
        if ends.kind == "fails":
            raise ValueError("boom")
        if ends.kind == "is interrupted":
            interrupt(ends.kind)
        return {}

    graph = StateGraph(Carrying)
    graph.add_sequence([("work", work), ("stop", stop)]).add_edge(START, "work")
    agent = graph.compile()
    given = Big()
    ends.append(weakref.ref(given))
    config = {"callbacks": [handler], **thread(ends.kind)}
    if ends.kind == "is abandoned":
        stream = agent.stream({"value": given}, config, stream_mode="values")
        next(stream)
        stream.close()
        return
    try:
        agent.invoke({"value": given}, config)
    except ValueError:
        assert ends.kind == "fails"


class Ends(list):
    """Weak references to what is to end, of one kind of run."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind


@pytest.mark.parametrize(
    "states", [NodeStates(), PromptStates(), None], ids=lambda s: type(s).__name__
)
@pytest.mark.parametrize("kind", ["ends well", "fails", "is interrupted", "is abandoned"])
def test_states_are_not_kept_copied_compared_or_written_out_when_a_run(kind, states):
    handler = TransitionCallbackHandler(*[states] if states else [])
    ends = Ends(kind)
    carry(handler, ends)
    gc.collect()
    assert len(ends) >= 1
    assert [end() for end in ends if end() is not None] == []
    assert handler.faults == 0
    assert len(handler._runs) == 0


def test_inputs_are_the_same_objects_with_the_same_content():
    seen = []
    value = {"deep": [{"list": [1, 2]}]}
    before = copy.deepcopy(value)
    step = RunnableLambda(lambda given: seen.append(given) or given)
    found = step.invoke(value, {"callbacks": [TransitionCallbackHandler()]})
    assert seen[0] is value
    assert found is value
    assert value == before


def test_a_thread_that_is_resumed_by_another_copy_of_the_configuration_goes_on():
    agent = chain("a", "b", checkpointer=MemorySaver(), b=lambda state: {"log": [interrupt("?")]})
    handler = TransitionCallbackHandler()
    config: RunnableConfig = {"callbacks": [handler], **thread("T")}
    agent.invoke(INPUT, config)
    agent.invoke(Command(resume="yes"), copy.deepcopy(config))
    edges = {(u, v): n for u, v, n in handler.graph.graph.edges(data="count")}
    assert edges == {("__start__", "a"): 1, ("a", "b"): 1, ("b", "__end__"): 1}
