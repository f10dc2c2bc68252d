"""Agents with every hook, teams of agents, and streams, against what a person would write down."""

from typing import Annotated

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    hook_config,
)
from langchain_core.messages import ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

from detailed_balance.callbacks import NodeStates, TransitionCallbackHandler
from tests.support.agents import INPUT, ScriptedModel, Walks, loop, path

QUESTION = {"messages": [("user", "hi")]}


@pytest.fixture
def handler():
    return TransitionCallbackHandler(graph=Walks())


@tool
def search() -> str:
    """Search."""
    return "found"


def agent_of(*script, tools=(search,), **options):
    return create_agent(ScriptedModel(script=list(script)), list(tools), **options)


class EveryHook(AgentMiddleware):
    """All hooks there are; those that wrap a call are not nodes."""

    def before_agent(self, state, runtime):
        return None

    def before_model(self, state, runtime):
        return None

    def wrap_model_call(self, request, handler):
        return handler(request)

    def wrap_tool_call(self, request, handler):
        return handler(request)

    def after_model(self, state, runtime):
        return None

    def after_agent(self, state, runtime):
        return None


def test_hooks_that_only_look_on_are_no_states(handler):
    agent_of(["search"], "done", middleware=[EveryHook()]).invoke(
        QUESTION, {"callbacks": [handler]}
    )
    assert handler.graph.walk == path(START, "search", "model", END)


def test_node_states_name_every_hook():
    handler = TransitionCallbackHandler(NodeStates(), graph=Walks())
    agent_of("done", middleware=[EveryHook()]).invoke(QUESTION, {"callbacks": [handler]})
    before, after = ["before_agent", "before_model"], ["after_model", "after_agent"]
    hooks = [[f"EveryHook.{hook}" for hook in part] for part in (before, after)]
    assert handler.graph.walk == path(START, *hooks[0], "model", *hooks[1], END)


def test_hook_that_jumps_to_the_end_is_the_last_state(handler):
    class Stop(AgentMiddleware):
        @hook_config(can_jump_to=["end"])
        def before_model(self, state, runtime):
            return {"jump_to": "end"} if len(state["messages"]) > 2 else None

    agent_of(["search"], "never", middleware=[Stop()]).invoke(QUESTION, {"callbacks": [handler]})
    assert handler.graph.walk == path(START, "search", "Stop.before_model", END)


def test_model_that_a_wrapper_calls_again_is_one_visit(handler):
    class Again(AgentMiddleware):
        def wrap_model_call(self, request, handler):
            handler(request)
            return handler(request)

    agent_of("done", middleware=[Again()]).invoke(QUESTION, {"callbacks": [handler]})
    assert handler.graph.walk == path(START, "model", END)


def test_limit_of_model_calls_is_an_end_like_any_other(handler):
    limit = ModelCallLimitMiddleware(run_limit=2, exit_behavior="end")
    agent = agent_of(["search"], ["search"], ["search"], middleware=[limit])
    agent.invoke(QUESTION, {"callbacks": [handler]})
    assert handler.graph.walk == path(START, "search", "search", "model", END)


def test_person_in_the_loop_is_resumed_in_the_same_path(handler):
    asks = HumanInTheLoopMiddleware(interrupt_on={"search": True})
    agent = agent_of(["search"], "done", middleware=[asks], checkpointer=MemorySaver())
    config = {"callbacks": [handler], "configurable": {"thread_id": "T"}}
    agent.invoke(QUESTION, config)
    agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
    # The hook gives back the request that was approved: the tools speak for it.
    assert handler.graph.walks == {"T": path(START, "search", "model", END)}


class InTurn(ScriptedModel):
    """Gives its replies in turn, whatever it is shown."""

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return ScriptedModel(script=[self.script.pop(0)])._generate([])


def hand_over(to):
    """Return the tool that hands the conversation over to another agent."""

    @tool(f"transfer_to_{to}")
    def transfer(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command:
        """Hand over."""
        message = ToolMessage(f"now {to}", name=f"transfer_to_{to}", tool_call_id=tool_call_id)
        return Command(goto=to, graph=Command.PARENT, update={"messages": [message]})

    return transfer


def team(agents, first, back_to=None):
    graph = StateGraph(MessagesState)
    for name, agent in agents.items():
        others = tuple(other for other in agents if other != name)
        graph.add_node(name, agent, destinations=(*others, END))
        if back_to and name != back_to:
            graph.add_edge(name, back_to)
    graph.add_edge(START, first)
    return graph.compile()


def walks_by_agent(walks):
    """Return the walk of the team, and those of its agents in order."""
    places = {key: key.rpartition("/")[2].split(":")[0] for key in walks if "/" in key}
    inner = [(place, walks[key]) for key, place in places.items()]
    (outer,) = (walk for key, walk in walks.items() if "/" not in key)
    return outer, inner


def test_supervisor_hands_over_and_gets_the_word_back(handler):
    boss = create_agent(InTurn(script=[["transfer_to_math"], "all done"]), [hand_over("math")])
    math = create_agent(InTurn(script=[["search"], "42"]), [search])
    agents = {"boss": boss, "math": math}
    team(agents, "boss", back_to="boss").invoke(QUESTION, {"callbacks": [handler]})
    outer, inner = walks_by_agent(handler.graph.walks)
    assert outer == path(START, "boss", "math", "boss", END)
    assert inner == [
        ("boss", path(START, "transfer_to_math", END)),
        ("math", path(START, "search", "model", END)),
        ("boss", path(START, "model", END)),
    ]


def test_swarm_passes_the_word_round(handler):
    alice = create_agent(InTurn(script=[["transfer_to_bob"], "bye"]), [hand_over("bob")])
    answers = [["search"], ["transfer_to_alice"]]
    bob = create_agent(InTurn(script=answers), [search, hand_over("alice")])
    team({"alice": alice, "bob": bob}, "alice").invoke(QUESTION, {"callbacks": [handler]})
    outer, inner = walks_by_agent(handler.graph.walks)
    assert outer == path(START, "alice", "bob", "alice", END)
    assert inner == [
        ("alice", path(START, "transfer_to_bob", END)),
        ("bob", path(START, "search", "transfer_to_alice", END)),
        ("alice", path(START, "model", END)),
    ]


@pytest.mark.parametrize(
    "mode", ["values", "updates", "messages", "custom", "debug", "tasks", ["values", "messages"]]
)
@pytest.mark.parametrize("subgraphs", [False, True])
async def test_every_mode_of_streaming_is_the_same(handler, mode, subgraphs):
    config, options = {"callbacks": [handler]}, {"stream_mode": mode, "subgraphs": subgraphs}
    for _ in loop(2).stream(INPUT, config, **options):
        pass
    async for _ in loop(2).astream(INPUT, config, **options):
        pass
    assert list(handler.graph.walks.values()) == [path(START, "a", "b", "a", "b", END)] * 2


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_streamed_events_are_the_same(handler, version):
    async for _ in loop(2).astream_events(INPUT, {"callbacks": [handler]}, version=version):
        pass
    assert handler.graph.walk == path(START, "a", "b", "a", "b", END)
