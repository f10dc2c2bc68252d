"""Trajectories of benchmarks: SWE-agent, mini-swe-agent, OpenHands, ATIF, Inspect and others."""

import json
import zipfile

import pytest
import zstandard

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.recording import read_recording
from tests.support.sessions import account, moves, read_lines, read_text, run_moves


def only(recording):
    (run,) = recording.runs
    return run


def facts(run):
    return [(fact.failed, fact.repeats, fact.tokens) for fact in run.facts if fact]


# SWE-agent


def swe(*actions, status="submitted", **more):
    steps = [
        {"action": a, "observation": "o", "response": "r", "thought": "t", "state": "{}"}
        for a in actions
    ]
    history = [{"role": "system", "content": "s", "agent": "main"}]
    info = {"exit_status": status, "submission": "p", "model_stats": {"api_calls": 3}}
    return json.dumps({"trajectory": steps, "history": history, "info": info, **more}, indent=2)


def test_a_state_of_swe_agent_is_the_first_word_of_its_command(tmp_path):
    text = swe('search_dir "x"\n', "edit 1:4\nx = 1\nend_of_edit", "A=1 python -m pytest", "submit")
    found = read_text(tmp_path, text, "django-1.traj")
    assert moves(found) == (
        "__start__>search_dir 1, search_dir>edit 1, edit>python 1, python>submit 1, "
        "submit>__end__ 1"
    )
    run = only(found)
    assert (run.name, run.outcome, run.judged) == ("django-1", Outcome.ENDED, False)
    assert account(found) == (4, 0, 0)


def test_the_same_command_again_repeats_and_another_does_not(tmp_path):
    run = only(read_text(tmp_path, swe("ls a", "ls b", "ls a"), "t.traj"))
    assert [repeats for _, repeats, _ in facts(run)] == [False, False, True]


def test_a_reply_without_a_command_is_an_escape(tmp_path):
    found = read_text(tmp_path, swe("ls", "", "ls"), "t.traj")
    assert moves(found) == "__start__>ls 1, ls>None 1, ls>ls 1, ls>__end__ 1"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("submitted", Outcome.ENDED),
        ("submitted (exit_cost)", Outcome.RECURSION_LIMIT),
        ("exit_cost", Outcome.RECURSION_LIMIT),
        ("exit_context", Outcome.FAILED),
        ("exit_format", Outcome.FAILED),
        ("exit_total_execution_time", Outcome.RECURSION_LIMIT),
        ("submitted (exit_error)", Outcome.FAILED),
    ],
)
def test_the_exit_status_of_swe_agent_is_its_outcome(tmp_path, status, outcome):
    assert only(read_text(tmp_path, swe("ls", status=status), "t.traj")).outcome is outcome


def test_a_demonstration_is_read_from_its_history(tmp_path):
    history = [
        {"role": "user", "content": "q", "agent": "main"},
        {"role": "assistant", "content": "c", "agent": "main", "action": "ls -a"},
        {"role": "tool", "content": "o", "agent": "main"},
        {"role": "assistant", "content": "c", "agent": "main", "action": "submit"},
    ]
    found = read_text(tmp_path, json.dumps({"history": history}), "t.traj")
    assert moves(found) == "__start__>ls 1, ls>submit 1, submit>__end__ 1"
    assert account(found) == (4, 0, 0)


def test_a_field_of_a_step_may_be_its_state(tmp_path):
    found = read_text(tmp_path, swe("ls a", "ls b"), "t.traj", state_field="action")
    assert moves(found) == "__start__>ls a 1, ls a>ls b 1, ls b>__end__ 1"


def test_a_corpus_of_tracetochain_has_runs_by_their_keys(tmp_path):
    corpus = {
        "a-1": {"toks": ["edit:view", "python", "python"], "resolved": True, "label": "S"},
        "a-2": {"toks": ["none"], "resolved": False, "exit": "exit_cost"},
    }
    found = read_text(tmp_path, json.dumps(corpus), "corpus.json")
    assert {run.name: (run_moves(run), run.outcome, run.success) for run in found.runs} == {
        "a-1": (
            "__start__>edit:view 1, edit:view>python 1, python>python 1, python>__end__ 1",
            Outcome.ENDED,
            True,
        ),
        "a-2": ("__start__>none 1", Outcome.RECURSION_LIMIT, False),
    }
    assert account(found) == (4, 0, 0)


# mini-swe-agent


