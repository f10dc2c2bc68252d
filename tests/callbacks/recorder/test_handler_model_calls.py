"""`PromptStates`: every model call is one transition."""

import itertools

import pytest
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from detailed_balance.callbacks import PromptStates, TransitionCallbackHandler
from tests.support.agents import Walks


class FailingModel(FakeListChatModel):
    def _call(self, *args, **kwargs):
        raise ConnectionError("no answer")


@pytest.fixture
def handler():
    return TransitionCallbackHandler(PromptStates(), graph=Walks())


def edges(handler):
    return list(itertools.chain.from_iterable(handler.graph.walks.values()))


def test_call_outside_any_graph_is_a_transition(handler):
    model = FakeListChatModel(responses=[" humming ", "buzzing"])
    for word in ("buzzing", "humming"):
        model.invoke([SystemMessage("one word"), HumanMessage(word)], {"callbacks": [handler]})
    assert edges(handler) == [("buzzing", "humming"), ("humming", "buzzing")]
    assert len(handler.graph.walks) == 2


async def test_async_and_streamed_calls_are_the_same(handler):
    config = {"callbacks": [handler]}
    model = FakeListChatModel(responses=["b"])
    await model.ainvoke("a", config)
    assert "".join([chunk.text async for chunk in model.astream("a", config)]) == "b"
    assert "".join(chunk.text for chunk in model.stream("a", config)) == "b"
    assert edges(handler) == [("a", "b")] * 3


def test_batch_keeps_calls_apart(handler):
    model = FakeListChatModel(responses=["x"])
    model.batch(["a", "b", "c"], {"callbacks": [handler]})
    assert sorted(edges(handler)) == [("a", "x"), ("b", "x"), ("c", "x")]


def test_self_loop_is_recorded(handler):
    FakeListChatModel(responses=["a"]).invoke("a", {"callbacks": [handler]})
    assert handler.graph.snapshot().counts.toarray().tolist() == [[1]]


def test_completion_model_is_a_transition_too(handler):
    FakeListLLM(responses=["b"]).invoke("a", {"callbacks": [handler]})
    assert edges(handler) == [("a", "b")]


def test_empty_reply_and_failed_call_are_escapes(handler):
    FakeListChatModel(responses=["  "]).invoke("a", {"callbacks": [handler]})
    with pytest.raises(ConnectionError):
        FailingModel(responses=[]).invoke("a", {"callbacks": [handler]})
    assert edges(handler) == [("a", None), ("a", None)]
    assert handler.faults == 0


def test_call_without_a_source_is_left_out(handler):
    model = FakeListChatModel(responses=["b"])
    model.invoke([SystemMessage("no human here")], {"callbacks": [handler]})
    assert edges(handler) == []


def test_own_functions_name_prompt_and_answer():
    def last_word(messages):
        return messages[-1].text.split()[-1]

    def parse(message):
        word = message.text.lower()
        return word if word.isalpha() else None

    handler = TransitionCallbackHandler(PromptStates(last_word, parse), graph=Walks())
    model = FakeListChatModel(responses=["Humming", "I can not!"])
    for _ in range(2):
        model.invoke("a word near buzzing", {"callbacks": [handler]})
    assert edges(handler) == [("buzzing", "humming"), ("buzzing", None)]


def test_any_object_with_source_and_target_will_do():
    class Lengths:
        def source(self, messages):
            return str(len(messages))

        def target(self, message):
            return str(len(message.text))

    handler = TransitionCallbackHandler(Lengths(), graph=Walks())
    FakeListChatModel(responses=["four"]).invoke("a", {"callbacks": [handler]})
    assert edges(handler) == [("1", "4")]


def test_calls_in_a_graph_belong_to_its_thread_and_make_no_path(handler):
    model = FakeListChatModel(responses=["b", "a"])

    def ask(state):
        return {"messages": [HumanMessage(model.invoke(state["messages"]).text)]}

    graph = StateGraph(MessagesState)
    graph.add_sequence([("first", ask), ("second", ask)])
    graph.set_entry_point("first")
    agent = graph.compile(checkpointer=MemorySaver())
    config = {"callbacks": [handler], "configurable": {"thread_id": "T"}}
    agent.invoke({"messages": [HumanMessage("a")]}, config)
    assert handler.graph.walks == {"T": [("a", "b"), ("b", "a")]}
    assert not {START, END} & set(handler.graph.snapshot().states)


def test_calls_in_a_chain_share_its_trajectory(handler):
    model = FakeListChatModel(responses=["b", "c"])
    chain = model | RunnableLambda(lambda message: message.text) | model
    chain.invoke("a", {"callbacks": [handler]})
    assert edges(handler) == [("a", "b"), ("b", "c")]
    assert len(handler.graph.walks) == 1


def test_failing_prompt_function_leaves_the_call_out_and_the_agent_alone(caplog):
    def parse(messages):
        raise LookupError("my parser")

    handler = TransitionCallbackHandler(PromptStates(prompt=parse), graph=Walks())
    model = FakeListChatModel(responses=["b"])
    assert [model.invoke("a", {"callbacks": [handler]}).text for _ in range(3)] == ["b"] * 3
    assert edges(handler) == []
    assert handler.faults == 3
    assert len(caplog.records) == 1


def test_failing_answer_function_is_an_escape():
    handler = TransitionCallbackHandler(PromptStates(answer=lambda message: 1 / 0), graph=Walks())
    model = FakeListChatModel(responses=["b"])
    assert model.invoke("a", {"callbacks": [handler]}).text == "b"
    assert edges(handler) == [("a", None)]
    assert handler.faults == 1


def test_answer_that_looks_like_a_boundary_is_no_boundary(handler):
    FakeListChatModel(responses=[END]).invoke("a", {"callbacks": [handler]})
    assert edges(handler) == [("a", None)]
    assert handler.faults == 1
