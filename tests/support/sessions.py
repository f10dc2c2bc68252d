"""Files of session logs and trajectories, read as a whole."""

import json
from collections import Counter

from detailed_balance.readers.recording import read_recording

__all__ = ["SEEDS", "account", "moves", "read_lines", "read_text", "run_moves"]


def read_text(tmp_path, text, name, **options):
    path = tmp_path / name
    path.write_text(text)
    return read_recording(path, **options)


def read_lines(tmp_path, lines, name="t.jsonl", **options):
    return read_text(tmp_path, "\n".join(map(json.dumps, lines)), name, **options)


def run_moves(run):
    """Return the moves of a run with their counts: ``"a>b 2, b>a 1"``."""
    counts = Counter(run.moves)
    return ", ".join(f"{source}>{target} {n}" for (source, target), n in counts.items())


def moves(recording):
    """Return the moves of the only run."""
    (run,) = recording.runs
    return run_moves(run)


def account(recording):
    """Return how many records were read, skipped, and left out as duplicates."""
    return recording.read_count, recording.skipped_count, recording.duplicate_count


def _claude(kind, number, content, **more):
    said = {"role": kind, "content": content, "id": "m1" if kind == "assistant" else None}
    ids = {"uuid": str(number), "parentUuid": str(number - 1), "sessionId": "s"}
    time = f"2025-01-01T00:00:0{number}.000Z"
    return {"type": kind, **ids, "timestamp": time, "message": said, **more}


def _codex(kind, **payload):
    return {"timestamp": "2025-01-01T00:00:00.000Z", "type": kind, "payload": payload}


def _pi(number, above, role, **more):
    return {"type": "message", "id": number, "parentId": above, "message": {"role": role, **more}}


def _act(number, **more):
    return {"id": number, "timestamp": "2025-01-01T00:00:00", "source": "agent", **more}


def _v1(number, kind, **more):
    return {"id": str(number), "source": "agent", "kind": kind, "tool_call_id": "c1", **more}


_USE = {"type": "tool_use", "id": "1", "name": "Grep", "input": {}}
_RESULT = {"type": "tool_result", "tool_use_id": "1", "content": "x", "is_error": True}
_TOOL_CALL = {"type": "toolCall", "id": "1", "name": "read", "arguments": {}}
_ASKS = {"tool_call_id": "1", "function_name": "find", "arguments": {}}
_SAMPLE = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "tool_calls": [{"id": "1", "function": "find", "arguments": {}}]},
    {"role": "tool", "tool_call_id": "1", "function": "find", "content": "x"},
]
_LINES = {
    "claude_code": [
        {"type": "summary", "summary": "x", "leafUuid": "3"},
        _claude("user", 0, "q"),
        _claude("assistant", 1, [_USE]),
        _claude("user", 2, [_RESULT]),
        _claude("assistant", 3, [{"type": "text", "text": "done"}]),
        _claude("assistant", 4, [_USE], isSidechain=True, agentId="a"),
        {"type": "result", "subtype": "error_max_turns", "session_id": "s"},
    ],
    "codex": [
        _codex("session_meta", id="c"),
        _codex("event_msg", type="task_started"),
        _codex("response_item", type="function_call", name="exec", call_id="1", arguments="{}"),
        _codex("event_msg", type="token_count", info={"total_token_usage": {"total_tokens": 9}}),
        _codex("response_item", type="function_call_output", call_id="1", output='{"success": 1}'),
        _codex("response_item", type="web_search_call", action={}),
        _codex("response_item", type="message", role="assistant", content=[]),
        _codex("event_msg", type="turn_aborted"),
    ],
    "pi": [
        {"type": "session", "id": "p", "timestamp": "2025-01-01T00:00:00.000Z", "cwd": "/"},
        _pi("1", None, "user", content="q"),
        _pi("2", "1", "assistant", content=[_TOOL_CALL], usage={"totalTokens": 3}),
        _pi("3", "2", "toolResult", toolCallId="1", content="x", isError=True),
        _pi("4", "1", "assistant", content=[], stopReason="aborted"),
        _pi("5", "3", "assistant", content=[], stopReason="stop"),
    ],
    "openhands": [
        _act(1, action="run", args={"command": "ls"}),
        _act(2, observation="run", cause=1, content="x", extras={"exit_code": 1}),
        _v1(3, "ActionEvent", tool_name="finish", llm_response_id="r"),
        _v1(4, "ObservationEvent", observation={"content": "x", "is_error": True}),
        _v1(5, "ACPToolCallEvent", title="Read", status="failed"),
        _v1(6, "ConversationErrorEvent", code="MaxIterationsReached"),
    ],
    "agentbench": [
        {"index": 1, "output": {"status": "completed", "result": 1, "history": history}}
        for history in ([{"role": "agent", "content": "Act: ls"}, {"reward": 0}], _SAMPLE)
    ],
}
_DOCUMENTS = {
    "swe_agent": {
        "trajectory": [{"action": "ls -a", "observation": "x"}, {"action": "", "observation": ""}],
        "info": {"exit_status": "submitted (exit_cost)"},
    },
    "mini_swe_agent": {
        "info": {"exit_status": "Submitted"},
        "messages": [
            {"role": "assistant", "content": "", "extra": {"actions": [{"command": "ls -a"}]}},
            {"role": "user", "content": "x", "extra": {"returncode": 1, "timestamp": 3.0}},
            {"role": "assistant", "content": "```bash\nls\n```"},
        ],
        "trajectory_format": "mini-swe-agent-1.1",
    },
    "atif": {
        "schema_version": "ATIF-v1.7",
        "session_id": "s",
        "steps": [
            {"source": "agent", "tool_calls": [_ASKS], "observation": {"results": []}},
            {"source": "agent", "message": "x", "is_copied_context": True},
        ],
        "subagent_trajectories": [{"trajectory_id": "t", "steps": [{"source": "agent"}]}],
    },
    "inspect": {
        "status": "success",
        "eval": {"task": "t"},
        "samples": [{"id": 1, "messages": _SAMPLE, "scores": {"match": {"value": "C"}}}],
    },
    "who_and_when": {
        "history": [
            {"role": "human", "content": "q"},
            {"role": "A"},
            {"role": "user", "name": "B"},
        ],
        "question_ID": "q",
        "is_correct": False,
    },
    "any_agent": {
        "spans": [
            {
                "context": {"trace_id": 7, "span_id": number},
                "parent": {"span_id": 1},
                "start_time": number,
                "end_time": number + 1,
                "attributes": {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "x"},
            }
            for number in (2, 3)
        ],
        "final_output": "x",
    },
    "toolbench": {"win": True, "answer_generation": {"train_messages": [_SAMPLE]}},
    "tracetochain": {"a": {"toks": ["x", "y"], "resolved": True}, "b": {"toks": ["x"]}},
}
SEEDS = {
    **{name: (".jsonl", "\n".join(map(json.dumps, lines))) for name, lines in _LINES.items()},
    **{name: (".json", json.dumps(document)) for name, document in _DOCUMENTS.items()},
}
"""A small file of each format, with the end of its name."""
