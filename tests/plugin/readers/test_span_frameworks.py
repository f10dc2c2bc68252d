"""Spans of agent frameworks become the path that their agents took, whatever their shape is."""

import itertools
import json
import os
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from detailed_balance.analyzers.counts import END, START
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.callbacks import Ending
from detailed_balance.readers import read_transitions
from detailed_balance.readers.tracers.otlp import unfold
from tests.plugin.readers.test_span_fuzz import spoil, wrap
from tests.support.spans import OK, agent, chain, crashed, document, foreign, model, span, tool

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"


def read(path, **options):
    return list(read_transitions(path, **options).records())


def summarize(records):
    """Return the moves with their counts, the outcomes, and the number of runs."""
    moves = Counter(f"{r.source}>{r.target}" for r in records if not isinstance(r, Ending))
    endings = [r for r in records if isinstance(r, Ending) and r.outcome]
    return moves, sorted(e.outcome.value for e in endings), len({r.run for r in records})


def parse_moves(text):
    parts = (part.rpartition(" ") for part in re.sub(r" \(.*\)$", "", text).split(", "))
    return Counter({move: int(count) for move, _, count in parts})


def load_cases(folder, matches=""):
    answers = CASES / folder / "answers.jsonl"
    found = map(json.loads, answers.read_text().splitlines()) if answers.exists() else ()
    return [case for case in found if case["file"].startswith(matches)]


SPANS = load_cases("spans")


@pytest.mark.skipif(not SPANS, reason="../shared/cases/spans is not beside this checkout")
@pytest.mark.parametrize("case", SPANS, ids=lambda case: case["file"])
def test_files_of_twelve_frameworks_give_their_answers(case):
    moves, outcomes, runs = summarize(read(CASES / "spans" / case["file"]))
    others = case.get("also_right", ())
    assert moves in [parse_moves(text) for text in (case["moves"], *others) if ">" in text]
    allowed = [text.removeprefix("outcome ") for text in others if text.startswith("outcome ")]
    assert set(outcomes) in [set(text.split(", ")) for text in (case["outcome"], *allowed)]
    assert runs == case["trajectories"]


def walk(*states):
    return [f"{a}>{b}" for a, b in itertools.pairwise([START, *states, END])]


def path_of(tmp_path, *spans, **options):
    """Return the moves in order, and how each run stopped, of spans written as OTLP."""
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(document(*spans)))
    records = read(path, **options)
    moves = [f"{r.source}>{r.target}" for r in records if not isinstance(r, Ending)]
    return moves, [r.outcome for r in records if isinstance(r, Ending)]


ENDED, FAILED = [Outcome.ENDED], [Outcome.FAILED]
CALLS_SEARCH = {"gen_ai.response.finish_reasons": ["tool_calls"]}
MESSAGE = '[{"role": "assistant", "parts": [{"type": "tool_call", "name": "find"}]}]'
TWO_CALLS = json.dumps([{"parts": [{"type": "tool_call", "name": name} for name in "ab"]}])


# A: failed calls


@pytest.mark.parametrize("error", ["ValueError", "asyncio.CancelledError"])
def test_a_failed_call_is_an_escape_and_what_follows_has_its_own_place(tmp_path, error):
    spans = agent(model(), tool("find"), model(), tool("find", error=error), model(), tool("read"))
    moves, outcomes = path_of(tmp_path, spans)
    assert moves == [f"{START}>find", "find>None", "find>read", f"read>{END}"]
    assert outcomes == ENDED


def test_a_model_that_failed_is_an_escape(tmp_path):
    spans = agent(model(), tool("find"), model(error="IndexError"), error="IndexError")
    assert path_of(tmp_path, spans) == ([f"{START}>find", "find>None"], FAILED)


# B: models that ask for tools


