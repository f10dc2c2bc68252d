"""What a report says about single runs, in the terminal, on the page and as JSON."""

import json
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from detailed_balance import Report, Transition, TransitionStore, analyze, read_runs
from detailed_balance.analyzers import Outcome, Trajectory, TransitionCounts
from detailed_balance.analyzers.errors import InvalidInputError, ReadError
from detailed_balance.callbacks import Ending
from detailed_balance.cli import app
from detailed_balance.plots import plot_runs
from detailed_balance.plots.runs import POINTS_DRAWN
from tests.plugin.test_report import HOSTILE, Page, check_harmless
from tests.support.chains import data_file

PATHS = [
    ("stay", 6, "abdddddddddddddddddddd", False),
    ("loop", 8, "abcabcabcabcabcabcabcx", False),
    ("good", 40, "abx", True),
    ("other", 20, "xbax", True),
]


def runs_of(*groups: tuple[str, int, str, bool | None]) -> list[Trajectory]:
    return [
        Trajectory(
            tuple(pairwise(("__start__", *states, "__end__"))),
            f"{name}-{i}",
            Outcome.ENDED,
            success,
        )
        for name, many, states, success in groups
        for i in range(many)
    ]


@pytest.fixture(scope="module")
def report() -> Report:
    return analyze(runs_of(*PATHS))


def test_the_verdict_counts_the_runs_that_repeat_themselves(report: Report) -> None:
    text = " ".join(str(report.verdict).split())
    assert text.startswith("PROBLEM 8 of 74 runs go round a → b → c → a, up to 6 rounds")
    assert "8 of 14 failed runs have more than 2, and 0 of 60 successful ones" in text
    assert "PROBLEM 6 of 74 runs stay in d, up to 20 times in a row" in text
    # 6 stuck from move 3 on, of 23 moves; 8 driven from move 1 on, of 23.
    assert [finding.cost.moves for finding in report.findings[:2] if finding.cost] == [176, 120]


@pytest.mark.parametrize(("success", "outcome"), [(False, "problem"), (None, "ok"), (True, "ok")])
def test_runs_that_go_back_and_forth_head_the_report_where_they_fail_and_others_do_not(
    success: bool | None, outcome: str
) -> None:
    # Too few in all for a trap.
    paths = [("back and forth", 5, "p" + "sc" * 8 + "p", success), ("good", 40, "psp", True)]
    verdict = analyze(runs_of(*paths)).verdict
    assert verdict.outcome == outcome
    some = "PROBLEM: 5 of 45 runs go back and forth between c and s, up to 15 changes"
    assert (verdict.headline == some) is (success is False)


def test_what_repeats_is_told_with_its_bound_and_what_it_rests_on() -> None:
    paths = [("back and forth", 5, "p" + "sc" * 8 + "p", False), ("good", 60, "psp", True)]
    report = analyze(runs_of(*paths))
    text = " ".join(str(report).split())
    assert "5 of 5 failed runs have more than 4, and 0 of 60 successful ones" in text
    assert "Where runs repeat themselves too much" in text
    found = json.loads(json.dumps(report.to_dict()))["runs"]["repetition"]
    assert [(f["kind"], f["states"], f["evidence"]) for f in found["findings"]] == [
        ("shuttle", ["c", "s"], "contrast")
    ]


def test_runs_at_the_limit_head_the_report_with_what_they_repeat() -> None:
    good = runs_of(("good", 10, "psp", True))
    moves = tuple(pairwise(("__start__", *"p" + "s" * 30)))
    stopped = [Trajectory(moves, f"l{i}", Outcome.RECURSION_LIMIT, False) for i in range(3)]
    verdict = analyze(good + stopped).verdict
    told = "PROBLEM: 3 of 13 runs hit the recursion limit: they stay in s, up to 30 times in a row"
    assert verdict.headline == told


def test_the_parts_come_in_the_order_in_which_people_ask(report: Report, tmp_path: Path) -> None:
    report.to_html(tmp_path / "r.html")
    page = check_harmless((tmp_path / "r.html").read_text())
    text = "".join(page.text)
    order = [
        "go round",
        "What the runs did",
        "Where runs repeat themselves too much",
        "The runs that matter",
        "What breaks balance",
        "Where the driven loops are taken",
        "The evidence",
        "The potential along runs",
        "How failed runs differ from successful ones",
        "How many steps to allow",
        "How it was computed",
    ]
    places = [text.index(title) for title in order]
    assert places == sorted(places)
    assert page.tags.count("img") == 4
    assert len((tmp_path / "r.html").read_text()) < 1_000_000


