"""How often a comparison sees a change where there is none, and where there is one.

    python -m benchmarks.statistics.compare null --data DIR [--splits 200]
    python -m benchmarks.statistics.compare power --data DIR
    python -m benchmarks.statistics.compare speed

DIR holds runs as JSON Lines, with the fields trajectory, source, target and reward.
"""

from __future__ import annotations

import argparse
import time
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np

from detailed_balance import read_runs
from detailed_balance.analyzers import (
    Trajectory,
    TransitionCounts,
    compare_kernels,
    compare_runs,
)
from detailed_balance.analyzers.comparison.result import QUESTIONS
from detailed_balance.analyzers.inputs import read_counts

ALPHA = 0.05


def read(path: Path) -> list[Trajectory]:
    """Return the runs of a file."""
    return read_runs(path, success_field="reward", boundaries=("start", "end"))


def name(path: Path) -> str:
    """Return the model whose runs a file holds."""
    return path.name.removesuffix(".jsonl.gz")


def null(folder: Path, splits: int) -> None:
    """Split the runs of one model in two by chance: nothing has changed."""
    print(f"| model | runs | {ALPHA:.0%} rejects | by moves (G) | at most, by 3 errors |")
    print("|---|---|---|---|---|")
    bound = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / splits)
    for path in sorted(folder.glob("*.jsonl.gz")):
        runs, rng = read(path), np.random.default_rng(0)
        found = moves = 0
        for seed in range(splits):
            order = rng.permutation(len(runs))
            halves = [[runs[i] for i in part] for part in np.array_split(order, 2)]
            found += compare_runs(*halves, alpha=ALPHA, replicates=999, seed=seed).rejected
            sides = [read_counts(half) for half in halves]
            moves += compare_kernels(*sides, replicates=99, seed=seed).rejected
        cells = f"{found / splits:.1%} | {moves / splits:.1%} | {bound:.1%}"
        print(f"| {name(path)} | {len(runs)} | {cells} |", flush=True)


def power(folder: Path) -> None:
    """Compare each two models: something has changed."""
    print(f"| before | after | p | {' | '.join(QUESTIONS)} |")
    print("|---" * (3 + len(QUESTIONS)) + "|")
    runs = {name(path): read(path) for path in sorted(folder.glob("*.jsonl.gz"))}
    for one, other in combinations(runs, 2):
        found = compare_runs(runs[one], runs[other], alpha=ALPHA)
        cells = []
        for question in QUESTIONS:
            test = found.test(question)
            listed = 0 if test is None else sum(change.changed for change in test.changes)
            cells.append("-" if test is None else f"{test.adjusted:.2g} ({listed})")
        print(f"| {one} | {other} | {found.pvalue:.2g} | {' | '.join(cells)} |", flush=True)


def speed() -> None:
    """Compare hundreds of runs of thousands of steps."""
    rng = np.random.default_rng(0)
    kernel = rng.dirichlet(np.full(30, 0.3), size=30).cumsum(axis=1)
    names = [f"s{i}" for i in range(30)]
    runs = []
    for _ in range(400):
        walk = [0]
        for u in rng.random(2_000):
            walk.append(min(int(np.searchsorted(kernel[walk[-1]], u)), 29))
        moves = tuple((names[f], names[g]) for f, g in pairwise(walk))
        runs.append(Trajectory(moves, success=bool(rng.random() < 0.5)))
    counts: TransitionCounts = read_counts(runs)
    began = time.perf_counter()
    compare_runs(runs[:200], runs[200:])
    took = time.perf_counter() - began
    began = time.perf_counter()
    compare_kernels(runs[:200], runs[200:], replicates=999)
    kernels = time.perf_counter() - began
    print(f"{len(runs)} runs, {counts.total:,} moves: compare_runs {took:.1f} s, ", end="")
    print(f"compare_kernels of the same runs {kernels:.1f} s ({took / kernels:.1f} times)")


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    tables = parser.add_subparsers(dest="table", required=True)
    for table in (null, power):
        tables.add_parser(table.__name__).add_argument("--data", type=Path, required=True)
    tables.choices["null"].add_argument("--splits", type=int, default=200)
    tables.add_parser("speed")
    given = parser.parse_args()
    if given.table == "speed":
        speed()
    elif given.table == "power":
        power(given.data)
    else:
        null(given.data, given.splits)


if __name__ == "__main__":
    main()
