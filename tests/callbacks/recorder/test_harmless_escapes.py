"""Whatever a state function raises is an escape, but for what ends the program."""

import asyncio
import sys
from types import ModuleType

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

from detailed_balance.callbacks import ActionStates, ModelCallStates, TransitionCallbackHandler


class PanicException(BaseException):
    """What an extension written in Rust raises."""


ESCAPES = [asyncio.CancelledError, GeneratorExit, PanicException, ValueError, RecursionError]
ENDS = [KeyboardInterrupt, SystemExit]


def agent():
    graph = StateGraph(dict).add_node("a", lambda state: state).add_node("b", lambda state: state)
    return graph.add_edge(START, "a").add_edge("a", "b").add_edge("b", END).compile()


def raising(error):
    def states(run):
        if run.name == "a":
            raise error("secret thoughts")
        return run.name

    return states


@pytest.mark.parametrize("error", ESCAPES)
def test_what_a_state_function_raises_is_an_escape_and_logged_once(error, caplog):
    handler = TransitionCallbackHandler(raising(error))
    for _ in range(3):
        assert agent().invoke({"x": 1}, {"callbacks": [handler]}) == {"x": 1}
    assert (handler.graph.snapshot().escapes.sum(), handler.faults) == (3, 3)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("error", ESCAPES)
async def test_async_agent_is_neither_cancelled_nor_ended(error):
    handler = TransitionCallbackHandler(raising(error))
    assert await agent().ainvoke({"x": 1}, {"callbacks": [handler]}) == {"x": 1}
    assert handler.faults == 1


@pytest.mark.parametrize("error", ENDS)
def test_what_ends_the_program_passes(error):
    handler = TransitionCallbackHandler(raising(error))
    with pytest.raises(error):
        agent().invoke({"x": 1}, {"callbacks": [handler]})
    assert handler.faults == 0


def test_what_ends_a_thread_of_gevent_passes(monkeypatch):
    kind = type("GreenletExit", (BaseException,), {"__module__": "greenlet"})
    monkeypatch.setitem(sys.modules, "greenlet", ModuleType("greenlet"))
    with pytest.raises(kind):
        agent().invoke({"x": 1}, {"callbacks": [TransitionCallbackHandler(raising(kind))]})


@tool
def search(query: str) -> str:
    """Search."""
    return query


@pytest.mark.parametrize("error", ESCAPES)
def test_name_of_a_tool_that_is_not_given_is_an_escape(error):
    class States(ActionStates):
        def name_tool(self, name, arguments):
            raise error

    handler = TransitionCallbackHandler(States())
    assert search.invoke({"query": "x"}, {"callbacks": [handler]}) == "x"
    assert handler.faults > 0


@pytest.mark.parametrize("error", ESCAPES)
def test_states_of_model_calls_that_raise_cost_the_model_nothing(error):
    class States(ModelCallStates):
        def source(self, messages):
            raise error

        def target(self, reply):
            raise error

    handler = TransitionCallbackHandler(States())
    model = FakeListChatModel(responses=["yes"])
    assert model.invoke("hello", {"callbacks": [handler]}).content == "yes"
    assert handler.faults > 0


@pytest.mark.parametrize("error", ESCAPES)
def test_what_our_own_code_raises_reaches_no_agent(error, monkeypatch):
    handler = TransitionCallbackHandler()

    def fail(*_, **__):
        raise error

    for name in ("start", "start_node", "end"):
        monkeypatch.setattr(handler._runs, name, fail)
    assert agent().invoke({"x": 1}, {"callbacks": [handler]}) == {"x": 1}
    assert handler.faults > 0
