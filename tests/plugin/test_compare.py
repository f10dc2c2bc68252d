"""What a change did, as people see it: verdict, page, JSON, JUnit, exit codes, the test helper."""

import json
import shlex
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from detailed_balance import (
    Comparison,
    Transition,
    TransitionCounts,
    TransitionGraph,
    TransitionStore,
    compare,
)
from detailed_balance.analyzers import Outcome, Trajectory
from detailed_balance.analyzers.errors import InsufficientDataError, InvalidInputError
from detailed_balance.analyzers.runs.trajectory import StepFacts
from detailed_balance.cli import app
from detailed_balance.diagnosis import Finding
from detailed_balance.testing import assert_same_landscape
from tests.plugin.test_report import HOSTILE, check_harmless
from tests.support.walks import random_chain, walk_runs


def two_sides(runs: int = 50, states: list[str] | None = None) -> list[list[Trajectory]]:
    """Runs of one chain, and of one that goes round a loop instead and gets stuck in it."""
    rng = np.random.default_rng(4)
    kernel, ends = random_chain(rng, 5)
    ring = 0.1 * kernel
    for f, g in pairwise((1, 2, 3, 1)):
        ring[f, g] += 0.9
    names = states and states[:5]
    return [walk_runs(rng, k, e, runs, names=names) for k, e in ((kernel, ends), (ring, ends / 9))]


@pytest.fixture(scope="module")
def changed() -> Comparison:
    return compare(*two_sides())


@pytest.fixture(scope="module")
def same() -> Comparison:
    rng = np.random.default_rng(1)
    kernel, ends = random_chain(rng, 4)
    return compare(walk_runs(rng, kernel, ends, 40), walk_runs(rng, kernel, ends, 40))


def test_a_change_is_told_in_words_first(changed: Comparison) -> None:
    assert changed.verdict.outcome == "worse"
    assert changed.verdict.headline.startswith("WORSE: runs that repeat themselves 0.0% -> ")
    text = " ".join(str(changed).split())
    assert "If nothing had changed, a change would be reported in at most 5%" in text
    assert "50 and 50 whole runs were compared." in text
    assert "reported in at most 0.1% of" in replace(changed.differences, alpha=0.001).describe()
    assert changed.failures() == ("problem", "violation", "repetition", "trap", "drift")
    assert changed.failures(["trap"]) == ("trap",)


def test_a_new_loop_is_named_with_what_became_of_it(changed: Comparison) -> None:
    (loop,) = changed.new_violations
    assert set(loop.loop) == {"s1", "s2", "s3"}
    assert "s1 → s2 → s3" in str(changed)
    assert "in B only, taken more" in " ".join(str(changed).split())


def test_no_change_is_told_with_what_would_have_been_seen(same: Comparison) -> None:
    assert same.verdict.outcome == "same"
    assert same.failures() == ()
    assert same.verdict.headline == "SAME: no difference between A and B was found"
    enough = dict(same.verdict.statements[0].rows)["enough?"]
    assert enough.startswith("a change of success by ")
    assert enough.endswith(" would have been found with 80% probability")
    assert "None of them changed significantly" in " ".join(str(same).split())


def test_few_runs_are_too_few_to_tell() -> None:
    rng = np.random.default_rng(1)
    kernel, ends = random_chain(rng, 4)
    comparison = compare(walk_runs(rng, kernel, ends, 8), walk_runs(rng, kernel, ends, 9))
    assert comparison.verdict.headline == "UNKNOWN: 8 and 9 runs are too few to compare A and B"
    assert dict(comparison.verdict.statements[0].rows)["needed"] == "20 runs on each side"


def test_the_terminal_text_fits_80_columns(changed: Comparison) -> None:
    assert max(map(len, str(changed).splitlines())) <= 80


def test_json_says_all_and_comes_back(changed: Comparison, tmp_path: Path) -> None:
    changed.to_json(tmp_path / "c.json")
    found = json.loads((tmp_path / "c.json").read_text())
    assert found == json.loads(json.dumps(changed.to_dict()))
    assert found["differences"]["settings"]["replicates"] == 9_999
    assert found["failures"] == list(changed.failures())
    assert [Finding.from_dict(each) for each in found["findings"]] == list(changed.findings)
    assert found["A"]["report"]["traps"]["settings"] == {"min_visits": 10.0}


def test_the_page_shows_both_landscapes_and_nothing_runs(
    changed: Comparison, tmp_path: Path
) -> None:
    changed.to_html(tmp_path / "c.html")
    text = (tmp_path / "c.html").read_text()
    page = check_harmless(text)
    assert page.tags.count("img") == 2
    assert page.tags.count("h1") == 1
    assert len(text) < 1_000_000
    check_harmless(changed._repr_html_())


