"""Messages in every common way to write them: one reading, the same path."""

import json

import pytest
from langchain_core.load import dumpd
from langchain_core.messages import (
    AIMessage,
    HumanMessage,
    ToolMessage,
    convert_to_openai_messages,
    messages_to_dict,
)

from detailed_balance import analyze, read_runs
from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers import read_recording

PATH = ("search", "read", "respond")


def write(tmp_path, document, name="t.json"):
    path = tmp_path / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def states(tmp_path, document, **options):
    runs = read_runs(write(tmp_path, document), **options)
    return [run.states for run in runs]


def call(number, name):
    return {"id": str(number), "type": "function", "function": {"name": name, "arguments": "{}"}}


def blocks(role, *content):
    return {"role": role, "content": list(content)}


ANSWER = {"role": "tool", "tool_call_id": "1", "content": "x"}
DONE = {"role": "assistant", "content": "done"}
OPENAI = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": None, "tool_calls": [call(1, "search")]},
    ANSWER,
    {"role": "assistant", "content": "now", "tool_calls": [call(2, "read")]},
    {"role": "tool", "tool_call_id": "2", "content": None},
    DONE,
]
RESPONSES = [
    {"role": "user", "content": "q"},
    {"type": "reasoning", "summary": []},
    {"type": "function_call", "call_id": "1", "name": "search", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "1", "output": "x"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so"}]},
    {"type": "custom_tool_call", "call_id": "2", "name": "read", "input": "x"},
    {"type": "custom_tool_call_output", "call_id": "2", "output": "x"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "done"}]},
]
ANTHROPIC = [
    {"role": "user", "content": "q"},
    blocks(
        "assistant",
        {"type": "thinking", "thinking": "t"},
        {"type": "text", "text": "t"},
        {"type": "tool_use", "id": "1", "name": "search", "input": {}},
    ),
    blocks("user", {"type": "tool_result", "tool_use_id": "1", "content": "x"}),
    blocks("assistant", {"type": "mcp_tool_use", "id": "2", "name": "read", "input": {}}),
    blocks("user", {"type": "mcp_tool_result", "tool_use_id": "2", "content": []}),
    blocks("assistant", {"type": "text", "text": "done"}),
]
HOSTED = [
    {"role": "user", "content": "q"},
    blocks(
        "assistant",
        {"type": "server_tool_use", "id": "1", "name": "search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "1", "content": []},
        {"type": "tool_use", "id": "2", "name": "read", "input": {}},
    ),
    blocks("user", {"type": "tool_result", "tool_use_id": "2", "content": "x"}),
    blocks("assistant", {"type": "text", "text": "done"}),
]


def gemini(name, args, answer, response):
    return [
        {"role": "user", "parts": [{"text": "q"}]},
        {"role": "model", "parts": [{"thought": True, "text": "t"}, {name: {"name": "search"}}]},
        {"role": "user", "parts": [{answer: {"name": "search", "response": response}}]},
        {"role": "model", "parts": [{name: {"name": "read", **args}}]},
        {"role": "function", "parts": [{answer: {"name": "read", "response": response}}]},
        {"role": "model", "parts": [{"text": "done"}]},
    ]


BEDROCK = [
    blocks("user", {"text": "q"}),
    blocks("assistant", {"text": "t"}, {"toolUse": {"toolUseId": "1", "name": "search"}}),
    blocks("user", {"toolResult": {"toolUseId": "1", "content": [{"text": "x"}]}}),
    blocks("assistant", {"toolUse": {"toolUseId": "2", "name": "read", "input": {}}}),
    blocks("user", {"toolResult": {"toolUseId": "2", "content": [], "status": "error"}}),
    blocks("assistant", {"text": "done"}),
]


def vercel(number, name):
    asked = {"type": "tool-call", "toolCallId": number, "toolName": name, "input": {}}
    said = {"type": "tool-result", "toolCallId": number, "toolName": name, "output": {"a": 1}}
    return [blocks("assistant", asked), blocks("tool", said)]


VERCEL = [{"role": "user", "content": "q"}, *vercel("1", "search"), *vercel("2", "read"), DONE]
SEEN = {"state": "output-available", "input": {}, "output": "x"}
UI = [
    {"id": "u", "role": "user", "parts": [{"type": "text", "text": "q"}]},
    {
        "id": "a",
        "role": "assistant",
        "parts": [
            {"type": "step-start"},
            {"type": "text", "text": "first"},
            {"type": "tool-search", "toolCallId": "1", **SEEN},
            {"type": "step-start"},
            {"type": "dynamic-tool", "toolName": "read", "toolCallId": "2", **SEEN},
            {"type": "step-start"},
            {"type": "text", "text": "done", "state": "done"},
        ],
    },
]
LANGCHAIN = [
    HumanMessage("q"),
    AIMessage("", tool_calls=[{"name": "search", "args": {}, "id": "1"}]),
    ToolMessage("x", tool_call_id="1"),
    AIMessage(
        [
            {"type": "text", "text": "t"},
            {"type": "tool_use", "id": "2", "name": "read", "input": {}},
        ],
        tool_calls=[{"name": "read", "args": {}, "id": "2"}],
    ),
    ToolMessage("no", tool_call_id="2", status="error"),
    AIMessage("done"),
]
V1 = [
    {"type": "human", "content": "q"},
    {"type": "ai", "content": [{"type": "tool_call", "id": "1", "name": "search", "args": {}}]},
    {"type": "tool", "tool_call_id": "1", "content": "x"},
    {"type": "ai", "content": [{"type": "server_tool_call", "id": "2", "name": "read"}]},
    {"type": "ai", "content": [{"type": "text", "text": "done"}]},
]
SHAREGPT = [
    {"from": "human", "value": "q"},
    {"from": "function_call", "value": '{"name": "search", "arguments": {}}'},
    {"from": "observation", "value": "x"},
    {"from": "gpt", "value": '<tool_call>\n{"name": "read", "arguments": {}}\n</tool_call>'},
    {"from": "tool", "value": "<tool_response>x</tool_response>"},
    {"from": "gpt", "value": "done"},
]
AGENTDOJO = [
    blocks("user", {"type": "text", "content": "q"}),
    {"role": "assistant", "tool_calls": [{"function": "search", "args": {}, "id": "1"}]},
    {"role": "tool", "content": "x", "tool_call_id": "1", "tool_call": {"function": "search"}},
    {"role": "assistant", "tool_calls": [{"function": "read", "args": {}, "id": None}]},
    {"role": "tool", "content": "", "error": "ValueError: no", "tool_call_id": None},
    {**blocks("assistant", {"type": "text", "content": "done"}), "tool_calls": []},
]
AUTOGEN = [
    {"type": "TextMessage", "source": "user", "content": "q"},
    {
        "type": "ToolCallRequestEvent",
        "source": "helper",
        "content": [{"id": "1", "name": "search", "arguments": "{}"}],
        "models_usage": {"prompt_tokens": 9, "completion_tokens": 1},
    },
    {
        "type": "ToolCallExecutionEvent",
        "source": "helper",
        "content": [{"call_id": "1", "name": "search", "content": "x", "is_error": False}],
    },
    {
        "type": "AssistantMessage",
        "source": "helper",
        "content": [{"id": "2", "name": "read", "arguments": "{}"}],
    },
    {
        "type": "FunctionExecutionResultMessage",
        "content": [{"call_id": "2", "content": "x", "is_error": True}],
    },
    {"type": "ToolCallSummaryMessage", "source": "helper", "content": "x"},
    {"type": "TextMessage", "source": "helper", "content": "done"},
]
HAYSTACK = [
    {"role": "user", "content": [{"text": "q"}]},
    {"role": "assistant", "content": [{"tool_call": {"tool_name": "search", "id": "1"}}]},
    blocks("tool", {"tool_call_result": {"result": "x", "origin": {"id": "1"}, "error": False}}),
    {"role": "assistant", "content": [{"tool_call": {"tool_name": "read", "id": "2"}}]},
    blocks("tool", {"tool_call_result": {"result": "x", "origin": {"id": "2"}, "error": True}}),
    {"role": "assistant", "content": [{"text": "done"}]},
]
LLAMA_INDEX = [
    {"role": "user", "blocks": [{"block_type": "text", "text": "q"}]},
    {"role": "assistant", "additional_kwargs": {"tool_calls": [call(1, "search")]}, "blocks": []},
    {"role": "tool", "additional_kwargs": {"tool_call_id": "1"}, "blocks": []},
    {"role": "assistant", "blocks": [{"block_type": "tool_call", "tool_name": "read"}]},
    {"role": "assistant", "blocks": [{"block_type": "text", "text": "done"}]},
]
SEMANTIC_KERNEL = [
    {"role": "user", "items": [{"content_type": "text", "text": "q"}]},
    *(
        {"role": "assistant", "items": [{"content_type": "function_call", "name": name}]}
        for name in ("search", "read")
    ),
    {"role": "tool", "items": [{"content_type": "function_result", "name": "read"}]},
    {"role": "assistant", "items": [{"content_type": "text", "text": "done"}]},
]
PYDANTIC_AI = [
    {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": "q"}]},
    {"kind": "response", "parts": [{"part_kind": "tool-call", "tool_name": "search"}]},
    {"kind": "request", "parts": [{"part_kind": "tool-return", "tool_name": "search"}]},
    {"kind": "response", "parts": [{"part_kind": "builtin-tool-call", "tool_name": "read"}]},
    {"kind": "response", "parts": [{"part_kind": "text", "content": "done"}]},
]
ADK = [
    {"author": "user", "content": {"role": "user", "parts": [{"text": "q"}]}},
    *(
        {"author": "a", "content": {"role": "model", "parts": [{"functionCall": {"name": name}}]}}
        for name in ("search", "read")
    ),
    {"author": "a", "content": {"role": "model", "parts": [{"text": "done"}]}},
]
INVOCATIONS = [{"state": "result", "toolCallId": n, "toolName": n} for n in ("search", "read")]
VERCEL_4 = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "", "toolInvocations": INVOCATIONS[:1]},
    {"role": "assistant", "content": "done", "toolInvocations": INVOCATIONS[1:]},
]
WAYS = {
    "openai": OPENAI,
    "responses": RESPONSES,
    "anthropic": ANTHROPIC,
    "hosted": HOSTED,
    "gemini": gemini("functionCall", {"args": {}}, "functionResponse", {"result": 1}),
    "gemini python": gemini("function_call", {}, "function_response", {"error": "no"}),
    "bedrock": BEDROCK,
    "vercel": VERCEL,
    "vercel ui": UI,
    "langchain": messages_to_dict(LANGCHAIN),
    "dumpd": dumpd(LANGCHAIN),
    "content blocks": V1,
    "sharegpt": SHAREGPT,
    "agentdojo": AGENTDOJO,
    "autogen": AUTOGEN,
    "haystack": HAYSTACK,
    "llama-index": LLAMA_INDEX,
    "semantic kernel": SEMANTIC_KERNEL,
    "pydantic-ai": PYDANTIC_AI,
    "adk": ADK,
    "vercel 4": VERCEL_4,
}


