"""Session logs of coding agents: Claude Code, Codex, pi."""

import json

import pytest

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.recording import read_recording
from tests.support.sessions import account, moves, read_lines, run_moves

DONE = [{"type": "text", "text": "done"}]


class Session:
    """The lines of a session of Claude Code, each after the one before."""

    def __init__(self, **about):
        self.about = {"sessionId": "s1", "isSidechain": False, "cwd": "/x", **about}
        self.lines = []

    def add(self, kind, content, *, message=(), **line):
        uuid = f"{self.about['sessionId']}-{len(self.lines)}"
        above = self.lines[-1].get("uuid") if self.lines else None
        said = {"role": kind, "content": content, **dict(message)}
        time = f"2025-01-01T00:00:{len(self.lines):02}.000Z"
        whole = {"type": kind, "uuid": uuid, "parentUuid": above, "timestamp": time}
        self.lines.append({**self.about, **whole, "message": said, **line})
        return self

    def ask(self, name, number="1", message=(), **given):
        use = {"type": "tool_use", "id": number, "name": name, "input": given}
        return self.add("assistant", [use], message=message)

    def answer(self, content, number="1", **more):
        result = {"type": "tool_result", "tool_use_id": number, "content": content, **more}
        return self.add("user", [result])


def begin():
    return Session().add("user", "Mend it.")


def test_a_session_of_claude_code_becomes_the_tools_it_asked_for(tmp_path):
    session = begin().ask("Grep").answer("x").ask("Read", "2").answer("y", "2")
    found = read_lines(tmp_path, session.add("assistant", DONE).lines)
    assert moves(found) == "__start__>Grep 1, Grep>Read 1, Read>respond 1, respond>__end__ 1"
    (run,) = found.runs
    assert (run.name, run.outcome, run.judged) == ("s1", Outcome.ENDED, False)
    assert account(found) == (6, 0, 0)


def test_lines_of_one_reply_are_one_step_with_its_last_count_of_tokens(tmp_path):
    session, first, last = begin(), {"usage": {"output_tokens": 3}}, {"usage": {"output_tokens": 5}}
    thought = [{"type": "thinking", "thinking": "hm"}]
    session.add("assistant", thought, message={"id": "m1", **first})
    session.ask("Read", "1", {"id": "m1", **last}).answer("x", "1")
    session.ask("Grep", "2", {"id": "m1", **last}).answer("y", "2")
    session.add("assistant", thought, message={"id": "m2"})
    found = read_lines(tmp_path, session.lines)
    assert moves(found) == "__start__>Grep|Read 1, Grep|Read>__end__ 1"
    (run,) = found.runs
    assert [fact.tokens for fact in run.facts if fact] == [5]
    assert account(found) == (7, 0, 0)


def test_what_failed_and_what_repeats_is_known_of_claude_code(tmp_path):
    session = begin()
    for _ in range(3):
        session.ask("Bash", "1", command="make").answer("no rule", "1", is_error=True)
    (run,) = read_lines(tmp_path, session.lines).runs
    facts = [fact for fact in run.facts if fact]
    assert [fact.failed for fact in facts] == [True] * 3
    assert [fact.stale for fact in facts] == [False, True, True]


@pytest.mark.parametrize("content", [["text"], [None, 3], [[]], []])
def test_a_reply_that_holds_no_block_is_no_state(tmp_path, content):
    found = read_lines(tmp_path, begin().ask("Read").add("assistant", content).lines)
    assert moves(found) == "__start__>Read 1, Read>__end__ 1"
    assert account(found) == (3, 0, 0)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ("The user doesn't want to proceed with this tool use. It was rejected", "Bash!refused"),
        ("<tool_use_error>Error: No such tool available: Bash</tool_use_error>", "Bash!unknown"),
        ("fine", "Bash"),
    ],
)
def test_a_call_that_never_ran_is_marked(tmp_path, answer, state):
    session = begin().ask("Bash").answer(answer, is_error=state != "Bash")
    assert moves(read_lines(tmp_path, session.lines)).startswith(f"__start__>{state} 1")


def test_a_subagent_is_a_run_of_its_own(tmp_path):
    session = begin().ask("Task")
    old = Session(isSidechain=True).add("user", "Look.", uuid="root").ask("Grep", "7")
    old.lines[-1] |= {"parentUuid": "root", "uuid": "old"}
    new = Session(isSidechain=True, agentId="a7").ask("Glob", "8")
    new.lines[-1]["uuid"] = "new"
    lines = [*session.lines, *old.lines, *new.lines, *session.answer("x").lines[-1:]]
    found = read_lines(tmp_path, lines)
    assert {run.name: run_moves(run) for run in found.runs} == {
        "s1": "__start__>Task 1, Task>__end__ 1",
        "s1/root": "__start__>Grep 1, Grep>__end__ 1",
        "s1/a7": "__start__>Glob 1, Glob>__end__ 1",
    }


