"""What the handler does in an event, by itself: events of real runs, recorded once, sent again.

The agents and the handlers are those of ``overhead.py``. Run it with
``python -m benchmarks.recording.replay [--repeats 60]``; it prints the least CPU time of a step,
which a busy machine hardly moves. In an agent an event costs two to three times as much, for its
code and its data have left the processor's caches since the last one.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from langchain_core.callbacks import BaseCallbackHandler

from benchmarks.recording.overhead import settings
from benchmarks.recording.peers import EMPTY, OURS, OURS_STORED, find_peers

Event: TypeAlias = tuple[str, tuple[Any, ...], dict[str, Any]]
HOOKS = [name for name in dir(BaseCallbackHandler) if name.startswith("on_")]


def record_events(run: Callable[[dict[str, Any]], object]) -> list[Event]:
    """Run an agent once, and return the events it sent."""
    events: list[Event] = []

    def keep(name: str) -> Callable[..., None]:
        return lambda self, *args, **kwargs: events.append((name, args, kwargs))

    hooks = {name: keep(name) for name in HOOKS}
    recorder = type("Recorder", (BaseCallbackHandler,), {"run_inline": True, **hooks})()
    run({"callbacks": [recorder], "recursion_limit": 10_000})
    return events


def time_replay(handler: Any, events: list[Event]) -> float:
    """Return the CPU seconds that a handler takes for the events of one run."""
    gc.collect()
    gc.disable()
    start = time.thread_time()
    for name, args, kwargs in events:
        getattr(handler, name)(*args, **kwargs)
    took = time.thread_time() - start
    gc.enable()
    return took


def main() -> None:
    """Replay and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=60)
    repeats = parser.parse_args().repeats
    names = (EMPTY, OURS, OURS_STORED)
    print("| us a step | events a step | " + " | ".join(names) + " |")
    print("|---" * (2 + len(names)) + "|")
    with tempfile.TemporaryDirectory() as folder:
        peers, _ = find_peers(Path(folder), others=False)
        for setting in settings(200):
            if not setting.name.endswith(", invoke, small"):
                continue
            events = record_events(setting.run)
            least = dict.fromkeys(names, float("inf"))
            for _ in range(repeats):
                for name in names:
                    attached = peers[name]()
                    took = time_replay(attached.callbacks[0], events)
                    attached.settle(setting.steps)
                    least[name] = min(least[name], took)
            cells = [f"{1e6 * least[name] / setting.steps:.1f}" for name in names]
            a_step = len(events) / setting.steps
            print(f"| {setting.name.split(',')[0]} | {a_step:.1f} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
