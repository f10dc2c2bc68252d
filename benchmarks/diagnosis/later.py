"""Ten faulty and five healthy agents that were made when the diagnosis was finished."""

from __future__ import annotations

import random
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from itertools import count, cycle
from typing import Any

from langchain.agents.middleware import SummarizationMiddleware
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt

from benchmarks.diagnosis.agents import Case
from benchmarks.diagnosis.faults import ever, failing_node, fault
from benchmarks.diagnosis.healthy import healthy
from benchmarks.diagnosis.stage import (
    Agent,
    ScriptedModel,
    ServiceError,
    Stage,
    State,
    make_tool,
    node,
)

__all__ = ["LATER_FAULTS", "LATER_HEALTHY"]

LATER_FAULTS: list[Case] = []
LATER_HEALTHY: list[Case] = []

later_fault = partial(fault, into=LATER_FAULTS)
later_healthy = partial(healthy, into=LATER_HEALTHY)


def line(*nodes: tuple[str, Any], **settings: Any) -> Any:
    """Return a line of nodes."""
    graph = StateGraph(State)
    graph.add_sequence(list(nodes))
    graph.add_edge(START, nodes[0][0])
    return graph.compile(**settings)


@later_fault("the same question to a tool that knows nothing", "repetition failure", "get_user")
def not_found(stage: Stage) -> Collection[str]:
    """9 of 60 runs ask 7 times for a user who is not there, and give up; they are judged."""
    agent = Agent((make_tool("get_user", lambda q: "none" if q == "?" else "a user"), "mail"))
    bad = {f"t{number}" for number in range(60) if number % 7 == 5 or number == 59}
    for number in range(60):
        key = f"t{number}"
        asked = [("get_user", "?")] * 7 if key in bad else [("get_user", key), ("mail", key)]
        agent.run(stage, key, [*asked, "done"])
        stage.judged[key] = key not in bad
    return bad


@later_fault("a cheaper model fails more", "failure", "", "plan", "answer", words="PROBLEM WATCH")
def cheaper_model(stage: Stage) -> Collection[str]:
    """Of 80 runs every second is of version mini, of which 40% fail; of the others 2%."""
    rng = random.Random(31)
    graph, bad = failing_node(graph_nodes=("plan", "answer"), failing="answer"), set()
    for number in range(80):
        mini = number % 2 == 1
        fails = rng.random() < (0.4 if mini else 0.02)
        bad |= {f"t{number}"} if fails else set()
        version = {"version": "mini" if mini else "large"}
        given = {"case": {"fails": fails}, "steps": 0}
        stage.run(graph, f"t{number}", given, metadata=version)
    return bad


@later_fault("four agents that hand over in a ring", "limit", "ann bea cid dan")
def ring(stage: Stage) -> Collection[str]:
    """3 of 25 runs go round; the others end with the second or third agent."""
    names = ("ann", "bea", "cid", "dan")
    graph = StateGraph(State)

    def hand_over(case: dict[str, Any], steps: int) -> Any:
        follows = names[(steps + 1) % 4] if steps < case["turns"] else END
        return Command(goto=follows, update={"steps": 1})

    for name in names:
        graph.add_node(name, node(hand_over), destinations=(*names, END))
    graph.add_edge(START, "ann")
    compiled, bad = graph.compile(), {"t6", "t15", "t24"}
    for number in range(25):
        key = f"t{number}"
        stage.case(compiled, key, turns=1_000 if key in bad else 1 + number % 2, limit=50)
    return bad


@later_fault("two graphs down, a limit that is caught", "limit", "search")
def deep_limit(stage: Stage) -> Collection[str]:
    """In 5 of 30 runs the innermost of three graphs hits its limit, and nobody is told."""
    inner = Agent(("search",), {"name": "searcher"})
    agent = inner.graph.with_config(recursion_limit=24)

    def work(state: State) -> Any:
        with suppress(RecursionError):
            agent.invoke({"messages": [("user", "please")]})
        return {"steps": 1}

    middle = line(("plan", node()), ("work", work))
    graph = line(("intake", node()), ("team", middle), ("report", node()))
    bad = {f"t{number}" for number in range(30) if number % 6 == 1}
    for number in range(30):
        key, turns = f"t{number}", ever("search")
        inner.model.script = turns if key in bad else iter([next(turns), "found"])
        stage.case(graph, key)
    return bad