@pytest.mark.parametrize(
    "reply",
    [
        {},
        CALLS_SEARCH,
        {"gen_ai.response.finish_reasons": ["stop"]},
        {"gen_ai.output.messages": MESSAGE},
        {"output.value": '{"tool_calls": [{"function": {"name": "find"}}]}'},
        {"output.value": '{"raw": {"additional_kwargs": {"tool_calls": [{"name": "find"}]}}}'},
        {"output.value": '{"output": [{"type": "function_call", "name": "find"}]}'},
        {"llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "find"},
        {"traceloop.entity.output": '{"content": [{"type": "tool_use", "name": "find"}]}'},
        {"ai.response.toolCalls": '[{"toolName": "find", "args": {}}]'},
    ],
)
def test_a_model_that_asks_for_tools_is_no_state_whatever_says_so(tmp_path, reply):
    asked = agent(model(**reply), tool("find"), model())
    assert path_of(tmp_path, asked) == (walk("find", "model"), ENDED)
    if reply not in ({}, {"gen_ai.response.finish_reasons": ["stop"]}):
        alone = agent(model(**reply), model())
        assert path_of(tmp_path, alone) == (walk("model"), ENDED)


def test_events_tell_what_a_model_asks_for(tmp_path):
    asks = model(events=[("gen_ai.choice", {"message": '[{"toolUse": {"name": "find"}}]'})])
    assert path_of(tmp_path, agent(asks, model())) == (walk("model"), ENDED)


def test_what_only_looks_like_a_model_or_a_tool_is_none(tmp_path):
    frame = model(title="OpenAI._prepare_chat_with_tools")
    merged = tool("(merged tools)")
    spans = agent(model(), tool("find"), tool("read"), merged, frame, model())
    assert path_of(tmp_path, spans)[0] == walk("find|read", "model")


def test_an_answer_in_the_form_of_a_call_is_an_answer(tmp_path):
    output = '[{"parts": [{"type": "tool_call", "name": "final_result"}]}]'
    spans = agent(model(), tool("find"), model(**{"gen_ai.output.messages": output}))
    assert path_of(tmp_path, spans)[0] == walk("find", "model")


def test_a_model_inside_of_a_model_is_one_call(tmp_path):
    spans = agent(model(model(), **CALLS_SEARCH), tool("find"), model(model()))
    assert path_of(tmp_path, spans)[0] == walk("find", "model")


def test_tools_inside_of_models_are_tools(tmp_path):
    spans = agent(model(tool("find")), model(tool("read")), model())
    assert path_of(tmp_path, spans)[0] == walk("find", "read", "model")


def test_tools_between_two_models_were_asked_for_by_one_message(tmp_path):
    spans = agent(model(), tool("read"), tool("find"), model(), tool("find"), model())
    assert path_of(tmp_path, spans)[0] == walk("find|read", "find", "model")


def test_tools_that_code_called_come_one_after_the_other(tmp_path):
    code = model(**{"output.value": "<code>for x in y: read(find(x))</code>"})
    spans = agent(code, tool("find"), tool("read"), model())
    assert path_of(tmp_path, spans)[0] == walk("find", "read", "model")
    two = agent(model(**{"gen_ai.output.messages": TWO_CALLS}), tool("a"), tool("b"), model())
    assert path_of(tmp_path, two)[0] == walk("a|b", "model")


# C: agents


def test_the_path_inside_of_an_agent_with_the_id_of_a_node_is_kept(tmp_path):
    marks = {"graph.node.id": "7650ffa64ba8bec0", "graph.node.name": "team"}
    spans = agent(model(), tool("find"), model(), **marks)
    assert path_of(tmp_path, spans)[0] == walk("find", "model")


@pytest.mark.parametrize(
    ("title", "attributes"),
    [
        ("x.run", {"agent.name": "researcher"}),
        ("x.run", {"graph.node.name": "researcher", "graph.node.id": "7650ffa64ba8bec0"}),
        ("researcher._execute_core", {"graph.node.id": "researcher"}),
        ("researcher.t.execute", {"graph.node.id": "researcher"}),
        ("invoke_agent researcher", {}),
        ("researcher.agent", {}),
    ],
)
def test_an_agent_without_steps_is_a_state_by_its_name(tmp_path, title, attributes):
    writer = agent(title="writer.run")
    spans = chain(agent(title=title, **attributes), writer, title="Crew.kickoff")
    assert path_of(tmp_path, spans)[0] == walk("researcher", "writer")


def test_an_agent_inside_of_a_tool_is_the_tools_own(tmp_path):
    inner = agent(model(), tool("read"), model(), title="writer")
    spans = agent(model(), tool("delegate", inner), model())
    assert path_of(tmp_path, spans)[0] == walk("delegate", "model")


def test_an_agent_that_ran_while_a_tool_did_is_the_tools_own(tmp_path):
    inner = span("writer", {"gen_ai.operation.name": "invoke_agent"}, times=(4, 5))
    held = span("chat", {"gen_ai.operation.name": "chat"}, times=(4, 5), above=inner)
    delegate = tool("delegate", times=(3, 6))
    spans = agent(model(times=(1, 2)), delegate, held, model(times=(7, 8)), times=(0, 9))
    assert path_of(tmp_path, spans)[0] == walk("delegate", "model")


def test_an_agent_that_a_model_called_by_name_is_a_tool(tmp_path):
    reply = {"output.value": '{"tool_calls": [{"function": {"name": "writer"}}]}'}
    spans = agent(model(**reply), agent(model(), tool("read"), title="writer.run"), model())
    assert path_of(tmp_path, spans)[0] == walk("writer", "model")


@pytest.mark.parametrize("of", [chain, lambda **given: foreign(given.pop("title"), **given)])
def test_a_span_that_does_not_say_what_it_is_is_the_tool_that_a_model_asked_for(tmp_path, of):
    reply = {"output.value": '{"tool_calls": [{"function": {"name": "find"}}]}'}
    spans = agent(of(title="find"), model(**reply), of(title="find"), of(title="other"), model())
    assert path_of(tmp_path, spans)[0] == walk("find", "model")
    wrapped = chain(tool("find"), tool("read"), title="find")
    assert path_of(tmp_path, agent(model(**reply), wrapped, model()))[0] == walk(
        "find", "read", "model"
    )


def test_spans_of_which_none_has_ended_are_refused_with_the_reason(tmp_path):
    written = document(agent(model()))
    for each, _ in unfold(written):
        del each["endTimeUnixNano"]
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(written))
    with pytest.raises(ReadError, match=r"none of its spans .* has an end"):
        read(path)