@pytest.mark.parametrize("around", ["bare", "list", "object", "lines"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_messages_gives_the_same_path(tmp_path, way, around):
    talk = WAYS[way]
    document = {
        "bare": talk,
        "list": [talk],
        "object": {"extra": 1, "messages": talk},
        "lines": "\n".join(map(json.dumps, talk)),
    }[around]
    path = write(tmp_path, document)
    read = read_recording(path)
    assert [run.states for run in read.runs] == [PATH]
    assert (read.read_count, read.skipped_count) == (len(talk), 0)


@pytest.mark.parametrize("way", ["anthropic", "openai", "langchain"])
def test_langchains_own_converter_reads_the_same_calls(tmp_path, way):
    given = LANGCHAIN if way == "langchain" else WAYS[way]
    if way == "anthropic":  # the converter does not know calls of MCP
        given = json.loads(json.dumps(given).replace("mcp_tool_", "tool_"))
    assert states(tmp_path, convert_to_openai_messages(given)) == [PATH]


@pytest.mark.parametrize(
    ("way", "failed"),
    [
        ("bedrock", [False, True, False]),
        ("langchain", [False, True, False]),
        ("dumpd", [False, True, False]),
        ("agentdojo", [False, False, False]),  # no id and no name says which call failed
        ("autogen", [False, True, False]),
        ("haystack", [False, True, False]),
        ("openai", [False, False, False]),
    ],
)
def test_failed_answers_are_facts(tmp_path, way, failed):
    facts = read_runs(write(tmp_path, {"messages": WAYS[way]}))[0].facts
    assert [each.failed for each in facts[:3]] == failed


def test_tokens_are_known_of_every_provider(tmp_path):
    told = [
        {"usage": {"prompt_tokens": 9, "completion_tokens": 1}},
        {"usage": {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10}},
        {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1}},
        {"usage": {"inputTokens": 9, "outputTokens": 1}},
        {"response_metadata": {"token_usage": {"total_tokens": 10}}},
        {"models_usage": {"prompt_tokens": 9, "completion_tokens": 1}},
    ]
    run = read_runs(write(tmp_path, [{**DONE, **each} for each in told]))[0]
    assert [facts.tokens for facts in run.facts[:6]] == [10] * 6


def test_several_calls_of_one_response_are_one_step(tmp_path):
    items = [
        {"role": "user", "content": "q"},
        {"type": "function_call", "call_id": "1", "name": "b", "arguments": "{}"},
        {"type": "function_call", "call_id": "2", "name": "a", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "x"},
        {"type": "function_call_output", "call_id": "2", "output": "x"},
        {"type": "function_call", "call_id": "3", "name": "a", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "3", "output": "x"},
        {"type": "web_search_call", "id": "ws", "status": "completed"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "d"}]},
    ]
    assert states(tmp_path, items) == [("a|b", "a", "web_search", "respond")]
    assert states(tmp_path, {"input": items[:1], "output": items[1:]}) == [
        ("a|b", "a", "web_search", "respond")
    ]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "teleport_call", "id": "1"},
        {"type": "robot_tool_use", "name": "search", "input": {}},
        {"type": "request", "name": "search", "arguments": {}},
        {"type": "ServerFunction"},
    ],
)
def test_what_looks_like_a_call_is_refused_by_its_type_and_never_called_respond(tmp_path, block):
    talk = [{"role": "user", "content": "q"}, blocks("assistant", block), DONE]
    path = write(tmp_path, talk)
    with pytest.raises(ReadError, match=rf"message 2: .*'{block['type']}' looks like the call"):
        read_recording(path)
    read = read_recording(path, skip_bad_lines=True)
    assert (read.read_count, read.skipped_count, read.runs[0].states) == (2, 1, ("respond",))


