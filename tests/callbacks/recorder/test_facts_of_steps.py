"""What the record says of a step beyond its state, for agents of several kinds."""

import contextlib

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from detailed_balance.callbacks import Transition, TransitionCallbackHandler
from tests.support.agents import INPUT, FunctionModel, KeptRecords, chain, fail, thread


@pytest.fixture
def store():
    return KeptRecords()


@tool
def search(query: str) -> str:
    """Search."""
    if query == "bad":
        raise ValueError("boom")
    return f"found {query[:3]}"


def ask(number, *queries):
    calls = [
        {"name": "search", "args": {"query": query}, "id": f"{number}.{i}"}
        for i, query in enumerate(queries)
    ]
    usage = {"input_tokens": 90, "output_tokens": 10, "total_tokens": 100}
    return AIMessage("", tool_calls=calls, usage_metadata=usage)


def agent_that_asks(*turns, **settings):
    def answer(messages):
        number = sum(isinstance(message, AIMessage) for message in messages)
        return ask(number, *turns[number]) if number < len(turns) else AIMessage("done")

    return create_agent(FunctionModel(function=answer), [search], **settings)


def facts_of(store, state="search"):
    return [move.facts for move in store.of(Transition) if move.target == state]


def run(agent, store, given="hi", **config):
    handler = TransitionCallbackHandler(store=store)
    given = {"messages": [("user", given)]} if isinstance(given, str) else given
    agent.invoke(given, {"callbacks": [handler], **config})
    assert handler.faults == 0


def test_the_same_call_with_the_same_answer_is_stale(store):
    run(agent_that_asks(["abc"], ["abc"], ["abd"], ["abcd"]), store)
    first, again, other, same_answer = facts_of(store)
    assert (first.repeats, first.stale) == (False, False)
    assert (again.repeats, again.stale, again.call, again.answer) == (True, True, 2, 2)
    assert (other.repeats, other.stale, other.call, other.answer) == (False, False, 6, 6)
    assert (same_answer.repeats, same_answer.stale, same_answer.answer) == (False, False, 2)


def test_the_order_of_parallel_calls_does_not_matter(store):
    run(agent_that_asks(["a", "b"], ["b", "a"]), store)
    first, again = facts_of(store)
    assert (first.call, again.call, again.stale) == (2, 2, True)


def test_the_tokens_of_a_message_that_asks_go_to_the_tools(store):
    run(agent_that_asks(["a"], ["b"]), store)
    assert [facts.tokens for facts in facts_of(store)] == [100, 100]
    assert facts_of(store, "model")[0].tokens is None


def test_sizes_are_those_of_the_arguments_and_the_answer(store):
    run(agent_that_asks(["x" * 1000]), store)
    (facts,) = facts_of(store)
    assert 1000 < facts.call_size < 1100
    assert facts.answer_size == len("found xxx")


def test_a_node_that_raises_is_a_failed_attempt(store):
    agent = chain("a", "b", b=fail)
    with contextlib.suppress(ValueError):
        agent.invoke(INPUT, {"callbacks": [TransitionCallbackHandler(store=store)]})
    assert [facts.failed for facts in facts_of(store, None)] == [True]
    assert [facts.failed for facts in facts_of(store, "a")] == [False]


def test_a_tool_that_reports_an_error_failed(store):
    run(agent_that_asks(["a"], ["b"]), store)
    wrong = AIMessage("", tool_calls=[{"name": "search", "args": {"q": 1}, "id": "1"}])
    replies = iter([wrong, AIMessage("done")])
    run(create_agent(FunctionModel(function=lambda messages: next(replies)), [search]), store)
    assert [facts.failed for facts in facts_of(store)] == [False, False, True]


def test_a_node_without_calls_has_the_answer_that_it_wrote(store):
    run(chain("a", "b", "c", a=lambda state: {"n": 1}, c=lambda state: {"n": 1}), store, INPUT)
    (a,), (b,), (c,) = (facts_of(store, name) for name in "abc")
    assert (a.call, a.answer, b.answer, c.answer) == (None, 1, 2, 1)


def test_tools_in_a_plain_runnable_have_facts_too(store):
    def work(text, config):
        for query in ("one", "one", "bad", "bad"):
            with contextlib.suppress(ValueError):
                search.invoke({"query": query}, config)
        return text

    run(RunnableLambda(work), store, "go")
    first, again = facts_of(store)
    assert (first.repeats, again.repeats, again.stale) == (False, True, True)
    failed, repeated = facts_of(store, None)
    assert (failed.failed, failed.repeats, repeated.repeats) == (True, False, True)


def test_what_a_run_repeats_is_known_after_a_resume_too(store):
    agent = agent_that_asks(["a"], ["a"], checkpointer=InMemorySaver(), interrupt_before=["tools"])
    handler = TransitionCallbackHandler(store=store)
    config = {"callbacks": [handler], **thread("T")}
    agent.invoke({"messages": [("user", "hi")]}, config)
    for _ in range(2):
        agent.invoke(None, config)
    assert [facts.stale for facts in facts_of(store)] == [False, True]


def test_no_content_is_kept_and_the_numbers_say_nothing_of_it(store):
    secret = "a very secret text " * 3
    run(agent_that_asks([secret], [secret]), store)
    assert secret[:10] not in repr([move.facts for move in store.of(Transition)])


def test_facts_can_be_left_out(store):
    handler = TransitionCallbackHandler(store=store, facts=False)
    agent_that_asks(["a"]).invoke({"messages": [("user", "hi")]}, {"callbacks": [handler]})
    assert {move.facts for move in store.of(Transition)} == {None}


def test_a_handler_that_is_given_twice_counts_a_call_once(store):
    handler = TransitionCallbackHandler(store=store)
    search.invoke({"query": "one"}, {"callbacks": [handler, handler]})
    search.invoke({"query": "one"}, {"callbacks": [handler]})
    twice, once = facts_of(store)
    assert twice.call_size == once.call_size