def test_every_rule_is_stated_with_its_threshold(report: Report) -> None:
    text = " ".join(str(report).split())
    assert "stay: visited one state 10 times or more in a row" in text
    assert "cycle: went round one loop of two states or more 5 times or more" in text
    assert "9,999 permutations of whole runs (seed 0)" in text
    stricter = " ".join(str(analyze(runs_of(*PATHS), min_visits=30)).split())
    assert "stay: visited one state 30 times" in stricter
    assert "cycle 8 0 8" in stricter
    assert "stay 6 0 6" not in stricter


def test_the_driven_loop_is_told_with_its_onset_and_its_runs(report: Report) -> None:
    assert report.runs is not None
    seen = next(loop for loop in report.runs.loops if set(loop.loop) == set("abc"))
    assert (seen.runs, seen.failed, seen.rounds, seen.onset) == (8, 8, 48, 1)
    assert set(seen.examples) <= {f"loop-{i}" for i in range(8)}


def test_failed_runs_are_held_against_successful_ones(report: Report) -> None:
    assert report.runs is not None
    contrast = report.runs.contrast
    assert contrast is not None
    assert contrast.runs == (60, 14)
    assert "success" not in {test.question for test in contrast.tests}
    assert contrast.test("length") is not None


def test_the_terminal_text_fits_80_columns(report: Report) -> None:
    assert max(map(len, str(report).splitlines())) <= 80


def test_json_holds_the_runs(report: Report) -> None:
    found = json.loads(json.dumps(report.to_dict()))["runs"]
    assert found["rows"]["kind"][:2] == ["cycle", "cycle"]
    assert found["limit"]["runs"] == 60
    assert found["limit"]["enough"] is False
    assert (
        found["settings"]["rules"]["limit"] == "none of these, and stopped at the recursion limit"
    )


def test_runs_can_be_left_out_and_are_where_only_counts_are_known() -> None:
    assert analyze(runs_of(*PATHS), runs=0).runs is None
    assert analyze(TransitionCounts.from_edges([("a", "b", 9), ("b", "a", 9)])).runs is None


def test_without_outcomes_nothing_is_said_of_success() -> None:
    unjudged = [(name, many, states, None) for name, many, states, _ in PATHS]
    report = analyze(runs_of(*unjudged))
    assert report.runs is not None
    assert (report.runs.limit, report.runs.contrast) == (None, None)
    assert report.verdict.outcome == "watch"  # for balance is broken
    assert "failed" not in report.verdict.headline
    assert "succeeded" not in report.verdict.headline


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    runs = [
        Trajectory(tuple(pairwise(rng.choice(HOSTILE[:5], 40).tolist())), key, success=i % 2 == 0)
        for i, key in enumerate(HOSTILE * 4)
    ]
    report = analyze(runs, min_visits=2)
    report.to_html(tmp_path / "r.html")
    page: Page = check_harmless((tmp_path / "r.html").read_text())
    assert "<script>alert(1)</script>" in "".join(page.text)
    assert str(report).replace("\n", "").isprintable()


def test_a_run_of_many_thousand_moves_is_drawn_by_few_points() -> None:
    rng = np.random.default_rng(0)
    walk = tuple(pairwise(rng.choice(list("abcd"), 20_000).tolist()))
    report = analyze([Trajectory(walk, "long", success=False), *runs_of(*PATHS)])
    assert report.runs is not None
    figure = plot_runs(report.runs.chosen)
    points = [len(line.get_xdata()) for ax in figure.axes for line in ax.get_lines()]
    assert max(points) <= POINTS_DRAWN


# Where runs come from.


