"""What real savers of LangGraph wrote is read back as what the callback recorded live."""

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
from collections import defaultdict
from contextlib import suppress

import ormsgpack
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    hook_config,
)
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.errors import GraphRecursionError
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import CachePolicy, Command, RetryPolicy, Send, interrupt

from detailed_balance import read_runs
from detailed_balance.analyzers.errors import ReadError
from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.callbacks import TransitionCallbackHandler, TransitionStore
from detailed_balance.callbacks.states import NodeStates
from detailed_balance.callbacks.transition import Transition
from detailed_balance.readers import read_transitions
from detailed_balance.readers.checkpoints.rows import OPAQUE, unpack
from tests.callbacks import test_names_agree as agents
from tests.callbacks.store.test_store import postgres_url  # noqa: F401 - a fixture
from tests.callbacks.test_names_agree import Replies
from tests.support.agents import INPUT, ScriptedModel, State, build, chain, fail, loop, node, thread

sqlite_savers = pytest.importorskip(
    "langgraph.checkpoint.sqlite", reason="langgraph-checkpoint-sqlite is not installed"
)


@pytest.fixture
def saver(tmp_path):
    """Give a saver in a file, and the file."""
    with sqlite_savers.SqliteSaver.from_conn_string(str(tmp_path / "agent.db")) as opened:
        yield opened, tmp_path / "agent.db"


@pytest.fixture
def any_saver(request, tmp_path):
    """Give a saver of each kind, and where it writes."""
    if request.param == "sqlite":
        yield request.getfixturevalue("saver")
        return
    postgres = pytest.importorskip("langgraph.checkpoint.postgres", reason="no PostgresSaver here")
    url = request.getfixturevalue("postgres_url")
    with postgres.PostgresSaver.from_conn_string(url.replace("+psycopg", "")) as opened:
        opened.setup()
        yield opened, url


def by_trajectory(moves):
    """Return what each trajectory did, without times and labels."""
    found = defaultdict(list)
    for move in moves:
        found[move.trajectory].append((move.source, move.target, move.step))
    return dict(found)


def outcomes(records):
    """Return how each trajectory stopped last."""
    return {r.trajectory: (r.outcome, r.error) for r in records if not isinstance(r, Transition)}


def forget_paths(path):
    """Make a database such as langgraph-checkpoint-sqlite wrote it before 3.1."""
    with sqlite3.connect(path) as database:
        database.execute("ALTER TABLE writes DROP COLUMN task_path")


def live(play, saver, states=None):
    """Play a scene with the callback attached, and return all that it recorded."""
    with TransitionStore("sqlite://") as store:
        options = {} if states is None else {"states": states}
        handler = TransitionCallbackHandler(store=store, **options)
        play(saver, lambda name: {**thread(name), "callbacks": [handler]})
        gc.collect()
        handler.flush()
        return list(store.read()), list(store.endings())


@tool
def search() -> str:
    """Search."""
    return "found"


@tool
def read() -> str:
    """Read."""
    return "text"


@tool
def ask() -> str:
    """Ask somebody."""
    return interrupt("may I?")


@tool
def hand_over() -> Command:
    """Answer by a command."""
    return Command(update={"messages": [ToolMessage("over", tool_call_id="1.0", name="hand_over")]})


def answer(*script):
    return {"model": ScriptedModel(script=list(script)), "tools": [search, read, ask, hand_over]}


def play_agent(saver, config):
    script = [["search"], ["search", "read"], ["read", "read"], "done"]
    agent = create_agent(**answer(*script), checkpointer=saver)
    for name in ("T1", "T2"):
        agent.invoke({"messages": [("user", "go")]}, config(name))


def play_agent_twice_in_one_thread(saver, config):
    agent = create_agent(**answer(["search"], "done", ["read"], "done"), checkpointer=saver)
    for _ in range(2):
        agent.invoke({"messages": [("user", "go")]}, config("T"))


