"""How often loops are called driven where none is, and found where one is.

Run it with ``python -m benchmarks.statistics.loops_null [--runs 400]``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.balance.loops import LoopTable, find_loops

PLANTED = (1, 5, 9, 3, 7)
Kernel = np.ndarray[Any, np.dtype[np.float64]]


def reversible_kernel(rng: np.random.Generator, n: int, density: float) -> Kernel:
    """Return a random reversible kernel; a path keeps it connected, the rest stays put."""
    height = rng.normal(size=n) / 2
    links = np.triu(rng.gamma(2.0, size=(n, n)) * (rng.random((n, n)) < density), 1)
    links[np.arange(n - 1), np.arange(1, n)] += 0.5
    kernel = (links + links.T) * np.exp((height[:, None] - height[None, :]) / 2)
    return np.asarray(kernel / kernel.sum(axis=1).max() * 0.9)


def push(kernel: Kernel, loop: tuple[int, ...], nats: float) -> Kernel:
    """Drive a loop by so many nats for each of its steps."""
    for f, g in zip(loop, (*loop[1:], loop[0]), strict=True):
        mean = max(np.sqrt(kernel[f, g] * kernel[g, f]), 0.05)
        kernel[f, g], kernel[g, f] = mean * np.exp(nats / 2), mean * np.exp(-nats / 2)
    return np.asarray(kernel / kernel.sum(axis=1).max() * 0.9)


def walk(rng: np.random.Generator, kernel: Kernel, steps: int) -> TransitionCounts:
    """Let ten walkers walk so many steps together."""
    n = len(kernel)
    cumulative = np.cumsum(kernel + np.diag(1 - kernel.sum(axis=1)), axis=1)
    state, counts = rng.integers(n, size=10), np.zeros((n, n), dtype=np.int64)
    for _ in range(steps // 10):
        after = (cumulative[state] < rng.random(10)[:, None]).sum(axis=1)
        after = np.minimum(after, n - 1)
        np.add.at(counts, (state, after), 1)
        state = after
    return TransitionCounts.from_dense(counts)


def is_planted(names: tuple[str, ...]) -> bool:
    """Say whether a loop is the planted one, in its direction."""
    loop = tuple(map(int, names))
    return any((*PLANTED[i:], *PLANTED[:i]) == loop for i in range(len(PLANTED)))


def tables(runs: int, nats: float, correction: Any) -> Iterator[LoopTable]:
    """Yield the tests of so many chains of 12 states and 4,000 steps."""
    rng = np.random.default_rng(0)
    for _ in range(runs):
        kernel = reversible_kernel(rng, 12, 0.3)
        yield find_loops(
            walk(rng, push(kernel, PLANTED, nats) if nats else kernel, 4_000), correction=correction
        )


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    runs = parser.parse_args().runs
    for correction in ("bh", "by"):
        null = list(tables(runs, 0.0, correction))
        flagged = np.mean([bool((table.adjusted <= 0.05).any()) for table in null])
        searched = np.concatenate([table.pvalue[table.searched] for table in null])
        print(f"{correction}, not driven: {flagged:.1%} of {runs} chains with a violation")
        print(
            f"  searched loops with p <= 5%: {np.mean(searched <= 0.05):.1%} of {len(searched):,}"
        )
        for nats in (0.5, 1.0, 1.5):
            driven = list(tables(runs // 4, nats, correction))
            found = [
                any(
                    table.adjusted[i] <= 0.05 and is_planted(table.names(i))
                    for i in range(len(table))
                )
                for table in driven
            ]
            print(f"  {nats} nats a step: the loop of five is found in {np.mean(found):.0%}")


if __name__ == "__main__":
    main()
