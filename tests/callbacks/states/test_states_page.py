"""The page on states shows what the state functions give."""

from pathlib import Path
from typing import TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import StateGraph

from detailed_balance.callbacks import (
    ActionStates,
    ChannelStates,
    NodeStates,
    ToolStates,
    TransitionCallbackHandler,
)
from tests.support.agents import Walks

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "how-to" / "states.md").read_text(encoding="utf-8")


class Model(FakeMessagesListChatModel):
    def bind_tools(self, tools, **kwargs):
        return self


@tool
def search(city: str) -> str:
    """Search."""
    return "rain"


def weather_agent():
    calls = [{"name": "search", "args": {"city": c}, "id": c} for c in ("Paris", " PARIS", "Rome")]
    asks = [AIMessage("", tool_calls=[call]) for call in calls]
    return create_agent(Model(responses=[*asks, AIMessage("Rain.")]), [search])


class Text(TypedDict):
    draft: str
    verdict: str


def writer_and_critic():
    graph = StateGraph(Text)
    graph.add_node("writer", lambda state: {"draft": state["draft"] + "x"})
    graph.add_node(
        "critic", lambda state: {"verdict": "accept" if len(state["draft"]) > 1 else "revise"}
    )
    graph.set_entry_point("writer")
    graph.add_edge("writer", "critic")
    graph.add_conditional_edges(
        "critic", lambda state: "__end__" if state["verdict"] == "accept" else "writer"
    )
    return graph.compile()


WEATHER = (weather_agent, {"messages": [("user", "Where does it rain?")]})
WRITING = (writer_and_critic, {"draft": "", "verdict": ""})


@pytest.mark.parametrize(
    ("agent", "code", "states"),
    [
        (WEATHER, "ActionStates()", ActionStates()),
        (WEATHER, "NodeStates()", NodeStates()),
        (WEATHER, "ToolStates()", ToolStates()),
        (WEATHER, 'ToolStates(arguments=("city",))', ToolStates(arguments=("city",))),
        (WEATHER, "NodeStates() + ToolStates()", NodeStates() + ToolStates()),
        (WRITING, "ActionStates()", ActionStates()),
        (WRITING, 'ChannelStates("verdict")', ChannelStates("verdict")),
        (
            WRITING,
            'NodeStates() + ChannelStates("verdict")',
            NodeStates() + ChannelStates("verdict"),
        ),
    ],
)
def test_walks_on_the_page_are_what_is_recorded(agent, code, states):
    build, inputs = agent
    handler = TransitionCallbackHandler(states, graph=Walks())
    build().invoke(inputs, {"callbacks": [handler]})
    moves = handler.graph.walk
    walk = [moves[0][0], *(target for _, target in moves)]
    row = " → ".join(f"`{state}`" for state in walk)
    assert f"| `{code}` | {row} |" in PAGE
