"""What it costs to run inline, and not to hide completion models from other handlers.

Ways to be called by ``AsyncCallbackManager``, each on the same async agent, a loop of nodes that
ask a completion model: always inline, as ``run_inline = True`` says, by which others do not hear of
the model; inline but where that hides it, as the handler is; never inline, by a thread; and hooks
that are coroutines. Run it with ``python -m benchmarks.recording.inline [--rounds 30]``; it prints
the median of the CPU time of a step that each way adds to an agent without a handler, and whether
another handler hears of the model.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any, TypedDict

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.language_models import FakeListLLM
from langgraph.graph import START, StateGraph

from detailed_balance.callbacks import TransitionCallbackHandler

STEPS = 100


class Count(TypedDict):
    """The state of the agent."""

    n: int


class AlwaysInline(TransitionCallbackHandler):
    """Inline, whoever does not hear."""

    run_inline = True


class NeverInline(TransitionCallbackHandler):
    """By a thread."""

    run_inline = False


def _as_coroutine(name: str) -> Callable[..., Any]:
    hook = getattr(TransitionCallbackHandler, name)

    async def awaited(self: Any, *args: Any, **kwargs: Any) -> None:
        hook(self, *args, **kwargs)

    return awaited


_HOOKS = [name for name in dir(BaseCallbackHandler) if name.startswith("on_")]
_OWN = [name for name in _HOOKS if name in vars(TransitionCallbackHandler)]
Awaited = type(
    "Awaited", (NeverInline,), {"run_inline": False} | {name: _as_coroutine(name) for name in _OWN}
)

WAYS: dict[str, Callable[[], Any] | None] = {
    "no handler": None,
    "always inline": AlwaysInline,
    "inline where nobody is hidden": TransitionCallbackHandler,
    "never inline": NeverInline,
    "coroutines": Awaited,
}


class Listener(AsyncCallbackHandler):
    """Counts the models that it hears of."""

    def __init__(self) -> None:
        self.heard = 0

    async def on_llm_start(self, *args: Any, **kwargs: Any) -> None:
        """Count."""
        self.heard += 1


def build_agent() -> Any:
    """Return a loop of nodes that ask a completion model."""
    model = FakeListLLM(responses=["yes"])

    async def ask(state: Count) -> Count:
        await model.ainvoke("hello")
        return {"n": state["n"] + 1}

    graph = StateGraph(Count).add_node("ask", ask).add_edge(START, "ask")
    graph.add_conditional_edges("ask", lambda state: "ask" if state["n"] < STEPS else "__end__")
    return graph.compile()


async def time_steps(agent: Any, handlers: list[Any]) -> float:
    """Return the microseconds of a step of one run."""
    start = time.process_time()
    await agent.ainvoke({"n": 0}, {"callbacks": handlers, "recursion_limit": 10 * STEPS})
    return 1e6 * (time.process_time() - start) / STEPS


async def _measure(rounds: int) -> None:
    agent = build_agent()
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, make in WAYS.items():
            times[name].append(await time_steps(agent, [make()] if make else []))
    print("| called | us a step, added | another handler hears of models |")
    print("|---|---|---|")
    bare = statistics.median(times["no handler"])
    for name, make in WAYS.items():
        listener = Listener()
        await time_steps(agent, [*([make()] if make else []), listener])
        added = statistics.median(times[name]) - bare
        print(f"| {name} | {added:.0f} | {listener.heard} of {STEPS} |")
    print(f"\nwithout a handler a step takes {bare:.0f} us")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    asyncio.run(_measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
