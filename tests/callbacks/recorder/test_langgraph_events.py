"""What LangChain and LangGraph tell a handler, one test for each thing that the recorder relies on.

Nothing of the recorder runs here. Where a release changes what it sends, the test that fails says
what, and the table in `docs/reference/langgraph-events.md` says which code relies on it.
"""

import asyncio
import contextlib
import re
from dataclasses import dataclass
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt, GraphRecursionError, ParentCommand
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy, Command, RetryPolicy, interrupt

from tests.support.agents import (
    INPUT,
    ScriptedModel,
    State,
    chain,
    fail,
    loop,
    node,
    since_1_2,
    thread,
)
from tests.support.sources import ROOT

PAGE = ROOT / "docs" / "reference" / "langgraph-events.md"
QUESTION = {"messages": [("user", "hi")]}


@dataclass(frozen=True)
class Event:
    """One call of a handler: the hook, its first argument, and the others by name."""

    hook: str
    content: Any
    more: dict[str, Any]

    @property
    def run_id(self):
        return self.more["run_id"]

    @property
    def metadata(self):
        return self.more.get("metadata") or {}

    @property
    def is_node(self):
        return any(tag.startswith("graph:step:") for tag in self.more.get("tags") or ())

    @property
    def node(self):
        return self.metadata.get("langgraph_node")

    @property
    def step(self):
        return self.metadata.get("langgraph_step")

    @property
    def place(self):
        return self.metadata.get("langgraph_checkpoint_ns")


class Listener(BaseCallbackHandler):
    """Keep every event, in the order in which it came."""

    run_inline = True

    def __init__(self):
        self.events = []

    def of(self, hook):
        return [event for event in self.events if event.hook == hook]

    @property
    def nodes(self):
        return [event for event in self.of("on_chain_start") if event.is_node]

    def of_run(self, start):
        """The hooks of the run that this event began, without its start."""
        return [e.hook for e in self.events if e.run_id == start.run_id and e is not start]

    def errors_of(self, start):
        """What the run that this event began ended with."""
        ends = self.of("on_chain_error")
        return [event.content for event in ends if event.run_id == start.run_id]


def _hook(name):
    def keep(self, content, *rest, **more):
        self.events.append(Event(name, content, more))

    return keep


for _name in ("chain_start", "chain_end", "chain_error", "tool_start", "tool_end", "tool_error"):
    setattr(Listener, f"on_{_name}", _hook(f"on_{_name}"))
for _name in ("chat_model_start", "llm_end", "llm_error"):
    setattr(Listener, f"on_{_name}", _hook(f"on_{_name}"))


def listen(agent, given=None, **config):
    """Invoke an agent, and return what a handler hears; an error ends it as it ends the agent."""
    listener = Listener()
    with contextlib.suppress(ValueError, GraphRecursionError):
        agent.invoke(INPUT if given is None else given, {"callbacks": [listener], **config})
    return listener


def goes_on(agent, given, **config):
    """Invoke an agent on a thread that has stopped."""
    listener = Listener()
    agent.invoke(given, {"callbacks": [listener], **config})
    return listener


@tool
def search() -> str:
    """Search."""
    return "nothing"


def ask(state):
    """Be a node that asks a person."""
    interrupt("may I?")


def test_a_node_has_a_tag_with_its_step_and_what_runs_inside_has_only_its_metadata():
    heard = listen(create_agent(ScriptedModel(script=[["search"], "done"]), [search]), QUESTION)
    assert [(event.node, event.step) for event in heard.nodes] == [
        ("model", 1),
        ("tools", 2),
        ("model", 3),
    ]
    (called,) = heard.of("on_tool_start")
    assert (called.node, called.step, called.is_node) == ("tools", 2, False)
    asked = heard.of("on_chat_model_start")
    assert [(event.node, event.is_node) for event in asked] == [("model", False)] * 2


def test_the_parent_of_a_node_is_the_run_of_its_graph():
    heard = listen(chain("a", "b"))
    root = heard.events[0]
    assert root.more["parent_run_id"] is None
    assert [event.more["parent_run_id"] for event in heard.nodes] == [root.run_id] * 2


def test_nothing_is_serialized_of_a_graph_or_a_node():
    heard = listen(chain("a"))
    assert {event.content for event in heard.of("on_chain_start")} == {None}


def test_inputs_are_handed_over_by_reference():
    given = []
    agent = chain("a", a=lambda state: given.append(state))
    listener = Listener()
    seen = []
    listener.on_chain_start = lambda serialized, inputs, **more: seen.append(inputs)
    agent.invoke(INPUT, {"callbacks": [listener]})
    assert seen[-1] is given[0]