def test_lines_that_a_resumed_session_copied_are_duplicates(tmp_path):
    session = begin().ask("Read").answer("x")
    lines = [*session.lines, *session.lines, *session.add("assistant", DONE).lines[-1:]]
    found = read_lines(tmp_path, lines)
    assert moves(found) == "__start__>Read 1, Read>respond 1, respond>__end__ 1"
    assert account(found) == (4, 0, 3)


def test_lines_that_a_resumed_session_copied_into_its_own_file_are_duplicates(tmp_path):
    session = begin().ask("Read").answer("x")
    first = tmp_path / "a.jsonl"
    first.write_text("\n".join(map(json.dumps, session.lines)))
    resumed = [{**line, "sessionId": "s2"} for line in session.add("assistant", DONE).lines]
    second = tmp_path / "b.jsonl"
    second.write_text("\n".join(map(json.dumps, resumed)))
    found = read_recording([first, second])
    assert {run.name: run_moves(run) for run in found.runs} == {
        "s1": "__start__>Read 1, Read>__end__ 1",
        "s2": "__start__>respond 1, respond>__end__ 1",
    }
    assert account(found) == (4, 0, 3)


def test_summaries_compactions_and_other_bookkeeping_are_no_states(tmp_path):
    session = begin().ask("Read").answer("x")
    other = [
        {"type": "summary", "summary": "x", "leafUuid": "9"},
        {"type": "file-history-snapshot", "messageId": "9"},
        {"type": "system", "subtype": "compact_boundary", "uuid": "8", "sessionId": "s1"},
        {"type": "attachment", "attachment": {}, "uuid": "7", "sessionId": "s1"},
        {"type": "window-title", "sessionId": "s1"},
    ]
    found = read_lines(tmp_path, [*other, *session.lines, *[o for o in other if "uuid" not in o]])
    assert moves(found) == "__start__>Read 1, Read>__end__ 1"
    assert account(found) == (11, 0, 0)


def test_an_unknown_line_that_looks_like_an_action_is_refused_by_its_name(tmp_path):
    lines = [*begin().ask("Read").lines, {"type": "remote_tool_call", "sessionId": "s1"}]
    with pytest.raises(ReadError, match=r"line 3.*'remote_tool_call' looks like an action"):
        read_lines(tmp_path, lines)
    assert account(read_lines(tmp_path, lines, skip_bad_lines=True)) == (2, 1, 0)


@pytest.mark.parametrize(
    ("line", "outcome", "error"),
    [
        ({"message": {"content": "[Request interrupted by user]"}}, Outcome.CANCELLED, None),
        ({"message": {"content": "Go on."}}, Outcome.ENDED, None),
        (
            {"type": "assistant", "isApiErrorMessage": True, "message": {"content": "API Error"}},
            Outcome.FAILED,
            "API Error",
        ),
    ],
)
def test_a_session_tells_that_it_was_interrupted_or_failed(tmp_path, line, outcome, error):
    lines = [*begin().ask("Read").lines, {"type": "user", "sessionId": "s1", **line}]
    (run,) = read_lines(tmp_path, lines).runs
    assert (run.outcome, run.error, run.moves[-1]) == (
        outcome,
        error,
        ("Read", "__end__") if outcome is Outcome.ENDED else ("__start__", "Read"),
    )


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        ({"subtype": "success"}, Outcome.ENDED),
        ({"subtype": "success", "is_error": True}, Outcome.FAILED),
        ({"subtype": "error_max_turns"}, Outcome.RECURSION_LIMIT),
        ({"subtype": "error_during_execution"}, Outcome.FAILED),
    ],
)
def test_the_output_of_claude_code_as_stream_json_tells_how_it_stopped(tmp_path, result, outcome):
    about = {"session_id": "s9", "parent_tool_use_id": None}
    use = {"type": "tool_use", "id": "1", "name": "Task", "input": {}}
    inner = {"type": "tool_use", "id": "2", "name": "Grep", "input": {}}
    lines = [
        {"type": "system", "subtype": "init", **about},
        {"type": "assistant", "message": {"role": "assistant", "content": [use]}, **about},
        {
            "type": "assistant",
            "message": {"role": "assistant", "content": [inner]},
            **about,
            "parent_tool_use_id": "1",
        },
        {"type": "result", **result, **about},
    ]
    found = read_lines(tmp_path, lines)
    assert {run.name: run.outcome for run in found.runs} == {
        "s9": outcome,
        "s9/1": Outcome.ENDED,
    }
    assert account(found) == (4, 0, 0)


