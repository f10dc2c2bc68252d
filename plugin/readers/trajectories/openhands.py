"""OpenHands: events of its versions 0 and 1, and the output of its evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detailed_balance.analyzers import Outcome
from detailed_balance.callbacks.names import REFUSED
from detailed_balance.readers.messages.agent_steps import (
    get_part,
    get_text,
    keep_plain,
    looks_like_action,
    make_answer,
    make_attempt,
    make_call,
    make_step,
    make_use,
    split_names,
)
from detailed_balance.readers.messages.conversation import Conversation, read_conversations
from detailed_balance.readers.records.base import BadLines, ReadOptions, Record
from detailed_balance.readers.records.opening import Opening
from detailed_balance.readers.tables.json_files import read_objects

__all__ = ["looks_like", "read"]

_NO_ACTION = split_names(
    "change_agent_state condensation condensation_request loop_recovery null pause recall resume "
    "start stop system"
)
_NO_KIND = split_names(
    "Condensation CondensationRequest CondensationSummaryEvent ConversationErrorEvent "
    "ConversationStateUpdateEvent HookExecutionEvent InterruptEvent LLMCompletionLogEvent "
    "PauseEvent StreamingDeltaEvent SystemPromptEvent TokenEvent"
)
_ANSWERS = frozenset({"ObservationEvent", "AgentErrorEvent", "UserRejectObservation"})
_KINDS = _NO_KIND | _ANSWERS | {"ACPToolCallEvent", "ActionEvent", "MessageEvent"}
_STATES = {
    "finished": Outcome.ENDED,
    "stopped": Outcome.CANCELLED,
    "paused": Outcome.INTERRUPTED,
    **dict.fromkeys(("rejected", "error", "rate_limited", "stuck"), Outcome.FAILED),
    **dict.fromkeys(
        split_names("awaiting_user_input awaiting_user_confirmation waiting_for_confirmation"),
        Outcome.INTERRUPTED,
    ),
}
_LIMIT = ("maximum iteration", "max_iterations", "maximum budget", "MaxIterations")
_SOURCES = ("agent", "environment", "user")
_LISTS = ("history", "trajectory", "events")


def looks_like(opening: Opening) -> bool:
    """Say whether a file holds events, or runs with their events."""
    events = _find_events(opening.first)
    if events is None:
        return any(_is_event(event) for event in opening.objects)
    return any(_is_event(event) or _is_bare_event(event) for event in events[:16])


def read(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Record]:
    """Yield the moves between the actions of the agent."""
    return read_conversations(_read_runs(path, options, bad), options, bad)


def _find_events(run: Any) -> list[Any] | None:
    """Return the events of a run; the first versions had each action with its observation."""
    for name in _LISTS:
        found = run.get(name) if isinstance(run, dict) else None
        if isinstance(found, list):
            pairs = found and all(isinstance(pair, list) for pair in found)
            return [event for pair in found for event in pair] if pairs else found
    return None


def _is_event(event: Any) -> bool:
    if not isinstance(event, dict):
        return False
    told = {"args", "extras", "cause"} & event.keys() or event.get("source") in _SOURCES
    return bool(told and _is_bare_event(event)) or get_text(event, "kind") in _KINDS


def _is_bare_event(event: Any) -> bool:
    """Say whether it may be an event of the first versions: an action or an observation."""
    if not isinstance(event, dict) or "role" in event:
        return False
    return isinstance(event.get("action"), str) != isinstance(event.get("observation"), str)


@dataclass(slots=True)
class _Run:
    """The steps of a run up to now, and how it stands."""

    steps: list[Any] = field(default_factory=list)
    asked: dict[str | None, dict[str, Any]] = field(default_factory=dict)
    outcome: Outcome | None = None
    error: str | None = None
    response: str | None = None

    def add(self, event: dict[str, Any], bad: BadLines) -> None:
        """Take in an event of either version."""
        time = event.get("timestamp")
        if (kind := event.get("kind")) is not None and "id" in event:
            self._add_kind(str(kind), event, time, bad)
        elif isinstance(action := event.get("action"), str):
            self._act(action, event, time, bad)
        else:
            self._observe(event, time, bad)

    def _act(self, action: str, event: dict[str, Any], time: Any, bad: BadLines) -> None:
        args = get_part(event, "args")
        task = action == "message" and "source" not in event and not self.steps
        if action in _NO_ACTION or event.get("source", "agent") != "agent" or task:
            bad.accepted += 1
            return
        self.outcome = {"finish": Outcome.ENDED, "reject": Outcome.FAILED}.get(action)
        if action == "message":
            content = args.get("content", event.get("content"))
            self.steps.append({"role": "assistant", "content": content, "timestamp": time})
            return
        name = get_text(args, "name") if action == "call_tool_mcp" else None
        given = args or {k: v for k, v in event.items() if k not in ("id", "timestamp")}
        usage = get_part(event, "tool_call_metadata", "model_response", "usage")
        call = make_call(name or action, given, get_text(event, "id"))
        step = make_step([call], (), timestamp=time, usage=usage)
        self.asked[get_text(event, "id")] = step
        self.steps.append(step)

    def _observe(self, event: dict[str, Any], time: Any, bad: BadLines) -> None:
        kind, extras = event.get("observation"), get_part(event, "extras")
        if kind == "agent_state_changed":
            self.outcome = _STATES.get(str(extras.get("agent_state")))
            self.fail(get_text(extras, "reason"))
        elif kind == "error" and event.get("source") == "agent" and not event.get("cause"):
            self.steps.append(make_attempt(timestamp=time))  # its reply could not be parsed
            return
        elif (step := self.asked.get(get_text(event, "cause"))) is not None:
            code = extras.get("exit_code", get_part(extras, "metadata").get("exit_code"))
            failed = kind in ("error", "user_rejected") or (type(code) is int and code > 0)
            call = step["content"][0]
            if kind == "user_rejected":
                call["name"] += REFUSED
            step["content"].append(make_answer(event.get("content"), call["id"], failed))
        bad.accepted += 1

    def _add_kind(self, kind: str, event: dict[str, Any], time: Any, bad: BadLines) -> None:
        if kind == "ActionEvent":
            self._act_together(event, time, bad)
            return
        if kind == "MessageEvent" and event.get("source") == "agent":
            content = get_part(event, "llm_message").get("content")
            self.steps.append({"role": "assistant", "content": content, "timestamp": time})
            self.outcome = None
            return
        if kind == "ACPToolCallEvent":
            self._act_outside(event, time, bad)
            return
        if kind in _ANSWERS:
            self._answer(kind, event)
        elif kind == "ConversationErrorEvent":
            self.outcome = Outcome.FAILED
            self.fail(f"{event.get('code')}: {event.get('detail')}")
        elif event.get("key") == "execution_status" and event.get("value") != "idle":
            self.outcome = _STATES.get(str(event.get("value")))
        bad.accepted += 1

    def _act_together(self, event: dict[str, Any], time: Any, bad: BadLines) -> None:
        """Add a call; those of one response of the model are one step."""
        call_id, response = get_text(event, "tool_call_id"), get_text(event, "llm_response_id")
        told = event.get("action") or get_part(event, "tool_call")
        call = make_call(event.get("tool_name"), told, call_id)
        self.outcome = Outcome.ENDED if event.get("tool_name") == "finish" else None
        if self.steps and response is not None and response == self.response:
            bad.accepted += 1
            self.steps[-1]["content"].insert(0, make_use(call))
        else:
            self.steps.append(make_step([call], (), timestamp=time))
        self.response, self.asked[call_id] = response, self.steps[-1]

    def _act_outside(self, event: dict[str, Any], time: Any, bad: BadLines) -> None:
        """Add a call of another agent's tool, which is told of when it begins and again later."""
        call_id = get_text(event, "tool_call_id")
        step = self.asked.get(call_id)
        if step is None:
            name = get_text(event, "tool_kind", "title")
            step = make_step([make_call(name, event.get("raw_input"), call_id)], timestamp=time)
            self.steps.append(step)
            self.asked[call_id], self.outcome = step, None
        else:
            bad.accepted += 1
        if event.get("status") in ("completed", "failed"):
            failed = event.get("is_error") is True or event["status"] == "failed"
            step["content"][1:] = [make_answer(event.get("raw_output"), call_id, failed)]

    def fail(self, reason: str | None) -> None:
        """Take in why a run failed: some reasons are limits."""
        if reason and self.outcome is Outcome.FAILED:
            self.error = reason
            if any(words in reason for words in _LIMIT):
                self.outcome = Outcome.RECURSION_LIMIT

    def _answer(self, kind: str, event: dict[str, Any]) -> None:
        call_id, told = get_text(event, "tool_call_id"), get_part(event, "observation")
        if (step := self.asked.get(call_id)) is None:
            return
        failed = kind != "ObservationEvent" or told.get("is_error") is True
        content = told.get("content", event.get("error", event.get("rejection_reason")))
        step["content"].append(make_answer(content, call_id, failed))
        for block in step["content"]:
            named = block.get("id") == call_id and isinstance(block.get("name"), str)
            if named and kind == "UserRejectObservation":
                block["name"] += REFUSED