def mini(*messages, status="Submitted"):
    info = {"exit_status": status, "submission": "", "mini_version": "2.0.0"}
    run = {"info": info, "messages": [{"role": "user", "content": "q"}, *messages]}
    return json.dumps(run | {"trajectory_format": "mini-swe-agent-1.1"})


def acts(*commands, **more):
    actions = [{"command": command} for command in commands]
    return {"role": "assistant", "content": "c", "extra": {"actions": actions, **more}}


def observed(code=0, **more):
    return {"role": "user", "content": "o", "extra": {"returncode": code}, **more}


def test_commands_of_mini_swe_agent_are_states_with_what_they_cost(tmp_path):
    spent = {"cost": 0.5, "response": {"usage": {"total_tokens": 9}}, "timestamp": 10.0}
    text = mini(acts("ls -a", **spent), observed(2), acts("cat f", "ls"), observed(), observed())
    found = read_text(tmp_path, text, "x-1.traj.json")
    assert moves(found) == "__start__>ls 1, ls>cat|ls 1, cat|ls>__end__ 1"
    run = only(found)
    assert (run.name, run.outcome, run.started) == ("x-1", Outcome.ENDED, 10.0)
    assert facts(run) == [(True, False, 9), (False, False, None)]
    assert account(found) == (6, 0, 0)


def test_a_block_of_a_command_is_one_of_mini_swe_agent(tmp_path):
    reply = {"role": "assistant", "content": "I look.\n```mswea_bash_command\nls -a\n```"}
    none = {"role": "assistant", "content": "I am lost."}
    messages = [{"role": "system", "content": "s"}, reply, observed(), none, observed()]
    found = read_text(tmp_path, json.dumps(messages, indent=1), "x.traj.json")
    assert moves(found) == "__start__>ls 1, ls>None 1, ls>__end__ 1"
    assert account(found) == (5, 0, 0)


def test_a_call_of_the_bash_tool_is_named_by_its_command(tmp_path):
    asked = {"id": "t1", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}
    action = {"command": "ls", "tool_call_id": "t1"}
    reply = {"role": "assistant", "tool_calls": [asked], "extra": {"actions": [action]}}
    answer = {"role": "tool", "tool_call_id": "t1", "content": "o", "extra": {"returncode": 1}}
    response = {"object": "response", "output": [], "extra": {"actions": [{"command": "cat f"}]}}
    text = mini(reply, answer, response, {"type": "function_call_output", "output": "o"})
    run = only(read_text(tmp_path, text, "x.traj.json"))
    assert run_moves(run) == "__start__>ls 1, ls>cat 1, cat>__end__ 1"
    assert [failed for failed, _, _ in facts(run)] == [True, False]


@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [
        ("LimitsExceeded", Outcome.RECURSION_LIMIT, None),
        ("TimeExceeded", Outcome.RECURSION_LIMIT, None),
        ("RepeatedFormatError", Outcome.FAILED, "RepeatedFormatError"),
        ("RateLimitError", Outcome.FAILED, "RateLimitError"),
        ("", Outcome.ENDED, None),
    ],
)
def test_the_exit_status_of_mini_swe_agent_is_its_outcome(tmp_path, status, outcome, error):
    run = only(read_text(tmp_path, mini(acts("ls"), status=status), "x.traj.json"))
    assert (run.outcome, run.error) == (outcome, error)


# OpenHands


def act(number, action, source="agent", **args):
    time = f"2025-01-01T00:00:{number:02}"
    return {"id": number, "timestamp": time, "source": source, "action": action, "args": args}


def seen(number, observation, cause=None, **extras):
    event = {"id": number, "source": "agent", "observation": observation, "content": "x"}
    return {**event, "cause": cause, "extras": extras}


EVENTS = [
    act(0, "message", "user", content="q"),
    act(1, "run", command="make"),
    seen(2, "run", 1, metadata={"exit_code": 2}),
    act(3, "recall", "user"),
    act(4, "call_tool_mcp", name="fetch"),
    seen(5, "mcp", 4),
    seen(6, "error"),
    act(7, "message", content="I am done."),
    seen(8, "agent_state_changed", agent_state="awaiting_user_input"),
]


def test_the_actions_of_openhands_are_states(tmp_path):
    found = read_text(tmp_path, json.dumps(EVENTS), "events.json")
    assert moves(found) == "__start__>run 1, run>fetch 1, fetch>None 1, fetch>respond 1"
    run = only(found)
    assert run.outcome is Outcome.INTERRUPTED
    assert [failed for failed, _, _ in facts(run)] == [True, False, False]
    assert account(found) == (len(EVENTS), 0, 0)