def play_interrupt_in_a_tool(saver, config):
    agent = create_agent(**answer(["search", "ask"], "done"), checkpointer=saver)
    agent.invoke({"messages": [("user", "go")]}, config("T"))
    agent.invoke(Command(resume="yes"), config("T"))


def play_interrupt_left_open(saver, config):
    agent = create_agent(**answer(["ask"], "done"), checkpointer=saver)
    agent.invoke({"messages": [("user", "go")]}, config("T"))


def play_tools_that_command(saver, config):
    agent = create_agent(**answer(["search"], ["hand_over"], "done"), checkpointer=saver)
    agent.invoke({"messages": [("user", "go")]}, config("T"))


def play_loop(saver, config):
    loop(5, saver).invoke(INPUT, config("a, b / ~__pregel_pull, ü\x1b"))


def play_fan_out(saver, config):
    graph = StateGraph(State)
    for name in ("plan", "worker", "other", "join"):
        graph.add_node(name, node(name))
    sends = [Send("worker", INPUT), Send("other", INPUT), Send("worker", INPUT)]
    graph.add_edge(START, "plan").add_edge("worker", "join").add_edge("other", "join")
    graph.add_conditional_edges("plan", lambda state: sends, ["worker", "other"])
    graph.compile(checkpointer=saver).invoke(INPUT, config("T"))


def play_silent_nodes(saver, config):
    chain("a", "b", "c", checkpointer=saver, b=lambda state: None).invoke(INPUT, config("T"))


def play_parallel_then_barrier(saver, config):
    edges = [(START, "a"), (START, "b"), ("b", "c"), (["a", "c"], "d"), ("d", END)]
    nodes = {name: node(name) for name in "abcd"}
    build(edges, saver, **nodes).invoke(INPUT, config("T"))


def play_subgraphs(saver, config):
    inner = chain("x", "y")
    middle = chain("m", "inner", inner=inner)
    agent = chain("a", "middle", "z", checkpointer=saver, middle=middle)
    for _ in range(2):
        agent.invoke(INPUT, config("T"))


def play_interrupt_in_a_subgraph(saver, config):
    inner = chain("x", "asks", "y", asks=lambda state: {"log": [interrupt("?")]})
    agent = chain("a", "inner", "z", checkpointer=saver, inner=inner)
    agent.invoke(INPUT, config("T"))
    agent.invoke(Command(resume="yes"), config("T"))


def play_agent_as_subgraph(saver, config):
    helper = create_agent(**answer(["search"], "done"), name="helper")
    graph = StateGraph(helper.builder.state_schema).add_node("helper", helper)
    graph.add_edge(START, "helper").add_edge("helper", END)
    graph.compile(checkpointer=saver).invoke({"messages": [("user", "go")]}, config("T"))


def play_failure(saver, config):
    with suppress(ValueError):
        chain("a", "b", "c", checkpointer=saver, b=fail).invoke(INPUT, config("T"))


def play_failure_and_recovery(saver, config):
    tries = []

    def twice(state):
        tries.append(1)
        return fail(state) if len(tries) == 1 else {"log": ["b"]}

    agent = chain("a", "b", "c", checkpointer=saver, b=twice)
    with suppress(ValueError):
        agent.invoke(INPUT, config("T"))
    agent.invoke(None, config("T"))


def play_interrupt_before(saver, config):
    agent = chain("a", "b", checkpointer=saver)
    agent.invoke(INPUT, config("T"), interrupt_before=["b"])
    agent.invoke(INPUT, config("U"), interrupt_before=["b"])
    agent.invoke(None, config("U"))


def play_goto(saver, config):
    graph = StateGraph(State)
    graph.add_node("a", lambda state: Command(update={"log": ["a"]}, goto="c"))
    graph.add_node("c", node("c")).add_edge(START, "a")
    graph.compile(checkpointer=saver).invoke(INPUT, config("T"))