def test_hostile_keys_stay_text_everywhere(tmp_path: Path) -> None:
    comparison = compare(*two_sides(30, HOSTILE))
    comparison.to_html(tmp_path / "c.html")
    comparison.to_junit(tmp_path / "c.xml")
    check_harmless((tmp_path / "c.html").read_text())
    assert str(comparison).replace("\n", "").isprintable()
    tree = ET.parse(tmp_path / "c.xml")  # noqa: S314 - written here
    assert "<script>alert(1)</script>" in "".join(tree.getroot().itertext())


def test_junit_has_the_shape_that_pipelines_read(changed: Comparison, tmp_path: Path) -> None:
    changed.to_junit(tmp_path / "c.xml")
    root = ET.parse(tmp_path / "c.xml").getroot()  # noqa: S314 - written here
    assert root.tag == "testsuites"
    (suite,) = root
    cases = suite.findall("testcase")
    assert suite.attrib["tests"] == str(len(cases)) == "13"
    assert suite.attrib["failures"] == str(len(suite.findall("testcase/failure")))
    assert suite.attrib["skipped"] == str(len(suite.findall("testcase/skipped")))
    assert {name for case in cases for name in case.attrib} == {"classname", "name", "time"}
    failed = {case.attrib["classname"] for case in cases if case.find("failure") is not None}
    assert failed == {f"detailed-balance.{name}" for name in changed.failures()}
    changed.to_junit(tmp_path / "trap.xml", ["trap"])
    assert len(ET.parse(tmp_path / "trap.xml").findall(".//testcase")) == 1  # noqa: S314


def test_junit_is_what_another_library_reads(changed: Comparison, tmp_path: Path) -> None:
    junitparser = pytest.importorskip("junitparser", reason="junitparser is not installed")
    changed.to_junit(tmp_path / "c.xml")
    suites = junitparser.JUnitXml.fromfile(str(tmp_path / "c.xml"))
    assert suites.tests == 13
    told = sum(bool(case.result) for suite in suites for case in suite)
    assert suites.failures + suites.skipped == told


def test_conditions_that_do_not_exist_are_refused(same: Comparison) -> None:
    with pytest.raises(InvalidInputError, match="unknown 'mood'"):
        same.failures(["mood"])  # type: ignore[list-item]


# The word of the verdict.

SHORT, LONG, OTHER = "abd", "acababababababcd", "acd"


def runs_of(good: int, bad: int = 0, path: str = SHORT, limited: int = 0) -> list[Trajectory]:
    """Runs along one path, and a few along another that is as long, so that something varies."""
    outcomes = [Outcome.ENDED] * good + [Outcome.FAILED] * bad
    outcomes += [Outcome.RECURSION_LIMIT] * limited
    paths = [path if i % 5 else OTHER for i in range(len(outcomes))]
    return [
        Trajectory(
            tuple(pairwise(("__start__", *states, "__end__"))),
            f"run-{i}",
            outcome=outcome,
            success=outcome is Outcome.ENDED,
        )
        for i, (states, outcome) in enumerate(zip(paths, outcomes, strict=True))
    ]


@pytest.mark.parametrize(
    ("before", "after", "headline", "kinds"),
    [
        (runs_of(60), runs_of(30, 30), "WORSE: success 100.0% -> 50.0%", {"failure"}),
        (runs_of(30, 30), runs_of(60), "BETTER: success 50.0% -> 100.0%", {"drift"}),
        (
            runs_of(60),
            runs_of(60, path=LONG),
            "WORSE: runs that repeat themselves 0.0% -> 80.0%, steps 4.0 -> 14.4",
            {"repetition", "drift"},
        ),
        (
            runs_of(60, path=LONG),
            runs_of(60),
            "BETTER: runs that repeat themselves 80.0% -> 0.0%, steps 14.4 -> 4.0",
            {"drift"},
        ),
        (
            runs_of(60, path=LONG),
            runs_of(30, 30),
            "WORSE: success 100.0% -> 50.0%, runs that repeat themselves 80.0% -> 0.0%, steps "
            "14.4 -> 4.0",
            {"failure", "drift"},
        ),
        (
            runs_of(30, 30),
            runs_of(30, 0, limited=30),
            "WORSE: runs at the recursion limit 0.0% -> 50.0%",
            {"limit"},
        ),
        (
            runs_of(60),
            runs_of(60, path="aebd"),
            "WORSE: steps 4.0 -> 4.8",
            {"drift"},
        ),
        (runs_of(60), runs_of(60, path="aed"), "DIFFERENT: B differs from A in moves", {"drift"}),
        (runs_of(60), runs_of(60), "SAME: no difference between A and B was found", set()),
        (runs_of(60), runs_of(9), "UNKNOWN: 60 and 9 runs are too few to compare A and B", set()),
    ],
)
def test_the_verdict_goes_by_success_then_by_repetition_limit_and_length(
    before: list[Trajectory], after: list[Trajectory], headline: str, kinds: set[str]
) -> None:
    comparison = compare(before, after, replicates=999)
    assert comparison.verdict.headline.startswith(headline)
    assert {finding.kind for finding in comparison.findings} >= kinds
    worse = comparison.verdict.outcome == "worse"
    assert ("problem" in comparison.failures()) == worse
    assert any(finding.severity == "problem" for finding in comparison.findings) == worse