@later_fault("a fault that came and went", "limit", "read write")
def came_and_went(stage: Stage) -> Collection[str]:
    """Of 90 runs 10 of the middle 30 go back and forth to the limit."""
    rng = random.Random(32)
    agent = Agent(("read", "write"))
    bad = {f"t{number}" for number in range(30, 60) if number % 3 == 1}
    for number in range(90):
        turns, key = ever("read", "write"), f"t{number}"
        some = [next(turns) for _ in range(rng.randrange(1, 6))]
        agent.run(stage, key, turns if key in bad else [*some, "done"])
    return bad


@later_fault("more and more attempts", "drift", words="PROBLEM WATCH")
def more_attempts(stage: Stage) -> Collection[str]:
    """From the 41st of 80 runs on a node needs 4 to 7 attempts, where it needed 1 or 2."""
    rng = random.Random(33)
    left = [0]

    def fetch(case: dict[str, Any], steps: int) -> None:
        left[0] -= 1
        if left[0] > 0:
            raise ServiceError("503")

    policy = RetryPolicy(max_attempts=9, initial_interval=0, jitter=False, retry_on=ServiceError)
    graph = StateGraph(State)
    graph.add_node("plan", node())
    graph.add_node("fetch", node(fetch), retry_policy=policy)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "fetch")
    graph.add_edge("fetch", END)
    compiled = graph.compile()
    for number in range(80):
        left[0] = rng.randrange(4, 8) if number >= 40 else rng.randrange(1, 3)
        stage.case(compiled, f"t{number}")
    return {f"t{number}" for number in range(40, 80)}


@later_fault("streams that are dropped", "failure loss", "search", words="PROBLEM WATCH")
def dropped(stage: Stage) -> Collection[str]:
    """In 10 of 40 runs nobody listens to the end after the first search."""
    agent = Agent(("search", "read"))
    bad = {f"t{number}" for number in range(40) if number % 4 == 3}
    for number in range(40):
        key = f"t{number}"
        agent.model.script = iter([("search", key), ("read", key), "done"])
        stream = agent.graph.stream({"messages": [("user", "please")]}, stage.config(key))
        for place, _ in enumerate(stream):
            if key in bad and place == 2:
                break
        stream.close()
    return bad


@later_fault(
    "the right steps in the wrong order", "failure", "login pay", "login verify", "pay verify"
)
def wrong_order(stage: Stage) -> Collection[str]:
    """All 80 runs end; the 20 that pay before they verify are judged unsuccessful."""
    agent = Agent(("login", "verify", "pay"))
    bad = {f"t{number}" for number in range(80) if number % 4 == 2}
    for number in range(80):
        key = f"t{number}"
        order = ("login", "pay", "verify") if key in bad else ("login", "verify", "pay")
        agent.run(stage, key, [*((name, key) for name in order), "done"])
        stage.judged[key] = key not in bad
    return bad


@later_fault(
    "drafts that a person rejects again and again", "failure repetition", "draft review", "review",
    "draft", words="PROBLEM WATCH",
)  # fmt: skip
def rejected(stage: Stage) -> Collection[str]:
    """In 6 of 30 runs a person asks 9 times for another draft; then they are given up."""
    graph = StateGraph(State)
    graph.add_node("draft", node())
    graph.add_node(
        "review", lambda state: Command(goto=interrupt("good?")), destinations=("draft", END)
    )
    graph.add_edge(START, "draft")
    graph.add_edge("draft", "review")
    app = graph.compile(checkpointer=InMemorySaver())
    bad = {f"t{number}" for number in range(30) if number % 5 == 2}
    for number in range(30):
        key = f"t{number}"
        stage.case(app, key)
        for _ in range(9 if key in bad else number % 3):
            stage.run(app, key, Command(resume="draft"))
        stage.run(app, key, Command(resume=END))
        stage.judged[key] = key not in bad
    return bad