def test_a_conditional_entry_runs_as_a_node_that_is_called_start():
    graph = StateGraph(State)
    graph.add_node("a", node("a"))
    graph.add_conditional_edges(START, lambda state: "a")
    heard = listen(graph.compile())
    starts = [event for event in heard.of("on_chain_start") if event.node == START]
    assert len(starts) >= 1
    assert [event.node for event in heard.nodes if event.node != START] == ["a"]


def test_nodes_of_one_superstep_have_one_step():
    graph = StateGraph(State)
    for name in ("a", "b"):
        graph.add_node(name, node(name))
        graph.add_edge(START, name)
    heard = listen(graph.compile())
    assert sorted((event.node, event.step) for event in heard.nodes) == [("a", 1), ("b", 1)]


def test_a_task_of_a_workflow_has_no_tag_of_a_node_and_a_path_that_ends_in_true():
    @task
    def draft(n):
        return n + 1

    @entrypoint()
    def write(n):
        return draft(n).result()

    heard = listen(write, 1)
    paths = [event.metadata.get("langgraph_path") for event in heard.of("on_chain_start")]
    called = [event for event in heard.of("on_chain_start") if event.more["name"] == "draft"]
    assert [event.is_node for event in called] == [False]
    assert [bool(path) and path[-1] is True for path in paths].count(True) == 1


class Hook(AgentMiddleware):
    """Hooks that change nothing."""

    def before_agent(self, state, runtime):
        return None

    def before_model(self, state, runtime):
        return None

    def after_model(self, state, runtime):
        return None

    def after_agent(self, state, runtime):
        return None


def test_a_hook_of_a_middleware_is_a_node_with_the_name_of_both():
    agent = create_agent(ScriptedModel(script=["done"]), [], middleware=[Hook()])
    assert [event.node for event in listen(agent, QUESTION).nodes] == [
        "Hook.before_agent",
        "Hook.before_model",
        "model",
        "Hook.after_model",
        "Hook.after_agent",
    ]


def test_a_tool_that_does_not_exist_runs_the_node_and_starts_no_tool():
    agent = create_agent(ScriptedModel(script=[["serach"], "done"]), [search])
    heard = listen(agent, QUESTION)
    assert [event.node for event in heard.nodes] == ["model", "tools", "model"]
    assert heard.of("on_tool_start") == []
    (end,) = [e for e in heard.of("on_chain_end") if e.run_id == heard.nodes[1].run_id]
    (message,) = end.content["messages"]
    assert (message.name, message.status) == ("serach", "error")


def test_the_answer_of_a_tool_names_the_call():
    agent = create_agent(ScriptedModel(script=[["search"], "done"]), [search])
    (end,) = listen(agent, QUESTION).of("on_tool_end")
    assert (end.content.tool_call_id, end.content.name) == ("0.0", "search")


def test_an_interrupt_is_an_error_of_the_node_and_the_graph_ends():
    heard = listen(chain("a", "b", checkpointer=InMemorySaver(), b=ask), **thread("t"))
    (error,) = heard.errors_of(heard.nodes[1])
    assert isinstance(error, GraphInterrupt)
    assert heard.of_run(heard.events[0]) == ["on_chain_end"]


def test_a_resume_has_the_step_and_the_place_of_the_node_that_asked():
    agent = chain("a", "b", checkpointer=InMemorySaver(), b=ask)
    asked = listen(agent, **thread("t")).nodes[-1]
    resumed = goes_on(agent, Command(resume="yes"), **thread("t"))
    assert resumed.events[0].content is None
    assert [(e.node, e.step, e.place) for e in resumed.nodes] == [(asked.node, 2, asked.place)]


def test_a_node_that_goes_on_after_its_error_has_its_step_and_its_place():
    agent = chain("a", "b", checkpointer=InMemorySaver(), b=fail)
    failed = listen(agent, **thread("t")).nodes[-1]
    listener = Listener()
    with pytest.raises(ValueError, match="boom"):
        agent.invoke(None, {"callbacks": [listener], **thread("t")})
    assert [(e.node, e.step, e.place) for e in listener.nodes] == [("b", 2, failed.place)]


def test_a_second_turn_of_a_thread_leaves_out_a_step():
    agent = chain("a", "b", checkpointer=InMemorySaver())
    first, second = (listen(agent, **thread("t")) for _ in range(2))
    assert second.nodes[0].step > first.nodes[-1].step + 1


def test_a_replay_names_its_checkpoint_in_the_metadata_of_the_root():
    agent = chain("a", "b", checkpointer=InMemorySaver())
    listen(agent, **thread("t"))
    (before,) = [s for s in agent.get_state_history(thread("t")) if s.next == ("b",)]
    replay = goes_on(agent, None, **before.config)
    checkpoint = before.config["configurable"]["checkpoint_id"]
    assert replay.events[0].metadata.get("checkpoint_id") == checkpoint
    assert [event.node for event in replay.nodes] == ["b"]


