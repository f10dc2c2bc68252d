"""Functional workflows and runnables without any graph, against what a person would write down."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START
from langgraph.types import Command, interrupt

from detailed_balance.callbacks import (
    ActionStates,
    NodeStates,
    TransitionCallbackHandler,
    record_transitions,
)
from tests.support.agents import INPUT, ScriptedModel, Walks, chain, node, path, run, split, thread


@pytest.fixture
def handler():
    return TransitionCallbackHandler(graph=Walks())


@task
def draft(n):
    return n + 1


@task
def review(n):
    return n * 2


def test_tasks_of_a_workflow_are_its_path(handler):
    @entrypoint()
    def flow(n):
        for _ in range(2):
            n = review(draft(n).result()).result()
        return n

    assert flow.invoke(1, {"callbacks": [handler]}) == 10
    assert handler.graph.walk == path(START, "draft", "review", "draft", "review", END)


async def test_async_workflow_is_the_same(handler):
    @task
    async def write(n):
        return n + 1

    @entrypoint()
    async def flow(n):
        return await review(await write(n))

    assert await flow.ainvoke(1, {"callbacks": [handler]}) == 4
    assert handler.graph.walk == path(START, "write", "review", END)


def test_workflow_without_tasks_is_its_name(handler):
    @entrypoint()
    def flow(n):
        return n

    flow.invoke(1, {"callbacks": [handler]})
    assert handler.graph.walk == path(START, "flow", END)


def test_tasks_that_overlap_are_one_composite_state(handler):
    both = threading.Barrier(2)

    @task
    def left(n):
        both.wait(10)
        return n

    @task
    def right(n):
        both.wait(10)
        return n

    @entrypoint()
    def flow(n):
        futures = [left(n), right(n)]
        return draft(sum(future.result() for future in futures)).result()

    flow.invoke(1, {"callbacks": [handler]})
    assert handler.graph.walk == path(START, "left|right", "draft", END)


def test_interrupted_workflow_goes_on_where_it_stopped(handler):
    @task
    def ask(n):
        return interrupt("?")

    @entrypoint(checkpointer=MemorySaver())
    def flow(n):
        return ask(draft(n).result()).result() + str(review(n).result())

    config = {"callbacks": [handler], **thread("T")}
    flow.invoke(1, config)
    assert handler.graph.walks == {"T": path(START, "draft")}
    assert flow.invoke(Command(resume="yes"), config) == "yes2"
    assert handler.graph.walks == {"T": path(START, "draft", "ask", "review", END)}


def test_failing_task_is_an_escape_without_end(handler):
    @task
    def fail(n):
        raise ValueError("boom")

    @entrypoint()
    def flow(n):
        return fail(draft(n).result()).result()

    with pytest.raises(ValueError, match="boom"):
        flow.invoke(1, {"callbacks": [handler]})
    assert handler.graph.walk == path(START, "draft", None)


def test_graph_inside_a_task_is_a_trajectory_of_its_own(handler):
    inner = chain("in1", "in2")

    @task
    def delegate(n):
        return len(inner.invoke(INPUT)["log"])

    @entrypoint()
    def flow(n):
        return delegate(n).result()

    flow.invoke(1, {"callbacks": [handler]})
    *walks, outer = handler.graph.walks.values()
    assert outer == path(START, "delegate", END)
    assert walks == [path(START, "in1", "in2", END)]


@tool
def search(q: str) -> str:
    """Search."""
    return q


MODEL = ScriptedModel(script=["yes", "no", "maybe"])


def test_chain_is_the_model_and_the_tools_that_it_calls(handler):
    prompt = ChatPromptTemplate.from_messages([("system", "Be good."), ("human", "{q}")])
    pipeline = prompt | MODEL | StrOutputParser() | RunnableLambda(lambda q: {"q": q}) | search
    assert pipeline.invoke({"q": "?"}, {"callbacks": [handler]}) == "yes"
    assert handler.graph.walk == path(START, "model", "search", END)


def test_model_and_tool_alone_are_paths_of_one_step(handler):
    MODEL.invoke("hi", {"callbacks": [handler]})
    search.invoke({"q": "?"}, {"callbacks": [handler]})
    assert list(handler.graph.walks.values()) == [
        path(START, "model", END),
        path(START, "search", END),
    ]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (ActionStates(), (START, "search", "model", END)),
        (NodeStates(), (START, "model", "search", "model", END)),
    ],
)
def test_hand_written_loop_is_like_an_agent(states, expected):
    def agent(question, config):
        asking = ScriptedModel(script=[["search"], "done"])
        request = asking.invoke(question, config)
        search.invoke({"q": "?"}, config)
        return asking.invoke([request], config).text

    handler = TransitionCallbackHandler(states, Walks())
    assert RunnableLambda(agent).invoke("?", {"callbacks": [handler]}) == "done"
    assert handler.graph.walk == path(*expected)


def test_models_side_by_side_are_one_state(handler):
    both = threading.Barrier(2)

    class Waiting(ScriptedModel):
        def _generate(self, *args, **kwargs):
            both.wait(10)
            return super()._generate(*args, **kwargs)

    slow, slower = Waiting(script=["x"]), Waiting(script=["y"])
    RunnableParallel(a=slow, b=slower).invoke("?", {"callbacks": [handler]})
    assert handler.graph.walk == path(START, "model", END)


def test_failing_tool_in_a_chain_is_an_escape(handler):
    @tool
    def broken(q: str) -> str:
        """Break."""
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        (RunnableLambda(lambda q: {"q": q}) | broken).invoke("?", {"callbacks": [handler]})
    assert handler.graph.walk == path(START, None)


def test_what_runs_inside_a_tool_of_a_chain_belongs_to_the_tool(handler):
    @tool
    def delegate(q: str) -> str:
        """Delegate."""
        return MODEL.invoke(q).text + search.invoke({"q": q})

    delegate.invoke({"q": "?"}, {"callbacks": [handler]})
    assert handler.graph.walk == path(START, "delegate", END)


def test_model_under_a_retriever_belongs_to_it(handler):
    class Rewriting(BaseRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            MODEL.invoke(query, {"callbacks": run_manager.get_child()})
            return []

    def look_up(state, config):
        Rewriting().invoke("?", config)
        return {"log": ["x"]}

    run(chain("look", look=look_up), handler)
    assert handler.graph.walk == path(START, "look", END)
    assert len(handler._runs) == 0


def test_graphs_in_a_chain_are_trajectories_of_their_own(handler):
    twice = chain("a", "b") | chain("a", "b")
    twice.invoke(INPUT, {"callbacks": [handler]})
    assert list(handler.graph.walks.values()) == [path(START, "a", "b", END)] * 2


@pytest.mark.parametrize("given", [False, True])
def test_graph_in_a_bare_thread_is_a_run_of_its_own_unless_it_is_given_the_config(handler, given):
    inner = chain("in1", "in2")

    def call(state, config):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(inner.invoke, INPUT, config if given else None).result()
        return {"log": ["call"]}

    with record_transitions(graph=handler.graph):
        chain("call", call=call).invoke(INPUT)
    outer, inside = split(handler.graph.walks)
    assert outer == path(START, "call", END)
    # A bare thread begins without context: nothing there is seen, and nothing invented.
    assert inside == ({"call": path(START, "in1", "in2", END)} if given else {})


def test_chain_of_plain_functions_has_no_step(handler):
    (RunnableLambda(node("x")) | RunnableLambda(lambda x: x)).invoke(
        INPUT, {"callbacks": [handler]}
    )
    assert handler.graph.walks == {}
