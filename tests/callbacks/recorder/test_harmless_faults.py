"""Whatever function of the recorder breaks, agents do what they did, and the loss is counted."""

import logging
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt

from detailed_balance.callbacks import (
    ActionStates,
    PromptStates,
    TransitionCallbackHandler,
    TransitionStore,
)
from detailed_balance.callbacks.store._rows import _short_name, encode_context
from detailed_balance.callbacks.store._schema import _short_digest
from tests.support.agents import INPUT, ScriptedModel, State, chain, fail, thread
from tests.support.injection import broken, find_functions, watched

FUNCTIONS = find_functions()
RETRY = RetryPolicy(initial_interval=0.0, jitter=False, retry_on=ValueError)


def search(query: str = "") -> str:
    """Search."""
    return "found"


TOOLS = create_agent(ScriptedModel(script=[["search"], ["search", "search"], "done"]), [search])


def run_tools(config):
    """Run an agent that calls tools side by side; its messages have random ids."""
    found = TOOLS.invoke({"messages": [("human", "go")]}, config)
    return [(type(message), message.content) for message in found["messages"]]


ATTEMPTS = []


def unsure(state):
    """Fail at the first attempt."""
    ATTEMPTS.append(1)
    if len(ATTEMPTS) < 2:
        raise ValueError("try again")
    return {"log": ["unsure"]}


def build_all_shapes():
    inner = chain("x", "up", up=lambda state: Command(goto="last", graph=Command.PARENT))
    graph = StateGraph(State)
    graph.add_node("unsure", unsure, retry_policy=RETRY)
    graph.add_node("ask", lambda state: {"log": [interrupt("which?")]})
    graph.add_node("complete", lambda state: {"log": [FakeListLLM(responses=["a"]).invoke("b")]})
    graph.add_node("inner", inner)
    graph.add_node("last", lambda state: {"log": ["last"]})
    graph.add_edge(START, "unsure")
    graph.add_edge("unsure", "ask")
    graph.add_edge("unsure", "complete")
    graph.add_edge("ask", "inner")
    graph.add_edge("last", END)
    return graph.compile(interrupt_before=["inner"])


SHAPES = build_all_shapes()


def run_all_shapes(config):
    """Run a graph with a subgraph, a retry, an interrupt, a resume and commands."""
    ATTEMPTS.clear()
    SHAPES.checkpointer = MemorySaver()
    found = [SHAPES.invoke(INPUT, config)["log"]]
    found.append(SHAPES.invoke(Command(resume="this"), config)["log"])
    return [*found, *SHAPES.stream(None, config)]


FAILING, SOUND = chain("a", "b", b=fail), chain("a", "b")


def run_failures(config):
    """Run an agent that fails, and one whose stream is abandoned."""
    with pytest.raises(ValueError, match="boom") as caught:
        FAILING.invoke(INPUT, config)
    stream = SOUND.stream(INPUT, config)
    first = next(stream)
    stream.close()
    return [repr(caught.value), first]


class BrokenModel(FakeListLLM):
    def _call(self, *args, **kwargs):
        raise TimeoutError("no model today")


class Library(BaseRetriever):
    def _get_relevant_documents(self, query, *, run_manager):
        return [Document("found")] if query == "a" else 1 / 0


@tool
def divide(number: int) -> float:
    """Divide by zero."""
    return number / 0


@task
def double(number):
    return 2 * number


@entrypoint()
def workflow(number):
    return double(number).result() + 1


def run_without_graphs(config):
    """Run models, tools, retrievers, a prompt and a functional workflow, well and badly."""
    prompt = ChatPromptTemplate.from_messages([("system", "Be {how}."), ("human", "Hello")])
    model = ScriptedModel(script=["hello"])
    found = [workflow.invoke(20, config), (prompt | model).invoke({"how": "short"}, config).text]
    found.append(Library().invoke("a", config)[0].page_content)
    bad = [(Library(), "b"), (divide, {"number": 1}), (BrokenModel(responses=[]), "b")]
    for broken_one, given in bad:
        with pytest.raises((ZeroDivisionError, TimeoutError)) as caught:
            broken_one.invoke(given, config)
        found.append(repr(caught.value))
    return found


AGENTS = (run_tools, run_all_shapes, run_failures, run_without_graphs)
SOME = (run_all_shapes,)


def run_agents(handlers, name, agents=AGENTS):
    """Return all that the agents gave."""
    config = {"callbacks": handlers}
    return [run({**config, **thread(f"{name} {run.__name__}")}) for run in agents]


def edges(handler):
    live = handler.graph.graph
    escapes = {(state, None): count for state, count in live.nodes(data="escapes")}
    counts = Counter(escapes)
    for source, target, count in live.edges(data="count"):  # one edge for each context
        counts[source, target] += count
    return counts


