"""The same agent, recorded in six ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.diagnosis.agents import Case
from benchmarks.diagnosis.exports import Conversations, collect_spans, write_spans
from benchmarks.diagnosis.stage import Stage, set_stage
from detailed_balance import Monitor
from detailed_balance.callbacks import Ending, TransitionCallbackHandler, TransitionStore
from detailed_balance.callbacks.transition import Beginning

__all__ = ["SURFACES", "Recorded", "record"]

SURFACES = ("store", "handler", "jsonl", "monitor", "messages", "spans")
"""A store, the handler alone, JSON Lines with facts, a monitor that looks every 10 runs, chats as
OpenAI writes them, and spans of OpenInference."""

FIELDS = ("success", "failed", "call", "answer", "tokens")
"""The fields of the lines beyond the usual ones."""


@dataclass(frozen=True)
class Recorded:
    """What was recorded of a case: a source, options to read it, and which runs are faulty."""

    source: Any
    options: dict[str, Any]
    faulty: frozenset[str]
    surface: str

    @property
    def is_silent(self) -> bool:
        """Whether it holds nothing of the case: agents that write no messages."""
        return self.source is None

    def root_of(self, run: str) -> str:
        """Return the run that should be named: some do not say that a run is inside another."""
        return run.partition("/")[0] if self.surface in ("jsonl", "spans") else run

    def state_of(self, state: str) -> str:
        """Return what the recorder calls a state: of messages a plain answer has its own name."""
        return "model" if self.surface == "messages" and state == "respond" else state


@contextmanager
def record(case: Case, surface: str = "store") -> Iterator[Recorded]:
    """Play a case, and yield what was recorded of it."""
    with TemporaryDirectory() as folder:
        store = None if surface == "handler" else f"sqlite:///{folder}/runs.db"
        labels = ("model", "graph", "version")
        handler = TransitionCallbackHandler(case.states, store=store, labels=labels)
        options: dict[str, Any] = {}
        source: Any = handler if store is None or case.kinds == ("loss",) else store
        if surface == "monitor":
            source = Monitor(source)
        tracing = collect_spans() if surface == "spans" else nullcontext(tuple)
        with set_stage(handler) as stage, tracing as spans:
            chats = Conversations(stage.read_clock)
            if surface == "messages":
                stage.listeners.append(chats)
            if surface == "monitor":
                stage.watch = lambda: (judge(stage), source.poll())
            faulty = case.play(stage)
            judged = dict(stage.judged)
            judge(stage)
        if handler.store is not None and surface == "jsonl":
            source = Path(folder) / "runs.jsonl"
            told = write_lines(handler.store, source)
            options = {f"{name}_field": name for name in FIELDS if name in told}
        if surface == "messages":
            source = Path(folder) / "chats.json"
            source = source if chats.write(source, judged) else None
            options = {"success_field": "success", "context_fields": sorted(chats.labels)}
        if surface == "spans":
            source = Path(folder) / "spans.json"
            write_spans(spans(), source, stage.began, judged)
            options = {"success_field": "success"} if judged else {}
        try:
            yield Recorded(source, options, frozenset(faulty), surface)
        finally:
            if surface == "monitor":
                source.stop()
            handler.close()


def judge(stage: Stage) -> None:
    """Record which runs did their work, of those that were not judged before."""
    stage.handler.flush()
    store, recent = stage.handler.store, stage.handler.recent
    ids = {each.trajectory: each.run for each in recent.records() if isinstance(each, Beginning)}
    while stage.judged:
        key, success = stage.judged.popitem()
        if store is None:
            recent.record(Ending(key, success=success, time=stage.read_clock(), run=ids[key]))
        else:
            store.judge(key, success=success)


def write_lines(store: TransitionStore, path: Path) -> set[str]:
    """Write the moves of a store with their facts and outcomes, and return the fields."""
    endings = store.endings()
    outcomes = {each.run: str(each.outcome) for each in endings if each.outcome is not None}
    judged = {each.trajectory: each.success for each in endings if each.success is not None}
    told: set[str] = set()
    with path.open("w", encoding="utf-8") as file:
        for move in store.read():
            facts = move.facts
            line: dict[str, Any] = {
                "trajectory": move.trajectory,
                "source": move.source,
                "step": move.step,
                "time": move.time,
                "context": dict(move.context),
                "success": judged.get(move.trajectory, outcomes.get(move.run)),
            }
            if facts is not None:
                line |= {"failed": facts.failed, "tokens": facts.tokens}
                line |= {"call": facts.call, "answer": facts.answer}
            known = {name: value for name, value in line.items() if value is not None}
            known["target"] = move.target  # none of an escape
            file.write(json.dumps(known) + "\n")
            told |= known.keys()
    return told
