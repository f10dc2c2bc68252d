"""How a trajectory stopped, as the store and the graph have it."""

import asyncio
import contextlib
import dataclasses
import sqlite3

import pytest
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt

from detailed_balance import Transition, TransitionStore, analyze, read_runs
from detailed_balance.analyzers import Outcome
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.callbacks import Ending, TransitionCallbackHandler
from detailed_balance.callbacks.recorder._run_tracker import RunTracker
from detailed_balance.callbacks.recorder.trajectory_builder import Stop
from tests.support.agents import INPUT, State, build, chain, fail, loop, node, run, thread


@pytest.fixture
def handler():
    with TransitionStore("sqlite://") as store:
        yield TransitionCallbackHandler(store=store)


def outcomes(handler):
    """Return (outcome, error) of each ending, which the graph must have counted too."""
    handler.flush()
    found = [(ending.outcome, ending.error) for ending in handler.store.endings()]
    counts = handler.graph.outcomes()
    assert {o: [x for x, _ in found].count(o) for o, _ in found} == counts
    return found


def ask(state):
    return {"log": [interrupt("?")]}


def test_graph_that_returned_has_ended(handler):
    run(loop(2), handler)
    assert outcomes(handler) == [(Outcome.ENDED, None)]


def test_failed_graph_names_the_type_of_its_error_and_the_node_that_raised_it(handler):
    with pytest.raises(ValueError, match="boom"):
        run(chain("a", "b", b=fail), handler)
    assert outcomes(handler) == [(Outcome.FAILED, "ValueError in b")]


def test_recursion_limit_is_an_outcome_of_its_own(handler):
    with pytest.raises(GraphRecursionError):
        run(loop(99), handler, recursion_limit=3)
    assert outcomes(handler) == [(Outcome.RECURSION_LIMIT, "GraphRecursionError")]


def test_interrupted_run_is_open_until_it_is_resumed(handler):
    agent = chain("a", "ask", ask=ask, checkpointer=MemorySaver())
    run(agent, handler, **thread("T"))
    assert outcomes(handler) == [(Outcome.INTERRUPTED, None)]
    (open_run,) = read_runs(handler)
    assert (open_run.outcome, open_run.success) == (Outcome.INTERRUPTED, None)
    run(agent, handler, Command(resume="yes"), **thread("T"))
    (finished,) = read_runs(handler)
    assert (finished.outcome, finished.success) == (Outcome.ENDED, True)
    assert finished.states == ("a", "ask")


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_dropped_stream_is_abandoned(handler, asynchronous):
    config = {"callbacks": [handler]}
    if asynchronous:
        chunks = loop(9).astream(INPUT, config, stream_mode="updates")
        await anext(chunks)
        await chunks.aclose()
    else:
        stream = loop(9).stream(INPUT, config, stream_mode="updates")
        next(stream)
        stream.close()
    assert outcomes(handler) == [(Outcome.ABANDONED, "GeneratorExit")]


async def test_cancelled_run_is_cancelled(handler):
    started = asyncio.Event()

    async def slow(state):
        started.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(chain("slow", slow=slow).ainvoke(INPUT, {"callbacks": [handler]}))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcomes(handler) == [(Outcome.CANCELLED, "CancelledError in slow")]


def test_subgraph_has_an_outcome_of_its_own(handler):
    def give_up(state):
        return Command(graph=Command.PARENT, goto="post")

    agent = build([(START, "sub")], sub=chain("in", **{"in": give_up}), post=node("post"))
    run(agent, handler)
    assert outcomes(handler) == [(Outcome.ENDED, None)] * 2


def test_too_many_open_runs_leave_the_oldest_abandoned_and_say_so():
    said, records = [], []
    runs = RunTracker(max_roots=2, on_evict=lambda: said.append(1))
    labels = {"langgraph_checkpoint_ns": "a:1", "langgraph_step": 1, "langgraph_node": "a"}
    for root in (1, 2, 3):
        records += runs.start(10 * root, None)
        records += runs.start_node(10 * root + 1, 10 * root, labels)
    (stop,) = (record for record in records if isinstance(record, Stop))
    assert stop.outcome is Outcome.ABANDONED
    assert stop.trajectory.endswith("-00000000000a")
    assert said == [1]
    assert runs.end(11, Outcome.ENDED, ("a",)) == ()


def test_every_use_of_a_thread_is_a_run_with_its_own_outcome(handler):
    fails = iter([False, True, False])

    def flaky(state):
        if next(fails):
            raise ValueError("boom")
        return {"log": ["x"]}

    agent = chain("flaky", flaky=flaky, checkpointer=MemorySaver())
    for _ in range(3):
        with contextlib.suppress(ValueError):
            run(agent, handler, **thread("T"))
    runs = read_runs(handler)
    assert [r.outcome for r in runs] == [Outcome.ENDED, Outcome.FAILED, Outcome.ENDED]
    assert [r.error for r in runs] == [None, "ValueError in flaky", None]
    assert [r.success for r in runs] == [True, False, True]
    assert runs[1].moves == ((START, None),)


def test_judgement_overrules_the_outcome(handler):
    run(loop(2), handler, **thread("T"))
    handler.flush()
    handler.store.judge("T", success=False)
    (judged,) = read_runs(handler)
    assert (judged.outcome, judged.success) == (Outcome.ENDED, False)


