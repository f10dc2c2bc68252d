"""One run, one id: what goes on with a run, and what is another one."""

import asyncio
import contextlib

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt

from detailed_balance.analyzers import Outcome
from detailed_balance.callbacks import Ending, TransitionCallbackHandler
from detailed_balance.callbacks.transition import RESUMED
from tests.support.agents import (
    INPUT,
    FunctionModel,
    KeptRecords,
    State,
    chain,
    fail,
    loop,
    node,
    path,
    thread,
)

ENDED, INTERRUPTED, FAILED = ["ended"], ["interrupted"], ["failed"]


@pytest.fixture
def store():
    return KeptRecords()


@pytest.fixture
def config(store):
    return {"callbacks": [TransitionCallbackHandler(store=store)], **thread("T")}


def ask(state):
    return {"log": [interrupt("?")]}


def saved(*names, **nodes):
    return chain(*names, checkpointer=InMemorySaver(), **nodes)


def test_each_turn_of_a_thread_is_a_run_of_its_own(store, config):
    agent = saved("a", "b")
    for _ in range(3):
        agent.invoke(INPUT, config)
    assert store.runs == 3 * [(ENDED, path(START, "a", "b", END))]
    assert {begun.thread for begun in store.beginnings.values()} == {"T"}


def test_every_move_and_ending_carries_a_run_that_began_before_it(store, config):
    agent = saved("a", "ask", "b", ask=ask)
    agent.invoke(INPUT, config)
    agent.invoke(Command(resume="y"), config)
    (run,) = store.beginnings
    assert store.records[0].run == run
    assert {record.run for record in store.records} == {run}


def test_a_resume_goes_on_with_the_run(store, config):
    agent = saved("a", "ask", "b", ask=ask)
    agent.invoke(INPUT, config)
    agent.invoke(Command(resume="y"), config)
    assert store.runs == [(INTERRUPTED + ENDED, path(START, "a", "ask", "b", END))]


def test_parallel_interrupts_resumed_one_by_one_are_one_superstep_of_one_run(store, config):
    graph = StateGraph(State)
    for name, work in {"x": ask, "y": ask, "z": node("z")}.items():
        graph.add_node(name, work)
    for source, target in [(START, "x"), (START, "y"), ("x", "z"), ("y", "z")]:
        graph.add_edge(source, target)
    agent = graph.compile(checkpointer=InMemorySaver())
    agent.invoke(INPUT, config)
    while agent.get_state(config).interrupts:
        first = agent.get_state(config).interrupts[0]
        agent.invoke(Command(resume={first.id: "y"}), config)
    assert store.runs == [(2 * INTERRUPTED + ENDED, path(START, "x|y", "z", END))]


def test_a_retry_goes_on_with_the_run_and_its_last_outcome_holds(store, config):
    left = [1, 1]

    def flaky(state):
        if left:
            left.pop()
            raise ConnectionError("again")
        return {"log": ["b"]}

    agent = saved("a", "b", b=flaky)
    for given in (INPUT, None):
        with pytest.raises(ConnectionError):
            agent.invoke(given, config)
    agent.invoke(None, config)
    assert store.runs == [(2 * FAILED + ENDED, path(START, "a", None, None, "b", END))]
    assert config["callbacks"][0].graph.outcomes() == {Outcome.ENDED: 1}


def test_a_new_question_after_a_failure_is_a_new_run(store, config):
    agent = saved("a", "b", b=fail)
    for _ in range(2):
        with pytest.raises(ValueError, match="boom"):
            agent.invoke(INPUT, config)
    assert store.runs == 2 * [(FAILED, path(START, "a", None))]


def test_a_replay_is_a_run_that_came_from_the_one_before(store, config):
    agent = saved("a", "b", "c")
    agent.invoke(INPUT, config)
    before_b = next(s for s in agent.get_state_history(thread("T")) if s.next == ("b",))
    for _ in range(2):
        agent.invoke(None, {**config, **before_b.config})
    replayed = (ENDED, [(RESUMED, "b"), *path("b", "c", END)])
    assert store.runs == [(ENDED, path(START, "a", "b", "c", END)), replayed, replayed]
    first, second, third = store.beginnings.values()
    assert (first.origin, second.origin, third.origin) == (None, first.run, second.run)
    assert (first.past_unknown, second.past_unknown) == (False, True)
    assert second.resumes.replays