def test_a_file_tells_its_runs_success_and_costs(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    rows = [
        {"source": f, "target": g, "trajectory": run.name, "ok": run.success, "tokens": 7}
        for run in runs_of(*PATHS)
        for f, g in run.moves
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = analyze(path, success_field="ok", cost_field="tokens")
    assert report.runs is not None
    assert report.runs.report.rows[0].cost_after == 7 * 22
    assert "cost after" in str(report)
    done = CliRunner().invoke(
        app,
        ["analyze", str(path), "--success-field", "ok", "--cost-field", "tokens", "--runs", "3"],
    )
    assert done.exit_code == 0, done.output
    assert "And 11 more runs." in done.output
    path.write_text('{"source": "a", "target": "b", "trajectory": "1", "tokens": "many"}\n')
    with pytest.raises(ReadError, match="'many'; a cost is a number"):
        read_runs(path, cost_field="tokens")


def test_a_store_counts_the_supersteps_that_a_limit_counts() -> None:
    with TransitionStore("sqlite://") as store:
        for i in range(3):
            path = pairwise(("__start__", *"aaab", "__end__"))
            # Of create_agent: a model asks, then tools run, so every second step is a move.
            store.append(
                Transition(f, g, f"run-{i}", step=2 * n, time=float(i))
                for n, (f, g) in enumerate(path, 1)
            )
            store.append([Ending(f"run-{i}", Outcome.ENDED, time=float(i), supersteps=8)])
        report = analyze(store)
        runs = read_runs(store)
        since = read_runs(store, since=1, until=2)
        with pytest.raises(InvalidInputError, match="a store keeps no costs"):
            read_runs(store, cost_field="tokens")
    assert [run.limit_steps for run in runs] == [9, 9, 9]  # 8 steps, and one more
    assert report.runs is not None
    assert report.runs.limit_unit == "supersteps"
    assert '{"recursion_limit": 9}' in " ".join(str(report).split())
    assert [run.name for run in since] == ["run-1"]


def test_the_real_runs_that_never_stop_handing_over_are_found() -> None:
    path = data_file("tau2_airline", "gpt-oss-120b_langchain.jsonl.gz")
    report = analyze(path, success_field="reward", boundaries=("start", "end"))
    assert report.runs is not None
    worst = report.runs.report.rows[:4]
    assert {row.states for row in worst} == {("transfer_to_human_agents",)}
    assert all(
        row.kind == "stay" and row.times > 90 and row.similar_successes == 0 for row in worst
    )


def test_failed_runs_of_hard_tasks_are_not_compared_with_successful_runs_of_easy_ones() -> None:
    runs = []
    for task in range(12):
        hard = task % 2
        for trial in range(4):
            states = "ab" * (8 if hard else 2) + "c"
            moves = tuple(pairwise(("__start__", *states, "__end__")))
            labels = (("task", f"t{task}"),)
            runs.append(Trajectory(moves, f"{task}-{trial}", success=not hard, context=labels))
    plain, blocks = analyze(runs), analyze(runs, block="task")
    assert plain.runs is not None
    assert plain.runs.contrast is not None
    assert plain.runs.contrast.rejected
    assert blocks.runs is not None
    assert blocks.runs.contrast is not None
    assert not blocks.runs.contrast.rejected
    assert blocks.runs.contrast.smallest_pvalue == 1
    assert "no block has runs of both sides" in " ".join(str(blocks).split())


def test_runs_on_the_page_are_links_where_their_address_is_known(tmp_path: Path) -> None:
    paths = [("back & forth", 5, "p" + "sc" * 8 + "p", False), ("good", 60, "psp", True)]
    report = analyze(runs_of(*paths), run_url="https://example.org/runs/{run}")
    report.to_html(tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    link = '<a href="https://example.org/runs/back%20%26%20forth-0" rel="noreferrer">'
    assert f"{link}back &amp; forth-0</a>" in text
    assert text.count("<a href") >= 10  # in the first screen, and in the table of runs
    assert "<a " not in analyze(runs_of(*paths))._repr_html_()
    with pytest.raises(InvalidInputError, match=r"has \{run\} after the host"):
        analyze(runs_of(*paths), run_url="javascript:alert({run})")


def test_the_findings_are_tests_that_a_pipeline_can_show(tmp_path: Path) -> None:
    paths = [("back & forth", 5, "p" + "sc" * 8 + "p", False), ("good", 60, "psp", True)]
    report = analyze(runs_of(*paths))
    assert report.failures(("problem", "limit", "repetition")) == ("problem", "repetition")
    report.to_junit(tmp_path / "r.xml")
    suite = ET.parse(tmp_path / "r.xml").getroot()[0]  # noqa: S314 - written here
    failed = {case.get("name"): case[0].get("message") for case in suite if len(case)}
    assert set(failed) == {"there is no problem", "no run repeats itself too much"}
    assert failed["no run repeats itself too much"] == report.findings[0].title
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("11", "2", "0")
    few = analyze(runs_of(("good", 3, "psp", True)))
    few.to_junit(tmp_path / "few.xml", ("problem",))
    (case,) = ET.parse(tmp_path / "few.xml").getroot()[0]  # noqa: S314 - written here
    assert case[0].tag == "skipped"
    with pytest.raises(InvalidInputError, match="unknown loops; allowed are problem"):
        report.failures(("loops",))  # type: ignore[arg-type]


def test_a_table_whose_steps_are_not_known_to_be_those_of_langgraph_gets_plain_words(
    tmp_path: Path,
) -> None:
    rows = ["run,step,tool,outcome"]
    for number in range(40):
        stuck = number % 4 == 0
        tools = ["plan", *(["look", "ask"] * 20 if stuck else ["look"]), "answer"]
        outcome = "recursion_limit" if stuck else "ended"
        rows += [f"{number},{step},{tool},{outcome}" for step, tool in enumerate(tools)]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(rows) + "\n")
    fields = {"state_field": "tool", "trajectory_field": "run", "success_field": "outcome"}
    report = analyze(path, **fields)
    assert report.runs is not None
    assert report.runs.limit_unit == "moves"
    assert '"recursion_limit"' not in str(report)
    assert "lower the step limit to " in str(report)
