import json
import logging
from typing import Literal
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, SummarizationMiddleware, types
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command, interrupt

from detailed_balance.analyzers import RepetitionLimits, RunGuard, Trajectory
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks import (
    RunGuardMiddleware,
    TransitionCallbackHandler,
    stop_when,
)
from detailed_balance.callbacks.middleware import action_path
from tests.support.agents import ScriptedModel, Walks, node, path, thread


@tool
def search() -> str:
    """Search."""
    return "nothing"


@tool
def read() -> str:
    """Read."""
    return "text"


@tool
def confirm() -> str:
    """Ask a person."""
    return interrupt("ok?")


class Model(ScriptedModel):
    """Keep what it was asked."""

    asked: list = []  # noqa: RUF012  (a pydantic field, copied for each model)

    def _generate(self, messages, *args, **kwargs):
        self.asked.append([str(message.content) for message in messages])
        return super()._generate(messages, *args, **kwargs)


QUESTION = {"messages": [("user", "hi")]}
LOOP = [["search"], ["read"]] * 10 + ["done"]
RULES = {"max_rounds": 2}  # search -> read -> search for the third time: step 7


def agent_of(script=LOOP, guard=None, on_stop="end", **options):
    middleware = RunGuardMiddleware(guard or RunGuard.from_rules(**RULES), on_stop)
    model = Model(script=script)
    agent = create_agent(model, [search, read, confirm], middleware=[middleware], **options)
    return agent, model, middleware


async def run(agent, mode, inputs=QUESTION, **config):
    config = {"recursion_limit": 100, **config}
    if mode == "sync":
        return agent.invoke(inputs, config)
    return await agent.ainvoke(inputs, config)


both = pytest.mark.parametrize("mode", ["sync", "async"])


@both
async def test_end_stops_the_run_before_the_model_is_asked_again(mode):
    agent, model, _ = agent_of()
    messages = (await run(agent, mode))["messages"]
    assert len(model.asked) == 7
    assert isinstance(messages[-1], AIMessage)
    assert "stopped at step 7" in messages[-1].content
    assert "it went search -> read -> search 3 times" in messages[-1].content
    assert "without a promise" in messages[-1].content


@both
async def test_message_tells_the_model_what_it_does_and_keeps_nothing(mode):
    agent, model, _ = agent_of(on_stop="message")
    messages = (await run(agent, mode))["messages"]
    assert messages[-1].content == "done"
    reported = ["search -> read -> search" in asked[-1] for asked in model.asked]
    assert reported == [False] * 7 + [True] * 14
    assert "3 times" in model.asked[7][-1]
    assert sum(isinstance(message, HumanMessage) for message in messages) == 1


@both
async def test_warn_logs_once_and_changes_nothing(mode, caplog):
    agent, model, _ = agent_of(on_stop="warn")
    with caplog.at_level(logging.WARNING, "detailed_balance"):
        messages = (await run(agent, mode, **thread("T")))["messages"]
    assert messages[-1].content == "done"
    assert len(model.asked) == 21
    (record,) = caplog.records
    assert record.getMessage().startswith("run T: stopped at step 7")


@both
async def test_a_callable_is_given_the_event_once_and_chooses(mode):
    events = []
    agent, model, _ = agent_of(on_stop=lambda event: events.append(event) or "end")
    await run(agent, mode, **thread("T"))
    (event,) = events
    assert (event.trajectory, event.step, event.threshold) == ("T", 7, 1.0)
    assert event.risk == 1.5
    assert event.repetition == "it went search -> read -> search 3 times"
    assert len(model.asked) == 7
    with pytest.raises(AttributeError):
        event.step = 8
    assert len((await run(agent_of(on_stop=lambda event: None)[0], mode))["messages"]) == 42


class Broken:
    def start(self):
        raise OSError("the guard is broken")


