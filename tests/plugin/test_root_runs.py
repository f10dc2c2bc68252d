"""Root runs are what reports and comparisons count; subgraphs are shown by name under them."""

from itertools import pairwise
from pathlib import Path

import pytest
from langgraph.errors import GraphRecursionError

from detailed_balance import (
    Report,
    TransitionStore,
    analyze,
    compare,
    read_runs,
)
from detailed_balance.analyzers import Outcome, Trajectory, root_runs
from detailed_balance.callbacks import TransitionCallbackHandler
from tests.plugin.test_report import check_harmless
from tests.support.agents import INPUT, build, chain, run

INVOCATIONS = 10


@pytest.fixture(scope="module")
def recorded() -> list[Trajectory]:
    endless = build([("__start__", "look"), ("look", "read"), ("read", "look")], look=log, read=log)
    agent = chain(
        "plan",
        "write",
        "research",
        write=chain("draft", "polish"),
        research=lambda state: endless.invoke(INPUT, {"recursion_limit": 40}),
    )
    with TransitionStore("sqlite://") as store:
        handler = TransitionCallbackHandler(store=store)
        for i in range(INVOCATIONS):
            with pytest.raises(GraphRecursionError):
                run(agent, handler, configurable={"thread_id": f"T{i}"})
        return read_runs(store)


def log(state: object) -> dict[str, list[str]]:
    return {"log": []}


def show(report: Report) -> str:
    return " ".join(str(report).split())


def test_ten_invocations_are_ten_runs_that_failed(recorded: list[Trajectory]) -> None:
    assert len(recorded) == 3 * INVOCATIONS
    report = analyze(recorded)
    assert (report.source.trajectories, report.source.outcomes) == (10, {Outcome.FAILED: 10})
    assert report.runs is not None
    found = report.runs.report
    assert (found.runs, found.succeeded, found.failed) == (10, 0, 10)
    assert [(kind.kind, kind.runs) for kind in found.kinds] == [("other", 10)]
    children = {name: (c.runs, c.failed) for name, c in report.runs.children.items()}
    assert children == {"research": (10, 10), "write": (10, 0)}
    assert list(children) == ["research", "write"]  # the worst first


STUCK = "they go back and forth between look and read, up to 39 changes"


def test_a_report_says_by_name_where_runs_hit_a_limit(recorded: list[Trajectory]) -> None:
    report = analyze(recorded)
    told = f"PROBLEM: inside research, 10 of 10 runs hit the recursion limit: {STUCK}"
    assert report.verdict.headline == told
    assert "research: shuttle 10 0 10" in show(report)
    assert "write: other 10 10 0" in show(report)
    assert "T0/research:" in show(report)  # of the runs that matter


def test_a_trace_without_parents_stays_as_it_is(recorded: list[Trajectory]) -> None:
    moves = [(r.moves, r.name, r.outcome, r.success) for r in recorded]
    report = analyze([Trajectory(*parts) for parts in moves])
    told = f"PROBLEM: 10 of 30 runs hit the recursion limit: {STUCK}"
    assert report.verdict.headline == told
    assert report.source.trajectories == 30
    assert report.runs is not None
    assert report.runs.children == {}


def test_a_subgraph_asked_for_by_itself_is_a_run(recorded: list[Trajectory]) -> None:
    report = analyze([r for r in recorded if r.parent])
    assert report.source.trajectories == 20
    told = f"PROBLEM: 10 of 20 runs hit the recursion limit: {STUCK}"
    assert report.verdict.headline.startswith(told)


def families(
    name: str,
    many: int,
    outer: str,
    inner: str,
    success: bool,
    graph: str = "research",
    *,
    limited: bool = True,
) -> list[Trajectory]:
    """Runs with one subgraph each, which stopped at its limit or ended."""
    runs = []
    inside = (Outcome.RECURSION_LIMIT, False) if limited else (Outcome.ENDED, True)
    for i in range(many):
        key = f"{name}-{i}"
        moves = [tuple(pairwise(("__start__", *states, "__end__"))) for states in (outer, inner)]
        runs += [
            Trajectory(moves[0], key, Outcome.ENDED, success, run=key),
            Trajectory(moves[1], f"{key}/{graph}:1", *inside, parent=key),
        ]
    return runs


