"""What the callback handler costs an agent, against a handler that does nothing.

Main-thread CPU time of a loop of three nodes, in interleaved rounds. Run it with
``python benchmarks/handler.py [--steps 2000] [--rounds 9]``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.graph import END, START, StateGraph

from detailed_balance.callbacks import TransitionCallbackHandler


class State(TypedDict):
    """The state of the agent: how many steps it has taken."""

    n: int


class EmptyHandler(BaseCallbackHandler):
    """The peer: what LangChain's dispatch costs by itself."""

    run_inline = True


def build_loop(steps: int) -> Any:
    """Return an agent that walks a -> b -> c -> a until `steps` nodes have run."""

    def walk(state: State) -> State:
        return {"n": state["n"] + 1}

    graph = StateGraph(State)
    for name in "abc":
        graph.add_node(name, walk)
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_edge("b", "c")
    graph.add_conditional_edges("c", lambda state: END if state["n"] >= steps else "a", ["a", END])
    return graph.compile()


def cpu_seconds(agent: Any, steps: int, handler: BaseCallbackHandler | None) -> float:
    """Return the main-thread CPU time of one run."""
    config = {"callbacks": [handler] if handler else [], "recursion_limit": steps + 10}
    start = time.thread_time()
    agent.invoke({"n": 0}, config)
    return time.thread_time() - start


def main() -> None:
    """Measure all handlers in turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    agent = build_loop(options.steps)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'transitions.db'}"
        makers: dict[str, Callable[[], BaseCallbackHandler | None]] = {
            "no handler": lambda: None,
            "empty handler": EmptyHandler,
            "graph": TransitionCallbackHandler,
            "graph and SQLite": lambda: TransitionCallbackHandler(store=url),
        }
        rows = measure(agent, options.steps, options.rounds, makers)
    report(rows, options.steps)


def measure(
    agent: Any,
    steps: int,
    rounds: int,
    makers: dict[str, Callable[[], BaseCallbackHandler | None]],
) -> dict[str, list[float]]:
    """Return the CPU times of each handler, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in makers}
    for turn in range(rounds + 1):
        for name, make in makers.items():
            handler = make()
            seconds = cpu_seconds(agent, steps, handler)
            if isinstance(handler, TransitionCallbackHandler):
                assert handler.graph.snapshot().total >= steps
                assert handler.faults == 0
                handler.close()
            if turn:
                times[name].append(seconds)
    return times


def report(times: dict[str, list[float]], steps: int) -> None:
    """Print the median per step, and the median ratio to the empty handler of the same round."""
    print(f"{'handler':<18} {'us per step':>12} {'ratio':>7} {'spread':>15}")
    for name, seconds in times.items():
        pairs = zip(seconds, times["empty handler"], strict=True)
        ratios = sorted(ours / empty for ours, empty in pairs)
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        median = statistics.median(seconds) / steps * 1e6
        spread = f"{low:.3f} to {high:.3f}"
        print(f"{name:<18} {median:>12.1f} {statistics.median(ratios):>7.3f} {spread:>15}")


if __name__ == "__main__":
    main()