@both
async def test_a_broken_guard_breaks_nothing_and_is_logged_once(mode, caplog):
    agent, _, middleware = agent_of(guard=RunGuard(Broken(), 1.0))
    with caplog.at_level(logging.WARNING, "detailed_balance"):
        messages = (await run(agent, mode))["messages"]
    assert messages[-1].content == "done"
    assert middleware.faults == 21
    assert len(caplog.records) == 1


@both
async def test_a_callable_that_raises_breaks_nothing(mode):
    def fail(event):
        raise OSError("no network")

    agent, _, middleware = agent_of(on_stop=fail)
    assert (await run(agent, mode))["messages"][-1].content == "done"
    assert middleware.faults == 1


@both
async def test_an_error_of_the_model_is_not_swallowed(mode):
    agent, _, middleware = agent_of(script=[["search"]])
    with pytest.raises(IndexError):
        await run(agent, mode)
    assert middleware.faults == 0


@pytest.mark.parametrize("on_stop", ["stop", 3, None])
def test_other_answers_are_refused(on_stop):
    with pytest.raises(InvalidInputError, match="on_stop"):
        RunGuardMiddleware(RunGuard.from_rules(**RULES), on_stop)


SCRIPTS = [
    LOOP,
    ["done"],
    [["search", "read", "search"], ["read", "search"], "done"],
    [["search", "nonsense"], ["nonsense"], ["read"], "done"],
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_path_is_what_the_recorder_records(script):
    agent, _, _ = agent_of(script, RunGuard.from_rules(max_rounds=1000))
    handler = TransitionCallbackHandler(graph=Walks())
    config = {"callbacks": [handler], "recursion_limit": 100}
    messages = agent.invoke(QUESTION, config)["messages"]
    assert handler.graph.walk == path(START, *action_path(messages, [search, read]), END)


def test_the_guard_leaves_no_trace_in_the_record():
    agent, _, _ = agent_of()
    handler = TransitionCallbackHandler(graph=Walks())
    agent.invoke(QUESTION, {"callbacks": [handler], "recursion_limit": 100})
    states = [target for _, target in handler.graph.walk]
    assert states == [*["search", "read"] * 3, "search", "model", END]


def test_a_new_question_begins_a_new_run():
    script = [*LOOP[:4], "one", *LOOP[:4], "two"]
    agent, _, _ = agent_of(script, checkpointer=MemorySaver())
    agent.invoke(QUESTION, thread("T"))
    assert agent.invoke(QUESTION, thread("T"))["messages"][-1].content == "two"


since_1_2_9 = pytest.mark.skipif(
    not hasattr(types, "ExtendedModelResponse"), reason="LangChain keeps no state around the model"
)


RESUMED = [["search"], ["read"], ["search"], ["confirm"], *LOOP]


@since_1_2_9
def test_counting_begins_anew_when_a_person_answers_in_another_process_too():
    saver = MemorySaver()
    guard = RunGuard.from_rules(max_rounds=1)
    first, _, _ = agent_of(RESUMED, guard, checkpointer=saver)
    assert "__interrupt__" in first.invoke(QUESTION, thread("T"))
    # Another middleware and guard, as in another process: nothing but the saver is shared.
    second, model, _ = agent_of(RESUMED, RunGuard.from_dict(guard.to_dict()), checkpointer=saver)
    messages = second.invoke(Command(resume="yes"), thread("T"))["messages"]
    # search (where it stood), confirm, search, read, search, read, search: the loop twice.
    assert "it went search -> read -> search 2 times" in messages[-1].content
    assert len(model.asked) == 5


@since_1_2_9
def test_a_run_that_is_broken_off_goes_on_to_be_watched():
    saver = MemorySaver()
    agent, _, _ = agent_of(checkpointer=saver)
    for _ in agent.stream(QUESTION, thread("T"), stream_mode="updates"):
        pass
    kept = saver.get(thread("T"))["channel_values"]["_run_guard_path"]
    assert kept["states"] == ["search", "read"] * 3 + ["search"]


def summarise(**options):
    model = ScriptedModel(script=["so far"] * 100)
    return SummarizationMiddleware(model, trigger=("messages", 6), keep=("messages", 2), **options)


class Trim(AgentMiddleware):
    """Keep the question and the last two messages."""

    def before_model(self, state, runtime):
        first, *more = state["messages"]
        kept = [RemoveMessage(REMOVE_ALL_MESSAGES), first, *more[-2:]]
        return {"messages": kept} if len(more) > 2 else None


class Nudge(AgentMiddleware):
    """Writes a message in the name of a person before each call of the model."""

    def before_model(self, state, runtime):
        return {"messages": [HumanMessage("go on")]}


class Endless(Model):
    """Asks for search and read in turn, however little it is shown."""

    def _generate(self, messages, *args, **kwargs):
        self.asked.append([])
        call = {"name": ["read", "search"][len(self.asked) % 2], "args": {}, "id": uuid4().hex}
        return ChatResult(generations=[ChatGeneration(message=AIMessage("", tool_calls=[call]))])


@since_1_2_9
@pytest.mark.parametrize("hook", [summarise, Trim, Nudge])
@pytest.mark.parametrize("outside", [True, False])
def test_no_summary_no_cut_and_no_nudge_make_the_guard_forget(hook, outside):
    guard = RunGuardMiddleware(RunGuard.from_rules(**RULES), "end")
    model = Endless(script=[])
    middleware = [hook(), guard] if outside else [guard, hook()]
    agent = create_agent(model, [search, read], middleware=middleware)
    handler = TransitionCallbackHandler(graph=Walks())
    config = {"callbacks": [handler], "recursion_limit": 200}
    assert "stopped at step 7" in agent.invoke(QUESTION, config)["messages"][-1].content
    assert [target for _, target in handler.graph.walk] == [
        *["search", "read"] * 3,
        *["search", "model", END],
    ]


@since_1_2_9
def test_the_guard_shows_nothing_of_itself():
    agent, _, _ = agent_of(checkpointer=MemorySaver())
    assert set(agent.invoke(QUESTION, thread("T"))) == {"messages"}
    keys = {
        *agent.get_input_jsonschema()["properties"],
        *agent.get_output_jsonschema()["properties"],
    }
    assert not any("guard" in key for key in keys)


def test_two_guards_in_one_agent_do_not_disturb_each_other():
    class Other(RunGuardMiddleware):
        pass

    rules = [RunGuard.from_rules(max_rounds=closings) for closings in (9, 2)]
    middleware = [RunGuardMiddleware(rules[0], "end"), Other(rules[1], "end")]
    agent = create_agent(Model(script=LOOP), [search, read], middleware=middleware)
    assert "stopped at step 7" in agent.invoke(QUESTION)["messages"][-1].content
    assert [guard.faults for guard in middleware] == [0, 0]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Sorry.", "Sorry."),
        (lambda event: f"Sorry, {event.trajectory}.", "Sorry, T."),
        (lambda event: 1 / 0, "Run guard: stopped at step 7"),
    ],
)
def test_the_customer_reads_what_you_want_said(message, expected):
    guard = RunGuardMiddleware(RunGuard.from_rules(**RULES), "end", message)
    agent = create_agent(Model(script=LOOP), [search, read], middleware=[guard])
    last = agent.invoke(QUESTION, thread("T"))["messages"][-1]
    assert last.content.startswith(expected)


