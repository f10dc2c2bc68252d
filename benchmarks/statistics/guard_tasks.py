"""What a guard catches on runs of known and of new tasks, with facts, memory and text.

    python -m benchmarks.statistics.guard_tasks tau1 --data FILE
    python -m benchmarks.statistics.guard_tasks airline --data DIR
    python -m benchmarks.statistics.guard_tasks scripted
    python -m benchmarks.statistics.guard_tasks tau1 --data FILE --new-tasks 200

FILE holds the 200 runs of gpt-4o on 50 airline tasks as published by tau-bench, with their
messages; DIR the runs of six models on the same tools without messages (docs/how-to/guard.md). The
scripted agents are those of `benchmarks.statistics._scripted_agents`. Half of the runs (by runs),
or the runs of half of the tasks (by tasks), of each of 20 splits fit the guard at alpha = 0.1, the
others try it; the figures of a split are the mean of 5 guards, whose runs for the threshold are
drawn again, without those refused for too few runs. Features, priors and the ridge were chosen on
half of the tasks (those whose name has an even CRC-32), by cross-validation within them. Every
figure stands twice: tried on all the tasks that a split left out, and on those of them alone on
which nothing was chosen. With --new-tasks N it is N splits by tasks, of one guard each, with the
threshold by tasks alone.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.statistics.airline import read
from benchmarks.statistics.guard import auc
from detailed_balance import RunTable, read_runs
from detailed_balance.analyzers import END, OutcomeScore, RunGuard, StepCount
from detailed_balance.analyzers.errors import InsufficientDataError
from detailed_balance.readers import read_texts

ALPHA = 0.1
SPLITS, GUARDS = 20, 5
WAYS = (("runs", False), ("tasks", False), ("tasks", None))
"""Split by, and the groups that set the threshold; None is the tasks."""


class Data(NamedTuple):
    """Runs with their tasks as blocks, and what they wrote, where that is known."""

    runs: RunTable
    texts: dict[str, Sequence[str | None]] | None


def load(name: str, path: Path | None) -> Data:
    """Return runs without their moves to END, and without those that have no other."""
    texts = None
    if name == "tau1":
        assert path is not None
        runs = read_runs(path, context_fields=["task_id"], block="task_id")
        texts = read_texts(path)
    elif name == "airline":
        assert path is not None
        each = [run for some in read(path).values() for run in some]
        runs = RunTable.of(each).with_blocks("task")
    else:
        runs, texts = scripted()
    runs = runs.keep_moves(runs.target != runs.code(END))
    return Data(runs.select((runs.lengths > 0) & (runs.success >= 0)), texts)


def scripted() -> tuple[RunTable, dict[str, Sequence[str | None]]]:
    """Return 400 runs of scripted agents."""
    from tempfile import TemporaryDirectory

    from benchmarks.statistics._scripted_agents import write_scripted_runs

    with TemporaryDirectory() as folder:
        path = Path(folder) / "runs.jsonl"
        write_scripted_runs(path, seed=0)
        runs = read_runs(path, context_fields=["task_id"], block="task_id")
        return runs, read_texts(path)


def split(runs: RunTable, by: str, seed: int) -> np.ndarray:
    """(r,) array of bool: which runs fit the guard."""
    rng = np.random.default_rng((7, seed))  # nothing in common with the draws of the guard
    if by == "runs":
        return rng.permutation(len(runs)) < len(runs) // 2
    order = rng.permutation(len(runs.blocks))
    return np.isin(runs.block_codes(), order[: len(order) // 2])


def judge(guard: RunGuard, runs: RunTable, texts: Any) -> list[float]:
    """Return the shares of failed runs caught and of good ones stopped, and both areas."""
    more = {"texts": texts} if guard.reads_text else {}
    risks, failed = guard.score.risks(runs, **more), runs.success == 0
    first, last = runs.offsets[:-1], runs.offsets[1:] - 1
    assert guard.threshold is not None
    stopped = np.maximum.reduceat(risks, first) > guard.threshold
    half = first + np.maximum(runs.lengths // 2, 1) - 1
    return [
        float(stopped[failed].mean()),
        float(stopped[~failed].mean()),
        auc(risks[last], failed),
        auc(risks[half], failed),
    ]


def rows(name: str, data: Data, new_tasks: int | None = None) -> Iterator[str]:
    """Yield the rows of one record."""
    ways, splits, each = (WAYS, SPLITS, GUARDS) if new_tasks is None else (WAYS[-1:], new_tasks, 1)
    runs, texts = data
    chosen_on = np.array([zlib.crc32(block.encode()) % 2 == 0 for block in runs.blocks])
    fresh = ~chosen_on[runs.block_codes()]
    scores: dict[str, Any] = {
        "counting steps": StepCount(),
        "states and facts": OutcomeScore(),
        "and memory": OutcomeScore(memory=3),
    }
    if texts is not None:
        scores["text and facts"] = OutcomeScore(text="ngrams")
        scores["text, facts and memory"] = OutcomeScore(text="ngrams", memory=3)
    for by, groups in ways:
        for title, score in scores.items():
            found: list[list[list[float]]] = [[], []]
            number = 0
            for seed in range(splits):
                known = split(runs, by, seed)
                more = {"texts": texts} if getattr(score, "text", None) else {}
                fitted = runs.select(known)
                guards = []
                for draw in range(each):
                    with suppress(InsufficientDataError):
                        guard = RunGuard.fit(fitted, ALPHA, score, groups=groups, seed=draw, **more)
                        guards.append(guard)
                number += len(guards)
                if not guards:
                    continue
                for place, tried in enumerate((~known, ~known & fresh)):
                    judged = [judge(guard, runs.select(tried), texts) for guard in guards]
                    found[place].append(np.mean(judged, axis=0).tolist())
            how = "single runs" if groups is False else "tasks"
            for where, table in zip(("all", "fresh"), found, strict=True):
                figures = f"{cells(table)} | {number}"
                yield f"| {name} | {by} | {how} | {title} | {where} | {figures} |"


def cells(table: Sequence[Sequence[float]]) -> str:
    """Return the mean and the standard error of each column over the splits."""
    values = np.array(table)
    errors = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return " | ".join(
        f"{m:.3f} ({e:.3f})" for m, e in zip(values.mean(axis=0), errors, strict=True)
    )


def main() -> None:
    """Print the table of one record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", choices=("tau1", "airline", "scripted"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--new-tasks", type=int, metavar="N")
    given = parser.parse_args()
    if given.record != "scripted" and (given.data is None or not given.data.exists()):
        parser.error(f"{given.record} needs --data: its runs are not part of the project")
    print(
        "| record | split by | threshold by | score | tried on | caught | successful runs stopped "
        "| "
        "AUC end | AUC half | guards |"
    )
    print(f"|{'---|' * 10}")
    for row in rows(given.record, load(given.record, given.data), given.new_tasks):
        print(row, flush=True)


if __name__ == "__main__":
    main()