@pytest.mark.parametrize("name", ["trajectory", "history"])
def test_runs_of_openhands_are_read_from_lists_of_events(tmp_path, name):
    error = "RuntimeError: Agent reached maximum iteration."
    runs = [
        {"instance_id": "a", name: EVENTS[:3], "error": error},
        {"instance_id": "b", name: [*EVENTS[:3], act(3, "finish")], "report": {"resolved": True}},
    ]
    found = read_lines(tmp_path, runs, "output.jsonl")
    assert {run.name: (run_moves(run), run.outcome, run.success) for run in found.runs} == {
        "a": ("__start__>run 1", Outcome.RECURSION_LIMIT, False),
        "b": ("__start__>run 1, run>finish 1, finish>__end__ 1", Outcome.ENDED, True),
    }


def test_the_first_versions_of_openhands_had_pairs(tmp_path):
    pairs = [
        [{"action": "message", "content": "q"}, {"observation": "null", "content": ""}],
        [{"action": "run", "command": "ls"}, {"observation": "run", "content": "x"}],
    ]
    found = read_lines(tmp_path, [{"history": pairs, "success": False}])
    assert moves(found) == "__start__>run 1, run>__end__ 1"
    assert (only(found).success, account(found)) == (False, (4, 0, 0))


def v1(number, kind, source="agent", **more):
    time = f"2025-01-01T00:00:{number:02}"
    return {"id": str(number), "timestamp": time, "source": source, "kind": kind, **more}


def test_events_of_version_1_are_steps_by_response(tmp_path):
    both = {"llm_response_id": "r1"}
    result = {"content": "x", "is_error": True}
    events = [
        v1(0, "MessageEvent", "user", llm_message={"role": "user", "content": "q"}),
        v1(1, "ActionEvent", tool_name="terminal", tool_call_id="c1", action={}, **both),
        v1(2, "ActionEvent", tool_name="file_editor", tool_call_id="c2", action={}, **both),
        v1(3, "ObservationEvent", "environment", tool_call_id="c1", observation=result),
        v1(4, "AgentErrorEvent", "environment", tool_call_id="c2", error="no"),
        v1(5, "ActionEvent", tool_name="terminal", tool_call_id="c3", llm_response_id="r2"),
        v1(6, "UserRejectObservation", "user", tool_call_id="c3", rejection_reason="no"),
        v1(7, "ActionEvent", tool_name="finish", tool_call_id="c4", llm_response_id="r3"),
        v1(8, "ConversationStateUpdateEvent", "environment", key="stats", value={}),
    ]
    found = read_lines(tmp_path, events)
    assert moves(found) == (
        "__start__>file_editor|terminal 1, file_editor|terminal>terminal!refused 1, "
        "terminal!refused>finish 1, finish>__end__ 1"
    )
    assert [failed for failed, _, _ in facts(only(found))] == [True, True, False]
    assert account(found) == (9, 0, 0)


@pytest.mark.parametrize(
    ("last", "outcome"),
    [
        (v1(2, "ConversationErrorEvent", code="MaxIterationsReached"), Outcome.RECURSION_LIMIT),
        (v1(2, "ConversationErrorEvent", code="LLMError"), Outcome.FAILED),
        (
            v1(2, "ConversationStateUpdateEvent", key="execution_status", value="stuck"),
            Outcome.FAILED,
        ),
        (
            v1(2, "ConversationStateUpdateEvent", key="execution_status", value="paused"),
            Outcome.INTERRUPTED,
        ),
    ],
)
def test_the_last_state_of_a_conversation_is_its_outcome(tmp_path, last, outcome):
    first = v1(1, "ActionEvent", tool_name="terminal", tool_call_id="c1")
    assert only(read_lines(tmp_path, [first, last])).outcome is outcome


def test_a_tool_of_another_agent_is_told_of_twice_and_is_one_step(tmp_path):
    call = {"tool_call_id": "c1", "title": "Read f.py", "tool_kind": "read"}
    first = v1(1, "ACPToolCallEvent", status="in_progress", **call)
    last = v1(2, "ACPToolCallEvent", status="failed", raw_output="x", **call)
    found = read_lines(tmp_path, [first, last])
    assert moves(found) == "__start__>read 1, read>__end__ 1"
    assert (facts(only(found)), account(found)) == ([(True, False, None)], (2, 0, 0))


