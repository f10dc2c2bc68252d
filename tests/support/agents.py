"""Small agents, and a graph that keeps the order of the moves, shared by the tests."""

import itertools
import operator
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from typing import Annotated, TypedDict

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import END, START, StateGraph
from packaging.version import Version

from detailed_balance.callbacks import Ending, Transition, TransitionGraph
from detailed_balance.callbacks.transition import Beginning

names_agents = pytest.mark.skipif(
    Version(version("langchain")) < Version("1.2.4"), reason="LangChain 1.2.4 names agents"
)
since_1_2 = pytest.mark.skipif(
    find_spec("langgraph.callbacks") is None, reason="LangGraph 1.2 tells of this first"
)


class Walks(TransitionGraph):
    """Keep the order of the moves in each trajectory too."""

    def __init__(self):
        super().__init__()
        self.walks = defaultdict(list)

    def record(self, source, target, *, trajectory=None, **labels):
        super().record(source, target, trajectory=trajectory, **labels)
        self.walks[trajectory].append((source, target))

    @property
    def walk(self):
        """The moves of the only trajectory."""
        (walk,) = self.walks.values()
        return walk


def path(*states):
    """Write a path as its moves; None marks an escape, after which the path goes on."""
    moves, last = [], states[0]
    for state in states[1:]:
        moves.append((last, state))
        last = last if state is None else state
    return moves


def split(walks):
    """Tell the walk of the graph itself from those of its subgraphs, by their node."""
    subgraphs = {key.partition("/")[2].split(":")[0]: walk for key, walk in walks.items()}
    return subgraphs.pop(""), subgraphs


class State(TypedDict):
    n: int
    log: Annotated[list[str], operator.add]


INPUT = {"n": 0, "log": []}


def thread(name):
    """Return the configuration of a thread."""
    return {"configurable": {"thread_id": name}}


def run(agent, handler, inputs=None, **config):
    """Invoke an agent with the handler attached."""
    return agent.invoke(inputs or INPUT, {"callbacks": [handler], **config})


def node(name):
    """Return a node that logs its name."""
    return lambda state: {"log": [name]}


def fail(state):
    """Be a node that fails."""
    raise ValueError("boom")


def build(edges, checkpointer=None, **nodes):
    """Return a graph of these edges and nodes."""
    graph = StateGraph(State)
    for name, action in nodes.items():
        graph.add_node(name, action)
    for source, target in edges:
        graph.add_edge(source, target)
    return graph.compile(checkpointer=checkpointer)


def chain(*names, checkpointer=None, **nodes):
    """Return a line of nodes; those not given do nothing of interest."""
    edges = itertools.pairwise((START, *names, END))
    return build(edges, checkpointer, **{name: nodes.get(name, node(name)) for name in names})


def loop(rounds, checkpointer=None):
    """Return a -> b -> a -> ... until a has run `rounds` times."""
    graph = StateGraph(State)
    graph.add_node("a", lambda state: {"n": state["n"] + 1})
    graph.add_node("b", node("b"))
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_conditional_edges("b", lambda state: END if state["n"] >= rounds else "a")
    return graph.compile(checkpointer=checkpointer)


class ScriptedModel(BaseChatModel):
    """A chat model that gives its replies in turn: a str is text, a list names tools to call."""

    script: list

    @property
    def _llm_type(self):
        return "scripted"

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        asked = sum(isinstance(message, AIMessage) for message in messages)
        reply = self.script[asked]
        calls = [] if isinstance(reply, str) else reply
        message = AIMessage(
            content=reply if isinstance(reply, str) else "",
            tool_calls=[
                {"name": name, "args": {}, "id": f"{asked}.{i}"} for i, name in enumerate(calls)
            ],
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


class FunctionModel(BaseChatModel):
    """A chat model that answers as a function of the messages says."""

    function: Callable[[list], AIMessage]

    @property
    def _llm_type(self):
        return "function"

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return ChatResult(generations=[ChatGeneration(message=self.function(messages))])


class KeptRecords:
    """A store that keeps what a handler records, in order, and tells it run by run."""

    def __init__(self):
        self.records = []

    def record(self, record):
        self.records.append(record)

    def flush(self):
        """Do nothing: nothing waits."""

    def of(self, kind):
        return [record for record in self.records if isinstance(record, kind)]

    @property
    def beginnings(self):
        return {record.run: record for record in self.of(Beginning)}

    @property
    def runs(self):
        """The outcomes and the moves of each run, in the order in which they began."""
        found = {run: ([], []) for run in self.beginnings}
        for record in self.of(Transition):
            found[record.run][1].append((record.source, record.target))
        for record in self.of(Ending):
            found[record.run][0].append(str(record.outcome))
        return list(found.values())
