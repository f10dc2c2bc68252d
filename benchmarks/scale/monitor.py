"""Start-up and increments of `Monitor` on a large store, and what memory they take.

    python -m benchmarks.scale.monitor [--transitions 1000000] [--states 10000] [--edges 100000]

Makes a SQLite store in a temporary folder, starts a monitor on it, and lets it read increments.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np

from detailed_balance import Monitor, Transition, TransitionStore

RUN_LENGTH = 50
T = TypeVar("T")


def make_moves(count: int, states: int, edges: int, seed: int = 0) -> list[Transition]:
    """Return moves of runs of 50 steps, each state with the same number of exits."""
    rng = np.random.default_rng(seed)
    exits = rng.integers(states, size=(states, edges // states))
    picks = rng.integers(exits.shape[1], size=count)
    moves, state = [], 0
    for i, pick in enumerate(picks.tolist()):
        if i % RUN_LENGTH == 0:
            state = int(rng.integers(states))
        after = int(exits[state, pick])
        moves.append(
            Transition(f"s{state}", f"s{after}", f"run {seed}-{i // RUN_LENGTH}", time=float(i))
        )
        state = after
    return moves


def peak_memory() -> float:
    """Return the largest memory this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def now_memory() -> float:
    """Return the memory that this process holds now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--transitions", type=int, default=1_000_000)
    parser.add_argument("--states", type=int, default=10_000)
    parser.add_argument("--edges", type=int, default=100_000)
    parser.add_argument("--increments", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/runs.db"
        with TransitionStore(url) as store:
            store.append(make_moves(given.transitions, given.states, given.edges))
            watch(url, store, given)


def watch(url: str, store: TransitionStore, given: argparse.Namespace) -> None:
    """Start a monitor, let it analyse, then let it read increments."""
    before = now_memory()
    monitor, seconds, cpu = timed(lambda: start(url))
    status = monitor.status()
    assert status.transitions == given.transitions
    print(f"{status.transitions:,} transitions, {status.states:,} states, {status.edges:,} edges")
    print(f"start-up                 {seconds:8.2f} s    ({cpu:.2f} s of processor)")
    print(f"memory of the monitor    {now_memory() - before:8.0f} MB")
    print(f"first round of analyses  {timed(monitor.poll)[1]:8.2f} s")
    for done in monitor.status().analyses:
        print(f"    {done.name:20} {done.seconds:8.3f} s, then every {done.every:.0f} s")
    for name, analysing in (("alone", False), ("beside analyses", True)):
        took = read_increments(monitor, store, given, analysing=analysing)
        middle, cpu = median(took), max(took)
        print(f"1,000 more, {name:15} {1000 * middle:6.1f} ms (median), {1000 * cpu:.1f} ms (most)")
    print(f"memory at its highest    {peak_memory():8.0f} MB, of the whole program")
    monitor.stop()


def start(url: str) -> Monitor:
    """Return a monitor that has read all there is."""
    monitor = Monitor(url)
    monitor._read()
    return monitor


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """Return what the work gives, its seconds, and those of the processor."""
    began, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - began, time.process_time() - cpu


def read_increments(
    monitor: Monitor, store: TransitionStore, given: argparse.Namespace, *, analysing: bool
) -> list[float]:
    """Return the seconds of each reading of 1,000 new transitions."""
    done = threading.Event()

    def analyse() -> None:
        while not done.is_set():
            monitor._analyse(everything=True)

    thread = threading.Thread(target=analyse)
    if analysing:
        thread.start()
    took = []
    for seed in range(1, given.increments + 1):
        store.append(make_moves(1_000, given.states, given.edges, seed=seed + 1_000 * analysing))
        took.append(timed(monitor._read)[1])
    done.set()
    if analysing:
        thread.join()
    return took


if __name__ == "__main__":
    main()