# ATIF


def atif(*steps, version="1.7", **more):
    numbered = [{"step_id": n, **step} for n, step in enumerate(steps, 1)]
    about = {"schema_version": f"ATIF-v{version}", "session_id": "s1"}
    agent = {"name": "terminus", "version": "2", "model_name": "m"}
    return {**about, "agent": agent, "steps": numbered, **more}


def asked(*names, results=(), **more):
    calls = [{"tool_call_id": n, "function_name": n, "arguments": {"x": 1}} for n in names]
    said = {"source": "agent", "message": "", "tool_calls": calls, **more}
    return {**said, "observation": {"results": [*results]}}


@pytest.mark.parametrize("version", ["1.0", "1.4", "1.7"])
def test_the_steps_of_an_agent_are_the_states_of_atif(tmp_path, version):
    metrics = {"prompt_tokens": 7, "completion_tokens": 2, "cost_usd": 0.25}
    trajectory = atif(
        {"source": "system", "message": "s"},
        {"source": "user", "message": "q"},
        asked("search", "read", results=[{"source_call_id": "read", "content": "x"}]),
        asked("read", results=[{"source_call_id": "read", "content": "x"}], metrics=metrics),
        {"source": "agent", "message": "done"},
        version=version,
    )
    found = read_text(tmp_path, json.dumps(trajectory, indent=1), "trajectory.json")
    assert (
        moves(found)
        == "__start__>read|search 1, read|search>read 1, read>respond 1, respond>__end__ 1"
    )
    run = only(found)
    assert (run.name, run.judged) == ("s1", False)
    assert [(f.tokens, f.cost, f.answer) for f in run.facts if f][1] == (9, 0.25, 1)
    assert account(found) == (5, 0, 0)


def test_steps_that_were_copied_are_duplicates_and_subagents_are_runs(tmp_path):
    inner = atif(asked("grep"), session_id="s1", trajectory_id="sub")
    trajectory = atif(asked("search", is_copied_context=True), asked("read"))
    found = read_lines(tmp_path, [trajectory | {"subagent_trajectories": [inner]}])
    assert {run.name: run_moves(run) for run in found.runs} == {
        "s1": "__start__>read 1, read>__end__ 1",
        "s1/sub": "__start__>grep 1, grep>__end__ 1",
    }
    assert account(found) == (2, 0, 1)


# Inspect


def sample(number, *names, epoch=1, **more):
    messages = [{"role": "user", "content": "q"}]
    events = []
    for n, name in enumerate(names):
        ids = {"id": f"c{n}", "function": name, "arguments": {}}
        reply = {"role": "assistant", "id": f"m{n}", "content": "", "tool_calls": [ids]}
        output = {"choices": [{"message": {"id": f"m{n}"}}], "usage": {"total_tokens": 10 + n}}
        time = f"2025-01-01T00:00:{n:02}+00:00"
        events.append({"event": "model", "timestamp": time, "output": output})
        answer = {"role": "tool", "content": "x", "tool_call_id": f"c{n}", "function": name}
        messages += [reply, answer]
    messages.append({"role": "assistant", "content": "done"})
    return {"id": number, "epoch": epoch, "messages": messages, "events": events, **more}


def inspect_log(*samples, status="success"):
    return {"version": 2, "status": status, "eval": {"task": "t", "model": "m"}, "samples": samples}


def graded(**values):
    return {"scores": {name: {"value": value} for name, value in values.items()}}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, 93])
def test_a_log_of_inspect_is_read_from_its_zip_file_too(tmp_path, method):
    samples = [
        sample("a", "search", **graded(match="C")),
        sample("a", epoch=2, **graded(match="I")),
    ]
    path = tmp_path / "log.eval"
    write_archive(path, samples, method)
    packed = read_recording(path)
    plain = read_text(tmp_path, json.dumps(inspect_log(*samples), indent=1), "log.json")
    for found in (packed, plain):
        assert {run.name: (run_moves(run), run.success) for run in found.runs} == {
            "a-1": ("__start__>search 1, search>respond 1, respond>__end__ 1", True),
            "a-2": ("__start__>respond 1, respond>__end__ 1", False),
        }
        assert account(found) == (6, 0, 0)
        first = next(run for run in found.runs if run.name == "a-1")
        assert (first.facts[0].tokens, first.started) == (10, 1735689600.0)


