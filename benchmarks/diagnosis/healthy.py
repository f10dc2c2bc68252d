"""15 agents with which nothing is wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from itertools import count
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt

from benchmarks.diagnosis.agents import Case, Play
from benchmarks.diagnosis.faults import approval_graph, ever, failing_node, supervised
from benchmarks.diagnosis.stage import Agent, ServiceError, Stage, State, make_tool, node

__all__ = ["HEALTHY"]

HEALTHY: list[Case] = []
"""The agents, each with what should be said of it."""


def healthy(
    name: str, words: str = "OK UNKNOWN", into: list[Case] = HEALTHY
) -> Callable[[Callable[[Stage], None]], Play]:
    """Register an agent."""

    def register(play: Callable[[Stage], None]) -> Play:
        def run(stage: Stage) -> Collection[str]:
            play(stage)
            return set()

        into.append(Case(name, run, tuple(words.split())))
        return run

    return register


@healthy("long work with one tool")
def long_work(stage: Stage) -> None:
    """12 runs of about 30 commands, all different, and one of 200 files."""
    rng = random.Random(20)
    agent = Agent(("bash",))
    for number in range(13):
        turns = ever("bash")
        length = 200 if number == 6 else rng.randrange(25, 36)
        script = [*(next(turns) for _ in range(length)), "done"]
        agent.run(stage, f"t{number}", script, limit=500)


@healthy("edit and test until it passes")
def edit_test(stage: Stage) -> None:
    """40 runs of 1 to 6 rounds."""
    rng = random.Random(21)
    left = 0

    def run_tests(q: str) -> str:
        nonlocal left
        left -= 1
        return "1 failed" if left else "passed"

    agent = Agent(("open_file", "edit", make_tool("run_tests", run_tests)))
    for number in range(40):
        turns = ever("edit", "run_tests")
        left = min(6, 1 + int(rng.expovariate(0.6)))
        some = [next(turns) for _ in range(2 * left)]
        agent.run(stage, f"t{number}", [("open_file", f"{number}"), *some, "done"])


def answer(state: MessagesState) -> Any:
    """Be a node that answers."""
    return {"messages": [AIMessage("answer")]}


@healthy("chats by interrupts", "OK UNKNOWN WATCH")
def interrupted_chats(stage: Stage) -> None:
    """12 conversations, each of 4 to 14 turns, which wait for the next question at their end."""
    rng = random.Random(22)
    graph = StateGraph(MessagesState)
    graph.add_node("human", lambda state: {"messages": [("user", interrupt("?"))]})
    graph.add_node("bot", answer)
    graph.add_edge(START, "human")
    graph.add_edge("human", "bot")
    graph.add_edge("bot", "human")
    chat = graph.compile(checkpointer=InMemorySaver())
    for number in range(12):
        stage.run(chat, f"t{number}", {"messages": []})
        for turn in range(rng.randrange(4, 15)):
            stage.run(chat, f"t{number}", Command(resume=f"question {turn}"))


@healthy("threads of many turns")
def threads(stage: Stage) -> None:
    """6 threads of 10 questions each, answered with 0 to 3 searches."""
    rng = random.Random(23)
    agent = Agent(("search", "read"), {"checkpointer": InMemorySaver()})
    for number in range(60):
        turns = ever("search", "read")
        script = [*(next(turns) for _ in range(rng.randrange(4))), "done"]
        agent.run(stage, f"t{number % 6}", script)


@healthy("retries that succeed")
def retries(stage: Stage) -> None:
    """In 40 runs a node raises in 30% of its attempts, and is tried again."""
    rng = random.Random(24)

    def fetch(case: dict[str, Any], steps: int) -> None:
        if rng.random() < 0.3:
            raise ServiceError("503")

    policy = RetryPolicy(max_attempts=12, initial_interval=0, jitter=False, retry_on=ServiceError)
    graph = StateGraph(State)
    graph.add_node("plan", node())
    graph.add_node("fetch", node(fetch), retry_policy=policy)
    graph.add_node("answer", node())
    for source, target in zip((START, "plan", "fetch"), ("plan", "fetch", "answer"), strict=True):
        graph.add_edge(source, target)
    compiled = graph.compile()
    for number in range(40):
        stage.case(compiled, f"t{number}")


@healthy("a map over 40 items")
def map_reduce(stage: Stage) -> None:
    """15 runs, each of which sends 40 items to the same node."""
    graph = StateGraph(State)
    graph.add_node("split", node())
    graph.add_node("work", node())
    graph.add_node("merge", node())
    graph.add_edge(START, "split")
    send = [Send("work", {"case": {}, "steps": 0})] * 40
    graph.add_conditional_edges("split", lambda state: send, ["work"])
    graph.add_edge("work", "merge")
    graph.add_edge("merge", END)
    compiled = graph.compile()
    for number in range(15):
        stage.case(compiled, f"t{number}")


@healthy("research in five rounds")
def research(stage: Stage) -> None:
    """30 runs that plan, search and note 5 times."""
    agent = Agent(("plan", "search", "note"))
    for number in range(30):
        turns = ever("plan", "search", "note")
        agent.run(stage, f"t{number}", [*(next(turns) for _ in range(15)), "done"])


@healthy("a team that finishes")
def team(stage: Stage) -> None:
    """30 runs of a supervisor with three workers, of 3 to 9 turns."""
    rng = random.Random(25)
    order = ("researcher", "writer", "critic")
    graph = supervised(lambda case, turn: order[turn % 3] if turn < case["turns"] else END)
    for number in range(30):
        stage.case(graph, f"t{number}", turns=rng.randrange(3, 10))


@healthy("polling until a job is done")
def polling(stage: Stage) -> None:
    """20 runs ask 8 to 15 times, with the same call, and mostly the same answer."""
    rng = random.Random(26)
    left = iter([""])

    def poll(q: str) -> str:
        return next(left)

    agent = Agent(("start_job", make_tool("poll", poll), "fetch_result"))
    for number in range(20):
        times = rng.randrange(8, 16)
        left = iter(["running"] * (times - 1) + ["done"])
        script = [("start_job", "x"), *[("poll", "job")] * times, ("fetch_result", "x"), "done"]
        agent.run(stage, f"t{number}", script)


@healthy("approvals that are given")
def approvals(stage: Stage) -> None:
    """20 runs that a person lets go on."""
    graph = approval_graph()
    for number in range(20):
        stage.case(graph, f"t{number}")
        stage.run(graph, f"t{number}", Command(resume="yes"))


@healthy("parallel tools")
def parallel(stage: Stage) -> None:
    """30 runs that search and read side by side 1 to 4 times."""
    rng = random.Random(27)
    agent = Agent(("search", "read"))
    for number in range(30):
        turns = ([("search", f"{n}"), ("read", f"{n}")] for n in count())
        agent.run(stage, f"t{number}", [*(next(turns) for _ in range(rng.randrange(1, 5))), "done"])


@healthy("short questions, 3% of which fail at random", "OK WATCH")
def questions(stage: Stage) -> None:
    """3 of 100 runs fail."""
    graph = failing_node(graph_nodes=("retrieve", "answer"), failing="answer")
    for number in range(100):
        stage.case(graph, f"t{number}", fails=number in (13, 48, 77))


@healthy("two kinds of tasks with different tools")
def two_kinds(stage: Stage) -> None:
    """60 runs, of which half look up and refund, and half search and read."""
    rng = random.Random(28)
    agent = Agent(("lookup", "refund", "search", "read"))
    for number in range(60):
        turns = ever("search", "read") if rng.random() < 0.5 else ever("lookup", "refund")
        agent.run(stage, f"t{number}", [*(next(turns) for _ in range(rng.randrange(2, 7))), "done"])


@healthy("agents three deep")
def deep(stage: Stage) -> None:
    """20 runs of a graph in a graph in a graph."""

    def line(names: tuple[str, ...], inner: Any = None) -> Any:
        graph = StateGraph(State)
        graph.add_sequence([(name, inner if name == "inner" else node()) for name in names])
        graph.add_edge(START, names[0])
        return graph.compile()

    deepest = line(("search", "read", "rank"))
    graph = line(("intake", "inner", "report"), line(("plan", "inner", "check"), deepest))
    for number in range(20):
        stage.case(graph, f"t{number}")


@healthy("three rounds of reflection")
def reflection(stage: Stage) -> None:
    """30 runs that draft and criticise exactly three times."""
    graph = StateGraph(State)
    graph.add_node("draft", node())
    graph.add_node("criticise", node())
    graph.add_edge(START, "draft")
    graph.add_edge("draft", "criticise")
    graph.add_conditional_edges(
        "criticise", lambda state: END if state["steps"] >= 6 else "draft", ["draft", END]
    )
    compiled = graph.compile()
    for number in range(30):
        stage.case(compiled, f"t{number}")
