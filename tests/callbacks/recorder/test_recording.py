"""`record_transitions` attaches itself to all that runs inside."""

import asyncio
import subprocess
import sys
import threading
from typing import TypedDict

import pytest
from langgraph.graph import END, START, StateGraph

from detailed_balance import callbacks
from detailed_balance.callbacks import (
    TransitionCallbackHandler,
    TransitionGraph,
    TransitionStore,
    record_transitions,
)


class State(TypedDict):
    n: int


def chain(*names, action=lambda state: state):
    graph = StateGraph(State)
    graph.add_sequence([(name, action) for name in names])
    graph.set_entry_point(names[0])
    return graph.compile()


def edges(handler):
    return [(u, v, count) for u, v, count in handler.graph.graph.edges(data="count")]


ONCE = [(START, "a", 1), ("a", "b", 1), ("b", END, 1)]


def test_agent_without_callbacks_is_recorded_and_no_longer_than_the_block():
    agent = chain("a", "b")
    with record_transitions() as handler:
        agent.invoke({"n": 0})
    agent.invoke({"n": 0})
    assert edges(handler) == ONCE


async def test_async_agent_and_its_tasks_are_recorded():
    with record_transitions() as handler:
        await asyncio.gather(*(chain("a", "b").ainvoke({"n": 0}) for _ in range(10)))
    assert edges(handler) == [(u, v, 10 * count) for u, v, count in ONCE]


def test_handler_given_by_hand_as_well_counts_once():
    with record_transitions() as handler:
        chain("a", "b").invoke({"n": 0}, {"callbacks": [handler]})
    assert edges(handler) == ONCE


def test_own_handler_and_block_both_record():
    own = TransitionCallbackHandler()
    with record_transitions() as handler:
        chain("a", "b").invoke({"n": 0}, {"callbacks": [own]})
    assert edges(handler) == edges(own) == ONCE


def test_nested_blocks_record_what_runs_inside_each():
    with record_transitions() as outer:
        chain("a").invoke({"n": 0})
        with record_transitions() as inner, record_transitions() as innermost:
            chain("b").invoke({"n": 0})
        chain("c").invoke({"n": 0})
    assert {edge[0] for edge in edges(outer)} == {START, "a", "b", "c"}
    assert edges(inner) == edges(innermost) == [(START, "b", 1), ("b", END, 1)]


def test_blocks_in_two_threads_do_not_mix():
    results = {}
    both_open = threading.Barrier(2)

    def work(name):
        with record_transitions() as handler:
            both_open.wait(10)
            chain(name).invoke({"n": 0})
            both_open.wait(10)
        results[name] = edges(handler)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {name: [(START, name, 1), (name, END, 1)] for name in "ab"}


def test_error_in_the_block_comes_through_and_ends_the_recording():
    def fail(state):
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"), record_transitions() as handler:
        chain("a", action=fail).invoke({"n": 0})
    chain("b").invoke({"n": 0})
    assert edges(handler) == []
    assert handler.graph.graph.nodes[START]["escapes"] == 1


def test_arguments_reach_the_handler():
    graph = TransitionGraph()
    with record_transitions(lambda run: "x", graph, context={"version": "2"}) as handler:
        chain("a", "b").invoke({"n": 0})
    assert handler.graph is graph
    assert graph.contexts() == ((("version", "2"),),)
    assert [edge[:2] for edge in edges(handler)] == [(START, "x"), ("x", "x"), ("x", END)]


def test_store_given_as_url_has_everything_after_the_block(tmp_path):
    url = f"sqlite:///{tmp_path / 'transitions.db'}"
    config = {"configurable": {"thread_id": "T"}}
    with record_transitions(store=url):
        chain("a", "b").invoke({"n": 0}, config)
    with TransitionStore(url) as store:
        moves = [(move.source, move.target) for move in store.read(trajectory="T")]
    assert moves == [edge[:2] for edge in ONCE]


def test_store_given_as_object_stays_open(tmp_path):
    with TransitionStore(f"sqlite:///{tmp_path / 'transitions.db'}") as store:
        for rounds in (1, 2):
            with record_transitions(store=store):
                chain("a", "b").invoke({"n": 0})
            assert store.counts().total == 3 * rounds


def test_package_names_are_all_there():
    assert set(callbacks.__all__) <= set(dir(callbacks))
    assert all(hasattr(callbacks, name) for name in callbacks.__all__)
    with pytest.raises(AttributeError, match="callbacks attribute nonsense"):
        callbacks.nonsense  # noqa: B018 - the access is the test


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("TransitionGraph", {"langchain_core", "scipy"}),
        ("TransitionCallbackHandler", {"sqlalchemy", "scipy"}),
    ],
)
def test_name_loads_no_more_than_it_needs(name, foreign):
    lines = ["import sys", f"from detailed_balance.callbacks import {name}"]
    code = "; ".join([*lines, f"print({foreign!r} & sys.modules.keys())"])
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