def test_the_headline_names_the_subgraph_where_only_that_goes_round() -> None:
    runs = families("bad", 5, "pqr", "x" + "sc" * 8 + "x", True)
    told = (
        "PROBLEM: inside research, 45 of 45 runs hit the recursion limit, and did not loop in "
        "one place"
    )
    few = analyze(runs + families("good", 40, "pqr", "xsx", True)).verdict
    assert (few.outcome, few.headline) == ("problem", told)
    # What most of them repeat is told.
    most = analyze(runs + families("good", 4, "pqr", "xsx", True)).verdict
    assert most.headline == (
        "PROBLEM: inside research, 9 of 9 runs hit the recursion limit: 5 of them go back and "
        "forth between c and s, up to 15 changes"
    )


def test_the_limit_of_a_subgraph_is_not_that_of_the_runs_around_it() -> None:
    report = analyze(families("good", 20, "pqr", "xsx", True))
    assert report.runs is not None
    assert [(finding.kind, finding.affected) for finding in report.findings] == [("limit", 20)]
    assert report.findings[0].title.startswith("inside research, 20 of 20 runs hit")


def test_roots_that_go_round_come_before_subgraphs_that_do() -> None:
    back_and_forth = "p" + "sc" * 8 + "p"
    runs = families("bad", 5, back_and_forth, "x" + "tu" * 8 + "x", False, limited=False)
    runs += families("good", 40, "psp", "xtx", True, limited=False)
    report = analyze(runs)
    assert report.verdict.headline.startswith("PROBLEM: 5 of 45 runs go back and forth between")
    text = show(report)
    assert text.index(" shuttle 5 0 5") < text.index("research: shuttle 5 5 0")


def test_contrast_and_limit_are_those_of_root_runs() -> None:
    runs = families("good", 20, "pqr", "x" * 30, True) + families("bad", 8, "pqqqqr", "xyx", False)
    found = analyze(runs).runs
    assert found is not None
    assert found.contrast is not None
    assert found.contrast.runs == (20, 8)
    assert found.limit is not None
    assert (found.limit.runs, found.limit.longest) == (20, 4)


def test_a_root_that_has_not_moved_yet_counts_with_what_ran_inside_it() -> None:
    runs = families("open", 6, "pqr", "xyzxyx", True)
    runs = [r if r.parent else Trajectory((), r.name, run=r.run) for r in runs]
    found = analyze(runs).runs
    assert found is not None
    assert (found.report.runs, found.children["research"].runs) == (6, 6)


def test_names_of_subgraphs_stay_text(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>[bold]\x1b[31m" + "y" * 80
    report = analyze(families("bad", 12, "pqr", "x" + "sc" * 30 + "x", False, name))
    report.to_html(tmp_path / "r.html")
    check_harmless((tmp_path / "r.html").read_text())
    assert max(map(len, str(report).splitlines())) <= 80
    assert "\x1b" not in str(report)


def test_a_comparison_counts_root_runs(recorded: list[Trajectory]) -> None:
    fine = families("fine", 12, "pqr", "xscx", True)
    found = compare(recorded, fine, replicates=999)
    assert (len(found.a.roots), len(found.b.roots)) == (10, 12)
    assert (found.a.judged, found.b.judged) == ((0, 10), (12, 12))
    assert found.differences.runs == (10, 12)
    assert found.a.report.source.outcomes == {Outcome.FAILED: 10}
    assert "10 and 12 whole runs were compared." in " ".join(str(found).split())
    moved = sum(target is not None for r in recorded for _, target in r.moves)
    assert found.a.report.counts.total == moved  # of all runs


def test_root_runs_of_a_store_are_its_invocations(recorded: list[Trajectory]) -> None:
    assert [r.name for r in root_runs(recorded)] == [f"T{i}" for i in range(INVOCATIONS)]
