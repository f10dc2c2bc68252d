"""What a guard catches on runs of known and of new tasks, with facts, memory and text.

    python -m benchmarks.statistics.guard_tasks tau1 --data FILE
    python -m benchmarks.statistics.guard_tasks airline --data DIR
    python -m benchmarks.statistics.guard_tasks scripted
    python -m benchmarks.statistics.guard_tasks tau1 --data FILE --new-tasks 200
    python -m benchmarks.statistics.guard_tasks tau1 --data FILE --choose

FILE holds the 200 runs of gpt-4o on 50 airline tasks as published by tau-bench, with their
messages; DIR the runs of six models on the same tools without messages (docs/how-to/guard.md). The
scripted agents are those of `benchmarks.statistics._scripted_agents`. Half of the runs (by runs),
or the runs of half of the tasks (by tasks), of each of 20 splits fit the guard at alpha = 0.1, the
others try it; the figures of a split are the mean of 5 guards, whose single runs for the threshold
are drawn again. Features, priors and the ridge were chosen on
half of the tasks (those whose name has an even CRC-32), by cross-validation within them. Every
figure stands twice: tried on all the tasks that a split left out, and on those of them alone on
which nothing was chosen. With --new-tasks N it is N splits by tasks, of one guard each, with the
threshold by tasks alone. With --choose the tasks for choosing are cross-validated under other
settings; *caught* is then the share of failed runs whose highest risk exceeds that of all but a
tenth of the successful ones.
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
from detailed_balance.analyzers.forecast.success import deal_out
from detailed_balance.readers import read_texts

ALPHA = 0.1
SPLITS, GUARDS = 20, 5
FOLDS, REPETITIONS = 5, 6
SPLIT_BY = ("runs", "tasks")


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
    single = new_tasks is None  # single runs set the threshold, and else tasks
    groups = False if single else None
    splits, each = (SPLITS, GUARDS) if new_tasks is None else (new_tasks, 1)
    runs, texts = data
    fresh = ~even_tasks(runs)
    scores: dict[str, Any] = {
        "counting steps": StepCount(),
        "states and facts": OutcomeScore(),
        "and memory": OutcomeScore(memory=3),
    }
    if texts is not None:
        scores["text and facts"] = OutcomeScore(text="ngrams")
        scores["text, facts and memory"] = OutcomeScore(text="ngrams", memory=3)
    for by in SPLIT_BY if single else ("tasks",):
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
            how = "single runs" if single else "tasks"
            for where, table in zip(("all", "fresh"), found, strict=True):
                figures = f"{cells(table)} | {number}"
                yield f"| {name} | {by} | {how} | {title} | {where} | {figures} |"


def choices(name: str, data: Data) -> Iterator[str]:
    """Yield a row for each setting, by cross-validation within the tasks for choosing."""
    runs = data.runs.select(even_tasks(data.runs))
    settings: list[dict[str, Any]] = [{}, {"memory": 1}, {"memory": 2}, {"memory": 3}]
    settings += [{"memory": 3, "ridge": ridge} for ridge in (30.0, 300.0, 1000.0)]
    settings += [{"prior": prior} for prior in (10.0, 100.0)]
    scores: dict[str, Any] = {
        "counting steps": StepCount(),
        **{
            ", ".join(f"{key}={value:g}" for key, value in given.items())
            or "as it is": OutcomeScore(**given)
            for given in settings
        },
    }
    for by in ("runs", "tasks"):
        unit = runs.block_codes() if by == "tasks" else np.arange(len(runs))
        for title, score in scores.items():
            found = []
            for repetition in range(REPETITIONS):
                rng = np.random.default_rng((5, repetition))
                fold = deal_out(runs.success == 1, unit, FOLDS, rng)
                risks = np.empty(runs.total)
                for k in range(FOLDS):
                    fitted = score.fit(runs.select(fold != k), repetition)
                    risks[(fold == k)[runs.run_of_move]] = fitted.risks(runs.select(fold == k))
                found.append(rate(risks, runs, fold))
            yield f"| {name} | {by} | {title} | {cells(found)} |"


def rate(risks: np.ndarray, runs: RunTable, fold: np.ndarray) -> list[float]:
    """Return the share caught, and the areas at the end and half-way, within the parts."""
    failed, first = runs.success == 0, runs.offsets[:-1]
    highest = np.maximum.reduceat(risks, first)
    good = np.sort(highest[~failed])[::-1]
    caught = (highest[failed] > good[max(int(ALPHA * (len(good) + 1)) - 1, 0)]).mean()
    areas = [
        np.mean([auc(risks[at][fold == k], failed[fold == k]) for k in range(FOLDS)])
        for at in (runs.offsets[1:] - 1, first + np.maximum(runs.lengths // 2, 1) - 1)
    ]
    return [float(caught), *map(float, areas)]


def even_tasks(runs: RunTable) -> np.ndarray:
    """(r,) array of bool: the runs of the tasks for choosing."""
    even = np.array([zlib.crc32(block.encode()) % 2 == 0 for block in runs.blocks])
    return np.asarray(even[runs.block_codes()])


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
    parser.add_argument("--choose", action="store_true")
    given = parser.parse_args()
    if given.record != "scripted" and (given.data is None or not given.data.exists()):
        parser.error(f"{given.record} needs --data: its runs are not part of the project")
    data = load(given.record, given.data)
    if given.choose:
        print(f"| record | parts by | setting | caught | AUC end | AUC half |\n|{'---|' * 6}")
        found = choices(given.record, data)
    else:
        print(
            "| record | split by | threshold by | score | tried on | caught | "
            f"successful runs stopped | AUC end | AUC half | guards |\n|{'---|' * 10}"
        )
        found = rows(given.record, data, given.new_tasks)
    for row in found:
        print(row, flush=True)


if __name__ == "__main__":
    main()