def write_archive(path, samples, method):
    """Write a log as Inspect does: a member for each sample, the header last."""
    members = {f"samples/{s['id']}_epoch_{s['epoch']}.json": s for s in samples}
    header = {key: value for key, value in inspect_log().items() if key != "samples"}
    members = {"_journal/start.json": {}, **members, "header.json": header}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            data = json.dumps(content).encode()
            info = zipfile.ZipInfo(name)
            if method == 93:  # which zipfile does not write before Python 3.14
                archive.writestr(info, zstandard.compress(data))
                info.compress_type = 93
                continue
            info.compress_type = method
            archive.writestr(info, data)


@pytest.mark.parametrize(
    ("more", "outcome", "success"),
    [
        ({}, Outcome.ENDED, True),
        (graded(match="C", other=1.0), Outcome.ENDED, True),
        (graded(match="P"), Outcome.ENDED, False),
        (graded(match=0.5), Outcome.ENDED, True),
        (graded(match="C", other="I"), Outcome.ENDED, True),
        ({"error": {"message": "boom"}}, Outcome.FAILED, False),
        ({"limit": {"type": "message", "limit": 5}}, Outcome.RECURSION_LIMIT, False),
        (
            {"limit": {"type": "token", "limit": 5}, **graded(match="C")},
            Outcome.RECURSION_LIMIT,
            True,
        ),
        ({"limit": {"type": "operator", "limit": 1}}, Outcome.CANCELLED, False),
    ],
)
def test_scores_limits_and_errors_of_inspect(tmp_path, more, outcome, success):
    run = only(read_text(tmp_path, json.dumps(inspect_log(sample(1, "a", **more))), "log.json"))
    assert (run.outcome, run.success) == (outcome, success)


def test_a_tool_of_inspect_failed_where_it_says_so(tmp_path):
    one = sample(1, "read")
    one["messages"][2] |= {"error": {"type": "timeout", "message": "too late"}}
    run = only(read_text(tmp_path, json.dumps(inspect_log(one)), "log.json"))
    assert [failed for failed, _, _ in facts(run)] == [True, False]


def test_one_score_of_several_can_be_chosen(tmp_path):
    log = inspect_log(sample(1, "a", **graded(match="C", other="I")))
    options = {"success_field": "scores.other.value", "success_values": ["C"]}
    assert only(read_text(tmp_path, json.dumps(log), "log.json", **options)).success is False


def test_a_damaged_member_of_a_zip_file_costs_only_itself(tmp_path):
    path = tmp_path / "log.eval"
    write_archive(path, [sample("a"), sample("b")], zipfile.ZIP_STORED)
    data = path.read_bytes().replace(b'{"id": "a"', b'{"id":: "a')
    path.write_bytes(data)
    with pytest.raises(ReadError, match="a_epoch_1"):
        read_recording(path)
    found = read_recording(path, skip_bad_lines=True)
    assert ([run.name for run in found.runs], account(found)) == (["b-1"], (2, 1, 0))


# AgentBench, Who&When, ToolBench


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("Think: I look.\n\nAct: bash\n\n```bash\nls\n```", "bash"),
        ("Act: answer(4)", "answer"),
        ("THOUGHT: I go.\nACTION: go to desk 1", "go"),
        ("Action: get_relations(Obama)", "get_relations"),
        ("Action: Operation\n```sql\nSELECT 1\n```", "operation"),
        ("Final Answer: #3", "answer"),
        ("I do not know.", "respond"),
    ],
)
def test_an_action_of_agentbench_is_written_as_text(tmp_path, text, state):
    history = [{"role": "user", "content": "q"}, {"role": "agent", "content": text}]
    output = {"index": 3, "status": "completed", "result": {"result": True}, "history": history}
    run = {"index": 3, "error": None, "info": None, "output": output, "time": {}}
    found = read_lines(tmp_path, [run], "runs.jsonl")
    assert moves(found) == f"__start__>{state} 1, {state}>__end__ 1"
    assert (only(found).name, only(found).success) == ("3", True)
    assert account(found) == (2, 0, 0)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("task limit reached", Outcome.RECURSION_LIMIT),
        ("agent context limit", Outcome.FAILED),
        ("agent invalid action", Outcome.FAILED),
        ("cancelled", Outcome.CANCELLED),
    ],
)
def test_agentbench_with_functions_and_rewards(tmp_path, status, outcome):
    asks = {"id": "1", "function": {"name": "bash_action", "arguments": "{}"}}
    history = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [asks]},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
        {"reward": 0, "score": 0},
    ]
    output = {"index": 1, "status": status, "result": None, "history": history}
    found = read_lines(tmp_path, [{"index": 1, "error": None, "info": None, "output": output}])
    assert moves(found) == "__start__>bash_action 1"
    assert (only(found).outcome, account(found)) == (outcome, (4, 0, 0))


