"""What the answers of tools add to lists of messages: names of states, and facts of steps."""

import json

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ToolCallLimitMiddleware
from langchain_core.messages import HumanMessage, convert_to_openai_messages, messages_to_dict
from langchain_core.tools import tool
from langgraph.graph import END, START

from detailed_balance.callbacks import Ending
from detailed_balance.callbacks.middleware import action_path
from detailed_balance.readers import read_transitions
from tests.support.agents import ScriptedModel

ERROR = "Error: find is not a valid tool, try one of [search]."
LIMIT = "Tool call limit exceeded. Do not call 'search' again."


def moves(tmp_path, messages):
    path = tmp_path / "t.json"
    path.write_text(json.dumps([{"messages": messages}]))
    return [record for record in read_transitions(path) if not isinstance(record, Ending)]


def states(tmp_path, messages):
    return [move.target for move in moves(tmp_path, messages)]


def asks(*names, **arguments):
    calls = [
        {"id": str(n), "function": {"name": name, "arguments": json.dumps(arguments)}}
        for n, name in enumerate(names)
    ]
    return {"role": "assistant", "tool_calls": calls}


def said(text, number=0, **more):
    return {"role": "tool", "tool_call_id": str(number), "content": text, **more}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([said(ERROR, 0), said("x", 1)], ["find!unknown|search"]),
        ([said("x", 0), said(LIMIT, 1)], ["search!refused", "find"]),
        ([said("Returning structured response: x='a'", 0), said("x", 1)], ["respond|search"]),
        ([said("x", 0)], ["find|search"]),
        ([], ["find|search"]),
        ([said(ERROR, 0, status="success")], ["find|search"]),
    ],
)
def test_answers_tell_what_became_of_the_calls(tmp_path, answers, expected):
    done = {"role": "assistant", "content": "done"}
    talk = [asks("find", "search"), *answers, done]
    assert states(tmp_path, talk) == [*expected, "respond", END]


@tool
def search() -> str:
    """Search."""
    return "found"


@pytest.mark.parametrize("as_json", [convert_to_openai_messages, messages_to_dict])
def test_messages_of_an_agent_are_the_states_of_the_agent(tmp_path, as_json):
    script = [["search"], ["find"], ["search", "search"], "done"]
    limit = ToolCallLimitMiddleware(run_limit=1, tool_name="search")
    agent = create_agent(ScriptedModel(script=script), [search], middleware=[limit])
    messages = agent.invoke({"messages": [HumanMessage("q")]})["messages"]
    expected = action_path(messages)
    expected[-1] = "respond"  # the reader's word for an answer
    assert states(tmp_path, as_json(messages)) == [*expected, END]


def test_a_call_that_comes_again_with_the_same_answer_is_stale(tmp_path):
    talk = [asks("a", q="x"), said("1"), asks("a", q="y"), said("1"), asks("a", q="x"), said("1")]
    found = [move.facts for move in moves(tmp_path, talk) if move.target != END]
    assert [(f.call, f.answer, f.repeats, f.stale) for f in found] == [
        (1, 1, False, False),
        (2, 1, False, False),
        (1, 1, True, True),
    ]


def test_arguments_are_compared_and_not_how_they_are_written(tmp_path):
    one, other = asks("a"), asks("a")
    one["tool_calls"][0]["function"]["arguments"] = '{"q": 1, "n": [2]}'
    other["tool_calls"][0]["function"]["arguments"] = '{"n":[2],"q":1}'
    assert moves(tmp_path, [one, said("1"), other, said("2")])[1].facts.repeats


def test_errors_and_costs_are_facts(tmp_path):
    paid = {"usage": {"prompt_tokens": 9, "completion_tokens": 1}, "cost": 0.5}
    talk = [
        {**asks("a"), **paid},
        said("no", status="error"),
        {"role": "assistant", "content": "x"},
    ]
    first, last, end = (move.facts for move in moves(tmp_path, talk))
    assert (first.failed, first.tokens, first.cost) == (True, 10, 0.5)
    assert (last.failed, last.call, last.answer, last.tokens) == (False, None, 2, None)
    assert end is None


@pytest.mark.parametrize(
    "broken",
    [
        {"role": "tool", "tool_call_id": 7, "content": {"a": 1}},
        {"role": "tool", "content": None, "error": "yes", "name": ["a"]},
        {"role": "user", "content": [{"type": "tool_result", "content": [1]}, 3]},
        {"type": "tool", "data": {"type": "tool"}},
        {"role": "assistant", "content": "x", "usage": {"total_tokens": "many"}, "cost": True},
    ],
)
def test_answers_in_any_shape_break_nothing(tmp_path, broken):
    talk = [asks("a"), broken, {"role": "assistant", "content": "done"}]
    assert states(tmp_path, talk)[0] == "a"
    assert moves(tmp_path, talk)[0].source == START