def test_what_wraps_a_call_in_an_unknown_way_is_refused_by_its_name(tmp_path):
    block = {"robotCall": {"what": "search"}}
    with pytest.raises(ReadError, match=r"message 1: .*'robotCall' looks like the call"):
        read_recording(write(tmp_path, [blocks("assistant", block), DONE]))


@pytest.mark.parametrize("kind", [{}, [], 1, None, "other"])
def test_parts_of_nobody_are_refused(tmp_path, kind):
    talk = [*PYDANTIC_AI, {"kind": kind, "parts": [{"part_kind": "text", "content": "x"}]}]
    with pytest.raises(ReadError, match=r"message 6: a message has a role"):
        read_recording(write(tmp_path, talk))


def test_an_unknown_item_of_a_response_is_refused_by_its_type(tmp_path):
    talk = [{"role": "user", "content": "q"}, {"type": "teleport_call", "id": "1"}, DONE]
    with pytest.raises(ReadError, match="'teleport_call' looks like the call"):
        read_recording(write(tmp_path, talk))


def test_agents_that_talk_to_each_other_are_states_by_their_names(tmp_path):
    talk = [
        {"role": "assistant", "content": "write about owls", "name": "user_proxy"},
        {"role": "user", "content": "plan", "name": "planner"},
        {"role": "user", "content": "owls", "name": "writer"},
        {"role": "user", "content": "good", "name": "planner"},
    ]
    assert states(tmp_path, talk)[0][-3:] == ("planner", "writer", "planner")
    single = [{"role": "user", "content": "q", "name": "Bob"}, DONE]
    assert states(tmp_path, single) == [("respond",)]


