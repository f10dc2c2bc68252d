"""State functions by themselves."""

import pickle

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.types import Command, Send

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks.states import (
    ActionStates,
    ChannelStates,
    CombinedStates,
    ModelCallStates,
    NodeRun,
    NodeStates,
    PromptStates,
    ToolStates,
    state_names,
)

ASKS = AIMessage("", tool_calls=[{"name": "search", "args": {}, "id": "1"}])
SAYS = AIMessage("done")
ASKED = HumanMessage("hi")


@pytest.mark.parametrize(
    "output",
    [
        ASKS,
        [ASKED, ASKS],
        (ASKED, ASKS),
        {"messages": [ASKED, ASKS]},
        {"messages": ASKS},
        {"n": 1, "messages": [ASKS], "log": ["x"]},
        Command(update={"messages": [ASKS]}),
        [Command(update={"messages": [ASKS]})],
        [Command(update={"n": 1}), Command(update={"messages": [ASKS]})],
        [{"messages": [ASKS]}, Command(goto="x")],
        Command(update=[ASKED, ASKS]),
    ],
)
def test_request_for_tools_is_seen_in_every_shape_of_output(output):
    assert NodeRun("model", output=output).asked_tools


@pytest.mark.parametrize(
    "output",
    [
        None,
        "text",
        3,
        [],
        {},
        SAYS,
        ASKED,
        [ASKS, ToolMessage("found", tool_call_id="1")],
        {"messages": [ASKS, ToolMessage("found", tool_call_id="1"), SAYS]},
        {"messages": []},
        Command(goto="x"),
        [Command(update={"messages": [SAYS]})],
        [Send("x", {"messages": [ASKS]})],
        {"calls": [{"tool_calls": [1]}]},
    ],
)
def test_other_output_is_no_request_for_tools(output):
    assert not NodeRun("model", output=output).asked_tools


RUNS = {
    "plain": NodeRun("planner", 1),
    "tools": NodeRun("tools", 2, ("search", "read")),
    "asks": NodeRun("model", 3, (), True, {"messages": [ASKS]}),
    "says": NodeRun("model", 3, (), True, {"messages": [SAYS]}),
    "all in one": NodeRun("react", 4, ("search",), True, {"messages": [SAYS]}),
    "all in one, asks": NodeRun("react", 4, ("search",), True, {"messages": [ASKS]}),
}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (ActionStates(), ["planner", ("search", "read"), None, "model", "react", None]),
        (NodeStates(), ["planner", "tools", "model", "model", "react", "react"]),
        (ToolStates(), [(), ("search", "read"), (), (), ("search",), ("search",)]),
    ],
)
def test_state_functions_name_what_they_say(states, expected):
    assert [states(run) for run in RUNS.values()] == expected


def test_prompt_states_read_the_last_human_message():
    states = PromptStates()
    assert states.source([HumanMessage("one"), HumanMessage(" two "), SAYS]) == "two"
    assert states.source([HumanMessage([{"type": "text", "text": "in a block"}])]) == "in a block"
    assert states.source([SystemMessage("rules")]) is None
    assert states.source([HumanMessage("  ")]) is None


def test_prompt_states_take_an_empty_reply_for_an_escape():
    assert PromptStates().target(AIMessage(" humming\n")) == "humming"
    assert PromptStates().target(AIMessage(" \n")) is None


def test_only_states_of_model_calls_are_model_call_states():
    assert isinstance(PromptStates(), ModelCallStates)
    assert not any(isinstance(s, ModelCallStates) for s in (ActionStates(), NodeStates(), len))


def test_names_are_a_tuple_of_keys():
    assert state_names("a") == ("a",)
    assert state_names(f"{x}" for x in (1, 2)) == ("1", "2")
    assert state_names(None) == state_names([]) == ()


@pytest.mark.parametrize(
    "value", ["", "__start__", "__end__", 3, [3], [None], b"ab", {"a": 1}.items()]
)
def test_what_is_no_key_is_refused_by_name(value):
    with pytest.raises((InvalidInputError, TypeError)):
        state_names(value)


def test_refusal_says_what_was_given_and_what_is_allowed():
    with pytest.raises(InvalidInputError, match=r"must be a str.*'__end__'.*gave 3\.5"):
        state_names(["a", 3.5])


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("plain", ("planner",)),
        ("tools", ("tools:read", "tools:search")),
        ("asks", ("model",)),
        ("all in one", ("react:search",)),
    ],
)
def test_sum_of_node_and_tools_names_both_where_there_are_both(run, expected):
    assert (NodeStates() + ToolStates())(RUNS[run]) == expected


def test_sum_is_transparent_where_all_its_parts_are():
    assert (ActionStates() + ToolStates())(RUNS["asks"]) == ()
    assert (ActionStates() + NodeStates())(RUNS["asks"]) == ("model",)


def test_sum_takes_any_callable_on_either_side_and_more_than_two_parts():
    def step(run):
        return f"step {run.step}"

    assert (NodeStates() + step)(RUNS["plain"]) == ("planner:step 1",)
    assert (step + NodeStates() + ToolStates())(RUNS["all in one"]) == ("step 4:react:search",)
    parts = (NodeStates(), ToolStates())
    assert CombinedStates(parts, separator="/")(RUNS["all in one"]) == ("react/search",)


def test_parts_with_several_names_give_each_pair_once_and_sorted():
    def both(run):
        return ["y", "x", "y"]

    assert (ToolStates() + both)(RUNS["tools"]) == ("read:x", "read:y", "search:x", "search:y")


def test_part_that_gives_no_key_fails_the_sum():
    with pytest.raises(InvalidInputError, match="not empty"):
        (NodeStates() + (lambda run: ""))(RUNS["plain"])


def test_states_of_model_calls_are_no_part_of_a_sum():
    with pytest.raises(TypeError, match="unsupported operand"):
        NodeStates() + PromptStates()


@pytest.mark.parametrize(
    "states",
    [
        ActionStates(("city",)),
        ToolStates({"search": "all"}),
        ChannelStates("stage", value=len),
        NodeStates() + ToolStates(),
        PromptStates(),
    ],
)
def test_state_functions_are_the_same_after_pickling(states):
    assert pickle.loads(pickle.dumps(states)) == states  # noqa: S301 - our own bytes
