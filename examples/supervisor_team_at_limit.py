"""A supervisor sends a draft to a writer and a critic who never agree; and what is said.

In 6 of 40 runs the critic is never content, and the team works until it hits its recursion limit.
"""

import random
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, StateGraph

from detailed_balance import analyze
from detailed_balance.callbacks import TransitionCallbackHandler


class Work(TypedDict):
    """What the team works on."""

    task: str
    sources: int
    drafts: int
    reviews: int


def supervisor(state):
    """Change nothing; `choose` says who is next."""
    return {}


def researcher(state):
    """Find a source."""
    return {"sources": state["sources"] + 1}


def writer(state):
    """Write another draft."""
    return {"drafts": state["drafts"] + 1}


def critic(state):
    """Read the last draft."""
    return {"reviews": state["reviews"] + 1}


def choose(state):
    """Send for two sources, then for drafts and reviews in turn, until the critic is content."""
    if state["sources"] < 2:
        return "researcher"
    if state["reviews"] < state["drafts"]:
        return "critic"
    content = state["reviews"] and "poem" not in state["task"] and rng.random() < 0.5
    return END if content else "writer"


rng = random.Random(1)
graph = StateGraph(Work)
graph.add_node(supervisor)
graph.add_edge(START, "supervisor")
graph.add_conditional_edges("supervisor", choose, ["researcher", "writer", "critic", END])
for worker in (researcher, writer, critic):
    graph.add_node(worker)
    graph.add_edge(worker.__name__, "supervisor")
team = graph.compile()

Path("team.db").unlink(missing_ok=True)
handler = TransitionCallbackHandler(store="sqlite:///team.db")
for number in range(40):
    task = "poem" if number % 7 == 3 else "letter"
    config = {"callbacks": [handler], "recursion_limit": 50}
    config["configurable"] = {"thread_id": f"{task}-{number}"}
    with suppress(GraphRecursionError):
        team.invoke({"task": task, "sources": 0, "drafts": 0, "reviews": 0}, config)
handler.close()
print(analyze("team.db").verdict)