# Which run is which, and how it ended


def talk(*names):
    asked = [{"role": "assistant", "tool_calls": [call(1, name)]} for name in names]
    return [{"role": "user", "content": "q"}, *asked]


def test_equal_names_are_runs_of_their_own_and_the_same_run_again_is_a_duplicate(tmp_path):
    runs = [
        {"id": "x", "messages": talk("a")},
        {"id": "x", "messages": talk("b")},
        {"id": "y", "messages": talk("b")},
        {"id": "x", "messages": talk("a")},
        {"id": "x", "messages": talk("c")},
    ]
    read = read_recording(write(tmp_path, runs))
    assert {run.name: run.states for run in read.runs} == {
        "x": ("a",),
        "x#2": ("b",),
        "y": ("b",),
        "x#3": ("c",),
    }
    assert (read.read_count, read.duplicate_count, read.skipped_count) == (8, 2, 0)
    assert not read.counts.restrict(["a", "b"]).counts.sum()


@pytest.mark.parametrize(
    "document",
    [
        {"x": talk("a"), "y": talk("b"), "cost": 7},
        {"x": {"messages": talk("a")}, "y": {"history": talk("b")}},
        {"runs": {"x": {"messages": talk("a")}, "y": {"messages": talk("b")}}},
        {"n": 2, "results": [{"id": "x", "messages": talk("a")}, {"id": "y", "log": talk("b")}]},
        {"rows": [{"row": {"id": name, "messages": talk(of)}} for name, of in ("xa", "yb")]},
        "\n".join(json.dumps({"id": i, "messages": talk(n)}, indent=1) for i, n in ("xa", "yb")),
    ],
)
def test_each_conversation_of_a_document_is_a_run_by_its_name(tmp_path, document):
    read = read_recording(write(tmp_path, document, "t.jsonl"))
    assert {run.name: run.states for run in read.runs} == {"x": ("a",), "y": ("b",)}
    assert read.read_count == 4


