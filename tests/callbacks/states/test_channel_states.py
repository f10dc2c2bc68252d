"""`ChannelStates`: what a node wrote to a channel, in every shape that LangGraph takes."""

import dataclasses
import enum
import operator
from typing import Annotated, TypedDict

import pytest
from langchain_core.messages import AIMessage
from langgraph import types
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send
from pydantic import BaseModel

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks import (
    ChannelStates,
    NodeRun,
    NodeStates,
    TransitionCallbackHandler,
)
from detailed_balance.callbacks.states.channels import value_text
from tests.support.agents import Walks, path


class Stage(enum.Enum):
    DRAFT = 1


class Verdict(enum.StrEnum):
    GOOD = "good"


@dataclasses.dataclass
class Fields:
    stage: str | None = None


class Annotations:
    stage: str

    def __init__(self, stage):
        self.stage = stage


class Model(BaseModel):
    stage: str | None = None
    other: int = 0


class Note(TypedDict):
    stage: str
    score: Annotated[int, operator.add]


def of_output(output):
    return ChannelStates("stage")(NodeRun("node", 1, output=output))


@pytest.mark.parametrize(
    "output",
    [
        {"stage": "draft", "score": 3},
        pytest.param(
            {"stage": getattr(types, "Overwrite", str)("draft")},
            marks=pytest.mark.skipif(
                not hasattr(types, "Overwrite"), reason="LangGraph 1.0.2 brought this"
            ),
        ),
        Command(update={"stage": "draft"}),
        Command(update=[("score", 3), ("stage", "draft")]),
        Command(update=Fields("draft"), goto="x"),
        [Command(update={"score": 1}), {"stage": "draft"}],
        [{"stage": "plan"}, Command(update={"stage": "draft"}), {"score": 3}],
        Fields("draft"),
        Annotations("draft"),
        Model(stage="draft"),
    ],
)
def test_value_is_found_in_every_shape_of_output(output):
    assert of_output(output) == "draft"


@pytest.mark.parametrize(
    "output",
    [
        None,
        {},
        {"score": 3},
        Command(goto="x"),
        Command(update={"stage": "draft"}, graph=Command.PARENT),
        [Send("x", {"stage": "draft"})],
        [],
        "stage",
        Model(other=1),
        [AIMessage("stage")],
        Fields,
    ],
)
def test_node_that_does_not_write_the_channel_is_transparent(output):
    assert of_output(output) is None


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (" draft\n", "draft"),
        ("x" * 80, "x" * 80),
        (Stage.DRAFT, "DRAFT"),
        (Verdict.GOOD, "good"),
        (3, "3"),
        (3.0, "3"),
        (0.25, "0.25"),
        (True, "True"),
        (None, "None"),
    ],
)
def test_plain_value_is_a_key(value, key):
    assert value_text(value) == key


@pytest.mark.parametrize("value", ["x" * 81, ["a"], {"a": 1}, object(), b"a", AIMessage("a")])
def test_other_value_is_refused_with_what_to_do(value):
    with pytest.raises(InvalidInputError, match=r"not a state key.*ChannelStates\(channel, va"):
        value_text(value)


def walks_of(schema, states, *steps, inputs=None):
    graph = StateGraph(schema)
    graph.add_sequence([(f"n{i}", step) for i, step in enumerate(steps)])
    graph.set_entry_point("n0")
    handler = TransitionCallbackHandler(states, graph=Walks())
    graph.compile().invoke(inputs or {"stage": "begin", "score": 0}, {"callbacks": [handler]})
    return handler


def writes(output):
    return lambda state: output


def test_graph_moves_between_the_values_that_its_nodes_write():
    handler = walks_of(
        Note,
        ChannelStates("stage"),
        writes({"stage": "plan"}),
        writes({"score": 1}),
        writes(Command(update={"stage": "draft"})),
        writes([Command(update={"stage": "x"}), Command(update={"score": 1})]),
        writes({"stage": "plan"}),
    )
    assert handler.graph.walk == path(START, "plan", "draft", "x", "plan", END)
    assert handler.faults == 0


def test_of_a_reducer_only_what_the_node_wrote_is_seen():
    steps = [writes({"score": 2}), writes({"score": 2})]
    handler = walks_of(Note, ChannelStates("score"), *steps)
    assert handler.graph.walk == path(START, "2", "2", END)


def test_pydantic_and_dataclass_graphs_are_read_as_langgraph_reads_them():
    for schema in (Model, Fields):
        steps = [writes(schema(stage="plan")), writes({"stage": "draft"})]
        handler = walks_of(schema, ChannelStates("stage"), *steps, inputs=schema(stage="begin"))
        assert handler.graph.walk == path(START, "plan", "draft", END)


def test_command_to_the_parent_is_seen_in_the_parent_alone():
    class Shared(TypedDict):
        stage: str

    inner = StateGraph(Shared)
    inner.add_node(
        "leave", lambda state: Command(update={"stage": "left"}, goto="last", graph=Command.PARENT)
    )
    inner.set_entry_point("leave")
    outer = StateGraph(Shared)
    outer.add_node("sub", inner.compile(), destinations=("last",))
    outer.add_node("last", lambda state: {"stage": "done"})
    outer.set_entry_point("sub")
    handler = TransitionCallbackHandler(ChannelStates("stage"), graph=Walks())
    outer.compile().invoke({"stage": "begin"}, {"callbacks": [handler]})
    walks = sorted(handler.graph.walks.values(), key=len)
    assert walks == [path(START, END), path(START, "left", "done", END)]


def test_value_that_is_no_key_is_an_escape_and_one_warning(caplog):
    steps = [writes({"stage": ["a"]})] * 3
    handler = walks_of(Note, ChannelStates("stage"), *steps)
    assert handler.graph.walk == path(START, None, None, None, END)
    assert handler.faults == 3
    assert len(caplog.records) == 1
    assert "ChannelStates(channel, value=...)" in caplog.text


def test_own_function_says_what_of_a_value_is_the_state():
    def openness(items):
        return f"{len(items)} open" if items else None

    steps = [writes({"stage": items}) for items in (["a", "b"], [], ["c"])]
    handler = walks_of(Note, ChannelStates("stage", value=openness), *steps)
    assert handler.graph.walk == path(START, "2 open", "1 open", END)


def test_channel_refines_the_node():
    steps = [writes({"stage": "plan"}), writes({"score": 1})]
    handler = walks_of(Note, NodeStates() + ChannelStates("stage"), *steps)
    assert handler.graph.walk == path(START, "n0:plan", "n1", END)
