"""How many transitions a fleet records in one store, and what a step costs its agents.

Eight processes with 64 agents each, as threads, record steps for some seconds: into a
`TransitionGraph` (memory), then into that and one SQLite file, or one PostgreSQL. Run it with
``python -m benchmarks.recording.fleet [--seconds 20] [--postgres URL]``, the URL of an empty
database. The rate counts until the last step is in the database; the cost is CPU time of the
agent's thread.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from detailed_balance.callbacks import TransitionGraph, TransitionStore
from detailed_balance.callbacks.transition import Transition

Record = Callable[[Transition], object]
BURST = 20
"""How many steps an agent takes before it rests."""


class Work(NamedTuple):
    """What a process did: steps, when all were written, CPU seconds of a step, and what was not."""

    steps: int
    end: float
    cost: float
    lost: int
    spooled: int


class Fleet(NamedTuple):
    """How long and how hard to work."""

    seconds: float
    processes: int
    agents: int
    rest: float


def walk(
    record: Record, agent: str, end: float, rest: float, done: list[tuple[int, float]]
) -> None:
    """Record the steps of one agent until `end`; note how many, and the CPU time of recording."""
    steps, cost = 0, 0.0
    while time.time() < end:
        run = f"{agent} {steps // 200}"
        moves = [
            Transition(f"s{k % 23}", f"s{7 * k % 23}", run, (("model", "m"),), k, time.time())
            for k in range(steps, steps + BURST)
        ]
        begun = time.thread_time()
        for move in moves:
            record(move)
        cost += time.thread_time() - begun
        steps += BURST
        time.sleep(rest)
    done.append((steps, cost))


def work(url: str, folder: str, number: int, start: float, fleet: Fleet, queue: Any) -> None:
    """Do the part of one process."""
    with ExitStack() as stack:
        store = stack.enter_context(TransitionStore(url, spool=folder)) if url else None
        record = recorder(TransitionGraph(), store)
        time.sleep(max(0.0, start - time.time()))
        done: list[tuple[int, float]] = []
        end = start + fleet.seconds
        threads = [
            threading.Thread(target=walk, args=(record, f"{number}-{k}", end, fleet.rest, done))
            for k in range(fleet.agents)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        steps, cost = (sum(column) for column in zip(*done, strict=True))
        spooled = lost = 0
        if store is not None:
            spooled = store.spooled
            while store.waiting or store.spooled:
                store.flush()
            lost = store.lost
        queue.put(Work(steps, time.time(), cost / steps, lost, spooled))


def recorder(graph: TransitionGraph, store: TransitionStore | None) -> Record:
    """Return what records in memory, and in the store if there is one, as a handler does."""

    def record(move: Transition) -> None:
        graph.record(move.source, move.target, trajectory=move.trajectory, context=move.context)
        if store is not None:
            store.record(move)

    return record


def measure(url: str, fleet: Fleet) -> tuple[list[Work], float]:
    """Run the fleet; return what its processes did, and its steps per second."""
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    start = time.time() + 3.0 * fleet.processes  # when all are there
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            spawn.Process(target=work, args=(url, folder, number, start, fleet, queue))
            for number in range(fleet.processes)
        ]
        for process in processes:
            process.start()
        done = [queue.get() for _ in processes]
        for process in processes:
            process.join()
    return done, sum(part.steps for part in done) / (max(part.end for part in done) - start)


def print_row(name: str, url: str, fleet: Fleet, memory: float = 0.0) -> float:
    """Measure, check that nothing is missing, and print a row of the table; return the cost."""
    if url:
        TransitionStore(url).close()
    done, rate = measure(url, fleet)
    steps, lost = sum(part.steps for part in done), sum(part.lost for part in done)
    if url:
        with TransitionStore(url, create=False) as store:
            assert len(store) == steps - lost, (len(store), steps, lost)
    cost = sum(part.cost for part in done) / len(done)
    spooled = sum(part.spooled for part in done)
    cells = [name, f"{steps:,}", f"{rate:,.0f}", f"{lost:,}", f"{spooled:,}"]
    cells += [f"{1e6 * cost:.1f}", f"{cost / (memory or cost):.2f}"]
    print(f"| {' | '.join(cells)} |", flush=True)
    return cost


def main() -> None:
    """Measure all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--agents", type=int, default=64)
    parser.add_argument("--rest", type=float, default=0.4, help="seconds between bursts of 20")
    parser.add_argument("--postgres", help="URL of an empty database")
    options = parser.parse_args()
    fleet = Fleet(options.seconds, options.processes, options.agents, options.rest)
    print("| recorded in | steps | per second | lost | spooled | us per step | to memory |")
    print("|---|---|---|---|---|---|---|")
    memory = print_row("memory", "", fleet)
    with tempfile.TemporaryDirectory() as folder:
        print_row("SQLite", f"sqlite:///{Path(folder) / 'runs.db'}", fleet, memory)
    if options.postgres:
        print_row("PostgreSQL", options.postgres, fleet, memory)


if __name__ == "__main__":
    main()