def test_a_span_with_the_name_of_a_tool_and_no_kind_is_a_tool(tmp_path):
    running = span(
        "running tool", {"gen_ai.tool.name": "find", "logfire.msg": "running tool: find"}
    )
    assert path_of(tmp_path, agent(model(), running, model()))[0] == walk("find", "model")


def test_agents_side_by_side_are_one_step(tmp_path):
    def one(name, first):
        calls = [tool(f"{name}{n}", times=(first + n, first + n + 1)) for n in (0, 2)]
        return agent(*calls, title=name, times=(first, first + 4))

    spans = chain(one("x", 1), one("y", 2), agent(tool("end", times=(8, 9)), times=(7, 9)))
    assert path_of(tmp_path, spans)[0] == walk("x|y", "end")


# D: conventions


@pytest.mark.parametrize(
    "spans",
    [
        span(
            "haystack.agent.run",
            {},
            span("haystack.agent.step.llm", {}),
            span("haystack.agent.step.tool", {"haystack.tool.name": "find"}),
            span("haystack.agent.step.llm", {}),
        ),
        span(
            "OpenAI Agents trace",
            {"logfire.msg_template": "OpenAI Agents trace: {name}"},
            span(
                "Agent run: 'a'",
                {"logfire.msg_template": "Agent run: {name!r}", "name": "a"},
                span("Responses API", {"logfire.msg_template": "Responses API with {x}"}),
                span("f", {"logfire.msg_template": "Function: {name}", "name": "find"}),
                span("Responses API", {"logfire.msg_template": "Responses API with {x}"}),
            ),
        ),
        span(
            "ai.generateText",
            {"ai.operationId": "ai.generateText"},
            span("ai.generateText.doGenerate", {"ai.operationId": "ai.generateText.doGenerate"}),
            span("ai.toolCall", {"ai.operationId": "ai.toolCall", "ai.toolCall.name": "find"}),
            span("ai.generateText.doGenerate", {"ai.operationId": "ai.generateText.doGenerate"}),
        ),
        span(
            "ReAct.forward",
            {"openinference.span.kind": "CHAIN"},
            span("LM.__call__", {"openinference.span.kind": "LLM"}),
            span("find.__call__", {"openinference.span.kind": "TOOL"}),
            span("LM.__call__", {"openinference.span.kind": "LLM"}),
        ),
        span(
            "researcher.agent",
            {"traceloop.span.kind": "agent"},
            span("openai.chat", {"llm.request.type": "chat"}),
            span("find.tool", {"traceloop.span.kind": "tool"}),
            span("openai.chat", {"llm.request.type": "chat"}),
        ),
        span(
            "agent",
            {"mlflow.spanType": '"AGENT"'},
            span("m", {"mlflow.spanType": '"CHAT_MODEL"'}),
            span("find", {"mlflow.spanType": '"TOOL"'}),
            span("m", {"mlflow.spanType": '"CHAT_MODEL"'}),
        ),
    ],
    ids=["haystack", "logfire", "vercel", "dspy", "traceloop", "mlflow"],
)
def test_each_convention_tells_agents_models_and_tools(tmp_path, spans):
    assert path_of(tmp_path, spans) == (walk("find", "model"), ENDED)