def ends_soon(call):
    """Say whether a call ends; one that waits for ever would hold up the test."""
    worker = threading.Thread(target=call, daemon=True)
    worker.start()
    worker.join(30)
    return not worker.is_alive()


@contextmanager
def open_recorders():
    """Yield a new store, and a handler of each kind that writes to it."""
    with TemporaryDirectory() as folder:
        store = TransitionStore(f"sqlite:///{Path(folder) / 'runs.db'}")
        encode_context.cache_clear()
        _short_digest.cache_clear()
        _short_name.cache_clear()
        yield (
            store,
            [TransitionCallbackHandler(states, store=store, labels=LABELS) for states in STATES],
        )
        assert ends_soon(store.close)


@pytest.fixture
def recorders():
    with open_recorders() as opened:
        yield opened


def record_truth(agents):
    handlers = [TransitionCallbackHandler(states, labels=LABELS) for states in STATES]
    run_agents(handlers, "truth", agents)
    return {handler.states: +edges(handler) for handler in handlers}


def find_reached():
    """Return the names of the functions that are called while the agents are recorded."""
    with watched(FUNCTIONS) as called, open_recorders() as (_, handlers):
        called.clear()  # those that open a store
        run_agents(handlers, "watched")
        assert all(ends_soon(handler.flush) for handler in handlers)
        return sorted(called)


def count_kept_away(store, handlers):
    return store.lost + store.spooled + sum(handler.faults for handler in handlers)


LABELS = ("model", "graph", "prompt")
STATES = [ActionStates(), PromptStates()]
EXPECTED = run_agents([], "plain")
MOVES = sum(sum(moves.values()) for moves in record_truth(AGENTS).values())
AGAIN = record_truth(SOME)
REACHED = find_reached()
MODULES = sorted({name.partition(".")[0] for name in REACHED})


def test_the_agents_make_moves_of_every_kind(recorders):
    store, handlers = recorders
    assert run_agents(handlers, "sound") == EXPECTED
    nodes, calls = map(edges, handlers)
    assert sum(count for (_, target), count in nodes.items() if target is None) >= 2
    for edge in [("unsure", "ask|complete"), (START, "x"), ("search", "search"), ("model", END)]:
        assert nodes[edge] >= 1, edge
    assert calls["b", "a"] == 1
    store.flush()
    assert store.lost + sum(handler.faults for handler in handlers) == 0
    assert len(store) == MOVES


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("module", MODULES)
def test_a_broken_function_changes_no_result_and_is_counted(module):
    for name in REACHED:
        if name.partition(".")[0] != module:
            continue
        with open_recorders() as (store, handlers):
            with broken(FUNCTIONS[name]) as calls:
                assert run_agents(handlers, "broken") == EXPECTED, name
                assert all(ends_soon(handler.flush) for handler in handlers), name
                assert calls, name
            assert count_kept_away(store, handlers) > 0, name

            store.flush()  # what waits in the spool is written now
            assert store.spooled == 0, name
            before, rows = [edges(handler) for handler in handlers], len(store)
            run_agents(handlers, "sound again", SOME)
            for handler, counted in zip(handlers, before, strict=True):
                assert edges(handler) - counted == AGAIN[handler.states], name
            store.flush()
            assert len(store) - rows == sum(sum(moves.values()) for moves in AGAIN.values()), name


def test_the_other_functions_broken_all_at_once_are_not_missed(recorders):
    # So that none is left out above.
    store, handlers = recorders
    with broken(*(FUNCTIONS[name] for name in FUNCTIONS.keys() - set(REACHED))) as calls:
        assert run_agents(handlers, "broken") == EXPECTED
        assert all(ends_soon(handler.flush) for handler in handlers)
        assert calls == []
    assert count_kept_away(store, handlers) == 0
    assert len(MODULES) > 20
    assert len(store) == MOVES


def test_a_broken_log_changes_no_result_and_the_losses_are_counted(recorders):
    def refuse(record):
        raise RuntimeError("no log today")

    store, handlers = recorders
    log = logging.getLogger("detailed_balance")
    log.addFilter(refuse)
    try:
        with broken(FUNCTIONS["handler.TransitionCallbackHandler._record_move"]):
            assert run_agents(handlers, "broken") == EXPECTED
        store.record("no transition")
        store.flush()
    finally:
        log.removeFilter(refuse)
    assert sum(handler.faults for handler in handlers) == MOVES
    assert store.lost == 1


HOOKS = [name for name in vars(TransitionCallbackHandler) if name.startswith("on_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_call_that_fits_no_hook_raises_nothing(hook):
    handler = TransitionCallbackHandler()
    called = getattr(handler, hook)
    called()
    called(outputs=1, run_id=None)
    called(1, run_id="no uuid", parent_run_id=7, metadata=3, tags=0)
    assert handler.faults >= 2
    assert handler.graph.snapshot().states == ()