def test_a_replay_of_a_waiting_question_goes_on_with_the_run_that_asked(store, config):
    agent = saved("a", "ask", "b", ask=ask)
    agent.invoke(INPUT, config)
    waiting = agent.get_state(config)
    agent.invoke(Command(resume="y"), {**config, **waiting.config})
    assert store.runs == [(INTERRUPTED + ENDED, path(START, "a", "ask", "b", END))]


def test_a_fork_is_a_run_that_came_from_the_one_before(store, config):
    agent = saved("a", "b", "c")
    agent.invoke(INPUT, config)
    before_b = next(s for s in agent.get_state_history(thread("T")) if s.next == ("b",))
    forked = agent.update_state(before_b.config, {"log": ["edited"]})
    agent.invoke(None, {**config, **forked})
    assert [outcomes for outcomes, _ in store.runs] == [ENDED, ENDED]
    first, second = store.beginnings.values()
    assert second.origin == first.run
    assert store.runs[1][1][1:] == path("b", "c", END)


def test_a_jump_on_a_finished_thread_is_a_run_that_came_from_the_one_before(store, config):
    agent = saved("a", "b", "c")
    agent.invoke(INPUT, config)
    agent.invoke(Command(goto="b"), config)
    first, second = store.beginnings.values()
    assert second.origin == first.run
    assert store.runs[1] == (ENDED, [(RESUMED, "b"), *path("b", "c", END)])


def test_nothing_given_to_a_finished_thread_is_no_run(store, config):
    agent = saved("a", "b")
    agent.invoke(INPUT, config)
    agent.invoke(None, config)
    assert store.runs == [(ENDED, path(START, "a", "b", END))]


def test_a_state_that_a_person_edited_goes_on_with_the_run_but_not_from_where_it_was(store, config):
    agent = saved("a", "b")
    agent.interrupt_before_nodes = ["b"]
    agent.invoke(INPUT, config)
    agent.update_state(thread("T"), {"log": ["edited"]})
    agent.invoke(None, config)
    assert [moves for _, moves in store.runs] == [[(START, "a"), ("b", END)]]


def test_a_stream_that_was_dropped_between_two_steps_goes_on_with_the_run(store, config):
    agent = saved("a", "b", "c")
    stream = agent.stream(INPUT, config)
    next(stream)
    stream.close()
    agent.invoke(None, config)
    ((outcomes, moves),) = store.runs
    assert outcomes[-1] == "ended"
    assert moves == path(START, "a", "b", "c", END)


def test_a_stream_that_is_dropped_after_its_interrupt_was_interrupted(store, config):
    agent = saved("a", "ask", "b", ask=ask)
    stream = agent.stream(INPUT, config)
    for chunk in stream:
        if "__interrupt__" in chunk:
            break
    stream.close()
    assert [outcomes for outcomes, _ in store.runs] == [INTERRUPTED]


def test_a_stream_that_is_dropped_after_its_static_interrupt_was_interrupted(store, config):
    agent = saved("a", "b")
    agent.interrupt_before_nodes = ["b"]
    stream = agent.stream(INPUT, config)
    for chunk in stream:
        if "__interrupt__" in chunk:
            break
    stream.close()
    assert [outcomes for outcomes, _ in store.runs] == [INTERRUPTED]


def test_invocations_of_one_thread_at_once_are_runs_of_their_own(store, config):
    agent = saved("a", "b", "c")
    agent.batch(4 * [INPUT], config)
    assert sorted(store.runs) == 4 * [(ENDED, path(START, "a", "b", "c", END))]


async def cancel(agent, given, config, started):
    running = asyncio.create_task(agent.ainvoke(given, config))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_a_turn_that_is_cancelled_before_its_first_move_leaves_the_turn_before_alone(store, config):
    turns = []

    async def main():
        started = asyncio.Event()

        async def work(state):
            turns.append(1)
            if len(turns) > 1:
                started.set()
                await asyncio.sleep(30)
            return {"log": ["a"]}

        agent = saved("a", a=work)
        await agent.ainvoke(INPUT, config)
        await cancel(agent, INPUT, config, started)

    asyncio.run(main())
    assert store.runs == [(ENDED, path(START, "a", END)), (["cancelled"], [])]


