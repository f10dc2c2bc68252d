"""`create_agent` under every state function, against what a person would write down."""

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from detailed_balance import read_runs
from detailed_balance.callbacks import (
    ActionStates,
    NodeStates,
    ToolStates,
    TransitionCallbackHandler,
)
from tests.support.agents import ScriptedModel, Walks, path


@tool
def search() -> str:
    """Search."""
    return "found"


@tool
def read() -> str:
    """Read."""
    return "text"


@tool
def broken() -> str:
    """Fail."""
    raise ValueError("broken tool")


@tool
def confirm() -> str:
    """Ask a person."""
    return interrupt("ok?")


QUESTION = {"messages": [("user", "hi")]}
TOOLS = [search, read, broken, confirm]


def agent_of(*script, **options):
    return create_agent(ScriptedModel(script=list(script)), TOOLS, **options)


def walk_of(agent, states=None, inputs=QUESTION, **config):
    handler = TransitionCallbackHandler(states or ActionStates(), graph=Walks())
    agent.invoke(inputs, {"callbacks": [handler], **config})
    assert handler.faults == 0
    return handler.graph


def numbered(run):
    return f"{run.name}{run.step}"


def model_or_tools(run):
    return "llm" if run.called_model else run.tools


def nothing(run):
    return None


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (ActionStates(), ["search", "read", "model"]),
        (NodeStates(), ["model", "tools", "model", "tools", "model"]),
        (ToolStates(), ["search", "read"]),
        (numbered, ["model1", "tools2", "model3", "tools4", "model5"]),
        (model_or_tools, ["llm", "search", "llm", "read", "llm"]),
        (nothing, []),
    ],
)
def test_agent_with_one_tool_at_a_time(states, expected):
    walk = walk_of(agent_of(["search"], ["read"], "done"), states).walk
    assert walk == path(START, *expected, END)


async def test_async_agent_is_the_same():
    handler = TransitionCallbackHandler(graph=Walks())
    agent = agent_of(["search"], ["search"], "done")
    await agent.ainvoke(QUESTION, {"callbacks": [handler]})
    assert handler.graph.walk == path(START, "search", "search", "model", END)


def test_parallel_tool_calls_are_one_composite_state():
    agent = agent_of(["search", "read", "search"], "done")
    assert walk_of(agent).walk == path(START, "read|search", "model", END)
    assert walk_of(agent, ToolStates()).walk == path(START, "read|search", END)


def test_plain_answer_is_the_model():
    assert walk_of(agent_of("hello")).walk == path(START, "model", END)


def test_middleware_hooks_that_change_nothing_are_transparent():
    class Hooks(AgentMiddleware):
        def before_agent(self, state, runtime):
            return None

        def before_model(self, state, runtime):
            return None

        def after_model(self, state, runtime):
            return None

    agent = agent_of(["search"], "done", middleware=[Hooks()])
    assert walk_of(agent).walk == path(START, "search", "model", END)


def test_failing_tool_is_an_escape_without_end():
    handler = TransitionCallbackHandler(graph=Walks())
    with pytest.raises(ValueError, match="broken tool"):
        agent_of(["search"], ["broken"], "done").invoke(QUESTION, {"callbacks": [handler]})
    assert handler.graph.walk == [(START, "search"), ("search", None)]


def test_interrupt_in_a_tool_is_resumed_in_the_same_path():
    agent = agent_of(["search"], ["confirm"], "done", checkpointer=MemorySaver())
    handler = TransitionCallbackHandler(graph=Walks())
    config = {"callbacks": [handler], "configurable": {"thread_id": "T"}}
    agent.invoke(QUESTION, config)
    assert handler.graph.walks == {"T": path(START, "search")}
    agent.invoke(Command(resume="yes"), config)
    assert handler.graph.walks == {"T": path(START, "search", "confirm", "model", END)}


def test_interrupt_beside_a_finished_tool_is_one_composite_state():
    agent = agent_of(["search", "confirm"], "done", checkpointer=MemorySaver())
    handler = TransitionCallbackHandler(graph=Walks())
    config = {"callbacks": [handler], "configurable": {"thread_id": "T"}}
    agent.invoke(QUESTION, config)
    agent.invoke(Command(resume="yes"), config)
    assert handler.graph.walks == {"T": path(START, "confirm|search", "model", END)}


def test_agent_inside_a_tool_belongs_to_the_tool():
    inner = agent_of(["search"], "inner answer")

    @tool
    def delegate() -> str:
        """Ask another agent."""
        return inner.invoke(QUESTION)["messages"][-1].text

    outer = create_agent(ScriptedModel(script=[["delegate"], "done"]), [delegate])
    walks = walk_of(outer).walks
    inside, outside = walks.values()
    assert inside == path(START, "search", "model", END)
    assert outside == path(START, "delegate", "model", END)


def test_the_run_of_an_agent_inside_a_tool_names_the_run_around_it_as_parent():
    inner = agent_of(["search"], "inner answer")

    @tool
    def delegate() -> str:
        """Ask another agent, twice."""
        inner.invoke(QUESTION)
        return inner.invoke(QUESTION)["messages"][-1].text

    outer = create_agent(ScriptedModel(script=[["delegate", "delegate"], "done"]), [delegate])
    handler = TransitionCallbackHandler(ActionStates())
    outer.invoke(QUESTION, {"callbacks": [handler]})
    runs = list(read_runs(handler))
    (root,) = (run for run in runs if run.parent is None)
    assert root.states == ("delegate", "model")
    assert [run.parent for run in runs if run is not root] == [root.run] * 4


def test_agents_keep_their_nodes_apart_in_a_larger_graph():
    model = ScriptedModel(script=["a plan", "a text", "approved"])

    def call(state):
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_sequence([("planner", call), ("writer", call), ("critic", call)])
    graph.set_entry_point("planner")
    assert walk_of(graph.compile()).walk == path(START, "planner", "writer", "critic", END)


def test_node_that_runs_tools_and_model_itself_is_its_name():
    agent = agent_of(["search"], "done")

    def whole_agent(state):
        search.invoke({})
        return {"messages": [ScriptedModel(script=["a", "b"]).invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_sequence([("react", whole_agent), ("agent", agent)])
    graph.set_entry_point("react")
    walks = walk_of(graph.compile(), lambda run: f"{run.name}:{','.join(run.tools)}").walks
    assert path(START, "react:search", "agent:", END) in walks.values()
    assert path(START, "react", "agent", END) in walk_of(graph.compile()).walks.values()


def test_handoff_to_the_parent_graph_is_the_tool_that_hands_over():
    @tool
    def to_writer() -> Command:
        """Hand over."""
        return Command(goto="writer", graph=Command.PARENT)

    first = create_agent(ScriptedModel(script=[["to_writer"], "never"]), [to_writer])
    graph = StateGraph(MessagesState)
    graph.add_node("triage", first, destinations=("writer",))
    graph.add_node("writer", lambda state: {"messages": [AIMessage("text")]})
    graph.set_entry_point("triage")
    walks = walk_of(graph.compile()).walks
    inside, outside = walks.values()
    assert inside == path(START, "to_writer", END)
    assert outside == path(START, "triage", "writer", END)