@pytest.mark.parametrize("message", [3, b"Sorry."])
def test_other_last_words_are_refused(message):
    with pytest.raises(InvalidInputError, match="message"):
        RunGuardMiddleware(RunGuard.from_rules(**RULES), "end", message)


def fitted_on(*states):
    """Return a guard that was fitted on runs through these states."""
    run = Trajectory(tuple(path(START, *states, END)), success=True)
    return RunGuard.fit(20 * [run], score=RepetitionLimits(max_stay=50))


@both
async def test_a_run_of_unknown_states_is_reported_once(mode, caplog):
    agent, _, _ = agent_of(guard=fitted_on("find", "Todo.after_model", "model"))
    with caplog.at_level(logging.WARNING, "detailed_balance"):
        await run(agent, mode)
        await run(agent, mode)
    (record,) = caplog.records
    assert "does not know this agent: the state 'search' was in none" in record.getMessage()
    assert "fit it again" in record.getMessage()


def test_a_run_of_known_states_is_not_reported(caplog):
    guard = fitted_on(*["search", "read"] * 3, "model")
    agent_of([*LOOP[:4], ["nonsense"], "done"], guard)[0].invoke(QUESTION)
    assert not caplog.records


def test_a_run_of_unknown_moves_between_known_states_is_reported(caplog):
    agent, _, _ = agent_of(guard=fitted_on("read", "read", "search", "search", "model"))
    agent.invoke(QUESTION, {"recursion_limit": 100})
    assert "of the first 5 moves were in none" in caplog.text


