"""The first step after a person has answered says so; repetition is counted again from there."""

from contextlib import suppress
from dataclasses import replace

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from detailed_balance.analyzers import Outcome, classify_runs, find_repetition
from detailed_balance.analyzers.runs.table import RunTable
from detailed_balance.callbacks import TransitionCallbackHandler, TransitionStore
from detailed_balance.sources.source import read_runs
from tests.support.agents import chain, node, run, since_1_2, thread

TURNS = 12


def make_chat():
    """Return an agent that asks a person, answers, and asks again."""
    graph = StateGraph(MessagesState)
    graph.add_node("human", lambda state: {"messages": [("user", interrupt("?"))]})
    graph.add_node("bot", lambda state: {"messages": [AIMessage("answer")]})
    graph.add_edge(START, "human")
    graph.add_edge("human", "bot")
    graph.add_edge("bot", "human")
    return graph.compile(checkpointer=InMemorySaver())


def chat(handlers):
    """Hold a chat of as many turns as there are handlers behind the first."""
    app, config = make_chat(), {"configurable": {"thread_id": "chat"}}
    first, *rest = handlers
    app.invoke({"messages": []}, {"callbacks": [first], **config})
    for turn, handler in enumerate(rest):
        app.invoke(Command(resume=f"question {turn}"), {"callbacks": [handler], **config})


def file_url(tmp_path):
    return f"sqlite:///{tmp_path}/runs.db"


def record_chat(url, **settings):
    handler = TransitionCallbackHandler(store=url, **settings)
    chat([handler] * (TURNS + 1))
    handler.store.close()
    return read_chat(url)


def read_chat(url):
    (whole,) = read_runs(url)
    assert [target for _, target in whole.moves] == ["human", "bot"] * TURNS
    return whole


def resumed(whole):
    return [facts is not None and facts.resumed for facts in whole.facts]


def not_resumed(whole):
    return replace(whole, facts=tuple(facts._replace(resumed=False) for facts in whole.facts))


def test_a_chat_by_interrupts_repeats_nothing(tmp_path):
    whole = record_chat(file_url(tmp_path))
    assert resumed(whole) == [True, False] * TURNS
    assert classify_runs([whole]).rows == ()
    failed = replace(whole, success=False, outcome=Outcome.FAILED)
    assert find_repetition([failed]).findings == ()
    (row,) = classify_runs([not_resumed(whole)]).rows
    assert (row.kind, row.times) == ("shuttle", 2 * TURNS - 1)
    without = replace(failed, facts=())
    assert [found.kind for found in find_repetition([without]).findings] == ["shuttle"]


def test_a_shuttle_between_two_answers_is_one(tmp_path):
    whole = record_chat(file_url(tmp_path))
    facts = [each._replace(resumed=i in (0, 6)) for i, each in enumerate(whole.facts)]
    (row,) = classify_runs([replace(whole, facts=tuple(facts))]).rows
    assert (row.kind, row.times, row.onset) == ("shuttle", 2 * TURNS - 7, 7)


def test_without_facts_it_is_not_recorded(tmp_path):
    assert record_chat(file_url(tmp_path), facts=False).facts == ()


def test_states_that_are_hidden_hand_it_on(tmp_path):
    table = RunTable.of([record_chat(file_url(tmp_path))]).hide(["human"])
    assert [target for _, target in table[0].moves] == ["bot"] * TURNS
    assert resumed(table[0]) == [True] * TURNS
    assert classify_runs(table).rows == ()


def test_a_chat_that_a_handler_keeps_says_so():
    handler = TransitionCallbackHandler()
    chat([handler] * (TURNS + 1))
    (whole,) = read_runs(handler)
    assert resumed(whole) == [True, False] * TURNS


def steps(handler, *names):
    """Return where each run led, and whether after a resume."""
    found = {}
    for each in read_runs(handler):
        places = zip(each.moves, resumed(each), strict=False)
        found[each.parent is None] = [(target, flag) for (_, target), flag in places]
    return found


@since_1_2
@pytest.mark.parametrize("where", [{"interrupt_before": ["b"]}, {"interrupt_after": ["a"]}])
def test_a_breakpoint_says_so(where):
    handler = TransitionCallbackHandler()
    agent, config = chain("a", "b", checkpointer=InMemorySaver()), {"callbacks": [handler]}
    agent.invoke({"log": []}, config | thread("T"), **where)
    agent.invoke(None, config | thread("T"))
    assert steps(handler)[True] == [("a", False), ("b", True), ("__end__", False)]


def test_in_a_subgraph_the_graph_and_the_graph_around_it_say_so():
    handler = TransitionCallbackHandler()
    inner = chain("in1", "ask", ask=lambda state: {"log": [interrupt("really?")]})
    agent = chain("x", "sub", "z", sub=inner, checkpointer=InMemorySaver())
    run(agent, handler, **thread("T"))
    run(agent, handler, Command(resume="yes"), **thread("T"))
    end = ("__end__", False)
    assert steps(handler)[True] == [("x", False), ("sub", True), ("z", False), end]
    assert steps(handler)[False] == [("in1", False), ("ask", True), end]


def test_in_a_functional_workflow_the_first_task_says_so():
    @task
    def one(word):
        return word

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(word):
        first = one(word).result()
        answer = interrupt("really?")
        return one(first + answer).result()

    handler = TransitionCallbackHandler()
    workflow.invoke("a", {"callbacks": [handler], **thread("T")})
    workflow.invoke(Command(resume="b"), {"callbacks": [handler], **thread("T")})
    assert steps(handler)[True] == [("one", False), ("one", True), ("__end__", False)]


def test_a_chat_of_which_each_turn_is_another_process_says_so(tmp_path):
    stores = [TransitionStore(file_url(tmp_path)) for _ in range(TURNS + 1)]
    chat([TransitionCallbackHandler(store=store) for store in stores])
    for store in stores[::-1]:  # the last turn is written first
        store.close()
    whole = read_chat(file_url(tmp_path))
    assert resumed(whole) == [True, False] * TURNS
    assert classify_runs([whole]).rows == ()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_run_that_failed_and_is_tried_again_does_not(tmp_path, elsewhere):
    first = second = TransitionCallbackHandler(store=file_url(tmp_path))
    if elsewhere:
        second = TransitionCallbackHandler(store=file_url(tmp_path))
    tries = []

    def fail_once(state):
        tries.append(1)
        if len(tries) == 1:
            raise OSError
        return node("b")(state)

    agent = chain("a", "b", b=fail_once, checkpointer=InMemorySaver())
    for handler in (first, second):
        with suppress(OSError):
            agent.invoke(None if tries else {"log": []}, {"callbacks": [handler], **thread("T")})
        handler.flush()
    assert len(tries) == 2
    (whole,) = read_runs(first)
    assert [target for _, target in whole.moves] == ["a", None, "b", "__end__"]
    assert not any(resumed(whole))
