"""Counts of runs drawn again, beside the plain way in pandas, numpy and Python.

    python -m benchmarks.scale.bootstrap [--steps 1000000] [--runs 50000] [--replicates 200]

The plain ways draw each replicate by itself: numpy and pandas put the moves of the runs drawn after
each other and count them, and Python adds up a Counter for each run. They do three replicates, and
their times are those of as many as asked for.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd

from detailed_balance.analyzers.runs.columns import RunColumns
from detailed_balance.analyzers.runs.table import RunTable

STATES = 14
PLAIN = 3


def make_runs(steps: int, runs: int) -> RunTable:
    """Return runs of a random chain, about as long as each other."""
    rng = np.random.default_rng(0)
    offsets = np.linspace(0, steps, runs + 1).astype(np.int64)
    visits = rng.choice(STATES, steps + 1, p=rng.dirichlet(np.ones(STATES)))
    names = [f"tool_{i:02}" for i in range(STATES)]
    return RunTable.from_codes(names, visits[:-1], visits[1:], offsets, RunColumns.unknown(runs))


def by_pandas(table: RunTable, rng: np.random.Generator) -> int:
    """Draw once: the moves of each run are looked up by an index, and grouped."""
    moves = pd.DataFrame({"source": table.source, "target": table.target})
    moves.index = pd.Index(table.run_of_move)
    drawn = moves.loc[rng.integers(len(table), size=len(table))]
    return int(drawn.groupby(["source", "target"]).size().sum())


def by_numpy(table: RunTable, rng: np.random.Generator) -> int:
    """Draw once: the moves of the runs drawn are put after each other, and counted."""
    drawn = table.select(rng.integers(len(table), size=len(table)))
    return int(np.bincount(drawn.source * STATES + drawn.target).sum())


def by_python(table: RunTable, rng: np.random.Generator) -> int:
    """Draw once: the counts of each run are added up."""
    counts: Counter[tuple[int, int]] = Counter()
    source, target = table.source.tolist(), table.target.tolist()
    moves, cuts = list(zip(source, target, strict=True)), table.offsets.tolist()
    for run in rng.integers(len(table), size=len(table)).tolist():
        counts.update(moves[cuts[run] : cuts[run + 1]])
    return counts.total()


def measure(draw: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    draw()
    return time.perf_counter() - began


def main() -> None:
    """Print one line for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=50_000)
    parser.add_argument("--replicates", type=int, default=200)
    options = parser.parse_args()
    table, rng = make_runs(options.steps, options.runs), np.random.default_rng(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours = measure(lambda: table.bootstrap_counts(rng, options.replicates))
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{options.steps:,} steps, {options.runs:,} runs, {options.replicates} replicates")
    print(f"{'way':22}{'seconds':>9}{'ratio':>7}")
    print(f"{'bootstrap_counts':22}{ours:9.2f}{1:7.1f}   (+{more:.0f} MB)", flush=True)
    for way in (by_numpy, by_pandas, by_python):
        times = measure(lambda way=way: [way(table, rng) for _ in range(PLAIN)])  # type: ignore[misc]
        each = times / PLAIN * options.replicates
        print(f"{way.__name__.replace('_', ' '):22}{each:9.2f}{each / ours:7.1f}", flush=True)


if __name__ == "__main__":
    main()