def play_error_in_one_branch(saver, config):
    nodes = {"a": node("a"), "b": fail, "c": node("c")}
    with suppress(ValueError):
        build([(START, "a"), (START, "b"), ("a", "c")], saver, **nodes).invoke(INPUT, config("T"))


def play_error_handler(saver, config):
    graph = StateGraph(State).add_node("bad", fail, error_handler=node("rescue"))
    graph.add_node("after", node("after")).add_edge(START, "bad").add_edge("bad", "after")
    graph.compile(checkpointer=saver).invoke(INPUT, config("T"))


def play_subgraph_with_a_memory_of_its_own(saver, config):
    inner = chain("x", "y", checkpointer=True)
    agent = chain("a", "inner", checkpointer=saver, inner=inner)
    for _ in range(2):
        agent.invoke(INPUT, config("T"))


def play_middleware(saver, config):
    class Hooks(AgentMiddleware):
        def before_model(self, state, runtime):
            return None

    agent = create_agent(**answer(["search"], "done"), middleware=[Hooks()], checkpointer=saver)
    agent.invoke({"messages": [("user", "go")]}, config("T"))


def play_situations(saver, config):
    """Every situation in which the tools that start do not say the state."""
    for number, (script, options, resume, _) in enumerate(agents.situations().values()):
        agent = create_agent(
            Replies(script=list(script)),
            [agents.search, agents.read, agents.flaky],
            checkpointer=saver,
            **options,
        )
        agent.invoke({"messages": [("user", "go")]}, config(f"T{number}"))
        if resume:
            agent.invoke(Command(resume=resume), config(f"T{number}"))


def play_hooks_that_write(saver, config):
    class Jumps(AgentMiddleware):
        @hook_config(can_jump_to=["end"])
        def before_model(self, state, runtime):
            return {"jump_to": "end"} if len(state["messages"]) > 6 else None

    hides = PIIMiddleware("email", apply_to_output=True, apply_to_tool_results=True)
    sums = SummarizationMiddleware(
        ScriptedModel(script=["ann@example.org"] * 9), trigger=("messages", 4), keep=("messages", 2)
    )
    for name, hooks in {"T": [hides], "U": [hides, Jumps()], "V": [sums, hides]}.items():
        asked = [agents.ask(tool) for tool in ("search", "read", "search", "search")]
        model = Replies(script=[*asked, agents.says("ann@example.org")])
        tools = [agents.search, agents.read]
        agent = create_agent(model, tools, middleware=hooks, checkpointer=saver)
        agent.invoke({"messages": [("user", "I am ann@example.org")]}, config(name))


def play_update_by_hand(saver, config):
    agent = chain("a", "b", "c", checkpointer=saver)
    agent.invoke(INPUT, config("T"), interrupt_before=["b"])
    agent.update_state(thread("T"), {"log": ["by hand"]}, as_node="b")
    agent.invoke(None, config("T"))


def play_new_input_to_an_interrupted_thread(saver, config):
    agent = chain("a", "b", checkpointer=saver)
    agent.invoke(INPUT, config("T"), interrupt_before=["b"])
    agent.invoke(INPUT, config("T"))


def play_deferred_node(saver, config):
    graph = StateGraph(State)
    for name in "abcd":
        graph.add_node(name, node(name), defer=name == "d")
    for source, target in ((START, "a"), ("a", "b"), ("a", "d"), ("b", "c"), ("c", "d")):
        graph.add_edge(source, target)
    graph.compile(checkpointer=saver).invoke(INPUT, config("T"))


SCENES = [scene for name, scene in list(globals().items()) if name.startswith("play_")]


ON_POSTGRES = [play_agent, play_fan_out, play_interrupt_in_a_subgraph, play_failure_and_recovery]
if os.environ.get("DETAILED_BALANCE_TEST_ALL_SAVERS"):
    ON_POSTGRES = SCENES


