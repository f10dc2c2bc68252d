"""Other handlers hear of completion models, though ours runs inline."""

import inspect

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.callbacks.manager import AsyncCallbackManager
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.tracers.context import collect_runs

from detailed_balance.callbacks import TransitionCallbackHandler, record_transitions
from detailed_balance.callbacks.recorder import _inline
from detailed_balance.callbacks.recorder._inline import Inline

EVENTS = ["start", "end"]


class Listener(AsyncCallbackHandler):
    def __init__(self):
        self.heard, self.ids = [], []

    async def on_llm_start(self, serialized, prompts, *, run_id, **_):
        self.heard.append("start")
        self.ids.append(run_id)

    async def on_chat_model_start(self, serialized, messages, *, run_id, **_):
        self.heard.append("start")
        self.ids.append(run_id)

    async def on_llm_end(self, response, *, run_id, **_):
        self.heard.append("end")
        assert run_id in self.ids


class InlineListener(BaseCallbackHandler):
    run_inline = True

    def __init__(self):
        self.heard = []

    def on_llm_start(self, *_, **__):
        self.heard.append("start")


MODELS = [FakeListLLM(responses=["yes"]), FakeListChatModel(responses=["yes"])]


def edges(handler):
    return {(u, v): count for u, v, count in handler.graph.graph.edges(data="count")}


def walks(n):
    return {("__start__", "model"): n, ("model", "__end__"): n}


@pytest.mark.parametrize("model", MODELS, ids=["completion", "chat"])
@pytest.mark.parametrize("order", [1, -1])
async def test_handler_of_a_user_hears_what_it_hears_without_ours(model, order):
    ours, theirs = TransitionCallbackHandler(), Listener()
    with collect_runs() as collected:
        await model.ainvoke("hello", {"callbacks": [ours, theirs][::order]})
    assert theirs.heard == EVENTS
    assert [run.id for run in collected.traced_runs] == theirs.ids
    assert (edges(ours), ours.faults) == (walks(1), 0)


@pytest.mark.parametrize("model", MODELS, ids=["completion", "chat"])
async def test_streamed_events_are_the_same(model):
    async def events(callbacks):
        config = {"callbacks": callbacks}
        return [e["event"] async for e in model.astream_events("hello", config, version="v2")]

    ours = TransitionCallbackHandler()
    assert await events([ours]) == await events([])
    assert edges(ours) == walks(1)


async def test_handler_of_a_block_and_those_beside_it_hear_all():
    theirs = Listener()
    with record_transitions() as first, record_transitions() as second:
        await MODELS[0].ainvoke("hello", {"callbacks": [theirs]})
    assert theirs.heard == EVENTS
    assert edges(first) == edges(second) == walks(1)


async def test_each_of_several_prompts_keeps_its_id():
    ours, theirs = TransitionCallbackHandler(), Listener()
    prompts = [f"prompt {number}" for number in range(5)]
    await FakeListLLM(responses=["yes"]).agenerate(prompts, callbacks=[ours, theirs])
    assert sorted(theirs.heard) == sorted(EVENTS * 5)
    assert len(set(theirs.ids)) == 5
    assert (edges(ours), ours.faults) == (walks(5), 0)


async def test_ours_hears_what_another_that_runs_inline_takes_for_itself():
    ours, theirs = TransitionCallbackHandler(), InlineListener()
    await MODELS[0].ainvoke("hello", {"callbacks": [ours, theirs]})
    assert theirs.heard == ["start"]
    assert edges(ours) == walks(1)


def test_handler_runs_inline_everywhere_else():
    assert TransitionCallbackHandler().run_inline is True
    assert TransitionCallbackHandler.run_inline
    later = TransitionCallbackHandler()
    later.run_inline = False
    assert later.run_inline is False


async def test_events_are_heard_in_the_thread_of_the_agent():
    import threading

    threads = []

    class Ours(TransitionCallbackHandler):
        def on_llm_start(self, *args, **kwargs):
            threads.append(threading.current_thread())
            super().on_llm_start(*args, **kwargs)

    await MODELS[0].ainvoke("hello", {"callbacks": [Ours(), Listener()]})
    assert threads == [threading.main_thread()]


def test_installed_langchain_has_the_function_that_is_looked_for():
    assert "run_inline" in inspect.getsource(AsyncCallbackManager.on_llm_start)
    assert AsyncCallbackManager.on_llm_start.__code__ in _inline._KEPT


@pytest.mark.parametrize("function", [None, "text", len])
def test_function_that_is_not_found_leaves_the_plain_answer(monkeypatch, function):
    assert list(_inline._find_codes(function)) == []
    monkeypatch.setattr(_inline, "_CODES", frozenset())
    holder = type("Holder", (), {"run_inline": Inline()})()
    assert holder.run_inline is True


async def test_answer_that_cannot_be_found_is_yes(monkeypatch):
    def fail(_):
        raise AttributeError("handlers")

    monkeypatch.setattr(_inline, "_is_inline_anyway", fail)
    ours = TransitionCallbackHandler()
    await MODELS[0].ainvoke("hello", {"callbacks": [ours]})
    assert (edges(ours), ours.faults) == (walks(1), 0)