def test_a_state_of_who_and_when_is_the_speaker(tmp_path):
    history = [
        {"role": "human", "content": "q"},
        {"role": "Orchestrator (thought)", "content": "plan"},
        {"role": "WebSurfer", "content": "x"},
        {"role": "user", "name": "Computer_terminal", "content": "y"},
        {"role": "WebSurfer", "content": "x"},
    ]
    about = {"question_ID": "q1", "is_correct": False, "mistake_agent": "WebSurfer"}
    text = json.dumps({"history": history, **about}, indent=1)
    found = read_text(tmp_path, text, "1.json", context_fields=["mistake_agent"])
    assert moves(found) == (
        "__start__>Orchestrator (thought) 1, Orchestrator (thought)>WebSurfer 1, "
        "WebSurfer>Computer_terminal 1, Computer_terminal>WebSurfer 1, WebSurfer>__end__ 1"
    )
    run = only(found)
    assert (run.name, run.success, run.context) == ("q1", False, (("mistake_agent", "WebSurfer"),))
    assert [fact.stale for fact in run.facts if fact] == [False, False, False, False]
    assert account(found) == (5, 0, 0)


def test_an_answer_of_toolbench_is_the_conversation_of_its_last_path(tmp_path):
    asks = {"role": "assistant", "function_call": {"name": "find_x", "arguments": "{}"}}
    ends = {"role": "assistant", "function_call": {"name": "Finish", "arguments": "{}"}}
    talk = [{"role": "user", "content": "q"}, asks, {"role": "function", "name": "find_x"}, ends]
    answer = {"win": True, "answer_generation": {"train_messages": [talk[:2], talk]}}
    found = read_text(tmp_path, json.dumps(answer), "10_DFS.json")
    assert moves(found) == "__start__>find_x 1, find_x>Finish 1, Finish>__end__ 1"
    assert (only(found).name, account(found)) == ("10_DFS", (4, 0, 0))


def test_an_answer_that_was_given_up_is_read_from_its_tree(tmp_path):
    def node(kind, description, *children, **more):
        return {"node_type": kind, "description": description, "children": children, **more}

    given = node("Action Input", "{}", node("Action", "Finish"), observation_code=4)
    tree = node("Action Input", "", node("Action", "a"), node("Action", "find_x", given))
    answer = {"win": False, "answer_generation": {}, "tree": {"tree": tree}}
    run = only(read_text(tmp_path, json.dumps(answer), "t.json"))
    assert (run_moves(run), run.outcome) == ("__start__>find_x 1, find_x>Finish 1", Outcome.FAILED)
    assert [failed for failed, _, _ in facts(run)] == [True, False]


# any-agent


def any_span(number, operation, parent=1, trace=7, **attributes):
    when = {"start_time": number * 10**9, "end_time": number * 10**9 + 1}
    return {
        "name": operation,
        "context": {"trace_id": trace, "span_id": number},
        "parent": parent and {"trace_id": trace, "span_id": parent},
        "kind": {"value": 0},
        "status": {"status_code": "ok", "description": None},
        "attributes": {"gen_ai.operation.name": operation, **attributes},
        **when,
    }


ASKS = {"gen_ai.output": '[{"tool.name": "search", "tool.args": "{}"}]'}
SPANS = [
    any_span(2, "call_llm", **ASKS),
    any_span(3, "execute_tool", 99, **{"gen_ai.tool.name": "search"}),  # 99 was not kept
    any_span(4, "call_llm", **{"gen_ai.output": "done"}),
]


@pytest.mark.parametrize("root", [[], [any_span(1, "invoke_agent", None)]])
def test_a_trace_of_any_agent_is_one_run_with_or_without_the_span_of_its_agent(tmp_path, root):
    trace = {"spans": [*SPANS, *root], "final_output": "done"}
    found = read_text(tmp_path, json.dumps(trace), "trace.json")
    assert moves(found) == "__start__>search 1, search>model 1, model>__end__ 1"
    assert only(found).outcome is Outcome.ENDED
    assert account(found) == (3 + len(root), 0, 0)