@pytest.mark.parametrize(
    ("outcome", "messages", "path"),
    [
        ("failed", OPENAI[:4], ("search", None)),
        ("cancelled", OPENAI[:2], (None,)),
        ("failed", OPENAI[:3], ("search",)),  # it was answered
        ("ended", OPENAI[:4], ("search", "read")),
        ("failed", [OPENAI[1], OPENAI[3]], ("search", "read")),  # answers were not written down
    ],
)
def test_a_call_that_a_failure_broke_off_is_an_escape(tmp_path, outcome, messages, path):
    document = [{"messages": messages, "how": outcome}]
    [run] = read_runs(write(tmp_path, document), success_field="how")
    assert tuple(target for _, target in run.moves if target != "__end__") == path


def test_a_run_that_failed_before_its_first_step_is_a_run(tmp_path):
    broken = {"id": "x", "messages": [], "termination_reason": "infrastructure_error"}
    runs = read_runs(write(tmp_path, [broken, {"id": "y", "messages": talk("a")}]))
    assert {run.name: (run.states, run.outcome) for run in runs} == {
        "x": ((), Outcome.FAILED),
        "y": (("a",), Outcome.ENDED),
    }


def test_a_file_of_a_folder_that_is_no_trace_is_named_or_skipped(tmp_path):
    for name in ("a", "b"):
        write(tmp_path, {"messages": OPENAI}, f"{name}.json")
    strange = write(tmp_path, {"log": [], "version": 3}, "config.json")
    silent = write(tmp_path, {"messages": OPENAI[:1]}, "silent.json")
    with pytest.raises(ReadError, match=r"config\.json holds JSON .*'log'.*skip_bad_lines"):
        read_runs(tmp_path)
    strange.unlink()
    with pytest.raises(ReadError, match=r"no move was found in .*silent\.json.*skip_bad_lines"):
        read_runs(tmp_path)
    write(tmp_path, {"log": [], "version": 3}, "config.json")
    found = read_recording(sorted(map(str, tmp_path.iterdir())), skip_bad_lines=True)
    assert [run.name for run in found.runs] == ["a.json", "b.json"]
    assert [skipped.line for skipped in found.skipped] == [str(strange), str(silent)]
    with pytest.raises(ReadError, match="none of 2 files can be read"):
        read_recording([str(strange), str(strange)], skip_bad_lines=True)