@pytest.mark.parametrize(
    "handoff",
    [
        span("handoff to writer", {"openinference.span.kind": "TOOL"}),
        span("x", {"gen_ai.operation.name": "handoff", "gen_ai.handoff.to_agent": "writer"}),
        span("a → unknown.handoff", {"traceloop.span.kind": "handoff"}),
        span("h", {"logfire.msg_template": "Handoff: {a} to {b}", "to_agent": "writer"}),
    ],
)
def test_a_handoff_is_a_state_named_by_the_agent_that_goes_on(tmp_path, handoff):
    first = agent(model(), tool("find"), model(), handoff, title="a")
    spans = chain(first, agent(model(), tool("read"), model(), title="invoke_agent writer"))
    assert path_of(tmp_path, spans)[0] == walk("find", "handoff_to_writer", "read", "model")


# E: outcomes


def test_a_run_failed_where_an_agent_in_it_did_whatever_its_root_says(tmp_path):
    inner = agent(model(), tool("find", error="ValueError"), error="ValueError")
    moves, outcomes = path_of(tmp_path, chain(inner, status=OK))
    assert (moves, outcomes) == ([f"{START}>None"], FAILED)


def test_a_run_did_not_fail_where_an_agent_inside_of_a_tool_did(tmp_path):
    spans = agent(model(), tool("delegate", agent(model(), error="ValueError")), model())
    assert path_of(tmp_path, spans)[1] == ENDED


def test_an_exception_of_a_call_counts_with_any_status_and_one_of_an_agent_does_not(tmp_path):
    raised = [("exception", {"exception.type": "ValueError"})]
    spans = agent(model(), tool("find", events=raised, status=OK), model(), events=raised)
    assert path_of(tmp_path, {**spans, "status": OK}) == (
        [f"{START}>None", f"{START}>model", f"model>{END}"],
        ENDED,
    )