def test_a_turn_that_stops_at_its_limit_leaves_the_turn_before_alone(store, config):
    agent = saved("a", "b")
    agent.invoke(INPUT, config)
    with pytest.raises(GraphRecursionError):
        agent.invoke(INPUT, {**config, "recursion_limit": 1})
    assert store.runs[0] == (ENDED, path(START, "a", "b", END))
    assert store.runs[1][0] == ["recursion_limit"]


def test_equal_turns_of_a_thread_take_equally_many_supersteps(store, config):
    agent = saved("a", "b", "c")
    for _ in range(4):
        agent.invoke(INPUT, config)
    assert [ending.supersteps for ending in store.of(Ending)] == [3, 3, 3, 3]
    agent.invoke(INPUT, {**config, "recursion_limit": 4})


def test_an_invocation_that_another_process_began_says_how_it_goes_on(store):
    agent = saved("a", "ask", "b", ask=ask)
    other = KeptRecords()
    agent.invoke(INPUT, {"callbacks": [TransitionCallbackHandler(store=other)], **thread("T")})
    agent.invoke(
        Command(resume="y"), {"callbacks": [TransitionCallbackHandler(store=store)], **thread("T")}
    )
    (begun,), (ending,) = store.beginnings.values(), other.of(Ending)
    assert begun.resumes.task in ending.standing.tasks
    assert begun.resumes.superstep == ending.standing.superstep == 2
    assert (ending.standing.state, begun.past_unknown) == ("a", True)
    assert store.runs == [(ENDED, [(RESUMED, "ask"), *path("ask", "b", END)])]


def test_an_unknown_invocation_counts_from_the_first_state_that_was_seen(config):
    agent = saved("a", "ask", "b", ask=ask)
    agent.invoke(INPUT, thread("T"))
    handler = config["callbacks"][0]
    agent.invoke(Command(resume="y"), config)
    assert list(handler.graph.graph.edges()) == [("ask", "b"), ("b", END)]


@task
def draft(x):
    return x + 1


@task
def publish(x):
    return x


def test_an_interrupt_in_the_body_of_a_workflow_goes_on_with_the_run(store, config):
    @entrypoint(checkpointer=InMemorySaver())
    def flow(x):
        for _ in range(2):
            x = draft(x).result()
            interrupt("ok?")
            publish(x).result()
        return x

    flow.invoke(0, config)
    for _ in range(2):
        flow.invoke(Command(resume="y"), config)
    assert store.runs == [
        (2 * INTERRUPTED + ENDED, path(START, "draft", "publish", "draft", "publish", END))
    ]


def test_a_workflow_whose_tasks_were_all_done_before_its_interrupt_names_no_other_state(
    store, config
):
    @entrypoint(checkpointer=InMemorySaver())
    def flow(x):
        x = draft(x).result()
        interrupt("ok?")
        return x

    flow.invoke(0, config)
    flow.invoke(Command(resume="y"), config)
    assert store.runs == [(INTERRUPTED + ENDED, path(START, "draft", END))]


def test_the_run_of_a_subgraph_has_a_parent(store):
    inner = chain("in1", "in2")
    middle = chain("inner", inner=inner)
    agent = chain("a", "middle", middle=middle)
    agent.invoke(INPUT, {"callbacks": [TransitionCallbackHandler(store=store)]})
    outer, between, innermost = store.beginnings.values()
    assert (outer.parent, between.parent, innermost.parent) == (None, outer.run, between.run)
    assert [outcomes for outcomes, _ in store.runs] == 3 * [ENDED]


def test_subgraphs_side_by_side_are_runs_of_their_own(store, config):
    inner = chain("in1", "in2")
    graph = StateGraph(State)
    graph.add_node("start", node("start"))
    graph.add_node("sub", lambda state: {"log": inner.invoke(state)["log"]})
    graph.add_edge(START, "start")
    graph.add_conditional_edges("start", lambda state: [Send("sub", INPUT) for _ in range(3)])
    agent = graph.compile(checkpointer=InMemorySaver())
    agent.invoke(INPUT, config)
    outer, *inside = store.beginnings.values()
    assert {begun.parent for begun in inside} == {outer.run}
    assert [walk for _, walk in store.runs[1:]] == 3 * [path(START, "in1", "in2", END)]


