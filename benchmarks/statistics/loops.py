"""What finding loops costs, against networkx and plain Python.

Run it with
``python -m benchmarks.statistics.loops [--states 100000] [--links 1000000] [--rounds 3]``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import combinations
from typing import Any

import networkx as nx
import numpy as np
from scipy.sparse import coo_array, csr_array

from detailed_balance.analyzers import TransitionCounts
from detailed_balance.analyzers.balance.cycle_search import find_triangles, search_driven_loops
from detailed_balance.analyzers.balance.loops import find_loops

Matrix = csr_array[Any, tuple[int, int]]


def random_links(states: int, links: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Return links between states drawn alike."""
    return rng.integers(states, size=links), rng.integers(states, size=links)


def hub_links(states: int, links: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Return links of which a few states have most: both ends follow a power law."""
    return tuple((states * rng.random(links) ** 2.5).astype(np.int64) for _ in range(2))  # type: ignore[return-value]


def make_totals(ends: tuple[Any, Any], states: int) -> Matrix:
    """Return a symmetric graph without self-loops."""
    f, g = (end[ends[0] != ends[1]] for end in ends)
    one = coo_array((np.ones(len(f), dtype=np.int64), (f, g)), shape=(states, states)).tocsr()
    return csr_array(one + one.T)


def plain_triangles(neighbours: list[set[int]]) -> int:
    """Count triangles as one would by hand: look up each pair of later neighbours."""
    later = [{j for j in around if j > i} for i, around in enumerate(neighbours)]
    return sum(k in later[j] for around in later for j, k in combinations(sorted(around), 2))


def networkx_triangles(graph: nx.Graph[int]) -> int:
    """Count triangles by networkx."""
    return sum(nx.triangles(graph).values()) // 3


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long the work took, and what it gave."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def compare(name: str, totals: Matrix, rounds: int, rng: np.random.Generator) -> None:
    """Print the medians of interleaved rounds; the graphs of the peers are made beforehand."""
    graph = nx.from_scipy_sparse_array(totals)
    neighbours = [set(graph[i]) for i in range(totals.shape[0])]
    peers: dict[str, Callable[[], int]] = {
        "find_triangles": lambda: len(find_triangles(totals)),
        "networkx.triangles": lambda: networkx_triangles(graph),
        "plain Python": lambda: plain_triangles(neighbours),
    }
    times: dict[str, list[float]] = {peer: [] for peer in peers}
    found = set()
    for _ in range(rounds):
        for peer, work in peers.items():
            took, count = seconds(work)
            times[peer].append(took)
            found.add(count)
    assert len(found) == 1, f"they disagree: {found}"
    ours = statistics.median(times["find_triangles"])
    print(f"{name}: {totals.nnz // 2:,} links, {found.pop():,} triangles")
    for peer, took in times.items():
        median = statistics.median(took)
        print(f"  {peer:<20} {median:8.2f} s  {median / ours:6.1f} x")
    measure_rest(totals, rng)


def measure_rest(totals: Matrix, rng: np.random.Generator) -> None:
    """Print what the search and the whole of `find_loops` take, each pair taken 20 times."""
    upper = totals.tocoo()
    use = upper.row < upper.col
    f, g = upper.row[use], upper.col[use]
    there = rng.binomial(20, 0.5, len(f))
    ends = (np.concatenate([f, g]), np.concatenate([g, f]))
    counted = coo_array((np.concatenate([there, 20 - there]), ends), shape=totals.shape).tocsr()
    names = tuple(map(str, range(totals.shape[0])))
    counts = TransitionCounts(names, counted, np.asarray(counted.sum(axis=1)))
    print(f"  search_driven_loops  {seconds(lambda: search_driven_loops(counted))[0]:8.2f} s")
    took, table = seconds(lambda: find_loops(counts))
    print(f"  find_loops           {took:8.2f} s, {len(table):,} loops tested")


def main() -> None:
    """Compare on two kinds of graph."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, default=100_000)
    parser.add_argument("--links", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    for name, draw in (("random", random_links), ("hubs", hub_links)):
        totals = make_totals(draw(given.states, given.links, rng), given.states)
        compare(name, totals, given.rounds, rng)


if __name__ == "__main__":
    main()
