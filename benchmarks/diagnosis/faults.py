"""30 agents with which something is wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from itertools import count, cycle
from typing import Any

from langchain.agents.middleware import (
    ModelCallLimitMiddleware,
    SummarizationMiddleware,
    ToolCallLimitMiddleware,
)
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt
from pydantic import BaseModel

from benchmarks.diagnosis.agents import Case, Play
from benchmarks.diagnosis.stage import (
    Agent,
    ScriptedModel,
    ServiceError,
    Stage,
    State,
    Turn,
    call,
    make_tool,
    node,
    refuse,
    tokens,
)
from detailed_balance.callbacks import ActionStates, NodeRun

__all__ = ["FAULTS"]

DAY = 86_400.0

FAULTS: list[Case] = []
"""The agents, each with what should be said of it."""


def fault(
    name: str,
    kinds: str,
    *places: str,
    words: str = "PROBLEM",
    states: Any = None,
    into: list[Case] = FAULTS,
) -> Callable[[Play], Play]:
    """Register an agent: alternatives for kinds and words stand side by side."""

    def register(play: Play) -> Play:
        where = tuple(frozenset(place.split()) for place in places or ("",))
        right = tuple(words.split()), tuple(kinds.split()), where
        into.append(Case(name, play, *right, states or ActionStates()))
        return play

    return register


def ever(*names: str) -> Iterator[Turn]:
    """Yield calls of tools in turn, for ever, each with an argument of its own."""
    for number, name in zip(count(), cycle(names), strict=False):
        yield name, f"attempt {number}"


def bounce(visits: int) -> Iterator[Turn]:
    """Yield a support agent's turns: order and policy in turn, with the same arguments."""
    for visit in range(visits):
        yield ("lookup_order", "7") if visit % 2 == 0 else ("check_policy", "returns")
    yield "done"


@fault("one tool for ever", "limit", "save_memory")
def one_tool(stage: Stage) -> Collection[str]:
    """One run calls one tool, with other arguments each time, to the limit."""
    Agent(("save_memory",)).run(stage, "t0", ever("save_memory"))
    return {"t0"}


@fault("a tool that does not exist, for ever", "limit", "hex!unknown")
def unknown_tool(stage: Stage) -> Collection[str]:
    """One run asks for a tool that nobody has."""
    Agent(("search",)).run(stage, "t0", ever("hex"))
    return {"t0"}


class Invoice(BaseModel):
    """A schema that the model never meets."""

    total: float


@fault("a schema that is never met", "limit", "Invoice!invalid")
def schema_never_met(stage: Stage) -> Collection[str]:
    """One run answers in a structure that is wrong, to the limit."""
    agent = Agent(("search",), {"response_format": ToolStrategy(Invoice)})
    agent.run(stage, "t0", ever("Invoice"))
    return {"t0"}


@fault("a tool that reports an error, for ever", "limit", "query_database")
def tool_error(stage: Stage) -> Collection[str]:
    """One run repeats a call that fails."""
    Agent((make_tool("query_database", refuse),)).run(stage, "t0", cycle([("query_database", "x")]))
    return {"t0"}


@fault("two tools in turn, in some of 100 runs", "repetition failure", "lookup_order check_policy")
def two_tools(stage: Stage) -> Collection[str]:
    """12 of 100 runs go back and forth with the same arguments; they are judged."""
    rng = random.Random(1)
    agent, bad = Agent(("lookup_order", "check_policy", "refund")), set()
    for number in range(100):
        key = f"t{number}"
        if number % 8 == 3:
            bad.add(key)
            agent.run(stage, key, bounce(rng.randrange(16, 26)))
        else:
            turns = list(bounce(rng.randrange(1, 4)))
            agent.run(stage, key, [*turns[:-1], ("refund", "7"), turns[-1]])
        stage.judged[key] = key not in bad
    return bad


@fault("three tools in turn, to the limit", "limit", "search read note")
def three_tools(stage: Stage) -> Collection[str]:
    """3 of 20 runs go round."""
    rng = random.Random(2)
    agent, bad = Agent(("search", "read", "note")), set()
    for number in range(20):
        key = f"t{number}"
        if number % 7 == 2:
            bad.add(key)
            agent.run(stage, key, ever("search", "read", "note"))
        else:
            turns = ever("search", "read", "note")
            agent.run(stage, key, [*(next(turns) for _ in range(rng.randrange(2, 7))), "done"])
    return bad