def test_a_router_reports_a_run_of_unknown_states_too(caplog):
    looping(lambda state: END, guard=fitted_on("a", "c")).invoke(INPUT)
    assert "the state 'b' was in none of the runs" in caplog.text


def test_the_guard_knows_its_states_after_a_restart():
    guard = fitted_on("search", "model")
    again = RunGuard.from_dict(json.loads(json.dumps(guard.to_dict())))
    assert again.moves == guard.moves
    assert again.states == {START, END, "search", "model"}


def test_calls_that_have_not_run_yet_are_no_state():
    call = {"name": "search", "args": {}, "id": "1"}
    asked = [HumanMessage("hi"), AIMessage("", tool_calls=[call])]
    assert action_path(asked) == []
    answered = [*asked, ToolMessage("x", tool_call_id="1", name="search")]
    assert action_path([*answered, HumanMessage("and?")]) == []
    assert action_path(answered[1:]) == ["search"]


def looping(route, path=lambda state: state["log"], **options):
    """Return a -> b -> a -> ... with a router behind b."""
    from tests.support.agents import State

    graph = StateGraph(State)
    graph.add_node("a", lambda state: {"n": state["n"] + 1, "log": ["a"]})
    graph.add_node("b", node("b"))
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    guard = options.pop("guard", None) or RunGuard.from_rules(**RULES)
    graph.add_conditional_edges("b", stop_when(guard, route, path=path), **options)
    return graph.compile()


INPUT = {"n": 0, "log": []}


@both
@pytest.mark.parametrize("options", [{}, {"path_map": ["a", END]}])
async def test_a_router_goes_to_the_end_when_the_guard_stops(mode, options, caplog):
    graph = looping(lambda state: END if state["n"] >= 20 else "a", **options)
    assert (await run(graph, mode, INPUT))["n"] == 4
    assert "it went a -> b -> a 3 times" in caplog.text


async def test_an_async_router_with_a_config_stays_one():
    async def route(state, config: RunnableConfig) -> Literal["a"]:
        assert config["configurable"]["thread_id"] == "T"
        return "a"

    graph = looping(route)
    assert {edge.target for edge in graph.get_graph().edges if edge.source == "b"} == {
        "a",
        END,
    }
    assert (await graph.ainvoke(INPUT, thread("T")))["n"] == 4


def test_without_a_stop_the_router_decides():
    graph = looping(lambda state: END if state["n"] >= 3 else "a")
    assert graph.invoke(INPUT)["n"] == 3


def test_a_fault_leaves_the_router_alone(caplog):
    graph = looping(lambda state: END if state["n"] >= 9 else "a", path=lambda state: state["no"])
    assert graph.invoke(INPUT)["n"] == 9
    assert sum("run guard failed" in record.getMessage() for record in caplog.records) == 1


def test_by_default_a_router_reads_the_messages():
    call = {"name": "search", "args": {}, "id": "1"}
    turn = [AIMessage("", tool_calls=[call]), ToolMessage("x", tool_call_id="1", name="search")]
    route = stop_when(RunGuard.from_rules(max_stay=3), lambda state: "model")
    assert route({"messages": [HumanMessage("hi"), *turn * 3]}) == "model"
    assert route({"messages": [HumanMessage("hi"), *turn * 4]}) == END
