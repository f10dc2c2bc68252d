"""What recording and counting cost, against networkx, a dict, and SQLite by hand.

Run it with ``python -m benchmarks.recording.graph [--edges 1000000] [--rows 1000000]``.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import random
import sqlite3
import statistics
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import networkx as nx

from detailed_balance.callbacks import TransitionGraph, TransitionStore
from detailed_balance.callbacks.transition import Transition

Pair = tuple[str, str]
MODEL = {"model": "m1"}
Record = Callable[[str, str], object]


def networkx_recorder() -> Record:
    """Count as one would by hand in a networkx graph, without a lock."""
    graph = nx.MultiDiGraph()

    def record(source: str, target: str) -> None:
        if graph.has_edge(source, target, ()):
            graph[source][target][()]["count"] += 1
        else:
            graph.add_edge(source, target, key=(), count=1)

    return record


def dict_recorder() -> Record:
    """Count in a plain dict, without a lock."""
    counts: dict[Pair, int] = {}

    def record(source: str, target: str) -> None:
        counts[source, target] = counts.get((source, target), 0) + 1

    return record


RECORDERS: dict[str, Callable[[], Record]] = {
    "TransitionGraph.record": lambda: TransitionGraph().record,
    "networkx by hand, no lock": networkx_recorder,
    "dict, no lock": dict_recorder,
}


def median_microseconds(record: Record, pairs: Iterable[Pair]) -> float:
    """Return the median time of one call, less that of reading the clock."""
    clock = time.perf_counter_ns
    empty = statistics.median(-(clock() - clock()) for _ in range(1000))
    times = []
    for source, target in pairs:
        start = clock()
        record(source, target)
        times.append(clock() - start)
    return (statistics.median(times) - empty) / 1000


def pairs_of(states: int) -> list[Pair]:
    """Return all pairs of so many states, in a seeded random order."""
    names = [f"state {i}" for i in range(states)]
    pairs = list(itertools.product(names, names))
    random.Random(0).shuffle(pairs)
    return pairs


def measure_record(rounds: int) -> None:
    """Time a new edge and a known one, all recorders in turns."""
    pairs = pairs_of(200)
    new: dict[str, list[float]] = {name: [] for name in RECORDERS}
    known: dict[str, list[float]] = {name: [] for name in RECORDERS}
    for _ in range(rounds):
        for name, build in RECORDERS.items():
            record = build()
            new[name].append(median_microseconds(record, pairs))
            known[name].append(median_microseconds(record, pairs))
    for title, times in (("known edge", known), ("new edge", new)):
        print_ratios(title, {name: min(found) for name, found in times.items()}, "us")


def measure_memory() -> None:
    """Weigh what 40,000 distinct edges among 200 states take."""
    pairs = pairs_of(200)
    weights = {}
    for name, build in RECORDERS.items():
        gc.collect()
        tracemalloc.start()
        record = build()
        for source, target in pairs:
            record(source, target)
        weights[name] = tracemalloc.get_traced_memory()[0] / len(pairs)
        tracemalloc.stop()
    print_ratios("memory per edge", weights, "bytes")


class TimedLock:
    """A lock that remembers for how long it was held."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.held: list[float] = []

    def __enter__(self) -> None:
        self._lock.acquire()
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.held.append(time.perf_counter() - self._start)
        self._lock.release()


def measure_snapshot(edges: int) -> None:
    """Time snapshots of a large graph, and how long each keeps recorders waiting."""
    graph = TransitionGraph()
    states = round(edges**0.5)
    for source, target in pairs_of(states):
        graph.record(source, target)
    lock: Any = TimedLock()
    graph._lock = lock
    totals = []
    for _ in range(7):
        start = time.perf_counter()
        found = graph.snapshot()
        totals.append(time.perf_counter() - start)
        assert found.total == states**2
    held = [1000 * t for t in lock.held]
    print(f"snapshot of {states**2:,} edges")
    print(f"  lock held         median {statistics.median(held):8.2f} ms, most {max(held):.2f} ms")
    print(f"  in all            median {1000 * statistics.median(totals):8.2f} ms")


def make_moves(rows: int) -> list[Transition]:
    """Return a seeded walk over 300 states of uneven weight, in runs of 200 steps."""
    rng = random.Random(0)
    states = [f"state {min(int(rng.expovariate(0.02)), 300)}" for _ in range(rows + 1)]
    contexts = [(("model", f"m{i}"),) for i in range(3)]
    return [
        Transition(
            source,
            target,
            trajectory=f"run {i // 200}",
            context=contexts[i // 200 % 3],
            step=i % 200,
            time=1.7e9 + i,
        )
        for i, (source, target) in enumerate(itertools.pairwise(states))
    ]


def measure_store(rows: int) -> None:
    """Time appending and counting in a file, against SQLite by hand and counting in Python."""
    moves = make_moves(rows)
    with tempfile.TemporaryDirectory() as folder, sqlite3.connect(f"{folder}/hand.db") as hand:
        hand.execute("PRAGMA journal_mode = WAL")
        hand.execute("CREATE TABLE moves (run TEXT, step INT, source TEXT, target TEXT)")
        by_hand = ((m.trajectory, m.step, m.source, m.target) for m in moves)
        hand_append = seconds(
            lambda: hand.executemany("INSERT INTO moves VALUES (?,?,?,?)", by_hand)
        )
        hand.commit()
        with TransitionStore(f"sqlite:///{folder}/line.db") as store:
            line = seconds(lambda: [store.record(move) for move in moves[:50_000]]) / 50_000
            behind = seconds(store.flush)
            assert store.lost == 0
        with TransitionStore(f"sqlite:///{folder}/store.db") as store:
            append = seconds(lambda: store.append(moves))
            counting = {
                "TransitionStore.counts": 1000 * best(store.counts),
                "all rows into a Counter": 1000
                * best(
                    lambda: Counter(hand.execute("SELECT source, target FROM moves").fetchall())
                ),
                "counts of one context of 3": 1000 * best(lambda: store.counts(context=MODEL)),
                "counts of one run": 1000 * best(lambda: store.counts(trajectory="run 7")),
            }
            assert store.counts().total == rows
        size = Path(folder, "store.db").stat().st_size / rows
    rates = {"TransitionStore.append": rows / append, "executemany, no index": rows / hand_append}
    print_ratios(f"append {rows:,} rows", rates, "rows/s", digits=0)
    print(f"  {size:.0f} bytes per row")
    print(f"  record: {1e6 * line:.1f} us a call; 50,000 at once are written {behind:.2f} s later")
    print_ratios(f"count {rows:,} rows", counting, "ms")


def seconds(action: Callable[[], object]) -> float:
    """Return how long `action` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def best(action: Callable[[], object]) -> float:
    """Return the shortest of three runs."""
    return min(seconds(action) for _ in range(3))


def print_ratios(title: str, values: dict[str, float], unit: str, digits: int = 2) -> None:
    """Print `values` and their ratio to the second, the peer."""
    peer = list(values.values())[1]
    print(title)
    for name, value in values.items():
        print(f"  {name:28}{value:12,.{digits}f} {unit:8}{value / peer:8.2f}")


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    settings = parser.parse_args()
    measure_record(settings.rounds)
    measure_memory()
    measure_snapshot(settings.edges)
    measure_store(settings.rows)


if __name__ == "__main__":
    main()
