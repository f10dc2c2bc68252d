"""A person approves, request by request, and each request has a handler or a process of its own."""

import os
import subprocess
import sys

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from detailed_balance import read_runs
from detailed_balance.analyzers import END, START
from detailed_balance.callbacks import TransitionCallbackHandler
from tests.callbacks.store.test_store import file_url, postgres_url  # noqa: F401 - a fixture
from tests.support.agents import INPUT, FunctionModel, chain, path, thread

pytest.importorskip("langgraph.checkpoint.sqlite")

REQUESTS = """
import operator
import os
import sys
from typing import Annotated, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from detailed_balance.callbacks import TransitionCallbackHandler

place, store, *requests = sys.argv[1:]


class State(TypedDict):
    log: Annotated[list[str], operator.add]


graph = StateGraph(State)
for name, node in {
    "plan": lambda state: {"log": ["plan"]},
    "ask": lambda state: {"log": [interrupt("?"), interrupt("sure?")]},
    "act": lambda state: {"log": ["act"]},
}.items():
    graph.add_node(name, node)
for edge in ((START, "plan"), ("plan", "ask"), ("ask", "act"), ("act", END)):
    graph.add_edge(*edge)
TransitionCallbackHandler(store="sqlite://").close()  # loads what all of them need
for given in requests:
    if child := os.fork():  # a process for each request, none of which starts Python anew
        assert os.waitpid(child, 0)[1] == 0
        continue
    with SqliteSaver.from_conn_string(place) as saver:
        handler = TransitionCallbackHandler(store=store)
        graph.compile(checkpointer=saver).invoke(
            Command(resume="y") if given == "resume" else {"log": []},
            {"callbacks": [handler], "configurable": {"thread_id": "T"}},
        )
        handler.close()
    os._exit(0)  # at once: to take a Python down costs more than the request
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return file_url(tmp_path)
    return request.getfixturevalue("postgres_url")


@tool
def pay(amount: int) -> str:
    """Pay."""
    return "paid"


def test_twelve_approved_calls_are_one_run_though_each_request_has_its_own_handler(url):
    def answer(messages):
        number = sum(isinstance(message, AIMessage) for message in messages)
        call = {"name": "pay", "args": {"amount": number}, "id": str(number)}
        return AIMessage("", tool_calls=[call]) if number < 12 else AIMessage("done")

    agent = create_agent(
        FunctionModel(function=answer),
        [pay],
        middleware=[HumanInTheLoopMiddleware(interrupt_on={"pay": True})],
        checkpointer=InMemorySaver(),
    )
    requests = [{"messages": [("user", "pay the bills")]}]
    requests += 12 * [Command(resume={"decisions": [{"type": "approve"}]})]
    for given in requests:
        handler = TransitionCallbackHandler(store=url)
        agent.invoke(given, {"callbacks": [handler], **thread("T")})
        handler.close()
    (run,) = read_runs(url)
    assert list(run.moves) == path(START, *12 * ["pay"], "model", END)
    assert (run.outcome, run.attempts, run.past_unknown) == ("ended", 1, False)


def test_the_run_of_a_subgraph_is_one_too_though_each_request_has_its_own_handler(url):
    inner = chain("in1", "ask", "in2", ask=lambda state: {"log": [interrupt("?")]})
    agent = chain("a", "sub", "b", sub=inner, checkpointer=InMemorySaver())
    for given in (INPUT, Command(resume="y")):
        handler = TransitionCallbackHandler(store=url)
        agent.invoke(given, {"callbacks": [handler], **thread("T")})
        handler.close()
    outer, inside = read_runs(url)
    assert list(outer.moves) == path(START, "a", "sub", "b", END)
    assert list(inside.moves) == path(START, "in1", "ask", "in2", END)
    assert (inside.parent, inside.outcome, outer.outcome) == (outer.run, "ended", "ended")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_run_that_other_processes_go_on_with_is_one(url, tmp_path):
    requests = ("question", "resume", "resume", "question")
    command = [sys.executable, "-c", REQUESTS, str(tmp_path / "checkpoints.db"), url, *requests]
    subprocess.run(command, check=True)
    first, second = read_runs(url)
    assert list(first.moves) == path(START, "plan", "ask", "act", END)
    assert list(second.moves) == path(START, "plan")
    assert (first.outcome, second.outcome) == ("ended", "interrupted")
