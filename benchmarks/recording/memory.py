"""What a handler keeps of runs, of which some never end and some are interrupted for good.

The events of a million runs are sent to our handler, and to a `BaseTracer` that throws away what
it is given, each in a process of its own. Run it with ``python -m benchmarks.recording.memory
[--runs 1000000]``; it prints the table of ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.base import BaseTracer
from langgraph.errors import GraphInterrupt

from detailed_balance.callbacks import TransitionCallbackHandler

NEVER_ENDS, INTERRUPTED = 0, 1
"""Which of ten runs never ends, and which is interrupted and never resumed."""


class Tracer(BaseTracer):
    """The peer: keeps a run until it ends, and then throws it away."""

    def _persist_run(self, run: Any) -> None:
        pass


def drive(handler: BaseCallbackHandler, numbers: range) -> None:
    """Send the events of one agent run for each number: a root and a node, or two."""
    for number in numbers:
        root, thread = UUID(int=10 * number + 1), {"thread_id": str(number)}
        kind = number % 10
        handler.on_chain_start(None, {}, run_id=root, name="LangGraph", metadata=thread)
        for step in (1, 2) if kind > INTERRUPTED else (1,):
            node = UUID(int=10 * number + 1 + step)
            start_node(handler, node, root, thread, step)
            if kind == INTERRUPTED:
                handler.on_chain_error(GraphInterrupt(()), run_id=node)
            elif kind != NEVER_ENDS:
                handler.on_chain_end({}, run_id=node)
        if kind != NEVER_ENDS:
            handler.on_chain_end({}, run_id=root)


def start_node(
    handler: BaseCallbackHandler, node: UUID, root: UUID, thread: dict[str, str], step: int
) -> None:
    """Send the event with which LangGraph starts a node."""
    labels: dict[str, Any] = {
        **thread,
        "langgraph_node": "ab"[step % 2],
        "langgraph_step": step,
        "langgraph_checkpoint_ns": f"{'ab'[step % 2]}:{node.int}",
    }
    tags = [f"graph:step:{step}"]
    handler.on_chain_start(
        None, {}, run_id=node, parent_run_id=root, name="a", tags=tags, metadata=labels
    )


def resident() -> float:
    """Return the memory of this process in MB, what can be collected left out."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def watch(make: Callable[[], Any], live: Callable[[Any], int], runs: int) -> Iterator[list[float]]:
    """Yield the runs so far, the MB beyond those at the start, and the entries still kept."""
    handler, before, start = make(), resident(), 0
    for share in (0.02, 0.1, 0.5, 1):
        stop = int(share * runs)
        drive(handler, range(start, stop))
        yield [stop, resident() - before, live(handler)]
        start = stop


def watch_ours(runs: int) -> list[list[float]]:
    """Watch the handler."""
    return list(watch(TransitionCallbackHandler, lambda handler: len(handler._runs), runs))


def watch_peer(runs: int) -> list[list[float]]:
    """Watch the tracer."""
    return list(watch(Tracer, lambda tracer: len(tracer.run_map), runs))


def main() -> None:
    """Watch both, and print the table."""
    if not Path("/proc/self/statm").exists():
        sys.exit("this benchmark reads /proc/self/statm, which only Linux has")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    runs = parser.parse_args().runs
    print("| runs | ours: open runs | ours: MB | `BaseTracer`: open runs | `BaseTracer`: MB |")
    print("|---|---|---|---|---|")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        ours, peer = (pool.apply(each, (runs,)) for each in (watch_ours, watch_peer))
    for (n, megabytes, live), (_, theirs, kept) in zip(ours, peer, strict=True):
        print(f"| {n:,} | {live:,} | {megabytes:.1f} | {kept:,} | {theirs:.1f} |")


if __name__ == "__main__":
    main()
