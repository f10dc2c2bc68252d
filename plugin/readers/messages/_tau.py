"""What tau-bench and tau2-bench say of a run: its name, its outcome, and the settings of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.readers.records.base import BadLines
from detailed_balance.readers.records.values import BadRecordError, parse_text
from detailed_balance.readers.tables.json_files import load_document
from detailed_balance.render.formatting import safe_text

_WHOLE = 1 - 1e-6  # the reward from which on the benchmarks call a run solved
_ENDED = {"user_stop", "agent_stop"}
_LIMITS = {"max_steps", "max_turns"}
_FAILURES = {
    *("timeout", "too_many_errors", "agent_error", "user_error", "infrastructure_error"),
    *("context_window_exceeded", "unexpected_error", "agent_invalid_message"),
}


def is_results(document: Any) -> bool:
    """Say whether a document is the results of tau2-bench: all runs, or a list of their files."""
    return isinstance(document, dict) and any(
        isinstance(document.get(name), list) for name in ("simulations", "simulation_index")
    )


def read_results(
    document: dict[str, Any], path: Path, bad: BadLines
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the runs of tau2-bench with their places; they may be files of their own beside it."""
    shared = _about(document.get("info"))
    if isinstance(document.get("simulations"), list):
        for number, run in enumerate(document["simulations"], 1):
            yield f"run {number}", {**shared, **run} if isinstance(run, dict) else run
        return
    folder = path.parent / "simulations"
    files = sorted(file for file in folder.glob("*.json") if file.is_file())
    found = {}
    for file in files:
        try:
            found[file.stem] = load_document(file)
        except ReadError as error:
            bad.report(f"simulations/{file.name}", str(error))
    for entry in document["simulation_index"]:
        name = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name not in {file.stem for file in files}:
            bad.report(
                f"simulation {safe_text(repr(name), 60)}",
                f"it has no file in {folder}; keep the folder beside the index",
            )
    for name, run in found.items():
        place = f"simulations/{name}.json"
        yield place, {**shared, **run} if isinstance(run, dict) else run


def _about(info: Any) -> dict[str, Any]:
    """Return what tau2-bench says of all its runs: the model, the agent and the domain."""
    agent, world = (_part(info, part) for part in ("agent_info", "environment_info"))
    return {
        "model": agent.get("llm"),
        "agent": agent.get("implementation"),
        "domain": world.get("domain_name"),
    }


def _part(record: Any, name: str) -> dict[str, Any]:
    part = record.get(name) if isinstance(record, dict) else None
    return part if isinstance(part, dict) else {}


def name_task(run: Mapping[str, Any]) -> str | None:
    """Return the name of a run by its task, and by which trial of it that is.

    Examples
    --------
    >>> name_task({"task_id": 4, "trial": 1})
    '4-1'
    """
    task = parse_text(run.get("task_id"), "task_id")
    trial = parse_text(run.get("trial"), "trial")
    return task if task is None or trial is None else f"{task}-{trial}"


def read_ending(run: Mapping[str, Any]) -> tuple[Outcome | None, bool | None, str | None]:
    """Return the outcome of a run, its success by its reward, and the error that stopped it.

    Raises
    ------
    BadRecordError
        Where the reward is not a finite number.

    Examples
    --------
    >>> read_ending({"termination_reason": "timeout", "reward_info": {"reward": 0.0}})
    (<Outcome.FAILED: 'failed'>, False, 'timeout')
    """
    reward = run.get("reward", _part(run, "reward_info").get("reward"))
    if isinstance(reward, int | float) and not isfinite(reward):
        raise BadRecordError(f"'reward' must be a finite number; got {reward}")
    success = reward >= _WHOLE if isinstance(reward, int | float) else None
    reason = run.get("termination_reason")
    reason = reason.lower() if isinstance(reason, str) else ""
    if "error" in _part(run, "info"):  # tau-bench: the run raised an error
        return Outcome.FAILED, success, None
    if reason in _FAILURES or reason.endswith("_error"):
        return Outcome.FAILED, success, reason
    if reason in _LIMITS:
        return Outcome.RECURSION_LIMIT, success, None
    return (Outcome.ENDED if reason in _ENDED else None), success, None