def test_a_command_to_the_parent_graph_is_an_error_of_the_node_inside():
    def leave(state):
        return Command(graph=Command.PARENT, goto="after")

    graph = StateGraph(State)
    graph.add_node("inside", chain("leave", leave=leave))
    graph.add_node("after", node("after"))
    graph.add_edge(START, "inside")
    heard = listen(graph.compile())
    errors = [error for event in heard.nodes for error in heard.errors_of(event)]
    assert errors
    assert all(isinstance(error, ParentCommand) for error in errors)
    assert heard.of_run(heard.events[0]) == ["on_chain_end"]


def test_each_attempt_of_a_retried_node_has_the_same_step():
    attempts = []

    def sometimes(state):
        attempts.append(state)
        if len(attempts) < 3:
            raise ConnectionError("boom")

    graph = StateGraph(State)
    again = RetryPolicy(initial_interval=0, jitter=False)
    graph.add_node("a", sometimes, retry_policy=again)
    graph.add_edge(START, "a")
    heard = listen(graph.compile())
    assert [(event.node, event.step) for event in heard.nodes] == [("a", 1)] * 3
    assert [len(heard.errors_of(event)) for event in heard.nodes] == [1, 1, 0]


def test_a_cached_node_sends_nothing():
    graph = StateGraph(State)
    graph.add_node("a", node("a"), cache_policy=CachePolicy())
    graph.add_node("b", node("b"))
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    agent = graph.compile(cache=InMemoryCache())
    assert [event.node for event in listen(agent).nodes] == ["a", "b"]
    assert [(event.node, event.step) for event in listen(agent).nodes] == [("b", 2)]


def test_the_recursion_limit_is_an_error_of_the_graph_alone():
    heard = listen(loop(9), recursion_limit=3)
    (error,) = heard.of("on_chain_error")
    assert isinstance(error.content, GraphRecursionError)
    assert error.run_id == heard.events[0].run_id
    assert len(heard.nodes) == 3


def test_a_stream_that_is_left_ends_the_graph_with_generator_exit():
    listener = Listener()
    stream = chain("a", "b").stream(INPUT, {"callbacks": [listener]})
    next(stream)
    stream.close()
    (error,) = listener.errors_of(listener.events[0])
    assert isinstance(error, GeneratorExit)


def test_cancelling_ends_the_graph_with_cancelled_error():
    entered = asyncio.Event()

    async def wait(state):
        entered.set()
        await asyncio.Event().wait()

    async def cancel(listener):
        agent = chain("a", a=wait)
        running = asyncio.create_task(agent.ainvoke(INPUT, {"callbacks": [listener]}))
        await entered.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    listener = Listener()
    asyncio.run(cancel(listener))
    (error,) = listener.errors_of(listener.events[0])
    assert isinstance(error, asyncio.CancelledError)


def test_a_handler_that_is_given_twice_hears_one_run_of_the_graph_and_its_nodes_once():
    listener = Listener()
    chain("a").with_config(callbacks=[listener]).invoke(INPUT, {"callbacks": [listener]})
    roots = [e for e in listener.of("on_chain_start") if e.more["parent_run_id"] is None]
    assert {event.run_id for event in roots} == {roots[0].run_id}  # LangGraph 1.2 sends it twice
    assert len(listener.nodes) == len({event.run_id for event in listener.nodes})


@since_1_2
def test_only_a_graph_callback_handler_of_the_configuration_hears_interrupts_and_resumes():
    from langgraph.callbacks import GraphCallbackHandler

    class Told(GraphCallbackHandler):
        def __init__(self):
            self.told = []

        def on_interrupt(self, event):
            self.told.append("interrupt")

        def on_resume(self, event):
            self.told.append("resume")

    class Untold(Listener):
        on_interrupt = on_resume = Told.on_interrupt

        def __init__(self):
            super().__init__()
            self.told = []

    agent = chain("a", "b", checkpointer=InMemorySaver(), b=ask)
    told, untold = Told(), Untold()
    for given in (INPUT, Command(resume="yes")):
        agent.invoke(given, {"callbacks": [told, untold], **thread("t")})
    assert (told.told, untold.told) == (["interrupt", "resume"], [])


def test_the_page_names_each_test_and_no_other():
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| .*\| `(test_\w+)` \|$", page, re.MULTILINE)
    tests = [name for name in globals() if name.startswith("test_")]
    assert sorted([*rows, "test_the_page_names_each_test_and_no_other"]) == sorted(tests)