@pytest.mark.parametrize(
    "told", [{"haystack.tool.error": "boom"}, {"gen_ai.tool.status": "error"}, {"error.type": "E"}]
)
def test_attributes_tell_that_a_call_failed(tmp_path, told):
    moves, _ = path_of(tmp_path, agent(model(), tool("find", **told), model()))
    assert moves[0] == f"{START}>None"


# F: orphans


def test_steps_of_a_root_that_never_ended_are_one_run_without_end(tmp_path):
    first = chain(model(), tool("find"), title="Step 1")
    last = chain(model(error="E"), title="Step 2", error="E")
    moves, outcomes = path_of(tmp_path, *crashed(first, last))
    assert (moves, outcomes) == ([f"{START}>find", "find>None"], FAILED)
    last = chain(model(), tool("read"), title="Step 2")
    moves, outcomes = path_of(tmp_path, *crashed(first, last))
    assert (moves, outcomes) == ([f"{START}>find", "find>read"], [Outcome.ABANDONED])


def test_a_whole_agent_whose_parent_is_elsewhere_is_a_whole_run(tmp_path):
    one = agent(model(), tool("find"), model())
    assert path_of(tmp_path, *crashed(one)) == (walk("find", "model"), ENDED)
    moves, outcomes = path_of(tmp_path, *crashed(one, one))
    assert (moves, outcomes) == (walk("find", "model") * 2, ENDED * 2)


# G: runs


def test_a_run_is_the_topmost_span_that_is_part_of_an_agent(tmp_path):
    one = agent(model(), tool("find"), model())
    query = foreign("SELECT users")
    assert path_of(tmp_path, foreign("POST /chat", query, one)) == (walk("find", "model"), ENDED)
    evaluation = foreign("evaluation", one, foreign("case", one), one)
    assert path_of(tmp_path, evaluation) == (walk("find", "model") * 3, ENDED * 3)


def test_calls_below_a_foreign_span_are_one_run(tmp_path):
    spans = foreign("work", model(**CALLS_SEARCH), tool("find"), foreign("inner", model()))
    assert path_of(tmp_path, spans) == (walk("find", "model"), ENDED)


def test_a_link_puts_a_trace_inside_of_the_span_that_caused_it(tmp_path):
    first = agent(model(), tool("find"), title="a", times=(1, 4))
    send = foreign("publish", times=(5, 6))
    team = chain(first, send, title="team", times=(0, 9))
    second = agent(tool("read"), title="b", link=send, times=(7, 8))
    assert path_of(tmp_path, team, second) == (walk("find", "read"), ENDED)


@pytest.mark.parametrize(
    ("spans", "label"),
    [
        (foreign("POST /chat", agent(model(), title="invoke_agent helper")), "helper"),
        (
            chain(agent(title="a.run"), title="C_8b536883-30df-4822-9177-d5f3d8bbd766.run"),
            "a",
        ),
        (chain(agent(model(), title="a"), **{"gen_ai.workflow.name": "flow"}), "flow"),
        (agent(agent(model(), title="a.agent"), title="Agent workflow"), "a"),
    ],
)
def test_runs_are_labelled_by_their_agent_or_workflow(tmp_path, spans, label):
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(document(spans)))
    assert dict(read(path)[0].context)["graph"] == label


def test_a_conversation_is_the_thread_of_its_runs(tmp_path):
    one = agent(model(**{"gen_ai.conversation.id": "C"}), **{"gen_ai.conversation.id": "C"})
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(document(one, one)))
    records = read(path)
    assert {r.trajectory for r in records} == {"C"}
    assert {r.run for r in records} == {"C#1", "C#2"}


