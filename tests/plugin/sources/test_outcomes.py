"""Faults and work-flows are distinguished by outcomes in a store, and by the agent's own graph."""

from itertools import pairwise
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph

from detailed_balance import Report, Transition, TransitionStore, analyze
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.callbacks import TransitionCallbackHandler
from detailed_balance.sources.source import list_allowed_moves


def fill(store: TransitionStore, *groups: tuple[str, int, str, bool | None]) -> TransitionStore:
    """Write so many runs of each kind, one letter for each state."""
    for name, many, states, success in groups:
        for i in range(many):
            path = ("__start__", *states, "__end__")
            store.append([Transition(f, g, f"{name}-{i}") for f, g in pairwise(path)])
            if success is not None:
                store.judge(f"{name}-{i}", success=success)
    return store


BAD_LOOP = [
    ("bad", 12, "abcabcax", False),
    ("good", 30, "abxbabax", True),
    ("other", 20, "xba", None),
]


def loop_kind(report: Report) -> str:
    return next(v.kind for v in report.balance.violations if set(v.loop) == set("abc"))


def test_outcomes_in_a_store_make_a_loop_suspect(tmp_path: Path) -> None:
    with fill(TransitionStore(f"sqlite:///{tmp_path}/runs.db"), *BAD_LOOP) as store:
        report = analyze(store)
    assert loop_kind(report) == "suspect"
    assert report.verdict.headline.startswith(
        "PROBLEM: 12 of 62 runs did not succeed; they go round a → b → c → a more than their "
        "visits explain: 4.32 times the odds"
    )
    assert "odds: the odds of a step along it" in str(report)
    (finding,) = report.findings
    assert finding.kinds == ("failure", "driven")
    assert set(finding.runs) == {f"bad-{i}" for i in range(12)}
    assert loop_kind(analyze(tmp_path / "runs.db")) == "suspect"
    assert loop_kind(analyze(f"sqlite:///{tmp_path}/runs.db")) == "suspect"


def test_where_all_failed_runs_are_longer_their_length_may_explain_the_loop() -> None:
    groups = [("bad", 12, "abcabcax", False), ("good", 30, "abx", True)]
    with fill(TransitionStore("sqlite://"), *groups) as store:
        report = analyze(store)
    assert loop_kind(report) == "unclassified"
    assert "length alone may explain the difference" in str(report.verdict)
    # That they do other things is a finding all the same.
    told = "PROBLEM: 12 of 42 runs did not succeed; after b failed runs go to c 100% of the time"
    assert report.verdict.headline.startswith(told)


def test_a_handler_asks_its_store() -> None:
    with fill(TransitionStore("sqlite://"), *BAD_LOOP) as store:
        handler = TransitionCallbackHandler(store=store)
        for move in store.read():
            if move.target is not None:
                handler.graph.record(move.source, move.target, count=move.count)
        assert loop_kind(analyze(handler)) == "suspect"


def test_successful_runs_that_walk_a_loop_make_it_work_flow() -> None:
    groups = [("bad", 9, "abcax", False), ("good", 30, "abcax", True), ("other", 20, "xba", None)]
    with fill(TransitionStore("sqlite://"), *groups) as store:
        report = analyze(store)
    assert loop_kind(report) == "work-flow"
    assert "work-flow: failed runs do not take it more" in str(report.verdict)
    assert report.verdict.outcome == "watch"
    assert (
        "9 of 59 runs did not succeed; no difference was found in what they do"
        in report.verdict.headline
    )


def test_labels_choose_the_runs_too() -> None:
    with TransitionStore("sqlite://") as store:
        for version, success in [("1", False), ("2", True)]:
            for i in range(30):
                path = pairwise("abcax" if version == "1" else "xbabx")
                labels = (("version", version),)
                run = f"{version}-{i}"
                store.append([Transition(f, g, run, labels) for f, g in path])
                store.judge(run, success=success)
        assert loop_kind(analyze(store)) == "suspect"
        assert loop_kind(analyze(store, context={"version": "1"})) != "suspect"


class State(TypedDict):
    text: str


def compiled(*, free: bool) -> Any:
    """Compile a loop of three nodes, of which one may skip another where it is free."""
    graph = StateGraph(State)
    for name in "abc":
        graph.add_node(name, lambda state: state)
    graph.add_edge(START, "a")
    graph.add_edge("b", "c")
    graph.add_conditional_edges("c", lambda state: END, ["a", END])
    if free:
        graph.add_conditional_edges("a", lambda state: "b", ["b", "c"])
    else:
        graph.add_edge("a", "b")
    return graph.compile()


def test_the_graph_of_a_compiled_agent_says_what_is_by_design() -> None:
    with fill(TransitionStore("sqlite://"), ("run", 40, "abcabc", None)) as store:
        counts = store.counts()
    by_design = analyze(counts, agent=compiled(free=False))
    assert loop_kind(by_design) == "structural"
    assert "the only exit that the graph allows from its state" in str(by_design.verdict)
    assert loop_kind(analyze(counts, agent=compiled(free=True))) == "unclassified"
    assert loop_kind(analyze(counts)) == "structural"  # as far as was seen


def test_a_tool_that_a_model_chose_is_no_design() -> None:
    with fill(TransitionStore("sqlite://"), ("run", 40, "abcabc", None)) as store:
        edges = [("model", "tools"), ("tools", "model")]
        assert loop_kind(analyze(store, agent=edges)) == "unclassified"


def test_an_agent_without_a_graph_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"agent=int object has no get_graph\(\)"):
        list_allowed_moves(7)
