"""Agents that repair programs in scripted environments: runs with tasks, facts and text.

An environment is a small program of six files with one to three faults. An agent reads files,
searches, edits, runs the tests and hands its work in. It is a policy with a memory of its own: it
knows what it has read, follows what the tests say, and sometimes does not: it reads a file again,
edits the wrong one, goes on guessing, or hands in work that it did not test. How often is a matter
of the task and of the run. A run succeeds where all faults are repaired when it is handed in; 30
turns are the limit. Tests of some tasks are flaky, and searches of some find nothing.

The runs are messages as chat models have them, so that a reader of this library makes states and
facts of them, as of any other record:

    python -m benchmarks.statistics._scripted_agents FILE.jsonl [--seed 0]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from detailed_balance import RunTable, read_runs

__all__ = ["read_scripted_runs", "write_scripted_runs"]

TASKS, TRIALS, FILES, TURNS = 50, 8, 6, 30


@dataclass(frozen=True)
class Task:
    """A program to repair: where its faults are, and how hard they are to find."""

    name: str
    faults: frozenset[int]
    flaky: float  # how often the tests fail where nothing is wrong
    blind: float  # how often a search finds nothing
    hard: float  # how often an edit of the right file does not repair it


@dataclass
class Agent:
    """One run: the agent, its environment, and the messages so far."""

    task: Task
    rng: np.random.Generator
    skill: float
    left: set[int] = field(init=False)
    read: set[int] = field(default_factory=set)
    suspects: list[int] = field(default_factory=list)
    last: str = ""
    shown_failing: bool = True
    messages: list[dict[str, Any]] = field(default_factory=list)
    edits: int = 0

    def __post_init__(self) -> None:
        self.left = set(self.task.faults)

    def chance(self, p: float) -> bool:
        """Say whether something of this probability happens."""
        return bool(self.rng.random() < p)

    def play(self) -> bool:
        """Play to the end; return whether the work was done."""
        self.messages.append({"role": "user", "content": f"Repair {self.task.name}."})
        for _ in range(TURNS):
            tool, place = self.choose()
            if tool == "submit":
                self.call(tool, {}, "thank you", "All tests pass now.")
                return not self.left
            self.act(tool, place)
        return False

    def choose(self) -> tuple[str, int]:
        """Decide what to do next, by what was done last and what is known."""
        lost = not self.chance(self.skill)
        if not self.last:
            return ("list_files" if self.chance(0.8) else "run_tests"), 0
        if self.last == "run_tests":
            if not self.shown_failing:
                return "submit", 0
            if self.edits > 5 and self.chance(0.2):
                return "submit", 0  # gives up
            if lost and self.edits:
                return "edit_file", self.guess()
            return (
                "read_file" if self.suspects and self.chance(0.6) else "search_code"
            ), self.guess()
        if self.last == "search_code":
            if not self.suspects or (lost and self.chance(0.7)):
                return "search_code", 0
            return "read_file", self.guess()
        if self.last == "read_file":
            if lost:
                return "read_file", self.guess(known=True)
            if not self.edits and len(self.read) < 2 and self.chance(0.5):
                return "read_file", self.guess()
            return "edit_file", self.guess(known=True)
        if self.last == "edit_file":
            if lost and self.chance(0.35):
                return "submit", 0
            return ("read_file" if self.chance(0.15) else "run_tests"), self.guess(known=True)
        return ("run_tests" if self.chance(0.5) else "search_code"), 0

    def guess(self, *, known: bool = False) -> int:
        """Choose a file: one that the agent suspects, or has read, or else any."""
        pool = sorted(self.read) if known and self.read else self.suspects
        if not pool or not self.chance(self.skill):
            return int(self.rng.integers(FILES))
        return int(pool[-1] if self.chance(0.7) else self.rng.choice(pool))

    def act(self, tool: str, place: int) -> None:
        """Call a tool, and let the environment answer."""
        name, said, answer = f"part_{place}.py", "", ""
        arguments: dict[str, Any] = {}
        if tool == "list_files":
            answer = ", ".join(f"part_{i}.py" for i in range(FILES))
            said = "Let me see what there is."
        elif tool == "search_code":
            word = f"fault {len(self.suspects)}" if self.chance(self.skill) else "fault"
            arguments = {"query": word}
            if self.chance(self.task.blind) or not self.left:
                answer = "no match"
            else:
                found = int(self.rng.choice(sorted(self.left)))
                self.suspects.append(found)
                answer = f"part_{found}.py: 1 match"
            said = "I look for where this may come from."
        elif tool == "read_file":
            arguments = {"path": name}
            self.read.add(place)
            if place in self.left and place not in self.suspects:
                self.suspects.append(place)
            answer = f"contents of {name}" + (", with a fault" if place in self.left else "")
            said = "Let me read it again." if self.last == "read_file" else "I read the file."
        elif tool == "edit_file":
            self.edits += 1
            version = self.edits if self.chance(self.skill) else 0
            arguments = {"path": name, "change": f"change {version}"}
            if self.chance(0.15 * (1.5 - self.skill)):
                self.call(tool, arguments, "the change does not apply", "I try this.", failed=True)
                self.last = tool
                return
            if place in self.left and not self.chance(self.task.hard):
                self.left.discard(place)
                self.suspects = [each for each in self.suspects if each != place]
            answer = "edited"
            said = "This should repair it." if self.chance(self.skill) else "Maybe this helps."
        else:
            self.shown_failing = bool(self.left) or self.chance(self.task.flaky)
            answer = f"{max(len(self.left), 1)} failed" if self.shown_failing else "all passed"
            said = "I run the tests."
            if self.shown_failing and self.left and self.chance(0.4):
                self.suspects.append(int(self.rng.choice(sorted(self.left))))
        self.call(tool, arguments, answer, said)
        self.last = tool

    def call(
        self, tool: str, arguments: dict[str, Any], answer: str, said: str, *, failed: bool = False
    ) -> None:
        """Write down a call and its answer."""
        key = f"call-{len(self.messages)}"
        function = {"name": tool, "arguments": json.dumps(arguments)}
        calls = [{"id": key, "type": "function", "function": function}]
        self.messages += [
            {"role": "assistant", "content": said, "tool_calls": calls},
            {
                "role": "tool",
                "tool_call_id": key,
                "name": tool,
                "content": answer,
                "is_error": failed,
            },
        ]


def make_tasks(rng: np.random.Generator, number: int) -> list[Task]:
    """Draw tasks."""
    return [
        Task(
            f"program-{i:02}",
            frozenset(rng.choice(FILES, size=rng.integers(1, 4), replace=False).tolist()),
            float(rng.choice([0.0, 0.0, 0.3])),
            float(rng.uniform(0.0, 0.6)),
            float(rng.uniform(0.05, 0.6)),
        )
        for i in range(number)
    ]


def scripted_runs(
    seed: int = 0, tasks: int = TASKS, trials: int = TRIALS
) -> Iterator[dict[str, Any]]:
    """Yield runs as objects with ``id``, ``task_id``, ``reward`` and ``messages``."""
    rng = np.random.default_rng(seed)
    for task in make_tasks(rng, tasks):
        for trial in range(trials):
            agent = Agent(task, rng, float(rng.beta(6, 2)))
            reward = float(agent.play())
            yield {
                "id": f"{task.name}/{trial}",
                "task_id": task.name,
                "reward": reward,
                "messages": agent.messages,
            }


def write_scripted_runs(
    path: Path, seed: int = 0, tasks: int = TASKS, trials: int = TRIALS
) -> None:
    """Write the runs as JSON Lines."""
    lines = [json.dumps(run) for run in scripted_runs(seed, tasks, trials)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_scripted_runs(seed: int = 0, tasks: int = TASKS, trials: int = TRIALS) -> RunTable:
    """Return the runs, with their facts; their tasks are blocks, and the label ``task_id``."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "runs.jsonl"
        write_scripted_runs(file, seed, tasks, trials)
        return read_runs(file, context_fields=["task_id"], block="task_id")


def main() -> None:
    """Write the runs to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write_scripted_runs(given.file, given.seed)


if __name__ == "__main__":
    main()
