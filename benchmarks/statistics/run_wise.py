"""What tests of balance say where runs differ from each other, or change as they go.

Run ``python -m benchmarks.statistics.run_wise``. Six tools with random weights, drawn again for
each record; runs of 5 to 30 moves begin at one tool. All kernels but that of the last row are
reversible. `orientation_test` and `contrast_loops` ask about one triangle; a third of the runs,
drawn by chance, has failed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from math import sqrt

import numpy as np

from benchmarks.statistics.agents import (
    draw_lengths,
    draw_paths,
    draw_weights,
    make_runs,
    push_loop,
)
from detailed_balance.analyzers import (
    BalanceMartingale,
    RunTable,
    contrast_loops,
    mixture_test,
    orientation_test,
    reversibility_test,
)

__all__ = ["SETTINGS", "TESTS", "TRIANGLE", "rows"]

TOOLS, PLAN, ALPHA = 6, 7, 0.05
TRIANGLE = ("tool_0", "tool_1", "tool_2")
Paths = list[list[int]]


def _one(rng: np.random.Generator, runs: int) -> Paths:
    return draw_paths(rng, draw_weights(rng, TOOLS), draw_lengths(rng, runs))


def _own(rng: np.random.Generator, runs: int) -> Paths:
    weights = np.array([draw_weights(rng, TOOLS) for _ in range(runs)])
    return draw_paths(rng, weights, draw_lengths(rng, runs))


def _types(rng: np.random.Generator, runs: int) -> Paths:
    return [path for kind in (0, 3) for path in _typed(rng, runs // 2, kind)]


def _typed(rng: np.random.Generator, runs: int, start: int) -> Paths:
    return draw_paths(rng, draw_weights(rng, TOOLS), draw_lengths(rng, runs), start=start)


def _versions(rng: np.random.Generator, runs: int) -> Paths:
    return [path for _ in "ab" for path in _one(rng, runs // 2)]


def _phases(rng: np.random.Generator, runs: int) -> Paths:
    plan, execute = draw_weights(rng, TOOLS), draw_weights(rng, TOOLS)
    lengths = PLAN + draw_lengths(rng, runs)
    made = []
    for early, length in zip(draw_paths(rng, plan, np.full(runs, PLAN)), lengths, strict=True):
        late = draw_paths(rng, execute, np.array([length - PLAN]), start=early[-1])[0]
        made.append(early + late[1:])
    return made


def _driven(rng: np.random.Generator, runs: int) -> Paths:
    weights = push_loop(draw_weights(rng, TOOLS), (0, 1, 2), 1.0)
    return draw_paths(rng, weights, draw_lengths(rng, runs))


SETTINGS: Mapping[str, Callable[[np.random.Generator, int], Paths]] = {
    "one reversible kernel": _one,
    "each run has a reversible kernel of its own": _own,
    "two types of tasks, each with its kernel and start": _types,
    "another kernel in the second half of the runs": _versions,
    "another kernel from the eighth move of each run on": _phases,
    "driven round a triangle, 1 nat a move": _driven,
}


def _watch(table: RunTable) -> bool:
    live = BalanceMartingale(alpha=ALPHA)
    for run in table:
        for source, target in run.moves:
            live.update(run.name or "", source, target)
    return live.alarm


TESTS: Mapping[str, Callable[[RunTable], bool]] = {
    "`BalanceMartingale`": _watch,
    "`orientation_test`": lambda t: orientation_test(t, [TRIANGLE], replicates=199)[0].rejected,
    "`contrast_loops`": lambda t: contrast_loops(t, [TRIANGLE], replicates=199)[0].rejected,
    "`mixture_test`": lambda t: mixture_test(t, replicates=99).rejected,
    "`reversibility_test`": lambda t: reversibility_test(t.counts(), replicates=99).pvalue <= ALPHA,
}


def rows(records: int, runs: int) -> Iterator[str]:
    """Yield the table for records of so many runs: how often each test rejects, in %."""
    yield f"| {runs} runs | {' | '.join(TESTS)} |"
    yield "|---|" + "---|" * len(TESTS)
    for place, (name, draw) in enumerate(SETTINGS.items()):
        rng, found = np.random.default_rng([place, runs]), np.zeros(len(TESTS))
        for _ in range(records):
            table = make_runs(draw(rng, runs), rng.random(runs) > 1 / 3)
            found += [test(table) for test in TESTS.values()]
        parts = (found / records).tolist()
        cells = [f"{part:.1%} ± {sqrt(part * (1 - part) / records):.1%}" for part in parts]
        yield f"| {' | '.join([name, *cells])} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=400)
    records = parser.parse_args().records
    for runs in (100, 400):
        for row in rows(records, runs):
            print(row, flush=True)
        print()


if __name__ == "__main__":
    main()
