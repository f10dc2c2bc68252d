"""What recording costs an agent, beside a handler that does nothing and those of other tools.

Each round runs every agent once with every handler, in an order of its own; ratios are taken
within a round, and their median over the rounds has a bootstrap interval of 95%. Run it with
``python -m benchmarks.recording.overhead [--rounds 21] [--steps 200] [--ours]``, on a machine that
does nothing else; it prints the tables of ``docs/benchmarks.md``. With ``--ours`` it leaves out the
other tools, whose runs take most of the time: the way to many rounds, and so to narrow intervals.
Peers that are not installed are left out too, and named: ``pip install
openinference-instrumentation-langchain langfuse opentelemetry-sdk``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import logging
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypedDict

import numpy as np
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatResult
from langgraph.graph import END, START, StateGraph

from benchmarks.recording.peers import EMPTY, NOTHING, Attached, Peers, find_peers

Config: TypeAlias = dict[str, Any]
FIELDS = {"thread": "CPU of the agent's thread", "process": "CPU of the process"}


class State(TypedDict):
    """The state of the loop: how many steps it has taken, and what it carries around."""

    n: int
    notes: list[str]


class Model(FakeMessagesListChatModel):
    """A chat model that asks for tools, again and again, and then answers."""

    def bind_tools(self, tools: Any, **how: Any) -> Model:
        """Take any tools."""
        return self

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **how: Any) -> ChatResult:
        return self._generate(messages)


class Cost(NamedTuple):
    """CPU seconds of one run: of the agent's thread, and of the process until all is done."""

    thread: float
    process: float


class Setting(NamedTuple):
    """One agent in one size."""

    name: str
    steps: int
    run: Callable[[Config], object]


def build_loop(steps: int, asynchronous: bool) -> Any:
    """Return an agent that walks a -> b -> c -> a until `steps` nodes have run."""

    def walk(state: State) -> dict[str, int]:
        return {"n": state["n"] + 1}

    async def walk_async(state: State) -> dict[str, int]:
        return walk(state)

    graph = StateGraph(State)
    for name in "abc":
        graph.add_node(name, walk_async if asynchronous else walk)
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_edge("b", "c")
    graph.add_conditional_edges("c", lambda state: END if state["n"] >= steps else "a", ["a", END])
    return graph.compile()


def build_tool_agent(calls: int, asynchronous: bool, answer: str = "nothing found") -> Any:
    """Return `create_agent`'s agent, whose model asks for a tool `calls` times."""

    def search(query: str) -> str:
        """Search."""
        return answer

    async def search_async(query: str) -> str:
        """Search."""
        return answer

    search_async.__name__ = "search"
    asked = [
        AIMessage("", tool_calls=[{"name": "search", "args": {"query": "x"}, "id": str(i)}])
        for i in range(calls)
    ]
    model = Model(responses=[*asked, AIMessage("done")])
    return create_agent(model, [search_async if asynchronous else search])


def settings(steps: int) -> Iterator[Setting]:
    """Yield every agent, small and large, sync and async; a large one takes fewer steps."""
    for large, asynchronous in itertools.product((False, True), (False, True)):
        n = steps // 5 if large else steps
        texts = ["x" * 100_000] * 10 if large else ["x"]
        inputs = {"n": 0, "notes": texts}
        kind = f"{'ainvoke' if asynchronous else 'invoke'}, {'1 MB' if large else 'small'}"
        loop = build_loop(n, asynchronous)
        yield Setting(f"loop, {kind}", n, runner(loop, inputs, asynchronous))
        messages = {"messages": [HumanMessage(text) for text in texts]}
        agent = build_tool_agent(n // 4, asynchronous)
        yield Setting(f"tools, {kind}", n // 4, runner(agent, messages, asynchronous))
    for asynchronous in (False, True):
        agent = build_tool_agent(steps // 4, asynchronous, "x" * 100_000)
        kind = f"{'ainvoke' if asynchronous else 'invoke'}, answers of 100 kB"
        messages = {"messages": [HumanMessage("x")]}
        yield Setting(f"tools, {kind}", steps // 4, runner(agent, messages, asynchronous))


def runner(agent: Any, inputs: Any, asynchronous: bool) -> Callable[[Config], object]:
    """Return what runs the agent once."""
    if asynchronous:
        return lambda config: asyncio.run(agent.ainvoke(inputs, config))
    return lambda config: agent.invoke(inputs, config)


def measure(setting: Setting, attached: Attached) -> Cost:
    """Run the agent once, with the garbage collector at the same point for every handler."""
    config = {"callbacks": attached.callbacks, "recursion_limit": 10_000}
    gc.collect()
    process, thread = time.process_time(), time.thread_time()
    setting.run(config)
    thread = time.thread_time() - thread
    attached.settle(setting.steps)
    return Cost(thread, time.process_time() - process)


Costs: TypeAlias = dict[str, dict[str, list[Cost]]]


def measure_all(every: list[Setting], peers: Peers, rounds: int) -> Costs:
    """Return the costs by setting and by peer, after one round to warm up."""
    costs: Costs = {setting.name: defaultdict(list) for setting in every}
    order = random.Random(0)
    for turn in range(rounds + 1):
        for setting in every:
            for name in order.sample(list(peers), len(peers)):
                cost = measure(setting, peers[name]())
                if turn:
                    costs[setting.name][name].append(cost)
    return costs


def print_table(costs: Costs, peers: list[str], field: str, base: str) -> None:
    """Print the ratios to `base`: the median over rounds, and its interval of 95%."""
    print(f"\n| {FIELDS[field]}, ratio to {base} | " + " | ".join(costs) + " |")
    print("|---" * (len(costs) + 1) + "|")
    for name in peers:
        cells = [ratio(by_peer[name], by_peer[base], field) for by_peer in costs.values()]
        if name != base:
            print(f"| {name} | " + " | ".join(cells) + " |")


def ratio(of: list[Cost], base: list[Cost], field: str) -> str:
    """Write the median of the ratios within the rounds, and its bootstrap interval of 95%."""
    ratios = np.array(
        [getattr(a, field) / getattr(b, field) for a, b in zip(of, base, strict=True)]
    )
    drawn = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return f"{np.median(ratios):.2f} ({low:.2f} to {high:.2f})"


def print_scale(costs: Costs, every: list[Setting]) -> None:
    """Print what a step costs by itself, to which the first table's ratios refer."""
    print("\n| | " + " | ".join(costs) + " |")
    print("|---" * (len(costs) + 1) + "|")
    medians = (
        statistics.median(cost.thread for cost in costs[setting.name][NOTHING]) / setting.steps
        for setting in every
    )
    print("| nothing, us per step | " + " | ".join(f"{1e6 * x:.0f}" for x in medians) + " |")


def main() -> None:
    """Measure all and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--ours", action="store_true", help="leave out the tools of others")
    options = parser.parse_args()
    logging.disable()  # what a peer has to say about made-up models is not a cost of recording
    every = list(settings(options.steps))
    with tempfile.TemporaryDirectory() as folder:
        peers, missing = find_peers(Path(folder), others=not options.ours)
        costs = measure_all(every, peers, options.rounds)
    print_scale(costs, every)
    for field, base in itertools.product(FIELDS, (EMPTY, NOTHING)):
        print_table(costs, list(peers), field, base)
    for name in missing:
        print(f"\nNot installed, so left out: {name}.")


if __name__ == "__main__":
    main()