def test_the_interrupt_of_a_subgraph_goes_on_with_both_runs(store, config):
    agent = saved("sub", "b", sub=chain("in1", "ask", ask=ask))
    agent.invoke(INPUT, config)
    agent.invoke(Command(resume="y"), config)
    assert store.runs == [
        (INTERRUPTED + ENDED, path(START, "sub", "b", END)),
        (INTERRUPTED + ENDED, path(START, "in1", "ask", END)),
    ]


def test_a_new_turn_is_a_new_run_of_a_subgraph_with_a_memory_of_its_own(store, config):
    inner = chain("in1", "ask", "in2", checkpointer=True, ask=ask)
    agent = saved("sub", sub=inner)
    for _ in range(3):
        agent.invoke(INPUT, config)
    parents = {begun.parent for begun in store.beginnings.values() if begun.parent}
    assert len(store.beginnings) == 6
    assert len(parents) == 3
    assert {tuple(outcomes) for outcomes, _ in store.runs} == {("interrupted",)}


def test_the_limit_of_an_inner_graph_is_a_failure_of_the_outer_one(store):
    inner = loop(100).with_config(recursion_limit=5)
    agent = chain("a", "sub", sub=lambda state: inner.invoke(INPUT))
    with pytest.raises(GraphRecursionError):
        agent.invoke(INPUT, {"callbacks": [TransitionCallbackHandler(store=store)]})
    (outer, walk), (inside, _) = store.runs
    assert (outer, inside) == (FAILED, ["recursion_limit"])
    assert walk == path(START, "a", None)


def test_the_own_limit_of_a_graph_is_no_failure(store):
    with pytest.raises(GraphRecursionError):
        loop(100).invoke(
            INPUT, {"callbacks": [TransitionCallbackHandler(store=store)], "recursion_limit": 5}
        )
    assert [outcomes for outcomes, _ in store.runs] == [["recursion_limit"]]


def test_a_node_that_is_tried_again_stays_in_its_run(store, config):
    left = [1]

    def flaky(state):
        if left:
            left.pop()
            raise ConnectionError("again")
        return {"log": ["b"]}

    graph = StateGraph(State)
    graph.add_node("b", flaky, retry_policy=RetryPolicy(initial_interval=0.01))
    graph.add_edge(START, "b")
    graph.compile(checkpointer=InMemorySaver()).invoke(INPUT, config)
    ((outcomes, moves),) = store.runs
    assert (outcomes, moves[-1]) == (ENDED, ("b", END))


@pytest.mark.parametrize("call", ["invoke", "stream", "ainvoke"])
def test_a_model_and_its_fallback_are_one_run(store, call):
    def answer(messages):
        return AIMessage("hello")

    def refuse(messages):
        raise ConnectionError("down")

    model = FunctionModel(function=refuse).with_fallbacks([FunctionModel(function=answer)])
    given = {"callbacks": [TransitionCallbackHandler(store=store)]}
    if call == "ainvoke":
        asyncio.run(model.ainvoke("hi", given))
    else:
        result = getattr(model, call)("hi", given)
        assert result.content if call == "invoke" else list(result)
    assert store.runs == [(ENDED, path(START, None, "model", END))]


def test_a_call_that_failed_is_a_step_of_its_own_in_a_plain_runnable(store):
    @tool
    def search(query: str) -> str:
        """Search."""
        if query == "bad":
            raise ValueError("boom")
        return "found"

    def work(text, config):
        for query in ("good", "bad", "good", "good"):
            with contextlib.suppress(ValueError):
                search.invoke({"query": query}, config)
        return text

    handler = TransitionCallbackHandler(store=store)
    RunnableLambda(work).invoke("go", {"callbacks": [handler]})
    assert store.runs == [(ENDED, path(START, "search", None, "search", "search", END))]


def test_a_limit_of_an_inner_graph_that_was_handled_does_not_hide_the_own_limit_of_the_outer_one(
    store,
):
    inner = loop(100).with_config(recursion_limit=5)

    def sub(state):
        with contextlib.suppress(GraphRecursionError):
            inner.invoke(INPUT)
        return {"n": 0}

    graph = StateGraph(State)
    graph.add_node("sub", sub)
    graph.add_edge(START, "sub")
    graph.add_edge("sub", "sub")
    with pytest.raises(GraphRecursionError):
        graph.compile().invoke(
            INPUT, {"callbacks": [TransitionCallbackHandler(store=store)], "recursion_limit": 3}
        )
    assert {tuple(outcomes) for outcomes, _ in store.runs} == {("recursion_limit",)}