# Codex


def codex(*payloads, kind="response_item"):
    time = "2025-01-01T00:00:00.000Z"
    wrapped = [(p.pop("_", kind), p) for p in map(dict, payloads)]
    meta = {"timestamp": time, "type": "session_meta", "payload": {"id": "c1", "cwd": "/x"}}
    return [meta, *({"timestamp": time, "type": k, "payload": p} for k, p in wrapped)]


def event(kind, **more):
    return {"_": "event_msg", "type": kind, **more}


def count(total):
    return event("token_count", info={"total_token_usage": {"total_tokens": total}})


def call(name, number="1", kind="function_call", **more):
    return {"type": kind, "name": name, "call_id": number, "arguments": "{}", **more}


def output(text, number="1", kind="function_call_output"):
    return {"type": kind, "call_id": number, "output": text}


def said(text, role="assistant"):
    return {"type": "message", "role": role, "content": [{"type": "output_text", "text": text}]}


TURN = [
    said("Mend it.", "user"),
    {"type": "reasoning", "summary": []},
    said("I look."),
    call("exec_command", "1"),
    call("exec_command", "2"),
    count(100),
    output("x", "1"),
    output("y", "2"),
    count(100),
    {"_": "turn_context", "model": "gpt-5"},
    call("apply_patch", "3", "custom_tool_call"),
    count(250),
    output("z", "3", "custom_tool_call_output"),
    said("done"),
    count(300),
]


def test_the_items_of_one_response_of_codex_are_one_step(tmp_path):
    found = read_lines(tmp_path, codex(event("task_started"), *TURN, event("task_complete")))
    assert moves(found) == (
        "__start__>exec_command 1, exec_command>apply_patch 1, apply_patch>respond 1, "
        "respond>__end__ 1"
    )
    (run,) = found.runs
    assert (run.name, run.outcome) == ("c1", Outcome.ENDED)
    assert [fact.tokens for fact in run.facts if fact] == [100, 150, 50]
    assert account(found) == (len(TURN) + 3, 0, 0)


def test_each_kind_of_call_of_codex_is_a_state(tmp_path):
    items = [
        {"type": "local_shell_call", "call_id": "1", "action": {"type": "exec", "command": ["ls"]}},
        output("x"),
        {"type": "web_search_call", "action": {"type": "search", "query": "q"}},
        call("look", "2", namespace="mcp"),
        output("x", "2"),
        {"type": "tool_search_call", "call_id": "3", "arguments": {}},
        {"type": "tool_search_output", "call_id": "3", "tools": []},
    ]
    found = read_lines(tmp_path, codex(*items))
    assert [target for _, target in next(iter(found.runs)).moves] == [
        "local_shell",
        "web_search",
        "mcp.look",
        "tool_search",
        "__end__",
    ]
    assert account(found) == (8, 0, 0)


@pytest.mark.parametrize(
    ("told", "failed"),
    [
        (json.dumps({"output": "no", "metadata": {"exit_code": 2}}), True),
        (json.dumps({"output": "yes", "metadata": {"exit_code": 0}}), False),
        ({"content": "no", "success": False}, True),
        ("Process exited with code 1", False),  # a text is not parsed
    ],
)
def test_a_call_of_codex_failed_where_its_exit_code_says_so(tmp_path, told, failed):
    (run,) = read_lines(tmp_path, codex(call("shell"), output(told))).runs
    assert run.facts[0].failed is failed


@pytest.mark.parametrize(
    ("events", "outcome", "error"),
    [
        ([event("turn_aborted", reason="interrupted")], Outcome.CANCELLED, None),
        ([event("error", message="no"), event("task_complete")], Outcome.FAILED, "no"),
        ([event("turn_aborted"), event("task_started"), call("a", "9")], Outcome.ENDED, None),
    ],
)
def test_the_last_turn_of_codex_tells_how_it_stopped(tmp_path, events, outcome, error):
    (run,) = read_lines(tmp_path, codex(event("task_started"), call("a"), *events)).runs
    assert (run.outcome, run.error) == (outcome, error)


