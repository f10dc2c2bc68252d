"""State keys without end are kept from filling the memory, and the mistake is named once."""

import logging
import pickle
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, strategies as st
from langchain_core.language_models import FakeListChatModel
from langgraph.graph import END, START

from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks import (
    PromptStates,
    TransitionCallbackHandler,
    record_transitions,
)
from detailed_balance.callbacks.states.cardinality import OTHER, StateLimit
from tests.support.agents import Walks, chain, loop, path, run


def every_step(node):
    return f"{node.name}-{node.step}"


def test_states_beyond_the_limit_are_one_state_in_the_graph(caplog):
    handler = TransitionCallbackHandler(every_step, graph=Walks(), max_states=3)
    run(loop(4), handler)
    others = [OTHER] * 5
    assert handler.graph.walk == path(START, "a-1", "b-2", "a-3", *others, END)
    assert handler.faults == 0
    (record,) = caplog.records
    assert record.name == "detailed_balance"
    assert "more than 3 different states" in record.message
    assert "'__other__'" in record.message


def test_states_seen_before_the_limit_stay_themselves_in_later_runs():
    handler = TransitionCallbackHandler(every_step, graph=Walks(), max_states=3)
    for _ in range(2):
        run(loop(2), handler)
    expected = path(START, "a-1", "b-2", "a-3", OTHER, END)
    assert list(handler.graph.walks.values()) == [expected, expected]


def test_no_agent_at_the_limit_is_warned_of(caplog):
    run(chain("a", "b"), TransitionCallbackHandler(max_states=2))
    assert caplog.records == []


def test_default_lets_ten_thousand_states_pass_and_no_more():
    limit = TransitionCallbackHandler()._limit
    keys = [str(i) for i in range(10_001)]
    assert [limit((key,))[0] for key in keys] == [*keys[:-1], OTHER]


def test_none_is_no_limit(caplog):
    limit = StateLimit(None)
    assert all(limit((str(i),)) == (str(i),) for i in range(20_000))
    assert caplog.records == []


def test_prompts_and_answers_are_limited_too():
    handler = TransitionCallbackHandler(PromptStates(), graph=Walks(), max_states=2)
    model = FakeListChatModel(responses=["b", "c"])
    for prompt in ("a", "d"):
        model.invoke(prompt, {"callbacks": [handler]})
    first, second = handler.graph.walks.values()
    assert (first, second) == ([("a", "b")], [(OTHER, OTHER)])


def test_block_that_records_takes_the_limit():
    with record_transitions(max_states=1) as handler:
        chain("a", "b").invoke({"n": 0, "log": []})
    assert set(handler.graph.graph) == {START, "a", OTHER, END}


def test_pickled_handler_has_the_limit():
    handler = TransitionCallbackHandler(max_states=1)
    again = pickle.loads(pickle.dumps(handler))  # noqa: S301 - our own bytes
    run(chain("a", "b"), again)
    assert set(again.graph.graph) == {START, "a", OTHER, END}


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "10", True])
def test_limit_that_is_no_number_of_states_is_refused(wrong):
    with pytest.raises(InvalidInputError, match=r"max_states must be a whole number .* None"):
        TransitionCallbackHandler(max_states=wrong)


def test_overflow_of_a_state_function_takes_no_place_and_is_no_news(caplog):
    limit = StateLimit(1)
    assert [limit((key,)) for key in (OTHER, "a", OTHER)] == [(OTHER,), ("a",), (OTHER,)]
    assert caplog.records == []


def uuids(i):
    return f"search-{uuid.UUID(int=i * 2**100 + 2**80)}"


KINDS = {
    "UUID": uuids,
    "hash or a random id": lambda i: f"search-{(i + 10) * 0x9E3779B97F4A7C15 % 2**64:016x}-x",
    "date or a time": lambda i: f"2026-11-22T10:{i % 60:02}:00Z plan",
    "timestamp or a long number": lambda i: f"plan@{1_790_000_000 + i}",
    "counter": lambda i: f"step {i}",
    "free text": lambda i: "abcdefgh"[: 1 + i % 8] * (1 + i // 8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_warning_names_what_makes_every_key_a_new_one(kind, caplog):
    limit = StateLimit(20)
    keys = [KINDS[kind](i) for i in range(30)]
    assert [limit((key,)) for key in keys] == [(key,) for key in keys[:20]] + [(OTHER,)] * 10
    (record,) = caplog.records
    assert f"{kind} " in record.message
    assert "seems to be in the keys" in record.message
    assert keys[20] in record.message
    assert "state function" in record.message


@given(st.lists(st.text(st.characters(categories=None)), min_size=2, unique=True))
def test_hostile_keys_neither_break_nor_flood_the_warning(keys):
    limit = StateLimit(1)
    kept = [limit((key,)) for key in keys]
    assert kept == [(keys[0],)] + [(OTHER,)] * (len(keys) - 1)


def test_warning_is_short_and_plain_whatever_is_in_the_keys(caplog):
    limit = StateLimit(1)
    limit(("\x1b[2J" * 100_000, "\ud800" * 100_000))
    (record,) = caplog.records
    assert len(record.message) < 1_000
    assert record.message.isprintable()


def test_threads_share_one_limit_and_agree_on_every_key(caplog):
    limit, together = StateLimit(100), threading.Barrier(16)

    def work(offset):
        together.wait(10)
        return {key: limit((key,))[0] for key in (str((i + offset) % 1000) for i in range(1000))}

    with ThreadPoolExecutor(16) as pool:
        first, *others = pool.map(work, range(0, 160, 10))
    assert sum(name != OTHER for name in first.values()) == 100
    assert all(other == first for other in others)
    assert len(caplog.records) == 1


def test_broken_log_costs_no_state(monkeypatch):
    def broken(*args, **kwargs):
        raise OSError("the log is gone")

    monkeypatch.setattr(logging.getLogger("detailed_balance"), "warning", broken)
    limit = StateLimit(1)
    assert limit(("a",)) == ("a",)
    assert limit(("b",)) == (OTHER,)
