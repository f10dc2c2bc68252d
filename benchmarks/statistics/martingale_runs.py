"""Alarms of `BalanceMartingale` where runs differ from each other, or change as they go.

Run ``python -m benchmarks.statistics.martingale_runs``. Six tools; each run begins at one of them
and ends after each move with probability 7%, and after 30 moves. Every kernel but that of the last
row is reversible, with random potential and conductances, drawn anew for each record of runs. The
peer, `reversibility_test`, takes the moves of all runs together, once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from math import sqrt

import numpy as np

from detailed_balance.analyzers import BalanceMartingale, TransitionCounts, reversibility_test

__all__ = ["draw_kernels", "walk_runs"]

TOOLS, LONGEST, END = 6, 30, 0.07
ALPHA = 0.05


def draw_kernels(count: int, rng: np.random.Generator, push: float = 0.0) -> np.ndarray:
    """Return (count, 6, 6) kernels; `push` drives each of them round a triangle, in nats a move."""
    shape = (count, TOOLS, TOOLS)
    conductance = np.triu(np.exp(rng.normal(size=shape)), 1)
    potential = rng.normal(size=(count, TOOLS))
    uphill = potential[:, :, None] - potential[:, None, :]
    rates = (conductance + conductance.transpose(0, 2, 1)) * np.exp(uphill / 2)
    for f, g in ((0, 1), (1, 2), (2, 0)):
        rates[:, f, g] *= np.exp(push / 2)
        rates[:, g, f] *= np.exp(-push / 2)
    return np.asarray(rates / rates.sum(axis=2, keepdims=True))


def walk_runs(
    early: np.ndarray, late: np.ndarray, starts: np.ndarray, rng: np.random.Generator
) -> list[list[int]]:
    """Walk a run for each kernel of `early`; from the eighth move on by those of `late`."""
    state, runs = starts, len(starts)
    path = [state]
    for move in range(LONGEST):
        law = (early if move < 7 else late)[np.arange(runs), state].cumsum(axis=1)
        state = np.minimum((law < rng.random(runs)[:, None]).sum(axis=1), TOOLS - 1)
        path.append(state)
    moves = np.minimum(rng.geometric(END, runs), LONGEST)
    return [row[: n + 1] for row, n in zip(np.array(path).T.tolist(), moves.tolist(), strict=True)]


def alarm(walks: list[list[int]]) -> bool:
    """Return whether the runs, one after the other, ever raise an alarm."""
    live = BalanceMartingale(alpha=ALPHA)
    for run, walk in enumerate(walks):
        name = str(run)
        live.update(name, "__start__", str(walk[0]))
        for source, target in pairwise(walk):
            live.update(name, str(source), str(target))
        live.update(name, str(walk[-1]), "__end__")
    return live.alarm


def pooled(walks: list[list[int]]) -> bool:
    """Return whether the likelihood ratio test of all moves together rejects."""
    counts = np.zeros((TOOLS, TOOLS), dtype=int)
    for walk in walks:
        np.add.at(counts, (walk[:-1], walk[1:]), 1)
    return reversibility_test(TransitionCounts.from_dense(counts), replicates=99).pvalue <= ALPHA


def _one(runs: int, rng: np.random.Generator) -> list[list[int]]:
    kernel = draw_kernels(1, rng).repeat(runs, axis=0)
    return walk_runs(kernel, kernel, np.zeros(runs, dtype=int), rng)


def _own(runs: int, rng: np.random.Generator) -> list[list[int]]:
    kernels = draw_kernels(runs, rng)
    return walk_runs(kernels, kernels, np.zeros(runs, dtype=int), rng)


def _types(runs: int, rng: np.random.Generator) -> list[list[int]]:
    kind = rng.integers(2, size=runs)
    kernels = draw_kernels(2, rng)[kind]
    return walk_runs(kernels, kernels, 3 * kind, rng)


def _version(runs: int, rng: np.random.Generator) -> list[list[int]]:
    kernels = draw_kernels(2, rng).repeat(runs // 2, axis=0)
    return walk_runs(kernels, kernels, np.zeros(runs, dtype=int), rng)


def _phases(runs: int, rng: np.random.Generator) -> list[list[int]]:
    early, late = draw_kernels(2, rng)[:, None].repeat(runs, axis=1)
    return walk_runs(early, late, np.zeros(runs, dtype=int), rng)


def _driven(runs: int, rng: np.random.Generator) -> list[list[int]]:
    kernel = draw_kernels(1, rng, push=1.0).repeat(runs, axis=0)
    return walk_runs(kernel, kernel, np.zeros(runs, dtype=int), rng)


SETTINGS: Mapping[str, Callable[[int, np.random.Generator], list[list[int]]]] = {
    "one reversible kernel": _one,
    "each run has a reversible kernel of its own": _own,
    "two types of tasks, each with its kernel and start": _types,
    "another kernel from the middle run on": _version,
    "another kernel from the eighth move of each run on": _phases,
    "driven round a triangle, 1 nat a move": _driven,
}


def rows(records: int) -> Iterator[str]:
    """Yield the table, a row for each setting."""
    yield "| runs of 1 to 30 moves | 100 runs | 400 runs | pooled, 100 runs | pooled, 400 runs |"
    yield "|---|---|---|---|---|"
    for place, (name, draw) in enumerate(SETTINGS.items()):
        found = np.zeros((2, 2))
        for size, runs in enumerate((100, 400)):
            rng = np.random.default_rng([place, runs])
            for _ in range(records):
                walks = draw(runs, rng)
                found[:, size] += alarm(walks), pooled(walks)
        parts = (found / records).ravel().tolist()
        cells = [f"{part:.1%} ± {sqrt(part * (1 - part) / records):.1%}" for part in parts]
        yield f"| {' | '.join([name, *cells])} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=400)
    for row in rows(parser.parse_args().records):
        print(row, flush=True)


if __name__ == "__main__":
    main()