def test_files_of_a_folder_are_runs_by_their_paths(tmp_path):
    for name in ("a/1.json", "a/2.json", "b/1.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, talk("search"), name)
    names = ["a/1.json", "a/2.json", "b/1.json"]
    assert sorted(run.name for run in read_runs(tmp_path)) == names
    assert sorted(run.name for run in read_runs(str(tmp_path / "*" / "*.json"))) == names
    assert sorted(r.name for r in read_runs([tmp_path / n for n in names[:2]])) == [
        "1.json",
        "2.json",
    ]


@pytest.mark.parametrize("value", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_a_reward_without_bounds_is_a_bad_record(tmp_path, value):
    text = f'[{{"id": "1", "reward": {value}, "messages": {json.dumps(talk("a"))}}}]'
    with pytest.raises(ReadError, match="run 1: 'reward' must be a finite number"):
        read_recording(write(tmp_path, text))


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("user_stop", Outcome.ENDED),
        ("agent_stop", Outcome.ENDED),
        ("max_steps", Outcome.RECURSION_LIMIT),
        ("timeout", Outcome.FAILED),
        ("context_window_exceeded", Outcome.FAILED),
        ("brand_new_error", Outcome.FAILED),
    ],
)
@pytest.mark.parametrize("as_folder", [True, False])
def test_both_formats_of_tau2_tell_how_runs_ended(tmp_path, reason, outcome, as_folder):
    run = {"id": "s", "task_id": "0", "trial": 0, "termination_reason": reason}
    run |= {"reward_info": {"reward": 0.0}, "messages": talk("a")}
    info = {"agent_info": {"llm": "m"}, "environment_info": {"domain_name": "shop"}}
    if as_folder:
        (tmp_path / "simulations").mkdir()
        write(tmp_path, run, "simulations/s.json")
        document = {"info": info, "simulation_index": [{"id": "s"}], "format_version": "dir"}
    else:
        document = {"info": info, "simulations": [run]}
    path = write(tmp_path, document, "results.json")
    found = read_runs(path, context_fields=["domain"])[0]
    assert (found.outcome, found.success, dict(found.context)) == (
        outcome,
        False,
        {"domain": "shop"},
    )
    assert len(read_runs(tmp_path)) == 1  # the folder holds the same run twice


def test_a_recursion_limit_is_advised_to_users_of_langgraph_alone(tmp_path):
    runs = [
        {"id": str(n), "termination_reason": "agent_stop", "reward": 1, "messages": talk(*"abcd")}
        for n in range(60)
    ]
    found = read_runs(write(tmp_path, runs))
    assert {run.limit_steps for run in found} == {None}
    assert "recursion_limit" not in str(analyze(found))


def test_a_simulation_without_its_file_is_said(tmp_path):
    path = write(tmp_path, {"simulation_index": [{"id": "../s"}]}, "results.json")
    with pytest.raises(ReadError, match=r"has no file in .*keep the folder"):
        read_recording(path)


# Never a silent loss


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"log": {"a": 1}, "eval": {}}, r"no reader knows: .*'log', 'eval'.*one of .*csv"),
        ([[1, 2], [3]], "no reader knows"),
        ([{"role": "user", "content": "q"}], "no move was found .*1 read, 0 skipped.*'role'"),
        ({"messages": [{"role": "system", "content": "s"}]}, "no move was found"),
        ("{}", "no reader knows"),
    ],
)
def test_a_file_without_a_move_is_an_error_that_says_what_it_holds(tmp_path, document, message):
    with pytest.raises(ReadError, match=message):
        read_recording(write(tmp_path, document))


@pytest.mark.parametrize("size", [70_000, 3_000_000])
def test_the_telling_field_may_stand_behind_a_long_text(tmp_path, size):
    record = {"input": "x" * size, "messages": OPENAI}
    assert states(tmp_path, record) == [PATH]
    assert states(tmp_path, [record, record]) == [PATH, PATH]
    assert states(tmp_path, json.dumps(record, indent=1)) == [PATH]


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("indent", [None, 2, "lines"])
def test_content_and_not_its_name_says_how_json_stands_in_a_file(tmp_path, name, mark, indent):
    runs = [{"id": str(n), "messages": talk("a")} for n in range(2)]
    text = (
        "\n".join(map(json.dumps, runs)) if indent == "lines" else json.dumps(runs, indent=indent)
    )
    path = tmp_path / name
    path.write_text(mark + text, encoding="utf-8")
    assert [run.states for run in read_runs(path)] == [("a",), ("a",)]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_of_rows_is_a_table(tmp_path, indent):
    rows = [{"run": r, "n": n, "tool": s} for r in range(3) for n, s in enumerate("aba")]
    path = write(tmp_path, json.dumps(rows, indent=indent))
    runs = read_runs(path, state_field="tool", trajectory_field="run", step_field="n")
    assert [run.states for run in runs] == [("a", "b", "a")] * 3
    moves = write(tmp_path, json.dumps([{"source": "a", "target": "b"}] * 2, indent=indent))
    assert read_recording(moves).counts.restrict(["a", "b"]).counts.sum() == 2