def _read_runs(path: Path, options: ReadOptions, bad: BadLines) -> Iterator[Conversation]:
    """Yield the runs of a file; where its objects are events, they are one run."""
    events: list[tuple[Any, Any]] = []
    for place, record in read_objects(path, options, bad):
        found = _find_events(record)
        if found is None:
            events.append((place, record))
            continue
        listed = [(f"{place}, event {n}", event) for n, event in enumerate(found, 1)]
        yield _read_run(listed, record, place, bad)
    if events:
        yield _read_run(events, {}, "run 1", bad)


def _read_run(
    events: list[tuple[Any, Any]], about: dict[str, Any], place: Any, bad: BadLines
) -> Conversation:
    run = _Run()
    for where, event in events:
        if _is_event(event) or _is_bare_event(event):
            run.add(event, bad)
        elif isinstance(event, dict) and not looks_like_action(event.get("kind")):
            bad.accepted += 1
        else:
            bad.report(where, "not an event: it has no known 'action', 'observation' or 'kind'")
    if error := get_text(about, "error"):
        run.outcome = Outcome.FAILED
        run.fail(error)
    report = get_part(about, "report") or get_part(about, "test_result", "report")
    verdict = about.get("success", about.get("resolved", report.get("resolved")))
    name, fields = get_text(about, "instance_id"), keep_plain(about, ("instruction", "git_patch"))
    success = verdict if isinstance(verdict, bool) else None
    return Conversation(place, run.steps, name, fields, run.outcome, success, run.error)