def test_report_says_how_the_runs_stopped(handler):
    run(loop(2), handler)
    with pytest.raises(ValueError, match="boom"):
        run(chain("a", "b", b=fail), handler)
    for source in (handler, handler.store):
        handler.flush()
        (reported,) = [line for line in str(analyze(source)).splitlines() if "stopped  " in line]
        assert reported.split("stopped")[1].split() == ["1", "ended,", "1", "failed"]
        assert analyze(source).to_dict()["source"]["outcomes"] == {"ended": 1, "failed": 1}


def test_endings_survive_the_store_whatever_they_hold():
    ending = Ending("T\x00\ud800", Outcome.FAILED, "Err\x1bor", False, (("v", "\x1a"),), 1.5)
    with TransitionStore("sqlite://") as store:
        store.append([ending, Ending(None)])
        assert store.endings() == (ending, Ending(None))
        assert store.endings(trajectory="T\x00\ud800", context={"v": "\x1a"}) == (ending,)
        assert store.endings(since=2.0) == ()


@pytest.mark.parametrize(
    ("field", "value"), [("outcome", "finished"), ("success", 1), ("error", 5), ("trajectory", 3)]
)
def test_ending_that_is_none_is_refused_by_name(field, value):
    wrong = dataclasses.replace(Ending("T", Outcome.ENDED), **{field: value})
    with TransitionStore("sqlite://") as store:
        with pytest.raises(
            InvalidInputError, match=f"{field} of an ending must be .* got {value!r}"
        ):
            store.append([wrong])
        assert store.endings() == ()


def test_store_of_version_1_is_brought_up_to_date(tmp_path):
    place = tmp_path / "runs.db"
    with TransitionStore(f"sqlite:///{place}") as store:
        store.append([Transition("a", "b", "T")])
    table = "detailed_balance_transitions"
    with sqlite3.connect(place) as old:
        old.execute("DROP TABLE detailed_balance_endings")
        old.execute("DROP TABLE detailed_balance_writers")
        old.execute("DROP TABLE detailed_balance_runs")
        columns = [name for _, name, *_ in old.execute(f"PRAGMA table_info({table})")]
        for name in columns[columns.index("count") + 1 :]:
            old.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
        old.execute("UPDATE detailed_balance_versions SET version = 1")
    with TransitionStore(f"sqlite:///{place}", create=False) as store:
        assert store.endings() == ()
        assert store.outcomes() == {}
        assert len(store) == 1
    with TransitionStore(f"sqlite:///{place}") as store:
        store.judge("T", success=True)
        assert [run.success for run in read_runs(store)] == [True]


def test_runs_of_a_file_are_judged_by_a_field(tmp_path):
    trace = tmp_path / "runs.csv"
    rows = ["source,target,trajectory,reward", "a,b,1,1.0", "a,c,2,0", "b,a,1,1.0", "a,,3,"]
    trace.write_text("\n".join(rows) + "\n")
    runs = read_runs(trace, success_field="reward")
    assert [(r.name, r.moves, r.success) for r in runs] == [
        ("1", (("a", "b"), ("b", "a")), True),
        ("2", (("a", "c"),), False),
        ("3", (("a", None),), None),
    ]


def test_field_that_judges_nothing_is_refused(tmp_path):
    trace = tmp_path / "runs.csv"
    trace.write_text("source,target,trajectory,reward\na,b,1,maybe\n")
    with pytest.raises(ReadError, match=r"line 2: 'reward' must be one of 1, .*; got 'maybe'"):
        read_runs(trace, success_field="reward")
    judged = pytest.raises(InvalidInputError, match="are judged by")
    with TransitionStore("sqlite://") as store, judged:
        read_runs(store, success_field="reward")


def test_a_step_that_failed_and_was_tried_again_does_not_name_a_later_error(handler):
    tries = iter([True, False, False])

    def flaky(state):
        if next(tries):
            raise ValueError("boom")
        return {"log": ["x"]}

    graph = StateGraph(State)
    graph.add_node("flaky", flaky, retry_policy=RetryPolicy(0, retry_on=ValueError))
    graph.add_edge(START, "flaky")
    graph.add_edge("flaky", "flaky")
    stream = graph.compile().stream(INPUT, {"callbacks": [handler]})
    next(stream)
    with pytest.raises(RuntimeError):
        stream.throw(RuntimeError("the reader broke"))
    assert [error for _, error in outcomes(handler)] == ["RuntimeError"]


@pytest.mark.parametrize("error", [ValueError("x"), asyncio.CancelledError()])
def test_a_call_that_broke_off_takes_nothing_of_what_follows_along(handler, error):
    @tool
    def breaks(q: str) -> str:
        """Break off."""
        raise error

    @tool
    def works(q: str) -> str:
        """Work."""
        return q

    def call(tools, config):
        for each in tools:
            with contextlib.suppress(type(error)):
                each.invoke({"q": "x"}, config)

    RunnableLambda(call).invoke([works, breaks, works, works], {"callbacks": [handler]})
    handler.flush()
    moves = [(m.source, m.target) for m in handler.store.read() if m.target]
    assert moves == [(START, "works"), ("works", "works"), ("works", "works"), ("works", END)]
