"""An agent stuck in a loop whose arguments vary a little, and the steps that a guard saves."""

import random

from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from detailed_balance.analyzers import START, RunGuard, Trajectory
from detailed_balance.callbacks import RunGuardMiddleware
from detailed_balance.callbacks.middleware import action_path

LIMIT = 300  # LangGraph's own is 10,007 steps; this keeps the example short
rng = random.Random(1)


def search(query: str) -> str:
    """Search the web."""
    return f"nothing about {query}"


def read(page: str) -> str:
    """Read a page."""
    return f"{page} says what it always said"


class ScriptedModel(GenericFakeChatModel):
    """Stands in for a real model, so that this file runs offline; use "openai:gpt-4o" and such."""

    def bind_tools(self, tools, **kwargs):
        """Ignore the tools; the script names them."""
        return self


def script(stuck):
    """Search and read, a few times or for ever; no two calls are the same."""
    rounds = LIMIT if stuck else rng.choice([1, 1, 2, 2, 3, 4])
    for turn in range(rounds):
        for name, argument in (("search", "query"), ("read", "page")):
            call = {"name": name, "args": {argument: f"attempt {turn}"}, "id": f"{name}-{turn}"}
            yield AIMessage("", tool_calls=[call])
    yield AIMessage("done")


def ask(stuck, middleware=(), limit=LIMIT):
    """Run the agent until it answers, is stopped, or has used up its steps."""
    model = ScriptedModel(messages=script(stuck))
    agent = create_agent(model, [search, read], middleware=middleware)
    messages = []
    try:
        for state in agent.stream(
            {"messages": [("user", "When was it founded?")]},
            {"recursion_limit": limit},
            stream_mode="values",
        ):
            messages = state["messages"]
    except RecursionError:
        pass
    return messages


def record(stuck):
    """Return one run as the recorder would store it, with its outcome."""
    states = action_path(ask(stuck, limit=80))  # 40 tool calls: a person gave up on it then
    return Trajectory(tuple(zip([START, *states], states, strict=False)), success=not stuck)


def same_call_three_times(messages):
    """Return the calls until one comes three times in a row, arguments and all."""
    calls = [
        (call["name"], call["args"]) for m in messages for call in getattr(m, "tool_calls", ())
    ]
    repeats = [i for i in range(2, len(calls)) if calls[i - 2] == calls[i - 1] == calls[i]]
    return repeats[0] + 1 if repeats else len(action_path(messages))


# Fit on runs whose outcome is known: the successful ones repeat themselves too, up to a point.
guard = RunGuard.fit([record(stuck=i % 5 == 0) for i in range(50)], alpha=0.1)
print(guard.promise)

alone = ask(stuck=True)
guarded = ask(stuck=True, middleware=[RunGuardMiddleware(guard, on_stop="end")])

print(f"\n{'stopped by':<24}  tool calls")
print(f"{'no guard':<24}  {len(action_path(alone))}")
print(f"{'same call three times':<24}  {same_call_three_times(alone)}")
print(f"{'the guard':<24}  {len(action_path(guarded)) - 1}")
print(f"\n{guarded[-1].content}")