@later_fault("nothing works since the deployment", "failure", "", words="PROBLEM")
def all_fail(stage: Stage) -> Collection[str]:
    """Of 50 runs the last 30 raise at their first step."""
    graph = failing_node(graph_nodes=("connect", "answer"), failing="connect")
    for number in range(50):
        stage.case(graph, f"t{number}", fails=number >= 20)
    return {f"t{number}" for number in range(20, 50)}


@later_healthy("three rounds of branches side by side")
def branches(stage: Stage) -> None:
    """20 runs that think along three branches, judge them, and go on with the best."""
    graph = StateGraph(State)
    graph.add_node("think", node())
    graph.add_node("judge", node())
    send = [Send("think", {"case": {}, "steps": 0})] * 3
    graph.add_conditional_edges(START, lambda state: send, ["think"])
    graph.add_edge("think", "judge")
    graph.add_conditional_edges(
        "judge", lambda state: END if state["steps"] >= 12 else send, ["think", END]
    )
    compiled = graph.compile()
    for number in range(20):
        stage.case(compiled, f"t{number}")


@later_healthy("long work with summaries")
def summaries(stage: Stage) -> None:
    """15 runs of 20 to 40 calls of four tools, whose history is summed up on the way."""
    rng = random.Random(34)
    model = ScriptedModel(script=cycle(["so far so good"]))
    summary = SummarizationMiddleware(model, trigger=("messages", 12), keep=("messages", 4))
    tools = ("read", "search", "edit", "test")
    agent = Agent(tools, {"middleware": [summary]})
    for number in range(15):
        turns = [(rng.choice(tools), f"{turn}") for turn in range(rng.randrange(20, 41))]
        agent.run(stage, f"t{number}", [*turns, "done"], limit=300)


@later_healthy("two prompts of which one is wordier")
def two_prompts(stage: Stage) -> None:
    """60 runs, by turns of two versions, of which one takes two steps more."""
    agent = Agent(("search", "read", "check"))
    for number in range(60):
        more = [("check", "a"), ("check", "b")] if number % 2 else []
        turns = [("search", f"{number}")] * (1 + number % 3) + [("read", "x"), *more, "done"]
        version = {"version": "wordy" if number % 2 else "terse"}
        agent.run(stage, f"t{number}", turns, metadata=version)


@later_healthy("longer questions in the evening")
def evenings(stage: Stage) -> None:
    """80 runs, of which ten by turns have one or two steps and ten two to four."""
    rng = random.Random(35)
    agent = Agent(("search",))
    for number in range(80):
        turns = ever("search")
        steps = rng.randrange(2, 5) if number // 10 % 2 else rng.randrange(1, 3)
        agent.run(stage, f"t{number}", [*(next(turns) for _ in range(steps)), "done"])


@later_healthy("waiting for jobs, two of which break off", "OK UNKNOWN WATCH")
def jobs(stage: Stage) -> None:
    """60 runs ask 2 to 25 times whether a job is done; the connection breaks in two of them."""
    rng = random.Random(36)
    numbers = count()

    def poll(q: str) -> str:
        if q == "broken" and next(numbers) % 6 == 5:
            raise ServiceError("connection reset")
        return "running"

    agent = Agent(("start_job", make_tool("poll", poll), "fetch_result"))
    for number in range(60):
        job = "broken" if number in (22, 47) else "job"
        polls = [("poll", job)] * min(25, 2 + int(rng.expovariate(0.2)) + 6 * (job == "broken"))
        script = [("start_job", "x"), *polls, ("fetch_result", "x"), "done"]
        agent.run(stage, f"t{number}", script)