def test_where_success_stays_and_numbers_go_both_ways_it_is_neither_worse_nor_better() -> None:
    before = runs_of(60, path=LONG)
    after = runs_of(60, path="acefghijklmnopqrstuvwxyzd")  # longer, without a repetition
    comparison = compare(before, after, replicates=999)
    assert comparison.verdict.outcome == "different"
    assert "steps 14.4 -> 21.6" in comparison.verdict.headline


def test_what_fell_names_its_runs_and_what_to_do(tmp_path: Path) -> None:
    for name, runs in (("before", runs_of(60)), ("after", runs_of(40, 20))):
        with TransitionStore(f"sqlite:///{tmp_path / name}.db") as store:
            for run in runs:
                moves = zip(run.moves, range(9), strict=False)
                store.append(Transition(*move, run.name, step=step) for move, step in moves)
                store.judge(run.name or "", success=bool(run.success))
    comparison = compare(tmp_path / "before.db", tmp_path / "after.db", replicates=999)
    (finding,) = comparison.findings
    assert (finding.kind, finding.severity, finding.affected) == ("failure", "problem", 20)
    assert set(finding.runs) == {f"run-{i}" for i in range(40, 60)}
    look, gate = finding.advice
    assert look.code == f"detailed-balance analyze {tmp_path / 'after.db'}"
    assert gate.code.endswith("after.db --fail-on problem")
    options = gate.code.split()[1:]
    assert CliRunner().invoke(app, options).exit_code == 2


def test_runs_that_repeat_themselves_are_named() -> None:
    comparison = compare(runs_of(60), runs_of(48, 12, path=LONG), replicates=999)
    found = next(f for f in comparison.findings if f.kind == "repetition")
    assert found.title == "runs that repeat themselves 0.0% -> 80.0%"
    assert (found.affected, found.total) == (48, 60)
    assert set(found.runs) == {f"run-{i}" for i in range(60) if i % 5}


def test_what_is_wrong_in_b_alone_stands_under_the_first_line() -> None:
    good, stuck = runs_of(60), runs_of(40, limited=20, path=LONG)
    worse = compare(good, stuck, replicates=999)
    assert dict(worse.verdict.statements[0].rows)["in B"] == worse.b.report.findings[0].title
    assert "20 of 60 runs hit the recursion limit" in str(worse.verdict)
    better = compare(stuck, good, replicates=999)
    assert "in B" not in dict(better.verdict.statements[0].rows)


def test_tokens_and_cost_are_among_the_numbers() -> None:
    def spent(tokens: int) -> list[Trajectory]:
        facts = [
            (None, StepFacts(tokens=tokens + i % 7, cost=0.001 * tokens), None) for i in range(40)
        ]
        moves = (("__start__", "a"), ("a", "b"), ("b", "__end__"))
        return [Trajectory(moves, f"run-{i}", facts=each) for i, each in enumerate(facts)]

    comparison = compare(spent(100), spent(200), replicates=999)
    assert comparison.verdict.headline == "WORSE: tokens 103 -> 203, cost 0.10 -> 0.20"


def test_a_side_with_too_little_is_described_and_not_raised() -> None:
    counts = TransitionCounts.from_edges([("a", "a", 3)])
    runs = runs_of(30)
    for sides in ((TransitionStore("sqlite://"), runs), (counts, counts), (runs_of(1), runs)):
        comparison = compare(*sides, replicates=99)
        assert comparison.verdict.outcome == "unknown"
        assert "needed" in dict(comparison.verdict.statements[0].rows)
        assert str(comparison).startswith("UNKNOWN")
        assert comparison.to_dict()["findings"] == []
        assert comparison.failures() == ()


# Sources.


def fill(store: TransitionStore) -> TransitionStore:
    """Runs of two versions, the second a week later; it goes back and forth before it ends."""
    for day, (version, path) in enumerate([("1", "abc"), ("2", "ababababc")]):
        for i in range(30):
            states = ("__start__", *(path if i % 3 else "acb"), "__end__")
            labels, began = (("version", version),), 1_700_000_000.0 + day * 7 * 86_400 + i
            store.append(
                Transition(f, g, f"{version}-{i}", labels, time=began) for f, g in pairwise(states)
            )
            store.judge(f"{version}-{i}", success=i % 2 == 0)
    return store