def supervised(next_worker: Callable[[dict[str, Any], int], str]) -> Any:
    """Return a supervisor with three workers."""
    graph = StateGraph(State)
    graph.add_node("supervisor", node())
    for name in ("researcher", "writer", "critic"):
        graph.add_node(name, node())
        graph.add_edge(name, "supervisor")
    graph.add_edge(START, "supervisor")
    graph.add_conditional_edges(
        "supervisor",
        lambda state: next_worker(state["case"], state["steps"] // 2),
        ["researcher", "writer", "critic", END],
    )
    return graph.compile()


@fault(
    "a team that goes round its supervisor, to the limit",
    "limit",
    "researcher writer",
    "supervisor researcher writer",
)
def hub(stage: Stage) -> Collection[str]:
    """4 of 30 runs send the draft back and forth."""
    rng = random.Random(3)
    order = ("researcher", "writer", "critic")
    team = supervised(
        lambda case, turn: order[turn % case["round"]] if turn < case["turns"] else END
    )
    bad = {f"t{number}" for number in (5, 11, 20, 28)}
    for number in range(30):
        key = f"t{number}"
        stuck = {"round": 2, "turns": 1_000} if key in bad else {}
        stage.case(team, key, **({"round": 3, "turns": rng.randrange(2, 5)} | stuck))
    return bad


@fault("two agents that hand over to each other, to the limit", "limit", "alice bob")
def handoff(stage: Stage) -> Collection[str]:
    """One run of two agents, each of which hands over."""
    graph = StateGraph(State)
    for name, other in (("alice", "bob"), ("bob", "alice")):
        graph.add_node(
            name,
            node(lambda case, steps, other=other: Command(goto=other, update={"steps": 1})),
            destinations=(other,),
        )
    graph.add_edge(START, "alice")
    stage.case(graph.compile(), "t0", limit=25)
    return {"t0"}


def nested(catch: bool) -> tuple[Any, ScriptedModel]:
    """Return a graph in which a researcher with a limit of its own works, and its model."""
    inner = Agent(("search",), {"name": "researcher"})
    agent = inner.graph.with_config(recursion_limit=20)

    def research(state: State) -> Any:
        with suppress(*([RecursionError] if catch else [])):
            agent.invoke({"messages": [("user", "please")]})
        return {"steps": 1}

    graph = StateGraph(State)
    graph.add_sequence([("intake", node()), ("research", research), ("report", node())])
    graph.add_edge(START, "intake")
    return graph.compile(), inner.model


def play_nested(stage: Stage, *, catch: bool) -> Collection[str]:
    """Play 20 runs of an outer graph, in 4 of which the inner agent does not stop."""
    graph, model = nested(catch)
    bad = {f"t{number}" for number in (4, 9, 13, 19)}
    for number in range(20):
        key = f"t{number}"
        turns = ever("search")
        model.script = turns if key in bad else iter([next(turns), next(turns), "found"])
        stage.case(graph, key)
    return bad


@fault("an inner agent at its limit, the outer one fails", "limit", "search", "research")
def inner_limit(stage: Stage) -> Collection[str]:
    """4 of 20 runs."""
    return play_nested(stage, catch=False)


@fault("an inner agent at its limit, the outer one goes on", "limit", "search", "research")
def inner_limit_caught(stage: Stage) -> Collection[str]:
    """4 of 20 runs, all of which end."""
    return play_nested(stage, catch=True)


@fault("a loop in 1 of 50 runs", "limit repetition", "search read")
def one_of_fifty(stage: Stage) -> Collection[str]:
    """One run goes back and forth to the limit."""
    rng = random.Random(4)
    agent = Agent(("search", "read"))
    for number in range(50):
        turns = ever("search", "read")
        some = [*(next(turns) for _ in range(rng.randrange(1, 7))), "done"]
        agent.run(stage, f"t{number}", turns if number == 31 else some)
    return {"t31"}


def failing_node(*, graph_nodes: tuple[str, ...], failing: str, **settings: Any) -> Any:
    """Return a line of nodes, one of which raises where the case says so."""

    def raise_error(case: dict[str, Any], steps: int) -> None:
        if case["fails"]:
            raise ServiceError("503")

    graph = StateGraph(State)
    for name in graph_nodes:
        more = settings if name == failing else {}
        graph.add_node(name, node(raise_error) if name == failing else node(), **more)
    for source, target in zip((START, *graph_nodes), (*graph_nodes, END), strict=True):
        graph.add_edge(source, target)
    return graph.compile()


@fault(
    "more and more runs fail", "drift failure", "", "fetch", "answer", "fetch answer",
    words="PROBLEM WATCH",
)  # fmt: skip
def failures_grow(stage: Stage) -> Collection[str]:
    """Of 120 runs 2% fail at first, and 50% at the end."""
    rng = random.Random(5)
    graph, bad = failing_node(graph_nodes=("fetch", "answer"), failing="answer"), set()
    for number in range(120):
        fails = rng.random() < 0.02 + 0.48 * number / 120
        bad |= {f"t{number}"} if fails else set()
        stage.case(graph, f"t{number}", fails=fails)
    return bad


@fault("tokens doubled half-way", "drift", words="PROBLEM WATCH")
def cost_doubled(stage: Stage) -> Collection[str]:
    """Of 60 runs the last 30 take twice as many tokens for the same steps."""
    rng = random.Random(6)
    agent = Agent(("search", "read"))
    for number in range(60):
        dear = 2 if number >= 30 else 1
        turns = [
            call((name, f"{number}.{turn}"), **tokens(dear * rng.randrange(900, 1_300)))
            for turn, name in enumerate(["search", "read"] * rng.randrange(1, 3))
        ]
        agent.run(stage, f"t{number}", [*turns, AIMessage("done", **tokens(dear * 500))])
    return {f"t{number}" for number in range(30, 60)}


@fault("runs twice as long half-way", "drift", "", "search", "read", words="PROBLEM WATCH")
def length_doubled(stage: Stage) -> Collection[str]:
    """Of 60 runs the last 30 search and read twice as much."""
    rng = random.Random(7)
    agent = Agent(("search", "read"))
    for number in range(60):
        turns = ever("search", "read")
        length = rng.randrange(2, 6) * (2 if number >= 30 else 1)
        agent.run(stage, f"t{number}", [*(next(turns) for _ in range(length)), "done"])
    return {f"t{number}" for number in range(30, 60)}


@fault("parallel calls, for ever", "limit", "read|search")
def parallel_spin(stage: Stage) -> Collection[str]:
    """2 of 12 runs call two tools side by side to the limit."""
    agent = Agent(("search", "read"))
    bad = {"t4", "t9"}
    for number in range(12):
        key = f"t{number}"
        turns: Iterator[Turn] = ([("search", f"{n}"), ("read", f"{n}")] for n in count())
        agent.run(stage, key, turns if key in bad else iter([next(turns), next(turns), "done"]))
    return bad


@fault("approvals that nobody gives", "waiting", "draft", "approve", words="PROBLEM WATCH")
def approvals_wait(stage: Stage) -> Collection[str]:
    """8 of 21 runs wait at the same interrupt for days, when the last one comes."""
    graph = approval_graph()
    bad = {f"t{number}" for number in range(20) if number % 5 in (1, 3)}
    for number in range(21):
        key = f"t{number}"
        stage.now += 2 * DAY * (number == 20)
        stage.case(graph, key)
        if key not in bad:
            stage.run(graph, key, Command(resume="yes"))
    return bad


def approval_graph() -> Any:
    """Return a graph that asks a person before it sends."""
    graph = StateGraph(State)
    approve = node(lambda case, steps: interrupt("may I?") and None)
    graph.add_sequence([("draft", node()), ("approve", approve), ("send", node())])
    graph.add_edge(START, "draft")
    return graph.compile(checkpointer=InMemorySaver())


@fault("summaries that reset the plan", "limit", "plan search read")
def summaries_reset(stage: Stage) -> Collection[str]:
    """One run forgets its plan with each summary, and starts over, to the limit."""
    summary = SummarizationMiddleware(
        ScriptedModel(script=cycle(["we have a plan"])),
        trigger=("messages", 8),
        keep=("messages", 2),
    )
    agent = Agent(("plan", "search", "read"), {"middleware": [summary]})
    agent.run(stage, "t0", ever("plan", "search", "read"), limit=80)
    return {"t0"}


def raise_error(q: str) -> str:
    """Be a tool that raises where its argument says so."""
    if q == "bad":
        raise ServiceError("card refused")
    return "ok"


@fault("a tool that raises in 10 of 40 runs", "failure", "lookup", "charge", words="PROBLEM WATCH")
def raising_tool(stage: Stage) -> Collection[str]:
    """All runs look up and charge; in 10 the charge raises."""
    agent = Agent(("lookup", make_tool("charge", raise_error)))
    bad = {f"t{number}" for number in range(40) if number % 4 == 2}
    for number in range(40):
        key = f"t{number}"
        charge = ("charge", "bad" if key in bad else "good")
        agent.run(stage, key, [("lookup", key), charge, "done"])
    return bad


@fault("one branch always fails", "failure", "route", "refund", "classify", words="PROBLEM WATCH")
def failing_branch(stage: Stage) -> Collection[str]:
    """Of three nodes that a router sends cases to one raises."""
    rng = random.Random(8)
    graph = StateGraph(State)
    branches = ("order", "question", "refund")
    graph.add_node("route", node())
    for name in branches:
        graph.add_node(name, failing if name == "refund" else node())
        graph.add_edge(name, END)
    graph.add_edge(START, "route")
    graph.add_conditional_edges("route", lambda state: state["case"]["kind"], list(branches))
    compiled, bad = graph.compile(), set()
    for number in range(60):
        kind = rng.choice(branches)
        bad |= {f"t{number}"} if kind == "refund" else set()
        stage.case(compiled, f"t{number}", kind=kind)
    return bad


def failing(state: State) -> Any:
    """Be a node that raises."""
    raise ServiceError("no such table")


@fault(
    "answers that cannot be parsed, retries used up", "failure", "ask", "parse",
    words="PROBLEM WATCH",
)  # fmt: skip
def unparsable(stage: Stage) -> Collection[str]:
    """In 9 of 45 runs the parser raises three times, and no retry helps."""
    policy = RetryPolicy(max_attempts=3, initial_interval=0, jitter=False, retry_on=ServiceError)
    graph = failing_node(graph_nodes=("ask", "parse"), failing="parse", retry_policy=policy)
    bad = {f"t{number}" for number in range(45) if number % 5 == 1}
    for number in range(45):
        stage.case(graph, f"t{number}", fails=f"t{number}" in bad)
    return bad


@fault(
    "runs ended by a limit of model calls", "limit repetition failure", "search", "search model",
    words="PROBLEM WATCH",
)  # fmt: skip
def model_call_limit(stage: Stage) -> Collection[str]:
    """8 of 40 runs search until a middleware ends them, and are judged unsuccessful."""
    limit = ModelCallLimitMiddleware(run_limit=9)
    return play_limited(stage, Agent(("search",), {"middleware": [limit]}), judged=True)


@fault(
    "runs ended by a limit of tool calls", "limit repetition failure", "search",
    "search!refused", "search search!refused", words="PROBLEM WATCH",
)  # fmt: skip
def tool_call_limit(stage: Stage) -> Collection[str]:
    """8 of 40 runs search until a middleware ends them; nobody judges them."""
    limit = ToolCallLimitMiddleware(run_limit=8, exit_behavior="end")
    return play_limited(stage, Agent(("search",), {"middleware": [limit]}))


def play_limited(stage: Stage, agent: Agent, *, judged: bool = False) -> Collection[str]:
    """Play 40 runs, 8 of which do not stop by themselves."""
    bad = {f"t{number}" for number in range(40) if number % 5 == 3}
    for number in range(40):
        key, turns = f"t{number}", ever("search")
        some = [*(next(turns) for _ in range(1 + number % 3)), "done"]
        agent.run(stage, key, turns if key in bad else some)
        if judged:
            stage.judged[key] = key not in bad
    return bad


@fault("runs cancelled by a timeout", "failure", "lookup", "fetch", words="PROBLEM WATCH")
def cancelled(stage: Stage) -> Collection[str]:
    """In 8 of 40 runs a tool never answers, and the run is cancelled."""
    bad = {f"t{number}" for number in range(40) if number % 5 == 4}

    async def play() -> None:
        waits = asyncio.Event()

        async def fetch(q: str) -> str:
            if q in bad:
                waits.set()
                await asyncio.Event().wait()
            return "page"

        tool = StructuredTool.from_function(coroutine=fetch, name="fetch", description="fetch.")
        agent = Agent(("lookup", tool))
        for number in range(40):
            key = f"t{number}"
            agent.model.script = iter([("lookup", key), ("fetch", key), "done"])
            answer = agent.graph.ainvoke({"messages": [("user", "please")]}, stage.config(key))
            run = asyncio.ensure_future(answer)
            if key in bad:
                await waits.wait()
                waits.clear()
                run.cancel()
            with suppress(asyncio.CancelledError):
                await run

    asyncio.run(play())
    return bad


@fault("two agents in one store, one of them stuck", "limit", "search read")
def two_agents(stage: Stage) -> Collection[str]:
    """One has 20 healthy runs, the other goes round in 6 of its 20."""
    rng = random.Random(9)
    billing = Agent(("lookup", "charge"), {"name": "billing"})
    researcher, bad = Agent(("search", "read"), {"name": "researcher"}), set()
    for number in range(20):
        billing.run(stage, f"b{number}", [("lookup", "x"), ("charge", "x"), "done"])
        turns, key = ever("search", "read"), f"r{number}"
        some = [*(next(turns) for _ in range(rng.randrange(2, 6))), "done"]
        bad |= {key} if number % 3 == 1 and number < 18 else set()
        researcher.run(stage, key, turns if key in bad else some)
    return bad


@fault("a new version that loops", "limit", "plan search")
def new_version(stage: Stage) -> Collection[str]:
    """Of 60 runs the last 30 are of version 2, of which 12 go back and forth to the limit."""
    rng = random.Random(10)
    agent, bad = Agent(("plan", "search")), set()
    for number in range(60):
        turns, key = ever("plan", "search"), f"t{number}"
        some = [*(next(turns) for _ in range(rng.randrange(2, 6))), "done"]
        bad |= {key} if number >= 30 and number % 5 in (1, 4) else set()
        version = {"version": "2" if number >= 30 else "1"}
        agent.run(stage, key, turns if key in bad else some, metadata=version)
    return bad


@fault("searches that find nothing, to the limit", "limit", "search")
def empty_search(stage: Stage) -> Collection[str]:
    """In 5 of 40 runs every search is empty, and each is asked in other words."""
    rng = random.Random(11)
    agent = Agent((make_tool("search", lambda q: "[]" if "attempt" in q else "a page"), "read"))
    bad = {f"t{number}" for number in range(40) if number % 8 == 6}
    for number in range(40):
        key = f"t{number}"
        some = [("search", f"{n}") for n in range(rng.randrange(1, 4))]
        agent.run(stage, key, ever("search") if key in bad else [*some, ("read", key), "done"])
    return bad


@fault("edit and test without end", "limit", "edit run_tests")
def tests_never_pass(stage: Stage) -> Collection[str]:
    """In 4 of 40 runs no edit helps; the others are through after 1 to 4 rounds."""
    rng = random.Random(12)

    def judge(q: str) -> str:
        return "1 failed" if q.startswith("attempt") else "passed"

    agent = Agent(("open_file", "edit", make_tool("run_tests", judge)))
    bad = {f"t{number}" for number in range(40) if number % 10 == 7}
    for number in range(40):
        turns, key = ever("edit", "run_tests"), f"t{number}"
        if key in bad:
            agent.run(stage, key, turns)
        else:
            some = [next(turns) for _ in range(2 * rng.randrange(1, 5) - 1)]
            agent.run(stage, key, [("open_file", key), *some, ("run_tests", "last"), "done"])
    return bad


@fault("unsuccessful runs that skip a step", "failure", "draft check", "draft send")
def skipped_check(stage: Stage) -> Collection[str]:
    """All 60 runs end; the 18 that do not check their draft are judged unsuccessful."""
    agent = Agent(("search", "draft", "check", "send"))
    bad = {f"t{number}" for number in range(60) if number % 10 in (0, 4, 7)}
    for number in range(60):
        key = f"t{number}"
        check = [] if key in bad else [("check", key)]
        turns = [("search", key)] * (1 + number % 2) + [("draft", key), *check, ("send", key)]
        agent.run(stage, key, [*turns, "done"])
        stage.judged[key] = key not in bad
    return bad


@fault(
    "states named by all arguments", "cardinality",
    words="PROBLEM WATCH", states=ActionStates(arguments="all"),
)  # fmt: skip
def names_explode(stage: Stage) -> Collection[str]:
    """In each of 40 runs a state has the number of its ticket in its name."""
    agent = Agent(("open_ticket", "read", "close_ticket"))
    for number in range(40):
        key = f"t{number}"
        tools = ("open_ticket", "read", "close_ticket")
        agent.run(stage, key, [*((name, f"ticket {number}") for name in tools), "done"])
    return set()


def name_badly(run: NodeRun) -> Any:
    """Be a function that names states, with a mistake."""
    return run.output["page"] if run.tools == ("read",) else ActionStates()(run)


@fault("a function of states that fails", "loss", words="PROBLEM WATCH", states=name_badly)
def records_lost(stage: Stage) -> Collection[str]:
    """In 10 of 40 runs the function that names states raises."""
    agent = Agent(("search", "read", "note"))
    for number in range(40):
        read = [("read", "x")] if number % 4 == 1 else []
        agent.run(stage, f"t{number}", [("search", "x"), *read, ("note", "x"), "done"])
    return set()