# H: limits and cancellation


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("pydantic_ai.exceptions.UsageLimitExceeded", ""),
        ("agents.exceptions.MaxTurnsExceeded", ""),
        ("LlmCallsLimitExceededError", ""),
        ("", "Max turns exceeded: {'max_turns': 2}"),
        ("", "Reached maximum iterations: 20"),
    ],
)
def test_a_limit_of_a_framework_is_a_limit(tmp_path, error, message):
    spans = agent(model(), tool("find"), model(**CALLS_SEARCH), error=error, message=message)
    assert path_of(tmp_path, spans) == ([f"{START}>find"], [Outcome.RECURSION_LIMIT])


def test_a_run_whose_last_call_was_cancelled_was_cancelled(tmp_path):
    spans = agent(model(), tool("find"), model(), tool("read", error="asyncio.CancelledError"))
    assert path_of(tmp_path, spans) == ([f"{START}>find"], [Outcome.CANCELLED])


# Facts


def test_facts_come_from_the_attributes_of_each_convention(tmp_path):
    def call(**attributes):
        return tool("find", **attributes)

    same = {"gen_ai.tool.call.arguments": '{"q": 1}', "gen_ai.tool.call.result": "none"}
    other = {"input.value": '{"q": 1}', "output.value": "one"}
    cost = {"gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 1, "operation.cost": 0.5}
    spans = agent(model(**cost), call(**same), model(), call(**same), model(), call(**other))
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(document(spans)))
    facts = [r.facts for r in read(path) if not isinstance(r, Ending) and r.target != END]
    assert [(f.repeats, f.stale) for f in facts] == [(False, False), (True, True), (True, False)]
    assert (facts[0].tokens, facts[0].cost) == (10, 0.5)


def test_nothing_is_claimed_of_calls_whose_contents_were_left_out(tmp_path):
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(document(agent(model(), tool("find"), model(), tool("find")))))
    facts = [r.facts for r in read(path) if not isinstance(r, Ending) and r.target != END]
    assert [(f.call, f.repeats, f.stale) for f in facts] == [(None, False, False)] * 2


# Hostile input

ROUNDS = int(os.environ.get("DETAILED_BALANCE_TEST_FUZZ", "800")) // 8


def test_no_value_crashes_the_search_for_runs_or_loses_a_span_unsaid(tmp_path):
    noise = random.Random(4)
    reply = {"output.value": '{"tool_calls": [{"function": {"name": "writer"}}]}'}
    inner = agent(model(), tool("read", error="ValueError"), title="writer.run")
    raised = [("exception", {"exception.type": "ValueError"})]
    roots = [
        foreign("POST /", agent(model(**reply), inner, model(tool("find")), error="E")),
        chain(agent(title="a.run"), agent(model(), tool("x", events=raised)), title="crew"),
        *crashed(chain(model(), tool("find")), agent(model(), tool("find"))),
    ]
    corpus = [found for found, _ in unfold(document(*roots))]
    path = tmp_path / "trace.jsonl"
    for _ in range(ROUNDS):
        records = spoil(corpus, noise)
        path.write_text("\n".join(json.dumps(wrap(record)) for record in records))
        reader = read_transitions(path, format="otlp", skip_bad_lines=True)
        for record in reader.records():
            assert record.trajectory
            record.trajectory.encode()
        counted = reader.read_count + reader.skipped_count + reader.duplicate_count
        assert counted == len(records)


def test_ten_thousand_agents_inside_of_one_another_are_one_path(tmp_path):
    spans = [found for found, _ in unfold(document(agent(model(), tool("find"), model())))]
    above = {**spans[0], "parentSpanId": f"{10_000 + 10_000:016x}"}
    deep = [
        {**above, "spanId": f"{10_000 + n:016x}", "parentSpanId": f"{9_999 + n:016x}" if n else ""}
        for n in range(10_001)
    ]
    path = tmp_path / "trace.json"
    path.write_text(
        json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [*deep, above, *spans[1:]]}]}]})
    )
    moves = [f"{r.source}>{r.target}" for r in read(path) if not isinstance(r, Ending)]
    assert moves == walk("find", "model")
