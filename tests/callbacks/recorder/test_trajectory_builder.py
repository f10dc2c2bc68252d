"""`TrajectoryBuilder` and `RunTracker` by themselves, without LangChain."""

from itertools import pairwise

from hypothesis import given, strategies as st

from detailed_balance.analyzers.counts import END, START
from detailed_balance.analyzers.runs.trajectory import Outcome
from detailed_balance.callbacks.recorder._run_state import (
    StepRun,
    name_base,
    name_trajectory,
)
from detailed_balance.callbacks.recorder._run_tracker import RunTracker
from detailed_balance.callbacks.recorder.trajectory_builder import TrajectoryBuilder, TrajectoryStep

ENDED, FAILED = Outcome.ENDED, Outcome.FAILED


def pairs(records):
    return [
        (record.source, record.target) for record in records if isinstance(record, TrajectoryStep)
    ]


def test_superstep_is_certain_when_the_next_one_starts():
    path = TrajectoryBuilder("T")
    assert path.start_task("a", 1) == ()
    assert path.end_task("a", ENDED, ("a",)) == ()
    assert pairs(path.start_task("b", 2)) == [(START, "a")]


def test_transparent_superstep_is_skipped():
    path = TrajectoryBuilder("T")
    for step, names in enumerate([("a",), (), (), ("b",)], start=1):
        path.start_task(str(step), step)
        path.end_task(str(step), ENDED, names)
    assert pairs(path.finish()) == [("a", "b"), ("b", END)]


def test_retry_replaces_what_the_task_was_before():
    path = TrajectoryBuilder("T")
    path.start_task("a:1", 1)
    assert pairs(path.end_task("a:1", FAILED)) == [(START, None)]
    path.start_task("a:1", 1)
    path.end_task("a:1", ENDED, ("a",))
    assert pairs(path.finish()) == [(START, "a"), ("a", END)]


def test_stopped_path_keeps_a_whole_superstep_and_drops_a_torn_one():
    whole, torn = TrajectoryBuilder("T"), TrajectoryBuilder("T")
    for path in (whole, torn):
        path.start_task("a", 1)
        path.end_task("a", ENDED, ("a",))
    torn.start_task("b", 1)
    assert pairs(whole.stop()) == [(START, "a")]
    assert torn.stop() == ()


@given(
    st.lists(
        st.lists(st.lists(st.sampled_from("abc"), max_size=2), min_size=1, max_size=3), max_size=6
    )
)
def test_finished_path_is_unbroken_from_start_to_end(supersteps):
    path, moves = TrajectoryBuilder("T"), []
    for step, tasks in enumerate(supersteps):
        for i in range(len(tasks)):
            moves += path.start_task(f"{step}.{i}", step)
        for i, names in enumerate(tasks):
            moves += path.end_task(f"{step}.{i}", ENDED, tuple(names))
    moves += path.finish()
    expected = ["|".join(sorted({n for names in tasks for n in names})) for tasks in supersteps]
    states = [START, *filter(None, expected), END]
    assert pairs(moves) == list(pairwise(states))


ROOT, NODE, INSIDE, TOOL, MODEL = range(1, 6)


LABELS = {
    "langgraph_checkpoint_ns": "a:1",
    "langgraph_step": 1,
    "langgraph_node": "a",
    "thread_id": "T",
}


def started_node():
    runs = RunTracker()
    runs.start(ROOT, None)
    runs.start_node(NODE, ROOT, LABELS)
    return runs


def node_of(runs):
    node = runs.get(NODE)
    assert isinstance(node, StepRun)
    return node


def test_tools_and_models_belong_to_the_node_however_deep_in_chains():
    runs = started_node()
    runs.start(INSIDE, NODE)
    runs.start_tool(TOOL, INSIDE, "search")
    runs.start_model(MODEL, INSIDE)
    assert (node_of(runs).tools, node_of(runs).called_model) == (["search"], True)


def test_what_runs_inside_a_tool_belongs_to_the_tool():
    runs = started_node()
    runs.start_tool(TOOL, NODE, "delegate")
    runs.start_model(MODEL, TOOL)
    runs.start_tool(INSIDE, MODEL, "search")
    assert (node_of(runs).tools, node_of(runs).called_model) == (["delegate"], False)


def test_event_that_comes_twice_counts_once():
    runs = started_node()
    runs.start_node(NODE, ROOT, LABELS)
    for _ in range(2):
        runs.start_tool(TOOL, NODE, "search")
        runs.start(ROOT, None)
    assert node_of(runs).tools == ["search"]
    runs.end(NODE, ENDED, ("a",))
    assert runs.end(NODE, ENDED, ("a",)) == ()
    assert pairs(runs.end(ROOT, ENDED)) == [(START, "a"), ("a", END)]
    assert runs.end(ROOT, ENDED) == ()


def test_end_of_the_root_forgets_all_that_never_ended():
    runs = started_node()
    runs.start(INSIDE, NODE)
    runs.end(ROOT, Outcome.CANCELLED)
    assert len(runs) == 0
    assert runs.end(NODE, ENDED, ("a",)) == ()


def test_trajectory_is_the_thread_or_the_graph_run_and_the_place_of_the_subgraph():
    assert name_base({"thread_id": "T"}, 7) == "T"
    assert name_base({"thread_id": 5}, 7) == "5"
    assert name_base({}, 7) == "00000000-0000-0000-0000-000000000007"
    assert name_trajectory("T", LABELS) == "T"
    assert name_trajectory("T", {"langgraph_checkpoint_ns": "sub:1|b:2|c:3"}) == "T/sub:1|b:2"
    assert name_trajectory("T", {}) == "T"