def test_a_rollout_of_the_first_versions_has_no_wrapping(tmp_path):
    head = {"id": "c0", "timestamp": "2025-05-07T00:00:00Z", "instructions": None, "git": {}}
    lines = [head, {"record_type": "state"}, call("shell"), output("x"), said("done")]
    found = read_lines(tmp_path, lines)
    assert moves(found) == "__start__>shell 1, shell>respond 1, respond>__end__ 1"
    assert (next(iter(found.runs)).name, account(found)) == ("c0", (5, 0, 0))


def test_a_forked_rollout_keeps_its_own_name(tmp_path):
    parent = {"_": "session_meta", "id": "parent"}
    (run,) = read_lines(tmp_path, codex(parent, call("shell"))).runs
    assert run.name == "c1"


def test_an_unknown_item_of_codex_that_looks_like_an_action_is_refused(tmp_path):
    lines = codex(call("shell"), {"type": "browser_call", "call_id": "2"})
    with pytest.raises(ReadError, match=r"line 3.*'browser_call' looks like an action"):
        read_lines(tmp_path, lines)


# pi


def entry(id_, above, message=None, **more):
    kind = {"type": "message", "message": message} if message else {}
    ids = {} if above == "" else {"id": id_, "parentId": above}
    return {**ids, "timestamp": "2025-01-01T00:00:00.000Z", **kind, **more}


def pi_reply(*names, stop="toolUse", **more):
    calls = [{"type": "toolCall", "id": f"t-{n}", "name": n, "arguments": {}} for n in names]
    content = [{"type": "text", "text": "I look."}, *calls]
    usage = {"input": 10, "output": 5, "totalTokens": 15, "cost": {"total": 0.5}}
    return {"role": "assistant", "content": content, "usage": usage, "stopReason": stop, **more}


def pi_answer(name, *, failed=False):
    ids = {"toolCallId": f"t-{name}", "toolName": name}
    return {"role": "toolResult", **ids, "content": DONE, "isError": failed}


HEAD = {"type": "session", "id": "p1", "timestamp": "2025-01-01T00:00:00.000Z", "cwd": "/x"}


def test_a_session_of_pi_becomes_the_tools_it_asked_for(tmp_path):
    lines = [
        HEAD,
        entry("", "", {"role": "user", "content": "q"}),
        entry("", "", pi_reply("read", "bash")),
        entry("", "", pi_answer("read")),
        entry("", "", pi_answer("bash", failed=True)),
        entry("", "", {"role": "bashExecution", "command": "ls"}),
        entry("", "", type="compaction", summary="x"),
        entry("", "", pi_reply(stop="stop")),
    ]
    found = read_lines(tmp_path, lines)
    assert moves(found) == "__start__>bash|read 1, bash|read>respond 1, respond>__end__ 1"
    (run,) = found.runs
    assert (run.name, run.outcome) == ("p1", Outcome.ENDED)
    assert [(f.tokens, f.cost, f.failed) for f in run.facts if f] == [
        (15, 0.5, True),
        (15, 0.5, False),
    ]
    assert account(found) == (8, 0, 0)


def test_a_branch_of_pi_that_was_left_is_a_run_of_its_own(tmp_path):
    lines = [
        {**HEAD, "version": 3},
        entry("1", None, {"role": "user", "content": "q"}),
        entry("2", "1", pi_reply("read")),
        entry("3", "2", pi_reply("bash")),
        entry("4", "3", pi_reply("edit")),
        entry("5", "2", type="branch_summary", fromId="4", summary="x"),
        entry("6", "5", pi_reply("grep")),
    ]
    found = read_lines(tmp_path, lines)
    assert sorted(map(run_moves, found.runs)) == [
        "__start__>bash 1, bash>edit 1, edit>__end__ 1",
        "__start__>read 1, read>grep 1, grep>__end__ 1",
    ]
    assert {run.name for run in found.runs} == {"p1", "p1#2"}
    assert account(found) == (7, 0, 0)


@pytest.mark.parametrize(
    ("stop", "outcome"), [("aborted", Outcome.CANCELLED), ("error", Outcome.FAILED)]
)
def test_a_reply_of_pi_that_was_broken_off_is_no_state(tmp_path, stop, outcome):
    broken = pi_reply("bash", stop=stop, errorMessage="overloaded")
    (run,) = read_lines(
        tmp_path, [HEAD, entry("", "", pi_reply("read")), entry("", "", broken)]
    ).runs
    assert (run.moves, run.outcome) == ((("__start__", "read"),), outcome)
    assert run.error == "overloaded"
