"""What blocks change where runs of one task resemble each other: comparison, drift, guard.

    python -m benchmarks.statistics.blocks compare [--records 400]
    python -m benchmarks.statistics.blocks drift [--records 400]
    python -m benchmarks.statistics.blocks guard --data FILE [--splits 200]

The agents are invented: 6 tools, and for each task a kernel of its own, each row of which is drawn
from a Dirichlet law with the weights 8 times those of a kernel common to all tasks, and an end that
is reached with a probability between 4% and 20% a step. A task succeeds with the log odds of a
normal law with mean 0 and standard deviation 2, whatever its runs do. FILE holds 200 runs of 50
tasks as published by tau-bench.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from math import sqrt
from pathlib import Path

import numpy as np

from detailed_balance import read_runs
from detailed_balance.analyzers import DriftMartingale, RunGuard, Trajectory, compare_runs
from detailed_balance.analyzers.errors import InsufficientDataError

ALPHA = 0.05
TOOLS = [f"tool-{i}" for i in range(6)]
TASKS, TRIALS = 50, 4


class Task:
    """A task: how agents move in it, and how often they succeed."""

    def __init__(self, name: str, rng: np.random.Generator, common: np.ndarray) -> None:
        self.name = name
        rows = np.array([rng.dirichlet(8 * row + 1e-3) for row in common])
        self.cumulated = rows.cumsum(axis=1)
        self.begin = int(rng.integers(len(TOOLS)))
        self.end = rng.uniform(0.04, 0.2)
        self.logit = rng.normal(0, 2)
        self.mixed = (0.7 * rows + 0.3 / len(TOOLS)).cumsum(axis=1)

    def run(
        self, rng: np.random.Generator, name: str, shift: float = 0.0, changed: bool = False
    ) -> Trajectory:
        """Walk once; `shift` is added to the log odds of success.

        Where the agent has changed, 30% of its moves go anywhere.
        """
        cumulated = self.mixed if changed else self.cumulated
        here, moves = self.begin, [("__start__", TOOLS[self.begin])]
        for stop, u in rng.random((29, 2)):
            if len(moves) >= 5 and stop < self.end:
                break
            there = min(int(np.searchsorted(cumulated[here], u)), len(TOOLS) - 1)
            moves.append((TOOLS[here], TOOLS[there]))
            here = there
        moves.append((TOOLS[here], "__end__"))
        success = bool(rng.random() < 1 / (1 + np.exp(-self.logit - shift)))
        labels = (("task", self.name),)
        return Trajectory(tuple(moves), name, success=success, context=labels)


def make_common(rng: np.random.Generator) -> np.ndarray:
    """Return the kernel that tasks resemble."""
    return rng.dirichlet(np.ones(len(TOOLS)), size=len(TOOLS))


def make_tasks(rng: np.random.Generator, number: int, common: np.ndarray) -> list[Task]:
    """Draw tasks."""
    return [Task(f"task-{i:03}", rng, common) for i in range(number)]


def walk(
    tasks: list[Task],
    trials: int,
    rng: np.random.Generator,
    side: str,
    shift: float = 0.0,
    changed: bool = False,
) -> list[Trajectory]:
    """Return some runs of each task, one task after the other."""
    return [
        task.run(rng, f"{side}-{task.name}-{i}", shift, changed)
        for task in tasks
        for i in range(trials)
    ]


def share(found: int, records: int) -> str:
    """Return a share with its binomial standard error."""
    p = found / records
    return f"{p:.1%} ± {sqrt(p * (1 - p) / records):.1%}"


def compare(records: int) -> Iterator[str]:
    """Yield how often `compare_runs` finds a difference, by blocks and by runs."""

    def sides(
        rng: np.random.Generator, same: float, shift: float
    ) -> tuple[list[Trajectory], list[Trajectory]]:
        both = round(same * TASKS)
        tasks = make_tasks(rng, 2 * TASKS - both, make_common(rng))
        before, after = tasks[:TASKS], tasks[TASKS - both :]
        return walk(before, TRIALS, rng, "a"), walk(after, TRIALS, rng, "b", shift)

    yield (
        f"| {TASKS} tasks a side, {TRIALS} runs each "
        "| anything, by task | by run | success, by task | by run |"
    )
    yield "|---|---|---|---|---|"
    settings = [
        ("other tasks after, nothing changed", 0.0, 0.0),
        ("half of the tasks the same, nothing changed", 0.5, 0.0),
        ("the same tasks, nothing changed", 1.0, 0.0),
        ("the same tasks, success one logit lower", 1.0, -1.0),
        ("half of the tasks the same, one logit lower", 0.5, -1.0),
        ("other tasks, one logit lower", 0.0, -1.0),
    ]
    for title, same, shift in settings:
        found = np.zeros(4, dtype=int)
        for seed in range(records):
            before, after = sides(np.random.default_rng((1, seed)), same, shift)
            for i, block in enumerate(("task", None)):
                result = compare_runs(before, after, block=block, replicates=399, seed=seed)
                success = result.test("success")
                found[i] += result.rejected
                found[2 + i] += success is not None and success.changed
        yield f"| {title} | {' | '.join(share(n, records) for n in found.tolist())} |"


def drift(records: int) -> Iterator[str]:
    """Yield how often and when `DriftMartingale` alarms, by batches and by runs."""
    yield "| 40 batches, then 40 new ones | changed | by batch | at batch | by run | at run |"
    yield "|---|---|---|---|---|---|"
    for title, size, own, again in (
        ("every run a task of its own", 1, True, False),
        ("batches of 5 runs of a task", 5, False, False),
        ("batches of 20 runs of a task", 20, False, False),
        ("200 runs, every one a task of its own, then 200", 5, True, False),
        ("batches of 5, then the same tasks", 5, False, True),
    ):
        for changed in (False, True):
            alarms: list[list[float]] = [[], []]
            for seed in range(records):
                rng = np.random.default_rng((2, seed))
                number = 40 * size if own else 40
                tasks = make_tasks(rng, number * (1 if again else 2), make_common(rng))
                trials = 1 if own else size
                usual = walk(tasks[:number], trials, rng, "a")
                new = walk(tasks[-number:], trials, rng, "b", changed=changed)
                for i, block in enumerate(("task", None)):
                    test = DriftMartingale(usual, ALPHA, block=block, seed=seed)
                    test.update_runs(new)
                    test.flush()
                    at = test.alarmed_at
                    if at is not None:
                        alarms[i].append(at if i else at / trials)
            cells = [
                f"{share(len(found), records)} | "
                f"{f'{np.median(found):.0f}' if 2 * len(found) >= records else '-'}"
                for found in alarms
            ]
            yield f"| {title} | {'yes' if changed else 'no'} | {' | '.join(cells)} |"


def guard(path: Path, splits: int) -> Iterator[str]:
    """Yield how many good and failed runs of new tasks a guard stops, by tasks and by runs."""
    runs = read_runs(path, context_fields=["task_id"], block="task_id")
    tasks = runs.block_codes()
    yield (
        "| alpha | threshold by | successful runs of new tasks stopped | "
        "failed runs stopped | guards |"
    )
    yield "|---|---|---|---|---|"
    for alpha in (0.1, 0.2):
        for block in ("task_id", None):
            stopped: list[tuple[float, float]] = []
            for seed in range(splits):
                order = np.random.default_rng((3, seed)).permutation(len(runs.blocks))
                known = np.isin(tasks, order[: 2 * len(order) // 3])
                train = [runs[i] for i in np.flatnonzero(known)]  # without the blocks of the table
                try:
                    fitted = RunGuard.fit(train, alpha, groups=block, seed=seed)
                except InsufficientDataError:
                    continue
                caught = np.array([fitted.watch(run.moves, run.facts).stopped for run in runs])
                good, failed = (~known & (runs.success == kind) for kind in (1, 0))
                stopped.append((float(caught[good].mean()), float(caught[failed].mean())))
            table = np.array(stopped)
            errors = table.std(axis=0, ddof=1) / sqrt(len(table))
            cells = [f"{m:.1%} ± {e:.1%}" for m, e in zip(table.mean(axis=0), errors, strict=True)]
            unit = "single runs" if block is None else "tasks"
            yield f"| {alpha:g} | {unit} | {' | '.join(cells)} | {len(table)} |"


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    tables = parser.add_subparsers(dest="table", required=True)
    for table in (compare, drift):
        tables.add_parser(table.__name__).add_argument("--records", type=int, default=400)
    of_guard = tables.add_parser("guard")
    of_guard.add_argument("--data", type=Path, required=True)
    of_guard.add_argument("--splits", type=int, default=200)
    given = parser.parse_args()
    if given.table == "guard":
        rows = guard(given.data, given.splits)
    else:
        rows = (compare if given.table == "compare" else drift)(given.records)
    for row in rows:
        print(row, flush=True)


if __name__ == "__main__":
    main()
