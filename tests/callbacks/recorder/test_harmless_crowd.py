"""Many agents at once, with faults everywhere: what is recorded is what each of them did.

Each agent has a plan that says which nodes it visits and what goes wrong there, so its moves are
known beforehand. ``DETAILED_BALANCE_TEST_AGENTS=1000`` runs a larger crowd.
"""

import asyncio
import os
import random
from typing import TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt

from detailed_balance.callbacks import TransitionCallbackHandler, TransitionStore
from tests.callbacks.store.test_store import file_url
from tests.support.agents import Walks, path, thread

AGENTS = int(os.environ.get("DETAILED_BALANCE_TEST_AGENTS", "100"))
NODES = "abc"
KINDS = ["passes", "passes", "is retried", "is interrupted", "has no name"]
RETRY = RetryPolicy(initial_interval=0.0, jitter=False, retry_on=TimeoutError)


class State(TypedDict):
    plan: list
    done: int


def make_plan(seed):
    """Return what an agent is to do: (node, kind) of each step; only the last may fail."""
    chance = random.Random(seed)
    nodes = [NODES[0], *chance.choices(NODES, k=chance.randint(0, 11))]
    plan = [(node, chance.choice(KINDS)) for node in nodes]
    return [*plan, (nodes[0], "fails")] if chance.random() < 0.3 else plan


def expected_moves(plan):
    """Return the moves of a plan, by hand: each fault is an escape from the last state."""
    states = [START]
    for node, kind in plan:
        states += {"is retried": [None, node], "has no name": [None], "fails": [None]}.get(
            kind, [node]
        )
    return path(*states, *([] if plan[-1][1] == "fails" else [END]))


def count_records(plan):
    """Return how many moves, and how many ends of runs, a plan leads to."""
    return len(expected_moves(plan)) + 1 + sum(kind == "is interrupted" for _, kind in plan)


def build(tried):
    """Return the agent that does what its plan says; `tried` holds the steps tried before."""

    async def work(state, config):
        await asyncio.sleep(0)
        kind = state["plan"][state["done"]][1]
        attempt = (config["configurable"]["thread_id"], state["done"])
        if kind == "is interrupted":
            interrupt("go on?")
        if kind == "is retried" and attempt not in tried:
            tried.add(attempt)
            raise TimeoutError("try again")
        if kind == "fails":
            raise ValueError("boom")
        return {"done": state["done"] + 1}

    def choose(state):
        return state["plan"][state["done"]][0] if state["done"] < len(state["plan"]) else END

    graph = StateGraph(State)
    for node in NODES:
        graph.add_node(node, work, retry_policy=RETRY)
        graph.add_conditional_edges(node, choose, [*NODES, END])
    graph.add_edge(START, NODES[0])
    return graph.compile(checkpointer=InMemorySaver())


async def live(agent, name, plan, callbacks):
    """Run one agent to its end, resuming it whenever it is interrupted."""
    config = {"callbacks": callbacks, **thread(name)}
    given = {"plan": plan, "done": 0}
    while True:
        try:
            found = await agent.ainvoke(given, config)
        except ValueError as error:
            return repr(error)
        if "__interrupt__" not in found:
            return found["done"]
        given = Command(resume="yes")


async def live_all(plans, callbacks):
    agent = build(set())
    return await asyncio.gather(
        *(live(agent, name, plan, callbacks) for name, plan in plans.items())
    )


class Faulty(TransitionStore):
    """A store whose database fails now and then."""

    def __init__(self, url):
        self.chance = random.Random(7)
        self.failed = self.written = 0
        super().__init__(url)

    def _write(self, batches, refused=None):
        if self.chance.random() < 0.3:
            self.failed += 1
            raise OSError("no database now")
        super()._write(batches, refused)
        self.written += sum(len(batch.records) for batch in batches)


async def test_a_crowd_with_faults_everywhere_is_recorded_as_it_was(tmp_path, caplog):
    plans = {f"agent {i}": make_plan(i) for i in range(AGENTS)}
    truth = {name: expected_moves(plan) for name, plan in plans.items()}
    nameless = 0

    def states(run):
        nonlocal nameless
        plan = plans[run.metadata["thread_id"]]
        if plan[run.output["done"] - 1][1] == "has no name":
            nameless += 1
            raise KeyError("no name for this")
        return run.name

    store = Faulty(file_url(tmp_path))
    handler = TransitionCallbackHandler(states, graph=Walks(), store=store)
    flushing = asyncio.create_task(flush_often(store))
    found = await live_all(plans, [handler])
    flushing.cancel()
    while store.waiting or store.spooled:
        store.flush()

    assert found == await live_all(plans, [])
    assert handler.graph.walks == truth
    assert handler.faults == nameless
    assert len(handler._runs) == 0
    assert nameless == sum(kind == "has no name" for plan in plans.values() for _, kind in plan)
    assert store.failed > 0
    assert store.lost == 0
    assert len(store.runs()) == AGENTS
    assert len(store) + len(store.endings()) + AGENTS == store.written
    assert store.written == sum(map(count_records, plans.values())) + AGENTS
    for name, moves in truth.items():
        kept = [(move.source, move.target) for move in store.read(trajectory=name)]
        assert kept == moves, name
    assert len([r for r in caplog.records if r.name == "detailed_balance"]) == 2
    store.close()


async def flush_often(store):
    """Make many small batches of what would be few, so that many of them fail."""
    while True:
        await asyncio.to_thread(store.flush)
        await asyncio.sleep(0.01)
