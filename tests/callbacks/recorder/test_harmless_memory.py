"""What the handler keeps is bounded, however many runs there were, and however they stopped."""

import gc
import tracemalloc

import pytest

from benchmarks.recording.memory import drive
from detailed_balance.callbacks import NodeStates, PromptStates, TransitionCallbackHandler

# What the last digit of a run's number makes of it; each tenth run or so ends well.
KINDS = {"never end": 0, "are interrupted": 1, "end": 5}


def drive_mostly(handler, numbers, kind):
    for start in numbers[::10]:
        drive(handler, range(start + kind, start + 100, 10))
        drive(handler, range(start + 5, start + 6))


@pytest.mark.parametrize("states", [NodeStates(), PromptStates()], ids=["nodes", "calls"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_runs_beyond_the_limits_take_no_memory(kind, states):
    handler = TransitionCallbackHandler(states)
    handler._runs._max_roots = handler._runs._stopped._most = 200
    handler.recent._most_runs = 200
    kept = []
    tracemalloc.start()
    try:
        for first in (0, 5_000, 10_000, 15_000):
            drive_mostly(handler, range(first, first + 5_000, 10), kind)
            gc.collect()
            kept.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # Bytes for 500 runs more: no object of each is kept, which would be 16 bytes at least.
    # What leaks does so every time; threads of other tests do not.
    assert min(kept[2] - kept[1], kept[3] - kept[2]) < 8_000


def test_10000_runs_of_all_kinds_leave_few_open_and_count_what_they_did():
    handler = TransitionCallbackHandler(NodeStates())
    drive(handler, range(10_000))
    assert len(handler._runs) == 2 * 1_000
    edges = {(u, v): n for u, v, n in handler.graph.graph.edges(data="count")}
    assert edges == {("__start__", "b"): 8_000, ("b", "a"): 8_000, ("a", "__end__"): 8_000}
    assert handler.faults == 0


def test_open_runs_beyond_the_limit_are_given_up_oldest_first_and_others_go_on():
    handler = TransitionCallbackHandler(NodeStates())
    drive(handler, range(0, 120_000, 10))
    assert len(handler._runs) == 20_000
    drive(handler, range(5, 1000, 10))
    assert handler.graph.snapshot().total == 300