@pytest.mark.parametrize(
    ("any_saver", "scene"),
    [("sqlite", scene) for scene in SCENES] + [("postgres", scene) for scene in ON_POSTGRES],
    indirect=["any_saver"],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_checkpoints_give_what_the_callback_recorded(any_saver, scene):
    saver, place = any_saver
    moves, endings = live(scene, saver)
    reader = read_transitions(place)
    records = list(reader.records())
    found = [record for record in records if isinstance(record, Transition)]
    assert by_trajectory(found) == by_trajectory(moves)
    assert outcomes(records) == outcomes(endings)
    assert reader.read_count == len(list(saver.list(None)))
    assert reader.skipped_count == 0


# LangGraph 1.2 alone has handlers of errors, and none of its savers is without paths.
@pytest.mark.parametrize("scene", [each for each in SCENES if each is not play_error_handler])
def test_a_saver_that_kept_no_paths_of_tasks_gives_the_same(saver, scene):
    moves, endings = live(scene, saver[0])
    forget_paths(saver[1])
    reader = read_transitions(saver[1])
    records = list(reader.records())
    found = [record for record in records if isinstance(record, Transition)]
    assert by_trajectory(found) == by_trajectory(moves)
    assert outcomes(records) == outcomes(endings)


def test_old_and_new_rows_may_stand_in_one_database(saver):
    moves, _ = live(play_fan_out, saver[0])
    with sqlite3.connect(saver[1]) as database:
        database.execute("UPDATE writes SET task_path = '' WHERE rowid % 2 = 0")
    assert by_trajectory(read_transitions(saver[1])) == by_trajectory(moves)


def test_a_node_that_cannot_be_known_is_refused_and_not_left_out(saver):
    live(play_loop, saver[0])
    forget_paths(saver[1])
    with sqlite3.connect(saver[1]) as database:
        changed = "UPDATE writes SET task_id = 'x' WHERE rowid = (SELECT max(rowid) FROM writes)"
        database.execute(changed)
    with pytest.raises(ReadError, match=r"cannot be read: the node .* before 3\.1"):
        list(read_transitions(saver[1]))
    reader = read_transitions(saver[1], skip_bad_lines=True)
    list(reader)
    assert (reader.read_count, reader.skipped_count) == (11, 1)


def test_a_node_without_writes_is_known_by_what_it_saw(saver):
    moves, _ = live(play_loop, saver[0])
    with sqlite3.connect(saver[1]) as database:
        lost = database.execute("DELETE FROM writes WHERE task_path LIKE '%pull, b'").rowcount
    assert lost == 9  # five times `log`, four times the branch to a
    assert by_trajectory(read_transitions(saver[1])) == by_trajectory(moves)


def test_asynchronous_agents_write_the_same(tmp_path):
    aio = pytest.importorskip("langgraph.checkpoint.sqlite.aio", reason="aiosqlite is missing")
    place = str(tmp_path / "agent.db")
    handler = TransitionCallbackHandler(store="sqlite://")

    async def play():
        async with aio.AsyncSqliteSaver.from_conn_string(place) as saver:
            agent = create_agent(**answer(["search", "read"], "done"), checkpointer=saver)
            config = {**thread("T"), "callbacks": [handler]}
            await agent.ainvoke({"messages": [("user", "go")]}, config)

    asyncio.run(play())
    handler.flush()
    found = list(read_transitions(place))
    assert by_trajectory(found) == by_trajectory(handler.store.read())


def test_nodes_can_be_the_states_instead(saver):
    moves, _ = live(play_agent, saver[0], NodeStates())
    for options in ({"state_field": "node"}, {"states": lambda task: task["node"]}):
        assert by_trajectory(read_transitions(saver[1], **options)) == by_trajectory(moves)


def test_a_state_function_sees_what_each_task_wrote(saver):
    live(play_loop, saver[0])
    seen = []
    list(read_transitions(saver[1], states=lambda task: seen.append(task) or task["node"]))
    assert [task["writes"].get("n") for task in seen[:3]] == [[1], None, [2]]
    assert [task["step"] for task in seen] == list(range(1, 11))


def test_metadata_of_a_run_can_be_its_labels(saver):
    chain("a", checkpointer=saver[0]).invoke(INPUT, {**thread("T"), "metadata": {"user": "ann"}})
    contexts = {move.context for move in read_transitions(saver[1], context_fields=["user"])}
    assert contexts == {(("user", "ann"),)}
    with pytest.raises(ReadError, match=r"no field 'usr'; the fields are .*'user'"):
        list(read_transitions(saver[1], context_fields=["usr"]))


def test_runs_come_with_their_outcome(saver):
    live(play_failure, saver[0])
    (run,) = read_runs(saver[1])
    assert (run.outcome, run.success, run.error) == (Outcome.FAILED, False, "ValueError in b")
    assert run.moves == (("__start__", "a"), ("a", None))


# What a checkpoint cannot know


def test_a_recursion_limit_looks_like_a_run_that_may_be_resumed(saver):
    with suppress(GraphRecursionError):
        loop(50, saver[0]).invoke(INPUT, {**thread("T"), "recursion_limit": 4})
    (run,) = read_runs(saver[1])
    assert run.outcome is Outcome.INTERRUPTED
    assert len(run) == 4


def test_tasks_of_a_functional_workflow_have_no_names(saver):
    @task
    def one(x):
        return x + 1

    @entrypoint(checkpointer=saver[0])
    def flow(x):
        return one(one(x).result()).result()

    flow.invoke(1, thread("T"))
    assert [move.target for move in read_transitions(saver[1])] == ["flow", END]


def test_without_the_checkpoints_of_each_step_nothing_is_invented(saver):
    agent = chain("a", "b", checkpointer=saver[0])
    agent.invoke(INPUT, thread("T"), durability="exit")
    assert list(read_transitions(saver[1])) == []


def test_attempts_that_were_retried_with_success_leave_no_trace(saver):
    tries = []

    def twice(state):
        tries.append(1)
        return fail(state) if len(tries) == 1 else {"log": ["a"]}

    retry = RetryPolicy(max_attempts=2, initial_interval=0.001, retry_on=ValueError)
    graph = StateGraph(State).add_node("a", twice, retry_policy=retry).add_edge(START, "a")
    graph.compile(checkpointer=saver[0]).invoke(INPUT, thread("T"))
    assert [move.target for move in read_transitions(saver[1])] == ["a", END]


def test_a_cached_node_is_there_though_the_callback_hears_nothing_of_it(saver):
    graph = StateGraph(State).add_node("a", node("a"))
    graph.add_node("b", node("b"), cache_policy=CachePolicy(key_func=lambda *_: "k"))
    graph.add_edge(START, "a").add_edge("a", "b")
    agent = graph.compile(checkpointer=saver[0], cache=InMemoryCache())
    for name in ("T", "U"):
        agent.invoke(INPUT, thread(name))
    first, second = by_trajectory(read_transitions(saver[1])).values()
    assert first == second


def test_a_subgraph_that_hands_over_to_its_parent_looks_open(saver):
    over = Command(graph=Command.PARENT, goto="other", update={"log": ["x"]})
    inner = StateGraph(State).add_node("x", lambda state: over).add_edge(START, "x").compile()
    graph = StateGraph(State).add_node("sub", inner).add_node("other", node("other"))
    graph.add_edge(START, "sub").compile(checkpointer=saver[0]).invoke(INPUT, thread("T"))
    records = list(read_transitions(saver[1]).records())
    assert [r.target for r in records if isinstance(r, Transition)] == ["sub", "other", END]
    (sub,) = [r for r in records if r.trajectory != "T"]
    assert sub.outcome is Outcome.INTERRUPTED


def test_a_fork_goes_on_from_where_it_forked(saver):
    agent = chain("a", "b", "c", checkpointer=saver[0])
    agent.invoke(INPUT, thread("T"))
    before_c = next(s for s in agent.get_state_history(thread("T")) if s.next == ("c",))
    agent.invoke(None, before_c.config)
    pairs = [(move.source, move.target) for move in read_transitions(saver[1])]
    assert pairs.count(("b", "c")) == 2
    assert pairs.count(("a", "b")) == 1


# Hostile and damaged databases


def test_no_class_that_a_checkpoint_names_is_imported():
    code = "import sys, ormsgpack; from detailed_balance.readers.checkpoints.rows import unpack\n"
    for number in range(9):
        made = 'ormsgpack.packb(["antigravity", "geohash", "x", "y"])'
        code += f'unpack("msgpack", ormsgpack.packb(ormsgpack.Ext({number}, {made})))\n'
    code += 'print("antigravity" in sys.modules, "geohash" in sys.modules)'
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.split() == ["False", "False"]


def test_pickled_and_encrypted_values_stay_closed():
    assert unpack("pickle", b"cos\nsystem\n(S'true'\ntR.") is OPAQUE
    assert unpack("msgpack+aes", b"\x00") is OPAQUE


def test_values_that_stay_closed_say_how_to_name_states(saver):
    live(play_loop, saver[0])
    with sqlite3.connect(saver[1]) as database:
        database.execute("UPDATE writes SET type = 'pickle' WHERE channel = 'n'")
    with pytest.raises(ReadError, match="--state-field node"):
        list(read_transitions(saver[1]))
    assert len(list(read_transitions(saver[1], state_field="node"))) == 11


def test_a_bomb_of_nested_extensions_is_a_damaged_checkpoint(saver):
    live(play_loop, saver[0])
    bomb = b""
    for _ in range(3_000):
        bomb = ormsgpack.packb(ormsgpack.Ext(0, bomb))
    with sqlite3.connect(saver[1]) as database:
        changed = "UPDATE writes SET value = ? WHERE channel = 'n'"
        database.execute(changed, [bomb])
    reader = read_transitions(saver[1], skip_bad_lines=True)
    list(reader)
    assert (reader.read_count, reader.skipped_count) == (6, 6)


def test_a_damaged_checkpoint_breaks_the_path_and_is_named(saver):
    live(play_loop, saver[0])
    with sqlite3.connect(saver[1]) as database:
        (key,) = database.execute(
            "SELECT checkpoint_id FROM checkpoints ORDER BY 1 LIMIT 1 OFFSET 5"
        ).fetchone()
        database.execute("UPDATE checkpoints SET checkpoint = x'c1' WHERE checkpoint_id = ?", [key])
    with pytest.raises(ReadError, match=f"checkpoint {key}: cannot be read"):
        list(read_transitions(saver[1]))
    reader = read_transitions(saver[1], skip_bad_lines=True)
    moves = list(reader)
    assert (reader.read_count, reader.skipped_count) == (11, 1)
    assert [move.step for move in moves] == [1, 2, 3, 7, 8, 9, 10, 11]


def test_writes_without_their_checkpoint_are_said(saver):
    live(play_loop, saver[0])
    with sqlite3.connect(saver[1]) as database:
        database.execute("DELETE FROM checkpoints")
    reader = read_transitions(saver[1], skip_bad_lines=True)
    assert list(reader) == []
    assert {skipped.reason for skipped in reader.skipped} == {"only its writes are there"}


def test_an_empty_database_of_a_saver_is_an_error(saver):
    saver[0].setup()
    with pytest.raises(ReadError, match="holds no checkpoints"):
        list(read_transitions(saver[1]))


def test_reading_changes_nothing(saver):
    live(play_agent, saver[0])
    before = saver[1].read_bytes()
    list(read_transitions(saver[1]))
    assert saver[1].read_bytes() == before