def test_two_labels_and_two_weeks_of_one_store_are_compared() -> None:
    with fill(TransitionStore("sqlite://")) as store:
        by_label = compare(store, context_a={"version": "1"}, context_b={"version": "2"})
        week = 1_700_000_000.0 + 3 * 86_400
        by_time = compare(store, until_a=week, since_b="2023-11-18")
    assert by_label.differences.runs == by_time.differences.runs == (30, 30)
    assert by_label.changed
    assert by_label.differences.to_dict() == by_time.differences.to_dict()
    assert by_label.b.label == "TransitionStore, version=2"
    assert by_time.b.label == "TransitionStore, since 2023-11-18"


def test_what_to_do_names_labels_and_weeks_as_a_command_line_does(tmp_path: Path) -> None:
    path = tmp_path / "my runs.db"
    fill(TransitionStore(f"sqlite:///{path}")).close()
    labels = {"context_a": {"version": "1"}, "context_b": {"version": "2"}}
    by_label = compare(path, replicates=199, **labels)
    look, gate = (advice.code for advice in by_label.findings[0].advice)
    assert look == f"detailed-balance analyze '{path}' --context version=2"
    words = "--context-a version=1 --context-b version=2 --fail-on problem"
    assert gate == f"detailed-balance compare '{path}' {words}"
    by_time = compare(path, replicates=199, until_a="2023-11-18", since_b="2023-11-18")
    look, gate = (advice.code for advice in by_time.findings[0].advice)
    assert look.endswith("--since 2023-11-18")
    for command in (look, gate):
        assert CliRunner().invoke(app, shlex.split(command)[1:]).exit_code in (0, 2)


def test_counts_and_graphs_are_compared_by_moves() -> None:
    one = TransitionCounts.from_edges([("a", "b", 90), ("a", "c", 10), ("b", "a", 50)])
    graph = TransitionGraph()
    for target, count in (("b", 50), ("c", 50)):
        graph.record("a", target, count=count)
    graph.record("b", "a", count=50)
    comparison = compare(one, graph)
    assert comparison.changed
    assert comparison.differences.unit == "moves"
    assert "which they seldom are: these are counts without runs" in str(comparison.verdict)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, InvalidInputError, "both sides are the same"),
        ({"since_b": "yesterday"}, InvalidInputError, "'yesterday' is not a time"),
        ({"since_b": 2e9}, InsufficientDataError, "no run of TransitionStore began in the time"),
        ({"context_b": {"version": "3"}}, InsufficientDataError, "version=1; version=2"),
    ],
)
def test_sides_that_cannot_be_are_refused(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    with fill(TransitionStore("sqlite://")) as store, pytest.raises(error, match=message):
        compare(store, **options)


def test_a_list_of_runs_knows_no_times() -> None:
    sides = two_sides(10)
    with pytest.raises(InsufficientDataError, match="has a time"):
        compare(*sides, since_a=3.0)


# The command line and the helper.


@pytest.fixture(scope="module")
def store_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "runs.db"
    fill(TransitionStore(f"sqlite:///{path}")).close()
    return path


@pytest.mark.parametrize(
    ("fail_on", "code"),
    [
        ([], 0),
        (["drift"], 2),
        (["problem"], 2),
        (["violation"], 0),
        (["failure", "limit"], 0),
        (["violation,drift"], 2),
    ],
)
def test_the_exit_code_follows_the_conditions(
    store_file: Path, tmp_path: Path, fail_on: list[str], code: int
) -> None:
    asked = [part for name in fail_on for part in ("--fail-on", name)]
    written = [
        part for kind in ("html", "json", "junit") for part in (f"--{kind}", f"{tmp_path}/{kind}")
    ]
    labels = ["--context-a", "version=1", "--context-b", "version=2", "--replicates", "199"]
    done = CliRunner().invoke(app, ["compare", str(store_file), *labels, *asked, *written])
    assert done.exit_code == code, done.output
    assert done.output.startswith("WORSE    steps 4.0 -> 8.0")
    assert {path.name for path in tmp_path.iterdir()} == {"html", "json", "junit"}


def test_a_wrong_condition_is_one_line() -> None:
    done = CliRunner().invoke(app, ["compare", "a.db", "b.db", "--fail-on", "mood"])
    assert done.exit_code == 1
    assert "problem, violation, loss, limit" in " ".join(done.output.replace("│", " ").split())


def test_the_helper_passes_and_fails_with_what_changed(store_file: Path) -> None:
    sides = two_sides()
    assert_same_landscape(sides[0], sides[0], replicates=199)
    with pytest.raises(AssertionError, match=r"WORSE +runs that repeat[\s\S]*s1 → s2 → s3"):
        assert_same_landscape(*sides, replicates=999)
    with pytest.raises(AssertionError):
        assert_same_landscape(
            store_file,
            store_file,
            context_a={"version": "1"},
            context_b={"version": "2"},
            replicates=199,
        )
